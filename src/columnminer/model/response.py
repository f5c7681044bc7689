"""How weights, and sums of weights, respond to nuisance parameters.

A nuisance parameter nu_i multiplies the weight of an event by exp(a_i(x) nu_i + b_i(x) nu_i**2), where a and b follow
from the weights at nu = +1 and -1 (arXiv:1907.10621); the same is done with the sums in bins of histograms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["LARGEST_EXPONENT", "nuisance_coefficients", "nuisance_factor", "nuisance_log_gradients"]

LARGEST_EXPONENT = 10.0
"""Coefficients a and b are clipped to this: events with tiny nominal weights would get absurd factors."""


def nuisance_coefficients(
    w_up: ArrayLike, w_down: ArrayLike | None, w_nominal: ArrayLike, step: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Return a and b of exp(a nu + b nu**2), the factor by which a nuisance parameter changes a weight.

    Two-sided: a = log(w+ / w-) / 2, b = log(w+ w- / w0**2) / 2; one-sided: a = log(w+ / w0), b = 0. What is not finite
    (a weight is zero, signs differ) is 0; the rest is clipped to [-10, 10].

    Parameters
    ----------
    w_up, w_down, w_nominal
        Weights at nu = +step, -step and 0 of arrays that broadcast together; `w_down` None: one-sided.
    step
        Value of nu to which the varied weights belong.

    Returns
    -------
    a, b
        Of the shape of the weights.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        up, nominal = np.asarray(w_up, dtype=np.float64), np.asarray(w_nominal, dtype=np.float64)
        if w_down is None:
            a = np.log(up / nominal)
            b = np.zeros_like(a)
        else:
            down = np.asarray(w_down, dtype=np.float64)
            a = 0.5 * np.log(up / down)
            b = 0.5 * np.log((up / nominal) * (down / nominal))
    return _bounded(a) / step, _bounded(b) / step**2


def _bounded(exponents: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(np.where(np.isfinite(exponents), exponents, 0.0), -LARGEST_EXPONENT, LARGEST_EXPONENT)


def nuisance_factor(a: ArrayLike, b: ArrayLike, nu: ArrayLike) -> NDArray[np.float64]:
    """Return prod_i exp(a_i nu_i + b_i nu_i**2).

    Parameters
    ----------
    a, b
        (n_nu, n_events) from `nuisance_coefficients`.
    nu
        (n_points, n_nu), or (n_nu,) for one point.

    Returns
    -------
    numpy.ndarray
        (n_points, n_events).
    """
    points = np.atleast_2d(np.asarray(nu, dtype=np.float64))
    return np.asarray(np.exp(points @ np.asarray(a) + points**2 @ np.asarray(b)))


def nuisance_log_gradients(a: ArrayLike, b: ArrayLike, nu: ArrayLike) -> NDArray[np.float64]:
    """Return d log(nuisance_factor) / d nu_i = a_i + 2 b_i nu_i, (n_points, n_nu, n_events); parameters as there."""
    points = np.atleast_2d(np.asarray(nu, dtype=np.float64))[..., np.newaxis]
    return np.asarray(a, dtype=np.float64) + 2.0 * np.asarray(b, dtype=np.float64) * points
