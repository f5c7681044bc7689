"""Arrays of numbers in .npy files, which may come from anywhere."""

from __future__ import annotations

import tokenize
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import FileFormatError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["read_numbers"]

_DAMAGE = (OSError, ValueError, TypeError, LookupError, EOFError, MemoryError, SyntaxError, RecursionError)


def read_numbers(path: Path) -> NDArray[Any]:
    """Return the array in a .npy file; nothing in it is unpickled.

    Raises
    ------
    FileFormatError
        If the file cannot be read, is damaged, or holds something else than numbers.
    """
    try:
        with path.open("rb") as file:
            values = np.lib.format.read_array(file, allow_pickle=False)
    except (*_DAMAGE, tokenize.TokenError) as error:  # the header is a text in Python's syntax
        msg = f"{path} cannot be read as an array of numbers: {error}"
        raise FileFormatError(msg) from error
    if values.dtype.kind not in "biuf" or not values.ndim:
        msg = f"{path} holds {values.dtype} of shape {values.shape}, not an array of numbers"
        raise FileFormatError(msg)
    return np.asarray(values)
