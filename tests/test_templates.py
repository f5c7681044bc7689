"""Template likelihoods against formulas written out with numpy and scipy, and against themselves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.interpolate import RegularGridInterpolator
from template_models import LIVETIME, MODE, RATE, SHIFT, SIGNAL, likelihood, random_points, templates

from columnminer.errors import InputError, MissingError, UnknownNameError
from columnminer.infer.batches import pick, stack
from columnminer.infer.templates import TemplateEvents, TemplateLikelihood, TemplateSource
from columnminer.model.parameters import Parameter

SEEDS = st.integers(0, 2**32 - 1)


def source_values(like, point):
    """Expected events and probabilities of bins of both sources by scipy's interpolation, apart from each other."""
    at = dict(zip(like.names, point, strict=True))
    er, wimp = like.sources
    anchors = [p.anchors for p in like.parameters if p.name in er.shapes]
    here = [[at["shift"], at["width"]]]
    exposure = at["livetime"] / 1.5
    mu = [
        at["er_rate"] * exposure * RegularGridInterpolator(anchors, er.events)(here)[0],
        at["wimp_rate"] * at["efficiency"] * exposure * wimp.events[int(at["mode"])],
    ]
    probabilities = [RegularGridInterpolator(anchors, er.probability)(here)[0], wimp.probability[int(at["mode"])]]
    return np.array(mu), np.array(probabilities)


def brute_force(like, point, cells, counts):
    mu, p = source_values(like, point)
    flat = np.einsum("s,s...->...", mu, p).ravel()
    if like.binned:
        content = np.bincount(cells, weights=counts, minlength=flat.size)
        return stats.poisson.logpmf(content, flat).sum()
    density = (flat / like.space.volumes.ravel())[cells]
    return (counts * np.log(np.where(density > 0.0, density, 1e-12))).sum() - mu.sum()


def random_events(like, rng, n):
    return TemplateEvents(rng.integers(0, like.space.size, n), np.ones(n))


@pytest.mark.parametrize("bins", [(7,), (5, 4), (3, 2, 4)])
@given(seed=SEEDS)
@settings(max_examples=15, deadline=None)
def test_unbinned_value_is_the_formula(bins, seed) -> None:
    like, rng = likelihood(seed, bins), np.random.default_rng(seed)
    events, point = random_events(like, rng, 50), random_points(like, rng, 1)[0]
    wanted = brute_force(like, point, events.cells, events.counts)
    np.testing.assert_allclose(like.log_likelihood(point, events), wanted, rtol=1e-11)


@given(seed=SEEDS)
@settings(max_examples=15, deadline=None)
def test_binned_value_is_the_product_of_poisson_probabilities(seed) -> None:
    like, rng = likelihood(seed, binned=True), np.random.default_rng(seed)
    possible = np.flatnonzero(np.all([s.probability.reshape(-1, 20)[0] > 0 for s in like.sources], axis=0))
    cells, point = rng.choice(possible, 60), random_points(like, rng, 1)[0]
    wanted = brute_force(like, point, cells, np.ones(60))
    np.testing.assert_allclose(like.log_likelihood(point, TemplateEvents(cells, np.ones(60))), wanted, rtol=1e-11)
    histogram = np.bincount(cells, minlength=20).reshape(5, 4)
    np.testing.assert_allclose(like.log_likelihood(point, histogram), wanted, rtol=1e-11)


def test_an_impossible_bin_makes_the_binned_likelihood_zero_and_the_unbinned_one_small() -> None:
    binned, unbinned = likelihood(binned=True), likelihood()
    nowhere = np.all([(s.probability.reshape(-1, 20) == 0).all(axis=0) for s in binned.sources], axis=0)
    rng, n = np.random.default_rng(1), 0
    for seed in range(20):  # a seed with a bin in which no source has events
        binned, unbinned = likelihood(seed, binned=True), likelihood(seed)
        nowhere = np.all([(s.probability.reshape(-1, 20) == 0).all(axis=0) for s in binned.sources], axis=0)
        if nowhere.any():
            n += 1
            cell = TemplateEvents(np.flatnonzero(nowhere)[:1], np.ones(1))
            empty = TemplateEvents(np.zeros(0, dtype=np.int64), np.zeros(0))
            point = random_points(binned, rng, 1)[0]
            assert binned.log_likelihood(point, cell) == -np.inf
            less = unbinned.log_likelihood(point, cell) - unbinned.log_likelihood(point, empty)
            np.testing.assert_allclose(less, np.log(1e-12), rtol=1e-12)
            found = unbinned.derivatives(point, cell)
            np.testing.assert_allclose(found.gradient, unbinned.gradient(point, empty))
            assert np.isfinite(found.hessian).all()
    assert n > 0


