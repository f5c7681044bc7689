"""One pass over a HepMC file: a `CompiledPass` whose first event says how many weights there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import awkward as ak
import numpy as np

from columnminer.errors import FileFormatError
from columnminer.formats import hepmc_kernel as kernel
from columnminer.formats import kernel_codes as codes
from columnminer.formats.compiled_pass import CompiledPass
from columnminer.formats.hepmc_header import START, Header, declared_names, parse_header
from columnminer.schema import EventBatch, jagged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from columnminer.formats.compiled_pass import Columns

__all__ = ["HepMCPass"]

_SCALARS = {
    "scale": kernel.SCALE,
    "alpha_qed": kernel.ALPHA_QED,
    "alpha_qcd": kernel.ALPHA_QCD,
    "process_id": kernel.PROCESS,
}


class HepMCPass(CompiledPass):
    """One pass over a HepMC file.

    Parameters
    ----------
    path, skip, digest
        As for `CompiledPass`.
    keep_all
        Whether to keep all particles.

    Attributes
    ----------
    cross_section : tuple of float or None
        What the last event read says, with its error [pb].
    """

    widths = kernel.N_SCALARS, kernel.N_INTEGERS, kernel.N_FLOATS
    n_state = kernel.N_STATE
    most_events = 1 << 12
    per_event = 500.0
    begins_again = START, "a second listing of events follows after the first: are there two files in one?"

    def __init__(self, path: str, skip: int = 0, *, digest: bool = False, keep_all: bool = False) -> None:
        super().__init__(path, skip, digest=digest)
        self.cross_section: tuple[float, float] | None = None
        self.keep_all = keep_all
        self._version = 3
        self._status = codes.GOOD

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
        self.go_to(header.length)
        self._version = header.version

    def names(self) -> tuple[str, ...]:
        """Return the names of the weights that stand in the event of HepMC2 that comes next."""
        while True:
            lines = self.window.bytes(int(self._state[codes.POSITION])).split(b"\n")
            for line in lines[1:-1]:  # the last may be cut by the window
                if line.startswith(b"N "):
                    return declared_names(line.decode(errors="replace"))
                if line.startswith((b"V ", b"P ", b"E ", b"HepMC")):
                    return ()
            if not self.window.advance(0):
                return ()

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
            columns = self.columns(1, int(self._state[codes.DETAIL]))
            self.fill(columns, 1)
        return columns

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
        n_events, n_particles = self._sizes()
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
        self._taken()
        return batch

    def given_scalars(self, columns: Columns) -> tuple[str, ...]:
        """Return which numbers the first event gives, once it has been read."""
        if not self._state[codes.EVENTS]:
            return ()
        return tuple(name for name, row in _SCALARS.items() if np.isfinite(columns.scalars[row, 0]))

    def _read(self, columns: Columns) -> int:
        self._status = int(
            kernel.read_events(
                self.window.address,
                self.window.end,
                self._version,
                self.keep_all,
                columns.n_weights,
                self._state,
                self._hard,
                columns.arrays(),
            )
        )
        return self._status

    def _complaint(self, status: int, text: str, detail: int, columns: Columns) -> str:
        return {
            kernel.WRONG_WEIGHTS: f"it has {detail} weights, not {columns.n_weights} as said or seen before",
            kernel.WRONG_PARTICLES: (
                f"it has {abs(detail)} particles {'more' if detail > 0 else 'fewer'} than it says: lines were lost"
            ),
            kernel.BAD_UNIT: f"{text!r} is no unit of energy; GEV and MEV are",
            kernel.BAD_LINE: f"no line of an event begins like {text!r}",
            kernel.LONG_LINE: f"the particle line {text!r} has more than nine numbers",
        }[status]

    def _cut(self, number: int) -> str:
        return f": ends after {number} whole events without ...-END_EVENT_LISTING: it was cut"
