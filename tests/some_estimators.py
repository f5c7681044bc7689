"""An estimator of every kind, trained on few events of toys, and inputs for it: for tests of what they all can."""

from __future__ import annotations

import dataclasses

import numpy as np
from drellyan_store import drellyan_store
from latent_toy import double_samples, local_samples, ratio_samples

from columnminer.generate.drellyan import DrellYan
from columnminer.learn.estimators import (
    DensityEstimator,
    DoubleRatioEstimator,
    MorphingRatioEstimator,
    QuadraticRatioEstimator,
    RatioEstimator,
    ScoreEstimator,
)
from columnminer.model.priors import flat_prior
from columnminer.sample.sampling import sample_ratio

FAST = {"epochs": 3, "batch_size": 128, "learning_rate": 0.02, "seed": 1}
BOUND = 0.1
SCALE, SHIFT = np.array([1.0, 10.0]), np.array([0.0, 300.0])

KINDS = {
    "ratio": RatioEstimator,
    "double": DoubleRatioEstimator,
    "score": ScoreEstimator,
    "quadratic": QuadraticRatioEstimator,
    "morphing": MorphingRatioEstimator,
    "maf": DensityEstimator,
    "spline": DensityEstimator,
}
INPUTS = dict.fromkeys(KINDS, ("x", "theta")) | {"double": ("x", "theta0", "theta1"), "score": ("x",)}
_DENSITY = {
    "maf": {"flow": "maf", "base": "mixture", "n_transforms": 2},
    "spline": {"flow": "spline", "n_transforms": 1, "n_bins": 3},
}


def training_samples(folder):
    """Samples for every kind; a store is written into the folder."""
    ratio, store = ratio_samples(4000), drellyan_store(folder / "events", DrellYan(bound=BOUND), 5000)
    polynomial = sample_ratio(store, flat_prior([(-BOUND, BOUND)] * 2), "sm", 3000, seed=1)
    numerator = ratio.take(ratio.y == 0)
    density = dataclasses.replace(numerator, x=numerator.x * SCALE + SHIFT, y=None, theta1=None, r_xz=None)
    own = {"ratio": ratio, "double": double_samples(2000), "score": local_samples(2000)}
    return own | dict.fromkeys(("quadratic", "morphing"), polynomial) | dict.fromkeys(_DENSITY, density)


def fitted(kind, samples, **settings):
    return KINDS[kind]((8, 8), **_DENSITY.get(kind, {}), **settings).fit(samples[kind], **FAST)


def numpy_value(estimator, *arrays):
    if isinstance(estimator, ScoreEstimator):
        return estimator.score(*arrays)
    return estimator.log_density(*arrays) if isinstance(estimator, DensityEstimator) else estimator.log_ratio(*arrays)


def some_inputs(kind, n=40):
    """x and the parameter points that the estimator takes, in pairs, within the training."""
    rng = np.random.default_rng(4)
    if kind in {"quadratic", "morphing"}:
        x = rng.uniform([500.0, -2.0, -1.0], [2000.0, 2.0, 1.0], (n, 3))
        return x, rng.uniform(-BOUND, BOUND, (n, 2))
    x = np.stack([rng.normal(size=n), rng.normal(size=n)], axis=1)
    if kind in _DENSITY:
        x = x * SCALE + SHIFT
    return x, *(rng.uniform(-1.0, 1.0, (n, 1)) for _ in INPUTS[kind][1:])
