"""One pass over an LHE file: a `CompiledPass` whose loop stops also at weights that have no column yet."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import awkward as ak
import numpy as np

from columnminer.errors import FileFormatError
from columnminer.formats import kernel_codes as codes
from columnminer.formats import lhe_kernel as kernel
from columnminer.formats.compiled_pass import CompiledPass
from columnminer.formats.lhe_header import LHEInfo, find_init, parse_header
from columnminer.schema import NOMINAL, EventBatch, jagged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from columnminer.formats.compiled_pass import Columns

__all__ = ["FLOAT_FIELDS", "INTEGER_FIELDS", "SCALAR_FIELDS", "LHEPass", "WeightTable"]

INTEGER_FIELDS = ("pdgid", "status", "mother1", "mother2", "color1", "color2")
"""First fields of a particle line."""

FLOAT_FIELDS = ("px", "py", "pz", "e", "generated_mass", "lifetime", "spin")
"""Last fields of a particle line."""

SCALAR_FIELDS = ("scale", "alpha_qed", "alpha_qcd")
"""Last fields of an event line."""


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


class LHEPass(CompiledPass):
    """One pass over an LHE file.

    Parameters
    ----------
    path, skip, digest
        As for `CompiledPass`.
    weights
        Columns of the weights.

    Attributes
    ----------
    declared : sequence of str or None
        While there are ids declared here, a weight without a column gets one; otherwise it is an error.
    """

    widths = kernel.N_SCALARS, kernel.N_INTEGERS, kernel.N_FLOATS
    n_state = kernel.N_STATE
    most_events = 1 << 16
    per_event = 10.0
    begins_again = re.compile(rb"<event>"), "events follow after </LesHouchesEvents>; are there two files in one?"

    def __init__(self, path: str, weights: WeightTable, skip: int = 0, *, digest: bool = False) -> None:
        super().__init__(path, skip, digest=digest)
        self.declared: Sequence[str] | None = None
        self._weights = weights
        self._tables = weights.arrays()

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
                self._state[codes.POSITION] = init[1]
                return parse_header(start, init, self.path), init[1]
            if not more:
                msg = f"{self.path}: the file ends before </init>"
                raise FileFormatError(msg)

    def batch(self, columns: Columns, names: tuple[str, ...]) -> EventBatch:
        """Return the events that `fill` has read, with weights of these names."""
        n_events, n_particles = self._sizes()
        particles = dict(zip(INTEGER_FIELDS, columns.integers[:, :n_particles], strict=True))
        particles |= dict(zip(FLOAT_FIELDS, columns.floats[:, :n_particles], strict=True))
        fields = {
            "particles": jagged(columns.counts[:n_events], particles),
            **dict(zip(SCALAR_FIELDS, columns.scalars[:, :n_events], strict=True)),
            "process_id": columns.numbers[:n_events],
        }
        events = ak.zip(fields, depth_limit=1)
        batch = EventBatch(events, columns.weights[:n_events], names, self.behind, self.path)
        self._taken()
        return batch

    def _read(self, columns: Columns) -> int:
        window = self.window
        return int(
            kernel.read_events(window.address, window.end, self._state, self._hard, self._tables, columns.arrays())
        )

    def _stopped(self, status: int, columns: Columns) -> None:
        """Give a weight that has none a column, in the first event."""
        if self.declared is None or status not in {kernel.NEW_ID, kernel.NEW_POSITION}:
            raise self._error(status, columns)
        self._weights.learn(status, self._text(), int(self._state[codes.DETAIL]), self.declared)
        self._tables = self._weights.arrays()
        columns.weights = np.empty((len(columns.counts), len(self._weights.ids) + 1))

    def _complaint(self, status: int, text: str, detail: int, _: Columns) -> str:
        if status == kernel.TOO_FEW_FIELDS and detail < 0:
            return "there are fewer particle lines than the event says (NUP)"
        return {
            kernel.NEW_ID: f"weight {text!r} is not among those of the first event",
            kernel.NEW_POSITION: f"<weights> holds {detail} numbers, more than in the first event",
            kernel.TOO_FEW_FIELDS: f"a line has only {detail} fields; event lines have 6, particle lines 13",
            kernel.TOO_MANY_FIELDS: f"{text!r} follows after the last of {detail} numbers",
            kernel.TOO_MANY_LINES: f"{text!r} follows after the last of the particles that the event should have (NUP)",
            kernel.CUT_SHORT: "the event is cut: the next one begins, or the file ends, before </event>",
            kernel.DUPLICATE: f"weight {text!r} occurs twice",
            kernel.NO_ID: "a <wgt> has no id",
        }[status]

    def _cut(self, number: int) -> str:
        if self.window.bytes(0, 6) != b"<event":
            return f": ends after {number} events without </LesHouchesEvents>: it was cut"
        return f", event {number} (counted from 0): the event is cut: the file ends before </event>"
