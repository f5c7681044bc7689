"""Reading columns at rest: arrays of Zarr groups that are sliced as they are needed, and say by name what is damaged.

A store may come from anywhere. So groups are of Zarr's format 3 only (arrays of format 2 may name codecs that
unpickle), arrays hold plain numbers behind the codecs that we write, and every chunk that an array should have must be
there: Zarr would take zeros for one that is not. Chunks carry a checksum, so that a bit that flipped is found when it
is read.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from columnminer.errors import ColumnMinerError, FileFormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = ["Column", "attributes_at", "columns_at", "intact", "read_columns", "unless_gone"]

_DAMAGE: Any = (FileNotFoundError, NotADirectoryError, LookupError, TypeError, ValueError, AttributeError)
_DAMAGE_OF_CHUNKS: Any = (ArithmeticError, RuntimeError, SystemError, MemoryError, AssertionError)
_CODECS = {"bytes", "blosc", "crc32c"}


@contextmanager
def intact(what: str) -> Iterator[None]:
    """Turn what zarr lets out, where a group is missing or was tampered with, into an error that begins with `what`.

    Raises
    ------
    FileFormatError
        If what is read inside the block is missing or damaged.
    """
    try:
        yield
    except ColumnMinerError:
        raise
    except (*_DAMAGE, *_DAMAGE_OF_CHUNKS) as error:
        msg = f"{what}: no Zarr group is there, or a damaged one: {_reason(error)}"
        raise FileFormatError(msg) from error


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


class Column:
    """An array at rest: slice it to read, as `column[1000:2000]`.

    Parameters
    ----------
    array
        The Zarr array.
    store, name
        What to call it in messages.
    remedy
        What to do where it is damaged.

    Attributes
    ----------
    shape, dtype, ndim, nbytes, chunks
        As NumPy and Zarr have them.
    below : int or None
        The numbers are positions: 0 or more, and smaller than this.
    """

    def __init__(self, array: Any, store: str, name: str, remedy: str) -> None:
        self._array = array
        self._what, self._remedy = f"{store}: the array {name!r}", remedy
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.dtype: np.dtype[Any] = array.dtype
        self.ndim, self.nbytes, self.chunks = len(self.shape), int(array.nbytes), array.chunks
        self.below: int | None = None
        metadata = array.metadata.to_dict()
        codecs = {str(codec["name"]) for codec in metadata["codecs"]}
        if self.dtype.kind not in "biuf" or not codecs <= _CODECS:
            self._refuse(f"it holds {self.dtype} behind the codecs {', '.join(sorted(codecs))}, which is not ours")
        there, expected = int(array.nchunks_initialized), int(array.nchunks) if array.size else 0
        if there < expected:
            self._refuse(f"{expected - there} of its {expected} chunks are missing")

    def _refuse(self, reason: str) -> None:
        msg = f"{self._what} is damaged: {reason}; {self._remedy}"
        raise FileFormatError(msg)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"Column({self._what}, {self.shape}, {self.dtype})"

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """Return a slice of the array, read from the chunks that hold it.

        Raises
        ------
        IndexError
            If there is no such place.
        FileFormatError
            If one of the chunks is damaged; names the store and the array.
        """
        return self._read(self._array, rows)

    def take(self, rows: slice | ArrayLike) -> NDArray[Any]:
        """Return some rows, whatever their order; see `__getitem__`."""
        return self._read(self._array.oindex, rows)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the whole array."""
        return np.asarray(self[...], dtype=dtype)

    def _read(self, indexed: Any, rows: Any) -> NDArray[Any]:
        try:
            values = np.asarray(indexed[rows])
        except IndexError:  # there is no such place, which is not the file's fault
            raise
        except (*_DAMAGE, *_DAMAGE_OF_CHUNKS, OSError) as error:
            msg = f"{self._what} is damaged: {_reason(error)}; {self._remedy}"
            raise FileFormatError(msg) from error
        if self.below is not None and values.size and not (values.min() >= 0 and values.max() < self.below):
            self._refuse(f"it holds numbers that are not from 0 to {self.below - 1}")
        return values


def attributes_at(path: Path, what: str) -> dict[str, Any]:
    """Return the attributes of a Zarr group.

    Raises
    ------
    FileFormatError
        If there is none, or it is damaged; begins with `what`.
    """
    with intact(what):
        return dict(_group(path).attrs)


def columns_at(path: Path, what: str, remedy: str) -> tuple[dict[str, Any], dict[str, Column]]:
    """Return the attributes and the arrays of a Zarr group.

    Raises
    ------
    FileFormatError
        If there is none, or it is damaged or not one of ours; begins with `what`.
    """
    with intact(what):
        group = _group(path)
        arrays = {str(name): array for name, array in group.arrays()}
        return dict(group.attrs), {
            name: Column(array, str(path), name, remedy) for name, array in sorted(arrays.items())
        }


def read_columns(path: Path, what: str, remedy: str, names: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    """Return whole arrays of a Zarr group: those called `names`, or all.

    Raises
    ------
    FileFormatError
        If they are damaged; begins with `what`, and tells the remedy.
    FileNotFoundError
        If they are not there, or another process takes them away at this moment.
    """
    with unless_gone(path), intact(f"{what}; {remedy}"):
        _, columns = columns_at(path, what, remedy)
        return {name: columns[name][...] for name in (columns if names is None else names)}


@contextmanager
def unless_gone(path: Path) -> Iterator[None]:
    """Tell what is damaged from what another process takes away, by a rename, at this moment.

    Raises
    ------
    FileNotFoundError
        In place of the FileFormatError raised inside the block, if `path` is not there.
    """
    try:
        yield
    except FileFormatError as error:
        if path.exists():
            raise
        msg = f"{path} is not there any more"
        raise FileNotFoundError(msg) from error


def _group(path: Path) -> Any:
    return zarr.open_group(str(path), mode="r", zarr_format=3)
