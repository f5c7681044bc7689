"""Where likelihoods are evaluated: grids and lists of parameter points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from columnminer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Grid", "grid_points"]


@dataclass(frozen=True)
class Grid:
    """Regular grid of parameter points.

    Parameters
    ----------
    ranges
        (low, high, number of points) for each parameter.
    names
        Of the parameters; limits fill them in.

    Raises
    ------
    InputError
        If a range is not increasing, or has fewer than two points.

    Examples
    --------
    >>> grid = cm.Grid([(-0.05, 0.05, 3), (-0.02, 0.02, 5)])
    >>> grid.points.shape
    (15, 2)
    """

    ranges: Sequence[tuple[float, float, int]]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for entry in self.ranges:
            if np.shape(entry) != (3,) or not entry[0] < entry[1] or entry[2] != int(entry[2]) or entry[2] < 2:
                msg = f"a range of a grid is (low, high, number of points >= 2), not {entry!r}"
                raise InputError(msg)
        object.__setattr__(self, "ranges", tuple((float(lo), float(hi), int(n)) for lo, hi, n in self.ranges))
        if self.names and len(self.names) != len(self.ranges):
            msg = f"a grid of {len(self.ranges)} parameters cannot be named {', '.join(self.names)}"
            raise InputError(msg)

    @cached_property
    def axes(self) -> tuple[NDArray[np.float64], ...]:
        """Values along each parameter."""
        return tuple(np.linspace(lo, hi, n) for lo, hi, n in self.ranges)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of points along each parameter."""
        return tuple(n for _, _, n in self.ranges)

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """All points (n, n_par), the last parameter running fastest."""
        return np.stack(np.meshgrid(*self.axes, indexing="ij"), axis=-1).reshape(-1, len(self.ranges))


def grid_points(grid: Grid | ArrayLike, names: Sequence[str]) -> NDArray[np.float64]:
    """Return the points (n, n_par) of a grid, or of a list of points, of the parameters `names`.

    Raises
    ------
    InputError
        If they are points of other parameters.
    """
    points = grid.points if isinstance(grid, Grid) else np.asarray(grid, dtype=np.float64)
    if isinstance(grid, Grid) and grid.names and tuple(grid.names) != tuple(names):
        msg = f"the grid is one of {', '.join(grid.names)}, the likelihood one of {', '.join(names)}"
        raise InputError(msg)
    if points.ndim != 2 or points.shape[1] != len(names):
        msg = f"points of shape {points.shape} do not fit the {len(names)} parameters {', '.join(names)}"
        raise InputError(msg)
    return points
