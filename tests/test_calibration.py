"""Calibration mends what is wrong with a ratio, and normalisation its offset, measured against exact ratios."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from drellyan_store import drellyan_store
from latent_toy import FEATURES, held_out, local_samples, log_ratio, ratio_samples

from columnminer.errors import CheckWarning, FileFormatError, InputError, MissingError, OutputExistsError
from columnminer.generate.drellyan import DrellYan
from columnminer.infer.limits import expected_limits
from columnminer.learn.calibration import Curve, calibrate
from columnminer.learn.checks import check
from columnminer.learn.ensembles import Ensemble
from columnminer.learn.estimators import (
    CalibratedRatio,
    DoubleRatioEstimator,
    RatioEstimator,
    ScoreEstimator,
    load_estimator,
)
from columnminer.model.priors import flat_prior
from columnminer.sample.sampling import sample_plain, sample_ratio, sample_test

BOUND = 0.05
PRIOR = flat_prior([(-BOUND, BOUND)] * 2)
PROCESS = DrellYan()


class Spoilt(RatioEstimator):
    """Too sure by 60 %, and shifted."""

    def log_ratio(self, x, theta, **options):
        return 1.6 * super().log_ratio(x, theta, **options) + 0.1

    def score(self, x, theta, **options):
        return 1.6 * super().score(x, theta, **options)


def rms(a):
    return float(np.sqrt(np.mean(np.square(a))))


def validation(n=20_000, seed=5):
    return dataclasses.replace(ratio_samples(n, seed), partition="validation")


@pytest.fixture(scope="module")
def alices():
    return RatioEstimator((20, 20)).fit(ratio_samples(60_000), "alices", epochs=5, batch_size=512, seed=1)


@pytest.fixture(scope="module")
def spoilt(alices):
    estimator = Spoilt((20, 20))
    estimator._fit = dataclasses.replace(alices.fitted, checks=())
    return estimator


def error(estimator):
    x, theta = held_out(4000)
    theta = np.round(theta, 1)  # some tens of points: each is normalised
    return rms(estimator.log_ratio(x, theta) - log_ratio(x[:, 1], theta[:, 0]))


@pytest.mark.parametrize("gold", [True, False], ids=["gold", "labels"])
@pytest.mark.parametrize("method", ["isotonic", "histogram"])
def test_a_curve_mends_a_ratio_that_is_too_sure(alices, spoilt, method, gold):
    samples = validation() if gold else dataclasses.replace(validation(), r_xz=None)
    assert error(alices) < 0.1
    assert error(spoilt) > 0.4
    assert error(calibrate(spoilt, samples, method)) < 0.2
    assert error(calibrate(alices, samples, method)) < 0.2  # and does little harm to one that is right
    swapped = dataclasses.replace(samples, y=1.0 - samples.y, r_xz=None if not gold else 1.0 / samples.r_xz)
    assert error(calibrate(spoilt, swapped, method, reference_events=validation())) > 0.5


def test_normalisation_alone_does_not_mend_the_shape(spoilt):
    assert error(calibrate(spoilt, validation(), "normalisation")) > 0.3


def test_an_isotonic_curve_rises():
    rng = np.random.default_rng(1)
    x = rng.normal(size=4000)
    samples = dataclasses.replace(
        validation(4000), x=np.stack([x, x], axis=1), theta0=np.ones((4000, 1)), y=(rng.uniform(size=4000) < 0.5) * 1.0
    )

    class Feature:
        feature_names, parameter_names, reference = FEATURES, ("mean",), np.zeros(1)
        store_hash, partition, estimates = "toy", "train", "ratio"

        def log_ratio(self, x, theta, *, pairing="pairs", names=None):
            values = np.asarray(x[:, 0], dtype=np.float64)
            return np.tile(values, (len(np.atleast_2d(theta)), 1)) if pairing == "grid" else values

    without_gold = dataclasses.replace(samples, r_xz=None)
    isotonic = calibrate(Feature(), without_gold, "isotonic").curve
    assert (np.diff(isotonic.y) >= 0.0).all()
    assert (np.diff(isotonic.x) > 0.0).all()
    assert rms(isotonic.y) < 0.15  # labels at random say that the ratio is 1
    falling = dataclasses.replace(without_gold, y=(rng.uniform(size=4000) < 1.0 / (1.0 + np.exp(-x))) * 1.0)
    flat = calibrate(Feature(), falling, "isotonic").curve
    assert np.ptp(flat(x[np.abs(x) < 1.5])) < 1e-9, "where the estimate rises in vain, all of it says the same"
    histogram = calibrate(Feature(), without_gold, "histogram").curve
    assert (np.diff(histogram.y) < 0.0).any()
    assert len(histogram.x) == 25


def test_curves_have_slope_one_outside_and_the_slope_of_their_pieces_inside():
    curve = Curve(np.array([-1.0, 0.0, 2.0]), np.array([-0.5, 0.1, 3.1]))
    np.testing.assert_allclose(curve(np.array([-3.0, -1.0, -0.5, 1.0, 2.0, 4.0])), [-2.5, -0.5, -0.2, 1.6, 3.1, 5.1])
    np.testing.assert_allclose(curve.slope(np.array([-3.0, -0.5, 1.0, 4.0])), [1.0, 0.6, 1.5, 1.0])
    single = Curve(np.array([1.0]), np.array([1.5]))
    np.testing.assert_allclose(single(np.array([0.0, 3.0])), [0.5, 3.5])


@pytest.mark.parametrize("method", ["isotonic", "normalisation"])
def test_the_score_is_the_gradient_of_the_calibrated_log_ratio(spoilt, method):
    calibrated = calibrate(spoilt, validation(4000), method)
    x, theta = held_out(400)
    theta = np.round(theta, 1)
    step = 1e-2
    difference = (calibrated.log_ratio(x, theta + step) - calibrated.log_ratio(x, theta - step)) / (2 * step)
    score = calibrated.score(x, theta)[:, 0]
    assert np.median(np.abs(score - difference)) < 0.02 < 0.1 * rms(score)  # knots in between spoil some differences
    np.testing.assert_allclose(calibrated.score(x[:5], theta[:3], pairing="grid")[2], calibrated.score(x[:5], theta[2]))


def test_the_mean_ratio_is_one_under_the_reference_at_every_theta(alices):
    reference = validation(10_000).take(validation(10_000).y == 1)
    signs = np.where(np.arange(len(reference)) % 5 == 0, -1.0, 1.0)
    for samples in (reference, dataclasses.replace(reference, weights=signs)):
        calibrated = calibrate(alices, samples, "normalisation")
        r = np.exp(calibrated.log_ratio(samples.x, [[-1.0], [0.5], [2.0]], pairing="grid"))
        weights = np.ones(len(samples)) if samples.weights is None else samples.weights
        np.testing.assert_allclose(r @ weights / weights.sum(), 1.0, rtol=1e-5)
        pairs = calibrated.log_ratio(samples.x[:3], [[-1.0], [0.5], [2.0]])
        grid = calibrated.log_ratio(samples.x[:3], [[-1.0], [0.5], [2.0]], pairing="grid")
        np.testing.assert_allclose(pairs, np.diag(grid), atol=1e-5)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return drellyan_store(tmp_path_factory.mktemp("calibration") / "events", PROCESS, 200_000)


@pytest.fixture(scope="module")
def drellyan(store):
    samples = sample_ratio(store, PRIOR, "sm", 100_000, n_theta=500, seed=1)
    return RatioEstimator((20, 20)).fit(samples, "alices", epochs=8, batch_size=512, seed=1)


@pytest.fixture(scope="module")
def normalised(store, drellyan):
    return calibrate(drellyan, sample_plain(store, "sm", 40_000, seed=6, partition="validation"), "normalisation")


def offsets(store, estimator):
    """log E[r] under the standard model, beyond that of the exact ratio, at 9 points."""
    x = sample_test(store, "sm", 40_000, seed=3).x.astype(np.float64)
    axis = [-BOUND, 0.0, BOUND]
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    exact = PROCESS.log_ratio(x, points, PROCESS.reference, pairing="grid")
    estimated = estimator.log_ratio(x, points, pairing="grid", names=store.observable_names)
    return np.log(np.exp(estimated).mean(axis=1)) - np.log(np.exp(exact).mean(axis=1))


def test_normalisation_removes_the_offset_that_alices_leaves(store, drellyan, normalised):
    before, after = rms(offsets(store, drellyan)), rms(offsets(store, normalised))
    assert after < 0.0025  # 40,000 draws of 40,000 events, where r has a standard deviation of 0.2
    assert after < 0.5 * before
    elsewhere = sample_plain(store, [0.04, -0.04], 20_000, seed=6, partition="validation")
    wrong = calibrate(drellyan, dataclasses.replace(elsewhere, theta0=np.zeros((20_000, 2))), "normalisation")
    assert rms(offsets(store, wrong)) > 2.0 * before  # events that are not of the reference point


def test_a_grid_costs_no_more_once_its_points_are_known(drellyan, normalised):
    x = np.random.default_rng(1).uniform(size=(20_000, 3)) * [100.0, 1.0, 1.0] + [60.0, 0.0, 0.0]
    axis = np.linspace(-BOUND, BOUND, 6)
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)

    def seconds(estimator):
        start = time.perf_counter()
        estimator.log_ratio(x, points, pairing="grid")
        return time.perf_counter() - start

    normalised.log_ratio(x[:1], points, pairing="grid")
    assert min(seconds(normalised) for _ in range(3)) < 3.0 * min(seconds(drellyan) for _ in range(3))


def test_limits_take_a_calibrated_ratio(store, drellyan, normalised):
    held = sample_ratio(store, PRIOR, "sm", 20_000, n_theta=40, seed=9, partition="test")
    check(normalised, held, closure=False)
    assert all(one.passed for one in normalised.checks)
    grid = np.array([[0.0, 0.0], [0.03, 0.0], [0.0, 0.03], [-0.03, 0.02]])
    options = {"include_rate": False}
    with pytest.warns(CheckWarning, match="normalisation: .* FAILED"):
        check(drellyan, held, closure=False)
    exact, better = (
        expected_limits(store, what, "sm", grid, 1000.0, **options).log_ratio for what in (PROCESS, normalised)
    )
    with pytest.warns(CheckWarning, match="normalisation"):
        plain = expected_limits(store, drellyan, "sm", grid, 1000.0, **options).log_ratio
    assert rms(better - exact) < rms(plain - exact)
    with pytest.raises(InputError, match="trained on partition 'train'"):
        normalised.check_store(store, "train")


def test_calibrated_estimators_come_back(tmp_path, spoilt, alices):
    x, theta = held_out(20)
    for what, method in ((alices, "isotonic"), (Ensemble([alices, alices]), "normalisation")):
        calibrated = calibrate(what, validation(4000), method)
        check(
            calibrated,
            dataclasses.replace(ratio_samples(4000, 8), partition="test", theta0=np.ones((4000, 1)), **at_one(4000)),
            closure=False,
        )
        folder = tmp_path / method
        calibrated.save(folder)
        again = load_estimator(folder)
        assert isinstance(again, CalibratedRatio)
        np.testing.assert_array_equal(again.log_ratio(x, theta), calibrated.log_ratio(x, theta))
        assert [str(one) for one in again.checks] == [str(one) for one in calibrated.checks]
        assert again.calibrated_on == ("toy", "validation")
        for name in ("feature_names", "parameter_names", "store_hash", "partition"):
            assert getattr(again, name) == getattr(calibrated, name)
        assert not [p for p in folder.rglob("*") if p.suffix not in {"", ".json", ".safetensors"}]
    with pytest.raises(OutputExistsError):
        calibrated.save(folder)
    calibrated.save(folder, replace=True)
    (tmp_path / "precious").mkdir()
    with pytest.raises(OutputExistsError, match="left alone"):
        calibrated.save(tmp_path / "precious", replace=True)
    (folder / "calibration" / "estimator.json").write_text("{}")
    with pytest.raises(FileFormatError):
        load_estimator(folder)


def at_one(n):
    """Gold of events at theta0 = 1 and theta1 = 0."""
    rng = np.random.default_rng(8)
    y = (np.arange(n) % 2).astype(float)
    z = rng.normal(np.where(y == 0, 1.0, 0.0))
    x = np.stack([rng.normal(size=n), rng.normal(z)], axis=1)
    return {"x": x, "y": y, "r_xz": np.exp(z - 0.5), "t_xz": (z - 1.0)[:, None]}


def test_what_cannot_be_calibrated_is_refused(alices):
    with pytest.raises(InputError, match="trained on partition 'train'"):
        calibrate(alices, ratio_samples(1000))
    with pytest.raises(InputError, match="'isotonic', 'histogram' or 'normalisation', not 'platt'"):
        calibrate(alices, validation(1000), "platt")
    with pytest.raises(MissingError, match="events of both classes"):
        calibrate(alices, validation(1000).take(validation(1000).y == 1))
    with pytest.raises(MissingError, match="no events of the reference point"):
        calibrate(alices, validation(1000).take(validation(1000).y == 0), "normalisation")
    with pytest.raises(InputError, match="drawn elsewhere"):
        calibrate(alices, dataclasses.replace(validation(1000), theta1=np.ones((1000, 1))), "normalisation")
    with pytest.raises(MissingError, match="ScoreEstimator"):
        calibrate(ScoreEstimator((4,)).fit(local_samples(200), epochs=1), validation(1000))
    with pytest.raises(MissingError, match="DoubleRatioEstimator gives no ratio to one reference point"):
        calibrate(DoubleRatioEstimator((4,)), validation(1000))
    calibrated = calibrate(alices, validation(1000))
    with pytest.raises(InputError, match="calibrated on partition 'validation'"):
        check(calibrated, validation(1000))
