"""Fisher information from estimators: per event, summed, of ensembles in two modes, with its covariance."""

from __future__ import annotations

import numpy as np
import pytest
from gaussian_nuisances import INFORMATION, PARAMETERS, exact_score, nuisance_samples
from latent_toy import double_samples, local_samples, ratio_samples

import columnminer as cm
from columnminer.errors import InputError, MissingError
from columnminer.learn import fisher
from columnminer.learn.estimators import (
    DensityEstimator,
    DoubleRatioEstimator,
    Ensemble,
    RatioEstimator,
    ScoreEstimator,
)

TRAINING = {"batch_size": 256, "learning_rate": 0.01, "seed": 3}


class ExactScore:
    """The score of the Gaussian toy."""

    estimates, parameter_names, reference = "score", PARAMETERS, np.zeros(4)

    def score(self, x, *, names=None):
        return exact_score(x)


@pytest.fixture(scope="module")
def x():
    return nuisance_samples(20_000, seed=1).x


@pytest.fixture(scope="module")
def members():
    samples = local_samples(6000)
    return [ScoreEstimator((6,)).fit(samples, epochs=2, **(TRAINING | {"seed": seed})) for seed in range(4)]


def test_the_exact_score_gives_the_exact_information(x):
    found = cm.fisher_information(ExactScore(), x, n_events=50.0)
    assert found.parameter_names == PARAMETERS
    known = np.ix_(range(3), range(3))
    pulls = (found.information - 50.0 * INFORMATION)[known] / found.error[known]
    assert np.abs(pulls).max() < 4.0
    assert found.error[known].max() < 2.0  # so that the pulls say something
    away = cm.fisher_information(ExactScore(), x + np.array([0.5, 0.0, 0.0]), n_events=50.0)
    assert np.abs((away.information - 50.0 * INFORMATION)[known] / away.error[known]).max() > 10.0


def test_the_covariance_is_that_of_many_draws():
    """And of weighted ones: half of the draws have three times the weight."""
    weights = np.where(np.arange(500) % 2 == 0, 1.0, 3.0)
    for w in (None, weights):
        draws = [cm.fisher_information(ExactScore(), nuisance_samples(500, s).x, weights=w) for s in range(600)]
        values = np.array([d.information[:3, :3] for d in draws])
        residuals = values - values.mean(axis=0)
        measured = np.einsum("sij,skl->ijkl", residuals, residuals) / len(draws)
        expected = np.mean([d.covariance for d in draws], axis=0)[:3, :3, :3, :3]
        np.testing.assert_allclose(measured, expected, atol=0.15 * np.abs(expected).max())
    plain = cm.fisher_information(ExactScore(), nuisance_samples(500, 0).x).covariance[0, 0, 0, 0]
    assert draws[0].covariance[0, 0, 0, 0] / plain > 1.1  # the weights do make a difference


def test_events_add_up_whatever_the_blocks(x, monkeypatch):
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.5, 2.0, len(x))
    each = cm.event_information(ExactScore(), x)
    assert each.shape == (len(x), 4, 4)
    np.testing.assert_allclose(each[7], np.outer(exact_score(x[7]), exact_score(x[7])))
    whole = cm.fisher_information(ExactScore(), x, weights=weights)
    np.testing.assert_allclose(whole.information, np.average(each, axis=0, weights=weights))
    monkeypatch.setattr(fisher, "_BLOCK", 777)
    parts = cm.fisher_information(ExactScore(), x, weights=1e6 * weights)
    np.testing.assert_allclose(parts.information, whole.information)
    np.testing.assert_allclose(parts.covariance, whole.covariance, atol=1e-15)


def test_every_kind_of_estimator_has_one():
    """z ~ N(theta, 1), x = z + N(0, 1): the information is 1/2 at any theta."""
    ratio, options = ratio_samples(20_000), TRAINING | {"epochs": 8}
    numerators = ratio.take(ratio.y == 0)
    some = local_samples(20_000, theta=0.5, seed=5).x
    found = {
        "score": cm.fisher_information(ScoreEstimator((12,)).fit(local_samples(10_000), **options), some),
        "ratio": cm.fisher_information(RatioEstimator((12,)).fit(ratio, **options), some, [0.5]),
        "double": cm.fisher_information(
            DoubleRatioEstimator((12,)).fit(double_samples(20_000), **options), some, [0.5]
        ),
        "density": cm.fisher_information(
            DensityEstimator((12,), n_transforms=1).fit(numerators, **options), some, [0.5]
        ),
    }
    for kind, information in found.items():
        assert information.information[0, 0] == pytest.approx(0.5, rel=0.12), kind
        assert information.parameter_names == ("mean",)
    ratio_estimator = RatioEstimator((12,)).fit(ratio, epochs=1, **TRAINING)
    t = ratio_estimator.score(some, [0.2])[:, 0]
    found_there = cm.fisher_information(ratio_estimator, some, [0.2])
    assert found_there.information[0, 0] == pytest.approx(np.mean(t**2))
    named = cm.fisher_information(ratio_estimator, some[:, ::-1], [0.2], names=["x", "noise"])
    assert named.information[0, 0] == pytest.approx(np.mean(t**2))


