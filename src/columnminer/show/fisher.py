"""Pictures of Fisher information: the errors that it promises, and the events that it is in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy.stats import chi2

from columnminer.errors import InputError, MissingError, UnknownNameError, did_you_mean
from columnminer.show.style import axes, look, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.fisher import InformationSlices
    from columnminer.learn.information import Information
    from columnminer.show.style import Look

__all__ = ["plot_information", "plot_information_slices"]

_WIDTHS = (2.2, 1.1, 0.7)
_SINGULAR = 1e-10
"""Smaller eigenvalues, relative to the largest, are rounding noise around zero."""
_CIRCLE = np.stack([np.cos(np.linspace(0.0, 2.0 * np.pi, 181)), np.sin(np.linspace(0.0, 2.0 * np.pi, 181))])


@styled
def plot_information(
    information: Information | Mapping[str, Information],
    *,
    centre: ArrayLike = (0.0, 0.0),
    levels: Sequence[float] = (0.68, 0.95),
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw the ellipses :math:`(\theta-\theta_0)^T I (\theta-\theta_0) = q` of two parameters.

    `q` is the quantile of a :math:`\chi^2` with two degrees of freedom at each confidence level: the expected contours
    in the limit of many events. What constrains one direction only, such as a rate, appears as parallel lines.

    Parameters
    ----------
    information
        A result on two parameters, or several by the name that the legend gives them. Project or profile others away
        first.
    centre
        The point (2,) at which the information was taken.
    levels
        Confidence levels, at most three; the innermost is drawn thickest.
    labels
        Axis labels; the names of the parameters by default.
    ax
        Where to draw; a new figure by default.

    Raises
    ------
    InputError
        If a result is not about the same two parameters, or too many levels are given.
    MissingError
        If no information is positive definite, so that no contour is closed.
    """
    results = information if isinstance(information, Mapping) else {"": information}
    names = tuple(next(iter(results.values())).parameter_names)
    if len(names) != 2 or any(tuple(r.parameter_names) != names for r in results.values()):
        msg = "plot_information draws results on the same two parameters; project or profile the others first"
        raise InputError(msg)
    if len(levels) > len(_WIDTHS):
        msg = f"plot_information draws at most {len(_WIDTHS)} levels"
        raise InputError(msg)
    ax = axes(ax, (7.4, 5.4))
    origin = np.asarray(centre, dtype=np.float64)
    handles, bands, reach = [], [], []
    for i, (name, result) in enumerate(results.items()):
        style = look(i)
        values, vectors = np.linalg.eigh(np.asarray(result.information, dtype=np.float64))
        if values[1] <= 0:
            continue
        if values[0] <= _SINGULAR * values[1]:
            bands.append((style, values[1], vectors[:, 1]))
        else:
            unit = vectors @ (_CIRCLE / np.sqrt(values)[:, None])
            for level, width in zip(sorted(levels), _WIDTHS, strict=False):
                points = origin[:, None] + np.sqrt(chi2.ppf(level, df=2)) * unit
                ax.plot(*points, color=style.colour, linestyle=style.dash, linewidth=width)
            reach.append(np.sqrt(chi2.ppf(max(levels), df=2)) * np.abs(unit).max(axis=1))
        if name:
            handles.append(Line2D([], [], color=style.colour, linestyle=style.dash, label=name))
    if not ax.lines:
        msg = "none of these informations constrains both parameters: there is no closed contour to draw"
        raise MissingError(msg)
    # The picture shows most of the ellipses whole; one far longer than the others would shrink them to a point.
    half = 1.25 * np.quantile(reach, 0.5, axis=0, method="higher")
    ax.set_xlim(origin[0] - half[0], origin[0] + half[0])
    ax.set_ylim(origin[1] - half[1], origin[1] + half[1])
    ax.xaxis.set_major_locator(MaxNLocator(5))
    _draw_bands(ax, bands, origin, levels)
    ax.plot(*origin, marker="+", color="black", markersize=12, markeredgewidth=1.5)
    labels = names if labels is None else tuple(labels)
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1])
    handles += [
        Line2D([], [], color="black", linewidth=_WIDTHS[i], label=f"{level:.0%} CL")
        for i, level in enumerate(sorted(levels))
    ]
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def _draw_bands(
    ax: Axes,
    bands: Sequence[tuple[Look, float, NDArray[np.float64]]],
    origin: NDArray[np.float64],
    levels: Sequence[float],
) -> None:
    """Draw what constrains one direction only (a rate) as pairs of parallel lines, without widening the picture."""
    xlim, ylim = ax.get_xlim(), ax.get_ylim()
    reach = 2.0 * float(np.hypot(xlim[1] - xlim[0], ylim[1] - ylim[0]))
    for style, value, direction in bands:
        along = np.array([-direction[1], direction[0]])
        for level, width in zip(sorted(levels), _WIDTHS, strict=False):
            for side in (-1.0, 1.0):
                foot = origin + side * np.sqrt(chi2.ppf(level, df=2) / value) * direction
                ends = np.stack([foot - reach * along, foot + reach * along], axis=1)
                ax.plot(*ends, color=style.colour, linestyle=style.dash, linewidth=width)
    ax.set_xlim(xlim)
    ax.set_ylim(ylim)


