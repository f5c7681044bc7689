"""Nuisance parameters in sampling, against brute force with the weights of the store."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_store import analytic_store
from mixed_store import mixed_store
from scipy import stats

import columnminer as cm
import columnminer.sample.draw as draw_module
from columnminer.errors import ColumnMinerWarning, InputError, MissingError
from columnminer.model.priors import fixed_points, flat_prior, gaussian_prior
from columnminer.sample import inversion
from columnminer.sample.points import joint_points
from columnminer.sample.samples import Samples
from columnminer.sample.sampling import sample_double_ratio, sample_local, sample_plain, sample_ratio, sample_test

pytestmark = pytest.mark.filterwarnings("ignore:negative weights", "ignore:.*fewer than 100 effective")

NU0, NU1 = [0.7, -1.2], {"shape": 0.5}
PRIOR, POINTS = gaussian_prior([0.0, 0.0], [1.0, 1.0]), ("c", "rate", "shape")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return mixed_store(tmp_path_factory.mktemp("stores") / "mixed.zarr")


def densities(store, theta, nu, partition="train", closest_to=None):
    """p(event | theta, nu) of all events of a partition by their second observable, by brute force."""
    blocks = list(store.blocks(partition, closest_to=closest_to))
    weights = np.concatenate([b.weights(theta, nu)[0] for b in blocks])
    return dict(zip(np.concatenate([b.x[:, 1] for b in blocks]).tolist(), weights / weights.sum(), strict=True))


def looked_up(table, sample):
    return np.array([table[x] for x in sample.x[:, 1].tolist()])


def brute_score(store, sample, theta, nu, closest_to=None):
    """Finite differences of the log joint density at fixed events, along theta and nu."""
    at, step, columns = np.array([theta, *nu]), 1e-6, []
    for direction in np.eye(len(at)):
        up, down = (
            looked_up(densities(store, [p[:1]], p[1:], closest_to=closest_to), sample)
            for p in (at + step * direction, at - step * direction)
        )
        columns.append(np.log(up / down) / (2 * step))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("closest", [False, True])
def test_gold_is_that_of_the_joint_density(store, closest):
    """Joint ratio and both scores of every event, numerator and denominator with nuisance parameters of their own."""
    sample = sample_double_ratio(
        store, [[0.4]], [[-1.3]], 600, nu0=NU0, nu1=NU1, dtype=np.float64, closest_benchmark=closest
    )
    assert sample.parameter_names == POINTS
    np.testing.assert_array_equal(np.unique(sample.theta0, axis=0), [[0.4, *NU0]])
    np.testing.assert_array_equal(np.unique(sample.theta1, axis=0), [[-1.3, 0.0, 0.5]])
    for y, drawn_at in enumerate(([0.4], [-1.3])):
        one, near = sample.take(sample.y == y), drawn_at if closest else None
        p0 = looked_up(densities(store, [[0.4]], NU0, closest_to=near), one)
        p1 = looked_up(densities(store, [[-1.3]], NU1, closest_to=near), one)
        np.testing.assert_allclose(one.r_xz, p0 / p1, rtol=1e-9)
        np.testing.assert_allclose(one.t_xz, brute_score(store, one, 0.4, NU0, near), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(one.t_xz1, brute_score(store, one, -1.3, [0.0, 0.5], near), rtol=1e-4, atol=1e-6)
        nominal = looked_up(densities(store, [[0.4]], None, closest_to=near), one)
        assert np.abs(one.r_xz / (nominal / p1) - 1.0).max() > 0.1  # nu matters


def test_many_pairs_with_random_nuisances(store):
    """Each event's ratio with its own pair of points."""
    sample = sample_ratio(
        store, flat_prior([(-1.0, 1.0)]), "sm", 120, n_theta=6, nu0=PRIOR, nu1=PRIOR, seed=2, dtype=np.float64
    )
    points = np.unique(np.concatenate([sample.theta0, sample.theta1], axis=1), axis=0)
    assert len(points) == 6
    assert (sample.theta1[:, 0] == 0.0).all()
    for theta0, theta1 in zip(sample.theta0[:20], sample.theta1[:20], strict=True):
        which = (sample.theta0 == theta0).all(axis=1) & (sample.theta1 == theta1).all(axis=1)
        one = sample.take(which)
        tables = [densities(store, [p[:1]], p[1:]) for p in (theta0, theta1)]
        np.testing.assert_allclose(one.r_xz, looked_up(tables[0], one) / looked_up(tables[1], one), rtol=1e-9)


