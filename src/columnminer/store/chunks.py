"""What coffea's workers bring back: chunks of files by (dataset, file uuid, start, stop), which become a store.

Executors add accumulators up in any order. `Chunks` is a mapping that does not mind, and `publish` puts its parts into
the order of samples, files and events, so that the store does not depend on who did what.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np

from columnminer.errors import InputError, MissingError, TaskError, UnknownNameError, did_you_mean
from columnminer.formats.reader import Generated, SourceInfo
from columnminer.model.setup import Setup
from columnminer.store.assemble import assemble
from columnminer.store.normalisation import RawTotals, file_factor
from columnminer.store.parts import PartInfo, discard_parts, open_parts, parts_under, write_part
from columnminer.store.settings import as_json
from columnminer.store.sources import Source, describe

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from columnminer.model.polynomials import Residual
    from columnminer.observe.polynomial_histogram import PolynomialHistogram
    from columnminer.store.eventstore import EventStore
    from columnminer.store.samples import Sample
    from columnminer.store.weightcolumns import WeightColumns

__all__ = ["Chunk", "ChunkKey", "Chunks", "FileTotals", "file_identity", "publish"]

ChunkKey: TypeAlias = tuple[str, str, int, int]
"""Dataset, uuid of the file, first entry, entry after the last."""


@dataclass(frozen=True)
class FileTotals:
    """What the chunk at the start of a file finds out about it.

    Attributes
    ----------
    n_entries : int
        Events in it.
    size : int
        Bytes.
    generated : Generated or None
        What was generated for it, where it says so.
    """

    n_entries: int
    size: int
    generated: Generated | None


@dataclass(frozen=True)
class Chunk:
    """The outcome of a range of events of a file.

    Attributes
    ----------
    sample : Sample
        What the dataset is; its only path is the file.
    order : int
        Of the dataset among those that the processor was given; 0 where they say themselves what they are.
    weights : WeightColumns or None
        Which raw weights it has.
    totals : FileTotals or None
        In the first chunk of a file.
    generated : Generated or None
        The events in its range.
    parts : mapping of str to (PartInfo, columns)
        By name of the selection; empty where the part is committed in the folder beside the output.
    residual : Residual or None
        The worst of polynomial weights.
    failure : str
        Why there is nothing; empty: there is.
    """

    sample: Sample
    order: int
    weights: WeightColumns | None = None
    totals: FileTotals | None = None
    generated: Generated | None = None
    parts: Mapping[str, tuple[PartInfo, Mapping[str, NDArray[Any]]]] = field(default_factory=dict)
    residual: Residual | None = None
    failure: str = ""


class Chunks(Mapping[ChunkKey, Chunk]):
    """Accumulator of an `EventProcessor`: chunks by key; ``+`` joins them.

    Attributes
    ----------
    settings : dict
        JSON document of what the processor does.
    folders : dict
        Where the parts of varied selections are, by systematic.
    out : str or None
        Where the store is to be; parts are committed beside it. None: they are in here.
    histograms : dict
        (name, dataset) -> histogram of raw weights.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        folders: dict[str, list[str]],
        out: str | None,
        chunks: Mapping[ChunkKey, Chunk],
        histograms: Mapping[tuple[str, str], PolynomialHistogram] | None = None,
    ) -> None:
        self.settings, self.folders, self.out = settings, folders, out
        self.histograms = dict(histograms or {})
        self._chunks = dict(chunks)

    def __getitem__(self, key: ChunkKey) -> Chunk:
        return self._chunks[key]

    def __iter__(self) -> Iterator[ChunkKey]:
        return iter(self._chunks)

    def __len__(self) -> int:
        return len(self._chunks)

    def __repr__(self) -> str:
        return f"Chunks({len(self)} of {len({key[1] for key in self})} files, {len(self.failures)} failed)"

    @property
    def failures(self) -> dict[ChunkKey, str]:
        """Why chunks failed."""
        return {key: chunk.failure for key, chunk in sorted(self.items(), key=lambda item: item[0]) if chunk.failure}

    @property
    def residual(self) -> Residual | None:
        """The worst disagreement of a weight with the polynomial of its event; None if none was compared."""
        return max((chunk.residual for chunk in self.values() if chunk.residual is not None), default=None)

    def histogram(self, name: str) -> PolynomialHistogram:
        """Return a histogram of all datasets, with weights in pb.

        Signal samples are averaged with the fractions of generated events that they bring; backgrounds add up. Recorded
        events have no weights: each counts as 1.

        Raises
        ------
        UnknownNameError
            If there is none of this name.
        FileFormatError
            If a dataset has no cross section.
        """
        found = {dataset: histogram for (given, dataset), histogram in self.histograms.items() if given == name}
        if not found:
            msg = f"no histogram is called {name!r}.{did_you_mean(name, {given for given, _ in self.histograms})}"
            raise UnknownNameError(msg)
        samples = {dataset: next(c.sample for k, c in self.items() if k[0] == dataset) for dataset in sorted(found)}
        totals = {dataset: self._generated(dataset) for dataset in samples}
        n_signal = sum(totals[d].n_events for d, sample in samples.items() if sample.benchmark is not None)
        scaled = []
        for dataset, sample in samples.items():
            made = totals[dataset]
            raw = RawTotals(dataset, made.n_events, made.sum_weights, made.sum_squared_weights)
            factor = 1.0 if sample.data else sample.k_factor * file_factor(raw, sample.cross_section)
            share = 1.0 if sample.benchmark is None else made.n_events / n_signal
            scaled.append(factor * share * found[dataset])
        return reduce(operator.add, scaled)

    def _generated(self, dataset: str) -> Generated:
        """Return what was generated for a dataset: as its files say, or else as they have it."""
        files: dict[str, list[Chunk]] = {}
        for key in sorted(self):
            if key[0] == dataset:
                files.setdefault(key[1], []).append(self[key])
        said = {uuid: next((c.totals.generated for c in chunks if c.totals), None) for uuid, chunks in files.items()}
        return Generated.total(
            said[uuid] or Generated.total(chunk.generated for chunk in chunks if chunk.generated is not None)
            for uuid, chunks in files.items()
        )

    def __iadd__(self, other: Chunks) -> Self:
        if self.settings != other.settings:
            msg = "these are results of processors with other set-ups, selections or seeds: they do not add up"
            raise InputError(msg)
        if again := sorted(self._chunks.keys() & other._chunks.keys()):
            msg = f"entries {again[0][2]} to {again[0][3]} of dataset {again[0][0]!r} are in both results"
            raise InputError(msg)
        self._chunks |= other._chunks
        for key, histogram in other.histograms.items():
            self.histograms[key] = self.histograms[key] + histogram if key in self.histograms else histogram
        return self

    def __add__(self, other: Chunks) -> Chunks:
        if not isinstance(other, Chunks):
            return NotImplemented
        joined = copy.copy(self)
        joined._chunks, joined.histograms = dict(self._chunks), dict(self.histograms)
        joined += other
        return joined


