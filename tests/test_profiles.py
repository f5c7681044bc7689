from __future__ import annotations

import numpy as np
import pytest
from analytic_likelihoods import Curve, Gaussian, OnOff

from columnminer.errors import InputError, MissingError, UnknownNameError
from columnminer.infer.fit import fit
from columnminer.infer.grid import Grid
from columnminer.infer.profiles import ConditionalFits, profile, project
from columnminer.model.parameters import Parameter

COVARIANCE = np.array([[0.04, 0.03, 0.01], [0.03, 0.25, -0.05], [0.01, -0.05, 0.09]])
CENTRE = np.array([1.0, -2.0, 0.5])


@pytest.fixture
def model():
    return Gaussian([Parameter("a"), Parameter("b"), Parameter("c")], COVARIANCE).with_data(CENTRE)


def quadratic(shift, matrix):
    return np.einsum("...i,ij,...j->...", shift, matrix, shift)


def test_profiles_use_the_marginal_covariance_and_projections_the_conditional(model):
    values = np.array([0.7, 1.0, 1.5])
    profiled, projected = profile(model, "a", values), project(model, "a", values)
    np.testing.assert_allclose(profiled.test_statistic, (values - 1.0) ** 2 / 0.04, atol=1e-4)
    np.testing.assert_allclose(projected.test_statistic, (values - 1.0) ** 2 * model.inverse[0, 0], atol=2e-2)
    slope = COVARIANCE[1:, 0] / COVARIANCE[0, 0]
    np.testing.assert_allclose(profiled.others["b"], -2.0 + slope[0] * (values - 1.0), atol=2e-3)
    np.testing.assert_allclose(profiled.others["c"], 0.5 + slope[1] * (values - 1.0), atol=2e-3)
    np.testing.assert_allclose(projected.others["b"], -2.0, atol=2e-3)
    assert profiled.valid.all()
    np.testing.assert_array_equal(profiled.values, values)


def test_profiles_of_two_parameters_on_a_grid(model):
    grid = Grid([(0.6, 1.4, 5), (0.0, 1.0, 3)])
    result = profile(model, ["a", "c"], grid)
    expected = quadratic(grid.points - CENTRE[[0, 2]], np.linalg.inv(COVARIANCE[np.ix_([0, 2], [0, 2])]))
    np.testing.assert_allclose(result.test_statistic, expected, atol=1e-4)
    assert result.grid is grid
    assert result.names == ("a", "c")
    same = profile(model, ["c", "a"], grid.points[:, ::-1], best_fit=result.best_fit)
    np.testing.assert_allclose(same.test_statistic, result.test_statistic, atol=1e-4)
    everything = profile(model, ["a", "b", "c"], [CENTRE, CENTRE + 0.1])
    np.testing.assert_allclose(everything.test_statistic, [0.0, quadratic(np.full(3, 0.1), model.inverse)], atol=1e-4)
    with pytest.raises(InputError, match="has points, not values"):
        _ = result.values


def test_projections_hold_the_others_where_they_are_told(model):
    result = project(model, "a", [1.1], others={"b": 0.0})
    point = np.array([1.1, 0.0, 0.5])
    assert result.test_statistic[0] == pytest.approx(quadratic(point - CENTRE, model.inverse), rel=1e-3)
    assert result.others["b"].tolist() == [0.0]


def test_a_profile_is_never_above_a_projection():
    model = OnOff([5.0, 2.0], [10.0, 20.0], [2.0, 5.0])
    model = model.with_data(model.simulate(3, mu=1.0))
    values = np.linspace(-1.0, 4.0, 21)
    profiled = profile(model, "mu", values)
    projected = project(model, "mu", values, best_fit=profiled.best_fit)
    assert (profiled.test_statistic <= projected.test_statistic + 1e-6).all()
    assert (projected.test_statistic > profiled.test_statistic + 0.1).any()
    assert (profiled.test_statistic > -1e-4).all()
    # each fit is what a fit of its own finds
    alone = [fit(model, mu=value, hesse=False).log_likelihood for value in values]
    np.testing.assert_allclose(profiled.log_likelihood, alone, atol=1e-5)


