"""ROOT files through uproot: opening them, and saying which one is damaged, and where."""

from __future__ import annotations

import errno
import struct
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from columnminer.errors import ColumnMinerError, FileFormatError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from columnminer.schema import EventBatch

__all__ = ["MAGIC", "is_lazy", "open_root", "opened", "readable", "reading", "reading_column", "tree_names"]

MAGIC = b"root"
"""First bytes of a ROOT file."""

_LOST: Any = (LookupError, TypeError, AttributeError, AssertionError, NameError, MemoryError)
"""What uproot may stumble over in addition where headers of a file lead it anywhere."""


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """Yield an open `uproot` directory, which closes at the end.

    Raises
    ------
    InputError
        If the file cannot be opened.
    FileFormatError
        If it is no ROOT file, or damaged.
    """
    with open_root(path) as file:
        yield file


def open_root(path: str) -> Any:
    """Return an open `uproot` directory: it closes when nobody holds it, or what is read from it lazily, any more.

    Raises
    ------
    InputError
        If the file cannot be opened.
    FileFormatError
        If it is no ROOT file, or damaged.
    """
    import uproot  # noqa: PLC0415 - takes half a second

    try:
        with readable(path):
            return uproot.open(path)
    except OSError as error:
        if error.errno is None:  # opened, but too short
            msg = f"{path}: the file is damaged, or was cut: {' '.join(str(error).split())[:300]}"
            raise FileFormatError(msg) from error
        msg = f"cannot open {path!r}: {error.strerror or error}"
        raise InputError(msg) from error


def tree_names(file: Any) -> list[str]:
    """Return what an open file holds at its top, without cycle numbers."""
    return [*dict.fromkeys(key.partition(";")[0] for key in file.keys(recursive=False))]


@contextmanager
def readable(source: str, start: int | None = None, stop: int | None = None) -> Iterator[None]:
    """Turn what uproot and coffea raise on damaged files into FileFormatError, which names the file and the events.

    Raises
    ------
    FileFormatError
        If the file breaks its format inside the block.
    """
    with _translated(source, start, stop, _LOST):
        yield


@contextmanager
def _translated(source: str, start: int | None, stop: int | None, further: Any = ()) -> Iterator[None]:
    from cramjam import DecompressionError  # noqa: PLC0415 - as uproot, which brings it
    from uproot.deserialization import DeserializationError  # noqa: PLC0415 - takes half a second

    damage: Any = (DeserializationError, DecompressionError, zlib.error, struct.error, EOFError, *further)
    try:
        yield
    except ColumnMinerError:
        raise
    except (*damage, OSError, RuntimeError, ValueError, OverflowError) as error:
        lost = isinstance(error, OSError) and error.errno == errno.EINVAL  # a place that no file has
        if isinstance(error, OSError) and not lost and not str(error).startswith("expected Chunk"):  # beyond the end
            raise
        events = "" if start is None or stop is None else f", events {start} to {stop - 1} (counted from 0)"
        reason = " ".join(str(error).split())[:300]
        msg = f"{source}{events}: the file is damaged, or not what it should be: {type(error).__name__}: {reason}"
        raise FileFormatError(msg) from error


def is_lazy(array: Any) -> bool:
    """Whether columns of these awkward events, or of a part of them, are read from a ROOT file when they are used."""
    return "@events_factory" in array.attrs


@contextmanager
def reading_column(array: Any, what: str) -> Iterator[None]:
    """Do as `readable` while a column of lazy events is used by awkward and nobody else.

    Then whatever is raised is about the file: offsets that lead beyond their content are IndexErrors or TypeErrors.

    Raises
    ------
    FileFormatError
        If the column is damaged; begins with `what`.
    """
    if is_lazy(array):
        with readable(what):
            yield
    else:
        yield


@contextmanager
def reading(batch: EventBatch) -> Iterator[None]:
    """Do as `readable` if the columns of the batch are read from a ROOT file when they are used.

    Mistakes that only code makes stay what they are, since observables may be functions of the user.

    Raises
    ------
    FileFormatError
        If a column that is used inside the block is damaged.
    """
    if is_lazy(batch.events):
        with _translated(batch.source, batch.first_event, batch.first_event + len(batch)):
            yield
    else:
        yield
