from __future__ import annotations

import numpy as np
import pytest
from analytic_likelihoods import Curve, Gaussian, OnOff
from analytic_store import analytic_store
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binomtest, chi2, norm, poisson

from columnminer.errors import InputError, MissingError, UnknownNameError
from columnminer.infer.fit import fit
from columnminer.infer.histogram import HistogramLikelihood
from columnminer.infer.intervals import asymptotic_threshold, confidence_interval
from columnminer.model.parameters import Parameter


def gaussian(a=1.0, b=-2.0, **options):
    return Gaussian([Parameter("a", **options), Parameter("b")], [[0.04, 0.03], [0.03, 0.25]]).with_data([a, b])


def counting(n, fit_limits=(0.0, None)):
    """Poisson of mean 10 mu + 3."""
    return Curve(
        [Parameter("mu", 1.0, fit_limits=fit_limits)],
        lambda p: n * np.log(np.maximum(10.0 * p[..., 0] + 3.0, 1e-300)) - 10.0 * p[..., 0],
    )


def test_intervals_of_gaussians_have_their_closed_form():
    model = gaussian()
    half = 0.2 * norm.ppf(0.95)
    central = confidence_interval(model, "a", level=0.9)
    assert (central.lower, central.upper) == pytest.approx((1 - half, 1 + half), abs=1e-3)
    assert (central.lower_end, central.upper_end, central.valid) == ("crossing", "crossing", True)
    assert 1.0 in central
    assert 2.0 not in central
    upper = confidence_interval(model, "a", level=0.9, kind="upper")
    assert (upper.lower, upper.lower_end, upper.upper_end) == (-np.inf, "open", "crossing")
    assert upper.upper == pytest.approx(1 + 0.2 * norm.ppf(0.9), abs=1e-3)
    lower = confidence_interval(model, "b", level=0.95, kind="lower")
    assert (lower.lower, lower.upper) == (pytest.approx(-2 - 0.5 * norm.ppf(0.95), abs=1e-3), np.inf)
    held = confidence_interval(model.fix(b=-2.0), "a", level=0.9)
    assert held.upper == pytest.approx(1 + np.sqrt(1 / model.inverse[0, 0]) * norm.ppf(0.95), abs=1e-3)
    two = confidence_interval(model, "a", level=0.68, dof=2)
    assert two.upper == pytest.approx(1 + 0.2 * np.sqrt(chi2.ppf(0.68, 2)), abs=1e-3)


def test_a_counting_interval_is_where_the_poisson_ratio_crosses():
    q = chi2.ppf(0.95, 1)
    for n in (4, 13, 40):
        ends = [
            brentq(lambda m, n=n: 2 * (poisson.logpmf(n, n) - poisson.logpmf(n, m)) - q, *bracket)
            for bracket in ((1e-6, n), (n, 10 * n))
        ]
        interval = confidence_interval(counting(n), "mu", level=0.95)
        assert interval.upper == pytest.approx((ends[1] - 3) / 10, rel=1e-4)
        if ends[0] > 3:
            assert interval.lower == pytest.approx((ends[0] - 3) / 10, rel=1e-4)
        else:
            assert (interval.lower, interval.lower_end) == (0.0, "limit")


def test_a_profiled_counting_interval_agrees_with_the_on_off_formula():
    """Li and Ma, ApJ 272 (1983) 317, equation 17: t at no signal."""
    n_on, n_off, alpha = 20.0, 25.0, 0.4
    model = OnOff([5.0], [10.0], [2.0]).with_data([n_on, n_off])
    n = n_on + n_off
    at_zero = 2 * (n_on * np.log((1 + alpha) / alpha * n_on / n) + n_off * np.log((1 + alpha) * n_off / n))
    lower = confidence_interval(model, "mu", threshold=at_zero).lower
    assert lower == pytest.approx(0.0, abs=1e-4)


def test_a_threshold_may_be_a_function_of_the_parameter():
    given_ = confidence_interval(gaussian(), "a", threshold=lambda value: 4.0 if value > 1.0 else 1.0)
    assert (given_.lower, given_.upper) == pytest.approx((0.8, 1.4), abs=1e-3)


def test_a_best_fit_at_a_limit_gives_the_bounded_interval():
    model = gaussian(a=-0.1, fit_limits=(0.0, None))
    interval = confidence_interval(model, "a", level=0.9)
    assert interval.best_fit.values[0] == 0.0
    assert (interval.lower, interval.lower_end) == (0.0, "limit")
    # t = ((a + 0.1)^2 - 0.1^2) / 0.2^2, the best fit being at the bound
    assert interval.upper == pytest.approx(np.sqrt(0.04 * chi2.ppf(0.9, 1) + 0.01) - 0.1, abs=1e-4)


