"""Values of unknown type, from users or documents, to checked ones; errors begin with what the value was for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import ColumnMinerError, FileFormatError, InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

__all__ = [
    "choice",
    "entries",
    "floats",
    "integer",
    "items",
    "located",
    "number",
    "ordered",
    "pair",
    "sequence",
    "text",
    "unique",
]


def text(value: object, what: str) -> str:
    """Return a text that is not empty, or raise InputError."""
    if not isinstance(value, str) or not value.strip():
        msg = f"{what} must be a text, not {_shown(value)}"
        raise InputError(msg)
    return value


def number(value: object, what: str) -> float:
    """Return a finite number as float, or raise InputError."""
    if isinstance(value, bool) or not isinstance(value, Real):
        msg = f"{what} must be a number, not {_shown(value)}"
        raise InputError(msg)
    try:
        finite = math.isfinite(value)
    except OverflowError:  # integers of JSON have no limit
        finite = False
    if not finite:
        msg = f"{what} must be finite, not {_shown(value)}"
        raise InputError(msg)
    return float(value) + 0.0  # -0.0 and 0.0 are one value, and must have one hash


def integer(value: object, what: str, at_least: int = 0) -> int:
    """Return an integer that is large enough, or raise InputError."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < at_least:
        msg = f"{what} must be an integer of at least {at_least}, not {_shown(value)}"
        raise InputError(msg)
    return int(value)


def choice(value: object, known: Collection[str], what: str) -> str:
    """Return one of the known words, or raise InputError."""
    if not isinstance(value, str) or value not in known:
        msg = f"{what} cannot be {_shown(value)}.{did_you_mean(str(value), known)}"
        raise InputError(msg)
    return value


def sequence(value: object, what: str) -> tuple[Any, ...]:
    """Return any sequence but a text as a tuple, or raise InputError."""
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
        msg = f"{what} must be a sequence, not {_shown(value)}"
        raise InputError(msg)
    return tuple(value)


def pair(value: object, what: str) -> tuple[Any, Any]:
    """Return a sequence of two as a tuple, or raise InputError."""
    ends = sequence(value, what)
    if len(ends) != 2:
        msg = f"{what} must be a pair, not {_shown(value)}"
        raise InputError(msg)
    return ends[0], ends[1]


def ordered(low: float, high: float, what: str) -> tuple[float, float]:
    """Return (low, high), or raise InputError if the first is not below the second."""
    if not low < high:
        msg = f"{what}: {low:g} is not below {high:g}"
        raise InputError(msg)
    return low, high


def floats(values: object, what: str) -> NDArray[np.float64]:
    """Return numbers as a new float64 array, or raise InputError."""
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):  # integers of JSON have no limit
        msg = f"{what}: these are not numbers, or not all rows are of one length: {_shown(values)}"
        raise InputError(msg) from None


def unique(names: object, what: str) -> tuple[str, ...]:
    """Return a sequence of texts as a tuple, or raise InputError if it is something else or one occurs twice."""
    names = tuple(text(name, f"{what}: a name") for name in sequence(names, what))
    for i, name in enumerate(names):
        if name in names[:i]:
            msg = f"{what}: the name {name!r} is used twice"
            raise InputError(msg)
    return names


def entries(
    document: object, where: str, *, required: Collection[str], optional: Collection[str] = ()
) -> dict[str, Any]:
    """Return `document` as a dict that has the required keys, perhaps optional ones, and no others.

    Raises
    ------
    FileFormatError
        If it is something else; the message begins with `where`.
    """
    if not isinstance(document, Mapping):
        msg = f"{where}: expected an object, found {_shown(document)}"
        raise FileFormatError(msg)
    known = [*required, *optional]
    for key in document:
        if key not in known:
            msg = f"{where}: unknown key {key!r}.{did_you_mean(str(key), known)}"
            raise FileFormatError(msg)
    for key in required:
        if key not in document:
            msg = f"{where}: the key {key!r} is missing"
            raise FileFormatError(msg)
    return dict(document)


def items(document: object, where: str) -> list[Any]:
    """Return `document` as a list, or raise FileFormatError with a message that begins with `where`."""
    if not isinstance(document, list | tuple):
        msg = f"{where}: expected a list, found {_shown(document)}"
        raise FileFormatError(msg)
    return list(document)


@contextmanager
def located(where: str) -> Iterator[None]:
    """Turn errors of the objects that are built inside into FileFormatErrors that begin with `where`."""
    try:
        yield
    except FileFormatError:
        raise
    except ColumnMinerError as error:
        msg = f"{where}: {error}"
        raise FileFormatError(msg) from error


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
