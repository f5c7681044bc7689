"""Maximum likelihood fits by iminuit, with gradients where the likelihood has them.

`fit` is for one fit, looked at by a person; `maximise` does its work, without a word, for the many fits of profiles and
intervals.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from iminuit import Minuit

from columnminer.errors import ColumnMinerWarning, InputError, MissingError, UnknownNameError, did_you_mean
from columnminer.streams import seed_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from columnminer.infer.likelihood import Likelihood

__all__ = ["FitResult", "MinosError", "fit", "maximise"]

Method: TypeAlias = Literal["migrad", "simplex", "simplex_migrad"]
Limits: TypeAlias = "Mapping[str, tuple[float | None, float | None]]"

_METHODS = ("migrad", "simplex", "simplex_migrad")
_DOUBLE = 1e-12
"""Relative precision up to which a likelihood counts as calculated in double precision."""


@dataclass(frozen=True)
class MinosError:
    """Where the profiled log likelihood has fallen by 1/2, relative to the best fit.

    Attributes
    ----------
    lower, upper : float
        Negative and positive distance from the best fit.
    valid : bool
        Whether both were found.
    """

    lower: float
    upper: float
    valid: bool


@dataclass(frozen=True)
class FitResult:
    """The best fit.

    Attributes
    ----------
    parameter_names : tuple of str
        Of the free parameters.
    values : numpy.ndarray
        (n_par,) where the likelihood is largest.
    covariance : numpy.ndarray
        (n_par, n_par) inverse of the matrix of second derivatives of -log L; NaN for parameters at a limit, where the
        likelihood is no parabola around its maximum, and where Minuit gives none.
    log_likelihood : float
        At the best fit.
    valid : bool
        Whether Minuit converged.
    minos : mapping
        parameter name -> `MinosError`, of those asked for; not valid for parameters at a limit, which stay there while
        it is found for the others (`confidence_interval` lets them go).
    n_calls : int
        Evaluations of the likelihood.
    edm : float
        Estimated distance of -log L from its minimum.
    n_refits : int
        How often the fit was tried again because it had not converged.
    at_limit : numpy.ndarray
        (n_par,) whether the value is one of its limits.
    fixed : mapping
        parameter name -> value, of those that were held.
    """

    parameter_names: tuple[str, ...]
    values: NDArray[np.float64]
    covariance: NDArray[np.float64]
    log_likelihood: float
    valid: bool
    minos: Mapping[str, MinosError]
    n_calls: int
    edm: float
    n_refits: int
    at_limit: NDArray[np.bool_]
    fixed: Mapping[str, float] = field(default_factory=dict)

    @property
    def errors(self) -> NDArray[np.float64]:
        """(n_par,) standard errors from the covariance."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    @property
    def by_name(self) -> dict[str, float]:
        """Values of free and fixed parameters as parameter name -> value, as likelihoods take them."""
        return dict(zip(self.parameter_names, self.values.tolist(), strict=True)) | dict(self.fixed)


def fit(
    likelihood: Likelihood,
    *,
    start: Any = None,
    method: Method = "migrad",
    strategy: int = 1,
    refits: int = 4,
    gradient: bool | None = None,
    tolerance: float | None = None,
    hesse: bool = True,
    minos: Sequence[str] = (),
    limits: Limits | None = None,
    **fixed: float,
) -> FitResult:
    """Return the best fit of a likelihood with data.

    By Minuit (F. James and M. Roos, Comput. Phys. Commun. 10 (1975) 343). A fit that does not converge is tried again:
    from where it stopped, from the guesses, and from points scattered around them (always the same ones), by a simplex
    search followed by Migrad with the most careful strategy, from the second time on without the likelihood's gradient.

    A parameter that ends beside a limit is put onto it, if the likelihood is larger there.

    Parameters
    ----------
    likelihood
        With data. Multiply constraints with `Likelihood.constrained`.
    start
        Where to start, (n_par,) or a mapping by name. By default the guesses of the parameters, or their nominal
        values. Brought inside the limits.
    method
        "migrad" (along gradients), "simplex" (without any), or "simplex_migrad" (one after the other).
    strategy
        Of Minuit: 0 (quick), 1 or 2 (careful).
    refits
        How often to try again at most.
    gradient
        Whether to use the likelihood's gradient; by default, if there is one.
    tolerance
        Of Minuit, which stops at an estimated distance of 0.001 times this from the minimum; by default 0.001, or 1
        where the likelihood has less than double precision.
    hesse
        Whether to calculate second derivatives at the end; otherwise the covariance is what Migrad has gathered.
    minos
        Parameters for which to find asymmetric errors.
    limits
        parameter name -> (low, high), None for an open side, in place of the `fit_limits` of the parameters.
    **fixed
        Parameters held at a value; use `Likelihood.fix` for those called like an option of this function.

    Warns
    -----
    ColumnMinerWarning
        If the fit has not converged in the end.

    Raises
    ------
    MissingError
        If there are no data, a gradient that is not there is asked for, or the likelihood is zero where it starts.
    UnknownNameError
        If a name is not a parameter.
    InputError
        If there is nothing to fit, or an option or a limit makes no sense.
    """
    free = likelihood.fix(**fixed) if fixed else likelihood
    if fixed and isinstance(start, Mapping):
        start = {name: value for name, value in start.items() if name not in fixed}
    result = maximise(
        free,
        start=start,
        method=method,
        strategy=strategy,
        refits=refits,
        gradient=gradient,
        tolerance=tolerance,
        hesse=hesse,
        minos=minos,
        limits=limits,
    )
    if not result.valid:
        msg = (
            f"the fit of {', '.join(result.parameter_names)} did not converge ({result.n_refits + 1} attempts); it "
            f"stopped at {result.by_name}, an estimated {result.edm:.2g} from the maximum of log L. Give another "
            "start, or limits, or hold a parameter that the data say nothing about"
        )
        warnings.warn(msg, ColumnMinerWarning, stacklevel=2)
    return replace(result, fixed={name: float(value) for name, value in fixed.items()})


