"""Unweighting against the weights themselves: on a store whose likelihood is known, and on all kinds of weights."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from analytic_store import analytic_store, density, recorded_store
from scipy import stats

from columnminer.errors import ColumnMinerWarning, FileFormatError, InputError, MissingError
from columnminer.model.priors import fixed_points, flat_prior, gaussian_prior
from columnminer.sample import draw as draw_module
from columnminer.sample import inversion
from columnminer.sample.npy import read_npy, write_npy
from columnminer.sample.points import counts, parameter_points
from columnminer.sample.samples import Samples
from columnminer.sample.sampling import sample_local, sample_plain, sample_ratio, sample_test
from columnminer.store.samplestore import SampleStore


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return analytic_store(tmp_path_factory.mktemp("stores") / "signal.zarr")


@pytest.fixture(scope="module")
def with_background(tmp_path_factory):
    return analytic_store(tmp_path_factory.mktemp("stores") / "background.zarr", background=0.5)


def chi2_probability(x, store, theta, partition="train", bins=40):
    """How well a histogram of drawn events fits to the weighted events that they come from."""
    edges = np.linspace(0.0, 1.0, bins + 1)
    expected = np.zeros(bins)
    for block in store.blocks(partition):
        expected += np.histogram(block.x[:, 0], edges, weights=block.weights(theta)[0])[0]
    expected *= len(x) / expected.sum()
    return stats.chisquare(np.histogram(x, edges)[0], expected).pvalue


@pytest.mark.parametrize("theta", [[0.0], [1.0], [-0.7], [2.0]])
@pytest.mark.parametrize("which", ["store", "with_background"])
def test_drawn_events_follow_the_weights_at_their_point_and_no_other(request, which, theta):
    store = request.getfixturevalue(which)
    x = sample_plain(store, theta, 40_000, seed=4).x[:, 0]
    assert chi2_probability(x, store, theta) > 1e-3
    assert chi2_probability(x, store, [theta[0] + 0.5]) < 1e-6


def test_drawn_events_follow_the_exact_density(store):
    x = sample_test(store, [1.5], 5000, seed=2).x[:, 0].astype(float)
    b = (np.arange(200_001) / 200_000) - 0.5
    cumulative = np.cumsum(density(b + 0.5, 1.5))
    # The test partition has 6,000 events: their own fluctuation adds to that of the draws.
    distance = stats.ks_1samp(x, lambda v: np.interp(v, b + 0.5, cumulative / cumulative[-1])).statistic
    assert distance < 1.95 * np.sqrt(1 / 5000 + 1 / 3000)


def test_draws_come_from_the_partition(store):
    members = {name: set() for name in ("train", "test")}
    for name, found in members.items():
        for block in store.blocks(name):
            found.update(block.x[:, 1].tolist())
    assert set(sample_plain(store, "zero", 2000, dtype=np.float64).x[:, 1].tolist()) <= members["train"]
    assert set(sample_test(store, "zero", 2000, dtype=np.float64).x[:, 1].tolist()) <= members["test"]
    assert members["train"].isdisjoint(members["test"])


@pytest.mark.parametrize("block", [500, 7000])
def test_what_is_drawn_does_not_depend_on_blocks_nor_on_memory(store, monkeypatch, block):
    whole = sample_ratio(store, gaussian_prior([0.0], [1.0]), "zero", 4000, n_theta=20, seed=3)
    original = type(store).blocks
    monkeypatch.setattr(type(store), "blocks", lambda self, *a, **k: original(self, *a, **(k | {"size": block})))
    monkeypatch.setattr(draw_module, "_IN_MEMORY", 0)
    monkeypatch.setattr(inversion, "_CHUNK", 5 * block)
    parts = sample_ratio(store, gaussian_prior([0.0], [1.0]), "zero", 4000, n_theta=20, seed=3)
    np.testing.assert_array_equal(parts.x, whole.x)
    np.testing.assert_allclose(parts.r_xz, whole.r_xz, rtol=1e-6)
    np.testing.assert_allclose(parts.t_xz, whole.t_xz, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(parts.n_eff, whole.n_eff, rtol=1e-9)


def test_streams_belong_to_points(store):
    """The draws of a point are the same whatever other points there are."""
    alone = sample_plain(store, fixed_points([[0.3]]), 500, seed=6)
    among = sample_plain(store, fixed_points([[0.3], [-1.0], [1.2]]), 1500, seed=6)
    first = among.theta0[:, 0] == np.float32(0.3)
    np.testing.assert_array_equal(np.sort(among.x[first], axis=0), np.sort(alone.x, axis=0))


def test_seeds(store):
    a, b, c = (sample_plain(store, flat_prior([(-1.0, 1.0)]), 500, n_theta=7, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(a.x, b.x)
    np.testing.assert_array_equal(a.theta0, b.theta0)
    assert (a.theta0 != c.theta0).any()


def test_effective_number_of_events(store):
    sample = sample_plain(store, fixed_points([[0.0], [2.0]]), 100)
    weights = store.event_weights([[0.0], [2.0]], partition="train")
    np.testing.assert_allclose(sample.n_eff, weights.sum(axis=1) ** 2 / (weights**2).sum(axis=1), rtol=1e-10)


def test_few_effective_events_are_warned_about(tmp_path):
    small = analytic_store(tmp_path / "small.zarr", 100)
    with pytest.warns(ColumnMinerWarning, match="1 of 1 parameter points have fewer than 100 effective") as seen:
        sample_plain(small, "zero", 10)
    assert {warning.filename for warning in seen} == {__file__}
    with pytest.warns(ColumnMinerWarning) as seen:
        sample_ratio(small, "zero", "one", 10)
    assert {warning.filename for warning in seen} == {__file__}


def test_only_events_of_the_closest_benchmark(store):
    """Samples sit at theta = 0 and 1: at 0.9, only those of the second are drawn, with its weights."""
    near = sample_plain(store, [0.9], 20_000, closest_benchmark=True, seed=1)
    ids = set()
    for block in store.blocks("train", closest_to=np.array([1.0])):
        ids.update(block.x[:, 1].astype(np.float32).tolist())
    assert set(near.x[:, 1].tolist()) <= ids
    assert set(sample_plain(store, [0.9], 20_000, seed=1).x[:, 1].tolist()) - ids
    np.testing.assert_allclose(near.n_eff.sum(), near.n_eff[0])
    edges = np.linspace(0.0, 1.0, 31)
    observed = np.histogram(near.x[:, 0], edges)[0]
    expected = np.zeros(30)
    for block in store.blocks("train", closest_to=np.array([1.0])):
        expected += np.histogram(block.x[:, 0], edges, weights=block.weights([0.9])[0])[0]
    assert stats.chisquare(observed, expected * 20_000 / expected.sum()).pvalue > 1e-3


def negated(store, fraction=0.1):
    """The same store with the weights of some events (y < fraction) turned negative."""
    original = type(store).blocks

    def blocks(self, *arguments, **options):
        for block in original(self, *arguments, **options):
            sign = np.where(block.x[:, 1:] < fraction, -1.0, 1.0)
            yield dataclasses.replace(block, benchmark_weights=block.benchmark_weights * sign)

    return blocks


def test_negative_weights_have_a_policy(store, monkeypatch):
    monkeypatch.setattr(type(store), "blocks", negated(store))
    with pytest.raises(InputError, match=r'negative weights make up to 1\d\.\d\d% .*choose negative_weights="clip"'):
        sample_plain(store, "zero", 1000, negative_weights="refuse")
    with pytest.warns(ColumnMinerWarning, match="count as zero"):
        clipped = sample_plain(store, "zero", 1000)
    assert clipped.x[:, 1].min() >= 0.1
    assert clipped.weights is None
    weights = store.event_weights("zero", partition="train")[0]
    share = -weights[weights < 0].sum() / weights[weights > 0].sum()
    np.testing.assert_allclose(clipped.negative, share, rtol=1e-10)
    assert clipped.options["negative_weights"] == "clip"
    with pytest.warns(ColumnMinerWarning, match="drawn with their sign"):
        kept = sample_plain(store, "zero", 20_000, negative_weights="keep")
    np.testing.assert_array_equal(kept.weights, np.where(kept.x[:, 1] < 0.1, -1.0, 1.0))
    assert abs((kept.x[:, 1] < 0.1).mean() - 0.1) < 0.01
    np.testing.assert_allclose(kept.negative, -weights[weights < 0].sum() / np.abs(weights).sum(), rtol=1e-10)
    with pytest.raises(InputError, match="negative_weights is"):
        sample_plain(store, "zero", 10, negative_weights="ignore")


def test_positive_weights_are_not_refused(store):
    assert len(sample_plain(store, [1.3], 100, negative_weights="refuse")) == 100


def test_trimming_leaves_out_heavy_events_and_says_so(store):
    with pytest.warns(ColumnMinerWarning, match=r"left out: .* distorted, by \d.*% of the total at theta = \[2\.\]"):
        trimmed = sample_plain(store, [2.0], 5000, trim=9000, seed=1)
    free = sample_plain(store, [2.0], 5000, seed=1)
    weights = store.event_weights([2.0], partition="train")[0]
    assert (weights / weights.sum()).max() > 1 / 9000
    assert trimmed.x[:, 0].max() < free.x[:, 0].max()
    with pytest.raises(InputError, match="trim must be above 1"):
        sample_plain(store, [2.0], 10, trim=0.5)


def test_a_point_without_weight_is_an_error(store, monkeypatch):
    monkeypatch.setattr(type(store), "blocks", negated(store, fraction=2.0))
    with pytest.raises(MissingError, match="no event has a positive weight at theta"):
        sample_plain(store, "zero", 10)


def test_parameter_points(store):
    setup = store.setup

    def points(theta, n_theta=5, n=100):
        return parameter_points(theta, setup, n_theta=n_theta, n=n, seed=0, name="theta0")

    np.testing.assert_array_equal(points("one"), [[1.0]])
    np.testing.assert_array_equal(points(["one", {"theta": -0.5}, [0.2]]), [[1.0], [-0.5], [0.2]])
    np.testing.assert_array_equal(points([[0.1], [0.2]]), [[0.1], [0.2]])
    np.testing.assert_array_equal(points(fixed_points([[0.1], [0.2]])), [[0.1], [0.2]])
    prior = gaussian_prior([0.0], [1.0])
    assert points(prior).shape == (5, 1)
    assert points(prior, n_theta=None).shape == (100, 1)
    assert points(prior, n_theta=1000).shape == (100, 1)
    np.testing.assert_array_equal(points(prior), points(prior))
    with pytest.raises(InputError, match="101 parameter points cannot share 100 events"):
        points(np.zeros((101, 1)))
    with pytest.raises(InputError, match="prior of theta0 has 2 parameters"):
        points(gaussian_prior([0.0, 0.0], [1.0, 1.0]))
    with pytest.raises(InputError, match="n_theta must be positive"):
        points(prior, n_theta=0)
    np.testing.assert_array_equal(counts(11, 4), [3, 3, 3, 2])


def test_a_new_point_for_every_event(store):
    sample = sample_plain(store, flat_prior([(-1.0, 1.0)]), 300, n_theta=None)
    assert len(np.unique(sample.theta0)) == 300


def test_samples_at_rest(store, tmp_path):
    out = tmp_path / "ratio.zarr"
    sample = sample_ratio(store, flat_prior([(-1.0, 1.0)]), "zero", 200, n_theta=5)
    assert len(sample.write(out)) == 200
    again = Samples.of(SampleStore(out))
    for field in dataclasses.fields(Samples):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(sample, field.name))
    assert again.store_hash == store.hash
    assert again.partition == "train"


@pytest.mark.parametrize("draws", [sample_ratio, sample_local])
def test_samples_as_npy_files_have_the_shapes_of_madminers(store, tmp_path, draws):
    points = ("one", "zero") if draws is sample_ratio else ("one",)
    sample = draws(store, *points, 50, seed=1)
    written = write_npy(sample, tmp_path, "set")
    shapes = {file.stem: np.load(file).shape for file in written}
    if draws is sample_local:
        assert shapes == {"x_set": (50, 2), "theta_set": (50, 1), "t_xz_set": (50, 1)}
    else:
        ones, pars = dict.fromkeys(("y_set", "r_xz_set"), (50, 1)), ("theta0_set", "theta1_set", "t_xz_set")
        assert shapes == {"x_set": (50, 2)} | ones | dict.fromkeys(pars, (50, 1))
    again = read_npy(tmp_path, "set", sample.feature_names, sample.parameter_names, store_hash=store.hash)
    for name in ("x", "theta0", "theta1", "y", "r_xz", "t_xz"):
        np.testing.assert_array_equal(getattr(again, name), getattr(sample, name))
    with pytest.raises(FileFormatError, match=r"there is no x_other\.npy"):
        read_npy(tmp_path, "other", ("x", "y"), ("theta",))
    np.save(tmp_path / "y_set.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_npy(tmp_path, "set", ("x", "y"), ("theta",))


def test_recorded_events_and_other_precisions_are_refused(store, tmp_path):
    data = recorded_store(tmp_path / "data.zarr", np.zeros((5, 2)))
    with pytest.raises(MissingError, match="holds recorded events, which have no weights to draw by"):
        sample_plain(data, "zero", 10)
    with pytest.raises(InputError, match=r"dtype must be numpy\.float32 or numpy\.float64"):
        sample_plain(store, "zero", 10, dtype=np.int32)


def test_too_few_events_are_refused(store):
    with pytest.raises(InputError, match="n must be positive"):
        sample_plain(store, "zero", 0)
    with pytest.raises(InputError, match="events of both classes"):
        sample_ratio(store, "one", "zero", 1)
