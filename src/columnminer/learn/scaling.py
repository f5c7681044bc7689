"""Inputs of networks are shifted and scaled to mean 0 and standard deviation 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from columnminer.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Moments", "Scaling"]


@dataclass(frozen=True)
class Moments:
    """Number, mean, sum of squared deviations and range of the rows of an array.

    Attributes
    ----------
    n : int
        Rows.
    mean, squares, low, high : numpy.ndarray
        (k,) each.
    """

    n: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> Moments:
        """Return the moments of (n,) or (n, k) values."""
        rows = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
        mean = rows.mean(axis=0)
        return cls(len(rows), mean, np.square(rows - mean).sum(axis=0), rows.min(axis=0), rows.max(axis=0))

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of both sets of rows (Chan, Golub, LeVeque 1983)."""
        n, step = self.n + other.n, other.mean - self.mean
        return Moments(
            n,
            self.mean + step * (other.n / n),
            self.squares + other.squares + np.square(step) * (self.n * other.n / n),
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )

    @property
    def deviation(self) -> NDArray[np.float64]:
        """Standard deviation, (k,)."""
        return np.sqrt(self.squares / self.n)

    @property
    def rms(self) -> NDArray[np.float64]:
        """Root of the mean square, (k,)."""
        return np.sqrt(self.squares / self.n + np.square(self.mean))

    def single_point(self, what: str) -> NDArray[np.float64]:
        """Return what all rows are, (k,).

        Raises
        ------
        InputError
            If they are not all the same.
        """
        if (self.low != self.high).any():
            msg = f"{what} must be the same in all events, but runs from {self.low} to {self.high}"
            raise InputError(msg)
        return self.low


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
    def of(cls, moments: Moments) -> Scaling:
        """Return the scaling that gives columns with these moments mean 0 and standard deviation 1.

        A column that is constant is shifted only.
        """
        constant = moments.deviation <= 1e-12 * np.maximum(np.abs(moments.mean), 1.0)
        return cls(moments.mean, np.where(constant, 1.0, moments.deviation))

    @classmethod
    def none(cls, k: int) -> Scaling:
        """Return the scaling that leaves k columns as they are."""
        return cls(np.zeros(k), np.ones(k))

    def apply(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return scaled values, as the networks take them."""
        return ((values - self.mean) / self.scale).astype(np.float32)
