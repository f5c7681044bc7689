"""Python's arithmetic on columns: one number per event, and where Python would raise, no number.

`sqrt(-1)`, `log(0)`, `1/0`, `ceil(inf)` and an overflowing `exp` or `**` stop a Python program. Here they leave the
value of the event *undefined*; what is computed from it is undefined too, except that `and`, `or` and `if` look only
at what decides. A NaN is a value like any other, as it is in Python. Everything is float64, truth is 1.0 or 0.0.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["CONSTANTS", "FUNCTIONS", "OPERATORS", "Function", "Mask", "Number", "choose"]

Mask: TypeAlias = "NDArray[np.bool_] | np.bool_"


class Number(NamedTuple):
    """One number per event.

    Attributes
    ----------
    values : numpy.ndarray
        (n_events,) float64, or () where it is the same for all events; anything where undefined.
    defined : numpy.ndarray
        (n_events,) bool, or ().
    """

    values: NDArray[np.float64]
    defined: Mask = np.True_


class Function(NamedTuple):
    """A function that expressions may call: with how few and how many arguments (None: any number)."""

    apply: Callable[..., Number]
    fewest: int
    most: int | None


def _plain(ufunc: Callable[..., Any], *numbers: Number) -> Number:
    """Apply a function that never raises in Python."""
    defined = numbers[0].defined
    for number in numbers[1:]:
        defined = defined & number.defined
    return Number(np.asarray(ufunc(*(n.values for n in numbers)), dtype=np.float64), defined)


def _within(ufunc: Callable[..., Any], domain: Callable[..., Any], x: Number) -> Number:
    """Apply a function that raises outside a domain; NaN passes through every such function of Python."""
    inside = domain(x.values) | np.isnan(x.values)
    return Number(ufunc(x.values), x.defined & inside)


def _finite(ufunc: Callable[..., Any], x: Number) -> Number:
    """Apply a rounding to integers, which have no negative zero; it raises for NaN and infinity."""
    return Number(ufunc(x.values) + 0.0, x.defined & np.isfinite(x.values))


def _bounded(ufunc: Callable[..., Any], x: Number) -> Number:
    """Apply a function that raises when a finite argument overflows."""
    values = ufunc(x.values)
    return Number(values, x.defined & ~_overflow(values, x.values))


def _overflow(values: NDArray[np.float64], *arguments: NDArray[np.float64]) -> Mask:
    overflow: Mask = np.isinf(values)
    for argument in arguments:
        overflow = overflow & np.isfinite(argument)
    return overflow


def _over(ufunc: Callable[..., Any], x: Number, y: Number) -> Number:
    """Divide in one of Python's three ways, each of which raises for a zero divisor."""
    return Number(ufunc(x.values, y.values), x.defined & y.defined & (y.values != 0))


def _power(x: Number, y: Number) -> Number:
    """Raise to a power; a negative number to a fraction would be complex, which no observable is."""
    values = np.power(x.values, y.values)
    # numpy takes the square root where the exponent is the scalar 0.5: that of minus infinity is no number.
    values = np.where((x.values == -np.inf) & (y.values == 0.5), np.inf, values)
    finite = np.isfinite(x.values) & np.isfinite(y.values)
    complex_ = finite & (x.values < 0) & (np.floor(y.values) != y.values)
    pole = (x.values == 0) & (y.values < 0) & finite
    return Number(values, x.defined & y.defined & ~complex_ & ~pole & ~_overflow(values, x.values, y.values))


def _pow(x: Number, y: Number) -> Number:
    """Raise to a power as `math.pow`, which unlike `**` raises for 0 to minus infinity as well."""
    values, defined = _power(x, y)
    return Number(values, defined & ~((x.values == 0) & (y.values == -np.inf)))


def _log(x: Number, base: Number | None = None) -> Number:
    logarithm = _within(np.log, lambda v: v > 0, x)
    return logarithm if base is None else _over(np.divide, logarithm, _within(np.log, lambda v: v > 0, base))


