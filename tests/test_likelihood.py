from __future__ import annotations

import numpy as np
import pytest
from analytic_store import setup
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, norm, poisson

from columnminer.errors import InputError, MissingError, UnknownNameError
from columnminer.infer.constraints import GaussianConstraint
from columnminer.infer.morphed import MorphedHistogram
from columnminer.infer.rate import RateLikelihood
from columnminer.infer.terms import poisson_log
from columnminer.model.parameters import Parameter


def quadratic_rate(luminosity: float = 120.0, background: float = 0.5) -> RateLikelihood:
    """mu(theta) = luminosity (1 + theta^2 / 12 + background)."""
    signal = 1.0 + np.array([[0.0], [1.0], [1.0]]) / 12.0
    return RateLikelihood(MorphedHistogram(setup(), signal, np.array([background])), luminosity)


def mu(theta):
    return 120.0 * (1.5 + np.asarray(theta) ** 2 / 12.0)


@given(st.integers(0, 500), st.floats(0.0, 1e3))
def test_poisson_log_is_scipys(n, mean):
    assert poisson_log(n, mean) == pytest.approx(poisson.logpmf(n, mean), rel=1e-10, abs=1e-9)


def test_poisson_log_of_a_negative_expectation_is_impossible():
    np.testing.assert_array_equal(poisson_log([0.0, 3.0], [-1.0, -1e-300]), [-np.inf, -np.inf])
    assert poisson_log(0.0, 0.0) == 0.0


def test_rate_likelihood_broadcasts_points_and_toys():
    likelihood = quadratic_rate()
    theta, n = np.linspace(-2, 2, 7), np.array([150.0, 200.0, 250.0])
    values = likelihood.log_likelihood(theta[:, None, None], n)
    np.testing.assert_allclose(values, poisson.logpmf(n, mu(theta)[:, None]), rtol=1e-12)
    np.testing.assert_allclose(likelihood.expected(theta=theta), mu(theta), rtol=1e-12)
    assert likelihood.expected() == pytest.approx(180.0)  # nominal


def test_keywords_are_sugar_over_params():
    likelihood = quadratic_rate().with_data(170)
    assert (
        likelihood.log_likelihood(theta=1.5)
        == likelihood.log_likelihood([1.5])
        == likelihood.log_likelihood({"theta": 1.5})
    )
    assert likelihood.log_likelihood(theta=np.zeros((2, 3))).shape == (2, 3)


def test_gradient_is_the_derivative():
    likelihood = quadratic_rate().with_data(np.array([170.0, 190.0]))
    h = 1e-5
    numerical = (likelihood.log_likelihood([0.8 + h]) - likelihood.log_likelihood([0.8 - h])) / (2 * h)
    np.testing.assert_allclose(likelihood.gradient([0.8])[:, 0], numerical, rtol=1e-7)


def test_rate_simulates_a_poisson_number_and_not_another():
    likelihood = quadratic_rate()
    rng = np.random.default_rng(5)
    toys = np.array([likelihood.simulate(rng, theta=1.0) for _ in range(2000)])
    assert likelihood.simulate(7) == likelihood.simulate(7)
    error = np.sqrt(mu(1.0) / 2000)
    assert abs(toys.mean() - mu(1.0)) < 4 * error
    assert toys.var() == pytest.approx(mu(1.0), rel=0.15)
    assert abs(toys.mean() - mu(2.0)) > 10 * error  # the wrong theta is told from the right one


def test_product_shares_parameters_by_name_and_adds():
    first, second = quadratic_rate(), quadratic_rate(luminosity=10.0)
    product = first.with_data(180) * second.with_data(20)
    assert product.names == ("theta",)
    assert product.data == (180.0, 20.0)
    theta = np.array([[0.3], [1.7]])
    parts = first.log_likelihood(theta, 180) + second.log_likelihood(theta, 20)
    np.testing.assert_allclose(product.log_likelihood(theta), parts, rtol=1e-13)
    np.testing.assert_allclose(product.log_likelihood(theta, (180, 20)), parts, rtol=1e-13)
    np.testing.assert_allclose(product.gradient(theta), first.gradient(theta, 180) + second.gradient(theta, 20))
    assert [e.shape for e in product.expected(theta)] == [(2,), (2,)]
    toys = product.simulate(3, theta=1.0)
    assert len(toys) == 2
    assert product.with_data(toys).data == toys
    assert len((product * first).factors) == 3


