"""Pictures of toys themselves: distributions over them, and their fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from columnminer.errors import InputError
from columnminer.show.style import axes, look, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from columnminer.toys.distributions import Estimates, Pulls, ToyHistogram
    from columnminer.toys.results import PointResult

__all__ = ["plot_estimates", "plot_pulls", "plot_toy_fits", "plot_toy_histogram"]

_MOST_TOYS = 5000
"""Of a scatter plot; more points hide each other and make large files."""


@styled
def plot_toy_histogram(
    histogram: ToyHistogram | Mapping[str, ToyHistogram],
    *,
    observed: float | None = None,
    log: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw toys in bins, with Poisson bars, beside what is expected (line).

    Parameters
    ----------
    histogram
        From `columnminer.toys.distributions`: of the test statistic, or of pulls; or several by the name that the
        legend gives them, such as of toys with a signal and without. The line is that of the first.
    observed
        That of the data, to mark.
    log
        Whether the axis of counts is logarithmic.
    ax
        Where to draw; a new figure by default.
    """
    results = histogram if isinstance(histogram, Mapping) else {"": histogram}
    first = next(iter(results.values()))
    ax = axes(ax)
    ax.stairs(first.expected, first.edges, color="black", linewidth=1.2, label=first.law)
    for i, (name, result) in enumerate(results.items()):
        style = look(i)
        ax.errorbar(
            0.5 * (result.edges[1:] + result.edges[:-1]),
            result.counts,
            yerr=np.sqrt(result.counts),
            color=style.colour,
            marker=style.marker,
            markersize=3.5,
            elinewidth=1.0,
            linestyle="none",
            label=f"{name}, {result.toys} toys" if name else f"{result.toys} toys",
        )
    if observed is not None:
        ax.axvline(observed, color="black", linestyle="--", linewidth=1.2, label="observed")
    highest = max(float(max(result.counts.max(), result.expected.max())) for result in results.values())
    _count(ax, highest, log=log)
    ax.set_xlim(first.edges[0], first.edges[-1])
    ax.set_xlabel(first.name)
    ax.legend(loc="upper right")
    return ax


def _count(ax: Axes, highest: float, *, log: bool) -> None:
    """Scale the axis of counts, with room for a legend."""
    if log:
        ax.set_yscale("log")
        ax.set_ylim(0.3, 20.0 * highest)
    else:
        ax.set_ylim(0.0, 1.35 * highest)
    ax.set_ylabel("toys")


@styled
def plot_estimates(
    estimates: Estimates | Mapping[str, Estimates],
    *,
    label: str | None = None,
    log: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw how best fits are distributed over toys, with the true value (vertical line).

    A single distribution has its mean, and the range that holds 68 % of the toys (grey), as well.

    Parameters
    ----------
    estimates
        From `columnminer.toys.distributions.estimate_distribution`, or several by the name that the legend gives them.
    label
        Of the parameter; its name by default.
    log
        Whether the axis of counts is logarithmic, as where many toys are at a limit.
    ax
        Where to draw; a new figure by default.
    """
    results = estimates if isinstance(estimates, Mapping) else {"": estimates}
    ax = axes(ax)
    for i, (name, result) in enumerate(results.items()):
        style, alone = look(i), len(results) == 1
        if alone:
            ax.axvspan(result.low, result.high, color="0.9", linewidth=0.0, label="68% of toys")
        text = f"{result.toys} toys"
        ax.stairs(
            result.counts,
            result.edges,
            color=style.colour,
            linestyle="-" if alone else style.dash,
            linewidth=1.6,
            label=f"{name}, {text}" if name else text,
        )
        if np.isfinite(result.truth):
            line = "-" if alone else style.dash
            ax.axvline(result.truth, color="black", linestyle=line, linewidth=0.9)
        if alone:
            note = f"mean {result.mean:.3f} ± {result.mean_error:.3f}\nmedian {result.median:.3f}"
            ax.annotate(note, (0.03, 0.97), xycoords="axes fraction", va="top", fontsize="small")
    if any(np.isfinite(result.truth) for result in results.values()):
        ax.plot([], [], color="black", linewidth=0.9, label="truth")
    first = next(iter(results.values()))
    _count(ax, max(float(result.counts.max()) for result in results.values()), log=log)
    ax.set_xlabel(f"best fit of {first.name if label is None else label}")
    ax.legend(loc="upper right")
    return ax


@styled
def plot_pulls(pulls: Pulls, *, ax: Axes | None = None) -> Axes:
    """Draw the distribution of pulls beside the standard normal one, with their mean and width.

    Parameters
    ----------
    pulls
        From `columnminer.toys.distributions.pulls`.
    ax
        Where to draw; a new figure by default.
    """
    ax = plot_toy_histogram(pulls.histogram, log=False, ax=ax)
    text = (
        f"mean {pulls.mean:.3f} ± {pulls.mean_error:.3f}\n"
        f"width {pulls.width:.3f} ± {pulls.width_error:.3f}\n"
        f"p value {pulls.histogram.p_value:.2g}"
    )
    ax.annotate(text, (0.03, 0.97), xycoords="axes fraction", va="top", fontsize="small")
    return ax


@styled
def plot_toy_fits(
    point: PointResult,
    names: Sequence[str],
    *,
    hypothesis: str = "free",
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw fits of two parameters toy by toy (the first 5,000 of them), and the truth where it is known (cross).

    Parameters
    ----------
    point
        Toys at one point.
    names
        Of the two parameters.
    hypothesis
        Whose fits; those that did not converge are left out.
    labels
        Of the axes; the names by default.
    ax
        Where to draw; a new figure by default.

    Raises
    ------
    InputError
        If there are not two names.
    UnknownNameError
        If there is no such parameter or hypothesis.
    """
    if len(names) != 2:
        msg = f"a scatter plot has two parameters, not {len(names)}"
        raise InputError(msg)
    valid = point[hypothesis].valid
    x, y = (point.values(name, hypothesis)[valid][:_MOST_TOYS] for name in names)
    ax = axes(ax)
    ax.plot(x, y, color=look(0).colour, marker=".", markersize=3, linestyle="none", alpha=0.5, rasterized=True)
    if all(name in point.generate for name in names):
        true = [point.generate[name] for name in names]
        ax.plot(*true, color="black", marker="+", markersize=12, markeredgewidth=1.5, linestyle="none", label="truth")
        ax.legend()
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel(names[0] if labels is None else labels[0])
    ax.set_ylabel(names[1] if labels is None else labels[1])
    return ax
