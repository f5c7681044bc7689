from __future__ import annotations

import numpy as np
import pytest
from analytic_store import OBSERVABLES, ExactScore, analytic_store, integral, sigma
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, chi2, poisson

from columnminer.errors import InputError, MissingError, UnknownNameError
from columnminer.infer.bins import Axis, Bins, quantile_edges, split_bins
from columnminer.infer.events import Events, StoredEvents
from columnminer.infer.histogram import HistogramLikelihood
from columnminer.infer.morphed import fill
from columnminer.infer.summary import Summary

EDGES = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
ALL = np.array([0.0, *EDGES, 1.0])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return analytic_store(tmp_path_factory.mktemp("store") / "events.zarr")


@pytest.fixture(scope="module")
def likelihood(store):
    return HistogramLikelihood.from_store(store, "x", 300.0, bins=EDGES, partition="all")


# Bins ----------------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.lists(st.floats(-100, 100), min_size=1, unique=True))
def test_every_event_has_exactly_one_bin(values, edges):
    edges = np.sort(edges)
    if not (np.diff(edges) > 0).all():
        return
    bins = Bins((Axis("x", edges),))
    index = bins.find_bins(np.array(values)[:, None])
    np.testing.assert_array_equal(index, np.digitize(values, edges))
    assert bins.sum(index, np.ones((len(values), 1))).sum() == len(values)


def test_an_edge_belongs_to_the_bin_above_it():
    bins = Bins((Axis("x", [0.0, 1.0]),))
    np.testing.assert_array_equal(bins.find_bins(np.array([[-0.1], [0.0], [0.99], [1.0], [np.inf]])), [0, 1, 1, 2, 2])


def test_bins_in_two_dimensions_agree_with_numpy():
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(1000, 2)), rng.normal(size=(1000, 1))
    edges = [np.linspace(-1, 1, 4), np.linspace(-2, 2, 3)]
    bins = Bins((Axis("a", edges[0]), Axis("b", edges[1])))
    ours = bins.sum(bins.find_bins(x), w)[:, 0].reshape(bins.shape)
    theirs, _, _ = np.histogram2d(*x.T, [np.array([-np.inf, *e, np.inf]) for e in edges], weights=w[:, 0])
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_quantile_edges_split_the_weight_evenly():
    rng = np.random.default_rng(2)
    values, weights = rng.exponential(size=50_000), rng.uniform(size=50_000)
    bins = Bins((Axis("x", quantile_edges(values, weights, 8)),))
    shares = bins.sum(bins.find_bins(values[:, None]), weights[:, None])[:, 0] / weights.sum()
    np.testing.assert_allclose(shares, 1 / 8, atol=1e-4)
    assert len(quantile_edges(np.ones(10), np.ones(10), 4)) == 1  # values that repeat cannot be split


@pytest.mark.parametrize(
    ("bins", "names", "message"),
    [
        ([0.0, 0.0, 1.0], ["x"], "edges of 'x' must be finite and increasing"),
        ([0.0, np.nan], ["x"], "edges of 'x' must be finite"),
        (0, ["x"], "must be a positive integer"),
        ([5, 5, 5], ["x", "y"], r"needed for 2 axes \(x, y\), not 3"),
        ({"z": 5}, ["x", "y"], "'z', which is not an axis"),
    ],
)
def test_bad_bins_are_named(bins, names, message):
    with pytest.raises((InputError, UnknownNameError), match=message):
        split_bins(bins, names)


def test_bins_may_be_given_in_several_ways():
    assert split_bins(None, ["x"]) == [25]
    assert split_bins(7, ["x", "y"]) == [7, 7]
    assert split_bins({"y": 3}, ["x", "y"]) == [8, 3]
    np.testing.assert_array_equal(split_bins([0, 1, 2], ["x"])[0], [0, 1, 2])
    mixed = split_bins([[0, 1, 2], 5], ["x", "y"])
    assert mixed[1] == 5
    assert split_bins([10], ["x"]) == [10]


# Templates -----------------------------------------------------------------------------------------------------------


