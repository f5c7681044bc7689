"""Events of one file with the weights of another: those of the parton-level file that they were showered from.

For where a shower lost the weights, or garbled them. Events belong together by their numbers, where the source numbers
its events, counted from 0 or 1; so events that the shower dropped are passed over. Otherwise they belong together in
their order, and both files need as many.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from columnminer.errors import FileFormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from columnminer.formats.reader import Reader, SourceInfo
    from columnminer.schema import EventBatch

__all__ = ["BorrowedWeights"]

_NUMBER = "event_number"


class BorrowedWeights:
    """Reader of the events of one source with the weights, and cross section, of another.

    Parameters
    ----------
    events
        Where the events are.
    weights
        Where their weights are: events that came before the shower.

    Attributes
    ----------
    path, content
        Of the source of the events.
    """

    def __init__(self, events: Reader, weights: Reader) -> None:
        self.path = events.path
        self.content: dict[str, int | str] | None = None
        self._events = events
        self._weights = weights
        self._known_base: int | None = None

    def info(self) -> SourceInfo:
        """Return what the source of the weights says, with attributes and batch size of that of the events."""
        events = self._events.info()
        return replace(self._weights.info(), attributes=events.attributes, batch_size=events.batch_size, n_events=None)

    def batches(self, size: int = 20_000, skip: int = 0) -> Iterator[EventBatch]:
        """Yield the events in order with their weights, `size` at a time, passing over the first `skip`.

        Raises
        ------
        FileFormatError
            If either file breaks its format, or it is unclear which weights belong to which event.
        """
        borrowed: _Rows | None = None
        last, dropped = -1, False
        for batch in self._events.batches(size, skip):
            rows = self._rows(batch)
            borrowed = borrowed or _Rows(self._weights, int(rows[0]), size)
            steps = np.diff(rows, prepend=max(last, rows[0] - 1))
            if np.any(steps < 1):
                place = int(np.argmax(steps < 1))
                msg = (
                    f"{self.path}, event {batch.first_event + place} (counted from 0): its number does not increase, "
                    f"so it is unclear which weights in {self._weights.path} belong to it"
                )
                raise FileFormatError(msg)
            weights = borrowed.at(rows)
            if len(weights) < len(rows):
                place = len(weights)
                msg = (
                    f"{self.path}, event {batch.first_event + place} (counted from 0): it belongs to event "
                    f"{rows[place]} of {self._weights.path}, which has only {borrowed.stop} events"
                )
                raise FileFormatError(msg)
            last, dropped = int(rows[-1]), int(rows[-1]) != batch.first_event + len(batch) - 1
            yield replace(batch, weights=weights, weight_names=self._weights.info().weight_names)
        if borrowed is not None and not dropped and borrowed.goes_on_behind(last):
            msg = (
                f"{self.path}: has {last + 1} events, fewer than {self._weights.path}, and their numbers do not say "
                f"which are missing, so it is unclear which weights belong to which event"
            )
            raise FileFormatError(msg)
        self.content = self._events.content

    def _rows(self, batch: EventBatch) -> NDArray[np.int64]:
        """Return which events of the source of the weights those of a batch belong to."""
        base = self._base()
        if base is None:
            return batch.first_event + np.arange(len(batch))
        return np.asarray(batch.events[_NUMBER], dtype=np.int64) - base

    def _base(self) -> int | None:
        """Return the number from which the events are counted; None where they have none, or all the same."""
        if self._known_base is None:
            first = next(iter(self._events.batches(2)), None)
            numbers = [] if first is None or _NUMBER not in first.events.fields else first.events[_NUMBER].to_list()
            if len(numbers) < 2 or numbers[0] == numbers[1]:
                return None
            self._known_base = min(numbers[0], 1)
        return self._known_base


class _Rows:
    """The rows of weights of a source, from a first one on, taken in ascending order."""

    def __init__(self, reader: Reader, first: int, size: int) -> None:
        self._batches = reader.batches(size, max(first, 0))
        self._start = first
        self._weights: NDArray[np.float64] = np.empty((0, len(reader.info().weight_names)))

    @property
    def stop(self) -> int:
        """Number of the row behind those that have been read."""
        return self._start + len(self._weights)

    def at(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the weights in ascending rows: as many as there are."""
        found = []
        for batch_weights in self._until(int(rows[-1])):
            inside = rows[(rows >= self._start) & (rows < self.stop)]
            found.append(batch_weights[inside - self._start])
        return np.concatenate(found)

    def _until(self, last: int) -> Iterator[NDArray[np.float64]]:
        """Yield what has been read, and read on until it holds the row `last`."""
        yield self._weights
        while self.stop <= last and self._read():
            yield self._weights

    def _read(self) -> bool:
        batch = next(self._batches, None)
        if batch is None:
            return False
        self._start, self._weights = self.stop, batch.weights
        return True

    def goes_on_behind(self, row: int) -> bool:
        """Whether there are further rows."""
        return self.stop > row + 1 or self._read()
