"""One pass over an LHE file: bytes are fed to the compiled loop, and what it stops at is dealt with or named.

The loop stops where its window of the file, or a column, is used up, at numbers that only `float()` can decide, at
weights that have no column yet, and at faults (see `lhe_kernel`).
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, TypeVar

import awkward as ak
import numpy as np

from columnminer.errors import FileFormatError
from columnminer.formats import lhe_kernel as kernel
from columnminer.formats.lhe_header import LHEInfo, find_init, parse_header
from columnminer.formats.window import Window
from columnminer.schema import NOMINAL, EventBatch, jagged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["FLOAT_FIELDS", "INTEGER_FIELDS", "SCALAR_FIELDS", "Columns", "Pass", "WeightTable", "longer"]

INTEGER_FIELDS = ("pdgid", "status", "mother1", "mother2", "color1", "color2")
"""First fields of a particle line."""

FLOAT_FIELDS = ("px", "py", "pz", "e", "generated_mass", "lifetime", "spin")
"""Last fields of a particle line."""

SCALAR_FIELDS = ("scale", "alpha_qed", "alpha_qcd")
"""Last fields of an event line."""

S = TypeVar("S", bound=np.generic)

_MOST_EVENTS = 1 << 16  # rows that columns begin with; they grow to any size asked for


class WeightTable:
    """The weight columns of a file: which ids they have, and which of them stand in <weights> without one."""

    def __init__(self) -> None:
        self.ids: list[bytes] = []
        self.positions = np.empty(0, dtype=np.int64)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns; an id that is called like the column of XWGTUP gets quotes."""
        names = (html.unescape(name.decode(errors="backslashreplace")) for name in self.ids)
        return (NOMINAL, *(f"'{name}'" if name == NOMINAL else name for name in names))

    def learn(self, status: int, new: bytes, n: int, declared: Sequence[str]) -> None:
        """Take in a new id, or give the `n` numbers in <weights> the first ids declared, or else 1, 2, ..."""
        if status == kernel.NEW_ID:
            self.ids.append(new)
            return
        names = declared[:n] if n <= len(declared) else [str(k + 1) for k in range(n)]
        raw = [html.escape(name, quote=False).encode() for name in names]
        self.ids += [name for name in raw if name not in self.ids]
        self.positions = np.array([self.ids.index(name) for name in raw], dtype=np.int64)

    def arrays(self) -> tuple[NDArray[np.uint8] | NDArray[np.int64], ...]:
        """Return the argument `tables` of the kernel."""
        ids = np.array(bytearray(b"".join(self.ids)), dtype=np.uint8)
        ends = np.cumsum([0, *map(len, self.ids)], dtype=np.int64)
        return ids, ends, self.positions, np.zeros(len(self.ids), dtype=np.int64)


class Columns:
    """The columns that one batch is read into."""

    def __init__(self, n_events: int, n_particles: int, n_weights: int) -> None:
        self.counts = np.empty(n_events, dtype=np.int64)
        self.process_ids = np.empty(n_events, dtype=np.int64)
        self.scalars = np.empty((kernel.N_SCALARS, n_events))
        self.weights = np.empty((n_events, n_weights))
        self.integers = np.empty((kernel.N_INTEGERS, n_particles), dtype=np.int32)
        self.floats = np.empty((kernel.N_FLOATS, n_particles))

    def arrays(self) -> tuple[NDArray[np.generic], ...]:
        """Return the argument `columns` of the kernel."""
        return self.counts, self.process_ids, self.scalars, self.weights, self.integers, self.floats

    def more_events(self, n: int) -> None:
        """Make room for `n` events, keeping those read."""
        self.counts, self.process_ids = longer(self.counts, n), longer(self.process_ids, n)
        self.scalars, self.weights = longer(self.scalars, n), longer(self.weights.T, n).T.copy()

    def more_particles(self) -> None:
        """Make room for twice as many particles, keeping those read."""
        n = 2 * self.integers.shape[1]
        self.integers, self.floats = longer(self.integers, n), longer(self.floats, n)


