"""Intervals of many toys at once: `confidence_interval`, toy by toy."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
from analytic_likelihoods import Curve, Gaussian, OnOff, kinked
from scipy.stats import binomtest, chi2, norm
from wimp_templates import wimps

from columnminer.errors import InputError, UnknownNameError
from columnminer.infer.batches import pick
from columnminer.infer.batchfit import fit_batch
from columnminer.infer.batchintervals import interval_batch
from columnminer.infer.intervals import confidence_interval
from columnminer.infer.products import Product
from columnminer.model.parameters import Parameter


def gaussian(**options):
    return Gaussian([Parameter("a", **options), Parameter("b")], [[0.04, 0.03], [0.03, 0.25]])


def on_off():
    return OnOff([5.0, 8.0], [10.0, 20.0], [2.0, 3.0], fit_limits=(0.0, None))


def rising(value):
    return 1.0 + 0.2 * np.asarray(value)


CASES = {
    "central": (gaussian(), "a", {"a": 0.3}, {}),
    "a best fit at a limit": (gaussian(fit_limits=(0.0, None)), "a", {"a": 0.0}, {"level": 0.95}),
    "upper limits up to a bound": (gaussian(), "a", {"a": 0.1}, {"kind": "upper", "bounds": (0.0, 0.4)}),
    "lower limits": (gaussian(), "a", {"a": 0.1}, {"kind": "lower", "bounds": (0.0, 0.4)}),
    "short and empty": (gaussian(), "a", {"a": -0.1}, {"bounds": (0.1, None)}),
    "bounded best fits": (gaussian(), "a", {"a": -0.1}, {"bounds": (0.1, None), "bound_best_fit": True}),
    "counts": (on_off(), "mu", {"mu": 0.7}, {}),
    "upper limits of counts": (on_off(), "mu", {"mu": 0.1}, {"kind": "upper"}),
    "two degrees of freedom": (on_off(), "gamma0", {"mu": 0.7}, {"dof": 2, "level": 0.68}),
    "a threshold that rises": (on_off(), "mu", {"mu": 0.7}, {"threshold": rising}),
    "others held": (on_off(), "mu", {"mu": 0.7}, {"interval_args": {"gamma0": 1.1}}),
    "a slice": (on_off(), "mu", {}, {"interval_args": {"gamma0": 1.1}, "best_fit_args": {}, "level": 0.99}),
    "kinks": (kinked(), "rate", {"shape": 0.7}, {}),
    "of a parameter with kinks": (kinked(), "shape", {"shape": -0.7}, {}),
    "templates": (wimps(), "mu", {"mu": 0.5}, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_each_interval_is_that_of_one_toy(case):
    model, name, truth, options = CASES[case]
    data = model.simulate_many(11, np.arange(4 if case == "templates" else 12), truth)
    batch = interval_batch(model, name, data, **options)
    assert batch.valid.all()
    assert batch.by_minuit.sum() == 0
    for i in range(len(batch)):
        single = confidence_interval(model.with_data(pick(data, np.asarray(i))), name, **options)
        assert (batch.lower_end[i], batch.upper_end[i]) == (single.lower_end, single.upper_end)
        length = single.upper - single.lower
        scale = length if np.isfinite(length) else 0.2
        assert batch.lower[i] == pytest.approx(single.lower, abs=1e-3 * scale, nan_ok=True)
        assert batch.upper[i] == pytest.approx(single.upper, abs=1e-3 * scale, nan_ok=True)


def test_intervals_of_gaussians_have_their_closed_form():
    data = np.array([[1.0, -2.0], [0.1, 3.0]])
    half = 0.2 * norm.ppf(0.95)
    central = interval_batch(gaussian(), "a", data)
    np.testing.assert_allclose(central.lower, data[:, 0] - half, atol=1e-6)
    np.testing.assert_allclose(central.upper, data[:, 0] + half, atol=1e-6)
    assert central.contains([1.0, 1.0]).tolist() == [True, False]
    assert central.contains(0.9).tolist() == [True, False]
    upper = interval_batch(gaussian(), "a", data, kind="upper")
    np.testing.assert_allclose(upper.upper, data[:, 0] + 0.2 * norm.ppf(0.9), atol=1e-6)
    assert (upper.lower == -np.inf).all()
    assert (upper.lower_end == "open").all()
    known = interval_batch(gaussian(), "a", data, best=fit_batch(gaussian(), data))
    np.testing.assert_allclose(known.lower, central.lower, atol=1e-9)


def test_coverage_is_the_level_and_that_of_shifted_intervals_is_not():
    data = np.random.default_rng(5).multivariate_normal([0.0, 0.0], [[0.04, 0.03], [0.03, 0.25]], size=2000)
    intervals = interval_batch(gaussian(), "b", data, level=0.68)
    inside = int(intervals.contains(0.0).sum())
    assert binomtest(inside, 2000, 0.68).pvalue > 0.01
    assert binomtest(int(intervals.contains(0.4).sum()), 2000, 0.68).pvalue < 1e-6


def test_open_sides_and_domains_that_end():
    model = Curve([Parameter("x")], lambda p: -0.5 * np.minimum(p[..., 0], 1.0) ** 2)  # flat above 1
    found = interval_batch(model, "x", 0.0, start=[[0.3]])
    assert (found.upper[0], found.upper_end[0]) == (np.inf, "open")
    assert found.lower[0] == pytest.approx(-norm.ppf(0.95), abs=1e-5)
    reached = interval_batch(model, "x", 0.0, start=[[0.3]], bounds=(None, 9.0))
    assert (reached.upper[0], reached.upper_end[0]) == (9.0, "limit")
    ends = Curve([Parameter("x")], lambda p: np.where(p[..., 0] > 0.5, -np.inf, -0.5 * p[..., 0] ** 2))
    edge = interval_batch(ends, "x", 0.0)
    assert edge.upper[0] == pytest.approx(0.5, abs=1e-5)
    assert edge.valid.all()


def test_thresholds_may_jump_and_need_not_be_positive():
    data = np.array([[1.0, -2.0]])
    jump = interval_batch(gaussian(), "a", data, threshold=lambda v: np.where(v > 1.3, 1e-9, 4.0))
    assert jump.upper[0] == pytest.approx(1.3, abs=1e-5)
    assert jump.lower[0] == pytest.approx(0.6, abs=1e-5)
    none = interval_batch(gaussian(), "a", data, threshold=0.0)
    assert none.upper[0] - none.lower[0] == pytest.approx(0.0, abs=1e-4)


def test_a_better_maximum_on_the_way_becomes_the_best_fit():
    """The fit starts in the lesser of two maxima; the search for the end passes the better one."""

    def log(points):
        x = points[..., 0]
        return np.logaddexp(-0.5 * (x + 1.0) ** 2 - 1.0, -0.5 * (x - 1.0) ** 2 / 0.09)

    model = Curve([Parameter("x")], log)
    assert fit_batch(model, 0.0, start=[[-1.0]]).values[0, 0] == pytest.approx(-1.0, abs=0.01)
    found = interval_batch(model, "x", 0.0, start=np.array([[-1.0], [1.0]]), threshold=4.0)
    np.testing.assert_allclose(found.best.values, 1.0, atol=0.02)
    single = confidence_interval(model, "x", start=[1.0], threshold=4.0)
    np.testing.assert_allclose(found.lower, single.lower, atol=1e-3)
    np.testing.assert_allclose(found.upper, single.upper, atol=1e-3)


def test_bounds_in_numbers_of_events():
    """15 events for each unit of mu: 30 of them are mu = 2."""
    model = wimps()
    data = model.simulate_many(1, np.arange(3), mu=1.9)
    events = interval_batch(model, "mu", data, bounds=(0.0, 30.0), bounds_in_events=True)
    plain = interval_batch(model, "mu", data, bounds=(0.0, 2.0))
    np.testing.assert_allclose(events.upper, plain.upper, rtol=1e-6)
    assert (plain.upper_end == "limit").any()
    one = model.with_data(pick(data, np.asarray(1)))
    single = confidence_interval(one, "mu", bounds=(0.0, 30.0), bounds_in_events=True)
    assert single.upper == pytest.approx(plain.upper[1], rel=1e-4)
    with pytest.raises(InputError, match=r"'shape' is a parameter of kind 'shape'.*numbers of events"):
        interval_batch(model, "shape", data, bounds=(0.0, 30.0), bounds_in_events=True)


def test_a_parameter_may_say_that_its_bounds_are_events():
    model = wimps()
    factors = [_with_bounds(f, (0.0, 30.0)) for f in model.factors]
    counted, data = Product(factors), model.simulate_many(1, np.arange(3), mu=1.9)
    plain = interval_batch(model, "mu", data, bounds=(0.0, 2.0))
    np.testing.assert_allclose(interval_batch(counted, "mu", data).upper, plain.upper, rtol=1e-6)
    np.testing.assert_allclose(interval_batch(counted, "mu", data, bounds=(0.0, 2.0)).upper, plain.upper, rtol=1e-6)
    values = interval_batch(counted, "mu", data, bounds_in_events=False)
    assert (values.upper > plain.upper + 0.1).any()


def _with_bounds(factor, bounds):
    changed = copy.copy(factor)
    fields = {"interval_bounds": bounds, "interval_bounds_in_events": True}
    changed.parameters = tuple(dataclasses.replace(p, **fields) if p.name == "mu" else p for p in factor.parameters)
    return changed


def test_a_slice_counts_from_the_fit_with_more_parameters_free():
    """alea's interval_args and best_fit_args: in two dimensions t of the slice is the whole quadratic form."""
    model, data = gaussian(), np.array([[1.0, -2.0]])
    inverse, q = model.inverse, chi2.ppf(0.9, 2)
    options = {"interval_args": {"b": -1.8}, "best_fit_args": {}, "dof": 2}
    slice_ = interval_batch(model, "a", data, **options)
    for end in (slice_.lower[0], slice_.upper[0]):
        pull = np.array([end - 1.0, 0.2])
        assert pull @ inverse @ pull == pytest.approx(q, rel=1e-4)
    single = confidence_interval(model.with_data(data[0]), "a", **options)
    assert (single.lower, single.upper) == pytest.approx((slice_.lower[0], slice_.upper[0]), abs=1e-4)
    held = interval_batch(model, "a", data, interval_args={"b": -1.8})
    assert held.upper[0] - held.lower[0] == pytest.approx(2 * norm.ppf(0.95) / np.sqrt(inverse[0, 0]), rel=1e-4)


def test_errors_name_what_is_wrong():
    model, data = gaussian(), np.zeros((2, 2))
    with pytest.raises(UnknownNameError, match="no parameter 'c'"):
        interval_batch(model, "c", data)
    with pytest.raises(InputError, match="'a' is held: it has no confidence interval"):
        interval_batch(model, "a", data, interval_args={"a": 1.0})
    with pytest.raises(InputError, match="bounds of 'a'"):
        interval_batch(model, "a", data, bounds=(1.0, 0.0))
    with pytest.raises(InputError, match="confidence level"):
        interval_batch(model, "a", data, level=1.2)
    with pytest.raises(InputError, match="do not help here"):
        interval_batch(model, "a", data, best=fit_batch(kinked(), kinked().simulate_many(0, [0, 1])))
