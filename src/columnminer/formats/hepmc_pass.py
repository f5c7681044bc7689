"""One pass over a HepMC file: bytes are fed to the compiled loop, and what it stops at is dealt with or named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import awkward as ak
import numpy as np

from columnminer.errors import FileFormatError
from columnminer.formats import hepmc_kernel as kernel
from columnminer.formats.hepmc_header import START, Header, declared_names, parse_header
from columnminer.formats.lhe_pass import longer
from columnminer.formats.window import Window
from columnminer.schema import EventBatch, jagged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Columns", "Pass"]

_MOST_EVENTS = 1 << 12  # rows that columns begin with; they grow to any size asked for
_SCALARS = {
    "scale": kernel.SCALE,
    "alpha_qed": kernel.ALPHA_QED,
    "alpha_qcd": kernel.ALPHA_QCD,
    "process_id": kernel.PROCESS,
}


class Columns:
    """The columns that one batch is read into."""

    def __init__(self, n_events: int, n_particles: int, n_weights: int) -> None:
        self.n_weights = n_weights
        self.counts = np.empty(n_events, dtype=np.int64)
        self.numbers = np.empty(n_events, dtype=np.int64)
        self.scalars = np.empty((kernel.N_SCALARS, n_events))
        self.weights = np.empty((n_events, max(n_weights, 1)))
        self.integers = np.empty((kernel.N_INTEGERS, n_particles), dtype=np.int32)
        self.floats = np.empty((kernel.N_FLOATS, n_particles))

    def arrays(self) -> tuple[NDArray[np.generic], ...]:
        """Return the argument `columns` of the kernel."""
        return self.counts, self.numbers, self.scalars, self.weights, self.integers, self.floats

    def more_events(self, n: int) -> None:
        """Make room for `n` events, keeping those read."""
        self.counts, self.numbers = longer(self.counts, n), longer(self.numbers, n)
        self.scalars, self.weights = longer(self.scalars, n), longer(self.weights.T, n).T.copy()

    def more_particles(self) -> None:
        """Make room for twice as many particles, keeping those read."""
        n = 2 * self.integers.shape[1]
        self.integers, self.floats = longer(self.integers, n), longer(self.floats, n)


class Pass:
    """One pass over a file: the window, and where reading stands in it.

    Parameters
    ----------
    path
        File to read.
    skip
        Number of events to pass over.
    digest
        Whether to hash the file on the way.
    keep_all
        Whether to keep all particles.

    Attributes
    ----------
    behind : int
        Number of events before those that `fill` reads next.
    cross_section : tuple of float or None
        What the last event read says, with its error [pb].
    """

    def __init__(self, path: str, skip: int = 0, *, digest: bool = False, keep_all: bool = False) -> None:
        self.window = Window(path, digest)
        self.path = path
        self.behind = skip
        self.cross_section: tuple[float, float] | None = None
        self.keep_all = keep_all
        self._version = 3
        self._status = kernel.GOOD
        self._state = np.zeros(kernel.N_STATE, dtype=np.int64)
        self._state[kernel.TO_SKIP] = skip
        self._hard = np.empty((1024, 3), dtype=np.int64)
        self._per_event = 500.0

    def header(self) -> Header:
        """Read up to the first event; return what was said.

        Raises
        ------
        FileFormatError
            If this is no HepMC file.
        """
        more = True
        while True:
            more = self.window.advance(0)
            header = parse_header(self.window.bytes(), self.path, whole=not more)
            if header is not None:
                self.pass_header(header)
                return header

    def pass_header(self, header: Header) -> None:
        """Pass over a header that has been read before."""
        while self.window.end < header.length and self.window.advance(0):
            pass
        self._state[kernel.POSITION] = header.length
        self._version = header.version

    def names(self) -> tuple[str, ...]:
        """Return the names of the weights that stand in the event of HepMC2 that comes next."""
        while True:
            lines = self.window.bytes(int(self._state[kernel.POSITION])).split(b"\n")
            for line in lines[1:-1]:  # the last may be cut by the window
                if line.startswith(b"N "):
                    return declared_names(line.decode(errors="replace"))
                if line.startswith((b"V ", b"P ", b"E ", b"HepMC")):
                    return ()
            if not self.window.advance(0):
                return ()

    def columns(self, size: int, n_weights: int) -> Columns:
        """Return columns for `size` events, or as many as it is worth beginning with."""
        n = min(size, _MOST_EVENTS)
        return Columns(n, int(1.1 * self._per_event * n) + 100, n_weights)

    def first_event(self, n_weights: int) -> Columns:
        """Read one event that has `n_weights` weights, or any number of them if that is 0.

        Raises
        ------
        FileFormatError
            If it breaks the format.
        """
        columns = self.columns(1, n_weights)
        try:
            self.fill(columns, 1)
        except FileFormatError:
            if n_weights or self._status != kernel.WRONG_WEIGHTS:
                raise
            columns = self.columns(1, int(self._state[kernel.DETAIL]))
            self.fill(columns, 1)
        return columns

    def fill(self, columns: Columns, size: int) -> bool:
        """Read the next `size` events; return False where there are no more.

        Raises
        ------
        FileFormatError
            If the file breaks its format; the columns hold the events before.
        """
        state, window = self._state, self.window
        state[[kernel.EVENTS, kernel.PARTICLES]] = 0
        while True:
            self._status = status = kernel.read_events(
                window.address,
                window.end,
                self._version,
                self.keep_all,
                columns.n_weights,
                state,
                self._hard,
                columns.arrays(),
            )
            n_decided = self._decide_hard(columns)
            if status == kernel.INCOMPLETE:
                used, state[kernel.POSITION] = int(state[kernel.POSITION]), 0
                try:
                    more = window.advance(used)
                except FileFormatError as error:
                    msg = f"{error} (after {self._number()} whole events)"
                    raise FileFormatError(msg) from error
                if not more:
                    raise self._error(status, columns)
            elif status == kernel.EVENTS_FULL:
                if len(columns.counts) == size:
                    return True
                columns.more_events(min(size, 2 * len(columns.counts)))
            elif status == kernel.PARTICLES_FULL:
                columns.more_particles()
            elif status == kernel.HARD_FULL:
                if n_decided == 0:
                    self._hard = np.empty((2 * len(self._hard), 3), dtype=np.int64)
            elif status == kernel.END:
                self._read_to_end()
                return False
            else:
                raise self._error(status, columns)

    def batch(self, columns: Columns, names: tuple[str, ...], scalars: Sequence[str]) -> EventBatch:
        """Return the events that `fill` has read.

        Parameters
        ----------
        columns
            What they were read into.
        names
            Of the weights; one more than there are columns repeats the first one.
        scalars
            Which of the numbers of an event to give.
        """
        n_events, n_particles = int(self._state[kernel.EVENTS]), int(self._state[kernel.PARTICLES])
        counts, found = columns.counts[:n_events], columns.scalars[:, :n_events]
        momenta = columns.floats[:, :n_particles]
        if not np.all(found[kernel.GEV] == 1.0):
            momenta *= np.repeat(found[kernel.GEV], counts)
        said = np.flatnonzero(found[kernel.CROSS_SECTION] > 0)
        if len(said):
            value, error = found[[kernel.CROSS_SECTION, kernel.CROSS_SECTION_ERROR], said[-1]].tolist()
            self.cross_section = value, error
        fields = {
            "particles": jagged(
                counts,
                {
                    "pdgid": columns.integers[kernel.PDGID, :n_particles],
                    "status": columns.integers[kernel.STATUS, :n_particles],
                    **dict(zip(("px", "py", "pz", "e"), momenta, strict=True)),
                },
            ),
            "event_number": columns.numbers[:n_events],
            **{name: found[_SCALARS[name]] for name in scalars},
        }
        if "process_id" in fields:
            fields["process_id"] = np.nan_to_num(found[kernel.PROCESS]).astype(np.int64)
        weights = columns.weights[:n_events]
        if len(names) > weights.shape[1]:
            weights = np.concatenate([weights[:, :1], weights], axis=1)
        batch = EventBatch(ak.zip(fields, depth_limit=1), weights, names, self.behind, self.path, showered=True)
        self.behind += n_events
        self._state[kernel.EVENTS] = 0
        self._per_event = max(n_particles / n_events, 10.0) if n_events else self._per_event
        return batch

    def given_scalars(self, columns: Columns) -> tuple[str, ...]:
        """Return which numbers the first event gives, once it has been read."""
        if not self._state[kernel.EVENTS]:
            return ()
        return tuple(name for name, row in _SCALARS.items() if np.isfinite(columns.scalars[row, 0]))

    def _number(self) -> int:
        """Return the number of the event that reading stands at, which is how many events are before it."""
        return int(self.behind - self._state[kernel.TO_SKIP] + self._state[kernel.EVENTS])

    def _decide_hard(self, columns: Columns) -> int:
        """Let float() decide the numbers that the kernel left open; return how many."""
        n = int(self._state[kernel.N_HARD])
        arrays = columns.weights, columns.scalars, columns.floats  # in the order of OF_WEIGHTS, OF_SCALARS, OF_FLOATS
        for slot, start, stop in self._hard[:n].tolist():
            index, kind = divmod(slot, kernel.N_KINDS)
            arrays[kind].reshape(-1)[index] = float(self.window.bytes(start, stop))
        self._state[kernel.N_HARD] = 0
        return n

    def _read_to_end(self) -> None:
        """Read to the end of the file, so that its hash is complete, and make sure that no events are there."""
        position = int(self._state[kernel.POSITION])
        while True:
            if START.search(self.window.bytes(position)):
                msg = f"{self.path}: a second listing of events follows after the first: are there two files in one?"
                raise FileFormatError(msg)
            position = max(position, self.window.end - 100)  # the line may be cut by the window
            if not self.window.advance(position):
                return
            position = 0

    def _error(self, status: int, columns: Columns) -> FileFormatError:
        """Return the error for what the kernel has met."""
        state, number = self._state, self._number()
        text = self.window.bytes(int(state[kernel.FROM]), int(state[kernel.TO])).decode(errors="replace")[:60]
        detail = int(state[kernel.DETAIL])
        if status == kernel.INCOMPLETE:
            msg = f"{self.path}: ends after {number} whole events without ...-END_EVENT_LISTING: it was cut"
            return FileFormatError(msg)
        what = {
            kernel.BAD_NUMBER: f"{text!r} is not a number",
            kernel.BAD_INTEGER: f"{text!r} is not an integer of 32 bits",
            kernel.WRONG_WEIGHTS: f"it has {detail} weights, not {columns.n_weights} as said or seen before",
            kernel.WRONG_PARTICLES: (
                f"it has {abs(detail)} particles {'more' if detail > 0 else 'fewer'} than it says: lines were lost"
            ),
            kernel.BAD_UNIT: f"{text!r} is no unit of energy; GEV and MEV are",
            kernel.BAD_LINE: f"no line of an event begins like {text!r}",
            kernel.LONG_LINE: f"the particle line {text!r} has more than nine numbers",
        }[status]
        return FileFormatError(f"{self.path}, event {number} (counted from 0): {what}")
