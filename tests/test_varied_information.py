"""Information about nuisance parameters that change what is seen, in histograms: against templates and a bootstrap."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from analytic_store import analytic_store
from shifted_store import shifted_store

from columnminer.errors import InputError, MissingError
from columnminer.infer.fisher import FisherInformation
from columnminer.infer.histogram import HistogramLikelihood
from columnminer.sample.replicas import multiplicities

EDGES = np.array([0.8, 1.6, 2.4])
NAMES = ("theta", "rate", "scale", "second")
LUMINOSITY, REPLICAS, N_EVENTS = 1000.0, 400, 12_000


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A two-sided energy scale and a one-sided one, beside a normalisation."""
    folder = tmp_path_factory.mktemp("shifted")
    return shifted_store(folder / "events.zarr", N_EVENTS, {"scale": (0.1, -0.1), "second": (0.06,)})


@pytest.fixture(scope="module")
def fisher(store):
    return FisherInformation(store, LUMINOSITY)


@pytest.mark.parametrize(("observable", "bins"), [("x", EDGES), (["x", "y"], [EDGES, [0.0]])])
def test_it_is_that_of_the_templates(fisher, observable, bins):
    found = fisher.histogram([0.5], observable, bins, variations=True)
    assert found.parameter_names == NAMES
    templates = fisher.templates([0.5], observable, bins).information(np.array([0.5, 0.0, 0.0, 0.0]))
    np.testing.assert_allclose(found.information, LUMINOSITY * templates, rtol=1e-9)
    without = fisher.histogram([0.5], observable, bins)
    assert without.parameter_names == NAMES[:2]
    np.testing.assert_allclose(found.project(NAMES[:2]).information, without.information, rtol=1e-12)
    np.testing.assert_allclose(found.project(NAMES[:2]).covariance, without.covariance, rtol=1e-9)


def replicas(store, theta, independent):
    """Information in bins of x of Poisson replicas of the events, (n_replicas, 4, 4)."""
    numbers = np.arange(N_EVENTS)
    seen = [store, *store.varied("scale"), *store.varied("second")]
    found = []
    for replica in range(REPLICAS):
        sums = []
        for i, one in enumerate(seen):
            counts = multiplicities(replica + REPLICAS * i * independent, numbers)[one.event[:]]
            block = next(one.blocks())
            vectors = [block.weights([theta])[0], block.weight_gradients([theta])[0, 0], block.benchmark_weights[:, 0]]
            index = np.digitize(block.x[:, 0], EDGES)
            sums.append([np.bincount(index, v * counts, len(EDGES) + 1) for v in vectors])
        (sigma, along, reference), up, down, second = sums[0], sums[1][2], sums[2][2], sums[3][2]
        slopes = [np.full(4, np.log(1.05)), 0.5 * np.log(up / down), np.log(second / reference)]
        g = np.stack([along, *(sigma * slope for slope in slopes)])
        found.append(LUMINOSITY * (g / sigma) @ g.T)
    return np.array(found)


def test_the_covariance_is_that_of_replicas_in_which_an_event_is_the_same_in_all_selections(store, fisher):
    information = fisher.histogram([0.5], "x", EDGES, variations=True)
    one, other = np.triu_indices(4)
    covariance = information.covariance[one, other][:, one, other]
    spread = np.cov(replicas(store, 0.5, independent=False)[:, one, other].T)
    size = np.sqrt(np.outer(np.diag(spread), np.diag(spread)))
    # sqrt(2 / 400) = 0.07 is the error of a variance from so many replicas
    np.testing.assert_allclose(np.diag(covariance / size), 1.0, atol=0.25)
    np.testing.assert_allclose(covariance / size, spread / size, atol=0.25)
    # negative control: with other events in each selection the entries about scales fluctuate much more
    apart = np.var(replicas(store, 0.5, independent=True)[:, 2, 2])
    assert apart > 3.0 * information.covariance[2, 2, 2, 2]


def test_what_is_left_out_is_said(store, fisher, caplog):
    with caplog.at_level(logging.WARNING):
        fisher.histogram([0.5], "x", EDGES)
    assert "not about scale, second: ask for it with variations=True" in caplog.text
    caplog.clear()
    rate = fisher.rate([0.5], variations=True)
    assert "not about" not in caplog.text
    templates = fisher.templates([0.5]).information(np.array([0.5, 0.0, 0.0, 0.0]))
    np.testing.assert_allclose(rate.information, LUMINOSITY * templates, rtol=1e-9)


def test_constraints_go_with_it_and_it_is_what_a_fit_finds(store, fisher):
    information = fisher.histogram([0.0], "x", EDGES, variations=True)
    with pytest.raises(InputError, match="cannot add informations about"):
        information + fisher.constraints()
    constrained = information + fisher.constraints(variations=True)
    likelihood = HistogramLikelihood.from_store(
        store, "x", LUMINOSITY, bins=EDGES, partition="all", nuisances=True
    ).constrained()
    asimov = likelihood.with_data(likelihood.asimov(theta=0.0))
    point = asimov.point({"theta": 0.0})
    # The fit varies the total as the total is varied, not as the sum of bins whose logarithms are linear in nu.
    np.testing.assert_allclose(constrained.information, -asimov.derivatives(point, asimov.data).hessian, rtol=0.08)


def test_stores_without_variations_have_none(tmp_path):
    plain = FisherInformation(analytic_store(tmp_path / "plain.zarr", 500), LUMINOSITY)
    with pytest.raises(MissingError, match="has no variations"):
        plain.histogram([0.5], "x", 4, variations=True)
