"""Histograms at the benchmarks, filled in one pass over a store, and morphed to any theta by a small matrix product."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from columnminer.errors import InputError, MissingError
from columnminer.infer.bins import Axis, Bins, quantile_edges, split_bins

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.infer.bins import BinSpec
    from columnminer.infer.events import StoredEvents
    from columnminer.infer.summary import Summary
    from columnminer.model.setup import Setup

__all__ = ["MorphedHistogram", "choose_bins", "fill"]

_PILOT_EVENTS = 2**18
"""Events that decide on equal-cross-section bins: quantiles to a fraction of a per mille, in a few MB."""


@dataclass(frozen=True)
class MorphedHistogram:
    r"""Cross sections in bins [pb] at any theta.

    .. math:: \sigma_k(\theta) = \sum_b w_b(\theta) H_{bk} + B_k

    with the morphing weights w_b, the histograms H_b of the signal at the benchmarks, and the background B.

    Attributes
    ----------
    setup : Setup
        Gives the parameters and the morphing weights.
    signal : numpy.ndarray
        (n_benchmarks, n_bins) [pb].
    background : numpy.ndarray
        (n_bins,) [pb].
    bins : Bins
        Where the bins are.
    """

    setup: Setup
    signal: NDArray[np.float64]
    background: NDArray[np.float64]
    bins: Bins = field(default_factory=Bins)

    def __post_init__(self) -> None:
        shapes = (self.signal.shape, self.background.shape)
        if shapes != ((len(self.setup.benchmark_names), self.bins.size), (self.bins.size,)):
            msg = (
                f"histograms of shapes {shapes[0]} and {shapes[1]} do not fit {len(self.setup.benchmark_names)} "
                f"benchmarks and {self.bins.size} bins"
            )
            raise InputError(msg)

    def at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the cross sections at points (..., n_par): [..., n_bins] in pb."""
        weights = self.setup.weights(points.reshape(-1, points.shape[-1]))
        return np.asarray(weights @ self.signal + self.background).reshape(*points.shape[:-1], -1)

    def gradient(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the gradients of `at` in theta: [..., n_par, n_bins]."""
        weights = self.setup.weight_gradients(points.reshape(-1, points.shape[-1]))
        return np.asarray(weights @ self.signal).reshape(*points.shape, -1)


def fill(events: StoredEvents, summary: Summary | None = None, bins: Bins | None = None) -> MorphedHistogram:
    """Return the benchmark histograms of stored events, in one pass over them.

    Parameters
    ----------
    events
        Which events.
    summary, bins
        The columns that are binned, and the bins; None for a single bin, the total cross section.

    Raises
    ------
    MissingError
        If there are no events.
    """
    setup, bins = events.store.setup, bins if bins is not None else Bins()
    signal = np.zeros((len(setup.benchmark_names), bins.size))
    background = np.zeros(bins.size)
    n = 0
    for block in events.blocks():
        index = bins.find_bins(summary(block.x, events.names) if summary is not None else np.zeros((len(block.x), 0)))
        weights, is_background = block.benchmark_weights, block.background
        n += len(index)
        if is_background.any():
            # Backgrounds do not depend on theta: the same weight stands at every benchmark.
            background += bins.sum(index[is_background], weights[is_background, :1])[:, 0]
            index, weights = index[~is_background], weights[~is_background]
        signal += bins.sum(index, weights).T
    if n == 0:
        msg = f"no events are left in {events.partition!r} to fill a histogram with"
        raise MissingError(msg)
    return MorphedHistogram(setup, signal, background, bins)


def choose_bins(events: StoredEvents, summary: Summary, spec: BinSpec, thetas: NDArray[np.float64]) -> Bins:
    """Return bins along the columns of `summary`: given edges as they are, a number n as n bins of equal cross section.

    Parameters
    ----------
    events
        Decide where the bins are; at most about 260,000 of them, evenly spread, are looked at.
    summary
        What is binned.
    spec
        See `columnminer.infer.bins.split_bins`.
    thetas
        (n_theta, n_par) parameter points whose mean cross section is split evenly.
    """
    wanted = split_bins(spec, summary.names)
    if not any(isinstance(entry, int) for entry in wanted):
        return Bins(tuple(Axis(name, np.asarray(edges)) for name, edges in zip(summary.names, wanted, strict=True)))
    setup = events.store.setup
    morphing_weights = setup.weights(thetas).mean(axis=0)
    stride = max(1, events.n_stored // _PILOT_EVENTS)
    columns, weights, seen = [], [], 0
    for block in events.blocks():
        # Counted through all blocks, so that the choice does not depend on where they are cut.
        pick = slice(-seen % stride, None, stride)
        seen += len(block.x)
        at_benchmarks = block.benchmark_weights[pick]
        columns.append(summary(block.x[pick], events.names))
        weights.append(np.where(block.background[pick], at_benchmarks[:, 0], at_benchmarks @ morphing_weights))
    values, weight = np.concatenate(columns), np.concatenate(weights)
    return Bins(
        tuple(
            Axis(name, quantile_edges(column, weight, entry) if isinstance(entry, int) else entry)
            for name, column, entry in zip(summary.names, values.T, wanted, strict=True)
        )
    )
