"""Pictures of fits: the likelihood along its parameters, and intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from columnminer.errors import InputError
from columnminer.infer.intervals import Interval, asymptotic_threshold
from columnminer.show.contours import (
    WIDTHS,
    check_levels,
    draw_contours,
    draw_point,
    level_handles,
    point_handle,
    result_handle,
)
from columnminer.show.style import axes, look, percent, styled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.profiles import Profile

__all__ = ["plot_intervals", "plot_profile"]

_ROOM = 1.6
"""By how much higher than the highest level the axis of t ends."""


@styled
def plot_profile(
    profile: Profile | Mapping[str, Profile],
    *,
    levels: Sequence[float] = (0.68, 0.95),
    intervals: Sequence[Interval] = (),
    threshold: Callable[[NDArray[np.float64]], ArrayLike] | None = None,
    truth: ArrayLike | None = None,
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw the likelihood along one parameter, or its contours in two.

    With one parameter: t, twice the log likelihood ratio of best fit and value, with a line at the asymptotic threshold
    of each level. With two: the contours of t at the thresholds of two degrees of freedom, the innermost drawn
    thickest, and each best fit.

    Parameters
    ----------
    profile
        Of one or two parameters, of two on a `Grid`; or several by the name that the legend gives them.
    levels
        Confidence levels, at most three.
    intervals
        To draw as bars below the curve, with their ends; of one parameter.
    threshold
        Of t as a function of the parameter, such as `columnminer.NeymanThresholds.at` gives, to draw as well.
    truth
        Values (k,) of the parameters to mark.
    labels
        Axis labels; the names of the parameters by default.
    ax
        Where to draw; a new figure by default.

    Raises
    ------
    InputError
        If the profiles are of other than the same one or two parameters, or two are not on a grid.
    """
    results = profile if isinstance(profile, Mapping) else {"": profile}
    names = next(iter(results.values())).names
    if len(names) not in {1, 2} or any(result.names != names for result in results.values()):
        msg = "plot_profile draws the likelihood along the same one or two parameters"
        raise InputError(msg)
    levels = check_levels(levels, "plot_profile")
    labels = names if labels is None else tuple(labels)
    ax = axes(ax, (7.4, 5.4) if len(names) == 2 else (7.4, 4.8))
    handles = [result_handle(name, look(i)) for i, name in enumerate(results)]
    if len(names) == 2:
        _contours(ax, list(results.values()), levels)
        if truth is not None:
            draw_point(ax, truth)
            handles.append(point_handle("truth"))
        handles += level_handles(levels)
    else:
        _curves(ax, list(results.values()), levels)
        handles += [_bar(ax, interval, i) for i, interval in enumerate(intervals)]
        if threshold is not None:
            values = np.linspace(*ax.get_xlim(), 200)
            handles += ax.plot(values, threshold(values), color="0.3", linestyle=":", label="threshold")
        if truth is not None:
            handles.append(ax.axvline(float(np.ravel(truth)[0]), color="black", linewidth=0.8, label="truth"))
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1] if len(names) == 2 else r"$t = 2\,\log\,(L_{best} / L)$")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def _curves(ax: Axes, results: Sequence[Profile], levels: Sequence[float]) -> None:
    """Draw t along one parameter, and what it is at each confidence level."""
    for i, result in enumerate(results):
        order, style = np.argsort(result.values), look(i)
        ax.plot(result.values[order], result.test_statistic[order], color=style.colour, linestyle=style.dash)
        ax.plot(result.best_fit.by_name[result.names[0]], 0.0, **_filled(i), clip_on=False)
    ends = np.concatenate([result.values for result in results])
    ax.set_xlim(ends.min(), ends.max())
    heights = [asymptotic_threshold(level) for level in levels]
    for level, height in zip(levels, heights, strict=True):
        ax.axhline(height, color="0.5", linewidth=0.8)
        note = ax.text(0.01, height, f"{percent(level)} CL", fontsize="x-small", color="0.3", va="bottom")
        note.set_transform(ax.get_yaxis_transform())
    ax.set_ylim(0.0, _ROOM * max(heights))


