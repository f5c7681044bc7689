"""Unweighting: events drawn in proportion to their weight at a parameter point, for many points at once.

Event e is drawn at theta with probability W_e(theta) / sum_e W_e(theta), independently each time, by inverting the
cumulative sum of the weights. Events are read block by block, twice: once for the sums, once to draw. The random
numbers belong to the point and the draw, so that neither the blocks nor what else is drawn matters to them.

With nuisance parameters, points are pairs (theta, nu), and the weights at theta are multiplied with the factors of
`model.systematics`; without them, nothing of that is looked at.

Negative weights have no probability. What is done with them has a name: "refuse" raises, "clip" takes them as zero, and
"keep" draws by |W| and hands out the sign as the weight of the drawn event.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict, TypeVar

import numpy as np

from columnminer.errors import ColumnMinerWarning, InputError, MissingError
from columnminer.sample.nuisances import NuisanceSums, exponents, nuisance_sums, powers
from columnminer.streams import key, uniform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from columnminer.store.eventstore import EventStore
    from columnminer.store.weights import Block
    from columnminer.streams import Seed

__all__ = ["DrawOptions", "Draws", "Events", "NegativeWeights", "Sampler", "with_background"]

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
NegativeWeights: TypeAlias = Literal["clip", "refuse", "keep"]

FEW_EVENTS = 100
"""Fewer effective events than this at a point (cross-section errors above 10 %) are warned about."""

_ROUNDING = 1e-9
"""Negative weights that make a smaller share of the total than this are rounding errors of the morphing."""

_IN_MEMORY = 1_000_000
"""Partitions of up to so many events are kept in memory between passes."""

_CHUNK = 2**18
"""Weights (points x events) in work at a time: few enough for the processor's cache."""


class DrawOptions(TypedDict, total=False):
    """How events are drawn.

    Attributes
    ----------
    negative_weights : str
        "clip" (the default), "refuse" or "keep"; see above.
    closest_benchmark : bool
        Draw at each point only from signal events generated at the benchmark closest to it (and from all backgrounds),
        and take cross sections from these. Default: from all events.
    trim : float or None
        Leave out events that carry more than 1 / trim of the total at a point. Distorts, and warns. Default: none.
    dtype : type
        Precision of the arrays, numpy.float32 (the default) or numpy.float64.
    """

    negative_weights: NegativeWeights
    closest_benchmark: bool
    trim: float | None
    dtype: type[np.floating]


@dataclass(frozen=True)
class Draws:
    """What is known of the points that events were drawn at.

    Attributes
    ----------
    totals : numpy.ndarray
        (n_points, n_benchmarks + 1) sums of the linear weights of all events that could have been drawn [pb].
    n_eff : numpy.ndarray
        (n_points,) effective number of events, (sum |W|)^2 / sum W^2.
    negative : numpy.ndarray
        (n_points,) sum of |W| over events with negative weight, relative to that over all that can be drawn.
    """

    totals: NDArray[np.float64]
    n_eff: NDArray[np.float64]
    negative: NDArray[np.float64]


class Events:
    """The events of a partition with linear weights, to be passed over again and again, from memory if they are few.

    The linear weights (n, n_benchmarks + 1) [pb] are benchmark weights of the signal and, in the last column, weights
    of backgrounds. The weight of an event at theta is their product with (w_1(theta), ..., w_nb(theta), 1). With
    nuisances, the 2 n_nu columns of `nuisances.exponents` follow.
    """

    def __init__(
        self,
        store: EventStore,
        partition: str,
        closest_to: NDArray[np.float64] | None = None,
        *,
        nuisances: bool = False,
    ) -> None:
        self._store, self._partition, self._closest_to = store, partition, closest_to
        self._nuisances = nuisances
        self._kept: list[tuple[Block, NDArray[np.float64]]] | None = None

    def __iter__(self) -> Iterator[tuple[Block, NDArray[np.float64]]]:
        """Yield blocks with their linear weights."""
        if self._kept is None and self._store.n_events(self._partition) <= _IN_MEMORY:
            self._kept = list(self._read())
        return iter(self._kept) if self._kept is not None else self._read()

    def _read(self) -> Iterator[tuple[Block, NDArray[np.float64]]]:
        for block in self._store.blocks(self._partition, closest_to=self._closest_to):
            columns = np.zeros((len(block), block.benchmark_weights.shape[1] + 1))
            columns[:, :-1] = np.where(block.background[:, np.newaxis], 0.0, block.benchmark_weights)
            columns[:, -1] = np.where(block.background, block.benchmark_weights[:, 0], 0.0)
            yield block, np.concatenate([columns, exponents(block)], axis=1) if self._nuisances else columns


