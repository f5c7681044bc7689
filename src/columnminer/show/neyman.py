"""Pictures of what toys say of intervals and discoveries: thresholds, belts, coverage, power."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from columnminer.show.style import axes, look, percent, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from columnminer.toys.belts import Belt
    from columnminer.toys.coverage import Coverage
    from columnminer.toys.discovery import DiscoveryPower
    from columnminer.toys.neyman import NeymanThresholds
    from columnminer.toys.statistics import Share

__all__ = ["plot_belt", "plot_coverage", "plot_power", "plot_thresholds"]


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
                label=", ".join([percent(level), *varied]),
            )
            index += 1
        asymptotic = thresholds.at(level, **dict(thresholds.curves[0].conditions)).asymptotic
        ax.axhline(asymptotic, color="0.2", linewidth=0.9, linestyle=":")
    ax.plot([], [], color="0.2", linewidth=0.9, linestyle=":", label="asymptotic")
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel(thresholds.name if label is None else label)
    ax.set_ylabel("threshold of t")
    ax.legend(title="level", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


@styled
def plot_belt(
    belt: Belt,
    *,
    estimate: float | None = None,
    label: str | None = None,
    estimate_label: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw an acceptance belt: the accepted range of the estimate (across) at each true value (up).

    Parameters
    ----------
    belt
        The belt.
    estimate
        That of the data, to mark with the interval that it gives.
    label, estimate_label
        Of the parameter and of the estimate; their names by default.
    ax
        Where to draw; a new figure by default.
    """
    ax = axes(ax)
    style = look(0)
    ends = belt.upper[np.isfinite(belt.upper)]
    right = float(ends.max()) if len(ends) else float(belt.lower.max() + belt.values[-1] - belt.values[0])
    upper = np.minimum(belt.upper, right)
    ax.fill_betweenx(belt.values, belt.lower, upper, color=style.colour, alpha=0.3, linewidth=0.0)
    ax.plot(belt.lower, belt.values, color=style.colour, label=f"{percent(belt.level)} belt")
    ax.plot(belt.upper, belt.values, color=style.colour)
    if estimate is not None:
        low, high = belt.interval(estimate)
        ax.axvline(estimate, color="0.4", linewidth=0.9, linestyle="--")
        ax.plot([estimate] * 2, [low, high], color="black", linewidth=3.0, label=f"[{low:.3g}, {high:.3g}]")
    ax.set_ylim(belt.values[0], belt.values[-1])
    ax.set_xlim(float(belt.lower.min()), right)
    ax.set_xlabel(belt.estimate if estimate_label is None else estimate_label)
    ax.set_ylabel(f"true {belt.name if label is None else label}")
    ax.legend(loc="lower right" if np.isfinite(belt.upper).all() else "upper left")
    return ax


@styled
def plot_coverage(
    coverage: Coverage | Mapping[str, Coverage], *, label: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw coverage against the true value, with binomial bars, beside the level that intervals claim (line).

    Several results stand beside each other at each value, not over each other.

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
        ax.axhline(level, color="black", linewidth=1.0, label=f"level {percent(level)}")
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
    at = {result.significance for result in results.values()}
    ax.set_ylabel("discovery power" + (f" at {first.significance:g} s.d." if len(at) == 1 else ""))
    if len(results) > 1:
        ax.legend()
    return ax


def _shares(ax: Axes, results: Mapping[str, tuple[NDArray[np.float64], Share]], *, line: bool = False) -> None:
    every = np.concatenate([values for values, _ in results.values()])
    apart = 0.0 if line else 0.012 * float(np.ptp(every))
    for i, (name, (values, share)) in enumerate(results.items()):
        style = look(i)
        order = np.argsort(values, kind="stable")
        beside = apart * (i - 0.5 * (len(results) - 1))
        low, high = share.fraction - share.low, share.high - share.fraction
        ax.errorbar(
            values[order] + beside,
            share.fraction[order],
            yerr=np.stack([low, high])[:, order],
            color=style.colour,
            marker=style.marker,
            markersize=5,
            elinewidth=1.2,
            linestyle=style.dash if line else "none",
            label=name or None,
        )