def test_templates_are_the_integrals_of_the_density(likelihood):
    theta = np.array([[-1.7], [0.0], [0.4], [1.9]])
    exact = 300.0 * integral(ALL[:-1], ALL[1:], theta)
    np.testing.assert_allclose(likelihood.expected(theta), exact, rtol=2e-4)  # the events are evenly spread, not random
    assert likelihood.expected(theta).sum(axis=1) == pytest.approx(300.0 * sigma(theta[:, 0]), rel=1e-6)


def test_templates_do_not_depend_on_blocks(store):
    events, summary = StoredEvents(store, ("train", "validation")), Summary(["x", "y"], OBSERVABLES)
    bins = Bins((Axis("x", EDGES), Axis("y", [0.5])))
    whole = fill(events, summary, bins)
    events.blocks = lambda size=None: StoredEvents(store, ("train", "validation")).blocks(777)
    np.testing.assert_allclose(fill(events, summary, bins).signal, whole.signal, rtol=1e-12)


def test_partitions_together_are_the_whole(tmp_path):
    store = analytic_store(tmp_path / "events.zarr", 3000, background=0.5)
    bins = Bins((Axis("x", EDGES),))
    summary = Summary("x", OBSERVABLES)
    whole = fill(StoredEvents(store), summary, bins)
    together = fill(StoredEvents(store, ("validation", "test", "train")), summary, bins)
    np.testing.assert_allclose(together.signal, whole.signal, rtol=1e-12)
    np.testing.assert_allclose(together.background, whole.background, rtol=1e-12)
    two = StoredEvents(store, ("train", "test"))
    assert two.n_stored == store.n_events("train") + store.n_events("test") == sum(len(b.x) for b in two.blocks())
    assert two.cross_section([1.0]) == pytest.approx(sigma(1.0) + 0.5, rel=0.02)
    assert sum(b.weights([1.0]).sum() for b in two.blocks()) == pytest.approx(two.cross_section([1.0]))
    with pytest.raises(UnknownNameError, match="Did you mean 'train'"):
        fill(StoredEvents(store, ("train", "tran")), summary, bins)


def test_backgrounds_are_added_after_morphing(tmp_path):
    store = analytic_store(tmp_path / "events.zarr", 3000, background=0.5)
    likelihood = HistogramLikelihood.from_store(store, "x", 300.0, bins=EDGES, partition="all")
    theta = np.array([[0.0], [1.5]])
    exact = 300.0 * (integral(ALL[:-1], ALL[1:], theta) + 0.5 * np.diff(ALL))
    np.testing.assert_allclose(likelihood.expected(theta), exact, rtol=2e-3)


def test_equal_cross_section_bins_have_equal_cross_sections(store):
    likelihood = HistogramLikelihood.from_store(store, "x", 300.0, bins=6, bin_thetas=[[1.5]], partition="all")
    expected = likelihood.expected(theta=1.5)
    np.testing.assert_allclose(expected / expected.sum(), 1 / 6, rtol=1e-3)
    assert np.ptp(likelihood.expected(theta=-1.5)) > 10.0  # at another theta they differ


def test_expressions_and_scores_are_axes_like_observables(store):
    squared = HistogramLikelihood.from_store(store, "x ** 2", 300.0, bins=EDGES**2, partition="all")
    plain = HistogramLikelihood.from_store(store, "x", 300.0, bins=EDGES, partition="all")
    np.testing.assert_allclose(squared.expected(theta=0.7), plain.expected(theta=0.7), rtol=1e-10)
    mixed = HistogramLikelihood.from_store(
        store, [ExactScore(0.0), "y"], 300.0, bins={"score(theta)": 2 * (EDGES - 0.5), "y": 2}, partition="all"
    )
    assert [axis.name for axis in mixed.bins.axes] == ["score(theta)", "y"]
    np.testing.assert_allclose(mixed.expected(theta=0.7).sum(axis=1), plain.expected(theta=0.7), rtol=1e-3)


