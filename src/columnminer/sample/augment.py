r"""The gold of drawn events: joint likelihood ratio and joint score, from the weights with which they were drawn.

With p(x, z | theta) = W(theta) / sigma(theta), where W is the weight of the event [pb] and sigma the sum of weights,

.. math:: r(x, z) = \frac{W(\theta_0) / \sigma(\theta_0)}{W(\theta_1) / \sigma(\theta_1)}, \qquad
   t(x, z) = \frac{\nabla W(\theta)}{W(\theta)} - \frac{\nabla \sigma(\theta)}{\sigma(\theta)},

arXiv:1805.00013, 1805.00020. All of it is linear in the morphing weights, so that an event costs a few products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["joint_ratio", "joint_score", "signs"]

_CHUNK = 2**18
"""Numbers in a chunk of coefficients gathered for single events."""


def _values(
    weights: NDArray[np.float64], coefficients: NDArray[np.float64], point: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return sum_b weights[n, b] coefficients[point[n], ..., b], (n, ...)."""
    values = np.empty((len(weights), *coefficients.shape[1:-1]))
    step = max(_CHUNK // coefficients[0].size, 1)
    for start in range(0, len(weights), step):
        rows = slice(start, start + step)
        np.einsum("nb,n...b->n...", weights[rows], coefficients[point[rows]], out=values[rows])
    return values


def joint_ratio(
    weights: NDArray[np.float64],
    totals: NDArray[np.float64],
    numerator: NDArray[np.float64],
    denominator: NDArray[np.float64],
    point: NDArray[np.int64],
    *,
    denominator_totals: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return r(x, z | theta0, theta1) of each event, (n,).

    Parameters
    ----------
    weights
        (n, n_columns) linear weights [pb] of the events; see `draw.Events`.
    totals
        (n_points, n_columns) their sums over all events that could have been drawn.
    numerator, denominator
        (n_points, n_columns) coefficients that make weights at theta0 and theta1 of them.
    point
        (n,) which of the points belongs to an event.
    denominator_totals
        The sums at theta1 where they differ from those at theta0, as with nuisance parameters; see `nuisances`.
    """
    sigma0 = np.einsum("pb,pb->p", totals, numerator)
    sigma1 = np.einsum("pb,pb->p", totals if denominator_totals is None else denominator_totals, denominator)
    with np.errstate(divide="ignore"):  # no weight at theta1 is an infinite ratio
        ratio = _values(weights, numerator, point) / _values(weights, denominator, point)
    return np.asarray(ratio * (sigma1 / sigma0)[point])


def joint_score(
    weights: NDArray[np.float64],
    totals: NDArray[np.float64],
    coefficients: NDArray[np.float64],
    gradients: NDArray[np.float64],
    point: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return t(x, z | theta) of each event, (n, n_par); see `joint_ratio`.

    Parameters
    ----------
    weights, totals, point
        See `joint_ratio`.
    coefficients
        (n_points, n_columns) coefficients at theta.
    gradients
        (n_points, n_par, n_columns) their derivatives.
    """
    sigma = np.einsum("pb,pb->p", totals, coefficients)
    slope = np.einsum("pb,pib->pi", totals, gradients) / sigma[:, np.newaxis]
    score = _values(weights, gradients, point) / _values(weights, coefficients, point)[:, np.newaxis]
    return np.asarray(score - slope[point])


def signs(
    weights: NDArray[np.float64], coefficients: NDArray[np.float64], point: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the sign of each event's weight at its point, (n,); see `joint_score`."""
    return np.asarray(np.sign(_values(weights, coefficients, point)))
