from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from analytic_store import OBSERVABLES, POINTS, analytic_store, setup
from scipy.optimize import minimize
from scipy.stats import binomtest, chi2, norm, poisson

from columnminer.errors import MissingError
from columnminer.infer.bins import Axis, Bins
from columnminer.infer.events import StoredEvents
from columnminer.infer.histogram import HistogramLikelihood
from columnminer.infer.limits import Grid, expected_limits
from columnminer.infer.morphed import MorphedHistogram, fill
from columnminer.infer.rate import RateLikelihood
from columnminer.infer.summary import Summary
from columnminer.infer.template_statistics import best_expectations, best_scale, log_profiled, slopes
from columnminer.store.madminer import import_madminer

EDGES = np.array([0.2, 0.4, 0.6, 0.8])


@pytest.fixture(scope="module")
def tilted(tmp_path_factory):
    return analytic_store(tmp_path_factory.mktemp("store") / "events.zarr", 2000, background=0.5, tilt=0.4)


# One bin -------------------------------------------------------------------------------------------------------------


def log_likelihood(nu, n, mu, variance):
    return poisson.logpmf(n, nu) - 0.5 * (nu - mu) ** 2 / variance


@pytest.mark.parametrize(("n", "mu", "variance"), [(12, 7.0, 3.0), (3, 7.0, 30.0), (5, 0.0, 4.0), (900, 1e-3, 1e-2)])
def test_the_best_expectation_is_the_largest_value(n, mu, variance):
    n, mu, variance = np.array([float(n)]), np.array([mu]), np.array([variance])
    best = best_expectations(n, mu, variance)
    at = log_likelihood(best, n, mu, variance)
    for factor in (0.999, 1.001):
        assert log_likelihood(factor * best, n, mu, variance) < at
    np.testing.assert_allclose(log_profiled(n, mu, variance), at, rtol=1e-12)


def test_where_nothing_was_seen_the_expectation_is_lower():
    n, mu = np.zeros(3), np.array([2.0, 2.0, 2.0])
    np.testing.assert_allclose(best_expectations(n, mu, np.array([0.0, 0.5, 5.0])), [2.0, 1.5, 0.0])


def test_without_variance_it_is_poisson():
    n, mu = np.array([0.0, 3.0, 40.0]), np.array([1.0, 2.5, 44.0])
    np.testing.assert_allclose(log_profiled(n, mu, np.zeros(3)), poisson.logpmf(n, mu), rtol=1e-13)


def test_slopes_are_the_derivatives():
    n, h = np.array([0.0, 0.0, 3.0, 40.0]), 1e-6
    mu, variance = np.array([1.0, 1.0, 2.5, 60.0]), np.array([0.4, 3.0, 0.7, 50.0])
    in_mu, in_variance = slopes(n, mu, variance)
    for ours, (a, b) in ((in_mu, (h, 0.0)), (in_variance, (0.0, h))):
        numerical = log_profiled(n, mu + a, variance + b) - log_profiled(n, mu - a, variance - b)
        np.testing.assert_allclose(ours, numerical / (2 * h), rtol=1e-6, atol=1e-8)


def test_the_best_scale_is_the_largest_value():
    rng = np.random.default_rng(1)
    mu = rng.uniform(1.0, 30.0, (4, 6))
    n, variance = rng.poisson(1.7 * mu[0]).astype(float), mu**2 * rng.uniform(0.001, 0.3, 6)

    def total(s):
        return log_profiled(n, s[:, None] * mu, s[:, None] ** 2 * variance).sum(axis=1)

    s = best_scale(n, mu, variance)
    assert (total(s) > total(1.001 * s)).all()
    assert (total(s) > total(0.999 * s)).all()


# Histograms ----------------------------------------------------------------------------------------------------------


def test_the_variance_is_the_sum_of_squared_weights_at_any_theta(tilted):
    events, bins, summary = StoredEvents(tilted), Bins((Axis("x", EDGES),)), Summary("x", OBSERVABLES)
    templates = fill(events, summary, bins, squares=True)
    points = np.array([[-1.3], [0.0], [0.8]])
    direct = np.zeros((3, bins.size))
    for block in events.blocks():
        index = bins.find_bins(summary(block.x, OBSERVABLES))
        direct += bins.sum(index, np.stack([block.weights(t) for t in points], axis=1) ** 2).T
    np.testing.assert_allclose(templates.variance(points), direct, rtol=1e-10)
    total = fill(events, squares=True)
    np.testing.assert_allclose(np.sqrt(total.variance(points)[:, 0]), tilted.xsec(points).error, rtol=1e-10)


def test_the_gradient_of_the_variance_is_the_derivative(tilted):
    templates = fill(
        StoredEvents(tilted), Summary("x", OBSERVABLES), Bins((Axis("x", EDGES),)), nuisances=True, squares=True
    )
    point, h = np.array([[0.6, -0.8]]), 1e-5
    for i in range(2):
        step = h * np.eye(2)[i]
        numerical = (templates.variance(point + step) - templates.variance(point - step)) / (2 * h)
        np.testing.assert_allclose(templates.variance_gradient(point)[:, i], numerical, rtol=1e-6)


@pytest.mark.parametrize("include_rate", [True, False])
def test_gradient_is_the_derivative(tilted, include_rate):
    likelihood = HistogramLikelihood.from_store(
        tilted, "x", 3000.0, bins=EDGES, include_rate=include_rate, nuisances=True, template_statistics=True
    )
    data, h = likelihood.simulate(2, theta=0.5), 1e-5
    points = np.array([[0.3, 0.4], [-1.1, -0.7]])
    for i in range(2):
        step = h * np.eye(2)[i]
        numerical = likelihood.log_likelihood(points + step, data) - likelihood.log_likelihood(points - step, data)
        np.testing.assert_allclose(likelihood.gradient(points, data)[:, i], numerical / (2 * h), rtol=1e-5, atol=1e-5)


def test_it_is_the_likelihood_with_a_parameter_for_each_bin(tilted):
    """Fitted by brute force, with the total fitted as well where the rate does not count."""
    bins = {"bins": EDGES, "partition": "all", "template_statistics": True}
    for include_rate in (True, False):
        likelihood = HistogramLikelihood.from_store(tilted, "x", 3000.0, include_rate=include_rate, **bins)
        n = likelihood.simulate(2, theta=0.5)
        point = np.array([0.9])
        mu, sigma = likelihood.expected(point), 3000.0 * np.sqrt(likelihood.templates.variance(point))

        def cost(values, n=n, mu=mu, sigma=sigma, free=not include_rate):
            nu, s = values[:-1] * mu, values[-1] if free else 1.0
            return -(poisson.logpmf(n, s * nu) + norm.logpdf(nu, mu, sigma) - norm.logpdf(0.0, 0.0, sigma)).sum()

        brute = -minimize(cost, np.ones(len(mu) + 1), bounds=[(0.1, 3.0)] * (len(mu) + 1), tol=1e-12).fun
        brute -= 0.0 if include_rate else poisson.logpmf(n.sum(), n.sum())
        assert likelihood.log_likelihood(point, n) == pytest.approx(brute, abs=1e-4)


@pytest.mark.parametrize("include_rate", [True, False])
def test_many_simulated_events_leave_nothing_to_profile(tilted, include_rate):
    plain = HistogramLikelihood.from_store(tilted, "x", 100.0, bins=EDGES, include_rate=include_rate)
    squares = fill(train_events(tilted), plain.summary, plain.bins, squares=True)
    many = dataclasses.replace(
        squares, signal_squares=1e-10 * squares.signal_squares, background_squares=1e-10 * squares.background_squares
    )
    careful = HistogramLikelihood(many, plain.rate, include_rate=include_rate, template_statistics=True)
    points, n = np.array([[-1.0], [0.0], [1.5]]), np.array([30.0, 31.0, 0.0, 42.0, 50.0])
    ours, theirs = careful.terms(points, n), plain.terms(points, n)
    np.testing.assert_allclose(ours.rate, theirs.rate)
    np.testing.assert_allclose(ours.kinematic, theirs.kinematic, atol=1e-6)
    few = HistogramLikelihood(squares, plain.rate, include_rate=include_rate, template_statistics=True)
    assert np.abs(few.terms(points, n).kinematic - theirs.kinematic).max() > 0.1


def train_events(store):
    return StoredEvents(store, ("train", "validation"))


def test_limits_with_few_simulated_events_are_weaker(tmp_path):
    few = analytic_store(tmp_path / "few.zarr", 300)
    grid = Grid([(-2.0, 2.0, 21)])
    plain = expected_limits(few, "x", [0.0], grid, 3000.0, bins=EDGES)
    careful = expected_limits(few, "x", [0.0], grid, 3000.0, bins=EDGES, template_statistics=True)
    assert careful.log_ratio.min() > 0.5 * plain.log_ratio.min()
    np.testing.assert_allclose(careful.log_ratio_kinematic + careful.log_ratio_rate, careful.log_ratio, atol=1e-9)
    bare = HistogramLikelihood.from_store(few, "x", 1.0, bins=EDGES)
    with pytest.raises(MissingError, match="squares=True"):
        HistogramLikelihood(bare.templates, bare.rate, template_statistics=True)


def test_few_simulated_events_undercover_unless_they_count():
    """Templates of about 400 events for data of 2,000: their own fluctuations are the larger ones."""
    luminosity, truth, n_events, n_toys = 2000.0, 0.8, 400, 300
    rng, the_setup, bins = np.random.default_rng(11), setup(), Bins((Axis("x", EDGES),))
    grid = np.linspace(-2.0, 2.0, 161)[:, None]
    edges = np.array([0.0, *EDGES, 1.0]) - 0.5
    expected = luminosity * np.diff(edges + truth * edges**2 + truth**2 * edges**3 / 3.0)
    covered = {True: 0, False: 0}
    for _ in range(n_toys):
        x = rng.uniform(size=rng.poisson(n_events))
        weights = (1.0 + np.array(list(POINTS.values())) * (x[:, None] - 0.5)) ** 2 / n_events
        index = bins.find_bins(x[:, None])
        products = (weights[:, :, None] * weights[:, None, :]).reshape(len(x), -1)
        templates = MorphedHistogram(
            the_setup,
            bins.sum(index, weights).T,
            np.zeros(bins.size),
            bins,
            signal_squares=bins.sum(index, products).T.reshape(3, 3, -1),
            background_squares=np.zeros(bins.size),
        )
        total = MorphedHistogram(the_setup, templates.signal.sum(axis=1, keepdims=True), np.zeros(1))
        data = rng.poisson(expected).astype(float)
        for counts in covered:
            likelihood = HistogramLikelihood(
                templates, RateLikelihood(total, luminosity), template_statistics=counts
            ).with_data(data)
            q = 2.0 * (likelihood.log_likelihood(grid).max() - likelihood.log_likelihood([truth]))
            covered[counts] += bool(chi2.sf(q, 1) > 0.32)
    assert binomtest(covered[True], n_toys, 0.68).pvalue > 0.01
    assert binomtest(covered[False], n_toys, 0.68).pvalue < 1e-6
    assert covered[False] < 0.5 * n_toys


def test_variances_are_madminers(shared, tmp_path):
    """Its uncertainties of histograms, which are densities, at the first point of its grids: train events only."""
    oracle = json.loads((shared / "vbf" / "oracle.json").read_text())
    store = import_madminer(
        shared / "vbf" / "madminer_lhe_nosmear_shuffled.h5", tmp_path / "events.zarr", partition="in_order"
    )
    for section in ("limits", "limits_narrow"):
        theta = np.array(oracle[section]["theta_grid"][:1])
        for name in ("histo1d_noxsec", "histo2d_noxsec", "histo1d_adaptive10_noxsec"):
            entry = oracle[section]["results"][name]
            edges = [np.array(e) for e in entry["histo_edges"]]
            bins = Bins(tuple(Axis(n, e) for n, e in zip(entry["args"]["hist_vars"], edges, strict=True)))
            summary = Summary([axis.name for axis in bins.axes], store.observable_names)
            templates = fill(StoredEvents(store, slice(0, 32_000)), summary, bins, squares=True)
            inside = tuple(slice(1, -1) for _ in edges)
            widths = np.diff(edges[0]) if len(edges) == 1 else np.outer(*(np.diff(e) for e in edges))
            sigma = templates.at(theta).reshape(bins.shape)[inside]
            error = np.sqrt(templates.variance(theta)).reshape(bins.shape)[inside] / sigma.sum() / widths
            theirs = np.array(entry["histo_unc_at_grid0"])
            np.testing.assert_allclose(error, theirs, rtol=0, atol=1e-8 * theirs.max())