def test_product_of_renamed_likelihoods_has_both_parameters():
    product = quadratic_rate() * quadratic_rate().rename({"theta": "other"})
    assert product.names == ("theta", "other")
    value = product.log_likelihood(data=(170, 200), theta=1.0, other=0.2)
    assert value == pytest.approx(poisson.logpmf(170, mu(1.0)) + poisson.logpmf(200, mu(0.2)))
    gradient = product.gradient(data=(170, 200), theta=1.0, other=0.2)
    np.testing.assert_allclose(gradient[1], quadratic_rate().gradient([0.2], 200)[0])


def test_fix_leaves_the_others_free():
    product = (quadratic_rate() * quadratic_rate().rename({"theta": "other"})).with_data((170, 200))
    fixed = product.fix(other=0.2)
    assert fixed.names == ("theta",)
    assert fixed.log_likelihood(theta=1.0) == product.log_likelihood(theta=1.0, other=0.2)
    np.testing.assert_allclose(fixed.gradient(theta=1.0), product.gradient(theta=1.0, other=0.2)[:1])
    assert fixed.simulate(3, theta=1.0) == product.simulate(3, theta=1.0, other=0.2)
    assert fixed.with_data((1, 2)).data == (1.0, 2.0)


def test_asimov_data_have_their_maximum_at_the_truth():
    likelihood = quadratic_rate()
    likelihood = likelihood.with_data(likelihood.asimov(theta=1.3))
    np.testing.assert_allclose(likelihood.gradient(theta=1.3), 0.0, atol=1e-12)
    assert likelihood.log_likelihood(theta=1.3) > likelihood.log_likelihood(theta=1.2)


def test_constraint_is_an_auxiliary_measurement():
    nu = Parameter("nu", constraint=0.5)
    constraint = GaussianConstraint(nu)
    assert constraint.log_likelihood(nu=0.4) == pytest.approx(norm.logpdf(0.0, 0.4, 0.5))
    assert constraint.gradient(nu=0.4)[0] == pytest.approx(-0.4 / 0.25)
    toys = [float(constraint.simulate(seed, nu=1.0)) for seed in range(500)]
    assert kstest(toys, norm(1.0, 0.5).cdf).pvalue > 1e-3
    assert kstest(toys, norm(0.8, 0.5).cdf).pvalue < 1e-6
    product = quadratic_rate().with_data(170) * constraint  # nominal is what was measured, unless said otherwise
    assert product.log_likelihood(nu=0.4) == pytest.approx(poisson.logpmf(170, mu(0.0)) + norm.logpdf(0.0, 0.4, 0.5))


def test_constrained_adds_a_factor_for_each_constrained_parameter():
    product = (quadratic_rate() * GaussianConstraint(Parameter("nu", constraint=1.0))).factors
    assert len(product) == 2
    assert len(quadratic_rate().constrained().factors) == 1
    with pytest.raises(InputError, match="'nu' is constrained by two factors"):
        (quadratic_rate() * product[1]).constrained()
    with pytest.raises(InputError, match="has no constraint"):
        GaussianConstraint(Parameter("nu"))


def test_errors_name_what_is_wrong():
    likelihood = quadratic_rate()
    with pytest.raises(UnknownNameError, match=r"'thta'.*Did you mean 'theta'"):
        likelihood.log_likelihood(thta=1.0)
    with pytest.raises(InputError, match=r"shape \(2,\); the last axis must hold theta"):
        likelihood.log_likelihood([1.0, 2.0], 100)
    with pytest.raises(MissingError, match="no data"):
        likelihood.log_likelihood(theta=1.0)
    with pytest.raises(InputError, match="one parameter point"):
        likelihood.simulate(0, theta=[1.0, 2.0])
    with pytest.raises(InputError, match="not negative"):
        likelihood.with_data(-3)
    for luminosity in (0.0, -1.0, np.nan, [1.0]):
        with pytest.raises(InputError, match="luminosity must be a positive number"):
            quadratic_rate(luminosity)
    other = GaussianConstraint(Parameter("theta", constraint=1.0))
    with pytest.raises(InputError, match="define the parameter 'theta' differently"):
        likelihood * other
    with pytest.raises(InputError, match="tuple with one entry"):
        (likelihood * likelihood).log_likelihood(theta=1.0, data=3)
    with pytest.raises(UnknownNameError, match="Did you mean 'theta'"):
        likelihood.rename({"Theta": "x"})
    with pytest.raises(TypeError):
        likelihood * 2.0
