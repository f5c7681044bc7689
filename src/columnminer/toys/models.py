"""Statistical models as campaigns take them: where they come from, and what a campaign asks of them.

A model is a `Likelihood`, the path of a statistical model of alea, or what `columnminer run` has saved, see `saved`.
Nothing is imported because a file says so.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError, MissingError
from columnminer.infer.alea import load_alea
from columnminer.streams import seed_sequence

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from columnminer.infer.likelihood import Likelihood

__all__ = ["AleaFile", "at_nominal", "expected_events", "fingerprint", "fittable", "rate_for"]


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
