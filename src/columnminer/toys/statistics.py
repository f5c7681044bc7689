"""Quantiles and shares of toys, with the errors that a finite number of toys leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import beta

from columnminer.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["ONE_SIGMA", "Quantiles", "Share", "quantiles", "share", "toys_for"]

ONE_SIGMA = 0.6826894921370859
"""Probability of a normal number within one standard deviation."""


@dataclass(frozen=True)
class Quantiles:
    """Quantiles of a sample.

    Attributes
    ----------
    probabilities : numpy.ndarray
        (k,) of a value at or below each.
    values : numpy.ndarray
        (k,) quantiles.
    errors : numpy.ndarray
        (k,) their standard errors; NaN where the sample ends are too near to tell.
    size : int
        Of the sample.
    """

    probabilities: NDArray[np.float64]
    values: NDArray[np.float64]
    errors: NDArray[np.float64]
    size: int


@dataclass(frozen=True)
class Share:
    """Shares of toys with some property, with the exact interval of Clopper and Pearson, Biometrika 26 (1934) 404.

    Attributes
    ----------
    count, toys : numpy.ndarray
        (...) toys with the property, and all.
    fraction : numpy.ndarray
        (...) their ratio.
    low, high : numpy.ndarray
        (...) ends of the central interval of the probability; it covers at least as often as its level says.
    """

    count: NDArray[np.int64]
    toys: NDArray[np.int64]
    fraction: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def toys_for(probability: float) -> int:
    """Return how many toys a quantile of this probability needs: two standard errors then stay within the sample."""
    tail = min(probability, 1.0 - probability)
    return int(np.ceil(4.0 * (1.0 - tail) / tail - 1e-9))


def quantiles(sample: ArrayLike, probabilities: ArrayLike) -> Quantiles:
    r"""Return quantiles with their standard errors.

    The number of values below the quantile of probability p is binomial, of standard deviation
    :math:`\sqrt{n p (1 - p)}`; order statistics twice as many ranks to both sides enclose the quantile in 95 % of
    samples, whatever the distribution. A quarter of their distance is the error. Between ranks, values are interpolated
    linearly.

    Parameters
    ----------
    sample
        (n,) values, infinite ones among them.
    probabilities
        (k,) between 0 and 1.

    Raises
    ------
    InputError
        If there are no values, or one is NaN, or a probability is none.
    """
    values = np.sort(np.asarray(sample, dtype=np.float64).ravel())
    wanted = np.atleast_1d(np.asarray(probabilities, dtype=np.float64))
    if not len(values) or np.isnan(values).any():
        msg = "quantiles need values, none of them NaN"
        raise InputError(msg)
    if not ((wanted > 0.0) & (wanted < 1.0)).all():
        msg = f"quantiles have probabilities between 0 and 1, not {wanted.tolist()}"
        raise InputError(msg)
    spread = 2.0 * np.sqrt(wanted * (1.0 - wanted) / len(values))
    low, high = wanted - spread, wanted + spread
    ends = [_at_rank(values, np.clip(p, 0.0, 1.0)) for p in (low, high)]
    with np.errstate(invalid="ignore"):  # inf - inf: among infinite values the error is not known
        errors = np.where((low >= 0.0) & (high <= 1.0), 0.25 * (ends[1] - ends[0]), np.nan)
    return Quantiles(wanted, _at_rank(values, wanted), errors, len(values))


def _at_rank(values: NDArray[np.float64], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sorted values at (n - 1) p ranks from the first, interpolated; infinity does not become NaN."""
    rank = probabilities * (len(values) - 1)
    below = np.floor(rank).astype(int)
    left, right = values[below], values[np.minimum(below + 1, len(values) - 1)]
    part = rank - below
    inside = (part > 0.0) & (left != right)
    step = np.subtract(right, left, out=np.zeros_like(left), where=inside)
    return np.asarray(left + np.multiply(part, step, out=np.zeros_like(left), where=inside))


def share(count: ArrayLike, toys: ArrayLike, level: float = ONE_SIGMA) -> Share:
    """Return shares of toys with their Clopper-Pearson intervals.

    Parameters
    ----------
    count, toys
        (...) numbers of toys with the property, and of all.
    level
        Confidence level of the interval.

    Raises
    ------
    InputError
        If there are no toys, or more with the property than in all, or the level is none.
    """
    k, n = np.broadcast_arrays(np.asarray(count), np.asarray(toys))
    if not ((k >= 0) & (k <= n) & (n > 0)).all():
        msg = f"{k.tolist()} of {n.tolist()} toys is no share of them"
        raise InputError(msg)
    if not 0.0 < level < 1.0:
        msg = f"the confidence level must lie between 0 and 1, not at {level}"
        raise InputError(msg)
    tail = 0.5 * (1.0 - level)
    low = np.where(k == 0, 0.0, beta.ppf(tail, np.maximum(k, 1), n - k + 1))
    high = np.where(k == n, 1.0, beta.isf(tail, k + 1, np.maximum(n - k, 1)))
    return Share(k.astype(np.int64), n.astype(np.int64), k / n, low, high)
