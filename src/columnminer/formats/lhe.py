"""Reading Les Houches event files (LHE 1, 2 and 3; plain or gzip) into batches of columns.

Formats: hep-ph/0109068 (the common blocks), hep-ph/0609017 (the file), arXiv:1405.1067 section 5 (version 3). The bytes
go straight into columns, in `lhe_kernel`, fed by `lhe_pass`.

Weights of an event are XWGTUP; those with an id in <rwgt>; and those without one in <weights>, which go by the ids that
the header declares, in that order, or by "1", "2", ... where it declares fewer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from columnminer.formats.lhe_pass import FLOAT_FIELDS, INTEGER_FIELDS, LHEPass, WeightTable
from columnminer.formats.reader import check_batches

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from columnminer.formats.lhe_header import LHEInfo
    from columnminer.schema import EventBatch

__all__ = ["PARTICLE_FIELDS", "LHEReader"]

PARTICLE_FIELDS = (*INTEGER_FIELDS, *FLOAT_FIELDS)
"""Fields of a particle, in the order of an LHE particle line."""


class LHEReader:
    """Reader of a Les Houches event file.

    Parameters
    ----------
    path
        File to read; gzip is known by its content.
    digest
        Whether to hash the file while its events are read (20 % of the time for plain text, 5 % for gzip).

    Attributes
    ----------
    path : str
        As given.
    content : dict or None
        Size [bytes] and SHA-256 of the file as it lies on disk, once a pass with `digest` has yielded all batches.
    """

    def __init__(self, path: str | PathLike[str], *, digest: bool = False) -> None:
        self.path = str(path)
        self.content: dict[str, int | str] | None = None
        self._digest = digest
        self._known: tuple[LHEInfo, WeightTable, int] | None = None

    def info(self) -> LHEInfo:
        """Return what the header says, and which weights the first event has.

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

        Columns of weights are those of the first event; an event without one of them has NaN there.

        Raises
        ------
        FileFormatError
            If the file breaks its format; names the event. Whole events before it have been yielded.
        InputError
            If `size` is not positive, `skip` is negative, or the file cannot be opened.
        """
        check_batches(size, skip)
        _, weights, header_length = self._look()
        names = weights.names
        run = LHEPass(self.path, weights, skip, digest=self._digest)
        with run.window:
            run.go_to(header_length)
            yield from run.batches(size, len(names), lambda read: run.batch(read, names))
            self.content = run.window.content()

    def _look(self) -> tuple[LHEInfo, WeightTable, int]:
        """Read the header and the first event, once."""
        if self._known is None:
            weights = WeightTable()
            run = LHEPass(self.path, weights)
            with run.window:
                info, header_length = run.header()
                run.declared = [weight.id for weight in info.declared]
                run.fill(run.columns(1, 1), 1)
            self._known = replace(info, weight_names=weights.names), weights, header_length
        return self._known
