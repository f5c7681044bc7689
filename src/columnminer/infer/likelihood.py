"""What every likelihood offers.

One contract for shapes: parameter points are ``params[..., n_par]``, data may carry leading batch axes of their own
(many pseudo-experiments), and the result has the two batch shapes broadcast together. To evaluate every point on every
toy, give ``params[:, None, :]``. Keyword arguments by parameter name are sugar over ``params``; what is not named is
nominal.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError, MissingError, UnknownNameError, did_you_mean
from columnminer.infer.batches import stack
from columnminer.infer.derivatives import Derivatives, by_differences
from columnminer.streams import Seed, seed_sequence

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.products import Product, Reparametrised
    from columnminer.infer.terms import LogTerms
    from columnminer.model.parameters import Parameter

__all__ = ["Likelihood"]

Params = Any  # array-like (..., n_par), a mapping from names to values, or None for the nominal point


class Likelihood(ABC):
    """A statistical model: the probability of data at any parameter point.

    Parameters
    ----------
    parameters
        In the order of the last axis of ``params``; their names are distinct.

    Examples
    --------
    >>> likelihood = cm.PyhfLikelihood.from_workspace("counting.json")
    >>> isinstance(likelihood, cm.Likelihood), "mu" in likelihood.names
    (True, True)
    >>> toy = likelihood.simulate(seed=1, mu=1.0)
    >>> likelihood.with_data(toy).log_likelihood(mu=[0.0, 1.0, 2.0]).shape
    (3,)
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

    @property
    def kinks(self) -> Mapping[str, NDArray[np.float64]]:
        """Values, in order, of parameters at which log L has a kink: between them it is smooth."""
        return {}

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

    def batch(self, data: Sequence[Any]) -> Any:
        """Return data sets, each in a form that `with_data` takes, as one batch."""
        return stack([self.as_data(one) for one in data])

    def term_gradients(self, points: NDArray[np.float64], data: Any) -> NDArray[np.float64]:
        """Return the gradient of the log likelihood at points (..., n_par): [..., n_par]."""
        del points, data
        msg = f"{type(self).__name__} has no gradient; fit it without"
        raise MissingError(msg)

    def derivatives(self, points: NDArray[np.float64], data: Any) -> Derivatives:
        """Return log L and its first and second derivatives at points (..., n_par); by differences unless overridden.

        Where log L has a kink, they are those towards larger values of the parameter.
        """
        return by_differences(self, points, data)

    def simulate_many(self, seed: Seed, toys: ArrayLike, params: Params = None, **by_name: ArrayLike) -> Any:
        """Return the pseudo-experiments of these numbers (n,) at one parameter point, stacked along the first axis.

        That of one number is the same whichever others are asked for with it.
        """
        point = self.point(params, by_name)
        return stack([self.simulate(seed_sequence(seed, "toy", int(t)), point) for t in np.asarray(toys).tolist()])

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
        from columnminer.infer.products import Product  # noqa: PLC0415 - which are likelihoods themselves

        return Product([self, other])

    def constrained(self) -> Product:
        """Return the likelihood times a Gaussian constraint for each parameter that has one.

        Constrain a product, not its factors: in a toy the auxiliary measurement fluctuates once.
        """
        from columnminer.infer.constraints import constraints  # noqa: PLC0415 - which are likelihoods themselves
        from columnminer.infer.products import Product  # noqa: PLC0415 - which are likelihoods themselves

        return Product([self, *constraints(self.parameters)])

    def fix(self, **by_name: float) -> Reparametrised:
        """Return the likelihood in the other parameters, with these held at the given values."""
        from columnminer.infer.products import Reparametrised  # noqa: PLC0415 - which are likelihoods themselves

        return Reparametrised(self, fixed=by_name)

    def rename(self, names: Mapping[str, str]) -> Reparametrised:
        """Return the likelihood with parameters called by new names, ``{old: new}``."""
        from columnminer.infer.products import Reparametrised  # noqa: PLC0415 - which are likelihoods themselves

        return Reparametrised(self, names=names)
