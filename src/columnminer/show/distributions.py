"""Pictures of distributions: observables at several parameter points, with uncertainty bands, ratios and data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from columnminer.errors import InputError, UnknownNameError, did_you_mean
from columnminer.infer.distributions import TOTAL, Distribution
from columnminer.show.histograms import band, frame_ratios, make_room, mark_flow, middles, points, shown_bins, steps
from columnminer.show.maps import draw_map
from columnminer.show.style import look, panels, styled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from boost_histogram import Histogram
    from matplotlib.axes import Axes
    from matplotlib.container import ErrorbarContainer
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "density_label",
    "index_of",
    "one_dimensional",
    "plot_distribution",
    "plot_distribution_2d",
    "plot_distributions",
]

_LOG_RATIO = 30.0
"""Ratios beyond this are shown on a logarithmic axis."""
_KNOWN = 0.3
"""Relative statistical error up to which a bin decides on the range of ratios."""
_LINES = 6
"""From so many on, a legend has two columns."""


@styled
def plot_distribution(
    distribution: Distribution | Mapping[str, Histogram[Any]],
    *,
    label: str = "",
    unit: str = "",
    reference: str | None = None,
    normalised: bool = False,
    log: bool = False,
    n_toys: int = 0,
    flow: bool = False,
    ax: Axes | None = None,
    ratio_ax: Axes | None = None,
) -> Axes:
    """Draw an observable at several parameter points, per bin width, and the ratios to one of them.

    Bars are the statistical errors of the simulation, bands the central 68 % of the toys in which the nuisance
    parameters vary, black points the data with their 68 % intervals.

    Parameters
    ----------
    distribution
        Such as `columnminer.distributions` gives; or one-dimensional histograms with equal axes and contents in pb, by
        the name that the legend gives them.
    label
        What the observable is called on the axis; its name by default.
    unit
        Of the observable: ``"GeV"``, ``"rad"`` or nothing.
    reference
        Name of the parameter point that the ratios are taken to; the first by default.
    normalised
        Whether to compare shapes only: each area is 1.
    log
        Whether the axis of the distributions is logarithmic.
    n_toys
        So many toys are drawn as thin lines, too.
    flow
        Whether to draw under- and overflow beyond dotted lines, as if as wide as their neighbours.
    ax, ratio_ax
        Where to draw the distributions and their ratios; a new figure by default. With `ax` alone, no ratios are drawn.

    Raises
    ------
    InputError
        If it is not one-dimensional, or histograms have different axes.
    UnknownNameError
        If no parameter point is called `reference`.
    MissingError
        If it is to be normalised, and there is nothing between the edges.
    """
    shown = one_dimensional(distribution, normalised=normalised)
    base = index_of(shown, reference)
    if ax is None:
        compared = len(shown.points) > 1 or bool(shown.toys) or shown.counts is not None
        grid = panels(1 + compared, 1, (6.4, 5.6), sharex=True, height_ratios=[3, 1] if compared else None)
        ax, ratio_ax = grid[0, 0], grid[1, 0] if compared else None
    edges, inside = shown_bins(shown, flow=flow)
    widths = np.diff(edges)
    _draw(ax, shown, edges, inside, widths, n_toys=n_toys)
    name = label or shown.axes[0].name
    ax.set_ylabel(density_label(shown, name, unit))
    handles = ax.get_legend_handles_labels()[0]
    columns = 1 if len(handles) < _LINES else 2
    make_room(ax, shown, inside, widths, -(-len(handles) // columns), log=log)
    ax.legend(handlelength=3, loc="upper right", ncols=columns)
    ax.set_xlim(edges[0], edges[-1])
    bottom = ax if ratio_ax is None else ratio_ax
    bottom.set_xlabel(name + (f" [{unit}]" if unit else ""))
    if ratio_ax is not None:
        _draw_ratios(ratio_ax, shown, edges, inside, base, n_toys=n_toys)
    for each in (ax, ratio_ax):
        if flow and each is not None:
            mark_flow(each, edges, named=each is ax)
    return ax


@styled
def plot_distributions(
    several: Sequence[Distribution],
    *,
    labels: Sequence[str] | None = None,
    units: Sequence[str] | None = None,
    columns: int = 3,
    **options: Any,
) -> Axes:
    """Draw several observables side by side, without ratios, and return the first of the axes.

    Parameters
    ----------
    several
        Distributions at the same parameter points.
    labels, units
        What each is called, and its unit.
    columns
        Panels beside each other.
    options
        Further ones of `plot_distribution`.

    Raises
    ------
    InputError
        If there are none, or not as many labels or units.
    """
    labels = [""] * len(several) if labels is None else list(labels)
    units = [""] * len(several) if units is None else list(units)
    if not several or len(labels) != len(several) or len(units) != len(several):
        msg = f"a label and a unit are needed for each of {len(several)} distributions"
        raise InputError(msg)
    columns = min(columns, len(several))
    rows = -(-len(several) // columns)
    grid = panels(rows, columns, (4.4 * columns, 3.9 * rows)).ravel()
    grid[0].figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08)
    for ax, one, label, unit in zip(grid, several, labels, units, strict=False):
        plot_distribution(one, label=label, unit=unit, ax=ax, **options)
        ax.xaxis.set_major_locator(MaxNLocator(5, prune="both"))
    for ax in grid[len(several) :]:
        ax.set_axis_off()
    first: Axes = grid[0]
    return first


@styled
def plot_distribution_2d(
    distribution: Distribution | Mapping[str, Histogram[Any]],
    *,
    labels: Sequence[str] | None = None,
    data: ArrayLike | None = None,
    log: bool = False,
    columns: int = 2,
) -> Axes:
    """Draw the density of two observables, a panel for each parameter point, and return the first of the axes.

    Parameters
    ----------
    distribution
        In two observables, as for `plot_distribution`.
    labels
        Of the two axes; the names of the observables by default.
    data
        Observed events (n, 2), drawn as dots.
    log
        Whether the colours are on a logarithmic scale; empty bins are white.
    columns
        Panels beside each other.

    Raises
    ------
    InputError
        If there are not two observables.
    """
    shown = distribution if isinstance(distribution, Distribution) else Distribution.of(distribution)
    if len(shown.axes) != 2:
        msg = "plot_distribution_2d draws distributions in two observables; plot_distribution those in one"
        raise InputError(msg)
    names = [axis.name for axis in shown.axes] if labels is None else list(labels)
    x, y = (axis.edges for axis in shown.axes)
    density = shown.value[:, 1:-1, 1:-1] / (np.diff(x)[:, None] * np.diff(y))
    quantity = {"pb": "cross section [pb]", "events": "events", "": "probability"}[shown.unit]
    columns = min(columns, len(shown.points))
    rows = -(-len(shown.points) // columns)
    grid = panels(rows, columns, (5.0 * columns + 1.0, 4.2 * rows), sharex=True, sharey=True)
    # Colours span four decades at most: a single event of tiny weight would make all others look alike.
    span = max(float(density[density > 0.0].min()), 1e-4 * float(density.max())), float(density.max())
    for i, (ax, point, values) in enumerate(zip(grid.ravel(), shown.points, density, strict=False)):
        image = draw_map(ax, (x, y), np.where(values > 0.0, values, np.nan), span, log=log)
        ax.set_title(point)
        if data is not None:
            events = np.asarray(data, dtype=np.float64)
            ax.plot(*events.T, "o", color="black", markeredgecolor="white", markersize=4, label="data")
            ax.set_xlim(x[0], x[-1])
            ax.set_ylim(y[0], y[-1])
            if i == 0:
                ax.legend(loc="upper right", frameon=True, handletextpad=0.3)
        if i + columns >= len(shown.points):
            ax.set_xlabel(names[0])
            ax.tick_params(labelbottom=True)
        if i % columns == 0:
            ax.set_ylabel(names[1])
    for ax in grid.ravel()[len(shown.points) :]:
        ax.set_axis_off()
    first: Axes = grid[0, 0]
    first.figure.colorbar(image, ax=list(grid.ravel())).set_label(f"{quantity} per unit of both axes", loc="center")
    return first


def one_dimensional(distribution: Distribution | Mapping[str, Histogram[Any]], *, normalised: bool) -> Distribution:
    """Return what is to be drawn of one observable."""
    shown = distribution if isinstance(distribution, Distribution) else Distribution.of(distribution)
    if len(shown.axes) != 1:
        msg = "this picture shows distributions in one observable; those in two plot_distribution_2d"
        raise InputError(msg)
    return shown.normalised() if normalised else shown


def density_label(shown: Distribution, name: str, unit: str) -> str:
    """Return what the contents per bin width are."""
    per = f" / {unit}" if unit else ""
    if shown.unit == "events":
        return f"events{per}" if unit else f"events per unit of {name}"
    if shown.unit == "pb":
        return rf"d$\sigma$ / d {name} [pb{per}]"
    return rf"(1/$\sigma$) d$\sigma$ / d {name}" + (f" [1{per}]" if unit else "")


def index_of(shown: Distribution, point: str | None) -> int:
    """Return the number of a parameter point; the first by default."""
    name = shown.points[0] if point is None else point
    if name not in shown.points:
        msg = f"no parameter point is called {name!r}.{did_you_mean(name, shown.points)}"
        raise UnknownNameError(msg)
    return shown.points.index(name)


def _draw(
    ax: Axes,
    shown: Distribution,
    edges: NDArray[np.float64],
    inside: slice,
    scale: NDArray[np.float64],
    *,
    n_toys: int,
    skip: int | None = None,
) -> ErrorbarContainer | None:
    """Draw all divided by `scale` (n_bins,), but for the line of point number `skip`; return the data."""
    values = shown.value[:, inside] / scale
    errors = None if shown.error is None else shown.error[:, inside] / scale
    lows, highs = (ends[:, inside] / scale for ends in shown.band()) if shown.toys else (None, None)
    toys = shown.toys[TOTAL][:, :n_toys, inside] / scale if shown.toys else None
    for i, point in enumerate(shown.points):
        colour = look(i).colour
        if lows is not None and highs is not None:
            band(ax, lows[i], highs[i], edges, color=colour, alpha=0.25)
        for toy in toys[i] if toys is not None else ():
            steps(ax, toy, edges, i, linewidth=0.4, alpha=0.6)
        if i != skip:
            steps(ax, values[i], edges, i, label=point)
            if errors is not None:
                ax.errorbar(
                    middles(edges), values[i], yerr=errors[i], fmt="none", ecolor=colour, elinewidth=0.8, alpha=0.7
                )
    return None if shown.counts is None else points(ax, shown, edges, inside, scale)


def _draw_ratios(
    ax: Axes, shown: Distribution, edges: NDArray[np.float64], inside: slice, base: int, *, n_toys: int
) -> None:
    nominal = shown.value[base][inside]
    with np.errstate(divide="ignore", invalid="ignore"):  # an empty reference bin has no ratio: nothing is drawn there
        data = _draw(ax, shown, edges, inside, nominal, n_toys=n_toys, skip=base)
        drawn = shown.value[:, inside] / nominal
        if shown.error is not None:  # what is hardly known does not decide how much of the axis the rest gets
            known = shown.error[:, inside] < _KNOWN * shown.value[:, inside]
            drawn = np.where(known & known[base], drawn, 1.0)
        if shown.toys:
            drawn = np.concatenate([drawn, *(ends[:, inside] / nominal for ends in shown.band())])
    ax.axhline(1.0, color=look(base).colour, linewidth=0.8)
    ax.set_ylabel(f"ratio to {shown.points[base]}", loc="center", fontsize="small")
    drawn = drawn[np.isfinite(drawn)]
    if drawn.max() > _LOG_RATIO:
        ax.set_yscale("log")
    else:  # data decide as far as they agree with each other: a single one far away is pointed to
        seen = [] if data is None else list(np.quantile(np.asarray(data[0].get_ydata()), [0.1, 0.9]))
        low, high = min(drawn.min(), *seen, 1.0), max(drawn.max(), *seen, 1.0)
        margin = max(0.15 * (high - low), 0.02)
        frame_ratios(ax, low - margin, high + margin, data)
