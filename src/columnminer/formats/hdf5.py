"""HDF5 files through h5py: opening them, and saying which one is damaged."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

import h5py

from columnminer.errors import ColumnMinerError, FileFormatError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

__all__ = ["opened_hdf5"]

_DAMAGE = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, OverflowError, MemoryError)
"""What h5py lets out where a file breaks its format, or has a group where an array should be; sizes may be absurd."""


@contextmanager
def opened_hdf5(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Yield an HDF5 file to read; only reading belongs into the block.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If it is no HDF5 file, is damaged, or what is read of it inside the block is missing or of another kind.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (ColumnMinerError, FileNotFoundError):
        raise
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:  # of what is written meanwhile
            raise
        reason = " ".join(str(error).split())[:300]
        msg = f"{path}: no HDF5 file, or a damaged one that cannot be read: {type(error).__name__}: {reason}"
        raise FileFormatError(msg) from error
