"""Reading HepMC event files (HepMC3 Asciiv3 and HepMC2 IO_GenEvent; plain or gzip) into batches of columns.

The bytes go straight into columns, in `hepmc_kernel`, fed by `hepmc_pass`: building the graph of an event, which
analyses of its final state do not need, is what takes the time of HepMC's own readers.

Kept are final-state particles (status 1) and, for truth tags, decayed (status 2) hadrons with open bottom or charm and
tau leptons; or all, if asked for. Energies are in GeV, whatever the file's unit; vertices are not taken over. The first
weight is the nominal one; where it has a name that says more than "Weight" or "Default", it is found by that, too.
Weights without names are called "1", "2", ... after the nominal one. Events without any weight have weight 1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from columnminer.formats.hepmc_header import Header, is_nameless, weight_columns
from columnminer.formats.hepmc_pass import HepMCPass
from columnminer.formats.reader import SourceInfo, check_batches
from columnminer.schema import NOMINAL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from columnminer.schema import EventBatch

__all__ = ["HepMCReader"]

_BATCH = 1_000  # events, of some 100 kB each once objects are made of them


class HepMCReader:
    """Reader of a HepMC event file.

    Parameters
    ----------
    path
        File to read; gzip is known by its content.
    digest
        Whether to hash the file while its events are read.
    all_particles
        Whether to keep decayed and intermediate particles, too.

    Attributes
    ----------
    path : str
        As given.
    content : dict or None
        Size [bytes] and SHA-256 of the file as it lies on disk, once a pass with `digest` has yielded all batches.
    """

    def __init__(self, path: str | PathLike[str], *, digest: bool = False, all_particles: bool = False) -> None:
        self.path = str(path)
        self.content: dict[str, int | str] | None = None
        self._digest = digest
        self._all_particles = all_particles
        self._known: tuple[SourceInfo, Header, int, tuple[str, ...]] | None = None

    def info(self) -> SourceInfo:
        """Return what the header and the first event say.

        The cross section is the generator's running estimate at the first event, or, after all events have been read,
        at the last one that gives it.

        Raises
        ------
        FileFormatError
            If header or first event break the format.
        InputError
            If the file cannot be opened.
        """
        return self._look()[0]

    def batches(self, size: int = 20_000, skip: int = 0) -> Iterator[EventBatch]:
        """Yield the events in order, `size` at a time, passing over the first `skip`.

        Raises
        ------
        FileFormatError
            If the file breaks its format, or an event has another number of weights than the first; names the event.
            Whole events before it have been yielded.
        InputError
            If `size` is not positive, `skip` is negative, or the file cannot be opened.
        """
        check_batches(size, skip)
        info, header, n_weights, scalars = self._look()
        run = HepMCPass(self.path, skip, digest=self._digest, keep_all=self._all_particles)
        with run.window:
            run.pass_header(header)
            yield from run.batches(size, n_weights, lambda read: run.batch(read, info.weight_names, scalars))
            self.content = run.window.content()
        if run.cross_section is not None:
            value, error_of_value = run.cross_section
            final = replace(info, cross_section=value, cross_section_error=error_of_value)
            self._known = final, header, n_weights, scalars

    def _look(self) -> tuple[SourceInfo, Header, int, tuple[str, ...]]:
        """Read the header and the first event, once."""
        if self._known is not None:
            return self._known
        run = HepMCPass(self.path)
        with run.window:
            header = run.header()
            names = header.names or (run.names() if header.version == 2 else ())
            columns = run.first_event(len(names))
            scalars = run.given_scalars(columns)
            n_weights = columns.n_weights
            plain, told = weight_columns(names or ["", *map(str, range(1, n_weights))], self.path)
            again = () if is_nameless(plain[0]) else plain[:1]
            run.batch(columns, (NOMINAL, *plain[1:]), scalars)
        value, error = run.cross_section or (None, None)
        info = SourceInfo(
            weight_names=(NOMINAL, *again, *plain[1:]),
            weight_descriptions=told,
            cross_section=value,
            cross_section_error=error,
            attributes={"format": f"HepMC{header.version} ascii", "generators": list(header.tools)},
            batch_size=_BATCH,
        )
        self._known = info, header, n_weights, scalars
        return self._known
