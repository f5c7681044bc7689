from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from analytic_store import (
    OBSERVABLES,
    ExactNuisanceRatio,
    ExactRatio,
    ExactScore,
    analytic_store,
    density,
    integral,
    recorded_store,
    sigma,
)
from scipy.integrate import quad
from scipy.stats import chi2, poisson

from columnminer.errors import InputError, MissingError, UnknownNameError
from columnminer.generate.drellyan import DrellYan
from columnminer.infer.adaptive import AdaptiveHistograms
from columnminer.infer.bins import Axis, Bins
from columnminer.infer.events import Events, StoredEvents
from columnminer.infer.fit import fit
from columnminer.infer.histogram import HistogramLikelihood
from columnminer.infer.limits import Grid, expected_limits, observed_limits, scan
from columnminer.infer.morphed import fill
from columnminer.infer.neural import NeuralLikelihood
from columnminer.infer.newton import climb
from columnminer.infer.projection import ScoreProjection
from columnminer.infer.rate import RateLikelihood
from columnminer.infer.summary import Summary
from columnminer.observe.selection import Selection
from columnminer.processing import process
from columnminer.sample.sampling import sample_ratio, sample_test
from columnminer.store.madminer import import_madminer
from columnminer.store.samples import Sample

GRID = Grid([(-2.0, 2.0, 41)])
LUMINOSITY = 300.0
EDGES = np.array([0.1, 0.3, 0.5, 0.7, 0.9])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return analytic_store(tmp_path_factory.mktemp("store") / "events.zarr")


# Grids ---------------------------------------------------------------------------------------------------------------


def test_grid_runs_over_the_last_parameter_first():
    grid = Grid([(-1, 1, 3), (0, 10, 2)])
    np.testing.assert_array_equal(grid.points, [[-1, 0], [-1, 10], [0, 0], [0, 10], [1, 0], [1, 10]])
    np.testing.assert_array_equal(grid.axes[0], [-1, 0, 1])
    assert grid.shape == (3, 2)


@pytest.mark.parametrize("ranges", [[(1, 0, 5)], [(0, 1, 1)], [(0, 1, 2.5)], [(0, 1)], [(np.nan, 1, 3)]])
def test_bad_ranges_are_refused(ranges):
    with pytest.raises(InputError, match="range of a grid"):
        Grid(ranges)


# In closed form ------------------------------------------------------------------------------------------------------


def test_rate_limits_are_poisson_ratios(store):
    limits = expected_limits(store, "rate", [1.0], GRID, LUMINOSITY)
    n, mu = LUMINOSITY * sigma(1.0), LUMINOSITY * sigma(GRID.points[:, 0])
    exact = n * np.log(mu / n) - (mu - n)
    np.testing.assert_allclose(limits.log_ratio, exact, atol=1e-3)
    np.testing.assert_array_equal(limits.log_ratio_rate, limits.log_ratio)
    np.testing.assert_array_equal(limits.log_ratio_kinematic, 0.0)
    np.testing.assert_allclose(limits.p_value, chi2.sf(-2 * limits.log_ratio, 1))
    assert abs(limits.best_fit[0]) == pytest.approx(1.0)
    assert limits.dof == 1


def test_histogram_limits_tend_to_the_exact_ones(store):
    """Templates from 80 % and Asimov data from 20 % of the events, each with its statistical error."""
    limits = expected_limits(store, "x", [1.0], GRID, LUMINOSITY, bins=EDGES)
    all_edges = np.array([0, *EDGES, 1])
    share = lambda t: integral(all_edges[:-1], all_edges[1:], t) / sigma(t)  # noqa: E731
    n = LUMINOSITY * sigma(1.0)
    exact = np.array([n * (share(1.0) * np.log(share(t) / share(1.0))).sum() for t in GRID.points[:, 0]])
    np.testing.assert_allclose(limits.log_ratio_kinematic - limits.log_ratio_kinematic[30], exact, atol=2.5, rtol=0.1)
    np.testing.assert_allclose(limits.log_ratio, limits.log_ratio_kinematic + limits.log_ratio_rate, atol=1e-12)
    assert limits.allowed(0.68)[30]
    assert limits.histograms.expected.shape == (41, 6)
    assert limits.histograms.observed.sum() == pytest.approx(n, rel=1e-6)
    assert limits.grid.names == limits.parameter_names == ("theta",)


def test_limits_from_the_exact_ratio_are_the_exact_ones(store):
    limits = expected_limits(store, ExactRatio(), "one", GRID, LUMINOSITY, include_rate=False)
    n = LUMINOSITY * sigma(1.0)
    exact = np.array(
        [
            n * quad(lambda x, t=t: density(x, 1.0) * np.log(density(x, t) / density(x, 1.0)), 0, 1)[0]
            for t in GRID.points[:, 0]
        ]
    )
    np.testing.assert_allclose(limits.log_ratio - limits.log_ratio[30], exact, atol=2.5, rtol=0.1)
    np.testing.assert_array_equal(limits.log_ratio_rate, 0.0)
    assert limits.allowed(0.68)[30]
    assert limits.histograms is None


