"""A store with a selection variation whose likelihood is known: energies times 1 + shift nu, above a threshold.

At the energy scale 1, d sigma / dz dy = exp(-z) (1 + theta g)^2 / 2 pb with g = 0.4 y + 0.2 (z - 1), z > 0, |y| < 1;
what is seen is x = (1 + shift nu) z above 0.3, and y.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from columnminer.model.parameters import Parameter, ParameterSpace
from columnminer.model.setup import Setup
from columnminer.model.systematics import NormalisationUncertainty, SelectionVariation
from columnminer.store.partition import PartitionScheme
from columnminer.store.publish import Description, publish_events
from columnminer.store.samples import SampleInfo
from columnminer.store.weights import NuisanceColumn

if TYPE_CHECKING:
    from pathlib import Path

    from columnminer.store.eventstore import EventStore

OBSERVABLES = ("x", "y")
POINTS = {"zero": 0.0, "one": 1.0, "minus": -1.0}
THRESHOLD = 0.3
RATE = 0.05
"""Size of the uncertainty of the normalisation, a nuisance parameter of weights beside those of selections."""


def amplitude(z, y, theta):
    return 1.0 + theta * (0.4 * y + 0.2 * (z - 1.0))


def sigma(theta, scale):
    """Cross section above the threshold [pb]."""
    z, w = np.polynomial.laguerre.laggauss(20)
    z = z + THRESHOLD / scale
    y, v = np.polynomial.legendre.leggauss(10)
    table = amplitude(z[:, None], y, np.asarray(theta)[..., None, None]) ** 2
    return np.exp(-THRESHOLD / scale) * np.einsum("...zy,z,y->...", table, w, 0.5 * v)


def log_density(x, y, theta, scale=1.0):
    """Log of the density of what is seen, up to a constant."""
    z = x / scale
    return -z - np.log(scale) + 2.0 * np.log(np.abs(amplitude(z, y, theta))) - np.log(sigma(theta, scale))


class ExactRatio:
    """What a perfect estimator of theta gives, at nu = 0, with the denominator theta = 0."""

    parameter_names = ("theta",)
    feature_names = OBSERVABLES

    def log_ratio(self, x, theta, *, pairing="pairs", names=None):
        x, y = (x[:, list(names or OBSERVABLES).index(name)] for name in OBSERVABLES)
        points = np.asarray(theta)[:, 0]
        points = points[:, None] if pairing == "grid" else points
        return log_density(x, y, points) - log_density(x, y, 0.0)

    def score(self, x, theta, *, pairing="pairs", names=None):
        step = 1e-4
        theta = np.atleast_2d(theta)
        high, low = (self.log_ratio(x, theta + s, pairing=pairing, names=names) for s in (step, -step))
        return ((high - low) / (2.0 * step))[..., None]


def shifted_store(out: Path, n: int, shifts: dict[str, tuple[float, ...]], seed: int = 5) -> EventStore:
    """Write n events and their selections: `shifts` are name -> the relative shifts at nu = +1 and (if given) -1."""
    systematics = [NormalisationUncertainty("rate", RATE), *(SelectionVariation(name) for name in shifts)]
    space = ParameterSpace([Parameter("theta", bounds=(-1.0, 1.0), max_power=2)])
    setup = Setup(space, {name: {"theta": v} for name, v in POINTS.items()}, systematics)
    setup = setup.with_morphing(max_overall_power=2)
    rng = np.random.default_rng(seed)
    z, y = rng.exponential(size=n), rng.uniform(-1.0, 1.0, n)
    weights = amplitude(z[:, None], y[:, None], np.array(list(POINTS.values()))) ** 2 / n
    scheme = PartitionScheme()
    codes = scheme.assign(rng.uniform(size=n))
    sample = SampleInfo("zero", "zero", background=False, n_generated=n, n_events=n, files=())
    nuisances = (NuisanceColumn("rate", "rate", 0),)
    description = Description(setup, OBSERVABLES, (sample,), scheme, nuisances)

    def write(path, scale, **inside):
        passed = np.flatnonzero(scale * z > THRESHOLD)
        table = {
            "observables": np.stack([scale * z, y], axis=1)[passed],
            "weights": weights[passed],
            "nuisance_weights": weights[passed, :1] * (1.0 + RATE),
            "sample": np.zeros(len(passed), dtype=np.int32),
            "event": passed,
        }
        return publish_events(path, description, iter([table]), codes[passed], **inside)

    varied = {
        name: [write(out.parent / f"{name}_{i}.zarr", 1.0 + shift) for i, shift in enumerate(both)]
        for name, both in shifts.items()
    }
    return write(out, 1.0, variations=varied)
