"""Templates filled with unweighted events instead of all weighted ones."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_store import POINTS, ExactRatio, analytic_store, setup
from scipy.stats import binomtest, chi2

from columnminer.errors import InputError
from columnminer.infer.bins import Axis, Bins
from columnminer.infer.events import StoredEvents
from columnminer.infer.histogram import HistogramLikelihood
from columnminer.infer.limits import Grid, expected_limits, observed_limits
from columnminer.infer.morphed import fill
from columnminer.infer.sampled import sampled
from columnminer.infer.summary import Summary
from columnminer.pipeline.configuration import LimitsConfig
from columnminer.pipeline.results import load_limits
from columnminer.pipeline.steps import Binned, Running, find_limits
from columnminer.store.partition import PartitionScheme
from columnminer.store.publish import Description, publish_events
from columnminer.store.samples import SampleInfo

EDGES = np.array([0.2, 0.4, 0.6, 0.8])
BINS = Bins((Axis("x", EDGES),))
N = 5000


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return analytic_store(tmp_path_factory.mktemp("store") / "events.zarr", background=0.5, tilt=0.3)


@pytest.fixture(scope="module")
def summary(store):
    return Summary("x", store.observable_names)


def p_value(counts, expected):
    """Of Pearson's chi-square, where the total is fixed."""
    return chi2.sf(((counts - expected) ** 2 / expected).sum(), len(counts) - 1)


def test_each_template_is_that_of_all_events_within_the_errors_of_what_was_drawn(store, summary):
    events = StoredEvents(store)
    whole, drawn = fill(events, summary, BINS), fill(events, summary, BINS, n_sampled=N, seed=1)
    rows = [*zip(whole.signal, drawn.signal, strict=True), (whole.background, drawn.background)]
    for weighted, unweighted in rows:
        counts = unweighted * (N / weighted.sum())
        np.testing.assert_allclose(counts, np.round(counts), atol=1e-6)
        assert counts.sum() == pytest.approx(N)
        assert p_value(counts, weighted * (N / weighted.sum())) > 1e-3
    one, minus = (list(POINTS).index(name) for name in ("one", "minus"))
    elsewhere = whole.signal[minus]
    assert p_value(N * drawn.signal[one] / drawn.signal[one].sum(), N * elsewhere / elsewhere.sum()) < 1e-9


def test_the_numbers_are_those_of_events_that_are_drawn_one_by_one(tmp_path, summary):
    """Pearson's chi-square of either, for many seeds, about the shares that all events have after cuts."""
    store = analytic_store(tmp_path / "events.zarr", 2000)
    events = StoredEvents(store, ("train", "validation"), cuts=["y > 0.3"], efficiencies=["1 - 0.5 * x"])
    whole = fill(events, summary, BINS)
    row, n = list(POINTS).index("one"), 400
    shares = whole.signal[row] / whole.signal[row].sum()
    small = {"templates": 0, "events": 0, "elsewhere": 0}
    for seed in range(200):
        template = fill(events, summary, BINS, n_sampled=n, seed=seed).signal[row]
        x = events.draw([1.0], n, np.random.default_rng(seed)).x
        one_by_one = np.bincount(BINS.find_bins(x[:, :1]), minlength=BINS.size)
        small["templates"] += p_value(n * template / template.sum(), n * shares) < 0.5
        small["events"] += p_value(one_by_one, n * shares) < 0.5
        small["elsewhere"] += p_value(one_by_one, n * whole.signal[0] / whole.signal[0].sum()) < 0.5
    assert binomtest(small["templates"], 200, 0.5).pvalue > 1e-3
    assert binomtest(small["events"], 200, 0.5).pvalue > 1e-3
    assert binomtest(small["elsewhere"], 200, 0.5).pvalue < 1e-9


def signed_store(out, n=3000):
    """Events of which every fifth counts negative, more of them at large x."""
    rng = np.random.default_rng(5)
    x = np.stack([rng.uniform(size=n), rng.uniform(size=n)], axis=1)
    sign = np.where(rng.uniform(size=n) < 0.4 * x[:, 0], -1.0, 1.0)[:, None]
    rows = sign * (1.0 + np.array(list(POINTS.values())) * (x[:, :1] - 0.5)) ** 2 / n
    sample = SampleInfo(name="zero", benchmark="zero", background=False, n_generated=n, n_events=n, files=())
    table = {
        "observables": x,
        "weights": rows,
        "nuisance_weights": np.zeros((n, 0)),
        "sample": np.zeros(n, dtype=np.int32),
        "event": np.arange(n),
    }
    scheme = PartitionScheme()
    codes = scheme.assign(rng.uniform(size=n))
    return publish_events(out, Description(setup(), ("x", "y"), (sample,), scheme), iter([table]), codes)


def test_events_of_negative_weight_count_negative(tmp_path, summary):
    events = StoredEvents(signed_store(tmp_path / "events.zarr"))
    whole, n, n_seeds = fill(events, summary, BINS).signal[0], 2000, 300
    drawn = [fill(events, summary, BINS, n_sampled=n, seed=seed) for seed in range(n_seeds)]
    templates = np.array([d.signal[0] for d in drawn])
    error = templates.std(axis=0) / np.sqrt(n_seeds)
    assert (np.abs(templates.mean(axis=0) - whole) < 4.0 * error).all()
    # What clipping them would give is elsewhere.
    x, weights = np.concatenate([[b.x[:, 0], b.benchmark_weights[:, 0]] for b in events.blocks()], axis=1)
    clipped = BINS.sum(BINS.find_bins(x[:, None]), np.maximum(weights, 0.0)[:, None])[:, 0]
    assert (np.abs(templates.mean(axis=0) - clipped * whole.sum() / clipped.sum()) > 10.0 * error).any()
    # The sum of squared weights is the variance, but for what the fixed number of events takes from it.
    expected = np.mean([d.variance(np.array([0.0])) for d in drawn], axis=0) - templates.mean(axis=0) ** 2 / n
    np.testing.assert_allclose(templates.var(axis=0), expected, rtol=0.3)


