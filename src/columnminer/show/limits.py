"""Pictures of limits: what regions of the parameters several analyses allow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from columnminer.errors import InputError, UnknownNameError, did_you_mean
from columnminer.show.contours import (
    check_levels,
    draw_contours,
    draw_point,
    level_handles,
    point_handle,
    result_handle,
)
from columnminer.show.style import Look, axes, look, panels, percent, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.limits import Limits

__all__ = ["plot_limit_panels", "plot_limits"]

_COLUMNS = 3
_LOWEST = 1e-3
"""P values below are drawn as if they were this."""
_ALONE = Look("black", "-", "o")
"""Of an analysis that shares its panel with no other: colours would be lost on the shades behind."""


@styled
def plot_limits(
    limits: Limits | Mapping[str, Limits],
    *,
    levels: Sequence[float] = (0.68, 0.95),
    truth: ArrayLike | None = None,
    labels: Sequence[str] | None = None,
    shade: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the regions that limits on a grid of one or two parameters allow.

    With two parameters: the contours of p value ``1 - level``, the innermost drawn thickest, and each best fit. With
    one parameter: the p value along it, with a line at each ``1 - level``.

    Parameters
    ----------
    limits
        One result, or several by the name that the legend gives them.
    levels
        Confidence levels, at most three.
    truth
        Parameter point (n_par,) to mark: where the events were generated.
    labels
        Axis labels; the names of the parameters by default.
    shade
        Name of the result whose p values on two parameters are drawn in shades of grey, with a colour bar.
    ax
        Where to draw; a new figure by default.

    Raises
    ------
    InputError
        If the grids have other than one or two parameters, or different ones.
    UnknownNameError
        If no result is called `shade`.
    """
    results = limits if isinstance(limits, Mapping) else {"": limits}
    names = _parameters(results)
    levels = check_levels(levels, "plot_limits")
    if shade is not None and shade not in results:
        msg = f"no limits are called {shade!r}.{did_you_mean(shade, results)}"
        raise UnknownNameError(msg)
    size = (7.4, 4.8) if len(names) == 1 else (7.4, 5.4 if shade is None else 6.2)
    ax, handles = axes(ax, size), []
    for i, (name, result) in enumerate(results.items()):
        if name == shade and len(names) == 2:
            bar = ax.figure.colorbar(_shades(ax, result), ax=ax, extend="min", location="bottom", shrink=0.8, aspect=25)
            bar.set_label(f"p value of {name}" if name else "p value", loc="center")
        _region(ax, result, levels, look(i))
        if name or len(names) == 2:
            handles.append(result_handle(name, look(i), marked=len(names) == 2))
    if len(names) == 1:
        _name_levels(ax, levels)
    if truth is not None:
        handles.append(_draw_truth(ax, np.asarray(truth, dtype=np.float64)))
    if len(names) == 2:
        handles += level_handles(levels)
    _name_axes(ax, names if labels is None else labels)
    if handles:
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


@styled
def plot_limit_panels(
    limits: Mapping[str, Limits],
    *,
    levels: Sequence[float] = (0.68, 0.95),
    truth: ArrayLike | None = None,
    labels: Sequence[str] | None = None,
) -> Axes:
    """Draw limits of several analyses side by side, and return the first of the axes.

    With two parameters the p values are drawn in shades of grey, the same in all panels.

    Parameters
    ----------
    limits
        By the name that stands above each.
    levels, truth, labels
        See `plot_limits`.

    Raises
    ------
    InputError
        If the grids have other than one or two parameters, or different ones.
    """
    names = _parameters(limits)
    levels = check_levels(levels, "plot_limit_panels")
    columns = min(_COLUMNS, len(limits))
    rows = math.ceil(len(limits) / columns)
    every = panels(rows, columns, (3.9 * columns + 1.2, 3.7 * rows + 0.5), sharex=True, sharey=True)
    figure, handles = every[0, 0].figure, level_handles(levels) if len(names) == 2 else []
    for i, (ax, (name, result)) in enumerate(zip(every.ravel(), limits.items(), strict=False)):
        image = _shades(ax, result) if len(names) == 2 else None
        _region(ax, result, levels, _ALONE)
        if len(names) == 1:
            _name_levels(ax, levels)
        if truth is not None:
            handles += [_draw_truth(ax, np.asarray(truth, dtype=np.float64))] * (i == 0)
        ax.set_title(name)
        _name_axes(ax, names if labels is None else labels)
        ax.xaxis.set_major_locator(MaxNLocator(4, prune="both"))  # those of neighbours would touch
        ax.label_outer()
    for ax in every.ravel()[len(limits) :]:
        ax.set_axis_off()
    if image is not None:
        figure.colorbar(image, ax=every, extend="min", aspect=30).set_label("p value", loc="center")
        handles.insert(0, result_handle("", _ALONE))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    first: Axes = every[0, 0]
    return first


