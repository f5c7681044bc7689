"""Pictures of data in an analysis space: events by source, beside what each source is expected to give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from columnminer.errors import InputError, UnknownNameError, did_you_mean
from columnminer.show.style import look, panels, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from columnminer.infer.template_events import TemplateEvents
    from columnminer.infer.templates import SourceHistogram

__all__ = ["plot_events"]


@styled
def plot_events(
    events: TemplateEvents | Mapping[str, NDArray[Any]],
    sources: Mapping[str, SourceHistogram],
    *,
    along: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Axes:
    """Draw events in one or two dimensions of an analysis space, beside the expectation of each source.

    In one dimension: events in the bins of the templates, with Poisson bars, beside the sum of all sources (black) and
    each of them. In two: each event as a point, of simulated ones marked by the source that it is from, and such
    distributions along both axes.

    Parameters
    ----------
    events
        One data set: such as `TemplateLikelihood.simulate` gives, or a column for each axis.
    sources
        Expected numbers of events by source: `TemplateLikelihood.source_histograms` with ``expected_events=True``.
    along
        One or two axes; the first two (or the only one) by default. Others are summed over.
    labels
        What to call axes and sources, by name, with units; their names by default.

    Returns
    -------
    matplotlib.axes.Axes
        Those of the events.

    Raises
    ------
    InputError
        If there are other than one or two axes.
    UnknownNameError
        If the analysis space has no such axis.
    MissingError
        If the positions of the events are not known.
    """
    space = next(iter(sources.values())).edges
    names = list(space)[:2] if along is None else list(along)
    if len(names) not in {1, 2}:
        msg = f"plot_events draws one or two axes, not {len(names)}"
        raise InputError(msg)
    for name in names:
        if name not in space:
            msg = f"the analysis space has no axis {name!r}.{did_you_mean(name, space)}"
            raise UnknownNameError(msg)
    table = events if isinstance(events, Mapping) else _columns(events)
    called = {name: name for name in (*space, *sources)} | dict(labels or {})
    if len(names) == 1:
        ax: Axes = panels(1, 1, (7.4, 4.8))[0, 0]
        handles = _spectrum(ax, names[0], table, sources, called)
        ax.set_xlabel(called[names[0]])
        ax.set_ylabel("events / bin")
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return ax
    every = panels(2, 2, (7.6, 6.0), width_ratios=[2.2, 1.0], height_ratios=[1.0, 2.2], sharex="col", sharey="row")
    (above, corner), (ax, beside) = every
    own = table.get("source")
    handles = _spectrum(above, names[0], table, sources, called, marked=own is not None)
    _spectrum(beside, names[1], table, sources, called, upright=False)
    for i in range(1 if own is None else len(sources)):
        style, rows = look(i), slice(None) if own is None else own == i
        colour = "black" if own is None else style.colour
        marker = "." if own is None else style.marker
        x, y = (np.asarray(table[name])[rows] for name in names)
        ax.plot(x, y, color=colour, marker=marker, markersize=4, linestyle="none", alpha=0.8, rasterized=True)
    ax.set_xlim(space[names[0]][0], space[names[0]][-1])
    ax.set_ylim(space[names[1]][0], space[names[1]][-1])
    ax.set_xlabel(called[names[0]])
    ax.set_ylabel(called[names[1]])
    above.set_ylabel("events / bin", fontsize="small")
    beside.set_xlabel("events / bin", fontsize="small")
    ax.xaxis.set_major_locator(MaxNLocator(5, prune="upper"))
    beside.xaxis.set_major_locator(MaxNLocator(3, prune="lower"))
    above.yaxis.set_major_locator(MaxNLocator(3, prune="lower"))
    corner.set_axis_off()
    corner.legend(handles=handles, loc="upper left")
    return ax


def _columns(events: TemplateEvents) -> dict[str, NDArray[Any]]:
    table = events.table()
    return {name: table[name] for name in table.dtype.names or ()}


def _spectrum(
    ax: Axes,
    name: str,
    table: Mapping[str, NDArray[Any]],
    sources: Mapping[str, SourceHistogram],
    called: Mapping[str, str],
    *,
    upright: bool = True,
    marked: bool = False,
) -> list[Any]:
    """Draw events and sources along one axis, and return what a legend says of them (also of `marked` points)."""
    orientation: Any = "vertical" if upright else "horizontal"
    edges = next(iter(sources.values())).edges[name]
    contents = {source: histogram.projected(name).values for source, histogram in sources.items()}
    total = np.sum(list(contents.values()), axis=0)
    ax.stairs(total, edges, color="black", linewidth=1.0, orientation=orientation)
    handles: list[Any] = [Line2D([], [], color="black", linewidth=1.0, label="all sources")]
    for i, (source, values) in enumerate(contents.items()):
        style = look(i)
        ax.stairs(values, edges, color=style.colour, linestyle=style.dash, linewidth=1.4, orientation=orientation)
        marker = style.marker if marked else ""
        handles.append(
            Line2D([], [], color=style.colour, linestyle=style.dash, marker=marker, markersize=4, label=called[source])
        )
    counts = np.histogram(np.asarray(table[name]), edges)[0]
    centres, errors = 0.5 * (edges[1:] + edges[:-1]), np.sqrt(counts)
    points = (centres, counts) if upright else (counts, centres)
    bars: dict[str, Any] = {"yerr" if upright else "xerr": errors}
    drawn = ax.errorbar(
        *points, **bars, color="black", marker="o", markersize=3, elinewidth=0.9, linestyle="none", label="events"
    )
    highest = 1.25 * float(max((counts + errors).max(), total.max()))
    (ax.set_ylim if upright else ax.set_xlim)(0.0, highest)
    (ax.set_xlim if upright else ax.set_ylim)(edges[0], edges[-1])
    return [drawn, *handles]
