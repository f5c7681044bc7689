r"""Confidence intervals of thousands of toys at once: `confidence_interval`, toy by toy the same, by batched fits.

The square root of the profile likelihood ratio t is nearly linear in the parameter. All ends of all toys are sought
together: outwards in steps of about a standard error until the threshold is passed, then between the last two values by
the method of T. R. Chandrupatla, Adv. Eng. Softw. 28 (1997) 145. At each trial value the other parameters are fitted
from where the tangent of their last fit leads.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from columnminer.errors import InputError
from columnminer.infer.batchfit import BatchFitter, FitBatch
from columnminer.infer.free import first_step
from columnminer.infer.intervals import (
    Kind,
    Range,
    asymptotic_threshold,
    check_parameter,
    check_question,
    search_range,
    warn_of_bounds,
)
from columnminer.infer.newton_steps import inner, solve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.likelihood import Likelihood

__all__ = ["IntervalBatch", "interval_batch"]

logger = logging.getLogger(__name__)

Threshold: TypeAlias = "float | Callable[[NDArray[np.float64]], ArrayLike]"

_LARGEST_SEARCH, _ROOT_STEPS, _REPEATS = 60, 100, 10
_RESOLUTION = 1e-6
"""Of ends, in standard errors."""
_LEVEL = 1e-5
"""Difference of the square roots of t and its threshold that counts as none."""


@dataclass(frozen=True)
class IntervalBatch:
    """Confidence intervals of one parameter from n data sets.

    Attributes
    ----------
    name : str
        The parameter.
    lower, upper : numpy.ndarray
        (n,) their ends.
    lower_end, upper_end : numpy.ndarray
        (n,) text: what they are, as in `Interval`: "crossing", "limit", "open", or "empty".
    level : float
        Confidence level.
    kind : str
        "central", "upper" or "lower".
    best : FitBatch
        With the parameter free.
    valid : numpy.ndarray
        (n,) whether every fit on the way converged.
    by_minuit : numpy.ndarray
        (n,) number of fits on the way that were left to iminuit.
    """

    name: str
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    lower_end: NDArray[np.str_]
    upper_end: NDArray[np.str_]
    level: float
    kind: Kind
    best: FitBatch
    valid: NDArray[np.bool_]
    by_minuit: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lower)

    def contains(self, value: ArrayLike) -> NDArray[np.bool_]:
        """Return which intervals contain a value, or each its own (n,)."""
        value = np.asarray(value, dtype=np.float64)
        return np.asarray((self.lower <= value) & (value <= self.upper))


def interval_batch(
    likelihood: Likelihood,
    name: str,
    data: Any = None,
    *,
    level: float = 0.9,
    kind: Kind = "central",
    dof: int = 1,
    threshold: Threshold | None = None,
    bounds: Range | None = None,
    bounds_in_events: bool | None = None,
    bound_best_fit: bool = False,
    interval_args: Mapping[str, ArrayLike] | None = None,
    best_fit_args: Mapping[str, ArrayLike] | None = None,
    best: FitBatch | None = None,
    start: Any = None,
    fit_options: Mapping[str, Any] | None = None,
) -> IntervalBatch:
    """Return the confidence intervals of one parameter from many data sets, all others profiled.

    Parameters
    ----------
    likelihood, name, level, kind, dof, bounds, bounds_in_events, bound_best_fit, interval_args, best_fit_args
        As those of `confidence_interval`; parameters may be held at arrays (n,), a value for each data set.
    data
        Data sets stacked along their first axis, in place of those of `with_data`.
    threshold
        Of t: a number, or a function of arrays of values of the parameter.
    best
        The best fits with `interval_args` held, if they are known already (not with `bound_best_fit`).
    start
        Where the best fits start; see `fit_batch`.
    fit_options
        Of the fits that are left to iminuit; see `fit_batch`.

    Raises
    ------
    UnknownNameError, InputError, MissingError
        As `confidence_interval`.

    Examples
    --------
    >>> model = cm.load_alea("search.yaml")
    >>> toys = model.simulate_many(1, range(20))
    >>> intervals = cm.interval_batch(model, "signal_rate_multiplier", toys, level=0.9)
    >>> bool((intervals.lower <= intervals.upper).all())
    True
    """
    check_question(level, kind)
    threshold = asymptotic_threshold(level, kind, dof) if threshold is None else threshold
    held = dict(interval_args or {})
    check_parameter(likelihood, name, held)
    low, high = search_range(likelihood, name, bounds, "nearest", kind, in_events=bounds_in_events)
    data = likelihood.data if data is None else likelihood.as_data(data)
    options: dict[str, Any] = {
        "limits": {name: (low, high)} if bound_best_fit else None,
        "fit_options": fit_options,
    }
    fitter = BatchFitter(likelihood, data, held=held, **options)
    if best is None:
        best = fitter(fitter.start(start))
    elif best.parameter_names != likelihood.names or bound_best_fit:
        msg = f"best fits of {', '.join(best.parameter_names)}, free of bounds, do not help here"
        raise InputError(msg)
    reference = None
    if best_fit_args is not None and dict(best_fit_args) != held:
        others = BatchFitter(likelihood, data, held=best_fit_args, **options)
        reference = others(others.start(start)).log_likelihood
    search = _Search(fitter, name, kind, (low, high), threshold, best, reference)
    left = np.arange(len(best))
    for _ in range(_REPEATS):
        search.run(left)
        left = search.adopt_better(left)
        if not len(left):
            break
    if bounds is None and len(best) and (search.what == "empty").all():
        warn_of_bounds(name, (low, high), float(np.median(search.best.by_name[name])))
    if search.by_minuit.any():
        logger.info("%d conditional fits of %d intervals were left to iminuit", search.by_minuit.sum(), len(best))
    (lower, upper), (lower_end, upper_end) = search.ends.T, search.what.T
    return IntervalBatch(
        name, lower, upper, lower_end, upper_end, level, kind, search.best, search.valid, search.by_minuit
    )


@dataclass
class _Search:
    """The ends of the intervals of n toys, (n, 2): a task is one end of one toy, of number 2 toy + side."""

    fitter: BatchFitter
    name: str
    kind: Kind
    bounds: tuple[float, float]
    threshold: Threshold
    best: FitBatch
    reference: NDArray[np.float64] | None
    ends: NDArray[np.float64] = field(init=False)
    what: NDArray[np.str_] = field(init=False)
    valid: NDArray[np.bool_] = field(init=False)
    by_minuit: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        n, n_par = self.best.values.shape
        self.column = self.fitter.likelihood.names.index(self.name)
        self.ends, self.what = np.full((n, 2), np.nan), np.full((n, 2), "empty", dtype="<U8")
        self.valid, self.by_minuit = self.best.converged.copy(), np.zeros(n, dtype=np.int64)
        # Of each task: where its last fit ended and leads, and the best point met.
        self.last, self.tangent = np.zeros((2 * n, n_par)), np.zeros((2 * n, n_par))
        self.met, self.met_at = np.full(2 * n, -np.inf), np.zeros((2 * n, n_par))

    def run(self, toys: NDArray[np.int64]) -> None:
        """Find the ends of these toys."""
        low, high = self.bounds
        centre, width = self.best.values[toys, self.column], self._widths(toys)
        tasks = (2 * toys[:, None] + np.arange(2)).ravel()
        tangent = self._tangents(self.best.values[toys], self.best.hessian[toys], self.best.held[toys])
        self.last[tasks], self.tangent[tasks] = np.repeat(self.best.values[toys], 2, 0), np.repeat(tangent, 2, 0)
        self.met[tasks] = -np.inf
        self.valid[toys] = self.best.converged[toys]
        self.ends[toys], self.what[toys] = np.nan, "empty"

        # Beyond its best fit a limit excludes nothing: the side where t is large again is not its.
        all_of_it = np.zeros(len(toys), dtype=bool)
        if self.kind == "upper":
            all_of_it = centre >= high
        elif self.kind == "lower":
            all_of_it = centre <= low
        at = np.clip(centre, low, high)
        moved = np.flatnonzero((at != centre) & ~all_of_it)
        inside = np.full(len(toys), -np.inf)
        plain = np.flatnonzero((at == centre) & ~all_of_it)
        inside[plain] = self._excess_of(self.best.log_likelihood[toys[plain]], toys[plain], at[plain])
        inside[moved] = self._excess(2 * toys[moved], at[moved])
        there = inside <= 0.0
        for side, (limit, sign) in enumerate(((low, -1.0), (high, 1.0))):
            if self.kind == ("upper", "lower")[side]:
                self.ends[toys[there], side], self.what[toys[there], side] = sign * np.inf, "open"
            else:
                self.ends[toys[all_of_it], side], self.what[toys[all_of_it], side] = limit, "limit"
        asked = [side for side in range(2) if self.kind != ("upper", "lower")[side]]
        rows = np.flatnonzero(there & ~all_of_it)
        sides = np.tile(asked, len(rows))
        rows = np.repeat(rows, len(asked))
        self._outwards(2 * toys[rows] + sides, at[rows], inside[rows], width[rows])

    def _outwards(
        self,
        tasks: NDArray[np.int64],
        best: NDArray[np.float64],
        f_inside: NDArray[np.float64],
        width: NDArray[np.float64],
    ) -> None:
        """Walk away from the best fits until the threshold is passed, and find where."""
        side = tasks % 2
        sign, limit = np.where(side == 0, -1.0, 1.0), np.where(side == 0, *self.bounds)
        inside, outside, f_outside = best.copy(), best.copy(), np.full(len(tasks), np.nan)
        step = sign * width * np.clip(1.05 * np.abs(f_inside), 1.0, 2.0)
        ends, what = sign * np.inf, np.full(len(tasks), "open", dtype="<U8")
        left = np.arange(len(tasks))
        for _ in range(_LARGEST_SEARCH):
            to = inside[left] + step[left]
            to = np.where(np.abs(to - best[left]) >= np.abs(limit[left] - best[left]), limit[left], to)
            f = self._excess(tasks[left], to)
            passed = f > 0.0
            outside[left], f_outside[left] = to, f
            what[left[passed]] = "crossing"
            reached = ~passed & (to == limit[left])
            ends[left[reached]], what[left[reached]] = limit[left[reached]], "limit"
            on = ~passed & ~reached
            left = left[on]
            inside[left], f_inside[left], step[left] = to[on], f[on], 1.5 * step[left]
            if not len(left):
                break
        found = np.flatnonzero(what == "crossing")
        ends[found] = self._crossings(
            tasks[found],
            (outside[found], f_outside[found]),
            (inside[found], f_inside[found]),
            _RESOLUTION * width[found],
        )
        self.ends[tasks // 2, side], self.what[tasks // 2, side] = ends, what

    def _crossings(
        self,
        tasks: NDArray[np.int64],
        outside: tuple[NDArray[np.float64], NDArray[np.float64]],
        inside: tuple[NDArray[np.float64], NDArray[np.float64]],
        resolution: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return where the excess vanishes between two values, given with the excess there, of different signs."""
        (x1, f1), (x2, f2) = outside, inside
        end = np.full(len(tasks), np.nan)
        left = np.arange(len(tasks))
        with np.errstate(all="ignore"):
            t = np.where(np.isfinite(f1 - f2), f1 / (f1 - f2), 0.5)
            for _ in range(_ROOT_STEPS):
                x = x1 + np.clip(t, 0.0, 1.0) * (x2 - x1)
                f = self._excess(tasks[left], x)
                same = (f > 0.0) == (f1 > 0.0)
                x3, f3 = np.where(same, x1, x2), np.where(same, f1, f2)
                x2, f2 = np.where(same, x2, x1), np.where(same, f2, f1)
                x1, f1 = x, f
                nearer = np.abs(f1) <= np.abs(f2)
                nearest, f_nearest = np.where(nearer, x1, x2), np.where(nearer, f1, f2)
                least = resolution[left] / np.abs(x2 - x1)
                done = (least > 0.5) | (np.abs(f_nearest) < _LEVEL)
                end[left] = nearest
                xi, phi = (x1 - x2) / (x3 - x2), (f1 - f2) / (f3 - f2)
                smooth = (phi**2 < xi) & ((1.0 - phi) ** 2 < 1.0 - xi)
                inverse = f1 / (f2 - f1) * f3 / (f2 - f3) + (x3 - x1) / (x2 - x1) * f1 / (f3 - f1) * f2 / (f3 - f2)
                t = np.clip(np.where(smooth & np.isfinite(inverse), inverse, 0.5), least, 1.0 - least)
                on = ~done
                left, t = left[on], t[on]
                x1, f1, x2, f2 = x1[on], f1[on], x2[on], f2[on]
                if not len(left):
                    break
        return end

    def _excess(self, tasks: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the excess with the parameter held at values, the others fitted from where they were last."""
        if not len(tasks):
            return np.zeros(0)
        toys = tasks // 2
        points = self.last[tasks] + self.tangent[tasks] * (values - self.last[tasks, self.column])[:, None]
        points[:, self.column] = values
        fits = self.fitter(points, held=[self.name], rows=toys)
        self.last[tasks] = fits.values
        self.tangent[tasks] = self._tangents(fits.values, fits.hessian, fits.held)
        better = fits.log_likelihood > self.met[tasks]
        self.met[tasks[better]], self.met_at[tasks[better]] = fits.log_likelihood[better], fits.values[better]
        impossible = ~np.isfinite(fits.log_likelihood)
        np.logical_and.at(self.valid, toys, fits.converged | impossible)
        np.add.at(self.by_minuit, toys, fits.by_minuit & ~impossible)
        return self._excess_of(fits.log_likelihood, toys, values)

    def _excess_of(
        self, log: NDArray[np.float64], toys: NDArray[np.int64], values: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the difference of the square roots of t and its threshold."""
        most = self.best.log_likelihood if self.reference is None else self.reference
        allowed = self.threshold(values) if callable(self.threshold) else self.threshold
        t = 2.0 * (most[toys] - log)
        return np.asarray(np.sqrt(np.maximum(t, 0.0)) - np.sqrt(np.maximum(allowed, 0.0)))

    def adopt_better(self, toys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Fit these toys again from the best point met, if better than the best fit; return the toys where it was."""
        pairs = self.met.reshape(-1, 2)[toys]
        side = pairs.argmax(axis=1)
        slack = 1e-4 + 10.0 * self.fitter.likelihood.precision * np.abs(self.best.log_likelihood[toys])
        better = pairs.max(axis=1) > self.best.log_likelihood[toys] + slack
        toys, side, slack = toys[better], side[better], slack[better]
        if not len(toys):
            return toys
        again = self.fitter(self.met_at[2 * toys + side], rows=toys)
        larger = again.log_likelihood > self.best.log_likelihood[toys] + slack
        changed: dict[str, Any] = {}
        for what in ("values", "log_likelihood", "converged", "by_minuit", "held", "gradient", "hessian"):
            changed[what] = getattr(self.best, what).copy()
            changed[what][toys[larger]] = getattr(again, what)[larger]
        self.best = replace(self.best, **changed)
        return np.asarray(toys[larger])  # others met a point beyond the limits, which the best fit may not take

    def _tangents(
        self, points: NDArray[np.float64], hessian: NDArray[np.float64], held: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return how fast the other parameters (n, n_par) follow this one: nu' = - H_nu,nu^-1 H_nu,this."""
        held = held.copy()
        held[:, self.column] = True
        matrix, _ = inner(-hessian, held)
        pull = np.where(held, 0.0, hessian[:, :, self.column])
        usable = np.isfinite(matrix).all(axis=(1, 2)) & np.isfinite(pull).all(axis=1)
        found = np.zeros(points.shape)
        found[usable] = solve(matrix[usable], pull[usable])[0]
        return found

    def _widths(self, toys: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return how far from the best fits t is about 1: where a parabola with the slope there says so."""
        fits, likelihood = self.best, self.fitter.likelihood
        values, hessian, slope = fits.values[toys], fits.hessian[toys], np.abs(fits.gradient[toys, self.column])
        tangent = self._tangents(values, hessian, fits.held[toys])
        slope = np.where(fits.held[toys, self.column], slope, 0.0)
        along = tangent.copy()
        along[:, self.column] = 1.0
        curvature = np.maximum(-np.einsum("ni,nij,nj->n", along, hessian, along), 0.0)
        with np.errstate(all="ignore"):
            width = 1.0 / (slope + np.sqrt(slope**2 + curvature))
        parameter = likelihood.parameters[self.column]
        plain = np.array([first_step(parameter, v) for v in values[:, self.column].tolist()])
        return np.where(np.isfinite(width) & (width > 0.0), width, plain)
