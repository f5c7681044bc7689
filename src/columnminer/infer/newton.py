r"""Maximum likelihood at many points at once, over a few parameters at each: how nuisance parameters are profiled.

One Newton step :math:`-H^{-1} g` for all points together costs a few batched evaluations, where fits one after the
other cost tens of evaluations each. H is the derivative of the gradient by differences; where it is not negative
definite, its eigenvalues are taken by their size, so that the step goes up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from columnminer.infer.likelihood import Likelihood

__all__ = ["climb"]

_DISTANCE = 1e-9
"""Expected distance to the maximum of log L at which a point has arrived."""

_STEPS, _HALVINGS = 30, 8
_LONGEST = 3.0
"""Longest step, in units of the constraint of each parameter: the exponentials of nuisance parameters overshoot."""


def climb(
    likelihood: Likelihood, points: NDArray[np.float64], names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the points with the parameters `names` at their maximum, and which of them arrived.

    Parameters
    ----------
    likelihood
        With data and a gradient.
    points
        (n, n_par) where to start.
    names
        Which parameters may move.

    Returns
    -------
    points : numpy.ndarray
        (n, n_par).
    arrived : numpy.ndarray
        (n,) bool; the others need a more careful fit.

    Raises
    ------
    MissingError
        If there are no data, or no gradient.
    """
    data = likelihood.data
    columns = [likelihood.names.index(name) for name in names]
    scale = np.array([likelihood.parameters[i].width or 1.0 for i in columns])
    difference = max(likelihood.precision, 1e-12) ** (1.0 / 3.0) * scale
    points, arrived = points.copy(), np.zeros(len(points), dtype=bool)
    rows = np.arange(len(points))

    def slopes(at: NDArray[np.float64]) -> NDArray[np.float64]:
        return likelihood.term_gradients(at, data)[:, columns]

    values = np.asarray(likelihood.terms(points, data).total)
    for _ in range(_STEPS):
        here = points[rows]
        gradient = slopes(here)
        curvature = np.empty((len(rows), len(columns), len(columns)))
        for i, column in enumerate(columns):
            there = here.copy()
            there[:, column] += difference[i]
            curvature[:, i] = (slopes(there) - gradient) / difference[i]
        usable = np.isfinite(curvature).all(axis=(1, 2)) & np.isfinite(gradient).all(axis=1) & np.isfinite(values[rows])
        rows, here, gradient, curvature = rows[usable], here[usable], gradient[usable], curvature[usable]
        step = _uphill(gradient, curvature, scale)
        near = 0.5 * np.einsum("ni,ni->n", gradient, step) < _DISTANCE
        arrived[rows[near]] = True
        rows, here, step = rows[~near], here[~near], step[~near]
        if not len(rows):
            break
        points[rows], values[rows] = _walk(likelihood, here, values[rows], step, columns)
    return points, arrived


def _uphill(
    gradient: NDArray[np.float64], curvature: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return Newton's steps (n, k) in units in which the parameters are alike, none of them too long."""
    scaled = -0.5 * (curvature + curvature.transpose(0, 2, 1)) * scale[:, None] * scale
    size, vectors = np.linalg.eigh(scaled)
    size = np.maximum(np.abs(size), 1e-9 * np.abs(size).max(axis=1, keepdims=True) + 1e-300)
    along = np.einsum("nji,nj->ni", vectors, gradient * scale) / size
    step = np.einsum("nij,nj->ni", vectors, along)
    longest = np.abs(step).max(axis=1, keepdims=True)
    return np.asarray(step * scale * np.minimum(1.0, _LONGEST / np.maximum(longest, 1e-300)))


def _walk(
    likelihood: Likelihood,
    here: NDArray[np.float64],
    values: NDArray[np.float64],
    step: NDArray[np.float64],
    columns: Sequence[int],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points, and their log likelihoods, after steps that are halved where they would go down."""
    there, reached = here.copy(), values.copy()
    least = values - likelihood.precision * np.abs(values)
    left = np.arange(len(here))
    for halving in range(_HALVINGS):
        tried = here[left]
        tried[:, columns] += step[left] / 2**halving
        found = np.asarray(likelihood.terms(tried, likelihood.data).total)
        up = found >= least[left]
        there[left[up]], reached[left[up]] = tried[up], found[up]
        left = left[~up]
        if not len(left):
            break
    return there, reached
