"""Coverage over toys: of stored intervals and of thresholds, with errors, where the exact coverage is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import chi2, norm
from toy_points import exact_threshold, gaussian_intervals, gaussian_toys

from columnminer.errors import InputError, MissingError
from columnminer.toys.coverage import coverage, interval_coverage
from columnminer.toys.neyman import NeymanThresholds

VALUES = (0.0, 0.3, 1.0, 2.0, 4.0)
ASYMPTOTIC = chi2.ppf(0.9, 1)


def exact_coverage(mu, threshold):
    """Probability that t of a bounded Gaussian is not above a threshold: equation 43 of arXiv:1007.1727."""
    root = np.sqrt(threshold)
    lowest = mu - root if threshold <= mu**2 else ((mu**2 - threshold) / (2 * mu) if mu > 0 else -np.inf)
    return norm.cdf(root) - norm.cdf(lowest - mu)


def with_intervals(mu, n, seed, threshold, **options):
    x = np.random.default_rng(seed).normal(mu, 1.0, n)
    ends = gaussian_intervals(x, threshold, np.linspace(0.0, 10.0, 2001))
    return gaussian_toys(mu, n, seed, interval=ends, **options)


def test_coverage_is_the_exact_one():
    points = [with_intervals(mu, 20_000, (3, i), lambda g: np.full(len(g), ASYMPTOTIC)) for i, mu in enumerate(VALUES)]
    found = coverage(points)
    exact = np.array([exact_coverage(mu, ASYMPTOTIC) for mu in VALUES])
    assert (found.share.fraction - exact) / (found.share.high - found.share.low) == pytest.approx(0.0, abs=1.6)
    assert exact[0] == pytest.approx(0.95)
    assert found.share.low[0] > 0.94  # far above its level of 0.9
    assert found.level == 0.9
    assert found.values.tolist() == list(VALUES)
    # a threshold says the same without intervals
    again = coverage(points, threshold=ASYMPTOTIC, level=0.9)
    assert np.abs(again.share.count - found.share.count).max() <= 60  # ends on a grid
    assert np.array_equal(again.share.toys, found.share.toys)


def test_thresholds_from_other_toys_cover():
    grid = np.linspace(0.0, 5.0, 26)
    thresholds = NeymanThresholds.from_results([gaussian_toys(mu, 20_000, (8, i)) for i, mu in enumerate(grid)], 0.9)
    points = [gaussian_toys(mu, 20_000, (9, i)) for i, mu in enumerate((0.05, *VALUES))]
    found = coverage(points, threshold=thresholds.at(0.9))
    assert found.level == 0.9
    assert found.share.fraction == pytest.approx(0.9, abs=0.01)
    limits = coverage(points, threshold=norm.ppf(0.9) ** 2, level=0.9, kind="upper")
    assert limits.share.fraction[-1] == pytest.approx(0.9, abs=0.01)
    exact = coverage(points, threshold=lambda mu: exact_threshold(mu, 0.9), level=0.9, error_level=0.999)
    assert ((exact.share.low < 0.9) & (exact.share.high > 0.9)).all()


def test_empty_intervals_hold_nothing_and_limits_are_held():
    found = interval_coverage([[0.0, np.nan, 0.5, -np.inf]], [[1.0, np.nan, 2.0, 0.5]], [0.0], 0.9)
    assert found.count.tolist() == [2]
    assert found.toys.tolist() == [4]
    batch = np.zeros((2, 3)), np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    assert interval_coverage(*batch, [2.0, 0.5]).fraction == pytest.approx([2 / 3, 1.0])


def test_what_is_not_known_is_said():
    point = gaussian_toys(1.0, 100, 0)
    with pytest.raises(MissingError, match=r"toys at mu = 1.0: .*compute_confidence_interval=True .*threshold="):
        coverage(point)
    with pytest.raises(InputError, match="which confidence level"):
        coverage(point, threshold=2.7)
    stored = with_intervals(1.0, 100, 0, lambda g: np.full(len(g), 1.0))
    with pytest.raises(InputError, match=r"confidence level 0.9, not 0.95"):
        coverage(stored, level=0.95)
    with pytest.raises(InputError, match=r"0.8 or 0.9"):
        coverage([stored, dataclasses.replace(stored, level=0.8)])
    with pytest.raises(InputError, match="do not say at which 'mu'"):
        coverage(dataclasses.replace(stored, generate={"b": 1.0}))
