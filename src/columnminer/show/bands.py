"""Pictures of sensitivity: limits with the bands within which they fluctuate where there is no signal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from columnminer.show.style import axes, log_scale, percent, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from columnminer.infer.asymptotics import CLs
    from columnminer.toys.sensitivity import Sensitivity

__all__ = ["plot_cls", "plot_sensitivity"]

_GREEN, _YELLOW = "#85d1a1", "#f7e29b"


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
        log_scale(ax, "y")
        if not alone:
            log_scale(ax, "x")
    if alone:
        ax.set_xticks([])
    else:
        ax.set_xlabel(sensitivity.along if label is None else label)
    ax.set_xlim(x[0], x[-1])
    ax.set_ylabel(f"{percent(sensitivity.level)} CL limit on {sensitivity.name}")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


@styled
def plot_cls(cls: CLs, *, level: float = 0.95, label: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw observed and expected CLs of signal hypotheses; those below the horizontal line are excluded.

    Parameters
    ----------
    cls
        From `columnminer.cls_values`. The bands hold what 68 % and 95 % of the data without a signal would give.
    level
        Confidence level of the exclusion.
    label
        Of the signal parameter; its name by default.
    ax
        Where to draw; a new figure by default.
    """
    ax = axes(ax, (7.4, 4.8))
    order = np.argsort(cls.values)
    x, bands = cls.values[order], cls.expected[order]
    ax.fill_between(x, bands[:, 0], bands[:, 4], color=_YELLOW, linewidth=0.0, label="95% without signal")
    ax.fill_between(x, bands[:, 1], bands[:, 3], color=_GREEN, linewidth=0.0, label="68% without signal")
    ax.plot(x, bands[:, 2], color="black", linestyle=(0, (5, 2)), label="median without signal")
    ax.plot(x, cls.cls[order], color="black", marker="o", markersize=3.5, label="observed")
    ax.axhline(1.0 - level, color="0.3", linewidth=0.9)
    note = ax.text(0.99, 1.0 - level, f"{percent(level)} CL", fontsize="x-small", color="0.3", ha="right", va="bottom")
    note.set_transform(ax.get_yaxis_transform())
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(0.0, 1.0)
    ax.set_xlabel(cls.name if label is None else label)
    ax.set_ylabel("CL$_s$")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax
