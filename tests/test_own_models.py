"""Likelihoods of one's own: a log likelihood and a simulation are enough."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from columnminer.errors import InputError, MissingError
from columnminer.infer.batches import pick
from columnminer.infer.batchfit import fit_batch
from columnminer.infer.batchintervals import interval_batch
from columnminer.infer.fit import fit
from columnminer.infer.intervals import confidence_interval
from columnminer.infer.own import DataSets, StatisticalModel
from columnminer.model.parameters import Parameter


class Measurement(StatisticalModel):
    """A value measured with an error that is known; data are dictionaries, as anything may be."""

    def __init__(self):
        super().__init__([Parameter("mu", bounds=(-10.0, 10.0)), Parameter("sigma", 1.0, fittable=False)])

    def _log_likelihood(self, data, *, mu, sigma):
        return norm.logpdf(data["measured"], mu, sigma)

    def _simulate(self, rng, *, mu, sigma):
        return {"measured": rng.normal(mu, sigma)}


class Quick(Measurement):
    """The same with arrays."""

    vectorised = True

    def _log_likelihood(self, data, *, mu, sigma):
        return -0.5 * ((data - mu) / sigma) ** 2 - np.log(np.sqrt(2.0 * np.pi) * sigma)

    def _simulate(self, rng, *, mu, sigma):
        return rng.normal(mu, sigma)


def test_a_model_needs_both_methods():
    with pytest.raises(TypeError, match="abstract"):
        StatisticalModel([Parameter("mu")])


def test_the_best_fit_is_the_measurement():
    model = Measurement()
    data = model.simulate(3, mu=0.0)
    best = fit(model.with_data(data), sigma=2.0)
    assert best.by_name["mu"] == pytest.approx(data["measured"], abs=1e-3)
    assert best.by_name["sigma"] == 2.0
    assert best.log_likelihood == pytest.approx(norm.logpdf(0.0, 0.0, 2.0), abs=1e-6)
    interval = confidence_interval(model.with_data(data), "mu", level=0.9)
    assert interval.upper - interval.lower == pytest.approx(2 * norm.ppf(0.95), rel=1e-3)


@pytest.mark.parametrize("model", [Measurement(), Quick()])
def test_toys_are_fitted_all_at_once(model):
    data = model.simulate_many(1, np.arange(20), mu=0.5, sigma=2.0)
    measured = np.array([d["measured"] for d in data.data]) if isinstance(data, DataSets) else data
    fits = fit_batch(model, data, sigma=2.0)
    assert fits.converged.all()
    assert fits.fallback_share == 0.0
    np.testing.assert_allclose(fits.by_name["mu"], measured, atol=1e-4)
    np.testing.assert_allclose(fits.errors[:, 0], 2.0, rtol=1e-3)
    intervals = interval_batch(model, "mu", data, interval_args={"sigma": 2.0})
    np.testing.assert_allclose(intervals.upper, measured + 2.0 * norm.ppf(0.95), atol=1e-3)


def test_toys_depend_on_their_numbers_alone():
    model = Measurement()
    few, many = model.simulate_many(3, [7, 2]), model.simulate_many(3, np.arange(9))
    assert few.data == (many.data[7], many.data[2])
    assert model.simulate_many(4, [7]).data != few.data[:1]
    assert pick(many, np.asarray(7)) == many.data[7]
    assert len(pick(many, np.array([1, 2]))) == 2


def test_points_and_data_broadcast_as_everywhere():
    model = Measurement()
    data = model.simulate_many(1, np.arange(4))
    points = model.points({"mu": np.linspace(-1.0, 1.0, 3)})
    grid = model.log_likelihood(points[:, None, :], data)
    assert grid.shape == (3, 4)
    assert grid[2, 1] == pytest.approx(norm.logpdf(data.data[1]["measured"], 1.0, 1.0))
    np.testing.assert_allclose(grid, Quick().log_likelihood(points[:, None, :], [d["measured"] for d in data.data]))
    assert model.log_likelihood(points, data.data[0]).shape == (3,)


def test_it_can_be_multiplied_with_others():
    model = Measurement() * Quick().rename({"mu": "nu", "sigma": "tau"})
    data = model.simulate_many(1, np.arange(5), mu=1.0, nu=-1.0)
    fits = fit_batch(model, data)
    np.testing.assert_allclose(fits.by_name["nu"], data[1], atol=1e-4)


def test_errors_say_what_to_define():
    with pytest.raises(MissingError, match="define `expected`"):
        Measurement().expected()
    with pytest.raises(MissingError, match="define `asimov`"):
        Measurement().asimov()

    class Wrong(Measurement):
        def _log_likelihood(self, data, *, mu, sigma):
            return np.zeros(2)

    with pytest.raises(InputError, match=r"Wrong._log_likelihood returns an array of shape \(2,\)"):
        Wrong().log_likelihood(data={"measured": 1.0})


class Counting(StatisticalModel):
    """As in docs/fits.md."""

    def _log_likelihood(self, data, *, mu, efficiency):
        expected = 10.0 * mu * efficiency + 3.0
        return data * np.log(expected) - expected

    def _simulate(self, rng, *, mu, efficiency):
        return rng.poisson(10.0 * mu * efficiency + 3.0)


def test_the_example_of_the_documentation():
    efficiency = Parameter("efficiency", 0.8, constraint=0.1, fit_limits=(0, 1))
    model = Counting([Parameter("mu", 1.0, fit_limits=(0.0, None)), efficiency]).constrained()
    toys = model.simulate_many(1, range(40), mu=2.0)
    fits = fit_batch(model, toys)
    assert fits.converged.all()
    assert fits.fallback_share < 0.1
    counts, measured = np.array(toys[0].data), toys[1]
    inside = (counts > 3) & (measured < 1.0)
    np.testing.assert_allclose(
        fits.by_name["mu"][inside], ((counts - 3) / 10 / measured)[inside], rtol=1e-3
    )  # the measured efficiency, which the count says nothing about
