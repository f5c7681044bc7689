"""Checks pass for estimators that are right and fail for those that are not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from latent_toy import local_samples, ratio_samples

from columnminer.errors import CheckWarning, InputError
from columnminer.learn.checks import calibration_curve, check_ratio, check_score
from columnminer.learn.estimators import RatioEstimator, ScoreEstimator


@pytest.fixture(scope="module")
def alices():
    return RatioEstimator((20, 20)).fit(ratio_samples(60_000), "alices", epochs=5, batch_size=512, seed=1)


def others(n=20_000, seed=77):
    return dataclasses.replace(ratio_samples(n, seed), partition="test")


def test_a_good_ratio_passes(alices):
    checks = check_ratio(alices, others())
    assert [c.name for c in checks] == ["mean ratio", "mean inverse ratio", "calibration", "mean score of mean"]
    assert all(c.passed for c in checks)
    assert "passed" in str(checks[0])


def test_a_ratio_that_is_too_large_by_a_fifth_fails(alices, monkeypatch):
    right = RatioEstimator.log_ratio
    monkeypatch.setattr(RatioEstimator, "log_ratio", lambda self, *a, **k: right(self, *a, **k) + 0.2)
    with pytest.warns(CheckWarning, match="mean ratio: .*FAILED"):
        checks = check_ratio(alices, others())
    assert not checks[0].passed
    assert not checks[1].passed


def test_calibration_finds_a_ratio_that_is_too_sure(alices, monkeypatch):
    curve = calibration_curve(alices, others())
    pulls = (curve.observed - curve.predicted) / curve.error
    assert np.sqrt(np.mean(pulls**2)) < 2.0
    assert (np.diff(curve.predicted) > 0).all()
    right = RatioEstimator.log_ratio
    monkeypatch.setattr(RatioEstimator, "log_ratio", lambda self, *a, **k: 2.0 * right(self, *a, **k))
    sure = calibration_curve(alices, others())
    assert np.sqrt(np.mean(((sure.observed - sure.predicted) / sure.error) ** 2)) > 4.0


def test_scores():
    sally = ScoreEstimator((20, 20)).fit(local_samples(30_000), epochs=4, seed=1)
    held = dataclasses.replace(local_samples(20_000, seed=5), partition="test")
    assert check_score(sally, held)[0].passed
    with pytest.warns(CheckWarning, match="mean score of mean"):
        check_score(sally, dataclasses.replace(held, x=held.x + 0.3))
    with pytest.raises(InputError, match="events drawn there"):
        check_score(sally, dataclasses.replace(local_samples(100, theta=0.0), partition="test"))


def test_events_of_the_training_and_other_denominators_are_refused(alices):
    with pytest.raises(InputError, match="trained on partition 'train'"):
        check_ratio(alices, ratio_samples(100))
    with pytest.raises(InputError, match="another theta1"):
        check_ratio(alices, dataclasses.replace(others(100), theta1=np.ones((100, 1))))
