"""Pictures of nuisance parameters in a fit: pulls, impacts on the parameter of interest, correlations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from columnminer.errors import InputError, UnknownNameError, did_you_mean
from columnminer.show.style import axes, look, panels, styled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from columnminer.infer.fit import FitResult
    from columnminer.infer.impacts import Impacts

__all__ = ["plot_correlations", "plot_impacts"]

_MOST = 20
"""Nuisance parameters in a picture of impacts unless more are wanted; those with the largest come first."""


@styled
def plot_impacts(
    impacts: Impacts, *, most: int = _MOST, label: str | None = None, names: Mapping[str, str] | None = None
) -> Axes:
    """Draw the pulls of nuisance parameters, and beside them their impacts on the parameter of interest.

    Left: fitted minus nominal value with the error after the fit, in widths of the constraint (grey: one width before
    the fit); parameters without a constraint have their value and error written there. Right: by how much the
    parameter of interest moves when the nuisance parameter is held one standard error above its best fit (filled) or
    below it (hatched).

    Parameters
    ----------
    impacts
        The result.
    most
        Draw so many, those with the largest impacts.
    label
        Of the parameter of interest; its name by default.
    names
        What to call nuisance parameters, by name; their names by default.

    Returns
    -------
    matplotlib.axes.Axes
        Those of the pulls; those of the impacts are the second of the figure.

    Raises
    ------
    InputError
        If there are no nuisance parameters.
    """
    shown = impacts.nuisances[:most]
    if not shown:
        msg = f"there are no nuisance parameters with an impact on {impacts.name!r} to draw"
        raise InputError(msg)
    pulls, moves = panels(1, 2, (8.4, 1.9 + 0.34 * len(shown)), sharey=True, width_ratios=[1.0, 1.0]).ravel()
    rows = np.arange(len(shown))
    pulls.axvspan(-1.0, 1.0, color="0.9", linewidth=0.0)
    pulls.axvline(0.0, color="0.5", linewidth=0.8)
    pull, error = impacts.pulls[:most], impacts.constrained[:most]
    known = np.isfinite(pull)
    pulls.errorbar(
        pull[known], rows[known], xerr=error[known], color="black", marker="o", markersize=4, linestyle="none"
    )
    for row in rows[~known]:
        text = f"{impacts.values[row]:.3g} ± {impacts.errors[row]:.2g}"
        pulls.text(0.0, row, text, ha="center", va="center", fontsize="small", bbox={"color": "white", "pad": 1.0})
    reach = 1.15 * max(1.5, float(np.nanmax(np.abs(pull) + error, initial=0.0)))
    pulls.set_xlim(-reach, reach)
    up, down = look(0).colour, look(2).colour
    moves.axvline(0.0, color="0.5", linewidth=0.8)
    options: dict[str, Any] = {"height": 0.38, "edgecolor": "black", "linewidth": 0.6}
    moves.barh(rows - 0.19, impacts.up[:most], color=up, **options)
    moves.barh(rows + 0.19, impacts.down[:most], color=down, hatch="////", **options)
    widest = 1.15 * float(np.max(impacts.largest)) or 1.0
    moves.set_xlim(-widest, widest)
    moves.xaxis.set_major_locator(MaxNLocator(5))
    pulls.set_yticks(rows, [(names or {}).get(name, name) for name in shown])
    pulls.set_ylim(len(shown) - 0.4, -0.6)
    for ax in (pulls, moves):
        ax.tick_params(axis="y", which="both", left=False, right=False)
    pulls.set_xlabel(r"pull $(\hat\nu - \nu_0) / \sigma_0$")
    moves.set_xlabel(f"shift of {impacts.name if label is None else label}")
    handles = [
        Line2D([], [], color="black", marker="o", markersize=4, label="after the fit"),
        Patch(color="0.9", label="before the fit"),
        Patch(facecolor=up, edgecolor="black", label=r"$+1\,\sigma$"),
        Patch(facecolor=down, edgecolor="black", hatch="////", label=r"$-1\,\sigma$"),
    ]
    pulls.figure.legend(handles=handles, loc="outside upper center", ncols=4)
    first: Axes = pulls
    return first


@styled
def plot_correlations(
    fit: FitResult,
    *,
    parameters: Sequence[str] | None = None,
    names: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the correlation matrix of a fit; white fields have no number where parameters are at a limit.

    Parameters
    ----------
    fit
        The result.
    parameters
        Which; all free ones by default.
    names
        What to call parameters, by name; their names by default.
    ax
        Where to draw; a new figure by default.

    Raises
    ------
    UnknownNameError
        If a parameter was not free.
    """
    shown = list(fit.parameter_names if parameters is None else parameters)
    for name in shown:
        if name not in fit.parameter_names:
            msg = f"{name!r} was not free in this fit.{did_you_mean(name, fit.parameter_names)}"
            raise UnknownNameError(msg)
    keep = [fit.parameter_names.index(name) for name in shown]
    values = np.ma.masked_invalid(fit.correlation[np.ix_(keep, keep)])
    size = 2.4 + 0.55 * len(shown)
    ax = axes(ax, (size + 1.0, size))
    image = ax.imshow(values, cmap="RdBu_r", vmin=-1.0, vmax=1.0)
    if len(shown) <= _MOST:
        for (i, j), value in np.ndenumerate(values.filled(np.nan)):
            if np.isfinite(value):  # in grey both ends of the scale are dark, and the sign tells them apart
                colour = "white" if abs(value) > 0.6 else "black"
                ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize="x-small", color=colour)
    titles = [(names or {}).get(name, name) for name in shown]
    ax.set_xticks(range(len(shown)), titles, rotation=40, ha="right", rotation_mode="anchor", fontsize="small")
    ax.set_yticks(range(len(shown)), titles, fontsize="small")
    ax.tick_params(which="both", length=0)
    ax.minorticks_off()
    ax.figure.colorbar(image, ax=ax, shrink=0.8).set_label("correlation", loc="center")
    return ax
