"""What columnminer raises when it is given something it cannot use.

Every error says what was wrong, where (file, event, parameter, expression) and what would be right. Each also inherits
from the built-in exception that fits, so that ``except ValueError`` keeps working in code that does not know us.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "CheckWarning",
    "ColumnMinerError",
    "ColumnMinerWarning",
    "ExpressionError",
    "FileFormatError",
    "GeneratorError",
    "InputError",
    "MissingError",
    "OutputExistsError",
    "RangeWarning",
    "TaskError",
    "UnknownNameError",
    "did_you_mean",
]


class ColumnMinerError(Exception):
    """Base of every error that columnminer raises on purpose."""


class InputError(ColumnMinerError, ValueError):
    """A value, an option or an array is not what it should be."""


class UnknownNameError(ColumnMinerError, KeyError):
    """A name (parameter, benchmark, observable, option) does not exist here."""

    def __str__(self) -> str:
        # KeyError prints the repr of its argument, which hides the sentence in quotes.
        return str(self.args[0]) if self.args else ""


class ExpressionError(InputError):
    """A text expression cannot be compiled, or is not allowed."""


class FileFormatError(InputError):
    """A file does not hold what its format promises: names the file and, where known, the event."""


class GeneratorError(ColumnMinerError, RuntimeError):
    """A program that makes events failed, died or never ended; the message quotes its log."""


class MissingError(ColumnMinerError, RuntimeError):
    """Something was asked for that this object cannot give (no morphing, no score, no events left)."""


class OutputExistsError(ColumnMinerError, FileExistsError):
    """The output is there already, and neither resuming nor replacing it was asked for."""


class TaskError(ColumnMinerError, RuntimeError):
    """Some of many independent tasks failed; the message lists each with its reason."""


class ColumnMinerWarning(UserWarning):
    """Base of every warning of columnminer: the result stands, but look at it."""


class CheckWarning(ColumnMinerWarning):
    """A quality check of an estimator failed or was never made."""


class RangeWarning(ColumnMinerWarning):
    """An estimator was asked beyond the parameter points of its training."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the closest of the known names, else the list of them, else nothing."""
    names = [str(k) for k in known]
    close = difflib.get_close_matches(str(name), names, n=1)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Known: {', '.join(names)}." if names else ""
