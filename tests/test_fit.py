from __future__ import annotations

import numpy as np
import pytest
from analytic_likelihoods import Curve, Gaussian, OnOff
from analytic_store import ExactRatio, analytic_store, setup
from hypothesis import given, settings
from hypothesis import strategies as st

from columnminer.errors import ColumnMinerWarning, InputError, MissingError, UnknownNameError
from columnminer.infer.constraints import GaussianConstraint
from columnminer.infer.fit import fit
from columnminer.infer.histogram import HistogramLikelihood
from columnminer.infer.morphed import MorphedHistogram
from columnminer.infer.neural import NeuralLikelihood
from columnminer.infer.rate import RateLikelihood
from columnminer.model.parameters import Parameter


@pytest.fixture(scope="module")
def likelihood(tmp_path_factory):
    store = analytic_store(tmp_path_factory.mktemp("store") / "events.zarr")
    return HistogramLikelihood.from_store(store, "x", 300.0, bins=np.linspace(0.1, 0.9, 9), partition="all")


def test_fit_of_asimov_data_finds_the_truth_and_fisher_errors(likelihood):
    data = likelihood.with_data(likelihood.asimov(theta=0.6))
    result = fit(data, minos=["theta"])
    assert result.valid
    assert result.by_name["theta"] == pytest.approx(0.6, abs=1e-4)
    expected, h = likelihood.expected(theta=0.6), 1e-5
    slope = (likelihood.expected(theta=0.6 + h) - likelihood.expected(theta=0.6 - h)) / (2 * h)
    assert result.errors[0] == pytest.approx((slope**2 / expected).sum() ** -0.5, rel=1e-3)
    assert result.log_likelihood == pytest.approx(float(data.log_likelihood(theta=0.6)), abs=1e-6)
    assert result.minos["theta"].valid
    for end in (result.minos["theta"].lower, result.minos["theta"].upper):
        drop = result.log_likelihood - data.log_likelihood(theta=result.values[0] + end)
        assert drop == pytest.approx(0.5, abs=0.01)


def test_gradients_change_the_way_but_not_the_end(likelihood):
    data = likelihood.with_data(likelihood.simulate(4, theta=-0.5))
    with_gradient, without = fit(data), fit(data, gradient=False)
    assert with_gradient.values == pytest.approx(without.values, abs=1e-4)
    assert with_gradient.errors == pytest.approx(without.errors, rel=1e-2)


@pytest.mark.parametrize("gradient", [True, False])
def test_single_precision_of_estimators_does_not_spoil_the_errors(tmp_path, gradient):
    """Steps that float64 resolves and float32 does not would give errors of 1e-5."""

    class SinglePrecision(ExactRatio):
        def log_ratio(self, x, theta, **options):
            return super().log_ratio(x.astype(np.float32), np.asarray(theta, dtype=np.float32), **options)

        def score(self, x, theta, **options):
            return super().score(x.astype(np.float32), np.asarray(theta, dtype=np.float32), **options)

    store = analytic_store(tmp_path / "events.zarr", 4000)
    model = NeuralLikelihood.from_store(store, SinglePrecision(), 300.0)
    for seed in range(5):
        result = fit(model.with_data(model.simulate(seed, theta=0.3)), gradient=gradient)
        assert result.valid
        assert result.errors[0] == pytest.approx(0.1, rel=0.3)  # the information is 300 / 3
    assert (model * model.fix(theta=0.0)).precision == model.precision > 1e-9


def gaussian(a=1.0, b=-2.0, **options):
    return Gaussian([Parameter("a", **options), Parameter("b")], [[0.04, 0.03], [0.03, 0.25]]).with_data([a, b])