def away_from_kinks(like, points, distance):
    for name, anchors in like.kinks.items():
        x = points[..., like.names.index(name)]
        if (np.abs(x[..., None] - anchors) < distance).any():
            return False
    return True


@pytest.mark.parametrize("binned", [False, True])
@given(seed=SEEDS)
@settings(max_examples=15, deadline=None)
def test_derivatives_are_those_of_differences(binned, seed) -> None:
    like, rng = likelihood(seed, binned=binned), np.random.default_rng(seed)
    point, step = random_points(like, rng, 1)[0], 1e-5
    data = like.simulate(seed, point)
    if not away_from_kinks(like, point, 2 * step):
        return
    found, data = like.derivatives(point, like.as_data(data)), like.as_data(data)
    np.testing.assert_allclose(found.value, like.log_likelihood(point, data), rtol=1e-13)
    np.testing.assert_allclose(found.gradient, like.gradient(point, data), rtol=1e-12, atol=1e-12)
    for i, name in enumerate(like.names):
        shift = np.zeros(len(like.names))
        if name != "mode":
            shift[i] = step
        up, down = like.derivatives(point + shift, data), like.derivatives(point - shift, data)
        scale = np.abs(found.hessian).max()
        np.testing.assert_allclose(
            found.gradient[i], (up.value - down.value) / (2 * step), rtol=1e-5, atol=1e-6 * scale
        )
        np.testing.assert_allclose(
            found.hessian[i], (up.gradient - down.gradient) / (2 * step), rtol=1e-5, atol=1e-6 * scale
        )
    np.testing.assert_array_equal(found.hessian, found.hessian.T)


def test_derivatives_of_a_shift_that_is_wrong_are_noticed() -> None:
    like = likelihood()
    point = random_points(like, np.random.default_rng(1), 1)[0]
    data = like.simulate(1, point)
    there = point.copy()
    there[like.names.index("er_rate")] += 0.1
    assert abs(like.gradient(point, data) - like.gradient(there, data)).max() > 1e-3


def test_a_parameter_that_multiplies_twice_is_squared() -> None:
    axes, p = {"x": [0.0, 1.0, 2.0]}, np.array([0.25, 0.75])
    twice = TemplateLikelihood("t", axes, [TemplateSource("s", p, 3.0, (), "r", "r")], [Parameter("r", 1.0)])
    events = TemplateEvents(np.array([0, 1, 1]), np.ones(3))
    found = twice.derivatives(np.array([1.5]), events)
    np.testing.assert_allclose(found.gradient, [3 * 2 / 1.5 - 2 * 3.0 * 1.5])
    np.testing.assert_allclose(found.hessian, [[-3 * 2 / 1.5**2 - 6.0]])


def test_derivatives_at_an_anchor_are_those_towards_larger_values() -> None:
    like, rng = likelihood(), np.random.default_rng(3)
    point, i = random_points(like, rng, 1)[0], like.names.index("shift")
    point[i] = -1.0
    data = like.simulate(1, point)
    step = np.zeros(len(point))
    step[i] = 1e-6
    here, right, left = (like.log_likelihood(p, data) for p in (point, point + step, point - step))
    slope = like.gradient(point, data)[i]
    np.testing.assert_allclose(slope, (right - here) / 1e-6, rtol=1e-4)
    assert abs(slope - (here - left) / 1e-6) > 1e-2 * abs(slope)  # it is a kink
    np.testing.assert_array_equal(like.kinks["shift"], SHIFT.anchors)
    assert set(like.kinks) == {"shift", "width"}


def test_beyond_the_anchors_and_with_negative_rates_the_likelihood_is_zero() -> None:
    like = likelihood()
    data = like.with_data(like.simulate(1))
    for outside in ({"shift": -2.01}, {"shift": 2.01}, {"width": 3.0}, {"er_rate": -0.1}, {"shift": np.nan}):
        assert data.log_likelihood(**outside) == -np.inf
    for inside in ({"shift": -2.0}, {"shift": 2.0}, {"wimp_rate": 0.0}):
        assert np.isfinite(data.log_likelihood(**inside))
    values = data.log_likelihood(shift=np.array([-3.0, 0.0, 3.0]))
    np.testing.assert_array_equal(np.isfinite(values), [False, True, False])
    with pytest.raises(InputError, match="shift = 3"):
        like.simulate(1, shift=3.0)


