"""Sensitivity: the limits that an experiment would set without a signal, and how they would fluctuate."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.stats import norm

from columnminer.errors import InputError, MissingError
from columnminer.toys.points import as_points, conditions, truth
from columnminer.toys.statistics import quantiles

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

    from columnminer.toys.results import PointResult

__all__ = ["N_SIGMA", "Sensitivity", "limit_bands", "sensitivity"]

N_SIGMA = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Of the bands: the median, and what 68 % and 95 % of the limits lie between."""


@dataclass(frozen=True)
class Sensitivity:
    """Bands of limits over toys.

    Attributes
    ----------
    name : str
        The parameter that is limited.
    along : str
        What the k points differ in, such as a mass; "" where there is one.
    values : numpy.ndarray
        (k,) of that.
    bands : numpy.ndarray
        (k, 5) limits at -2, -1, 0, 1, 2 standard deviations; infinite where toys set none.
    errors : numpy.ndarray
        (k, 5) their standard errors; NaN where there are too few toys to tell.
    toys : numpy.ndarray
        (k,) number of limits.
    level : float
        Confidence level of the limits.
    """

    name: str
    along: str
    values: NDArray[np.float64]
    bands: NDArray[np.float64]
    errors: NDArray[np.float64]
    toys: NDArray[np.int64]
    level: float

    @property
    def median(self) -> NDArray[np.float64]:
        """(k,) median limits: the sensitivity."""
        return self.bands[:, 2]

    @property
    def median_error(self) -> NDArray[np.float64]:
        """(k,) standard errors of the medians."""
        return self.errors[:, 2]

    def scaled(self, factor: ArrayLike, name: str) -> Sensitivity:
        """Return the bands of another quantity, proportional to the parameter, such as a cross section.

        Parameters
        ----------
        factor
            That by which it is larger, positive; one for each of the (k,) values, or one for all.
        name
            Of the quantity, with its unit.

        Raises
        ------
        InputError
            If a factor is not positive.
        """
        factors = np.broadcast_to(np.asarray(factor, dtype=np.float64), self.values.shape)[:, np.newaxis]
        if not (factors > 0.0).all():
            msg = f"limits are scaled by positive factors, not by {factors.ravel().tolist()}"
            raise InputError(msg)
        return dataclasses.replace(self, name=name, bands=self.bands * factors, errors=self.errors * factors)


def sensitivity(
    results: PointResult | Iterable[PointResult], *, along: str | None = None, end: Literal["upper", "lower"] = "upper"
) -> Sensitivity:
    """Return the bands of the limits of a campaign, usually one without a signal.

    Parameters
    ----------
    results
        Toys with intervals, at one point or at several.
    along
        What the points differ in: a nominal or true value by name, the parameter of interest among them. By default the
        only one that differs.
    end
        Which end of the intervals is the limit.

    Raises
    ------
    MissingError
        If no intervals are stored.
    InputError
        If points differ in something else, too, or not at all, or have different confidence levels.
    UnknownNameError
        If the points do not say what `along` was.

    Examples
    --------
    >>> bands = cm.sensitivity(cm.CampaignResults("toys.zarr").at(mu=0.0))
    >>> bands.bands.shape  # -2 to 2 standard deviations
    (1, 5)
    """
    points = as_points(results)
    said = [{points[0].poi: truth(point), **conditions(point)} for point in points]
    differing = [name for name in said[0] if any(one.get(name) != said[0][name] for one in said)]
    if along is None and len(points) > 1 and len(differing) == 1:
        along = differing[0]
    if len(points) > 1 and differing != [along]:
        msg = f"points of a sensitivity differ in one thing, not in {', '.join(differing) or 'nothing'}"
        raise InputError(msg)
    if len({point.level for point in points}) > 1:
        msg = f"the intervals have different confidence levels: {sorted({point.level for point in points})}"
        raise InputError(msg)
    limits = []
    for point in points:
        if point.intervals is None:
            msg = f"no intervals are stored with the toys at {point.poi} = {truth(point)}"
            raise MissingError(msg)
        limits.append(point.intervals[:, 1 if end == "upper" else 0])
    values = [0.0] if along is None else [conditions(p, [along])[along] if along != p.poi else truth(p) for p in points]
    return limit_bands(limits, values, name=points[0].poi, along=along or "", level=points[0].level)


def limit_bands(
    limits: Iterable[ArrayLike], values: ArrayLike, *, name: str, along: str = "", level: float = 0.9
) -> Sensitivity:
    """Return the bands of limits at k points.

    Parameters
    ----------
    limits
        (k) arrays of limits, one for each toy; NaN, of an empty interval or a failed fit, is left out.
    values
        (k,) of what the points differ in.
    name, along, level
        See `Sensitivity`.

    Raises
    ------
    InputError
        If a point has no limits, or values do not fit.
    """
    where = np.atleast_1d(np.asarray(values, dtype=np.float64))
    arrays = [np.asarray(one, dtype=np.float64).ravel() for one in limits]
    kept = [one[~np.isnan(one)] for one in arrays]
    if len(kept) != len(where) or not all(len(one) for one in kept):
        msg = f"there are limits at {sum(len(one) > 0 for one in kept)} points of {along or name}, not {len(where)}"
        raise InputError(msg)
    order = np.argsort(where, kind="stable")
    found = [quantiles(kept[i], norm.cdf(N_SIGMA)) for i in order]
    return Sensitivity(
        name,
        along,
        where[order],
        np.array([q.values for q in found]),
        np.array([q.errors for q in found]),
        np.array([q.size for q in found]),
        level,
    )
