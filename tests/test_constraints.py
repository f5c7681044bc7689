"""Auxiliary measurements: scipy's densities, their derivatives, and how measured values scatter."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from columnminer.errors import InputError, UnknownNameError
from columnminer.infer.constraints import AncillaryMeasurements, DistributionConstraint, GaussianConstraint, constraints
from columnminer.model.parameters import Parameter

RATE = Parameter("rate", 1.0, constraint=0.2, fit_limits=(0.0, None))
SHIFT = Parameter("shift", 0.0, constraint="stats.uniform(loc=-2, scale=4)", fit_limits=(-1.0, 1.5))
SCALE = Parameter("scale", 1.0, constraint="stats.lognorm(s=0.3)")
FREE = Parameter("free")
TEXTS = {
    "stats.norm(1, 0.3)": (-1.0, 3.0),
    "stats.uniform(loc=-2, scale=4)": (-1.9, 1.9),
    "stats.lognorm(s=0.3)": (0.2, 3.0),
    "stats.gamma(a=2.5, scale=2)": (0.5, 10.0),
    "stats.truncnorm(-1, 2, loc=1, scale=0.5)": (0.6, 1.9),
}


@pytest.mark.parametrize("text", TEXTS)
def test_density_and_derivatives_of_any_distribution(text) -> None:
    constraint = DistributionConstraint(Parameter("nu", 1.0, constraint=text))
    x = np.linspace(*TEXTS[text], 11)
    found = constraint.derivatives(x[:, None], np.array(1.0))
    reference, h = constraint.distribution.frozen, 1e-4
    np.testing.assert_allclose(found.value, reference.logpdf(x))
    slope = (reference.logpdf(x + h) - reference.logpdf(x - h)) / (2 * h)
    curve = (reference.logpdf(x + h) - 2 * reference.logpdf(x) + reference.logpdf(x - h)) / h**2
    np.testing.assert_allclose(found.gradient[:, 0], slope, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.hessian[:, 0, 0], curve, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(constraint.gradient(x[:, None], np.array(1.0)), found.gradient)


def test_beyond_the_support_the_likelihood_is_zero() -> None:
    for parameter, outside, edge in ((SHIFT, -2.1, -2.0), (SCALE, -0.1, 1e-300)):
        found = DistributionConstraint(parameter).derivatives(np.array([[outside], [edge]]), np.array(0.0))
        assert found.value[0] == -np.inf
        assert found.gradient[0, 0] == 0.0
        assert np.isfinite(found.gradient).all()
        assert np.isfinite(found.hessian).all()


def test_a_distribution_does_not_follow_the_measured_value_and_a_gaussian_does() -> None:
    uniform, gaussian = DistributionConstraint(SCALE), GaussianConstraint(RATE)
    assert uniform.log_likelihood([1.1], 0.5) == uniform.log_likelihood([1.1], 2.0)
    assert gaussian.log_likelihood([1.1], 0.5) != gaussian.log_likelihood([1.1], 2.0)


def test_constraints_of_each_kind() -> None:
    kinds = [type(c) for c in constraints([RATE, FREE, SHIFT])]
    assert kinds == [GaussianConstraint, DistributionConstraint]
    with pytest.raises(InputError, match="is a distribution, not a standard error"):
        GaussianConstraint(SHIFT)
    with pytest.raises(InputError, match="no distribution"):
        DistributionConstraint(RATE)


def test_all_measurements_together_are_the_product() -> None:
    together = AncillaryMeasurements([RATE, FREE, SHIFT, SCALE])
    assert together.names == together.measured == ("rate", "shift", "scale")
    rng = np.random.default_rng(1)
    points = np.column_stack([rng.normal(1, 0.2, 5), rng.uniform(-1, 1, 5), rng.uniform(0.5, 2, 5)])
    data = rng.normal(1.0, 0.3, (5, 3))
    found = together.derivatives(points, data)
    each = [c.derivatives(points[:, [i]], data[:, i]) for i, c in enumerate(constraints([RATE, SHIFT, SCALE]))]
    np.testing.assert_allclose(found.value, sum(e.value for e in each))
    np.testing.assert_allclose(found.gradient, np.concatenate([e.gradient for e in each], axis=1))
    for i, e in enumerate(each):
        np.testing.assert_allclose(found.hessian[:, i, i], e.hessian[:, 0, 0])
    assert (found.hessian[:, 0, 1:] == 0.0).all()
    np.testing.assert_array_equal(together.gradient(points, data), found.gradient)
    wide = together.log_likelihood(points[:, None], data)
    np.testing.assert_allclose(np.diag(wide), found.value)


def test_measured_values_by_name_and_in_tables() -> None:
    together = AncillaryMeasurements([RATE, SHIFT])
    np.testing.assert_array_equal(together.data, [1.0, 0.0])
    wanted = np.array([0.9, 0.3])
    table = np.array([(0.3, 0.9)], dtype=[("shift", float), ("rate", float)])
    columns = {"shift": np.array([0.3]), "rate": np.array([0.9])}  # as tables of one row come apart
    for data in ({"shift": 0.3, "rate": 0.9}, table, [0.9, 0.3], columns, {**columns, "rate": 0.9}):
        np.testing.assert_array_equal(together.as_data(data), wanted)
        assert together.as_data(data).shape == (2,)
        assert np.shape(together.log_likelihood([1.0, 0.0], data)) == ()
    assert np.shape(together.with_data(columns).log_likelihood([1.0, 0.0])) == ()
    assert together.as_data({"shift": np.zeros(4), "rate": 0.9}).shape == (4, 2)
    with pytest.raises(InputError, match="there is none of 'rate'"):
        together.as_data({"shift": 0.3})
    with pytest.raises(UnknownNameError, match=r"no parameter 'shfit' is constrained. Did you mean 'shift'"):
        together.as_data({"shfit": 0.3, "rate": 1.0})
    with pytest.raises(InputError, match="finite numbers for rate, shift"):
        together.as_data([1.0])
    assert AncillaryMeasurements([FREE]).log_likelihood(np.zeros(0)) == 0.0
    assert AncillaryMeasurements([FREE]).as_data({}).shape == (0,)


def test_measured_values_scatter_as_they_should_and_stay_in_the_fit_limits() -> None:
    together = AncillaryMeasurements([RATE, SHIFT, SCALE])
    toys = together.simulate_many(1, np.arange(4000), rate=2.0, shift=1.0)
    assert stats.kstest(toys[:, 0], stats.norm(2.0, 0.2).cdf).pvalue > 1e-3
    assert stats.kstest(toys[:, 0], stats.norm(2.02, 0.2).cdf).pvalue < 1e-3  # which is how well this tells
    assert stats.kstest(toys[:, 2], stats.lognorm(0.3).cdf).pvalue > 1e-3
    assert (toys[:, 1].min(), toys[:, 1].max()) == (-1.0, 1.5)
    inside = toys[(toys[:, 1] > -1.0) & (toys[:, 1] < 1.5), 1]
    assert stats.kstest(inside, stats.uniform(-1.0, 2.5).cdf).pvalue > 1e-3
    assert abs(np.mean(toys[:, 1] == -1.0) - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 4000)
    assert abs(np.corrcoef(toys.T)[np.triu_indices(3, 1)]).max() < 4 / np.sqrt(4000)


def test_measured_values_are_functions_of_the_number_of_the_toy() -> None:
    together = AncillaryMeasurements([RATE, SHIFT])
    many = together.simulate_many(3, np.arange(50))
    np.testing.assert_array_equal(together.simulate_many(3, [40, 2]), many[[40, 2]])
    assert together.simulate(3).shape == (2,)
    single = DistributionConstraint(SHIFT)
    np.testing.assert_array_equal(single.simulate_many(3, [7]), single.simulate_many(3, np.arange(9))[[7]])
    assert np.ndim(single.simulate(3)) == 0
    assert (single.expected(shift=1.0), single.asimov(shift=1.0)) == (1.0, 1.0)
    np.testing.assert_array_equal(together.asimov(rate=1.5), [1.5, 0.0])
    np.testing.assert_array_equal(together.expected(rate=[1.5, 2.0]), [[1.5, 0.0], [2.0, 0.0]])
