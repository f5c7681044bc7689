"""Rows in random order, out of core: every row has a random number of its own, and comes back in the order of these.

Rows are written as runs, one file for each piece that arrives, sorted by number. The numbers from 0 to 1 are cut into
equal buckets, small enough for memory; to read a bucket is to take its rows from every run, and to sort them. A run may
be written anywhere that the folder can be seen from, so that workers write theirs side by side. The order is a matter
of the numbers alone: neither the size of the pieces nor that of the buckets changes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Run", "Shuffle", "order_of"]

BUCKET = 2**18
"""Rows in a bucket, about: this many are in memory at a time."""


def order_of(numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the positions of ascending numbers; equal ones stay in order.

    Ties are so rare that it is eight times faster to look for them afterwards than to sort stably at once.
    """
    order = np.argsort(numbers)
    ascending = numbers[order]
    return order if (ascending[1:] > ascending[:-1]).all() else np.argsort(numbers, kind="stable")


@dataclass(frozen=True)
class Run:
    """A sorted piece on disk.

    Attributes
    ----------
    path : pathlib.Path
        Its file.
    ends : numpy.ndarray
        (n_buckets + 1,) rows before each bucket, and all.
    """

    path: Path
    ends: NDArray[np.int64]


class Shuffle:
    """How runs of one table are written and read; it may travel to other processes.

    Parameters
    ----------
    folder
        Where the runs are.
    columns
        name -> (shape of one row, dtype).
    n_rows
        How many rows there will be in all.
    """

    def __init__(self, folder: Path, columns: Mapping[str, tuple[tuple[int, ...], Any]], n_rows: int) -> None:
        self._folder = folder
        self._row = np.dtype([("number", "f8"), *((name, dtype, shape) for name, (shape, dtype) in columns.items())])
        self._n_buckets = max(n_rows // BUCKET, 1)

    def write(self, name: str, numbers: NDArray[np.float64], columns: Mapping[str, NDArray[Any]]) -> Run:
        """Write rows with their numbers between 0 and 1, (n,), as the run called `name`; again is the same."""
        rows = np.empty(len(numbers), dtype=self._row)
        rows["number"] = numbers
        for column, values in columns.items():
            rows[column] = values
        rows = rows.take(order_of(numbers))  # whole rows at once, four times faster than by indexing
        path = self._folder / f"{name}.rows"
        path.write_bytes(rows.data)  # says what the system said, as `tofile` does not, if there is no room
        bucket = (rows["number"] * self._n_buckets).astype(np.int64)
        return Run(path, np.searchsorted(bucket, np.arange(self._n_buckets + 1)))

    def merged(self, runs: Sequence[Run]) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the rows of all runs in the order of their numbers, bucket by bucket, as tables.

        Rows with equal numbers stay in the order of the runs.

        Raises
        ------
        OSError
            If a run cannot be read whole.
        """
        for i in range(self._n_buckets):
            ends = np.cumsum([run.ends[i + 1] - run.ends[i] for run in runs])
            rows = np.empty(int(ends[-1]), dtype=self._row)
            for run, piece in zip(runs, np.split(rows.view(np.uint8), ends[:-1] * self._row.itemsize), strict=True):
                if len(piece):
                    with run.path.open("rb") as file:
                        file.seek(int(run.ends[i]) * self._row.itemsize)
                        n_read = file.readinto(piece.data)
                    if n_read < len(piece):
                        msg = f"{run.path} is cut off"
                        raise OSError(msg)
            rows = rows.take(order_of(rows["number"]))
            yield {name: rows[name] for name in self._row.names or () if name != "number"}
