r"""Fits of thousands of toys at once, by Newton's method on all of them together (`columnminer.infer.newton`).

Every likelihood can be fitted so; those with derivatives of their own are quick. Toys that Newton's method leaves are
fitted by iminuit, one by one, and counted.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError, MissingError
from columnminer.infer.batches import pick
from columnminer.infer.fit import check_fit_options, maximise
from columnminer.infer.free import check_names, free_names, guesses, index_names, not_fittable
from columnminer.infer.indices import best_indices, nearest_anchors
from columnminer.infer.newton import DISTANCE, Climbed, climb
from columnminer.infer.newton_steps import covariances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.free import Limits
    from columnminer.infer.likelihood import Likelihood

__all__ = ["BatchFitter", "FitBatch", "fit_batch", "signal_estimate"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitBatch:
    """The best fits of n data sets.

    Attributes
    ----------
    parameter_names : tuple of str
        All parameters of the likelihood, those that were held, too.
    values : numpy.ndarray
        (n, n_par) where each likelihood is largest.
    log_likelihood : numpy.ndarray
        (n,) there.
    converged : numpy.ndarray
        (n,) whether the fit converged, by Newton's method or by iminuit.
    by_minuit : numpy.ndarray
        (n,) whether iminuit was asked, as Newton's method had not converged.
    held : numpy.ndarray
        (n, n_par) whether a parameter was held, or is at a limit or at a kink of log L.
    gradient, hessian : numpy.ndarray
        (n, n_par) and (n, n_par, n_par) derivatives of log L at the best fits, in all parameters.
    """

    parameter_names: tuple[str, ...]
    values: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    converged: NDArray[np.bool_]
    by_minuit: NDArray[np.bool_]
    held: NDArray[np.bool_]
    gradient: NDArray[np.float64]
    hessian: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.log_likelihood)

    @property
    def by_name(self) -> dict[str, NDArray[np.float64]]:
        """Values as parameter name -> (n,) array, as likelihoods take them."""
        return dict(zip(self.parameter_names, self.values.T, strict=True))

    @property
    def fallback_share(self) -> float:
        """Share of the fits that iminuit was asked for."""
        return float(self.by_minuit.mean()) if len(self) else 0.0

    @property
    def covariance(self) -> NDArray[np.float64]:
        """(n, n_par, n_par) inverse of the second derivatives of -log L; NaN for parameters that are held."""
        return covariances(self.hessian, self.held)

    @property
    def errors(self) -> NDArray[np.float64]:
        """(n, n_par) standard errors from the covariance."""
        variances = np.einsum("nii->ni", self.covariance)
        return np.sqrt(np.where(variances > 0.0, variances, np.nan))


def fit_batch(
    likelihood: Likelihood,
    data: Any = None,
    *,
    start: Any = None,
    limits: Limits | None = None,
    max_steps: int = 60,
    fit_options: Mapping[str, Any] | None = None,
    **fixed: ArrayLike,
) -> FitBatch:
    """Return the best fit of each of many data sets.

    By a bounded Newton method (see `columnminer.infer.newton`), to an expected distance of 1e-9 from the maximum of
    log L. Fits that do not converge so are left to iminuit; how many is logged, and `FitBatch.fallback_share`.

    Parameters
    ----------
    likelihood
        Multiply constraints with `Likelihood.constrained`. Parameters that are not fittable stay nominal.
    data
        Data sets stacked along their first axis, as `Likelihood.simulate_many` gives them, in place of those of
        `with_data`. A single data set belongs to all values that are fixed.
    start
        Where to start: (n_par,) or (n, n_par), or a mapping by name. By default the guesses of the parameters, or their
        nominal values. Brought inside the limits.
    limits
        parameter name -> (low, high), None for an open side, in place of the `fit_limits` of the parameters.
    max_steps
        Evaluations of the likelihood until a fit is left to iminuit.
    fit_options
        Of index parameters: max_index_fitting_iter, disable_index_fitting. Of the fits that are left to iminuit:
        method, strategy, refits, gradient, tolerance. See `fit`.
    **fixed
        Parameters held: a number, or an array (n,) with a value for each data set.

    Raises
    ------
    UnknownNameError
        If a name is not a parameter, or an option does not exist.
    InputError
        If the numbers of data sets, starts and fixed values differ, or a limit makes no sense.
    MissingError
        If there are no data.

    Examples
    --------
    >>> model = cm.load_alea("search.yaml")
    >>> toys = model.simulate_many(1, range(20))
    >>> best = cm.fit_batch(model, toys)
    >>> best.by_name["signal_rate_multiplier"].shape, bool(best.converged.all())
    ((20,), True)
    """
    given = likelihood.data if data is None else likelihood.as_data(data)
    fitter = BatchFitter(
        likelihood,
        given,
        held=fixed,
        limits=limits,
        max_steps=max_steps,
        fit_options=fit_options,
    )
    found = fitter(fitter.start(start))
    if found.by_minuit.any():
        logger.info(
            "%d of %d fits were left to iminuit (%.2g %%), of which %d did not converge",
            found.by_minuit.sum(),
            len(found),
            100.0 * found.fallback_share,
            (~found.converged).sum(),
        )
    return found


def signal_estimate(
    likelihood: Likelihood,
    name: str,
    data: Any = None,
    *,
    background: float = 0.0,
    steps: int = 1,
    limits: Limits | None = None,
    **fixed: ArrayLike,
) -> NDArray[np.float64]:
    r"""Return where the best fits are in perturbation theory around the background alone: good points to start from.

    With the signal parameter at `background` all others are fitted; from there Newton steps :math:`-H^{-1} g` are taken
    in all parameters, inside the limits. The first is the score test's estimate of the signal (C. R. Rao, Math. Proc.
    Camb. Phil. Soc. 44 (1948) 50).

    Parameters
    ----------
    likelihood, data, limits, **fixed
        See `fit_batch`.
    name
        The signal parameter.
    background
        Its value without a signal.
    steps
        Newton steps to take.

    Returns
    -------
    points : numpy.ndarray
        (n, n_par) for many data sets, or (n_par,) for a single one.

    Raises
    ------
    UnknownNameError, InputError, MissingError
        See `fit_batch`.

    Examples
    --------
    >>> model = cm.load_alea("search.yaml")
    >>> toys = model.simulate_many(1, range(20))
    >>> cm.signal_estimate(model, "signal_rate_multiplier", toys).shape  # of all parameters, to start fits from
    (20, 7)
    """
    check_names([name, *fixed], likelihood)
    if name not in free_names(likelihood, fixed):
        msg = f"{name!r} is held, so that there is no signal to estimate"
        raise InputError(msg)
    given = likelihood.data if data is None else likelihood.as_data(data)
    fitter = BatchFitter(likelihood, given, held=fixed, limits=limits)
    points = fitter(fitter.start({name: background}), held=[name]).values
    names = [other for other in free_names(likelihood, fixed) if other not in index_names(likelihood)]
    found = climb(likelihood, points, names, given, shared=fitter.shared, limits=limits, max_steps=steps)
    return found.points[0] if fitter.shared else found.points


class BatchFitter:
    """Fits of many data sets with the same parameters free, from points, by Newton's method and then by iminuit.

    Parameters
    ----------
    likelihood, limits, max_steps, fit_options
        See `fit_batch`.
    data
        As `Likelihood.as_data` gives them.
    held
        parameter name -> value or values at which it is held.

    Raises
    ------
    UnknownNameError, InputError
        See `fit_batch`.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        data: Any,
        *,
        held: Mapping[str, ArrayLike],
        limits: Limits | None = None,
        max_steps: int = 60,
        fit_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._options = dict(fit_options or {})
        check_fit_options(self._options)
        check_names([*held, *(limits or {})], likelihood)
        self._turns = int(self._options.get("max_index_fitting_iter", 10))
        self._no_indices = bool(self._options.get("disable_index_fitting", False))
        self._max_steps = max_steps
        for what, number in (("max_steps", max_steps), ("max_index_fitting_iter", self._turns)):
            if number < 1:
                msg = f"{what} must be a positive number, not {number!r}"
                raise InputError(msg)
        self.likelihood, self.data, self._limits = likelihood, data, dict(limits or {})
        self.held: dict[str, ArrayLike] = {**not_fittable(likelihood), **held}
        point = likelihood.points(guesses(likelihood), {n: np.ravel(v)[0] for n, v in self.held.items()})
        with np.errstate(all="ignore"):
            sets = np.shape(likelihood.terms(point, data).total)
        if len(sets) > 1:
            msg = f"data sets are stacked along one axis, not along {len(sets)}: {sets}"
            raise InputError(msg)
        self.shared = not sets
        self._n = sets

    def start(self, start: Any = None) -> NDArray[np.float64]:
        """Return the points (n, n_par) where the fits start; see `fit_batch`."""
        likelihood = self.likelihood
        named: dict[str, ArrayLike] = dict(start) if isinstance(start, Mapping) else {}
        base = guesses(likelihood) if start is None or named or isinstance(start, Mapping) else start
        try:
            points = likelihood.points(base, {**named, **self.held})
            points = np.broadcast_to(points, (*np.broadcast_shapes(points.shape[:-1], self._n), points.shape[-1]))
        except ValueError as error:
            msg = f"there are {self._n or 'single'} data sets; starts and fixed values do not fit them: {error}"
            raise InputError(msg) from error
        if points.ndim > 2 or (self._n and len(points) != self._n[0]):
            msg = f"there are {self._n or 'single'} data sets, and {points.shape[:-1]} starts or fixed values"
            raise InputError(msg)
        return np.atleast_2d(points)

    def __call__(
        self,
        points: NDArray[np.float64],
        *,
        held: Sequence[str] = (),
        rows: NDArray[np.int64] | None = None,
        distance: float = DISTANCE,
    ) -> FitBatch:
        """Return the best fits from points (n, n_par), which have the held parameters at their values.

        Parameters
        ----------
        points
            Where to start.
        held
            Further parameters that stay where they are.
        rows
            Data sets to which the points belong, (n,); by default each to its own.
        distance
            Expected distance to the maximum of log L at which a fit has arrived.
        """
        likelihood = self.likelihood
        names = free_names(likelihood, [*self.held, *held])
        data = self.data if rows is None or self.shared else pick(self.data, rows)
        indices = [name for name in index_names(likelihood) if name in names]
        smooth = [name for name in names if name not in indices]
        points = nearest_anchors(likelihood, points, indices) if indices else points
        indices = [] if self._no_indices else indices
        found = self._climb(points, smooth, data, distance)
        settled = np.ones(len(points), dtype=bool)
        for turn in range(self._turns if indices else 0):
            better = best_indices(likelihood, found.points, indices, data)
            moved = np.flatnonzero((better != found.points).any(axis=1))
            if turn == self._turns - 1 or not len(moved):
                settled[moved] = False
                break
            again = self._climb(better[moved], smooth, data if self.shared else pick(data, moved), distance)
            for field in again.__dataclass_fields__:
                getattr(found, field)[moved] = getattr(again, field)
        fits = FitBatch(
            parameter_names=likelihood.names,
            values=found.points,
            log_likelihood=np.where(np.isnan(found.values), -np.inf, found.values),
            converged=found.arrived & settled,
            by_minuit=np.zeros(len(points), dtype=bool),
            held=found.held,
            gradient=found.gradient,
            hessian=found.hessian,
        )
        return fits if fits.converged.all() else self._by_minuit(fits, names, data)

    def _climb(self, points: NDArray[np.float64], names: Sequence[str], data: Any, distance: float) -> Climbed:
        return climb(
            self.likelihood,
            points,
            names,
            data,
            shared=self.shared,
            limits={name: ends for name, ends in self._limits.items() if name in names},
            distance=distance,
            max_steps=self._max_steps,
        )

    def _by_minuit(self, fits: FitBatch, names: Sequence[str], data: Any) -> FitBatch:
        """Return the fits with those that have not converged made by iminuit."""
        likelihood, left = self.likelihood, np.flatnonzero(~fits.converged)
        values, log, converged = fits.values.copy(), fits.log_likelihood.copy(), fits.converged.copy()
        held, by_minuit = fits.held.copy(), fits.by_minuit.copy()
        limits = {name: ends for name, ends in self._limits.items() if name in names}
        columns = [likelihood.names.index(name) for name in names]
        default = dict(zip(likelihood.names, guesses(likelihood).tolist(), strict=True))
        for i in left.tolist() if names else ():
            one = likelihood.with_data(data if self.shared else pick(data, np.asarray(i)))
            here = dict(zip(likelihood.names, values[i].tolist(), strict=True))
            one = one.fix(**{name: value for name, value in here.items() if name not in names})
            by_minuit[i] = True
            for start in (here, default):
                try:
                    result = maximise(
                        one,
                        start={name: start[name] for name in names},
                        limits=limits,
                        hesse=False,
                        **self._options,
                    )
                except MissingError:  # impossible data where it starts
                    continue
                values[i, columns] = [result.by_name[name] for name in names]
                log[i], converged[i] = result.log_likelihood, result.valid
                held[i, columns] = [
                    result.at_limit[result.parameter_names.index(n)] if n in result.parameter_names else True
                    for n in names
                ]
                if result.valid:
                    break
        gradient, hessian = fits.gradient.copy(), fits.hessian.copy()
        with np.errstate(all="ignore"):
            there = likelihood.derivatives(values[left], data if self.shared else pick(data, left))
        gradient[left], hessian[left] = there.gradient, there.hessian
        return replace(
            fits,
            values=values,
            log_likelihood=log,
            converged=converged,
            by_minuit=by_minuit,
            held=held,
            gradient=gradient,
            hessian=hessian,
        )