@pytest.mark.parametrize("method", ["migrad", "simplex", "simplex_migrad"])
@pytest.mark.parametrize("strategy", [0, 1, 2])
def test_every_method_finds_the_closed_form_of_gaussians(method, strategy):
    model = gaussian()
    result = fit(model, method=method, strategy=strategy)
    assert result.valid
    assert (result.n_refits, result.at_limit.tolist()) == (0, [False, False])
    assert 0.0 <= result.edm < 1e-3
    assert result.values == pytest.approx([1.0, -2.0], abs=1e-2 if method == "simplex" else 1e-3)
    np.testing.assert_allclose(result.covariance, model.covariance, rtol=1e-2)


def test_fixed_parameters_by_keyword_are_held_and_reported():
    model = gaussian()
    result = fit(model, b=-1.5, start={"a": 0.3, "b": 7.0})
    assert result.parameter_names == ("a",)
    assert dict(result.fixed) == {"b": -1.5}
    assert result.by_name == {"a": pytest.approx(1.0 + 0.03 / 0.25 * 0.5, abs=1e-4), "b": -1.5}
    assert result.errors[0] == pytest.approx(1.0 / np.sqrt(model.inverse[0, 0]), rel=1e-3)
    assert float(model.log_likelihood(**result.by_name)) == pytest.approx(result.log_likelihood)


def test_a_fit_starts_at_the_guess():
    seen = []

    def log(points):
        seen.append(float(points[..., 0]))
        return -0.5 * (points[..., 0] - 7.0) ** 2

    result = fit(Curve([Parameter("x", fit_guess=5.0)], log))
    assert seen[0] == 5.0
    assert result.values[0] == pytest.approx(7.0, abs=1e-3)
    seen.clear()
    fit(Curve([Parameter("x", fit_guess=5.0)], log), start=[6.0])
    assert seen[0] == 6.0


def plateau(points):
    """A parabola around 3 in a plain without slope, on which no fit converges."""
    return -0.5 * np.minimum((points[..., 0] - 3.0) ** 2, 64.0)


def test_an_invalid_fit_is_tried_again_and_counted():
    model = Curve([Parameter("x", fit_guess=4.0)], plateau)
    result = fit(model, start=[50.0])  # first from where it stopped, then from the guess
    assert result.valid
    assert result.n_refits == 2
    assert result.values[0] == pytest.approx(3.0, abs=1e-3)
    assert result.n_calls > fit(model).n_calls
    with pytest.warns(ColumnMinerWarning, match="did not converge .2 attempts"):
        assert not fit(model, start=[50.0], refits=1).valid


def test_scattered_starts_find_what_the_guess_does_not():
    model = Curve([Parameter("x", fit_guess=20.0, bounds=(-100.0, 100.0))], plateau)
    result = fit(model, refits=10)
    assert result.valid
    assert result.n_refits > 2
    assert result.values[0] == pytest.approx(3.0, abs=1e-3)
    assert fit(model, refits=10).n_refits == result.n_refits  # the same points every time
    with pytest.warns(ColumnMinerWarning, match="did not converge .1 attempts"):
        assert not fit(model, refits=0).valid


def test_a_fit_without_a_maximum_warns():
    with pytest.warns(ColumnMinerWarning, match=r"fit of x did not converge .5 attempts.*Give another start"):
        result = fit(Curve([Parameter("x")], lambda points: points[..., 0]))
    assert not result.valid
    assert result.n_refits == 4


def test_limits_can_be_given_and_a_fit_ends_on_them():
    model = gaussian()
    result = fit(model, limits={"a": (1.5, None)}, minos=["a", "b"])
    assert result.valid
    assert result.values[0] == 1.5
    assert result.at_limit.tolist() == [True, False]
    assert result.values[1] == pytest.approx(-2.0 + 0.03 / 0.04 * 0.5, abs=1e-3)  # as if a were known
    assert np.isnan(result.errors[0])
    assert result.errors[1] == pytest.approx(1.0 / np.sqrt(model.inverse[1, 1]), rel=1e-3)
    assert not result.minos["a"].valid
    assert result.minos["b"].upper == pytest.approx(1.0 / np.sqrt(model.inverse[1, 1]), rel=1e-2)
    inside = fit(model, limits={"a": (0.5, None)}, start={"a": 0.0})  # starts on the limit, where there is no slope
    assert inside.values[0] == pytest.approx(1.0, abs=1e-3)
    assert not inside.at_limit.any()


