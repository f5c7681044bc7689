"""What theta is: parameters, couplings of a physics model, the space they span, and benchmark points in it.

`Parameter` is all that any parameter needs, whether a coupling, a nuisance or a rate multiplier. `Coupling` adds what
event generation and morphing ask of a physics coupling. Every other part of the package takes theta as an array; turning
a dict or a sequence into one, with errors that name the parameter, happens in `ParameterSpace` and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np

from columnminer.errors import InputError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Benchmark", "Coupling", "Parameter", "ParameterSpace", "ThetaLike"]

ThetaLike: TypeAlias = "Mapping[str, float] | ArrayLike"
"""One parameter point: a dict of all parameters by name, or their values in order."""

_COUPLING_OPTIONS = {"lha", "max_power", "transform"}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a model; with `lha`, `max_power` or `transform` given, calling this makes a `Coupling`.

    Parameters
    ----------
    name
        How it is called everywhere: in dicts, files, tables.
    nominal
        Its value where nothing else is said.
    bounds
        (low, high) range of interest: over it the morphing basis is optimised and grids are laid. None: unbounded.
    constraint
        Standard deviation of a Gaussian constraint around `nominal`; None: unconstrained.
    kind
        What it stands for: "theory" and "nuisance" are known to the package, other words are free.
    description
        For tables and labels.
    fit_limits
        (low, high) that a fit must not leave, None for an open side. None: no limits.

    Raises
    ------
    InputError
        If a value is not finite, of the wrong type, or the wrong way round.
    """

    name: str
    nominal: float = 0.0
    bounds: tuple[float, float] | None = None
    constraint: float | None = None
    kind: str = "theory"
    description: str = ""
    fit_limits: tuple[float | None, float | None] | None = None

    if TYPE_CHECKING:  # what `__new__` below makes of the call, for type checkers

        def __init__(
            self,
            name: str,
            nominal: float = 0.0,
            bounds: Sequence[float] | None = None,
            constraint: float | None = None,
            kind: str = "theory",
            description: str = "",
            fit_limits: Sequence[float | None] | None = None,
            *,
            lha: Sequence[Any] | None = None,
            max_power: int = 2,
            transform: str | None = None,
        ) -> None: ...

    def __new__(cls, *_args: object, **options: object) -> Parameter:  # noqa: PYI034 - a subclass, on purpose
        wanted = Coupling if cls is Parameter and _COUPLING_OPTIONS & options.keys() else cls
        return object.__new__(wanted)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            msg = f"the name of a parameter must be a non-empty text, not {self.name!r}"
            raise InputError(msg)
        where = f"parameter {self.name!r}"
        for field in ("kind", "description"):
            if not isinstance(getattr(self, field), str):
                msg = f"{where}: {field} must be a text, not {getattr(self, field)!r}"
                raise InputError(msg)
        object.__setattr__(self, "nominal", _number(self.nominal, f"{where}: nominal"))
        if self.bounds is not None:
            low, high = (_number(end, f"{where}: bounds") for end in _pair(self.bounds, f"{where}: bounds"))
            _require_order(low, high, f"{where}: bounds")
            object.__setattr__(self, "bounds", (low, high))
        if self.constraint is not None:
            width = _number(self.constraint, f"{where}: constraint")
            if width <= 0:
                msg = f"{where}: constraint is a standard deviation and must be positive, not {width:g}"
                raise InputError(msg)
            object.__setattr__(self, "constraint", width)
        if self.fit_limits is not None:
            ends = tuple(
                None if end is None else _number(end, f"{where}: fit_limits")
                for end in _pair(self.fit_limits, f"{where}: fit_limits")
            )
            if ends[0] is not None and ends[1] is not None:
                _require_order(ends[0], ends[1], f"{where}: fit_limits")
            object.__setattr__(self, "fit_limits", ends)

    @staticmethod
    def keys() -> tuple[str, ...]:
        """Return the names of all fields that a parameter of any kind may have."""
        return tuple(Coupling.__dataclass_fields__)

    def to_dict(self) -> dict[str, Any]:
        """Return the parameter as JSON types, without what is at its default."""
        entries = {name: getattr(self, name) for name in self.__dataclass_fields__}
        defaults = {name: field.default for name, field in self.__dataclass_fields__.items()}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in entries.items()
            if name in {"name", "max_power"} or value != defaults[name]
        }


