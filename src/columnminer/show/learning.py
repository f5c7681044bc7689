"""Pictures of training: how the losses fell, and how an estimate compares with the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator, NullLocator

from columnminer.errors import InputError
from columnminer.show.style import axes, log_scale, look, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from columnminer.learn.history import History

__all__ = ["plot_agreement", "plot_learning", "plot_loss_terms", "plot_members", "plot_spread"]


@styled
def plot_learning(history: History | Mapping[str, History], *, ax: Axes | None = None) -> Axes:
    """Draw the loss on training events (solid) and on validation events (dashed) over the epochs.

    A ring marks the epoch whose weights were kept.

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
        judged = one.validation_loss if len(one.validation_loss) else one.train_loss
        kept = (one.best_epoch + 1, judged[one.best_epoch])
        last = i == len(histories) - 1
        ax.plot(*kept, "o", color="black", fillstyle="none", markersize=10, label="kept" if last else "")
    ax.set_ylabel("loss")
    _epochs(ax)
    return ax


@styled
def plot_loss_terms(history: History, *, ax: Axes | None = None) -> Axes:
    """Draw the terms whose sum the loss is, on training events (solid) and on validation events (dashed).

    Parameters
    ----------
    history
        What an estimator keeps of its training.
    ax
        Where to draw; a new figure by default.
    """
    ax = axes(ax)
    drawn = []
    for i, name in enumerate(history.train_terms):
        style = look(i)
        for part, terms, dash in (
            ("training", history.train_terms, "-"),
            ("validation", history.validation_terms, "--"),
        ):
            losses = terms.get(name, np.zeros(0))
            drawn.append(losses)
            epochs = np.arange(1, len(losses) + 1)
            label = f"{name}, {part}"
            ax.plot(epochs, losses, color=style.colour, linestyle=dash, marker=style.marker, markersize=3, label=label)
    every = np.concatenate(drawn) if drawn else np.zeros(0)
    if len(every) and every.min() > 0.0:
        log_scale(ax, "y")
    ax.set_ylabel("terms of the loss")
    _epochs(ax)
    return ax


def _epochs(ax: Axes) -> None:
    """Count epochs along the axis, and explain the lines."""
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.legend(handlelength=3.5)  # long enough to tell dashes from a line


@styled
def plot_members(histories: Sequence[History], *, ax: Axes | None = None) -> Axes:
    """Draw the validation losses of the members of an ensemble over the epochs, with a point where each was best.

    Parameters
    ----------
    histories
        Of the members. Without validation losses their training losses are drawn.
    ax
        Where to draw; a new figure by default.
    """
    ax = axes(ax)
    style, best = look(0), look(3)
    judged = all(len(one.validation_loss) for one in histories)
    for i, one in enumerate(histories):
        losses = one.validation_loss if judged else one.train_loss
        epochs = np.arange(1, len(losses) + 1)
        ax.plot(epochs, losses, color=style.colour, linewidth=0.9, alpha=0.7, label="" if i else "members")
        kept = one.best_epoch
        label = "" if i else "kept"
        ax.plot(epochs[kept], losses[kept], color=best.colour, marker=best.marker, linestyle="none", label=label)
    ax.set_xlabel("epoch")
    ax.set_ylabel("validation loss" if judged else "training loss")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.minorticks_off()
    ax.legend()
    return ax


@styled
def plot_spread(
    estimate: ArrayLike, spread: ArrayLike, *, quantity: str, note: str = "", ax: Axes | None = None
) -> Axes:
    """Draw how much the members of an ensemble differ against what they say on average, as counts.

    Parameters
    ----------
    estimate, spread
        Arrays of the same shape: mean and standard deviation of the members, for each event.
    quantity
        What they estimate, for the axis labels.
    note
        A line to write into the picture.
    ax
        Where to draw; a new figure by default.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    x, y = np.asarray(estimate, dtype=np.float64), np.asarray(spread, dtype=np.float64)
    if x.shape != y.shape or not x.size:
        msg = f"estimate and spread must be arrays of one shape, not {x.shape} and {y.shape}"
        raise InputError(msg)
    ax = axes(ax, (6.2, 4.8))
    low, high = np.quantile(x, [0.001, 0.999])
    most = max(float(np.quantile(y, 0.999)), 1e-12)
    margin = 0.05 * max(high - low, 1e-12)
    ranges = [(low - margin, high + margin), (0.0, 1.3 * most)]  # room for the note
    *_, image = ax.hist2d(x.ravel(), y.ravel(), bins=60, range=ranges, cmap="Blues", norm=LogNorm(), rasterized=True)
    ax.set_xlabel(f"mean of the members: {quantity}")
    ax.set_ylabel("standard deviation of the members")
    ax.figure.colorbar(image, ax=ax).set_label("entries", loc="center")
    if note:
        ax.text(0.04, 0.96, note, transform=ax.transAxes, va="top", fontsize="small")
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
