"""Finding the reader for a file by what is in it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from columnminer.errors import FileFormatError, UnknownNameError, did_you_mean
from columnminer.formats.borrowed import BorrowedWeights
from columnminer.formats.delphes import TREE as DELPHES_TREE
from columnminer.formats.delphes import DelphesReader
from columnminer.formats.hepmc import HepMCReader
from columnminer.formats.hepmc_header import START as HEPMC_START
from columnminer.formats.lhe import LHEReader
from columnminer.formats.nanoaod import NanoAODReader
from columnminer.formats.root import MAGIC, opened, tree_names
from columnminer.formats.window import Window
from columnminer.schema import NOMINAL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from columnminer.formats.reader import Reader

__all__ = ["open_reader", "reader_for"]


def open_reader(
    path: str | PathLike[str],
    *,
    digest: bool = False,
    weights: Sequence[str] | None = None,
    weight_names: Sequence[str] = (),
    weights_from: str | PathLike[str] | None = None,
    **options: Any,
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
        Names of the weights in the order of the file, for formats that need not name them (NanoAOD, Delphes).
    weights_from
        File with the same events before the shower or the detector, whose weights are used; see `borrowed`.
    **options
        Of the reader for this format: `level` and `branches` of Delphes, `all_particles` of HepMC.

    Raises
    ------
    FileFormatError
        If the file has no format that is known here.
    InputError
        If the file cannot be opened.
    UnknownNameError
        If readers of this format have no such option.

    Examples
    --------
    >>> reader = cm.open_reader("sm.lhe.gz")
    >>> reader.info().weight_names
    ('nominal', 'sm', 'c_ll_plus', 'c_ll_minus', 'c_lr_plus', 'c_lr_minus', 'c_ll_c_lr')
    >>> sum(len(batch) for batch in reader.batches(size=1000))
    20000
    """
    if weights_from is not None:
        events = open_reader(path, digest=digest, weights=(NOMINAL,), **options)
        return BorrowedWeights(events, open_reader(weights_from, weight_names=weight_names))
    reader = reader_for(path)
    takes = inspect.signature(reader).parameters
    known = [name for name in takes if name not in {"path", "digest", "weights", "weight_names"}]
    for name in options:
        if name not in known:
            msg = f"{path}: a {reader.__name__} has no option {name!r}.{did_you_mean(name, known)}"
            raise UnknownNameError(msg)
    some = {"weights": weights, "weight_names": weight_names}
    taken = {name: value for name, value in some.items() if name in takes}
    made: Reader = reader(path, digest=digest, **taken, **options)
    return made


def reader_for(file: str | PathLike[str]) -> type[Any]:
    """Return what reads the format of a file.

    Raises
    ------
    FileFormatError
        If the file has no format that is known here.
    InputError
        If the file cannot be opened.
    """
    path = str(file)
    with Window(path) as window:
        window.advance(0)
        start = window.bytes()
    if b"<LesHouchesEvents" in start:
        return LHEReader
    if HEPMC_START.search(start):
        return HepMCReader
    if start.startswith(MAGIC):
        with opened(path) as root:
            trees = tree_names(root)
        if DELPHES_TREE in trees:
            return DelphesReader
        if "Events" in trees:
            return NanoAODReader
        held = ", ".join(trees) or "nothing"
        msg = f"{path}: a ROOT file without a tree of events that is known (NanoAOD: Events; Delphes: Delphes): {held}"
        raise FileFormatError(msg)
    begins = f"it begins with {start[:30]!r}" if start else "it is empty"
    msg = f"{path}: no event file of a known format (LHE, HepMC, Delphes, NanoAOD); {begins}"
    raise FileFormatError(msg)
