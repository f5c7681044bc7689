"""Ratios between any two points with the denominator held: the same numbers, on pairs and on the grid."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from latent_toy import double_samples, local_samples, log_ratio

from columnminer.errors import ColumnMinerWarning, InputError, MissingError
from columnminer.infer.estimates import RatioLike, gives_ratio
from columnminer.learn.denominators import at_nominal, ratio_to
from columnminer.learn.ensembles import Ensemble
from columnminer.learn.estimators import DoubleRatioEstimator, ScoreEstimator

X = np.random.default_rng(7).normal(size=(40, 2)) * [1.0, 1.4]
THETA = np.array([[-0.5], [0.2], [0.8]])


@pytest.fixture(scope="module")
def double():
    return DoubleRatioEstimator((20, 20)).fit(double_samples(20_000), "alices", epochs=5, seed=1)


def test_the_ratio_to_a_point_is_the_difference_of_known_ratios(double):
    ratio = double.ratio_to([0.3])
    assert isinstance(ratio, RatioLike)
    assert gives_ratio(ratio)
    found = ratio.log_ratio(X, THETA, pairing="grid")
    x, known = X[:, 1], np.empty((3, 40))
    for row, (theta,) in zip(known, THETA, strict=True):
        row[:] = log_ratio(x, theta) - log_ratio(x, 0.3)
    rms = np.sqrt(np.mean((found - known) ** 2))
    assert rms < 0.3 * known.std()
    elsewhere = double.ratio_to([-0.7]).log_ratio(X, THETA, pairing="grid")
    assert np.sqrt(np.mean((elsewhere - known) ** 2)) > 2 * 0.3 * known.std(), "another denominator is another ratio"


def test_the_grid_holds_all_pairs(double):
    ratio = double.ratio_to([0.3])
    for what, shape in (("log_ratio", (3, 40)), ("score", (3, 40, 1))):
        grid = getattr(ratio, what)(X, THETA, pairing="grid")
        assert grid.shape == shape
        pairs = [getattr(ratio, what)(X, theta) for theta in THETA]
        np.testing.assert_allclose(grid, pairs, rtol=1e-5, atol=1e-6)
    step = 1e-2
    slope = (ratio.log_ratio(X, THETA[1] + step) - ratio.log_ratio(X, THETA[1] - step)) / (2 * step)
    np.testing.assert_allclose(ratio.score(X, THETA[1])[:, 0], slope, atol=2e-3)
    np.testing.assert_allclose(
        ratio.log_ratio(X[:, ::-1], THETA[0], names=["x", "noise"]), ratio.log_ratio(X, THETA[0])
    )


def test_far_points_of_a_grid_are_warned_of_together(double):
    with pytest.warns(ColumnMinerWarning, match="1 of 3 parameter points lie outside") as said:
        double.log_ratio(X, [[0.0], [0.1], [50.0]], [0.0], pairing="grid")
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        double.log_ratio(X, THETA, [0.0], pairing="grid")


def test_an_ensemble_gives_the_mean_of_its_members(double):
    other = DoubleRatioEstimator((8,)).fit(double_samples(2000), "alice", epochs=1, seed=2)
    ratio = Ensemble([double, other]).ratio_to([0.3])
    single = [member.ratio_to([0.3]).log_ratio(X, THETA, pairing="grid") for member in (double, other)]
    np.testing.assert_allclose(ratio.log_ratio(X, THETA, pairing="grid"), np.mean(single, axis=0))
    assert ratio.feature_names == double.feature_names


def test_what_is_no_point_or_gives_no_free_ratio_is_refused(double):
    with pytest.raises(InputError, match="theta1 is one point with values for mean"):
        double.ratio_to([[0.0], [1.0]])
    score = ScoreEstimator((4,)).fit(local_samples(500), epochs=1)
    with pytest.raises(MissingError, match="a ScoreEstimator gives no ratios to a point of choice"):
        ratio_to(score, [0.0])


def test_points_without_nuisance_parameters_are_at_their_nominal_values():
    estimator = SimpleNamespace(parameter_names=("a", "scale", "b"), nuisance_names=("scale",))
    points = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(at_nominal(points, estimator), [[1.0, 0.0, 2.0], [3.0, 0.0, 4.0]])
    whole = np.ones((2, 3))
    assert at_nominal(whole, estimator) is whole
    assert at_nominal(points, SimpleNamespace(parameter_names=("a", "b"), nuisance_names=())) is points
