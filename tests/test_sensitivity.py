"""Sensitivity bands, power and significance from toys, against exact Gaussian and Poisson results."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, poisson
from toy_points import counting_toys, gaussian_toys

from columnminer.errors import InputError, MissingError
from columnminer.toys.discovery import discovery_power, toy_significance
from columnminer.toys.distributions import pulls, statistic_distribution
from columnminer.toys.points import signed_roots
from columnminer.toys.sensitivity import N_SIGMA, limit_bands, sensitivity
from columnminer.toys.statistics import ONE_SIGMA


def limits(sigma, n, seed, **options):
    """Upper limits at 90 % of a Gaussian measurement of 0: (n, 2), open below."""
    x = np.random.default_rng(seed).normal(0.0, sigma, n)
    ends = np.stack([np.full(n, -np.inf), x + norm.ppf(0.9) * sigma], axis=1)
    return gaussian_toys(0.0, n, seed, sigma=sigma, interval=ends, **options)


def test_bands_are_those_of_a_gaussian():
    masses, sigma = np.array([30.0, 10.0, 100.0]), np.array([1.0, 2.0, 3.0])
    points = [limits(sigma[i], 20_000, (1, i), nominal={"mass": masses[i]}) for i in range(3)]
    found = sensitivity(points)
    order = np.argsort(masses)
    expected = sigma[order, np.newaxis] * (norm.ppf(0.9) + np.array(N_SIGMA))
    assert found.along == "mass"
    assert found.values.tolist() == [10.0, 30.0, 100.0]
    assert (np.abs(found.bands - expected) / found.errors).max() < 4.0
    assert found.median_error == pytest.approx(sigma[order] * np.sqrt(np.pi / 2 / 20_000), rel=0.15)
    assert np.array_equal(found.median, found.bands[:, 2])
    assert found.toys.tolist() == [20_000] * 3
    shifted = (np.abs(found.bands[:, 2] - expected[:, 3]) / found.median_error).min()
    assert shifted > 50.0  # the test sees one band from another
    section = found.scaled([1e-45, 2e-45, 3e-45], "cross section [cm2]")
    assert section.median == pytest.approx(found.median * [1e-45, 2e-45, 3e-45])
    assert section.name == "cross section [cm2]"


def test_one_point_has_bands_and_nan_is_left_out():
    found = sensitivity(limits(1.0, 1000, 5))
    assert (found.along, found.values.tolist()) == ("", [0.0])
    bands = limit_bands([[1.0, np.nan, 3.0, 2.0, np.inf]], [0.0], name="mu")
    assert bands.toys.tolist() == [4]
    assert bands.median.tolist() == [2.5]
    assert bands.bands[0, -1] == np.inf
    lower = sensitivity(gaussian_toys(0.0, 100, 5, interval=np.full((100, 2), [0.5, 1.0])), end="lower")
    assert lower.median.tolist() == [0.5]


def test_points_of_a_sensitivity_differ_in_one_thing():
    with pytest.raises(InputError, match="not in nothing"):
        sensitivity([limits(1.0, 100, 1), limits(1.0, 100, 2)])
    two = [limits(1.0, 100, i, nominal={"mass": i, "exposure": i}) for i in (1, 2)]
    with pytest.raises(InputError, match=r"not in exposure, mass|not in mass, exposure"):
        sensitivity(two)
    with pytest.raises(MissingError, match="no intervals are stored"):
        sensitivity(gaussian_toys(0.0, 10, 0))
    with pytest.raises(InputError, match="different confidence levels"):
        sensitivity([limits(1.0, 100, 1, nominal={"m": 1}), limits(1.0, 100, 1, nominal={"m": 2}, level=0.5)])
    with pytest.raises(InputError, match="positive factors"):
        sensitivity(limits(1.0, 100, 1)).scaled(-1.0, "x")
    with pytest.raises(InputError, match="there are limits at 0 points"):
        limit_bands([[np.nan]], [0.0], name="mu")


def test_power_of_a_gaussian_is_exact():
    values = (0.0, 1.0, 3.0, 5.0)
    found = discovery_power([gaussian_toys(mu, 20_000, (2, i)) for i, mu in enumerate(values)], significance=2.0)
    exact = norm.sf(2.0 - np.array(values))
    assert ((found.share.fraction - exact) / (found.share.high - found.share.low)) == pytest.approx(0.0, abs=1.6)
    assert found.critical.tolist() == [4.0] * 4
    assert found.significance == 2.0
    # toys with less than no signal do not count
    free = discovery_power(gaussian_toys(-5.0, 1000, 0, lowest=-100.0), significance=2.0)
    assert free.share.count.tolist() == [0]


def test_critical_values_of_toys_hold_their_rate_where_asymptotic_ones_do_not():
    background = 2.9  # seven events have q0 = 4.1, and a probability of more than two standard deviations
    points = [counting_toys(0.0, background, 200_000, (4, i)) for i in range(2)]
    probability = norm.sf(2.0)
    asymptotic = discovery_power(points[0], significance=2.0, error_level=0.999)
    assert asymptotic.share.low[0] < poisson.sf(6, background) < asymptotic.share.high[0]
    assert asymptotic.share.low[0] > probability
    toys = discovery_power(points[0], significance=2.0, no_signal=points[1], error_level=0.999)
    assert toys.share.low[0] < poisson.sf(7, background) < toys.share.high[0] < probability
    gaussian = discovery_power(gaussian_toys(0.0, 40_000, 6), significance=2.0, no_signal=gaussian_toys(0.0, 40_000, 7))
    assert gaussian.critical[0] == pytest.approx(4.0, abs=4 * gaussian.critical_error[0])
    assert gaussian.share.fraction[0] == pytest.approx(probability, abs=0.004)


def test_toys_without_a_signal_belong_to_their_conditions():
    points = [gaussian_toys(2.0, 500, (1, m), nominal={"mass": m}) for m in (10, 20)]
    without = [gaussian_toys(0.0, 500, (2, m), sigma=s, nominal={"mass": m}) for m, s in ((20, 3.0), (10, 1.0))]
    found = discovery_power(points, significance=1.0, no_signal=without)
    assert found.critical[0] == pytest.approx(1.0, abs=4 * found.critical_error[0])
    assert found.conditions[1] == {"mass": 20}
    with pytest.raises(InputError, match=r"0 sets of toys without a signal, not one, belong to .*mass"):
        discovery_power(points, significance=1.0, no_signal=[without[0], without[0]])
    with pytest.raises(InputError, match=r"of 3 standard deviations needs 2960 toys without a signal, not 500"):
        discovery_power(points, no_signal=without[0])
    with pytest.raises(InputError, match="positive significance"):
        discovery_power(points, significance=0.0)


def test_significance_from_toys_is_the_exact_probability():
    background, observed = 3.0, 9
    q0 = 2.0 * (observed * np.log(observed / background) - (observed - background))
    found = toy_significance(q0 - 1e-9, counting_toys(0.0, background, 400_000, 8), error_level=0.999)
    exact = poisson.sf(observed - 1, background)
    assert found.share.low < exact < found.share.high
    assert not found.share.low < found.asymptotic_p_value < found.share.high  # few events are not asymptotic
    assert found.low < found.significance < found.high
    assert found.significance == pytest.approx(norm.isf(exact), abs=0.05)
    assert found.p_value == found.share.fraction
    never = toy_significance(50.0, counting_toys(0.0, background, 1000, 8))
    assert (never.bound, found.bound) == ("lower", None)
    assert never.high == np.inf
    assert never.significance == never.low
    # 1 - (1 - p)^1000 = 0.84: the upper end of the central interval with nothing found
    assert never.p_value == pytest.approx(1.0 - (0.5 * (1.0 - ONE_SIGMA)) ** (1 / 1000), rel=1e-6)
    assert norm.sf(never.significance) == pytest.approx(never.p_value)
    assert str(never).startswith("significance >2.90 (p value <0.0018): 0 of 1000 toys")
    assert str(found).startswith("significance 2.66 (p value 0.0039): 1569 of 400000 toys")
    stricter = toy_significance(50.0, counting_toys(0.0, background, 1000, 8), error_level=0.95)
    assert stricter.significance < never.significance
    always = toy_significance(0.0, counting_toys(0.0, background, 1000, 8))  # data with less than the background
    assert always.bound == "upper"
    assert always.low == -np.inf
    assert always.significance == always.high == pytest.approx(-never.significance)
    assert str(always).startswith("significance <-2.90 (p value >1): 1000 of 1000 toys")
    with pytest.raises(InputError, match="not negative"):
        toy_significance(-1.0, counting_toys(0.0, background, 100, 8))


def test_t_follows_chi_square_far_from_the_boundary_and_not_near_it():
    far = statistic_distribution(gaussian_toys(8.0, 20_000, 1), bins=30)
    assert far.p_value > 0.001
    assert far.counts.sum() + far.beyond == far.toys == 20_000
    assert ((far.counts - far.expected) ** 2 / np.maximum(far.expected, 1.0)).sum() < 70
    near = statistic_distribution(gaussian_toys(0.0, 20_000, 1))
    assert near.p_value < 1e-6
    half = statistic_distribution(gaussian_toys(0.0, 20_000, 1), kind="lower")
    assert half.expected.sum() == pytest.approx(20_000, rel=1e-4)
    assert np.abs(half.counts - half.expected).max() < 5 * np.sqrt(half.expected.max())
    assert np.isnan(half.p_value)
    assert (half.law, far.law) == ("half of chi-square, 1 degree of freedom", "chi-square, 1 degree of freedom")


def test_pulls_are_standard_normal_and_shifted_ones_are_seen():
    point = gaussian_toys(8.0, 10_000, 2)
    found = pulls(point)
    assert found.histogram.p_value > 0.001
    assert found.mean == pytest.approx(0.0, abs=4 * found.mean_error)
    assert found.width == pytest.approx(1.0, abs=4 * found.width_error)
    assert found.width_error == pytest.approx(np.sqrt(0.5 / 10_000), rel=0.1)
    assert pulls(signed_roots(point) + 0.1).histogram.p_value < 1e-6
    assert pulls(1.1 * signed_roots(point)).histogram.p_value < 1e-3
    assert np.std(signed_roots(point) - (point.fits["free"].values[:, 0] - 8.0)) < 1e-6
    with pytest.raises(InputError, match="at least two finite numbers"):
        pulls([1.0, np.nan])
