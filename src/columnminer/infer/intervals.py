r"""Profile likelihoods and the confidence intervals that they give.

The test statistic is :math:`t(v) = 2 \log L(\hat v, \hat\nu) / L(v, \hat{\hat\nu}(v))`, all other parameters being
fitted. An interval holds the values at which t is below a threshold: in the asymptotic limit a quantile of the
chi-square distribution (arXiv:1007.1727), or what pseudo-experiments give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from columnminer.errors import InputError, MissingError, UnknownNameError, did_you_mean
from columnminer.infer.fit import FitResult, fit

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.likelihood import Likelihood

__all__ = ["Interval", "Profile", "confidence_interval", "profile"]

Kind: TypeAlias = Literal["central", "upper", "lower"]
_LARGEST_SEARCH = 60
"""Steps, each longer than the one before, until a side of an interval counts as open."""


@dataclass(frozen=True)
class Profile:
    """The likelihood along one parameter, all others fitted.

    Attributes
    ----------
    name : str
        The parameter.
    values : numpy.ndarray
        (n,) where it was held.
    test_statistic : numpy.ndarray
        (n,) t, twice the log likelihood ratio to the best fit.
    best_fit : FitResult
        With the parameter free.
    """

    name: str
    values: NDArray[np.float64]
    test_statistic: NDArray[np.float64]
    best_fit: FitResult


@dataclass(frozen=True)
class Interval:
    """A confidence interval of one parameter.

    Attributes
    ----------
    name : str
        The parameter.
    lower, upper : float or None
        Its ends; None where it is open, or goes up to a fit limit.
    level : float
        Confidence level.
    kind : str
        "central", "upper" or "lower".
    best_fit : FitResult
        With the parameter free.
    """

    name: str
    lower: float | None
    upper: float | None
    level: float
    kind: Kind
    best_fit: FitResult


def profile(likelihood: Likelihood, name: str, values: ArrayLike, *, start: Any = None) -> Profile:
    """Return the likelihood along one parameter, all others fitted.

    Parameters
    ----------
    likelihood
        With data.
    name
        The parameter.
    values
        (n,) where to hold it.
    start
        Where the first fit starts; see `fit`.
    """
    held = np.atleast_1d(np.asarray(values, dtype=np.float64))
    best, statistic = _statistic(likelihood, name, start)
    return Profile(name, held, np.array([statistic(value) for value in held]), best)


def confidence_interval(
    likelihood: Likelihood,
    name: str,
    *,
    level: float = 0.9,
    kind: Kind = "central",
    threshold: float | Callable[[float], float] | None = None,
    start: Any = None,
) -> Interval:
    """Return the confidence interval of one parameter, all others profiled.

    Parameters
    ----------
    likelihood
        With data.
    name
        The parameter.
    level
        Confidence level.
    kind
        "central", an "upper" limit (open below) or a "lower" limit (open above).
    threshold
        Of the test statistic: a number, or a function of the parameter, as pseudo-experiments give it. By default the
        chi-square quantile with one degree of freedom; of 2 level - 1 for limits, which only count one side.
    start
        Where the first fit starts; see `fit`.

    Returns
    -------
    Interval
        Its ends are the crossings nearest to the best fit.

    Raises
    ------
    UnknownNameError
        If the parameter does not exist.
    InputError
        If level or kind make no sense.
    MissingError
        If the likelihood has no data or cannot be fitted.
    """
    if kind not in {"central", "upper", "lower"}:
        nearest = did_you_mean(kind, ("central", "upper", "lower"))
        msg = f"an interval is 'central', 'upper' or 'lower', not {kind!r}.{nearest}"
        raise InputError(msg)
    if not 0.0 < level < 1.0 or (kind != "central" and level <= 0.5):
        msg = f"the confidence level must lie between {0 if kind == 'central' else 0.5} and 1, not at {level}"
        raise InputError(msg)
    if threshold is None:
        threshold = float(chi2.ppf(level, 1) if kind == "central" else norm.ppf(level) ** 2)
    best, statistic = _statistic(likelihood, name, start)

    def excess(value: float) -> float:
        return statistic(value) - (threshold(value) if callable(threshold) else threshold)

    index = likelihood.names.index(name)
    limits = likelihood.parameters[index].fit_limits or (None, None)
    step = best.errors[index] if np.isfinite(best.errors[index]) and best.errors[index] > 0.0 else 1.0
    ends = [
        None if kind == other else _crossing(excess, float(best.values[index]), sign * step, limit)
        for other, sign, limit in (("upper", -1.0, limits[0]), ("lower", 1.0, limits[1]))
    ]
    return Interval(name, ends[0], ends[1], level, kind, best)


def _statistic(likelihood: Likelihood, name: str, start: Any) -> tuple[FitResult, Callable[[float], float]]:
    """Return the best fit, and t as a function of one parameter."""
    if name not in likelihood.names:
        msg = f"the likelihood has no parameter {name!r}.{did_you_mean(name, likelihood.names)}"
        raise UnknownNameError(msg)
    best = fit(likelihood, start=start)
    if not best.valid:
        msg = f"the fit of {', '.join(likelihood.names)} did not converge; it stopped at {best.by_name}"
        raise MissingError(msg)
    others = {other: value for other, value in best.by_name.items() if other != name}

    def statistic(value: float) -> float:
        if others:
            log = fit(likelihood.fix(**{name: float(value)}), start=others).log_likelihood
        else:
            log = float(likelihood.log_likelihood([value]))
        return 2.0 * (best.log_likelihood - log)

    return best, statistic


def _crossing(excess: Callable[[float], float], best: float, step: float, limit: float | None) -> float | None:
    """Return where the excess turns positive, walking away from the best fit; None if it does not before the limit."""
    inside, resolution = best, 1e-6 * abs(step)
    for _ in range(_LARGEST_SEARCH):
        outside = inside + step
        if limit is not None and abs(outside - best) >= abs(limit - best):
            return float(brentq(excess, inside, limit, xtol=resolution)) if excess(limit) > 0.0 else None
        if excess(outside) > 0.0:
            return float(brentq(excess, inside, outside, xtol=resolution))
        inside, step = outside, 1.5 * step
    return None
