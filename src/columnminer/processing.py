"""From event files to an EventStore: readers x selection, in parallel, resumable.

Each file is read by one task, which streams through it and commits a part every `part_size` events (`store.parts`).
Files that can be entered anywhere (ROOT) are read by a task for each part where there are several workers.
When all tasks are done, the parts are normalised and joined in the order of samples, files and events, and the store
appears by one rename. Nothing in it depends on who did which task or how often it was cut off.
"""

from __future__ import annotations

import itertools
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from columnminer.errors import FileFormatError, InputError, TaskError
from columnminer.files import delete, writing
from columnminer.formats.root import reading
from columnminer.run.tasks import run_tasks
from columnminer.store.assemble import assemble
from columnminer.store.building import PartBuilder
from columnminer.store.commit import require_free
from columnminer.store.eventstore import EventStore
from columnminer.store.parts import (
    committed_parts,
    discard_left,
    discard_parts,
    joining,
    open_parts,
    parts_under,
    require_same,
    write_part,
)
from columnminer.store.settings import as_json, run_settings, selections_of, variation_folders, varied_selections
from columnminer.store.sources import describe, find_sources, open_source
from columnminer.streams import key

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import numpy as np
    from distributed import Client

    from columnminer.formats.pythia_card import Settings
    from columnminer.model.setup import Setup
    from columnminer.observe.selection import Selection
    from columnminer.store.mixing import Mixing
    from columnminer.store.partition import Partitioning
    from columnminer.store.samples import Sample
    from columnminer.store.sources import Source

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
    variations: Mapping[str, Selection | Sequence[Selection]] | None = None,
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
        Of showers, detector smearing and of the partition.
    partition
        Fractions of train, validation and test events within each sample; or "in_order" to cut the store in order.
    mixing
        How signal samples made at different benchmarks are averaged when the store is read; see `EventStore`.
    variations
        For each `SelectionVariation` of the set-up that acts on a sample, the selection at nu = +1, or a pair of those
        at +1 and -1, with the observables of `selection`. Events are read once for all of them, with the same random
        numbers in detectors; see `EventStore.varied` for the outcome.
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
    StorageError
        If there is no room for the store. What was read is kept for the next call.

    Examples
    --------
    >>> generator = cm.DrellYan()
    >>> selection = cm.Selection(generator.observables, cuts=["m_ll > 600"])
    >>> samples = [cm.Sample("sm.lhe.gz", benchmark="sm")]
    >>> store = cm.process(samples, generator.setup(), selection, "high_mass.zarr", progress=False)
    >>> store.partition_names
    ('train', 'validation', 'test')
    """
    out = Path(out).absolute()
    seed = seed if isinstance(seed, int) else key(seed, "process")
    if part_size < 1:
        msg = f"part_size must be at least 1 event, not {part_size!r}"
        raise InputError(msg)
    batch_size = min(BATCH, part_size)
    varied = varied_selections(variations or {}, samples, setup, selection)
    settings = run_settings(setup, selection, varied, seed=seed, mixing=mixing, partition=partition)
    settings["part_size"] = math.ceil(part_size / batch_size) * batch_size
    sources = find_sources(samples, setup)
    configuration = {**settings, "samples": as_json(describe(sources))}
    parts = out.with_name(out.name + ".parts")
    place = parts_under(parts, settings)
    folders = variation_folders(varied)
    if out.exists() and not replace:
        store = _existing(out, configuration, place, resume=resume)
        _delete_read(sources)
        return store
    jobs = [
        _Job(
            path=source.path,
            weights_from=source.weights_from,
            folder=place / source.part_key,
            selections=selections_of(source.sample, selection, varied),
            weights=source.columns.raw,
            weight_names=tuple(source.sample.weight_names),
            reading=source.sample.reading,
            stream=source.stream(seed, "detector"),
            shower=source.sample.shower,
            seed=seed,
            batch_size=batch_size,
            part_size=settings["part_size"],
            first=first,
            stop=stop,
        )
        for source in sources
        for first, stop in _ranges(source, settings["part_size"], split=client is not None or workers > 1)
    ]
    try:
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            open_parts(parts, settings, resume=resume, replace=replace)
            _read(jobs, client=client, workers=workers, progress=progress)
            with joining(parts):
                names = selection.observable_names
                store = assemble(
                    out, place, sources, setup, names, configuration=configuration, replace=replace, variations=folders
                )
                discard_parts(parts)
    except (TaskError, FileNotFoundError) as error:
        if out.exists() and not (replace and parts.exists()):  # another run was first, and took the parts away
            return _existing(out, configuration, place, resume=True)
        if not isinstance(error, TaskError):
            raise
        msg = (
            f"{error}\nWhat could be read is kept in {parts}: mend what failed (or leave it out) and call again; only "
            "what is missing is read then."
        )
        raise TaskError(msg) from error.__cause__
    _delete_read(sources)
    _log.info("%d events in %s", len(store), out)
    return store


def _read(jobs: Sequence[_Job], **running: Any) -> None:
    for job in jobs:
        for folder in job.selections:
            (job.folder / folder).mkdir(parents=True, exist_ok=True)
    run_tasks(read_file, jobs, title="reading", so_far=_n_committed, **running)


def _delete_read(sources: Sequence[Source]) -> None:
    """Delete the files of samples that ask for it; until the store is complete they are needed for going on."""
    for source in sources:
        if source.sample.delete_after_reading:
            source.path.unlink(missing_ok=True)
            _log.info("deleted %s, as sample %r asks", source.path, source.sample.name)


def _ranges(source: Source, part_size: int, *, split: bool) -> list[tuple[int, int | None]]:
    """Return the ranges of events of a file that are tasks of their own: parts, or the whole up to its end, None."""
    n_events = source.info.n_events
    if not split or n_events is None or n_events <= part_size:
        return [(0, None)]
    firsts = range(0, n_events, part_size)
    return [*itertools.pairwise(firsts), (firsts[-1], None)]


def _existing(out: Path, configuration: Mapping[str, Any], place: Path, *, resume: bool) -> EventStore:
    """Return the store that an earlier call has finished, if it is the one that is asked for."""
    if not resume:
        require_free(out)
    store = EventStore(out)
    there = {"setup": store.attributes["setup"], "selection": store.attributes["selection"]}
    require_same({**there, **store.attributes["configuration"]}, configuration, str(out))
    discard_left(place)
    return store


@dataclass(frozen=True)
class _Job:
    """What a task needs to read one file; it travels to other processes.

    The nominal selection is the one without a name, and the last: where its part is, those of the others are.
    """

    path: Path
    weights_from: Path | None
    folder: Path
    selections: Mapping[str, Selection]
    weights: tuple[str, ...]
    weight_names: tuple[str, ...]
    reading: Mapping[str, Any]
    stream: int
    batch_size: int
    part_size: int
    first: int = 0
    stop: int | None = None
    shower: Settings = None
    seed: int = 0

    def __str__(self) -> str:
        return self.path.name if self.stop is None else f"{self.path.name} from event {self.first}"


def read_file(job: _Job) -> None:
    """Read a file, or its range of events, from where earlier tasks have left it to the end, and commit its parts.

    Raises
    ------
    FileFormatError
        If the file breaks its format or a weight is not finite. Nothing of it is kept then: what was read before may be
        wrong, too, where a checksum at the end says so; and the mended file may have the same fingerprint.
    """
    try:
        _read_on(job)
    except FileFormatError:
        if job.first == 0 and job.stop is None:
            delete(job.folder)
        raise


def _read_on(job: _Job) -> None:
    done = committed_parts(job.folder, job.first)
    first = job.first + sum(info.n_generated for info in done)
    if done and (done[-1].last or (job.stop is not None and first >= job.stop)):
        return
    reader = open_source(
        job.path,
        job.shower,
        job.seed,
        digest=True,
        weights=job.weights,
        weight_names=job.weight_names,
        weights_from=job.weights_from,
        **job.reading,
    )
    part = _begin(job, first)
    size = min(job.batch_size, reader.info().batch_size or job.batch_size)
    for batch in reader.batches(size=size, skip=part.first_event):
        with reading(batch):
            part.add(batch)
        if part.n_generated >= job.part_size:
            _commit(job, part)
            part = _begin(job, part.first_event + part.n_generated)
            if part.first_event == job.stop:
                return
    # Showers give a running estimate of the cross section, which is best after the last event.
    _commit(job, part, {**(reader.content or {}), "cross_section": reader.info().cross_section})


def _n_committed(job: _Job) -> int:
    return len(committed_parts(job.folder, job.first))


def _begin(job: _Job, first_event: int) -> PartBuilder:
    return PartBuilder(job.selections, job.weights, job.stream, first_event)


def _commit(job: _Job, part: PartBuilder, content: Mapping[str, Any] | None = None) -> None:
    for folder, (info, columns) in part.finish(content).items():
        write_part(job.folder / folder, info, columns)
