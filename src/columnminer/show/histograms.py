"""How a histogram is drawn: lines, bands and points over bins, the same in every picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from columnminer.show.style import look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import ErrorbarContainer
    from numpy.typing import NDArray

    from columnminer.infer.distributions import Distribution

__all__ = ["band", "frame_ratios", "make_room", "mark_flow", "middles", "points", "shown_bins", "steps"]


def middles(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the middle of each bin, (n_edges - 1,)."""
    return 0.5 * (edges[:-1] + edges[1:])


def shown_bins(shown: Distribution, *, flow: bool) -> tuple[NDArray[np.float64], slice]:
    """Return the edges to draw and which of the bins these are; under- and overflow are as wide as their neighbours."""
    edges = shown.axes[0].edges
    if not flow:
        return edges, slice(1, -1)
    return np.concatenate([[2 * edges[0] - edges[1]], edges, [2 * edges[-1] - edges[-2]]]), slice(None)


def mark_flow(ax: Axes, edges: NDArray[np.float64], *, named: bool = True) -> None:
    """Set under- and overflow apart, the first and the last bin between `edges`; the legend makes room for the name.

    Where one is too narrow for its name, the dotted line alone tells.
    """
    enough = 0.035 * (edges[-1] - edges[0])
    for edge, end, text in ((edges[1], edges[0], "underflow"), (edges[-2], edges[-1], "overflow")):
        ax.axvline(edge, color="0.4", linestyle=":", linewidth=1.0)
        if named and abs(edge - end) > enough:
            note = ax.text(0.5 * (edge + end), 0.98, text, fontsize="x-small", color="0.4", rotation=90)
            note.set(transform=ax.get_xaxis_transform(), ha="center", va="top")
    legend = ax.get_legend()
    if legend is not None:
        legend.set_bbox_to_anchor(((edges[-2] - edges[0]) / (edges[-1] - edges[0]), 1.0))


def steps(ax: Axes, values: NDArray[np.float64], edges: NDArray[np.float64], index: int, **options: Any) -> None:
    """Draw a histogram as the line of thing number `index`."""
    style = look(index)
    line = {"color": style.colour, "linestyle": style.dash, "linewidth": 1.6, **options}
    ax.stairs(np.where(np.isfinite(values), values, np.nan), edges, baseline=None, **line)


def band(
    ax: Axes, low: NDArray[np.float64], high: NDArray[np.float64], edges: NDArray[np.float64], **options: Any
) -> None:
    """Fill between two histograms."""
    known = np.isfinite(low) & np.isfinite(high)
    ax.stairs(
        np.where(known, high, 0.0), edges, baseline=np.where(known, low, 0.0), fill=True, **{"linewidth": 0, **options}
    )


def points(
    ax: Axes, shown: Distribution, edges: NDArray[np.float64], inside: slice, scale: NDArray[np.float64]
) -> ErrorbarContainer:
    """Draw the data."""
    value, low, high = (a[inside] / scale for a in shown.data())
    seen = np.isfinite(value)
    errors = [(value - low)[seen], (high - value)[seen]]
    x, y = middles(edges)[seen], value[seen]
    return ax.errorbar(x, y, yerr=errors, fmt="o", color="black", markersize=4, elinewidth=1, label="data")


def frame_ratios(ax: Axes, low: float, high: float, data: ErrorbarContainer | None = None) -> None:
    """Let a panel of ratios span low to high, and point from its edges to data that are outside."""
    ax.set_ylim(low, high)
    ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], prune="both"))  # among them 1
    if data is not None:
        x, y = (np.asarray(values) for values in data[0].get_data())
        for outside, edge, marker in ((y > high, high, "^"), (y < low, low, "v")):
            at = x[outside], np.full(int(outside.sum()), edge)
            ax.plot(*at, marker, color="black", markersize=5, clip_on=False, in_layout=False)


def make_room(
    ax: Axes, shown: Distribution, inside: slice, widths: NDArray[np.float64], n_lines: int, *, log: bool
) -> None:
    """Let the vertical axis span what is drawn, and above it room for a legend of so many lines."""
    drawn = [shown.value[:, inside] / widths]
    if shown.toys:
        drawn += [ends[:, inside] / widths for ends in shown.band(0.95)]
    if shown.counts is not None:
        drawn += [ends[None, inside] / widths for ends in shown.data()]
    low, top = min(float(values.min()) for values in drawn), max(float(values.max()) for values in drawn)
    share = min(0.03 + 0.065 * n_lines, 0.6)  # of the height of the axes
    if log:
        positive = np.concatenate([values[values > 0.0] for values in drawn])
        low = 0.5 * max(float(positive.min()), top * 1e-8)
        ax.set_yscale("log", nonpositive="clip")
        ax.set_ylim(low, top * (top / low) ** (share / (1.0 - share)))
    else:
        ax.set_ylim(min(0.0, 1.1 * low), top / (1.0 - share))
