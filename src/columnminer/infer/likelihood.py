"""What every likelihood offers, and how likelihoods combine: products, fixed and renamed parameters, constraints.

One contract for shapes: parameter points are ``params[..., n_par]``, data may carry leading batch axes of their own
(many pseudo-experiments), and the result has the two batch shapes broadcast together. To evaluate every point on every
toy, give ``params[:, None, :]``. Keyword arguments by parameter name are sugar over ``params``; what is not named is
nominal.
"""

from __future__ import annotations

import copy
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError, MissingError, UnknownNameError, did_you_mean
from columnminer.infer.terms import LogTerms
from columnminer.streams import Seed, seed_sequence

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from numpy.typing import ArrayLike, NDArray

    from columnminer.model.parameters import Parameter

__all__ = ["GaussianConstraint", "Likelihood", "Product", "Reparametrised"]

Params = Any  # array-like (..., n_par), a mapping from names to values, or None for the nominal point


class Likelihood(ABC):
    """A statistical model: the probability of data at any parameter point.

    Parameters
    ----------
    parameters
        In the order of the last axis of ``params``; their names are distinct.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.parameters = tuple(parameters)
        self._data: Any = None
        if len(set(self.names)) != len(self.parameters):
            msg = f"two parameters have the same name: {', '.join(self.names)}"
            raise InputError(msg)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(p.name for p in self.parameters)

    @property
    def precision(self) -> float:
        """Relative precision of its values: fits take steps that it resolves."""
        return float(np.finfo(np.float64).eps)

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of the parameters that auxiliary measurements in this likelihood constrain."""
        return ()

    # What a kind of likelihood defines ---------------------------------------------------------------------------

    @abstractmethod
    def terms(self, points: NDArray[np.float64], data: Any) -> LogTerms:
        """Return the log likelihood in its parts at points (..., n_par), of data as `as_data` gives them."""

    @abstractmethod
    def as_data(self, data: Any) -> Any:
        """Return `data` checked, in the form that `terms` takes; raise `InputError` where they do not fit."""

    @abstractmethod
    def expected(self, params: Params = None, **by_name: ArrayLike) -> Any:
        """Return the expected number of events: [...] in all, or ``[..., *bins]`` for a histogram."""

    @abstractmethod
    def asimov(self, params: Params = None, **by_name: ArrayLike) -> Any:
        """Return the data set in which everything is as expected at one parameter point."""

    @abstractmethod
    def simulate(self, seed: Seed, params: Params = None, **by_name: ArrayLike) -> Any:
        """Return one pseudo-experiment at one parameter point, in the form that `with_data` takes."""

    def term_gradients(self, points: NDArray[np.float64], data: Any) -> NDArray[np.float64]:
        """Return the gradient of the log likelihood at points (..., n_par): [..., n_par]."""
        del points, data
        msg = f"{type(self).__name__} has no gradient; fit it without"
        raise MissingError(msg)

    # What follows from it ----------------------------------------------------------------------------------------

    def points(self, params: Params = None, by_name: Mapping[str, ArrayLike] | None = None) -> NDArray[np.float64]:
        """Return parameter points (..., n_par) from an array, a mapping or nothing, with those named set.

        Raises
        ------
        InputError
            If the last axis is not one value for each parameter.
        UnknownNameError
            If a name is not a parameter of this likelihood.
        """
        named = dict(by_name or {})
        if isinstance(params, Mapping):
            named, params = {**params, **named}, None
        for name in named:
            if name not in self.names:
                msg = f"the likelihood has no parameter {name!r}.{did_you_mean(name, self.names)}"
                raise UnknownNameError(msg)
        base = np.array([p.nominal for p in self.parameters] if params is None else params, dtype=np.float64)
        if base.shape[-1:] != (len(self.parameters),):
            msg = f"parameter points have shape {base.shape}; the last axis must hold {', '.join(self.names)}"
            raise InputError(msg)
        if not named:
            return base
        values = [np.asarray(named.get(name, base[..., i]), dtype=np.float64) for i, name in enumerate(self.names)]
        return np.stack(np.broadcast_arrays(*values), axis=-1)

    def point(self, params: Params = None, by_name: Mapping[str, ArrayLike] | None = None) -> NDArray[np.float64]:
        """Return one parameter point (n_par,); see `points`."""
        point = self.points(params, by_name)
        if point.ndim != 1:
            msg = f"one parameter point is needed here, not an array of shape {point.shape[:-1]}"
            raise InputError(msg)
        return point

    @property
    def has_data(self) -> bool:
        """Whether data were given."""
        return self._data is not None

    @property
    def data(self) -> Any:
        """The data given by `with_data`; `MissingError` without."""
        if not self.has_data:
            msg = "this likelihood has no data: give them with with_data(...)"
            raise MissingError(msg)
        return self._data

    def with_data(self, data: Any) -> Self:
        """Return the same likelihood with these data."""
        checked = self.as_data(data)
        new = copy.copy(self)
        vars(new)["_data"] = checked
        return new

    def log_likelihood(self, params: Params = None, data: Any = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return the log likelihood, broadcast over the batch axes of parameter points and data.

        Parameters
        ----------
        params
            (..., n_par), a mapping from names, or nothing for the nominal point.
        data
            In place of those of `with_data`.
        **by_name
            Parameters by name; arrays broadcast together.
        """
        return self.terms(self.points(params, by_name), self._given(data)).total

    def gradient(self, params: Params = None, data: Any = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return the gradient of the log likelihood in the parameters, [..., n_par].

        Raises
        ------
        MissingError
            If this likelihood has none.
        """
        return self.term_gradients(self.points(params, by_name), self._given(data))

    def _given(self, data: Any) -> Any:
        return self.data if data is None else self.as_data(data)

    def __mul__(self, other: Likelihood) -> Product:
        if not isinstance(other, Likelihood):
            return NotImplemented
        return Product([self, other])

    def constrained(self) -> Product:
        """Return the likelihood times a Gaussian constraint for each parameter that has one.

        Constrain a product, not its factors: in a toy the auxiliary measurement fluctuates once.
        """
        return Product([self, *(GaussianConstraint(p) for p in self.parameters if p.constraint is not None)])

    def fix(self, **by_name: float) -> Reparametrised:
        """Return the likelihood in the other parameters, with these held at the given values."""
        return Reparametrised(self, fixed=by_name)

    def rename(self, names: Mapping[str, str]) -> Reparametrised:
        """Return the likelihood with parameters called by new names, ``{old: new}``."""
        return Reparametrised(self, names=names)


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


class Reparametrised(Likelihood):
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
    def precision(self) -> float:
        """That of the likelihood inside."""
        return self.base.precision

    @property
    def measured(self) -> tuple[str, ...]:
        """Those of the likelihood inside that are free, by their new names."""
        return tuple(
            new for i, new in zip(self._free, self.names, strict=True) if self.base.names[i] in self.base.measured
        )

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
        new = copy.copy(self)
        new.base = self.base.with_data(data)
        return new

    def as_data(self, data: Any) -> Any:
        """Return the data as the likelihood inside takes them."""
        return self.base.as_data(data)

    def terms(self, points: NDArray[np.float64], data: Any) -> LogTerms:
        """Return the terms of the likelihood inside."""
        return self.base.terms(self._inside(points), data)

    def term_gradients(self, points: NDArray[np.float64], data: Any) -> NDArray[np.float64]:
        """Return the gradient in the free parameters."""
        return self.base.term_gradients(self._inside(points), data)[..., self._free]

    def expected(self, params: Params = None, **by_name: ArrayLike) -> Any:
        """Return the expectation of the likelihood inside."""
        return self.base.expected(self._inside(self.points(params, by_name)))

    def asimov(self, params: Params = None, **by_name: ArrayLike) -> Any:
        """Return the Asimov data of the likelihood inside."""
        return self.base.asimov(self._inside(self.point(params, by_name)))

    def simulate(self, seed: Seed, params: Params = None, **by_name: ArrayLike) -> Any:
        """Return a pseudo-experiment of the likelihood inside."""
        return self.base.simulate(seed, self._inside(self.point(params, by_name)))


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