def longer(array: NDArray[S], n: int) -> NDArray[S]:
    """Return a copy with the last axis made `n` long."""
    longer = np.empty((*array.shape[:-1], n), dtype=array.dtype)
    longer[..., : array.shape[-1]] = array
    return longer


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

    Attributes
    ----------
    behind : int
        Number of events before those that `fill` reads next.
    """

    def __init__(self, path: str, skip: int = 0, digest: bool = False) -> None:
        self.window = Window(path, digest)
        self.path = path
        self.behind = skip
        self._state = np.zeros(kernel.N_STATE, dtype=np.int64)
        self._state[kernel.TO_SKIP] = skip
        self._hard = np.empty((1024, 3), dtype=np.int64)
        self._per_event = 10.0

    def header(self) -> tuple[LHEInfo, int]:
        """Read up to </init>; return what it says and how long it is.

        Raises
        ------
        FileFormatError
            If it is none.
        """
        while True:
            more = self.window.advance(0)
            start = self.window.bytes()
            if b"<LesHouchesEvents" not in start:
                msg = f"{self.path}: no LHE file, for it does not begin with <LesHouchesEvents>"
                raise FileFormatError(msg)
            init = find_init(start, self.path)
            if init is not None:
                self._state[kernel.POSITION] = init[1]
                return parse_header(start, init, self.path), init[1]
            if not more:
                msg = f"{self.path}: the file ends before </init>"
                raise FileFormatError(msg)

    def pass_header(self, length: int) -> None:
        """Pass over a header that is known to be `length` bytes long."""
        while self.window.end < length and self.window.advance(0):
            pass
        self._state[kernel.POSITION] = length

    def columns(self, size: int, n_weights: int) -> Columns:
        """Return columns for `size` events, or as many as it is worth beginning with."""
        n = min(size, _MOST_EVENTS)
        return Columns(n, int(1.1 * self._per_event * n) + 100, n_weights)

    def fill(self, columns: Columns, weights: WeightTable, size: int, declared: Sequence[str] | None = None) -> bool:
        """Read the next `size` events; return False where there are no more.

        Where ids are `declared`, a weight without a column gets one; otherwise it is an error.

        Raises
        ------
        FileFormatError
            If the file breaks its format; the columns hold the events before.
        """
        state, window = self._state, self.window
        state[[kernel.EVENTS, kernel.PARTICLES]] = 0
        tables = weights.arrays()
        while True:
            status = kernel.read_events(window.address, window.end, state, self._hard, tables, columns.arrays())
            n_decided = self._decide_hard(columns)
            if status == kernel.INCOMPLETE:
                used, state[kernel.POSITION] = int(state[kernel.POSITION]), 0
                try:
                    more = window.advance(used)
                except FileFormatError as error:
                    msg = f"{error} (after {self._number()} whole events)"
                    raise FileFormatError(msg) from error
                if not more:
                    raise self._error(status)
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
            elif declared is not None and status in {kernel.NEW_ID, kernel.NEW_POSITION}:
                weights.learn(status, self._text(), int(state[kernel.DETAIL]), declared)
                tables = weights.arrays()
                columns.weights = np.empty((len(columns.counts), len(weights.ids) + 1))
            else:
                raise self._error(status)

    def batch(self, columns: Columns, names: tuple[str, ...]) -> EventBatch:
        """Return the events that `fill` has read."""
        n_events, n_particles = int(self._state[kernel.EVENTS]), int(self._state[kernel.PARTICLES])
        particles = dict(zip(INTEGER_FIELDS, columns.integers[:, :n_particles], strict=True))
        particles |= dict(zip(FLOAT_FIELDS, columns.floats[:, :n_particles], strict=True))
        fields = {
            "particles": jagged(columns.counts[:n_events], particles),
            **dict(zip(SCALAR_FIELDS, columns.scalars[:, :n_events], strict=True)),
            "process_id": columns.process_ids[:n_events],
        }
        batch = EventBatch(ak.zip(fields, depth_limit=1), columns.weights[:n_events], names, self.behind, self.path)
        self.behind += n_events
        self._state[kernel.EVENTS] = 0
        self._per_event = n_particles / n_events if n_events else self._per_event
        return batch

    def _number(self) -> int:
        """Return the number of the event that reading stands at, which is how many events are before it."""
        return int(self.behind - self._state[kernel.TO_SKIP] + self._state[kernel.EVENTS])

    def _text(self) -> bytes:
        return self.window.bytes(int(self._state[kernel.FROM]), int(self._state[kernel.TO]))

    def _decide_hard(self, columns: Columns) -> int:
        """Let float() decide the numbers that the kernel left open, as NaN; return how many."""
        n = int(self._state[kernel.N_HARD])
        arrays = columns.weights, columns.scalars, columns.floats  # in the order of OF_WEIGHTS, OF_SCALARS, OF_FLOATS
        for slot, start, stop in self._hard[:n].tolist():
            index, kind = divmod(slot, kernel.N_KINDS)
            flat = arrays[kind].reshape(-1)
            if np.isnan(flat[index]):  # a weight may have been given by <rwgt> in the meantime
                flat[index] = float(self.window.bytes(start, stop).lower().replace(b"d", b"e"))
        self._state[kernel.N_HARD] = 0
        return n

    def _read_to_end(self) -> None:
        """Read to the end of the file, so that its hash is complete, and make sure that no events are there."""
        position = int(self._state[kernel.POSITION])
        while True:
            if b"<event>" in self.window.bytes(position):
                msg = f"{self.path}: events follow after </LesHouchesEvents>; are there two files in one?"
                raise FileFormatError(msg)
            position = max(position, self.window.end - len(b"<event"))  # a tag may be cut by the window
            if not self.window.advance(position):
                return
            position = 0

    def _error(self, status: int) -> FileFormatError:
        """Return the error for what the kernel has met."""
        text, detail = self._text().decode(errors="replace")[:60], int(self._state[kernel.DETAIL])
        number = self._number()
        what = {
            kernel.NEW_ID: f"weight {text!r} is not among those of the first event",
            kernel.NEW_POSITION: f"<weights> holds {detail} numbers, more than in the first event",
            kernel.BAD_NUMBER: f"{text!r} is not a number",
            kernel.BAD_INTEGER: f"{text!r} is not an integer of 32 bits",
            kernel.TOO_FEW_FIELDS: f"a line has only {detail} fields; event lines have 6, particle lines 13",
            kernel.TOO_MANY_FIELDS: f"{text!r} follows after the last of {detail} numbers",
            kernel.TOO_MANY_LINES: f"{text!r} follows after the last of the particles that the event should have (NUP)",
            kernel.CUT_SHORT: "the event is cut: the next one begins, or the file ends, before </event>",
            kernel.DUPLICATE: f"weight {text!r} occurs twice",
            kernel.NO_ID: "a <wgt> has no id",
        }
        if status == kernel.INCOMPLETE:
            if self.window.bytes(0, 6) != b"<event":
                msg = f"{self.path}: ends after {number} events without </LesHouchesEvents>: it was cut"
                return FileFormatError(msg)
            what[status] = "the event is cut: the file ends before </event>"
        elif status == kernel.TOO_FEW_FIELDS and detail < 0:
            what[status] = "there are fewer particle lines than the event says (NUP)"
        return FileFormatError(f"{self.path}, event {number} (counted from 0): {what[status]}")
