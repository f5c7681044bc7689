"""How often regions hold the truth: pseudo-experiments that the generator makes anew, for three likelihoods.

A pseudo-experiment is a Poisson number of new events of the built-in e- e+ -> mu- mu+, none of them from the store that
templates and estimators know. Its test statistic q = 2 max log L - 2 log L(true theta) follows a chi2 law with two
degrees of freedom where a likelihood is right and events are many. All likelihoods take the rate from the 200,000
events of the store, whose error is a twentieth of that of the data.

What must cover does so within binomial error: for all checks of a test together the probability to fail by chance is
at most 1 % (each has 1 % over their number, two-sided). What must not cover has p < 1e-6.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from drellyan_store import drellyan_store
from scipy.stats import binomtest, chi2

from columnminer.generate.drellyan import DrellYan
from columnminer.infer.events import Events
from columnminer.infer.fit import fit
from columnminer.infer.histogram import HistogramLikelihood
from columnminer.infer.neural import NeuralLikelihood
from columnminer.learn.calibration import calibrate
from columnminer.learn.checks import check
from columnminer.learn.estimators import RatioEstimator
from columnminer.model.priors import flat_prior
from columnminer.sample.sampling import sample_plain, sample_ratio

PROCESS = DrellYan("ee", bound=1.0)
N_EXPECTED = 600  # at the standard model: errors of 0.1 TeV^-2, far from where the cross section turns
LUMINOSITY = N_EXPECTED / float(PROCESS.xsec("sm")[0])
THETAS = ((0.0, 0.0), (0.4, 0.3), (-0.3, 0.5))
LEVELS = (0.68, 0.95)
SIGNIFICANCE, REFUSED = 0.01, 1e-6
PRIOR = flat_prior([(-1.0, 1.3)] * 2)
WRONG = np.array([0.25, -0.25])
"""Where the wrong template is filled, from where it says: the asymmetry of another theory."""
STEPS = np.linspace(-4.5, 4.5, 13)
"""Of the grid around the truth, in standard errors along the axes of their ellipse."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return drellyan_store(tmp_path_factory.mktemp("coverage") / "events", PROCESS, 200_000)


@pytest.fixture(scope="module")
def likelihoods(store):
    samples = sample_ratio(store, PRIOR, "sm", 60_000, seed=1)
    trained = RatioEstimator((20, 20)).fit(samples, "alices", epochs=4, batch_size=512, seed=1)
    plain = sample_plain(store, "sm", 40_000, seed=2, partition="validation")
    neural = calibrate(trained, plain, "normalisation")
    check(neural, sample_ratio(store, PRIOR, "sm", 20_000, n_theta=50, seed=3, partition="test"))
    histogram = HistogramLikelihood.from_store(store, "cos_theta", LUMINOSITY, bins=12)
    return {
        "exact": NeuralLikelihood(PROCESS, histogram.rate),
        "neural": NeuralLikelihood.from_store(store, neural, LUMINOSITY),
        "histogram": histogram,
        "wrong template": HistogramLikelihood(
            elsewhere(histogram.templates), histogram.rate, summary=histogram.summary
        ),
    }


def elsewhere(templates):
    """Return templates that say at theta what those given say at theta + WRONG."""
    there = templates.setup.weights(templates.setup.benchmark_points + WRONG)
    return dataclasses.replace(templates, signal=there @ templates.signal)


