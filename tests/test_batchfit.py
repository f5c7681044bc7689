"""Fits of many toys at once: those of iminuit toy by toy, at limits and kinks too, with standard normal pulls."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from analytic_likelihoods import Curve, Gaussian, OnOff, kinked
from scipy.stats import kstest, norm
from wimp_templates import wimps

from columnminer.errors import InputError, MissingError, UnknownNameError
from columnminer.infer.batches import pick, stack
from columnminer.infer.batchfit import fit_batch, signal_estimate
from columnminer.infer.fit import maximise
from columnminer.model.parameters import Parameter

COVARIANCE = np.array([[0.04, 0.03], [0.03, 0.25]])


def gaussian(**options):
    return Gaussian([Parameter("a", **options), Parameter("b")], COVARIANCE)


MODELS = {
    "gaussian": (gaussian(), {"a": 0.3}),
    "bounded": (gaussian(fit_limits=(0.0, 1.0)), {"a": 0.1}),
    "on/off": (OnOff([5.0, 8.0], [10.0, 20.0], [2.0, 3.0], fit_limits=(0.0, None)), {"mu": 0.4}),
    "kinks": (kinked(), {"shape": 0.6}),
    "kinks by differences": (kinked(analytic=False), {"shape": -0.9}),
    "a truth at the last kink": (kinked(), {"shape": 2.0, "rate": 0.1}),
    "templates": (wimps(), {"mu": 0.5}),
}


@pytest.mark.parametrize("name", MODELS)
def test_batched_fits_are_those_of_minuit_toy_by_toy(name):
    """Of a likelihood with kinks iminuit may find a lesser maximum."""
    model, truth = MODELS[name]
    data = model.simulate_many(3, np.arange(8 if name == "templates" else 25), truth)
    fits = fit_batch(model, data)
    assert fits.converged.all()
    assert fits.fallback_share == 0.0
    assert fits.parameter_names == model.names
    np.testing.assert_allclose(fits.log_likelihood, model.log_likelihood(fits.values, data), rtol=1e-12)
    singles = [
        maximise(model.with_data(pick(data, np.asarray(i))), method="simplex_migrad", tolerance=1e-4, hesse=False)
        for i in range(len(fits))
    ]
    more = fits.log_likelihood - [single.log_likelihood for single in singles]
    assert (more >= -1e-6).all()
    same = more < 1e-6
    assert same.mean() >= (0.8 if model.kinks else 1.0)
    off = np.abs(fits.values - [single.values for single in singles])[same]
    assert (off < 1e-3 * np.where(fits.held, np.inf, fits.errors)[same]).all()


def test_a_maximum_at_a_kink_is_found_exactly():
    """log L = -|x - 1| - (y - x)^2: both sides of the kink point to it."""

    class Cusp(Curve):
        kinks = {"x": np.array([-3.0, 1.0])}  # noqa: RUF012 - as a property would give it

    def log(points):
        return -np.abs(points[..., 0] - 1.0) - (points[..., 1] - points[..., 0]) ** 2 / 2

    model = Cusp([Parameter("x"), Parameter("y")], log)
    starts = np.random.default_rng(1).normal(scale=4.0, size=(30, 2))
    starts[0] = 1.0  # on it
    fits = fit_batch(model, 0.0, start=starts)
    assert fits.converged.all()
    assert fits.fallback_share == 0.0
    np.testing.assert_array_equal(fits.values[:, 0], 1.0)
    np.testing.assert_allclose(fits.values[:, 1], 1.0, atol=1e-4)
    assert fits.held[:, 0].all()
    assert np.isnan(fits.errors[:, 0]).all()
    single = maximise(model, start=[3.0, -2.0])
    assert single.valid
    assert single.values == pytest.approx([1.0, 1.0], abs=1e-4)


def test_a_higher_maximum_behind_a_kink_is_found():
    """Two parabolas that meet at 0, one 0.5 higher; the start is on the lower one."""

    class Two(Curve):
        kinks = {"x": np.array([0.0])}  # noqa: RUF012 - as a property would give it

    def log(points):
        x = points[..., 0]
        return np.where(x < 0.0, -0.5 * (x + 0.6) ** 2 + 0.18, -0.5 * (x - 1.0) ** 2 + 0.5)

    fits = fit_batch(Two([Parameter("x")], log), 0.0, start=[[-0.6], [-2.0], [3.0]])
    np.testing.assert_allclose(fits.values[:, 0], 1.0, atol=1e-4)


def test_pulls_are_standard_normal_and_those_about_a_wrong_truth_are_not():
    model, truth = gaussian(), {"a": 0.3, "b": -1.0}
    data = np.random.default_rng(7).multivariate_normal([0.3, -1.0], COVARIANCE, size=10_000)
    fits = fit_batch(model, data)
    assert fits.converged.all()
    for i, name in enumerate(model.names):
        pulls = (fits.values[:, i] - truth[name]) / fits.errors[:, i]
        assert kstest(pulls, norm.cdf).pvalue > 0.01
        assert kstest(pulls + 0.05, norm.cdf).pvalue < 1e-3


def test_rows_do_not_depend_on_those_beside_them():
    model = kinked()
    data = model.simulate_many(5, np.arange(12))
    together, rows = fit_batch(model, data), np.array([7, 2, 11])
    few = fit_batch(model, pick(data, rows))
    np.testing.assert_allclose(few.values, together.values[rows], rtol=1e-9, atol=1e-12)


def test_fixed_parameters_are_held_at_a_number_or_one_for_each_toy():
    model = gaussian()
    data = model.simulate_many(1, np.arange(6))
    values = np.linspace(-1.0, 1.0, 6)
    fits = fit_batch(model, data, b=values)
    np.testing.assert_array_equal(fits.by_name["b"], values)
    slope = COVARIANCE[0, 1] / COVARIANCE[1, 1]
    np.testing.assert_allclose(fits.by_name["a"], data[:, 0] + slope * (values - data[:, 1]), atol=1e-5)
    assert fits.held[:, 1].all()
    np.testing.assert_allclose(fits.errors[:, 0] ** 2, 0.04 - 0.03 * slope, rtol=1e-3)
    same = fit_batch(model.with_data(data[3]), b=values)  # one data set, at several values
    np.testing.assert_allclose(same.values[3], fits.values[3], atol=1e-6)
    assert len(same) == 6
    nothing = fit_batch(model, data, a=0.1, b=0.2)
    np.testing.assert_allclose(nothing.log_likelihood, model.log_likelihood(data=data, a=0.1, b=0.2))
    assert nothing.converged.all()


def test_a_start_below_a_limit_and_limits_given():
    model = gaussian()
    data = np.array([[0.5, 0.0], [-0.5, 0.0]])
    fits = fit_batch(model, data, limits={"a": (0.0, 0.3)}, start={"a": -7.0})
    np.testing.assert_array_equal(fits.by_name["a"], [0.3, 0.0])
    np.testing.assert_allclose(fits.by_name["b"], 0.75 * (fits.by_name["a"] - data[:, 0]), atol=1e-5)
    assert np.isnan(fits.errors[:, 0]).all()


def test_what_newton_leaves_is_fitted_by_minuit_and_counted(caplog):
    """On a plain without slope, Newton's method stays; Minuit tries again from elsewhere."""

    def log(points):
        return -0.5 * np.minimum((points[..., 0] - 3.0) ** 2, 64.0) - 1e-3 * np.abs(points[..., 0] - 3.0) ** 1.2

    model = Curve([Parameter("x", fit_guess=4.0)], log)
    with caplog.at_level(logging.INFO):
        fits = fit_batch(model, 0.0, start=np.array([[2.0], [4.0], [3.5]]), max_steps=2)
    assert fits.by_minuit.all()
    assert fits.fallback_share == 1.0
    assert "3 of 3 fits were left to iminuit" in caplog.text
    assert fits.converged.all()
    np.testing.assert_allclose(fits.values[:, 0], 3.0, atol=1e-2)
    caplog.clear()
    assert fit_batch(gaussian(), np.zeros((2, 2))).fallback_share == 0.0
    assert not caplog.records


