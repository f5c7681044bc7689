"""Bootstrap replicas: Poisson numbers that belong to events, totals that fluctuate as the statistical error says."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_store import analytic_store
from scipy import stats

from columnminer import cross_sections, sample_local, sample_plain, sample_ratio
from columnminer.errors import InputError
from columnminer.sample.replicas import multiplicities

EVENTS, REPLICAS = np.arange(20_000), range(200)
THETA = [[0.0], [1.5]]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return analytic_store(tmp_path_factory.mktemp("stores") / "signal.zarr", 3000, background=0.3)


def test_multiplicities_are_poisson_of_mean_one():
    counts = np.bincount(multiplicities(0, EVENTS), minlength=6)
    expected = stats.poisson(1).pmf(np.arange(5)) * len(EVENTS)
    expected = np.append(expected, len(EVENTS) - expected.sum())
    observed = np.append(counts[:5], counts[5:].sum())
    assert stats.chisquare(observed, expected).pvalue > 1e-3
    wrong = np.append(stats.poisson(1.05).pmf(np.arange(5)), 0.0) * len(EVENTS)
    wrong[-1] = len(EVENTS) - wrong.sum()
    assert stats.chisquare(observed, wrong).pvalue < 1e-6


def test_multiplicities_belong_to_events_and_replicas():
    whole = multiplicities(7, EVENTS)
    np.testing.assert_array_equal(multiplicities(7, EVENTS[::-3]), whole[::-3])
    other = multiplicities(8, EVENTS)
    assert abs(np.corrcoef(whole, other)[0, 1]) < 5 / np.sqrt(len(EVENTS))


def pull_of_variance(values, variance):
    """Distance of a sample variance of normal values from what it should be, in its own errors."""
    n = len(values)
    return (values.var(ddof=1) / variance - 1.0) / np.sqrt(2.0 / (n - 1))


def test_cross_sections_of_replicas_fluctuate_as_their_error_says(store):
    plain = cross_sections(store, THETA, partition="train")
    found = [cross_sections(store, THETA, partition="train", replica=r) for r in REPLICAS]
    values, errors = np.array([x.value for x in found]), np.array([x.error for x in found])
    weights = store.event_weights(THETA, partition="train")
    rng = np.random.default_rng(0)
    n_events = weights.shape[1]
    for i, w in enumerate(weights):
        mean_error = plain.error[i] / np.sqrt(len(values))
        assert abs(values[:, i].mean() - plain.value[i]) < 4 * mean_error
        assert abs(pull_of_variance(values[:, i], (w**2).sum())) < 4
        # Twice the Poisson mean, halved, has half the variance; a fixed number of events has that about the mean.
        halved = np.array([(w * rng.poisson(2, n_events)).sum() / 2 for _ in REPLICAS])
        assert abs(pull_of_variance(halved, (w**2).sum())) > 4
        fixed = np.array([w @ rng.multinomial(n_events, np.full(n_events, 1 / n_events)) for _ in REPLICAS])
        assert abs(pull_of_variance(fixed, (w**2).sum())) > 4
    np.testing.assert_allclose(errors.mean(axis=0), plain.error, rtol=0.02)


def test_a_replica_is_drawn_from_and_normalises_the_gold(store):
    """Events come as often as they count, ratios are normalised with the cross sections of the replica."""
    options = {"replica": 3, "dtype": np.float64, "seed": 1}
    sample = sample_ratio(store, [[1.5]], "zero", 60_000, **options)
    times = {}
    expected = np.zeros(20)
    for block in store.blocks("train"):
        count = multiplicities(3, block.indices)
        times |= dict(zip(block.x[:, 1].tolist(), count.tolist(), strict=True))
        expected += np.histogram(block.x[:, 0], np.linspace(0, 1, 21), weights=count * block.weights([1.5])[0])[0]
    assert {times[y] for y in sample.x[:, 1].tolist()} >= {1, 2, 3}
    assert 0 not in {times[y] for y in sample.x[:, 1].tolist()}
    numerator = sample.take(sample.y == 0)
    observed = np.histogram(numerator.x[:, 0], np.linspace(0, 1, 21))[0]
    assert stats.chisquare(observed, expected / expected.sum() * len(numerator)).pvalue > 1e-3
    xsec = {r: cross_sections(store, THETA, partition="train", replica=r).value for r in (None, 3)}
    without = sample_ratio(store, [[1.5]], "zero", 60_000, dtype=np.float64, seed=1)
    ratio = dict(zip(without.x[:, 1].tolist(), without.r_xz.tolist(), strict=True))
    both = [(r, ratio[y]) for y, r in zip(sample.x[:, 1].tolist(), sample.r_xz.tolist(), strict=True) if y in ratio]
    ours, theirs = np.array(both).T
    scale = (xsec[3][0] / xsec[3][1]) / (xsec[None][0] / xsec[None][1])
    assert abs(scale - 1.0) > 1e-4
    np.testing.assert_allclose(ours, theirs * scale, rtol=1e-9)
    np.testing.assert_allclose(sample.cross_section.values(np.array(THETA)), xsec[3], rtol=1e-9)


def test_replicas_differ_and_repeat(store):
    one, again, other = (sample_local(store, [0.5], 2000, replica=r) for r in (1, 1, 2))
    np.testing.assert_array_equal(one.x, again.x)
    assert (one.n_eff != other.n_eff).all()
    assert one.options["replica"] == 1
    # Repeated events are worth less: sum of k^2 is twice that of k.
    plain = sample_local(store, [0.5], 2000)
    assert one.n_eff / plain.n_eff == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("replica", [-1, 1.5, True])
def test_a_replica_is_a_number(store, replica):
    with pytest.raises(InputError, match="replica must be a non-negative integer"):
        sample_plain(store, "zero", 10, replica=replica)
    with pytest.raises(InputError, match="replica must be a non-negative integer"):
        cross_sections(store, "zero", replica=replica)
