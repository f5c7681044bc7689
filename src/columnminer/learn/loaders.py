"""Training data as tensors on the device, and the mini-batches cut from them.

All columns of an event lie side by side in one matrix, so that a batch in random order is one gather, whatever the
method needs of it: with batches of this size a general data loader would cost more than the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from columnminer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

__all__ = ["Batch", "TensorData"]

Batch = dict[str, Tensor]


class TensorData:
    """Named columns of n events as one float32 matrix on a device.

    Parameters
    ----------
    arrays
        name -> (n,) or (n, k) numbers. All of one length.
    device
        Where the matrix lives ("cpu", "cuda").

    Raises
    ------
    InputError
        If lengths differ, there are no events, or a column holds NaN or infinity.
    """

    def __init__(self, arrays: Mapping[str, NDArray[np.floating]], device: str | torch.device = "cpu") -> None:
        lengths = {name: len(a) for name, a in arrays.items()}
        n = max(lengths.values(), default=0)
        if n == 0 or any(length != n for length in lengths.values()):
            msg = f"training data need columns of one common length above zero, not {lengths}"
            raise InputError(msg)
        self._columns: dict[str, slice | int] = {}
        width = 0
        for name, a in arrays.items():
            self._columns[name] = width if a.ndim == 1 else slice(width, width + a.shape[1])
            width += 1 if a.ndim == 1 else a.shape[1]
        matrix = np.empty((n, width), dtype=np.float32)
        for name, column in self._columns.items():
            matrix[:, column] = arrays[name]
            bad = ~np.isfinite(matrix[:, column]).reshape(n, -1).all(1)
            if bad.any():
                msg = f"training data: {name} is not finite in {bad.sum()} of {n} events, first in event {bad.argmax()}"
                raise InputError(msg)
        self._matrix = torch.from_numpy(matrix).to(device)

    def __len__(self) -> int:
        return len(self._matrix)

    @property
    def device(self) -> torch.device:
        """Where the data are."""
        return self._matrix.device

    def _batch(self, rows: Tensor) -> Batch:
        return {name: rows[:, column] for name, column in self._columns.items()}

    def _view(self, matrix: Tensor) -> TensorData:
        view = object.__new__(TensorData)
        view._columns, view._matrix = self._columns, matrix
        return view

    def split(self, fraction: float, generator: torch.Generator) -> tuple[TensorData, TensorData]:
        """Return two random parts, the second with `fraction` of the events (at least one each)."""
        n_second = min(max(round(fraction * len(self)), 1), len(self) - 1)
        order = torch.randperm(len(self), generator=generator).to(self.device)
        return self._view(self._matrix[order[n_second:]]), self._view(self._matrix[order[:n_second]])

    def batches(self, size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """Yield batches of `size` events, in random order with a generator (on the CPU), else in order.

        In random order the events left over when all batches are full are passed over: each epoch leaves out others,
        and no step is taken on a handful of events.
        """
        if generator is None:
            for start in range(0, len(self), size):
                yield self._batch(self._matrix[start : start + size])
            return
        order = torch.randperm(len(self), generator=generator).to(self.device)
        size = min(size, len(self))
        for start in range(0, len(self) - size + 1, size):
            yield self._batch(self._matrix.index_select(0, order[start : start + size]))