def _contours(ax: Axes, results: Sequence[Profile], levels: Sequence[float]) -> None:
    """Draw t on a grid of two parameters where the confidence levels are, with the best fits."""
    heights = [asymptotic_threshold(level, dof=2) for level in levels]
    for i, result in enumerate(results):
        if result.grid is None:
            msg = "plot_profile draws two parameters on a grid, not on a list of points: profile along a Grid"
            raise InputError(msg)
        draw_contours(ax, result.grid.axes, result.test_statistic, heights, look(i))
        ax.plot(*(result.best_fit.by_name[name] for name in result.names), **_filled(i), zorder=4)


def _bar(ax: Axes, interval: Interval, index: int) -> Line2D:
    """Draw an interval as a bar, above those before it, and return what a legend says of it."""
    height, ends = 0.045 * (index + 1), np.array([interval.lower, interval.upper])
    drawn = np.clip(ends, *ax.get_xlim())
    (bar,) = ax.plot(
        drawn,
        [height, height],
        color="black",
        marker="|",
        markersize=9,
        markevery=np.flatnonzero(drawn == ends).tolist(),  # what leaves the picture has no end in it
        linewidth=2.2 / (index + 1),
        transform=ax.get_xaxis_transform(),
    )
    what = {"central": "interval", "upper": "upper limit", "lower": "lower limit"}[interval.kind]
    said = {"upper": f"{interval.upper:.3g}", "lower": f"{interval.lower:.3g}"}
    text = said.get(interval.kind, f"[{interval.lower:.3g}, {interval.upper:.3g}]")
    bar.set_label(f"{percent(interval.level)} {what} {text}")
    return bar


def _filled(index: int) -> dict[str, Any]:
    style = look(index)
    return {"marker": style.marker, "color": style.colour, "markeredgecolor": "black", "linestyle": "none"}


@styled
def plot_intervals(
    intervals: Mapping[str, Interval | Sequence[Interval]],
    *,
    truth: float | None = None,
    label: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw best fits and confidence intervals of several analyses below each other.

    Parameters
    ----------
    intervals
        One interval, or several of different levels (the narrowest drawn thickest), by the name that stands at its
        left. Open ends leave the picture.
    truth
        Value of the parameter to mark.
    label
        Of the parameter; its name by default.
    ax
        Where to draw; a new figure by default.

    Raises
    ------
    InputError
        If the intervals are of different parameters, or have no finite end.
    """
    rows = {name: [one] if isinstance(one, Interval) else list(one) for name, one in intervals.items()}
    every = [interval for row in rows.values() for interval in row]
    if len({interval.name for interval in every}) != 1:
        msg = "plot_intervals draws intervals of one parameter"
        raise InputError(msg)
    name, levels = every[0].name, sorted({interval.level for interval in every})
    levels = check_levels(levels, "plot_intervals")
    ends = np.array([end for i in every for end in (i.lower, i.upper, i.best_fit.by_name[name]) if np.isfinite(end)])
    ax = axes(ax, (6.8, 1.6 + 0.55 * len(rows)))
    margin = 0.1 * max(float(np.ptp(ends)), 1e-12)
    low, high = float(ends.min()) - margin, float(ends.max()) + margin
    for y, row in enumerate(rows.values()):
        for interval in sorted(row, key=lambda one: -one.level):
            width = 2.0 * WIDTHS[levels.index(interval.level)]
            drawn = np.clip([interval.lower, interval.upper], low - margin, high + margin)
            ax.plot(drawn, [y, y], color=look(0).colour, linewidth=width, solid_capstyle="butt")
            ax.plot(drawn, [y, y], color=look(0).colour, linestyle="none", marker="|", markersize=9)
        ax.plot(row[0].best_fit.by_name[name], y, "o", color="black", markersize=5, zorder=4)
    if truth is not None:
        ax.axvline(truth, color="black", linewidth=0.8, linestyle=":")
    handles = [Line2D([], [], color="black", marker="o", markersize=5, linestyle="none", label="best fit")]
    handles += [
        Line2D([], [], color=look(0).colour, linewidth=2.0 * width, label=f"{percent(level)} CL")
        for level, width in zip(levels, WIDTHS, strict=False)
    ]
    if truth is not None:
        handles.append(Line2D([], [], color="black", linewidth=0.8, linestyle=":", label="truth"))
    ax.set_xlim(low, high)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.tick_params(axis="y", which="both", length=0)
    ax.minorticks_off()
    ax.set_xlabel(name if label is None else label)
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax
