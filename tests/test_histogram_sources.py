"""Histograms of other packages as sources: the likelihood of a hand-made model, and grids of anchors."""

from __future__ import annotations

import hist
import numpy as np
import pytest
from scipy import stats

import columnminer as cm
from columnminer.errors import InputError
from columnminer.infer.histogram_sources import axes_of, histogram_source
from columnminer.infer.templates import TemplateLikelihood

EDGES = [0.0, 1.0, 2.0, 4.0]


def filled(*contents: float) -> hist.Hist:
    made = hist.Hist(hist.axis.Variable(EDGES, name="x"))
    made.view()[...] = contents
    return made


def test_hist_objects_make_a_likelihood() -> None:
    parameters = [
        cm.Parameter("r", 1.0, kind="rate", fit_limits=(0, None)),
        cm.Parameter("shift", 0.0, kind="shape", anchors=(-1, 0, 1)),
    ]
    signal = histogram_source("signal", filled(0, 2, 2), rate="r", exposure=2.0)
    shifted = {1.0: filled(8, 4, 0), -1.0: filled(4, 4, 4), 0: filled(6, 4, 2)}
    background = histogram_source("background", shifted, shapes="shift")
    model = TemplateLikelihood("t", axes_of(filled(1, 1, 1)), [signal, background], parameters, binned=True)
    point = {"r": 1.5, "shift": 0.5}
    # All three backgrounds have twelve events, so interpolating densities is interpolating contents.
    mean = 1.5 * 2 * np.array([0, 2, 2]) + np.array([7, 4, 1])
    np.testing.assert_allclose(model.expected(point), mean)
    counts = np.array([7.0, 9.0, 8.0])
    assert model.log_likelihood(point, counts) == pytest.approx(stats.poisson(mean).logpmf(counts).sum())


def test_several_parameters_need_a_grid_of_anchors() -> None:
    corners = {(a, b): filled(1 + a, 1 + b, 1) for a in (0, 1) for b in (0, 2)}
    source = histogram_source("s", corners, shapes=("a", "b"))
    assert source.events.tolist() == [[3, 5], [4, 6]]
    del corners[(1, 2)]
    with pytest.raises(InputError, match=r"'s': anchors must form a grid; there is no histogram for \(1.0, 2.0\)"):
        histogram_source("s", corners, shapes=("a", "b"))
    with pytest.raises(InputError, match="one for each anchor"):
        histogram_source("s", corners, shapes="a")
    with pytest.raises(InputError, match="one for each anchor"):
        histogram_source("s", {}, shapes="a")


def test_wrong_histograms_are_refused() -> None:
    with pytest.raises(InputError, match=r"'s': bin \(1,\) of the template is negative"):
        histogram_source("s", filled(1, -1, 1))
    other = hist.Hist(hist.axis.Variable([0.0, 1.0, 3.0, 4.0], name="x"))
    with pytest.raises(InputError, match=r"'s': .* these edges differ"):
        histogram_source("s", {0: filled(1, 1, 1), 1: other}, shapes="a")
