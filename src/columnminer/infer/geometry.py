r"""Information geometry: geodesics of the Fisher information, distances and the p values that they give.

The distance d between two parameter points is how many standard deviations apart their predictions are. In the limit of
many events :math:`d^2` is the expected log likelihood ratio :math:`-2 \log L(\theta)/L(\theta_0)` of data from
:math:`\theta_0` (arXiv:1612.05261, section II D), so that the survival function of a chi-square distribution at
:math:`d^2` is the expected p value of :math:`\theta`.

(The Christoffel symbols of MadMiner have :math:`\partial_j g_{km}` for :math:`\partial_m g_{jk}` in their third term:
with more than one parameter its curves are not geodesics where the metric changes.)
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2

from columnminer.errors import ColumnMinerWarning, InputError, MissingError
from columnminer.infer.geodesics import BOX, LENGTH, STEPS, UNKNOWN, Paths, follow
from columnminer.infer.grid import Grid, grid_points
from columnminer.infer.shooting import directions as all_directions
from columnminer.infer.shooting import shoot

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.metric import Metric

__all__ = ["Distances", "Geodesics", "distance_contours", "geodesics"]

_WORDS = {LENGTH: "length", BOX: "bounds", UNKNOWN: "unknown", STEPS: "steps"}


@dataclass(frozen=True)
class Geodesics:
    """Shortest lines, each at as many points, evenly along it.

    Attributes
    ----------
    parameter_names : tuple of str
        What theta is.
    theta : numpy.ndarray
        (n, n_points, n_par).
    velocity : numpy.ndarray
        (n, n_points, n_par) derivative of theta with respect to the distance: of unit speed.
    distance : numpy.ndarray
        (n, n_points) from the start along each line.
    ended : tuple of str
        Why each ends: it has its "length", reaches the "bounds", the metric beyond is "unknown" or not positive
        definite, or "steps" have become too many, as in a spiral.
    """

    parameter_names: tuple[str, ...]
    theta: NDArray[np.float64]
    velocity: NDArray[np.float64]
    distance: NDArray[np.float64]
    ended: tuple[str, ...]

    @property
    def length(self) -> NDArray[np.float64]:
        """(n,) length of each line; of one with an end given, the distance."""
        return np.asarray(self.distance[:, -1])


@dataclass(frozen=True)
class Distances:
    """How far parameter points are from one of them.

    Attributes
    ----------
    parameter_names : tuple of str
        What theta is.
    theta0 : numpy.ndarray
        (n_par,) where distances are measured from.
    theta : numpy.ndarray
        (n, n_par) points.
    distance : numpy.ndarray
        (n,) in standard deviations; NaN where no geodesic arrives, which was warned of.
    p_value : numpy.ndarray
        (n,) expected p value of theta, were theta0 true: that of distance squared.
    dof : int
        Degrees of freedom of the chi-square distribution.
    tangent : numpy.ndarray
        (n, n_par) normal coordinates: distance times velocity, at theta0, of the geodesic that leads to each point.
    rays : Geodesics
        From theta0 in all directions.
    grid : Grid or None
        The grid that the points are, if they are one.
    """

    parameter_names: tuple[str, ...]
    theta0: NDArray[np.float64]
    theta: NDArray[np.float64]
    distance: NDArray[np.float64]
    p_value: NDArray[np.float64]
    dof: int
    tangent: NDArray[np.float64]
    rays: Geodesics
    grid: Grid | None = None

    def allowed(self, level: float = 0.95) -> NDArray[np.bool_]:
        """Return which points are expected to lie in the confidence region of this level, (n,)."""
        if not 0.0 < level < 1.0:
            msg = f"a confidence level lies between 0 and 1, not at {level}"
            raise InputError(msg)
        return np.asarray(self.p_value >= 1.0 - level)


def geodesics(
    metric: Metric,
    start: ArrayLike,
    directions: ArrayLike | None = None,
    *,
    end: ArrayLike | None = None,
    length: float | None = None,
    bounds: ArrayLike | None = None,
    n_rays: int | None = None,
    n_points: int = 65,
    tolerance: float = 1e-8,
) -> Geodesics:
    """Return geodesics from a point: in some directions, in all, or to given ends.

    Parameters
    ----------
    metric
        The metric.
    start
        (n_par,) where they begin.
    directions
        (n, n_par) or (n_par,) direction of each in parameter space, of any size; evenly in all by default.
    end
        (n, n_par) or (n_par,) where each is to arrive, instead of directions. If several geodesics connect two points,
        as on a sphere, the shortest is looked for.
    length
        How far to go.
    bounds
        (n_par, 2) box that geodesics end at. One of length and bounds is needed, unless the metric has bounds itself.
    n_rays
        Number of directions, if none are given; by default 2 with one parameter, 96 with two.
    n_points
        Along each.
    tolerance
        Relative error of each step, and of the arrival.

    Raises
    ------
    InputError
        If arguments do not fit, or the metric is not known or not positive definite at the start.
    MissingError
        If no geodesic arrives at an end.

    Warns
    -----
    ColumnMinerWarning
        If the metric is not known all along a geodesic, so that it ends before its length or the bounds.

    Examples
    --------
    >>> flat = cm.Metric.from_expressions([["400", "0"], ["0", "100"]], ["a", "b"])
    >>> lines = cm.geodesics(flat, [0.0, 0.0], end=[0.1, 0.0])
    >>> float(lines.length[0].round(6))  # standard deviations
    2.0
    """
    _check(tolerance, n_points, n_rays)
    origin = _vector(start, metric, "start")
    at_start = metric(origin[None])[0]
    box = _box(metric, bounds)
    if end is not None:
        if not (directions is None and length is None and bounds is None):
            msg = "a geodesic to an end has no other directions, length or bounds"
            raise InputError(msg)
        ends = grid_points(np.atleast_2d(np.asarray(end, dtype=np.float64)), metric.names)
        shots = shoot(metric, origin, ends, n_rays=n_rays, tolerance=0.1 * tolerance, arrival=tolerance)
        if not (found := np.isfinite(shots.distance)).all():
            msg = f"no geodesic was found from {origin} to {ends[~found][0]}: {_WHY}"
            raise MissingError(msg)
        lengths = shots.distance
        moving = lengths > 0.0
        velocity = all_directions(at_start, max(n_rays or 2, 2))[:1].repeat(len(ends), axis=0)  # any, where no way is
        velocity[moving] = shots.tangent[moving]
    else:
        if directions is None:
            velocity = all_directions(at_start, n_rays)
        else:
            velocity = grid_points(np.atleast_2d(np.asarray(directions, dtype=np.float64)), metric.names)
        if length is not None and not length > 0.0:
            msg = f"a length is positive, not {length}"
            raise InputError(msg)
        lengths = np.full(len(velocity), np.inf if length is None else length)
        if length is None and not np.isfinite(box).all():
            msg = "say how far geodesics go: give a length, or bounds"
            raise InputError(msg)
    speed = np.sqrt(np.einsum("ni,ij,nj->n", velocity, at_start, velocity))
    if not (speed > 0.0).all():
        msg = f"{velocity[~(speed > 0.0)][0]} is not a direction"
        raise InputError(msg)
    velocity = velocity / speed[:, None]
    inner = (origin >= box[:, 0]) & (origin <= box[:, 1])
    if not inner.all():
        msg = f"the start {origin} lies outside the bounds"
        raise InputError(msg)
    paths = follow(metric, np.tile(origin, (len(velocity), 1)), velocity, lengths, box=box, tolerance=tolerance)
    asked = metric.bounds if bounds is None and length is None else bounds
    result = _sampled(metric, paths, n_points, asked)
    short = [i for i, why in enumerate(result.ended) if why in {"unknown", "steps"}]
    if short and end is None:
        msg = (
            f"{len(short)} of {len(result.ended)} geodesics end early, the first at {result.theta[short[0], -1]} "
            f"after {result.length[short[0]]:.4g}: "
        )
        reasons = {
            "unknown": "the metric beyond is not known or not positive definite",
            "steps": "its steps became too many",
        }
        warnings.warn(msg + reasons[result.ended[short[0]]], ColumnMinerWarning, stacklevel=2)
    return result


def distance_contours(
    metric: Metric,
    theta0: ArrayLike,
    grid: Grid | ArrayLike,
    *,
    dof: int | None = None,
    n_rays: int | None = None,
    tolerance: float = 1e-6,
) -> Distances:
    """Return the distance from a point to all points of a grid, and their expected p values.

    Each point is reached by its own geodesic, so that the distances are exact to the tolerance; those in all directions
    only tell where to aim. If several geodesics connect two points, as on a sphere, the shortest is looked for.

    Parameters
    ----------
    metric
        The metric.
    theta0
        (n_par,) where distances are measured from: the parameters of the expected data.
    grid
        A grid, or points (n, n_par).
    dof
        Degrees of freedom; the number of parameters unless given.
    n_rays
        How many geodesics to start with, in all directions; by default 2 with one parameter, 96 with two.
    tolerance
        Relative error of the distances; that of tangents is of the size of its square root.

    Raises
    ------
    InputError
        If arguments do not fit, or the metric is not known or not positive definite at theta0.

    Warns
    -----
    ColumnMinerWarning
        If some points cannot be reached. Their distance and p value are NaN.

    Examples
    --------
    >>> flat = cm.Metric.from_expressions([["400", "0"], ["0", "100"]], ["a", "b"])
    >>> distances = cm.distance_contours(flat, [0.0, 0.0], cm.Grid([(-0.2, 0.2, 5), (-0.2, 0.2, 5)]))
    >>> round(float(distances.distance.max()), 4)  # of the corner: sqrt(400 * 0.2**2 + 100 * 0.2**2)
    4.4721
    """
    _check(tolerance, 2, n_rays)
    origin = _vector(theta0, metric, "theta0")
    points = grid_points(grid, metric.names)
    dof = len(metric.names) if dof is None else dof
    shots = shoot(metric, origin, points, n_rays=n_rays, tolerance=0.1 * tolerance, arrival=0.3 * np.sqrt(tolerance))
    missing = ~np.isfinite(shots.distance)
    if missing.any():
        msg = f"no geodesic was found to {missing.sum()} of {len(points)} points, as {points[missing][0]}: {_WHY}"
        warnings.warn(msg, ColumnMinerWarning, stacklevel=2)
    return Distances(
        parameter_names=metric.names,
        theta0=origin,
        theta=points,
        distance=shots.distance,
        p_value=np.asarray(chi2.sf(shots.distance**2, dof)),
        dof=dof,
        tangent=shots.tangent,
        rays=_sampled(metric, shots.fan, 65, None),
        grid=replace(grid, names=metric.names) if isinstance(grid, Grid) else None,
    )


_WHY = (
    "the metric is not known or not positive definite there or on the way, the way leaves the region in which it is "
    "known, or there are several"
)


def _check(tolerance: float, n_points: int, n_rays: int | None) -> None:
    if not 1e-13 <= tolerance <= 1e-2:
        msg = f"a tolerance lies between 1e-13 and 0.01, not at {tolerance}"
        raise InputError(msg)
    if n_points < 2:
        msg = f"a line has at least two points, not {n_points}"
        raise InputError(msg)
    if n_rays is not None and n_rays < 2:
        msg = f"at least two directions are needed, not {n_rays}"
        raise InputError(msg)


def _vector(point: ArrayLike, metric: Metric, what: str) -> NDArray[np.float64]:
    vector = np.asarray(point, dtype=np.float64)
    if vector.shape != (len(metric.names),):
        msg = f"{what} is a point of {', '.join(metric.names)}, not of shape {vector.shape}"
        raise InputError(msg)
    return vector


def _box(metric: Metric, bounds: ArrayLike | None) -> NDArray[np.float64]:
    """Return the box that lies in the bounds asked for and in those of the metric."""
    box = np.tile([-np.inf, np.inf], (len(metric.names), 1))
    for limits in (bounds, metric.bounds):
        if limits is None:
            continue
        given = np.asarray(limits, dtype=np.float64)
        if given.shape != box.shape or not (given[:, 0] < given[:, 1]).all():
            msg = f"bounds are (low, high) for each of {', '.join(metric.names)}, not {limits!r}"
            raise InputError(msg)
        box = np.stack([np.maximum(box[:, 0], given[:, 0]), np.minimum(box[:, 1], given[:, 1])], axis=1)
    return box


def _sampled(metric: Metric, paths: Paths, n_points: int, asked: ArrayLike | None) -> Geodesics:
    """Return points evenly along each path; it ends at the box asked for, or else where nothing is known."""
    distance = paths.length[:, None] * np.linspace(0.0, 1.0, n_points)
    theta, velocity = paths.at(distance)
    at_edge = np.zeros(len(theta), dtype=bool)
    if asked is not None:
        low, high = np.asarray(asked, dtype=np.float64).T
        edge = 1e-6 * (high - low)
        at_edge = ((theta[:, -1] < low + edge) | (theta[:, -1] > high - edge)).any(axis=1)
    stopped = (paths.ended == BOX) | (paths.ended == UNKNOWN)
    ended = np.where(stopped, np.where(at_edge, BOX, UNKNOWN), paths.ended)
    return Geodesics(metric.names, theta, velocity, distance, tuple(_WORDS[int(code)] for code in ended))