def test_cuts_and_efficiencies_act_on_templates_rate_and_data(store):
    likelihood = HistogramLikelihood.from_store(
        store, "x", 300.0, bins=EDGES, partition="all", cuts=["x > 0.5"], efficiencies=["0.25 + 0 * y"]
    )
    exact = 300.0 * 0.25 * integral(ALL[3:-1], ALL[4:], 0.7)
    np.testing.assert_allclose(likelihood.expected(theta=0.7)[3:], exact, rtol=1e-3)
    data = likelihood.as_data(Events(np.array([[0.2, 0.5], [0.6, 0.5]]), OBSERVABLES))
    np.testing.assert_array_equal(data, [0, 0, 0, 1, 0, 0])


# Nuisance parameters -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tilted(tmp_path_factory):
    store = analytic_store(tmp_path_factory.mktemp("tilted") / "events.zarr", 6000, background=0.5, tilt=0.4)
    return HistogramLikelihood.from_store(store, "x", 300.0, bins=EDGES, partition="all", nuisances=True)


def test_varied_histograms_come_out_at_one_and_minus_one(tilted):
    assert tilted.names == ("theta", "tilt")
    low, high = ALL[:-1], ALL[1:]
    flat = 300.0 * 0.5 * (high - low)
    for nu in (1.0, -1.0):
        exact = 300.0 * (high - low + nu * 0.4 * ((high - 0.5) ** 2 - (low - 0.5) ** 2) / 2) + flat
        np.testing.assert_allclose(tilted.expected(tilt=nu), exact, rtol=2e-3)
    np.testing.assert_allclose(tilted.expected(), 300.0 * (high - low) + flat, rtol=2e-3)


def test_gradient_in_nuisances_is_the_derivative(tilted):
    data = tilted.with_data(tilted.simulate(1, theta=0.3)).constrained()
    point, h = np.array([0.4, 0.7]), 1e-5
    for i in range(2):
        step = h * np.eye(2)[i]
        numerical = (data.log_likelihood(point + step) - data.log_likelihood(point - step)) / (2 * h)
        assert data.gradient(point)[i] == pytest.approx(numerical, rel=1e-6)


def test_nuisances_need_systematics(store):
    with pytest.raises(MissingError, match="no nuisance parameters"):
        HistogramLikelihood.from_store(store, "x", 300.0, nuisances=True)


# Likelihood ----------------------------------------------------------------------------------------------------------


def test_it_is_the_product_of_poisson_probabilities(likelihood):
    counts = likelihood.simulate(3, theta=0.5)
    theta = np.linspace(-2, 2, 9)[:, None]
    product = poisson.logpmf(counts, likelihood.expected(theta)).sum(axis=1)
    np.testing.assert_allclose(likelihood.log_likelihood(theta, counts), product, rtol=1e-5)


def test_many_toys_are_evaluated_at_once(likelihood):
    toys = np.stack([likelihood.simulate(seed, theta=0.5) for seed in range(4)])
    theta = np.array([[-1.0], [0.5], [1.0]])
    together = likelihood.log_likelihood(theta[:, None, :], toys)
    assert together.shape == (3, 4)
    np.testing.assert_allclose(together[:, 2], likelihood.log_likelihood(theta, toys[2]), rtol=1e-13)


def test_events_are_filled_with_overflow_in_its_own_bins(likelihood):
    x = np.array([[0.05, 0.0], [0.05, 0.0], [0.5, 0.0], [0.95, 0.0]])
    np.testing.assert_array_equal(likelihood.as_data(Events(x, OBSERVABLES)), [2, 0, 0, 1, 0, 1])
    toys = Events(x, OBSERVABLES, np.array([[1, 0, 0, 0], [0, 0, 2, 1]]))
    np.testing.assert_array_equal(likelihood.as_data(toys), [[1, 0, 0, 0, 0, 0], [0, 0, 0, 2, 0, 1]])


def test_columns_are_found_by_name(likelihood):
    swapped = Events(np.array([[0.7, 0.05]]), ("y", "x"))
    np.testing.assert_array_equal(likelihood.as_data(swapped), [1, 0, 0, 0, 0, 0])
    with pytest.raises(UnknownNameError, match="no observable 'x'"):
        likelihood.as_data(Events(np.array([[0.7]]), ("y",)))


