"""How far a training reaches in theta, and the warning beyond."""

from __future__ import annotations

import dataclasses
import warnings

import analytic_store as analytic
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_toy import local_samples, ratio_samples

from columnminer.errors import ColumnMinerWarning
from columnminer.generate.drellyan import DrellYan
from columnminer.learn.census import Census
from columnminer.learn.reach import Reach, SquaredMorphingWeight, warn_if_far
from columnminer.model.crosssection import CrossSectionPolynomial
from columnminer.model.priors import flat_prior
from columnminer.sample.sampling import sample_ratio

NAMES = ("a", "b")
BOX = Reach(np.array([-1.0, 10.0]), np.array([1.0, 30.0]))


def said(reach, *points, names=NAMES):
    return reach.warning(np.array(points, dtype=np.float64), names)


@pytest.mark.parametrize("background", [0.0, 3.0])
@pytest.mark.parametrize("constant", [True, False])
def test_squared_weights_are_those_of_the_morphing(background, constant):
    setup = DrellYan(bound=0.1).setup()
    if not constant:  # without a constant component a background adds one, which is not morphed
        setup = setup.with_morphing(components=[row for row in setup.morphing.components.tolist() if any(row)])
    morphing = setup.morphing
    xsec = CrossSectionPolynomial.of(morphing, np.ones(len(setup.benchmark_names)), background)
    assert len(xsec.components) == len(morphing.components) + (background > 0 and not constant)
    points = np.random.default_rng(0).normal(size=(50, 2))
    expected = setup.squared_weights(points)
    assert expected.max() > 100 * expected.min()
    np.testing.assert_allclose(SquaredMorphingWeight.of(xsec).values(points), expected, rtol=1e-6)


def test_what_lies_inside_or_just_outside_is_not_warned_about():
    assert said(BOX, [0.0, 20.0], [-1.0, 30.0], [1.19, 8.1]) is None
    assert said(BOX, [0.0, 20.0], [1.21, 20.0]) is not None
    assert said(BOX, [0.0, 7.9]) is not None


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-50, 90)), min_size=1, max_size=8), st.floats(1e-3, 1e3))
def test_units_of_parameters_do_not_matter(points, unit):
    scale = np.array([unit, 1.0])
    other = Reach(BOX.low * scale, BOX.high * scale)
    np.testing.assert_allclose(other.excess(points * scale), BOX.excess(np.array(points)), rtol=1e-6, atol=1e-6)


def test_the_farthest_point_is_named():
    text = said(BOX, [0.0, 20.0], [2.0, 20.0], [0.5, -30.0])
    assert text == (
        "2 of 3 parameter points lie outside those of the training: a = 0.5, b = -30 is beyond b 10 to 30, "
        "by 2 times that range"
    )


def test_a_parameter_that_did_not_vary_reaches_nowhere():
    flat = Reach(np.array([-1.0, 0.1]), np.array([1.0, 0.1]))
    assert said(flat, [0.0, np.float32(0.1)]) is None
    text = said(flat, [0.0, 0.11])
    assert text is not None
    assert text.endswith("is beyond b 0.1 to 0.1")


def test_samples_know_their_reach_and_their_weights(tmp_path):
    store = analytic.analytic_store(tmp_path / "events", 4000)
    samples = sample_ratio(store, flat_prior([(-0.5, 0.5)]), [1.5], 2000, seed=1)
    reach = Reach.of(Census(samples, None, "carl"))
    assert -0.5 <= reach.low[0] < -0.49
    assert reach.high[0] == 1.5  # the denominator counts
    assert reach.largest == pytest.approx(store.setup.squared_weights([[1.5]])[0], rel=1e-6)
    assert reach.largest > store.setup.squared_weights([[0.5]])[0]

    training = {"method": "carl", "reach": reach.to_dict()}
    there = store.setup.squared_weights([[4.0]])[0]
    match = rf"1 of 2 .* theta = 4 is .* squared morphing weight is {there:.3g} there, {reach.largest:.3g} at"
    with pytest.warns(ColumnMinerWarning, match=match) as caught:
        warn_if_far(np.array([[0.0], [4.0]]), training, ["theta"], stacklevel=2)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_far(np.array([[0.0], [1.6]]), training, ["theta"])
        warn_if_far(np.array([[4.0]]), {"method": "carl"}, ["theta"])
        warn_if_far(np.empty((0, 1)), training, ["theta"])


def test_without_morphing_only_the_distance_is_known():
    samples = ratio_samples(500)
    reach = Reach.of(Census(samples, None, "carl"))
    assert reach.squared_weight is None
    text = Reach.from_dict(reach.to_dict()).warning(np.array([[9.0]]), ["mean"])
    assert text is not None
    assert "morphing" not in text
    at_one_point = Reach.of(Census(local_samples(50), None, "sally"))
    np.testing.assert_array_equal([at_one_point.low, at_one_point.high], [[0.5], [0.5]])
    without = dataclasses.replace(samples, theta0=None, theta1=None)
    assert Reach.of(Census(without, None, "carl")) is None
