"""Data of many pseudo-experiments at once: several data sets stacked along one leading axis, and some of them picked.

Data are arrays, tuples of data (of a product), or objects of a likelihood's own that say themselves how they are
stacked and picked (`Batchable`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np

from columnminer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Batchable", "pick", "stack"]


@runtime_checkable
class Batchable(Protocol):
    """Data of a likelihood's own form that can be stacked and picked."""

    def pick(self, rows: NDArray[np.int64]) -> Any:
        """Return the data sets of these rows of a batch; of a single row without an axis, a single data set."""
        ...

    @classmethod
    def stack(cls, data: Sequence[Any]) -> Self:
        """Return single data sets as one batch."""
        ...


def stack(data: Sequence[Any]) -> Any:
    """Return single data sets of the same likelihood as one batch, which has one more leading axis.

    Raises
    ------
    InputError
        If there are none, or they do not fit together.
    """
    if not data:
        msg = "there are no data sets to stack"
        raise InputError(msg)
    first = data[0]
    if isinstance(first, tuple):
        return tuple(stack(parts) for parts in zip(*data, strict=True))
    if isinstance(first, Batchable):
        return type(first).stack(data)
    try:
        return np.stack([np.asarray(d, dtype=np.float64) for d in data])
    except ValueError as error:
        msg = f"data sets of different shapes cannot be stacked: {error}"
        raise InputError(msg) from error


def pick(data: Any, rows: NDArray[np.int64]) -> Any:
    """Return some of the data sets of a batch, (n, ...): those of these rows, in this order.

    A single row without an axis, ``np.asarray(3)``, gives a single data set.

    Raises
    ------
    InputError
        If these data are no batch: they were neither stacked nor have a leading axis.
    """
    if isinstance(data, tuple):
        return tuple(pick(part, rows) for part in data)
    if isinstance(data, Batchable):
        return data.pick(rows)
    array = np.asarray(data)
    if array.ndim == 0:
        msg = "one data set is no batch: stack several with columnminer.infer.batches.stack"
        raise InputError(msg)
    return array[rows]
