"""Template likelihoods small enough to be written out with numpy and scipy, in one and two dimensions."""

from __future__ import annotations

import numpy as np

from columnminer.infer.templates import TemplateLikelihood, TemplateSource
from columnminer.model.parameters import Parameter

RATE = Parameter("er_rate", 1.0, kind="rate", constraint=0.2, fit_limits=(0.0, None))
SIGNAL = Parameter("wimp_rate", 1.0, kind="rate", fit_limits=(0.0, None))
EFFICIENCY = Parameter("efficiency", 1.0, kind="efficiency", constraint=0.1, fit_limits=(0.0, 10.0))
SHIFT = Parameter(
    "shift",
    0.0,
    kind="shape",
    constraint="stats.uniform(loc=-2, scale=4)",
    anchors=(-2.0, -1.0, 0.5, 2.0),
    fit_limits=(-2.0, 2.0),
)
WIDTH = Parameter("width", 1.0, kind="shape", anchors=(0.5, 1.0, 2.0), constraint=0.3)
MODE = Parameter("mode", 1.0, kind="index", anchors=(0.0, 1.0, 2.0))
LIVETIME = Parameter("livetime", 2.0, kind="livetime", fittable=False)
MASS = Parameter("mass", 50.0, kind="needs_reinit", fittable=False)


def templates(rng, *shape, n_anchor_axes=0):
    """Random probabilities of bins, some of them zero."""
    values = rng.random(shape) * (rng.random(shape[n_anchor_axes:]) > 0.1)
    axes = tuple(range(n_anchor_axes, len(shape)))
    return values / values.sum(axis=axes, keepdims=True)


def likelihood(seed=1, bins=(5, 4), *, binned=False, name="sr0", **options):
    """Two sources, one with two shape parameters and one with an index, in a livetime other than nominal."""
    rng = np.random.default_rng(seed)
    sources = [
        TemplateSource(
            "er",
            templates(rng, 4, 3, *bins, n_anchor_axes=2),
            rng.uniform(20.0, 40.0, (4, 3)),
            ("shift", "width"),
            "er_rate",
        ),
        TemplateSource(
            "wimp",
            templates(rng, 3, *bins, n_anchor_axes=1),
            rng.uniform(5.0, 10.0, 3),
            ("mode",),
            "wimp_rate",
            "efficiency",
        ),
    ]
    axes = {f"x{i}": np.concatenate([[0.0], np.cumsum(rng.uniform(0.5, 2.0, n))]) for i, n in enumerate(bins)}
    parameters = [SIGNAL, RATE, EFFICIENCY, SHIFT, WIDTH, MODE, LIVETIME]
    return TemplateLikelihood(name, axes, sources, parameters, binned=binned, exposures={"livetime": 1.5}, **options)


def random_points(like, rng, n):
    """Points within the anchors, the index at one of its own."""
    columns = {
        "wimp_rate": rng.uniform(0.1, 3.0, n),
        "er_rate": rng.uniform(0.5, 1.5, n),
        "efficiency": rng.uniform(0.5, 1.5, n),
        "shift": rng.uniform(-2.0, 2.0, n),
        "width": rng.uniform(0.5, 2.0, n),
        "mode": rng.integers(0, 3, n).astype(float),
        "livetime": rng.uniform(1.0, 3.0, n),
    }
    return np.column_stack([columns[name] for name in like.names])
