"""A store of Drell-Yan events with the weights of their amplitudes, without a detector: its likelihood is exact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.store.arrays import CHUNK
from columnminer.store.partition import PartitionScheme
from columnminer.store.publish import Description, publish_events
from columnminer.store.samples import SampleInfo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from columnminer.generate.drellyan import DrellYan
    from columnminer.store.eventstore import EventStore


def drellyan_store(out: Path, process: DrellYan, n: int, seed: int = 1) -> EventStore:
    """Write n standard-model events with the observables of the exact likelihood."""
    info = SampleInfo(name="sm", benchmark="sm", background=False, n_generated=n, n_events=n, files=())
    scheme = PartitionScheme()
    description = Description(process.setup(), tuple(process.feature_names), (info,), scheme)
    codes = scheme.assign(np.random.default_rng(seed).uniform(size=n))
    return publish_events(out, description, _tables(process, n, seed), codes)


def _tables(process: DrellYan, n: int, seed: int) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the events in parts, as many at a time as a chunk of the store has."""
    for batch in process.batches(n, "sm", seed, size=CHUNK):
        partons = process.sample(len(batch.weights), "sm", seed=seed, first_event=batch.first_event)
        seen = {
            "pp": (partons.mass, partons.rapidity, partons.cosine * np.sign(partons.rapidity)),
            "ee": (partons.cosine,),
        }
        yield {
            "observables": np.column_stack(seen[process.process]),
            "weights": batch.weights[:, 1:] / n,
            "nuisance_weights": np.zeros((len(partons.mass), 0)),
            "sample": np.zeros(len(partons.mass), dtype=np.int32),
            "event": batch.first_event + np.arange(len(partons.mass)),
        }