def test_impossible_data_are_not_fitted_and_disturb_no_other():
    model = Curve([Parameter("x", 1.0)], lambda p: -0.5 * (p[..., 0] - 2.0) ** 2)
    model.log = lambda p: np.where(p[..., 0] > 50.0, -np.inf, -0.5 * (p[..., 0] - 2.0) ** 2)
    fits = fit_batch(model, 0.0, start=np.array([[1.0], [60.0]]))
    assert fits.converged.all()  # the second from the guess
    assert fits.by_minuit.tolist() == [False, True]
    hopeless = Curve([Parameter("x", 1.0)], lambda p: np.full(p.shape[:-1], -np.inf))
    fits = fit_batch(hopeless, 0.0)
    assert not fits.converged.any()
    assert fits.log_likelihood[0] == -np.inf


def test_saddle_points_are_left():
    """Between two maxima of -(x^2 - 1)^2 the slope vanishes."""
    model = Curve([Parameter("x")], lambda p: -((p[..., 0] ** 2 - 1.0) ** 2))
    fits = fit_batch(model, 0.0, start=np.array([[1e-3], [-0.2], [0.5]]))
    np.testing.assert_allclose(np.abs(fits.values[:, 0]), 1.0, atol=1e-3)


def test_a_signal_is_estimated_from_the_background():
    """One step from no signal of a counting experiment: (n - b) / s; more steps come nearer to the best fit."""
    model = OnOff([5.0], [10.0], [0.01], fit_limits=(0.0, None))
    data = np.stack([[8.0, 12.0, 25.0], np.full(3, 1e6)], axis=-1)
    first = signal_estimate(model, "mu", data)[:, 0]
    np.testing.assert_allclose(first, [0.0, (12 - 10) / 5 * 10 / 12, (25 - 10) / 5 * 10 / 25], atol=1e-2)
    more = signal_estimate(model, "mu", data, steps=20)[:, 0]
    np.testing.assert_allclose(more, [0.0, 0.4, 3.0], atol=1e-2)
    assert maximise(model.with_data(data[2]), start=signal_estimate(model, "mu", data[2])).values[0] == pytest.approx(
        3.0, abs=0.01
    )
    with pytest.raises(InputError, match="no signal to estimate"):
        signal_estimate(model, "mu", data, mu=1.0)


