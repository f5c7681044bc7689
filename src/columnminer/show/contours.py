"""Contours of two parameters, drawn alike in all pictures, and what a legend says of them: levels by their width."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D

from columnminer.errors import InputError
from columnminer.show.style import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from columnminer.show.style import Look

__all__ = ["WIDTHS", "check_levels", "draw_contours", "draw_point", "level_handles", "point_handle", "result_handle"]

WIDTHS = (2.2, 1.1, 0.7)
"""Of the lines of up to three confidence levels, the innermost first."""


def check_levels(levels: Sequence[float], function: str) -> list[float]:
    """Return confidence levels in ascending order.

    Raises
    ------
    InputError
        If there are more than there are widths, or one is none.
    """
    if len(levels) > len(WIDTHS):
        msg = f"{function} draws at most {len(WIDTHS)} levels"
        raise InputError(msg)
    if not all(0.0 < level < 1.0 for level in levels):
        msg = f"confidence levels lie between 0 and 1, not at {list(levels)}"
        raise InputError(msg)
    return sorted(levels)


def draw_contours(
    ax: Axes, lines: Sequence[NDArray[np.float64]], values: NDArray[np.float64], at: Sequence[float], style: Look
) -> None:
    """Draw where values (n_x * n_y,) on a grid are at the given ones, the first drawn thickest; the grid fills `ax`."""
    x, y = lines
    grid = np.ma.masked_invalid(values.reshape(len(x), len(y)))
    for value, width in zip(at, WIDTHS, strict=False):
        if grid.min() < value < grid.max():  # else matplotlib warns that there is nothing to draw
            ax.contour(x, y, grid.T, levels=[value], colors=[style.colour], linestyles=[style.dash], linewidths=[width])
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])


def draw_point(ax: Axes, point: ArrayLike) -> None:
    """Mark a point of two parameters by a cross."""
    ax.plot(*np.asarray(point), marker="+", color="black", markersize=12, markeredgewidth=1.5, zorder=5)


def point_handle(label: str) -> Line2D:
    """Return what a legend says of such a cross."""
    return Line2D([], [], marker="+", color="black", markersize=10, markeredgewidth=1.5, linestyle="none", label=label)


def result_handle(name: str, style: Look, *, marked: bool = True) -> Line2D:
    """Return what a legend says of the lines of a result and of its best fit; of one without a name, of that alone."""
    return Line2D(
        [],
        [],
        color=style.colour,
        linestyle=style.dash if name else "none",
        label=name or "best fit",
        marker=style.marker if marked else "",
        markeredgecolor="black",
    )


def level_handles(levels: Sequence[float]) -> list[Line2D]:
    """Return what a legend says of the widths."""
    return [
        Line2D([], [], color="black", linewidth=width, label=f"{percent(level)} CL")
        for level, width in zip(levels, WIDTHS, strict=False)
    ]
