r"""The weights of NanoAOD events: which there are, what they are called, and their values.

==========================  ==========================================================================================
branch                      called
==========================  ==========================================================================================
``genWeight``               `NOMINAL`; recorded events have none: theirs is 1
``LHEReweightingWeight``    as the branch's document string says, ``[0] is sm; [1] is ctW_1.0_ctp_0.5``; else as the
                            user says; else ``LHEReweightingWeight[0]``, ...
``LHEScaleWeight``          ``LHEScaleWeight[0]``, ...; described by the document string: ``[0] is muR=0.5 muF=0.5``
``LHEPdfWeight``            ``LHEPdfWeight[0]``, ...; described by ``for LHA IDs 292201 - 292302``
``PSWeight``                ``PSWeight[0]``, ...; described by the document string: ``[0] is ISR=2 FSR=1``
==========================  ==========================================================================================

All but the first are stored relative to the nominal weight of the event (CMS: PhysicsTools/NanoAOD,
GenWeightsTableProducer). Here they are multiplied with it, so that all weights are in its units.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from columnminer.errors import InputError
from columnminer.schema import NOMINAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["NanoWeights"]

REWEIGHTING = "LHEReweightingWeight"
BRANCHES = (REWEIGHTING, "LHEScaleWeight", "LHEPdfWeight", "PSWeight")

_ENTRY = re.compile(r"\[(\d+)\]\s*is\s*(.*?)\s*(?=[;,]?\s*\[\d+\]\s*is|;|$)")
_LHAPDF_RANGE = re.compile(r"(\d{3,})\s*-\s*(\d{3,})")


@dataclass(frozen=True)
class NanoWeights:
    """The weights of the events of a file.

    Attributes
    ----------
    places : mapping of str to (str, int)
        Name of each weight but the nominal one -> branch, and position in it.
    descriptions : mapping of str to str
        What the file says of them.
    """

    places: Mapping[str, tuple[str, int]]
    descriptions: Mapping[str, str]

    @classmethod
    def of(cls, events: ak.Array, source: str, names: Sequence[str] = ()) -> NanoWeights:
        """Find out which weights there are; reads no more than how many the first event has.

        Parameters
        ----------
        events
            NanoEvents.
        source
            What to call them in messages.
        names
            Of the reweighting weights, in the order of the branch, where its document string does not give them.

        Raises
        ------
        InputError
            If there are more or fewer weights than names.
        """
        places: dict[str, tuple[str, int]] = {}
        descriptions: dict[str, str] = {}
        for branch in BRANCHES:
            if branch not in ak.fields(events):
                continue
            document = str(events.layout.form.content(branch).content.parameter("__doc__") or "")
            said = _described(document)
            n = max(said, default=-1) + 1
            if len(events) and (not said or (branch == REWEIGHTING and names)):  # counting reads the branch
                n = max(n, int(ak.num(events[branch])[0]))
            called = {i: f"{branch}[{i}]" for i in range(n)}
            if branch == REWEIGHTING:
                called |= _named(said, names, n, source)
            for i, name in called.items():
                places[name] = (branch, i)
                text = said.get(i, document.strip())
                if text and text != name:
                    descriptions[name] = text
        return cls(places, descriptions)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all weights, the nominal one first."""
        return (NOMINAL, *self.places)

    @property
    def reweighting(self) -> tuple[str, ...]:
        """Names of the weights at other parameter points."""
        return tuple(name for name, (branch, _) in self.places.items() if branch == REWEIGHTING)

    def values(self, events: ak.Array, wanted: Sequence[str]) -> NDArray[np.float64]:
        """Return the wanted weights of events, (n_events, n_wanted); NaN where an event lacks one."""
        n = len(events)
        simulated = "genWeight" in ak.fields(events)
        nominal = ak.to_numpy(events["genWeight"]).astype(np.float64) if simulated else np.ones(n)
        values = np.repeat(nominal[:, np.newaxis], len(wanted), axis=1)
        for branch in BRANCHES:
            columns = [i for i, name in enumerate(wanted) if name != NOMINAL and self.places[name][0] == branch]
            if columns:
                n_places = 1 + max(i for b, i in self.places.values() if b == branch)
                relative = _rectangular(events[branch], n_places)
                places = [self.places[wanted[i]][1] for i in columns]
                values[:, _span(columns)] *= relative[:, _span(places)]
        return values


def _span(indices: list[int]) -> slice | list[int]:
    """Return indices as a slice, which copies nothing, where they are consecutive: as weights in a file mostly are."""
    first, last = indices[0], indices[-1] + 1
    return slice(first, last) if indices == list(range(first, last)) else indices


def _described(document: str) -> dict[int, str]:
    """Return what a document string says of the weights by position."""
    said = {int(i): text for i, text in _ENTRY.findall(document)}
    if not said and "LHA" in document:
        members = [m for low, high in _LHAPDF_RANGE.findall(document) for m in range(int(low), int(high) + 1)]
        said = {i: f"PDF={member}" for i, member in enumerate(members)}
    return said


def _named(said: Mapping[int, str], names: Sequence[str], n: int, source: str) -> dict[int, str]:
    """Return the names of the reweighting weights by position."""
    if not names:
        return {i: text for i, text in said.items() if list(said.values()).count(text) == 1}
    if len(names) != n:
        msg = (
            f"{source}: weight_names has {len(names)} names, but {REWEIGHTING} has {n} weights in the first event: "
            "name all of them, in their order"
        )
        raise InputError(msg)
    return dict(enumerate(names))


def _rectangular(array: ak.Array, n: int) -> NDArray[np.floating[Any]]:
    """Return a jagged array as one of `n` columns; NaN where an event has fewer."""
    counts, flat = ak.to_numpy(ak.num(array)), ak.to_numpy(ak.flatten(array))
    if np.all(counts == n):
        return np.asarray(flat).reshape(-1, n)
    columns: NDArray[Any] = np.full((len(counts), n), np.nan)
    rows = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(flat)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = place < n
    columns[rows[kept], place[kept]] = flat[kept]
    return columns
