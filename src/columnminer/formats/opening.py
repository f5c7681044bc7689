"""Finding the reader for a file by what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from columnminer.errors import FileFormatError
from columnminer.formats.borrowed import BorrowedWeights
from columnminer.formats.hepmc import HepMCReader
from columnminer.formats.hepmc_header import START as HEPMC_START
from columnminer.formats.lhe import LHEReader
from columnminer.formats.window import Window

if TYPE_CHECKING:
    from os import PathLike

    from columnminer.formats.reader import Reader

__all__ = ["open_reader"]


def open_reader(
    path: str | PathLike[str], *, digest: bool = False, weights_from: str | PathLike[str] | None = None
) -> Reader:
    """Return a reader of the events in a file; names do not matter, and gzip is seen through.

    Parameters
    ----------
    path
        File to read.
    digest
        Whether `Reader.content` is wanted.
    weights_from
        File with the same events before the shower, whose weights are used; see `borrowed`.

    Raises
    ------
    FileFormatError
        If the file has no format that is known here.
    InputError
        If the file cannot be opened.
    """
    if weights_from is not None:
        return BorrowedWeights(open_reader(path, digest=digest), open_reader(weights_from))
    with Window(str(path)) as window:
        window.advance(0)
        start = window.bytes()
    if b"<LesHouchesEvents" in start:
        return LHEReader(path, digest=digest)
    if HEPMC_START.search(start):
        return HepMCReader(path, digest=digest)
    msg = f"{path}: no event file of a known format (LHE or HepMC, plain or gzip); it begins with {start[:30]!r}"
    raise FileFormatError(msg)
