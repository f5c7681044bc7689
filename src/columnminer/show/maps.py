"""Functions of two parameters as coloured maps, with contours that are labelled: grey tells as much as colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.ticker import LogLocator, MaxNLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["SHADES", "draw_map", "draw_round_contours"]

SHADES = ListedColormap(colormaps["Blues"](np.linspace(0.0, 0.75, 192)), "Shades")
"""From white to a blue on which black lines and letters can still be seen."""


def draw_map(
    ax: Axes,
    lines: tuple[NDArray[np.float64], NDArray[np.float64]],
    values: NDArray[np.float64],
    span: tuple[float, float],
    *,
    log: bool,
) -> Any:
    """Colour cells: values (n_x, n_y) at points along both axes, or between edges; return it for a colour bar."""
    low, high = span
    norm = LogNorm(low, max(high, 10.0 * low)) if log else Normalize(low, high)
    return ax.pcolormesh(*lines, values.T, norm=norm, cmap=SHADES, rasterized=True)


def draw_round_contours(
    ax: Axes,
    lines: tuple[NDArray[np.float64], NDArray[np.float64]],
    values: NDArray[np.float64],
    *,
    log: bool,
) -> None:
    """Draw and label lines of equal value at round numbers, values (n_x, n_y) at points along both axes."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if not low < high:
        return
    if log:
        # Few decades need lines between them, many do not.
        subs = (1.0, 2.0, 5.0) if high < 1e3 * low else (1.0,)
        levels = np.asarray(LogLocator(subs=subs, numticks=8).tick_values(low, high))
    else:
        levels = np.asarray(MaxNLocator(6).tick_values(low, high))
    levels = levels[(levels > low) & (levels < high)]
    if len(levels):
        drawn = ax.contour(*lines, values.T, levels=levels, colors="0.25", linewidths=0.8)
        ax.clabel(drawn, fmt="%g", fontsize=9)
