"""From committed parts to a published store: normalised, in the order of samples, files and events."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property, reduce
from importlib.metadata import version
from itertools import groupby
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import OutputExistsError
from columnminer.formats.reader import Generated
from columnminer.observe.cutflow import CutFlow
from columnminer.store.normalisation import RawTotals, sample_factors
from columnminer.store.partition import STRATUM, PartitionScheme
from columnminer.store.parts import PartInfo, committed_parts, read_part
from columnminer.store.publish import Description, publish_events
from columnminer.store.samples import FileInfo, SampleInfo
from columnminer.store.weightcolumns import nuisance_columns
from columnminer.streams import uniform

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from columnminer.model.setup import Setup
    from columnminer.store.eventstore import EventStore
    from columnminer.store.sources import Source
    from columnminer.store.weights import NuisanceColumn

__all__ = ["assemble"]


def assemble(
    out: Path,
    parts: Path,
    sources: Sequence[Source],
    setup: Setup,
    observables: Sequence[str],
    *,
    configuration: Mapping[str, Any],
    replace: bool,
    variations: Mapping[str, Sequence[str]] | None = None,
) -> EventStore:
    """Publish the store of files whose parts have all been committed.

    Parameters
    ----------
    out
        Folder of the store.
    parts
        Folder of the parts.
    sources
        The files, ordered by sample.
    setup, observables
        What theta means, and the names of the observables.
    configuration
        JSON document of all that the store depends on, with keys setup, selection, seed and partition, and variations,
        the other selections by name of a systematic, if there are any.
    replace
        Whether a store that is there gives way.
    variations
        By name of a systematic, where its selections at nu = +1 and -1 have their parts, within the folder of a file.

    Raises
    ------
    FileFormatError
        If a file does not say enough to normalise its weights.
    OutputExistsError
        If there is an output that may not be replaced, or parts are missing.
    """

    def publish(
        files: list[_File],
        codes: NDArray[np.uint8],
        out: Path,
        selection: Mapping[str, Any],
        stores: Mapping[str, list[EventStore]] | None = None,
    ) -> EventStore:
        samples = _by_sample(files)
        description = Description(
            setup=setup,
            observables=tuple(observables),
            samples=tuple(sample.info() for sample in samples),
            partition=scheme,
            nuisances=nuisances,
            recorded=sources[0].sample.data,
            cut_flow={sample.files[0].source.sample.name: sample.cut_flow() for sample in samples},
            selection=selection,
            configuration={k: v for k, v in configuration.items() if k not in {"setup", "selection"}},
            provenance={package: version(package) for package in ("columnminer", "numpy", "awkward", "zarr")},
        )
        rows = (row for sample in samples for row in sample.rows(nuisances))
        replaced = replace or out.parent == parts  # a varied store may be left of a run that was cut off
        return publish_events(out, description, rows, codes, replace_existing=replaced, within=parts, variations=stores)

    nuisances = nuisance_columns(setup, [source.columns for source in sources])
    scheme = PartitionScheme(**configuration["partition"])
    files = [_File(source, parts / source.part_key) for source in sources]
    if scheme.in_order:
        codes = scheme.assign_in_order(sum(file.n_events for file in files))
    else:
        codes = np.concatenate([c for s in _by_sample(files) for c in s.partitions(scheme, configuration["seed"])])
    stores: dict[str, list[EventStore]] = {}
    for name, folders in (variations or {}).items():
        for folder, selection in zip(folders, configuration["variations"][name], strict=True):
            varied = [f.varied(folder) if name in f.source.sample.systematics else f for f in files]
            partitions = _same_partitions(files, codes, varied)
            stores.setdefault(name, []).append(publish(varied, partitions, parts / f"store-{folder}", selection))
    return publish(files, codes, out, configuration["selection"], stores)


def _by_sample(files: list[_File]) -> list[_ReadSample]:
    return [_ReadSample(list(own)) for _, own in groupby(files, key=lambda file: file.source.position)]


def _same_partitions(files: list[_File], codes: NDArray[np.uint8], varied: list[_File]) -> NDArray[np.uint8]:
    """Return the partition of each event of a varied selection, from the `codes` of those of the nominal one.

    Events that pass both stay where they are, others go with the one before them in the file. As partitions are drawn
    regardless of what is in an event (or the file is cut in order), the fractions stay the same on average.
    """
    found, first = [], 0
    for file, other in zip(files, varied, strict=True):
        own, first = codes[first : first + file.n_events], first + file.n_events
        before = np.searchsorted(file.events, other.events, side="right") - 1
        found.append(own[np.maximum(before, 0)] if len(own) else np.zeros(other.n_events, dtype=np.uint8))
    return np.concatenate(found)


@dataclass(frozen=True)
class _File:
    """One file whose parts are all there."""

    source: Source
    folder: Path

    @cached_property
    def parts(self) -> tuple[PartInfo, ...]:
        parts = committed_parts(self.folder)
        if not (parts and parts[-1].last):
            msg = f"parts of {self.source.path} have vanished from {self.folder}; is another run at work there?"
            raise OutputExistsError(msg)
        return tuple(parts)

    def varied(self, folder: str) -> _File:
        """Return the same file in another selection."""
        return _File(self.source, self.folder / folder)

    @property
    def n_events(self) -> int:
        return sum(part.n_events for part in self.parts)

    @property
    def events(self) -> NDArray[np.int64]:
        """Numbers of the events that passed, in order."""
        return np.concatenate([read_part(self.folder, part, ["event"])["event"] for part in self.parts])

    @property
    def totals(self) -> RawTotals:
        generated = self.source.info.generated or Generated.total(part.generated for part in self.parts)
        at_end = self.parts[-1].cross_section
        return RawTotals(
            file=str(self.source.path),
            n_generated=generated.n_events,
            sum_weights=generated.sum_weights,
            sum_squared_weights=generated.sum_squared_weights,
            cross_section=self.source.info.cross_section if at_end is None else at_end,
            weighting=self.source.info.weighting,
            common=self.source.info.generated is not None,
        )


@dataclass(frozen=True)
class _ReadSample:
    """The files of one sample."""

    files: list[_File]

    @cached_property
    def factors(self) -> list[float]:
        """From raw weights to pb, for each file; 1 for recorded events."""
        sample = self.files[0].source.sample
        if sample.data:
            return [1.0] * len(self.files)
        totals = [file.totals for file in self.files]
        return sample_factors(totals, cross_section=sample.cross_section, k_factor=sample.k_factor)

    def info(self) -> SampleInfo:
        sample = self.files[0].source.sample
        totals = [file.totals for file in self.files]
        files = tuple(
            FileInfo(
                name=file.source.path.name,
                size=file.parts[-1].size,
                sha256=file.parts[-1].sha256,
                n_generated=total.n_generated,
                cross_section=total.cross_section,
                weighting=total.weighting,
                factor=factor,
            )
            for file, total, factor in zip(self.files, totals, self.factors, strict=True)
        )
        cross_section = math.fsum(t.sum_weights * f for t, f in zip(totals, self.factors, strict=True))
        return SampleInfo(
            name=sample.name,
            benchmark=sample.benchmark,
            n_generated=sum(total.n_generated for total in totals),
            n_events=sum(file.n_events for file in self.files),
            background=sample.background,
            data=sample.data,
            k_factor=sample.k_factor,
            systematics=tuple(sample.systematics),
            cross_section=None if sample.data else cross_section,
            files=files,
        )

    def cut_flow(self) -> dict[str, Any]:
        """Return how many events, and how much cross section [pb], each step lets through."""
        flows = [
            dataclasses.replace(flow, weights=tuple(factor * w for w in flow.weights))
            for file, factor in zip(self.files, self.factors, strict=True)
            for flow in (CutFlow.from_dict(part.cut_flow) for part in file.parts if part.cut_flow)
        ]
        return reduce(add, flows).to_dict() if flows else {}

    def partitions(self, scheme: PartitionScheme, seed: int) -> Iterator[NDArray[np.uint8]]:
        """Yield the partition codes of the events that passed, by random numbers that belong to them."""
        first, waiting = 0, np.empty(0)
        for file in self.files:
            waiting = np.concatenate([waiting, uniform(file.source.stream(seed, "partition"), file.events)])
            n_whole = len(waiting) // STRATUM * STRATUM
            yield scheme.assign(waiting[:n_whole], first)
            first, waiting = first + n_whole, waiting[n_whole:]
        yield scheme.assign(waiting, first)

    def rows(self, nuisances: Sequence[NuisanceColumn]) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the columns of the store, a part at a time."""
        for file, factor in zip(self.files, self.factors, strict=True):
            for part in file.parts:
                columns = read_part(file.folder, part)
                weights, varied = file.source.columns.normalised(columns["weights"], factor, nuisances)
                yield {
                    "observables": columns["observables"],
                    "weights": weights,
                    "nuisance_weights": varied,
                    "sample": np.full(part.n_events, file.source.position, dtype=np.int32),
                    "event": columns["event"],
                }