def _extreme(first: Callable[..., Any], x: Number, *others: Number) -> Number:
    """Return the smallest or largest as Python finds it: the first one stays unless a later one beats it."""
    values, defined = x
    for other in others:
        values = np.where(first(other.values, values), other.values, values)
        defined = defined & other.defined
    return Number(values, defined)


def _and(x: Number, *others: Number) -> Number:
    """Return the first value that is false, else the last one."""
    values, defined = x
    for other in others:
        decided = values == 0
        values, defined = np.where(decided, values, other.values), defined & (decided | other.defined)
    return Number(values, defined)


def _or(x: Number, *others: Number) -> Number:
    """Return the first value that is true, else the last one."""
    values, defined = x
    for other in others:
        decided = values != 0
        values, defined = np.where(decided, values, other.values), defined & (decided | other.defined)
    return Number(values, defined)


def choose(condition: Number, yes: Mask, no: Mask) -> Mask:
    """Return where `yes if condition else no` is defined, given where each of the three is."""
    return condition.defined & np.where(condition.values != 0, yes, no)


def _if(condition: Number, yes: Number, no: Number) -> Number:
    values = np.where(condition.values != 0, yes.values, no.values)
    return Number(values, choose(condition, yes.defined, no.defined))


OPERATORS: dict[str, Callable[..., Number]] = {
    "+": partial(_plain, np.add),
    "-": partial(_plain, np.subtract),
    "*": partial(_plain, np.multiply),
    "/": partial(_over, np.divide),
    "//": partial(_over, np.floor_divide),
    "%": partial(_over, np.remainder),
    "**": _power,
    "negative": partial(_plain, np.negative),
    "positive": partial(_plain, np.positive),
    "not": partial(_plain, np.logical_not),
    "and": _and,
    "or": _or,
    "if": _if,
    "<": partial(_plain, np.less),
    "<=": partial(_plain, np.less_equal),
    ">": partial(_plain, np.greater),
    ">=": partial(_plain, np.greater_equal),
    "==": partial(_plain, np.equal),
    "!=": partial(_plain, np.not_equal),
}
"""What Python's operators do, by their sign ("negative" and "positive" are the signs in front of a number)."""

FUNCTIONS: dict[str, Function] = {
    "abs": Function(partial(_plain, np.abs), 1, 1),
    "min": Function(partial(_extreme, np.less), 2, None),
    "max": Function(partial(_extreme, np.greater), 2, None),
    "float": Function(partial(_plain, np.positive), 1, 1),
    "int": Function(partial(_finite, np.trunc), 1, 1),
    "bool": Function(partial(_plain, lambda v: v != 0), 1, 1),
    "ceil": Function(partial(_finite, np.ceil), 1, 1),
    "floor": Function(partial(_finite, np.floor), 1, 1),
    "sqrt": Function(partial(_within, np.sqrt, lambda v: v >= 0), 1, 1),
    "exp": Function(partial(_bounded, np.exp), 1, 1),
    "log": Function(_log, 1, 2),
    "pow": Function(_pow, 2, 2),
    "sin": Function(partial(_within, np.sin, np.isfinite), 1, 1),
    "cos": Function(partial(_within, np.cos, np.isfinite), 1, 1),
    "tan": Function(partial(_within, np.tan, np.isfinite), 1, 1),
    "asin": Function(partial(_within, np.arcsin, lambda v: np.abs(v) <= 1), 1, 1),
    "acos": Function(partial(_within, np.arccos, lambda v: np.abs(v) <= 1), 1, 1),
    "atan": Function(partial(_plain, np.arctan), 1, 1),
    "atan2": Function(partial(_plain, np.arctan2), 2, 2),
    "sinh": Function(partial(_bounded, np.sinh), 1, 1),
    "cosh": Function(partial(_bounded, np.cosh), 1, 1),
    "tanh": Function(partial(_plain, np.tanh), 1, 1),
}
"""What expressions may call on numbers."""

CONSTANTS = {"pi": np.pi}
