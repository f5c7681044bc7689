"""Sums of weights and the inversion of cumulative sums: pieces and linear sums against all weights one by one."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_store import analytic_store

from columnminer.model.priors import gaussian_prior
from columnminer.sample import inversion
from columnminer.sample.inversion import Group, worth_pieces
from columnminer.sample.sampling import sample_ratio

N, N_POINTS = 20_011, 9


def blocks(columns, size):
    return [(start, columns[start : start + size]) for start in range(0, len(columns), size)]


def group(columns, coefficients, *, size=3000, by_size=False):
    return Group(blocks(columns, size), coefficients, None, by_size=by_size)


@pytest.fixture(scope="module")
def columns():
    """Linear weights: many zeros, a block of nothing but zeros, and sizes over six orders of magnitude."""
    rng = np.random.default_rng(5)
    columns = rng.exponential(size=(N, 4)) ** 4 * (rng.uniform(size=(N, 1)) > 0.3)
    columns[6000:9000] = 0.0
    return columns


@pytest.fixture(scope="module")
def coefficients():
    return np.random.default_rng(6).uniform(0.1, 1.0, size=(N_POINTS, 4))


def found_events(some, uniforms, *, by_pieces, size=3000):
    events = [[] for _ in uniforms]
    for i, done, found, start, _ in some.pick(uniforms, by_pieces=by_pieces):
        assert done == len(events[i])
        events[i] += (start + found).tolist()
    return [np.array(e) for e in events]


@pytest.mark.parametrize("size", [64, 1000, 3000, N])
@pytest.mark.parametrize("n_draws", [1, 40, 3000])
def test_pieces_find_the_events_that_all_weights_find(columns, coefficients, n_draws, size):
    some = group(columns, coefficients, size=size)
    some.sum()
    rng = np.random.default_rng(n_draws)
    uniforms = [np.sort(rng.uniform(size=n_draws)) for _ in coefficients]
    pieces = found_events(some, uniforms, by_pieces=True)
    weights = coefficients @ columns.T
    for point, found in enumerate(found_events(some, uniforms, by_pieces=False)):
        np.testing.assert_array_equal(pieces[point], found)
        assert len(found) == n_draws
        assert (weights[point][found] > 0.0).all()
        cumulative = np.cumsum(weights[point]) / weights[point].sum()
        np.testing.assert_array_equal(found, np.searchsorted(cumulative, uniforms[point], side="right"))


@pytest.mark.parametrize("by_pieces", [True, False])
def test_the_ends_of_the_range_belong_to_events_with_weight(columns, coefficients, by_pieces):
    """Also where the numbers are those next to 0 and 1, and the first and last events have no weight."""
    columns = columns.copy()
    columns[:100], columns[-100:] = 0.0, 0.0
    some = group(columns, coefficients)
    some.sum()
    ends = [np.array([0.0, 5e-324, 1.0 - 2.0**-53]) for _ in coefficients]
    with_weight = np.flatnonzero(columns.any(axis=1))
    for found in found_events(some, ends, by_pieces=by_pieces):
        np.testing.assert_array_equal(found, with_weight[[0, 0, -1]])


@pytest.mark.parametrize("by_size", [True, False])
@pytest.mark.parametrize("share", [0.0, 1e-3, 0.2, 1.0])
def test_sums_are_those_of_all_weights(columns, coefficients, share, by_size):
    """Some points have negative weights, others none; a point may have nothing else."""
    rng = np.random.default_rng(8)
    signed = columns * np.where(rng.uniform(size=(N, 1)) < share, -1.0, 1.0)
    signed[:, 3] = columns[:, 3]  # the sign depends on the point
    some = group(signed, coefficients, by_size=by_size)
    some.sum()
    weights = coefficients @ signed.T
    probabilities = np.abs(weights) if by_size else np.maximum(weights, 0.0)
    assert (weights < 0.0).any() == (share > 0.0)
    assert (weights > 0.0).any()
    np.testing.assert_allclose(some.total, probabilities.sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(some.squares, (probabilities**2).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(some.signed, weights.sum(axis=1), rtol=1e-11)
    negative = -np.minimum(weights, 0.0).sum(axis=1)
    np.testing.assert_allclose(some.negative, negative, rtol=1e-9, atol=1e-12 * float(some.total.max()))


def test_pieces_are_for_few_draws_of_many_events():
    assert worth_pieces([5, 500], 24_000).tolist() == [True, False]
    assert worth_pieces([500], 6_000_000).all()


def test_a_sample_is_the_same_by_pieces_and_by_all_weights(tmp_path, monkeypatch):
    store = analytic_store(tmp_path / "events.zarr", background=0.5)
    draws = (store, gaussian_prior([0.0], [1.0]), "zero", 3000)
    pieces = sample_ratio(*draws, n_theta=30, seed=3)
    asked = []
    find = inversion._find_in_pieces
    monkeypatch.setattr(inversion, "_find_in_pieces", lambda *given: asked.append(given) or find(*given))
    again = sample_ratio(*draws, n_theta=30, seed=3)
    assert asked  # pieces were worth it
    monkeypatch.setattr(inversion, "_PIECE", 10**6)
    whole = sample_ratio(*draws, n_theta=30, seed=3)
    for sample in (again, whole):
        for name in ("x", "r_xz", "t_xz", "theta0"):
            np.testing.assert_array_equal(getattr(sample, name), getattr(pieces, name))