def test_errors_name_what_is_wrong():
    model, data = gaussian(), np.zeros((4, 2))
    with pytest.raises(MissingError, match="no data"):
        fit_batch(model)
    with pytest.raises(UnknownNameError, match="no parameter 'c'"):
        fit_batch(model, data, c=1.0)
    with pytest.raises(UnknownNameError, match=r"no option 'stratgy'.*strategy"):
        fit_batch(model, data, fit_options={"stratgy": 2})
    with pytest.raises(InputError, match=r"starts (or|and) fixed values"):
        fit_batch(model, data, a=np.zeros(3))
    with pytest.raises(InputError, match="limits of 'a'"):
        fit_batch(model, data, limits={"a": (1.0, 0.0)})
    with pytest.raises(InputError, match="one axis, not along 2"):
        fit_batch(model, np.zeros((2, 3, 2)))
    with pytest.raises(InputError, match="max_steps"):
        fit_batch(model, data, max_steps=0)


def test_stacked_single_data_sets_are_a_batch():
    model = kinked()
    toys = [model.simulate(i) for i in range(3)]
    fits = fit_batch(model, stack(toys))
    for i, toy in enumerate(toys):
        assert maximise(model.with_data(toy)).log_likelihood == pytest.approx(fits.log_likelihood[i], abs=1e-9)
