"""Events as inference takes them: those of a store after cuts, and data sets, recorded, simulated or Asimov."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from columnminer.errors import InputError, MissingError
from columnminer.infer.summary import text_column

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.store.eventstore import Block, EventStore

__all__ = ["AsimovEvents", "Dataset", "Events", "Partition", "StoredBlock", "StoredEvents"]

Partition: TypeAlias = "str | slice | Sequence[str]"
"""Name of a partition, "all", several names, or a slice of stored events."""


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
        What their weights are multiplied with: efficiencies, and the share of their partition.
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

    def weights(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Return the weights at one theta, (n,) [pb]."""
        return np.asarray(self.block.weights(theta)[0, self.rows] * self.factor)

    def weight_gradients(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Return the gradients of the weights at one theta, (n_par, n) [pb]."""
        return np.asarray(self.block.weight_gradients(theta)[0][:, self.rows] * self.factor)


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
        for name, texts in (("cuts", cuts), ("efficiencies", efficiencies)):
            if isinstance(texts, str):
                msg = f"{name} must be a list of expressions, not the text {texts!r}"
                raise InputError(msg)
        self.store = store
        self.partition = partition
        self._cuts = [text_column(text, store.observable_names) for text in cuts]
        self._efficiencies = [text_column(text, store.observable_names) for text in efficiencies]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the observables."""
        return tuple(self.store.observable_names)

    @property
    def n_stored(self) -> int:
        """Number of stored events before cuts."""
        if isinstance(self.partition, slice):
            return len(range(*self.partition.indices(len(self.store))))
        return sum(self.store.n_events(name) for name in self._partition_names())

    def _partition_names(self) -> list[str]:
        return [self.partition] if isinstance(self.partition, str) else list(self.partition)  # type: ignore[arg-type]

    def blocks(self, size: int | None = None) -> Iterator[StoredBlock]:
        """Yield the events that pass, in order, about `size` stored events at a time."""
        if isinstance(self.partition, slice):
            shares: list[tuple[Any, float]] = [(self.partition, 1.0)]
        else:
            # Each partition alone estimates the full cross section; together each counts by its number of events.
            names = self._partition_names()
            counts = [self.store.n_events(name) for name in names]
            shares = [(name, count / max(sum(counts), 1)) for name, count in zip(names, counts, strict=True)]
        for partition, share in shares:
            for block in self.store.blocks(partition, size=size):
                yield self._select(block, share)

    def _select(self, block: Block, share: float) -> StoredBlock:
        if not self._cuts and not self._efficiencies:
            return StoredBlock(block, slice(None), share)
        passed = np.ones(len(block.x), dtype=bool)
        for cut in self._cuts:
            passed &= cut(block.x)[:, 0] != 0.0
        rows = np.flatnonzero(passed)
        factor = np.full(len(rows), share)
        for efficiency in self._efficiencies:
            factor *= efficiency(block.x[rows])[:, 0]
        return StoredBlock(block, rows, factor)

    def cross_section(self, theta: ArrayLike) -> float:
        """Return the sum of the weights at theta [pb]."""
        return float(sum(block.weights(theta).sum() for block in self.blocks()))


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
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "names", tuple(self.names))

    def blocks(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Yield the events, a part at a time."""
        assert self.weights is not None  # set above
        step = 2**16
        for start in range(0, max(len(self.x), 1), step):
            yield self.x[start : start + step], self.weights[..., start : start + step]


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
    """

    events: StoredEvents
    theta: NDArray[np.float64]
    n_expected: float

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the observables."""
        return self.events.names

    def blocks(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Yield the events with their weights."""
        total = self.events.cross_section(self.theta)
        if not total > 0.0:
            msg = f"the events have no cross section at theta = {self.theta}: {total} pb"
            raise MissingError(msg)
        for block in self.events.blocks():
            yield block.x, block.weights(self.theta) * (self.n_expected / total)
