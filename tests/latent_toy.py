"""A toy with a latent variable and a known likelihood: z ~ N(theta, 1), x = z + N(0, 1), and a second, useless feature.

p(x | theta) is N(theta, sqrt 2), so that log r(x | theta, 0) = theta x / 2 - theta^2 / 4 and t(x | theta) =
(x - theta) / 2, while the joint ratio and score know z: log r_xz = theta z - theta^2 / 2 and t_xz = z - theta.
"""

from __future__ import annotations

import numpy as np

from columnminer.sample.samples import Samples

FEATURES = ("noise", "x")


def log_ratio(x, theta):
    return theta * x / 2.0 - theta**2 / 4.0


def score(x, theta):
    return (x - theta) / 2.0


def ratio_samples(n: int, seed: int = 0, **changes) -> Samples:
    """Half of the events at theta ~ N(0, 1), half at 0."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=n)
    y = (np.arange(n) % 2).astype(float)
    z = rng.normal(np.where(y == 0, theta, 0.0))
    x = np.stack([rng.normal(size=n), rng.normal(z)], axis=1)
    arrays = {
        "x": x,
        "theta0": theta[:, None],
        "theta1": np.zeros((n, 1)),
        "y": y,
        "r_xz": np.exp(theta * z - theta**2 / 2.0),
        "t_xz": (z - theta)[:, None],
    }
    return Samples(
        **(arrays | changes), feature_names=FEATURES, parameter_names=("mean",), store_hash="toy", partition="train"
    )


def double_samples(n: int, seed: int = 0) -> Samples:
    """Both points vary: theta0 ~ N(0, 1), theta1 ~ N(0, 0.7)."""
    rng = np.random.default_rng(seed)
    theta0, theta1 = rng.normal(size=n), rng.normal(scale=0.7, size=n)
    y = (np.arange(n) % 2).astype(float)
    z = rng.normal(np.where(y == 0, theta0, theta1))
    return Samples(
        x=np.stack([rng.normal(size=n), rng.normal(z)], axis=1),
        theta0=theta0[:, None],
        theta1=theta1[:, None],
        y=y,
        r_xz=np.exp((theta0 - theta1) * z - (theta0**2 - theta1**2) / 2.0),
        t_xz=(z - theta0)[:, None],
        t_xz1=(z - theta1)[:, None],
        feature_names=FEATURES,
        parameter_names=("mean",),
        store_hash="toy",
        partition="train",
    )


def local_samples(n: int, theta: float = 0.5, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    z = rng.normal(theta, size=n)
    return Samples(
        x=np.stack([rng.normal(size=n), rng.normal(z)], axis=1),
        theta0=np.full((n, 1), theta),
        t_xz=(z - theta)[:, None],
        feature_names=FEATURES,
        parameter_names=("mean",),
        store_hash="toy",
        partition="train",
    )


def held_out(n: int = 4000, seed: int = 99) -> tuple[np.ndarray, np.ndarray]:
    """Events from the mixture of both classes, and their theta."""
    s = ratio_samples(n, seed)
    return s.x, s.theta0
