"""Data of many toys, and derivatives by differences, of products and of likelihoods with parameters held."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_likelihoods import Curve, Gaussian, OnOff

from columnminer.errors import InputError
from columnminer.infer.batches import pick, stack
from columnminer.infer.derivatives import by_differences
from columnminer.model.parameters import Parameter

COVARIANCE = np.array([[2.0, 0.5], [0.5, 1.0]])
PARAMETERS = [Parameter("a", 1.0, constraint=0.3), Parameter("b", -2.0)]


@pytest.fixture
def product():
    return Gaussian(PARAMETERS, COVARIANCE).constrained()


def test_stacked_toys_are_evaluated_each_at_its_point(product):
    toys = [product.simulate(i, a=0.5) for i in range(4)]
    points = np.random.default_rng(1).normal(size=(4, 2))
    together = product.terms(points, stack(toys)).total
    np.testing.assert_allclose(together, [product.log_likelihood(p, toy) for p, toy in zip(points, toys, strict=True)])
    rows = np.array([2, 0])
    np.testing.assert_allclose(product.terms(points[rows], pick(stack(toys), rows)).total, together[rows])


def test_one_data_set_is_no_batch():
    with pytest.raises(InputError, match="no batch"):
        pick(np.array(1.0), np.array([0]))
    with pytest.raises(InputError, match="different shapes"):
        stack([np.zeros(2), np.zeros(3)])
    with pytest.raises(InputError, match="no data"):
        stack([])


def test_a_toy_does_not_depend_on_those_beside_it(product):
    few = product.simulate_many(3, [7, 2], a=0.5)
    many = product.simulate_many(3, np.arange(9), a=0.5)
    for one, all_of_them in zip(few, many, strict=True):
        np.testing.assert_array_equal(one, all_of_them[[7, 2]])
    assert not np.array_equal(product.simulate_many(4, [7, 2], a=0.5)[0], few[0])


def test_toys_of_a_constraint_scatter_by_its_error(product):
    measured = product.simulate_many(3, np.arange(4000), a=0.5)[1]
    assert measured.mean() == pytest.approx(0.5, abs=4 * 0.3 / np.sqrt(4000))
    assert measured.std() == pytest.approx(0.3, rel=4 / np.sqrt(8000))


def test_derivatives_of_a_parabola(product):
    data = product.simulate_many(3, np.arange(3))
    points = np.random.default_rng(1).normal(size=(3, 2))
    found = product.derivatives(points, data)
    curvature = -np.linalg.inv(COVARIANCE) - np.diag([1 / 0.3**2, 0.0])
    np.testing.assert_allclose(found.hessian, np.broadcast_to(curvature, (3, 2, 2)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.value, product.terms(points, data).total)
    slope = np.einsum("ij,nj->ni", np.linalg.inv(COVARIANCE), data[0] - points)
    slope[:, 0] += (data[1] - points[:, 0]) / 0.3**2
    np.testing.assert_allclose(found.gradient, slope, rtol=1e-5, atol=1e-5)


def test_derivatives_where_parameters_are_held_or_renamed(product):
    data = product.simulate_many(3, np.arange(3))
    held = product.rename({"b": "c"}).fix(a=0.4)
    inside = product.derivatives(np.array([[0.4, 1.0], [0.4, 2.0], [0.4, 3.0]]), data)
    found = held.derivatives(np.array([[1.0], [2.0], [3.0]]), data)
    np.testing.assert_allclose(found.gradient, inside.gradient[:, 1:])
    np.testing.assert_allclose(found.hessian, inside.hessian[:, 1:, 1:])
    held_toys, toys = held.simulate_many(5, [1]), product.simulate_many(5, [1], a=0.4)
    np.testing.assert_array_equal(held_toys[0], toys[0])


def test_differences_of_a_gradient_are_second_derivatives():
    counting = OnOff([3.0, 1.0], [5.0, 7.0], [1.0, 2.0])
    point = np.array([1.2, 0.9, 1.1])
    data = counting.asimov()
    found = by_differences(counting, point, data)
    n, mean = data, counting.expected(point)
    slopes = np.zeros((3, 4))
    slopes[0, :2], slopes[1, [0, 2]], slopes[2, [1, 3]] = [3, 1], [5, counting.tau[0]], [7, counting.tau[1]]
    np.testing.assert_allclose(found.hessian, -np.einsum("ik,jk,k->ij", slopes, slopes, n / mean**2), rtol=1e-3)


def test_a_single_row_is_a_single_data_set(product):
    data = product.simulate_many(3, np.arange(5))
    one = pick(data, np.asarray(2))
    assert [part.shape for part in one] == [(2,), ()]
    assert product.log_likelihood(data=one) == pytest.approx(product.log_likelihood(data=data)[2])


def test_differences_do_not_cross_kinks_nor_fit_limits():
    """Derivatives of |x| at its kink are those to the right, and log x is asked for beyond its limit nowhere."""

    class Kinked(Curve):
        kinks = {"x": np.array([0.0])}  # noqa: RUF012 - as a property would give it

    points = np.array([[0.0], [-1e-9], [2.0]])
    found = by_differences(Kinked([Parameter("x")], lambda p: np.abs(p[..., 0])), points, 0.0)
    np.testing.assert_allclose(found.gradient[:, 0], [1.0, -1.0, 1.0], atol=1e-6)
    np.testing.assert_allclose(found.hessian[:, 0, 0], 0.0, atol=1e-4)
    limited = Curve([Parameter("x", 1.0, fit_limits=(0.5, 2.0))], lambda p: np.log(p[..., 0] - 0.499))
    with np.errstate(all="raise"):
        ends = by_differences(limited, np.array([[2.0], [1.0]]), 0.0)
    np.testing.assert_allclose(ends.gradient[:, 0], [1 / 1.501, 1 / 0.501], rtol=1e-3)
