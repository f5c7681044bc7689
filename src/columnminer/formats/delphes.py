"""Reading the ROOT trees of the detector simulation Delphes (arXiv:1307.6346) into batches of columns.

============  ================================================  ===================================================
object        ``level="detector"``                              ``level="generator"``
============  ================================================  ===================================================
``e mu a``    branches Electron, Muon, Photon                   final-state particles (status 1) of branch Particle
``j``         Jet, with ``b_tag`` and ``tau_tag``               GenJet, likewise
``tau``       those of ``j`` that are tagged as tau leptons     likewise
``met``       MissingET                                         GenMissingET
============  ================================================  ===================================================

With ``level="particles"`` events hold the final-state particles of branch Particle as ``particles``, with the decayed
hadrons and tau leptons that tags of jets need, and nothing else. Particles of pile-up are left out of both.

A tagged jet stays a jet, as in MadMiner; a tag is any bit of BTag or TauTag that is set. Objects whose branches a tree
does not have are absent, and missed only by who asks for them.

Delphes stores single precision; here it is widened. Electrons and muons get their masses, photons none, as Delphes
itself has it.

Weights: `NOMINAL` is Event.Weight. A branch Weight from HepMC has values without names: they are named by position,
the first being the nominal weight again, or with `weight_names`; where it comes from LHE it has ids. Single precision
and lost names are no matter where weights are taken from the LHE or HepMC file of the same events; see `borrowed`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from columnminer.errors import FileFormatError, InputError, UnknownNameError, did_you_mean
from columnminer.formats.delphes_objects import Entries, events
from columnminer.formats.reader import SourceInfo, check_batches
from columnminer.formats.root_tree import RootTree, content_of
from columnminer.model.checks import unique
from columnminer.schema import NOMINAL, EventBatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from os import PathLike

    from numpy.typing import NDArray

__all__ = ["TREE", "DelphesReader", "Level"]

TREE = "Delphes"
"""Name of the tree that Delphes writes."""

Level = Literal["detector", "generator", "particles"]

_BRANCHES: dict[Level, dict[str, str]] = {
    "detector": {"e": "Electron", "mu": "Muon", "a": "Photon", "j": "Jet", "met": "MissingET"},
    "generator": {"e": "Particle", "mu": "Particle", "a": "Particle", "j": "GenJet", "met": "GenMissingET"},
    "particles": {"particles": "Particle"},
}


MOST_WEIGHTS = 100_000
"""A file that claims more for one event is damaged."""


class DelphesReader:
    """Reader of a ROOT file that Delphes wrote.

    Parameters
    ----------
    path
        File to read.
    digest
        Whether to hash the file after its events have been read.
    level
        What to read: what the detector has measured, or the generator's truth as objects or as particles.
    weight_names
        Names of the values in branch Weight, in their order: of the HepMC file that went into Delphes, say
        ``open_reader("events.hepmc").info().weight_names``. A leading `NOMINAL` that stands for no value is fine.
    branches
        Other branches to take objects from, as ``{"j": "JetPUPPI", "met": "PuppiMissingET"}``.

    Attributes
    ----------
    path : str
        As given.
    content : dict or None
        Size [bytes] and SHA-256 of the file, once a pass with `digest` has yielded all batches.

    Raises
    ------
    InputError
        If `level` is unknown, or weights have no or equal names.
    UnknownNameError
        If `branches` names no object that has a branch.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        digest: bool = False,
        level: Level = "detector",
        weight_names: Sequence[str] = (),
        branches: Mapping[str, str] | None = None,
    ) -> None:
        self.path = str(path)
        self.content: dict[str, int | str] | None = None
        self._digest = digest
        if level not in get_args(Level):
            msg = f"level must be one of {', '.join(get_args(Level))}, not {level!r}"
            raise InputError(msg)
        self._level = level
        self._branches = dict(_BRANCHES[level])
        for name, branch in (branches or {}).items():
            if name not in self._branches:
                msg = f"level {level!r} has no branch for {name!r}.{did_you_mean(name, self._branches)}"
                raise UnknownNameError(msg)
            self._branches[name] = branch
        self._given = unique(weight_names, "weight_names")
        self._known: tuple[SourceInfo, tuple[str, ...]] | None = None

    def info(self) -> SourceInfo:
        """Return what the tree says: its weights by its first event, its cross section by its last.

        Raises
        ------
        FileFormatError
            If the file is damaged, has no Delphes tree, or not as many weights as names.
        InputError
            If the file cannot be opened.
        """
        return self._look()[0]

    def batches(self, size: int = 20_000, skip: int = 0) -> Iterator[EventBatch]:
        """Yield the events in order, `size` at a time, passing over the first `skip` without reading them.

        Raises
        ------
        FileFormatError
            If the file is damaged or breaks its format; names the branch and the events.
        InputError
            If `size` is not positive, `skip` is negative, or the file cannot be opened.
        """
        check_batches(size, skip)
        info, values = self._look()
        with RootTree(self.path, TREE) as tree:
            for start in range(skip, tree.n_events, size):
                entries = Entries(tree, start, min(start + size, tree.n_events))
                weights = self._weights(entries, values)
                found = events(entries, self._branches)
                names, showered = info.weight_names, self._level == "particles"
                yield EventBatch(found, weights, names, start, self.path, showered=showered)
        if self._digest:
            self.content = content_of(self.path)

    def _look(self) -> tuple[SourceInfo, tuple[str, ...]]:
        """Return what the tree says, and the names of the values in branch Weight, once."""
        if self._known is None:
            with RootTree(self.path, TREE) as tree:
                n = tree.n_events
                values = self._value_names(Entries(tree, 0, min(1, n)))
                last = Entries(tree, max(0, n - 1), n)
                xsec, error = (last.single(f"Event.{name}") for name in ("CrossSection", "CrossSectionError"))
            known = xsec is not None and n > 0 and xsec[0] > 0
            info = SourceInfo(
                weight_names=(NOMINAL, *(name for name in values if name != NOMINAL)),
                cross_section=float(xsec[0]) if known and xsec is not None else None,
                cross_section_error=float(error[0]) if known and error is not None else None,
                attributes={"format": "Delphes ROOT", "level": self._level},
                n_events=n,
            )
            self._known = info, values
        return self._known

    def _value_names(self, first: Entries) -> tuple[str, ...]:
        """Return the names of the values in branch Weight, by the first event; that of the nominal one is `NOMINAL`."""
        n = int(first.column("Weight.Weight")[0].sum()) if first.have("Weight.Weight") else 0
        names = self._given
        if n > MOST_WEIGHTS:
            msg = f"{self.path}: its first event claims {n} weights, more than any event has: the file is damaged"
            raise FileFormatError(msg)
        if not names:
            if first.have("Weight.Weight", "Weight.ID"):
                return tuple(str(i) for i in first.column("Weight.ID")[1])
            return (NOMINAL, *(str(i) for i in range(1, n)))[:n]
        if names[:1] == (NOMINAL,) and n == len(names) - 1:
            names = names[1:]
        if n != len(names) and (len(first) or not first.have("Weight.Weight")):
            has = f"its first event has {n} weights" if n else "it has no branch Weight"
            msg = f"{self.path}: {len(names)} weight names are given, but {has}"
            raise FileFormatError(msg)
        return names

    def _weights(self, entries: Entries, names: tuple[str, ...]) -> NDArray[np.float64]:
        """Return the weights of all events, the nominal one first; `names` are those of the values in branch Weight."""
        nominal, values = entries.single("Event.Weight"), np.empty((len(entries), 0))
        if names:
            counts, flat = entries.column("Weight.Weight")
            if np.any(counts != len(names)):
                event = int(np.flatnonzero(counts != len(names))[0])
                msg = (
                    f"{self.path}: event {entries.start + event} (counted from 0) has {counts[event]} weights in "
                    f"branch Weight, but {len(names)} are declared: {', '.join(names)}"
                )
                raise FileFormatError(msg)
            values = flat.astype(np.float64).reshape(len(entries), len(names))
        if nominal is None:
            nominal = values[:, 0] if names else np.ones(len(entries))
        others = [i for i, name in enumerate(names) if name != NOMINAL]
        return np.column_stack([nominal.astype(np.float64), values[:, others]])
