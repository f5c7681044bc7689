from __future__ import annotations

import numpy as np
import pytest
from analytic_store import OBSERVABLES, ExactNuisanceRatio, ExactRatio, analytic_store, density, score, sigma
from scipy.integrate import quad
from scipy.stats import binomtest, chi2, kstest, poisson

from columnminer.errors import InputError, MissingError, UnknownNameError
from columnminer.infer import neural
from columnminer.infer.batches import pick, stack
from columnminer.infer.events import AsimovEvents, Events, StoredEvents
from columnminer.infer.neural import NeuralLikelihood
from columnminer.infer.rate import RateLikelihood

LUMINOSITY = 200.0


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return analytic_store(tmp_path_factory.mktemp("store") / "events.zarr")


@pytest.fixture(scope="module")
def likelihood(store):
    return NeuralLikelihood.from_store(store, ExactRatio(), LUMINOSITY)


def test_it_is_the_extended_likelihood_up_to_a_constant(likelihood):
    rng = np.random.default_rng(1)
    events = Events(rng.uniform(size=(150, 2)), OBSERVABLES)
    theta = np.linspace(-1.5, 1.5, 5)
    exact = [poisson.logpmf(150, LUMINOSITY * sigma(t)) + np.log(density(events.x[:, 0], t)).sum() for t in theta]
    np.testing.assert_allclose(likelihood.log_likelihood(theta[:, None], events), exact, rtol=1e-6)


def test_points_and_toys_that_share_events_broadcast(likelihood):
    rng = np.random.default_rng(2)
    x, weights = rng.uniform(size=(40, 2)), rng.poisson(1.0, (3, 40)).astype(float)
    theta = np.array([[-1.0], [0.7]])
    together = likelihood.log_likelihood(theta[:, None, :], Events(x, OBSERVABLES, weights))
    assert together.shape == (2, 3)
    for i, w in enumerate(weights):
        np.testing.assert_allclose(together[:, i], likelihood.log_likelihood(theta, Events(x, OBSERVABLES, w)))


def test_blocks_do_not_matter(likelihood, monkeypatch):
    data = likelihood.asimov(theta=0.4)
    theta = np.linspace(-1, 1, 5)[:, None]
    whole = likelihood.log_likelihood(theta, data)
    monkeypatch.setattr(neural, "_PAIRS", 500)
    np.testing.assert_allclose(likelihood.log_likelihood(theta, data), whole, rtol=1e-11)


def test_gradient_is_the_derivative(likelihood):
    data = likelihood.asimov(theta=0.4)
    theta, h = np.array([[-0.6], [0.4], [1.1]]), 1e-5
    numerical = (likelihood.log_likelihood(theta + h, data) - likelihood.log_likelihood(theta - h, data)) / (2 * h)
    np.testing.assert_allclose(likelihood.gradient(theta, data)[:, 0], numerical, rtol=1e-5, atol=1e-5)


def test_asimov_data_are_the_expectation(likelihood, store):
    asimov = likelihood.asimov(theta=1.0)
    assert isinstance(asimov, AsimovEvents)
    n = sum(w.sum() for _, w in asimov.blocks())
    assert n == pytest.approx(LUMINOSITY * sigma(1.0), rel=1e-6)
    kinematic = likelihood.terms(np.array([[0.0], [1.0]]), asimov).kinematic
    exact = n * quad(lambda x: density(x, 1.0) * np.log(density(x, 1.0)), 0, 1)[0]
    assert kinematic[1] - kinematic[0] == pytest.approx(exact, rel=0.1)  # test events: a fifth, at random
    assert len(list(StoredEvents(store, "test").blocks())) == 1


def test_simulated_events_follow_the_density_and_not_another(likelihood):
    toy = likelihood.simulate(4, theta=1.5)
    x = np.concatenate([likelihood.simulate(seed, theta=1.5).x[:, 0] for seed in range(10)])
    assert toy.names == OBSERVABLES
    np.testing.assert_array_equal(toy.x, likelihood.simulate(4, theta=1.5).x)

    def cdf(theta):
        return lambda x: ((1 + theta * (x - 0.5)) ** 3 - (1 - theta / 2) ** 3) / (3 * theta * sigma(theta))

    assert kstest(x, cdf(1.5)).pvalue > 1e-3
    assert kstest(x, cdf(-1.5)).pvalue < 1e-6


