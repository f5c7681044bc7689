"""Columns in Zarr: how arrays are chunked and compressed, and how long tables are written piece by piece.

See `columns` for how they are read.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["CHUNK", "TableWriter", "write_arrays"]

CHUNK = 65_536
"""Rows in a chunk: some MB, so that a chunk is one efficient read, and one object on an object store."""


def create_array(group: Any, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
    """Create an array that is chunked along its first axis.

    Chunks are files ``c.0.0`` right in the folder of the array, as folders cost more than files. LZ4 after a byte
    shuffle: simulated columns hardly compress (a tenth to a quarter), so that the cheapest codec wins;
    columns that do (counts, ids, defaults) shrink a hundredfold under any. A CRC-32C ends each chunk, as neither disks
    nor LZ4 notice a bit that flips: it costs 0.5 ns per byte, a tenth of a second for a million events of 20 columns.
    """
    dtype = np.dtype(dtype)
    codec = BloscCodec(cname="lz4", clevel=1, shuffle="shuffle", typesize=dtype.itemsize)
    chunks = (max(1, min(CHUNK, shape[0])), *(max(1, n) for n in shape[1:]))
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        compressors=[codec, Crc32cCodec()],
        fill_value=0,
        chunk_key_encoding={"name": "default", "separator": "."},
        config={"write_empty_chunks": True},  # looking whether they are costs more
    )


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], attributes: Mapping[str, Any]) -> None:
    """Write whole arrays and attributes as a Zarr group at `path`."""
    group = zarr.create_group(str(path), zarr_format=3, attributes=dict(attributes), overwrite=True)
    for name, values in arrays.items():
        _write_array(group, name, values)


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
