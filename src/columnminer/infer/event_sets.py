"""Many data sets of events at once, each with events of its own: toys of unbinned likelihoods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from columnminer.infer.events import Events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["EventSets"]


@dataclass(frozen=True)
class EventSets:
    """The events of n data sets, one data set after the other.

    Attributes
    ----------
    x : numpy.ndarray
        (n_events, n_obs) observables.
    names : tuple of str
        Of the observables.
    weights : numpy.ndarray
        (n_events,) how many events each stands for.
    starts : numpy.ndarray
        (n + 1,) where each data set begins, and where the last ends.
    """

    x: NDArray[np.float64]
    names: tuple[str, ...]
    weights: NDArray[np.float64]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def owner(self) -> NDArray[np.int64]:
        """(n_events,) data set of each event."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def pick(self, rows: NDArray[np.int64]) -> EventSets | Events:
        """Return the data sets of these rows; of a single row without an axis, its events."""
        rows = np.asarray(rows)
        if rows.ndim == 0:
            part = slice(self.starts[rows], self.starts[rows + 1])
            return Events(self.x[part], self.names, self.weights[part])
        lengths = np.diff(self.starts)[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        # Where each event was: where its data set began there, and how far behind that it is.
        where = np.repeat(self.starts[rows] - starts[:-1], lengths) + np.arange(starts[-1])
        return EventSets(self.x[where], self.names, self.weights[where], starts)

    @classmethod
    def stack(cls, data: Sequence[Events]) -> Self:
        """Return single data sets of the same observables as one batch."""
        starts = np.concatenate([[0], np.cumsum([len(d.x) for d in data])])
        weights = [np.ones(len(d.x)) if d.weights is None else d.weights for d in data]
        return cls(np.concatenate([d.x for d in data]), data[0].names, np.concatenate(weights), starts)
