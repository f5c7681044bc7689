"""Checks at each parameter point: the exact Drell-Yan ratio passes, ratios that make likelihoods too narrow do not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from drellyan_store import drellyan_store
from latent_toy import log_ratio, ratio_samples

from columnminer.errors import CheckWarning
from columnminer.generate.drellyan import DrellYan
from columnminer.infer.grid import Grid
from columnminer.infer.limits import expected_limits
from columnminer.learn.averages import Draws
from columnminer.learn.calibration import calibrate
from columnminer.learn.checks import check
from columnminer.learn.estimators import RatioEstimator
from columnminer.learn.trends import check_normalisation, check_slope, distances
from columnminer.model.priors import flat_prior
from columnminer.sample.sampling import sample_ratio

PROCESS = DrellYan(bound=0.08)
PRIOR = flat_prior([(-0.08, 0.08), (-0.08, 0.08)])
NAMES = ["slope of log r", "slope of log r by distance", "normalisation"]


class Exact:
    """The exact ratio, or something made of it."""

    def __init__(self, spoil=lambda log_r, theta: log_r):
        self.spoil = spoil

    def log_ratio(self, x, theta, *, pairing="pairs", names=None):
        log_r = PROCESS.log_ratio(x, theta, pairing=pairing, names=names)
        points = np.asarray(theta, dtype=np.float64)
        return self.spoil(log_r, points[:, None] if pairing == "grid" else points)


def trends(estimator, samples):
    log_r = estimator.log_ratio(samples.x, samples.theta0, names=samples.feature_names)
    draws, distance = Draws.of(samples), distances(samples.theta0, samples.theta1)
    found = [*check_slope(samples, log_r, draws, distance), *check_normalisation(estimator, samples, draws, 50.0)]
    return {one.name: one for one in found}


def failures(checks):
    return {one.name for one in checks if not one.passed}


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return drellyan_store(tmp_path_factory.mktemp("large") / "events.zarr", PROCESS, 60_000, seed=11)


@pytest.fixture(scope="module")
def held_out(large):
    return sample_ratio(large, PRIOR, "sm", 60_000, seed=3, partition="all")


def test_the_exact_ratio_passes_whatever_the_events(tmp_path):
    """Of 24 verdicts, each with 4 standard deviations, none is wrong: errors are not too small."""
    pulls = []
    for seed in range(8):
        store = drellyan_store(tmp_path / f"{seed}.zarr", PROCESS, 8_000, seed=100 + seed)
        checks = trends(Exact(), sample_ratio(store, PRIOR, "sm", 10_000, seed=seed, partition="all"))
        assert list(checks) == NAMES
        assert failures(checks.values()) == set(), seed
        pulls.append(checks["slope of log r"].deviation / checks["slope of log r"].error)
    assert 0.3 < np.sqrt(np.mean(np.square(pulls))) < 1.7


@pytest.mark.parametrize("gold", [True, False], ids=["joint ratios", "labels"])
def test_the_slope_is_found(held_out, gold):
    samples = held_out if gold else dataclasses.replace(held_out, r_xz=None)
    for factor in (1.0, 2.0, 0.5):
        checks = trends(Exact(lambda log_r, _, factor=factor: factor * log_r), samples)
        slope = checks["slope of log r"]
        assert slope.deviation + 1.0 == pytest.approx(1.0 / factor, abs=4.0 * slope.error)
        assert slope.passed == (factor == 1.0)
        assert len(slope.finding.x) == 5
        assert (np.diff(slope.finding.x) > 0).all()


def test_an_offset_that_changes_with_theta_is_found_where_it_cancels_on_average(held_out):
    """A term that is odd in theta has no mean over theta, and is the same for all x: slopes do not see it either."""
    checks = trends(Exact(lambda log_r, theta: log_r + 0.4 * theta[..., 0]), held_out)
    assert failures(checks.values()) == {"normalisation"}
    assert checks["normalisation"].finding.y_label == "mean ratio"


def test_slopes_and_offsets_are_looked_for_where_there_is_something_to_see():
    toy = ratio_samples(4000)

    class Toy:
        def log_ratio(self, x, theta, *, pairing="pairs", names=None):
            return log_ratio(x[:, names.index("x")], theta[:, :1] if pairing == "grid" else theta[:, 0])

    assert failures(trends(Toy(), toy).values()) == set()
    at_reference = dataclasses.replace(toy, theta0=np.zeros_like(toy.theta0))
    assert list(trends(Toy(), at_reference)) == ["normalisation"]  # log r is 0 there, and has no slope
    assert list(trends(Toy(), toy.take(slice(0, 800)))) == ["slope of log r"]  # too few for more


def test_a_network_that_learned_from_too_few_events_is_found_out(tmp_path, held_out):
    """Its limits are much too narrow, and averages over theta do not show it."""
    store = drellyan_store(tmp_path / "few.zarr", PROCESS, 100_000)
    network = RatioEstimator((40, 40)).fit(sample_ratio(store, PRIOR, "sm", 100_000, seed=2), epochs=6, seed=3)
    with pytest.warns(CheckWarning, match="normalisation: .* FAILED"):
        checks = check(network, held_out, closure=False)
    averages = {one.name for one in checks if "ratio" in one.name or one.name == "calibration"}
    assert len(averages) == 6
    assert failures(checks) & averages == set()
    assert "normalisation" in failures(checks)
    grid = Grid([(-0.08, 0.08, 17), (-0.08, 0.08, 17)])
    options = {"theta_true": "sm", "grid": grid, "luminosity": 3000.0, "include_rate": False}
    exact = expected_limits(store, PROCESS, **options).allowed(0.95)
    with pytest.warns(CheckWarning, match="failed checks: .*normalisation"):
        found = expected_limits(store, network, **options).allowed(0.95)
    assert found.sum() < 0.75 * exact.sum()
    others = sample_ratio(store, PRIOR, "sm", 60_000, seed=5, partition="validation")
    mended = calibrate(network, others, "normalisation")
    assert trends(mended, held_out)["normalisation"].passed
