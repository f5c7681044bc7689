"""Unweighting: events drawn in proportion to their weight at a parameter point, for many points at once.

Event e is drawn at theta with probability W_e(theta) / sum_e W_e(theta), independently each time, by inverting the
cumulative sum of the weights (`inversion`). Events are read block by block, twice: once for the sums, once to draw.
A draw has a random number of its own, so that neither the blocks nor what else is drawn, where and by whom, matters to
it.

With nuisance parameters, points are pairs (theta, nu), and the weights at theta are multiplied with the factors of
`model.response`; without them, nothing of that is looked at.

Negative weights have no probability. What is done with them has a name: "refuse" raises, "clip" takes them as zero, and
"keep" draws by |W| and hands out the sign as the weight of the drawn event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

import numpy as np

from columnminer.errors import InputError, MissingError
from columnminer.sample.inversion import ROUNDING, Group, worth_pieces
from columnminer.sample.nuisances import NuisanceSums, exponents, nuisance_sums
from columnminer.sample.replicas import checked_replica, multiplicities

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from columnminer.store.eventstore import EventStore
    from columnminer.store.weights import Block

__all__ = ["DrawOptions", "Events", "NegativeWeights", "PointSums", "Sampler", "with_background"]

NegativeWeights: TypeAlias = Literal["clip", "refuse", "keep"]

_IN_MEMORY = 1_000_000
"""Partitions of up to so many events are kept in memory between passes."""


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
    replica : int or None
        Number of a bootstrap replica, in which every stored event counts as often as a Poisson number of mean 1 says,
        whatever the seed; see `replicas`. Default: None, each event counts once.
    dtype : type
        Precision of the arrays, numpy.float32 (the default) or numpy.float64.
    """

    negative_weights: NegativeWeights
    closest_benchmark: bool
    trim: float | None
    replica: int | None
    dtype: type[np.floating]


@dataclass(frozen=True)
class PointSums:
    """Sums over all events at the points that are drawn from.

    Attributes
    ----------
    totals : numpy.ndarray
        (n_points, n_benchmarks + 1) sums of the linear weights of all events that could have been drawn [pb].
    drawn : numpy.ndarray
        (n_points,) sum of what events are drawn in proportion to [pb].
    squares : numpy.ndarray
        (n_points,) sum of its squares.
    negative : numpy.ndarray
        (n_points,) sum of |W| over events with negative weight, relative to that over all that can be drawn.
    limit : numpy.ndarray
        (n_points,) heavier events are not drawn; infinite where nothing is trimmed.
    trimmed : numpy.ndarray
        (n_points,) share of the total that these events had.
    """

    totals: NDArray[np.float64]
    drawn: NDArray[np.float64]
    squares: NDArray[np.float64]
    negative: NDArray[np.float64]
    limit: NDArray[np.float64]
    trimmed: NDArray[np.float64]

    @classmethod
    def empty(cls, n_points: int, n_columns: int) -> PointSums:
        """Return room for the sums at n_points."""
        return cls(np.empty((n_points, n_columns)), *(np.empty(n_points) for _ in range(5)))

    @property
    def n_eff(self) -> NDArray[np.float64]:
        """Effective number of events, (sum |W|)^2 / sum W^2, (n_points,)."""
        return np.asarray(self.drawn**2 / self.squares)

    def put(self, which: Any, sums: PointSums) -> None:
        """Fill in the sums of some points."""
        for name, values in vars(sums).items():
            vars(self)[name][which] = values

    def take(self, which: Any) -> PointSums:
        """Return the sums of some points."""
        return PointSums(**{name: values[which] for name, values in vars(self).items()})


class Events:
    """The events of a partition with linear weights, to be passed over again and again, from memory if they are few.

    The linear weights (n, n_benchmarks + 1) [pb] are benchmark weights of the signal and, in the last column, weights
    of backgrounds. The weight of an event at theta is their product with (w_1(theta), ..., w_nb(theta), 1). With
    nuisances, the 2 n_nu columns of `nuisances.exponents` follow. In a bootstrap replica, the linear weights are
    multiplied with the numbers of times that events count.
    """

    def __init__(
        self,
        store: EventStore,
        partition: str,
        closest_to: NDArray[np.float64] | None = None,
        *,
        nuisances: bool = False,
        replica: int | None = None,
    ) -> None:
        self._store, self._partition, self._closest_to = store, partition, closest_to
        self._nuisances, self._replica = nuisances, replica
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
            if self._replica is not None:
                columns *= multiplicities(self._replica, block.indices)[:, np.newaxis]
            yield block, np.concatenate([columns, exponents(block)], axis=1) if self._nuisances else columns


def with_background(coefficients: NDArray[np.float64], value: float = 1.0) -> NDArray[np.float64]:
    """Return morphing weights (or, with value 0, their gradients) with the last column that `Events` have."""
    return np.concatenate([coefficients, np.full((*coefficients.shape[:-1], 1), value)], axis=-1)