def test_every_kind_of_histogram_gives_limits(store):
    plain = expected_limits(store, "x", [0.5], GRID, LUMINOSITY, bins=10)
    for what in (["x", "y"], "exp(x)", ExactScore(0.0), [ExactScore(0.0), "y"]):
        limits = expected_limits(store, what, [0.5], GRID, LUMINOSITY, bins=10)
        np.testing.assert_allclose(limits.best_fit, plain.best_fit, atol=0.31)
        assert limits.log_ratio.max() == 0.0


def test_a_list_of_points_is_as_good_as_a_grid(store):
    points = GRID.points[[0, 10, 20, 30]]
    limits = expected_limits(store, "x", [0.0], points, LUMINOSITY, bins=EDGES)
    whole = expected_limits(store, "x", [0.0], GRID, LUMINOSITY, bins=EDGES)
    np.testing.assert_allclose(limits.log_ratio, (whole.log_ratio - whole.log_ratio[20])[[0, 10, 20, 30]], atol=1e-9)
    assert limits.grid is None


def test_points_may_be_named(store):
    limits = expected_limits(store, "x", [0.0], ["minus", {"theta": 0.5}, "one"], LUMINOSITY, bins=EDGES)
    np.testing.assert_array_equal(limits.theta, [[-1.0], [0.5], [1.0]])
    same = expected_limits(store, "x", [0.0], [[-1.0], [0.5], [1.0]], LUMINOSITY, bins=EDGES)
    np.testing.assert_array_equal(limits.log_ratio, same.log_ratio)
    with pytest.raises(UnknownNameError, match="minus"):
        expected_limits(store, "x", [0.0], ["minos"], LUMINOSITY)
    with pytest.raises(InputError, match="without names"):
        expected_limits(None, RateLikelihood.from_store(store, 1.0), [0.0], ["one"])


# How histograms are made ---------------------------------------------------------------------------------------------


def test_bins_are_equal_where_that_is_asked_for(store):
    edges = {}
    for where in ("grid", [[1.5]], ["minus"]):
        limits = expected_limits(store, "x", [0.0], GRID, LUMINOSITY, bins=6, bins_at=where, template_partition="all")
        edges[str(where)] = limits.histograms.axes[0].edges
    at = HistogramLikelihood.from_store(store, "x", LUMINOSITY, bins=6, bin_thetas=[[1.5]], partition="all")
    np.testing.assert_array_equal(edges["[[1.5]]"], at.bins.axes[0].edges)
    assert edges["[[1.5]]"].mean() > edges["grid"].mean() + 0.1 > edges["['minus']"].mean() + 0.2
    with pytest.raises(InputError, match="'grid', 'each' or a list"):
        expected_limits(store, "x", [0.0], GRID, LUMINOSITY, bins_at="centre")


def test_bins_of_their_own_for_each_theta_give_the_same_limits(store):
    grid = Grid([(-1.0, 1.0, 11)])
    common = expected_limits(store, "x", [0.6], grid, LUMINOSITY)
    each = expected_limits(store, "x", [0.6], grid, LUMINOSITY, bins_at="each", theta_ref="one")
    exact = expected_limits(store, ExactRatio(), [0.6], grid, LUMINOSITY)
    for limits in (common, each):
        np.testing.assert_allclose(limits.log_ratio, exact.log_ratio, rtol=0.05, atol=0.5)
    noise = expected_limits(store, "y", [0.6], GRID, LUMINOSITY, bins=5, bins_at="each", include_rate=False)
    assert noise.log_ratio.min() > -1.0 > exact.log_ratio.min()
    histograms = AdaptiveHistograms(store, ["x", "y"], bins=[4, [0.5]], partition="all")
    for theta in (-1.5, 1.5):
        bins = histograms.bins_at([theta])
        sums = fill(StoredEvents(store), histograms.summary, bins).at(np.array([theta])).reshape(bins.shape)
        np.testing.assert_allclose(sums.sum(axis=1) / sums.sum(), 0.25, rtol=0.01)
        np.testing.assert_array_equal(bins.axes[1].edges, [0.5])
    with pytest.raises(InputError, match="template_statistics=False"):
        expected_limits(store, "x", [0.6], GRID, LUMINOSITY, bins_at="each", template_statistics=True)
    with pytest.raises(InputError, match="denominator of bins_at='each'"):
        expected_limits(store, "x", [0.6], GRID, LUMINOSITY, theta_ref="one")


