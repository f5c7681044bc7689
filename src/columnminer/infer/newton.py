r"""Newton's method for many maxima at once: toys of their own data, or points at which other parameters are held.

Each turn of the loop evaluates log L with its first and second derivatives at one point for every row that is not done
yet. From there a row steps to the maximum of the parabola :math:`g \cdot p + \frac12 p^T H p` inside a box, found by an
active-set method (Nocedal and Wright, Numerical Optimization, 2nd ed., section 16.5): a parameter that meets a side of
the box stays there, and the others are solved for again. Where H is not negative definite its eigenvalues are taken by
their size, so that the step goes up. A step that does not go up is shortened.

The box is where log L is smooth: between the fit limits, and between the neighbouring kinks. At a kink that the
parabola wants to pass, the next cell is looked into. If log L falls there, too, the maximum is at the kink. (The
derivative along one parameter, on one side of its kink, does not depend on which side of *their* kinks others are
looked at, as log L is continuous: each parameter can be asked for itself.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.infer.batches import pick
from columnminer.infer.derivatives import Derivatives
from columnminer.infer.free import check_names, limits_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from columnminer.infer.free import Limits
    from columnminer.infer.likelihood import Likelihood

__all__ = ["DISTANCE", "Climbed", "climb", "covariances", "inner", "solve"]

DISTANCE = 1e-9
"""Expected distance to the maximum of log L at which a row has arrived."""

_LONGEST = 3.0
"""Length of first steps, in units of constraints or sizes of parameters: exponentials of nuisances overshoot."""

_FLAT, _INDEFINITE = 1e-9, -1e-4
"""Smallest eigenvalues of -H, relative to the largest: of a direction that counts, and of a maximum."""


@dataclass(frozen=True)
class Climbed:
    """Where the rows of a batch ended.

    Attributes
    ----------
    points : numpy.ndarray
        (n, n_par).
    values : numpy.ndarray
        (n,) log L there.
    arrived : numpy.ndarray
        (n,) whether it is a maximum; the other rows need a more careful fit.
    held : numpy.ndarray
        (n, n_par) whether a parameter did not move, or ended at a limit or a kink.
    gradient, hessian : numpy.ndarray
        (n, n_par) and (n, n_par, n_par) derivatives of log L there, in all parameters.
    n_calls : numpy.ndarray
        (n,) evaluations of the likelihood and its derivatives.
    """

    points: NDArray[np.float64]
    values: NDArray[np.float64]
    arrived: NDArray[np.bool_]
    held: NDArray[np.bool_]
    gradient: NDArray[np.float64]
    hessian: NDArray[np.float64]
    n_calls: NDArray[np.int64]


def climb(
    likelihood: Likelihood,
    points: NDArray[np.float64],
    names: Sequence[str],
    data: Any,
    *,
    shared: bool,
    limits: Limits | None = None,
    distance: float = DISTANCE,
    max_steps: int = 60,
) -> Climbed:
    """Return the points with the parameters `names` at the maximum of log L.

    Parameters
    ----------
    likelihood
        Its `derivatives` are climbed along.
    points
        (n, n_par) where to start.
    names
        Which parameters may move.
    data
        As `Likelihood.as_data` gives them: a batch of n.
    shared
        Whether `data` are one data set instead, which belongs to all points.
    limits
        In place of the parameters' fit limits.
    distance
        Expected distance to the maximum of log L at which a row has arrived.
    max_steps
        Evaluations after which the rows that are left count as not arrived.

    Raises
    ------
    UnknownNameError
        If a name is not a parameter.
    """
    check_names(names, likelihood)
    columns = np.array([likelihood.names.index(name) for name in names], dtype=np.int64)
    points = np.array(points, dtype=np.float64)
    box = _Box.of(likelihood, columns, limits, points, data if shared else pick(data, np.arange(1)))
    points[:, columns] = np.clip(points[:, columns], box.low, box.high)
    with np.errstate(all="ignore"):  # impossible points show in what comes back
        return _climb(likelihood, points, columns, data, box, shared=shared, distance=distance, max_steps=max_steps)


def _climb(
    likelihood: Likelihood,
    points: NDArray[np.float64],
    columns: NDArray[np.int64],
    data: Any,
    box: _Box,
    *,
    shared: bool,
    distance: float,
    max_steps: int,
) -> Climbed:
    n, n_par = points.shape
    here, found, rows = points, likelihood.derivatives(points, data), np.arange(n)
    end = Climbed(
        points=points.copy(),
        values=found.value.copy(),
        arrived=np.zeros(n, dtype=bool),
        held=np.ones((n, n_par), dtype=bool),
        gradient=found.gradient.copy(),
        hessian=found.hessian.copy(),
        n_calls=np.ones(n, dtype=np.int64),
    )
    width = np.array([likelihood.parameters[i].width or 0.0 for i in columns])
    radius, turned = np.full(n, _LONGEST), np.zeros(n, dtype=bool)
    usable = _finite(found)
    rows, here, found, radius, turned = (_pick(x, usable) for x in (rows, here, found, radius, turned))
    data = data if shared or usable.all() else pick(data, np.flatnonzero(usable))

    for turn in range(max_steps):
        x = here[:, columns]
        low, high = box.around(x)
        step = _step(found, columns, low - x, high - x, np.where(width > 0.0, width, np.maximum(np.abs(x), 1.0)))
        beyond = np.where(step.held & (x == low) & (low > box.low), -np.inf, 0.0)
        beyond = np.where(step.held & (x == high) & (high < box.high), np.inf, beyond)
        near = step.gain < np.maximum(distance, 0.1 * likelihood.precision * np.abs(found.value))
        look = (beyond != 0.0).any(axis=1) & ~turned & (near | (turn == 0))
        done = near & ~look
        if done.any():
            _store(end, rows[done], here[done], _pick(found, done))
            end.held[rows[done][:, None], columns] = step.held[done]
            end.arrived[rows[done]] = step.definite[done]
            left = ~done
            rows, here, found, radius, turned, look, x, low, high, beyond, step = (
                _pick(a, left) for a in (rows, here, found, radius, turned, look, x, low, high, beyond, step)
            )
            if not len(rows):
                break
            data = data if shared else pick(data, np.flatnonzero(left))
        fraction = np.minimum(1.0, radius / np.maximum(step.length, 1e-300))
        target = np.clip(x + fraction[:, None] * step.size, low, high)
        passing = step.blocked & (fraction == 1.0)[:, None]
        target = np.where(passing, np.where(step.size > 0.0, high, low), target)
        passed = np.where(passing & (target == high) & (high < box.high), np.inf, 0.0)
        passed = np.where(passing & (target == low) & (low > box.low), -np.inf, passed)
        target = np.where(look[:, None], x, target)
        passed = np.where(look[:, None], beyond, passed)
        end.n_calls[rows] += 1
        there = here.copy()
        there[:, columns] = np.where(passed != 0.0, np.nextafter(target, passed), target)
        tried = likelihood.derivatives(there, data)
        least = found.value - 10.0 * likelihood.precision * np.abs(found.value)
        up = _finite(tried) & (look | (tried.value >= least))
        here, found = np.where(up[:, None], there, here), _either(up, tried, found)
        length = fraction * step.length
        radius = np.where(look, radius, np.where(up, np.maximum(radius, 2.0 * length), 0.25 * length))
        turned = look | (turned & ~up)
    _store(end, rows, here, found)
    end.held[rows[:, None], columns] = False
    end.points[:, columns] = box.tidy(end.points[:, columns])
    return end


@dataclass(frozen=True)
class _Step:
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


def _step(
    found: Derivatives,
    columns: NDArray[np.int64],
    down: NDArray[np.float64],
    up: NDArray[np.float64],
    size: NDArray[np.float64],
) -> _Step:
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
    return _Step(
        size=step * unit,
        gain=np.maximum(0.5 * along, parabola),
        length=np.abs(step * unit / size).max(axis=1, initial=0.0),
        held=held,
        blocked=blocked,
        definite=definite,
    )


def solve(matrix: NDArray[np.float64], pull: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return solutions (n, k) of equations with eigenvalues taken by their size, and whether those are positive."""
    size, vectors = np.linalg.eigh(matrix)
    largest = np.abs(size).max(axis=1, keepdims=True)
    along = np.einsum("nji,nj->ni", vectors, pull) / np.maximum(np.abs(size), _FLAT * largest + 1e-300)
    return np.einsum("nij,nj->ni", vectors, along), size[:, 0] >= _INDEFINITE * largest[:, 0]