def chi2_probability(store, x, nu, theta="sm"):
    """How well drawn z fit to the weights of the events that they come from, at nu."""
    blocks = list(store.blocks("train"))
    z = np.concatenate([b.x[:, 1] for b in blocks])
    weights = np.maximum(np.concatenate([b.weights(theta, nu)[0] for b in blocks]), 0.0)
    edges = np.quantile(z, np.linspace(0.0, 1.0, 26))
    edges[[0, -1]] = -np.inf, np.inf
    expected = np.histogram(z, edges, weights=weights)[0]
    return stats.chisquare(np.histogram(x, edges)[0], expected * len(x) / expected.sum()).pvalue


@pytest.mark.parametrize("nu", [[0.0, 0.0], [0.0, 1.5], [2.0, -1.0]])
def test_drawn_events_follow_the_weights_at_their_nuisances_and_no_others(store, nu):
    x = sample_plain(store, "sm", 20_000, nu=nu, seed=3, dtype=np.float64).x[:, 1]
    assert chi2_probability(store, x, nu) > 1e-3
    assert chi2_probability(store, x, [nu[0], nu[1] + 1.0]) < 1e-6


def test_mean_score_vanishes_where_events_were_drawn_and_not_elsewhere(store):
    """With clipped negative weights means are those of another density, so that signs are kept."""
    sample = sample_double_ratio(
        store, [[0.3]], [[0.3]], 80_000, nu0=NU0, nu1=[0.7, 1.2], negative_weights="keep", seed=1
    )
    pulls = []
    for y in (0, 1):
        one = sample.take(sample.y == y)
        signed = one.weights[:, None] * one.t_xz
        pulls.append(np.abs(signed.mean(axis=0)) / (signed.std(axis=0) / np.sqrt(len(one))))
    assert (pulls[0][[0, 2]] < 4).all()
    np.testing.assert_allclose(sample.t_xz[:, 1], 0.0, atol=1e-12)  # a common rate does not change the density
    assert pulls[1][2] > 20


def test_nominal_nuisances_are_the_linear_path(store):
    """Zeros, given by hand, draw the same events with the same gold as no nuisance parameters at all."""
    plain = sample_ratio(store, [[0.4], [0.9]], "sm", 500, seed=5, dtype=np.float64)
    zeros = sample_ratio(store, [[0.4], [0.9]], "sm", 500, nu0=[0.0, 0.0], seed=5, dtype=np.float64)
    np.testing.assert_array_equal(zeros.x, plain.x)
    np.testing.assert_allclose(zeros.r_xz, plain.r_xz, rtol=1e-12)
    np.testing.assert_allclose(zeros.t_xz[:, :1], plain.t_xz, rtol=1e-9, atol=1e-12)
    assert plain.parameter_names == ("c",)
    assert plain.theta0.shape == plain.t_xz.shape == (500, 1)


def test_whether_nuisances_show(store, tmp_path):
    assert sample_local(store, "sm", 50).t_xz.shape == (50, 3)
    assert sample_local(store, "sm", 50, nuisance_score=False).t_xz.shape == (50, 1)
    averaged = sample_ratio(store, "sm", "plus", 50, nu0=PRIOR, n_theta=5, nuisance_score=False)
    assert averaged.parameter_names == ("c",)
    assert averaged.theta0.shape == averaged.t_xz.shape == (50, 1)
    on = sample_ratio(store, "sm", "plus", 50, nuisance_score=True)
    assert on.theta0.shape == on.t_xz.shape == (50, 3)
    stored = sample_ratio(store, "sm", "plus", 50, nuisance_score=True, out=tmp_path / "on.zarr")
    assert Samples.of(stored).parameter_names == on.parameter_names == POINTS
    assert sample_test(store, "sm", 50, nu={"rate": 1.0}).theta0[0].tolist() == [0.0, 1.0, 0.0]
    with pytest.raises(InputError, match="nuisance_score is True, False"):
        sample_ratio(store, "sm", "plus", 50, nuisance_score="off")