@dataclass(frozen=True)
class Coupling(Parameter):
    """A parameter that multiplies couplings in the matrix element.

    Parameters
    ----------
    lha
        (block, id) under which it stands on a param card; None if no generator with cards is used.
    max_power
        Highest power with which it enters the *squared* matrix element at tree level: 2 if it affects one vertex, 4 if
        two (production and decay).
    transform
        Expression of `theta` that gives the value on the param card, for instance "16.52*theta"; None: theta itself.

    The other parameters are those of `Parameter`.
    """

    lha: tuple[str, int] | None = None
    max_power: int = 2
    transform: str | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            name: str,
            nominal: float = 0.0,
            bounds: Sequence[float] | None = None,
            constraint: float | None = None,
            kind: str = "theory",
            description: str = "",
            fit_limits: Sequence[float | None] | None = None,
            lha: Sequence[Any] | None = None,
            max_power: int = 2,
            transform: str | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        where = f"parameter {self.name!r}"
        if self.lha is not None:
            block, number = _pair(self.lha, f"{where}: lha")
            if not isinstance(block, str) or isinstance(number, bool) or not isinstance(number, int):
                msg = f"{where}: lha must be (block, id) such as ('dim6', 2), not {self.lha!r}"
                raise InputError(msg)
            object.__setattr__(self, "lha", (block, number))
        if isinstance(self.max_power, bool) or not isinstance(self.max_power, int) or self.max_power < 0:
            msg = f"{where}: max_power must be a non-negative integer, not {self.max_power!r}"
            raise InputError(msg)
        if self.transform is not None and not isinstance(self.transform, str):
            msg = f"{where}: transform must be a text expression of theta, not {self.transform!r}"
            raise InputError(msg)


@dataclass(frozen=True)
class Benchmark:
    """A named parameter point at which events are generated or reweighted; `values` has all parameters by name."""

    name: str
    values: Mapping[str, float]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            msg = f"the name of a benchmark must be a non-empty text, not {self.name!r}"
            raise InputError(msg)
        if not isinstance(self.values, Mapping):
            msg = f"benchmark {self.name!r}: values must be a dict of parameter name -> value, not {self.values!r}"
            raise InputError(msg)
        object.__setattr__(self, "values", dict(self.values))


