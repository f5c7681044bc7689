"""Frames: columns on their way between processes, as a line of JSON that describes them and their bytes."""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["read_frame", "write_frame"]


def write_frame(out: IO[bytes], said: Mapping[str, object], columns: Mapping[str, NDArray[Any]] | None = None) -> None:
    """Write a frame: a line of JSON, which describes the columns that follow as bytes."""
    columns = columns or {}
    described = [[name, column.dtype.str, len(column)] for name, column in columns.items()]
    out.write(json.dumps({**said, "columns": described}).encode() + b"\n")
    for column in columns.values():
        out.write(np.ascontiguousarray(column).data)
    out.flush()


def read_frame(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
    """Read a frame; None where the stream ends, in the middle of one or before."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    said = json.loads(line)
    columns = {}
    for name, dtype, n in said.pop("columns"):
        data = stream.read(np.dtype(dtype).itemsize * n)
        columns[name] = np.frombuffer(data, dtype) if data else np.empty(0, dtype)
        if len(columns[name]) != n:
            return None
    return said, columns
