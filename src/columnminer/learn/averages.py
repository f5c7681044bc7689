"""Weighted means of drawn events, with errors that know when the same event was drawn more than once.

Samples are drawn with replacement from a finite store: with many draws from few events, the spread over the square root
of the number of draws would be far below the true error. Draws of one event are taken together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from columnminer.learn.verdicts import Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.sample.samples import Samples

__all__ = ["N_BINS", "Draws", "clustered_error"]

N_BINS = 20
_PER_BIN = 200
"""Events in a bin, at least: fewer have no Gaussian error."""


@dataclass(frozen=True)
class Draws:
    """Draws with their weights, and which event each is.

    Attributes
    ----------
    weights : numpy.ndarray
        (n,) signed.
    event : numpy.ndarray
        (n,) the same number for all draws of one event.
    """

    weights: NDArray[np.float64]
    event: NDArray[np.intp]

    @classmethod
    def of(cls, samples: Samples) -> Self:
        """Return the draws of samples; those with the same features are taken for the same event."""
        x = np.ascontiguousarray(samples.x)
        rows = x.view(np.dtype((np.void, x.dtype.itemsize * x.shape[1])))[:, 0]  # as bytes, which sort at once
        event = np.unique(rows, return_inverse=True)[1]
        weights = np.ones(len(x)) if samples.weights is None else np.asarray(samples.weights, dtype=np.float64)
        return cls(weights, event)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Self:
        """Return some of the draws."""
        return type(self)(self.weights[rows], self.event[rows])

    def mean(self, values: NDArray[np.float64]) -> tuple[float, float]:
        """Return the weighted mean and its standard error."""
        share = self.weights / self.weights.sum()
        mean = float(share @ values)
        return mean, clustered_error(share * (values - mean), self.event)

    def profile(
        self,
        x: NDArray[np.floating],
        values: NDArray[np.floating],
        expected: NDArray[np.floating],
        labels: tuple[str, str],
        *,
        n_bins: int = N_BINS,
        variance: NDArray[np.float64] | None = None,
    ) -> Finding:
        """Return means of values and what is expected of them, in bins of x of as many events each.

        The error is that of the mean difference, from its spread; where the `variance` of each event is known, at
        least what follows from that.
        """
        values, expected = np.asarray(values, dtype=np.float64), np.asarray(expected, dtype=np.float64)
        rows = []
        for part in _bins(x, min(n_bins, max(1, len(x) // _PER_BIN))):
            draws = self.take(part)
            error = draws.mean(values[part] - expected[part])[1]
            share = draws.weights / draws.weights.sum()
            if variance is not None:
                error = max(error, float(np.sqrt(np.sum(share**2 * variance[part]))))
            rows.append((share @ x[part], share @ expected[part], share @ values[part], error))
        where, should_be, found, errors = np.array(rows, dtype=np.float64).T
        return Finding(where, should_be, found, errors, *labels)


def clustered_error(terms: NDArray[np.float64], event: NDArray[np.intp]) -> float:
    """Return the standard error of a sum of terms of mean zero, (n,), of which those of one event belong together."""
    return float(np.sqrt(np.sum(np.bincount(event, weights=terms) ** 2)))


def _bins(x: NDArray[np.floating], n_bins: int) -> list[NDArray[np.intp]]:
    """Return the rows of each bin: one for each value of x where there are few, else as many events in each."""
    known, index = np.unique(x, return_inverse=True)
    if len(known) <= n_bins:
        return [np.flatnonzero(index == i) for i in range(len(known))]
    return np.array_split(np.argsort(x, kind="stable"), n_bins)
