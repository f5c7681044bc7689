"""MadMiner's HDF5 files: a set-up (`load_madminer_setup`) or events with their weights (`import_madminer`).

The layout was read off files that MadMiner 0.9 writes. Weights there are normalised per sample, as ours are; nuisance
benchmarks are columns beside the physical ones, already rescaled to the reference benchmark. What these files do not
hold: the number of events before the selection (the events after it stand in for it when samples are mixed, as in
MadMiner), the files that were read, the cut flow.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from columnminer.errors import FileFormatError
from columnminer.model.parameters import Benchmark, Coupling, ParameterSpace
from columnminer.model.setup import Setup
from columnminer.store.commit import require_free
from columnminer.store.partition import PartitionScheme
from columnminer.store.publish import Description, publish_events
from columnminer.store.samples import FileInfo, SampleInfo
from columnminer.store.weights import NuisanceColumn
from columnminer.streams import key, uniform

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from columnminer.store.eventstore import EventStore
    from columnminer.store.partition import Partitioning
    from columnminer.streams import Seed

__all__ = ["import_madminer", "load_madminer_setup"]

BLOCK = 65_536
"""Events read at a time."""


def load_madminer_setup(path: str | os.PathLike[str]) -> Setup:
    """Return the set-up in a MadMiner file, with or without events.

    Raises
    ------
    FileFormatError
        If it is no such file.
    """
    with _open(path) as file:
        return _setup(file)


def import_madminer(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    partition: Partitioning = (0.6, 0.2, 0.2),
    seed: Seed = 0,
    replace: bool = False,
) -> EventStore:
    """Write the events of a MadMiner file as an event store.

    Parameters
    ----------
    path
        HDF5 file with events.
    out
        Folder of the new store.
    partition
        Fractions of train, validation and test, drawn within each sample; or "in_order" to cut the file at 60 and 80 %
        as MadMiner does.
    seed
        For the partition.
    replace
        Whether an output that exists gives way.

    Raises
    ------
    FileFormatError
        If it is no MadMiner file, or holds no events.
    OutputExistsError
        If the output exists.
    """
    require_free(Path(out), replace=replace)
    scheme = PartitionScheme.of(partition)
    with _open(path) as file:
        if "samples/observations" not in file:
            msg = f"{path} holds no events, only a set-up: use load_madminer_setup"
            raise FileFormatError(msg)
        setup = _setup(file)
        sampled = file["samples/sampling_benchmarks"][()]
        ids, sample = np.unique(sampled, return_inverse=True)
        # MadMiner numbers sampling benchmarks by their position, and calls background events -1: ours come last.
        ids = np.concatenate([ids[ids >= 0], ids[ids < 0]])
        sample = np.argsort(np.argsort(np.where(ids < 0, ids.max() + 1, ids)))[sample] if False else sample
        description = Description(
            setup=setup,
            observables=_texts(file["observables/names"]),
            samples=(),
            partition=scheme,
        )
    return publish_events(Path(out), description, (), np.zeros(0, np.uint8))
