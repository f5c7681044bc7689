"""The objects of Delphes events: from branches to the fields of our event schema."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from columnminer.errors import FileFormatError
from columnminer.schema import jagged

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from numpy.typing import NDArray

    from columnminer.formats.root_tree import Column, RootTree

__all__ = ["Entries", "events"]

_MASSES = {"e": 0.000_510_998_95, "mu": 0.105_658_375_5, "a": 0.0}  # GeV; PDG, Phys. Rev. D 110, 030001
_PDG_IDS = {"e": 11, "mu": 13, "tau": 15, "a": 22}
_HEADER = {
    "event_number": ("Number",),
    "scale": ("Scale", "ScalePDF"),  # of events from HepMC and from LHE
    "alpha_qed": ("AlphaQED",),
    "alpha_qcd": ("AlphaQCD",),
    "process_id": ("ProcessID",),
}


class Entries:
    """Consecutive events of a Delphes tree; branches are read when they are asked for, once.

    Parameters
    ----------
    tree
        Where they are.
    start, stop
        Numbers of the first event and of the one after the last.
    """

    def __init__(self, tree: RootTree, start: int, stop: int) -> None:
        self._tree = tree
        self.path = tree.path
        self.start, self.stop = start, stop
        self._read: dict[str, Column] = {}

    def __len__(self) -> int:
        return self.stop - self.start

    def have(self, *names: str) -> bool:
        """Whether there are these branches."""
        return self._tree.branches.issuperset(names)

    def column(self, name: str) -> Column:
        """Return counts and values of a branch.

        Raises
        ------
        FileFormatError
            If it is damaged, or does not hold numbers.
        """
        if name not in self._read:
            self._read[name] = self._tree.column(name, self.start, self.stop)
        return self._read[name]

    def columns(self, branch: str, names: Mapping[str, str]) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
        """Return counts, and the values of several sub-branches under our names.

        Raises
        ------
        FileFormatError
            If they disagree on how many records an event has.
        """
        found = {ours: self.column(f"{branch}.{theirs}") for ours, theirs in names.items()}
        counts = next(iter(found.values()))[0]
        for ours, (other, _) in found.items():
            if not np.array_equal(counts, other):
                event = int(np.flatnonzero(counts != other)[0])
                msg = (
                    f"{self.path}: event {self.start + event} (counted from 0) has {counts[event]} records in branch "
                    f"{branch}.{next(iter(names.values()))}, but {other[event]} in {branch}.{names[ours]}"
                )
                raise FileFormatError(msg)
        return counts, {ours: values for ours, (_, values) in found.items()}

    def single(self, name: str) -> NDArray[Any] | None:
        """Return a branch with one number per event, (n_events,); None where there is no such branch.

        Raises
        ------
        FileFormatError
            If an event has none or several.
        """
        if not self.have(name):
            return None
        counts, values = self.column(name)
        if np.any(counts != 1):
            event = int(np.flatnonzero(counts != 1)[0])
            msg = (
                f"{self.path}: event {self.start + event} (counted from 0) has {counts[event]} records in {name}, not 1"
            )
            raise FileFormatError(msg)
        return values


def events(entries: Entries, branches: Mapping[str, str]) -> ak.Array:
    """Return the record array of the events, with the objects that the tree has.

    Parameters
    ----------
    entries
        The events.
    branches
        Object (`e mu a j met`, or `particles`) -> the branch that it is taken from.
    """
    objects = _Objects(entries, branches)
    made: dict[str, Callable[[], ak.Array | None]] = {
        "e": lambda: objects.species("e"),
        "mu": lambda: objects.species("mu"),
        "a": lambda: objects.species("a"),
        "j": objects.jets,
        "met": objects.met,
        "particles": objects.particles,
    }
    fields: dict[str, Any] = {name: made[name]() for name in branches}
    if "j" in branches:
        fields["tau"] = objects.taus()
    for name, spellings in _HEADER.items():
        present = [spelling for spelling in spellings if entries.have(f"Event.{spelling}")]
        found = entries.single(f"Event.{present[0]}") if present else None
        fields[name] = _wide(found) if found is not None else None
    contents = {name: ak.to_layout(field) for name, field in fields.items() if field is not None}
    return ak.Array(ak.contents.RecordArray(list(contents.values()), list(contents), length=len(entries)))


class _Objects:
    """What can be made of the branches; None where they are missing."""

    def __init__(self, entries: Entries, branches: Mapping[str, str]) -> None:
        self._entries, self._branches = entries, branches

    def species(self, name: str) -> ak.Array | None:
        """Return electrons, muons or photons."""
        branch = self._branches[name]
        return self._truth(branch, name) if self._entries.have(f"{branch}.PID") else self._measured(branch, name)

    def _measured(self, branch: str, name: str) -> ak.Array | None:
        momenta = {"pt": "PT", "eta": "Eta", "phi": "Phi"}
        if not self._entries.have(*(f"{branch}.{theirs}" for theirs in momenta.values())):
            return None
        charged = name != "a" and self._entries.have(f"{branch}.Charge")
        counts, columns = self._entries.columns(branch, momenta | ({"charge": "Charge"} if charged else {}))
        made = _widened(columns, momenta)
        made["mass"] = np.full(len(made["pt"]), _MASSES[name])
        if name == "a":
            made["pdgid"] = np.full(len(made["pt"]), _PDG_IDS[name], dtype=np.int32)
        elif charged:
            made |= _charged(name, columns["charge"])
        return jagged(counts, made)

    def _truth(self, branch: str, name: str) -> ak.Array | None:
        """Return the final-state particles of one kind."""
        found = self._particles(branch, {1})
        return None if found is None else found[np.abs(found.pdgid) == _PDG_IDS[name]]

    def particles(self) -> ak.Array | None:
        """Return the final-state particles, and what tags of jets need."""
        return self._particles(self._branches["particles"], {1, 2})

    def _particles(self, branch: str, status: Collection[int]) -> ak.Array | None:
        names = {"px": "Px", "py": "Py", "pz": "Pz", "m": "Mass", "pdgid": "PID", "status": "Status"}
        if not self._entries.have(*(f"{branch}.{theirs}" for theirs in names.values())):
            return None
        pileup = {"is_pileup": "IsPU"} if self._entries.have(f"{branch}.IsPU") else {}
        counts, columns = self._entries.columns(branch, names | pileup)
        keep = np.isin(columns["status"], [*status])
        keep &= (columns["status"] == 1) | _tagging(np.abs(columns["pdgid"]))
        if pileup:
            keep &= columns["is_pileup"] == 0
        columns = {name: columns[name][keep] for name in names}
        made = _widened(columns, ("px", "py", "pz"))
        # Their energy in single precision, which the tree has too, would make light particles tachyons.
        made["e"] = np.sqrt(sum(made[c] ** 2 for c in ("px", "py", "pz")) + columns["m"].astype(np.float64) ** 2)
        made |= {name: columns[name].astype(np.int32) for name in ("pdgid", "status")}
        return jagged(_kept(counts, keep), made)

    @cached_property
    def _jets(self) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]] | None:
        branch = self._branches["j"]
        needed = {"pt": "PT", "eta": "Eta", "phi": "Phi", "mass": "Mass"}
        optional = {"b_tag": "BTag", "tau_tag": "TauTag", "charge": "Charge"}
        if not self._entries.have(*(f"{branch}.{theirs}" for theirs in needed.values())):
            return None
        found = {ours: theirs for ours, theirs in optional.items() if self._entries.have(f"{branch}.{theirs}")}
        counts, columns = self._entries.columns(branch, needed | found)
        tags = {name: columns[name] != 0 for name in ("b_tag", "tau_tag") if name in found}
        charge = {"charge": columns["charge"]} if "charge" in found else {}
        return counts, _widened(columns, needed) | tags | charge

    def jets(self) -> ak.Array | None:
        """Return the jets, tagged ones too."""
        if self._jets is None:
            return None
        counts, columns = self._jets
        # Its charge is that of a tau lepton. Without a PDG id, a tag that the tree does not have stays undefined.
        return jagged(counts, {name: column for name, column in columns.items() if name != "charge"})

    def taus(self) -> ak.Array | None:
        """Return the jets that are tagged as hadronic decays of tau leptons."""
        if self._jets is None or "tau_tag" not in self._jets[1]:
            return None
        counts, columns = self._jets
        tagged = columns["tau_tag"]
        made = {name: columns[name][tagged] for name in columns if name != "charge"}
        if "charge" in columns:
            made |= _charged("tau", columns["charge"][tagged])
        return jagged(_kept(counts, tagged), made)

    def met(self) -> ak.Array | None:
        """Return the missing transverse momentum, None in an event that has none."""
        branch = self._branches["met"]
        if not self._entries.have(f"{branch}.MET", f"{branch}.Phi"):
            return None
        counts, columns = self._entries.columns(branch, {"pt": "MET", "phi": "Phi"})
        zero = np.zeros(len(columns["pt"]))
        records = jagged(counts, _widened(columns, columns) | {"eta": zero, "mass": zero})
        return ak.flatten(records) if np.all(counts == 1) else ak.firsts(records)


def _wide(values: NDArray[Any]) -> NDArray[Any]:
    """Return numbers of the machine's byte order, real ones in double precision."""
    return values.astype(np.float64 if values.dtype.kind == "f" else np.int64)


def _widened(columns: Mapping[str, NDArray[Any]], names: Iterable[str]) -> dict[str, NDArray[Any]]:
    return {name: columns[name].astype(np.float64) for name in names}


def _charged(name: str, charge: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return PDG ids and charges of leptons."""
    pdgid = _PDG_IDS[name]
    return {
        "pdgid": np.where(charge < 0, pdgid, -pdgid).astype(np.int32),
        "charge": charge.astype(np.float64),
    }


def _tagging(pdgid: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which absolute PDG ids are those of hadrons with open bottom or charm, or of the tau lepton.

    Digits n_q1 n_q2 n_q3 of the PDG numbering scheme are a hadron's quarks, heaviest first; equal ones are quarkonium.
    """
    q1, q2, q3 = pdgid // 1000 % 10, pdgid // 100 % 10, pdgid // 10 % 10
    hadron = ((pdgid < 1_000_000) | (pdgid >= 9_000_000)) & (pdgid < 10_000_000) & (q2 > 0) & (q3 > 0)
    heavy = np.isin(np.where(q1 > 0, q1, q2), (4, 5))
    tagging: NDArray[np.bool_] = (hadron & heavy & ~((q1 == 0) & (q2 == q3))) | (pdgid == _PDG_IDS["tau"])
    return tagging


def _kept(counts: NDArray[np.int64], keep: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many records each event keeps."""
    before = np.concatenate([[0], np.cumsum(keep)])
    kept: NDArray[np.int64] = np.diff(before[np.concatenate([[0], np.cumsum(counts)])])
    return kept
