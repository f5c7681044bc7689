"""Ensembles: means, spread, votes, replicas, and members trained elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from latent_toy import held_out, local_samples, log_ratio, ratio_samples

from columnminer.errors import FileFormatError, InputError, OutputExistsError
from columnminer.learn.ensembles import RatioEnsemble, ScoreEnsemble
from columnminer.learn.estimators import RatioEstimator, ScoreEstimator

FAST = {"epochs": 2, "batch_size": 256}


@pytest.fixture(scope="module")
def ensemble():
    members = [RatioEstimator((12,)), RatioEstimator((16, 8)), RatioEstimator((12,), features=["x"])]
    return RatioEnsemble(members).fit(ratio_samples(12_000), method="carl", bootstrap=True, seed=1, **FAST)


def test_the_mean_is_better_than_the_members(ensemble):
    x, theta = held_out()
    exact = log_ratio(x[:, 1], theta[:, 0])
    each = ensemble.log_ratios(x, theta)
    errors = np.sqrt(((each - exact) ** 2).mean(axis=1))
    mean = ensemble.log_ratio(x, theta)
    np.testing.assert_allclose(mean, each.mean(axis=0))
    assert np.sqrt(((mean - exact) ** 2).mean()) < errors.mean()
    assert each.std(axis=0).mean() > 0.01
    assert ensemble.log_ratio(x[:5], theta[:3], pairing="grid").shape == (3, 5)
    assert ensemble.score(x[:5], theta[:5]).shape == (5, 1)
    np.testing.assert_array_equal(ensemble.log_ratio(x[:, ::-1], theta, names=["x", "noise"]), mean)


def test_votes_weigh_members(ensemble):
    x, theta = held_out(10)
    only = RatioEnsemble(ensemble.members, votes=[0.0, 2.0, 0.0])
    np.testing.assert_allclose(only.log_ratio(x, theta), ensemble.members[1].log_ratio(x, theta))
    with pytest.raises(InputError, match="one weight for each of 3 members"):
        RatioEnsemble(ensemble.members, votes=[1.0, -1.0, 1.0])


def trained(workers=1):
    members = [ScoreEstimator((6,)) for _ in range(2)]
    return ScoreEnsemble(members).fit(local_samples(2000), seed=3, workers=workers, epochs=1)


def test_score_covariance_is_the_spread_of_members_with_seeds_of_their_own():
    x = held_out(20)[0]
    ensemble = trained()
    scores = ensemble.scores(x)
    assert (scores[0] != scores[1]).all()
    covariance = ensemble.score_covariance(x)
    assert covariance.shape == (20, 1, 1)
    np.testing.assert_allclose(covariance[:, 0, 0], scores[:, :, 0].var(axis=0))
    np.testing.assert_allclose(ensemble.score(x), scores.mean(axis=0))


@pytest.mark.slow
def test_members_trained_in_other_processes_are_the_same():
    x = held_out(20)[0]
    np.testing.assert_allclose(trained().scores(x), trained(workers=2).scores(x), atol=1e-6)


def test_saved_ensembles_come_back(tmp_path, ensemble):
    x, theta = held_out(10)
    ensemble.save(tmp_path / "ensemble")
    again = RatioEnsemble.load(tmp_path / "ensemble")
    np.testing.assert_array_equal(again.log_ratio(x, theta), ensemble.log_ratio(x, theta))
    assert again.feature_names == ("noise", "x")
    with pytest.raises(OutputExistsError):
        ensemble.save(tmp_path / "ensemble")
    with pytest.raises(FileFormatError, match="not a ScoreEstimator"):
        ScoreEnsemble.load(tmp_path / "ensemble")
    with pytest.raises(FileFormatError, match="no ensemble"):
        RatioEnsemble.load(tmp_path)


def test_members_must_be_of_one_kind():
    with pytest.raises(InputError, match="each a RatioEstimator"):
        RatioEnsemble([RatioEstimator(), ScoreEstimator()])
    with pytest.raises(InputError, match="needs members"):
        ScoreEnsemble([])
