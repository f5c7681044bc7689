r"""Confidence intervals from the profile likelihood ratio t of `columnminer.infer.profiles`.

An interval holds the values at which t is below a threshold: in the asymptotic limit a quantile of the chi-square
distribution (arXiv:1007.1727), or what pseudo-experiments give.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from columnminer.errors import ColumnMinerWarning, InputError, did_you_mean
from columnminer.infer.fit import maximise
from columnminer.infer.free import check_names, free_names
from columnminer.infer.products import Product
from columnminer.infer.profiles import ConditionalFits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from columnminer.infer.fit import FitResult
    from columnminer.infer.likelihood import Likelihood

__all__ = ["Interval", "asymptotic_threshold", "confidence_interval"]

Kind: TypeAlias = Literal["central", "upper", "lower"]
End: TypeAlias = Literal["crossing", "limit", "open", "empty"]
Range: TypeAlias = tuple[float | None, float | None]

_LARGEST_SEARCH = 60
"""Steps, each longer than the one before, until a side of an interval counts as open."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval of one parameter.

    Attributes
    ----------
    name : str
        The parameter.
    lower, upper : float
        Its ends.
    lower_end, upper_end : str
        What they are: a "crossing" of the threshold; the "limit" of the parameter, up to which nothing is excluded;
        "open", where no end was asked for or none was found however far away (-inf, inf); or "empty": no value is
        allowed (both NaN).
    level : float
        Confidence level.
    kind : str
        "central", "upper" or "lower".
    best_fit : FitResult
        With the parameter free.
    valid : bool
        Whether every fit on the way converged.
    """

    name: str
    lower: float
    upper: float
    lower_end: End
    upper_end: End
    level: float
    kind: Kind
    best_fit: FitResult
    valid: bool

    def __contains__(self, value: float) -> bool:
        return self.lower <= value <= self.upper


def asymptotic_threshold(level: float, kind: Kind = "central", dof: int = 1) -> float:
    """Return the threshold of t for a confidence level: the chi-square quantile.

    Limits count one side only, so for them it is the quantile of 2 level - 1.

    Raises
    ------
    InputError
        If level, kind or degrees of freedom make no sense; limits have one degree of freedom.
    """
    check_question(level, kind)
    if kind != "central" and level <= 0.5:
        msg = f"the confidence level of a limit must lie between 0.5 and 1, not at {level}"
        raise InputError(msg)
    if dof != int(dof) or dof < 1 or (kind != "central" and dof != 1):
        msg = f"an interval has a positive number of degrees of freedom, and a limit has one; not {dof!r}"
        raise InputError(msg)
    return float(chi2.ppf(level, dof) if kind == "central" else norm.ppf(level) ** 2)


def confidence_interval(
    likelihood: Likelihood,
    name: str,
    *,
    level: float = 0.9,
    kind: Kind = "central",
    dof: int = 1,
    threshold: float | Callable[[float], float] | None = None,
    roots: Literal["nearest", "extremal"] = "nearest",
    bounds: Range | None = None,
    bounds_in_events: bool | None = None,
    bound_best_fit: bool = False,
    interval_args: Mapping[str, float] | None = None,
    best_fit_args: Mapping[str, float] | None = None,
    reference: FitResult | None = None,
    n_scan: int = 50,
    start: Any = None,
    fit_options: Mapping[str, Any] | None = None,
) -> Interval:
    """Return the confidence interval of one parameter, all others profiled.

    Parameters
    ----------
    likelihood
        With data. Hold parameters with `Likelihood.fix`.
    name
        The parameter.
    level
        Confidence level.
    kind
        "central", an "upper" limit (open below) or a "lower" limit (open above).
    dof
        Degrees of freedom of the asymptotic distribution: more than one for a slice or the projection of a region in
        more parameters.
    threshold
        Of t, in place of the asymptotic one: a number, or a function of the parameter, as pseudo-experiments give it.
    roots
        Which crossings are the ends, where t is not monotonous: the "nearest" to the best fit (steps of about a
        standard error are taken outwards), or the "extremal", the outermost within the bounds, found by a scan. Then
        the interval also holds the values between, and covers more than its level.
    bounds
        (low, high) between which ends are looked for; None for an open side. By default the `interval_bounds` of the
        parameter, or its fit limits, for extremal roots else its `bounds`.
    bounds_in_events
        Whether the bounds of a rate parameter are expected numbers of events: those of a rate of 1 scaled by it. By
        default its `interval_bounds` are what the parameter says they are, and `bounds` are values of the parameter.
    bound_best_fit
        Whether the best fit must lie within `bounds`, too, as where values beyond mean nothing. Otherwise t counts
        from a best fit that may lie beyond, and the interval may be short, or empty.
    interval_args
        Parameters to hold, as by `Likelihood.fix`.
    best_fit_args
        Parameters to hold in the best fit from which t counts, in place of `interval_args`: fewer, for slices of
        regions in more parameters.
    reference
        A fit from whose maximum t counts, in place of the best fit of this likelihood: one with more parameters free,
        for slices of regions in more parameters.
    n_scan
        Points on each side of the best fit, for extremal roots.
    start
        Where the first fit starts; see `fit`.
    fit_options
        Of every fit: method, strategy, refits, gradient, tolerance; see `fit`.

    Raises
    ------
    UnknownNameError
        If the parameter or an option does not exist.
    InputError
        If level, kind, bounds or another option make no sense.
    MissingError
        If the likelihood has no data or cannot be fitted.

    Warns
    -----
    ColumnMinerWarning
        If the interval is empty as the best fit lies outside the `interval_bounds` of the parameter.

    Examples
    --------
    >>> interval = cm.confidence_interval(cm.PyhfLikelihood.from_workspace("counting.json"), "mu", level=0.9)
    >>> round(interval.lower, 2), round(interval.upper, 2)
    (0.32, 3.14)
    """
    check_question(level, kind)
    if roots not in {"nearest", "extremal"}:
        msg = f"the roots are 'nearest' or 'extremal', not {roots!r}.{did_you_mean(roots, ('nearest', 'extremal'))}"
        raise InputError(msg)
    if n_scan != int(n_scan) or n_scan < 2:
        msg = f"a scan has at least 2 points, not {n_scan!r}"
        raise InputError(msg)
    if threshold is None:
        threshold = asymptotic_threshold(level, kind, dof)
    held = dict(interval_args or {})
    check_parameter(likelihood, name, held)
    low, high = search_range(likelihood, name, bounds, roots, kind, in_events=bounds_in_events)
    if best_fit_args is not None and dict(best_fit_args) != held:
        if reference is not None:
            msg = "t counts from the best fit with best_fit_args held, or from a reference, not from both"
            raise InputError(msg)
        model = likelihood.fix(**best_fit_args)
        reference = maximise(model, **(fit_options or {}))
    likelihood = likelihood.fix(**held) if held else likelihood
    limits = {name: (low, high)} if bound_best_fit else None
    fits = ConditionalFits(likelihood, [name], start=start, limits=limits, fit_options=fit_options)

    def excess(value: float) -> float:
        # Roots of t are nearly linear in the parameter, so that few steps find where they cross.
        t = fits.statistic(value) + (2.0 * (reference.log_likelihood - fits.best.log_likelihood) if reference else 0.0)
        allowed = threshold(value) if callable(threshold) else threshold
        return float(np.sqrt(max(t, 0.0)) - np.sqrt(max(allowed, 0.0)))

    while True:
        lower, upper = _ends(excess, fits, kind, (low, high), n_scan if roots == "extremal" else None)
        if not fits.adopt_better():
            break
    if bounds is None and lower[1] == upper[1] == "empty":
        warn_of_bounds(name, (low, high), float(fits.centre[0]))
    return Interval(name, lower[0], upper[0], lower[1], upper[1], level, kind, fits.best, fits.valid)


def warn_of_bounds(name: str, bounds: tuple[float, float], best: float) -> None:
    """Warn if an interval is empty as its best fit is outside the bounds of its parameter: often this is not meant."""
    low, high = bounds
    if not low <= best <= high:
        msg = (
            f"the interval of {name!r} is empty: its best fit, {best:.4g}, lies outside the bounds from {low:.4g} to "
            f"{high:.4g}, and excludes all values between. Give others (bounds=), or bound_best_fit=True"
        )
        warnings.warn(msg, ColumnMinerWarning, stacklevel=3)


def check_question(level: float, kind: str) -> None:
    """Raise `InputError` if there is no such confidence level, or kind of interval."""
    kinds = ("central", "upper", "lower")
    if kind not in kinds:
        msg = f"an interval is 'central', 'upper' or 'lower', not {kind!r}.{did_you_mean(kind, kinds)}"
        raise InputError(msg)
    if not 0.0 < level < 1.0:
        msg = f"the confidence level must lie between 0 and 1, not at {level}"
        raise InputError(msg)


def check_parameter(likelihood: Likelihood, name: str, held: Mapping[str, object]) -> None:
    """Raise `UnknownNameError` or `InputError` unless a parameter can have an interval with those others held."""
    check_names([name, *held], likelihood)
    if name not in free_names(likelihood, held):
        why = "is held" if name in held else "is not fittable"
        msg = f"{name!r} {why}: it has no confidence interval"
        raise InputError(msg)


def search_range(
    likelihood: Likelihood, name: str, bounds: Range | None, roots: str, kind: Kind, *, in_events: bool | None = None
) -> tuple[float, float]:
    """Return between which values ends are looked for; infinite where a side is open."""
    parameter = likelihood.parameters[likelihood.names.index(name)]
    given = bounds or parameter.interval_bounds
    if in_events is None:
        in_events = bounds is None and parameter.interval_bounds_in_events
    unit = events_per_unit(likelihood, name) if in_events and given else 1.0
    given = given or parameter.fit_limits or (parameter.bounds if roots == "extremal" else None) or (None, None)
    low = -np.inf if given[0] is None else float(given[0]) / unit
    high = np.inf if given[1] is None else float(given[1]) / unit
    if not low < high:
        msg = f"the bounds of {parameter.name!r} must be (low, high), not {given!r}"
        raise InputError(msg)
    open_side = (kind != "upper" and np.isinf(low)) or (kind != "lower" and np.isinf(high))
    if roots == "extremal" and open_side:
        msg = f"extremal roots need to know how far to look: give bounds=(low, high) of {parameter.name!r}"
        raise InputError(msg)
    return low, high


def events_per_unit(likelihood: Likelihood, name: str) -> float:
    """Return the expected number of events for each unit of a rate parameter, all others nominal.

    Raises
    ------
    InputError
        If the parameter is no rate, or adds no events.
    """
    kind = likelihood.parameters[likelihood.names.index(name)].kind
    if kind != "rate":
        msg = f"{name!r} is a parameter of kind {kind!r}; only those of rates have bounds in numbers of events"
        raise InputError(msg)
    unit = _events(likelihood, likelihood.point({name: 1.0})) - _events(likelihood, likelihood.point({name: 0.0}))
    if not unit > 0.0:
        msg = f"{name!r} adds {unit:g} events: bounds in numbers of events mean nothing"
        raise InputError(msg)
    return unit


def _events(likelihood: Likelihood, point: NDArray[np.float64]) -> float:
    """Return the expected number of events, without the auxiliary measurements."""
    if isinstance(likelihood, Product):
        parts = [f for f in likelihood.factors if set(f.names) != set(f.measured)]
        return sum(_events(f, point[[likelihood.names.index(name) for name in f.names]]) for f in parts)
    return float(np.sum(likelihood.expected(point)))


_FoundEnd: TypeAlias = "tuple[float, End]"


def _ends(
    excess: Callable[[float], float], fits: ConditionalFits, kind: Kind, bounds: tuple[float, float], n_scan: int | None
) -> tuple[_FoundEnd, _FoundEnd]:
    """Return the lower and the upper end of the interval."""
    centre, width = float(fits.centre[0]), fits.width()
    # Beyond its best fit a limit excludes nothing: the side where t is large again is not its.
    if kind == "upper" and centre >= bounds[1]:
        return (-np.inf, "open"), (bounds[1], "limit")
    if kind == "lower" and centre <= bounds[0]:
        return (bounds[0], "limit"), (np.inf, "open")
    best = float(np.clip(centre, *bounds))
    if excess(best) > 0.0:  # a best fit beyond the bounds, or far below the reference
        return (np.nan, "empty"), (np.nan, "empty")

    def end(limit: float, sign: float) -> _FoundEnd:
        if n_scan is not None:
            return _outermost(excess, best, limit, n_scan, 1e-6 * width)
        return _nearest(excess, best, sign * width, limit)

    lower: _FoundEnd = (-np.inf, "open") if kind == "upper" else end(bounds[0], -1.0)
    upper: _FoundEnd = (np.inf, "open") if kind == "lower" else end(bounds[1], 1.0)
    return lower, upper


def _nearest(excess: Callable[[float], float], best: float, step: float, limit: float) -> _FoundEnd:
    """Return where the excess first turns positive, walking away from the best fit."""
    inside, resolution = best, 1e-6 * abs(step)
    for _ in range(_LARGEST_SEARCH):
        outside = inside + step
        if abs(outside - best) >= abs(limit - best):
            outside = limit
        if excess(outside) > 0.0:
            return _root(excess, inside, outside, resolution), "crossing"
        if outside == limit:
            return limit, "limit"
        inside, step = outside, 1.5 * step
    return float(np.copysign(np.inf, step)), "open"


def _outermost(
    excess: Callable[[float], float], best: float, limit: float, n_scan: int, resolution: float
) -> _FoundEnd:
    """Return where the excess turns positive for good, between the best fit and the limit."""
    values = np.linspace(best, limit, n_scan + 1).tolist()
    last = max(i for i, value in enumerate(values) if excess(value) <= 0.0)
    if last == n_scan:
        return limit, "limit"
    return _root(excess, values[last], values[last + 1], resolution), "crossing"


def _root(excess: Callable[[float], float], inside: float, outside: float, resolution: float) -> float:
    while not np.isfinite(excess(outside)):  # impossible data: come nearer, for brentq interpolates
        middle = 0.5 * (inside + outside)
        if abs(outside - inside) <= resolution:
            return inside
        if excess(middle) <= 0.0:
            inside = middle
        else:
            outside = middle
    return float(brentq(excess, inside, outside, xtol=resolution))
