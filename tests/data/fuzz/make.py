"""Write the corpus of the fuzzing of readers again: `PYTHONPATH=tests python tests/data/fuzz/make.py`.

One small healthy file (or folder) for each reader that has none among the other test data. They are committed, so that
the same seeds damage the same bytes everywhere.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from delphes_files import delphes_columns, without, write_tree
from latent_toy import ratio_samples
from mixed_store import mixed_setup
from nanoaod_files import relative_weights, write_nanoaod
from test_hepmc import as_hepmc2, made
from test_madminer_import import small_file
from toy_events import batch_of, drawn

import columnminer as cm
from columnminer.learn.calibration import calibrate
from columnminer.learn.checkpoints import Checkpoint
from columnminer.learn.ensembles import Ensemble
from columnminer.learn.varied import LearnedVariation, VariedRatio
from columnminer.run.jobs import Job, Task
from columnminer.sample.npy import write_npy
from columnminer.toys.neyman import NeymanThresholds, ThresholdCurve

ANALYSIS = """\
seed: 1
generate:
  drellyan: {mass_range: [500, 2000], events: {sm: 4000}}
process: {partition: [0.8, 0.05, 0.15]}
sampling:
  ratio: {theta0: {flat: {c_ll: [-0.08, 0.08], c_lr: [-0.08, 0.08]}}, n: 800, n_theta: 5}
estimators:
  alices: {kind: quadratic, method: alices, alpha: 1.0, hidden: [6, 6], epochs: 1}
limits:
  luminosity: 3000
  theta_true: sm
  grid: {c_ll: [-0.08, 0.08, 5], c_lr: [-0.08, 0.08, 5]}
  estimators: [alices]
  histograms:
    mass: {observables: m_ll, bins: 20}
information: {luminosity: 3000, theta: sm}
report: {title: A file to damage}
"""
CAMPAIGN = """\
poi: mu
n_toys: 20
model: {store: events.zarr, luminosity: 1000}
to_vary:
  poi_expectation: np.linspace(0, 30, 4)
  gamma0: [1, 2]
hypotheses: [free, zero, true, {poi_expectation: 15}]
compute_confidence_interval: true
threshold: 'thresholds_{gamma0:.1f}.json'
"""
FORMULA = {"nodetype": "formula", "expression": "x/1000", "parser": "TFormula", "variables": ["pt"]}
CORRECTIONS = {
    "schema_version": 2,
    "corrections": [
        {
            "name": "tag",
            "version": 1,
            "inputs": [{"name": "pt", "type": "real"}],
            "output": {"name": "efficiency", "type": "real"},
            "data": {
                "nodetype": "binning",
                "input": "pt",
                "edges": [0.0, 50.0, 1000.0],
                "content": [
                    0.5,
                    {"nodetype": "formula", "expression": "x/1000", "parser": "TFormula", "variables": ["pt"]},
                ],
                "flow": "clamp",
            },
        }
    ],
}
PARAM_CARD = """\
Block mass # in GeV
   23 9.118800e+01 # MZ
Block dim6
    1 0.0 # cW
    2 1.0 # cB
DECAY  23 2.441404e+00 # WZ
"""
RUN_CARD = """\
 5000 = nevents ! events
 0 = iseed
 nn23lo1 = pdlabel
 247000 = lhaid
 True = use_syst
"""
PYTHIA = """\
! A card of Pythia
PartonLevel:MPI = off
Tune:pp 14 # a comment
SpaceShower:alphaSvalue = 0.118
"""
LUMINOSITY = '{"273158": [[1, 1279]], "273302": [[1, 459], [470, 500]]}\n'


def main(folder: Path) -> None:
    toys = batch_of(drawn(6, seed=8), weights=np.random.default_rng(2).uniform(0.5, 2, (6, 3)))
    columns = without(delphes_columns(toys, cross_section=2.0, weights=toys.weights), "Photon", "GenJet", "Electron")
    write_tree(folder / "delphes.root", columns, steps=3)
    write_nanoaod(folder / "nanoaod.root", relative_weights(cm.DrellYan().generate(6, "sm", seed=3)), basket=3)
    (folder / "three.hepmc").write_text(made(["1 2", "3 4", "5 6"], names="W a\\|b\n"))
    as_hepmc2(folder / "three.hepmc", folder / "two.hepmc")
    small_file(folder / "madminer.h5")
    mixed_setup().save(folder / "setup.json")
    (folder / "analysis.yaml").write_text(ANALYSIS)
    (folder / "campaign.yaml").write_text(CAMPAIGN)
    (folder / "luminosity.json").write_text(LUMINOSITY)
    thresholds = np.array([[1.0, 1.5, 2.0], [2.0, 3.0, 4.0]])
    curve = ThresholdCurve(
        {"mass": 50.0}, np.arange(3.0), thresholds, thresholds / 10, np.full(3, 100), np.full(3, np.nan)
    )
    found = NeymanThresholds("mu", (0.68, 0.9), (curve,), "central", 1, ("mass",))
    found.to_json(folder / "thresholds.json")
    found.to_json(folder / "thresholds_alea.json", layout="alea")
    estimators(folder)
    (folder / "corrections.json").write_text(json.dumps(CORRECTIONS, indent=1))
    (folder / "param_card.dat").write_text(PARAM_CARD)
    (folder / "run_card.dat").write_text(RUN_CARD)
    (folder / "pythia.cmnd").write_text(PYTHIA)
    tasks = (Task(("columnminer", "toys", "campaign.yaml"), Path("toys_000.zarr")),)
    Job(folder / "job", "slurm", tasks, redo=False, number="17").save()
    write_npy(ratio_samples(6), folder / "npy", "ratio")


def estimators(folder: Path) -> None:
    """Write one estimator of each kind of folder, and a checkpoint."""
    fast = {"epochs": 1, "batch_size": 32, "seed": 1}
    one, two = (cm.RatioEstimator((4,)).fit(ratio_samples(200, seed=i), method="alices", **fast) for i in (0, 1))
    one.save(folder / "estimator", replace=True)
    Ensemble([one, two], [1.0, 2.0]).save(folder / "ensemble")
    held_out = dataclasses.replace(ratio_samples(400, seed=9), partition="test")
    calibrate(one, held_out, "isotonic", reference_events=held_out.take(slice(0, 16))).save(folder / "calibrated")
    events = held_out.take(slice(0, 8)).x
    VariedRatio(one, [LearnedVariation("scale", two, two_sided=True)], events, np.ones(8), np.zeros(1)).save(
        folder / "varied"
    )
    checkpoint, (network, optimiser) = checkpointed(folder / "checkpoint.safetensors")
    optimiser.zero_grad()
    network(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    best = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    checkpoint.save(network, optimiser, best, {"epoch": 1, "train_loss": [0.5]})


def checkpointed(path: Path) -> tuple[Checkpoint, tuple[torch.nn.Linear, torch.optim.Adam]]:
    """Return a checkpoint of a small training, and the network and optimiser that it is about."""
    torch.manual_seed(1)
    network = torch.nn.Linear(2, 1)
    return Checkpoint(path, {"seed": 1}), (network, torch.optim.Adam(network.parameters()))


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    with tempfile.TemporaryDirectory() as fresh:
        main(Path(fresh))
        shutil.copytree(fresh, target, dirs_exist_ok=True)
