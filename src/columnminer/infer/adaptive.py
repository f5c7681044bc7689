r"""Likelihood ratios from histograms whose bins, or even variables, are chosen anew for each theta.

With a summary :math:`v_\theta(x)` that may change with theta, and bins of equal cross section at theta, two histograms
give

.. math:: \hat r(x|\theta) = \frac{p(v_\theta(x)|\theta)}{p(v_\theta(x)|\theta_\mathrm{ref})} .

The denominator matters: the variable changes with theta, so that only ratios in the same variable can be compared.
(MadMiner compares the numerators, densities of different variables.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from columnminer.infer.bins import Axis, Bins, quantile_edges, split_bins
from columnminer.infer.events import StoredEvents
from columnminer.infer.morphed import PILOT_EVENTS
from columnminer.infer.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.bins import BinSpec
    from columnminer.infer.events import Dataset, Partition
    from columnminer.infer.summary import Cuts, SummaryItems
    from columnminer.store.eventstore import EventStore

__all__ = ["AdaptiveHistograms"]

_FLOOR = 1e-12
"""Least probability of a bin, as in `columnminer.infer.histogram`."""


class _Table(NamedTuple):
    """Bins at one theta, the shares of the cross section in them, (size,), and the log ratios."""

    bins: Bins
    shares: NDArray[np.float64]
    log_ratios: NDArray[np.float64]


class AdaptiveHistograms:
    """A ratio estimator made of histograms with bins of their own for each theta; likelihoods and limits take it.

    Parameters
    ----------
    store
        Simulated events, for the histograms.
    items
        What is binned: names or expressions of observables, score estimators, or a list of them.
    bins
        For each axis a number of bins, of equal cross section at theta, or edges; see
        `columnminer.infer.bins.split_bins`.
    theta_ref
        Denominator of the ratio; the reference benchmark by default.
    score_components
        Names of the parameters whose components of score estimators are axes; all by default.
    partition
        Events that fill the histograms.
    cuts, efficiencies
        Expressions of observables.

    Raises
    ------
    InputError
        If the bins do not fit what is binned.
    UnknownNameError
        If the store lacks an observable, or a score a component.

    Examples
    --------
    >>> store = cm.EventStore("events.zarr")
    >>> mass = cm.AdaptiveHistograms(store, "m_ll", bins=8)
    >>> mass.log_ratio([[600.0], [1200.0]], [0.05, 0.0], pairing="grid", names=["m_ll"]).shape
    (1, 2)
    """

    def __init__(
        self,
        store: EventStore,
        items: SummaryItems,
        *,
        bins: BinSpec = None,
        theta_ref: Any = None,
        score_components: Sequence[str] | None = None,
        partition: Partition = ("train", "validation"),
        cuts: Sequence[str] = (),
        efficiencies: Sequence[str] = (),
    ) -> None:
        self.parameter_names = tuple(store.setup.space.names)
        self.summary = Summary(items, store.observable_names, score_components)
        self.axis_names = self.summary.names
        self._wanted = split_bins(bins, self.axis_names)
        self.reference = store.setup.theta(store.setup.reference if theta_ref is None else theta_ref)
        self._events = StoredEvents(store, partition, cuts=cuts, efficiencies=efficiencies)
        self._tables: dict[bytes, _Table] = {}

    def check_store(self, store: EventStore, partition: str | slice, *, other_store: bool = False) -> None:
        """Let score estimators refuse events; see `Estimator.check_store`."""
        for score in self.summary.scores:
            check = getattr(score, "check_store", None)
            if check is not None:
                check(store, partition, other_store=other_store)

    def bins_at(self, theta: ArrayLike) -> Bins:
        """Return the bins at one theta (n_par,)."""
        return self._table(theta).bins

    def shares_at(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Return the probabilities of the bins at one theta (n_par,), in the shape of the bins."""
        table = self._table(theta)
        return table.shares.reshape(table.bins.shape)

    def counts(self, data: Dataset, thetas: NDArray[np.float64], cuts: Cuts | None = None) -> list[NDArray[np.float64]]:
        """Return the number of events of a data set in the bins at each of several points (n_theta, n_par).

        Parameters
        ----------
        data
            One data set, read once.
        thetas
            Whose bins.
        cuts
            That events must pass.
        """
        self._fill(list(thetas))
        tables = [self._table(theta) for theta in thetas]
        sums = [np.zeros(table.bins.size) for table in tables]
        for x, weights in data.blocks():
            passed = slice(None) if cuts is None else cuts(x, data.names)
            values, weight = self.summary(x[passed], data.names), weights[passed, np.newaxis]
            for i, (theta, table) in enumerate(zip(thetas, tables, strict=True)):
                index = table.bins.find_bins(self.columns(values, theta))
                sums[i] += table.bins.sum(index, weight)[:, 0]
        return [total.reshape(table.bins.shape) for total, table in zip(sums, tables, strict=True)]

    def _table(self, theta: ArrayLike) -> _Table:
        point = np.asarray(theta, dtype=np.float64)
        self._fill([point])
        return self._tables[point.tobytes()]

    def log_ratio(
        self,
        x: ArrayLike,
        theta: ArrayLike,
        *,
        pairing: Literal["pairs", "grid"] = "pairs",
        names: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """Return log p(v|theta) / p(v|theta_ref) of events with columns `names`.

        Parameters
        ----------
        x
            (n, n_obs) observables.
        theta
            (n_theta, n_par) points; for pairs one, or one for each event.
        pairing
            "grid": (n_theta, n), every event at every point; "pairs": (n,).
        names
            Names of the columns of x; those of the store by default.
        """
        thetas = np.atleast_2d(np.asarray(theta, dtype=np.float64))
        different, which = np.unique(thetas, axis=0, return_inverse=True)
        self._fill(list(different))
        values = self.summary(np.asarray(x), self._events.names if names is None else names)
        which = which.reshape(-1)
        if pairing == "grid":
            each = np.stack([self._looked_up(values, t) for t in different])
            return np.asarray(each[which])
        which = np.broadcast_to(which, len(values))
        ratios = np.empty(len(values))
        for i, t in enumerate(different):
            ratios[which == i] = self._looked_up(values[which == i], t)
        return ratios

    def columns(self, values: NDArray[np.float64], theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what is binned at theta, (n, n_axes), from the columns of the summary (n, n_columns)."""
        del theta
        return values

    def _looked_up(self, values: NDArray[np.float64], theta: NDArray[np.float64]) -> NDArray[np.float64]:
        table = self._tables[theta.tobytes()]
        return np.asarray(table.log_ratios[table.bins.find_bins(self.columns(values, theta))])

    def _fill(self, thetas: Sequence[NDArray[np.float64]]) -> None:
        """Make the tables of log ratios that are missing, in two passes over the store: bins, then histograms."""
        thetas = [theta for theta in thetas if theta.tobytes() not in self._tables]
        if not thetas:
            return
        at_points = _with_background(self._events.store.setup.weights(np.stack([*thetas, self.reference])))
        stride, seen = max(1, self._events.n_stored // PILOT_EVENTS), 0
        pilot = []
        for values, weights in self._summarised():
            pick = slice(-seen % stride, None, stride)  # counted through all blocks, wherever they are cut
            seen += len(values)
            pilot.append((values[pick], weights[pick]))
        values, weights = np.concatenate([v for v, _ in pilot]), np.concatenate([w for _, w in pilot])
        bins = [
            self._choose(self.columns(values, theta), weights @ m)
            for theta, m in zip(thetas, at_points[:-1], strict=True)
        ]
        sums = [np.zeros((b.size, 2)) for b in bins]
        for values, weights in self._summarised():
            for i, theta in enumerate(thetas):
                index = bins[i].find_bins(self.columns(values, theta))
                sums[i] += bins[i].sum(index, weights @ at_points[[i, -1]].T)
        for theta, b, s in zip(thetas, bins, sums, strict=True):
            shares = np.maximum(s, 0.0) / np.maximum(s, 0.0).sum(axis=0)
            logs = np.log(np.maximum(shares, _FLOOR))
            self._tables[theta.tobytes()] = _Table(b, shares[:, 0], logs[:, 0] - logs[:, 1])

    def _choose(self, columns: NDArray[np.float64], weights: NDArray[np.float64]) -> Bins:
        return Bins(
            tuple(
                Axis(name, quantile_edges(column, weights, entry) if isinstance(entry, int) else entry)
                for name, column, entry in zip(self.axis_names, columns.T, self._wanted, strict=True)
            )
        )

    def _summarised(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Yield summaries (n, n_columns) and weights (n, n_benchmarks + 1), the last column being of backgrounds."""
        for block in self._events.blocks():
            weights, background = block.benchmark_weights, block.background[:, None]
            columns = np.concatenate([np.where(background, 0.0, weights), np.where(background, weights[:, :1], 0.0)], 1)
            yield self.summary(block.x, self._events.names), columns


def _with_background(morphing_weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of the columns that `_summarised` gives: backgrounds count once at any theta."""
    return np.pad(morphing_weights, ((0, 0), (0, 1)), constant_values=1.0)
