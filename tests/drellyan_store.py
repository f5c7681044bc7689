"""A store of Drell-Yan events with the weights of their amplitudes, without a detector: its likelihood is exact."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from columnminer.store.partition import PartitionScheme
from columnminer.store.publish import Description, publish_events
from columnminer.store.samples import SampleInfo

if TYPE_CHECKING:
    from pathlib import Path

    from columnminer.generate.drellyan import DrellYan
    from columnminer.store.eventstore import EventStore


def drellyan_store(out: Path, process: DrellYan, n: int, seed: int = 1) -> EventStore:
    """Write n standard-model events with the observables of the exact likelihood."""
    partons, batch = process.sample(n, "sm", seed=seed), process.generate(n, "sm", seed=seed)
    seen = {
        "pp": (partons.mass, partons.rapidity, partons.cosine * np.sign(partons.rapidity)),
        "ee": (partons.cosine,),
    }
    info = SampleInfo(name="sm", benchmark="sm", background=False, n_generated=n, n_events=n, files=())
    scheme = PartitionScheme()
    description = Description(process.setup(), tuple(process.feature_names), (info,), scheme)
    table = {
        "observables": np.column_stack(seen[process.process]),
        "weights": batch.weights[:, 1:] / n,
        "nuisance_weights": np.zeros((n, 0)),
        "sample": np.zeros(n, dtype=np.int32),
        "event": np.arange(n),
    }
    codes = scheme.assign(np.random.default_rng(seed).uniform(size=n))
    return publish_events(out, description, iter([table]), codes)
