from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from columnminer.errors import InputError
from columnminer.streams import key, normal, seed_sequence, uniform


def test_uniform_is_uniform_and_its_counters_are_independent() -> None:
    u = uniform(key(1, "test"), np.arange(20_000)[:, None], np.arange(3))
    assert u.min() > 0
    assert u.max() < 1
    for column in u.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(u.T) - np.eye(3)).max() < 4 / np.sqrt(len(u))
    assert stats.kstest(u[:, 0] ** 1.05, "uniform").pvalue < 1e-3  # negative control


def test_neighbouring_events_do_not_correlate() -> None:
    u = uniform(key(2), np.arange(20_000))
    for lag in (1, 2, 64):
        assert abs(np.corrcoef(u[:-lag], u[lag:])[0, 1]) < 4 / np.sqrt(len(u))


def test_normal_is_normal() -> None:
    assert stats.kstest(normal(key(3), np.arange(20_000)), "norm").pvalue > 1e-3


def test_numbers_belong_to_events_not_to_batches() -> None:
    whole = normal(key(4, "smear"), np.arange(100), 7)
    parts = np.concatenate([normal(key(4, "smear"), np.arange(a, a + 10), 7) for a in range(0, 100, 10)])
    np.testing.assert_array_equal(whole, parts)


def test_the_order_of_counters_matters() -> None:
    assert uniform(key(5), 1, 2) != uniform(key(5), 2, 1)


def test_paths_name_streams() -> None:
    draw = lambda *path: np.random.default_rng(seed_sequence(0, *path)).random()  # noqa: E731
    assert draw("a", 1) == draw("a", 1)
    assert len({draw("a", 1), draw("a", 2), draw("b", 1), draw()}) == 4


def test_nested_paths_equal_one_long_path() -> None:
    nested = seed_sequence(seed_sequence(3, "a"), 5)
    np.testing.assert_array_equal(nested.generate_state(4), seed_sequence(3, "a", 5).generate_state(4))


def test_a_generator_is_a_seed() -> None:
    first, second = (key(np.random.default_rng(8)) for _ in range(2))
    assert first == second
    rng = np.random.default_rng(8)
    assert key(rng) != key(rng)


@pytest.mark.parametrize("seed", [-1, 1.5, "one", None, True])
def test_other_seeds_are_refused(seed: object) -> None:
    with pytest.raises(InputError, match="seed must be"):
        key(seed)  # type: ignore[arg-type]
