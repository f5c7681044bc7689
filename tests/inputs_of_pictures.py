"""Small results whose pictures are compared: a spectrum that falls, with a coupling and three systematics."""

from __future__ import annotations

import numpy as np

from columnminer.infer.bins import Axis, Bins
from columnminer.infer.distributions import Distribution
from columnminer.infer.morphed import MorphedHistogram
from columnminer.infer.variations import Variations
from columnminer.model.parameters import Parameter, ParameterSpace
from columnminer.model.setup import Setup
from columnminer.model.systematics import NormalisationUncertainty

POINTS = {"SM": {"c": 0.0}, "c = 0.5": {"c": 0.5}, "c = -0.5": {"c": -0.5}}


def setup():
    """One coupling c, squared amplitudes up to c^2, and three systematic uncertainties."""
    space = ParameterSpace([Parameter("c", bounds=(-1.0, 1.0), max_power=2)])
    benchmarks = {"sm": {"c": 0.0}, "plus": {"c": 1.0}, "minus": {"c": -1.0}}
    sizes = {"luminosity": 0.03, "jet_energy_scale": 0.05, "pdf": 0.02}
    systematics = tuple(NormalisationUncertainty(name, size) for name, size in sizes.items())
    return Setup(space, benchmarks, systematics).with_morphing(max_overall_power=2)


def templates():
    """Mass [GeV] in 20 bins: sigma (1 + 0.6 c h + 0.8 (c h)^2) per GeV with the height h that grows with the mass."""
    edges = np.linspace(500.0, 1500.0, 21)
    middle = np.concatenate([[475.0], 0.5 * (edges[:-1] + edges[1:]), [1600.0]])
    height = (middle / 1000.0) ** 2
    falling = 0.4 * np.exp(-(middle - 500.0) / 220.0)
    signal = np.stack([falling * (1.0 + 0.6 * c * height + 0.8 * (c * height) ** 2) for c in (0.0, 1.0, -1.0)])
    model = setup()
    a = np.stack([np.full(22, 0.03), 0.1 * (middle - 800.0) / 700.0, 0.02 * height])
    variations = Variations(model.nuisance_parameters, a, 0.1 * a**2)
    squares = np.einsum("bk,ck->bck", signal, signal) / 400.0
    return MorphedHistogram(
        model,
        signal,
        0.05 * falling,
        Bins((Axis("m_ll", edges),)),
        variations,
        variations,
        squares,
        np.full(22, 1e-8),
    )


def spectrum():
    """The mass at three points, with toys."""
    return Distribution.from_templates(templates(), POINTS, n_toys=400, seed=3)


def observed():
    """The same in events at 300 pb^-1, with data that follow c = 0.5."""
    events = spectrum().at_luminosity(300.0)
    return events.with_counts(np.random.default_rng(5).poisson(events.value[1]))


def plane():
    """Mass and rapidity at two points, without systematics."""
    space = ParameterSpace([Parameter("c", bounds=(-1.0, 1.0), max_power=2)])
    model = Setup(space, {"sm": {"c": 0.0}, "plus": {"c": 1.0}})
    x, y = np.linspace(500.0, 1500.0, 11), np.linspace(-2.0, 2.0, 9)
    mass, rapidity = np.arange(450.0, 1600.0, 100.0), np.linspace(-2.25, 2.25, 10)
    signal = np.exp(-(mass[:, None] - 500.0) / 300.0 - rapidity**2)
    both = np.stack([signal.ravel(), (signal * (mass[:, None] / 500.0)).ravel()])
    bins = Bins((Axis("m_ll", x), Axis("y_ll", y)))
    points = {"SM": "sm", "c = 1": "plus"}
    return Distribution.from_templates(MorphedHistogram(model, both, np.zeros(bins.size), bins), points)
