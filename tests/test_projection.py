from __future__ import annotations

import numpy as np
import pytest
from analytic_store import OBSERVABLES, ExactRatio, ExactScore, analytic_store, density
from drellyan_store import drellyan_store

from columnminer.errors import InputError
from columnminer.generate.drellyan import DrellYan
from columnminer.infer.limits import Grid, expected_limits
from columnminer.infer.projection import ScoreProjection


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return analytic_store(tmp_path_factory.mktemp("store") / "events.zarr")


def test_the_ratio_is_the_exact_one_where_the_score_is_sufficient(store):
    """In this model the score is monotonic in x, so that its histograms lose nothing but what is within a bin."""
    projection = ScoreProjection(store, ExactScore(0.0), n_bins=50, partition="all")
    x = np.column_stack([np.linspace(0.005, 0.995, 400), np.zeros(400)])
    theta = np.array([[-1.0], [0.5], [1.0]])
    ours = projection.log_ratio(x, theta, pairing="grid", names=OBSERVABLES)
    exact = np.log(density(x[:, 0], theta))
    assert np.sqrt(np.mean((ours - exact) ** 2)) < 0.04  # the width of a bin
    np.testing.assert_array_equal(projection.log_ratio(x, [[0.0]], names=OBSERVABLES), 0.0)
    pairs = projection.log_ratio(x[:3], theta, names=OBSERVABLES)
    np.testing.assert_array_equal(pairs, ours[[0, 1, 2], [0, 1, 2]])


def test_limits_are_those_of_the_exact_ratio(store):
    grid = Grid([(-1.0, 1.0, 11)])
    exact = expected_limits(store, ExactRatio(), [0.6], grid, 300.0)
    ours = expected_limits(store, ScoreProjection(store, ExactScore(0.0)), [0.6], grid, 300.0)
    np.testing.assert_allclose(ours.log_ratio, exact.log_ratio, rtol=0.05, atol=0.5)
    assert ours.best_fit == pytest.approx(exact.best_fit, abs=0.21)
    wrong = expected_limits(store, ScoreProjection(store, Mirrored(0.0)), [0.6], grid, 300.0)
    np.testing.assert_allclose(wrong.log_ratio, ours.log_ratio, rtol=0.05, atol=0.5)  # a sign is not information


def test_components_along_nuisance_parameters_are_not_looked_at(tmp_path):
    class WithTilt(ExactScore):
        parameter_names = ("theta", "tilt")

        def score(self, x, *, names=None):
            return np.concatenate([super().score(x, names=names), x[:, :1]], axis=1)

    store = analytic_store(tmp_path / "tilted.zarr", 2000, tilt=0.2)
    known = WithTilt(0.0)
    known.reference = np.array([0.0, 0.0])
    x, theta = np.column_stack([np.linspace(0.01, 0.99, 50), np.zeros(50)]), [[0.5], [-1.0]]
    ours = ScoreProjection(store, known).log_ratio(x, theta, pairing="grid", names=OBSERVABLES)
    alone = ScoreProjection(store, ExactScore(0.0)).log_ratio(x, theta, pairing="grid", names=OBSERVABLES)
    np.testing.assert_array_equal(ours, alone)


def test_further_axes_lie_across_and_tell_more(tmp_path):
    """Of two parameters: far along one of them, the component of the score across adds what the projection lacks."""
    model = DrellYan(bound=0.1)
    store = drellyan_store(tmp_path / "events.zarr", model, 20_000)

    class Score:
        parameter_names = model.parameter_names
        reference = model.reference

        def score(self, x, *, names=None):
            return model.score(x, names=names)

    options = {"theta_true": "sm", "grid": [[0.0, 0.0], [0.05, 0.05], [-0.05, 0.05]], "luminosity": 3000.0}
    exact, alone, both = (
        expected_limits(store, what, include_rate=False, **options).log_ratio
        for what in (model, ScoreProjection(store, Score(), n_bins=20), ScoreProjection(store, Score(), n_bins=(20, 5)))
    )
    assert (exact[1:] < both[1:]).all()  # histograms tell less than all there is to know
    assert (both[1:] < 1.5 * alone[1:]).all()
    projection = ScoreProjection(store, Score(), n_bins=(20, 5))
    theta = np.array([0.04, 0.03])
    assert projection.bins_at(theta).shape == (20, 5)
    scores = np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]])
    along, across = projection.columns(scores, theta).T
    np.testing.assert_allclose(along, [0.8, 0.6, 1.0])
    np.testing.assert_allclose(np.abs(across), [0.6, 0.8, 0.0], atol=1e-12)
    with pytest.raises(InputError, match="no 3 directions"):
        ScoreProjection(store, Score(), n_bins=(5, 5, 5))


class Mirrored(ExactScore):
    def score(self, x, *, names=None):
        return -super().score(x, names=names)


def test_a_score_that_knows_nothing_gives_no_limits(store):
    class Noise(ExactScore):
        def score(self, x, *, names=None):
            return x[:, [list(names).index("y")]]

    grid = Grid([(-1.0, 1.0, 5)])
    limits = expected_limits(
        store, ScoreProjection(store, Noise(0.0), n_bins=5), [0.6], grid, 300.0, include_rate=False
    )
    informed = expected_limits(store, ExactRatio(), [0.6], grid, 300.0, include_rate=False)
    assert limits.log_ratio.min() > -1.0 > informed.log_ratio.min()


def test_errors_name_what_is_wrong(store):
    class Other(ExactScore):
        parameter_names = ("phi",)

    with pytest.raises(InputError, match="score is one of phi, the store one of theta"):
        ScoreProjection(store, Other(0.0))
    with pytest.raises(InputError, match="2 or more"):
        ScoreProjection(store, ExactScore(0.0), n_bins=1)