def maximise(
    likelihood: Likelihood,
    *,
    start: Any = None,
    method: Method = "migrad",
    strategy: int = 1,
    refits: int = 4,
    gradient: bool | None = None,
    tolerance: float | None = None,
    hesse: bool = True,
    minos: Sequence[str] = (),
    limits: Limits | None = None,
    steps: Mapping[str, float] | None = None,
) -> FitResult:
    """Return the best fit as `fit` does, without a warning where it is not valid; `steps` are first steps by name."""
    _check_options(method, strategy, refits, tolerance)
    wanted = [minos] if isinstance(minos, str) else list(minos)
    _check_names(wanted, likelihood)
    default = guesses(likelihood)
    given = default if start is None else likelihood.point(start)
    problem = _Problem.of(likelihood, given, limits, tolerance, steps or {})
    guess, point = problem.inside(default), problem.inside(given)
    if not np.isfinite(problem.cost(point)):
        msg = f"the data are impossible at the start {dict(zip(likelihood.names, point.tolist(), strict=True))}"
        raise MissingError(msg)
    has_gradient = problem.has_gradient(point) if gradient is None else gradient

    minuit = problem.run(point, method, strategy, use_gradient=has_gradient)
    best, n_calls, n_refits = minuit, minuit.nfcn, 0
    while not best.valid and n_refits < refits:
        again = (np.array(minuit.values), guess)[n_refits] if n_refits < 2 else problem.scattered(guess, n_refits)
        if not np.isfinite(problem.cost(again)):
            again = point
        minuit = problem.run(again, "simplex_migrad", 2, use_gradient=has_gradient and n_refits == 0)
        n_calls, n_refits = n_calls + minuit.nfcn, n_refits + 1
        if minuit.valid or not minuit.fval >= best.fval:  # so that NaN is never the best
            best = minuit
    return _result(problem, best, n_calls - best.nfcn, n_refits, hesse=hesse, minos=wanted)


def guesses(likelihood: Likelihood) -> NDArray[np.float64]:
    """Return where fits start: (n_par,) guesses of the parameters, or their nominal values."""
    return np.array([p.nominal if p.fit_guess is None else p.fit_guess for p in likelihood.parameters])