def test_the_mean_score_of_an_ensemble(members):
    """Against finite shifts of the mean by a small part of each member's difference, and numpy's covariance of them."""
    x = local_samples(3000, seed=7).x
    ensemble = Ensemble(members)
    weights = np.random.default_rng(0).uniform(0.0, 2.0, len(x))
    share = weights / weights.sum()
    found = cm.fisher_information(ensemble, x, weights=weights, n_events=30.0)
    t = ensemble.scores(x)[..., 0]
    mean = t.mean(axis=0)
    assert found.information[0, 0] == pytest.approx(30.0 * share @ mean**2)
    shifted = 30.0 * (mean + 1e-5 * (t - mean)) ** 2 @ share
    assert found.covariance[0, 0, 0, 0] == pytest.approx(np.cov(shifted) / 1e-10, rel=1e-4)
    each = cm.event_information(ensemble, x)[:, 0, 0]
    np.testing.assert_allclose(each, mean**2)


def test_the_informations_of_the_members(members):
    x = local_samples(3000, seed=7).x
    votes = [1.0, 2.0, 3.0, 2.0]
    ensemble = Ensemble(members, votes)
    found = cm.fisher_information(ensemble, x, n_events=30.0, mode="information")
    each = np.array([cm.fisher_information(m, x, n_events=30.0).information[0, 0] for m in members])
    assert found.information[0, 0] == pytest.approx(np.average(each, weights=votes))
    assert found.covariance[0, 0, 0, 0] == pytest.approx(np.cov(each, aweights=votes))
    # Differences between members add to the mean of squares, not to the square of the mean.
    of_mean = cm.fisher_information(ensemble, x, n_events=30.0)
    assert found.information[0, 0] > of_mean.information[0, 0]
    spread = ensemble.score_covariance(x)[:, 0, 0].mean()
    assert found.information[0, 0] - of_mean.information[0, 0] == pytest.approx(30.0 * spread)


def test_covariance_of_an_ensemble_of_several_parameters(monkeypatch):
    """All entries, members with unequal votes, and blocks that do not matter."""
    samples = nuisance_samples(4000)
    ensemble = Ensemble([ScoreEstimator((5,)) for _ in range(3)], votes=[1.0, 1.0, 2.0])
    ensemble.fit(samples, epochs=1, **TRAINING)
    x = nuisance_samples(1000, seed=2).x
    t, votes = ensemble.scores(x), ensemble.votes
    mean = np.tensordot(votes, t, axes=1)
    changes = np.array([(2.0 * (m - mean).T @ mean) / len(x) for m in t])
    changes = (changes + changes.swapaxes(1, 2)) / 2.0
    expected = np.cov(changes.reshape(3, -1).T, aweights=votes).reshape((4,) * 4)
    monkeypatch.setattr(fisher, "_BLOCK", 300)
    found = cm.fisher_information(ensemble, x)
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(found.information, mean.T @ mean / len(x))


def test_what_cannot_be_asked(members):
    x = local_samples(20).x
    ratio = RatioEstimator((5,)).fit(ratio_samples(500), epochs=1, **TRAINING)
    with pytest.raises(InputError, match="one point theta with values for mean"):
        cm.fisher_information(ratio, x)
    with pytest.raises(InputError, match="one point theta with values for mean"):
        cm.event_information(ratio, x, np.zeros((20, 1)))
    with pytest.raises(InputError, match=r"gives the score at \[0.5\], not at \[0.2\]"):
        cm.fisher_information(members[0], x, [0.2])
    assert cm.fisher_information(members[0], x, [0.5]).information.shape == (1, 1)
    with pytest.raises(InputError, match="no spread"):
        cm.fisher_information(Ensemble(members, [1.0, 0.0, 0.0, 0.0]), x)
    with pytest.raises(InputError, match="'score' or 'information', not 'modified_score'"):
        cm.fisher_information(Ensemble(members), x, mode="modified_score")
    with pytest.raises(InputError, match="no events"):
        cm.fisher_information(members[0], x[:0])
    for weights in (np.ones(3), -np.ones(20), np.full(20, np.nan)):
        with pytest.raises(InputError, match="one finite number for each of 20 events"):
            cm.fisher_information(members[0], x, weights=weights)
    with pytest.raises(MissingError, match="learned nothing yet"):
        cm.fisher_information(ScoreEstimator((5,)), x)