def test_the_variance_follows_the_morphing(tmp_path, summary):
    store = analytic_store(tmp_path / "events.zarr", 2000, background=0.5, tilt=0.3)
    events, point = StoredEvents(store), np.array([-1.7, 0.0])
    drawn = [fill(events, summary, BINS, n_sampled=N, seed=seed, nuisances=True) for seed in range(300)]
    spread = np.var([d.at(point) for d in drawn], axis=0)
    sizes = np.mean([d.variance(point) for d in drawn], axis=0)
    assert ((spread < 1.3 * sizes) & (spread > 0.5 * sizes)).all()
    assert (spread > 3.0 * np.var([d.at(np.array([0.0, 0.0])) for d in drawn], axis=0)).all()


def test_the_seed_decides_and_nothing_else(store, summary, monkeypatch):
    def template(seed, **options):
        return fill(StoredEvents(store, **options), summary, BINS, n_sampled=N, seed=seed, nuisances=True)

    first, again, other = template(4), template(4), template(5)
    np.testing.assert_array_equal(first.signal, again.signal)
    assert (first.signal != other.signal).any()
    monkeypatch.setattr("columnminer.store.eventstore.BLOCK", 777)
    in_small_blocks = template(4)
    np.testing.assert_allclose(in_small_blocks.signal, first.signal, rtol=1e-12)
    np.testing.assert_allclose(in_small_blocks.background, first.background, rtol=1e-12)
    whole = fill(StoredEvents(store), summary, BINS, nuisances=True)
    np.testing.assert_allclose(first.signal_variations.a, whole.signal_variations.a, atol=1e-12)


def test_where_there_are_no_events_nothing_is_drawn():
    values, squares = sampled(np.zeros(3), np.zeros(3), 10, np.random.default_rng(0))
    assert not values.any()
    assert not squares.any()


def test_limits_with_few_sampled_events_fluctuate_and_with_many_do_not(store):
    grid = Grid([(-1.5, 1.5, 13)])
    options = {"bins": EDGES, "include_rate": False}
    whole = expected_limits(store, "x", [0.6], grid, 300.0, **options)
    many = expected_limits(store, "x", [0.6], grid, 300.0, n_sampled=10**7, **options)
    few = expected_limits(store, "x", [0.6], grid, 300.0, n_sampled=400, seed=2, **options)
    np.testing.assert_allclose(many.log_ratio, whole.log_ratio, rtol=5e-3, atol=0.02)
    assert np.abs(few.log_ratio - whole.log_ratio).max() > 1.0
    careful = {"n_sampled": 400, "seed": 2, "template_statistics": True, **options}
    assert expected_limits(store, "x", [0.6], grid, 300.0, **careful).log_ratio.min() > few.log_ratio.min()
    data = HistogramLikelihood.from_store(store, "x", 300.0, bins=EDGES).asimov(theta=0.6)
    observed = observed_limits(store, "x", data, grid, 300.0, n_sampled=400, seed=2, **options)
    np.testing.assert_allclose(observed.histograms.expected, few.histograms.expected, rtol=1e-12)


def test_the_analysis_file_may_ask_for_them(store, tmp_path):
    config = {"luminosity": 300.0, "grid": {"theta": [-1.5, 1.5, 5]}, "theta_true": [0.6], "seed": 2}
    for n_sampled in (400, None):
        histogram = {"observables": "x", "bins": EDGES.tolist(), "n_sampled": n_sampled}
        limits = LimitsConfig.model_validate({**config, "histograms": {"x": histogram}})
        folder = tmp_path / str(n_sampled)
        folder.mkdir()
        given = limits.histograms["x"].given(without=("observables", "bins"))
        find_limits(
            folder, store.path, Binned("x", EDGES, given), config=limits, seed=limits.seed or 0, running=Running()
        )
        ours = expected_limits(
            store, "x", [0.6], Grid([(-1.5, 1.5, 5)]), 300.0, bins=EDGES, n_sampled=n_sampled, seed=2
        )
        np.testing.assert_array_equal(load_limits(folder).log_ratio, ours.log_ratio)


@pytest.mark.parametrize("n", [0, -5, 2.5, True])
def test_a_bad_number_is_refused(store, n):
    with pytest.raises(InputError, match="n_sampled"):
        expected_limits(store, "x", [0.6], [[0.0], [1.0]], 300.0, n_sampled=n)


@pytest.mark.parametrize(("what", "bins_at"), [("rate", "grid"), (ExactRatio(), "grid"), ("x", "each")])
def test_only_histograms_are_sampled(store, what, bins_at):
    with pytest.raises(InputError, match="n_sampled is for histograms"):
        expected_limits(store, what, [0.6], [[0.0], [1.0]], 300.0, bins_at=bins_at, n_sampled=100)
