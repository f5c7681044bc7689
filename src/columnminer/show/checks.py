"""Pictures of the checks of an estimator: what was found beside what was expected, in bins."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from columnminer.errors import InputError
from columnminer.show.style import axes, look, panels, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from columnminer.learn.verdicts import Check

__all__ = ["plot_check", "plot_checks"]

_COLUMNS = 3


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
    ax.legend(fontsize="small")
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
