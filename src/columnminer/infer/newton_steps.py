"""Newton's steps in a box, and what else is solved with matrices of second derivatives, for many rows at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.infer.derivatives import Derivatives

__all__ = ["Step", "covariances", "inner", "newton_step", "solve"]

_FLAT, _INDEFINITE = 1e-9, -1e-4
"""Smallest eigenvalues of -H, relative to the largest: of a direction that counts, and of a maximum."""


@dataclass(frozen=True)
class Step:
    """Newton's steps, a row each.

    `size` (n, k) in the parameters, `gain` (n,) of log L that is expected, `length` (n,) in units of the parameters,
    `held` (n, k) at a side of the box from the start, `blocked` (n, k) stopped by one, `definite` (n,) towards a
    maximum.
    """

    size: NDArray[np.float64]
    gain: NDArray[np.float64]
    length: NDArray[np.float64]
    held: NDArray[np.bool_]
    blocked: NDArray[np.bool_]
    definite: NDArray[np.bool_]


def newton_step(
    found: Derivatives,
    columns: NDArray[np.int64],
    down: NDArray[np.float64],
    up: NDArray[np.float64],
    size: NDArray[np.float64],
) -> Step:
    """Return the steps to the maxima of the parabolas within (n, k) distances down and up."""
    curvature = -found.hessian[:, columns[:, None], columns]
    curvature = 0.5 * (curvature + curvature.transpose(0, 2, 1))
    diagonal = np.abs(np.einsum("nii->ni", curvature))
    unit = np.where(diagonal * size**2 > 1e-12, 1.0 / np.sqrt(diagonal), size)  # in which parameters are alike
    slope = found.gradient[:, columns] * unit
    curvature = curvature * unit[:, :, None] * unit[:, None, :]
    down, up = down / unit, up / unit

    n, k = slope.shape
    step, definite = np.zeros((n, k)), np.ones(n, dtype=bool)
    held = ((down >= 0.0) & (slope <= 0.0)) | ((up <= 0.0) & (slope >= 0.0))
    blocked = np.zeros((n, k), dtype=bool)
    rows = np.flatnonzero(~held.all(axis=1))
    while len(rows):
        free = ~(held | blocked)[rows]
        matrix = np.where(free[:, :, None] & free[:, None, :], curvature[rows], 0.0)
        matrix[:, np.arange(k), np.arange(k)] += ~free
        pull = slope[rows] - np.einsum("nij,nj->ni", curvature[rows], np.where(free, 0.0, step[rows]))
        target, definite[rows] = solve(matrix, np.where(free, pull, 0.0))
        move = np.where(free, target - step[rows], 0.0)
        ahead = np.where(move > 0.0, up[rows], down[rows]) - step[rows]
        share = np.where(move != 0.0, ahead / np.where(move != 0.0, move, 1.0), np.inf)
        first = share.argmin(axis=1)
        part = np.clip(share.min(axis=1), 0.0, 1.0)
        step[rows] += part[:, None] * move
        stopped = part < 1.0
        blocked[rows[stopped], first[stopped]] = True
        rows = rows[stopped]
        rows = rows[~(held | blocked)[rows].all(axis=1)]
    along = (slope * step).sum(axis=1)
    parabola = along - 0.5 * np.einsum("ni,nij,nj->n", step, curvature, step)
    return Step(
        size=step * unit,
        gain=np.maximum(0.5 * along, parabola),
        length=np.abs(step * unit / size).max(axis=1, initial=0.0),
        held=held,
        blocked=blocked,
        definite=definite,
    )


def solve(matrix: NDArray[np.float64], pull: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return solutions (n, k) of equations with eigenvalues taken by their size, and whether those are positive."""
    size, vectors, definite = _eigen(matrix)
    along = np.einsum("nji,nj->ni", vectors, pull) / size
    return np.einsum("nij,nj->ni", vectors, along), definite


def _eigen(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return the size of eigenvalues (n, k), eigenvectors (n, k, k), and whether the eigenvalues are positive."""
    size, vectors = np.linalg.eigh(matrix)
    largest = np.abs(size).max(axis=1, keepdims=True)
    return np.maximum(np.abs(size), _FLAT * largest + 1e-300), vectors, size[:, 0] >= _INDEFINITE * largest[:, 0]


def covariances(hessian: NDArray[np.float64], held: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the inverse of -H in the parameters that are not held (n, n_par, n_par), NaN for the others."""
    matrix, free = inner(-hessian, held)
    usable = np.isfinite(matrix).all(axis=(1, 2))
    inverse = np.full(matrix.shape, np.nan)
    size, vectors, _ = _eigen(matrix[usable])
    inverse[usable] = np.matmul(vectors / size[:, None, :], vectors.transpose(0, 2, 1))
    return np.where(free, inverse, np.nan)


def inner(matrix: NDArray[np.float64], held: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return matrices (n, k, k) with the rows and columns of held parameters those of unity, and which are not held."""
    free = ~held[:, :, None] & ~held[:, None, :]
    return np.where(free, matrix, 0.0) + held[:, :, None] * np.eye(held.shape[1]), free
