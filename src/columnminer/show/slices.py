"""Pictures of where information is: the share of each slice of an observable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from columnminer.errors import InputError, MissingError, UnknownNameError, did_you_mean
from columnminer.learn.information import Information
from columnminer.show.style import axes, look, styled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from columnminer.infer.slices import InformationSlices

__all__ = ["plot_information_slices"]


@styled
def plot_information_slices(
    slices: InformationSlices,
    *,
    parameters: Sequence[str] | None = None,
    determinant: bool = False,
    labels: Mapping[str, str] | None = None,
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
        Which parameters; by default all about which there is information. For directions in parameter space, draw
        `columnminer.infer.slices.InformationSlices.along` them.
    determinant
        Draw the geometric mean of the eigenvalues, too, relative to that of all slices together: its shares do not
        add up to one where slices are about different directions.
    labels
        What the legend calls parameters, by name; their names by default.
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
        text = (labels or {}).get(name, name)
        ax.stairs(full, edges, baseline=None, color=style.colour, linestyle=style.dash, label=text)
        # Beside each other, not over each other.
        at = centres + half * (2 * (i + 1) / (len(names) + 1) - 1)
        ax.errorbar(at, full, yerr=error, fmt="none", ecolor=style.colour, elinewidth=1.0)
        ax.stairs(rate, edges, baseline=None, color=style.colour, linestyle=style.dash, linewidth=0.7)
    if determinant:
        means = np.array(
            [
                Information(value, covariance, slices.parameter_names).mean
                for value, covariance in zip(slices.full[shown], slices.full_covariance[shown], strict=True)
            ]
        )
        if not slices.total.mean > 0.0:
            msg = "the determinant of the information is zero: not all parameters are constrained"
            raise MissingError(msg)
        ax.stairs(means / slices.total.mean, edges, baseline=None, color="black", linewidth=1.2, label="determinant")
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
    ax.plot([], [], color="black", linewidth=0.7, label="number of events alone")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax
