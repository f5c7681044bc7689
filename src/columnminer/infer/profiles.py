r"""The likelihood along some of its parameters, the others fitted (`profile`) or held (`project`).

The test statistic is :math:`t(v) = 2 \log L(\hat v, \hat\nu) / L(v, \hat{\hat\nu}(v))`, with all other parameters
:math:`\nu` fitted again at every v: the best of them at v, from where the nearest fit ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError, MissingError, UnknownNameError, did_you_mean
from columnminer.infer.fit import FitResult, check_fit_options, maximise
from columnminer.infer.free import free_names, guesses
from columnminer.infer.grid import Grid, grid_points

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.free import Limits
    from columnminer.infer.likelihood import Likelihood

__all__ = ["ConditionalFits", "Profile", "profile", "project"]


@dataclass(frozen=True)
class Profile:
    """The likelihood along one or several parameters.

    Attributes
    ----------
    names : tuple of str
        The k parameters.
    points : numpy.ndarray
        (n, k) where they were held.
    log_likelihood : numpy.ndarray
        (n,) there; -inf where the data are impossible.
    test_statistic : numpy.ndarray
        (n,) t, twice the log likelihood ratio of the best fit.
    others : mapping
        parameter name -> (n,) value of each other parameter at the points: fitted, or held.
    valid : numpy.ndarray
        (n,) whether the fit there converged.
    best_fit : FitResult
        With all parameters free.
    grid : Grid or None
        The grid that the points are, if they are one.
    """

    names: tuple[str, ...]
    points: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    test_statistic: NDArray[np.float64]
    others: Mapping[str, NDArray[np.float64]]
    valid: NDArray[np.bool_]
    best_fit: FitResult
    grid: Grid | None = None

    @property
    def values(self) -> NDArray[np.float64]:
        """(n,) values of the parameter, if it is one."""
        if len(self.names) != 1:
            msg = f"a likelihood along {', '.join(self.names)} has points, not values"
            raise InputError(msg)
        return self.points[:, 0]


def profile(
    likelihood: Likelihood,
    names: str | Sequence[str],
    values: Grid | ArrayLike,
    *,
    start: Any = None,
    best_fit: FitResult | None = None,
    limits: Limits | None = None,
    fit_options: Mapping[str, Any] | None = None,
) -> Profile:
    """Return the likelihood along some parameters, all others fitted.

    Parameters
    ----------
    likelihood
        With data.
    names
        One parameter or several.
    values
        (n,) where to hold one parameter, (n, k) points of several, or a `Grid`. Beyond the fit limits, too.
    start
        Where the first fit starts; see `fit`.
    best_fit
        With all parameters free, if it is known already. If a better point is met on the way, it takes its place.
    limits
        In place of the parameters' fit limits; see `fit`.
    fit_options
        Of every fit: method, strategy, refits, gradient, tolerance; see `fit`.

    Raises
    ------
    UnknownNameError
        If a parameter or an option does not exist.
    InputError
        If the values do not fit the parameters.
    MissingError
        If there are no data, or the best fit does not converge.

    Examples
    --------
    >>> model = cm.PyhfLikelihood.from_workspace("counting.json")
    >>> curve = cm.profile(model, "mu", [[0.0], [1.0], [2.0]])
    >>> curve.log_likelihood.shape
    (3,)
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    points = _points(names, values)
    fits = ConditionalFits(
        likelihood, names, start=start, best_fit=best_fit, limits=limits, fit_options=fit_options or {}
    )
    order = np.argsort(fits.distances(points, fits.centre), kind="stable")
    found = dict(zip(order.tolist(), [fits(points[i]) for i in order], strict=True))
    if fits.adopt_better():
        found = {i: fits(points[i]) for i in range(len(points))}
    log = np.array([found[i].log_likelihood for i in range(len(points))])
    return Profile(
        names=names,
        points=points,
        log_likelihood=log,
        test_statistic=2.0 * (fits.best.log_likelihood - log),
        others={o: np.array([found[i].others[o] for i in range(len(points))]) for o in fits.others},
        valid=np.array([found[i].valid for i in range(len(points))], dtype=bool),
        best_fit=fits.best,
        grid=values if isinstance(values, Grid) else None,
    )


