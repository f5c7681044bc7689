"""Pictures of distributions: an observable at several parameter points, over each other and as ratios."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from columnminer.errors import InputError, UnknownNameError, did_you_mean
from columnminer.show.style import look, styled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from boost_histogram import Histogram
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["plot_distribution"]

_LOG_RATIO = 30.0
"""Ratios beyond this are shown on a logarithmic axis."""


@styled
def plot_distribution(
    histograms: Mapping[str, Histogram[Any]],
    *,
    label: str = "",
    unit: str = "",
    reference: str | None = None,
    ax: Axes | None = None,
    ratio_ax: Axes | None = None,
) -> Axes:
    """Draw histograms of one observable, as cross sections per bin width, and their ratios to a reference.

    Parameters
    ----------
    histograms
        One-dimensional histograms with equal axes, by the name that the legend gives them; contents in pb. Bars show
        the square root of the variances. Under- and overflow are not drawn.
    label
        What the observable is called on the axis; what the histogram's axis carries by default.
    unit
        Of the observable: ``"GeV"``, ``"rad"`` or nothing.
    reference
        Name of the histogram that the ratios are taken to; the first by default.
    ax, ratio_ax
        Where to draw the distributions and their ratios; a new figure by default. With `ax` alone, no ratios are drawn.

    Raises
    ------
    InputError
        If the histograms are not one-dimensional with equal axes.
    UnknownNameError
        If no histogram is called `reference`.
    """
    first = next(iter(histograms.values()))
    edges = first.axes[0].edges
    if any(h.ndim != 1 or not np.array_equal(h.axes[0].edges, edges) for h in histograms.values()):
        msg = "plot_distribution draws one-dimensional histograms with equal axes"
        raise InputError(msg)
    base = next(iter(histograms)) if reference is None else reference
    if base not in histograms:
        msg = f"no histogram is called {base!r}.{did_you_mean(base, histograms)}"
        raise UnknownNameError(msg)
    if ax is None:
        figure = Figure(figsize=(6.4, 5.6), layout="constrained")
        if len(histograms) > 1:
            ax, ratio_ax = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        else:
            ax = figure.subplots()
    widths, base_contents = np.diff(edges), np.asarray(histograms[base].values(), dtype=np.float64)
    for i, (point, histogram) in enumerate(histograms.items()):
        _steps(ax, histogram, i, widths, point)
        if ratio_ax is not None and point != base:
            _steps(ratio_ax, histogram, i, base_contents, point)
    name = label or getattr(first.axes[0], "label", "") or "observable"
    ax.set_ylabel(rf"d$\sigma$ / d {name} [pb{f' / {unit}' if unit else ''}]")
    ax.set_ylim(bottom=0.0)
    ax.set_xlim(edges[0], edges[-1])
    ax.legend(handlelength=3)
    bottom = ax if ratio_ax is None else ratio_ax
    bottom.set_xlabel(name + (f" [{unit}]" if unit else ""))
    if ratio_ax is not None:
        ratio_ax.axhline(1.0, color=look(list(histograms).index(base)).colour, linewidth=0.8)
        ratio_ax.set_ylabel(f"ratio to {base}", loc="center", fontsize="small")
        if ratio_ax.get_ylim()[1] > _LOG_RATIO:
            ratio_ax.set_yscale("log")
    return ax


def _steps(ax: Axes, histogram: Histogram[Any], index: int, scale: NDArray[np.float64], name: str) -> None:
    edges, style = histogram.axes[0].edges, look(index)
    contents, variances = (np.asarray(a, dtype=np.float64) for a in (histogram.values(), histogram.variances()))
    with np.errstate(divide="ignore", invalid="ignore"):  # an empty reference bin has no ratio: nothing is drawn there
        values, errors = contents / scale, np.sqrt(variances) / scale
    values = np.where(np.isfinite(values), values, np.nan)
    ax.stairs(values, edges, baseline=None, color=style.colour, linestyle=style.dash, label=name, linewidth=1.6)
    centres = 0.5 * (edges[:-1] + edges[1:])
    ax.errorbar(centres, values, yerr=errors, fmt="none", ecolor=style.colour, elinewidth=0.8, alpha=0.7)
