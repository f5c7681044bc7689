"""Ranges of numbers and probability distributions written as text, as configuration files have them.

``np.linspace(0, 100, 51)`` and ``stats.uniform(loc=-2, scale=4)`` look like Python, but no text runs: it is parsed, and
what it names must be one of a few numpy functions that make ranges, or a continuous distribution of `scipy.stats`.
"""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import ExpressionError, did_you_mean
from columnminer.model.checks import floats, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Distribution", "parse_distribution", "parse_values"]

_RANGES: dict[str, Callable[..., Any]] = {
    "arange": np.arange,
    "array": np.array,
    "geomspace": np.geomspace,
    "linspace": np.linspace,
    "logspace": np.logspace,
}
_CONSTANTS = {"pi": math.pi, "e": math.e, "inf": math.inf}
_LARGEST = 10_000_000
"""Longest range: a slip of the pen must not fill the memory."""


@dataclass(frozen=True)
class Distribution:
    """A continuous distribution of `scipy.stats` with fixed arguments; two of the same text are equal.

    Attributes
    ----------
    text : str
        As it was written, such as "stats.uniform(loc=-2, scale=4)".
    """

    text: str

    def __post_init__(self) -> None:
        self.frozen  # noqa: B018 - is it one?

    @property
    def frozen(self) -> Any:
        """The frozen distribution of `scipy.stats`: its ``logpdf``, ``ppf``, ``support`` and so on."""
        return _frozen(self.text)

    @property
    def gaussian(self) -> tuple[float, float] | None:
        """Mean and standard deviation of a normal distribution; None of another."""
        return (float(self.frozen.mean()), self.std) if self.frozen.dist.name == "norm" else None

    @property
    def std(self) -> float:
        """Standard deviation; infinite or NaN where it has none."""
        return float(self.frozen.std())

    @property
    def support(self) -> tuple[float, float]:
        """Ends of the interval in which the density is not zero."""
        return _support(self.text)

    def log_density(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return the log density; -inf outside the support."""
        if self.frozen.dist.name == "uniform":  # what scipy takes many times as long for
            low, high = self.support
            x = np.asarray(x, dtype=np.float64)
            return np.where((x >= low) & (x <= high), -math.log(high - low), -math.inf)
        return np.asarray(self.frozen.logpdf(x), dtype=np.float64)

    def quantile(self, p: ArrayLike) -> NDArray[np.float64]:
        """Return the value below which the probability is p."""
        return np.asarray(self.frozen.ppf(p), dtype=np.float64)


def parse_distribution(written: str) -> Distribution:
    """Return the distribution that a text such as "stats.norm(0, 1)" names.

    Raises
    ------
    ExpressionError
        If it is not a call of a continuous distribution of `scipy.stats`, or its arguments are no good.
    """
    return Distribution(text(written, "a distribution"))


def parse_values(written: str | ArrayLike) -> NDArray[np.float64]:
    """Return numbers (n,): from a sequence, from "0, 1, 2" or "0 1 2", or from a range such as "np.linspace(0, 1, 5)".

    Raises
    ------
    ExpressionError
        If it is none of these.
    """
    if not isinstance(written, str):
        return np.atleast_1d(floats(written, "values"))
    if written.lstrip().startswith(("np.", "numpy.")):
        name, arguments, keywords = _call(written, ("np", "numpy"))
        if name not in _RANGES:
            msg = f"{written!r}: np.{name} is not allowed.{did_you_mean(name, _RANGES)}"
            raise ExpressionError(msg)
        _check_length(written, name, arguments, keywords)
        try:
            values = np.asarray(_RANGES[name](*arguments, **keywords), dtype=np.float64)
        except (TypeError, ValueError, ArithmeticError) as error:
            msg = f"{written!r}: {error}"
            raise ExpressionError(msg) from error
    else:
        try:
            values = np.array([float(word) for word in written.replace(",", " ").split()])
        except ValueError as error:
            msg = f"{written!r} is neither a list of numbers nor a range such as np.linspace(0, 1, 5)"
            raise ExpressionError(msg) from error
    if values.ndim != 1 or len(values) == 0:
        msg = f"{written!r} must be a list of numbers"
        raise ExpressionError(msg)
    return values


def _check_length(written: str, name: str, arguments: list[Any], keywords: Mapping[str, Any]) -> None:
    wanted: Any = 0
    if name == "arange":
        ends = [*arguments, *keywords.values()] if set(keywords) <= {"step"} else []
        start, stop, step = {1: (0, *ends, 1), 2: (*ends, 1), 3: tuple(ends)}.get(len(ends), (0, math.inf, 1))
        if len(arguments) == 1 and keywords:
            start, stop, step = 0, *ends
        if all(isinstance(end, int | float) for end in (start, stop, step)):
            wanted = abs(stop - start) / abs(step) if step else math.inf
    elif name != "array":
        wanted = keywords.get("num", arguments[2] if len(arguments) > 2 else 0)
    if not isinstance(wanted, int | float) or not wanted <= _LARGEST:
        msg = f"{written!r} is not a range of at most {_LARGEST} numbers"
        raise ExpressionError(msg)


@cache
def _frozen(written: str) -> Any:
    from scipy import stats  # noqa: PLC0415 - slow to import

    name, arguments, keywords = _call(written, ("stats",))
    made = getattr(stats, name, None) if name in stats.__all__ else None
    if not isinstance(made, stats.rv_continuous):
        known = [n for n in stats.__all__ if isinstance(getattr(stats, n, None), stats.rv_continuous)]
        msg = f"{written!r}: scipy.stats has no continuous distribution {name!r}.{did_you_mean(name, known)}"
        raise ExpressionError(msg)
    try:
        frozen = made(*arguments, **keywords)
        middle = frozen.ppf(0.5)
    except (TypeError, ValueError) as error:
        msg = f"{written!r}: {error}"
        raise ExpressionError(msg) from error
    if np.ndim(middle) or not np.isfinite(middle):
        msg = f"{written!r}: these arguments make no distribution"
        raise ExpressionError(msg)
    return frozen


@cache
def _support(written: str) -> tuple[float, float]:
    low, high = _frozen(written).support()
    return float(low), float(high)


def _call(written: str, modules: tuple[str, ...]) -> tuple[str, list[Any], dict[str, Any]]:
    """Return function name, arguments and keyword arguments of a call such as ``np.name(1, b=[2, 3])``."""
    try:
        node = ast.parse(written.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError) as error:
        msg = f"{written!r} cannot be read: {error}"
        raise ExpressionError(msg) from error
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=module), attr=name)) if module in modules:
            arguments = [_value(a, written) for a in node.args]
            return name, arguments, {k.arg: _value(k.value, written) for k in node.keywords if k.arg is not None}
    msg = f"{written!r} is not understood: a call of {modules[0]}.<name>(...) is needed"
    raise ExpressionError(msg)


def _value(node: ast.expr, written: str) -> Any:
    """Return a number, or a list of numbers, that a node of the syntax tree stands for."""
    match node:
        case ast.Constant(value=bool(flag)):
            return flag
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_number(operand, written)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() as operator, right=right):
            return _arithmetic(operator, _number(left, written), _number(right, written), written)
        case ast.Attribute(value=ast.Name(id="np" | "numpy"), attr=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.List(elts=nodes) | ast.Tuple(elts=nodes):
            return [_number(n, written) for n in nodes]
    msg = f"{written!r}: {ast.unparse(node)!r} is not allowed; arguments are numbers and lists of numbers"
    raise ExpressionError(msg)


def _number(node: ast.expr, written: str) -> Any:
    value = _value(node, written)
    if isinstance(value, list):
        msg = f"{written!r}: a number is needed, not {ast.unparse(node)!r}"
        raise ExpressionError(msg)
    return value


def _arithmetic(operator: ast.operator, left: Any, right: Any, written: str) -> Any:
    if isinstance(operator, ast.Add):
        return left + right
    if isinstance(operator, ast.Sub):
        return left - right
    if isinstance(operator, ast.Mult):
        return left * right
    if right == 0:
        msg = f"{written!r} divides by zero"
        raise ExpressionError(msg)
    return left / right