def test_bins_of_their_own_have_histograms_of_their_own(store):
    """From which the likelihood follows, and which agree with those of a likelihood with the same bins."""
    grid, cuts = Grid([(-1.0, 1.0, 5)]), ["y < 0.7"]
    options = {"cuts": cuts, "theta_ref": "one", "template_partition": "all", "include_rate": False}
    limits = expected_limits(store, "x", [0.6], grid, LUMINOSITY, bins=6, bins_at="each", **options)
    assert len(limits.histograms) == 5
    again = []
    for theta, histograms in zip(limits.theta, limits.histograms, strict=True):
        edges = histograms.axes[0].edges
        same = HistogramLikelihood.from_store(store, "x", LUMINOSITY, bins=edges, partition="all", cuts=cuts)
        np.testing.assert_allclose(histograms.expected[0], same.expected(theta), rtol=1e-9)
        np.testing.assert_allclose(histograms.observed, same.as_data(limits.data), rtol=1e-9)
        again.append(histograms.observed @ np.log(same.probabilities(theta) / same.probabilities(np.array([1.0]))))
    np.testing.assert_allclose(limits.log_ratio, np.array(again) - max(again), atol=1e-9)
    assert np.abs(limits.histograms[0].axes[0].edges - limits.histograms[-1].axes[0].edges).max() > 0.01
    projected = expected_limits(store, ScoreProjection(store, ExactScore(0.0), n_bins=5), [0.6], grid, LUMINOSITY)
    assert [h.expected.shape for h in projected.histograms] == [(1, 5)] * 5
    assert expected_limits(store, ExactRatio(), [0.6], grid, LUMINOSITY).histograms is None


def test_components_of_scores_are_chosen_by_name(tmp_path):
    class WithTilt(ExactScore):
        parameter_names = ("theta", "tilt")

        def score(self, x, *, names=None):
            return np.concatenate([super().score(x, names=names), x[:, 1:]], axis=1)

    store = analytic_store(tmp_path / "tilted.zarr", 2000, tilt=0.2)
    for where in ("grid", "each"):
        options = {"bins": 8, "bins_at": where}
        chosen = expected_limits(store, WithTilt(0.0), [0.5], GRID, LUMINOSITY, score_components=["theta"], **options)
        alone = expected_limits(store, ExactScore(0.0), [0.5], GRID, LUMINOSITY, **options)
        np.testing.assert_array_equal(chosen.log_ratio, alone.log_ratio)
    both = expected_limits(
        store, [WithTilt(0.0), "x"], [0.5], GRID, LUMINOSITY, bins=3, score_components=["tilt", "theta"]
    )
    assert [axis.name for axis in both.histograms.axes] == ["score(tilt)", "score(theta)", "x"]
    with pytest.raises(UnknownNameError, match=r"no component 'teta'.*Did you mean 'theta'"):
        expected_limits(store, WithTilt(0.0), [0.5], GRID, LUMINOSITY, score_components=["teta"])
    with pytest.raises(InputError, match="there is none"):
        expected_limits(store, "x", [0.5], GRID, LUMINOSITY, score_components=["theta"])


def test_asimov_data_may_be_a_sample(store):
    """Of 4,000 events: the log ratios differ by their fluctuations, as many times 300 expected events are 4,000."""
    whole = expected_limits(store, ExactRatio(), [0.6], GRID, LUMINOSITY, include_rate=False)
    options = {"include_rate": False, "n_asimov": 4000}
    sample = expected_limits(store, ExactRatio(), [0.6], GRID, LUMINOSITY, **options, seed=4)
    again = expected_limits(store, ExactRatio(), [0.6], GRID, LUMINOSITY, **options, seed=4)
    other = expected_limits(store, ExactRatio(), [0.6], GRID, LUMINOSITY, **options, seed=5)
    np.testing.assert_array_equal(sample.log_ratio, again.log_ratio)
    assert not np.array_equal(sample.log_ratio, other.log_ratio)
    np.testing.assert_allclose(sample.log_ratio, whole.log_ratio, atol=3.0, rtol=0.1)
    sizes = [(len(x), weights.sum()) for x, weights in sample.data.blocks()]
    assert sizes == [(4000, pytest.approx(LUMINOSITY * sigma(0.6), rel=1e-3))]
    with pytest.raises(InputError, match="at least one event"):
        expected_limits(store, "x", [0.6], GRID, LUMINOSITY, n_asimov=0)


def test_any_likelihood_gives_limits(store):
    first = HistogramLikelihood.from_store(store, "x", LUMINOSITY, bins=EDGES)
    second = RateLikelihood.from_store(store, 50.0)
    limits = expected_limits(None, first * second, [1.0], GRID)
    assert limits.log_ratio[30] == pytest.approx(0.0, abs=1e-9)  # its own Asimov data: the truth is the best fit
    assert limits.best_fit[0] == pytest.approx(1.0)
    data = (first.simulate(1, theta=1.0), second.simulate(2, theta=1.0))
    observed = observed_limits(None, first * second, data, GRID)
    parts = [scan(f.with_data(d), GRID).log_ratio for f, d in zip((first, second), data, strict=True)]
    total = parts[0] + parts[1]
    np.testing.assert_allclose(observed.log_ratio, total - total.max(), atol=1e-9)