def covariances(hessian: NDArray[np.float64], held: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the inverse of -H in the parameters that are not held (n, n_par), NaN for the others."""
    matrix, free = inner(-hessian, held)
    usable = np.isfinite(matrix).all(axis=(1, 2))
    inverse = np.full(matrix.shape, np.nan)
    for i, unit in enumerate(np.eye(held.shape[1])):
        inverse[usable, :, i] = solve(matrix[usable], np.broadcast_to(unit, (usable.sum(), len(unit))))[0]
    return np.where(free, inverse, np.nan)


def inner(matrix: NDArray[np.float64], held: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return matrices (n, k, k) with the rows and columns of held parameters those of unity, and which are not held."""
    free = ~held[:, :, None] & ~held[:, None, :]
    return np.where(free, matrix, 0.0) + held[:, :, None] * np.eye(held.shape[1]), free


@dataclass(frozen=True)
class _Box:
    """Limits (k,), and the kinks of each parameter between them.

    A cell begins at a kink and ends just before one; `high` is just before the limit `top` where that is a kink.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    top: NDArray[np.float64]
    kinks: tuple[NDArray[np.float64], ...]

    @classmethod
    def of(
        cls,
        likelihood: Likelihood,
        columns: NDArray[np.int64],
        limits: Limits | None,
        points: NDArray[np.float64],
        data: Any,
    ) -> _Box:
        low, high, top, kinks = [], [], [], []
        for column in columns.tolist():
            parameter = likelihood.parameters[column]
            ends = list(limits_of(parameter, limits))
            all_kinks = np.asarray(likelihood.kinks.get(parameter.name, ()), dtype=np.float64)
            for side, outermost in ((0, all_kinks[:1]), (1, all_kinks[-1:])):
                # Templates may end at their last kink: it is a limit then.
                if outermost.size and (ends[0] < outermost[0] if side == 0 else outermost[0] < ends[1]):
                    beyond = points[:1].copy()
                    margin = 1e-6 * max(float(np.ptp(all_kinks)), abs(float(outermost[0])), 1e-300)
                    beyond[:, column] = outermost[0] + (margin if side else -margin)
                    with np.errstate(all="ignore"):
                        possible = np.isfinite(likelihood.terms(beyond, data).total).all()
                    ends[side] = ends[side] if possible else float(outermost[0])
            low.append(ends[0])
            top.append(ends[1])
            high.append(np.nextafter(ends[1], -np.inf) if ends[1] in all_kinks else ends[1])
            kinks.append(all_kinks[(all_kinks > ends[0]) & (all_kinks < ends[1])])
        return cls(np.array(low), np.array(high), np.array(top), tuple(kinks))

    def around(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the sides (n, k) of the cells in which points are."""
        low, high = np.broadcast_to(self.low, x.shape).copy(), np.broadcast_to(self.high, x.shape).copy()
        for i, kinks in enumerate(self.kinks):
            if kinks.size:
                edges = np.concatenate([[self.low[i]], kinks, [np.inf]])
                cell = np.searchsorted(kinks, x[:, i], side="right")
                low[:, i] = edges[cell]
                high[:, i] = np.minimum(np.nextafter(edges[cell + 1], -np.inf), self.high[i])
        return low, high

    def tidy(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the points with those just before a kink, or a limit at one, put onto it."""
        after = np.nextafter(x, np.inf)
        for i, kinks in enumerate(self.kinks):
            x[:, i] = np.where(np.isin(after[:, i], kinks), after[:, i], x[:, i])
        return np.where(x == self.high, self.top, x)


def _finite(found: Derivatives) -> NDArray[np.bool_]:
    return np.asarray(
        np.isfinite(found.value)
        & np.isfinite(found.gradient).all(axis=-1)
        & np.isfinite(found.hessian).all(axis=(-1, -2))
    )


def _pick(of: Any, rows: NDArray[np.bool_]) -> Any:
    """Return those rows of an array, or of all arrays of a record."""
    if isinstance(of, np.ndarray):
        return of[rows]
    return type(of)(*(getattr(of, name)[rows] for name in of.__dataclass_fields__))


def _either(first: NDArray[np.bool_], one: Derivatives, other: Derivatives) -> Derivatives:
    return Derivatives(
        np.where(first, one.value, other.value),
        np.where(first[:, None], one.gradient, other.gradient),
        np.where(first[:, None, None], one.hessian, other.hessian),
    )


def _store(end: Climbed, rows: NDArray[np.int64], here: NDArray[np.float64], found: Derivatives) -> None:
    end.points[rows], end.values[rows] = here, found.value
    end.gradient[rows], end.hessian[rows] = found.gradient, found.hessian
