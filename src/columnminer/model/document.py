"""Checked JSON: from a parsed document to objects, with errors that name the file and the key."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from columnminer.errors import ColumnMinerError, FileFormatError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["entries", "items", "located"]


def entries(document: object, where: str, *, required: Collection[str], optional: Collection[str] = ()) -> dict[str, Any]:
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
            msg = f"{where}: unknown key {key!r}.{did_you_mean(key, known)}"
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


def _shown(document: object) -> str:
    text = repr(document)
    return text if len(text) <= 40 else f"{text[:37]}..."