def test_observed_events_may_come_as_array_dataset_or_counts(store):
    toy = StoredEvents(store, "test").draw([1.0], 320, np.random.default_rng(3))
    from_array = observed_limits(store, "x", toy.x, GRID, LUMINOSITY, bins=EDGES)
    from_events = observed_limits(store, "x", toy, GRID, LUMINOSITY, bins=EDGES)
    from_counts = observed_limits(store, "x", from_array.data, GRID, LUMINOSITY, bins=EDGES)
    for other in (from_events, from_counts):
        np.testing.assert_array_equal(other.log_ratio, from_array.log_ratio)
    exact = observed_limits(store, ExactRatio(), toy.x, GRID, LUMINOSITY)
    direct = np.array(
        [poisson.logpmf(320, LUMINOSITY * sigma(t)) + np.log(density(toy.x[:, 0], t)).sum() for t in GRID.axes[0]]
    )
    np.testing.assert_allclose(exact.log_ratio, direct - direct.max(), atol=1e-3)
    rate = observed_limits(store, "rate", toy.x, GRID, LUMINOSITY)
    np.testing.assert_array_equal(rate.log_ratio, observed_limits(store, "rate", 320, GRID, LUMINOSITY).log_ratio)


def test_what_sample_test_has_drawn_is_data(store, tmp_path):
    toy = sample_test(store, [1.0], 320, seed=4, dtype="float64")
    stored = sample_test(store, [1.0], 320, seed=4, dtype="float64", out=tmp_path / "toy.zarr")
    swapped = dataclasses.replace(toy, x=toy.x[:, ::-1], feature_names=toy.feature_names[::-1])
    for what in ("x", "rate", ExactRatio()):
        as_array = observed_limits(store, what, toy.x, GRID, LUMINOSITY)
        for data in (toy, stored, swapped):
            limits = observed_limits(store, what, data, GRID, LUMINOSITY)
            np.testing.assert_array_equal(limits.log_ratio, as_array.log_ratio)
    likelihood = NeuralLikelihood.from_store(store, ExactRatio(), LUMINOSITY)
    direct = observed_limits(None, likelihood, toy, GRID)
    np.testing.assert_allclose(direct.log_ratio, as_array.log_ratio, rtol=1e-12)
    other = dataclasses.replace(toy, feature_names=("xx", toy.feature_names[1]))
    with pytest.raises(UnknownNameError, match=r"lack the observable 'x' of .*. Did you mean 'xx'\?"):
        observed_limits(store, "rate", other, GRID, LUMINOSITY)
    for several in (sample_test(store, [[0.0], [1.0]], 320), sample_ratio(store, [1.0], [0.0], 320, partition="test")):
        with pytest.raises(InputError, match=r"data have one truth: .*sample_test"):
            observed_limits(store, "rate", several, GRID, LUMINOSITY)


def test_a_store_of_recorded_events_is_data(store, tmp_path):
    x = StoredEvents(store, "test").draw([1.0], 320, np.random.default_rng(3)).x
    recorded = recorded_store(tmp_path / "data.zarr", x)
    for what in ("x", "rate", ExactRatio()):
        from_store = observed_limits(store, what, recorded, GRID, LUMINOSITY)
        np.testing.assert_array_equal(from_store.log_ratio, observed_limits(store, what, x, GRID, LUMINOSITY).log_ratio)
    cut = observed_limits(store, "rate", recorded, GRID, LUMINOSITY, cuts=["x > 0.5"])
    assert cut.data == (x[:, 0] > 0.5).sum()


def test_no_event_at_all_is_data_too(store):
    rate = observed_limits(store, "rate", 0, GRID, LUMINOSITY)
    np.testing.assert_allclose(rate.log_ratio, LUMINOSITY * (1.0 - sigma(GRID.points[:, 0])), atol=1e-2)
    for what in ("x", ExactRatio()):
        for data, cuts in ((np.zeros((0, 2)), []), (np.full((5, 2), 0.3), ["x > 0.4"])):
            with_cuts = observed_limits(store, "rate", 0, GRID, LUMINOSITY, cuts=cuts)
            limits = observed_limits(store, what, data, GRID, LUMINOSITY, cuts=cuts)
            np.testing.assert_allclose(limits.log_ratio, with_cuts.log_ratio, atol=1e-9)


