"""Joint ratio and joint score: against closed forms, and by what their means must be."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_store import POINTS, analytic_store, density, score, sigma

from columnminer.errors import MissingError
from columnminer.model.priors import fixed_points, flat_prior
from columnminer.model.setup import Setup
from columnminer.sample.augment import joint_ratio, joint_score
from columnminer.sample.sampling import sample_double_ratio, sample_local, sample_plain, sample_ratio

N = 60_000


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return analytic_store(tmp_path_factory.mktemp("stores") / "signal.zarr")


def sigmas(values):
    """Mean over its own error."""
    return np.abs(values.mean(axis=0)) / (values.std(axis=0) / np.sqrt(len(values)))


def test_gold_is_what_the_formulas_say_for_any_weights():
    """Quadratic weights W = (1, theta, theta^2) . c with random c: ratio and score from the definition."""
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.5, 1.0, size=(20, 3)) * [3.0, 1.0, 1.0]
    totals = np.stack([weights.sum(axis=0), 2.0 * weights.sum(axis=0)])
    theta0, theta1 = np.array([0.3, -0.4]), np.array([0.0, 0.7])
    point = rng.integers(0, 2, size=20)

    def powers(theta):
        return np.stack([np.ones(2), theta, theta**2], axis=1)

    def probability(theta):
        """W / sigma of each event, for its own point."""
        scale = (totals @ powers(theta).T).diagonal()
        return np.einsum("nb,nb->n", weights, powers(theta)[point]) / scale[point]

    r = joint_ratio(weights, totals, powers(theta0), powers(theta1), point)
    np.testing.assert_allclose(r, probability(theta0) / probability(theta1), rtol=1e-12)
    slopes = np.stack([np.zeros(2), np.ones(2), 2.0 * theta0], axis=1)[:, None]
    t = joint_score(weights, totals, powers(theta0), slopes, point)
    step = 1e-6
    numeric = (np.log(probability(theta0 + step)) - np.log(probability(theta0 - step))) / (2 * step)
    np.testing.assert_allclose(t[:, 0], numeric, atol=1e-8)


def test_gold_without_a_latent_variable_is_the_exact_ratio_and_score(store):
    """In this store, weights are functions of x: up to the cross sections of the drawn partition, gold is exact."""
    sample = sample_ratio(store, flat_prior([(-1.0, 1.0)]), "one", N, n_theta=50, seed=1, dtype=np.float64)
    x, theta = sample.x[:, 0], sample.theta0[:, 0]
    xsec = store.xsec(sample.theta0, partition="train").value / store.xsec("one", partition="train").value
    exact = density(x, theta) / density(x, 1.0) * sigma(theta) / sigma(1.0) / xsec
    np.testing.assert_allclose(sample.r_xz, exact, rtol=1e-9)
    slope = (
        store.xsec_gradients(sample.theta0, partition="train")[:, 0]
        / store.xsec(sample.theta0, partition="train").value
    )
    expected = score(x, theta) + theta / 6.0 / sigma(theta) - slope
    np.testing.assert_allclose(sample.t_xz[:, 0], expected, rtol=1e-8, atol=1e-9)
    np.testing.assert_array_equal(sample.theta1, 1.0)


@pytest.mark.parametrize("background", [0.0, 0.4])
@pytest.mark.parametrize("closest", [False, True])
def test_means_of_the_gold(tmp_path, background, closest):
    """E[r] = 1 under theta1, E[1 / r] = 1 and E[t] = 0 under theta0; none of it under the other class."""
    store = analytic_store(tmp_path / "store.zarr", background=background)
    sample = sample_ratio(store, [[0.8]], [[-0.6]], 2 * N, seed=2, closest_benchmark=closest)
    numerator, denominator = sample.take(sample.y == 0), sample.take(sample.y == 1)
    assert len(numerator) == len(denominator) == N
    assert sigmas(denominator.r_xz - 1.0) < 4
    assert sigmas(1.0 / numerator.r_xz - 1.0) < 4
    assert sigmas(numerator.t_xz) < 4
    assert sigmas(numerator.r_xz - 1.0) > 20
    assert sigmas(denominator.t_xz) > 20


def test_local_score_has_mean_zero_only_where_it_was_drawn(store):
    sample = sample_local(store, [0.5], N, seed=3)
    assert sigmas(sample.t_xz) < 4
    np.testing.assert_array_equal(sample.theta0, 0.5)
    elsewhere = sample_plain(store, [0.0], N, seed=3)
    assert sigmas(score(elsewhere.x[:, 0], 0.5)) > 20


def test_double_ratio_has_both_scores(store):
    prior = fixed_points([[0.2], [-0.5], [0.9]])
    sample = sample_double_ratio(store, prior, fixed_points([[0.0], [0.4]]), N, seed=4)
    pairs = {tuple(p) for p in np.stack([sample.theta0[:, 0], sample.theta1[:, 0]], axis=1).round(3).tolist()}
    assert len(pairs) == 3  # paired in turn: (0.2, 0), (-0.5, 0.4), (0.9, 0)
    numerator, denominator = sample.take(sample.y == 0), sample.take(sample.y == 1)
    assert sigmas(numerator.t_xz) < 4
    assert sigmas(denominator.t_xz1) < 4
    assert sigmas(denominator.r_xz - 1.0) < 4


def test_backgrounds_dilute_ratio_and_score(tmp_path):
    store = analytic_store(tmp_path / "store.zarr", background=3.0)
    sample = sample_ratio(store, [[1.0]], [[0.0]], 20_000, seed=5)
    flat = np.unique(sample.t_xz.round(5), return_counts=True)[1].max()  # backgrounds all have t = - grad log sigma
    assert 0.6 < flat / len(sample) < 0.8


def test_without_gradients_there_is_no_score_and_no_local_sample(store, monkeypatch):
    bare = Setup(store.setup.space, {name: {"theta": value} for name, value in POINTS.items()})
    monkeypatch.setitem(vars(store), "setup", bare)
    sample = sample_ratio(store, "one", "zero", 100)
    assert sample.t_xz is None
    assert sample.r_xz is not None
    with pytest.raises(MissingError, match="gradients need morphing"):
        sample_local(store, "one", 100)
