r"""Likelihood ratios from estimated scores, along one direction for each theta (SALLINO, arXiv:1805.00020).

Near theta_ref the score t(x) is sufficient, and between theta_ref and theta its projection
:math:`h_\theta(x) = t(x) \cdot (\theta - \theta_\mathrm{ref}) / |\theta - \theta_\mathrm{ref}|` is, a single number.
Two histograms of it give

.. math:: \hat r(x|\theta) = \frac{p(h_\theta(x)|\theta)}{p(h_\theta(x)|\theta_\mathrm{ref})} .

The denominator matters: the variable changes with theta, so that only ratios in the same variable can be compared.
(MadMiner compares the numerators, densities of different variables.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from columnminer.errors import InputError
from columnminer.infer.bins import quantile_edges
from columnminer.infer.events import StoredEvents
from columnminer.infer.morphed import PILOT_EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.estimates import ScoreLike
    from columnminer.infer.events import Partition
    from columnminer.store.eventstore import EventStore

__all__ = ["ScoreProjection"]

_FLOOR = 1e-12
"""Least probability of a bin, as in `columnminer.infer.histogram`."""


class ScoreProjection:
    """A ratio estimator made of a score estimator and histograms; likelihoods and limits take it as such.

    Parameters
    ----------
    store
        Simulated events, for the histograms.
    estimator
        Of the score.
    n_bins
        Bins of each histogram, of equal cross section at theta.
    theta_ref
        Denominator of the ratio; where the estimator was trained, by default.
    partition
        Events that fill the histograms.
    cuts, efficiencies
        Expressions of observables.

    Raises
    ------
    InputError
        If the estimator knows other parameters than the store, or `n_bins` is less than 2.
    """

    def __init__(
        self,
        store: EventStore,
        estimator: ScoreLike,
        *,
        n_bins: int = 25,
        theta_ref: Any = None,
        partition: Partition = ("train", "validation"),
        cuts: Sequence[str] = (),
        efficiencies: Sequence[str] = (),
    ) -> None:
        names = store.setup.space.names
        if tuple(estimator.parameter_names) not in {names, (*names, *store.nuisance_names)}:
            msg = f"the score is one of {', '.join(estimator.parameter_names)}, the store one of {', '.join(names)}"
            raise InputError(msg)
        if n_bins < 2:
            msg = f"a histogram with {n_bins} bins tells nothing apart: take 2 or more"
            raise InputError(msg)
        self.parameter_names = tuple(names)
        self.estimator = estimator
        self.n_bins = n_bins
        # Components along nuisance parameters, behind those along theta, are not looked at.
        trained_at = np.asarray(getattr(estimator, "reference", store.setup.theta(store.setup.space.nominal)))
        self.reference = store.setup.theta(trained_at[: len(names)] if theta_ref is None else theta_ref)
        self._events = StoredEvents(store, partition, cuts=cuts, efficiencies=efficiencies)
        self._tables: dict[bytes, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}

    def check_store(self, store: EventStore, partition: str | slice, *, other_store: bool = False) -> None:
        """Let the score estimator refuse events; see `Estimator.check_store`."""
        check = getattr(self.estimator, "check_store", None)
        if check is not None:
            check(store, partition, other_store=other_store)

    def log_ratio(
        self,
        x: ArrayLike,
        theta: ArrayLike,
        *,
        pairing: Literal["pairs", "grid"] = "pairs",
        names: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """Return log p(h|theta) / p(h|theta_ref) of events with columns `names`.

        Parameters
        ----------
        x
            (n, n_obs) observables.
        theta
            (n_theta, n_par) points; for pairs one, or one for each event.
        pairing
            "grid": (n_theta, n), every event at every point; "pairs": (n,).
        names
            Names of the columns of x.
        """
        thetas = np.atleast_2d(np.asarray(theta, dtype=np.float64))
        different, which = np.unique(thetas, axis=0, return_inverse=True)
        self._fill([t for t in different if t.tobytes() not in self._tables])
        scores = self._score(np.asarray(x), names)
        which = which.reshape(-1)
        if pairing == "grid":
            each = np.stack([self._looked_up(scores, t) for t in different])
            return np.asarray(each[which])
        which = np.broadcast_to(which, len(scores))
        values = np.empty(len(scores))
        for i, t in enumerate(different):
            values[which == i] = self._looked_up(scores[which == i], t)
        return values

    def _looked_up(self, scores: NDArray[np.float64], theta: NDArray[np.float64]) -> NDArray[np.float64]:
        edges, table = self._tables[theta.tobytes()]
        return np.asarray(table[np.searchsorted(edges, scores @ self._direction(theta), side="right")])

    def _direction(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the unit vector from theta_ref to theta; where they are the same, any will do."""
        difference = theta - self.reference
        length = np.linalg.norm(difference)
        return np.asarray(difference / length) if length > 0.0 else np.eye(len(theta))[0]

    def _fill(self, thetas: Sequence[NDArray[np.float64]]) -> None:
        """Make the table of log ratios in bins for each theta, in two passes over the store: bins, then histograms."""
        if not thetas:
            return
        at_points = _with_background(self._events.store.setup.weights(np.stack([*thetas, self.reference])))
        stride, seen = max(1, self._events.n_stored // PILOT_EVENTS), 0
        pilot = []
        for scores, weights in self._scored():
            pick = slice(-seen % stride, None, stride)  # counted through all blocks, wherever they are cut
            seen += len(scores)
            pilot.append((scores[pick], weights[pick]))
        scores, weights = np.concatenate([s for s, _ in pilot]), np.concatenate([w for _, w in pilot])
        directions = [self._direction(theta) for theta in thetas]
        edges = [
            quantile_edges(scores @ direction, weights @ m, self.n_bins)
            for direction, m in zip(directions, at_points[:-1], strict=True)
        ]
        sums = np.zeros((2, len(thetas), self.n_bins))
        for scores, weights in self._scored():
            for i, direction in enumerate(directions):
                index = np.searchsorted(edges[i], scores @ direction, side="right")
                for which, m in enumerate((at_points[i], at_points[-1])):
                    sums[which, i] += np.bincount(index, weights=weights @ m, minlength=self.n_bins)
        shares = np.maximum(sums, 0.0) / np.maximum(sums, 0.0).sum(axis=2, keepdims=True)
        tables = np.log(np.maximum(shares, _FLOOR))
        for i, theta in enumerate(thetas):
            self._tables[theta.tobytes()] = (edges[i], tables[0, i] - tables[1, i])

    def _scored(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Yield scores (n, n_par) and weights (n, n_benchmarks + 1), the last column being those of backgrounds."""
        for block in self._events.blocks():
            weights, background = block.benchmark_weights, block.background[:, None]
            columns = np.concatenate([np.where(background, 0.0, weights), np.where(background, weights[:, :1], 0.0)], 1)
            yield self._score(block.x, self._events.names), columns

    def _score(self, x: NDArray[np.float64], names: Sequence[str] | None) -> NDArray[np.float64]:
        """Return the score along theta, (n, n_par)."""
        scores = np.asarray(self.estimator.score(x, names=names), dtype=np.float64)
        return scores[:, : len(self.parameter_names)]


def _with_background(morphing_weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of the columns that `_scored` gives: backgrounds count once at any theta."""
    return np.pad(morphing_weights, ((0, 0), (0, 1)), constant_values=1.0)
