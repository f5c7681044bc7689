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
    "StorageError",
    "TaskError",
    "UnknownNameError",
    "did_you_mean",
]


class ColumnMinerError(Exception):
    """Base of every error that columnminer raises on purpose.

    Examples
    --------
    >>> try:
    ...     cm.Selection({"pt": "j[0].ptt"})
    ... except cm.ColumnMinerError as error:
    ...     print(error)
    observable 'pt': particles have no attribute 'ptt'. Did you mean 'pt'?
        j[0].ptt
             ^
    """


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


class StorageError(ColumnMinerError, OSError):
    """There is no room for an output: the disk or the quota is full, or files may not grow so long."""


class TaskError(ColumnMinerError, RuntimeError):
    """Some of many independent tasks failed; the message lists each with its reason."""


class ColumnMinerWarning(UserWarning):
    """Base of every warning of columnminer: the result stands, but look at it.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", cm.ColumnMinerWarning)  # a doubtful result is no result
    ...     limit = cm.cls_limit(cm.PyhfLikelihood.from_workspace("counting.json"), "mu")
    """


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