def test_streams_belong_to_points_not_to_blocks_or_memory(store, monkeypatch):
    def draw(seed=3):
        prior = flat_prior([(-1.0, 1.0)])
        return sample_ratio(store, prior, "sm", 2000, nu0=PRIOR, n_theta=20, seed=seed, dtype=np.float64)

    whole = draw()
    original = type(store).blocks
    monkeypatch.setattr(type(store), "blocks", lambda self, *a, **k: original(self, *a, **(k | {"size": 170})))
    monkeypatch.setattr(draw_module, "_IN_MEMORY", 0)
    monkeypatch.setattr(inversion, "_CHUNK", 700)
    parts = draw()
    np.testing.assert_array_equal(parts.x, whole.x)
    np.testing.assert_array_equal(parts.theta0, whole.theta0)
    np.testing.assert_allclose(parts.r_xz, whole.r_xz, rtol=1e-9)
    np.testing.assert_allclose(parts.t_xz, whole.t_xz, rtol=1e-8, atol=1e-10)
    assert (draw(4).theta0 != whole.theta0).any()
    nominal = sample_plain(store, flat_prior([(-1.0, 1.0)]), 20, n_theta=20, seed=3)
    random = sample_plain(store, flat_prior([(-1.0, 1.0)]), 20, nu=PRIOR, n_theta=20, seed=3)
    np.testing.assert_array_equal(random.theta0[:, :1], nominal.theta0)  # theta does not depend on nu
    few = sample_plain(store, [[0.1]], 100, nu=fixed_points([[0.5, 0.5]]), seed=3)
    more = sample_plain(store, [[0.1]], 200, nu=[[0.5, 0.5], [1.0, -1.0]], seed=3)
    first = more.theta0[:, 1] == 0.5
    np.testing.assert_array_equal(np.sort(more.x[first], axis=0), np.sort(few.x, axis=0))


def test_joint_points(store, tmp_path):
    def points(theta, nu, n_theta=5, n=100):
        return joint_points(theta, nu, store, n_theta=n_theta, n=n, seed=0, name="theta0")

    prior = flat_prior([(-1.0, 1.0)])
    thetas, nus = points("plus", None)
    np.testing.assert_array_equal(np.hstack([thetas, nus]), [[1.0, 0.0, 0.0]])
    thetas, nus = points("plus", PRIOR)
    assert (thetas == 1.0).all()
    assert nus.shape == (5, 2)
    assert len(np.unique(nus)) == 10
    assert len(np.unique(points(prior, gaussian_prior([0.0], [1.0]))[1])) == 10  # of one, for each of them alike
    assert len(points(prior, PRIOR, n_theta=None)[1]) == 100
    thetas, nus = points(["sm", "plus", "minus"], [[1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_array_equal(np.hstack([thetas, nus]), [[0, 1, 0], [1, 0, 1], [-2, 1, 0]])
    with pytest.raises(InputError, match=r"prior of nu0 has 3 parameters, but the store 2"):
        points("sm", flat_prior([(-1.0, 1.0)] * 3))
    with pytest.raises(InputError, match="200 points of nuisance parameters cannot share 100 events"):
        points("sm", np.zeros((200, 2)))


def test_effective_number_of_events_and_warnings_know_nu(store):
    nu = [1.0, 2.0]
    with pytest.warns(ColumnMinerWarning, match=r"negative weights .* at theta = \[0\.\], nu = \[1\. 2\.\]"):
        sample = sample_plain(store, "sm", 50, nu=nu)
    weights = np.maximum(store.event_weights("sm", nu, "train"), 0.0)
    np.testing.assert_allclose(sample.n_eff, weights.sum() ** 2 / (weights**2).sum(), rtol=1e-10)


def test_cross_sections(store):
    prior = flat_prior([(-1.0, 1.0)])
    drawn = cm.cross_sections(store, prior, nu=PRIOR, n_theta=7, seed=3, partition="train")
    expected = store.xsec(drawn.theta, drawn.nu, "train")
    np.testing.assert_allclose(drawn.value, expected.value, rtol=1e-10)
    np.testing.assert_allclose(drawn.error, expected.error, rtol=1e-10)
    sample = sample_plain(store, prior, 7, nu=PRIOR, n_theta=7, seed=3, dtype=np.float64)
    both = np.concatenate([drawn.theta, drawn.nu], axis=1)
    np.testing.assert_array_equal(np.sort(sample.theta0, axis=0), np.sort(both, axis=0))
    nominal = cm.cross_sections(store, ["sm", "minus"])
    np.testing.assert_allclose(nominal.value, store.xsec().value[[0, 2]])
    np.testing.assert_array_equal(nominal.theta, [[0.0], [-2.0]])
    assert nominal.nu.shape == (2, 2)
    assert not nominal.nu.any()
    up = cm.cross_sections(store, "sm", nu={"rate": 1.0})
    np.testing.assert_allclose(up.value, 1.1 * nominal.value[:1])


def test_a_store_without_nuisances_has_none_to_give(tmp_path):
    bare = analytic_store(tmp_path / "bare.zarr", 2000)
    assert sample_local(bare, "zero", 50).t_xz.shape == (50, 1)
    with pytest.raises(MissingError, match="has no nuisance parameters"):
        sample_local(bare, "zero", 50, nuisance_score=True)
    with pytest.raises(MissingError, match="has no nuisance parameters"):
        sample_ratio(bare, "zero", "one", 50, nu0=[0.0])
    assert sample_plain(bare, "zero", 50, nu={}).theta0.shape == (50, 1)
