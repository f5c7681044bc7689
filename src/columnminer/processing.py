"""From event files to an EventStore: readers x selection, in parallel, resumable.

Each file is read by one task, which streams through it and commits a part every `part_size` events (`store.parts`).
When all tasks are done, the parts are normalised and joined in the order of samples, files and events, and the store
appears by one rename. Nothing in it depends on who did which task or how often it was cut off.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError, TaskError
from columnminer.formats.opening import open_reader
from columnminer.run.tasks import run_tasks
from columnminer.store.assemble import assemble
from columnminer.store.commit import require_free
from columnminer.store.eventstore import EventStore
from columnminer.store.partition import PartitionScheme
from columnminer.store.parts import PartInfo, committed_parts, discard_parts, open_parts, require_same, write_part
from columnminer.store.sources import describe, find_sources
from columnminer.store.weightcolumns import raw_weights
from columnminer.streams import key

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from distributed import Client
    from numpy.typing import NDArray

    from columnminer.model.setup import Setup
    from columnminer.observe.cutflow import CutFlow
    from columnminer.observe.selection import Selection
    from columnminer.store.mixing import Mixing
    from columnminer.store.partition import Partitioning
    from columnminer.store.samples import Sample

__all__ = ["process"]

_log = logging.getLogger(__name__)

BATCH = 10_000
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
    mixing: Mixing = "fractions",
    part_size: int = 50_000,
    resume: bool = True,
    replace: bool = False,
    progress: bool = True,
) -> EventStore:
    """Read event files, select and observe their events, and store them with normalised weights.

    Parameters
    ----------
    samples
        Which files there are and what they are.
    setup
        What theta means; the files need a weight for each of its benchmarks.
    selection
        Observables and cuts.
    out
        Folder of the new store. What is finished before the end lies in ``<out>.parts``; calling `process` again
        with the same arguments, after it failed or was killed, goes on from there.
    client
        A `distributed.Client` to run on; files and `out` have to be visible from its workers.
    workers
        Processes on this machine, where there is no client.
    seed
        Of detector smearing and of the partition.
    partition
        Fractions of train, validation and test events within each sample; or "in_order" to cut the store in order.
    mixing
        How signal samples made at different benchmarks are averaged when the store is read; see `EventStore`.
    part_size
        Events after which a task commits what it has; rounded up to whole batches of 10,000.
    resume
        Whether to use what earlier calls with the same configuration have left: parts, or the whole store.
    replace
        Whether a store (or parts) of another configuration may be deleted; a store of the same is made again.
    progress
        Whether to show progress.

    Raises
    ------
    InputError, UnknownNameError, MissingError
        If samples, set-up and files do not fit together. This is found before any event is read.
    OutputExistsError
        If there is an output of another configuration (the message says what differs), or any and `resume` is false.
    TaskError
        If files could not be read, with the reason for each. The work on the others is kept for the next call.
    """
    out = Path(out).absolute()
    seed = seed if isinstance(seed, int) else key(seed, "process")
    if part_size < 1:
        msg = f"part_size must be at least 1 event, not {part_size!r}"
        raise InputError(msg)
    batch_size = min(BATCH, part_size)
    settings = _as_json(
        {
            "setup": setup.to_dict(),
            "selection": selection.to_dict(),
            "seed": seed,
            "mixing": mixing,
            "partition": dataclasses.asdict(PartitionScheme.of(partition)),
            "part_size": math.ceil(part_size / batch_size) * batch_size,
        }
    )
    sources = find_sources(samples, setup)
    configuration = {**settings, "samples": _as_json(describe(sources))}
    parts = out.with_name(out.name + ".parts")
    if out.exists() and not replace:
        return _existing(out, configuration, parts, resume=resume)
    out.parent.mkdir(parents=True, exist_ok=True)
    open_parts(parts, settings, resume=resume, replace=replace)
    jobs = [
        _Job(
            path=source.path,
            folder=parts / source.part_key,
            selection=selection,
            weights=source.columns.raw,
            stream=source.stream(seed, "detector"),
            batch_size=batch_size,
            part_size=settings["part_size"],
        )
        for source in sources
    ]
    for job in jobs:
        job.folder.mkdir(exist_ok=True)
    try:
        run_tasks(
            read_file,
            jobs,
            client=client,
            workers=workers,
            title="reading",
            progress=progress,
        )
    except TaskError as error:
        msg = f"{error}\nWhat could be read is kept in {parts}: call again to go on from there."
        raise TaskError(msg) from error.__cause__
    names = selection.observable_names
    store = assemble(out, parts, sources, setup, names, configuration=configuration, replace=replace)
    discard_parts(parts)
    _log.info("%d events in %s", len(store), out)
    return store


def _existing(out: Path, configuration: Mapping[str, Any], parts: Path, *, resume: bool) -> EventStore:
    """Return the store that an earlier call has finished, if it is the one that is asked for."""
    if not resume:
        require_free(out)
    store = EventStore(out)
    there = {"setup": store.attributes["setup"], "selection": store.attributes["selection"]}
    require_same({**there, **store.attributes["configuration"]}, configuration, str(out))
    discard_parts(parts)  # an earlier call may have been killed while it tidied up
    return store


def _as_json(document: Any) -> Any:
    """Return the document as it comes back from JSON, so that it compares with one that was read."""
    return json.loads(json.dumps(document))


@dataclass(frozen=True)
class _Job:
    """What a task needs to read one file; it travels to other processes."""

    path: Path
    folder: Path
    selection: Selection
    weights: tuple[str, ...]
    stream: int
    batch_size: int
    part_size: int

    def __str__(self) -> str:
        return self.path.name


def read_file(job: _Job) -> None:
    """Read a file from where earlier tasks have left it to its end, and commit its parts.

    Raises
    ------
    FileFormatError
        If the file breaks its format or a weight is not finite; parts committed before stand.
    """
    done = committed_parts(job.folder)
    if done and done[-1].last:
        return
    reader = open_reader(job.path, digest=True)
    part = _Part(job, sum(info.n_generated for info in done))
    for batch in reader.batches(size=job.batch_size, skip=part.first_event):
        raw = raw_weights(batch, job.weights)
        needed = dataclasses.replace(batch, weights=raw, weight_names=job.weights)
        selected = job.selection.apply(needed, key=job.stream)
        part.nominal.append(raw[:, 0].copy())  # a view would keep all of the batch's weights
        part.observables.append(selected.observables)
        part.weights.append(selected.weights)
        part.events.append(batch.first_event + np.flatnonzero(selected.passed))
        part.cut_flow = selected.cut_flow if part.cut_flow is None else part.cut_flow + selected.cut_flow
        if part.n_generated >= job.part_size:
            part.commit()
            part = _Part(job, part.first_event + part.n_generated)
    part.commit(reader.content or {})


class _Part:
    """The part of a file that a task is working on."""

    def __init__(self, job: _Job, first_event: int) -> None:
        self.folder = job.folder
        self.first_event = first_event
        self.nominal: list[NDArray[np.float64]] = [np.empty(0)]
        self.observables = [np.empty((0, len(job.selection.observable_names)))]
        self.weights = [np.empty((0, len(job.weights)))]
        self.events: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)]
        self.cut_flow: CutFlow | None = None

    @property
    def n_generated(self) -> int:
        """Events read."""
        return sum(len(nominal) for nominal in self.nominal)

    def commit(self, content: Mapping[str, Any] | None = None) -> None:
        """Write the part; `content` is what is known of the file at its end."""
        # Sums over the whole part, so that they do not depend on the size of batches.
        nominal = np.concatenate(self.nominal)
        events = np.concatenate(self.events)
        info = PartInfo(
            first_event=self.first_event,
            n_generated=len(nominal),
            n_events=len(events),
            sum_weights=float(nominal.sum()),
            sum_squared_weights=float(nominal @ nominal),
            cut_flow={} if self.cut_flow is None else self.cut_flow.to_dict(),
            last=content is not None,
            **(content or {}),
        )
        columns = {
            "observables": np.concatenate(self.observables),
            "weights": np.concatenate(self.weights),
            "event": events,
        }
        write_part(self.folder, info, columns)
