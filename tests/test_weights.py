from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed_store import mixed_columns, mixed_store

from columnminer.errors import InputError, UnknownNameError


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return mixed_store(tmp_path_factory.mktemp("stores") / "mixed.zarr")


@pytest.fixture(scope="module")
def block(store):
    return next(store.blocks())


def test_signal_weights_are_morphed_and_background_weights_are_not(store, block):
    """The events were given weights proportional to (1 + c x)^2, which three benchmarks determine."""
    weights = block.weights([[0.7]])[0]
    own = block.benchmark_weights[:, 0]
    expected = np.where(block.background, own, own * (1 + 0.7 * block.x[:, 0]) ** 2)
    np.testing.assert_allclose(weights, expected, rtol=1e-10, atol=1e-16)
    gradients = block.weight_gradients([[0.7]])[0, 0]
    slope = 2 * block.x[:, 0] * (1 + 0.7 * block.x[:, 0])
    np.testing.assert_allclose(gradients, np.where(block.background, 0.0, own * slope), rtol=1e-9, atol=1e-14)


def test_nuisance_factors_interpolate_the_varied_weights(block):
    plain = block.weights("sm")[0]
    np.testing.assert_allclose(block.weights("sm", [1.0, 0.0])[0], 1.1 * plain, rtol=1e-12)
    up, down = block.nuisance_weights[:, 1], block.nuisance_weights[:, 2]
    np.testing.assert_allclose(block.weights("sm", [0.0, 1.0])[0], up, rtol=1e-12)
    np.testing.assert_allclose(block.weights("sm", [0.0, -1.0])[0], down, rtol=1e-12)
    factor = np.exp(0.2 * block.x[:, 1] * 0.5 + 0.05 * 0.25)
    np.testing.assert_allclose(block.weights("sm", {"shape": 0.5})[0], plain * factor, rtol=1e-12)


def test_nu_may_differ_between_thetas(block):
    both = block.weights([[0.0], [1.0]], [[1.0, 0.0], [0.0, -0.5]])
    np.testing.assert_array_equal(both[0], block.weights([[0.0]], [1.0, 0.0])[0])
    np.testing.assert_array_equal(both[1], block.weights([[1.0]], [0.0, -0.5])[0])


@settings(max_examples=20, deadline=None)
@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(-2, 2))
def test_gradients_are_derivatives(store, c, rate, shape):
    """Central differences of weights, and of cross sections, in theta and in nu."""
    block, h = next(store.blocks()), 1e-5
    gradients = block.weight_gradients([[c]], [rate, shape])[0]
    of_xsec = store.xsec_gradients([[c]], [rate, shape])[0]
    shifts = [((h, 0, 0), 0), ((0, h, 0), 1), ((0, 0, h), 2)]
    for (dc, drate, dshape), direction in shifts:
        sides = [([[c + s * dc]], [rate + s * drate, shape + s * dshape]) for s in (1, -1)]
        up, down = (block.weights(*side)[0] for side in sides)
        scale = np.abs(up).max()
        np.testing.assert_allclose(gradients[direction], (up - down) / (2 * h), atol=1e-7 * scale)
        up, down = (store.xsec(*side).value[0] for side in sides)
        assert of_xsec[direction] == pytest.approx((up - down) / (2 * h), abs=1e-7 * abs(up))


def test_gradients_without_nu_have_the_directions_of_theta(store, block):
    assert block.weight_gradients([[0.5], [1.0]]).shape == (2, 1, len(block))
    assert block.weight_gradients([[0.5]], [0.0, 0.0]).shape == (1, 3, len(block))
    assert store.xsec_gradients([[0.5], [1.0]]).shape == (2, 1)
    np.testing.assert_allclose(store.xsec_gradients([[0.5]])[0, 0], block.weight_gradients([[0.5]]).sum(), rtol=1e-12)


@pytest.mark.parametrize("nu", [None, [0.5, -1.0]])
def test_cross_sections_and_errors_are_sums_over_events(store, nu):
    thetas = [[0.0], [0.3], [-1.7]]
    weights = np.concatenate([b.weights(thetas, nu) for b in store.blocks("train", size=100)], axis=1)
    result = store.xsec(thetas, nu, partition="train")
    np.testing.assert_allclose(result.value, weights.sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(result.error, np.sqrt((weights**2).sum(axis=1)), rtol=1e-12)


def test_errors_cover_the_truth_in_pseudo_experiments():
    """The error estimates the spread of sums over Poisson-distributed numbers of events with such weights."""
    weights = mixed_columns()["weights"][:, 1]
    rng = np.random.default_rng(8)
    sums = rng.poisson(1.0, (4000, len(weights))) @ weights
    assert np.std(sums) == pytest.approx(np.sqrt((weights**2).sum()), rel=0.04)


def test_wrong_nuisance_parameters_get_named_errors(block):
    with pytest.raises(UnknownNameError, match="Did you mean 'shape'"):
        block.weights("sm", {"shap": 1.0})
    with pytest.raises(InputError, match="rate, shape"):
        block.weights("sm", [1.0])
    with pytest.raises(InputError, match="finite"):
        block.weights("sm", [1.0, float("nan")])