def test_a_best_fit_beyond_the_bounds_is_bounded_on_request():
    """Without that the interval is short, and empty far away."""
    near, far = gaussian(a=-0.1), gaussian(a=-2.0)
    options = {"level": 0.9, "bounds": (0.0, 3.0)}
    short = confidence_interval(near, "a", **options)
    assert (short.lower, short.lower_end) == (0.0, "limit")
    assert short.upper == pytest.approx(-0.1 + 0.2 * norm.ppf(0.95), abs=1e-4)
    bounded = confidence_interval(near, "a", bound_best_fit=True, **options)
    assert bounded.upper == pytest.approx(np.sqrt(0.04 * chi2.ppf(0.9, 1) + 0.01) - 0.1, abs=1e-4)
    empty = confidence_interval(far, "a", **options)
    assert np.isnan([empty.lower, empty.upper]).all()
    assert (empty.lower_end, empty.upper_end) == ("empty", "empty")
    assert 0.0 not in empty
    again = confidence_interval(far, "a", bound_best_fit=True, **options)
    assert again.upper == pytest.approx(np.sqrt(0.04 * chi2.ppf(0.9, 1) + 4.0) - 2.0, rel=1e-3)
    beyond = confidence_interval(gaussian(a=5.0), "a", kind="upper", **options)
    assert (beyond.upper, beyond.upper_end) == (3.0, "limit")


def test_a_side_that_nothing_excludes_is_open_or_reaches_the_limit():
    def log(points):
        return -0.5 * np.minimum(points[..., 0], 1.0) ** 2  # flat above 1

    interval = confidence_interval(Curve([Parameter("x")], log), "x", start=[0.3])
    assert (interval.upper, interval.upper_end) == (np.inf, "open")
    assert interval.lower == pytest.approx(-norm.ppf(0.95), abs=1e-3)
    bounded = confidence_interval(Curve([Parameter("x")], log), "x", start=[0.3], bounds=(None, 9.0))
    assert (bounded.upper, bounded.upper_end) == (9.0, "limit")


def test_extremal_roots_are_the_outermost():
    """t = 8 sin(x)^2 + x^2 / 4 crosses 2.706 several times on either side."""

    def t(x):
        return 8.0 * np.sin(x) ** 2 + x**2 / 4.0

    model = Curve([Parameter("x", bounds=(-8.0, 8.0))], lambda points: -0.5 * t(points[..., 0]))
    level = 0.9
    q = chi2.ppf(level, 1)
    near = confidence_interval(model, "x", level=level, start=[0.1])
    assert near.upper == pytest.approx(brentq(lambda x: t(x) - q, 0.0, 1.0), abs=1e-5)
    outer = confidence_interval(model, "x", level=level, start=[0.1], roots="extremal")
    assert outer.upper == pytest.approx(brentq(lambda x: t(x) - q, 3.14, 4.5), abs=1e-5)
    assert outer.lower == pytest.approx(-outer.upper, abs=1e-5)
    with pytest.raises(InputError, match="how far to look"):
        confidence_interval(gaussian(), "a", roots="extremal")
    within = confidence_interval(model, "x", start=[0.1], roots="extremal", bounds=(-3.1, 0.3))
    assert (within.lower, within.lower_end) == (-3.1, "limit")


def test_a_better_fit_met_on_the_way_takes_over():
    def log(points):
        x = points[..., 0]
        return np.logaddexp(-0.5 * x**2 / 0.04, 5.0 - 0.5 * (x - 4.0) ** 2 / 0.04)

    model = Curve([Parameter("x", bounds=(-6.0, 6.0))], log)
    interval = confidence_interval(model, "x", level=0.95, roots="extremal", start=[0.1])
    assert interval.best_fit.values[0] == pytest.approx(4.0, abs=1e-3)
    assert interval.lower == pytest.approx(4.0 - 0.2 * norm.ppf(0.975), abs=1e-3)


def test_a_slice_counts_from_the_fit_with_more_free():
    """As of a region in both parameters: fixed at b = -1.5, t is already 1 at the best a."""
    model = gaussian()
    sliced = model.fix(b=-1.5)
    interval = confidence_interval(sliced, "a", level=0.9, dof=2, reference=fit(model))
    centre, width = 1.0 + 0.03 / 0.25 * 0.5, 1 / np.sqrt(model.inverse[0, 0])
    assert interval.upper == pytest.approx(centre + width * np.sqrt(chi2.ppf(0.9, 2) - 1.0), abs=1e-3)
    nothing = confidence_interval(model.fix(b=0.0), "a", level=0.9, dof=2, reference=fit(model))
    assert nothing.lower_end == "empty"