@styled
def plot_information_slices(
    slices: InformationSlices,
    *,
    parameters: Sequence[str] | None = None,
    label: str = "",
    unit: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw the share that each slice of an observable has in the information about parameters.

    Lines with error bars are all that is known of the events, thinner ones below them the number of events in the slice
    alone, both relative to all that is known in all slices; the grey area is the share of the cross section. Under- and
    overflow stand beyond the dotted lines, as wide as their neighbours, unless they are empty.

    Parameters
    ----------
    slices
        A result with slices along one axis, such as `columnminer.FisherInformation.distribution` gives.
    parameters
        Which parameters; by default all about which there is information.
    label, unit
        Of the observable; by default its name, without a unit.
    ax
        Where to draw; a new figure by default.

    Raises
    ------
    InputError
        If there is more than one axis, or it has no slice between two edges.
    UnknownNameError
        If the information is not about one of the parameters.
    MissingError
        If there is no information.
    """
    if len(slices.axes) != 1 or len(slices.axes[0].edges) < 2:
        msg = "plot_information_slices draws slices of one observable, between two edges or more"
        raise InputError(msg)
    total = np.einsum("kii->i", slices.full)
    known = [name for name, value in zip(slices.parameter_names, total, strict=True) if value > 0.0]
    names = known if parameters is None else list(parameters)
    for name in names:
        if name not in slices.parameter_names:
            msg = f"the information is not about {name!r}.{did_you_mean(name, slices.parameter_names)}"
            raise UnknownNameError(msg)
    if not known or not set(names) <= set(known):
        msg = f"there is no information about {', '.join(n for n in names or slices.parameter_names if n not in known)}"
        raise MissingError(msg)
    ax = axes(ax, (7.4, 4.8))
    inner = slices.axes[0].edges
    edges = np.concatenate([[2 * inner[0] - inner[1]], inner, [2 * inner[-1] - inner[-2]]])
    shown = slice(int(slices.cross_section[0] == 0.0), len(edges) - 1 - int(slices.cross_section[-1] == 0.0))
    edges = edges[shown.start : shown.stop + 1]
    share = slices.cross_section / slices.cross_section.sum()
    ax.stairs(share[shown], edges, fill=True, color="0.88", label="cross section")
    centres, half = 0.5 * (edges[:-1] + edges[1:]), 0.5 * np.diff(edges)
    for i, name in enumerate(names):
        style, k = look(i), slices.parameter_names.index(name)
        full, rate = (values[shown, k, k] / total[k] for values in (slices.full, slices.rate))
        error = np.sqrt(slices.full_covariance[shown, k, k, k, k]) / total[k]
        ax.stairs(full, edges, baseline=None, color=style.colour, linestyle=style.dash, label=name)
        # Beside each other, not over each other.
        at = centres + half * (2 * (i + 1) / (len(names) + 1) - 1)
        ax.errorbar(at, full, yerr=error, fmt="none", ecolor=style.colour, elinewidth=1.0)
        ax.stairs(rate, edges, baseline=None, color=style.colour, linestyle=style.dash, linewidth=0.7)
    for end, edge, text in ((0, inner[0], "underflow"), (-1, inner[-1], "overflow")):
        if edges[end] != edge:
            ax.axvline(edge, color="0.4", linestyle=":", linewidth=1.0)
            note = ax.text(
                centres[end], 0.97, text, fontsize="x-small", color="0.4", ha="center", va="top", rotation=90
            )
            note.set_transform(ax.get_xaxis_transform())
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel((label or slices.axes[0].name) + (f" [{unit}]" if unit else ""))
    ax.set_ylabel("share in the slice")
    ax.plot([], [], color="black", linewidth=0.7, label="number alone")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax
