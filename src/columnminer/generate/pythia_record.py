"""From Pythia's event record to columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["event_columns"]

_SYSTEM, _BOTTOM, _CHARM, _TAU = 90, 5, 4, 15
_LEPTONS = (13, _TAU)
_BEAM, _FROM_DECAYS = -12, (91, 92, 93, 94)  # status codes of Pythia's record
_RANGES = (*range(81, 87), *range(101, 107))


def event_columns(events: ak.Array, *, whole: bool = False) -> dict[str, NDArray[Any]]:
    """Return the columns of events as Pythia's `nextBatch` gives them.

    Kept are particles of the final state (status 1) and decayed hadrons with open bottom or charm and tau leptons
    (status 2), from which jets get their flavour; or, with `whole`, all but the line that stands for the system, with
    masses, mothers, production vertices and the status codes of HepMC.

    Returns
    -------
    dict
        Of events: ``number`` (see `pythia_process.Source`), ``counts`` of their particles, ``factor`` that Pythia puts
        on all their weights. Of particles: px, py, pz, e [GeV], pdgid, status; with `whole` m, mother1, mother2
        (counted from 1 in the event; 0 for none; the last of a range, or, with a minus, a second one), x, y, z, t [mm].
    """
    counts, flat = ak.to_numpy(ak.num(events.prt)).astype(np.int64), ak.flatten(events.prt)
    pdgid, code, daughter = (ak.to_numpy(flat[name]) for name in ("id", "status", "daughter1"))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    event = np.repeat(np.arange(len(counts)), counts)
    status = np.where(code > 0, 1, np.abs(code) if whole else 0).astype(np.int32)
    status[code == _BEAM] = 4 if whole else 0
    # A particle may stand in the record several times; the last time, its daughters are other ones, from a decay.
    unstable = np.flatnonzero((code < 0) & (_is_hadron(pdgid) | np.isin(np.abs(pdgid), _LEPTONS)))
    first = offsets[event[unstable]] + daughter[unstable]
    last = (pdgid[first] != pdgid[unstable]) & np.isin(np.abs(code[first]), _FROM_DECAYS)
    decayed = unstable[last & (whole | _is_tag(pdgid[unstable]))]
    status[decayed] = 2
    kept = np.flatnonzero(pdgid != _SYSTEM) if whole else np.flatnonzero(status)
    columns = {
        "number": np.rint(ak.to_numpy(events.info.alphaEM)).astype(np.int64) - 1,
        "counts": np.bincount(event[kept], minlength=len(counts)).astype(np.int64),
        "factor": ak.to_numpy(ak.fill_none(ak.firsts(events.info.weights), 1.0)).astype(np.float64),
        **{name: ak.to_numpy(flat["p"][name])[kept] for name in ("px", "py", "pz", "e")},
        "pdgid": pdgid[kept].astype(np.int32),
        "status": status[kept],
    }
    if whole:
        columns |= {name: ak.to_numpy(flat[name])[kept] for name in ("m", "mother1", "mother2")}
        # The first line, of the system, is gone, so that the others are counted from 1.
        one, two = columns["mother1"], columns["mother2"]
        columns["mother2"] = np.where((two == 0) | np.isin(np.abs(code[kept]), _RANGES) & (two > one), two, -two)
        places = {"x": "px", "y": "py", "z": "pz", "t": "e"}  # a four-vector as any other
        vertex = flat["vProd"]
        columns |= {name: ak.to_numpy(ak.fill_none(vertex[field], 0.0))[kept] for name, field in places.items()}
    return columns


def _is_hadron(pdgid: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which particles are hadrons, (n,) bool (PDG numbering)."""
    size = np.abs(pdgid)
    exotic = (size >= 1_000_000) & (size < 9_000_000) | (size >= 9_900_000)
    return np.asarray((size > 100) & ~exotic & (size // 10 % 10 > 0) & (size // 100 % 10 > 0))


def _is_tag(pdgid: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which particles are hadrons with open bottom or charm, or tau leptons, (n,) bool (PDG numbering)."""
    size = np.abs(pdgid)
    q1, q2, q3 = size // 1000 % 10, size // 100 % 10, size // 10 % 10
    heaviest = np.where(q1 > 0, q1, q2)
    heavy = ((heaviest == _BOTTOM) | (heaviest == _CHARM)) & ((q1 > 0) | (q2 != q3))
    return np.asarray((_is_hadron(pdgid) & heavy) | (size == _TAU))
