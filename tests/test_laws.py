"""How ratios depend on theta, whatever the network says: exact forms, derivatives, positivity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from columnminer.errors import InputError
from columnminer.learn.morphed import MorphedRatios
from columnminer.learn.quadratic import SquaredAmplitudes, amplitude_components
from columnminer.learn.scaling import Scaling
from columnminer.model.components import monomials

QUADRATIC = np.array([[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [2, 0]])
QUARTIC = np.array([[i, j] for i in range(5) for j in range(5 - i)])
REFERENCE = np.array([0.3, -0.5])
SCALING = Scaling(REFERENCE, np.array([2.0, 0.1]))


def squared(components):
    return SquaredAmplitudes(amplitude_components(components), SCALING)


def morphed(components, seed=0):
    points = np.random.default_rng(seed).uniform(-1, 1, (len(components) + 2, 2))
    return MorphedRatios(components, points, REFERENCE)


def some(law, n=20, seed=1):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(n, law.n_outputs))), rng.normal(size=(n, 2))


LAWS = pytest.mark.parametrize(
    "law",
    [squared(QUADRATIC), squared(QUARTIC), morphed(QUADRATIC), morphed(QUARTIC)],
    ids=["squared 2", "squared 4", "morphed 2", "morphed 4"],
)


@LAWS
def test_the_ratio_is_one_at_the_reference(law):
    outputs, _ = some(law)
    terms = torch.from_numpy(law.terms(REFERENCE[np.newaxis]))
    np.testing.assert_allclose(law.ratio(outputs, terms.expand(20, -1)), np.ones(20), rtol=1e-9)


@LAWS
def test_gradients_are_derivatives_and_pairs_and_grid_agree(law):
    outputs, points = some(law)
    terms, gradients = (torch.from_numpy(f(points)) for f in (law.terms, law.term_gradients))
    rho, slopes = law.ratio_and_gradient(outputs, terms, gradients)
    np.testing.assert_allclose(rho, law.ratio(outputs, terms), rtol=1e-12)
    np.testing.assert_allclose(rho, law.grid(outputs, terms).diagonal(), rtol=1e-10)
    for i, step in enumerate(1e-6 * np.eye(2)):
        up, down = (law.ratio(outputs, torch.from_numpy(law.terms(points + s))) for s in (step, -step))
        np.testing.assert_allclose(slopes[:, i], (up - down) / 2e-6, rtol=1e-5, atol=1e-5 * float(slopes.abs().max()))


@pytest.mark.parametrize(("law", "degree"), [(squared(QUADRATIC), 2), (morphed(QUADRATIC), 2), (squared(QUARTIC), 4)])
def test_the_ratio_is_a_polynomial_of_the_right_degree(law, degree):
    outputs, _ = some(law)
    line = np.linspace(-1, 1, degree + 2)[:, np.newaxis] * np.array([1.0, 0.7]) + REFERENCE
    rho = law.grid(outputs, torch.from_numpy(law.terms(line))).numpy()
    size = np.abs(rho).max()
    assert np.abs(np.diff(rho, degree + 1, axis=0)).max() < 1e-10 * size
    assert np.abs(np.diff(rho, degree, axis=0)).max() > 1e-2 * size


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-100, 100), min_size=5, max_size=5),
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=2),
)
def test_squares_are_never_negative_but_morphed_ratios_may_be(outputs, theta):
    law = squared(QUADRATIC)
    assert law.grid(torch.tensor([outputs]), torch.from_numpy(law.terms(np.array([theta]))).float()).min() >= 0.0
    other = morphed(QUADRATIC)
    far = torch.from_numpy(other.terms(np.array([[3.0, 3.0], [-3.0, 3.0], [3.0, -3.0], [-3.0, -3.0]])))
    assert other.grid(some(other)[0], far).min() < 0.0


def test_every_positive_quadratic_form_is_a_sum_of_these_squares():
    rng = np.random.default_rng(3)
    root = rng.normal(size=(50, 3, 3))
    form = root.transpose(0, 2, 1) @ root
    form /= form[:, :1, :1]
    factor = np.linalg.cholesky(form).transpose(0, 2, 1)
    law = squared(QUADRATIC)
    outputs = torch.from_numpy(factor[:, *np.triu_indices(3)][:, 1:])
    points = rng.normal(size=(50, 2))
    v = monomials((points - REFERENCE) / SCALING.scale, law.components)
    np.testing.assert_array_equal(law.components, [[0, 0], [0, 1], [1, 0]])
    expected = np.einsum("ni,nij,nj->n", v, form, v)
    np.testing.assert_allclose(law.ratio(outputs, torch.from_numpy(v)), expected, rtol=1e-10)


def test_amplitudes_have_half_of_the_powers():
    assert amplitude_components(QUARTIC).tolist() == [[0, 0], [0, 1], [1, 0], [0, 2], [1, 1], [2, 0]]
    assert amplitude_components(np.array([[1, 0], [0, 4]])).tolist() == [[0, 0], [0, 1], [1, 0], [0, 2], [1, 1]]


@pytest.mark.parametrize("components", [QUADRATIC, QUARTIC])
def test_every_polynomial_is_morphed_from_its_values_at_the_basis(components):
    rng = np.random.default_rng(4)
    law = morphed(components)
    np.testing.assert_array_equal(law.basis[0], REFERENCE)
    # Positive at the basis by a large constant; divided by the value at the reference.
    coefficients = np.where(components.any(axis=1), rng.normal(size=(30, len(components))), 20.0)
    values = [coefficients @ monomials(points, components).T for points in (law.basis, rng.normal(size=(7, 2)))]
    points = np.random.default_rng(4).normal(size=(7, 2))
    wanted = coefficients @ monomials(points, components).T / values[0][:, :1]
    outputs = torch.from_numpy(np.log(values[0][:, 1:] / values[0][:, :1]))
    np.testing.assert_allclose(law.grid(outputs, torch.from_numpy(law.terms(points))).T, wanted, rtol=1e-6, atol=1e-6)


def test_a_basis_that_does_not_determine_the_components_is_refused():
    line = np.linspace(-1, 1, 9)[:, np.newaxis] * np.ones(2)
    for points in (line, line[:2]):
        with pytest.raises(InputError, match=r"do not determine the 6 components of the morphing: set optimise_basis"):
            MorphedRatios(QUADRATIC, points, REFERENCE)
