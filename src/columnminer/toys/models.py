"""Statistical models as campaigns take them: where they come from, and what a campaign asks of them.

A model is a `Likelihood`, the path of a statistical model of alea, or what `columnminer run` has saved: a store and an
estimator, from which a likelihood is built. Nothing is imported because a file says so.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from columnminer.documents import Section, misplaced
from columnminer.errors import InputError, MissingError
from columnminer.infer.alea import load_alea
from columnminer.infer.histogram import HistogramLikelihood
from columnminer.infer.rate import RateLikelihood
from columnminer.store.eventstore import EventStore
from columnminer.streams import seed_sequence

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from columnminer.infer.likelihood import Likelihood

__all__ = ["AleaFile", "SavedModel", "at_nominal", "expected_events", "fingerprint", "fittable", "rate_for"]

Text = Annotated[str, Field(min_length=1)]


class SavedModel(Section):
    """A likelihood of what `columnminer run` or `process` have saved: a store, and what is known of its events.

    With `estimator` (a folder) events count by their estimated likelihood ratio, with `observables` as a histogram;
    without either their number alone counts. Parameters that have a constraint get it.
    """

    store: Text
    luminosity: Annotated[float, Field(gt=0)]
    estimator: Text | None = None
    observables: Text | list[Text] | None = None
    bins: int | list[float] | list[int | list[float]] | None = None
    include_rate: bool = True
    nuisances: bool = False
    cuts: tuple[Text, ...] = ()
    efficiencies: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _one_kind(self) -> SavedModel:
        if self.estimator is not None and self.observables is not None:
            msg = "either an estimator or observables say how events are distributed, not both"
            raise misplaced(msg, "observables")
        if self.bins is not None and self.observables is None:
            msg = "bins are those of observables, which are missing"
            raise misplaced(msg, "bins")
        return self

    def load(self, folder: Path) -> Likelihood:
        """Return the likelihood; paths are relative to `folder`."""
        store = EventStore(folder / self.store)
        options: dict[str, Any] = {
            "cuts": self.cuts,
            "efficiencies": self.efficiencies,
            "nuisances": self.nuisances,
        }
        model: Likelihood
        if self.estimator is not None:
            from columnminer.infer.neural import NeuralLikelihood  # noqa: PLC0415 - these two load torch
            from columnminer.learn.estimators import load_estimator  # noqa: PLC0415

            estimator = load_estimator(folder / self.estimator)
            model = NeuralLikelihood.from_store(
                store, estimator, self.luminosity, include_rate=self.include_rate, **options
            )
        elif self.observables is not None:
            model = HistogramLikelihood.from_store(
                store, self.observables, self.luminosity, bins=self.bins, include_rate=self.include_rate, **options
            )
        else:
            model = RateLikelihood.from_store(store, self.luminosity, **options)
        return model.constrained() if any(p.constraint is not None for p in model.parameters) else model


@dataclass(frozen=True)
class AleaFile:
    """The file of a statistical model of alea's.

    Attributes
    ----------
    path : Path
        Of its YAML.
    template_folder : Path or None
        Where templates are looked for first.
    """

    path: Path
    template_folder: Path | None = None

    def load(self, nominal: Mapping[str, float]) -> Likelihood:
        """Return the likelihood, built with these nominal values."""
        return load_alea(self.path, template_folder=self.template_folder, **nominal)


def fittable(model: Likelihood) -> tuple[str, ...]:
    """Return the names of the parameters that fits may change."""
    return tuple(p.name for p in model.parameters if p.fittable)


def at_nominal(model: Likelihood, nominal: Mapping[str, float]) -> Likelihood:
    """Return a model with other nominal values: built again where it knows how, else with these parameters held."""
    if not nominal:
        return model
    rebuild = getattr(model, "at", None)
    return rebuild(**nominal) if rebuild is not None else model.fix(**nominal)


def expected_events(model: Likelihood, values: Mapping[str, float]) -> dict[str, float]:
    """Return source -> expected events in all terms, where the model knows its sources; else nothing."""
    by_source = getattr(model, "expectation_values", None)
    if by_source is None:
        return {}
    return {str(name): float(events) for name, events in by_source(dict(values)).items()}


_RATE = "_rate_multiplier"


def rate_for(model: Likelihood, poi: str, expectation: float, values: Mapping[str, float]) -> float:
    r"""Return the value of a rate parameter at which so many of its events are expected.

    Expected events are :math:`\nu_s r`, of the source that the parameter is named after (``wimp_rate_multiplier``), or,
    where the model does not know sources, what the number of all events grows by with the parameter.

    Raises
    ------
    InputError
        If the parameter is no rate, or of a source of which nothing is expected.
    """
    others = {name: value for name, value in values.items() if name != poi}
    if hasattr(model, "expectation_values"):
        if not poi.endswith(_RATE):
            msg = f"poi_expectation needs a rate multiplier as parameter of interest, called like a source; not {poi!r}"
            raise InputError(msg)
        sources = expected_events(model, {**others, poi: 1.0})
        source = poi.removesuffix(_RATE)
        if source not in sources:
            msg = f"poi_expectation: the model has no source {source!r}, but {', '.join(sources)}"
            raise InputError(msg)
        slope = sources[source]
    else:
        none, one, two = (_all_events(model, {**others, poi: value}) for value in (0.0, 1.0, 2.0))
        slope = one - none
        if not np.isclose(two - one, slope, rtol=1e-6):
            msg = f"poi_expectation: the number of events is not linear in {poi!r}, which is no rate multiplier"
            raise InputError(msg)
    if not slope > 0.0:
        msg = f"poi_expectation: no events are expected of {poi!r} at {dict(values)}"
        raise InputError(msg)
    return expectation / slope


def _all_events(model: Likelihood, values: Mapping[str, float]) -> float:
    factors = getattr(model, "factors", (model,))
    if len(factors) > 1:  # the expectation of an auxiliary measurement is no number of events
        known = [f for f in factors if not f.measured]
        return sum(_all_events(f, {n: v for n, v in values.items() if n in f.names}) for f in known)
    return float(np.sum(model.expected(dict(values))))


def fingerprint(model: Likelihood) -> dict[str, Any]:
    """Return what tells a model from another one: its parameters, and its log likelihood of one toy at some points.

    Numbers are rounded: other machines may differ in their last digits.
    """
    data = model.as_data(model.simulate(seed_sequence(0, "fingerprint")))
    values = []
    for point in _probes(model):
        try:
            values.append(f"{float(model.log_likelihood(point, data)):.6g}")
        except MissingError:
            values.append("")
    described = json.dumps([p.to_dict() for p in model.parameters], sort_keys=True)
    return {
        "class": type(model).__name__,
        "parameters": hashlib.sha256(described.encode()).hexdigest(),
        "log_likelihoods": values,
    }


def _probes(model: Likelihood) -> list[NDArray[np.float64]]:
    """Return the nominal point, and for each parameter that fits may change one with that parameter moved."""
    nominal = model.point()
    points = [nominal]
    for i, p in enumerate(model.parameters):
        if not p.fittable:
            continue
        low, high = (None, None) if p.fit_limits is None else p.fit_limits
        moved = p.anchors[-1] if p.anchors else p.nominal + (p.width or 0.1 * max(abs(p.nominal), 1.0))
        point = nominal.copy()
        point[i] = min(max(moved, -np.inf if low is None else low), np.inf if high is None else high)
        points.append(point)
    return points
