"""Coverage of confidence intervals: how often, over toys, they hold the true value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from columnminer.errors import InputError, MissingError
from columnminer.toys.points import as_points, conditions, statistics, truth
from columnminer.toys.statistics import ONE_SIGMA, Share, share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.intervals import Kind
    from columnminer.toys.results import PointResult

__all__ = ["Coverage", "coverage", "interval_coverage"]


@dataclass(frozen=True)
class Coverage:
    """How often intervals hold the truth, at k true values.

    Attributes
    ----------
    name : str
        The parameter of interest.
    values : numpy.ndarray
        (k,) true values.
    conditions : tuple of mapping
        (k) what else was set.
    level : float
        Confidence level that the intervals claim.
    share : Share
        Toys whose interval holds the truth, with Clopper-Pearson intervals.
    """

    name: str
    values: NDArray[np.float64]
    conditions: tuple[Mapping[str, float], ...]
    level: float
    share: Share


def coverage(
    results: PointResult | Iterable[PointResult],
    *,
    threshold: float | Callable[[float], float] | None = None,
    level: float | None = None,
    kind: Kind = "central",
    hypothesis: str = "true",
    error_level: float = ONE_SIGMA,
) -> Coverage:
    """Return how often the intervals of a campaign hold the true value of its parameter of interest.

    An empty interval, or one that could not be found (NaN), holds nothing.

    Parameters
    ----------
    results
        Toys at one or many points.
    threshold
        In place of stored intervals, those of this threshold of t: they hold the truth where t of the true hypothesis
        is not above it, which needs no interval to be found. A number, or a function of the parameter of interest such
        as `NeymanThresholds.at`; made from other toys than these.
    level
        Confidence level of that threshold; of stored intervals it is known.
    kind
        Of that threshold: for an "upper" or "lower" limit t counts on one side.
    hypothesis
        Name of the true hypothesis, for a threshold.
    error_level
        Confidence level of the Clopper-Pearson intervals.

    Raises
    ------
    MissingError
        If no intervals are stored, and no threshold is given.
    InputError
        If levels differ, or one is missing.
    UnknownNameError
        If the toys were not fitted under the hypothesis.

    Examples
    --------
    >>> share = cm.coverage(cm.CampaignResults("toys.zarr")).share
    >>> share.fraction.shape  # at each point of the campaign, with an interval share.low to share.high
    (3,)
    """
    points = as_points(results)
    count, toys = [], []
    for point in points:
        if threshold is not None:
            t = statistics(point, hypothesis, kind)
            held = t <= (threshold(truth(point)) if callable(threshold) else threshold)
        elif point.intervals is not None:
            held = _holds(point.intervals[:, 0], point.intervals[:, 1], truth(point))
        else:
            msg = f"no intervals are stored with the toys at {point.poi} = {truth(point)}: run the campaign with "
            msg += "compute_confidence_interval=True (and level=...), or say which they are with threshold= and level="
            raise MissingError(msg)
        count.append(int(held.sum()))
        toys.append(len(held))
    if threshold is None:
        levels = sorted({point.level for point in points})
        if len(levels) > 1 or level not in {None, levels[0]}:
            msg = f"the intervals have the confidence level {' or '.join(map(str, levels))}, not {level}"
            raise InputError(msg)
        level = levels[0]
    if level is None:
        level = getattr(threshold, "level", None)
    if level is None:
        msg = "say which confidence level the threshold is for"
        raise InputError(msg)
    return Coverage(
        points[0].poi,
        np.array([truth(point) for point in points]),
        tuple(conditions(point) for point in points),
        level,
        share(count, toys, error_level),
    )


def interval_coverage(lower: ArrayLike, upper: ArrayLike, true_value: ArrayLike, level: float = ONE_SIGMA) -> Share:
    """Return the share of intervals that hold a true value.

    Parameters
    ----------
    lower, upper
        (..., n) ends of the intervals of n toys, as `IntervalBatch` has them; NaN for an empty one.
    true_value
        (...) at which the toys were generated.
    level
        Confidence level of the Clopper-Pearson intervals.

    Raises
    ------
    InputError
        If there are no toys.
    """
    low, high, value = (np.asarray(one, dtype=np.float64) for one in (lower, upper, true_value))
    held = _holds(low, high, value[..., np.newaxis])
    return share(held.sum(axis=-1), held.shape[-1], level)


def _holds(
    lower: NDArray[np.float64], upper: NDArray[np.float64], value: float | NDArray[np.float64]
) -> NDArray[np.bool_]:
    return np.asarray((lower <= value) & (value <= upper))