@settings(max_examples=15, deadline=None)
@given(st.floats(0.01, 100), st.floats(-50, 50), st.floats(-1e3, 1e3))
def test_intervals_follow_a_change_of_parameter_and_no_offset(scale, shift, offset):
    """In y = scale x + shift the ends are those of x, too; in exp(x), as well."""

    def log(x):
        return offset + 8.0 * x - 5.0 * np.exp(x)

    plain = confidence_interval(Curve([Parameter("x")], lambda p: log(p[..., 0])), "x", level=0.68)
    linear = Curve([Parameter("y", shift, (shift - scale, shift + scale))], lambda p: log((p[..., 0] - shift) / scale))
    other = confidence_interval(linear, "y", level=0.68)
    assert ((other.lower - shift) / scale, (other.upper - shift) / scale) == pytest.approx(
        (plain.lower, plain.upper), abs=3e-4
    )
    curved = Curve([Parameter("z", 1.0, fit_limits=(1e-3, None))], lambda p: log(np.log(p[..., 0])))
    third = confidence_interval(curved, "z", level=0.68)
    assert (np.log(third.lower), np.log(third.upper)) == pytest.approx((plain.lower, plain.upper), abs=3e-4)


def test_intervals_cover_and_with_too_few_degrees_of_freedom_do_not(tmp_path):
    """Regions in two parameters: t at the truth has two degrees of freedom."""
    model = Gaussian([Parameter("a"), Parameter("b")], [[0.04, 0.03], [0.03, 0.25]])
    inside = {1: 0, 2: 0}
    for seed in range(150):
        toy = model.with_data(model.simulate(seed, a=0.5, b=1.0))
        reference = fit(toy, hesse=False)
        for dof in inside:
            interval = confidence_interval(toy.fix(b=1.0), "a", level=0.68, dof=dof, reference=reference)
            inside[dof] += 0.5 in interval
    assert binomtest(inside[2], 150, 0.68).pvalue > 0.01
    assert binomtest(inside[1], 150, 0.68).pvalue < 1e-4


def test_intervals_of_a_histogram_cover(tmp_path):
    store = analytic_store(tmp_path / "events.zarr")
    model = HistogramLikelihood.from_store(store, "x", 300.0, bins=np.linspace(0.1, 0.9, 9), partition="all")
    toys = [model.simulate(seed, theta=0.5) for seed in range(60)]
    inside = sum(0.5 in confidence_interval(model.with_data(t), "theta", level=0.68, start=[0.5]) for t in toys)
    assert binomtest(inside, 60, 0.68).pvalue > 0.01


def test_errors_name_what_is_wrong():
    model = gaussian()
    with pytest.raises(UnknownNameError, match=r"no parameter 'aa'. Did you mean 'a'"):
        confidence_interval(model, "aa")
    with pytest.raises(InputError, match=r"'upper' or 'lower', not 'uper'. Did you mean 'upper'"):
        confidence_interval(model, "a", kind="uper")
    with pytest.raises(InputError, match=r"between 0\.5 and 1, not at 0\.3"):
        confidence_interval(model, "a", kind="upper", level=0.3)
    with pytest.raises(InputError, match="between 0 and 1, not at 1"):
        confidence_interval(model, "a", level=1.0, threshold=1.0)
    with pytest.raises(InputError, match="a limit has one; not 2"):
        confidence_interval(model, "a", kind="upper", dof=2)
    with pytest.raises(InputError, match="Did you mean 'extremal'"):
        confidence_interval(model, "a", roots="extreme")
    with pytest.raises(InputError, match="at least 2 points, not 1"):
        confidence_interval(model, "a", roots="extremal", bounds=(-1, 1), n_scan=1)
    with pytest.raises(InputError, match=r"bounds of 'a' must be \(low, high\)"):
        confidence_interval(model, "a", bounds=(1.0, 0.0))
    with pytest.raises(UnknownNameError, match=r"no option 'stratgy'. Did you mean 'strategy'"):
        confidence_interval(model, "a", fit_options={"stratgy": 2})
    with pytest.raises(MissingError, match="fit of x did not converge"):
        confidence_interval(Curve([Parameter("x")], lambda points: points[..., 0]), "x")
    assert asymptotic_threshold(0.9) == pytest.approx(2.7055, abs=1e-4)
    assert asymptotic_threshold(0.9, dof=2) == pytest.approx(4.6052, abs=1e-4)
    assert asymptotic_threshold(0.9, "upper") == asymptotic_threshold(0.9, "lower") == pytest.approx(1.6424, abs=1e-4)
