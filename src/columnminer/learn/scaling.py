"""Inputs of networks are shifted and scaled to mean 0 and standard deviation 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Scaling"]


@dataclass(frozen=True)
class Scaling:
    """The linear map v -> (v - mean) / scale, column by column.

    Attributes
    ----------
    mean, scale : numpy.ndarray
        (k,) each.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> Scaling:
        """Return the scaling that gives the columns of (n, k) values mean 0 and standard deviation 1.

        A column that is constant is shifted only.
        """
        mean = values.mean(axis=0, dtype=np.float64)
        deviation = values.std(axis=0, dtype=np.float64)
        constant = deviation <= 1e-12 * np.maximum(np.abs(mean), 1.0)
        return cls(mean, np.where(constant, 1.0, deviation))

    @classmethod
    def none(cls, k: int) -> Scaling:
        """Return the scaling that leaves k columns as they are."""
        return cls(np.zeros(k), np.ones(k))

    def apply(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return scaled values, as the networks take them."""
        return ((values - self.mean) / self.scale).astype(np.float32)