def test_a_source_may_be_negative_as_long_as_the_sum_is_not() -> None:
    axes, p = {"x": [0.0, 1.0, 2.0]}, np.array([0.5, 0.5])
    parameters = [Parameter("a", 1.0), Parameter("b", 1.0)]
    sources = [TemplateSource("a", p, 10.0, (), "a"), TemplateSource("b", p, 10.0, (), "b", allow_negative=True)]
    like = TemplateLikelihood("t", axes, sources, parameters)
    like = like.with_data({"x": [0.5, 1.5]})
    assert like.log_likelihood(a=-0.5, b=1.0) == -np.inf
    np.testing.assert_allclose(like.log_likelihood(a=1.0, b=-0.5), 2 * np.log(2.5) - 5.0)
    assert like.log_likelihood(a=1.0, b=-1.5) == -np.inf
    with pytest.raises(InputError, match="negative number of events"):
        like.simulate(1, a=1.0, b=-0.5)


def test_an_index_has_nothing_between_its_anchors() -> None:
    like = likelihood()
    data = like.with_data(like.simulate(1))
    values = data.log_likelihood(mode=np.array(MODE.anchors))
    assert len(set(values.tolist())) == 3
    with pytest.raises(InputError, match=r"'mode' takes the values 0, 1, 2 only.*not 0.5"):
        data.log_likelihood(mode=0.5)
    assert (like.derivatives(like.point(), data.data).hessian[like.names.index("mode")] == 0.0).all()


@given(seed=SEEDS)
@settings(max_examples=15, deadline=None)
def test_order_of_events_does_not_matter(seed) -> None:
    like, rng = likelihood(seed), np.random.default_rng(seed)
    events, point = random_events(like, rng, 80), random_points(like, rng, 1)[0]
    order = rng.permutation(80)
    shuffled = TemplateEvents(events.cells[order], events.counts[order])
    np.testing.assert_allclose(like.log_likelihood(point, events), like.log_likelihood(point, shuffled), rtol=1e-12)
    np.testing.assert_allclose(
        like.log_likelihood(point, events), like.log_likelihood(point, events.merge()), rtol=1e-12
    )


