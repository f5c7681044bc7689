"""Pictures of limits: what regions of the parameters several analyses allow."""

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
    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.limits import Limits

__all__ = ["plot_limits"]

_WIDTHS = (2.2, 1.1, 0.7)


@styled
def plot_limits(
    limits: Limits | Mapping[str, Limits],
    *,
    levels: Sequence[float] = (0.68, 0.95),
    truth: ArrayLike | None = None,
    labels: Sequence[str] | None = None,
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
    ax
        Where to draw; a new figure by default.

    Raises
    ------
    InputError
        If the grids have other than one or two parameters, or different ones.
    """
    results = limits if isinstance(limits, Mapping) else {"": limits}
    names = tuple(next(iter(results.values())).parameter_names)
    if len(names) not in {1, 2} or any(tuple(r.parameter_names) != names for r in results.values()):
        msg = "plot_limits draws grids of the same one or two parameters; profile the others first"
        raise InputError(msg)
    if len(levels) > len(_WIDTHS):
        msg = f"plot_limits draws at most {len(_WIDTHS)} levels"
        raise InputError(msg)
    ax = axes(ax, (7.4, 5.4) if len(names) == 2 else (7.4, 4.8))
    labels = names if labels is None else tuple(labels)
    draw = _contours if len(names) == 2 else _curve
    handles = []
    for i, (name, result) in enumerate(results.items()):
        if result.grid is None:
            msg = "plot_limits draws limits on a grid, not on a list of points"
            raise InputError(msg)
        draw(ax, result, result.grid.axes, i, sorted(levels))
        if name:
            handles.append(_legend_entry(name, i, with_marker=len(names) == 2))
    if truth is not None:
        point = np.asarray(truth, dtype=np.float64)
        if len(names) == 2:
            ax.plot(*point, marker="+", color="black", markersize=12, markeredgewidth=1.5, linestyle="none", zorder=5)
            handles.append(Line2D([], [], marker="+", color="black", markersize=10, linestyle="none", label="truth"))
        else:
            ax.axvline(point[0], color="black", linewidth=0.8)
            handles.append(Line2D([], [], color="black", linewidth=0.8, label="truth"))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel(labels[0])
    if len(names) == 2:
        ax.set_ylabel(labels[1])
        handles += [
            Line2D([], [], color="black", linewidth=width, label=f"{level:.0%} CL")
            for level, width in zip(sorted(levels), _WIDTHS, strict=False)
        ]
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def _contours(
    ax: Axes, result: Limits, lines: tuple[NDArray[np.float64], ...], index: int, levels: Sequence[float]
) -> None:
    x, y = lines
    # With two degrees of freedom log p is the log likelihood ratio itself: a parabola, where p falls over decades from
    # one grid point to the next and would be interpolated badly.
    log_p = np.log(np.maximum(result.p_value, 1e-300)).reshape(len(x), len(y))
    style = look(index)
    for level, width in zip(levels, _WIDTHS, strict=False):
        if log_p.min() < np.log1p(-level) < log_p.max():  # else matplotlib warns that there is nothing to draw
            ax.contour(
                x,
                y,
                log_p.T,
                levels=[np.log1p(-level)],
                colors=[style.colour],
                linestyles=[style.dash],
                linewidths=[width],
            )
    ax.plot(
        *result.best_fit, marker=style.marker, color=style.colour, markeredgecolor="black", linestyle="none", zorder=4
    )
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])


def _curve(
    ax: Axes, result: Limits, lines: tuple[NDArray[np.float64], ...], index: int, levels: Sequence[float]
) -> None:
    (x,) = lines
    style = look(index)
    ax.plot(x, result.p_value, color=style.colour, linestyle=style.dash)
    ax.set_yscale("log")
    ax.set_ylim(1e-3, 1.5)
    ax.set_xlim(x[0], x[-1])
    ax.set_ylabel("p value")
    if index == 0:
        for level in levels:
            ax.axhline(1.0 - level, color="0.5", linewidth=0.8)
            ax.annotate(
                f"{level:.0%} CL",
                (x[0], 1.0 - level),
                (4, 3),
                textcoords="offset points",
                fontsize="x-small",
                color="0.3",
            )


def _legend_entry(name: str, index: int, *, with_marker: bool) -> Line2D:
    style = look(index)
    marker = style.marker if with_marker else ""
    return Line2D([], [], color=style.colour, linestyle=style.dash, label=name, marker=marker, markeredgecolor="black")