def _parameters(results: Mapping[str, Limits]) -> tuple[str, ...]:
    """Return what all limits are about."""
    names = tuple(next(iter(results.values())).parameter_names)
    if len(names) not in {1, 2} or any(tuple(r.parameter_names) != names for r in results.values()):
        msg = "plot_limits draws grids of the same one or two parameters; profile the others first"
        raise InputError(msg)
    if any(result.grid is None for result in results.values()):
        msg = "plot_limits draws limits on a grid, not on a list of points"
        raise InputError(msg)
    return names


def _lines(result: Limits) -> tuple[NDArray[np.float64], ...]:
    return () if result.grid is None else result.grid.axes


def _shades(ax: Axes, result: Limits) -> QuadMesh:
    x, y = _lines(result)
    values = np.maximum(result.p_value, _LOWEST).reshape(len(x), len(y)).T
    return ax.pcolormesh(x, y, values, norm=LogNorm(_LOWEST, 1.0), cmap="Greys", alpha=0.4, rasterized=True, zorder=0)


def _region(ax: Axes, result: Limits, levels: Sequence[float], style: Look) -> None:
    """Draw the contours with the best fit, or the p value along one parameter."""
    lines = _lines(result)
    if len(lines) == 1:
        ax.plot(lines[0], result.p_value, color=style.colour, linestyle=style.dash)
        ax.set_xlim(lines[0][0], lines[0][-1])
        return
    # With two degrees of freedom log p is the log likelihood ratio itself: a parabola, where p falls over decades from
    # one grid point to the next and would be interpolated badly.
    log_p = np.log(np.maximum(result.p_value, 1e-300))
    draw_contours(ax, lines, log_p, np.log1p(-np.array(levels)).tolist(), style)
    ax.plot(
        *result.best_fit, marker=style.marker, color=style.colour, markeredgecolor="black", linestyle="none", zorder=4
    )


def _name_levels(ax: Axes, levels: Sequence[float]) -> None:
    """Draw a line at the p value of each confidence level, and scale the axis of p values."""
    ax.set_yscale("log")
    ax.set_ylim(_LOWEST, 1.5)
    for level in levels:
        ax.axhline(1.0 - level, color="0.5", linewidth=0.8)
        note = ax.annotate(f"{percent(level)} CL", (0.0, 1.0 - level), (4, 3), textcoords="offset points")
        note.set(fontsize="x-small", color="0.3")
        note.xycoords = ax.get_yaxis_transform()


def _draw_truth(ax: Axes, point: NDArray[np.float64]) -> Line2D:
    """Mark the truth, and return what a legend says of it."""
    if len(point) == 2:
        draw_point(ax, point)
        return point_handle("truth")
    ax.axvline(point[0], color="black", linewidth=0.8)
    return Line2D([], [], color="black", linewidth=0.8, label="truth")


def _name_axes(ax: Axes, labels: Sequence[str]) -> None:
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1] if len(labels) == 2 else "p value")
