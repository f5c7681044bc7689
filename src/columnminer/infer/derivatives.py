"""Value, gradient and matrix of second derivatives of log likelihoods: what Newton's method climbs along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import MissingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.infer.likelihood import Likelihood

__all__ = ["Derivatives", "by_differences"]


@dataclass(frozen=True)
class Derivatives:
    """Of log L in the parameters, at each point of a batch.

    Attributes
    ----------
    value : numpy.ndarray
        (...) log L.
    gradient : numpy.ndarray
        (..., n_par).
    hessian : numpy.ndarray
        (..., n_par, n_par), symmetric.
    """

    value: NDArray[np.float64]
    gradient: NDArray[np.float64]
    hessian: NDArray[np.float64]


def by_differences(likelihood: Likelihood, points: NDArray[np.float64], data: Any) -> Derivatives:
    """Return the derivatives at points (..., n_par), by differences of the gradient, or of log L where there is none.

    Steps are the cube root (of the gradient) or fourth root (of log L) of the relative precision, in units of the
    constraint of each parameter or of its size. They cross neither kinks nor fit limits.
    """
    value = np.asarray(likelihood.terms(points, data).total)
    n_par = points.shape[-1]
    constraint = np.array([p.width or 0.0 for p in likelihood.parameters])
    size = np.where(constraint > 0.0, constraint, np.maximum(np.abs(points), 1.0))
    precision = max(likelihood.precision, 1e-12)
    try:
        gradient = likelihood.term_gradients(points, data)
    except MissingError:
        return _from_values(likelihood, points, data, value, precision**0.25 * size)
    hessian = np.empty((*gradient.shape, n_par))
    step = precision ** (1.0 / 3.0) * size
    step = np.where(points + step < _cells(likelihood, points)[1], step, -step)
    for i in range(n_par):
        there = points.copy()
        there[..., i] += step[..., i]
        hessian[..., i, :] = (likelihood.term_gradients(there, data) - gradient) / step[..., i, None]
    return Derivatives(value, gradient, 0.5 * (hessian + np.swapaxes(hessian, -1, -2)))


def _cells(likelihood: Likelihood, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return between which values (..., n_par) log L is smooth around points."""
    low, high = np.full(points.shape, -np.inf), np.full(points.shape, np.inf)
    for i, parameter in enumerate(likelihood.parameters):
        ends = [end for end in parameter.fit_limits or () if end is not None]
        edges = np.union1d(likelihood.kinks.get(parameter.name, ()), ends)
        if edges.size:
            edges = np.concatenate([[-np.inf], edges, [np.inf]])
            cell = np.clip(np.searchsorted(edges, points[..., i], side="right"), 1, len(edges) - 1)
            if parameter.fit_limits is not None:  # at the upper limit, the cell is the one below
                cell = np.where(points[..., i] == parameter.fit_limits[1], cell - 1, cell)
            low[..., i], high[..., i] = edges[cell - 1], edges[cell]
    return low, high


def _from_values(
    likelihood: Likelihood,
    points: NDArray[np.float64],
    data: Any,
    value: NDArray[np.float64],
    step: NDArray[np.float64],
) -> Derivatives:
    n_par = points.shape[-1]
    unit = np.eye(n_par)
    low, high = _cells(likelihood, points)
    centre = np.minimum(np.maximum(points, low + step), np.maximum(high - step, low + step))

    def at(shift: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(likelihood.terms(centre + shift * step, data).total)

    middle = value if (centre == points).all() else at(np.zeros(n_par))
    up = np.stack([at(unit[i]) for i in range(n_par)], axis=-1)
    down = np.stack([at(-unit[i]) for i in range(n_par)], axis=-1)
    hessian = np.empty((*value.shape, n_par, n_par))
    for i in range(n_par):
        hessian[..., i, i] = (up[..., i] - 2.0 * middle + down[..., i]) / step[..., i] ** 2
        for j in range(i):
            corner = at(unit[i] + unit[j]) - up[..., i] - up[..., j] + middle
            corner = corner + at(-unit[i] - unit[j]) - down[..., i] - down[..., j] + middle
            hessian[..., i, j] = hessian[..., j, i] = 0.5 * corner / (step[..., i] * step[..., j])
    gradient = (up - down) / (2.0 * step) + np.einsum("...ij,...j->...i", hessian, points - centre)
    return Derivatives(value, gradient, hessian)
