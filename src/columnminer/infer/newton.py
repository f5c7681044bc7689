r"""Newton's method for many maxima at once: toys of their own data, or points at which other parameters are held.

Each turn of the loop evaluates log L with its first and second derivatives at one point for every row that is not done
yet. From there a row steps to the maximum of the parabola :math:`g \cdot p + \frac12 p^T H p` inside a box, found by an
active-set method (Nocedal and Wright, Numerical Optimization, 2nd ed., section 16.5): a parameter that meets a side of
the box stays there, and the others are solved for again. Where H is not negative definite its eigenvalues are taken by
their size, so that the step goes up. A step that does not go up is shortened.

The box is where log L is smooth: between the fit limits, and between the neighbouring kinks. At a kink that the
parabola wants to pass, the next cell is looked into. If log L falls there, too, the maximum is at the kink. (The
derivative along one parameter, on one side of its kink, does not depend on which side of *their* kinks others are
looked at, as log L is continuous: each parameter can be asked for itself.) A likelihood with kinks has several maxima
now and then, so that in the end a look is taken behind those kinks that are near.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.infer.batches import pick
from columnminer.infer.cells import Box
from columnminer.infer.derivatives import Derivatives
from columnminer.infer.free import check_names
from columnminer.infer.newton_steps import covariances, newton_step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from columnminer.infer.free import Limits
    from columnminer.infer.likelihood import Likelihood
    from columnminer.infer.newton_steps import Step

__all__ = ["DISTANCE", "Climbed", "climb"]

DISTANCE = 1e-9
"""Expected distance to the maximum of log L at which a row has arrived."""

_LONGEST = 3.0
"""Length of first steps, in units of constraints or sizes of parameters: exponentials of nuisances overshoot."""

_LEAPS = 1
"""First steps that take no notice of kinks, to come near."""

_LOOKS, _BARRIER, _HIGHER = 3, 0.5, 1e-7
"""Over kinks: how often, if log L has fallen by how much at most there, and by how much a maximum is another one."""


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
    box = Box.of(likelihood, columns, limits, points, data if shared else pick(data, np.arange(1)))
    points[:, columns] = np.clip(points[:, columns], box.low, box.high)
    problem = _Problem(likelihood, columns, data, shared, box, distance, max_steps)
    with np.errstate(all="ignore"):  # impossible points show in what comes back
        kinked = any(kinks.size for kinks in box.kinks)
        end = _climb(problem, points, leaps=_LEAPS if kinked else 0)
        rows = np.arange(len(points) if kinked else 0)
        for _ in range(_LOOKS):
            rows = _over_kinks(problem, end, rows)
            if not len(rows):
                break
    end.points[:, columns] = box.tidy(end.points[:, columns])
    return end


@dataclass(frozen=True)
class _Problem:
    """What is climbed: (n, ...) data, or those that all rows share."""

    likelihood: Likelihood
    columns: NDArray[np.int64]
    data: Any
    shared: bool
    box: Box
    distance: float
    max_steps: int

    def at(self, rows: NDArray[np.int64]) -> _Problem:
        """Return the problem of these rows."""
        return self if self.shared else replace(self, data=pick(self.data, rows))

    def derivatives(self, points: NDArray[np.float64]) -> Derivatives:
        return self.likelihood.derivatives(points, self.data)

    def step(
        self, found: Derivatives, x: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> Step:
        """Return the steps from x (n, k) between sides of a box."""
        width = np.array([self.likelihood.parameters[i].width or 0.0 for i in self.columns])
        size = np.where(width > 0.0, width, np.maximum(np.abs(x), 1.0))
        return newton_step(found, self.columns, low - x, high - x, size)


def _climb(problem: _Problem, points: NDArray[np.float64], *, leaps: int = 0) -> Climbed:
    """Climb from points; the first steps may leap over kinks, as if there were none."""
    columns, box, precision = problem.columns, problem.box, problem.likelihood.precision
    n, n_par = points.shape
    here, found, rows = points, problem.derivatives(points), np.arange(n)
    end = Climbed(
        points=points.copy(),
        values=found.value.copy(),
        arrived=np.zeros(n, dtype=bool),
        held=np.ones((n, n_par), dtype=bool),
        gradient=found.gradient.copy(),
        hessian=found.hessian.copy(),
        n_calls=np.ones(n, dtype=np.int64),
    )
    radius, turned = np.full(n, _LONGEST), np.zeros(n, dtype=bool)
    usable = _finite(found, columns)
    rows, here, found, radius, turned = (_pick(x, usable) for x in (rows, here, found, radius, turned))
    problem = problem if usable.all() else problem.at(rows)

    for turn in range(problem.max_steps):
        x = here[:, columns]
        low, high = cell = box.around(x)
        if turn < leaps:
            low, high = np.broadcast_to(box.low, x.shape), np.broadcast_to(box.high, x.shape)
        step = problem.step(found, x, low, high)
        beyond = np.where(step.held & (x == low) & (low > box.low), -np.inf, 0.0)
        beyond = np.where(step.held & (x == high) & (high < box.high), np.inf, beyond)
        near = step.gain < np.maximum(problem.distance, 0.1 * precision * np.abs(found.value))
        look = (beyond != 0.0).any(axis=1) & ~turned & near
        done = near & ~look
        if turn < leaps:  # a leap ends a climb only if it is none
            done &= ((cell[0] < np.minimum(x, x + step.size)) & (np.maximum(x, x + step.size) < cell[1])).all(axis=1)
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
            problem = problem.at(np.flatnonzero(left))
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
        tried = problem.derivatives(there)
        least = found.value - 10.0 * precision * np.abs(found.value)
        up = _finite(tried, columns) & (look | (tried.value >= least))
        here, found = np.where(up[:, None], there, here), _either(up, tried, found)
        length = fraction * step.length
        radius = np.where(look, radius, np.where(up, np.maximum(radius, 2.0 * length), 0.25 * length))
        turned = look | (turned & ~up)
    _store(end, rows, here, found)
    end.held[rows[:, None], columns] = False
    return end


def _over_kinks(problem: _Problem, end: Climbed, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Look for higher maxima behind the kinks next to where these rows ended; return the rows that moved there.

    A kink is worth a look if log L has not fallen much there. The other parameters follow along the ridge. Whether the
    parabola behind the kink rises higher than the maximum so far is seen from one evaluation.
    """
    columns, box, moved = problem.columns, problem.box, []
    for i, column in enumerate(columns.tolist()):
        for side in (-1.0, 1.0) if box.kinks[i].size else ():
            here = rows[end.arrived[rows] & ~end.held[rows, column]]
            there = end.points[here]
            kink = box.beside(i, there[:, column], side)
            ridge = covariances(end.hessian[here], end.held[here])[:, :, column]
            shift = kink - there[:, column]
            near = 0.5 * shift**2 < _BARRIER * ridge[:, column]
            here, there, kink, shift, ridge = (a[near] for a in (here, there, kink, shift, ridge))
            if not len(here):
                continue
            there += np.nan_to_num(ridge * (shift / ridge[:, column])[:, None])
            there[:, column] = kink
            there[:, columns] = np.clip(there[:, columns], box.low, box.high)
            found = problem.at(here).derivatives(there)
            end.n_calls[here] += 1
            usable = _finite(found, columns)
            x = there[usable][:, columns]
            step = problem.step(_pick(found, usable), x, *box.around(x))
            here, there, value = here[usable], there[usable], found.value[usable]
            promising = value + step.gain > end.values[here] + _HIGHER
            here, there = here[promising], there[promising]
            if not len(here):
                continue
            again = _climb(problem.at(here), there)
            higher = again.arrived & (again.values > end.values[here] + _HIGHER)
            again.n_calls[:] += end.n_calls[here]
            for name in end.__dataclass_fields__:
                getattr(end, name)[here[higher]] = getattr(again, name)[higher]
            moved.append(here[higher])
    return np.unique(np.concatenate(moved)) if moved else rows[:0]


def _finite(found: Derivatives, columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.asarray(
        np.isfinite(found.value)
        & np.isfinite(found.gradient[:, columns]).all(axis=1)
        & np.isfinite(found.hessian[:, columns[:, None], columns]).all(axis=(1, 2))
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