def with_background(coefficients: NDArray[np.float64], value: float = 1.0) -> NDArray[np.float64]:
    """Return morphing weights (or, with value 0, their gradients) with the last column that `Events` have."""
    return np.concatenate([coefficients, np.full((*coefficients.shape[:-1], 1), value)], axis=-1)


class Sampler:
    """Draws events of one partition of a store.

    Parameters
    ----------
    store, partition
        Where the events are.
    seed
        Of the draws.
    nuisances
        Whether nuisance parameters take part: buffers of weights then hold the `nuisances.exponents` of the events too.
    negative_weights, closest_benchmark, trim, dtype
        See `DrawOptions`.

    Raises
    ------
    InputError
        If an option is not known.
    """

    def __init__(
        self,
        store: EventStore,
        partition: str,
        seed: Seed,
        *,
        nuisances: bool = False,
        negative_weights: NegativeWeights = "clip",
        closest_benchmark: bool = False,
        trim: float | None = None,
        dtype: type[np.floating] = np.float32,
    ) -> None:
        if negative_weights not in {"clip", "refuse", "keep"}:
            msg = f'negative_weights is "clip", "refuse" or "keep", not {negative_weights!r}'
            raise InputError(msg)
        if trim is not None and not trim > 1.0:
            msg = f"trim must be above 1 (events with more than 1 / trim of the total are left out), not {trim!r}"
            raise InputError(msg)
        self.store, self.partition, self.seed = store, partition, seed
        self.negative_weights, self.closest_benchmark, self.trim = negative_weights, closest_benchmark, trim
        self.nuisances, self.dtype = nuisances and bool(store.nuisances), dtype
        self._events: dict[str | None, Events] = {}

    def buffers(self, n: int) -> tuple[NDArray[np.floating], NDArray[np.float64]]:
        """Return room for the observables and the columns of n events."""
        n_columns = len(self.store.setup.benchmark_names) + 1 + 2 * len(self.store.nuisances) * self.nuisances
        return np.empty((n, len(self.store.observable_names)), dtype=self.dtype), np.empty((n, n_columns))

    def draw(
        self,
        points: NDArray[np.float64],
        counts: NDArray[np.int64],
        *,
        name: str,
        rows: NDArray[np.int64],
        x: NDArray[np.floating],
        weights: NDArray[np.float64],
        nus: NDArray[np.float64] | None = None,
    ) -> Draws:
        """Draw `counts[i]` events at each of the points into `rows` of x and weights, in the order of the points.

        Parameters
        ----------
        points
            (n_points, n_par).
        counts
            (n_points,).
        name
            Of the random stream.
        rows
            (sum of counts,) rows of x and weights.
        x, weights
            From `buffers`.
        nus
            (n_points, n_nu) nuisance parameters; None: all 0. Only for a sampler with nuisances.

        Raises
        ------
        InputError
            If weights are negative and refused.
        MissingError
            If no event has a positive weight at a point, or the partition has no events.

        Warns
        -----
        ColumnMinerWarning
            If points have fewer than 100 effective events, or negative weights or trimmed events matter.
        """
        coefficients = with_background(self.store.setup.weights(points))
        point = np.repeat(np.arange(len(points)), counts)
        ends = np.cumsum(counts)
        uniforms = uniform(key(self.seed, "draw", name), point, np.arange(len(point)) - (ends - counts)[point])
        draws = Draws(np.empty(coefficients.shape), np.empty(len(points)), np.empty(len(points)))
        exponential = None if nus is None or not nus.any() else powers(nus)
        for which, events in self._groups(points):
            shifts = None if exponential is None else exponential[which]
            group = _Group(events, coefficients[which], shifts, by_size=self.negative_weights == "keep")
            group.sum()
            if self.trim is not None:
                group.limit = group.total / self.trim
                group.sum()
            if not (group.total > 0.0).all():
                none = int(which[(group.total <= 0.0).argmax()])
                msg = f"no event has a positive weight at {_named(points, nus, none)}"
                raise MissingError(msg)
            draws.totals[which], draws.n_eff[which] = group.columns, group.total**2 / group.squares
            draws.negative[which] = group.negative / group.total
            firsts = (ends - counts)[which]
            targets = [np.sort(uniforms[f : f + c]) for f, c in zip(firsts, counts[which], strict=True)]
            for i, done, found, block, columns in group.pick(targets):
                into = rows[firsts[i] + done : firsts[i] + done + len(found)]
                x[into], weights[into] = block.x[found], columns[found]
        self._report(points, nus, draws)
        return draws

    def nuisance_sums(self, points: NDArray[np.float64], nus: NDArray[np.float64]) -> NuisanceSums:
        """Return sums over the events that are drawn from at each of the points (n, n_par), at nus (n, n_nu)."""
        n_linear, n_nu = len(self.store.setup.benchmark_names) + 1, nus.shape[1]
        sums = NuisanceSums(np.empty((len(nus), n_linear)), np.empty((len(nus), n_nu, n_linear)))
        for which, events in self._groups(points):
            some = nuisance_sums((columns for _, columns in events), nus[which])
            sums.totals[which], sums.slopes[which] = some.totals, some.slopes
        return sums

    def _groups(self, points: NDArray[np.float64]) -> Iterator[tuple[NDArray[np.int64], Events]]:
        """Yield the points that are drawn from the same events, with these events."""
        if not self.closest_benchmark:
            yield np.arange(len(points)), self._events_near(None)
            return
        nearest = np.array([self.store.closest_benchmark(point) for point in points])
        for name in dict.fromkeys(nearest.tolist()):
            yield np.flatnonzero(nearest == name), self._events_near(name)

    def _events_near(self, benchmark: str | None) -> Events:
        if benchmark not in self._events:
            near = None if benchmark is None else self.store.setup.theta(benchmark)
            self._events[benchmark] = Events(self.store, self.partition, near, nuisances=self.nuisances)
        return self._events[benchmark]

    def _report(self, points: NDArray[np.float64], nus: NDArray[np.float64] | None, draws: Draws) -> None:
        """Say what may be wrong with the draws."""
        negative = float(draws.negative.max())
        if negative > _ROUNDING:
            worst = _named(points, nus, int(draws.negative.argmax()))
            share = f"negative weights make up to {negative:.2%} of the total at {worst}"
            if self.negative_weights == "refuse":
                msg = f'{share}: choose negative_weights="clip" or "keep"'
                raise InputError(msg)
            treatment = "they are drawn with their sign" if self.negative_weights == "keep" else "they count as zero"
            warnings.warn(f"{share}; {treatment}", ColumnMinerWarning, stacklevel=5)
        if self.trim is not None:
            msg = f"events with more than 1 / {self.trim:g} of the total are left out: distributions are distorted"
            warnings.warn(msg, ColumnMinerWarning, stacklevel=5)
        few = draws.n_eff < FEW_EVENTS
        if few.any():
            least = int(draws.n_eff.argmin())
            msg = (
                f"{few.sum()} of {len(points)} parameter points have fewer than {FEW_EVENTS} effective events, down to "
                f"{draws.n_eff[least]:.1f} at {_named(points, nus, least)}, where the squared morphing weights sum to "
                f"{self.store.setup.squared_weights(points[least])[0]:.3g}: stay closer to the benchmarks, or generate "
                "events there"
            )
            warnings.warn(msg, ColumnMinerWarning, stacklevel=5)
        logger.info("effective number of events: %.0f to %.0f", draws.n_eff.min(), draws.n_eff.max())


