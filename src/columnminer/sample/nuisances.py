r"""The gold in the directions of nuisance parameters.

With weights W(theta, nu) = f(nu) W(theta), where log f = sum_i a_i nu_i + b_i nu_i^2 (`model.response`), and with
sigma(theta, nu) the sum of W(theta, nu),

.. math:: r(x, z) =
   \frac{f(\nu_0) W(\theta_0) / \sigma(\theta_0, \nu_0)}{f(\nu_1) W(\theta_1) / \sigma(\theta_1, \nu_1)}, \qquad
   t_{\nu_i}(x, z) = a_i + 2 b_i \nu_i - \frac{\partial_{\nu_i} \sigma(\theta, \nu)}{\sigma(\theta, \nu)},

arXiv:1907.10621. The score along theta is that of `augment`, as f cancels in it, but with sums at nu. An event brings
its `exponents` (a_1, ..., a_n, b_1, ..., b_n), a point its `powers` (nu_1, ..., nu_n, nu_1^2, ..., nu_n^2): log f is
their product, and its derivatives are linear in the exponents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from columnminer.store.weights import Block

__all__ = ["NuisanceSums", "exponents", "nuisance_ratio", "nuisance_score", "nuisance_sums", "powers"]

_CHUNK = 2**18
"""Factors (points x events), or products (events x columns), in work at a time."""


def exponents(block: Block) -> NDArray[np.float64]:
    """Return a and b of each event, (n, 2 n_nu)."""
    return np.concatenate(block.nuisance_coefficients).T


def powers(nus: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return nu and nu^2 of each point, (n_points, 2 n_nu)."""
    return np.concatenate([nus, nus**2], axis=1)


@dataclass(frozen=True)
class NuisanceSums:
    """Sums over all events that could have been drawn, at points of the nuisance parameters.

    Attributes
    ----------
    totals : numpy.ndarray
        (n_points, n_columns) sums of f times the linear weights [pb].
    slopes : numpy.ndarray
        (n_points, n_nu, n_columns) their derivatives.
    """

    totals: NDArray[np.float64]
    slopes: NDArray[np.float64]

    def take(self, which: slice) -> NuisanceSums:
        """Return the sums at some points."""
        return NuisanceSums(self.totals[which], self.slopes[which])


def nuisance_sums(columns: Iterable[NDArray[np.float64]], nus: NDArray[np.float64]) -> NuisanceSums:
    """Sum over events.

    Parameters
    ----------
    columns
        Blocks (n, n_columns + 2 n_nu): linear weights [pb] and `exponents`; see `draw.Events`.
    nus
        (n_points, n_nu).
    """
    points, inverse = np.unique(nus, axis=0, return_inverse=True)
    n_nu, at = points.shape[1], powers(points)
    sums: NDArray[np.float64] = np.zeros(())
    for block in columns:
        rows = max(_CHUNK // ((1 + 2 * n_nu) * (block.shape[1] - 2 * n_nu)), 1)
        for start in range(0, len(block), rows):
            linear, exponent = np.split(block[start : start + rows], [-2 * n_nu], axis=1)
            products = exponent[:, :, np.newaxis] * linear[:, np.newaxis]
            table = np.concatenate([linear[:, np.newaxis], products], axis=1).reshape(len(linear), -1)
            step = max(_CHUNK // len(linear), 1)
            pieces = [np.exp(at[i : i + step] @ exponent.T) @ table for i in range(0, len(at), step)]
            sums = sums + np.concatenate(pieces)
    sums = sums.reshape(len(at), 1 + 2 * n_nu, -1)
    slopes = sums[:, 1 : 1 + n_nu] + 2.0 * points[:, :, np.newaxis] * sums[:, 1 + n_nu :]
    inverse = inverse.reshape(-1)
    return NuisanceSums(sums[inverse, 0], slopes[inverse])


def nuisance_ratio(
    exponent: NDArray[np.float64],
    numerator: NDArray[np.float64],
    denominator: NDArray[np.float64],
    point: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return f(nu0) / f(nu1) of each event, (n,).

    Parameters
    ----------
    exponent
        (n, 2 n_nu) `exponents` of the events.
    numerator, denominator
        (n_points, n_nu) nuisance parameters.
    point
        (n,) which of the points belongs to an event.
    """
    difference = powers(numerator) - powers(denominator)
    return np.asarray(np.exp(np.einsum("nk,nk->n", exponent, difference[point])))


def nuisance_score(
    exponent: NDArray[np.float64],
    sums: NuisanceSums,
    coefficients: NDArray[np.float64],
    nus: NDArray[np.float64],
    point: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the joint score along nu of each event, (n, n_nu).

    Parameters
    ----------
    exponent, point
        See `nuisance_ratio`.
    sums
        At the nuisance parameters of the points.
    coefficients
        (n_points, n_columns) coefficients at theta.
    nus
        (n_points, n_nu).
    """
    sigma = np.einsum("pb,pb->p", sums.totals, coefficients)
    slope = np.einsum("pib,pb->pi", sums.slopes, coefficients) / sigma[:, np.newaxis]
    a, b = np.split(exponent, 2, axis=1)
    return np.asarray(a + 2.0 * b * nus[point] - slope[point])
