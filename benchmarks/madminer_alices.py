"""MadMiner's half of the comparison of ALICES, to be run by the Python of its own environment.

    python madminer_alices.py FOLDER [EPOCHS]

Trains on FOLDER/train (the set "ratio": .npy files), in the settings of the peer script (features 0 and 1, (60, 60),
tanh, alpha 1, MadMiner's defaults for all else), saves the model as FOLDER/alices, and writes what it says of the
events of FOLDER/held_out there: log_r.npy and t.npy. Prints one JSON line with the seconds of the training.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path

import numpy as np
import torch
from madminer.ml import ParameterizedRatioEstimator


def main(folder: Path, epochs: int) -> None:
    logging.basicConfig(level=logging.ERROR)
    np.random.seed(5)  # noqa: NPY002 - MadMiner draws from the global state
    torch.manual_seed(5)
    files = {name: str(folder / "train" / f"{name}_ratio.npy") for name in ("x", "y", "theta0", "r_xz", "t_xz")}
    files["theta"] = files.pop("theta0")
    estimator = ParameterizedRatioEstimator(features=[0, 1], n_hidden=(60, 60), activation="tanh")
    start = time.perf_counter()
    estimator.train(method="alices", alpha=1.0, n_epochs=epochs, scale_parameters=True, **files)
    seconds = time.perf_counter() - start
    estimator.save(str(folder / "alices"))

    judges = folder / "held_out"
    x, theta = (np.load(judges / f"{name}_ratio.npy") for name in ("x", "theta0"))
    log_r, t = estimator.evaluate_log_likelihood_ratio(x, theta, test_all_combinations=False, evaluate_score=True)
    np.save(judges / "log_r.npy", log_r.reshape(len(x)))
    np.save(judges / "t.npy", t)
    print(json.dumps({"wall_s": seconds}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10)
