"""Checks pass for estimators that are right and fail for those that are not; estimators keep what was found."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from analytic_store import analytic_store
from latent_toy import double_samples, local_samples, ratio_samples
from scipy.stats import norm

from columnminer.errors import CheckWarning, InputError
from columnminer.infer.fisher import FisherInformation
from columnminer.infer.limits import expected_limits, observed_limits
from columnminer.infer.neural import NeuralLikelihood
from columnminer.learn.averages import Draws, clustered_error
from columnminer.learn.checks import calibration_curve, check, check_ratio, check_score, reweighting_closure
from columnminer.learn.closure import area_under_curve, two_sample_test
from columnminer.learn.ensembles import Ensemble
from columnminer.learn.estimators import (
    DensityEstimator,
    DoubleRatioEstimator,
    RatioEstimator,
    ScoreEstimator,
    load_estimator,
)
from columnminer.learn.verdicts import Check, Finding
from columnminer.model.priors import flat_prior
from columnminer.sample.sampling import sample_local, sample_ratio
from columnminer.show.checks import plot_check, plot_checks

RATIO_CHECKS = [
    "mean ratio",
    "mean inverse ratio",
    "mean ratio by mean",
    "calibration",
    "reweighting closure",
    "ratio pulls",
    "mean score of mean",
]


def others(draw=ratio_samples, n=20_000, seed=77):
    return dataclasses.replace(draw(n, seed=seed), partition="test")


@pytest.fixture(scope="module")
def held_out():
    return others()


@pytest.fixture(scope="module")
def alices():
    return RatioEstimator((20, 20)).fit(ratio_samples(60_000), "alices", epochs=5, batch_size=512, seed=1)


def failures(checks):
    return {one.name for one in checks if not one.passed}


def test_a_good_ratio_passes_every_check(alices, held_out):
    checks = check(alices, held_out)
    assert [one.name for one in checks] == RATIO_CHECKS
    assert failures(checks) == set()
    assert "passed" in str(checks[0])
    assert alices.checks is checks
    test = reweighting_closure(alices, held_out)
    closure = checks[RATIO_CHECKS.index("reweighting closure")]
    assert (test.area - 0.5, test.error) == pytest.approx((closure.deviation, closure.error)), "what is behind it"
    with pytest.raises(InputError, match="was trained on"):
        reweighting_closure(alices, ratio_samples(100))


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (lambda r: r + 0.2, {"mean ratio", "mean inverse ratio", "mean ratio by mean", "calibration", "ratio pulls"}),
        (lambda r: 2.0 * r, {"mean ratio by mean", "calibration", "reweighting closure", "ratio pulls"}),
        (lambda r: 0.5 * r, {"mean ratio", "calibration", "reweighting closure", "ratio pulls"}),
        (lambda r: 0.0 * r, {"reweighting closure"}),  # a constant is calibrated, but teaches nothing
    ],
    ids=["shifted", "too sure", "too careful", "constant"],
)
def test_wrong_ratios_fail_the_checks_that_are_about_it(alices, held_out, monkeypatch, wrong, found):
    right = RatioEstimator.log_ratio

    def log_ratio(self, x, theta, *, pairing="pairs", names=None):
        return wrong(right(self, x, theta, pairing=pairing, names=names))

    # The classifier of the closure is a RatioEstimator, too: only this one is spoilt.
    spoilt = copy.copy(alices)
    monkeypatch.setattr(spoilt, "log_ratio", log_ratio.__get__(spoilt), raising=False)
    with pytest.warns(CheckWarning, match="FAILED"):
        assert found <= failures(check(spoilt, held_out))
    assert found <= failures(spoilt.checks)
    assert failures(alices.checks) == set()  # a copy remembers for itself


def test_a_wrong_score_fails(alices, held_out, monkeypatch):
    spoilt = copy.copy(alices)
    monkeypatch.setattr(spoilt, "score", lambda *a, **k: alices.score(*a, **k) + 0.1, raising=False)
    with pytest.warns(CheckWarning, match="not right: mean score of mean: .*FAILED$"):
        assert failures(check(spoilt, held_out, closure=False)) == {"mean score of mean"}


def test_the_calibration_curve_follows_the_diagonal(alices, held_out):
    curve = calibration_curve(alices, held_out)
    assert np.sqrt(np.mean(curve.pulls**2)) < 2.0
    assert (np.diff(curve.expected) > 0).all()
    assert len(calibration_curve(alices, held_out, n_bins=7).x) == 7
    swapped = dataclasses.replace(held_out, y=1.0 - held_out.y)
    assert np.sqrt(np.mean(calibration_curve(alices, swapped).pulls ** 2)) > 4.0


def test_classes_may_differ_in_size(alices, held_out):
    few = held_out.take((held_out.y == 1) | (np.arange(len(held_out)) % 3 == 0))
    assert failures(check(alices, few, closure=False)) == set()


def test_double_ratios():
    double = DoubleRatioEstimator((20, 20)).fit(double_samples(60_000), epochs=5, batch_size=512, seed=1)
    held = others(double_samples)
    assert [one.name for one in check(double, held)] == RATIO_CHECKS
    assert failures(double.checks) == set()
    swapped = dataclasses.replace(held, theta0=held.theta1, theta1=held.theta0)
    with pytest.warns(CheckWarning):
        assert {"calibration", "reweighting closure", "ratio pulls"} <= failures(check(double, swapped))


def test_scores():
    sally = ScoreEstimator((20, 20)).fit(local_samples(30_000), epochs=4, seed=1)
    held = others(local_samples)
    assert [one.name for one in check(sally, held)] == ["mean score of mean", "score pulls of mean"]
    assert failures(sally.checks) == set()
    with pytest.warns(CheckWarning, match="mean score of mean"):
        check_score(sally, dataclasses.replace(held, x=held.x + 0.3))
    with pytest.raises(InputError, match="events drawn there"):
        check_score(sally, dataclasses.replace(local_samples(100, theta=0.0), partition="test"))
    centre = Ensemble([sally])
    assert failures(check(centre, held)) == set()
    # Twice the score has mean zero still: only its size is wrong.
    twice = dataclasses.replace(held, t_xz=held.t_xz / 2.0)
    with pytest.warns(CheckWarning, match="score pulls of mean"):
        assert failures(check(sally, twice)) == {"score pulls of mean"}


def test_densities_are_checked_without_a_denominator():
    def drawn(n, seed):
        samples = ratio_samples(n, seed)
        return dataclasses.replace(samples.take(samples.y == 0), y=None, theta1=None, r_xz=None)

    density = DensityEstimator((16,), n_transforms=1).fit(drawn(40_000, 0), alpha=3.0, epochs=4, batch_size=512, seed=1)
    held = dataclasses.replace(drawn(16_000, 5), partition="test")
    assert [one.name for one in check(density, held)] == ["mean ratio", "mean ratio by mean", "mean score of mean"]
    assert failures(density.checks) == set()
    # Events that were not drawn where they claim to be
    with pytest.warns(CheckWarning):
        assert "mean score of mean" in failures(check(density, dataclasses.replace(held, theta0=held.theta0 + 0.5)))


def test_ensembles_are_checked_as_a_whole_and_saved_with_it(tmp_path, alices, held_out):
    ensemble = Ensemble([alices, alices])
    assert failures(check(ensemble, held_out)) == set()
    ensemble.save(tmp_path / "ensemble")
    again = Ensemble.load(tmp_path / "ensemble")
    assert [str(one) for one in again.checks] == [str(one) for one in ensemble.checks]
    with pytest.raises(InputError, match="trained on partition 'train'"):
        check(ensemble, ratio_samples(100))


def test_events_of_the_training_and_other_denominators_are_refused(alices):
    with pytest.raises(InputError, match="trained on partition 'train'"):
        check_ratio(alices, ratio_samples(100))
    with pytest.raises(InputError, match="another theta1"):
        check_ratio(alices, dataclasses.replace(others(n=100), theta1=np.ones((100, 1))))


# Errors ----------------------------------------------------------------------------------------------------------


def test_draws_of_one_event_count_as_one():
    rng = np.random.default_rng(1)
    errors, means, naive = [], [], []
    for _ in range(300):
        x = rng.normal(size=(200, 1))
        drawn = x[rng.integers(0, 200, 4000)]
        samples = SimpleNamespace(x=drawn, weights=None)
        mean, error = Draws.of(samples).mean(drawn[:, 0])
        means.append(mean)
        errors.append(error)
        naive.append(drawn.std() / np.sqrt(len(drawn)))
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.15)
    assert np.mean(naive) < 0.5 * np.std(means)
    assert clustered_error(np.array([1.0, -1.0, 2.0]), np.array([0, 0, 1])) == 2.0


def test_the_area_under_the_curve_has_the_value_and_the_error_that_it_should():
    rng = np.random.default_rng(2)
    areas, errors = [], []
    for _ in range(200):
        first, second = rng.normal(0.5, 1.0, 400), rng.normal(0.0, 1.2, 600)
        weights = np.exp(-0.5 * second**2 + 0.5 * (second / 1.2) ** 2) * 1.2  # to N(0, 1)
        draws = Draws(np.concatenate([np.ones(400), weights]), np.arange(1000))
        area, error = area_under_curve(np.concatenate([first, second]), np.arange(1000) < 400, draws)
        areas.append(area)
        errors.append(error)
    truth = norm.cdf(0.5 / math.sqrt(2.0))
    assert abs(np.mean(areas) - truth) < 4 * np.std(areas) / math.sqrt(200)
    assert np.mean(errors) == pytest.approx(np.std(areas), rel=0.15)
    ties = area_under_curve(np.zeros(10), np.arange(10) < 5, Draws(np.ones(10), np.arange(10)))
    assert ties == (0.5, 0.0)


def test_a_classifier_finds_a_difference_only_where_there_is_one():
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(size=(4000, 2)), rng.normal(size=(4000, 2)) * [1.0, 1.3]])
    is_first = np.arange(8000) < 4000
    plain = Draws(np.ones(8000), np.arange(8000))
    without = two_sample_test(x, is_first, plain, seed=1)
    assert without.area - 0.5 > 8 * without.error
    density = np.exp(-0.5 * x[:, 1] ** 2 + 0.5 * (x[:, 1] / 1.3) ** 2) * 1.3
    reweighted = dataclasses.replace(plain, weights=np.where(is_first, 1.0, density))
    closed = two_sample_test(x, is_first, reweighted, seed=1)
    assert abs(closed.area - 0.5) < 4 * closed.error
    again = two_sample_test(x, is_first, reweighted, seed=1)
    np.testing.assert_array_equal(again.output, closed.output)


def test_events_drawn_often_are_not_known_by_heart():
    """Both samples are draws from the same few events: whoever remembers them would tell them apart."""
    rng = np.random.default_rng(4)
    pool = rng.normal(size=(300, 2))
    event = np.concatenate([rng.choice(300, 4000, p=rng.dirichlet(np.full(300, 0.3))) for _ in range(2)])
    is_first = np.arange(8000) < 4000
    fair = two_sample_test(pool[event], is_first, Draws(np.ones(8000), event), seed=1)
    assert abs(fair.area - 0.5) < 4 * fair.error
    fooled = two_sample_test(pool[event], is_first, Draws(np.ones(8000), np.arange(8000)), seed=1)
    assert fooled.area - 0.5 > 4 * fooled.error


# At rest, in pictures, in later stages ---------------------------------------------------------------------------


def test_checks_are_saved_with_the_estimator_and_gone_with_the_next_training(tmp_path, alices, held_out):
    estimator = copy.copy(alices)
    checks = check(estimator, held_out)
    estimator.save(tmp_path / "estimator")
    again = load_estimator(tmp_path / "estimator")
    assert [str(one) for one in again.checks] == [str(one) for one in checks]
    np.testing.assert_array_equal(again.checks[3].finding.found, checks[3].finding.found)
    assert again.checks[3].finding.y_label == "fraction of the denominator"
    again.fit(ratio_samples(500), "carl", epochs=1)
    assert again.checks == ()
    document = json.loads((tmp_path / "estimator" / "estimator.json").read_text())
    del document["checks"]  # as versions before checks wrote it
    (tmp_path / "estimator" / "estimator.json").write_text(json.dumps(document))
    assert load_estimator(tmp_path / "estimator").checks == ()


def test_what_is_no_number_fails_and_is_saved():
    one = Check("mean ratio", math.inf, math.nan, 0.05)
    again = Check.from_dict(json.loads(json.dumps(one.to_dict(), allow_nan=False)))
    assert not one.passed
    assert not again.passed
    assert again.finding is None


def test_pictures_show_what_was_found_and_the_verdict(alices, held_out):
    checks = check(alices, held_out, closure=False)
    ax = plot_check(checks[3])
    assert ax.get_title() == "calibration: passed"
    assert ax.get_xlabel() == "s(x) = 1 / (1 + r(x))"
    np.testing.assert_array_equal(ax.lines[1].get_xdata(), checks[3].finding.x)
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), checks[3].finding.found)
    bad = dataclasses.replace(checks[0], mark=0.0)
    assert plot_check(bad).get_title() == "mean ratio: FAILED"
    figure = plot_checks(checks).get_figure()
    assert sum(bool(each.get_title()) for each in figure.axes) == len(checks)
    with pytest.raises(InputError, match="has no picture"):
        plot_check(dataclasses.replace(checks[0], finding=None))
    with pytest.raises(InputError, match="none of the checks"):
        plot_checks([])


def test_the_worst_bin_is_the_one_that_is_judged():
    ones = np.ones(3)
    finding = Finding(np.arange(3.0), ones, np.array([1.0, 1.2, 1.01]), np.array([0.01, 0.2, 0.01]), "x", "y")
    np.testing.assert_allclose(finding.pulls, [0.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return analytic_store(tmp_path_factory.mktemp("checks") / "events", 20_000)


def test_later_stages_warn_of_estimators_that_were_not_checked_or_failed(store):
    def drawn(**options):
        return sample_ratio(store, flat_prior([(-1.0, 1.0)]), [0.0], 20_000, seed=1, **options)

    estimator = RatioEstimator((16,)).fit(drawn(), "alices", epochs=5, batch_size=256, seed=1)
    grid = np.linspace(-1.0, 1.0, 3)[:, None]
    unchecked = r"never checked .* columnminer\.check\(estimator, columnminer\.sample_ratio\(store"
    with pytest.warns(CheckWarning, match=unchecked) as caught:
        expected_limits(store, estimator, [0.4], grid, 200.0)
    assert len(caught) == 1
    with pytest.warns(CheckWarning, match=unchecked):
        observed_limits(store, estimator, np.full((3, 2), 0.5), grid, 200.0)
    with pytest.warns(CheckWarning, match=unchecked):
        FisherInformation(store, 200.0).detector([0.0], estimator)
    with pytest.warns(CheckWarning, match=unchecked):
        NeuralLikelihood.from_store(store, estimator, 200.0)

    check(estimator, drawn(partition="validation"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected_limits(store, estimator, [0.4], grid, 200.0)
        FisherInformation(store, 200.0).detector([0.0], estimator)

    estimator.remember_checks((Check("mean ratio", 0.3, 0.01, 0.05),))
    with pytest.warns(CheckWarning, match=r"failed checks: mean ratio: \+0\.3000"):
        expected_limits(store, estimator, [0.4], grid, 200.0)

    sally = ScoreEstimator((8,)).fit(sample_local(store, [0.5], 5000, seed=1), epochs=2)
    with pytest.warns(CheckWarning, match=r"ScoreEstimator was never checked .* columnminer\.sample_local"):
        FisherInformation(store, 200.0).detector([0.5], sally)
    with warnings.catch_warnings():  # in a histogram, a score is an observable like any other
        warnings.simplefilter("error")
        FisherInformation(store, 200.0).histogram([0.5], sally, bins=5)
