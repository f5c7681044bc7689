"""Events as inference takes them: those of a store after cuts, and data sets, recorded, simulated or Asimov."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import numpy as np

from columnminer.errors import InputError, MissingError
from columnminer.infer.summary import Cuts, Efficiencies
from columnminer.store.mixing import mixing_scales
from columnminer.store.partition import partition_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.event_sets import EventSets
    from columnminer.store.eventstore import EventStore
    from columnminer.store.weights import Block

__all__ = [
    "AsimovEvents",
    "Dataset",
    "Events",
    "Partition",
    "RecordedEvents",
    "Rescaled",
    "StoredBlock",
    "StoredEvents",
]

Partition: TypeAlias = "str | slice | Sequence[str]"
"""Name of a partition, "all", several names, or a slice of stored events."""

Factor: TypeAlias = "Callable[[NDArray[np.float64], Sequence[str]], NDArray[np.float64]]"
"""What multiplies the weights of events: (n, n_obs) observables and their names -> (n,)."""

_EVENTS_AT_A_TIME = 2**16


@dataclass(frozen=True)
class StoredBlock:
    """Some events of a store that passed the cuts.

    Attributes
    ----------
    block : Block
        The stored events that they are among.
    rows : slice or numpy.ndarray
        Which of them.
    factor : float or numpy.ndarray
        What their weights are multiplied with: efficiencies, and the scale of several partitions taken together.
    """

    block: Block
    rows: slice | NDArray[np.intp]
    factor: float | NDArray[np.float64]

    @property
    def x(self) -> NDArray[np.float64]:
        """Observables (n, n_obs)."""
        return np.asarray(self.block.x[self.rows])

    @property
    def background(self) -> NDArray[np.bool_]:
        """Which events are background, (n,)."""
        return np.asarray(self.block.background[self.rows])

    @property
    def benchmark_weights(self) -> NDArray[np.float64]:
        """Weights (n, n_benchmarks) [pb]."""
        weights = self.block.benchmark_weights[self.rows]
        return np.asarray(weights * np.reshape(self.factor, (-1, 1)))

    def weights(self, theta: ArrayLike, nu: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return the weights at one theta and, if given, one nu, (n,) [pb]."""
        return np.asarray(self.block.weights(theta, nu)[0, self.rows] * self.factor)

    def weight_gradients(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Return the gradients of the weights at one theta, (n_directions, n) [pb]; theta first, then nu at 0."""
        nu = np.zeros(len(self.block.nuisances)) if self.block.nuisances else None
        return np.asarray(self.block.weight_gradients(theta, nu)[0][:, self.rows] * self.factor)

    @property
    def reference_weights(self) -> NDArray[np.float64]:
        """Weights at the reference benchmark, (n,) [pb]: those that variations are relative to."""
        column = self.block.setup.benchmark_names.index(self.block.setup.reference)
        return np.asarray(self.block.benchmark_weights[self.rows, column] * self.factor)

    @property
    def nuisance_weights(self) -> NDArray[np.float64]:
        """Varied weights (n, n_columns) [pb]."""
        return np.asarray(self.block.nuisance_weights[self.rows] * np.reshape(self.factor, (-1, 1)))


class StoredEvents:
    """The events of a store that pass cuts, in blocks, with weights that sum to the cross section after cuts.

    Parameters
    ----------
    store
        Where the events are.
    partition
        Which of them: a partition, several together, "all", or a slice of event numbers.
    cuts
        Expressions of observables that are true for events to keep.
    efficiencies
        Expressions of observables that multiply the weights.

    Raises
    ------
    UnknownNameError
        If a cut or an efficiency names something that is not an observable.
    """

    def __init__(
        self,
        store: EventStore,
        partition: Partition = "all",
        *,
        cuts: Sequence[str] = (),
        efficiencies: Sequence[str] = (),
    ) -> None:
        self.store = store
        self.partition = partition
        self.cuts = Cuts(cuts, store.observable_names) if cuts else None
        self.efficiencies: Factor | None = None
        if efficiencies:
            self.efficiencies = Efficiencies(efficiencies, store.observable_names)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the observables."""
        return tuple(self.store.observable_names)

    def _parts(self) -> list[str | slice]:
        return [self.partition] if isinstance(self.partition, str | slice) else list(self.partition)

    @property
    def n_stored(self) -> int:
        """Number of stored events before cuts."""
        return sum(self.store.n_events(part) for part in self._parts())

    def blocks(self, size: int | None = None) -> Iterator[StoredBlock]:
        """Yield the events that pass, in order, about `size` stored events at a time."""
        parts = self._parts()
        if len(parts) == 1:
            for block in self.store.blocks(parts[0], size=size):
                yield self._select(block, slice(None), 1.0)
            return
        # Several partitions together, in one pass over the store: its weights, scaled up for the events left out.
        codes = [partition_code(str(part)) for part in parts]
        counts = np.array([sum(s.partition_counts[code] for code in codes) for s in self.store.samples])
        together = mixing_scales(self.store.samples, counts)
        all_of_it = mixing_scales(self.store.samples, np.array([s.n_events for s in self.store.samples]))
        scales = np.divide(together, all_of_it, out=np.zeros_like(together), where=all_of_it > 0.0)
        for block in self.store.blocks(size=size):
            first, last = int(block.indices[0]), int(block.indices[-1])
            codes_here = self.store.partition[first : last + 1][block.indices - first]
            rows = np.flatnonzero(np.isin(codes_here, codes))
            yield self._select(block, rows, scales[block.sample[rows]])

    def _select(self, block: Block, rows: slice | NDArray[np.intp], factor: float | NDArray[np.float64]) -> StoredBlock:
        """Return those of some rows of a block that pass the cuts, with the efficiencies multiplied to their factor."""
        if self.cuts is not None:
            passed = np.flatnonzero(self.cuts(block.x[rows], self.names))
            rows = passed if isinstance(rows, slice) else rows[passed]
            factor = factor if isinstance(factor, float) else factor[passed]
        if self.efficiencies is not None:
            factor = factor * self.efficiencies(block.x[rows], self.names)
        return StoredBlock(block, rows, factor)

    def varied(self, name: str) -> list[StoredEvents]:
        """Return the same events as they are seen at nu = +1 and (unless one-sided) -1; see `EventStore.varied`.

        Raises
        ------
        InputError
            If the events are a slice: other events pass there, in other places.
        """
        if isinstance(self.partition, slice):
            msg = f"the events of a slice have no counterparts for {name!r}: take a partition"
            raise InputError(msg)
        both = [copy(self) for _ in self.store.varied(name)]
        for events, store in zip(both, self.store.varied(name), strict=True):
            events.store = store
        return both

    def reweighted(self, factor: Factor) -> StoredEvents:
        """Return the same events with their weights multiplied by a function of the observables."""
        events, before = copy(self), self.efficiencies

        def both(x: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.float64]:
            return factor(x, names) if before is None else before(x, names) * factor(x, names)

        events.efficiencies = both
        return events

    def check_estimator(self, estimator: object, *, other_store: bool = False) -> None:
        """Let an estimator that knows where it was trained refuse these events; see `Estimator.check_store`."""
        check = getattr(estimator, "check_store", None)
        if check is not None:
            for part in self._parts():
                check(self.store, part, other_store=other_store)

    def draw(self, theta: ArrayLike, n: int, rng: np.random.Generator, nu: ArrayLike | None = None) -> Events:
        """Return `n` unweighted events, drawn with replacement with probability proportional to the weight there.

        Events with negative weights cannot be drawn and are left out. What is drawn does not depend on the blocks.

        Raises
        ------
        MissingError
            If no event has a positive weight.
        """
        total = 0.0
        for block in self.blocks():
            total = float(np.cumsum(np.concatenate([[total], np.maximum(block.weights(theta, nu), 0.0)]))[-1])
        if not total > 0.0:
            msg = f"no stored event has a positive weight at theta = {np.asarray(theta)}"
            raise MissingError(msg)
        # Sorted heights in the cumulative sum of the weights, met one after the other in a second pass.
        heights = np.sort(rng.uniform(0.0, total, n))
        drawn, below = [np.zeros((0, len(self.names)))], 0.0
        for block in self.blocks():
            cumulative = np.cumsum(np.concatenate([[below], np.maximum(block.weights(theta, nu), 0.0)]))
            first, last = np.searchsorted(heights, cumulative[[0, -1]])
            if last > first:
                drawn.append(block.x[np.searchsorted(cumulative[1:], heights[first:last], side="right")])
            below = float(cumulative[-1])
        x = np.concatenate(drawn)
        rng.shuffle(x, axis=0)
        return Events(x, self.names)

    def cross_section(self, theta: ArrayLike, nu: ArrayLike | None = None) -> float:
        """Return the sum of the weights at theta and nu [pb]."""
        parts = self._parts()
        if len(parts) == 1 and self.cuts is None and self.efficiencies is None:  # the store keeps these sums
            return float(self.store.xsec(theta, nu, partition=parts[0]).value[0])
        return float(sum(block.weights(theta, nu).sum() for block in self.blocks()))


@runtime_checkable
class Dataset(Protocol):
    """Events to be explained: blocks of observables with weights."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the observables."""
        ...

    def blocks(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Yield observables (n, n_obs) and weights (..., n)."""
        ...


@dataclass(frozen=True)
class Events:
    """Events in memory.

    Attributes
    ----------
    x : numpy.ndarray
        (n, n_obs) observables.
    names : tuple of str
        Of the observables.
    weights : numpy.ndarray
        (..., n) how many events each stands for; 1 unless given. Leading axes are pseudo-experiments that share events.

    Raises
    ------
    InputError
        If the shapes do not fit, or a value is not finite.
    """

    x: NDArray[np.float64]
    names: tuple[str, ...]
    weights: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        x = np.asarray(self.x, dtype=np.float64)
        weights = np.ones(len(x)) if self.weights is None else np.asarray(self.weights, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != len(self.names):
            msg = f"events have shape {x.shape}, but need one column for each of {', '.join(self.names)}"
            raise InputError(msg)
        if weights.shape[-1:] != (len(x),):
            msg = f"weights of shape {weights.shape} do not fit {len(x)} events"
            raise InputError(msg)
        if not np.isfinite(weights).all():
            msg = f"event {int(np.argwhere(~np.isfinite(weights))[0][-1])} has a weight that is not finite"
            raise InputError(msg)
        object.__setattr__(self, "x", x)
        if self.weights is not None:
            object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "names", tuple(self.names))

    def pick(self, rows: NDArray[np.int64]) -> Events:
        """Return the pseudo-experiments of these rows, which share events."""
        if self.weights is None or self.weights.ndim == 1:
            msg = "one data set is no batch: stack several with columnminer.infer.batches.stack"
            raise InputError(msg)
        return Events(self.x, self.names, self.weights[rows])

    @classmethod
    def stack(cls, data: Sequence[Events]) -> EventSets:
        """Return data sets that share no events as one batch.

        Raises
        ------
        InputError
            If they have different observables, or are batches already.
        """
        from columnminer.infer.event_sets import EventSets  # noqa: PLC0415 - which are made of these

        if any(d.names != data[0].names or (d.weights is not None and d.weights.ndim > 1) for d in data):
            msg = "events of different observables, or of several data sets, cannot be stacked"
            raise InputError(msg)
        return EventSets.stack(data)

    def blocks(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Yield the events, a part at a time."""
        weights = np.ones(len(self.x)) if self.weights is None else self.weights
        for start in range(0, max(len(self.x), 1), _EVENTS_AT_A_TIME):
            part = slice(start, start + _EVENTS_AT_A_TIME)
            yield self.x[part], weights[..., part]


@dataclass(frozen=True)
class AsimovEvents:
    """Weighted events of a store at one theta, scaled to an expected number: read from the store whenever needed.

    Attributes
    ----------
    events : StoredEvents
        Where they come from.
    theta : numpy.ndarray
        (n_par,) the truth.
    n_expected : float
        What the weights sum to.
    nu : numpy.ndarray or None
        (n_nu,) nuisance parameters; None: all 0.
    """

    events: StoredEvents
    theta: NDArray[np.float64]
    n_expected: float
    nu: NDArray[np.float64] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the observables."""
        return self.events.names

    def blocks(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Yield the events with their weights."""
        total = self.events.cross_section(self.theta, self.nu)
        if not total > 0.0:
            msg = f"the events have no cross section at theta = {self.theta}: {total} pb"
            raise MissingError(msg)
        for block in self.events.blocks():
            yield block.x, block.weights(self.theta, self.nu) * (self.n_expected / total)


@dataclass(frozen=True)
class RecordedEvents:
    """All events of a store of recorded data, each counting once; read from the store whenever needed.

    Attributes
    ----------
    store : EventStore
        Where they are.
    """

    store: EventStore

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the observables."""
        return tuple(self.store.observable_names)

    def blocks(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Yield the events, a part at a time."""
        for start in range(0, len(self.store), _EVENTS_AT_A_TIME):
            x = np.asarray(self.store.observables[start : start + _EVENTS_AT_A_TIME])
            yield x, np.ones(len(x))


@dataclass(frozen=True)
class Rescaled:
    """Another data set, in which each event counts more or less.

    Attributes
    ----------
    data : Dataset
        The other.
    factor : float
        By which its weights are multiplied.
    """

    data: Dataset
    factor: float

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the observables."""
        return self.data.names

    def blocks(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Yield the events, a part at a time."""
        for x, weights in self.data.blocks():
            yield x, weights * self.factor