@given(seed=SEEDS, share=st.floats(0.01, 0.99))
@settings(max_examples=15, deadline=None)
def test_a_source_split_in_two_is_the_same(seed, share) -> None:
    like, rng = likelihood(seed), np.random.default_rng(seed)
    er, wimp = like.sources
    halves = [dataclasses.replace(er, name=f"er{i}", events=er.events * f) for i, f in enumerate((share, 1.0 - share))]
    split = TemplateLikelihood("s", like.axes, [wimp, *halves], like.parameters, exposures=like.exposures)
    events, point = random_events(like, rng, 40), random_points(like, rng, 1)[0]
    one, two = like.derivatives(point, events), split.derivatives(point, events)
    np.testing.assert_allclose(one.value, two.value, rtol=1e-11)
    np.testing.assert_allclose(one.gradient, two.gradient, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(one.hessian, two.hessian, rtol=1e-9, atol=1e-8)


def test_narrow_bins_say_what_unbinned_events_say() -> None:
    rng = np.random.default_rng(1)
    axes = {"x": np.linspace(0.0, 1.0, 2001)}
    sources = [TemplateSource("s", templates(rng, 2000), 5.0, (), "r"), TemplateSource("b", templates(rng, 2000), 50.0)]
    options = (axes, sources, [Parameter("r", 1.0)])
    unbinned = TemplateLikelihood("u", *options)
    binned = TemplateLikelihood("b", *options, binned=True)
    toy = unbinned.simulate(1).table()
    assert len(np.unique(toy["x"])) == len(toy)
    rates = np.linspace(0.0, 3.0, 7)
    difference = unbinned.log_likelihood(rates[:, None], toy) - binned.log_likelihood(rates[:, None], toy)
    np.testing.assert_allclose(difference, difference[0], rtol=1e-12)


def test_rate_and_kinematic_terms_add_up() -> None:
    like = likelihood(binned=True)
    data = like.as_data(like.simulate(1))
    points = random_points(like, np.random.default_rng(1), 3)
    terms = like.terms(points, data)
    np.testing.assert_allclose(terms.rate, stats.poisson.logpmf(data.n_events, like.expected(points).sum((-2, -1))))
    np.testing.assert_allclose(terms.total, like.log_likelihood(points, data))


@pytest.mark.parametrize("binned", [False, True])
def test_points_and_toys_broadcast(binned) -> None:
    like, rng = likelihood(binned=binned), np.random.default_rng(1)
    toys = like.as_data(like.simulate_many(1, np.arange(6)))
    points = random_points(like, rng, 6)
    pairs = like.log_likelihood(points, toys)
    grid = like.log_likelihood(points[:, None], toys)
    assert pairs.shape == (6,)
    assert grid.shape == (6, 6)
    np.testing.assert_allclose(np.diag(grid), pairs, rtol=1e-13)
    for i in range(6):
        one = pick(toys, np.array(i))
        np.testing.assert_allclose(like.log_likelihood(points[i], one), pairs[i], rtol=1e-12)
        found = like.derivatives(points[i], one)
        np.testing.assert_allclose(found.hessian, like.derivatives(points, toys).hessian[i], rtol=1e-10, atol=1e-10)
    again = stack([pick(toys, np.array(i)) for i in range(6)])
    np.testing.assert_allclose(like.log_likelihood(points, again), pairs, rtol=1e-12)
    np.testing.assert_allclose(like.log_likelihood(points[2], toys)[3], grid[2, 3], rtol=1e-13)


def test_blocks_do_not_change_the_result(monkeypatch) -> None:
    like, rng = likelihood(), np.random.default_rng(1)
    toys, points = like.simulate_many(1, np.arange(40)), random_points(like, rng, 40)
    whole = like.derivatives(points, toys)
    monkeypatch.setattr("columnminer.infer.template_sums._BLOCK", {None: 64})
    monkeypatch.setattr("columnminer.infer.templates._SECOND", 500)
    parts = like.derivatives(points, toys)
    for field in ("value", "gradient", "hessian"):
        np.testing.assert_allclose(getattr(parts, field), getattr(whole, field), rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("binned", [False, True])
def test_torch_computes_the_same(binned) -> None:
    like, rng = likelihood(binned=binned), np.random.default_rng(1)
    toys, points = like.as_data(like.simulate_many(1, np.arange(20))), random_points(like, rng, 20)
    here, there = like.derivatives(points, toys), like.on("cpu").derivatives(points, toys)
    for field in ("value", "gradient", "hessian"):
        assert isinstance(getattr(there, field), np.ndarray)
        np.testing.assert_allclose(getattr(there, field), getattr(here, field), rtol=1e-12, atol=1e-10)


# Expectations and toys


def test_expected_events_by_source() -> None:
    like, rng = likelihood(), np.random.default_rng(1)
    points = random_points(like, rng, 4)
    found = like.expected_by_source(points)
    for i, point in enumerate(points):
        mu, p = source_values(like, point)
        np.testing.assert_allclose([found["er"][i], found["wimp"][i]], mu)
        np.testing.assert_allclose(like.expected(point), mu.sum())
        histograms = like.source_histograms(point)
        for name, number, probability in zip(like.source_names, mu, p, strict=True):
            np.testing.assert_allclose(histograms[name].values, probability, atol=1e-15)
            events = like.source_histograms(point, expected_events=True)[name].values
            np.testing.assert_allclose(events, number * probability, atol=1e-13)
            np.testing.assert_allclose((histograms[name].density * like.space.volumes).sum(), 1.0)
            along = histograms[name].projected("x1")
            np.testing.assert_allclose(along.values, probability.sum(axis=0), atol=1e-15)
            np.testing.assert_allclose((along.density * np.diff(like.axes["x1"])).sum(), 1.0)
    np.testing.assert_allclose(likelihood(binned=True).expected(points).sum((-2, -1)), like.expected(points))


def test_asimov_data_are_best_where_they_were_made() -> None:
    for binned in (False, True):
        like = likelihood(binned=binned)
        asimov = like.asimov()
        np.testing.assert_allclose(asimov.n_events, like.expected().sum())
        slope = like.gradient(like.point(), asimov)
        np.testing.assert_allclose(slope, 0.0, atol=1e-9)


def test_toys_have_poisson_numbers_of_each_source_and_the_right_distribution() -> None:
    like = likelihood(seed=3)
    point = like.point(None, {"shift": 0.3, "width": 1.4, "mode": 2.0})
    toys = like.simulate_many(5, np.arange(4000), point)
    mu, p = source_values(like, point)
    for s in range(2):
        numbers = (toys.counts * (toys.source == s)).sum(axis=-1)
        bins = np.unique(stats.poisson.ppf(np.linspace(0.0, 1.0, 9)[1:-1], mu[s]))
        wanted = np.diff(stats.poisson.cdf([-1.0, *bins, np.inf], mu[s])) * 4000
        seen = np.bincount(np.searchsorted(bins, numbers), minlength=len(bins) + 1)
        assert stats.chisquare(seen, wanted).pvalue > 1e-3
        cells = toys.cells[(toys.source == s) & (toys.counts > 0)]
        content, share = np.bincount(cells, minlength=20), p[s].ravel()
        assert (content[share == 0.0] == 0).all()
        assert stats.chisquare(content[share > 0], share[share > 0] * len(cells)).pvalue > 1e-3
        wrong = like.source_histograms(shift=-0.3, width=1.4, mode=0.0)[like.source_names[s]].values.ravel()
        assert stats.chisquare(content[share > 0], wrong[share > 0] / wrong[share > 0].sum() * len(cells)).pvalue < 1e-9
    independent = np.corrcoef(*[(toys.counts * (toys.source == s)).sum(axis=-1) for s in range(2)])[0, 1]
    assert abs(independent) < 4 / np.sqrt(4000)


def test_a_toy_is_the_same_whichever_others_are_asked_for() -> None:
    like = likelihood()
    many = like.simulate_many(7, np.arange(300))
    some = like.simulate_many(7, [250, 3])
    for row, toy in enumerate((250, 3)):
        n = int(many.n_events[toy])
        assert some.n_events[row] == n
        np.testing.assert_array_equal(some.cells[row, :n], many.cells[toy, :n])
        placed = like.place(some, 7, [250, 3])
        np.testing.assert_array_equal(
            placed.values["x0"][row, :n], like.place(many, 7, np.arange(300)).values["x0"][toy, :n]
        )
    assert not np.array_equal(like.simulate_many(8, [3]).cells[0, :5], many.cells[3, :5])


def test_toys_drawn_in_blocks_are_the_same(monkeypatch) -> None:
    like = likelihood()
    whole = like.simulate_many(7, np.arange(50))
    monkeypatch.setattr("columnminer.infer.template_toys._DRAWS", 200)
    parts = like.simulate_many(7, np.arange(50))
    np.testing.assert_array_equal(parts.cells, whole.cells)
    np.testing.assert_array_equal(parts.source, whole.source)


def test_many_toys_find_the_cells_that_a_search_finds() -> None:
    rng = np.random.default_rng(1)
    p = rng.exponential(size=3000) ** 8
    like = TemplateLikelihood("t", {"x": np.arange(3001.0)}, [TemplateSource("s", p / p.sum(), 400.0)], [])
    many, one = like.simulate_many(1, np.arange(200)), like.simulate_many(1, [17])
    np.testing.assert_array_equal(many.cells[17, : one.cells.shape[1]], one.cells[0])


def test_events_lie_in_their_cells_and_go_through_a_table() -> None:
    for binned in (False, True):
        like = likelihood(binned=binned)
        toy = like.simulate(3)
        table = toy.table()
        assert table.dtype.names == ("x0", "x1", "source")
        assert set(np.unique(table["source"])) == {0, 1}
        np.testing.assert_array_equal(like.space.cells(table), toy.cells)
        again = like.as_data(table)
        np.testing.assert_allclose(like.log_likelihood(data=again), like.log_likelihood(data=toy), rtol=1e-13)
    x = like.place(like.simulate_many(1, np.arange(300)), 1, np.arange(300))
    first = x.cells // 4 == 2
    low, high = like.axes["x0"][2:4]
    within = (x.values["x0"][first & (x.counts > 0)] - low) / (high - low)
    assert stats.kstest(within, "uniform").pvalue > 1e-3
    assert stats.kstest(within**1.3, "uniform").pvalue < 1e-9


def test_nothing_expected_gives_no_events() -> None:
    like = TemplateLikelihood("t", {"x": [0.0, 1.0]}, [TemplateSource("s", [1.0], 3.0, (), "r")], [Parameter("r", 1.0)])
    none = like.simulate_many(1, np.arange(3), r=0.0)
    assert none.n_events.tolist() == [0.0, 0.0, 0.0]
    np.testing.assert_allclose(like.log_likelihood(np.array([2.0]), none), -6.0)
    assert len(like.simulate(1, r=0.0).table()) == 0


# Data and errors


def test_events_outside_are_refused_or_dropped() -> None:
    like = likelihood()
    columns = {"x0": [0.1, 99.0, 0.2, -1.0], "x1": [0.1, 0.1, np.nan, 0.1]}
    with pytest.raises(InputError, match=r"'sr0': 2 of 4 events have 'x0' outside the analysis space.*outside='drop'"):
        like.as_data(columns)
    assert likelihood(outside="drop").as_data(columns).n_events == 1
    edges = {name: [e[0], e[-1]] for name, e in like.axes.items()}
    np.testing.assert_array_equal(like.as_data(edges).cells, [0, like.space.size - 1])


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"x0": [0.1]}, "no column 'x1', only 'x0'"),
        ({"x0": [0.1], "x1": [0.1, 0.2]}, "one value for each event"),
        (np.zeros((5, 5)), r"counts in bins of shape \(5, 4\)"),
        (-np.ones((5, 4)), "not negative"),
        (TemplateEvents(np.array([20]), np.ones(1)), "numbers from 0 to 19"),
    ],
)
def test_bad_data_are_named(data, complaint) -> None:
    with pytest.raises(InputError, match=complaint):
        likelihood().as_data(data)


