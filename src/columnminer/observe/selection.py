"""Selection: from a batch of events to columns of observables, by MadMiner's rules.

Observables first, then cuts, then efficiencies; cuts and efficiencies may name observables, whose value is then what
is stored: the default where they are undefined. An event is left out where *any* required observable is undefined, a
cut is 0, or an efficiency is not above 0. Efficiencies multiply all weights of the event.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import numpy as np

from columnminer.arithmetic import Number
from columnminer.errors import ExpressionError, InputError, UnknownNameError, did_you_mean
from columnminer.expressions import Evaluator, Kind, Program, compile_expression
from columnminer.observe import arrays
from columnminer.observe.cutflow import CutFlow
from columnminer.observe.isolation import described, isolations
from columnminer.observe.objects import OBJECTS, Objects
from columnminer.observe.observables import Cut, DefaultObservables, Efficiency, Formula, Observable, provenance

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from columnminer.observe.clustering import Jets
    from columnminer.observe.detector import Detector
    from columnminer.observe.isolation import Isolation
    from columnminer.observe.objects import Definition
    from columnminer.schema import EventBatch

__all__ = ["Selected", "Selection"]

Step: TypeAlias = Observable | Cut | Efficiency
Made = TypeVar("Made", Observable, Cut, Efficiency)


@dataclass(frozen=True)
class Selected:
    """What a selection makes of a batch.

    Attributes
    ----------
    observables : numpy.ndarray
        (n_passed, n_observables) float64; NaN where undefined without a default.
    weights : numpy.ndarray
        (n_passed, n_weights) float64: the raw weights times the efficiencies.
    passed : numpy.ndarray
        (n_events,) bool: which events of the batch these are.
    cut_flow : CutFlow
        How many events each step lets through.
    """

    observables: NDArray[np.float64]
    weights: NDArray[np.float64]
    passed: NDArray[np.bool_]
    cut_flow: CutFlow


class Selection:
    """Objects, observables, cuts and efficiencies: what is kept of an event.

    Parameters
    ----------
    observables
        name -> an expression, a function of the awkward events, or an `Observable`, which says more.
    cuts, efficiencies
        Expressions, functions, or `Cut` and `Efficiency`.
    detector
        How particles are measured; None: perfectly.
    objects
        name -> function of the awkward events: other definitions of objects, see `objects.Objects`.
    default_observables
        Further observables, after the given ones; a given one of the same name stays.
    required
        Names of observables that are required; the same as `Observable(..., required=True)`.
    defaults
        name -> value of undefined observables; the same as `Observable(..., default=...)`.
    jets
        How jets are clustered, from whatever final particles there are; None: as `Jets()` says in showered events
        (HepMC files, Pythia), and not at all in others.
    isolation
        What isolated leptons and photons are, where jets are clustered: an `Isolation` for all, or name -> `Isolation`
        for `e`, `mu` and `a`; None: as `Isolation()` says.

    Attributes
    ----------
    observable_names : tuple of str
        Columns of the result.

    Raises
    ------
    ExpressionError
        If an expression cannot be compiled; names the observable or the cut.
    UnknownNameError
        If `required` or `defaults` name no observable.
    InputError
        If there is no observable.

    Examples
    --------
    >>> selection = cm.Selection(
    ...     observables={"m_ll": "(mu[0] + mu[1]).m", "pt_l1": "mu[0].pt"}, cuts=["pt_l1 > 300", "abs(mu[0].eta) < 2.5"]
    ... )
    >>> selected = selection.apply(cm.DrellYan().generate(1000, seed=1))
    >>> selected.observables.shape == (selected.passed.sum(), 2)
    True
    """

    def __init__(
        self,
        observables: Mapping[str, Formula | Observable] | None = None,
        cuts: Iterable[Formula | Cut] = (),
        efficiencies: Iterable[Formula | Efficiency] = (),
        *,
        detector: Detector | None = None,
        objects: Mapping[str, Definition] | None = None,
        default_observables: DefaultObservables | None = None,
        required: Iterable[str] = (),
        defaults: Mapping[str, float] | None = None,
        jets: Jets | None = None,
        isolation: Isolation | Mapping[str, Isolation] | None = None,
    ) -> None:
        self.observables = {name: _as(Observable, observable) for name, observable in (observables or {}).items()}
        if default_observables is not None:
            self.observables = {**self.observables, **default_observables.observables(), **self.observables}
        for name in required:
            self.observables[name] = replace(self._observable(name), required=True)
        for name, default in (defaults or {}).items():
            self.observables[name] = replace(self._observable(name), default=float(default))
        self.cuts = tuple(_as(Cut, cut) for cut in cuts)
        self.efficiencies = tuple(_as(Efficiency, efficiency) for efficiency in efficiencies)
        self.detector = detector
        self.objects = dict(objects or {})
        self.jets = jets
        self.isolation = None if isolation is None else isolations(isolation)
        self.observable_names = tuple(self.observables)
        if not self.observables:
            msg = "a selection needs at least one observable"
            raise InputError(msg)
        self._programs = self._compiled()

    def apply(self, batch: EventBatch, key: int = 0) -> Selected:
        """Return the columns of the events that pass.

        Parameters
        ----------
        batch
            The events.
        key
            From `streams.key`: the random numbers of the detector. They belong to events by their number in the source,
            so that the result does not depend on how the source is cut into batches.

        Raises
        ------
        InputError
            If a function of the user fails or returns something else than one number per event.
        MissingError
            If the events do not hold what an expression names.
        """
        objects = Objects(batch, self.detector, self.objects, key, jets=self.jets, isolation=self.isolation)
        evaluator = Evaluator(objects)
        columns = []
        passed = np.ones(len(batch), dtype=np.bool_)
        factor, nominal = np.ones(len(batch)), batch.weights[:, 0].copy()
        steps, events, weights = [], [], []

        def count(step: str) -> None:
            steps.append(step)
            events.append(int(np.sum(passed)))
            weights.append(float(np.sum((nominal * factor)[passed])))

        count("all events")
        if batch.vetoed is not None:
            passed &= ~batch.vetoed
        for name, observable in self.observables.items():
            values, defined = self._number(observable, evaluator, objects, f"observable {name!r}")
            defined = defined & ~np.isnan(values)
            default = np.nan if observable.default is None else observable.default
            columns.append(np.where(defined, values, default))
            evaluator.define(name, Number(columns[-1]))
            if observable.required:
                passed &= defined
        if any(observable.required for observable in self.observables.values()):
            count("required observables")
        for cut in self.cuts:
            values, defined = self._number(cut, evaluator, objects, "cut")
            passed &= np.where(defined, values != 0, cut.required)
            count(provenance(cut.formula))
        for efficiency in self.efficiencies:
            values, defined = self._number(efficiency, evaluator, objects, "efficiency")
            probability = np.where(defined, values, efficiency.default)
            passed &= probability > 0
            factor = np.where(passed, factor * probability, 0.0)
            count(provenance(efficiency.formula))
        kept = np.flatnonzero(passed)
        return Selected(
            observables=np.stack([column[kept] for column in columns], axis=1),
            weights=batch.weights[kept] * factor[kept, None] if self.efficiencies else batch.weights[kept],
            passed=passed,
            cut_flow=CutFlow(tuple(steps), tuple(events), tuple(weights)),
        )

    def _number(self, step: Step, evaluator: Evaluator, objects: Objects, what: str) -> Number:
        """Return the value of a formula with its mask, (n_events,) each."""
        n = objects.n_events
        if isinstance(step.formula, str):
            values, defined = evaluator.number(self._programs[step])
            return Number(np.broadcast_to(values, n), np.broadcast_to(defined, n))
        what = f"{objects.source}: the {what}, {provenance(step.formula)},"
        return arrays.number(arrays.called(step.formula, objects.events, what), what, n)

    def _compiled(self) -> dict[Step, Program]:
        """Return the programs of all formulas that are text."""
        kinds = {**dict.fromkeys(self.objects, Kind.COLLECTION), **OBJECTS}
        named: list[tuple[str, Step, tuple[str, ...]]] = [
            *((f"observable {name!r}", observable, ()) for name, observable in self.observables.items()),
            *(("cut", cut, self.observable_names) for cut in self.cuts),
            *(("efficiency", efficiency, self.observable_names) for efficiency in self.efficiencies),
        ]
        programs = {}
        for what, step, observables in named:
            if not callable(step.formula):
                try:
                    programs[step] = compile_expression(step.formula, kinds, observables)
                except ExpressionError as error:
                    msg = f"{what}: {error}"
                    raise ExpressionError(msg) from None
        return programs

    def _observable(self, name: str) -> Observable:
        if name not in self.observables:
            msg = f"no observable is called {name!r}.{did_you_mean(name, self.observables)}"
            raise UnknownNameError(msg)
        return self.observables[name]

    def to_dict(self) -> dict[str, Any]:
        """Return the selection as JSON has it; functions are represented by their `provenance`."""

        def listed(step: Step) -> dict[str, Any]:
            return {**vars(step), "formula": provenance(step.formula)}

        return {
            "observables": {name: listed(observable) for name, observable in self.observables.items()},
            "cuts": [listed(cut) for cut in self.cuts],
            "efficiencies": [listed(efficiency) for efficiency in self.efficiencies],
            "detector": None if self.detector is None else self.detector.to_dict(),
            "objects": {name: provenance(definition) for name, definition in self.objects.items()},
            "jets": None if self.jets is None else self.jets.to_dict(),
            "isolation": None if self.isolation is None else described(self.isolation),
        }


def _as(kind: type[Made], given: Formula | Made) -> Made:
    return given if isinstance(given, kind) else kind(cast("Formula", given))
