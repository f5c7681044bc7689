"""Columns in Zarr: how arrays are chunked and compressed, and how long tables are written piece by piece."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from columnminer.errors import ColumnMinerError, FileFormatError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["CHUNK", "TableWriter", "intact", "read_arrays", "read_attributes", "write_arrays"]

CHUNK = 65_536
"""Rows in a chunk: some MB, so that a chunk is one efficient read, and one object on an object store."""

_DAMAGE = (FileNotFoundError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
_DAMAGE_OF_CHUNKS = (RuntimeError, SystemError, MemoryError)


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
        reason = " ".join(str(error).split())[:300]
        msg = f"{what}: no Zarr group is there, or a damaged one: {type(error).__name__}: {reason}"
        raise FileFormatError(msg) from error


def create_array(group: Any, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
    """Create an array that is chunked along its first axis.

    Chunks are files ``c.0.0`` right in the folder of the array, as folders cost more than files. LZ4 after a byte
    shuffle: simulated columns hardly compress (a tenth to a quarter), so that the cheapest codec wins;
    columns that do (counts, ids, defaults) shrink a hundredfold under any.
    """
    dtype = np.dtype(dtype)
    codec = BloscCodec(cname="lz4", clevel=1, shuffle="shuffle", typesize=dtype.itemsize)
    chunks = (max(1, min(CHUNK, shape[0])), *(max(1, n) for n in shape[1:]))
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        compressors=codec,
        fill_value=0,
        chunk_key_encoding={"name": "default", "separator": "."},
        config={"write_empty_chunks": True},  # looking whether they are costs more
    )


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], attributes: Mapping[str, Any]) -> None:
    """Write whole arrays and attributes as a Zarr group at `path`."""
    group = zarr.create_group(str(path), zarr_format=3, attributes=dict(attributes), overwrite=True)
    for name, values in arrays.items():
        _write_array(group, name, values)


def read_attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of a Zarr group."""
    return dict(zarr.open_group(str(path), mode="r").attrs)


def read_arrays(path: Path, names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
    """Return whole arrays of a Zarr group: those called `names`, or all.

    Raises
    ------
    FileNotFoundError
        If they are not there, or another process takes them away.
    """
    group: Any = zarr.open_group(str(path), mode="r")
    try:
        return {name: np.asarray(group[name][...]) for name in (names or [*group.array_keys()])}
    except KeyError as error:  # what zarr says of arrays that were there a moment ago
        msg = f"{path} is not there any more"
        raise FileNotFoundError(msg) from error


def _write_array(group: Any, name: str, values: NDArray[Any]) -> None:
    array = create_array(group, name, values.shape, values.dtype)
    if values.size:
        array[...] = values


class TableWriter:
    """A table of known length whose columns are written in whole chunks, while rows arrive in pieces of any size.

    Parameters
    ----------
    path
        Folder of the Zarr group.
    n_rows
        How many rows there will be.
    columns
        name -> (shape of one row, dtype).

    Attributes
    ----------
    content : hashlib hash
        SHA-256 of the rows: the same however they were cut into pieces. Complete once `finish_rows` was called.
    """

    def __init__(self, path: Path, n_rows: int, columns: Mapping[str, tuple[tuple[int, ...], Any]]) -> None:
        self._group = zarr.create_group(str(path), zarr_format=3, overwrite=True)
        self._arrays = {
            name: create_array(self._group, name, (n_rows, *shape), dtype) for name, (shape, dtype) in columns.items()
        }
        self._n_rows, self._n_written = n_rows, 0
        self._waiting: list[dict[str, NDArray[Any]]] = []
        self._n_waiting = 0
        self.content = hashlib.sha256()

    def append(self, piece: Mapping[str, NDArray[Any]]) -> None:
        """Add rows, name -> (n, ...)."""
        start, n_rows = 0, len(next(iter(piece.values())))
        while start < n_rows:
            stop = min(n_rows, start + CHUNK - self._n_waiting)
            self._waiting.append({name: piece[name][start:stop] for name in self._arrays})
            self._n_waiting += stop - start
            start = stop
            if self._n_waiting == CHUNK:
                self._flush()

    def _flush(self) -> None:
        rows = slice(self._n_written, self._n_written + self._n_waiting)
        for name, array in self._arrays.items():
            pieces = [piece[name] for piece in self._waiting]
            column = np.ascontiguousarray(np.concatenate(pieces), dtype=array.dtype)
            if column.size:
                array[rows] = column
            self.content.update(column.data)
        self._n_written, self._n_waiting, self._waiting = rows.stop, 0, []

    def finish_rows(self) -> None:
        """Write the rows that wait for a full chunk."""
        if self._n_waiting:
            self._flush()
        assert self._n_written == self._n_rows, f"{self._n_written} rows written of {self._n_rows}"  # noqa: S101

    def add_array(self, name: str, values: NDArray[Any]) -> None:
        """Write a whole array beside the columns, with rows of its own."""
        _write_array(self._group, name, values)

    def write_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Write the attributes of the group."""
        self._group.update_attributes(dict(attributes))