def file_identity(uuid: str) -> str:
    """Return what tells files apart in a store: they may lie where nobody reads all of their bytes."""
    return uuid.replace("-", "")


def publish(
    accumulator: object, out: str | os.PathLike[str] | None = None, *, skip_failed: bool = False, replace: bool = False
) -> EventStore:
    """Make an EventStore of what a run of coffea with an `EventProcessor` returned.

    Parameters
    ----------
    accumulator
        What the run returned; the sum of several is one.
    out
        Folder of the store; None: as the processor was told.
    skip_failed
        Whether to go on without the files that failed, as if they did not exist; else they are an error.
    replace
        Whether a store that is there gives way.

    Raises
    ------
    TaskError
        If chunks failed, with the reason for each.
    MissingError
        If parts of a file are missing, as weights are normalised to all that was generated.
    InputError
        If there is nothing, or no `out`.
    OutputExistsError
        If there is a store that may not be replaced.
    """
    if not isinstance(accumulator, Chunks) or not accumulator:
        msg = f"publish needs what coffea's Runner returned for an EventProcessor, not {type(accumulator).__name__}"
        raise InputError(msg)
    target = accumulator.out if out is None else out
    if target is None:
        msg = "say where the store is to be: publish(accumulator, out=...)"
        raise InputError(msg)
    final = Path(target).absolute()
    if accumulator.out is not None and final != Path(accumulator.out):
        msg = f"the parts of this run are beside {accumulator.out}: the store has to be there"
        raise InputError(msg)
    files = _files(accumulator, skip_failed=skip_failed)
    parts = final.with_name(final.name + ".parts")
    if accumulator.out is None:
        final.parent.mkdir(parents=True, exist_ok=True)
        open_parts(parts, accumulator.settings, resume=False, replace=True)
    place = parts_under(parts, accumulator.settings)
    for source, chunks in files:
        _complete(place / source.part_key, chunks, accumulator)
    sources = [source for source, _ in files]
    store = assemble(
        final,
        place,
        sources,
        Setup.from_dict(accumulator.settings["setup"]),
        tuple(accumulator.settings["selection"]["observables"]),
        configuration={**accumulator.settings, "samples": as_json(describe(sources))},
        replace=replace,
        variations=accumulator.folders,
    )
    discard_parts(parts)
    return store