def pseudo_experiments(theta, n_toys, seed):
    """Yield events of the generator with weights (n_some, n): 20 pseudo-experiments at a time, none with the others'.

    Events are independent, so that a row of them cut into pieces of Poisson lengths is a row of pseudo-experiments.
    """
    mean = LUMINOSITY * float(PROCESS.xsec(theta)[0])
    numbers = np.random.default_rng(seed).poisson(mean, n_toys)
    cosine = PROCESS.sample(int(numbers.sum()), theta, seed=seed).cosine
    for some in np.array_split(np.arange(n_toys), n_toys // 20):
        first, last = numbers[: some[0]].sum(), numbers[: some[-1] + 1].sum()
        owner = np.repeat(some, numbers[some])
        weights = (owner == some[:, np.newaxis]).astype(np.float64)
        yield Events(cosine[first:last, np.newaxis], PROCESS.feature_names, weights)


def points_around(theta):
    """Return the grid (n_steps^2, 2) of STEPS in standard errors; the truth stands in its middle."""
    information = PROCESS.fisher_information(theta, LUMINOSITY)
    root = np.linalg.cholesky(np.linalg.inv(information))
    steps = np.stack(np.meshgrid(STEPS, STEPS, indexing="ij"), axis=-1).reshape(-1, 2)
    return theta + steps @ root.T


def values_of_q(likelihood, theta, toys):
    """Return q of each pseudo-experiment, (n_toys,): the best of the grid, and the parabola through its neighbours."""
    points, n = points_around(theta), len(STEPS)
    q = []
    for events in toys:
        log_l = likelihood.log_likelihood(points[:, np.newaxis, :], events).T.reshape(-1, n, n)
        q.append(2.0 * (highest(log_l) - log_l[:, n // 2, n // 2]))
    return np.concatenate(q)


def highest(surfaces):
    """Return the maximum of each surface (n_surfaces, n, n) between its points."""
    n = surfaces.shape[1]
    flat = surfaces.reshape(len(surfaces), -1)
    row, column = np.divmod(flat.argmax(axis=1), n)
    i, j = np.clip(row, 1, n - 2), np.clip(column, 1, n - 2)
    near = np.arange(-1, 2)
    patch = surfaces[np.arange(len(flat))[:, None, None], i[:, None, None] + near[:, None], j[:, None, None] + near]
    gradient = np.stack([patch[:, 2, 1] - patch[:, 0, 1], patch[:, 1, 2] - patch[:, 1, 0]], axis=1) / 2
    mixed = (patch[:, 2, 2] - patch[:, 2, 0] - patch[:, 0, 2] + patch[:, 0, 0]) / 4
    curvature = np.empty((len(flat), 2, 2))
    curvature[:, 0, 0] = patch[:, 2, 1] - 2 * patch[:, 1, 1] + patch[:, 0, 1]
    curvature[:, 1, 1] = patch[:, 1, 2] - 2 * patch[:, 1, 1] + patch[:, 1, 0]
    curvature[:, 0, 1] = curvature[:, 1, 0] = mixed
    step = -np.linalg.solve(curvature, gradient[..., np.newaxis])[..., 0]
    inside = (row == i) & (column == j) & (np.abs(step) < 1).all(axis=1)  # else the grid's own maximum stands
    return np.where(inside, patch[:, 1, 1] + (gradient * step).sum(axis=1) / 2, flat.max(axis=1))


def verdicts(likelihood, theta, n_toys, seed):
    """Return, for each level, in how many pseudo-experiments the region holds the truth, and the p value of that."""
    q = values_of_q(likelihood, np.array(theta), pseudo_experiments(theta, n_toys, seed))
    inside = [int((q < chi2.ppf(level, 2)).sum()) for level in LEVELS]
    return inside, [float(binomtest(k, n_toys, level).pvalue) for k, level in zip(inside, LEVELS, strict=True)]


def require_coverage(likelihoods, thetas, n_toys):
    """Check all likelihoods at all thetas: those that are right cover, the one with the wrong template does not."""
    right = ("exact", "neural", "histogram")
    least = SIGNIFICANCE / (len(right) * len(thetas) * len(LEVELS))
    for seed, theta in enumerate(thetas, start=100):  # the store has another
        for name in right:
            inside, p = verdicts(likelihoods[name], theta, n_toys, seed)
            assert min(p) > least, f"{name} at {theta}: {inside} of {n_toys} at {LEVELS}"
        inside, p = verdicts(likelihoods["wrong template"], theta, n_toys, seed)
        assert max(p) < REFUSED, f"wrong template at {theta}: {inside} of {n_toys} at {LEVELS}"


def test_regions_at_one_theta_cover_in_200_pseudo_experiments(likelihoods):
    require_coverage(likelihoods, THETAS[1:2], 200)


@pytest.mark.slow
def test_regions_at_three_thetas_cover_in_1000_pseudo_experiments(likelihoods):
    require_coverage(likelihoods, THETAS, 1000)


def test_the_maximum_between_the_points_of_the_grid_is_that_of_a_fit(likelihoods):
    theta, likelihood = np.array(THETAS[1]), likelihoods["histogram"]
    toys = next(pseudo_experiments(theta, 20, seed=5))
    counts = likelihood.as_data(toys)
    q = values_of_q(likelihood, theta, [toys])
    fitted = [
        fit(likelihood.with_data(c), start=theta).log_likelihood - likelihood.log_likelihood(theta, c) for c in counts
    ]
    np.testing.assert_allclose(q, 2.0 * np.array(fitted), atol=0.02)


def test_pseudo_experiments_are_poisson_and_share_no_event(store):
    blocks = list(pseudo_experiments(THETAS[0], 200, seed=100))
    weights = np.concatenate([b.weights.sum(axis=1) for b in blocks])
    mean = LUMINOSITY * float(PROCESS.xsec(THETAS[0])[0])
    assert len(weights) == 200
    assert all((b.weights.sum(axis=0) == 1.0).all() for b in blocks)
    cosine = np.concatenate([b.x[:, 0] for b in blocks])
    assert len(np.unique(cosine)) == weights.sum()
    assert not np.isin(cosine, store.observables[:]).any()
    assert weights.mean() == pytest.approx(mean, abs=4 * np.sqrt(mean / 200))
    assert weights.var() == pytest.approx(mean, rel=4 * np.sqrt(2 / 200))