def _named(points: NDArray[np.float64], nus: NDArray[np.float64] | None, i: int) -> str:
    """Return how a message names one of the points."""
    return f"theta = {points[i]}" + ("" if nus is None else f", nu = {nus[i]}")


class _Group:
    """Some points that are drawn from the same events; `powers` is None where all nuisance parameters are 0."""

    def __init__(
        self, events: Events, coefficients: NDArray[np.float64], powers: NDArray[np.float64] | None, *, by_size: bool
    ) -> None:
        self.events, self.coefficients, self.powers, self.by_size = events, coefficients, powers, by_size
        self.limit: NDArray[np.float64] | None = None

    def _weights(self, columns: NDArray[np.float64]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Yield a few points with the weights of their events, (n_points, n).

        The array is used again for the next points: fresh memory for each would cost more than the sums themselves.
        """
        n_linear = self.coefficients.shape[1]
        step = max(_CHUNK // len(columns), 1)
        buffer = np.empty((min(step, len(self.coefficients)), len(columns)))
        transposed = np.ascontiguousarray(columns[:, :n_linear].T)
        for start in range(0, len(self.coefficients), step):
            which = slice(start, min(start + step, len(self.coefficients)))
            weights = np.matmul(self.coefficients[which], transposed, out=buffer[: which.stop - start])
            if self.powers is not None:
                factors = self.powers[which] @ columns[:, n_linear:].T
                weights *= np.exp(factors, out=factors)
            yield which, weights

    def _make_probabilities(self, weights: NDArray[np.float64], which: slice) -> None:
        """Turn weights, in place, into what events are drawn in proportion to."""
        if self.by_size:
            np.abs(weights, out=weights)
        else:
            np.maximum(weights, 0.0, out=weights)
        if self.limit is not None:
            weights[weights > self.limit[which, np.newaxis]] = 0.0

    def sum(self) -> None:
        """Pass over the events for the sums behind `Draws`."""
        self.total, self.squares, self.signed = np.zeros((3, len(self.coefficients)))
        self.columns = np.zeros(self.coefficients.shape[1])
        for _, columns in self.events:
            self.columns += columns[:, : len(self.columns)].sum(axis=0)
            for which, weights in self._weights(columns):
                if self.powers is not None:
                    self.signed[which] += weights.sum(axis=1)
                self._make_probabilities(weights, which)
                self.total[which] += weights.sum(axis=1)
                self.squares[which] += np.einsum("pn,pn->p", weights, weights)
        if self.powers is None:  # then it is linear, and needs no pass
            self.signed = self.coefficients @ self.columns

    @property
    def negative(self) -> NDArray[np.float64]:
        """Sum of |W| over events of negative weight, (n_points,): it is the excess over the sum of W, once or twice."""
        excess = self.total - self.signed
        return np.maximum(excess / 2.0 if self.by_size else excess, 0.0)

    def pick(
        self, uniforms: list[NDArray[np.float64]]
    ) -> Iterator[tuple[int, int, NDArray[np.int64], Block, NDArray[np.float64]]]:
        """Find the events that ascending uniform numbers point to, (n_draws,) for each point.

        Yields
        ------
        tuple
            Point, number of its draws found before, positions of the found events in the block, the block, its weights.
        """
        done = np.zeros(len(uniforms), dtype=np.int64)
        carry = np.zeros(len(uniforms))
        for (block, columns), is_last in _with_last(iter(self.events)):
            sums = np.empty(len(columns))
            for which, weights in self._weights(columns):
                self._make_probabilities(weights, which)
                for i, row in enumerate(weights, start=which.start):
                    np.cumsum(row, out=sums)
                    wanted = uniforms[i][done[i] :] * self.total[i] - carry[i]
                    if not is_last:
                        wanted = wanted[: np.searchsorted(wanted, sums[-1])]
                    # Rounding may leave a target at or above the last sum: it belongs to the last event with weight.
                    found = np.searchsorted(sums, np.minimum(wanted, np.nextafter(sums[-1], 0.0)), side="right")
                    if len(found):
                        yield i, int(done[i]), found, block, columns
                    done[i] += len(found)
                    carry[i] += sums[-1]


def _with_last(items: Iterator[Item]) -> Iterator[tuple[Item, bool]]:
    """Yield each item, and whether it is the last."""
    item = next(items, None)
    while item is not None:
        following = next(items, None)
        yield item, following is None
        item = following
