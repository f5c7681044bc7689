"""From event files to an EventStore: readers x selection, in parallel, resumable.

Each file is read by one task, which streams through it and commits a part every `part_size` events (`store.parts`).
When all tasks are done, the parts are normalised and joined in the order of samples, files and events, and the store
appears by one rename. Nothing of it depends on who did which task, so neither do the bytes of the store.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError, OutputExistsError
from columnminer.formats.open import open_reader
from columnminer.observe.selection import CutFlow
from columnminer.run.tasks import run_tasks
from columnminer.store.commit import require_free
from columnminer.store.eventstore import EventStore
from columnminer.store.normalisation import RawTotals, sample_factors
from columnminer.store.partition import PartitionScheme
from columnminer.store.parts import PartInfo, committed_parts, open_parts, part_columns, require_same, write_part
from columnminer.store.publish import Description, publish_events
from columnminer.store.samples import FileInfo, Sample, SampleInfo
from columnminer.store.weightcolumns import WeightColumns, nuisance_columns, raw_weights
from columnminer.streams import key, uniform

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from distributed import Client
    from numpy.typing import NDArray

    from columnminer.formats.reader import SourceInfo
    from columnminer.model.setup import Setup
    from columnminer.observe.selection import Selection
    from columnminer.store.partition import Partitioning

__all__ = ["process"]

_log = logging.getLogger(__name__)

BATCH = 20_000
"""Events that are read and selected at a time."""


def process(
    samples: Sequence[Sample],
    setup: Setup,
    selection: Selection,
    out: str | os.PathLike[str],
    *,
    client: Client | None = None,
    workers: int = 1,
    seed: int | np.random.Generator = 0,
    partition: Partitioning = (0.6, 0.2, 0.2),
    part_size: int = 100_000,
    resume: bool = True,
    replace_existing: bool = False,
    progress: bool = True,
) -> EventStore:
    """Read event files, select and observe their events, and store them with normalised weights."""