def test_event_files_of_data_become_limits(tmp_path):
    """Files that went through one selection, as simulation and as data; the likelihood of this process is exact."""
    model = DrellYan("ee", bound=1.0)
    model.write_lhe(tmp_path / "simulated.lhe", 2000, seed=1)
    model.write_lhe(tmp_path / "observed.lhe", 300, seed=2)
    selection = Selection(model.observables)
    stores = [
        process([Sample(tmp_path / f"{name}.lhe", **what)], model.setup(), selection, tmp_path / name, progress=False)
        for name, what in (("simulated", {"benchmark": "sm"}), ("observed", {"data": True}))
    ]
    luminosity = 300 / model.xsec("sm")[0]
    grid = Grid([(-1.0, 1.0, 5), (-1.0, 1.0, 5)])
    limits = observed_limits(stores[0], model, stores[1], grid, luminosity)
    x = np.asarray(stores[1].observables[:])
    assert x.shape == (300, 1)
    direct = model.log_ratio(x, grid.points, pairing="grid").sum(axis=1)
    np.testing.assert_allclose(limits.log_ratio_kinematic - limits.log_ratio_kinematic[12], direct, atol=1e-9)
    rate = poisson.logpmf(300, luminosity * model.xsec(grid.points))
    np.testing.assert_allclose(limits.log_ratio_rate - limits.log_ratio_rate[12], rate - rate[12], rtol=0.1, atol=0.2)
    assert limits.allowed(0.99)[12]
    assert not limits.allowed(0.99).all()
    binned = observed_limits(stores[0], "cos_theta", stores[1], grid, luminosity, bins=8)
    assert binned.histograms.observed.sum() == 300
    np.testing.assert_allclose(binned.log_ratio_rate - binned.log_ratio_rate[12], rate - rate[12], rtol=0.1, atol=0.2)


def test_simulated_events_are_not_data(store):
    with pytest.raises(InputError, match="simulated"):
        observed_limits(store, "x", store, GRID, LUMINOSITY)


def test_data_scale_to_another_number_of_events(store):
    toy = StoredEvents(store, "test").draw([1.0], 320, np.random.default_rng(3))
    for what in ("x", ExactRatio()):
        options = {"include_rate": False} | ({"bins": EDGES} if what == "x" else {})
        once = observed_limits(store, what, toy.x, GRID, LUMINOSITY, **options)
        thrice = observed_limits(store, what, toy.x, GRID, LUMINOSITY, n_observed=960, **options)
        np.testing.assert_allclose(thrice.log_ratio, 3 * once.log_ratio, rtol=1e-9, atol=1e-9)
        with pytest.raises(InputError, match="no observed events"):
            observed_limits(store, what, toy.x[:0], GRID, LUMINOSITY, n_observed=960, **options)
    for what in ("x", "rate", ExactRatio()):  # what passes the cuts is rescaled
        limits = observed_limits(store, what, toy.x, GRID, LUMINOSITY, n_observed=500.0, cuts=["x > 0.4"])
        passed = toy.x[toy.x[:, 0] > 0.4]
        assert RateLikelihood.from_store(store, 1.0, cuts=["x > 0.4"]).as_data(
            limits.data if what not in {"x", "rate"} else np.sum(limits.data)
        ) == pytest.approx(500.0)
        assert len(passed) < 320
    both = RateLikelihood.from_store(store, 1.0) * RateLikelihood.from_store(store, 2.0)
    with pytest.raises(InputError, match="not the data of a Product"):
        observed_limits(None, both, (1.0, 2.0), GRID, n_observed=3.0)


def test_nuisances_are_profiled_at_every_point(tmp_path):
    store = analytic_store(tmp_path / "events.zarr", 6000, tilt=0.4)
    grid = Grid([(-0.2, 0.2, 9)])
    likelihood = HistogramLikelihood.from_store(store, "x", 2000.0, bins=EDGES, partition="all", nuisances=True)
    likelihood = likelihood.with_data(likelihood.asimov(theta=0.0))
    fixed, profiled = scan(likelihood.fix(tilt=0.0), grid), scan(likelihood.constrained(), grid)
    assert profiled.parameter_names == ("theta",)
    assert profiled.dof == 1
    assert (profiled.log_ratio >= fixed.log_ratio - 1e-6).all()
    assert (np.diff(profiled.nuisances["tilt"]) < 0).all()  # it compensates theta
    # To first order d sigma / d theta = 2 b and d sigma / d tilt = 0.4 b: theta and 0.2 tilt are told apart only by the
    # constraint, so that the variances 1 / information and 0.2^2 add.
    assert curvature(profiled) == pytest.approx(1 / (1 / curvature(fixed) + 0.2**2), rel=0.05)

    profiled = expected_limits(store, "x", [0.0], grid, 2000.0, bins=EDGES, nuisances=True)
    assert profiled.histograms.expected.shape == (9, 6)
    observed = observed_limits(store, "x", profiled.histograms.observed, grid, 2000.0, bins=EDGES, nuisances=True)
    np.testing.assert_allclose(observed.log_ratio, profiled.log_ratio, atol=1e-6)


def curvature(limits) -> float:
    """Second derivative of -log L at the middle of a grid of steps of 0.05."""
    return -(limits.log_ratio[5] + limits.log_ratio[3] - 2 * limits.log_ratio[4]) / 0.05**2


