"""Pictures of systematic uncertainties in the bins of a distribution: what all do together, and each alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import MissingError
from columnminer.infer.distributions import TOTAL
from columnminer.show.distributions import density_label, index_of, one_dimensional
from columnminer.show.histograms import band, frame_ratios, make_room, mark_flow, points, shown_bins, steps
from columnminer.show.style import look, panels, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from columnminer.infer.distributions import Distribution

__all__ = ["plot_systematics", "plot_uncertainty"]

_LEVELS = {"68%": (0.6827, "0.6"), "95%": (0.9545, "0.85")}
"""Name -> central interval of the toys, and its shade of grey."""


@styled
def plot_uncertainty(
    distribution: Distribution,
    *,
    point: str | None = None,
    systematic: str = TOTAL,
    label: str = "",
    unit: str = "",
    normalised: bool = False,
    log: bool = False,
    flow: bool = False,
) -> Axes:
    """Draw a distribution at one parameter point with the 68 % and 95 % bands of its uncertainty, and relative to it.

    Parameters
    ----------
    distribution
        With toys of systematic uncertainties, such as `columnminer.distributions` gives.
    point
        Name of the parameter point; the first by default.
    systematic
        Whose bands; all uncertainties together by default.
    label, unit, normalised, log, flow
        As for `plot_distribution`.

    Raises
    ------
    MissingError
        If there are no such toys.
    """
    return _draw(distribution, point, (systematic,), label=label, unit=unit, normalised=normalised, log=log, flow=flow)


@styled
def plot_systematics(
    distribution: Distribution,
    *,
    point: str | None = None,
    systematics: Sequence[str] | None = None,
    label: str = "",
    unit: str = "",
    normalised: bool = False,
    log: bool = False,
    flow: bool = False,
) -> Axes:
    """Draw a distribution at one parameter point, and below it relative to it the bands of each systematic uncertainty.

    The dashed outlines repeat in each panel the 68 % band of all uncertainties together.

    Parameters
    ----------
    distribution
        With toys of systematic uncertainties, such as `columnminer.distributions` gives.
    point
        Name of the parameter point; the first by default.
    systematics
        Names of those that get a panel; all by default.
    label, unit, normalised, log, flow
        As for `plot_distribution`.

    Raises
    ------
    MissingError
        If there are no such toys.
    """
    if not distribution.toys:
        msg = "this distribution has no toys of systematic uncertainties; see columnminer.distributions"
        raise MissingError(msg)
    names = [name for name in distribution.toys if name != TOTAL] if systematics is None else list(systematics)
    return _draw(distribution, point, names, label=label, unit=unit, normalised=normalised, log=log, flow=flow)


def _draw(
    distribution: Distribution,
    point: str | None,
    names: Sequence[str],
    *,
    label: str,
    unit: str,
    normalised: bool,
    log: bool,
    flow: bool,
) -> Axes:
    """Draw the distribution with the bands of all named uncertainties (or the only one), and a panel for each."""
    shown = one_dimensional(distribution, normalised=normalised)
    i, (edges, inside) = index_of(shown, point), shown_bins(shown, flow=flow)
    widths, nominal = np.diff(edges), shown.value[i][inside]
    alone = len(names) == 1
    heights = [3.0, *(1.0 for _ in names)]
    grid = panels(len(heights), 1, (6.4, 4.0 + 1.2 * len(names)), sharex=True, height_ratios=heights)[:, 0]
    ax: Axes = grid[0]
    _bands(ax, shown, names[0] if alone else TOTAL, i=i, inside=inside, scale=widths)
    steps(ax, nominal / widths, edges, 0, color="black", linestyle="-", label=shown.points[i])
    wider, narrower, line = ax.get_legend_handles_labels()[0]
    handles: list[Any] = [line, narrower, wider]
    if shown.counts is not None:
        handles.append(points(ax, shown, edges, inside, widths))
    make_room(ax, shown, inside, widths, len(handles) + 1, log=log)
    ax.legend(handles=handles, loc="upper right", title=names[0] if alone else TOTAL, title_fontsize="small")
    name = label or shown.axes[0].name
    ax.set_ylabel(density_label(shown, name, unit))
    with np.errstate(divide="ignore", invalid="ignore"):  # an empty bin has no ratio: nothing is drawn there
        for panel, systematic in zip(grid[1:], names, strict=True):
            _ratios(panel, shown, systematic, i=i, inside=inside, together=not alone)
    grid[1 + len(names) // 2].set_ylabel(f"ratio to {shown.points[i]}", loc="center", fontsize="small")
    ax.set_xlim(edges[0], edges[-1])
    grid[-1].set_xlabel(name + (f" [{unit}]" if unit else ""))
    for each in grid if flow else ():
        mark_flow(each, edges, named=each is ax)
    return ax


def _bands(
    ax: Axes, shown: Distribution, systematic: str, *, i: int, inside: slice, scale: NDArray[np.float64]
) -> None:
    """Draw the bands of the toys at point number i, divided by `scale` (n_bins,), the wider one first."""
    edges, _ = shown_bins(shown, flow=inside.start is None)
    for name, (level, grey) in reversed(_LEVELS.items()):
        low, high = (end[i][inside] / scale for end in shown.band(level, systematic))
        band(ax, low, high, edges, color=grey, label=name)


def _ratios(ax: Axes, shown: Distribution, systematic: str, *, i: int, inside: slice, together: bool) -> None:
    """Draw the bands relative to point number i; `together`: beside the band of all, else beside the data."""
    edges, _ = shown_bins(shown, flow=inside.start is None)
    nominal, data = shown.value[i][inside], None
    _bands(ax, shown, systematic, i=i, inside=inside, scale=nominal)
    ax.axhline(1.0, color="black", linewidth=0.8)
    ends = [end[i][inside] / nominal for end in shown.band(_LEVELS["95%"][0], systematic)]
    if together:
        ax.text(0.02, 0.94, systematic, transform=ax.transAxes, va="top", fontsize="small")
        ends += [end[i][inside] / nominal for end in shown.band()]
        for end in ends[-2:]:
            steps(ax, end, edges, 0, color="black", linestyle=look(1).dash, linewidth=0.8)
    elif shown.counts is not None:
        data = points(ax, shown, edges, inside, nominal)
        ends.append(np.quantile(np.asarray(data[0].get_ydata()), [0.1, 0.9]))
    distance = np.abs(np.concatenate(ends) - 1.0)
    reach = 1.4 * float(distance[np.isfinite(distance)].max())
    frame_ratios(ax, 1.0 - reach, 1.0 + reach, data)
