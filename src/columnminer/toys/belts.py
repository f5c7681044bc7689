r"""Acceptance belts: for each true value the range of an estimate that is accepted, and intervals read off across it.

The ordering of G. Feldman and R. Cousins, arXiv:physics/9711021, accepts the data with the largest likelihood ratio
:math:`R = L(\mu) / L(\hat\mu)` until their probability reaches the confidence level, which is to accept
:math:`t = -2 \log R` below its Neyman threshold. `belt` does so with toys; `poisson_belt` and `poisson_interval` do
without them, for a count over a known background.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy.special import xlogy
from scipy.stats import chi2, poisson

from columnminer.errors import InputError, did_you_mean
from columnminer.toys.points import as_points, conditions, estimates, statistics, truth
from columnminer.toys.statistics import quantiles, toys_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import ArrayLike, NDArray

    from columnminer.toys.results import PointResult

__all__ = ["Belt", "belt", "poisson_belt", "poisson_interval"]

Ordering: TypeAlias = Literal["likelihood ratio", "central", "upper"]

_STEP = 0.005
"""Of the parameter, between which the ends of a Poisson interval are looked for, as in the tables of the paper."""

_LARGEST_SCAN = 20_000
"""Points of that scan; of many events, larger steps are as good."""

_TAIL = 1e-9
"""Probability that is as good as none."""


@dataclass(frozen=True)
class Belt:
    """An acceptance belt.

    Attributes
    ----------
    name : str
        The parameter of interest.
    estimate : str
        What is accepted: a count, a best fit.
    values : numpy.ndarray
        (n,) true values, ascending.
    lower, upper : numpy.ndarray
        (n,) first and last accepted estimate at each.
    level : float
        Confidence level.
    """

    name: str
    estimate: str
    values: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    level: float

    def interval(self, estimate: float) -> tuple[float, float]:
        """Return the first and the last true value that accepts an estimate; NaN where none does.

        Between true values the ends of the belt are interpolated linearly.
        """
        accepting = np.flatnonzero((self.lower <= estimate) & (estimate <= self.upper))
        if not len(accepting):
            return np.nan, np.nan
        first, last = int(accepting[0]), int(accepting[-1])
        return self._crossing(estimate, first, max(first - 1, 0)), self._crossing(
            estimate, last, min(last + 1, len(self.values) - 1)
        )

    def _crossing(self, estimate: float, inside: int, outside: int) -> float:
        """Return where, from one true value to the next, the end of the belt is at the estimate."""
        if inside == outside:
            return float(self.values[inside])
        end = self.upper if estimate > self.upper[outside] else self.lower
        part = (estimate - end[inside]) / (end[outside] - end[inside])
        return float(self.values[inside] + part * (self.values[outside] - self.values[inside]))


def belt(
    results: PointResult | Iterable[PointResult],
    level: float = 0.9,
    *,
    hypothesis: str = "true",
    name: str | None = None,
) -> Belt:
    """Return the belt of toys: the range of the estimates whose t is below its quantile.

    Where those accepted are not all that lie in the range, it covers more than its level; t itself, through
    `NeymanThresholds`, does not.

    Parameters
    ----------
    results
        Toys at several true values, all else the same.
    level
        Confidence level.
    hypothesis
        Name of the true hypothesis.
    name
        The parameter whose best fit is the estimate; that of interest by default.

    Raises
    ------
    InputError
        If conditions differ, or a point has too few toys.
    UnknownNameError
        If the toys were not fitted under the hypothesis, or have no such parameter.

    Examples
    --------
    >>> belt = cm.belt(cm.CampaignResults("toys.zarr"), level=0.9)
    >>> low, high = belt.interval(1.0)
    """
    points = sorted(as_points(results), key=truth)
    if any(conditions(point) != conditions(points[0]) for point in points):
        msg = f"a belt has one set of conditions, not {[conditions(point) for point in points]}"
        raise InputError(msg)
    lower, upper = [], []
    for point in points:
        t = statistics(point, hypothesis)
        if len(t) < toys_for(level):
            msg = (
                f"{len(t)} toys at {point.poi} = {truth(point)} are too few: a belt of {level} needs {toys_for(level)}"
            )
            raise InputError(msg)
        accepted = estimates(point, name, hypothesis)[t <= quantiles(t, level).values[0]]
        lower.append(accepted.min())
        upper.append(accepted.max())
    values = np.array([truth(point) for point in points])
    name = points[0].poi if name is None else name
    return Belt(points[0].poi, f"best fit of {name}", values, np.array(lower), np.array(upper), level)


def poisson_belt(
    values: ArrayLike, background: float, level: float = 0.9, *, ordering: Ordering = "likelihood ratio"
) -> Belt:
    r"""Return the exact belt of a count n over a known background, :math:`n \sim \mathrm{Poisson}(\mu + b)`.

    Parameters
    ----------
    values
        (n,) signals mu, not negative.
    background
        Expected background b.
    level
        Confidence level: the accepted counts have at least this probability.
    ordering
        Which counts are accepted first: those of the largest "likelihood ratio", with :math:`\mu \geq 0` for the best
        fit; those in the "central" part, with at most half of the rest on each side; or for "upper" limits the largest.

    Raises
    ------
    InputError
        If an option makes no sense.

    Examples
    --------
    >>> belt = cm.poisson_belt(np.arange(0, 15, 0.05), background=3.0)
    >>> low, high = belt.interval(7.0)
    >>> round(low, 1), round(high, 1)
    (0.9, 9.5)
    """
    mu = np.sort(np.atleast_1d(np.asarray(values, dtype=np.float64)))
    _check(mu, background, level, ordering)
    counts = _counts(mu[-1] + background)
    accepted = _accepted(counts, mu, background, level, ordering)
    lower = accepted.argmax(axis=1)
    upper = counts[-1] - accepted[:, ::-1].argmax(axis=1)
    # Of all large counts, which "upper" accepts, there is no last.
    upper = np.full(len(mu), np.inf) if ordering == "upper" else upper.astype(np.float64)
    return Belt("mu", "observed events", mu, lower.astype(np.float64), upper, level)


def poisson_interval(
    observed: int, background: float, level: float = 0.9, *, ordering: Ordering = "likelihood ratio"
) -> tuple[float, float]:
    """Return the exact interval of a signal of which `observed` events were counted over a known background.

    It goes from the first to the last signal whose belt accepts the count, found on steps of 0.005 and refined by
    bisection; gaps in between belong to it. For small counts over a larger background, the tables of the paper quote
    longer intervals (for 0 events over 3.0, up to 1.08 in place of 0.95): no shorter than over even more background.

    Parameters
    ----------
    observed, background, level, ordering
        See `poisson_belt`.

    Raises
    ------
    InputError
        If an option makes no sense.

    Examples
    --------
    >>> low, high = cm.poisson_interval(7, background=3.0, level=0.9)
    >>> round(low, 2), round(high, 2)
    (0.89, 9.53)
    """
    if observed != int(observed) or observed < 0:
        msg = f"a count is a whole number that is not negative, not {observed!r}"
        raise InputError(msg)
    _check(np.zeros(1), background, level, ordering)
    farthest = 0.5 * float(chi2.isf(_TAIL, 2.0 * (observed + 1.0)))  # of all events: fewer were as good as impossible
    counts = _counts(farthest)

    def accepts(mu: NDArray[np.float64]) -> NDArray[np.bool_]:
        return _accepted(counts, mu, background, level, ordering)[:, int(observed)]

    values = np.linspace(0.0, max(farthest - background, _STEP), 1 + int(np.clip(farthest / _STEP, 1, _LARGEST_SCAN)))
    inside = np.concatenate([accepts(some) for some in np.array_split(values, 1 + len(values) // 1000)])
    if not inside.any():
        return np.nan, np.nan
    first, last = int(inside.argmax()), len(inside) - 1 - int(inside[::-1].argmax())
    low = 0.0 if first == 0 else _edge(accepts, values[first], values[first - 1])
    return low, _edge(accepts, values[last], values[last] + values[1])


def _check(mu: NDArray[np.float64], background: float, level: float, ordering: str) -> None:
    orderings = ("likelihood ratio", "central", "upper")
    if ordering not in orderings:
        msg = f"the ordering is one of {', '.join(orderings)}, not {ordering!r}.{did_you_mean(ordering, orderings)}"
        raise InputError(msg)
    if not 0.0 < level < 1.0:
        msg = f"the confidence level must lie between 0 and 1, not at {level}"
        raise InputError(msg)
    if not (np.isfinite(background) and background >= 0.0 and len(mu) and (np.isfinite(mu) & (mu >= 0.0)).all()):
        msg = f"expected events must be finite and not negative: background {background}, signal {mu.tolist()}"
        raise InputError(msg)


def _counts(mean: float) -> NDArray[np.int64]:
    """Return all counts that are not as good as impossible up to this mean."""
    return np.arange(int(poisson.isf(_TAIL, mean)) + 2)


def _accepted(
    counts: NDArray[np.int64], mu: NDArray[np.float64], background: float, level: float, ordering: str
) -> NDArray[np.bool_]:
    """Return (n, n_counts) which counts are accepted at signals (n,)."""
    mean = mu[:, np.newaxis] + background
    if ordering != "likelihood ratio":
        rest = 1.0 - level if ordering == "upper" else 0.5 * (1.0 - level)
        large = poisson.cdf(counts, mean) > rest
        return np.asarray(large if ordering == "upper" else large & (poisson.sf(counts - 1, mean) > rest))
    best = np.maximum(counts, background)
    log_ratio = xlogy(counts, mean) - mean - (xlogy(counts, best) - best)
    order = np.argsort(-log_ratio, axis=1, kind="stable")
    ordered = np.take_along_axis(log_ratio, order, axis=1)
    probability = np.cumsum(np.take_along_axis(poisson.pmf(counts, mean), order, axis=1), axis=1)
    # Up to the one with which the level is reached, and those that are as good.
    reached = np.minimum((probability < level - 1e-12).sum(axis=1), len(counts) - 1)
    worst = np.take_along_axis(ordered, reached[:, np.newaxis], axis=1)
    return np.asarray(log_ratio >= worst - 1e-12)


def _edge(accepts: Callable[[NDArray[np.float64]], NDArray[np.bool_]], inside: float, outside: float) -> float:
    for _ in range(40):
        middle = 0.5 * (inside + outside)
        if accepts(np.array([middle]))[0]:
            inside = middle
        else:
            outside = middle
    return float(inside)