@settings(max_examples=20, deadline=None)
@given(st.floats(-3, 3), st.floats(0.05, 20), st.floats(-1e4, 1e4), st.booleans())
def test_a_fit_does_not_depend_on_offset_or_scale(centre, scale, offset, with_gradient):
    def log(points):
        u = points[..., 0] / scale - centre
        return offset - 0.5 * u**2 - 0.1 * u**4

    def slope(points):
        u = points / scale - centre
        return -(u + 0.4 * u**3) / scale

    result = fit(
        Curve([Parameter("x", bounds=(-5 * scale, 5 * scale))], log, gradient=slope if with_gradient else None)
    )
    assert result.valid
    assert result.values[0] / scale == pytest.approx(centre, abs=5e-3)
    assert result.errors[0] / scale == pytest.approx(1.0, rel=2e-2)
    assert result.log_likelihood == pytest.approx(offset, abs=1e-5)


def test_a_constraint_pulls_and_sharpens():
    space_rate = MorphedHistogram(setup(), np.ones((3, 1)), np.zeros(1))
    rate = RateLikelihood(space_rate, 100.0)  # flat in theta: only the constraint knows it
    product = rate.with_data(104) * GaussianConstraint(Parameter("nu", nominal=0.2, constraint=0.5))
    result = fit(product.fix(theta=0.0))
    assert result.by_name["nu"] == pytest.approx(0.2, abs=1e-5)
    assert result.errors[0] == pytest.approx(0.5, rel=1e-3)


def test_with_all_parameters_held_a_fit_is_a_value(likelihood):
    data = likelihood.with_data(likelihood.asimov(theta=0.5))
    for held in (fit(data, theta=0.2), fit(data.fix(theta=0.2))):
        assert held.valid
        assert held.parameter_names == ()
        assert held.log_likelihood == pytest.approx(data.log_likelihood(theta=0.2), rel=1e-14)
    assert fit(data, theta=0.2).by_name == {"theta": 0.2}


def test_errors_name_what_is_wrong(likelihood):
    with pytest.raises(MissingError, match="no data"):
        fit(likelihood)
    data = likelihood.with_data(likelihood.asimov(theta=0.5))
    for wrong in ({"minos": ["thet"]}, {"limits": {"thet": (0, 1)}}, {"thet": 1.0}):
        with pytest.raises(UnknownNameError, match="Did you mean 'theta'"):
            fit(data, **wrong)
    with pytest.raises(InputError, match=r"no method 'migrat'. Did you mean 'migrad'"):
        fit(data, method="migrat")
    with pytest.raises(InputError, match="strategy of a fit is 0, 1 or 2, not 3"):
        fit(data, strategy=3)
    with pytest.raises(InputError, match="refits must be"):
        fit(data, refits=-1)
    with pytest.raises(InputError, match="tolerance of a fit must be positive"):
        fit(data, tolerance=0.0)
    with pytest.raises(InputError, match=r"limits of 'theta' must be \(low, high\)"):
        fit(data, limits={"theta": (1.0, 1.0)})
    with pytest.raises(InputError, match=r"one data set at a time, not an array of \(2,\)"):
        fit(gaussian().with_data([[1.0, 2.0], [3.0, 4.0]]))
    with pytest.raises(MissingError, match="gradient"):
        fit(gaussian(), gradient=True)
    with pytest.raises(MissingError, match=r"impossible at the start \{'mu': -3.0"):
        fit(OnOff([5.0], [10.0], [2.0]).with_data([7, 25]), start=[-3.0, 1.0])
