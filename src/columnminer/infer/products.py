"""How likelihoods combine: products of independent ones, and one weighted, or with parameters fixed or renamed."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError
from columnminer.infer.derivatives import Derivatives
from columnminer.infer.likelihood import Likelihood, Params
from columnminer.infer.terms import LogTerms
from columnminer.streams import Seed, seed_sequence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from numpy.typing import ArrayLike, NDArray

    from columnminer.model.parameters import Parameter

__all__ = ["Product", "Reparametrised", "Weighted", "Wrapper"]


class Product(Likelihood):
    """Product of independent likelihoods, in which parameters of the same name are the same.

    Data are a tuple with those of each factor. Write it with ``*``.

    Raises
    ------
    InputError
        If two factors define a parameter of one name differently, or constrain the same parameter.
    """

    def __init__(self, factors: Sequence[Likelihood]) -> None:
        self.factors: tuple[Likelihood, ...] = tuple(
            inner for f in factors for inner in (f.factors if isinstance(f, Product) else (f,))
        )
        union: dict[str, Parameter] = {}
        for parameter in (p for f in self.factors for p in f.parameters):
            if union.setdefault(parameter.name, parameter) != parameter:
                msg = (
                    f"two factors define the parameter {parameter.name!r} differently: {union[parameter.name]} and "
                    f"{parameter}. Make them agree, or rename one"
                )
                raise InputError(msg)
        constrained = [name for f in self.factors for name in f.measured]
        twice = sorted({name for name in constrained if constrained.count(name) > 1})
        if twice:
            msg = f"the parameter {twice[0]!r} is constrained by two factors; constrain the product instead"
            raise InputError(msg)
        super().__init__(list(union.values()))
        self._columns = [[self.names.index(name) for name in f.names] for f in self.factors]

    @property
    def precision(self) -> float:
        """That of the least precise factor."""
        return max(f.precision for f in self.factors)

    @property
    def measured(self) -> tuple[str, ...]:
        """Those of all factors."""
        return tuple(name for f in self.factors for name in f.measured)

    @property
    def has_data(self) -> bool:
        """Whether every factor has data."""
        return all(f.has_data for f in self.factors)

    @property
    def data(self) -> tuple[Any, ...]:
        """Data of each factor."""
        return tuple(f.data for f in self.factors)

    def with_data(self, data: Sequence[Any]) -> Product:
        """Return the product with these data, one entry for each factor."""
        return Product([f.with_data(d) for f, d in zip(self.factors, self._one_each(data), strict=True)])

    def as_data(self, data: Sequence[Any]) -> tuple[Any, ...]:
        """Return the data of each factor, checked by it."""
        return tuple(f.as_data(d) for f, d in zip(self.factors, self._one_each(data), strict=True))

    def batch(self, data: Sequence[Any]) -> tuple[Any, ...]:
        """Return the batch of each factor."""
        parts = zip(*(self._one_each(one) for one in data), strict=True)
        return tuple(f.batch(part) for f, part in zip(self.factors, parts, strict=True))

    def _one_each(self, data: Sequence[Any]) -> Sequence[Any]:
        if not isinstance(data, tuple | list) or len(data) != len(self.factors):
            msg = f"data of a product of {len(self.factors)} likelihoods are a tuple with one entry for each"
            raise InputError(msg)
        return data

    def terms(self, points: NDArray[np.float64], data: Any) -> LogTerms:
        """Return the sums of the factors' kinematic and rate terms."""
        parts = [f.terms(points[..., c], d) for f, c, d in zip(self.factors, self._columns, data, strict=True)]
        return LogTerms(
            kinematic=np.asarray(sum(p.kinematic for p in parts)), rate=np.asarray(sum(p.rate for p in parts))
        )

    def term_gradients(self, points: NDArray[np.float64], data: Any) -> NDArray[np.float64]:
        """Return the sum of the factors' gradients."""
        total: NDArray[np.float64] = np.zeros(points.shape[-1])
        for factor, columns, part in zip(self.factors, self._columns, data, strict=True):
            gradient = factor.term_gradients(points[..., columns], part)
            widened = np.zeros((*gradient.shape[:-1], points.shape[-1]))
            widened[..., columns] = gradient
            total = total + widened
        return total

    @property
    def kinks(self) -> Mapping[str, NDArray[np.float64]]:
        """Those of all factors."""
        found: dict[str, NDArray[np.float64]] = {}
        for name, values in (item for f in self.factors for item in f.kinks.items()):
            found[name] = np.union1d(found[name], values) if name in found else values
        return found

    def derivatives(self, points: NDArray[np.float64], data: Any) -> Derivatives:
        """Return the sums of the factors' derivatives."""
        n_par = points.shape[-1]
        value, gradient, hessian = np.zeros(()), np.zeros(n_par), np.zeros((n_par, n_par))
        for factor, columns, part in zip(self.factors, self._columns, data, strict=True):
            found = factor.derivatives(points[..., columns], part)
            batch = np.broadcast_shapes(value.shape, found.value.shape)
            value = value + found.value
            gradient = np.broadcast_to(gradient, (*batch, n_par)).copy()
            gradient[..., columns] += found.gradient
            hessian = np.broadcast_to(hessian, (*batch, n_par, n_par)).copy()
            hessian[..., np.array(columns)[:, None], columns] += found.hessian
        return Derivatives(value, gradient, hessian)

    def expected(self, params: Params = None, **by_name: ArrayLike) -> tuple[Any, ...]:
        """Return the expectation of each factor."""
        points = self.points(params, by_name)
        return tuple(f.expected(points[..., c]) for f, c in zip(self.factors, self._columns, strict=True))

    def asimov(self, params: Params = None, **by_name: ArrayLike) -> tuple[Any, ...]:
        """Return the Asimov data of each factor."""
        point = self.point(params, by_name)
        return tuple(f.asimov(point[c]) for f, c in zip(self.factors, self._columns, strict=True))

    def simulate(self, seed: Seed, params: Params = None, **by_name: ArrayLike) -> tuple[Any, ...]:
        """Return a pseudo-experiment of each factor, from independent streams."""
        point = self.point(params, by_name)
        return tuple(
            f.simulate(seed_sequence(seed, "factor", i), point[c])
            for i, (f, c) in enumerate(zip(self.factors, self._columns, strict=True))
        )

    def simulate_many(
        self, seed: Seed, toys: ArrayLike, params: Params = None, **by_name: ArrayLike
    ) -> tuple[Any, ...]:
        """Return pseudo-experiments of each factor, from independent streams."""
        point = self.point(params, by_name)
        return tuple(
            f.simulate_many(seed_sequence(seed, "factor", i), toys, point[c])
            for i, (f, c) in enumerate(zip(self.factors, self._columns, strict=True))
        )


