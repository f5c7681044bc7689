"""Finding the reader for a file by what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from columnminer.errors import FileFormatError
from columnminer.formats.hepmc import HepMCReader
from columnminer.formats.hepmc_header import START as HEPMC_START
from columnminer.formats.lhe import LHEReader
from columnminer.formats.nanoaod import NanoAODReader
from columnminer.formats.root import MAGIC, opened, tree_names
from columnminer.formats.window import Window

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from columnminer.formats.reader import Reader

__all__ = ["open_reader"]


def open_reader(
    path: str | PathLike[str],
    *,
    digest: bool = False,
    weights: Sequence[str] | None = None,
    weight_names: Sequence[str] = (),
) -> Reader:
    """Return a reader of the events in a file; names do not matter, and gzip is seen through.

    Parameters
    ----------
    path
        File to read.
    digest
        Whether `Reader.content` is wanted.
    weights
        Weights that are needed: a reader that finds them one by one leaves out the others. None: all.
    weight_names
        Names of the weights at other benchmarks in the order of the file, for formats that need not name them (NanoAOD).

    Raises
    ------
    FileFormatError
        If the file has no format that is known here.
    InputError
        If the file cannot be opened.
    """
    with Window(str(path)) as window:
        window.advance(0)
        start = window.bytes()
    if b"<LesHouchesEvents" in start:
        return LHEReader(path, digest=digest)
    if HEPMC_START.search(start):
        return HepMCReader(path, digest=digest)
    if start.startswith(MAGIC):
        with opened(str(path)) as file:
            trees = tree_names(file)
        if "Events" in trees:
            return NanoAODReader(path, digest=digest, weights=weights, weight_names=weight_names)
        msg = f"{path}: a ROOT file without a tree of events that is known (NanoAOD: Events): {', '.join(trees) or 'empty'}"
        raise FileFormatError(msg)
    msg = f"{path}: no event file of a known format (LHE or HepMC, plain or gzip; NanoAOD); it begins with {start[:30]!r}"
    raise FileFormatError(msg)
