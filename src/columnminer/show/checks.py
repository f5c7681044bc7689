"""Pictures of the checks of an estimator: what was found beside what was expected, in bins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from columnminer.errors import InputError
from columnminer.show.style import axes, look, panels, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from columnminer.learn.verdicts import Check

__all__ = ["plot_check", "plot_checks", "plot_verdicts"]

_COLUMNS = 3
_EDGE = 4.0
"""Up to where deviations are drawn, in units of the largest that passes."""


@styled
def plot_check(check: Check, *, ax: Axes | None = None) -> Axes:
    """Draw what a check found (points with standard errors) and what was expected (line), with its verdict.

    Parameters
    ----------
    check
        From `columnminer.learn.checks`, or as an estimator remembers it.
    ax
        Where to draw; a new figure by default.

    Raises
    ------
    InputError
        If the check has no picture.
    """
    finding = check.finding
    if finding is None:
        msg = f"the check {check.name!r} has no picture"
        raise InputError(msg)
    ax = axes(ax)
    expected, found = look(5), look(0 if check.passed else 3)
    line = "_" if len(finding.x) == 1 else ""  # a line through one point is none
    ax.plot(finding.x, finding.expected, color="black", linewidth=1.0, marker=line, markersize=12, label="expected")
    ax.errorbar(
        finding.x,
        finding.found,
        yerr=finding.error,
        color=found.colour,
        marker=found.marker if check.passed else "x",
        markersize=4,
        linestyle="none",
        ecolor=found.colour if check.passed else expected.colour,
        label="found",
    )
    ax.set_xlabel(finding.x_label)
    ax.set_ylabel(finding.y_label)
    ax.set_title(f"{check.name}: {'passed' if check.passed else 'FAILED'}")
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.2 * (high - low))  # room for the legend
    ax.legend(fontsize="small", loc="upper center", ncols=2)
    return ax


@styled
def plot_checks(checks: Sequence[Check]) -> Axes:
    """Draw all checks that have a picture side by side in one figure, and return the first of its axes.

    Raises
    ------
    InputError
        If none has a picture.
    """
    drawn = [check for check in checks if check.finding is not None]
    if not drawn:
        msg = "none of the checks has a picture"
        raise InputError(msg)
    rows = math.ceil(len(drawn) / _COLUMNS)
    columns = min(_COLUMNS, len(drawn))
    grid = panels(rows, columns, (4.4 * columns, 4.0 * rows)).ravel()
    grid[0].figure.set_layout_engine("constrained", h_pad=0.12, w_pad=0.08)
    for ax, check in zip(grid, drawn, strict=False):
        plot_check(check, ax=ax)
        ax.yaxis.label.set_size("small")  # the longest must fit beside axes that are less high than alone
        ax.xaxis.label.set_size("small")
        ax.tick_params(labelsize="small")
        ax.xaxis.set_major_locator(MaxNLocator(5, prune="both"))  # labels at the very ends would be cut off
    for ax in grid[len(drawn) :]:
        ax.set_axis_off()
    first: Axes = grid[0]
    return first


@styled
def plot_verdicts(checks: Sequence[Check] | Mapping[str, Sequence[Check]], *, ax: Axes | None = None) -> Axes:
    """Draw the deviations that checks found, relative to the largest that passes: beyond one they fail (hollow).

    Parameters
    ----------
    checks
        Of one estimator, or of several by the name that the legend gives them: those of the same name share a row. What
        is far outside, or no number, is drawn at the edge.
    ax
        Where to draw; a new figure by default.

    Raises
    ------
    InputError
        If there are no checks.
    """
    results = checks if isinstance(checks, Mapping) else {"": checks}
    names = list(dict.fromkeys(check.name for found in results.values() for check in found))
    if not names:
        msg = "there are no checks to draw"
        raise InputError(msg)
    ax = axes(ax, (7.6, 1.7 + 0.36 * len(names)))
    ax.axvspan(-1.0, 1.0, color="0.9", linewidth=0.0)
    ax.axvline(0.0, color="0.5", linewidth=0.8)
    handles = []
    for i, (name, found) in enumerate(results.items()):
        style, shift = look(i), 0.6 * ((i + 0.5) / len(results) - 0.5)
        for check in found:
            value = check.deviation / check.mark if math.isfinite(check.deviation) else math.inf
            shown = min(max(value, -_EDGE), _EDGE)
            error = check.error / check.mark if math.isfinite(check.error) and abs(value) <= _EDGE else 0.0
            marker = style.marker if abs(value) <= _EDGE else (">" if value > 0.0 else "<")
            ax.errorbar(
                shown,
                names.index(check.name) + shift,
                xerr=error,
                color=style.colour,
                marker=marker,
                markersize=5,
                markerfacecolor=style.colour if check.passed else "white",
                linestyle="none",
                clip_on=False,
            )
        label = f"{name}: " if name else ""
        label += f"{sum(check.passed for check in found)} of {len(found)} passed"
        handles.append(Line2D([], [], color=style.colour, marker=style.marker, linestyle="none", label=label))
    ax.set_xlim(-_EDGE, _EDGE)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_yticks(range(len(names)), names, fontsize="small")
    ax.tick_params(axis="y", which="both", length=0)
    ax.set_xlabel("deviation / largest that passes")
    ax.legend(handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.2)
    return ax
