"""Pictures of calibration and closure: whether an estimate means what it says, before and after it was mended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.show.style import axes, look, panels, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from columnminer.learn.calibration import Curve
    from columnminer.learn.closure import TwoSamples
    from columnminer.learn.verdicts import Finding

__all__ = ["plot_calibration", "plot_calibration_curve", "plot_closure"]


@styled
def plot_calibration(
    finding: Finding | Mapping[str, Finding], *, ax: Axes | None = None, difference_ax: Axes | None = None
) -> Axes:
    """Draw how often events are of the denominator where the estimator says so, and below it the difference.

    Parameters
    ----------
    finding
        From `columnminer.learn.checks.calibration_curve`, or several by the name that the legend gives them, such as
        before and after a calibration.
    ax, difference_ax
        Where to draw both; a new figure by default. With `ax` alone, no differences are drawn.
    """
    results = finding if isinstance(finding, Mapping) else {"": finding}
    if ax is None:
        ax, difference_ax = panels(2, 1, (6.0, 6.4), sharex=True, height_ratios=[3, 1]).ravel()
    first = next(iter(results.values()))
    low = min(float(result.x.min()) for result in results.values())
    high = max(float(result.x.max()) for result in results.values())
    ax.plot([low, high], [low, high], color="black", linewidth=1.0, label="expected")
    for i, (name, result) in enumerate(results.items()):
        style = look(i)
        options: dict[str, Any] = {"color": style.colour, "marker": style.marker, "markersize": 4, "linestyle": "none"}
        ax.errorbar(result.x, result.found, yerr=result.error, label=name or "found", **options)
        if difference_ax is not None:
            difference_ax.errorbar(result.x, result.found - result.expected, yerr=result.error, **options)
    ax.set_ylabel(first.y_label)
    ax.legend(loc="upper left")
    (ax if difference_ax is None else difference_ax).set_xlabel(first.x_label)
    if difference_ax is not None:
        difference_ax.axhline(0.0, color="black", linewidth=1.0)
        difference_ax.set_ylabel("difference", loc="center", fontsize="small")
    return ax


@styled
def plot_calibration_curve(curve: Curve | Mapping[str, Curve], *, ax: Axes | None = None) -> Axes:
    """Draw the calibrated log ratio as a function of the estimated one, with the diagonal.

    Parameters
    ----------
    curve
        That of a calibrated estimator, or several by the name that the legend gives them.
    ax
        Where to draw; a new figure by default.
    """
    results = curve if isinstance(curve, Mapping) else {"": curve}
    ax = axes(ax, (6.0, 5.2))
    low = min(float(result.x[0]) for result in results.values())
    high = max(float(result.x[-1]) for result in results.values())
    margin = 0.05 * max(high - low, 1e-12)
    x = np.linspace(low - margin, high + margin, 400)
    ax.plot(x, x, color="black", linewidth=0.8, label="as estimated")
    for i, (name, result) in enumerate(results.items()):
        ax.plot(x, result(x), color=look(i).colour, linestyle=look(i).dash, label=name or "calibrated")
    ax.set_xlim(x[0], x[-1])
    ax.set_xlabel(r"estimated $\log\,r(x)$")
    ax.set_ylabel(r"calibrated $\log\,r(x)$")
    ax.legend(loc="upper left")
    return ax


@styled
def plot_closure(test: TwoSamples, *, n_bins: int = 20, ax: Axes | None = None, ratio_ax: Axes | None = None) -> Axes:
    """Draw what a classifier says of events of the numerator and of reweighted ones of the denominator.

    If the reweighting is right, both have the same distribution, whatever the classifier learned.

    Parameters
    ----------
    test
        From `columnminer.learn.checks.reweighting_closure`.
    n_bins
        Bins, of equal shares of both samples together.
    ax, ratio_ax
        Where to draw the distributions and their ratio; a new figure by default. With `ax` alone, no ratio is drawn.
    """
    found = test.histogram(n_bins)
    if ax is None:
        ax, ratio_ax = panels(2, 1, (6.4, 5.6), sharex=True, height_ratios=[3, 1]).ravel()
    widths, centres = np.diff(found.edges), 0.5 * (found.edges[1:] + found.edges[:-1])
    style = look(0)
    ax.stairs(found.first / widths, found.edges, fill=True, color="0.85", label="numerator")
    ax.errorbar(centres, found.first / widths, yerr=found.first_error / widths, fmt="none", ecolor=look(5).colour)
    bars: dict[str, Any] = {"color": style.colour, "marker": style.marker, "markersize": 4, "linestyle": "none"}
    ax.errorbar(
        centres, found.second / widths, yerr=found.second_error / widths, label="denominator, reweighted", **bars
    )
    ax.set_ylabel("density")
    ax.set_ylim(0.0, 1.3 * float((np.maximum(found.first, found.second) / widths).max()))
    ax.set_xlim(found.edges[0], found.edges[-1])
    note = f"area under the curve {test.area:.4f} ± {test.error:.4f}"
    ax.annotate(note, (0.03, 0.97), xycoords="axes fraction", va="top", fontsize="small")
    ax.legend(loc="upper right")
    (ax if ratio_ax is None else ratio_ax).set_xlabel("output of the classifier")
    if ratio_ax is not None:
        with np.errstate(divide="ignore", invalid="ignore"):  # an empty bin has no ratio
            ratio, error, own = (v / found.first for v in (found.second, found.second_error, found.first_error))
        ratio_ax.stairs(1.0 + own, found.edges, baseline=1.0 - own, fill=True, color="0.85")
        ratio_ax.axhline(1.0, color="black", linewidth=0.8)
        ratio_ax.errorbar(centres, ratio, yerr=error, **bars)
        ratio_ax.set_ylabel("ratio", loc="center", fontsize="small")
    return ax
