"""What theta is: parameters, couplings of a physics model, the space they span, and benchmark points in it.

`Parameter` is all that any parameter needs, whether a coupling, a nuisance or a rate multiplier. `Coupling` adds what
event generation and morphing ask of a physics coupling. Every other part of the package takes theta as an array;
turning a dict or a sequence into one, with errors that name the parameter, happens in `ParameterSpace` alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from columnminer.errors import ExpressionError, InputError, UnknownNameError, did_you_mean
from columnminer.expressions import compile_expression
from columnminer.model.checks import floats, integer, number, ordered, pair, text, unique
from columnminer.model.distributions import Distribution, parse_distribution, parse_values

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
        Standard deviation of a Gaussian constraint around `nominal`, or any other distribution of the parameter as
        text, such as "stats.uniform(loc=-2, scale=4)"; None: unconstrained.
    kind
        What it stands for. The package knows "theory" and "nuisance", and of template models "rate", "shape",
        "efficiency", "livetime", "index" (takes the values of its anchors only) and "needs_reinit" (the model is built
        for its nominal value); other words are free.
    description
        For tables and labels.
    fit_limits
        (low, high) that a fit must not leave, None for an open side. None: no limits.
    fit_guess
        Where a fit starts; None: at `nominal`.
    anchors
        Values at which templates exist, as numbers or as text such as "np.linspace(-2, 2, 5)"; kept in order.
    interval_bounds
        (low, high) between which ends of a confidence interval are looked for, None for an open side.
    interval_bounds_in_events
        Whether these are expected numbers of events, of a parameter of kind "rate", and not values of the parameter.
    fittable
        Whether a fit may vary it at all.

    Raises
    ------
    InputError
        If a value is not finite, of the wrong type, or the wrong way round.

    Examples
    --------
    >>> mu = cm.Parameter("mu", 1.0, kind="rate", fit_limits=(0, None))
    >>> scale = cm.Parameter("scale", 0.0, constraint=1.0)  # known to +-1
    >>> theta = cm.Parameter("c_ll", bounds=(-0.05, 0.05), max_power=2)  # a Coupling
    """

    name: str
    nominal: float = 0.0
    bounds: tuple[float, float] | None = None
    _: KW_ONLY
    constraint: float | str | None = None
    kind: str = "theory"
    description: str = ""
    fit_limits: tuple[float | None, float | None] | None = None
    fit_guess: float | None = None
    anchors: tuple[float, ...] | None = None
    interval_bounds: tuple[float | None, float | None] | None = None
    interval_bounds_in_events: bool = False
    fittable: bool = True

    if TYPE_CHECKING:  # how it may be called, for type checkers: see `__new__`

        def __init__(
            self,
            name: str,
            nominal: float = 0.0,
            bounds: Sequence[float] | None = None,
            *,
            constraint: float | str | Distribution | None = None,
            kind: str = "theory",
            description: str = "",
            fit_limits: Sequence[float | None] | None = None,
            fit_guess: float | None = None,
            anchors: ArrayLike | str | None = None,
            interval_bounds: Sequence[float | None] | None = None,
            interval_bounds_in_events: bool = False,
            fittable: bool = True,
            lha: Sequence[Any] | None = None,
            max_power: int = 2,
            transform: str | None = None,
        ) -> None: ...

    def __new__(cls, *_args: object, **options: object) -> Parameter:  # noqa: D102, PYI034 - see the class
        wanted = Coupling if cls is Parameter and _COUPLING_OPTIONS & options.keys() else cls
        return object.__new__(wanted)

    def __post_init__(self) -> None:
        where = f"parameter {text(self.name, 'the name of a parameter')!r}"
        checked: dict[str, Any] = {"nominal": number(self.nominal, f"{where}: nominal")}
        text(self.kind, f"{where}: kind")
        if self.description:
            text(self.description, f"{where}: description")
        if self.bounds is not None:
            what = f"{where}: bounds"
            left, right = (number(end, what) for end in pair(self.bounds, what))
            checked["bounds"] = ordered(left, right, what)
        if self.constraint is not None:
            checked["constraint"] = _constraint(self.constraint, f"{where}: constraint")
        for name in ("fit_limits", "interval_bounds"):
            if getattr(self, name) is not None:
                checked[name] = _limits(getattr(self, name), f"{where}: {name}")
        if self.fit_guess is not None:
            checked["fit_guess"] = number(self.fit_guess, f"{where}: fit_guess")
        if self.anchors is not None:
            checked["anchors"] = _anchors(self.anchors, f"{where}: anchors")
        for name in ("fittable", "interval_bounds_in_events"):
            flag: object = getattr(self, name)
            if not isinstance(flag, bool):
                msg = f"{where}: {name} must be true or false, not {flag!r}"
                raise InputError(msg)
        self._set(checked)
        self._check_together(where)

    def _check_together(self, where: str) -> None:
        if self.interval_bounds_in_events and self.kind != "rate":
            msg = f"{where}: only a parameter of kind 'rate' has interval_bounds in events, not one of {self.kind!r}"
            raise InputError(msg)
        for end in () if self.interval_bounds_in_events else self.interval_bounds or ():
            if end is not None and end != self.clip(end):
                msg = f"{where}: interval_bounds {self.interval_bounds} reach beyond fit_limits {self.fit_limits}"
                raise InputError(msg)
        if self.anchors is not None and self.kind == "needs_reinit":
            msg = f"{where}: it cannot have anchors, for the model is built for one value of it"
            raise InputError(msg)

    @property
    def distribution(self) -> Distribution | None:
        """The distribution that constrains it; None without one, or if it is the Gaussian around `nominal`."""
        return parse_distribution(self.constraint) if isinstance(self.constraint, str) else None

    @property
    def width(self) -> float | None:
        """Standard deviation of the constraint; None without one, or where the distribution has none."""
        if isinstance(self.constraint, str):
            std = parse_distribution(self.constraint).std
            return std if math.isfinite(std) else None
        return self.constraint

    def clip(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return values moved to the fit limits where they are beyond."""
        low, high = self.fit_limits or (None, None)
        return np.clip(
            np.asarray(values, dtype=np.float64), -math.inf if low is None else low, math.inf if high is None else high
        )

    def _set(self, checked: Mapping[str, object]) -> None:
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @staticmethod
    def keys() -> tuple[str, ...]:
        """Return the names of all fields that a parameter of any kind may have."""
        return tuple(Coupling.__dataclass_fields__)

    def to_dict(self) -> dict[str, Any]:
        """Return the parameter as JSON types, without what is at its default; `Parameter(**...)` makes it again."""
        fields = {name: (getattr(self, name), field.default) for name, field in self.__dataclass_fields__.items()}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, (value, default) in fields.items()
            if value != default or name == "max_power"  # which tells a coupling
        }


def _constraint(value: object, what: str) -> float | str:
    if isinstance(value, Distribution):
        return value.text
    if isinstance(value, str):
        try:
            return parse_distribution(value).text
        except ExpressionError as error:
            msg = f"{what}: {error}"
            raise ExpressionError(msg) from error
    return ordered(0.0, number(value, what), f"{what}, a standard deviation")[1]


def _limits(value: object, what: str) -> tuple[float | None, float | None]:
    low, high = (None if end is None else number(end, what) for end in pair(value, what))
    return (low, high) if low is None or high is None else ordered(low, high, what)


def _anchors(value: Any, what: str) -> tuple[float, ...]:
    try:
        values = np.unique(parse_values(value))
    except InputError as error:
        msg = f"{what}: {error}"
        raise type(error)(msg) from error
    if not len(values) or not np.isfinite(values).all():
        msg = f"{what} must be finite numbers, at least one"
        raise InputError(msg)
    return tuple((values + 0.0).tolist())


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

    Raises
    ------
    InputError
        As `Parameter`; an ExpressionError if `transform` is no expression of theta.

    Notes
    -----
    The other parameters are those of `Parameter`.

    Examples
    --------
    >>> coupling = cm.Coupling("CWL2", lha=("dim6", 2), max_power=2, bounds=(-20, 20), transform="16.52*theta")
    >>> isinstance(cm.Parameter("CWL2", lha=("dim6", 2)), cm.Coupling)  # what says where it stands is a coupling
    True
    """

    _: KW_ONLY
    lha: tuple[str, int] | None = None
    max_power: int = 2
    transform: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        where = f"parameter {self.name!r}"
        checked: dict[str, Any] = {"max_power": integer(self.max_power, f"{where}: max_power")}
        if self.lha is not None:
            block, lha_id = pair(self.lha, f"{where}: lha, such as ('dim6', 2),")
            checked["lha"] = (text(block, f"{where}: the LHA block"), integer(lha_id, f"{where}: the LHA id"))
        if self.transform is not None:
            try:
                compile_expression(self.transform, names=("theta",))
            except ExpressionError as error:
                msg = f"{where}: transform: {error}"
                raise ExpressionError(msg) from error
        self._set(checked)

    def card_value(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Return what stands on the param card for values of this parameter; of the shape of `theta`.

        Raises
        ------
        InputError
            If the transform is not defined there.
        """
        if self.transform is None:
            return np.asarray(theta, dtype=np.float64)
        return np.asarray(compile_expression(self.transform, names=("theta",))(theta=theta))


@dataclass(frozen=True)
class Benchmark:
    """A named parameter point at which events are generated or reweighted; `values` has all parameters by name.

    Examples
    --------
    >>> cm.Benchmark("sm", {"CWL2": 0.0, "CPWL2": 0.0}).values["CWL2"]
    0.0
    """

    name: str
    values: Mapping[str, float]

    def __post_init__(self) -> None:
        where = f"benchmark {text(self.name, 'the name of a benchmark')!r}"
        values: object = self.values
        if not isinstance(values, Mapping):
            msg = f"{where}: values must be a dict of parameter name -> value, not {values!r}"
            raise InputError(msg)
        object.__setattr__(self, "values", {name: number(value, f"{where}: {name}") for name, value in values.items()})


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

    Examples
    --------
    >>> space = cm.ParameterSpace([cm.Parameter("a", bounds=(-1, 1)), cm.Parameter("b", bounds=(0, 2))])
    >>> space.array({"b": 1.5, "a": 0.0})
    array([0. , 1.5])
    """

    parameters: tuple[Parameter, ...]

    if TYPE_CHECKING:

        def __init__(self, parameters: Iterable[Parameter]) -> None: ...

    def __post_init__(self) -> None:
        parameters: tuple[object, ...] = tuple(self.parameters)
        for parameter in parameters:
            if not isinstance(parameter, Parameter):
                msg = f"a ParameterSpace is made of Parameters, not {parameter!r}"
                raise InputError(msg)
        object.__setattr__(self, "parameters", parameters)
        unique(self.names, "parameters")

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

    def __getitem__(self, which: str | int) -> Parameter:
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
            theta = [number(theta[name], f"theta: the value of {name!r}") for name in self.names]
        values = np.atleast_1d(floats(theta, "theta"))
        if values.shape != (len(self),):
            msg = f"theta of shape {values.shape} does not fit: one value each for ({', '.join(self.names)}) is needed"
            raise InputError(msg)
        self._require_finite(values[np.newaxis])
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
            return np.array([self.array(cast("ThetaLike", theta)) for theta in thetas])
        values = floats(thetas, "thetas")
        if values.ndim == 1 and len(self) == 1:
            values = values[:, np.newaxis]
        if values.ndim < 2:
            return self.array(values)[np.newaxis]
        if values.ndim > 2 or values.shape[1] != len(self):
            msg = f"thetas of shape {values.shape} do not fit: (n, {len(self)}) is needed for ({', '.join(self.names)})"
            raise InputError(msg)
        self._require_finite(values)
        return values

    def _require_finite(self, values: NDArray[np.float64]) -> None:
        if not np.isfinite(values).all():
            row, column = np.argwhere(~np.isfinite(values))[0]
            msg = f"theta number {row}: the value of {self.names[column]!r} is not finite: {values[row, column]}"
            raise InputError(msg)

    def as_dict(self, theta: ThetaLike) -> dict[str, float]:
        """Return a parameter point as parameter name -> value."""
        return dict(zip(self.names, self.array(theta).tolist(), strict=True))

    def benchmarks(
        self, given: Mapping[str, Mapping[str, float]] | Iterable[Benchmark | Mapping[str, float]]
    ) -> tuple[Benchmark, ...]:
        """Return benchmarks in any of the forms that `Setup` takes, checked and with values in the order of the space.

        Raises
        ------
        UnknownNameError, InputError
            If a benchmark lacks a parameter or has an unknown one, or two share a name; the message names it.
        """
        if isinstance(given, Mapping):
            made = [Benchmark(name, values) for name, values in given.items()]
        else:
            made = [b if isinstance(b, Benchmark) else Benchmark(f"benchmark_{i}", b) for i, b in enumerate(given)]
        unique([benchmark.name for benchmark in made], "benchmarks")
        checked = []
        for benchmark in made:
            try:
                checked.append(Benchmark(benchmark.name, self.as_dict(benchmark.values)))
            except (InputError, UnknownNameError) as error:
                msg = f"benchmark {benchmark.name!r}: {error}"
                raise type(error)(msg) from error
        return tuple(checked)
