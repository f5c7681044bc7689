"""Reading NanoAOD (https://cms-nanoaod.github.io), CMS's flat ROOT files, through uproot and coffea's NanoEvents.

Events have all of their own fields (``events.Jet`` with coffea's behaviours), for functions of the user, and beside
them ``e mu tau j a met`` (Electron, Muon, Tau, Jet, Photon, MET), for expressions. Columns are read when they are used,
and then for all events of the range that one task has. The weights are in `nanoaod_weights`; what was generated for the
file (genEventSumw) is in its Runs tree.
"""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from columnminer.errors import FileFormatError
from columnminer.formats.nanoaod_weights import NanoWeights
from columnminer.formats.reader import Generated, SourceInfo, check_batches
from columnminer.formats.root import open_root, opened, readable, tree_names
from columnminer.schema import EventBatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from os import PathLike

__all__ = ["NanoAODReader", "nano_batch", "nano_generated", "nano_info"]

COLLECTIONS = {"e": "Electron", "mu": "Muon", "tau": "Tau", "j": "Jet", "a": "Photon"}
MISSING_MOMENTA = ("MET", "PFMET", "PuppiMET")
MOMENTUM = ("pt", "eta", "phi", "mass", "charge", "pdgId")
TREE = "Events"

RANGE = 100_000
"""Events that NanoEvents are made for at a time: columns that are used are in memory for as many."""


class NanoAODReader:
    """Reader of a NanoAOD file.

    Parameters
    ----------
    path
        File to read.
    digest
        Whether to hash the file after its last event.
    weights
        The weights that batches shall have; None: all.
    weight_names
        Of the weights in LHEReweightingWeight, where its document string does not give them.

    Attributes
    ----------
    path : str
        As given.
    content : dict or None
        Size [bytes] and SHA-256 of the file, once a pass with `digest` has yielded the last batch.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        digest: bool = False,
        weights: Sequence[str] | None = None,
        weight_names: Sequence[str] = (),
    ) -> None:
        self.path = str(path)
        self.content: dict[str, int | str] | None = None
        self._digest = digest
        self._wanted = weights
        self._weight_names = tuple(weight_names)
        self._known: tuple[SourceInfo, NanoWeights] | None = None

    def info(self) -> SourceInfo:
        """Return which weights the file has, how many events, and what was generated for it.

        Raises
        ------
        FileFormatError
            If the file is damaged, or holds something else.
        InputError
            If it cannot be opened, or the names of the weights do not fit.
        """
        with opened(self.path) as file:
            return self._look(file)[0]

    def batches(self, size: int = 20_000, skip: int = 0) -> Iterator[EventBatch]:
        """Yield the events in order, `size` at a time, passing over the first `skip`.

        Columns of the events are read when they are first used: a damaged one is found then, see `root.reading`.

        Raises
        ------
        FileFormatError
            If the file is damaged, or holds something else.
        InputError
            If `size` is not positive, `skip` is negative, or the file cannot be opened.
        """
        check_batches(size, skip)
        step = max(RANGE // size, 1) * size
        file = open_root(self.path)  # columns may be read later than the generator lives
        info, weights = self._look(file)
        wanted = info.weight_names if self._wanted is None else tuple(self._wanted)
        for start in range(skip, info.n_events or 0, step):
            events = self._events(file, start, start + step)
            for first in range(0, len(events), size):
                yield nano_batch(events[first : first + size], weights, wanted, start + first, self.path)
        if self._digest:
            with Path(self.path).open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256")
            self.content = {"size": Path(self.path).stat().st_size, "sha256": digest.hexdigest()}

    def _look(self, file: Any) -> tuple[SourceInfo, NanoWeights]:
        if self._known is None:
            with readable(self.path):
                n_events = _tree(file, self.path).num_entries
                events = self._events(file, 0, 1)
                weights = NanoWeights.of(events, self.path, self._weight_names)
                self._known = nano_info(weights, n_events, nano_generated(file)), weights
        return self._known

    def _events(self, file: Any, start: int, stop: int) -> ak.Array:
        from coffea.nanoevents import NanoAODSchema, NanoEventsFactory  # noqa: PLC0415 - takes seconds

        _tree(file, self.path)
        with readable(self.path, start, stop), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # cross-references that a slimmed file lacks; masses of photons
            factory = NanoEventsFactory.from_root(
                file, treepath=TREE, mode="virtual", schemaclass=NanoAODSchema, entry_start=start, entry_stop=stop
            )
            return factory.events()


def nano_batch(
    events: ak.Array, weights: NanoWeights, wanted: Sequence[str], first_event: int, source: str
) -> EventBatch:
    """Return NanoEvents as a batch, with our names for objects beside those of the file.

    Raises
    ------
    FileFormatError
        If these are no NanoEvents of NanoAOD, or a column is damaged.
    """
    held = ak.fields(events)
    objects = {name: collection for name, collection in COLLECTIONS.items() if collection in held}
    met = next((name for name in MISSING_MOMENTA if name in held), None)
    if not objects and met is None:
        msg = (
            f"{source}: events hold none of the collections of NanoAOD ({', '.join(COLLECTIONS.values())}, "
            f"{MISSING_MOMENTA[0]}), but {', '.join(held[:8]) or 'nothing'}: is the schema NanoAODSchema?"
        )
        raise FileFormatError(msg)
    with readable(source, first_event, first_event + len(events)):
        values = weights.values(events, wanted)
        for name, collection in objects.items():
            momenta = events[collection]
            events = ak.with_field(events, momenta[[f for f in MOMENTUM if f in ak.fields(momenta)]], name)
        if met is not None:
            momenta = events[met]
            events = ak.with_field(events, momenta[[f for f in ("pt", "phi") if f in ak.fields(momenta)]], "met")
    return EventBatch(events, values, tuple(wanted), first_event, source)


def nano_info(weights: NanoWeights, n_events: int, generated: Generated | None) -> SourceInfo:
    """Return what a NanoAOD file says about itself."""
    return SourceInfo(weights.names, weights.descriptions, n_events=n_events, generated=generated)


def nano_generated(file: Any) -> Generated | None:
    """Return what the Runs tree of an open file says was generated for it; None without one, as for recorded events."""
    if "Runs" not in file:
        return None
    tree = file["Runs"]
    sums = []
    for name in ("genEventCount", "genEventSumw", "genEventSumw2"):
        branch = next((b for b in (name, f"{name}_") if b in tree), None)  # there is a version with the underscore
        if branch is None:
            return None
        sums.append(np.sum(tree[branch].array(library="np")))
    return Generated(int(sums[0]), float(sums[1]), float(sums[2]))


def _tree(file: Any, path: str) -> Any:
    with readable(path):
        if TREE not in file:
            held = ", ".join(tree_names(file)) or "nothing"
            msg = f"{path}: there is no tree {TREE!r}, as NanoAOD has it; the file holds {held}"
            raise FileFormatError(msg)
        return file[TREE]
