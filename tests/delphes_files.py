"""Delphes-shaped ROOT files, written with uproot from parton-level events: what a perfect detector would make of them.

Only their shape is that of Delphes: branches ``Jet.PT``, ``Jet_size`` and so on, in single precision, as jagged arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import awkward as ak
import numpy as np
import uproot

from columnminer.momenta import CARTESIAN, Collection, Momenta
from columnminer.observe.objects import Objects

if TYPE_CHECKING:
    from pathlib import Path

    from columnminer.schema import EventBatch

CHARGED = ("PT", "Eta", "Phi", "Charge")
JET = ("PT", "Eta", "Phi", "Mass", "BTag", "TauTag", "Charge")


def delphes_columns(batch: EventBatch, cross_section: float = 0.0, weights: np.ndarray | None = None) -> dict:
    """Return branch -> records of all events, as Delphes would name them.

    `weights` (n_events, any) goes into branch Weight; the nominal weight of the batch is Event.Weight.
    """
    objects, n = Objects(batch), len(batch)
    numbers = batch.first_event + np.arange(n)
    event = {
        "Number": numbers.astype(np.int64),
        "Weight": batch.weights[:, 0].astype(np.float32),
        "CrossSection": np.full(n, cross_section, dtype=np.float32),
        "CrossSectionError": np.full(n, cross_section / 100, dtype=np.float32),
    }
    header = (("Scale", "scale"), ("AlphaQED", "alpha_qed"), ("AlphaQCD", "alpha_qcd"))
    event |= {theirs: ak.to_numpy(batch.events[ours]).astype(np.float32) for theirs, ours in header}
    jets, taus = objects["j"], objects["tau"]
    jet_like = jets.merged(taus).by_pt()
    columns = {
        "Event": _records(np.ones(n, dtype=np.int64), event),
        "Particle": _particles(batch),
        "Electron": _objects(objects["e"], CHARGED),
        "Muon": _objects(objects["mu"], CHARGED),
        "Photon": _objects(objects["a"], ("PT", "Eta", "Phi", "E")),
        "Jet": _objects(jet_like, JET),
        "GenJet": _objects(jet_like, JET),
    }
    met = objects["met"].momenta
    for name in ("MissingET", "GenMissingET"):
        values = {"MET": met["pt"], "Eta": np.zeros(n), "Phi": met["phi"]}
        columns[name] = _records(np.ones(n, dtype=np.int64), {k: v.astype(np.float32) for k, v in values.items()})
    if weights is not None:
        counts = np.full(n, weights.shape[1])
        columns["Weight"] = _records(counts, {"Weight": weights.astype(np.float32).ravel()})
    return columns


def write_tree(path: Path, columns: dict, tree: str = "Delphes", steps: int = 1000, **options) -> Path:
    """Write branches into a tree, `steps` events in each of their baskets."""
    with uproot.recreate(path, **options) as file:
        types = {name: array.type.content for name, array in columns.items()}
        made = file.mktree(tree, types, counter_name=lambda c: f"{c}_size", field_name=lambda c, field: f"{c}.{field}")
        n = len(next(iter(columns.values())))
        for start in range(0, n, steps):
            made.extend({name: array[start : start + steps] for name, array in columns.items()})
    return path


def write_delphes(path: Path, batch: EventBatch, **options) -> Path:
    """Write a Delphes-shaped file of the events of a batch; options as in `delphes_columns`."""
    return write_tree(path, delphes_columns(batch, **options))


def without(columns: dict, *names: str) -> dict:
    """Return branches without some of them: ``Photon``, or ``Jet.BTag``."""
    left = {name: array for name, array in columns.items() if name not in names}
    for name in names:
        branch, _, field = name.partition(".")
        if field:
            left[branch] = left[branch][[f for f in left[branch].fields if f != field]]
    return left


def _objects(collection: Collection, names: tuple[str, ...]) -> ak.Array:
    p = collection.momenta
    made = {
        "PT": lambda: p["pt"].astype(np.float32),
        "Eta": lambda: p["eta"].astype(np.float32),
        "Phi": lambda: p["phi"].astype(np.float32),
        "Mass": lambda: p["m"].astype(np.float32),
        "E": lambda: p["e"].astype(np.float32),
        "Charge": lambda: np.round(p["charge"]).astype(np.int32),
        "BTag": lambda: p["b_tag"].astype(np.uint32),
        "TauTag": lambda: p["tau_tag"].astype(np.uint32),
    }
    return _records(collection.counts, {name: made[name]() for name in names})


def _particles(batch: EventBatch) -> ak.Array:
    particles = batch.events.particles
    flat = {"PID": "pdgid", "Status": "status", "Px": "px", "Py": "py", "Pz": "pz", "E": "e"}
    columns = {theirs: ak.to_numpy(ak.flatten(particles[ours])) for theirs, ours in flat.items()}
    columns = {name: c.astype(np.int32 if name in {"PID", "Status"} else np.float32) for name, c in columns.items()}
    columns["Mass"] = Momenta({c: ak.to_numpy(ak.flatten(particles[c])) for c in CARTESIAN})["m"].astype(np.float32)
    columns["IsPU"] = np.zeros(len(columns["PID"]), dtype=np.int32)
    return _records(ak.to_numpy(ak.num(particles)), columns)


def _records(counts: np.ndarray, columns: dict) -> ak.Array:
    return ak.unflatten(ak.zip(columns), counts)
