"""Pictures of what toys say: thresholds, belts, coverage, power, sensitivity, and distributions over toys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from columnminer.errors import InputError
from columnminer.show.style import axes, look, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from columnminer.toys.belts import Belt
    from columnminer.toys.coverage import Coverage
    from columnminer.toys.discovery import DiscoveryPower
    from columnminer.toys.distributions import Pulls, ToyHistogram
    from columnminer.toys.neyman import NeymanThresholds
    from columnminer.toys.results import PointResult
    from columnminer.toys.sensitivity import Sensitivity
    from columnminer.toys.statistics import Share

__all__ = [
    "plot_belt",
    "plot_coverage",
    "plot_power",
    "plot_pulls",
    "plot_sensitivity",
    "plot_thresholds",
    "plot_toy_fits",
    "plot_toy_histogram",
]

_GREEN, _YELLOW = "#85d1a1", "#f7e29b"
_MOST_TOYS = 5000
"""Of a scatter plot; more points hide each other and make large files."""


@styled
def plot_thresholds(thresholds: NeymanThresholds, *, label: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw thresholds of t with their errors, beside the asymptotic ones (thin lines).

    Parameters
    ----------
    thresholds
        Of one or several levels, at one set of conditions or several.
    label
        Of the parameter; its name by default.
    ax
        Where to draw; a new figure by default.
    """
    ax = axes(ax, (7.4, 4.8))
    index = 0
    for row, level in enumerate(thresholds.levels):
        for curve in thresholds.curves:
            style = look(index)
            varied = [f"{n} = {v:g}" for n, v in curve.conditions.items() if len(thresholds.grid[n]) > 1]
            # errors that are not known are not drawn
            errors = np.nan_to_num(curve.errors[row])
            ax.errorbar(
                curve.values,
                curve.thresholds[row],
                yerr=errors,
                color=style.colour,
                linestyle=style.dash,
                marker=style.marker,
                markersize=4,
                elinewidth=1.0,
                label=", ".join([_percent(level), *varied]),
            )
            index += 1
        asymptotic = thresholds.at(level, **dict(thresholds.curves[0].conditions)).asymptotic
        ax.axhline(asymptotic, color="0.4", linewidth=0.9, linestyle=":", label="asymptotic" if row == 0 else None)
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel(thresholds.name if label is None else label)
    ax.set_ylabel("threshold of t")
    ax.legend(title="level", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


@styled
def plot_belt(belt: Belt, *, estimate: float | None = None, label: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw an acceptance belt: the accepted range of the estimate (across) at each true value (up).

    Parameters
    ----------
    belt
        The belt.
    estimate
        That of the data, to mark with the interval that it gives.
    label
        Of the parameter; its name by default.
    ax
        Where to draw; a new figure by default.
    """
    ax = axes(ax)
    style = look(0)
    ends = belt.upper[np.isfinite(belt.upper)]
    right = float(ends.max()) if len(ends) else float(belt.lower.max() + belt.values[-1] - belt.values[0])
    upper = np.minimum(belt.upper, right)
    ax.fill_betweenx(belt.values, belt.lower, upper, color=style.colour, alpha=0.3, linewidth=0.0)
    ax.plot(belt.lower, belt.values, color=style.colour, label=f"{_percent(belt.level)} belt")
    ax.plot(belt.upper, belt.values, color=style.colour)
    if estimate is not None:
        low, high = belt.interval(estimate)
        ax.axvline(estimate, color="0.4", linewidth=0.9, linestyle="--")
        ax.plot([estimate] * 2, [low, high], color="black", linewidth=3.0, label=f"[{low:.3g}, {high:.3g}]")
    ax.set_ylim(belt.values[0], belt.values[-1])
    ax.set_xlim(float(belt.lower.min()), right)
    ax.set_xlabel(belt.estimate)
    ax.set_ylabel(f"true {belt.name if label is None else label}")
    ax.legend(loc="lower right" if np.isfinite(belt.upper).all() else "upper left")
    return ax


@styled
def plot_coverage(
    coverage: Coverage | Mapping[str, Coverage], *, label: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw coverage against the true value, with binomial bars, beside the level that intervals claim (line).

    Parameters
    ----------
    coverage
        One result, or several by the name that the legend gives them.
    label
        Of the parameter; its name by default.
    ax
        Where to draw; a new figure by default.
    """
    results = coverage if isinstance(coverage, Mapping) else {"": coverage}
    first = next(iter(results.values()))
    ax = axes(ax)
    for level in sorted({result.level for result in results.values()}):
        ax.axhline(level, color="black", linewidth=1.0, label=f"level {_percent(level)}")
    _shares(ax, {name: (result.values, result.share) for name, result in results.items()})
    ax.set_xlabel(f"true {first.name if label is None else label}")
    ax.margins(y=0.15)  # for the legend
    ax.set_ylabel("coverage")
    ax.legend()
    return ax


@styled
def plot_power(
    power: DiscoveryPower | Mapping[str, DiscoveryPower], *, label: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the share of toys in which a signal is discovered against the true value, with binomial bars.

    Parameters
    ----------
    power
        One result, or several by the name that the legend gives them.
    label
        Of the parameter; its name by default.
    ax
        Where to draw; a new figure by default.
    """
    results = power if isinstance(power, Mapping) else {"": power}
    first = next(iter(results.values()))
    ax = axes(ax)
    _shares(ax, {name: (result.values, result.share) for name, result in results.items()}, line=True)
    ax.set_ylim(0.0, 1.05)
    ax.set_xlabel(f"true {first.name if label is None else label}")
    ax.set_ylabel(f"discovery power at {first.significance:g} s.d.")
    if len(results) > 1:
        ax.legend()
    return ax


@styled
def plot_sensitivity(
    sensitivity: Sensitivity,
    *,
    observed: ArrayLike | None = None,
    log: bool = False,
    label: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the median limit and the bands that hold 68 % and 95 % of them, along what the points differ in.

    Parameters
    ----------
    sensitivity
        The bands.
    observed
        (k,) limits of the data, to draw as well.
    log
        Whether both axes are logarithmic.
    label
        Of what the points differ in; its name by default.
    ax
        Where to draw; a new figure by default.
    """
    ax = axes(ax, (7.4, 4.8))
    x, bands = sensitivity.values, sensitivity.bands
    alone = len(x) == 1
    if alone:
        x, bands = np.array([-0.5, 0.5]), np.repeat(bands, 2, axis=0)
    ax.fill_between(x, bands[:, 0], bands[:, 4], color=_YELLOW, linewidth=0.0, label="95% of toys")
    ax.fill_between(x, bands[:, 1], bands[:, 3], color=_GREEN, linewidth=0.0, label="68% of toys")
    ax.plot(x, bands[:, 2], color="black", linestyle=(0, (5, 2)), label="median")
    if observed is not None:
        data = np.atleast_1d(np.asarray(observed, dtype=np.float64))
        ax.plot(x, np.repeat(data, 2) if alone else data, color="black", label="observed")
    if log:
        ax.set_yscale("log")
        if not alone:
            ax.set_xscale("log")
    if alone:
        ax.set_xticks([])
    else:
        ax.set_xlabel(sensitivity.along if label is None else label)
    ax.set_xlim(x[0], x[-1])
    ax.set_ylabel(f"{_percent(sensitivity.level)} CL limit on {sensitivity.name}")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


@styled
def plot_toy_histogram(histogram: ToyHistogram, *, log: bool = True, ax: Axes | None = None) -> Axes:
    """Draw toys in bins, with Poisson bars, beside what is expected (line).

    Parameters
    ----------
    histogram
        From `columnminer.toys.distributions`: of the test statistic, or of pulls.
    log
        Whether the axis of counts is logarithmic.
    ax
        Where to draw; a new figure by default.
    """
    ax = axes(ax)
    style = look(0)
    centres = 0.5 * (histogram.edges[1:] + histogram.edges[:-1])
    ax.stairs(histogram.expected, histogram.edges, color="black", linewidth=1.2, label=histogram.law)
    ax.errorbar(
        centres,
        histogram.counts,
        yerr=np.sqrt(histogram.counts),
        color=style.colour,
        marker=style.marker,
        markersize=3.5,
        elinewidth=1.0,
        linestyle="none",
        label=f"{histogram.toys} toys",
    )
    if log:
        ax.set_yscale("log")
        ax.set_ylim(bottom=0.3)
    else:
        ax.set_ylim(bottom=0.0)
    ax.set_xlim(histogram.edges[0], histogram.edges[-1])
    ax.set_xlabel(histogram.name)
    ax.set_ylabel("toys")
    ax.legend()
    return ax


@styled
def plot_pulls(pulls: Pulls, *, ax: Axes | None = None) -> Axes:
    """Draw the distribution of pulls beside the standard normal one, with their mean and width.

    Parameters
    ----------
    pulls
        From `columnminer.toys.distributions.pulls`.
    ax
        Where to draw; a new figure by default.
    """
    ax = plot_toy_histogram(pulls.histogram, log=False, ax=ax)
    ax.set_ylim(top=1.35 * float(max(pulls.histogram.counts.max(), pulls.histogram.expected.max())))
    text = (
        f"mean {pulls.mean:.3f} ± {pulls.mean_error:.3f}\n"
        f"width {pulls.width:.3f} ± {pulls.width_error:.3f}\n"
        f"p value {pulls.histogram.p_value:.2g}"
    )
    ax.annotate(text, (0.03, 0.97), xycoords="axes fraction", va="top", fontsize="small")
    return ax


@styled
def plot_toy_fits(
    point: PointResult,
    names: Sequence[str],
    *,
    hypothesis: str = "free",
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw fits of two parameters toy by toy (the first 5,000 of them), and the truth where it is known (cross).

    Parameters
    ----------
    point
        Toys at one point.
    names
        Of the two parameters.
    hypothesis
        Whose fits; those that did not converge are left out.
    labels
        Of the axes; the names by default.
    ax
        Where to draw; a new figure by default.

    Raises
    ------
    InputError
        If there are not two names.
    UnknownNameError
        If there is no such parameter or hypothesis.
    """
    if len(names) != 2:
        msg = f"a scatter plot has two parameters, not {len(names)}"
        raise InputError(msg)
    valid = point[hypothesis].valid
    x, y = (point.values(name, hypothesis)[valid][:_MOST_TOYS] for name in names)
    ax = axes(ax)
    ax.plot(x, y, color=look(0).colour, marker=".", markersize=3, linestyle="none", alpha=0.5, rasterized=True)
    if all(name in point.generate for name in names):
        true = [point.generate[name] for name in names]
        ax.plot(*true, color="black", marker="+", markersize=12, markeredgewidth=1.5, linestyle="none", label="truth")
        ax.legend()
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel(names[0] if labels is None else labels[0])
    ax.set_ylabel(names[1] if labels is None else labels[1])
    return ax


def _percent(level: float) -> str:
    return f"{100.0 * level:.4g}%"


def _shares(ax: Axes, results: Mapping[str, tuple[NDArray[np.float64], Share]], *, line: bool = False) -> None:
    for i, (name, (values, share)) in enumerate(results.items()):
        style = look(i)
        order = np.argsort(values, kind="stable")
        low, high = share.fraction - share.low, share.high - share.fraction
        ax.errorbar(
            values[order],
            share.fraction[order],
            yerr=np.stack([low, high])[:, order],
            color=style.colour,
            marker=style.marker,
            markersize=5,
            elinewidth=1.2,
            linestyle=style.dash if line else "none",
            label=name or None,
        )
