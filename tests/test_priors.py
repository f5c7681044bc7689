"""Priors: their samples, their densities, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from columnminer.errors import InputError
from columnminer.model.parameters import Parameter, ParameterSpace
from columnminer.model.priors import Prior, fixed_points, flat_prior, gaussian_prior, product_prior

SPACE = ParameterSpace([Parameter("x", bounds=(-1, 2)), Parameter("y", bounds=(0, 4))])
PRIORS = {
    "flat": flat_prior(SPACE),
    "gaussian": gaussian_prior([0.5, -1.0], [0.3, 2.0]),
    "points": fixed_points([[0.0, 0.0], [1.0, 2.0], [3.0, 4.0]]),
    "product": product_prior(gaussian_prior(0.5, 0.3), flat_prior((0.0, 4.0))),
}


@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
def test_every_prior_samples_seeded_and_has_a_density(prior: Prior) -> None:
    assert isinstance(prior, Prior)
    assert prior.n_par == 2
    theta = prior.sample(50, np.random.default_rng(3))
    assert theta.shape == (50, 2)
    np.testing.assert_array_equal(theta, prior.sample(50, np.random.default_rng(3)))
    assert np.isfinite(prior.log_density(theta)).all()
    assert prior.log_density(theta.reshape(5, 10, 2)).shape == (5, 10)
    assert prior.log_density(theta[0]).shape == ()
    with pytest.raises(InputError, match="prior of 2 parameters"):
        prior.log_density([[1.0, 2.0, 3.0]])


@pytest.mark.parametrize(
    ("name", "marginals"),
    [
        ("flat", [stats.uniform(-1, 3), stats.uniform(0, 4)]),
        ("gaussian", [stats.norm(0.5, 0.3), stats.norm(-1, 2)]),
        ("product", [stats.norm(0.5, 0.3), stats.uniform(0, 4)]),
    ],
)
def test_samples_and_densities_follow_the_distribution(name: str, marginals: list) -> None:
    theta = PRIORS[name].sample(4000, np.random.default_rng(1))
    for column, marginal in zip(theta.T, marginals, strict=True):
        assert stats.kstest(column, marginal.cdf).pvalue > 1e-3
        assert stats.kstest(column + 0.3 * marginal.std(), marginal.cdf).pvalue < 1e-6  # a shifted one is told apart
    wanted = sum(marginal.logpdf(column) for column, marginal in zip(theta.T, marginals, strict=True))
    np.testing.assert_allclose(PRIORS[name].log_density(theta), wanted, rtol=1e-12, atol=1e-12)


def test_nothing_outside_flat_bounds() -> None:
    assert PRIORS["flat"].log_density([2.5, 1.0]) == -np.inf
    assert PRIORS["product"].log_density([0.5, -1.0]) == -np.inf


def test_fixed_points_come_in_turn() -> None:
    prior = PRIORS["points"]
    np.testing.assert_array_equal(prior.sample(5, np.random.default_rng(0))[:, 0], [0, 1, 3, 0, 1])
    np.testing.assert_allclose(prior.log_density([1.0, 2.0]), -np.log(3))
    assert prior.log_density([1.0, 2.5]) == -np.inf


def test_one_width_for_all_parameters() -> None:
    np.testing.assert_array_equal(gaussian_prior([0, 0, 0], 2.0).sigma, [2, 2, 2])


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: flat_prior(ParameterSpace([Parameter("z")])), "parameter 'z' must be finite"),
        (lambda: flat_prior([[1, 0]]), "in order"),
        (lambda: flat_prior([1, 2, 3]), "no \\(n_par, 2\\) array"),
        (lambda: flat_prior("wide"), "not numbers"),
        (lambda: gaussian_prior([0, 0], [1, 0]), "positive sigma"),
        (lambda: gaussian_prior([0, np.nan], [1, 1]), "positive sigma"),
        (lambda: gaussian_prior([0, 0], [1, 1, 1]), "do not fit"),
        (lambda: fixed_points([]), "at least one point"),
        (product_prior, "there are none"),
        (lambda: product_prior("flat"), "not all priors"),
    ],
)
def test_bad_priors_are_refused(make: object, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        make()
