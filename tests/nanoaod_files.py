"""NanoAOD-shaped ROOT files written with uproot from other events: real in their layout, not in their content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

import awkward as ak
import numpy as np
import uproot
from uproot.writing import _cascadetree

from columnminer.schema import EventBatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

REWEIGHTING_TITLE = "LHE reweighting weights (w_var / w_nominal); "


def write_tree(file: Any, name: str, columns: Mapping[str, Any], titles: Mapping[str, str], basket: int) -> None:
    """Write a TTree with titles of branches (which uproot has no option for), so many events to a basket."""
    original = _cascadetree.Tree._branch_np

    def titled(self: Any, branch: str, *args: Any, **options: Any) -> dict[str, Any]:
        datum: dict[str, Any] = original(self, branch, *args, **options)
        return {**datum, "fTitle": titles.get(branch, datum["fTitle"])}

    arrays = {key: ak.Array(column) for key, column in columns.items()}
    with mock.patch.object(_cascadetree.Tree, "_branch_np", titled):
        tree = file.mktree(name, {key: ak.type(array).content for key, array in arrays.items()})
    n = len(next(iter(arrays.values())))
    for start in range(0, n, basket):
        tree.extend({key: array[start : start + basket] for key, array in arrays.items()})


def muons(batch: EventBatch) -> ak.Array:
    """Return the final-state muons of parton-level events as NanoAOD has them, in float32."""
    final = batch.events.particles[(abs(batch.events.particles.pdgid) == 13) & (batch.events.particles.status == 1)]
    final = final[ak.argsort(final.pt, ascending=False)]
    kinematics = {name: ak.values_astype(getattr(final, name), np.float32) for name in ("pt", "eta", "phi", "mass")}
    charge = ak.values_astype(-np.sign(final.pdgid), np.int32)
    return ak.zip({**kinematics, "charge": charge, "pdgId": ak.values_astype(final.pdgid, np.int32)})


def relative_weights(batch: EventBatch) -> EventBatch:
    """Return the events with nominal weights of 1 and others of float32, so that NanoAOD holds them exactly."""
    ratios = (batch.weights / batch.weights[:, :1]).astype(np.float32).astype(np.float64)
    return EventBatch(batch.events, ratios, batch.weight_names, batch.first_event, batch.source)


def write_nanoaod(
    path: Path,
    batch: EventBatch,
    *,
    names: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    extra: Mapping[str, Any] | None = None,
    titles: Mapping[str, str] | None = None,
    runs: Mapping[str, Any] | None = None,
    basket: int = 100,
) -> None:
    """Write parton-level events with muons as NanoAOD-shaped file, LHEReweightingWeight and all.

    Parameters
    ----------
    names
        What the document string calls the weights; None: as the batch does; empty: it says nothing.
    drop, extra, titles
        Branches to leave out, further ones, and their document strings.
    runs
        The Runs tree; None: what the batch has; empty: no such tree.
    """
    n = len(batch)
    names = batch.weight_names[1:] if names is None else names
    nominal = batch.weights[:, 0]
    columns: dict[str, Any] = {
        "run": np.ones(n, np.uint32),
        "luminosityBlock": np.arange(n, dtype=np.uint32) // 10 + 1,
        "event": np.arange(n, dtype=np.uint64),
        "genWeight": nominal.astype(np.float32),
        "LHEReweightingWeight": ak.from_regular((batch.weights[:, 1:] / nominal[:, None]).astype(np.float32)),
        "Muon": muons(batch),
        "MET_pt": np.full(n, 10, np.float32),
        "MET_phi": np.full(n, 0.5, np.float32),
        **(extra or {}),
    }
    columns = {key: column for key, column in columns.items() if key not in drop}
    said = "; ".join(f"[{i}] is {name}" for i, name in enumerate(names))
    generated = {
        "run": np.array([1], np.uint32),
        "genEventCount": np.array([n], np.int64),
        "genEventSumw": np.array([nominal.sum()]),
        "genEventSumw2": np.array([nominal @ nominal]),
    }
    with uproot.recreate(path) as file:
        write_tree(
            file, "Events", columns, {"LHEReweightingWeight": REWEIGHTING_TITLE + said, **(titles or {})}, basket
        )
        if runs is None or runs:
            write_tree(file, "Runs", generated if runs is None else runs, {}, basket)


def damage(path: Path, branch: str, basket: int = 0) -> None:
    """Overwrite the middle of a basket of a branch."""
    with uproot.open(path) as file:
        where = file["Events"][branch]
        seek, size = (int(where.member(name)[basket]) for name in ("fBasketSeek", "fBasketBytes"))
    content = bytearray(path.read_bytes())
    content[seek + size // 2 : seek + size - 4] = b"\xff" * (size - 4 - size // 2)
    path.write_bytes(content)
