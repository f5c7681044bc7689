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

from columnminer.errors import InputError, MissingError, TaskError, UnknownNameError, did_you_mean
from columnminer.model.systematics import SelectionVariation
from columnminer.observe.selection import Selection
from columnminer.run.tasks import run_tasks
from columnminer.store.assemble import assemble
from columnminer.store.commit import require_free
from columnminer.store.eventstore import EventStore
from columnminer.store.partition import PartitionScheme
from columnminer.store.parts import PartInfo, committed_parts, discard_parts, open_parts, require_same, write_part
from columnminer.store.sources import describe, find_sources, open_source
from columnminer.store.weightcolumns import raw_weights
from columnminer.streams import key

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from distributed import Client
    from numpy.typing import NDArray

    from columnminer.generate.pythia_settings import Settings
    from columnminer.model.setup import Setup
    from columnminer.observe.cutflow import CutFlow
    from columnminer.schema import EventBatch
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
    """
    out = Path(out).absolute()
    seed = seed if isinstance(seed, int) else key(seed, "process")
    if part_size < 1:
        msg = f"part_size must be at least 1 event, not {part_size!r}"
        raise InputError(msg)
    batch_size = min(BATCH, part_size)
    varied = _varied_selections(variations or {}, samples, setup, selection)
    named = {name: [given.to_dict() for given in both] for name, both in varied.items()}
    settings = _as_json(
        {
            "setup": setup.to_dict(),
            "selection": selection.to_dict(),
            **({"variations": named} if named else {}),
            "seed": seed,
            "mixing": mixing,
            "partition": dataclasses.asdict(PartitionScheme.of(partition)),
            "part_size": math.ceil(part_size / batch_size) * batch_size,
        }
    )
    sources = find_sources(samples, setup)
    configuration = {**settings, "samples": _as_json(describe(sources))}
    parts = out.with_name(out.name + ".parts")
    folders = {name: [f"{i}_{k}" for k in range(len(both))] for i, (name, both) in enumerate(varied.items())}
    if out.exists() and not replace:
        return _existing(out, configuration, parts, resume=resume)
    out.parent.mkdir(parents=True, exist_ok=True)
    open_parts(parts, settings, resume=resume, replace=replace)
    jobs = [
        _Job(
            path=source.path,
            weights_from=source.weights_from,
            folder=parts / source.part_key,
            selections={
                **{
                    folder: given
                    for name in varied
                    if name in source.sample.systematics
                    for folder, given in zip(folders[name], varied[name], strict=True)
                },
                "": selection,
            },
            weights=source.columns.raw,
            stream=source.stream(seed, "detector"),
            shower=source.sample.shower,
            seed=seed,
            batch_size=batch_size,
            part_size=settings["part_size"],
        )
        for source in sources
    ]
    for job in jobs:
        for folder in job.selections:
            (job.folder / folder).mkdir(parents=True, exist_ok=True)
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
    store = assemble(
        out, parts, sources, setup, names, configuration=configuration, replace=replace, variations=folders
    )
    discard_parts(parts)
    _log.info("%d events in %s", len(store), out)
    return store


def _varied_selections(
    variations: Mapping[str, Selection | Sequence[Selection]],
    samples: Sequence[Sample],
    setup: Setup,
    selection: Selection,
) -> dict[str, tuple[Selection, ...]]:
    """Return the selections at nu = +1 and (unless one-sided) -1 by name, in the order of the set-up.

    Raises
    ------
    UnknownNameError
        If one is given that the set-up does not know as a `SelectionVariation`.
    MissingError
        If one that a sample has is not given.
    InputError
        If one acts on no sample, or does not have the same observables.
    """
    known = [s.name for s in setup.systematics if isinstance(s, SelectionVariation)]
    used = {name for sample in samples for name in sample.systematics}
    for name in variations:
        if name not in known:
            msg = f"variations: the set-up has no SelectionVariation called {name!r}.{did_you_mean(name, known)}"
            raise UnknownNameError(msg)
        if name not in used:
            msg = f"variations: {name!r} acts on no sample; name it in Sample(systematics=...)"
            raise InputError(msg)
    found: dict[str, tuple[Selection, ...]] = {}
    for name in known:
        if name in variations:
            given = variations[name]
            found[name] = (given,) if isinstance(given, Selection) else tuple(given)
            if not 1 <= len(found[name]) <= 2:
                msg = f"variations: {name!r} needs one selection, or two (up and down), not {len(found[name])}"
                raise InputError(msg)
            if any(varied.observable_names != selection.observable_names for varied in found[name]):
                names = ", ".join(selection.observable_names)
                msg = f"variations: the selections of {name!r} need the observables {names}, in this order"
                raise InputError(msg)
        elif name in used:
            msg = f"a sample has the SelectionVariation {name!r}, whose selections are missing: process(variations=...)"
            raise MissingError(msg)
    return found


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
    """What a task needs to read one file; it travels to other processes.

    The nominal selection is the one without a name, and the last: where its part is, those of the others are.
    """

    path: Path
    weights_from: Path | None
    folder: Path
    selections: Mapping[str, Selection]
    weights: tuple[str, ...]
    stream: int
    batch_size: int
    part_size: int
    shower: Settings
    seed: int

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
    reader = open_source(job.path, job.shower, job.seed, digest=True, weights_from=job.weights_from)
    part = _Part(job, sum(info.n_generated for info in done))
    for batch in reader.batches(size=job.batch_size, skip=part.first_event):
        part.add(batch)
        if part.n_generated >= job.part_size:
            part.commit()
            part = _Part(job, part.first_event + part.n_generated)
    # Showers give a running estimate of the cross section, which is best after the last event.
    part.commit({**(reader.content or {}), "cross_section": reader.info().cross_section})


class _Part:
    """The part of a file that a task is working on."""

    def __init__(self, job: _Job, first_event: int) -> None:
        self.job = job
        self.first_event = first_event
        self.nominal: list[NDArray[np.float64]] = [np.empty(0)]
        self.seen = {name: _Seen(selection, len(job.weights)) for name, selection in job.selections.items()}

    @property
    def n_generated(self) -> int:
        """Events read."""
        return sum(len(nominal) for nominal in self.nominal)

    def add(self, batch: EventBatch) -> None:
        """Select and observe the events of a batch."""
        raw = raw_weights(batch, self.job.weights)
        needed = dataclasses.replace(batch, weights=raw, weight_names=self.job.weights)
        self.nominal.append(raw[:, 0].copy())  # a view would keep all of the batch's weights
        for seen in self.seen.values():
            seen.add(needed, self.job.stream)

    def commit(self, content: Mapping[str, Any] | None = None) -> None:
        """Write the part; `content` is what is known of the file at its end."""
        # Sums over the whole part, so that they do not depend on the size of batches.
        nominal = np.concatenate(self.nominal)
        for name, seen in self.seen.items():
            columns = seen.columns()
            info = PartInfo(
                first_event=self.first_event,
                n_generated=len(nominal),
                n_events=len(columns["event"]),
                sum_weights=float(nominal.sum()),
                sum_squared_weights=float(nominal @ nominal),
                cut_flow={} if seen.cut_flow is None else seen.cut_flow.to_dict(),
                last=content is not None,
                **(content or {}),
            )
            write_part(self.job.folder / name, info, columns)


class _Seen:
    """What one selection makes of the events of a part."""

    def __init__(self, selection: Selection, n_weights: int) -> None:
        self.selection = selection
        self.observables = [np.empty((0, len(selection.observable_names)))]
        self.weights = [np.empty((0, n_weights))]
        self.events: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)]
        self.cut_flow: CutFlow | None = None

    def add(self, batch: EventBatch, stream: int) -> None:
        """Select and observe the events of a batch; `stream` is that of the detector."""
        selected = self.selection.apply(batch, key=stream)
        self.observables.append(selected.observables)
        self.weights.append(selected.weights)
        self.events.append(batch.first_event + np.flatnonzero(selected.passed))
        self.cut_flow = selected.cut_flow if self.cut_flow is None else self.cut_flow + selected.cut_flow

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns of the part."""
        return {
            "observables": np.concatenate(self.observables),
            "weights": np.concatenate(self.weights),
            "event": np.concatenate(self.events),
        }
