r"""Discoveries with toys: how probable data are without a signal, and how often a signal would be discovered.

The test statistic is :math:`q_0 = 2 \log L(\hat\mu) / L(0)` where the best fit has a signal, else 0
(arXiv:1007.1727, equation 12).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.stats import norm

from columnminer.errors import InputError
from columnminer.toys.points import as_points, conditions, statistics, truth
from columnminer.toys.statistics import ONE_SIGMA, Share, quantiles, share, toys_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from columnminer.toys.results import PointResult

__all__ = ["DiscoveryPower", "ToySignificance", "discovery_power", "toy_significance"]


@dataclass(frozen=True)
class DiscoveryPower:
    """How often a signal is discovered, at k true values.

    Attributes
    ----------
    name : str
        The parameter of interest.
    values : numpy.ndarray
        (k,) true values.
    conditions : tuple of mapping
        (k) what else was set.
    significance : float
        What counts as a discovery: standard deviations.
    critical, critical_error : numpy.ndarray
        (k,) values of q0 that it starts at, and their standard errors, 0 for asymptotic ones.
    share : Share
        Toys above it, with Clopper-Pearson intervals.
    """

    name: str
    values: NDArray[np.float64]
    conditions: tuple[Mapping[str, float], ...]
    significance: float
    critical: NDArray[np.float64]
    critical_error: NDArray[np.float64]
    share: Share


@dataclass(frozen=True)
class ToySignificance:
    """How much data speak against there being no signal, from toys without one.

    Attributes
    ----------
    q0 : float
        Of the data.
    share : Share
        Toys with a q0 at least as large: the p value with its Clopper-Pearson interval.
    significance : float
        Standard deviations of the p value. Where no toy is as large, those of the upper end of its interval: the data
        are at least so significant, which is all that so many toys can say; where all are, of the lower end.
    bound : "lower", "upper" or None
        What the significance is then; None where it is an estimate.
    low, high : float
        Standard deviations of the ends of the interval, of which one is infinite where there is a bound.
    asymptotic_p_value, asymptotic_significance : float
        For comparison: that of many events.
    """

    q0: float
    share: Share
    significance: float
    bound: Literal["lower", "upper"] | None
    low: float
    high: float
    asymptotic_p_value: float
    asymptotic_significance: float

    @property
    def p_value(self) -> float:
        """Probability of data at least as signal-rich without a signal, or the bound of it."""
        of = {"lower": self.share.high, "upper": self.share.low, None: self.share.fraction}
        return float(of[self.bound])

    def __str__(self) -> str:
        z, p = {"lower": (">", "<"), "upper": ("<", ">"), None: ("", "")}[self.bound]
        return (
            f"significance {z}{self.significance:.2f} (p value {p}{self.p_value:.2g}): {self.share.count} of "
            f"{self.share.toys} toys have q0 of at least {self.q0:.4g}; "
            f"asymptotically {self.asymptotic_significance:.2f}"
        )


def discovery_power(
    results: PointResult | Iterable[PointResult],
    *,
    significance: float = 3.0,
    no_signal: PointResult | Iterable[PointResult] | None = None,
    hypothesis: str = "zero",
    error_level: float = ONE_SIGMA,
) -> DiscoveryPower:
    """Return the share of toys in which a signal is discovered.

    Parameters
    ----------
    results
        Toys at one or many points, fitted freely and without a signal.
    significance
        Standard deviations from which on it is a discovery.
    no_signal
        Toys without a signal, for the critical value of q0: for all points, or one set for each set of conditions. By
        default it is asymptotic, the square of the significance.
    hypothesis
        Name of that without a signal.
    error_level
        Confidence level of the Clopper-Pearson intervals.

    Raises
    ------
    InputError
        If the significance is not positive, there are too few toys without a signal for it, or none that fit a point.
    UnknownNameError
        If the toys were not fitted under the hypothesis.

    Examples
    --------
    >>> power = cm.discovery_power(cm.CampaignResults("toys.zarr"), significance=2)
    >>> power.share.fraction.shape  # of the toys at each true mu
    (3,)
    """
    if not (np.isfinite(significance) and significance > 0.0):
        msg = f"a discovery has a positive significance, not {significance}"
        raise InputError(msg)
    points = as_points(results)
    if no_signal is None:
        found = [(significance**2, 0.0)] * len(points)
    else:
        without = as_points(no_signal)
        known = [_critical(point, hypothesis, significance) for point in without]
        found = [known[_matching(point, without)] for point in points]
    q0 = [statistics(point, hypothesis, "lower") for point in points]
    return DiscoveryPower(
        points[0].poi,
        np.array([truth(point) for point in points]),
        tuple(conditions(point) for point in points),
        float(significance),
        np.array([value for value, _ in found]),
        np.array([error for _, error in found]),
        share([int((q > f[0]).sum()) for q, f in zip(q0, found, strict=True)], [len(q) for q in q0], error_level),
    )


def toy_significance(
    q0: float, no_signal: PointResult, *, hypothesis: str = "zero", error_level: float = ONE_SIGMA
) -> ToySignificance:
    """Return the significance of data from toys without a signal, beside the asymptotic one.

    Parameters
    ----------
    q0
        Of the data: `columnminer.discovery` returns it.
    no_signal
        Toys without a signal, fitted freely and without one.
    hypothesis
        Name of that without a signal.
    error_level
        Confidence level of the Clopper-Pearson interval.

    Raises
    ------
    InputError
        If q0 is negative or NaN.
    UnknownNameError
        If the toys were not fitted under the hypothesis.

    Examples
    --------
    >>> no_signal = cm.CampaignResults("toys.zarr").at(mu=0.0)[0]
    >>> found = cm.toy_significance(2.0, no_signal)
    >>> round(found.asymptotic_significance, 3)
    1.414
    """
    if not q0 >= 0.0:
        msg = f"q0 of a discovery is not negative; it is {q0}"
        raise InputError(msg)
    toys = statistics(no_signal, hypothesis, "lower")
    found = share(int((toys >= q0).sum()), len(toys), error_level)
    bound: Literal["lower", "upper"] | None = None
    if found.count in (0, found.toys):
        bound = "lower" if found.count == 0 else "upper"
    low, best, high = (float(norm.isf(p)) for p in (found.high, found.fraction, found.low))
    root = float(np.sqrt(q0))
    return ToySignificance(
        q0=float(q0),
        share=found,
        significance={"lower": low, "upper": high, None: best}[bound],
        bound=bound,
        low=low,
        high=high,
        asymptotic_p_value=float(norm.sf(root)),
        asymptotic_significance=root,
    )


def _critical(point: PointResult, hypothesis: str, significance: float) -> tuple[float, float]:
    probability = float(norm.cdf(significance))
    toys = statistics(point, hypothesis, "lower")
    if len(toys) < toys_for(probability):
        msg = (
            f"the critical value of {significance:g} standard deviations needs {toys_for(probability)} toys without a "
            f"signal, not {len(toys)}; the asymptotic one needs none"
        )
        raise InputError(msg)
    found = quantiles(toys, probability)
    return float(found.values[0]), float(found.errors[0])


def _matching(point: PointResult, without: list[PointResult]) -> int:
    """Return which of the points without a signal belongs to a point."""
    if len(without) == 1:
        return 0
    matching = [i for i, other in enumerate(without) if conditions(other) == conditions(point)]
    if len(matching) != 1:
        msg = f"{len(matching)} sets of toys without a signal, not one, belong to the toys at {conditions(point)}"
        raise InputError(msg)
    return matching[0]
