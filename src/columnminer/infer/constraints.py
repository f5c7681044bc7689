"""Auxiliary measurements of parameters: what constrains nuisances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError
from columnminer.infer.derivatives import Derivatives
from columnminer.infer.likelihood import Likelihood, Params
from columnminer.infer.terms import LogTerms
from columnminer.streams import Seed, key, normal, seed_sequence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.model.parameters import Parameter

__all__ = ["GaussianConstraint", "constraints"]


def constraints(parameters: Sequence[Parameter]) -> list[GaussianConstraint]:
    """Return the constraint of each parameter that has one."""
    return [GaussianConstraint(p) for p in parameters if p.constraint is not None]


class GaussianConstraint(Likelihood):
    """Auxiliary measurement of one parameter with a Gaussian error, as a factor: what constrains a nuisance.

    Data are the measured value, [...]; it is the nominal value of the parameter unless given, and fluctuates in toys.

    Parameters
    ----------
    parameter
        What is measured; its `constraint` is the standard error of the measurement.

    Raises
    ------
    InputError
        If the parameter has no constraint.
    """

    def __init__(self, parameter: Parameter) -> None:
        super().__init__([parameter])
        if parameter.constraint is None:
            msg = f"parameter {parameter.name!r} has no constraint: give it the standard error of its measurement"
            raise InputError(msg)
        self.sigma = parameter.constraint
        self._data = np.asarray(parameter.nominal, dtype=np.float64)

    @property
    def measured(self) -> tuple[str, ...]:
        """The parameter."""
        return self.names

    def as_data(self, data: ArrayLike) -> NDArray[np.float64]:
        """Return the measured values, [...]."""
        return np.asarray(data, dtype=np.float64)

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

    def expected(self, params: Params = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return the expected measurement: the parameter itself."""
        return self.points(params, by_name)[..., 0]

    def asimov(self, params: Params = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return the parameter itself."""
        return np.asarray(self.point(params, by_name)[0])

    def simulate(self, seed: Seed, params: Params = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return a measurement scattered about the parameter."""
        rng = np.random.default_rng(seed_sequence(seed, "constraint"))
        return np.asarray(rng.normal(self.point(params, by_name)[0], self.sigma))

    def simulate_many(self, seed: Seed, toys: ArrayLike, params: Params = None, **by_name: ArrayLike) -> Any:
        """Return scattered measurements, (n,), each a function of the number of its toy."""
        scattered = normal(key(seed, "constraint"), toys)
        return self.point(params, by_name)[0] + self.sigma * scattered
