"""Pictures of Fisher information: the errors that it promises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy.stats import chi2

from columnminer.errors import InputError, MissingError
from columnminer.show.style import axes, look, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from columnminer.learn.information import Information
    from columnminer.show.style import Look

__all__ = ["plot_information"]

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
