"""Pictures of information geometry: geodesics, and how far parameter points are from one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from columnminer.errors import InputError
from columnminer.show.style import axes, look, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from columnminer.infer.geometry import Distances, Geodesics

__all__ = ["plot_distance_contours", "plot_geodesics"]

_MARKS = 4
"""Lines of equal distance in a picture of geodesics."""


@styled
def plot_geodesics(
    lines: Geodesics, *, every: int = 1, labels: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw geodesics of two parameters that start at one point, and where they have gone the same distances.

    Parameters
    ----------
    lines
        The result.
    every
        Draw one of so many.
    labels
        Axis labels; the names of the parameters by default.
    ax
        Where to draw; a new figure by default.

    Raises
    ------
    InputError
        If there are other than two parameters.
    """
    _check_parameters(lines.parameter_names, (2,), "plot_geodesics")
    ax = axes(ax, (7.4, 5.4))
    for theta in lines.theta[::every]:
        ax.plot(*theta.T, color="0.55", linewidth=0.8)
    handles = [Line2D([], [], color="0.55", linewidth=0.8, label="geodesics")]
    for i, distance in enumerate(MaxNLocator(_MARKS, steps=[1, 2, 5]).tick_values(0.0, lines.length.max())):
        reached = lines.length >= distance
        if distance <= 0.0 or not reached.any():
            continue
        points = np.array(
            [
                [np.interp(distance, s, x) for x in theta.T]
                for s, theta in zip(lines.distance[reached], lines.theta[reached], strict=True)
            ]
        )
        style = look(i - 1)
        ax.plot(*points.T, color=style.colour, marker=style.marker, markersize=4, linestyle="none")
        label = f"distance {distance:g} s.d."
        handles.append(Line2D([], [], color=style.colour, marker=style.marker, linestyle="none", label=label))
    ax.plot(*lines.theta[0, 0], marker="+", color="black", markersize=12, markeredgewidth=1.5, zorder=5)
    handles.append(Line2D([], [], marker="+", color="black", markersize=10, linestyle="none", label="start"))
    labels = lines.parameter_names if labels is None else tuple(labels)
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1])
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


@styled
def plot_distance_contours(
    distances: Distances | Mapping[str, Distances],
    *,
    levels: Sequence[float] = (1.0, 2.0, 3.0),
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw lines of equal distance on a grid of two parameters, or the distance along one parameter.

    Parameters
    ----------
    distances
        One result, or several by the name that the legend gives them.
    levels
        Distances, in standard deviations; their number stands at each line.
    labels
        Axis labels; the names of the parameters by default.
    ax
        Where to draw; a new figure by default.

    Raises
    ------
    InputError
        If the grids have other than one or two parameters, or different ones, or there is no grid.
    """
    results = distances if isinstance(distances, Mapping) else {"": distances}
    names = tuple(next(iter(results.values())).parameter_names)
    for result in results.values():
        _check_parameters(result.parameter_names, (1, 2), "plot_distance_contours")
        if result.grid is None or tuple(result.parameter_names) != names:
            msg = "plot_distance_contours draws distances on grids of the same parameters, not on lists of points"
            raise InputError(msg)
    ax = axes(ax, (7.4, 5.4) if len(names) == 2 else (7.4, 4.8))
    levels, handles = sorted(levels), []
    for i, (name, result) in enumerate(results.items()):
        style = look(i)
        lines = result.grid.axes if result.grid is not None else ()
        if len(names) == 1:
            ax.plot(lines[0], result.distance, color=style.colour, linestyle=style.dash)
            _mark(ax, (result.theta0[0], 0.0))
        else:
            values = np.ma.masked_invalid(result.distance.reshape(len(lines[0]), len(lines[1])))
            inside = [level for level in levels if values.min() < level < values.max()]
            if inside:
                drawn = ax.contour(
                    *lines, values.T, levels=inside, colors=[style.colour], linestyles=[style.dash], linewidths=1.6
                )
                ax.clabel(drawn, fmt="%g", fontsize="small")
            ax.set_xlim(lines[0][0], lines[0][-1])
            ax.set_ylim(lines[1][0], lines[1][-1])
            _mark(ax, result.theta0)
        label = name or ("distance" if len(names) == 1 else "equal distance [s.d.]")
        handles.append(Line2D([], [], color=style.colour, linestyle=style.dash, label=label))
    if len(names) == 1:
        for level in levels:
            ax.axhline(level, color="0.5", linewidth=0.8)
        ax.set_ylim(bottom=0.0)
    labels = names if labels is None else tuple(labels)
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1] if len(names) == 2 else "distance [s.d.]")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    handles.append(Line2D([], [], marker="+", color="black", markersize=10, linestyle="none", label="from here"))
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def _mark(ax: Axes, point: ArrayLike) -> None:
    ax.plot(*np.asarray(point), marker="+", color="black", markersize=12, markeredgewidth=1.5, zorder=5)


def _check_parameters(names: Sequence[str], numbers: Sequence[int], function: str) -> None:
    if len(names) not in numbers:
        msg = f"{function} draws {' or '.join(str(n) for n in numbers)} parameters, not {len(names)}"
        raise InputError(msg)
