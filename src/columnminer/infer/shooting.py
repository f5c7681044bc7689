r"""From one point to others: the geodesic that arrives there, found by shooting.

A fan of geodesics from the start covers the region. Each of its points knows the tangent vector at the start that leads
to it, :math:`\theta = \exp(w)`, and these normal coordinates w are smooth where the distance itself has a cone. A local
linear fit around each end gives a first shot and :math:`\partial w / \partial \theta`; secant steps (C. G. Broyden,
Math. Comp. 19 (1965) 577) then correct it until it arrives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import norm, qmc

from columnminer.infer.geodesics import Paths, follow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.infer.metric import Metric

__all__ = ["Shots", "directions", "shoot"]

_NEIGHBOURS = 8
"""For each parameter: those that a linear fit is made to."""
_MOST_SHOTS = 20
_MARGIN = 0.25
"""Of the region, so that geodesics may bend out of it and back."""
_LINE = np.polynomial.legendre.leggauss(16)
_MARGIN_OF_LINES = 1e-3
"""The integral along a straight line is not exact."""


@dataclass(frozen=True)
class Shots:
    """What leads from the start to each end.

    Attributes
    ----------
    tangent : numpy.ndarray
        (m, n_par) velocity at the start times distance; NaN where nothing was found.
    distance : numpy.ndarray
        (m,) NaN where nothing was found.
    fan : Paths
        The geodesics that were tried first.
    """

    tangent: NDArray[np.float64]
    distance: NDArray[np.float64]
    fan: Paths


def directions(metric_at_start: NDArray[np.float64], n_rays: int | None = None) -> NDArray[np.float64]:
    """Return velocities of unit speed (n_rays, n_par) in all directions, evenly in the eyes of the metric.

    By default there are 96 in two dimensions and six times as many for each more. In one there are two.
    """
    n_par = len(metric_at_start)
    n = n_rays or 96 * 6 ** max(n_par - 2, 0)
    if n_par == 1:
        even = np.array([[1.0], [-1.0]])
    elif n_par == 2:
        angles = 2.0 * np.pi * np.arange(n) / n
        even = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    else:
        even = norm.ppf(qmc.Halton(n_par, scramble=False).random(n + 1)[1:])
        even /= np.linalg.norm(even, axis=1, keepdims=True)
    # With g = L L^T, the velocity L^-T e has the length of e.
    return np.linalg.solve(np.linalg.cholesky(metric_at_start).T, even.T).T


def shoot(
    metric: Metric,
    start: NDArray[np.float64],
    ends: NDArray[np.float64],
    *,
    n_rays: int | None,
    tolerance: float,
    arrival: float,
) -> Shots:
    """Return the geodesics from `start` (n_par,) to `ends` (m, n_par).

    Parameters
    ----------
    metric
        The metric.
    start, ends
        Where from, where to.
    n_rays
        Size of the fan.
    tolerance
        Relative error of each step.
    arrival
        How near they arrive, relative to the distance; the error of the distance is about half its square.
    """
    at_start = metric(start[None])[0]
    straight = _straight(metric, start, ends)
    velocity = directions(at_start, n_rays)
    longest = 1.02 * np.nanmax(straight) if np.isfinite(straight).any() else np.inf
    box = _region(metric, start, ends, at_start)
    # Geodesics are no longer than straight lines, which limits those that never leave the region.
    starts, lengths = np.tile(start, (len(velocity), 1)), np.full(len(velocity), longest)
    fan = follow(metric, starts, velocity, lengths, box=box, tolerance=max(tolerance, 1e-7))
    tangent, distance = np.full(ends.shape, np.nan), np.full(len(ends), np.nan)
    here = (ends == start).all(axis=1)
    tangent[here], distance[here] = 0.0, 0.0
    there = np.flatnonzero(~here & np.isfinite(metric.sampled(ends)[1]).all(axis=(1, 2)))
    if len(there) and (fan.length > 0.0).any():
        first, slope = _first_shots(metric, fan, velocity, ends[there], at_start)
        tangent[there], distance[there] = _corrected(
            metric, start, ends[there], first, slope, tolerance=tolerance, arrival=arrival
        )
    detour = distance > (1.0 + _MARGIN_OF_LINES) * straight  # it arrives, but another geodesic is shorter
    tangent[detour], distance[detour] = np.nan, np.nan
    return Shots(tangent, distance, fan)


def _straight(metric: Metric, start: NDArray[np.float64], ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lengths of straight lines to each end (m,), NaN where the metric is not known all along."""
    part, weight = 0.5 * (_LINE[0] + 1.0), 0.5 * _LINE[1]
    way = ends - start
    points = start + part[:, None, None] * way
    values = metric.sampled(points.reshape(-1, len(start)))[0].reshape(*points.shape, len(start))
    with np.errstate(invalid="ignore"):
        return np.asarray(weight @ np.sqrt(np.einsum("mi,smij,mj->sm", way, values, way)))


