"""Auxiliary measurements of parameters: what constrains nuisances."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError, UnknownNameError, did_you_mean
from columnminer.infer.derivatives import Derivatives
from columnminer.infer.likelihood import Likelihood, Params
from columnminer.infer.terms import LogTerms
from columnminer.streams import Seed, key, normal, seed_sequence, uniform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.model.distributions import Distribution
    from columnminer.model.parameters import Parameter

__all__ = ["AncillaryMeasurements", "DistributionConstraint", "GaussianConstraint", "constraints"]

_STEP = 1e-4
"""Step of differences of a log density, in units of the width of the distribution."""


def constraints(parameters: Sequence[Parameter]) -> list[GaussianConstraint | DistributionConstraint]:
    """Return the constraint of each parameter that has one."""
    return [
        DistributionConstraint(p) if isinstance(p.constraint, str) else GaussianConstraint(p)
        for p in parameters
        if p.constraint is not None
    ]


class _Measurement(Likelihood):
    """An auxiliary measurement of one parameter; data are the measured value, nominal unless given."""

    def __init__(self, parameter: Parameter) -> None:
        super().__init__([parameter])
        self._data = np.asarray(parameter.nominal, dtype=np.float64)

    @property
    def measured(self) -> tuple[str, ...]:
        """The parameter."""
        return self.names

    def as_data(self, data: ArrayLike) -> NDArray[np.float64]:
        """Return the measured values, [...]."""
        return np.asarray(data, dtype=np.float64)

    def expected(self, params: Params = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return the parameter itself."""
        return self.points(params, by_name)[..., 0]

    def asimov(self, params: Params = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return the parameter itself."""
        return np.asarray(self.point(params, by_name)[0])


class GaussianConstraint(_Measurement):
    """Auxiliary measurement of one parameter with a Gaussian error, as a factor: what constrains a nuisance.

    Data are the measured value, [...]; it is the nominal value of the parameter unless given, and fluctuates in toys.

    Parameters
    ----------
    parameter
        What is measured; its `constraint` is the standard error of the measurement.

    Raises
    ------
    InputError
        If the parameter has no constraint, or another one.
    """

    def __init__(self, parameter: Parameter) -> None:
        super().__init__(parameter)
        if parameter.constraint is None:
            msg = f"parameter {parameter.name!r} has no constraint: give it the standard error of its measurement"
            raise InputError(msg)
        if isinstance(parameter.constraint, str):
            msg = (
                f"the constraint {parameter.constraint!r} of {parameter.name!r} is a distribution, not a standard error"
            )
            raise InputError(msg)
        self.sigma = parameter.constraint

    def terms(self, points: NDArray[np.float64], data: Any) -> LogTerms:
        """Return the Gaussian log density of the measured value."""
        pull = (data - points[..., 0]) / self.sigma
        log = -0.5 * pull**2 - np.log(np.sqrt(2.0 * np.pi) * self.sigma)
        return LogTerms(kinematic=np.asarray(log), rate=np.zeros_like(log))

    def term_gradients(self, points: NDArray[np.float64], data: Any) -> NDArray[np.float64]:
        """Return the pull over the error."""
        return np.asarray((data - points[..., 0]) / self.sigma**2)[..., None]

    def derivatives(self, points: NDArray[np.float64], data: Any) -> Derivatives:
        """Return the derivatives of a parabola."""
        value, gradient = self.terms(points, data).total, self.term_gradients(points, data)
        return Derivatives(value, gradient, np.full((*value.shape, 1, 1), -1.0 / self.sigma**2))

    def simulate(self, seed: Seed, params: Params = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return a measurement scattered about the parameter."""
        rng = np.random.default_rng(seed_sequence(seed, "constraint"))
        return np.asarray(rng.normal(self.point(params, by_name)[0], self.sigma))

    def simulate_many(self, seed: Seed, toys: ArrayLike, params: Params = None, **by_name: ArrayLike) -> Any:
        """Return scattered measurements, (n,), each a function of the number of its toy."""
        scattered = normal(key(seed, "constraint"), toys)
        return self.point(params, by_name)[0] + self.sigma * scattered


class DistributionConstraint(_Measurement):
    """Density of one parameter, given as any distribution: what constrains a nuisance whose error is not Gaussian.

    The density is fixed: unlike that of a Gaussian constraint it does not move with the measured value. Toys have one
    nevertheless, drawn from the distribution, so that all constrained parameters have data of one kind.

    Parameters
    ----------
    parameter
        Its `constraint` is a distribution as text.

    Raises
    ------
    InputError
        If it is not.
    """

    def __init__(self, parameter: Parameter) -> None:
        super().__init__(parameter)
        distribution = parameter.distribution
        if distribution is None:
            msg = f"the constraint of parameter {parameter.name!r} is no distribution such as 'stats.uniform(-1, 2)'"
            raise InputError(msg)
        self.distribution: Distribution = distribution

    def terms(self, points: NDArray[np.float64], data: Any) -> LogTerms:
        """Return the log density of the parameter."""
        shape = np.broadcast_shapes(points.shape[:-1], np.shape(data))
        log = np.broadcast_to(self.distribution.log_density(points[..., 0]), shape)
        return LogTerms(kinematic=log, rate=np.zeros(shape))

    def term_gradients(self, points: NDArray[np.float64], data: Any) -> NDArray[np.float64]:
        """Return the slope of the log density."""
        return self.derivatives(points, data).gradient

    def derivatives(self, points: NDArray[np.float64], data: Any) -> Derivatives:
        """Return the derivatives: exact ones of normal and uniform distributions, else by differences."""
        value = self.terms(points, data).total
        slope, curve = (np.broadcast_to(d, value.shape) for d in _slopes(self.distribution, points[..., 0]))
        return Derivatives(value, slope[..., None], curve[..., None, None])

    def simulate(self, seed: Seed, params: Params = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return a value drawn from the distribution, which does not depend on the parameter."""
        return np.asarray(self.simulate_many(seed, 0, params, **by_name))

    def simulate_many(self, seed: Seed, toys: ArrayLike, params: Params = None, **by_name: ArrayLike) -> Any:
        """Return values drawn from the distribution, (n,), each a function of the number of its toy."""
        self.point(params, by_name)
        return self.distribution.quantile(uniform(key(seed, "constraint"), toys))


def _slopes(distribution: Distribution, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return first and second derivative of the log density; where that is -inf, they are zero."""
    if distribution.frozen.dist.name == "uniform":
        return np.zeros_like(x), np.zeros_like(x)
    if distribution.gaussian is not None:
        mean, std = distribution.gaussian
        return (mean - x) / std**2, np.full_like(x, -1.0 / std**2)
    low, high = distribution.support
    step = _STEP * float(np.diff(distribution.quantile([0.25, 0.75]))[0])
    middle = np.clip(x, low + step, high - step)
    below, here, above = (distribution.log_density(middle + shift) for shift in (-step, 0.0, step))
    with np.errstate(invalid="ignore"):
        slope, curve = (above - below) / (2.0 * step), (above - 2.0 * here + below) / step**2
    good = np.isfinite(slope) & np.isfinite(curve) & (x >= low) & (x <= high)
    return np.where(good, slope, 0.0), np.where(good, curve, 0.0)


class AncillaryMeasurements(Likelihood):
    """All constraints of a model as one factor: measured values of parameters, moved to the fit limits in toys.

    Data are the measured values ``[..., n]`` in the order of the parameters, a mapping from their names, or a
    structured array; they are the nominal values unless given. See `GaussianConstraint` and `DistributionConstraint`.

    Parameters
    ----------
    parameters
        Those without a constraint are left out.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        super().__init__([p for p in parameters if p.constraint is not None])
        gaussian = [not isinstance(p.constraint, str) for p in self.parameters]
        self._gaussian = np.flatnonzero(gaussian)
        self._sigmas = np.array(
            [p.width for p, g in zip(self.parameters, gaussian, strict=True) if g], dtype=np.float64
        )
        self._norm = float(np.log(math.sqrt(2.0 * math.pi) * self._sigmas).sum())
        self._others = [(i, d) for i, p in enumerate(self.parameters) if (d := p.distribution) is not None]
        self._data = np.array([p.nominal for p in self.parameters], dtype=np.float64)

    @property
    def measured(self) -> tuple[str, ...]:
        """All parameters."""
        return self.names

    def as_data(self, data: Any) -> NDArray[np.float64]:
        """Return the measured values, [..., n]; a table of one row, as alea keeps them, is one set of values.

        Raises
        ------
        InputError, UnknownNameError
            If values of parameters are missing, not finite, or too many.
        """
        if isinstance(data, np.ndarray) and data.dtype.names is not None:
            data = {name: data[name] for name in data.dtype.names}
        if isinstance(data, Mapping):
            for name in data:
                if name not in self.names:
                    msg = (
                        f"ancillary measurements: no parameter {name!r} is constrained.{did_you_mean(name, self.names)}"
                    )
                    raise UnknownNameError(msg)
            missing = [name for name in self.names if name not in data]
            if missing:
                msg = f"ancillary measurements: there is none of {', '.join(map(repr, missing))}"
                raise InputError(msg)
            given = [np.asarray(data[name], dtype=np.float64) for name in self.names]
            columns = np.broadcast_arrays(*(column[0] if column.shape == (1,) else column for column in given))
            data = np.stack(columns, axis=-1) if columns else np.zeros(0)
        values = np.asarray(data, dtype=np.float64)
        if values.shape[-1:] != (len(self.names),) or not np.isfinite(values).all():
            msg = f"ancillary measurements must be finite numbers for {', '.join(self.names)}, not {values!r}"
            raise InputError(msg)
        return values

    def terms(self, points: NDArray[np.float64], data: Any) -> LogTerms:
        """Return the sum of the log densities."""
        pulls = (data[..., self._gaussian] - points[..., self._gaussian]) / self._sigmas
        log = -0.5 * (pulls**2).sum(axis=-1) - self._norm
        for i, distribution in self._others:
            log = log + distribution.log_density(points[..., i])
        return LogTerms(kinematic=np.asarray(log), rate=np.zeros_like(log))

    def term_gradients(self, points: NDArray[np.float64], data: Any) -> NDArray[np.float64]:
        """Return the slope of each log density."""
        return self.derivatives(points, data).gradient

    def derivatives(self, points: NDArray[np.float64], data: Any) -> Derivatives:
        """Return the derivatives; second ones are on the diagonal."""
        value, n = self.terms(points, data).total, len(self.names)
        gradient, hessian = np.zeros((*value.shape, n)), np.zeros((*value.shape, n, n))
        g = self._gaussian
        gradient[..., g] = (data[..., g] - points[..., g]) / self._sigmas**2
        hessian[..., g, g] = -1.0 / self._sigmas**2
        for i, distribution in self._others:
            gradient[..., i], hessian[..., i, i] = _slopes(distribution, points[..., i])
        return Derivatives(value, gradient, hessian)

    def expected(self, params: Params = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return the parameters themselves."""
        return self.points(params, by_name)

    def asimov(self, params: Params = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return the parameters themselves."""
        return self.point(params, by_name)

    def simulate(self, seed: Seed, params: Params = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return measured values, (n,)."""
        return np.asarray(self.simulate_many(seed_sequence(seed, "ancillary"), [0], params, **by_name)[0])

    def simulate_many(self, seed: Seed, toys: ArrayLike, params: Params = None, **by_name: ArrayLike) -> Any:
        """Return measured values (n_toys, n), each row a function of the number of its toy.

        Gaussian measurements scatter about the parameter, others are drawn from their distribution.
        """
        point, numbers = self.point(params, by_name), np.asarray(toys)
        drawn = np.empty((len(numbers), len(self.names)))
        stream = key(seed, "ancillary")
        drawn[:, self._gaussian] = point[self._gaussian] + self._sigmas * normal(
            stream, numbers[:, None], self._gaussian
        )
        for i, distribution in self._others:
            drawn[:, i] = distribution.quantile(uniform(stream, numbers, i))
        for i, parameter in enumerate(self.parameters):
            drawn[:, i] = parameter.clip(drawn[:, i])
        return drawn
