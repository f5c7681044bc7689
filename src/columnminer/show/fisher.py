"""Pictures of Fisher information: the errors that it promises, and the directions in which it is large."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy.stats import chi2

from columnminer.errors import InputError, MissingError
from columnminer.show.contours import WIDTHS, check_levels, draw_point, level_handles
from columnminer.show.style import axes, look, panels, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from columnminer.learn.information import Information
    from columnminer.show.style import Look

__all__ = ["plot_information", "plot_information_bars"]

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
    errors: float = 1.0,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw the ellipses :math:`(\theta-\theta_0)^T I (\theta-\theta_0) = q` of two parameters.

    `q` is the quantile of a :math:`\chi^2` with two degrees of freedom at each confidence level: the expected contours
    in the limit of many events (that of a distance d to the centre has the level :math:`1 - \exp(-d^2/2)`). What
    constrains one direction only, such as a rate, appears as parallel lines. Bands are the statistical errors of the
    outermost ellipses.

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
    errors
        Half the width of the bands, in standard errors of the information; 0 for none.
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
    levels = check_levels(levels, "plot_information")
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
            for level, width in zip(levels, WIDTHS, strict=False):
                points = origin[:, None] + np.sqrt(chi2.ppf(level, df=2)) * unit
                ax.plot(*points, color=style.colour, linestyle=style.dash, linewidth=width)
            outermost = np.sqrt(chi2.ppf(levels[-1], df=2)) * unit
            reach.append(np.abs(outermost).max(axis=1))
            ax.fill(*_error_band(result, origin, outermost, errors), color=style.colour, alpha=0.25, linewidth=0.0)
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
    draw_point(ax, origin)
    labels = names if labels is None else tuple(labels)
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1])
    handles += level_handles(levels)
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def _error_band(
    result: Information, origin: NDArray[np.float64], ellipse: NDArray[np.float64], errors: float
) -> NDArray[np.float64]:
    """Return the ring (2, 2 n) between an ellipse (2, n) with more and one with less information by so many errors."""
    square = np.einsum("in,ij,jn->n", ellipse, result.information, ellipse)
    variance = np.einsum("in,jn,kn,ln,ijkl->n", *[ellipse] * 4, result.covariance, optimize=True)
    relative = errors * np.sqrt(np.maximum(variance, 0.0)) / square
    # A direction of which the events may say nothing has no end: it is drawn to far outside of the picture.
    inner, outer = (ellipse / np.sqrt(np.maximum(1.0 + side * relative, 1e-4)) for side in (1.0, -1.0))
    return np.asarray(origin[:, None] + np.concatenate([inner, outer[:, ::-1]], axis=1))


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
        for level, width in zip(levels, WIDTHS, strict=False):
            for side in (-1.0, 1.0):
                foot = origin + side * np.sqrt(chi2.ppf(level, df=2) / value) * direction
                ends = np.stack([foot - reach * along, foot + reach * along], axis=1)
                ax.plot(*ends, color=style.colour, linestyle=style.dash, linewidth=width)
    ax.set_xlim(xlim)
    ax.set_ylim(ylim)


@styled
def plot_information_bars(
    information: Mapping[str, Information],
    *,
    parameters: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
) -> Axes:
    r"""Draw the eigenvalues of several informations, and below them the geometric means of these.

    Each eigenvalue is a line, divided by the squares of the components of its eigenvector: what part of the direction
    lies along each parameter. All parameters must have one unit. The geometric mean :math:`\det(I)^{1/n}` is drawn with
    its standard error.

    Parameters
    ----------
    information
        Results on the same parameters, by the name that stands below each.
    parameters
        Draw the information about these if all others are known; see `Information.project`. All by default.
    labels
        Of the parameters, for the legend; their names by default.

    Returns
    -------
    matplotlib.axes.Axes
        Those of the eigenvalues; those of the means are the second of the figure.

    Raises
    ------
    InputError
        If the results are on different parameters.
    UnknownNameError
        If one is not about one of `parameters`.
    MissingError
        If there is no information.
    """
    results = {n: i if parameters is None else i.project(parameters) for n, i in information.items()}
    names = next(iter(results.values())).parameter_names
    if any(result.parameter_names != names for result in results.values()):
        msg = "plot_information_bars draws results on the same parameters; project or profile others first"
        raise InputError(msg)
    largest = max(float(result.eigenvalues[-1]) for result in results.values())
    if not largest > 0.0:
        msg = "there is no information to draw"
        raise MissingError(msg)
    size = (max(5.0, 2.6 + 1.3 * len(results)) + 1.4, 5.6)
    above, below = panels(2, 1, size, sharex=True, height_ratios=[1.3, 1.0]).ravel()
    smallest = largest
    for column, result in enumerate(results.values()):
        for value, direction in zip(result.eigenvalues, result.eigenvectors, strict=True):
            if value <= _SINGULAR * largest:
                continue  # nothing is known in this direction
            smallest = min(smallest, float(value))
            ends = column - 0.4 + 0.8 * np.concatenate([[0.0], np.cumsum(direction**2)])
            for i, (left, right) in enumerate(itertools.pairwise(ends)):
                above.plot([left, right], [value] * 2, color=look(i).colour, linewidth=4.0, solid_capstyle="butt")
                above.plot([left] * bool(i), [value] * bool(i), marker="|", color="black", markersize=8)
    means = np.array([result.mean for result in results.values()])
    errors = np.array([result.mean_error for result in results.values()])
    below.bar(range(len(means)), means, width=0.8, color="0.85", edgecolor="0.3")
    below.errorbar(range(len(means)), means, yerr=errors, fmt="none", ecolor="black", elinewidth=1.2, capsize=3)
    above.set_yscale("log")
    above.set_ylim(0.4 * smallest, 2.5 * largest)
    above.set_ylabel("eigenvalues of $I$")
    below.set_ylabel(f"$(\\det I)^{{1/{len(names)}}}$")
    below.set_ylim(0.0, 1.1 * float((means + errors).max()) or 1.0)
    below.set_xticks(range(len(results)), list(results), rotation=25, ha="right", rotation_mode="anchor")
    below.set_xlim(-0.6, len(results) - 0.4)
    for ax in (above, below):
        ax.tick_params(axis="x", which="both", length=0)
    titles = names if labels is None else labels
    handles = [Line2D([], [], color=look(i).colour, linewidth=4.0, label=title) for i, title in enumerate(titles)]
    above.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), title="part along,\nfrom the left")
    first: Axes = above
    return first