@dataclass(frozen=True)
class _Problem:
    """A function to minimise, and what Minuit is told about it."""

    cost: Callable[[NDArray[np.float64]], float]
    slope: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    names: tuple[str, ...]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    steps: NDArray[np.float64]
    precision: float
    tolerance: float

    @classmethod
    def of(
        cls,
        likelihood: Likelihood,
        start: NDArray[np.float64],
        limits: Limits | None,
        tolerance: float | None,
        steps: Mapping[str, float],
    ) -> _Problem:
        data = likelihood.data
        if not likelihood.parameters:
            msg = "every parameter is fixed: there is nothing to fit"
            raise InputError(msg)
        _check_names(limits or {}, likelihood)
        shape = np.shape(likelihood.terms(start, data).total)
        if shape != ():
            msg = f"a fit takes one data set at a time, not an array of {shape} of them"
            raise InputError(msg)

        def cost(values: NDArray[np.float64]) -> float:
            return -float(likelihood.terms(np.asarray(values), data).total)

        def slope(values: NDArray[np.float64]) -> NDArray[np.float64]:
            return -likelihood.term_gradients(np.asarray(values), data)

        low, high = [], []
        for parameter in likelihood.parameters:
            ends = (limits or {}).get(parameter.name, parameter.fit_limits) or (None, None)
            low.append(-np.inf if ends[0] is None else float(ends[0]))
            high.append(np.inf if ends[1] is None else float(ends[1]))
            if not low[-1] < high[-1]:
                msg = f"the limits of {parameter.name!r} must be (low, high), not {ends!r}; hold a parameter with fix"
                raise InputError(msg)
        around = zip(likelihood.parameters, start.tolist(), strict=True)
        first = [steps.get(p.name, _step(p.bounds, p.width, value)) for p, value in around]
        precision = likelihood.precision
        if tolerance is None:  # where less than double precision, a distance below 0.001 is noise
            tolerance = 0.001 if precision <= _DOUBLE else 1.0
        return cls(cost, slope, likelihood.names, np.array(low), np.array(high), np.array(first), precision, tolerance)

    def inside(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the point inside the limits, and not on one: Minuit's variable has no slope there."""
        margin = np.minimum(0.1 * self.steps, 0.1 * (self.high - self.low))
        return np.clip(point, self.low + margin, self.high - margin)

    def scattered(self, guess: NDArray[np.float64], attempt: int) -> NDArray[np.float64]:
        """Return a point scattered around the guess, not as far if the data are impossible there."""
        shift = self.steps * np.random.default_rng(seed_sequence(0, "refit", attempt)).normal(size=len(guess))
        for scale in (2.0, 1.0, 0.5, 0.25):
            point = self.inside(guess + scale * shift)
            if np.isfinite(self.cost(point)):
                return point
        return guess

    def has_gradient(self, point: NDArray[np.float64]) -> bool:
        try:
            self.slope(point)
        except MissingError:
            return False
        return True

    def run(self, point: NDArray[np.float64], method: Method, strategy: int, *, use_gradient: bool) -> Minuit:
        minuit = Minuit(self.cost, self.inside(point), grad=self.slope if use_gradient else None, name=self.names)
        minuit.errordef = Minuit.LIKELIHOOD
        minuit.limits = list(zip(self.low, self.high, strict=True))
        minuit.errors = self.steps
        minuit.strategy = strategy
        minuit.precision = self.precision
        minuit.tol = self.tolerance
        if method != "migrad":
            minuit.simplex()
        if method != "simplex":
            minuit.migrad()
        return minuit


def _result(
    problem: _Problem, minuit: Minuit, earlier_calls: int, n_refits: int, *, hesse: bool, minos: Sequence[str]
) -> FitResult:
    at_limit = _put_onto_limits(problem, minuit) if minuit.valid else np.zeros(len(problem.names), dtype=bool)
    if at_limit.any() and not at_limit.all():
        minuit.migrad()
    valid = bool(minuit.valid)
    errors = {name: MinosError(np.nan, np.nan, valid=False) for name in minos}
    covariance = np.full((len(at_limit), len(at_limit)), np.nan)
    if not at_limit.all():
        if hesse and valid:
            minuit.hesse()
        if minuit.covariance is not None:
            covariance = np.array(minuit.covariance)
            covariance[at_limit] = covariance[:, at_limit] = np.nan
        free = [name for name, held in zip(problem.names, at_limit, strict=True) if name in minos and not held]
        if free and valid:
            minuit.minos(*free)
            found = {name: minuit.merrors[name] for name in free}
            errors |= {n: MinosError(float(m.lower), float(m.upper), bool(m.is_valid)) for n, m in found.items()}
    values = np.array(minuit.values)
    return FitResult(
        parameter_names=problem.names,
        values=values,
        covariance=covariance,
        log_likelihood=-problem.cost(values),
        valid=bool(minuit.valid),
        minos=errors,
        n_calls=int(minuit.nfcn) + earlier_calls,
        edm=float(minuit.fmin.edm),
        n_refits=n_refits,
        at_limit=at_limit,
    )


def _put_onto_limits(problem: _Problem, minuit: Minuit) -> NDArray[np.bool_]:
    """Hold the parameters at a limit within their error, if the likelihood is not smaller on it; return which."""
    at_limit = np.zeros(len(problem.names), dtype=bool)
    for i, name in enumerate(problem.names):
        for limit in (problem.low[i], problem.high[i]):
            if abs(minuit.values[i] - limit) > minuit.errors[i]:
                continue
            point = np.array(minuit.values)
            point[i] = limit
            if problem.cost(point) <= problem.cost(np.array(minuit.values)):
                minuit.values[name], minuit.fixed[name], at_limit[i] = limit, True, True
    return at_limit


def _step(bounds: tuple[float, float] | None, constraint: float | None, value: float) -> float:
    """Return a first step: the constraint, or a twentieth of the range of interest."""
    if constraint is not None:
        return constraint
    return (bounds[1] - bounds[0]) / 20.0 if bounds is not None else 0.1 * max(abs(value), 1.0)


def _check_names(names: Sequence[str] | Mapping[str, object], likelihood: Likelihood) -> None:
    for name in names:
        if name not in likelihood.names:
            msg = f"the likelihood has no parameter {name!r}.{did_you_mean(name, likelihood.names)}"
            raise UnknownNameError(msg)


def _check_options(method: object, strategy: object, refits: object, tolerance: float | None) -> None:
    if method not in _METHODS:
        msg = f"a fit has no method {method!r}.{did_you_mean(str(method), _METHODS)}"
        raise InputError(msg)
    if strategy not in {0, 1, 2}:
        msg = f"the strategy of a fit is 0, 1 or 2, not {strategy!r}"
        raise InputError(msg)
    if not isinstance(refits, int) or refits < 0:
        msg = f"the number of refits must be an integer and not negative, not {refits!r}"
        raise InputError(msg)
    if tolerance is not None and not tolerance > 0.0:
        msg = f"the tolerance of a fit must be positive, not {tolerance!r}"
        raise InputError(msg)
