"""One pass over a text file of events: bytes are fed to a compiled loop, and what it stops at is dealt with or named.

A loop stops where its window of the file, or a column, is used up, at numbers that only `float()` can decide, and at
faults (see `kernel_codes`); the passes of the formats say what else it may stop at, and word its complaints.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np

from columnminer.errors import FileFormatError
from columnminer.formats import kernel_codes as codes
from columnminer.formats.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from columnminer.schema import EventBatch

__all__ = ["Columns", "CompiledPass"]

S = TypeVar("S", bound=np.generic)

_TAG = 100
"""Bytes, at least, of what begins a listing of events: so many are looked at again with what follows them."""

_BARE_EXPONENT = re.compile(rb"(?<=[0-9.])(?=[+-])")
"""Where Fortran leaves out the letter of an exponent: 1.5-103."""


class Columns:
    """The columns that one batch is read into.

    Parameters
    ----------
    widths
        How many scalars an event has; integers and floats a particle.
    n_events, n_particles
        What there is room for.
    n_weights
        Of an event. There is always a column for one.
    """

    def __init__(self, widths: tuple[int, int, int], n_events: int, n_particles: int, n_weights: int) -> None:
        n_scalars, n_integers, n_floats = widths
        self.n_weights = n_weights
        self.counts = np.empty(n_events, dtype=np.int64)
        self.numbers = np.empty(n_events, dtype=np.int64)
        self.scalars = np.empty((n_scalars, n_events))
        self.weights = np.empty((n_events, max(n_weights, 1)))
        self.integers = np.empty((n_integers, n_particles), dtype=np.int32)
        self.floats = np.empty((n_floats, n_particles))

    def arrays(self) -> tuple[NDArray[np.generic], ...]:
        """Return the argument `columns` of the loops."""
        return self.counts, self.numbers, self.scalars, self.weights, self.integers, self.floats

    def more_events(self, n: int) -> None:
        """Make room for `n` events, keeping those read."""
        self.counts, self.numbers = _longer(self.counts, n), _longer(self.numbers, n)
        self.scalars, self.weights = _longer(self.scalars, n), _longer(self.weights.T, n).T.copy()

    def more_particles(self) -> None:
        """Make room for twice as many particles, keeping those read."""
        n = 2 * self.integers.shape[1]
        self.integers, self.floats = _longer(self.integers, n), _longer(self.floats, n)


def _longer(array: NDArray[S], n: int) -> NDArray[S]:
    """Return a copy with the last axis made `n` long."""
    longer = np.empty((*array.shape[:-1], n), dtype=array.dtype)
    longer[..., : array.shape[-1]] = array
    return longer


class CompiledPass(ABC):
    """One pass over a file: the window, and where reading stands in it.

    Parameters
    ----------
    path
        File to read.
    skip
        Number of events to pass over.
    digest
        Whether to hash the file on the way.

    Attributes
    ----------
    behind : int
        Number of events before those that `fill` reads next.
    """

    widths: ClassVar[tuple[int, int, int]]
    """Of its `Columns`."""
    n_state: ClassVar[int]
    """Entries of the state of its loop."""
    most_events: ClassVar[int]
    """Rows that columns begin with; they grow to any size asked for."""
    per_event: float
    """Particles to expect in an event; the last batch tells better."""
    begins_again: ClassVar[tuple[re.Pattern[bytes], str]]
    """What must not follow after the end of the events, and what is to be said of it."""

    def __init__(self, path: str, skip: int = 0, *, digest: bool = False) -> None:
        self.window = Window(path, digest)
        self.path = path
        self.behind = skip
        self._state = np.zeros(self.n_state, dtype=np.int64)
        self._state[codes.TO_SKIP] = skip
        self._hard = np.empty((1024, 3), dtype=np.int64)

    # What a format says ------------------------------------------------------------------------------------------

    @abstractmethod
    def _read(self, columns: Columns) -> int:
        """Call the loop, and return why it stopped."""

    def _stopped(self, status: int, columns: Columns) -> None:
        """Deal with what the loop of this format alone may stop at; raise what is a fault."""
        raise self._error(status, columns)

    @abstractmethod
    def _complaint(self, status: int, text: str, detail: int, columns: Columns) -> str:
        """Return what is wrong with the event."""

    @abstractmethod
    def _cut(self, number: int) -> str:
        """Return what is to be said, behind the path, of a file that ends after this many whole events."""

    # Reading -----------------------------------------------------------------------------------------------------

    def go_to(self, position: int) -> None:
        """Go on at a position of the file, behind a header that has been read before."""
        while self.window.end < position and self.window.advance(0):
            pass
        self._state[codes.POSITION] = position

    def columns(self, size: int, n_weights: int) -> Columns:
        """Return columns for `size` events, or as many as it is worth beginning with."""
        n = min(size, self.most_events)
        return Columns(self.widths, n, int(1.1 * self.per_event * n) + 100, n_weights)

    def batches(self, size: int, n_weights: int, batch: Callable[[Columns], EventBatch]) -> Iterator[EventBatch]:
        """Yield the events, `size` at a time, as `batch` makes them of columns.

        Raises
        ------
        FileFormatError
            If the file breaks its format; whole events before have been yielded.
        """
        more, fault = True, None
        while more and fault is None:
            columns = self.columns(size, n_weights)
            try:
                more = self.fill(columns, size)
            except FileFormatError as error:
                fault = error
            events = batch(columns)
            if len(events):
                yield events
        if fault is not None:
            raise fault

    def fill(self, columns: Columns, size: int) -> bool:
        """Read the next `size` events; return False where there are no more.

        Raises
        ------
        FileFormatError
            If the file breaks its format; the columns hold the events before.
        """
        state, window = self._state, self.window
        state[[codes.EVENTS, codes.PARTICLES]] = 0
        while True:
            status = self._read(columns)
            n_decided = self._decide_hard(columns)
            if status == codes.INCOMPLETE:
                used, state[codes.POSITION] = int(state[codes.POSITION]), 0
                try:
                    more = window.advance(used)
                except FileFormatError as error:
                    msg = f"{error} (after {self._number()} whole events)"
                    raise FileFormatError(msg) from error
                if not more:
                    raise self._error(status, columns)
            elif status == codes.EVENTS_FULL:
                if len(columns.counts) == size:
                    return True
                columns.more_events(min(size, 2 * len(columns.counts)))
            elif status == codes.PARTICLES_FULL:
                columns.more_particles()
            elif status == codes.HARD_FULL:
                if n_decided == 0:
                    self._hard = np.empty((2 * len(self._hard), 3), dtype=np.int64)
            elif status == codes.END:
                self._read_to_end()
                return False
            else:
                self._stopped(status, columns)

    def _sizes(self) -> tuple[int, int]:
        """Return how many events, and how many particles, `fill` has read."""
        return int(self._state[codes.EVENTS]), int(self._state[codes.PARTICLES])

    def _taken(self) -> None:
        """Go on to the next batch, once the events that `fill` has read were taken from the columns."""
        n_events, n_particles = self._sizes()
        self.behind += n_events
        self._state[codes.EVENTS] = 0
        self.per_event = max(n_particles / n_events, 1.0) if n_events else self.per_event

    def _number(self) -> int:
        """Return the number of the event that reading stands at, which is how many events are before it."""
        return int(self.behind - self._state[codes.TO_SKIP] + self._state[codes.EVENTS])

    def _text(self) -> bytes:
        """Return what the loop points at."""
        return self.window.bytes(int(self._state[codes.FROM]), int(self._state[codes.TO]))

    def _decide_hard(self, columns: Columns) -> int:
        """Let float() decide the numbers that the loop left open, as NaN; return how many."""
        n = int(self._state[codes.N_HARD])
        arrays = columns.weights, columns.scalars, columns.floats  # in the order of OF_WEIGHTS, OF_SCALARS, OF_FLOATS
        for slot, start, stop in self._hard[:n].tolist():
            index, kind = divmod(slot, codes.N_KINDS)
            flat = arrays[kind].reshape(-1)
            if np.isnan(flat[index]):  # what the event said first may have been said again in the meantime
                number = self.window.bytes(start, stop).lower().replace(b"d", b"e")
                flat[index] = float(number if b"e" in number else _BARE_EXPONENT.sub(b"e", number))
        self._state[codes.N_HARD] = 0
        return n

    def _read_to_end(self) -> None:
        """Read to the end of the file, so that its hash is complete, and make sure that no events are there."""
        pattern, complaint = self.begins_again
        position = int(self._state[codes.POSITION])
        while True:
            if pattern.search(self.window.bytes(position)):
                msg = f"{self.path}: {complaint}"
                raise FileFormatError(msg)
            position = max(position, self.window.end - _TAG)  # what would begin it may be cut by the window
            if not self.window.advance(position):
                return
            position = 0

    def _error(self, status: int, columns: Columns) -> FileFormatError:
        """Return the error for what the loop has met."""
        number, detail = self._number(), int(self._state[codes.DETAIL])
        if status == codes.INCOMPLETE:
            return FileFormatError(self.path + self._cut(number))
        text = self._text().decode(errors="replace")[:60]
        if status == codes.BAD_NUMBER:
            what = f"{text!r} is not a number"
        elif status == codes.BAD_INTEGER:
            what = f"{text!r} is not an integer of 32 bits"
        else:
            what = self._complaint(status, text, detail, columns)
        return FileFormatError(f"{self.path}, event {number} (counted from 0): {what}")
