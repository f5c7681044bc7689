"""Estimators as torch modules: the same values, gradients that are scores, Hessians, broadcasting, precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from some_estimators import INPUTS, KINDS, fitted, numpy_value, some_inputs, training_samples

from columnminer.errors import MissingError
from columnminer.learn.estimator import Estimator
from columnminer.learn.estimators import RatioEstimator

IN_THETA = [kind for kind in KINDS if INPUTS[kind][1:2] == ("theta",)]


@pytest.fixture(scope="module")
def estimators(tmp_path_factory):
    samples = training_samples(tmp_path_factory.mktemp("samples"))
    return {kind: fitted(kind, samples) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_modules_give_what_estimators_give(estimators, kind):
    estimator, arrays = estimators[kind], some_inputs(kind)
    module = estimator.module()
    expected = numpy_value(estimator, *arrays)
    assert np.std(expected) > 1e-3
    value = module(*map(torch.from_numpy, arrays))
    assert value.dtype == torch.float64
    np.testing.assert_allclose(value.numpy(), expected, atol=1e-6)
    single = module(*(torch.from_numpy(a).float() for a in arrays))
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), expected, rtol=1e-5, atol=1e-5)
    # Features in another order are other features: the comparison does see the scaling of each.
    flipped = module(*(torch.from_numpy(a[:, ::-1].copy() if i == 0 else a) for i, a in enumerate(arrays)))
    assert np.abs(flipped.numpy() - expected).max() > 1e-2


@pytest.mark.parametrize("kind", IN_THETA)
def test_gradients_in_theta_are_scores(estimators, kind):
    x, theta = some_inputs(kind)
    points = torch.from_numpy(theta).requires_grad_()
    module = estimators[kind].module()
    (gradient,) = torch.autograd.grad(module(torch.from_numpy(x), points).sum(), points)
    score = estimators[kind].score(x, theta)
    assert np.abs(score).max() > 1e-3
    np.testing.assert_allclose(gradient.numpy(), score, atol=1e-5)
    # At the reference with its zeros too, where powers of theta have no logarithm.
    zero = torch.zeros(theta.shape[1], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(module(torch.from_numpy(x), zero).sum(), zero)
    np.testing.assert_allclose(gradient.numpy(), estimators[kind].score(x, zero.detach().numpy()).sum(0), atol=1e-4)


def test_gradients_of_double_ratios_are_the_scores_at_both_points(estimators):
    x, theta0, theta1 = some_inputs("double")
    points = [torch.from_numpy(theta).requires_grad_() for theta in (theta0, theta1)]
    gradients = torch.autograd.grad(estimators["double"].module()(torch.from_numpy(x), *points).sum(), points)
    at_theta0, at_theta1 = estimators["double"].scores(x, theta0, theta1)
    np.testing.assert_allclose(gradients[0].numpy(), at_theta0, atol=1e-5)
    np.testing.assert_allclose(gradients[1].numpy(), -at_theta1, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_in_x_are_slopes(estimators, kind):
    arrays = some_inputs(kind)
    module = estimators[kind].module().double()
    x, *points = map(torch.from_numpy, arrays)
    moved = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(module(moved, *points).sum(), moved)
    for column in range(x.shape[1]):
        step = torch.zeros_like(x)
        step[:, column] = 1e-6
        difference = (module(x + step, *points) - module(x - step, *points)) / 2e-6
        slope = difference.reshape(len(x), -1).sum(1)
        # A step may straddle the edge of a spline's piece, where the second derivative jumps.
        np.testing.assert_allclose(gradient[:, column], slope, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", IN_THETA)
# On its first use the forward mode of torch compiles derivatives of its own in a way that it calls old.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_hessians_of_log_likelihoods_are_slopes_of_their_gradients(estimators, kind):
    x, theta = (torch.from_numpy(a) for a in some_inputs(kind))
    module = estimators[kind].module().double()

    def log_likelihood(point):
        return module(x, point).sum()

    point = theta[0]
    hessian = torch.func.hessian(log_likelihood)(point)
    np.testing.assert_allclose(hessian, torch.autograd.functional.hessian(log_likelihood, point), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-8, atol=1e-8)
    gradient = torch.func.grad(log_likelihood)
    for i, step in enumerate(1e-5 * torch.eye(len(point), dtype=torch.float64)):
        slope = (gradient(point + step) - gradient(point - step)) / 2e-5
        np.testing.assert_allclose(hessian[i], slope, rtol=1e-4, atol=1e-4)
    assert hessian.abs().max() > 1e-3


@pytest.mark.parametrize("kind", IN_THETA)
def test_points_and_events_are_broadcast(estimators, kind):
    x, theta = (torch.from_numpy(a) for a in some_inputs(kind))
    module = estimators[kind].module()
    grid = module(x, theta[:3, None])
    assert grid.shape == (3, len(x))
    np.testing.assert_allclose(module(x, theta[1]), grid[1], atol=1e-6)
    np.testing.assert_allclose(module(x[:3], theta[:3]), grid[:, :3].diagonal(), atol=1e-6)
    np.testing.assert_allclose(module(x[4], theta[:3]), grid[:, 4], atol=1e-6)


def test_events_go_through_the_network_of_a_polynomial_once(estimators):
    x, theta = (torch.from_numpy(a) for a in some_inputs("quadratic"))
    module = estimators["quadratic"].module()
    rows = []
    module.network.network.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    module(x, theta[:, None])
    assert rows == [len(x)]


def test_the_estimator_does_not_share_its_network(estimators):
    estimator, (x, theta) = estimators["ratio"], some_inputs("ratio")
    before = estimator.log_ratio(x, theta)
    module = estimator.module().double()
    assert not any(parameter.requires_grad for parameter in module.parameters())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(estimator.log_ratio(x, theta), before)
    assert not module(torch.from_numpy(x), torch.from_numpy(theta)).any()


def test_a_negative_morphed_ratio_is_cut_off_as_by_the_estimator(estimators):
    estimator = estimators["morphing"]
    module = estimator.module()
    for matrix in (module.terms.matrix, estimator.law.matrix):
        assert matrix.shape == (6, 6)
    with torch.no_grad():
        module.terms.matrix.neg_()  # now every ratio is negative
    x, theta = (torch.from_numpy(a) for a in some_inputs("morphing"))
    xsec = estimator.cross_section
    log_xsec = np.log(xsec.values(theta.numpy()) / xsec.values(estimator.reference[None]))
    np.testing.assert_allclose(module(x, theta), np.log(estimator.law.floor) - log_xsec, atol=1e-9)


def test_what_has_no_module_says_so(estimators):
    with pytest.raises(MissingError, match="this RatioEstimator has learned nothing yet"):
        RatioEstimator().module()

    class Plain(Estimator):
        def _lesson(self, census, method, alpha):
            raise NotImplementedError

    other = Plain()
    other._fit = estimators["ratio"].fitted
    with pytest.raises(MissingError, match="a Plain cannot be had as a torch module"):
        other.module()
    del Estimator.kinds["Plain"]
