"""Arrays between the points at which they are known: splines on regular grids, triangulations of scattered points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy.interpolate import CloughTocher2DInterpolator, LinearNDInterpolator, NdBSpline, make_interp_spline
from scipy.spatial import QhullError

from columnminer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Interpolation", "Spline", "Triangulation", "interpolated"]

Interpolation: TypeAlias = Literal["smooth", "linear"]


class Spline:
    """Tensor product of splines through the points of a regular grid, cubic or linear; NaN outside.

    Parameters
    ----------
    axes
        Values along each parameter, increasing.
    values
        (*grid, ...) what is interpolated.
    interpolation
        "smooth" for cubic (of lower degree where an axis has fewer than four points), or "linear".
    """

    def __init__(
        self, axes: Sequence[NDArray[np.float64]], values: NDArray[np.float64], interpolation: Interpolation
    ) -> None:
        knots, degrees = [], []
        for i, axis in enumerate(axes):
            degrees.append(min(3 if interpolation == "smooth" else 1, len(axis) - 1))
            spline = make_interp_spline(axis, values, k=degrees[-1], axis=i)
            values = np.moveaxis(spline.c, 0, i)  # a spline keeps the axis that it runs along in front
            knots.append(spline.t)
        self._spline = NdBSpline(tuple(knots), np.ascontiguousarray(values), tuple(degrees), extrapolate=False)
        self._n_par = len(axes)

    def __call__(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values at points (n, n_par): (n, ...)."""
        return np.asarray(self._spline(theta))

    def derivatives(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the derivatives in the direction of each parameter: (n, n_par, ...)."""
        return np.stack([self._spline(theta, nu=order) for order in np.eye(self._n_par, dtype=np.int64)], axis=1)


class Triangulation:
    """Interpolation between scattered points, cubic in two dimensions or linear in any; NaN outside their hull.

    Parameters
    ----------
    points
        (n, n_par).
    values
        (n, ...) what is interpolated.
    interpolation
        "smooth" or "linear".
    """

    def __init__(self, points: NDArray[np.float64], values: NDArray[np.float64], interpolation: Interpolation) -> None:
        if interpolation == "smooth":
            self._function = CloughTocher2DInterpolator(points, values, tol=1e-10, maxiter=2000, rescale=True)
        else:
            self._function = LinearNDInterpolator(points, values, rescale=True)

    def __call__(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values at points (n, n_par): (n, ...)."""
        return np.asarray(self._function(theta))


def interpolated(
    points: NDArray[np.float64], values: NDArray[np.float64], interpolation: Interpolation
) -> Spline | Triangulation:
    """Return the interpolation of values (n, ...) at points (n, n_par), which may form a regular grid in any order.

    Raises
    ------
    InputError
        If scattered points in more than two dimensions are to be interpolated smoothly, two are the same, or all lie
        in a line or plane.
    """
    n_par = points.shape[1]
    if len(np.unique(points, axis=0)) < len(points):
        msg = "two of the points are the same"
        raise InputError(msg)
    axes = [np.unique(column) for column in points.T]
    shape = tuple(len(axis) for axis in axes)
    if min(shape) > 1 and int(np.prod(shape)) == len(points):
        order = np.lexsort(points.T[::-1])
        return Spline(axes, values[order].reshape(*shape, *values.shape[1:]), interpolation)
    if len(points) < n_par + 2:
        msg = f"{len(points)} points of {n_par} parameters are too few to interpolate between"
        raise InputError(msg)
    if n_par > 2 and interpolation == "smooth":
        msg = f'no smooth interpolation of scattered points of {n_par} parameters: take a regular grid, or "linear"'
        raise InputError(msg)
    try:
        return Triangulation(points, values, interpolation)
    except QhullError:
        msg = f"the {len(points)} points cannot be triangulated: do they all lie on a line or in a plane?"
        raise InputError(msg) from None