def test_what_is_drawn_does_not_depend_on_blocks(store):
    events = StoredEvents(store, "test")
    whole = events.draw([0.8], 300, np.random.default_rng(3))
    pieces = StoredEvents(store, "test")
    pieces.blocks = lambda size=None: events.blocks(500)
    np.testing.assert_array_equal(pieces.draw([0.8], 300, np.random.default_rng(3)).x, whole.x)


def test_the_injected_point_is_covered_as_often_as_promised_but_not_by_a_wrong_ratio(likelihood):
    grid, truth = np.linspace(-2, 2, 81)[:, None], 0.5
    toys = [likelihood.simulate(seed, theta=truth) for seed in range(200)]

    class Mirrored(ExactRatio):
        def log_ratio(self, x, theta, **options):
            return super().log_ratio(1.0 - x, theta, **options)

    def covered(model):
        inside = 0
        for toy in toys:
            q = 2.0 * (model.log_likelihood(grid, toy).max() - model.log_likelihood([truth], toy))
            inside += chi2.sf(q, 1) > 0.32
        return int(inside)

    assert binomtest(covered(likelihood), 200, 0.68).pvalue > 0.01
    wrong = NeuralLikelihood(Mirrored(), likelihood.rate)
    assert binomtest(covered(wrong), 200, 0.68).pvalue < 1e-6


def test_the_maximum_follows_the_score(likelihood):
    rng = np.random.default_rng(9)
    x = rng.uniform(size=(100, 2))
    likelihood = NeuralLikelihood(ExactRatio(), likelihood.rate, include_rate=False)
    np.testing.assert_allclose(likelihood.gradient([0.3], Events(x, OBSERVABLES))[0], score(x[:, 0], 0.3).sum())


# Nuisance parameters -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tilted(tmp_path_factory):
    store = analytic_store(tmp_path_factory.mktemp("tilted") / "events.zarr", 6000, tilt=0.4)
    return NeuralLikelihood.from_store(
        store, ExactNuisanceRatio(0.4), 500.0, partition="all", include_rate=True, nuisances=True
    )


def test_nuisances_are_parameters(tilted):
    assert tilted.names == ("theta", "tilt")
    assert [p.constraint for p in tilted.parameters] == [None, 1.0]
    data = tilted.asimov(theta=0.3, tilt=1.0)
    kinematic = NeuralLikelihood(tilted.estimator, tilted.rate, include_rate=False)
    np.testing.assert_allclose(kinematic.gradient([0.3, 1.0], data), 0.0, atol=1e-3)  # the truth is the maximum
    assert abs(kinematic.gradient([0.3, -1.0], data)[1]) > 1.0
    point, h = np.array([[0.4, 0.7], [-0.2, -1.1]]), 1e-5
    for i in range(2):
        step = h * np.eye(2)[i]
        numerical = (tilted.log_likelihood(point + step, data) - tilted.log_likelihood(point - step, data)) / (2 * h)
        np.testing.assert_allclose(tilted.gradient(point, data)[:, i], numerical, rtol=1e-5, atol=1e-5)


def test_toys_follow_the_nuisances(tilted):
    shifted = np.concatenate([tilted.simulate(seed, tilt=2.0).x[:, 0] for seed in range(20)])
    nominal = np.concatenate([tilted.simulate(seed).x[:, 0] for seed in range(20)])
    b, spread = nominal - 0.5, np.sqrt(1 / 12 / len(nominal))
    assert abs(b.mean()) < 4 * spread
    # The mean of x rises by 0.4 / 12 for each unit of the tilt, but for the second order.
    assert (shifted - 0.5).mean() == pytest.approx(0.8 / 12, abs=4 * spread + 0.005)


