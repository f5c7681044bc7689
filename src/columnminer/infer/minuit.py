"""One maximum likelihood fit by iminuit, or by Newton's method where the likelihood has kinks: what `fit` rests on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from iminuit import Minuit

from columnminer.errors import InputError, MissingError, did_you_mean
from columnminer.infer.free import check_names, first_step, guesses, limits_of
from columnminer.infer.newton import DISTANCE, climb
from columnminer.infer.newton_steps import covariances
from columnminer.streams import seed_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from columnminer.infer.free import Limits
    from columnminer.infer.likelihood import Likelihood
    from columnminer.infer.newton import Climbed

__all__ = ["FitResult", "Method", "MinosError", "Options", "minimise"]

Method: TypeAlias = Literal["migrad", "simplex", "simplex_migrad"]

_METHODS = ("migrad", "simplex", "simplex_migrad")
_DOUBLE = 1e-12
"""Relative precision up to which a likelihood counts as calculated in double precision."""


@dataclass(frozen=True)
class Options:
    """How to fit; see `columnminer.infer.fit.fit`. `steps` are first steps by name."""

    method: Method = "migrad"
    strategy: int = 1
    refits: int = 4
    gradient: bool | None = None
    tolerance: float | None = None
    hesse: bool = True
    minos: Sequence[str] = ()
    limits: Limits = field(default_factory=dict)
    steps: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.method not in _METHODS:
            msg = f"a fit has no method {self.method!r}.{did_you_mean(str(self.method), _METHODS)}"
            raise InputError(msg)
        if self.strategy not in {0, 1, 2}:
            msg = f"the strategy of a fit is 0, 1 or 2, not {self.strategy!r}"
            raise InputError(msg)
        refits: object = self.refits
        if not isinstance(refits, int) or refits < 0:
            msg = f"the number of refits must be an integer and not negative, not {refits!r}"
            raise InputError(msg)
        if self.tolerance is not None and not self.tolerance > 0.0:
            msg = f"the tolerance of a fit must be positive, not {self.tolerance!r}"
            raise InputError(msg)


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
    def correlation(self) -> NDArray[np.float64]:
        """(n_par, n_par) covariance over the product of the errors."""
        return self.covariance / np.outer(self.errors, self.errors)

    @property
    def errors(self) -> NDArray[np.float64]:
        """(n_par,) standard errors from the covariance."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    @property
    def by_name(self) -> dict[str, float]:
        """Values of free and fixed parameters as parameter name -> value, as likelihoods take them."""
        return dict(zip(self.parameter_names, self.values.tolist(), strict=True)) | dict(self.fixed)


def minimise(
    likelihood: Likelihood,
    start: Any,
    options: Options,
) -> FitResult:
    """Return the best fit of parameters in which the likelihood is continuous."""
    default = guesses(likelihood)
    given = default if start is None else likelihood.point(start)
    problem = _Problem.of(likelihood, given, options)
    guess, point = problem.inside(default), problem.inside(given)
    if not np.isfinite(problem.cost(point)):
        msg = f"the data are impossible at the start {dict(zip(likelihood.names, point.tolist(), strict=True))}"
        raise MissingError(msg)
    smooth = not set(likelihood.kinks) & set(likelihood.names)
    if not smooth and options.method == "migrad" and options.gradient is not False and not options.minos:
        data, limits = likelihood.data, options.limits
        climbed = climb(likelihood, point[None], likelihood.names, data, shared=True, limits=limits)
        if climbed.arrived[0]:
            return _climbed(climbed, problem, hesse=options.hesse)
    has_gradient = problem.has_gradient(point) if options.gradient is None else options.gradient

    minuit = problem.run(point, options.method, options.strategy, use_gradient=has_gradient)
    best, n_calls, n_refits = minuit, minuit.nfcn, 0
    while not best.valid and n_refits < options.refits:
        again = (np.array(minuit.values), guess)[n_refits] if n_refits < 2 else problem.scattered(guess, n_refits)
        if not np.isfinite(problem.cost(again)):
            again = point
        minuit = problem.run(again, "simplex_migrad", 2, use_gradient=has_gradient and n_refits == 0)
        n_calls, n_refits = n_calls + minuit.nfcn, n_refits + 1
        if minuit.valid or not minuit.fval >= best.fval:  # so that NaN is never the best
            best = minuit
    return _result(problem, best, n_calls - best.nfcn, n_refits, hesse=options.hesse, minos=options.minos)


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
        options: Options,
    ) -> _Problem:
        data = likelihood.data
        check_names(options.limits, likelihood)
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
            ends = limits_of(parameter, options.limits)
            low.append(ends[0])
            high.append(ends[1])
        around = zip(likelihood.parameters, start.tolist(), strict=True)
        first = [options.steps.get(p.name, first_step(p, value)) for p, value in around]
        precision = likelihood.precision
        tolerance = options.tolerance
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


def _climbed(climbed: Climbed, problem: _Problem, *, hesse: bool) -> FitResult:
    """Return a fit of Newton's method, to a likelihood with kinks."""
    values, held = climbed.points[0], climbed.held[0]
    covariance = covariances(climbed.hessian, climbed.held)[0] if hesse else np.full((len(held), len(held)), np.nan)
    return FitResult(
        parameter_names=problem.names,
        values=values,
        covariance=covariance,
        log_likelihood=float(climbed.values[0]),
        valid=True,
        minos={},
        n_calls=int(climbed.n_calls[0]),
        edm=DISTANCE,
        n_refits=0,
        at_limit=(values == problem.low) | (values == problem.high),
    )


def _put_onto_limits(problem: _Problem, minuit: Minuit) -> NDArray[np.bool_]:
    """Hold the parameters at a limit within their error, if the likelihood is not smaller on it; return which."""
    at_limit = np.zeros(len(problem.names), dtype=bool)
    for i, name in enumerate(problem.names):
        for limit in (problem.low[i], problem.high[i]):
            if not np.isfinite(limit) or abs(minuit.values[i] - limit) > minuit.errors[i]:
                continue
            point = np.array(minuit.values)
            point[i] = limit
            if problem.cost(point) <= problem.cost(np.array(minuit.values)):
                minuit.values[name], minuit.fixed[name], at_limit[i] = limit, True, True
    return at_limit
