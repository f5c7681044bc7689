"""Pictures of training: how the losses fell, and how an estimate compares with the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator

from columnminer.errors import InputError
from columnminer.show.style import axes, look, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from columnminer.learn.history import History

__all__ = ["plot_agreement", "plot_learning"]


@styled
def plot_learning(history: History | Mapping[str, History], *, ax: Axes | None = None) -> Axes:
    """Draw the loss on training events (solid) and on validation events (dashed) over the epochs.

    Parameters
    ----------
    history
        What an estimator keeps of its training, or several by the name that the legend gives them.
    ax
        Where to draw; a new figure by default.
    """
    histories = history if isinstance(history, Mapping) else {"": history}
    ax = axes(ax)
    for i, (name, one) in enumerate(histories.items()):
        style = look(i)
        for part, losses, dash in (("training", one.train_loss, "-"), ("validation", one.validation_loss, "--")):
            epochs = np.arange(1, len(losses) + 1)
            label = f"{name}, {part}" if name else part
            ax.plot(epochs, losses, color=style.colour, linestyle=dash, marker=style.marker, markersize=3, label=label)
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.minorticks_off()
    ax.legend(handlelength=3.5)  # long enough to tell dashes from a line
    return ax


@styled
def plot_agreement(
    exact: ArrayLike,
    estimated: ArrayLike,
    *,
    quantity: str = r"$\log\,p(x|\theta) / p(x|\theta_{ref})$",
    note: str = "",
    bins: int = 90,
    ax: Axes | None = None,
) -> Axes:
    """Draw estimates against exact values of the same quantity, as counts, with the diagonal.

    Parameters
    ----------
    exact, estimated
        Arrays of the same shape.
    quantity
        What they are, for the axis labels.
    note
        A line to write into the picture, such as the RMS of the difference.
    bins
        Cells along each axis; the axes span 99.8 % of both arrays.
    ax
        Where to draw; a new figure by default.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    x, y = np.asarray(exact, dtype=np.float64), np.asarray(estimated, dtype=np.float64)
    if x.shape != y.shape or not x.size:
        msg = f"exact and estimated must be arrays of one shape, not {x.shape} and {y.shape}"
        raise InputError(msg)
    ax = axes(ax, (6.2, 5.2))
    low, high = np.quantile(np.concatenate([x.ravel(), y.ravel()]), [0.001, 0.999])
    margin = 0.05 * max(high - low, 1e-12)
    ends = (low - margin, high + margin)
    *_, image = ax.hist2d(
        x.ravel(), y.ravel(), bins=bins, range=[ends, ends], cmap="Blues", norm=LogNorm(), rasterized=True
    )
    ax.plot(ends, ends, color="black", linewidth=0.8)
    ax.set_xlim(ends)
    ax.set_ylim(ends)
    ax.set_xlabel(f"exact {quantity}")
    ax.set_ylabel(f"estimated {quantity}")
    ax.figure.colorbar(image, ax=ax).set_label("entries", loc="center")
    if note:
        ax.text(0.04, 0.96, note, transform=ax.transAxes, va="top", fontsize="small")
    return ax