def test_nuisances_of_ratio_estimators_are_profiled(tmp_path, caplog):
    """As for histograms: theta and 0.2 tilt are told apart only by the constraint, if the estimator knows the tilt."""
    store = analytic_store(tmp_path / "events.zarr", 6000, tilt=0.4)
    grid, nuisance_ratio = Grid([(-0.2, 0.2, 9)]), ExactNuisanceRatio(0.4)
    options = {"luminosity": 2000.0, "partition": "all"}
    fixed = expected_limits(store, nuisance_ratio, [0.0], grid, **options)  # it is evaluated at tilt = 0
    profiled = expected_limits(store, nuisance_ratio, [0.0], grid, **options, nuisances=True)
    np.testing.assert_allclose(
        fixed.log_ratio, expected_limits(store, ExactRatio(), [0.0], grid, **options).log_ratio, atol=1e-9
    )
    assert curvature(profiled) == pytest.approx(1 / (1 / curvature(fixed) + 0.2**2), rel=0.02)
    assert profiled.parameter_names == ("theta",)
    assert (np.diff(profiled.nuisances["tilt"]) < 0).all()  # it compensates theta
    binned = expected_limits(store, "x", [0.0], grid, bins=40, template_partition="all", **options, nuisances=True)
    np.testing.assert_allclose(profiled.log_ratio, binned.log_ratio, atol=0.02)
    assert not caplog.records
    blind = expected_limits(store, ExactRatio(), [0.0], grid, **options, nuisances=True)
    assert "not their distribution" in caplog.text
    assert curvature(blind) == pytest.approx(curvature(fixed), rel=0.02)  # the tilt does not change the rate at 0


def test_nuisances_are_profiled_as_by_single_fits(tmp_path):
    store = analytic_store(tmp_path / "events.zarr", 6000, background=0.3, tilt=0.4)
    likelihood = HistogramLikelihood.from_store(store, "x", 500.0, bins=EDGES, nuisances=True)
    likelihood = likelihood.with_data(likelihood.simulate(5, theta=0.7, tilt=-1.0)).constrained()
    theta = np.linspace(-2.0, 2.0, 5)[:, None]
    start = likelihood.points({"theta": theta[:, 0]})
    climbed = climb(likelihood, start, ["tilt"], likelihood.data, shared=True)
    points, arrived = climbed.points, climbed.arrived
    assert arrived.all()
    np.testing.assert_allclose(likelihood.gradient(points)[:, 1], 0.0, atol=1e-3)
    for point in points:
        best = fit(likelihood.fix(theta=point[0]))
        assert point[1] == pytest.approx(best.values[0], abs=1e-2 * best.errors[0])  # Minuit stops there
        assert likelihood.log_likelihood(point) >= best.log_likelihood - 1e-8
    np.testing.assert_array_equal(scan(likelihood, theta).nuisances["tilt"], points[:, 1])


def test_nuisances_are_profiled_without_a_gradient(tmp_path):
    class Flat(NeuralLikelihood):
        def term_gradients(self, points, data):
            raise MissingError

    store = analytic_store(tmp_path / "events.zarr", 1000, tilt=0.4)
    theta = [[-0.2], [0.1]]
    quick = NeuralLikelihood.from_store(store, ExactNuisanceRatio(0.4), 500.0, nuisances=True)
    slow = Flat(quick.estimator, quick.rate, events=quick.events)
    data = quick.simulate(3, theta=0.3, tilt=0.5)
    ours = [scan(likelihood.with_data(data).constrained(), theta) for likelihood in (quick, slow)]
    np.testing.assert_allclose(ours[0].log_ratio, ours[1].log_ratio, atol=2e-3)


def test_points_where_data_are_impossible_are_excluded(tmp_path):
    """Where a morphed rate is negative nothing is fitted."""
    store = analytic_store(tmp_path / "events.zarr", 1000, tilt=0.4)
    likelihood = RateLikelihood.from_store(store, 100.0, nuisances=True)
    likelihood.total.signal[1:] = 0.0  # the rate is now 1 - theta^2
    limits = scan(likelihood.with_data(80.0).constrained(), [[0.0], [0.4], [2.0]])
    assert limits.log_ratio[2] == -np.inf
    assert limits.p_value[2] == 0.0
    assert limits.best_fit[0] == 0.4


def test_densities_and_double_ratios_are_taken_to_one_point(store):
    class Double(ExactRatio):
        estimates = "double ratio"

        def log_ratio(self, x, theta0, theta1, *, names=None):
            raise AssertionError

        def ratio_to(self, theta):
            assert theta == store.setup.theta("zero")
            return ExactRatio()

    exact = expected_limits(store, ExactRatio(), [0.5], GRID, LUMINOSITY)
    ours = expected_limits(store, Double(), [0.5], GRID, LUMINOSITY)
    np.testing.assert_array_equal(ours.log_ratio, exact.log_ratio)
    Double.ratio_to = None
    with pytest.raises(InputError, match="ratios to one point; Double gives a double ratio"):
        expected_limits(store, Double(), [0.5], GRID, LUMINOSITY)
    with pytest.raises(InputError, match="build it with from_store"):
        NeuralLikelihood(Double(), RateLikelihood.from_store(store, 1.0))


