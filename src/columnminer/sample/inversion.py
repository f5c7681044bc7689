"""Sums of the weights of all events at many points, and the events that random numbers point to in these sums.

Where no weight at a point is negative, few are needed: their sum is linear in the sums of the linear weights, that of
their squares quadratic, and the event at some height of the cumulative sum lies in a small piece, which the sums over
pieces tell. Only for whether one is negative all have to be looked at, once.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from columnminer.store.weights import Block

    Found: TypeAlias = tuple[int, int, NDArray[np.integer], Block, NDArray[np.float64]]
    Finder: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.integer]]

__all__ = ["ROUNDING", "Group", "worth_pieces"]

Item = TypeVar("Item")

ROUNDING = 1e-9
"""Negative weights that make a smaller share of the total than this are rounding errors of the morphing."""

_CHUNK = 2**18
"""Weights (points x events) in work at a time: few enough for the processor's cache."""

_PIECE = 64
"""Events in a piece."""


def worth_pieces(n_draws: Sequence[int], n_events: int) -> NDArray[np.bool_]:
    """Return for which points it costs less to look into a piece for each draw than at all events, (n_points,)."""
    return np.asarray(n_draws) * _PIECE < n_events


class Group:
    """Some points that are drawn from the same events.

    Parameters
    ----------
    events
        Blocks with linear weights, see `draw.Events`; they are passed over again and again.
    coefficients
        (n_points, n_linear) that make weights of the linear weights.
    powers
        (n_points, 2 n_nu) of the nuisance parameters, None where all of these are 0.
    by_size
        Whether events are drawn by |W|; else negative weights count as zero.
    """

    def __init__(
        self,
        events: Iterable[tuple[Block, NDArray[np.float64]]],
        coefficients: NDArray[np.float64],
        powers: NDArray[np.float64] | None,
        *,
        by_size: bool,
    ) -> None:
        self.events, self.coefficients, self.powers, self.by_size = events, coefficients, powers, by_size
        self.limit: NDArray[np.float64] | None = None

    def _weights(self, columns: NDArray[np.float64]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Yield a few points with the weights of their events, (n_points, n).

        The array is used again for the next points: fresh memory for each would cost more than the sums themselves.
        One point alone is done twice, as BLAS rounds a product with a vector differently from one with a matrix, and
        weights must not depend on which other points are there.
        """
        n_linear = self.coefficients.shape[1]
        step = max(_CHUNK // len(columns), 1)
        buffer = np.empty((max(min(step, len(self.coefficients)), 2), len(columns)))
        transposed = np.ascontiguousarray(columns[:, :n_linear].T)
        for start in range(0, len(self.coefficients), step):
            which = slice(start, min(start + step, len(self.coefficients)))
            few = which if which.stop - start > 1 else [start, start]
            weights = np.matmul(self.coefficients[few], transposed, out=buffer[: max(which.stop - start, 2)])
            weights = weights[: which.stop - start]
            if self.powers is not None:
                factors = self.powers[few] @ columns[:, n_linear:].T
                weights *= np.exp(factors, out=factors)[: len(weights)]
            yield which, weights

    def _make_probabilities(self, weights: NDArray[np.float64], which: slice) -> None:
        """Turn weights, in place, into what events are drawn in proportion to."""
        if self.by_size:
            np.abs(weights, out=weights)
        else:
            np.maximum(weights, 0.0, out=weights)
        if self.limit is not None and np.isfinite(self.limit[which]).any():
            weights[weights > self.limit[which, np.newaxis]] = 0.0

    def sum(self) -> None:
        """Pass over the events for the sums behind `draw.PointSums`."""
        self.total, self.squares, self.signed = np.zeros((3, len(self.coefficients)))
        self.columns = np.zeros(self.coefficients.shape[1])
        for _, columns in self.events:
            linear = columns[:, : len(self.columns)]
            if self.powers is None and self.limit is None:
                self._add_linear(linear)
            else:
                self._add_each(columns)
            self.columns += linear.sum(axis=0)
        if self.powers is None:
            self.signed = np.einsum("pb,b->p", self.coefficients, self.columns)

    def _add_linear(self, columns: NDArray[np.float64]) -> None:
        """Add the sums over a block, for whose points with a negative weight alone all weights are added."""
        first, second = columns.sum(axis=0), columns.T @ columns
        for which, weights in self._weights(columns):
            some = self.coefficients[which]
            total, squares = np.einsum("pb,b->p", some, first), np.einsum("pb,bc,pc->p", some, second, some)
            rows = np.flatnonzero(weights.min(axis=1) < 0.0)
            if len(rows):
                few = weights[rows]
                self._make_probabilities(few, which)
                total[rows], squares[rows] = few.sum(axis=1), np.einsum("pn,pn->p", few, few)
            self.total[which] += total
            self.squares[which] += squares

    def _add_each(self, columns: NDArray[np.float64]) -> None:
        for which, weights in self._weights(columns):
            if self.powers is not None:
                self.signed[which] += weights.sum(axis=1)
            self._make_probabilities(weights, which)
            self.total[which] += weights.sum(axis=1)
            self.squares[which] += np.einsum("pn,pn->p", weights, weights)

    @property
    def negative(self) -> NDArray[np.float64]:
        """Sum of |W| over events of negative weight, (n_points,): it is the excess over the sum of W, once or twice."""
        excess = self.total - self.signed
        return np.maximum(excess / 2.0 if self.by_size else excess, 0.0)

    def pick(self, uniforms: list[NDArray[np.float64]], *, by_pieces: bool) -> Iterator[Found]:
        """Find the events that ascending uniform numbers point to.

        Parameters
        ----------
        uniforms
            (n_draws,) for each point.
        by_pieces
            Whether to look into pieces only; for points without negative weights, nuisance parameters and limit.

        Yields
        ------
        tuple
            Point, number of its draws found before, positions of the found events in the block, the block, its weights.
        """
        done = np.zeros(len(uniforms), dtype=np.int64)
        carry = np.zeros(len(uniforms))
        cumulated = self._cumulated_pieces if by_pieces else self._cumulated
        for (block, columns), is_last in _with_last(iter(self.events)):
            for i, sums, find in cumulated(columns):
                wanted = uniforms[i][done[i] :] * self.total[i] - carry[i]
                if not is_last:
                    wanted = wanted[: np.searchsorted(wanted, sums[-1])]
                if len(wanted):
                    # Rounding may leave a target at or above the last sum: it belongs to the last event with weight.
                    yield i, int(done[i]), find(np.minimum(wanted, np.nextafter(sums[-1], 0.0))), block, columns
                done[i] += len(wanted)
                carry[i] += sums[-1]

    def _cumulated(self, columns: NDArray[np.float64]) -> Iterator[tuple[int, NDArray[np.float64], Finder]]:
        """Yield points, the cumulative sums of weights, and what finds ascending heights among them."""
        sums = np.empty(len(columns))
        for which, weights in self._weights(columns):
            self._make_probabilities(weights, which)
            for i, row in enumerate(weights, start=which.start):
                np.cumsum(row, out=sums)
                yield i, sums, partial(_find, sums)

    def _cumulated_pieces(self, columns: NDArray[np.float64]) -> Iterator[tuple[int, NDArray[np.float64], Finder]]:
        """Do the same with the sums of pieces."""
        n_pieces, n_linear = -(-len(columns) // _PIECE), self.coefficients.shape[1]
        padded = np.zeros((n_pieces * _PIECE, n_linear))
        padded[: len(columns)] = columns[:, :n_linear]
        pieces = np.ascontiguousarray(padded.reshape(n_pieces, _PIECE, n_linear).transpose(0, 2, 1))
        totals = pieces.sum(axis=2)
        for i, point in enumerate(self.coefficients):
            ends = np.cumsum(np.maximum(totals @ point, 0.0))
            yield i, ends, partial(_find_in_pieces, pieces, point, ends)


def _find(sums: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.integer]:
    """Return the events at ascending heights of the cumulative sum."""
    return np.asarray(np.searchsorted(sums, wanted, side="right"))


def _find_in_pieces(
    pieces: NDArray[np.float64], point: NDArray[np.float64], ends: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.integer]:
    """Do the same, knowing the sums of pieces.

    Parameters
    ----------
    pieces
        (n_pieces, n_linear, n) linear weights, those that fill the last piece up 0.
    point
        (n_linear,) coefficients.
    ends
        (n_pieces,) cumulative sums at the ends of the pieces.
    wanted
        (n_draws,) heights below the last of these.
    """
    found = np.searchsorted(ends, wanted, side="right")
    chosen = found[np.concatenate([[True], found[1:] != found[:-1]])]
    sums = np.cumsum(np.maximum(point @ pieces[chosen], 0.0), axis=1)
    sums = (sums + np.concatenate([[0.0], ends])[chosen, np.newaxis]).ravel()
    place = np.searchsorted(sums, np.minimum(wanted, np.nextafter(sums[-1], 0.0)), side="right")
    return np.asarray(chosen[place // _PIECE] * _PIECE + place % _PIECE)


def _with_last(items: Iterator[Item]) -> Iterator[tuple[Item, bool]]:
    """Yield each item, and whether it is the last."""
    item = next(items, None)
    while item is not None:
        following = next(items, None)
        yield item, following is None
        item = following