def _files(accumulator: Chunks, *, skip_failed: bool) -> list[tuple[Source, list[Chunk]]]:
    """Return the files in the order of the store, and the chunks of each in theirs."""
    if accumulator.failures and not skip_failed:
        reasons = "\n".join(f"  {dataset}: {reason}" for (dataset, *_), reason in accumulator.failures.items())
        msg = (
            f"{len(accumulator.failures)} of {len(accumulator)} chunks failed:\n{reasons}\n"
            "publish(..., skip_failed=True) leaves their files out."
        )
        raise TaskError(msg)
    failed = {(dataset, uuid) for dataset, uuid, *_ in accumulator.failures}
    chunks: dict[tuple[str, str], list[tuple[ChunkKey, Chunk]]] = {}
    for key in sorted(accumulator, key=lambda key: (accumulator[key].order, *key)):
        if key[:2] not in failed:
            chunks.setdefault(key[:2], []).append((key, accumulator[key]))
    if not chunks:
        msg = "no file is left: all of them failed"
        raise MissingError(msg)
    datasets = list(dict.fromkeys(dataset for dataset, _ in chunks))
    seen: dict[str, str] = {}
    files = []
    for (dataset, uuid), found in chunks.items():
        if uuid in seen:
            msg = f"datasets {seen[uuid]!r} and {dataset!r} have the same file {found[0][1].sample.files[0].name}"
            raise InputError(msg)
        seen[uuid] = dataset
        files.append((_source(datasets.index(dataset), uuid, found), [chunk for _, chunk in found]))
    return files


def _source(position: int, uuid: str, found: list[tuple[ChunkKey, Chunk]]) -> Source:
    """Return one file, all of whose events are there."""
    (dataset, *_), first = found[0]
    name = first.sample.files[0]
    position_in_file = 0
    for (_, _, start, stop), chunk in found:
        if start != position_in_file:
            break
        if chunk.weights != first.weights:
            msg = f"{name}: events from {start} on have other weights than those before"
            raise InputError(msg)
        position_in_file = stop
    n_entries = first.totals.n_entries if first.totals is not None else None
    if position_in_file != n_entries or first.totals is None or first.weights is None:
        msg = (
            f"dataset {dataset!r}, {name}: entries from {position_in_file} on are missing, or twice there. A store "
            "needs whole files (no maxchunks)"
        )
        raise MissingError(msg)
    info = SourceInfo(first.weights.raw, generated=first.totals.generated)
    sample = replace(first.sample, paths=[str(name)])
    return Source(position, sample, Path(name), file_identity(uuid), info, first.weights)


def _complete(folder: Path, chunks: list[Chunk], accumulator: Chunks) -> None:
    """Commit what is in memory of a file, and an empty part that says that the file ends."""
    first = chunks[0]
    if first.totals is None or first.weights is None:  # `_source` has seen to it
        return
    for chunk in chunks:
        for name, (info, columns) in chunk.parts.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            write_part(folder / name, info, columns)
    end = PartInfo(first.totals.n_entries, 0, 0, 0.0, 0.0, last=True, size=first.totals.size)
    nothing = {
        "observables": np.empty((0, len(accumulator.settings["selection"]["observables"]))),
        "weights": np.empty((0, len(first.weights.raw))),
        "event": np.empty(0, dtype=np.int64),
    }
    varied = [f for name, both in accumulator.folders.items() if name in first.sample.systematics for f in both]
    for name in (*varied, ""):
        write_part(folder / name, end, nothing)
