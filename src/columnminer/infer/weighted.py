"""Likelihoods to a power: terms of a model that count more or less than once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from columnminer.infer.derivatives import Derivatives
from columnminer.infer.likelihood import Likelihood, Params
from columnminer.infer.terms import LogTerms

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from columnminer.streams import Seed

__all__ = ["Weighted"]


class Weighted(Likelihood):
    """A likelihood whose logarithm is multiplied by a weight. Toys and expectations are those of the likelihood."""

    def __init__(self, base: Likelihood, weight: float) -> None:
        super().__init__(base.parameters)
        self.base, self.weight = base, weight

    @property
    def precision(self) -> float:
        """That of the likelihood inside."""
        return self.base.precision

    @property
    def measured(self) -> tuple[str, ...]:
        """Those of the likelihood inside."""
        return self.base.measured

    @property
    def kinks(self) -> Mapping[str, NDArray[np.float64]]:
        """Those of the likelihood inside."""
        return self.base.kinks

    @property
    def has_data(self) -> bool:
        """Whether data were given."""
        return self.base.has_data

    @property
    def data(self) -> Any:
        """The data of the likelihood inside."""
        return self.base.data

    def with_data(self, data: Any) -> Self:
        """Return the same likelihood with these data."""
        return self.with_base(self.base.with_data(data))

    def with_base(self, base: Likelihood) -> Self:
        """Return another likelihood with the same weight."""
        return type(self)(base, self.weight)

    def as_data(self, data: Any) -> Any:
        """Return the data as the likelihood inside takes them."""
        return self.base.as_data(data)

    def terms(self, points: NDArray[np.float64], data: Any) -> LogTerms:
        """Return the terms times the weight."""
        inside = self.base.terms(points, data)
        return LogTerms(kinematic=self.weight * inside.kinematic, rate=self.weight * inside.rate)

    def term_gradients(self, points: NDArray[np.float64], data: Any) -> NDArray[np.float64]:
        """Return the gradient times the weight."""
        return self.weight * self.base.term_gradients(points, data)

    def derivatives(self, points: NDArray[np.float64], data: Any) -> Derivatives:
        """Return the derivatives times the weight."""
        inside = self.base.derivatives(points, data)
        w = self.weight
        return Derivatives(w * inside.value, w * inside.gradient, w * inside.hessian)

    def expected(self, params: Params = None, **by_name: ArrayLike) -> Any:
        """Return the expectation of the likelihood inside."""
        return self.base.expected(params, **by_name)

    def asimov(self, params: Params = None, **by_name: ArrayLike) -> Any:
        """Return the Asimov data of the likelihood inside."""
        return self.base.asimov(params, **by_name)

    def simulate(self, seed: Seed, params: Params = None, **by_name: ArrayLike) -> Any:
        """Return a pseudo-experiment of the likelihood inside."""
        return self.base.simulate(seed, params, **by_name)

    def simulate_many(self, seed: Seed, toys: ArrayLike, params: Params = None, **by_name: ArrayLike) -> Any:
        """Return pseudo-experiments of the likelihood inside."""
        return self.base.simulate_many(seed, toys, params, **by_name)
