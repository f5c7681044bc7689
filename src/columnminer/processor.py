"""From NanoEvents to an EventStore, and to histograms at any theta, under coffea's executors.

``coffea.processor.Runner`` cuts files into chunks and hands them, as NanoEvents, to the processor, in processes or on a
cluster; what it returns adds up in any order, and `publish` makes a store of it.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coffea.processor import ProcessorABC

from columnminer.errors import (
    ColumnMinerError,
    ColumnMinerWarning,
    MissingError,
    OutputExistsError,
    UnknownNameError,
    did_you_mean,
)
from columnminer.formats.nanoaod import nano_batch, nano_generated, nano_info
from columnminer.formats.nanoaod_weights import NanoWeights
from columnminer.formats.root import opened, reading
from columnminer.model.labels import labelled_points
from columnminer.model.polynomials import EventPolynomials
from columnminer.model.systematics import SelectionVariation
from columnminer.observe.polynomial_histogram import PolynomialHistogram
from columnminer.store.building import PartBuilder
from columnminer.store.chunks import Chunk, Chunks, FileTotals, file_identity
from columnminer.store.parts import committed_part, open_parts, parts_under, write_part
from columnminer.store.samples import Sample
from columnminer.store.settings import run_settings, selections_of, variation_folders, varied_selections
from columnminer.store.sources import Source
from columnminer.store.weightcolumns import WeightColumns
from columnminer.streams import key

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    import awkward as ak
    import numpy as np

    from columnminer.model.polynomials import Residual
    from columnminer.model.setup import Setup
    from columnminer.observe.selection import Selection
    from columnminer.schema import EventBatch
    from columnminer.store.mixing import Mixing
    from columnminer.store.partition import Partitioning

__all__ = ["EventProcessor", "fileset"]

_log = logging.getLogger(__name__)

_METADATA = ("benchmark", "background", "data", "k_factor", "cross_section", "systematics", "weight_names")


def fileset(samples: Iterable[Sample], tree: str = "Events") -> dict[str, Any]:
    """Return samples as a fileset of coffea: dataset -> files and metadata, which say all that the samples do.

    Examples
    --------
    >>> samples = [cm.Sample("ttH.root", benchmark="sm", name="ttH", cross_section=0.507)]
    >>> sorted(cm.fileset(samples)["ttH"])
    ['files', 'metadata']
    """
    return {
        sample.name: {
            "files": {str(path): tree for path in sample.files},
            "metadata": {name: _plain(getattr(sample, name)) for name in _METADATA},
        }
        for sample in samples
    }


class EventProcessor(ProcessorABC):  # type: ignore[misc]
    """Processor of coffea that selects and observes NanoAOD events.

    Parameters
    ----------
    setup
        What theta means; the events need a weight for each of its benchmarks.
    selection
        Observables and cuts.
    out
        Folder of the store that `publish` is to make. Workers commit what they have beside it, so it has to be visible
        from them; called again with the same arguments, finished chunks are taken from there. None: columns travel in
        memory with the result.
    samples
        What the datasets are, each called as a sample (whose paths do not matter). None: their metadata say
        it (benchmark, background, data, k_factor, cross_section, systematics, weight_names), see `fileset`.
    seed, partition, mixing, variations
        As in `process`; variations need `samples`.
    histograms
        name -> axis, or axes, of the `hist` package, called as observables: each a `PolynomialHistogram` to be filled.
    tolerance
        Of the weights that are not used for the polynomials of events (benchmarks that are not in the basis, other
        weights that are called by their couplings): where one is off by more, relatively, there is a warning.
    replace
        Whether parts of another configuration may be deleted.

    Raises
    ------
    InputError, UnknownNameError, MissingError
        If these do not fit together.
    OutputExistsError
        If there are parts of another configuration.
    """

    def __init__(
        self,
        setup: Setup,
        selection: Selection,
        *,
        out: str | os.PathLike[str] | None = None,
        samples: Sequence[Sample] | None = None,
        seed: int | np.random.Generator = 0,
        partition: Partitioning = (0.6, 0.2, 0.2),
        mixing: Mixing = "fractions",
        variations: Mapping[str, Selection | Sequence[Selection]] | None = None,
        histograms: Mapping[str, Any] | None = None,
        tolerance: float = 0.01,
        replace: bool = False,
    ) -> None:
        self.setup, self.selection = setup, selection
        self.out = None if out is None else str(Path(out).absolute())
        self.samples = None if samples is None else {sample.name: sample for sample in samples}
        self.tolerance = tolerance
        self.seed = seed if isinstance(seed, int) else key(seed, "process")
        self.varied = varied_selections(variations or {}, samples or (), setup, selection)
        self.settings = run_settings(setup, selection, self.varied, seed=self.seed, mixing=mixing, partition=partition)
        self.polynomials = None if setup.morphing is None else EventPolynomials(setup)
        self.axes = {
            n: tuple(axes) if isinstance(axes, tuple | list) else (axes,) for n, axes in (histograms or {}).items()
        }
        for name, axes in self.axes.items():
            PolynomialHistogram(setup, *axes)
            for axis in axes:
                if axis.name not in selection.observable_names:
                    known = did_you_mean(axis.name, selection.observable_names)
                    msg = f"histogram {name!r}: no observable is called {axis.name!r}.{known}"
                    raise UnknownNameError(msg)
        if self.out is not None:
            Path(self.out).parent.mkdir(parents=True, exist_ok=True)
            open_parts(Path(f"{self.out}.parts"), self.settings, resume=True, replace=replace)

    def process(self, events: ak.Array) -> Chunks:
        """Select and observe a chunk of events; called by coffea.

        Bad input is kept in the result, for `publish` to report, and other chunks go on. Errors of the operating system
        are raised, as coffea retries them.
        """
        metadata = events.metadata
        sample, order = self._sample(metadata)
        place = (metadata["dataset"], metadata["fileuuid"], int(metadata["entrystart"]), int(metadata["entrystop"]))
        histograms = {(name, place[0]): PolynomialHistogram(self.setup, *axes) for name, axes in self.axes.items()}
        try:
            chunk = self._chunk(events, sample, order, {name: h for (name, _), h in histograms.items()})
        except ColumnMinerError as error:
            _log.error("%s: %s", place[0], error)
            chunk, histograms = Chunk(sample, order, failure=str(error)), {}
        return Chunks(self.settings, variation_folders(self.varied), self.out, {place: chunk}, histograms)

    def postprocess(self, accumulator: Chunks) -> Chunks:
        """Warn of weights that are no polynomials; called by coffea with the sum of all chunks."""
        worst = accumulator.residual
        if worst is not None and worst.value > self.tolerance:
            msg = (
                f"the weights of events are not the polynomials of the set-up: one is off by {worst}, relatively; "
                f"{self.tolerance:g} is tolerated. Does the set-up have all couplings, and powers that are high enough?"
            )
            warnings.warn(msg, ColumnMinerWarning, stacklevel=2)
        return accumulator

    def _sample(self, metadata: Mapping[str, Any]) -> tuple[Sample, int]:
        """Return what the dataset of a chunk is, and its place among those that were given."""
        dataset, path = metadata["dataset"], [metadata["filename"]]
        if self.samples is None:
            said = {name: metadata[name] for name in _METADATA if name in metadata}
            return Sample(path, name=dataset, **said), 0
        if dataset not in self.samples:
            msg = f"the processor was given no sample called {dataset!r}.{did_you_mean(dataset, self.samples)}"
            raise UnknownNameError(msg)
        sample = self.samples[dataset]
        said = {name: getattr(sample, name) for name in _METADATA}
        return Sample(path, name=dataset, **said), list(self.samples).index(dataset)

    def _chunk(
        self, events: ak.Array, sample: Sample, order: int, histograms: Mapping[str, PolynomialHistogram]
    ) -> Chunk:
        metadata = events.metadata
        path, start, stop = metadata["filename"], int(metadata["entrystart"]), int(metadata["entrystop"])
        totals = _totals(path, metadata["treename"]) if start == 0 else None
        weights = NanoWeights.of(events, path, sample.weight_names)
        info = nano_info(weights, len(events), None if totals is None else totals.generated)
        columns = WeightColumns.of(self.setup, sample, info, path)
        source = Source(order, sample, Path(path), file_identity(metadata["fileuuid"]), info, columns)
        for systematic in self.setup.systematics:
            name = systematic.name
            if isinstance(systematic, SelectionVariation) and name in sample.systematics and name not in self.varied:
                msg = f"dataset {metadata['dataset']!r} has the SelectionVariation {name!r}: give variations"
                raise MissingError(msg)
        selections = selections_of(sample, self.selection, self.varied)
        if self.out is not None:
            folder = parts_under(Path(f"{self.out}.parts"), self.settings) / source.part_key
            for name in selections:
                (folder / name).mkdir(parents=True, exist_ok=True)
            there = committed_part(folder, start)
            if there is not None and there.n_generated != stop - start:
                msg = f"{path}: parts in {self.out}.parts are of another chunk size: keep to it, or pass replace=True"
                raise OutputExistsError(msg)
            if there is not None and not histograms:
                return Chunk(sample, order, columns, totals, there.generated)
        batch = nano_batch(events, weights, columns.raw, start, path)
        builder = PartBuilder(selections, columns.raw, source.stream(self.seed, "detector"), start)
        with reading(batch):
            builder.add(batch)
            residual = self._residual(batch, sample, columns, weights)
        parts = builder.finish()
        generated = parts[""][0].generated
        self._fill(histograms, sample, columns, parts[""][1])
        if self.out is not None:
            for name, (part, table) in parts.items():
                write_part(folder / name, part, table)
            parts = {}
        return Chunk(sample, order, columns, totals, generated, parts, residual)

    def _residual(
        self, batch: EventBatch, sample: Sample, columns: WeightColumns, weights: NanoWeights
    ) -> Residual | None:
        """Return the worst disagreement of weights that are not used with the polynomials of their events."""
        if self.polynomials is None or sample.benchmark is None:
            return None
        used = set(columns.benchmarks)
        others = [name for name in weights.reweighting if name not in used]
        points = labelled_points({name: name for name in others}, self.setup.space, batch.source)
        if not points and not self.polynomials.compared:
            return None
        values = weights.values(batch.events, list(points))
        at_benchmarks = batch.weights[:, [columns.raw.index(name) for name in columns.benchmarks]]
        left_out = {name: (point, values[:, i]) for i, (name, point) in enumerate(points.items())}
        return self.polynomials.worst(at_benchmarks, left_out, batch.source, batch.first_event)

    def _fill(
        self,
        histograms: Mapping[str, PolynomialHistogram],
        sample: Sample,
        columns: WeightColumns,
        table: Mapping[str, Any],
    ) -> None:
        """Fill the events of a part with their raw weights, which are normalised when all is known."""
        names = self.selection.observable_names
        for histogram in histograms.values():
            values = {name: table["observables"][:, names.index(name)] for name in histogram.names}
            if sample.benchmark is None:
                histogram.fill(table["weights"][:, 0], background=True, **values)
            else:
                at_benchmarks = table["weights"][:, [columns.raw.index(name) for name in columns.benchmarks]]
                histogram.fill(at_benchmarks, **values)


def _totals(path: str, tree: str) -> FileTotals:
    """Look at the whole of a file."""
    with opened(path) as file:
        return FileTotals(int(file[tree].num_entries), int(file.file.source.num_bytes), nano_generated(file))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
