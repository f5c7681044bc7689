"""Training data as tensors on the device, and the mini-batches cut from them.

All columns of an event lie side by side in one matrix, so that a batch in random order is one gather, whatever the
method needs of it: with batches of this size a general data loader would cost more than the network.

`TensorData` holds the matrix of all events; `StreamedData` has it for a few blocks of events at a time, while the next
ones are read in the background. Several networks that are trained together (`members`) share the matrix: each has rows,
and an order, of its own, and batches get a leading dimension.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from columnminer.errors import InputError
from columnminer.streams import key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from columnminer.streams import Seed

    Arrays: TypeAlias = Mapping[str, NDArray[np.floating]]

__all__ = ["Batch", "Data", "Generators", "StreamedData", "TensorData", "generator"]

Batch = dict[str, Tensor]
Generators: TypeAlias = "torch.Generator | Sequence[torch.Generator]"


def generator(seed: Seed, *path: int | str) -> torch.Generator:
    """Return the torch generator (on the CPU) of the stream that `path` names under `seed`."""
    return torch.Generator().manual_seed(key(seed, *path) >> 1)


class Data(Protocol):
    """Events to train on: all in memory, or read as they are needed."""

    def __len__(self) -> int:
        """Events that each network sees."""

    @property
    def device(self) -> torch.device:
        """Where batches are."""

    def batches(self, size: int, generators: Generators | None = None) -> Iterator[Batch]:
        """Yield batches of `size` events, in random order with generators (on the CPU), else in order.

        In random order the events left over when all batches are full are passed over: each epoch leaves out others,
        and no step is taken on a handful of events.
        """


class TensorData:
    """Named columns of n events as one float32 matrix on a device.

    Parameters
    ----------
    arrays
        name -> (n,) or (n, k) numbers. All of one length.
    device
        Where the matrix lives ("cpu", "cuda").

    Raises
    ------
    InputError
        If lengths differ, there are no events, or a column holds NaN or infinity.
    """

    def __init__(self, arrays: Arrays, device: str | torch.device = "cpu") -> None:
        lengths = {name: len(a) for name, a in arrays.items()}
        n = max(lengths.values(), default=0)
        if n == 0 or any(length != n for length in lengths.values()):
            msg = f"training data need columns of one common length above zero, not {lengths}"
            raise InputError(msg)
        self._set([arrays], n, device)

    @classmethod
    def collect(cls, blocks: Iterable[Arrays], n: int, device: str | torch.device = "cpu") -> TensorData:
        """Return the data of several blocks with n events in all."""
        data = object.__new__(cls)
        data._set(blocks, n, device)
        return data

    def _set(self, blocks: Iterable[Arrays], n: int, device: str | torch.device) -> None:
        first = 0
        for arrays in blocks:
            size = len(next(iter(arrays.values())))
            if not first:
                self._columns, width = _layout(arrays)
                self._matrix = torch.empty((n, width), dtype=torch.float32, device=device)
            block = np.empty((size, self._matrix.shape[1]), dtype=np.float32)
            for name, column in self._columns.items():
                block[:, column] = arrays[name]
                bad = ~np.isfinite(block[:, column]).reshape(size, -1).all(1)
                if bad.any():
                    where = f"in {bad.sum()} of {n} events, first in event {first + bad.argmax()}"
                    msg = f"training data: {name} is not finite {where}"
                    raise InputError(msg)
            self._matrix[first : first + size] = torch.from_numpy(block).to(device)
            first += size
        self._rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self._matrix) if self._rows is None else self._rows.shape[-1]

    @property
    def device(self) -> torch.device:
        """Where the data are."""
        return self._matrix.device

    def rows(self, rows: Tensor) -> TensorData:
        """Return the same events, seen by these rows only, (n,) or (n_members, n)."""
        view = object.__new__(TensorData)
        view._columns, view._matrix, view._rows = self._columns, self._matrix, rows.to(self.device)
        return view

    def for_members(self, n: int) -> TensorData:
        """Return all events for each of n members."""
        return self.rows(torch.arange(len(self._matrix)).expand(n, -1))

    def split(
        self, fraction: float, seeds: Seed | Sequence[Seed], *, bootstrap: bool = False
    ) -> tuple[TensorData, TensorData]:
        """Return two random parts, the second with `fraction` of the events (at least one each), for each member.

        With `bootstrap` the first part is resampled: as many events, drawn with replacement.
        """
        first, second = _parts(len(self._matrix), fraction, seeds, 0, bootstrap=bootstrap)
        return self.rows(first), self.rows(second)

    def batches(self, size: int, generators: Generators | None = None) -> Iterator[Batch]:
        """Yield batches; see `Data`."""
        n = len(self)
        if generators is None:
            for start in range(0, n, size):
                stop = min(start + size, n)
                rows = torch.arange(start, stop) if self._rows is None else self._rows[..., start:stop]
                yield self._batch(rows.to(self.device))
            return
        if isinstance(generators, torch.Generator):
            order = torch.randperm(n, generator=generators).to(self.device)
        else:
            order = torch.stack([torch.randperm(n, generator=g) for g in generators]).to(self.device)
        rows = order if self._rows is None else torch.take_along_dim(self._rows, order, dim=-1)
        size = min(size, n)
        for start in range(0, n - size + 1, size):
            yield self._batch(rows[..., start : start + size])

    def _batch(self, rows: Tensor) -> Batch:
        events = self._matrix.index_select(0, rows.flatten()).reshape(*rows.shape, -1)
        return {name: events[..., column] for name, column in self._columns.items()}


class StreamedData:
    """Named columns of more events than memory holds, block by block.

    In random order the blocks come shuffled, as many together as `buffer` allows; their events are mixed, and batches
    are cut from them while the next blocks are read in the background.

    Parameters
    ----------
    read
        Number of a block -> its columns, in pieces.
    sizes
        Events in each block.
    device
        Where batches are made.
    buffer
        Events to hold at a time; there are up to three such portions: in use, being read, being converted.
    """

    def __init__(
        self, read: Callable[[int], Iterable[Arrays]], sizes: Sequence[int], device: str | torch.device, *, buffer: int
    ) -> None:
        self._read, self._sizes, self._device, self._buffer = read, list(sizes), torch.device(device), buffer
        self._rows: Callable[[int], Tensor] = lambda block: torch.arange(self._sizes[block])
        self._n = sum(self._sizes)

    def __len__(self) -> int:
        return self._n

    @property
    def device(self) -> torch.device:
        """Where batches are made."""
        return self._device

    def for_members(self, n: int) -> StreamedData:
        """Return all events for each of n members."""
        return self._seen(lambda block: torch.arange(self._sizes[block]).expand(n, -1), self._n)

    def split(
        self, fraction: float, seeds: Seed | Sequence[Seed], *, bootstrap: bool = False
    ) -> tuple[StreamedData, StreamedData]:
        """Return two random parts of every block; see `TensorData.split`."""

        def part(which: int) -> StreamedData:
            def rows(block: int) -> Tensor:
                return _parts(self._sizes[block], fraction, seeds, block, bootstrap=bootstrap)[which]

            second = sum(_n_second(size, fraction) for size in self._sizes)
            return self._seen(rows, second if which else self._n - second)

        return part(0), part(1)

    def _seen(self, rows: Callable[[int], Tensor], n: int) -> StreamedData:
        view = StreamedData(self._read, self._sizes, self._device, buffer=self._buffer)
        view._rows, view._n = rows, n
        return view

    def batches(self, size: int, generators: Generators | None = None) -> Iterator[Batch]:
        """Yield batches; see `Data`."""
        blocks = range(len(self._sizes))
        portions = [[block] for block in blocks]
        if generators is not None:
            first = generators if isinstance(generators, torch.Generator) else generators[0]
            portions = self._portions(torch.randperm(len(blocks), generator=first).tolist())
        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(self._load, portions[0])
            for following in [*portions[1:], None]:
                data = coming.result()
                if following is not None:
                    coming = reader.submit(self._load, following)
                yield from data.batches(size, generators)

    def _portions(self, blocks: list[int]) -> list[list[int]]:
        """Return the blocks in portions of up to `buffer` events, at least one block each."""
        portions: list[list[int]] = []
        room = 0
        for block in blocks:
            if room < self._sizes[block]:
                portions.append([])
                room = self._buffer
            portions[-1].append(block)
            room -= self._sizes[block]
        return portions

    def _load(self, blocks: list[int]) -> TensorData:
        data = TensorData.collect(
            chain.from_iterable(map(self._read, blocks)), sum(self._sizes[b] for b in blocks), self._device
        )
        firsts = np.cumsum([0, *(self._sizes[b] for b in blocks)])
        return data.rows(torch.cat([self._rows(b) + int(f) for b, f in zip(blocks, firsts, strict=False)], dim=-1))


def _layout(arrays: Arrays) -> tuple[dict[str, slice | int], int]:
    """Return where each column lies in the matrix, and how wide that is."""
    columns: dict[str, slice | int] = {}
    width = 0
    for name, a in arrays.items():
        columns[name] = width if a.ndim == 1 else slice(width, width + a.shape[1])
        width += 1 if a.ndim == 1 else a.shape[1]
    return columns, width


def _n_second(n: int, fraction: float) -> int:
    return min(max(round(fraction * n), 1), n - 1)


def _parts(
    n: int, fraction: float, seeds: Seed | Sequence[Seed], block: int, *, bootstrap: bool
) -> tuple[Tensor, Tensor]:
    """Return the rows of both parts, (n_rows,), or (n_members, n_rows) for several seeds."""
    cut = n - _n_second(n, fraction)

    def rows(seed: Seed) -> tuple[Tensor, Tensor]:
        order = torch.randperm(n, generator=generator(seed, "split", block))
        first, second = order[:cut], order[cut:]
        if bootstrap:
            first = first[torch.randint(cut, (cut,), generator=generator(seed, "bootstrap", block))]
        return first, second

    if isinstance(seeds, list | tuple):
        firsts, seconds = zip(*map(rows, seeds), strict=True)
        return torch.stack(firsts), torch.stack(seconds)
    return rows(seeds)  # type: ignore[arg-type]  # one seed is no list