def test_an_estimator_of_theta_alone_leaves_nuisances_to_the_rate(tilted):
    blind = NeuralLikelihood(ExactRatio(), tilted.rate)
    data, points = tilted.asimov(theta=0.3), np.array([[0.2, -1.0], [0.2, 1.0]])
    kinematic = blind.terms(points, data).kinematic
    assert kinematic[0] == kinematic[1]
    assert np.ptp(tilted.terms(points, data).kinematic) > 1.0
    np.testing.assert_allclose(blind.gradient(points, data)[:, 1], tilted.rate.gradient(points, data)[:, 1], atol=1e-6)
    alone = NeuralLikelihood(ExactNuisanceRatio(0.4), RateLikelihood.from_store(tilted.events.store, 500.0))
    np.testing.assert_allclose(
        alone.terms(np.array([[0.2]]), data).kinematic, tilted.terms(np.array([[0.2, 0.0]]), data).kinematic
    )
    assert alone.gradient([[0.2]], data).shape == (1, 1)


def test_errors_name_what_is_wrong(store, likelihood):
    class Other(ExactRatio):
        parameter_names = ("theta", "phi")

    with pytest.raises(InputError, match="knows the parameters theta, phi, the store theta"):
        NeuralLikelihood.from_store(store, Other(), 1.0)
    with pytest.raises(InputError, match="events: Events"):
        likelihood.with_data(np.zeros((3, 2)))
    with pytest.raises(InputError, match="one column for each of x, y"):
        Events(np.zeros((3, 1)), OBSERVABLES)
    with pytest.raises(InputError, match="event 1 has a weight that is not finite"):
        Events(np.zeros((2, 2)), OBSERVABLES, np.array([1.0, np.nan]))
    with pytest.raises(MissingError, match="no stored events"):
        NeuralLikelihood(ExactRatio(), likelihood.rate).simulate(1)
    with pytest.raises(MissingError, match="not finite"):
        likelihood.log_likelihood([0.5], Events(np.full((2, 2), np.nan), OBSERVABLES))
    with pytest.raises(UnknownNameError, match="no observable is called 'zz'"):
        NeuralLikelihood.from_store(store, ExactRatio(), 1.0, cuts=["zz"])

    class Trained(ExactRatio):
        def check_store(self, store, partition, *, other_store=False):
            if partition == "train":
                msg = "trained on these events"
                raise InputError(msg)

    with pytest.raises(InputError, match="trained on these events"):
        NeuralLikelihood.from_store(store, Trained(), 1.0, partition="train")
    NeuralLikelihood.from_store(store, Trained(), 1.0)


def test_toys_with_events_of_their_own_are_evaluated_together(likelihood):
    toys = likelihood.simulate_many(5, np.arange(4), theta=0.5)
    assert len(toys) == 4
    assert len({len(pick(toys, np.array(i)).x) for i in range(4)}) > 1, "numbers of events fluctuate"
    theta = np.array([[-1.0], [0.0], [0.4], [1.2]])
    together = likelihood.log_likelihood(theta, toys)
    gradients = likelihood.gradient(theta, toys)
    for i in range(4):
        alone = pick(toys, np.array(i))
        assert together[i] == pytest.approx(likelihood.log_likelihood(theta[i], alone), rel=1e-12)
        np.testing.assert_allclose(gradients[i], likelihood.gradient(theta[i], alone), rtol=1e-9, atol=1e-9)
    some = pick(toys, np.array([3, 1, 3]))
    np.testing.assert_allclose(likelihood.log_likelihood(theta[[3, 1, 3]], some), together[[3, 1, 3]], rtol=1e-12)
    grid = likelihood.log_likelihood(theta[:, None, :], toys)
    assert grid.shape == (4, 4)
    np.testing.assert_allclose(np.diag(grid), together, rtol=1e-12)


def test_events_of_different_observables_are_not_stacked():
    a = Events(np.zeros((1, 2)), OBSERVABLES)
    with pytest.raises(InputError, match="cannot be stacked"):
        stack([a, Events(np.zeros((1, 1)), ("z",))])
    with pytest.raises(InputError, match="no batch"):
        pick(a, np.array([0]))