class Sampler:
    """Draws events of one partition of a store; it may travel to other processes, without the events that it keeps.

    Parameters
    ----------
    store, partition
        Where the events are.
    nuisances
        Whether nuisance parameters take part: the columns of events then have their `nuisances.exponents` too.
    negative_weights, closest_benchmark, trim, replica, dtype
        See `DrawOptions`.

    Raises
    ------
    InputError
        If an option is not known.
    MissingError
        If the events of the store were recorded, and have no weights.
    """

    def __init__(
        self,
        store: EventStore,
        partition: str,
        *,
        nuisances: bool = False,
        negative_weights: NegativeWeights = "clip",
        closest_benchmark: bool = False,
        trim: float | None = None,
        replica: int | None = None,
        dtype: type[np.floating] = np.float32,
    ) -> None:
        if negative_weights not in {"clip", "refuse", "keep"}:
            msg = f'negative_weights is "clip", "refuse" or "keep", not {negative_weights!r}'
            raise InputError(msg)
        if trim is not None and not trim > 1.0:
            msg = f"trim must be above 1 (events with more than 1 / trim of the total are left out), not {trim!r}"
            raise InputError(msg)
        if np.dtype(dtype) not in {np.dtype(np.float32), np.dtype(np.float64)}:
            msg = f"dtype must be numpy.float32 or numpy.float64, not {dtype!r}"
            raise InputError(msg)
        if store.recorded:
            msg = f"{store.path} holds recorded events, which have no weights to draw by: take them as they are"
            raise MissingError(msg)
        self.store, self.partition = store, partition
        self.negative_weights, self.closest_benchmark, self.trim = negative_weights, closest_benchmark, trim
        self.replica, self.dtype = checked_replica(replica), np.dtype(dtype)
        self.nuisances = nuisances and bool(store.nuisances)
        self._events: dict[str | None, Events] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_events": {}}

    @property
    def options(self) -> dict[str, Any]:
        """How events are drawn, as a JSON document."""
        names = ("negative_weights", "closest_benchmark", "trim", "replica")
        return {name: getattr(self, name) for name in names}

    def groups(self, theta: NDArray[np.float64]) -> list[tuple[str | None, NDArray[np.int64]]]:
        """Return the points (n_points, n_par) that are drawn from the same events, with the benchmark of these."""
        if not self.closest_benchmark:
            return [(None, np.arange(len(theta)))]
        nearest = np.array([self.store.closest_benchmark(point) for point in theta])
        return [(name, np.flatnonzero(nearest == name)) for name in dict.fromkeys(nearest.tolist())]

    def require_events(self, benchmark: str | None) -> None:
        """Raise what reading the events of a benchmark would.

        Raises
        ------
        UnknownNameError, MissingError
            If there is no such partition, or it has no events of the signal or of a background.
        """
        next(iter(self.store.blocks(self.partition, size=1, closest_to=self._near(benchmark))), None)

    def sums(
        self, benchmark: str | None, coefficients: NDArray[np.float64], shifts: NDArray[np.float64] | None
    ) -> PointSums:
        """Return the sums at points of one group, by their coefficients and `nuisances.powers`."""
        group = Group(self._events_near(benchmark), coefficients, shifts, by_size=self.negative_weights == "keep")
        group.sum()
        everything, negative, limit = group.total, group.negative, np.full(len(coefficients), np.inf)
        if self.trim is not None:
            limit = group.limit = group.total / self.trim
            group.sum()
        with np.errstate(divide="ignore", invalid="ignore"):  # points without weight are refused later, by name
            negative, trimmed = negative / everything, 1.0 - group.total / everything
        totals = np.broadcast_to(group.columns, coefficients.shape)
        return PointSums(totals, group.total, group.squares, negative, limit, trimmed)

    def draw(
        self,
        groups: list[tuple[str | None, NDArray[np.int64]]],
        coefficients: NDArray[np.float64],
        shifts: NDArray[np.float64] | None,
        sums: PointSums,
        uniforms: list[NDArray[np.float64]],
    ) -> tuple[NDArray[np.floating], NDArray[np.float64]]:
        """Draw events at some points.

        Parameters
        ----------
        groups
            The points that are drawn from the same events.
        coefficients, shifts, sums
            Of the points.
        uniforms
            Random numbers of each point, between 0 and 1: one for each draw.

        Returns
        -------
        tuple
            Observables (n, n_observables) and columns of `Events` (n, n_columns), in the order of the random numbers.
        """
        ends = np.cumsum([len(u) for u in uniforms])
        n, n_columns = int(ends[-1]), coefficients.shape[1] + (2 * len(self.store.nuisances) if self.nuisances else 0)
        x = np.empty((n, len(self.store.observable_names)), dtype=self.dtype)
        columns = np.empty((n, n_columns))
        in_pieces = worth_pieces([len(u) for u in uniforms], self.store.n_events(self.partition))
        in_pieces &= shifts is None and (sums.negative <= ROUNDING) & np.isinf(sums.limit)
        for benchmark, near in groups:
            for by_pieces, which in ((True, near[in_pieces[near]]), (False, near[~in_pieces[near]])):
                if not len(which):
                    continue
                some = None if shifts is None else shifts[which]
                events = self._events_near(benchmark)
                group = Group(events, coefficients[which], some, by_size=self.negative_weights == "keep")
                group.total, group.limit = sums.drawn[which], sums.limit[which]
                rows = [np.argsort(uniforms[i]) for i in which]
                targets = [uniforms[i][r] for i, r in zip(which, rows, strict=True)]
                rows = [r + (ends[i] - len(r)) for i, r in zip(which, rows, strict=True)]
                for i, done, found, block, block_columns in group.pick(targets, by_pieces=by_pieces):
                    into = rows[i][done : done + len(found)]
                    x[into], columns[into] = block.x.take(found, axis=0), block_columns.take(found, axis=0)
        return x, columns

    def nuisance_sums(self, benchmark: str | None, nus: NDArray[np.float64]) -> NuisanceSums:
        """Return sums over the events of a group at nus (n_nus, n_nu)."""
        return nuisance_sums((columns for _, columns in self._events_near(benchmark)), nus)

    def _near(self, benchmark: str | None) -> NDArray[np.float64] | None:
        return None if benchmark is None else self.store.setup.theta(benchmark)

    def _events_near(self, benchmark: str | None) -> Events:
        if benchmark not in self._events:
            self._events[benchmark] = Events(
                self.store, self.partition, self._near(benchmark), nuisances=self.nuisances, replica=self.replica
            )
        return self._events[benchmark]
