from __future__ import annotations

import numpy as np
import pytest
from analytic_store import ExactRatio, analytic_store, setup
from scipy.stats import binomtest, chi2, norm

from columnminer.errors import InputError, MissingError, UnknownNameError
from columnminer.infer.fit import fit
from columnminer.infer.histogram import HistogramLikelihood
from columnminer.infer.intervals import confidence_interval, profile
from columnminer.infer.likelihood import GaussianConstraint
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


def test_a_product_of_gaussians_has_its_closed_form():
    from columnminer.infer.likelihood import Likelihood, LogTerms

    class TwoDimensional(Likelihood):
        """A Gaussian in (a, b) with correlation."""

        covariance = np.array([[0.04, 0.03], [0.03, 0.25]])
        inverse = np.linalg.inv(covariance)

        def as_data(self, data):
            return np.asarray(data, dtype=float)

        def terms(self, points, data):
            pull = data - points
            log = -0.5 * np.einsum("...i,ij,...j->...", pull, self.inverse, pull)
            return LogTerms(log, np.zeros_like(log))

        def expected(self, params=None, **by_name):
            return self.points(params, by_name)

        def asimov(self, params=None, **by_name):
            return self.point(params, by_name)

        def simulate(self, seed, params=None, **by_name):
            return np.random.default_rng(seed).multivariate_normal(self.point(params, by_name), self.covariance)

    model = TwoDimensional([Parameter("a"), Parameter("b")]).with_data([1.0, -2.0])
    result = fit(model)  # no gradient
    np.testing.assert_allclose(result.values, [1.0, -2.0], atol=1e-4)
    np.testing.assert_allclose(result.covariance, model.covariance, rtol=1e-2)
    interval = confidence_interval(model, "a", level=0.9)
    half = 0.2 * norm.ppf(0.95)
    assert (interval.lower, interval.upper) == pytest.approx((1 - half, 1 + half), abs=1e-3)
    upper = confidence_interval(model, "a", level=0.9, kind="upper")
    assert upper.lower is None
    assert upper.upper == pytest.approx(1 + 0.2 * norm.ppf(0.9), abs=1e-3)
    lower = confidence_interval(model, "b", level=0.95, kind="lower")
    assert (lower.lower, lower.upper) == (pytest.approx(-2 - 0.5 * norm.ppf(0.95), abs=1e-3), None)
    curve = profile(model, "a", [0.8, 1.0, 1.2])
    np.testing.assert_allclose(curve.test_statistic, [1.0, 0.0, 1.0], atol=1e-3)  # profiled: the marginal variance
    held = confidence_interval(model.fix(b=-2.0), "a", level=0.9)
    conditional = np.sqrt(1 / model.inverse[0, 0]) * norm.ppf(0.95)
    assert held.upper == pytest.approx(1 + conditional, abs=1e-3)
    given = confidence_interval(model, "a", threshold=lambda value: 4.0)
    assert given.upper == pytest.approx(1.4, abs=1e-3)


def test_a_constraint_pulls_and_sharpens():
    space_rate = MorphedHistogram(setup(), np.ones((3, 1)), np.zeros(1))
    rate = RateLikelihood(space_rate, 100.0)  # flat in theta: only the constraint knows it
    product = rate.with_data(104) * GaussianConstraint(Parameter("nu", nominal=0.2, constraint=0.5))
    result = fit(product.fix(theta=0.0))
    assert result.by_name["nu"] == pytest.approx(0.2, abs=1e-5)
    assert result.errors[0] == pytest.approx(0.5, rel=1e-3)


def test_fit_limits_hold_and_leave_an_open_side():
    class Limited(GaussianConstraint):
        pass

    bounded = Limited(Parameter("mu", nominal=1.0, constraint=1.0, fit_limits=(0.0, None))).with_data(-0.5)
    result = fit(bounded)
    assert result.values[0] == pytest.approx(0.0, abs=1e-3)
    interval = confidence_interval(bounded, "mu", level=0.9)
    assert interval.lower is None
    # t = (mu + 0.5)^2 - 0.5^2, the best fit being at the bound
    assert interval.upper == pytest.approx(np.sqrt(chi2.ppf(0.9, 1) + 0.25) - 0.5, abs=2e-3)


def test_intervals_cover(likelihood):
    toys = [likelihood.simulate(seed, theta=0.5) for seed in range(60)]
    inside = 0
    for toy in toys:
        interval = confidence_interval(likelihood.with_data(toy), "theta", level=0.68, start=[0.5])
        inside += (interval.lower or -np.inf) < 0.5 < (interval.upper or np.inf)
    assert binomtest(inside, 60, 0.68).pvalue > 0.01


def test_errors_name_what_is_wrong(likelihood):
    with pytest.raises(MissingError, match="no data"):
        fit(likelihood)
    data = likelihood.with_data(likelihood.asimov(theta=0.5))
    with pytest.raises(UnknownNameError, match="Did you mean 'theta'"):
        fit(data, minos=["thet"])
    with pytest.raises(UnknownNameError, match="Did you mean 'theta'"):
        confidence_interval(data, "thet")
    with pytest.raises(InputError, match="nothing to fit"):
        fit(data.fix(theta=0.0))
    with pytest.raises(InputError, match=r"'upper' or 'lower', not 'uper'. Did you mean 'upper'"):
        confidence_interval(data, "theta", kind="uper")
    with pytest.raises(InputError, match=r"between 0\.5 and 1, not at 0\.3"):
        confidence_interval(data, "theta", kind="upper", level=0.3)
