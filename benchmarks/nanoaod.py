"""NanoAOD: our processor against a plain processor of coffea that reads the same columns and computes the same.

The file is written from the built-in generator: two muons, MET, and six reweighting weights, float32 as NanoAOD has it.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import uproot
from coffea import processor
from coffea.nanoevents import NanoAODSchema

import columnminer as cm
from benchmarks.timing import Row, measure

if TYPE_CHECKING:
    from columnminer.schema import EventBatch

N = 200_000


class Read(processor.ProcessorABC):  # type: ignore[misc]
    """Reads the columns that `selection` needs, and does nothing with them."""

    def process(self, events: ak.Array) -> dict[str, int]:
        columns = [ak.flatten(events.Muon[name]) for name in ("pt", "eta", "phi", "mass")]
        columns += [events.MET.pt, events.genWeight, ak.flatten(events.LHEReweightingWeight)]
        return {"bytes": sum(ak.to_numpy(column).nbytes for column in columns)}

    def postprocess(self, accumulator: dict[str, int]) -> dict[str, int]:
        return accumulator


class Plain(processor.ProcessorABC):  # type: ignore[misc]
    """What one would write by hand for the observables of `selection`: columns in memory."""

    def process(self, events: ak.Array) -> dict[str, Any]:
        muons = events.Muon[ak.argsort(events.Muon.pt, ascending=False)]
        events, muons = events[ak.num(muons) >= 2], muons[ak.num(muons) >= 2]
        passed = muons[:, 1].pt > 20
        events, first, second = events[passed], muons[passed][:, 0], muons[passed][:, 1]
        columns = {
            "m_ll": (first + second).mass,
            "pt": first.pt,
            "eta": first.eta,
            "met": events.MET.pt,
        }
        weights = events.genWeight[:, np.newaxis] * events.LHEReweightingWeight
        observables = np.column_stack([ak.to_numpy(column).astype(np.float64) for column in columns.values()])
        return {
            "observables": processor.column_accumulator(observables),
            "weights": processor.column_accumulator(ak.to_numpy(weights).astype(np.float64)),
        }

    def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
        return accumulator


def selection() -> cm.Selection:
    return cm.Selection(
        {"m_ll": "(mu[0] + mu[1]).m", "pt": "mu[0].pt", "eta": "mu[0].eta", "met": "met.pt"}, cuts=["mu[1].pt > 20"]
    )


def write(path: Path, batch: EventBatch) -> None:
    n, particles = len(batch), batch.events.particles
    muons = particles[(abs(particles.pdgid) == 13) & (particles.status == 1)]
    kinematics = {name: ak.values_astype(getattr(muons, name), np.float32) for name in ("pt", "eta", "phi", "mass")}
    columns = {
        "run": np.ones(n, np.uint32),
        "luminosityBlock": np.ones(n, np.uint32),
        "event": np.arange(n, dtype=np.uint64),
        "genWeight": np.ones(n, np.float32),
        "LHEReweightingWeight": ak.from_regular((batch.weights[:, 1:] / batch.weights[:, :1]).astype(np.float32)),
        "Muon": ak.zip({**kinematics, "charge": ak.values_astype(-np.sign(muons.pdgid), np.int32)}),
        "MET_pt": np.full(n, 10, np.float32),
        "MET_phi": np.full(n, 0.5, np.float32),
    }
    runs = {"genEventCount": np.array([n]), "genEventSumw": np.array([float(n)]), "genEventSumw2": np.array([float(n)])}
    with uproot.recreate(path) as file:
        for name, tree in {"Events": columns, "Runs": runs}.items():
            arrays = {key: ak.Array(column) for key, column in tree.items()}
            file.mktree(name, {key: ak.type(array).content for key, array in arrays.items()}).extend(arrays)


def rows(folder: Path) -> list[Row]:
    drell_yan = cm.DrellYan()
    path = folder / "nano.root"
    write(path, drell_yan.generate(N, "sm", seed=0))
    setup = drell_yan.setup()
    sample = cm.Sample(path, benchmark="sm", cross_section=1.0, weight_names=setup.benchmark_names)
    NanoAODSchema.warn_missing_crossrefs = False

    def run(made: processor.ProcessorABC) -> Any:
        with warnings.catch_warnings(), Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            warnings.simplefilter("ignore")
            shown, sys.stdout = sys.stdout, nowhere  # coffea's progress
            try:
                executor = processor.IterativeExecutor(status=False)
                return processor.Runner(executor, chunksize=100_000, schema=NanoAODSchema)(cm.fileset([sample]), made)
            finally:
                sys.stdout = shown

    ours, plain = run(cm.EventProcessor(setup, selection(), samples=[sample])), run(Plain())
    n = sum(len(chunk.parts[""][1]["event"]) for chunk in ours.values())
    if n != len(plain["observables"].value):
        msg = f"{n} events pass in ours, {len(plain['observables'].value)} in the plain one"
        raise RuntimeError(msg)

    made = measure(lambda: run(cm.EventProcessor(setup, selection(), samples=[sample])))
    return [
        Row("NanoAOD, coffea -> columns; limit: only reading", N, made, "<= 1.3 x", measure(lambda: run(Read()))),
        Row("the same; limit: a processor by hand", N, made, "", measure(lambda: run(Plain()))),
    ]