@dataclass(frozen=True)
class ParameterSpace:
    """An ordered set of parameters: the coordinates of theta.

    Parameters
    ----------
    parameters
        In the order in which theta arrays hold them.

    Raises
    ------
    InputError
        If two parameters share a name, or an entry is not a `Parameter`.
    """

    parameters: tuple[Parameter, ...]

    if TYPE_CHECKING:

        def __init__(self, parameters: Iterable[Parameter]) -> None: ...

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", tuple(self.parameters))
        for parameter in self.parameters:
            if not isinstance(parameter, Parameter):
                msg = f"a ParameterSpace is made of Parameters, not {parameter!r}"
                raise InputError(msg)
        duplicates = {name for name in self.names if self.names.count(name) > 1}
        if duplicates:
            msg = f"two parameters share the name {sorted(duplicates)[0]!r}"
            raise InputError(msg)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, in order."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def bounds(self) -> NDArray[np.float64]:
        """(n_par, 2) ranges of interest; infinite where a parameter has none."""
        rows = [p.bounds or (-math.inf, math.inf) for p in self.parameters]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    @property
    def nominal(self) -> NDArray[np.float64]:
        """(n_par,) nominal values."""
        return np.array([p.nominal for p in self.parameters], dtype=np.float64)

    def __len__(self) -> int:
        return len(self.parameters)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    @overload
    def __getitem__(self, which: str | int) -> Parameter: ...
    @overload
    def __getitem__(self, which: slice) -> tuple[Parameter, ...]: ...
    def __getitem__(self, which: str | int | slice) -> Parameter | tuple[Parameter, ...]:
        return self.parameters[self.index(which) if isinstance(which, str) else which]

    def index(self, name: str) -> int:
        """Return the position of the parameter called `name`.

        Raises
        ------
        UnknownNameError
            If there is none.
        """
        if name not in self.names:
            msg = f"no parameter is called {name!r}.{did_you_mean(name, self.names)}"
            raise UnknownNameError(msg)
        return self.names.index(name)

    def array(self, theta: ThetaLike) -> NDArray[np.float64]:
        """Return one parameter point as an (n_par,) array.

        Parameters
        ----------
        theta
            A dict with a value for every parameter, or the values in order.

        Raises
        ------
        UnknownNameError
            If a dict has a name that is no parameter.
        InputError
            If a parameter is missing, the number of values is wrong, or a value is not a finite number.
        """
        if isinstance(theta, Mapping):
            for name in theta:
                self.index(name)
            missing = [name for name in self.names if name not in theta]
            if missing:
                msg = f"theta {dict(theta)!r} has no value for {', '.join(map(repr, missing))}"
                raise InputError(msg)
            theta = [theta[name] for name in self.names]
        values = np.atleast_1d(_floats(theta))
        if values.shape != (len(self),):
            msg = (
                f"theta of shape {values.shape} does not fit the {len(self)} parameters ({', '.join(self.names)}): "
                f"one value each is needed"
            )
            raise InputError(msg)
        bad = [name for name, value in zip(self.names, values, strict=True) if not math.isfinite(value)]
        if bad:
            msg = f"theta: the value of {bad[0]!r} is not finite: {values[self.index(bad[0])]}"
            raise InputError(msg)
        return values

    def points(self, thetas: ThetaLike | Sequence[ThetaLike]) -> NDArray[np.float64]:
        """Return one or many parameter points as an (n, n_par) array.

        With a single parameter a flat sequence of n numbers is n points.

        Raises
        ------
        UnknownNameError, InputError
            As `array`, for the first point that is wrong.
        """
        if isinstance(thetas, Mapping):
            return self.array(thetas)[np.newaxis]
        if isinstance(thetas, Sequence) and any(isinstance(theta, Mapping) for theta in thetas):
            return np.array([self.array(theta) for theta in thetas])
        values = _floats(thetas)
        if values.ndim <= 1 and not (len(self) == 1 and values.ndim == 1):
            return self.array(values)[np.newaxis]
        values = values.reshape(-1, 1) if values.ndim == 1 else values
        if values.ndim != 2 or values.shape[1] != len(self):
            msg = f"thetas of shape {values.shape} do not fit: (n, {len(self)}) is needed for ({', '.join(self.names)})"
            raise InputError(msg)
        finite = np.isfinite(values)
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            msg = f"theta number {row}: the value of {self.names[column]!r} is not finite: {values[row, column]}"
            raise InputError(msg)
        return values

    def as_dict(self, theta: ThetaLike) -> dict[str, float]:
        """Return a parameter point as parameter name -> value."""
        return dict(zip(self.names, self.array(theta).tolist(), strict=True))


def _floats(values: object) -> NDArray[np.float64]:
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        msg = f"theta must be numbers, or a dict of them by parameter name, not {values!r}"
        raise InputError(msg) from None


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        msg = f"{what} must be a number, not {value!r}"
        raise InputError(msg)
    if not math.isfinite(value):
        msg = f"{what} must be finite, not {value}"
        raise InputError(msg)
    return float(value)


def _pair(value: object, what: str) -> tuple[Any, Any]:
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray) or len(value) != 2:
        msg = f"{what} must be a pair, not {value!r}"
        raise InputError(msg)
    return value[0], value[1]


def _require_order(low: float, high: float, what: str) -> None:
    if not low < high:
        msg = f"{what}: {low:g} is not below {high:g}"
        raise InputError(msg)
