"""Template likelihoods like those of dark matter searches, small and quick."""

from __future__ import annotations

import numpy as np

from columnminer.infer.templates import TemplateLikelihood, TemplateSource
from columnminer.model.parameters import Parameter

ANCHORS = (-2.0, -1.0, 0.0, 1.0, 2.0)


def wimps(n_background=130.0, shape_kind="shape"):
    """A signal of 15 events over a background whose shape has anchors, and a flat one: four parameters."""
    edges = np.linspace(0.0, 1.0, 16)
    x, y = np.meshgrid(*[0.5 * (edges[1:] + edges[:-1])] * 2, indexing="ij")

    def normalised(density):
        return density / density.sum(axis=(-2, -1), keepdims=True)

    signal = normalised(np.exp(-(((x - 0.4) / 0.15) ** 2) - ((y - 0.3) / 0.1) ** 2) + 1e-6)
    shapes = [np.exp(-x * (1.0 + 0.3 * a + 0.05 * a * a)) * (1.0 + 0.3 * y * (1.0 + 0.2 * a)) for a in ANCHORS]
    sources = [
        TemplateSource("signal", signal, np.array(15.0), rate="mu"),
        TemplateSource(
            "background",
            normalised(np.stack(shapes)),
            n_background * np.array([0.93, 0.96, 1.0, 1.02, 1.05]),
            shapes=("shape",),
            rate="background_rate",
        ),
        TemplateSource("flat", normalised(np.ones_like(x)), np.array(10.0), rate="flat_rate"),
    ]
    constraint = None if shape_kind == "index" else 1.0
    parameters = [
        Parameter("mu", 1.0, kind="rate", fit_limits=(0.0, None)),
        Parameter("background_rate", 1.0, kind="rate", fit_limits=(0.0, None), constraint=0.1),
        Parameter("flat_rate", 1.0, kind="rate", fit_limits=(0.0, None), constraint=0.2),
        Parameter("shape", 0.0, kind=shape_kind, anchors=ANCHORS, fit_limits=(-2.0, 2.0), constraint=constraint),
    ]
    return TemplateLikelihood("search", {"x": edges, "y": edges}, sources, parameters).constrained()