@pytest.mark.parametrize("include_rate", [True, False])
def test_gradient_is_the_derivative(store, include_rate):
    likelihood = HistogramLikelihood.from_store(store, "x", 300.0, bins=EDGES, include_rate=include_rate)
    likelihood = likelihood.with_data(likelihood.simulate(1, theta=0.3))
    theta, h = np.array([[-1.2], [0.1], [1.4]]), 1e-5
    numerical = (likelihood.log_likelihood(theta + h) - likelihood.log_likelihood(theta - h)) / (2 * h)
    np.testing.assert_allclose(likelihood.gradient(theta)[:, 0], numerical, rtol=1e-6, atol=1e-6)


def test_shape_only_does_not_see_the_number_of_events(store):
    shape = HistogramLikelihood.from_store(store, "x", 300.0, bins=EDGES, include_rate=False, partition="all")
    counts = shape.expected(theta=1.0)
    for scale in (1.0, 3.0):
        data = shape.with_data(scale * counts)
        np.testing.assert_allclose(data.gradient(theta=1.0), 0.0, atol=1e-9)
    assert (shape.terms(np.zeros((4, 1)), counts).rate == 0.0).all()


def test_a_bin_without_simulated_events_says_nothing(store, caplog):
    edges = [*EDGES, 2.0]
    likelihood = HistogramLikelihood.from_store(store, "x", 300.0, bins=edges, include_rate=False)
    inside, outside = np.array([[0.6, 0.5]]), np.array([[0.6, 0.5], [3.0, 0.5]])
    theta = np.array([[-1.0], [0.5]])
    a = likelihood.log_likelihood(theta, Events(inside, OBSERVABLES))
    assert not caplog.records
    b = likelihood.log_likelihood(theta, Events(outside, OBSERVABLES))
    assert np.isfinite(b).all()
    assert np.diff(a) == pytest.approx(np.diff(b))
    assert "bins without simulated events" in caplog.text


def test_the_injected_point_is_covered_as_often_as_promised_but_not_by_a_wrong_template(likelihood):
    grid, truth, level = np.linspace(-2, 2, 161)[:, None], 0.5, 0.68
    toys = np.stack([likelihood.simulate(seed, theta=truth) for seed in range(200)])

    def covered(model):
        values = model.log_likelihood(grid[:, None, :], toys)
        q = 2.0 * (values.max(axis=0) - model.log_likelihood([truth], toys))
        return int((chi2.sf(q, 1) > 1.0 - level).sum())

    assert binomtest(covered(likelihood), 200, level).pvalue > 0.01
    mirrored = HistogramLikelihood(
        type(likelihood.templates)(
            likelihood.templates.setup,
            likelihood.templates.signal[:, ::-1].copy(),
            likelihood.templates.background,
            likelihood.bins,
        ),
        likelihood.rate,
    )
    assert binomtest(covered(mirrored), 200, level).pvalue < 1e-6


def test_errors_name_what_is_wrong(store, likelihood):
    with pytest.raises(UnknownNameError, match=r"no observable is called 'xx'.*Did you mean 'x'"):
        HistogramLikelihood.from_store(store, "xx", 300.0)
    with pytest.raises(InputError, match="z"):
        HistogramLikelihood.from_store(store, "log(z)", 300.0)
    with pytest.raises(InputError, match=r"counts have shape \(4,\), but the bins .* \(6,\)"):
        likelihood.with_data(np.ones(4))
    with pytest.raises(InputError, match=r"'log\(x - 0.5\)' is undefined"):
        HistogramLikelihood.from_store(store, "log(x - 0.5)", 300.0, bins=[-3.0, -2.0])
    with pytest.raises(InputError, match="luminosity"):
        HistogramLikelihood.from_store(store, "x", -1.0)
    with pytest.raises(MissingError, match="no events are left"):
        HistogramLikelihood.from_store(store, "x", 1.0, bins=[0.5], cuts=["x > 2"])
    bare = HistogramLikelihood(likelihood.templates, likelihood.rate)
    with pytest.raises(MissingError, match="counts instead of events"):
        bare.with_data(Events(np.zeros((1, 2)), OBSERVABLES))
    with pytest.raises(InputError, match="a list of expressions"):
        HistogramLikelihood.from_store(store, "x", 1.0, cuts="x > 0.5")