def test_batches_have_no_table_and_events_without_positions_neither() -> None:
    toys = likelihood().simulate_many(1, [0, 1])
    with pytest.raises(InputError, match="pick one"):
        toys.table()
    with pytest.raises(MissingError, match="no positions"):
        toys.pick(np.array(0)).table()
    with pytest.raises(InputError, match="no batch"):
        toys.pick(np.array(0)).pick(np.array(0))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"probability": [0.5, 0.4]}, "sum to one"),
        ({"probability": [1.5, -0.5]}, "not be negative"),
        ({"probability": [np.nan, 1.0]}, "finite"),
        ({"events": [1.0, 2.0]}, "one leading axis for each"),
        ({"shapes": ("shift",)}, "one leading axis for each"),
        ({"name": ""}, "name of a source"),
    ],
)
def test_bad_sources_are_named(change, complaint) -> None:
    with pytest.raises(InputError, match=complaint):
        TemplateSource(**{"name": "s", "probability": [0.5, 0.5], "events": 1.0, **change})


def test_what_does_not_fit_together_is_named() -> None:
    axes = {"x": [0.0, 1.0, 2.0]}
    source = TemplateSource("s", [0.5, 0.5], 1.0, (), "wimp_rate")
    with pytest.raises(UnknownNameError, match="'wimp_rate', which is no parameter"):
        TemplateLikelihood("t", axes, [source], [RATE])
    with pytest.raises(InputError, match="used twice"):
        TemplateLikelihood("t", axes, [source, source], [SIGNAL])
    with pytest.raises(InputError, match=r"have \(2,\) bins, the analysis space \(3,\)"):
        TemplateLikelihood("t", {"x": [0.0, 1.0, 2.0, 3.0]}, [source], [SIGNAL])
    with pytest.raises(InputError, match="at least one source"):
        TemplateLikelihood("t", axes, [], [])
    with pytest.raises(InputError, match="'x' must be finite and increasing"):
        TemplateLikelihood("t", {"x": [0.0, 2.0, 1.0]}, [source], [SIGNAL])
    with pytest.raises(InputError, match="at least one axis"):
        TemplateLikelihood("t", {}, [source], [SIGNAL])
    with pytest.raises(InputError, match="nominal exposures not zero"):
        TemplateLikelihood("t", axes, [source], [SIGNAL, LIVETIME], exposures={"livetime": 0.0})
    shifted = TemplateSource("s", [[0.5, 0.5]] * 3, np.ones(3), ("shift",))
    with pytest.raises(InputError, match="3 values of 'shift', not for its 4 anchors"):
        TemplateLikelihood("t", axes, [shifted], [SHIFT])
