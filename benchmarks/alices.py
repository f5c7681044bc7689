"""The comparison of ALICES trainings: samples, the tenth held out of them, our training, one loss for both sides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import columnminer as cm
from columnminer.sample.npy import read_npy, write_npy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from columnminer.sample.samples import Samples

FEATURES = ("pt_j1", "delta_phi_jj")
HELD_OUT = 0.1
EPOCHS = 5
"""Ours; MadMiner has ten."""


def split(folder: Path, observables: Sequence[str], store_hash: str = "") -> tuple[Samples, Samples]:
    """Return what to train on and the tenth held out, from the set "ratio" in a folder; MadMiner's half reads them too.

    The tenth is chosen before anything is trained, by a seed of its own.
    """
    samples = read_npy(folder, "ratio", observables, ["CWL2", "CPWL2"], store_hash=store_hash)
    chosen = np.random.default_rng(2026).uniform(size=len(samples)) < HELD_OUT
    train, held_out = samples.take(~chosen), samples.take(chosen)
    write_npy(train, folder / "train", "ratio")
    write_npy(held_out, folder / "held_out", "ratio")
    return train, held_out


def trained(samples: Samples, epochs: int = EPOCHS) -> cm.RatioEstimator:
    """Return our estimator, with our defaults for all that is not said here."""
    estimator = cm.RatioEstimator((60, 60), activation="tanh", features=FEATURES)
    return estimator.fit(samples, "alices", alpha=1.0, seed=0, epochs=epochs)


def loss(log_r: NDArray[np.floating], t: NDArray[np.floating], held_out: Samples, scale: NDArray[np.floating]) -> float:
    """Return the ALICES loss (arXiv:1808.00973) with alpha = 1 and the means that MadMiner takes.

    The mean over events of -s_xz log s - (1 - s_xz) log(1 - s), where s = 1 / (1 + r), plus the mean over events and
    parameters of (1 - y) (t - t_xz)^2 for theta in units of `scale`, its standard deviation in training.
    """
    s_xz, log_r = 1.0 / (1.0 + held_out.r_xz.astype(np.float64)), log_r.astype(np.float64)
    entropy = s_xz * np.logaddexp(0.0, log_r) + (1.0 - s_xz) * np.logaddexp(0.0, -log_r)
    error = (1.0 - held_out.y[:, np.newaxis]) * ((t - held_out.t_xz) * scale) ** 2
    return float(entropy.mean() + error.mean())


def our_loss(estimator: cm.RatioEstimator, train: Samples, held_out: Samples) -> float:
    x, theta, names = held_out.x, held_out.theta0, held_out.feature_names
    log_r, t = estimator.log_ratio(x, theta, names=names), estimator.score(x, theta, names=names)
    return loss(log_r, t, held_out, train.theta0.std(axis=0))


def their_loss(folder: Path, train: Samples, held_out: Samples) -> float:
    """Return the loss of what `madminer_alices` wrote."""
    log_r, t = (np.load(folder / "held_out" / f"{name}.npy") for name in ("log_r", "t"))
    return loss(log_r, t, held_out, train.theta0.std(axis=0))