def project(
    likelihood: Likelihood,
    names: str | Sequence[str],
    values: Grid | ArrayLike,
    *,
    others: Mapping[str, float] | None = None,
    start: Any = None,
    best_fit: FitResult | None = None,
    limits: Limits | None = None,
    fit_options: Mapping[str, Any] | None = None,
) -> Profile:
    """Return the likelihood along some parameters, all others held, as if they were known.

    Parameters
    ----------
    likelihood
        With data.
    names
        One parameter or several.
    values
        (n,) where to hold one parameter, (n, k) points of several, or a `Grid`.
    others
        Where to hold the other parameters; those not named are held at the best fit.
    start, best_fit, limits, fit_options
        See `profile`.

    Raises
    ------
    UnknownNameError, InputError, MissingError
        As `profile`.

    Examples
    --------
    >>> model = cm.PyhfLikelihood.from_workspace("counting.json")
    >>> curve = cm.project(model, "mu", [[0.0], [1.0], [2.0]])
    >>> curve.log_likelihood.shape
    (3,)
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    points = _points(names, values)
    for name in others or {}:
        if name not in likelihood.names or name in names:
            left = [other for other in likelihood.names if other not in names]
            msg = f"{name!r} is none of the other parameters.{did_you_mean(name, left)}"
            raise UnknownNameError(msg)
    fits = ConditionalFits(
        likelihood, names, start=start, best_fit=best_fit, limits=limits, fit_options=fit_options or {}
    )
    held = {name: fits.best.by_name[name] for name in fits.others} | dict(others or {})
    log = np.asarray(likelihood.log_likelihood(held | dict(zip(names, points.T, strict=True))))
    return Profile(
        names=names,
        points=points,
        log_likelihood=log,
        test_statistic=2.0 * (fits.best.log_likelihood - log),
        others={name: np.full(len(points), value) for name, value in held.items()},
        valid=np.ones(len(points), dtype=bool),
        best_fit=fits.best,
        grid=values if isinstance(values, Grid) else None,
    )


@dataclass(frozen=True)
class _Found:
    """The largest likelihood at one point, and where the other parameters are."""

    log_likelihood: float
    others: Mapping[str, float]
    valid: bool


class ConditionalFits:
    """Fits with some parameters held, each from where the nearest of those before it ended, and each made only once.

    Parameters
    ----------
    likelihood
        With data.
    names
        What is held.
    start, best_fit, limits, fit_options
        See `profile`.

    Attributes
    ----------
    best : FitResult
        With all parameters free.
    others : tuple of str
        Names of the parameters that are fitted.

    Raises
    ------
    UnknownNameError, InputError, MissingError
        See `profile`.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        names: Sequence[str],
        *,
        start: Any = None,
        best_fit: FitResult | None = None,
        limits: Limits | None = None,
        fit_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._likelihood, self._names = likelihood, tuple(names)
        self._options = dict(fit_options or {})
        self._limits = dict(limits or {})
        for name in self._names:
            if name not in likelihood.names:
                msg = f"the likelihood has no parameter {name!r}.{did_you_mean(name, likelihood.names)}"
                raise UnknownNameError(msg)
        if len(set(self._names)) != len(self._names) or not self._names:
            msg = f"distinct parameters are needed, not {', '.join(self._names) or 'none'}"
            raise InputError(msg)
        check_fit_options(self._options)
        self.others = free_names(likelihood, self._names)
        if best_fit is None:
            best_fit = maximise(likelihood, start=start, limits=limits, **self._options)
        elif set(best_fit.parameter_names) != set(free_names(likelihood)):
            fitted, wanted = ", ".join(best_fit.parameter_names), ", ".join(free_names(likelihood))
            msg = f"the best fit is one of {fitted}, the likelihood one of {wanted}"
            raise InputError(msg)
        self._found: dict[tuple[float, ...], _Found] = {}
        self._take(best_fit)

    @property
    def centre(self) -> NDArray[np.float64]:
        """The held parameters at the best fit, (k,)."""
        return np.array([self.best.by_name[name] for name in self._names])

    @property
    def errors(self) -> NDArray[np.float64]:
        """Scale of the held parameters, (k,): their standard errors, or 1 where there is none."""
        errors = dict(zip(self.best.parameter_names, self.best.errors, strict=True))
        found = np.array([errors.get(name, np.nan) for name in self._names])
        return np.where(np.isfinite(found) & (found > 0.0), found, 1.0)

    def width(self) -> float:
        """Return how far a single held parameter is from the best fit where t is about 1.

        That is its standard error, if there is one; a best fit at a limit has none, and distances are tried.
        """
        errors: dict[str, float] = dict(zip(self.best.parameter_names, self.best.errors.tolist(), strict=True))
        error = errors.get(self._names[0], np.nan)
        if np.isfinite(error) and error > 0.0:
            return error
        centre, step = float(self.centre[0]), self._inwards()
        for _ in range(60):
            root = float(np.sqrt(max(self.statistic(centre + step), 0.0)))
            if 0.3 < root < 3.0:
                return abs(step) / root
            step *= min(max(1.0 / max(root, 0.1), 0.1), 10.0)
        return 1.0

    def _inwards(self) -> float:
        """Return a step from the best fit of a single held parameter that does not leave its limits at once."""
        parameter = self._likelihood.parameters[self._likelihood.names.index(self._names[0])]
        high = (self._limits.get(parameter.name, parameter.fit_limits) or (None, None))[1]
        return -1.0 if high is not None and self.centre[0] >= high else 1.0

    @property
    def valid(self) -> bool:
        """Whether all fits so far converged."""
        return all(found.valid for found in self._found.values())

    @property
    def slack(self) -> float:
        """Difference of log L that means nothing: what fits leave, or the likelihood does not resolve."""
        return 1e-4 + 10.0 * self._likelihood.precision * abs(self.best.log_likelihood)

    def distances(self, points: NDArray[np.float64], point: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the distance of points (n, k) from one, in standard errors: (n,)."""
        return np.asarray(np.linalg.norm((points - point) / self.errors, axis=1))

    def __call__(self, held: ArrayLike) -> _Found:
        """Return the best of the other parameters with these k values held."""
        point = np.atleast_1d(np.asarray(held, dtype=np.float64))
        key = tuple(point.tolist())
        if key not in self._found:
            self._found[key] = self._fit(point)
        return self._found[key]

    def statistic(self, *held: float) -> float:
        """Return t with the held parameters at these values."""
        return 2.0 * (self.best.log_likelihood - self(held).log_likelihood)

    def adopt_better(self) -> bool:
        """Fit again from the best point met so far, if that is better than the best fit; return whether it was.

        The fits made so far are then forgotten, as they too may have ended in the lesser maximum.
        """
        key, found = max(self._found.items(), key=lambda item: item[1].log_likelihood)
        if not found.log_likelihood > self.best.log_likelihood + self.slack:
            return False
        start = dict(zip(self._names, key, strict=True)) | dict(found.others)
        again = maximise(self._likelihood, start=start, limits=self._limits, **self._options)
        if not again.log_likelihood > self.best.log_likelihood + self.slack:
            return False  # a point beyond the limits, which the best fit may not take
        self._found = {}
        self._take(again)
        return True

    def _take(self, best: FitResult) -> None:
        if not best.valid:
            msg = f"the fit of {', '.join(self._likelihood.names)} did not converge; it stopped at {best.by_name}"
            raise MissingError(msg)
        self.best = best
        others = {name: best.by_name[name] for name in self.others}
        self._found[tuple(self.centre.tolist())] = _Found(best.log_likelihood, others, valid=True)

    def _fit(self, point: NDArray[np.float64]) -> _Found:
        values = dict(zip(self._names, point.tolist(), strict=True))
        if not self.others:
            return _Found(float(self._likelihood.log_likelihood(values)), {}, valid=True)
        held = self._likelihood.fix(**values)
        keys = np.array(list(self._found))
        near = keys[int(np.argmin(self.distances(keys, point)))]
        nearest = self._found[tuple(near.tolist())].others
        starts = (
            {name: nearest[name] + shift for name, shift in self._followed(point - near).items()},
            nearest,
            dict(zip(held.names, guesses(held).tolist(), strict=True)),
        )
        possible = [start for start in starts if np.isfinite(held.log_likelihood(start))]
        if not possible:
            return _Found(-np.inf, nearest, valid=True)
        errors = dict(zip(self.best.parameter_names, self.best.errors.tolist(), strict=True))
        result = maximise(
            held,
            start=possible[0],
            limits={name: ends for name, ends in self._limits.items() if name in self.others},
            steps={name: errors[name] for name in self.others if np.isfinite(errors.get(name, np.nan))},
            hesse=False,
            **{"strategy": 0, **self._options},  # the careful strategies are about covariances
        )
        return _Found(result.log_likelihood, result.by_name, result.valid)

    def _followed(self, shift: NDArray[np.float64]) -> dict[str, float]:
        """Return how the other parameters follow those held in the Gaussian approximation of the best fit."""
        names = self.best.parameter_names
        covariance = np.where(np.isfinite(self.best.covariance), self.best.covariance, np.eye(len(names)))
        held = [names.index(name) for name in self._names if name in names]
        shift = shift[[name in names for name in self._names]]
        moved = covariance[:, held] @ np.linalg.pinv(covariance[np.ix_(held, held)]) @ shift
        return {name: float(moved[names.index(name)]) if name in names else 0.0 for name in self.others}


def _points(names: Sequence[str], values: Grid | ArrayLike) -> NDArray[np.float64]:
    if not isinstance(values, Grid):
        values = np.asarray(values, dtype=np.float64)
        if len(names) == 1 and values.ndim < 2:
            values = values.reshape(-1, 1)
    points = grid_points(values, names)
    if not np.isfinite(points).all():
        msg = f"the values of {', '.join(names)} must be finite"
        raise InputError(msg)
    return points
