"""The recipe of the models in this folder: MadMiner 0.9.6 trains, saves and evaluates them (in its own environment).

    python make.py [folder]

Next to the models, ``expected.json`` keeps what MadMiner says about a few events.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from madminer.ml import (
    DoubleParameterizedRatioEstimator,
    Ensemble,
    LikelihoodEstimator,
    ParameterizedRatioEstimator,
    ScoreEstimator,
)
from madminer.ml.lookup import load_estimator

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
FOLDER = FOLDER.parent if FOLDER.is_file() else FOLDER
ACTIVATIONS = ("tanh", "relu", "sigmoid", "lrelu", "rrelu", "elu", "selu", "softplus", "log_sigmoid")
N, BRIEF = 256, {"n_epochs": 1, "batch_size": 16, "initial_lr": 0.05, "verbose": "none"}

rng = np.random.default_rng(42)
np.random.seed(42)  # noqa: NPY002 - MadMiner draws from it
torch.manual_seed(42)


def events(n):
    """Three observables of unequal size, two parameters, and gold that has something to do with them."""
    theta0, theta1 = rng.normal([1.0, -20.0], [0.5, 8.0], (n, 2)), rng.normal([1.0, -20.0], [0.5, 8.0], (n, 2))
    x = rng.normal([50.0, 0.2, -3.0], [20.0, 0.1, 1.0], (n, 3)) + 0.1 * theta0[:, :1]
    log_r = 0.02 * (x[:, 0] - 50.0) * (theta0[:, 0] - theta1[:, 0])
    t = np.stack([0.02 * (x[:, 0] - 50.0), 0.05 * x[:, 2]], axis=1)
    y = rng.integers(0, 2, n).astype(float)
    return {"x": x, "theta0": theta0, "theta1": theta1, "y": y, "r_xz": np.exp(log_r), "t_xz": t}


gold, test = events(N), events(6)
X, THETA0, THETA1 = test["x"], test["theta0"], test["theta1"]
expected: dict[str, object] = {"x": X, "theta0": THETA0, "theta1": THETA1}


def ratio(**settings):
    estimator = ParameterizedRatioEstimator(**settings)
    estimator.train(
        "alices",
        gold["x"],
        gold["y"],
        gold["theta0"],
        gold["r_xz"],
        gold["t_xz"],
        alpha=0.1,
        scale_parameters=True,
        **BRIEF,
    )
    return estimator


def evaluate(estimator):
    log_r, t = estimator.evaluate_log_likelihood_ratio(X, THETA0, test_all_combinations=False, evaluate_score=True)
    return {"log_ratio": log_r, "score": t}


def variant(*, activation=None, without=None):
    """Evaluate the model "ratio" with another activation, or without one of its scalings."""
    with tempfile.TemporaryDirectory() as folder:
        for file in FOLDER.glob("ratio_*"):
            if without is None or not file.name.startswith((f"ratio_{without}_means", f"ratio_{without}_stds")):
                shutil.copy(file, folder)
        settings = Path(folder) / "ratio_settings.json"
        if activation is not None:
            settings.write_text(json.dumps(json.loads(settings.read_text()) | {"activation": activation}))
        return evaluate(load_estimator(f"{folder}/ratio"))


simple = ratio(n_hidden=(5, 4))
simple.save(f"{FOLDER}/ratio")
expected["ratio"] = {name: variant(activation=name) for name in ACTIVATIONS} | {
    f"without {name}": variant(activation="relu", without=name) for name in ("x", "theta")
}

dropped = ratio(n_hidden=(4, 3), features=[2, 0], dropout_prob=0.3)
dropped.save(f"{FOLDER}/dropout")
expected["dropout"] = evaluate(dropped)

members = Ensemble([ratio(n_hidden=(3,), features=[2, 1]), ratio(n_hidden=(4,), features=[0, 1], activation="elu")])
members.save(f"{FOLDER}/ensemble")
log_r, _ = members.evaluate_log_likelihood_ratio(
    x=X, theta=THETA0, test_all_combinations=True, estimator_weights=np.array([1.0, 3.0])
)
expected["ensemble"] = {"votes": [1.0, 3.0], "log_ratio": log_r}

double = DoubleParameterizedRatioEstimator(n_hidden=(5, 3))
double.train(
    "alices",
    gold["x"],
    gold["y"],
    gold["theta0"],
    gold["theta1"],
    gold["r_xz"],
    gold["t_xz"],
    gold["t_xz"],
    scale_parameters=True,
    **BRIEF,
)
double.save(f"{FOLDER}/double")
# MadMiner scales parameters in the training of this kind, but not in its evaluation: "as given" is what it says then.
scaled = [double._transform_parameters(points) for points in (THETA0, THETA1)]
for name, points in (("double", scaled), ("double as given", [THETA0, THETA1])):
    log_r, _, _ = double.evaluate_log_likelihood_ratio(X, *points, test_all_combinations=False)
    expected[name] = {"log_ratio": log_r}
# Its evaluation of scores fails with today's torch, as the graph is freed after the first of two gradients.
inputs = [torch.tensor(a, dtype=torch.float32) for a in (*scaled, double._transform_inputs(X))]
_, _, t0, t1 = double.model(*inputs, create_gradient_graph=True)
expected["double"] |= {"slope0": t0.detach().numpy(), "slope1": t1.detach().numpy()}

score = ScoreEstimator(n_hidden=(4,), features=[0, 2])
score.train("sally", gold["x"], np.hstack([gold["t_xz"], gold["x"][:, :1] / 50.0]), **BRIEF)
spread = rng.normal(size=(3, 3))
score.set_nuisance(spread @ spread.T + 0.1 * np.eye(3), [2, 0])
score.save(f"{FOLDER}/score")
expected["score"] = {mode: score.evaluate_score(X, nuisance_mode=mode) for mode in ("keep", "project", "profile")}

for name, settings in (
    ("flow", {"n_components": 1, "n_mades": 2, "n_hidden": (5,)}),
    ("mixture", {"n_components": 3, "n_mades": 2, "n_hidden": (4, 3), "activation": "softplus"}),
    ("single", {"n_components": 1, "n_mades": 1, "n_hidden": (3,), "features": [1]}),
):
    flow = LikelihoodEstimator(**settings)
    flow.train("nde", gold["x"], gold["theta0"], scale_parameters=True, **BRIEF)
    flow.save(f"{FOLDER}/{name}")
    log_p, t = flow.evaluate_log_likelihood(
        X, flow._transform_parameters(THETA0), test_all_combinations=False, evaluate_score=True
    )
    expected[name] = {"log_density": log_p, "scaled_score": t.reshape(THETA0.shape)}
    as_given = flow.evaluate_log_likelihood(X, THETA0, test_all_combinations=False)[0]
    expected[f"{name} as given"] = {"log_density": as_given}


def plain(value):
    return value.tolist() if isinstance(value, np.ndarray) else value


(FOLDER / "expected.json").write_text(json.dumps(expected, default=plain) + "\n")
