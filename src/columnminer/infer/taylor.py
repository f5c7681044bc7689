"""Products and sums of functions of a few parameters, with first and second derivatives, at many points at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Taylor"]


@dataclass(frozen=True)
class Taylor:
    """A function of parameters to second order about each of n points; derivatives that are not there are zero.

    Attributes
    ----------
    value : numpy.ndarray
        (n,)
    first : mapping
        Column of a parameter -> derivative (n,).
    second : mapping
        Pair of columns, the smaller one first -> second derivative (n,).
    """

    value: NDArray[np.float64]
    first: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)
    second: Mapping[tuple[int, int], NDArray[np.float64]] = field(default_factory=dict)

    def __add__(self, other: Taylor) -> Taylor:
        first, second = dict(self.first), dict(self.second)
        for c, slope in other.first.items():
            first[c] = first[c] + slope if c in first else slope
        for pair, curve in other.second.items():
            second[pair] = second[pair] + curve if pair in second else curve
        return Taylor(self.value + other.value, first, second)

    def scaled(self, factor: NDArray[np.float64]) -> Taylor:
        """Return the function times numbers (n,) that depend on no parameter."""
        first = {c: slope * factor for c, slope in self.first.items()}
        return Taylor(self.value * factor, first, {pair: curve * factor for pair, curve in self.second.items()})

    def __mul__(self, other: Taylor) -> Taylor:
        first = {c: slope * other.value for c, slope in self.first.items()}
        second = {pair: curve * other.value for pair, curve in self.second.items()}
        for c, slope in other.first.items():
            part = self.value * slope
            first[c] = first[c] + part if c in first else part
        for pair, curve in other.second.items():
            part = self.value * curve
            second[pair] = second[pair] + part if pair in second else part
        for c, left in self.first.items():
            for d, right in other.first.items():
                pair = (c, d) if c < d else (d, c)
                part = left * right * (2.0 if c == d else 1.0)
                second[pair] = second[pair] + part if pair in second else part
        return Taylor(self.value * other.value, first, second)
