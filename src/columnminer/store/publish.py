"""Publishing an EventStore: normalised columns in a fixed order, with everything that explains them, by one rename."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.store.arrays import TableWriter
from columnminer.store.commit import staged
from columnminer.store.eventstore import EVENTS_FORMAT, FORMAT_VERSION, EventStore
from columnminer.store.partition import PARTITIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from columnminer.model.setup import Setup
    from columnminer.store.partition import PartitionScheme
    from columnminer.store.samples import SampleInfo
    from columnminer.store.weights import NuisanceColumn

__all__ = ["Description", "publish_events"]


@dataclass(frozen=True)
class Description:
    """Everything about an event store but its columns.

    Attributes
    ----------
    setup : Setup
        What theta means.
    observables : tuple of str
        Names of the columns of observables.
    samples : tuple of SampleInfo
        In the order of the sample ids; the numbers of events in the partitions are filled in on publishing.
    nuisances : tuple of NuisanceColumn
        Which nuisance weights belong to which parameter.
    partition : PartitionScheme
        How events were split.
    recorded : bool
        Whether the events were recorded, and have no weights.
    cut_flow, selection, configuration, provenance : mapping
        JSON documents that become attributes of the store.
    """

    setup: Setup
    observables: tuple[str, ...]
    samples: tuple[SampleInfo, ...]
    partition: PartitionScheme
    nuisances: tuple[NuisanceColumn, ...] = ()
    recorded: bool = False
    cut_flow: Mapping[str, Any] = field(default_factory=dict)
    selection: Mapping[str, Any] = field(default_factory=dict)
    configuration: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Columns of the store: name -> (shape of one row, dtype)."""
        varied = [j for c in self.nuisances for j in (c.up, c.down) if j is not None]
        return {
            "observables": ((len(self.observables),), "f8"),
            "weights": ((0 if self.recorded else len(self.setup.benchmark_names),), "f8"),
            "nuisance_weights": ((max(varied, default=-1) + 1,), "f8"),
            "sample": ((), "i4"),
            "partition": ((), "u1"),
            "event": ((), "i8"),
        }


def publish_events(
    out: Path,
    description: Description,
    rows: Iterable[Mapping[str, NDArray[Any]]],
    partition: NDArray[np.uint8],
    *,
    replace_existing: bool = False,
    within: Path | None = None,
    variations: Mapping[str, Sequence[EventStore]] | None = None,
) -> EventStore:
    """Write an event store and let it appear at `out`, complete or not at all.

    Parameters
    ----------
    out
        Folder of the store.
    description
        What the columns mean.
    rows
        Tables of normalised rows, name -> column, one after another in the order of the store: all columns but the
        partition.
    partition
        (n_events,) code of each event's partition.
    replace_existing
        Whether a store that is there gives way.
    within
        Where it is written before it appears, on the same file system; None: beside `out`.
    variations
        Stores of the same events in other selections, by nuisance parameter; they move into this one, see
        `EventStore.varied`.

    Raises
    ------
    OutputExistsError
        If something is at `out` that may not be replaced.
    """
    n_codes, varied = len(PARTITIONS), dict(variations or {})
    counts = np.zeros(len(description.samples) * n_codes, dtype=np.int64)
    with staged(out, replace=replace_existing, within=within) as folder:
        writer = TableWriter(folder, len(partition), description.columns)
        first = 0
        for piece in rows:
            codes = partition[first : first + len(piece["sample"])]
            writer.append({**piece, "partition": codes})
            counts += np.bincount(piece["sample"] * n_codes + codes, minlength=len(counts))
            first += len(codes)
        writer.finish_rows()
        samples = [
            replace(sample, n_events=sum(numbers), partition_counts=tuple(numbers)).to_dict()
            for sample, numbers in zip(description.samples, counts.reshape(-1, n_codes).tolist(), strict=True)
        ]
        meaning = {
            "setup": description.setup.to_dict(),
            "observables": list(description.observables),
            "samples": samples,
            "nuisances": [asdict(c) for c in description.nuisances],
        }
        writer.content.update(json.dumps(meaning, sort_keys=True).encode())
        inside = {name: _move(stores, folder, i) for i, (name, stores) in enumerate(varied.items())}
        writer.content.update("".join(store.hash for stores in varied.values() for store in stores).encode())
        writer.write_attributes(
            {
                "format": EVENTS_FORMAT,
                "format_version": FORMAT_VERSION,
                "hash": writer.content.hexdigest(),
                **meaning,
                "variations": inside,
                "partition": asdict(description.partition),
                "cut_flow": dict(description.cut_flow),
                "selection": dict(description.selection),
                "configuration": dict(description.configuration),
                "provenance": dict(description.provenance),
            }
        )
    return EventStore(out)


def _move(stores: Sequence[EventStore], folder: Path, number: int) -> list[str]:
    """Move the stores of one nuisance parameter into a store, as groups of its own, and return their names there."""
    names = [f"variation_{number}_{side}" for side, _ in zip(("up", "down"), stores, strict=False)]
    for name, store in zip(names, stores, strict=True):
        store.path.rename(folder / name)
    return names