def test_errors_name_what_is_wrong(store):
    with pytest.raises(InputError, match=r"points of shape \(6, 2\) do not fit the 1 parameters theta"):
        expected_limits(store, "x", [0.0], Grid([(0, 1, 2), (0, 1, 3)]), 1.0)
    with pytest.raises(UnknownNameError, match="Did you mean 'x'"):
        expected_limits(store, ["xx"], [0.0], GRID, 1.0)
    with pytest.raises(InputError, match="luminosity"):
        expected_limits(store, "x", [0.0], GRID, 0.0)
    with pytest.raises(InputError, match="need a store"):
        expected_limits(store, "x", [0.0], GRID)
    with pytest.raises(InputError, match="say nothing"):
        expected_limits(store, "rate", [0.0], GRID, 1.0, include_rate=False)
    with pytest.raises(InputError, match="theta"):
        expected_limits(store, "x", [0.0, 1.0], GRID, 1.0)
    with pytest.raises(InputError, match="grid is one of phi"):
        expected_limits(store, "x", [0.0], Grid([(0, 1, 2)], names=("phi",)), 1.0)
    with pytest.raises(MissingError, match="no data"):
        scan(RateLikelihood.from_store(store, 1.0), GRID)
    with pytest.raises(InputError, match="score estimators, not float"):
        expected_limits(store, 3.0, [0.0], GRID, 1.0)
    with pytest.raises(InputError, match="confidence level"):
        expected_limits(store, "rate", [0.0], GRID, 1.0).allowed(95)
    with pytest.raises(InputError, match="one column"):
        Events(np.zeros((3, 5)), OBSERVABLES)


# Numbers of MadMiner -------------------------------------------------------------------------------------------------

N_TRAIN, N_TEST = 32_000, 8_000
TRAIN, TEST = slice(0, N_TRAIN), slice(N_TRAIN + 1, None)  # it leaves out one event between the two


@pytest.fixture(scope="module")
def oracle(shared):
    return json.loads((shared / "vbf" / "oracle.json").read_text())


@pytest.fixture(scope="module")
def vbf(shared, tmp_path_factory):
    source = shared / "vbf" / "madminer_lhe_nosmear_shuffled.h5"
    return import_madminer(source, tmp_path_factory.mktemp("vbf") / "events.zarr", partition="in_order")


def madminers_rate(store) -> RateLikelihood:
    # It scales the 7,999 test events up by 5, as if they were 8,000.
    return RateLikelihood.from_store(store, 300e3 * (N_TEST - 1) / N_TEST, partition=TEST)


def madminers_histogram(store, args, theta_grid) -> tuple[np.ndarray, np.ndarray]:
    """Return its kinematic log likelihoods and its histogram at the first point, from our pieces put together its way.

    Overflow is dropped where the templates are filled, but counted in the outermost bins where the data are; 1e-12 is
    added to each bin; what is compared is a density; the data are test events generated at the nearest benchmark only.
    """
    names, edges = args["hist_vars"], args["hist_bins"]
    edges = [madminers_edges(store, theta_grid, edges)] if isinstance(edges, int) else [np.array(e) for e in edges]
    bins = Bins(tuple(Axis(n, e) for n, e in zip(names, edges, strict=True)))
    summary = Summary(names, store.observable_names)
    inside = (..., *[slice(1, -1)] * len(edges))
    templates = fill(StoredEvents(store, TRAIN), summary, bins).at(theta_grid).reshape(-1, *bins.shape)[inside]
    axes = tuple(range(1, 1 + len(edges)))
    for epsilon in (0.0, 1e-12):
        templates = templates + epsilon
        templates = templates / templates.sum(axis=axes, keepdims=True)
    widths = np.diff(edges[0])
    for e in edges[1:]:
        widths = widths[:, None] * np.diff(e)
    templates = templates / widths

    theta_true = np.array(args["theta_true"])
    data = np.zeros(bins.size)
    for block in store.blocks(TEST, closest_to=theta_true):
        index = bins.find_bins(summary(block.x, store.observable_names))
        data += bins.sum(index, block.weights(theta_true).T)[:, 0]
    data = data.reshape(bins.shape)
    for axis in range(len(edges)):
        data = np.moveaxis(data, axis, 0)
        data[1] += data[0]
        data[-2] += data[-1]
        data = np.moveaxis(data[1:-1], 0, axis)
    n = madminers_rate(store).mean(theta_true)
    log = (data / data.sum() * np.log(templates)).sum(axis=axes)
    return n * log, templates[0]


