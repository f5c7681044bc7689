"""The folder that examples in docstrings and pages run in: files under the names that they use, made once."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np

import columnminer as cm

VBF = ("signal_sm", "signal_w", "signal_neg_w", "signal_ww", "signal_neg_ww", "background_qcd")
DATA = Path(__file__).parent / "data"
FILES = {f"{name}.lhe.gz": f"vbf/{name}.lhe.gz" for name in VBF} | {
    "search.yaml": "alea/configs/search.yaml",
    "templates": "alea/templates",
    "counting.json": "pyhf/counting.json",
    "models": "madminer_models",
    "golden.json": "fuzz/luminosity.json",
    "signal_sm.hepmc.gz": "hepmc/signal_sm_pythia8.hepmc.gz",
}
TAG = {
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
                "content": [0.6, 0.7],
                "flow": "clamp",
            },
        }
    ],
}


def make_files(folder: Path) -> None:
    """Fill `folder`: sm.lhe.gz and c_ll_plus.lhe.gz, events.zarr of them, an estimator in alices, toys in toys.zarr."""
    generator = cm.DrellYan()
    for name, (n, seed) in {"sm": (20_000, 1), "c_ll_plus": (5_000, 2)}.items():
        generator.write_lhe(folder / f"{name}.lhe.gz", n, name, seed=seed)
    samples = [cm.Sample(folder / f"{name}.lhe.gz", benchmark=name) for name in ("sm", "c_ll_plus")]
    store = cm.process(
        samples, generator.setup(), cm.Selection(generator.observables), folder / "events.zarr", progress=False
    )
    prior = cm.flat_prior([(-0.05, 0.05)] * 2)
    train = cm.sample_ratio(store, prior, "sm", 50_000, seed=3)
    alices = cm.QuadraticRatioEstimator((20,)).fit(train, "alices", epochs=4, seed=4, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cm.ColumnMinerWarning)  # few events, a small training
        cm.check(alices, cm.sample_ratio(store, prior, "sm", 20_000, seed=5, partition="validation"), closure=False)
    alices.save(folder / "alices")
    model = counting()
    campaign = cm.Campaign(
        model,
        poi="mu",
        to_vary={"mu": [0.0, 1.0, 2.0]},
        hypotheses=["free", "zero", "true"],
        n_toys=3000,
        compute_confidence_interval=True,
        seed=1,
    )
    cm.run_campaign(campaign, folder / "toys.zarr", progress=False)
    for name, file in FILES.items():
        (folder / name).symlink_to(DATA / file)
    (folder / "btag.json").write_text(json.dumps(TAG))


def counting() -> cm.TemplateLikelihood:
    """Return a search for a signal of 5 events in one of four bins, over 12 events in all of them."""
    rates = [cm.Parameter("mu", 1.0, kind="rate", fit_limits=(0, None))]
    sources = [
        cm.TemplateSource("signal", np.array([0.0, 1.0, 0.0, 0.0]), 5.0, rate="mu"),
        cm.TemplateSource("background", np.full(4, 0.25), 12.0),
    ]
    return cm.TemplateLikelihood("search", {"energy": np.linspace(0, 8, 5)}, sources, rates)
