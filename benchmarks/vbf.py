"""The analysis that the benchmarks time: real MadGraph events, u d -> u d h with h -> a a, and two EFT couplings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import columnminer as cm
from benchmarks.timing import VBF

if TYPE_CHECKING:
    from pathlib import Path

FILES = ("sm", "w", "neg_w", "ww", "neg_ww")


def setup() -> cm.Setup:
    benchmarks = json.loads((VBF / "oracle.json").read_text(encoding="utf-8"))["benchmarks"]
    space = cm.ParameterSpace(
        [
            cm.Parameter("CWL2", lha=("dim6", 2), max_power=2, bounds=(-20, 20), transform="16.52*theta"),
            cm.Parameter("CPWL2", lha=("dim6", 5), max_power=2, bounds=(-20, 20), transform="16.52*theta"),
        ]
    )
    return cm.Setup(space, benchmarks=benchmarks).with_morphing(max_overall_power=2, morphing_basis=list(benchmarks))


def selection() -> cm.Selection:
    return cm.Selection(
        observables={
            "pt_j1": cm.Observable("j[0].pt", default=0.0),
            "delta_phi_jj": cm.Observable(
                "j[0].deltaphi(j[1]) * (-1.0 + 2.0 * float(j[0].eta > j[1].eta))", required=True
            ),
            "met": cm.Observable("met.pt", required=True),
        },
        cuts=["(a[0] + a[1]).m > 122.0", "(a[0] + a[1]).m < 128.0", "pt_j1 > 20.0"],
        default_observables=cm.DefaultObservables(
            n_leptons=0, n_photons=2, n_jets=2, met=True, numbers=True, charge=False, visible=False
        ),
    )


def samples() -> list[cm.Sample]:
    return [cm.Sample(VBF / f"signal_{name}.lhe.gz", benchmark=name) for name in FILES]


def read_all(path: Path) -> int:
    """Read a file to its end (in processes of their own, too: nothing heavy is imported here)."""
    return sum(len(batch) for batch in cm.open_reader(path).batches())
