"""Where arrays are: numpy, or torch on any of its devices. Whoever computes with few functions runs on both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Place"]


@dataclass(frozen=True)
class Place:
    """Arrays on a device of torch ("cpu", "cuda"), or of numpy without one.

    What is computed with them keeps to functions that both call the same: take, where, log, sqrt, matmul, operators.
    """

    device: str | None = None

    @property
    def namespace(self) -> Any:
        """The module whose functions work on these arrays."""
        if self.device is None:
            return np
        import torch  # noqa: PLC0415 - slow to import

        return torch

    def put(self, array: NDArray[Any]) -> Any:
        """Return a numpy array there."""
        if self.device is None:
            return array
        return self.namespace.asarray(np.ascontiguousarray(array), device=self.device)

    @staticmethod
    def get(array: Any) -> NDArray[Any]:
        """Return an array from there as one of numpy."""
        return array if isinstance(array, np.ndarray) else array.cpu().numpy()