def _region(
    metric: Metric, start: NDArray[np.float64], ends: NDArray[np.float64], at_start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return a box (n_par, 2) with some margin around all points, also where they do not extend in a direction."""
    extent, unit = np.abs(ends - start).max(axis=0), 1.0 / np.sqrt(np.diag(at_start))
    margin = _MARGIN * np.maximum(extent, 0.2 * unit * (extent / unit).max())
    box = np.stack([np.minimum(ends.min(axis=0), start) - margin, np.maximum(ends.max(axis=0), start) + margin], axis=1)
    if metric.bounds is not None:
        box = np.clip(box, metric.bounds[:, :1], metric.bounds[:, 1:])
    return np.asarray(box)


def _first_shots(
    metric: Metric,
    fan: Paths,
    velocity: NDArray[np.float64],
    ends: NDArray[np.float64],
    at_start: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return tangents (m, n_par) that lead near the ends, and how they change with theta (m, n_par, n_par)."""
    n_par = ends.shape[1]
    # About as far apart along the geodesics as they are from each other, so that neighbours lie on all sides.
    n_samples = 33 if n_par == 1 else max(8, round(len(velocity) ** (1 / (n_par - 1)) / 4))
    length = fan.length[:, None] * np.linspace(0.0, 1.0, n_samples)
    theta = fan.at(length)[0].reshape(-1, n_par)
    tangent = (length[:, :, None] * velocity[:, None]).reshape(theta.shape)
    keep = np.flatnonzero((length.ravel() > 0.0) | (np.arange(length.size) == 0))  # the start itself once
    theta, tangent, length = theta[keep], tangent[keep], length.ravel()[keep]
    whiten = np.linalg.cholesky(at_start)
    k = min(_NEIGHBOURS * n_par, len(theta))
    _, near = cKDTree(theta @ whiten).query(ends @ whiten, k=k)
    near = near.reshape(len(ends), k)
    away = theta[near] - ends[:, None]
    metrics = metric.sampled(ends)[0]
    gap = np.sqrt(np.einsum("mki,mij,mkj->mk", away, metrics, away))
    # Where geodesics cross, several neighbours are reached by different ways. Those are on the shortest whose length
    # differs from its by less than their separation.
    best = np.argmin(length[near] + gap, axis=1)[:, None]
    between = theta[near] - np.take_along_axis(theta[near], best[:, :, None], axis=1)
    separation = np.sqrt(np.einsum("mki,mij,mkj->mk", between, metrics, between))
    same = length[near] <= np.take_along_axis(length[near], best, axis=1) + 1.5 * separation + 1e-12
    weight = same / np.hypot(gap, 0.3 * np.median(gap, axis=1, keepdims=True) + 1e-300)
    columns = np.concatenate([np.ones((*away.shape[:2], 1)), away @ whiten], axis=2) * weight[:, :, None]
    fitted = np.linalg.pinv(columns, rcond=1e-8) @ (tangent[near] * weight[:, :, None])
    return fitted[:, 0], np.swapaxes(whiten @ fitted[:, 1:], 1, 2)


def _corrected(
    metric: Metric,
    start: NDArray[np.float64],
    ends: NDArray[np.float64],
    first: NDArray[np.float64],
    slope: NDArray[np.float64],
    *,
    tolerance: float,
    arrival: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return tangents (m, n_par) and distances (m,), NaN where no shot arrives."""
    m, n_par = ends.shape
    at_start, at_end = metric(start[None])[0], metric.sampled(ends)[0]
    box = np.tile([-np.inf, np.inf], (n_par, 1)) if metric.bounds is None else metric.bounds
    tangent, distance = np.full((m, n_par), np.nan), np.full(m, np.nan)
    best, missed_by, missed = first.copy(), np.full(m, np.inf), np.zeros((m, n_par))
    arrived, trial, factor = np.tile(start, (m, 1)), first.copy(), np.ones(m)
    open_ = np.arange(m)
    for _ in range(_MOST_SHOTS):
        size = np.sqrt(np.einsum("mi,ij,mj->m", trial[open_], at_start, trial[open_]))
        open_, size = open_[size > 0.0], size[size > 0.0]
        if not len(open_):
            break
        unit = trial[open_] / size[:, None]
        paths = follow(metric, np.tile(start, (len(open_), 1)), unit, size, box=box, tolerance=tolerance)
        # Near the edge of what is known a shot may end too soon: then it is one with a shorter tangent.
        shot = paths.length[:, None] * unit
        theta, velocity = (a[:, 0] for a in paths.at(paths.length[:, None]))
        rest = ends[open_] - theta
        error = np.sqrt(np.einsum("mi,mij,mj->m", rest, at_end[open_], rest))
        done = error <= arrival * paths.length
        correction = np.einsum("mij,mj->mi", slope[open_], rest)
        tangent[open_[done]] = shot[done] + correction[done]
        # Moving the end changes the distance by the component along the geodesic.
        along = np.einsum("mi,mij,mj->m", velocity[done], at_end[open_[done]], rest[done])
        distance[open_[done]] = paths.length[done] + along
        if np.isfinite(missed_by[open_]).any():
            slope[open_] = _secant(slope[open_], shot - best[open_], theta - arrived[open_])
        better = error < missed_by[open_]
        won, lost = open_[better], open_[~better]
        best[won], missed[won], missed_by[won], arrived[won] = shot[better], rest[better], error[better], theta[better]
        factor[won], factor[lost] = 1.0, 0.5 * factor[lost]
        open_ = open_[~done]
        trial[open_] = best[open_] + factor[open_, None] * np.einsum("mij,mj->mi", slope[open_], missed[open_])
    return tangent, distance


def _secant(
    slope: NDArray[np.float64], d_tangent: NDArray[np.float64], d_theta: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the slopes dw/dtheta changed as little as possible so that they give the difference of two shots."""
    predicted = np.einsum("mij,mj->mi", slope, d_theta)
    row = np.einsum("mi,mij->mj", d_tangent, slope)
    scale = np.einsum("mj,mj->m", row, d_theta)
    usable = np.abs(scale) > 1e-3 * np.einsum("mi,mi->m", d_tangent, d_tangent)
    change = np.einsum("mi,mj->mij", d_tangent - predicted, row) / np.where(usable, scale, 1.0)[:, None, None]
    return slope + np.where(usable[:, None, None], change, 0.0)
