"""Additional points of the double ratio: every pair has both classes, with the gold of its own hypotheses."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_store import analytic_store, density, score, sigma
from mixed_store import mixed_store

from columnminer import flat_prior, sample_double_ratio
from columnminer.errors import InputError

N = 60_000
A, B, C = 0.8, -0.4, 0.2


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return analytic_store(tmp_path_factory.mktemp("stores") / "signal.zarr")


@pytest.fixture(scope="module")
def sample(store):
    return sample_double_ratio(store, [[A]], [[B]], N, additional=[[C]], seed=3, dtype=np.float64)


def pair(sample, theta0, theta1):
    return sample.take((sample.theta0[:, 0] == theta0) & (sample.theta1[:, 0] == theta1))


def sigmas(values):
    """Mean over its own error."""
    return float(np.abs(values.mean()) / (values.std() / np.sqrt(len(values))))


def test_all_pairs_have_both_classes_alike(sample):
    assert len(sample) == N
    for hypotheses in ((A, B), (A, C), (C, B)):
        one = pair(sample, *hypotheses)
        assert len(one) == N // 3
        assert (one.y == 0).sum() == (one.y == 1).sum() == N // 6
    assert len(np.unique(sample.x, axis=0)) < N * 0.6  # every event is there twice, or more


def test_gold_of_every_pair_is_that_of_its_hypotheses(sample, store):
    """Without a latent variable the joint ratio and scores are the exact ones."""
    x, theta0, theta1 = sample.x[:, 0], sample.theta0[:, 0], sample.theta1[:, 0]

    def normalised(theta):
        return density(x, theta) * sigma(theta) / store.xsec(theta[:, None], partition="train").value

    def shift(theta):
        xsec = store.xsec(theta[:, None], partition="train").value
        return theta / 6 / sigma(theta) - store.xsec_gradients(theta[:, None], partition="train")[:, 0] / xsec

    np.testing.assert_allclose(sample.r_xz, normalised(theta0) / normalised(theta1), rtol=1e-9)
    np.testing.assert_allclose(sample.t_xz[:, 0], score(x, theta0) + shift(theta0), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(sample.t_xz1[:, 0], score(x, theta1) + shift(theta1), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("hypotheses", [(A, B), (A, C), (C, B)])
def test_labels_say_where_events_were_drawn(sample, hypotheses):
    """E[r] = 1 and E[t1] = 0 under the denominator, E[1/r] = 1 and E[t0] = 0 under the numerator, of each pair."""
    one = pair(sample, *hypotheses)
    numerator, denominator = one.take(one.y == 0), one.take(one.y == 1)
    assert sigmas(denominator.r_xz - 1) < 4
    assert sigmas(denominator.t_xz1[:, 0]) < 4
    assert sigmas(1 / numerator.r_xz - 1) < 4
    assert sigmas(numerator.t_xz[:, 0]) < 4
    # The other way round nothing of it holds.
    assert sigmas(numerator.r_xz - 1) > 6
    assert sigmas(denominator.t_xz[:, 0]) > 6


@pytest.mark.parametrize("hypotheses", [(A, B), (A, C), (C, B)])
def test_a_label_has_the_probability_that_cross_entropies_learn(sample, hypotheses):
    """Among events of a pair, y = 1 has probability 1 / (1 + r): so says a fit of y, but not with one class alone."""
    one = pair(sample, *hypotheses)
    probability = 1 / (1 + one.r_xz)
    assert sigmas(one.y - probability) < 4
    assert sigmas((one.y - probability) * one.x[:, 0]) < 4
    alone = one.take(one.y == 0)
    assert sigmas(alone.y - 1 / (1 + alone.r_xz)) > 20


@pytest.mark.filterwarnings("ignore:negative weights")
def test_additional_points_from_a_prior_with_nuisance_parameters(tmp_path):
    mixed = mixed_store(tmp_path / "mixed.zarr")
    sample = sample_double_ratio(
        mixed, [[0.4]], "sm", 600, additional=flat_prior([(-1.0, 1.0)]), nu_additional=[[0.5, 1.0]], n_theta=5, seed=1
    )
    assert sample.parameter_names == ("c", "rate", "shape")
    third = sample.theta1[(sample.theta0[:, 0] == np.float32(0.4)) & (sample.theta1[:, 0] != 0)]
    assert len(np.unique(third[:, 0])) == 5
    assert (third[:, 1:] == [0.5, 1.0]).all()
    assert np.isfinite(sample.r_xz).all()
    assert sample.n_eff.shape == (1 + 1 + 5,)


def test_too_few_rows_are_refused(store):
    with pytest.raises(InputError, match="n must be 6 or more, not 5"):
        sample_double_ratio(store, "one", "zero", 5, additional="minus")
    assert len(sample_double_ratio(store, "one", "zero", 7, additional="minus")) == 6