def madminers_edges(store, theta_grid, n_bins) -> np.ndarray:
    """Return its bins of pt_j1: between quantiles 0.001 and 0.999 of the mean weights, at the middle of each weight."""
    blocks = list(StoredEvents(store, TRAIN).blocks())
    weights = np.concatenate([block.benchmark_weights for block in blocks]) @ store.setup.weights(theta_grid).mean(0)
    pt = np.concatenate([block.x[:, 0] for block in blocks])
    order = np.argsort(pt)
    middle = np.cumsum(weights[order]) - 0.5 * weights[order]
    middle = (middle - middle[0]) / (middle[-1] - middle[0])
    return np.interp(np.linspace(0.001, 0.999, n_bins + 1), middle, pt[order])


@pytest.mark.parametrize("section", ["limits", "limits_narrow"])
@pytest.mark.parametrize(
    "name",
    [
        "histo1d_xsec",
        "histo1d_noxsec",
        "histo2d_xsec",
        "histo2d_noxsec",
        "histo1d_adaptive10_noxsec",
        "histo1d_noxsec_theta1",
    ],
)
def test_madminers_histogram_limits_come_out_of_its_recipe(vbf, oracle, section, name):
    entry, theta_grid = oracle[section]["results"][name], np.array(oracle[section]["theta_grid"])
    kinematic, first = madminers_histogram(vbf, entry["args"], theta_grid)
    theirs = np.array(entry["log_r_kin"])
    np.testing.assert_allclose(kinematic, theirs, rtol=0, atol=1e-8 * np.abs(theirs).max())
    np.testing.assert_allclose(first, entry["histo_at_grid0"], rtol=0, atol=1e-8 * np.max(entry["histo_at_grid0"]))
    if entry["args"]["include_xsec"]:  # both parts together, with the number of events rounded in one of them
        rate = madminers_rate(vbf)
        n = np.round(rate.expected(entry["args"]["theta_true"]))
        total, best = kinematic + rate.log_likelihood(theta_grid, n), entry["best_fit_index"]
        assert total.argmax() == best
        np.testing.assert_allclose(chi2.sf(2.0 * (total[best] - total), 2), entry["p_values"], rtol=1e-5, atol=1e-300)


@pytest.mark.parametrize("section", ["limits", "limits_narrow"])
def test_rate_limits_are_madminers(vbf, oracle, section):
    entry, theta_grid = oracle[section]["results"]["rate_xsec"], np.array(oracle[section]["theta_grid"])
    rate = madminers_rate(vbf)
    n = np.round(rate.expected(entry["args"]["theta_true"]))  # it rounds the expected number to use scipy's pmf
    theirs = np.array(entry["log_p_xsec"])
    ours = rate.log_likelihood(theta_grid, n)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-8 * np.abs(theirs).max())
    limits = scan(rate.with_data(n), Grid([(lo, hi, 9) for lo, hi in oracle[section]["grid_ranges"]]))
    np.testing.assert_array_equal(limits.theta, theta_grid)
    np.testing.assert_allclose(limits.p_value, entry["p_values"], rtol=1e-6, atol=1e-300)
    assert limits.best_fit_index == entry["best_fit_index"]


def test_our_histogram_limits_stand_beside_madminers(vbf, oracle):
    """17 % of the train events have pt_j1 > 400, the more the larger the couplings.

    MadMiner normalises templates without them, and counts the overflow of the data in the bin from 362 to 400, so that
    it hardly sees that (-20, -20) would put many events where the data have few: log ratio -228.95. Ours has the
    overflow as a bin of its own: sum_k n_k log p_k with p_k = sigma_k / sum_j sigma_j; this gives -365.09 with the same
    train and test events (the data being all test events, not only those from the nearest benchmark).
    """
    entry = oracle["limits"]["results"]["histo1d_noxsec"]
    edges, theta_grid = np.array(entry["args"]["hist_bins"][0]), np.array(oracle["limits"]["theta_grid"])
    pt = np.concatenate([block.x[:, 0] for block in StoredEvents(vbf, TRAIN).blocks()])
    assert (pt >= 400.0).mean() == pytest.approx(0.17, abs=0.01)
    limits = expected_limits(
        vbf, "pt_j1", "sm", theta_grid, 300e3, include_rate=False, bins=edges, partition=TEST, template_partition=TRAIN
    )
    summary, bins = Summary("pt_j1", vbf.observable_names), Bins((Axis("pt_j1", edges),))
    templates = fill(StoredEvents(vbf, TRAIN), summary, bins).at(theta_grid)[:, 1:]  # nothing is below the cut at 20
    by_hand = np.log(templates / templates.sum(axis=1, keepdims=True)) @ limits.histograms.observed[1:]
    np.testing.assert_allclose(limits.log_ratio, by_hand - by_hand.max(), rtol=1e-9, atol=1e-9)
    theirs = np.array(entry["log_r_kin"]) - np.max(entry["log_r_kin"])
    assert limits.best_fit_index == entry["best_fit_index"] == 40
    others = np.arange(81) != 40
    assert (limits.log_ratio[others] < theirs[others]).mean() > 0.9
    assert theirs[0] == pytest.approx(-228.948, abs=1e-3)
    assert limits.log_ratio[0] == pytest.approx(-365.085, abs=1e-3)