class Wrapper(Likelihood):
    """A likelihood around another one, `base`, whose data, toys and expectations are its own."""

    base: Likelihood

    def _inside(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the points as the likelihood inside takes them."""
        return points

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

    def with_base(self, base: Likelihood) -> Self:
        """Return the same around another likelihood of the same parameters."""
        new = copy.copy(self)
        new.base = base
        return new

    def with_data(self, data: Any) -> Self:
        """Return the same likelihood with these data."""
        return self.with_base(self.base.with_data(data))

    def as_data(self, data: Any) -> Any:
        """Return the data as the likelihood inside takes them."""
        return self.base.as_data(data)

    def batch(self, data: Sequence[Any]) -> Any:
        """Return data sets as one batch of the likelihood inside."""
        return self.base.batch(data)

    def terms(self, points: NDArray[np.float64], data: Any) -> LogTerms:
        """Return the terms of the likelihood inside."""
        return self.base.terms(self._inside(points), data)

    def expected(self, params: Params = None, **by_name: ArrayLike) -> Any:
        """Return the expectation of the likelihood inside."""
        return self.base.expected(self._inside(self.points(params, by_name)))

    def asimov(self, params: Params = None, **by_name: ArrayLike) -> Any:
        """Return the Asimov data of the likelihood inside."""
        return self.base.asimov(self._inside(self.point(params, by_name)))

    def simulate(self, seed: Seed, params: Params = None, **by_name: ArrayLike) -> Any:
        """Return a pseudo-experiment of the likelihood inside."""
        return self.base.simulate(seed, self._inside(self.point(params, by_name)))

    def simulate_many(self, seed: Seed, toys: ArrayLike, params: Params = None, **by_name: ArrayLike) -> Any:
        """Return pseudo-experiments of the likelihood inside."""
        return self.base.simulate_many(seed, toys, self._inside(self.point(params, by_name)))


class Weighted(Wrapper):
    """A likelihood whose logarithm is multiplied by a weight: a term of a model that counts more or less than once."""

    def __init__(self, base: Likelihood, weight: float) -> None:
        super().__init__(base.parameters)
        self.base, self.weight = base, weight

    def terms(self, points: NDArray[np.float64], data: Any) -> LogTerms:
        """Return the terms times the weight."""
        inside = self.base.terms(points, data)
        return LogTerms(kinematic=self.weight * inside.kinematic, rate=self.weight * inside.rate)

    def term_gradients(self, points: NDArray[np.float64], data: Any) -> NDArray[np.float64]:
        """Return the gradient times the weight."""
        return self.weight * self.base.term_gradients(points, data)

    def derivatives(self, points: NDArray[np.float64], data: Any) -> Derivatives:
        """Return the derivatives times the weight."""
        inside, w = self.base.derivatives(points, data), self.weight
        return Derivatives(w * inside.value, w * inside.gradient, w * inside.hessian)


class Reparametrised(Wrapper):
    """A likelihood seen through other parameters: some fixed, some under new names. Made by `fix` and `rename`."""

    def __init__(
        self, base: Likelihood, *, fixed: Mapping[str, float] | None = None, names: Mapping[str, str] | None = None
    ) -> None:
        fixed, names = dict(fixed or {}), dict(names or {})
        self.base = base
        self._template = base.point(None, fixed)
        base.points(None, dict.fromkeys(names, 0.0))  # names that do not exist are met here
        self._free = [i for i, name in enumerate(base.names) if name not in fixed]
        free = [base.parameters[i] for i in self._free]
        super().__init__([dataclasses.replace(p, name=names.get(p.name, p.name)) for p in free])

    def _inside(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        inside = np.broadcast_to(self._template, (*points.shape[:-1], len(self._template))).copy()
        inside[..., self._free] = points
        return inside

    @property
    def measured(self) -> tuple[str, ...]:
        """Those of the likelihood inside that are free, by their new names."""
        return tuple(
            new for i, new in zip(self._free, self.names, strict=True) if self.base.names[i] in self.base.measured
        )

    def term_gradients(self, points: NDArray[np.float64], data: Any) -> NDArray[np.float64]:
        """Return the gradient in the free parameters."""
        return self.base.term_gradients(self._inside(points), data)[..., self._free]

    @property
    def kinks(self) -> Mapping[str, NDArray[np.float64]]:
        """Those of the likelihood inside, by their new names."""
        inside = self.base.kinks
        names = {self.base.names[i]: new for i, new in zip(self._free, self.names, strict=True)}
        return {new: inside[old] for old, new in names.items() if old in inside}

    def derivatives(self, points: NDArray[np.float64], data: Any) -> Derivatives:
        """Return the derivatives in the free parameters."""
        found = self.base.derivatives(self._inside(points), data)
        free = self._free
        return Derivatives(found.value, found.gradient[..., free], found.hessian[..., np.array(free)[:, None], free])
