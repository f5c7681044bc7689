"""Maximum likelihood fits by iminuit, with gradients where the likelihood has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from iminuit import Minuit

from columnminer.errors import InputError, MissingError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from columnminer.infer.likelihood import Likelihood

__all__ = ["FitResult", "MinosError", "fit"]

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
        (n_par, n_par) inverse of the matrix of second derivatives of -log L.
    log_likelihood : float
        At the best fit.
    valid : bool
        Whether Minuit converged.
    minos : mapping
        parameter name -> `MinosError`, of those asked for.
    n_calls : int
        Evaluations of the likelihood.
    """

    parameter_names: tuple[str, ...]
    values: NDArray[np.float64]
    covariance: NDArray[np.float64]
    log_likelihood: float
    valid: bool
    minos: Mapping[str, MinosError]
    n_calls: int

    @property
    def errors(self) -> NDArray[np.float64]:
        """(n_par,) standard errors from the covariance."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    @property
    def by_name(self) -> dict[str, float]:
        """The values as parameter name -> value, as likelihoods take them."""
        return dict(zip(self.parameter_names, self.values.tolist(), strict=True))


def fit(
    likelihood: Likelihood,
    *,
    start: Any = None,
    gradient: bool | None = None,
    strategy: int = 1,
    tolerance: float | None = None,
    minos: Sequence[str] = (),
) -> FitResult:
    """Return the best fit of a likelihood with data.

    A fit that does not converge is tried again from where it stopped: after a simplex search, then with the most
    careful strategy of Minuit (F. James and M. Roos, Comput. Phys. Commun. 10 (1975) 343).

    Parameters
    ----------
    likelihood
        With data. Hold parameters with `Likelihood.fix`; multiply constraints with `Likelihood.constrained`.
    start
        Where to start, (n_par,) or a mapping by name; the nominal values by default. Brought inside the fit limits.
    gradient
        Whether to use the likelihood's gradient; by default, if there is one.
    strategy
        Of Minuit: 0 (quick), 1 or 2 (careful).
    tolerance
        Of Minuit: the fit ends where log L is estimated to be less than 0.001 times this below its maximum. 0.1 by
        default, or 1 where the likelihood is calculated in single precision.
    minos
        Parameters for which to find asymmetric errors.

    Raises
    ------
    MissingError
        If there are no data, a gradient that is not there is asked for, or the likelihood is zero where it starts.
    UnknownNameError
        If a name is not a parameter.
    InputError
        If there is nothing to fit.
    """
    data = likelihood.data
    for name in minos:
        if name not in likelihood.names:
            msg = f"the likelihood has no parameter {name!r}.{did_you_mean(name, likelihood.names)}"
            raise UnknownNameError(msg)
    if not likelihood.parameters:
        msg = "every parameter is fixed: there is nothing to fit"
        raise InputError(msg)
    point = likelihood.point(start)
    limits = [parameter.fit_limits or (None, None) for parameter in likelihood.parameters]
    for i, (low, high) in enumerate(limits):
        point[i] = np.clip(point[i], -np.inf if low is None else low, np.inf if high is None else high)
    if not np.isfinite(likelihood.terms(point, data).total):
        msg = f"the data are impossible at the start {dict(zip(likelihood.names, point.tolist(), strict=True))}"
        raise MissingError(msg)

    def cost(values: NDArray[np.float64]) -> float:
        return -float(likelihood.terms(np.asarray(values), data).total)

    def slope(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return -likelihood.term_gradients(np.asarray(values), data)

    use_gradient = _has_gradient(likelihood, point, data) if gradient is None else gradient
    minuit = Minuit(cost, point, grad=slope if use_gradient else None, name=likelihood.names)
    minuit.errordef = Minuit.LIKELIHOOD
    minuit.limits = limits
    minuit.errors = [_step(p.bounds, p.constraint, x) for p, x in zip(likelihood.parameters, point, strict=True)]
    minuit.strategy = strategy
    minuit.precision = likelihood.precision
    if tolerance is not None:
        minuit.tol = tolerance
    elif likelihood.precision > _DOUBLE:
        minuit.tol = 1.0  # less is noise
    minuit.migrad()
    if not minuit.valid:
        minuit.simplex().migrad()
    if not minuit.valid:
        minuit.strategy = 2
        minuit.migrad()
    if minuit.valid:
        minuit.hesse()
    n = len(point)
    return FitResult(
        parameter_names=likelihood.names,
        values=np.array(minuit.values),
        covariance=np.full((n, n), np.nan) if minuit.covariance is None else np.array(minuit.covariance),
        log_likelihood=-float(minuit.fval),
        valid=bool(minuit.valid),
        minos=_minos(minuit, minos) if minuit.valid else {},
        n_calls=int(minuit.nfcn),
    )


def _has_gradient(likelihood: Likelihood, point: NDArray[np.float64], data: Any) -> bool:
    try:
        likelihood.term_gradients(point, data)
    except MissingError:
        return False
    return True


def _step(bounds: tuple[float, float] | None, constraint: float | None, value: float) -> float:
    """Return a first step: the constraint, or a twentieth of the range of interest."""
    if constraint is not None:
        return constraint
    return (bounds[1] - bounds[0]) / 20.0 if bounds is not None else 0.1 * max(abs(value), 1.0)


def _minos(minuit: Minuit, names: Sequence[str]) -> dict[str, MinosError]:
    if names:
        minuit.minos(*names)
    merrors = {name: minuit.merrors[name] for name in names}
    return {name: MinosError(float(m.lower), float(m.upper), bool(m.is_valid)) for name, m in merrors.items()}
