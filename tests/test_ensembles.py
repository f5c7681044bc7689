"""Ensembles: means, spread, votes, replicas, members trained together, apart and elsewhere."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from latent_toy import held_out, local_samples, log_ratio, ratio_samples

from columnminer.errors import FileFormatError, InputError, OutputExistsError
from columnminer.learn.ensembles import Ensemble
from columnminer.learn.estimators import (
    DoubleRatioEstimator,
    RatioEstimator,
    ScoreEstimator,
    load_estimator,
)
from columnminer.streams import key

FAST = {"epochs": 2, "batch_size": 256}


@pytest.fixture(scope="module")
def ensemble():
    members = [RatioEstimator((12,)), RatioEstimator((16, 8)), RatioEstimator((12,), features=["x"])]
    return Ensemble(members).fit(ratio_samples(12_000), method="carl", bootstrap=True, seed=1, **FAST)


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
    only = Ensemble(ensemble.members, votes=[0.0, 2.0, 0.0])
    np.testing.assert_allclose(only.log_ratio(x, theta), ensemble.members[1].log_ratio(x, theta))
    with pytest.raises(InputError, match="one weight for each of 3 members"):
        Ensemble(ensemble.members, votes=[1.0, -1.0, 1.0])


def trained(workers=1):
    members = [ScoreEstimator((6,)), ScoreEstimator((6,)), ScoreEstimator((5,))]
    return Ensemble(members).fit(local_samples(2000), seed=3, workers=workers, epochs=1)


def test_score_covariance_is_the_spread_of_members_with_seeds_of_their_own():
    x = held_out(20)[0]
    ensemble = trained()
    scores = ensemble.scores(x)
    assert (scores[0] != scores[1]).all()
    covariance = ensemble.score_covariance(x)
    assert covariance.shape == (20, 1, 1)
    np.testing.assert_allclose(covariance[:, 0, 0], scores[:, :, 0].var(axis=0))
    np.testing.assert_allclose(ensemble.score(x), scores.mean(axis=0))


@pytest.mark.parametrize(
    ("member", "options"),
    [
        (lambda: RatioEstimator((12, 7)), {"method": "alices"}),
        (lambda: RatioEstimator((12, 7), dropout=0.2), {"method": "alices", "clip_gradient": 0.05}),
        (lambda: RatioEstimator((9,), activation="prelu"), {"method": "rascal", "clip_gradient": 0.5}),
        (lambda: DoubleRatioEstimator((9,)), {"method": "carl"}),
        (lambda: ScoreEstimator((9,)), {"method": "sallino"}),
    ],
)
def test_members_trained_together_are_those_trained_alone(member, options):
    score = options["method"] == "sallino"
    samples = local_samples(3000) if score else ratio_samples(3000)
    together = Ensemble([member() for _ in range(3)]).fit(samples, seed=5, **options, **FAST)
    x, theta = held_out(50)
    points = () if score else (theta,)
    for i, found in enumerate(together.members):
        alone = member().fit(samples, seed=key(5, "member", i), **options, **FAST)
        what = "score" if score else "log_ratio"
        found_values, expected = getattr(found, what)(x, *points), getattr(alone, what)(x, *points)
        np.testing.assert_allclose(found_values, expected, atol=2e-4)  # sums in another order, some 20 steps long
        np.testing.assert_allclose(found.history.validation_loss, alone.history.validation_loss, rtol=1e-4)
        other = together.members[i - 1]
        assert np.abs(getattr(other, what)(x, *points) - expected).max() > 2e-3


def test_threads_share_the_members_and_change_nothing():
    samples, x = local_samples(2000), held_out(20)[0]

    def scores(threads):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return Ensemble([ScoreEstimator((6,)) for _ in range(5)]).fit(samples, epochs=2).scores(x)
        finally:
            torch.set_num_threads(before)

    np.testing.assert_allclose(scores(1), scores(2), atol=1e-5)


def test_each_member_keeps_its_best_weights_and_ends_when_its_patience_does():
    samples = ratio_samples(2000)
    options = {"epochs": 12, "batch_size": 100, "patience": 2, "learning_rate": 0.1, "schedule": "constant"}
    members = Ensemble([RatioEstimator((9,)) for _ in range(4)]).fit(samples, method="carl", **options).members
    lengths = {len(member.history.train_loss) for member in members}
    assert len(lengths) > 1
    for i, member in enumerate(members):
        history = member.history
        assert history.best_epoch == history.validation_loss.argmin()
        alone = RatioEstimator((9,)).fit(samples, method="carl", seed=key(0, "member", i), **options)
        assert len(alone.history.train_loss) == len(history.train_loss)


def test_bootstrap_replicas_differ_and_refuse_a_validation_sample():
    samples = local_samples(2000)
    plain, replicas = (
        Ensemble([ScoreEstimator((6,)) for _ in range(2)]).fit(samples, bootstrap=bootstrap, **FAST)
        for bootstrap in (False, True)
    )
    x = held_out(20)[0]
    assert (plain.scores(x) != replicas.scores(x)).all()
    with pytest.raises(InputError, match="leave validation out"):
        Ensemble([ScoreEstimator((6,))]).fit(samples, bootstrap=True, validation=samples)


def test_members_with_right_expectation_values_get_more_votes():
    samples, others = ratio_samples(6000), ratio_samples(6000, seed=9)
    good, bad = RatioEstimator((12,)), RatioEstimator((12,))
    good.fit(samples, method="alice", epochs=6, batch_size=128)
    bad.fit(dataclasses.replace(samples, r_xz=1.5 * samples.r_xz), method="alice", epochs=6, batch_size=128)
    ensemble = Ensemble([good, bad])
    votes = ensemble.vote(others, strength=20.0)
    deviations = [
        abs(np.exp(m.log_ratio(others.x[others.y == 1], others.theta0[others.y == 1])).mean() - 1) for m in (good, bad)
    ]
    expected = np.exp(-20.0 * np.array(deviations))
    np.testing.assert_allclose(votes, expected / expected.sum(), rtol=1e-6)
    assert votes[0] > votes[1]
    np.testing.assert_allclose(ensemble.vote(others, strength=0.0), 0.5)
    with pytest.raises(InputError, match="sample_ratio"):
        ensemble.vote(local_samples(100), strength=1.0)


@pytest.mark.slow
def test_members_trained_in_other_processes_are_the_same():
    x = held_out(20)[0]
    np.testing.assert_allclose(trained().scores(x), trained(workers=2).scores(x), atol=1e-6)


def test_saved_ensembles_come_back(tmp_path, ensemble):
    x, theta = held_out(10)
    ensemble.save(tmp_path / "ensemble")
    for again in (Ensemble.load(tmp_path / "ensemble"), load_estimator(tmp_path / "ensemble")):
        np.testing.assert_array_equal(again.log_ratio(x, theta), ensemble.log_ratio(x, theta))
        assert again.feature_names == ("noise", "x")
    with pytest.raises(OutputExistsError):
        ensemble.save(tmp_path / "ensemble")
    with pytest.raises(FileFormatError, match="no ensemble"):
        Ensemble.load(tmp_path)


def test_members_must_be_of_one_kind():
    with pytest.raises(InputError, match="estimators of one kind"):
        Ensemble([RatioEstimator(), ScoreEstimator()])
    with pytest.raises(InputError, match="needs members"):
        Ensemble([])
