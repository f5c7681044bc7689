"""Which raw weight of a file feeds which weight of the store.

The weight of an event itself (XWGTUP) belongs to the benchmark at which it was generated; the others are found by id,
which is the name of the benchmark, or says what the couplings are. Ids of varied scales or densities are found by the
systematic uncertainties.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from columnminer.errors import FileFormatError, MissingError, UnknownNameError, did_you_mean
from columnminer.model.labels import find_point
from columnminer.model.systematics import NuisanceShift, SelectionVariation
from columnminer.schema import NOMINAL
from columnminer.store.weights import NuisanceColumn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from columnminer.formats.reader import SourceInfo
    from columnminer.model.setup import Setup
    from columnminer.schema import EventBatch
    from columnminer.store.samples import Sample

__all__ = ["WeightColumns", "nuisance_columns", "raw_weights"]


@dataclass(frozen=True)
class WeightColumns:
    """How the weights of one file become those of the store.

    Attributes
    ----------
    raw : tuple of str
        Raw weights that are needed of each event, `NOMINAL` first.
    benchmarks : tuple of str
        The raw weight for each benchmark of the set-up; none for recorded events.
    shifts : tuple of NuisanceShift
        The raw weights for the nuisance parameters that act on the sample.
    """

    raw: tuple[str, ...]
    benchmarks: tuple[str, ...]
    shifts: tuple[NuisanceShift, ...]

    @classmethod
    def of(cls, setup: Setup, sample: Sample, info: SourceInfo, file: str) -> WeightColumns:
        """Find the weights that a file of a sample has to have.

        Raises
        ------
        UnknownNameError
            If the sample names a benchmark or a systematic that the set-up does not have.
        MissingError
            If the file lacks a weight.
        """
        if sample.data:
            return cls((NOMINAL,), (), ())
        if sample.benchmark is not None and sample.benchmark not in setup.benchmark_names:
            known = did_you_mean(sample.benchmark, setup.benchmark_names)
            msg = f"sample {sample.name!r}: no benchmark is called {sample.benchmark!r}.{known}"
            raise UnknownNameError(msg)
        own = set(setup.benchmark_names) if sample.background else {sample.benchmark}
        benchmarks = tuple(
            NOMINAL if name in own else _weight_at(name, setup, info, file) for name in setup.benchmark_names
        )
        for name in benchmarks:
            if name not in info.weight_names:
                have = ", ".join(info.weight_names[1:]) or "none but the nominal one"
                msg = (
                    f"{file}: events have no weight for benchmark {name!r}. Weights in the file: {have}. Reweight the "
                    f"events to it, or take it out of the set-up."
                )
                raise MissingError(msg)
        systematics = {s.name: s for s in setup.systematics}
        shifts: list[NuisanceShift] = []
        for name in sample.systematics:
            if name not in systematics:
                msg = f"sample {sample.name!r}: no systematic is called {name!r}.{did_you_mean(name, systematics)}"
                raise UnknownNameError(msg)
            shifts += systematics[name].shifts(info.weight_names, info.weight_descriptions, file)
        varied = [i for shift in shifts for i in shift.weights]
        return cls(tuple(dict.fromkeys((NOMINAL, *benchmarks, *varied))), benchmarks, tuple(shifts))

    def normalised(
        self, raw: NDArray[np.float64], factor: float, nuisances: Sequence[NuisanceColumn]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the weights of the store, (n, n_benchmarks) and (n, n_nuisance_columns) [pb].

        Varied weights belong to the sampling benchmark (and perhaps to other parton densities than the nominal weight);
        they are rescaled to the reference benchmark, with the ratio of the event's weight there to the one that they
        vary. A nuisance parameter that does not act on the sample has the reference weight.

        Parameters
        ----------
        raw
            (n, len(self.raw)) raw weights.
        factor
            From raw weights to pb.
        nuisances
            Columns to fill.
        """
        weights = raw[:, [self.raw.index(name) for name in self.benchmarks]] * factor
        n_columns = sum(1 if c.down is None else 2 for c in nuisances)
        if not n_columns:
            return weights, np.empty((len(raw), 0))
        shifts = {shift.parameter: shift for shift in self.shifts}
        reference, varied = weights[:, 0], np.empty((len(raw), n_columns))
        for column in nuisances:
            shift = shifts.get(column.name, NuisanceShift(column.name, None))
            for position, weight in ((column.up, shift.up), (column.down, shift.down)):
                if position is not None:
                    varied[:, position] = reference if weight is None else reference * self._ratio(raw, weight, shift)
            varied[:, column.up] *= shift.factor
        return weights, varied

    def _ratio(self, raw: NDArray[np.float64], varied: str, shift: NuisanceShift) -> NDArray[np.float64]:
        """Return a varied weight over the one that it varies; 0, which stands for no response, where that is 0."""
        central = raw[:, 0 if shift.central is None else self.raw.index(shift.central)]
        return np.divide(raw[:, self.raw.index(varied)], central, out=np.zeros_like(central), where=central != 0)


def _weight_at(benchmark: str, setup: Setup, info: SourceInfo, file: str) -> str:
    """Return the id of the weight of a benchmark: its name, or that of the one that is called by its couplings."""
    if benchmark in info.weight_names:
        return benchmark
    point = setup.benchmark_points[setup.benchmark_names.index(benchmark)]
    return find_point(point, info.weight_names[1:], info.weight_descriptions, setup.space, file) or benchmark


def nuisance_columns(setup: Setup, files: Sequence[WeightColumns]) -> tuple[NuisanceColumn, ...]:
    """Lay out the nuisance weights of a store: one or two columns for each nuisance parameter that changes weights."""
    shifts = {shift.parameter: shift for columns in files for shift in columns.shifts}
    layout: list[NuisanceColumn] = []
    position = 0
    for systematic in setup.systematics:
        if isinstance(systematic, SelectionVariation):
            continue
        for parameter in systematic.parameter_names:
            shift = shifts.get(parameter)
            two_sided = shift is not None and shift.down is not None
            step = 1.0 if shift is None else shift.step
            layout.append(
                NuisanceColumn(parameter, systematic.name, position, position + 1 if two_sided else None, step)
            )
            position += 1 + two_sided
    return tuple(layout)


def raw_weights(batch: EventBatch, names: Sequence[str]) -> NDArray[np.float64]:
    """Return the raw weights called `names` of all events of a batch, (n, len(names)).

    Raises
    ------
    FileFormatError
        If one is not a finite number; the message names the event and the weight.
    """
    weights = batch.weights
    if batch.weight_names != tuple(names):
        weights = weights[:, [batch.weight_names.index(name) for name in names]]
    finite = np.isfinite(weights)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        msg = (
            f"{batch.source}: weight {names[column]!r} of event {batch.first_event + row} (counted from 0) is "
            f"{weights[row, column]}, or missing: every event needs a finite one"
        )
        raise FileFormatError(msg)
    return weights