def test_warm_starts_need_fewer_evaluations():
    calls = []

    class Counting(OnOff):
        def terms(self, points, data):
            calls.append(1)
            return super().terms(points, data)

    model = Counting(np.ones(6), np.full(6, 10.0), np.full(6, 4.0))
    model = model.with_data(model.simulate(1, mu=3.0))
    values = np.linspace(0.0, 8.0, 15)
    best = fit(model)
    calls.clear()
    profile(model, "mu", values, best_fit=best, fit_options={"gradient": False})
    warm = len(calls)
    calls.clear()
    for value in values:
        fit(model, mu=value, gradient=False, strategy=0, hesse=False)
    assert warm < 0.8 * len(calls)


def test_impossible_points_have_probability_zero():
    model = OnOff([5.0], [10.0], [2.0], fit_limits=(0.0, None)).with_data([12.0, 25.0])
    result = profile(model, "mu", [-30.0, 0.0])  # a negative expectation, whatever the background up to its limit
    assert result.log_likelihood[0] == -np.inf
    assert result.test_statistic[0] == np.inf
    assert np.isfinite(result.test_statistic[1])


def test_a_better_point_on_the_way_becomes_the_best_fit():
    def log(points):
        x, y = points[..., 0], points[..., 1]
        return np.logaddexp(-0.5 * x**2, 5.0 - 2.0 * (x - 6.0) ** 2) - 0.5 * (y - x) ** 2

    model = Curve([Parameter("x"), Parameter("y")], log)
    assert fit(model).values[0] == pytest.approx(0.0, abs=1e-2)
    result = profile(model, "x", np.linspace(-2, 8, 11))
    assert result.best_fit.values == pytest.approx([6.0, 6.0], abs=1e-2)
    assert result.test_statistic.min() == pytest.approx(0.0, abs=1e-4)
    assert result.test_statistic[2] == pytest.approx(10.0, abs=1e-3)


def test_each_point_is_fitted_once(model):
    fits = ConditionalFits(model, ["a"])
    assert fits([1.3]) is fits(1.3)
    assert fits.statistic(1.3) == pytest.approx(0.09 / 0.04, abs=1e-4)
    assert fits.width() == pytest.approx(0.2, rel=1e-2)
    bounded = ConditionalFits(model, ["a"], limits={"a": (None, 0.9)})
    assert bounded.width() == pytest.approx(0.04 / 0.1 * 0.4, rel=0.5)  # (0.1 + w)^2 - 0.1^2 = 0.2^2, roughly


def test_errors_name_what_is_wrong(model):
    with pytest.raises(UnknownNameError, match="no parameter 'd'"):
        profile(model, "d", [1.0])
    with pytest.raises(InputError, match="distinct parameters are needed, not a, a"):
        profile(model, ["a", "a"], [[1.0, 1.0]])
    with pytest.raises(InputError, match="do not fit the 2 parameters a, b"):
        profile(model, ["a", "b"], [1.0, 2.0])
    with pytest.raises(InputError, match="values of a must be finite"):
        project(model, "a", [np.nan])
    with pytest.raises(UnknownNameError, match="'a' is none of the other parameters"):
        project(model, "a", [1.0], others={"a": 2.0})
    with pytest.raises(UnknownNameError, match=r"no option 'metod'. Did you mean 'method'"):
        profile(model, "a", [1.0], fit_options={"metod": "simplex"})
    with pytest.raises(InputError, match="the best fit is one of"):
        profile(model, "a", [1.0], best_fit=fit(model.fix(b=0.0)))
    with pytest.raises(MissingError, match="no data"):
        profile(Gaussian([Parameter("a")], [[1.0]]), "a", [1.0])
