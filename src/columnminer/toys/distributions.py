"""Distributions over toys: of the test statistic t and of pulls, beside those expected, and of best fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2, kstest, norm

from columnminer.errors import InputError
from columnminer.toys.points import converged, signed_roots, statistics
from columnminer.toys.results import PointResult
from columnminer.toys.statistics import ONE_SIGMA

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.intervals import Kind

__all__ = ["Estimates", "Pulls", "ToyHistogram", "estimate_distribution", "pulls", "statistic_distribution"]


@dataclass(frozen=True)
class ToyHistogram:
    """A histogram of toys and what is expected in it.

    Attributes
    ----------
    name : str
        Of the quantity.
    edges : numpy.ndarray
        (n + 1,) of its bins.
    counts, expected : numpy.ndarray
        (n,) toys in each, found and expected.
    beyond : int
        Toys outside all bins.
    toys : int
        All of them.
    law : str
        What is expected.
    p_value : float
        Of the Kolmogorov-Smirnov test of the unbinned toys; NaN where the law is not continuous.
    """

    name: str
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    expected: NDArray[np.float64]
    beyond: int
    toys: int
    law: str
    p_value: float


@dataclass(frozen=True)
class Pulls:
    """Pulls of toys: standard normal numbers, if estimates are unbiased and errors right.

    Attributes
    ----------
    histogram : ToyHistogram
        Of them.
    mean, mean_error : float
        0 is expected.
    width, width_error : float
        Standard deviation; 1 is expected.
    """

    histogram: ToyHistogram
    mean: float
    mean_error: float
    width: float
    width_error: float


@dataclass(frozen=True)
class Estimates:
    """Best fits of one parameter over toys.

    Attributes
    ----------
    name : str
        The parameter.
    edges : numpy.ndarray
        (n + 1,) of bins.
    counts : numpy.ndarray
        (n,) toys in each.
    beyond : int
        Toys outside all bins.
    toys : int
        All of them.
    truth : float
        True value; NaN where it is not known.
    mean, mean_error, median : float
        Of the best fits.
    low, high : float
        68 % of the best fits lie between, and equal shares below and above.
    """

    name: str
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    beyond: int
    toys: int
    truth: float
    mean: float
    mean_error: float
    median: float
    low: float
    high: float


def statistic_distribution(
    point: PointResult,
    hypothesis: str = "true",
    *,
    kind: Kind = "central",
    dof: int = 1,
    bins: int = 40,
    highest: float | None = None,
) -> ToyHistogram:
    """Return the distribution of t over toys beside the chi-square law (for limits, half of it: half of t are 0).

    Parameters
    ----------
    point
        Toys.
    hypothesis
        That t is of; chi-square is expected where it is true.
    kind
        For an "upper" or "lower" limit t counts on one side.
    dof
        Degrees of freedom.
    bins
        Number of bins.
    highest
        Where they end; by default at the 1e-4 quantile of the law.

    Raises
    ------
    UnknownNameError
        If the toys were not fitted under the hypothesis.
    """
    t = statistics(point, hypothesis, kind)
    edges = np.linspace(0.0, float(chi2.isf(1e-4, dof)) if highest is None else highest, bins + 1)
    probability = np.diff(chi2.cdf(edges, dof))
    law, p_value = f"chi-square, {dof} degree{'s' if dof > 1 else ''} of freedom", np.nan
    if kind != "central":
        law = f"half of {law}"
        probability = 0.5 * probability
        probability[0] += 0.5
    else:
        p_value = float(kstest(t, chi2(dof).cdf).pvalue)
    return _histogram(f"t({hypothesis})", t, edges, probability, (law, p_value))


def pulls(values: PointResult | ArrayLike, *, name: str = "pull", bins: int = 40, widest: float = 5.0) -> Pulls:
    """Return how pulls are distributed.

    Parameters
    ----------
    values
        (n,) pulls, (estimate - truth) / error; or toys, whose pulls are the signed roots of t.
    name
        Of the quantity.
    bins
        Number of bins.
    widest
        Where they begin and end.

    Raises
    ------
    InputError
        If there are less than two pulls, or one is not finite.
    """
    found = signed_roots(values) if isinstance(values, PointResult) else np.asarray(values, dtype=np.float64).ravel()
    if len(found) < 2 or not np.isfinite(found).all():
        msg = "pulls are at least two finite numbers"
        raise InputError(msg)
    edges = np.linspace(-widest, widest, bins + 1)
    p_value = float(kstest(found, norm.cdf).pvalue)
    histogram = _histogram(name, found, edges, np.diff(norm.cdf(edges)), ("standard normal", p_value))
    centred = found - found.mean()
    width, n = float(np.sqrt(np.mean(centred**2))), len(found)
    # Of the variance, from the fourth moment: tails other than normal ones count.
    spread = np.sqrt(max(np.mean(centred**4) - width**4, 0.0) / n)
    width_error = float(spread / (2.0 * width)) if width > 0.0 else np.nan
    return Pulls(histogram, float(found.mean()), width / np.sqrt(n), width, width_error)


def estimate_distribution(
    point: PointResult,
    name: str | None = None,
    *,
    hypothesis: str = "free",
    bins: int | ArrayLike = 40,
) -> Estimates:
    """Return how best fits of a parameter are distributed, those at limits included.

    Parameters
    ----------
    point
        Toys.
    name
        The parameter; that of interest by default.
    hypothesis
        Whose fits; those that did not converge are left out.
    bins
        Their number, from the lowest to the highest best fit, or edges.

    Raises
    ------
    UnknownNameError
        If there is no such parameter or hypothesis.
    InputError
        If no fit converged.
    """
    name = point.poi if name is None else name
    found = point.values(name, hypothesis)[converged(point, hypothesis, free=hypothesis)]
    counts, edges = np.histogram(found, bins)
    low, median, high = np.quantile(found, [0.5 - 0.5 * ONE_SIGMA, 0.5, 0.5 + 0.5 * ONE_SIGMA])
    n = len(found)
    return Estimates(
        name=name,
        edges=edges,
        counts=counts.astype(np.int64),
        beyond=n - int(counts.sum()),
        toys=n,
        truth=float(point.generate.get(name, np.nan)),
        mean=float(found.mean()),
        mean_error=float(found.std() / np.sqrt(n)),
        median=float(median),
        low=float(low),
        high=float(high),
    )


def _histogram(
    name: str,
    values: NDArray[np.float64],
    edges: NDArray[np.float64],
    probability: NDArray[np.float64],
    test: tuple[str, float],
) -> ToyHistogram:
    counts = np.histogram(values, edges)[0].astype(np.int64)
    n = len(values)
    return ToyHistogram(name, edges, counts, n * probability, n - int(counts.sum()), n, *test)
