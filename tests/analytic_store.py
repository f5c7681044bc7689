"""A store whose likelihood is known in closed form: d sigma / dx = (1 + theta (x - 1/2))^2 pb on 0 < x < 1.

sigma = 1 + theta^2 / 12; the score is 2 b / (1 + theta b) - (theta / 6) / sigma with b = x - 1/2. The observables are
x, and y, uniform noise. x is spread evenly, so that sums over all events are integrals to about 1e-6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from columnminer.model.parameters import Parameter, ParameterSpace
from columnminer.model.setup import Setup
from columnminer.model.systematics import WeightVariation
from columnminer.store.partition import PartitionScheme
from columnminer.store.publish import Description, publish_events
from columnminer.store.samples import SampleInfo
from columnminer.store.weights import NuisanceColumn

if TYPE_CHECKING:
    from pathlib import Path

    from columnminer.store.eventstore import EventStore

OBSERVABLES = ("x", "y")
POINTS = {"zero": 0.0, "one": 1.0, "minus": -1.0}


def setup(systematics=()) -> Setup:
    space = ParameterSpace([Parameter("theta", bounds=(-2.0, 2.0), max_power=2)])
    benchmarks = {name: {"theta": value} for name, value in POINTS.items()}
    return Setup(space, benchmarks, systematics).with_morphing(max_overall_power=2)


def sigma(theta):
    return 1.0 + np.asarray(theta) ** 2 / 12.0


def density(x, theta):
    return (1.0 + theta * (x - 0.5)) ** 2 / sigma(theta)


def score(x, theta):
    b = x - 0.5
    return 2.0 * b / (1.0 + theta * b) - theta / 6.0 / sigma(theta)


def integral(low, high, theta):
    """Cross section between two x."""
    b_low, b_high = low - 0.5, high - 0.5
    return (b_high - b_low) + theta * (b_high**2 - b_low**2) + theta**2 * (b_high**3 - b_low**3) / 3.0


class ExactRatio:
    """What a perfect ratio estimator gives, with denominator theta = 0."""

    parameter_names = ("theta",)

    def log_ratio(self, x, theta, *, pairing="pairs", names=None):
        column = x[:, list(names or OBSERVABLES).index("x")]
        points = np.asarray(theta)[:, 0]
        points = points[:, None] if pairing == "grid" else points
        return np.log(density(column, points))

    def score(self, x, theta, *, pairing="pairs", names=None):
        column = x[:, list(names or OBSERVABLES).index("x")]
        points = np.asarray(theta).reshape(-1, 1)
        return score(column, points if pairing == "grid" else points[:, 0])[..., None]


class ExactNuisanceRatio(ExactRatio):
    """What a perfect estimator of theta and the tilt gives: the factor is exp(a nu + b nu^2), 1 +- tilt (x - 1/2)."""

    parameter_names = ("theta", "tilt")
    nuisance_names = ("tilt",)

    def __init__(self, tilt: float) -> None:
        self.tilt = tilt
        nodes, weights = np.polynomial.legendre.leggauss(40)
        self.nodes, self.node_weights = 0.5 * (nodes + 1.0), 0.5 * weights

    def _factor(self, x, nu):
        """Return log f and its derivative."""
        up, down = np.log1p(self.tilt * (x - 0.5)), np.log1p(-self.tilt * (x - 0.5))
        return 0.5 * (up - down) * nu + 0.5 * (up + down) * nu**2, 0.5 * (up - down) + (up + down) * nu

    def _moments(self, theta, nu):
        """Return the cross section, and the means of the derivatives of its logarithm."""
        b = self.nodes - 0.5
        log, slope = self._factor(self.nodes, nu)
        rate = self.node_weights * (1.0 + theta * b) ** 2 * np.exp(log)
        total = rate.sum(axis=-1)
        return total, [(rate * s).sum(axis=-1) / total for s in (2.0 * b / (1.0 + theta * b), slope)]

    def log_ratio(self, x, theta, *, pairing="pairs", names=None):
        column = x[:, list(names or OBSERVABLES).index("x")]
        t, nu = np.asarray(theta)[:, :1], np.asarray(theta)[:, 1:]
        total, _ = self._moments(t, nu)
        grid = 2.0 * np.log1p(t * (column - 0.5)) + self._factor(column, nu)[0] - np.log(total)[:, None]
        return grid if pairing == "grid" else np.diagonal(grid)

    def score(self, x, theta, *, pairing="pairs", names=None):
        column = x[:, list(names or OBSERVABLES).index("x")]
        t, nu = np.asarray(theta)[:, :1], np.asarray(theta)[:, 1:]
        b, (_, means) = column - 0.5, self._moments(t, nu)
        along = [2.0 * b / (1.0 + t * b) - means[0][:, None], self._factor(column, nu)[1] - means[1][:, None]]
        grid = np.stack(along, axis=-1)
        return grid if pairing == "grid" else grid[range(len(x)), range(len(x))]


class ExactScore:
    """What a perfect score estimator gives."""

    parameter_names = ("theta",)

    def __init__(self, reference: float) -> None:
        self.reference = np.array([reference])

    def score(self, x, *, names=None):
        return score(x[:, list(names or OBSERVABLES).index("x")], self.reference[0])[:, None]


def events(n: int, theta: float) -> np.ndarray:
    """Evenly spread x with the density at theta = 0 or 1."""
    u = (np.arange(n) + 0.5) / n
    return u if theta == 0.0 else np.cbrt(3.25 * u + 0.125) - 0.5


def analytic_store(
    out: Path, n: int = 20_000, *, background: float = 0.0, tilt: float = 0.0, seed: int = 3
) -> EventStore:
    """Write n events at theta = 0, n / 2 at theta = 1, and n of a flat background, if it has a cross section [pb].

    With a tilt, a nuisance parameter "tilt" multiplies signal weights by 1 + tilt (x - 1/2) at +1 and 1 - ... at -1.
    """
    the_setup = setup([WeightVariation("tilt", "up", "down")] if tilt else ())
    rng = np.random.default_rng(seed)
    parts = [("zero", n, 0.0), ("one", n // 2, 1.0)] + [("flat", n, None)] * (background > 0.0)
    x_all, weights, sample = [], [], []
    for i, (_, n_sample, theta) in enumerate(parts):
        x = events(n_sample, theta or 0.0)
        if theta is None:
            rows = np.full((n_sample, len(POINTS)), background / n_sample)
        else:
            b = (x - 0.5)[:, None]
            ratio = (1.0 + np.array(list(POINTS.values())) * b) ** 2 / (1.0 + theta * b) ** 2
            rows = sigma(theta) / n_sample * ratio
        x_all.append(np.stack([x, rng.uniform(size=n_sample)], axis=1))
        weights.append(rows)
        sample.append(np.full(n_sample, i, dtype=np.int32))
    observables, rows, samples = np.concatenate(x_all), np.concatenate(weights), np.concatenate(sample)
    order = rng.permutation(len(observables))
    scheme = PartitionScheme()
    codes = scheme.assign(rng.uniform(size=len(order)))
    description = Description(
        setup=the_setup,
        observables=OBSERVABLES,
        samples=tuple(
            SampleInfo(
                name=name,
                benchmark=None if theta is None else name,
                background=theta is None,
                n_generated=n_sample,
                n_events=n_sample,
                files=(),
            )
            for name, n_sample, theta in parts
        ),
        partition=scheme,
        nuisances=(NuisanceColumn("tilt", "tilt", 0, 1),) if tilt else (),
    )
    change = np.where(samples == 2, 0.0, tilt * (observables[:, 0] - 0.5))[:, None]
    varied = rows[:, :1] * (1.0 + change * np.array([1.0, -1.0]))
    table = {
        "observables": observables[order],
        "weights": rows[order],
        "nuisance_weights": varied[order] if tilt else np.zeros((len(order), 0)),
        "sample": samples[order],
        "event": np.arange(len(order)),
    }
    return publish_events(out, description, iter([table]), codes)


def recorded_store(out: Path, x: np.ndarray) -> EventStore:
    """Write events (n, 2) as if they had been recorded."""
    n = len(x)
    sample = SampleInfo(name="data", benchmark=None, background=False, data=True, n_generated=n, n_events=n, files=())
    description = Description(setup(), OBSERVABLES, (sample,), PartitionScheme(), recorded=True)
    table = {
        "observables": x,
        "weights": np.zeros((n, 0)),
        "nuisance_weights": np.zeros((n, 0)),
        "sample": np.zeros(n, dtype=np.int32),
        "event": np.arange(n),
    }
    return publish_events(out, description, iter([table]), np.zeros(n, dtype=np.uint8))
