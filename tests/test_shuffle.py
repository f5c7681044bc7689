"""Rows come back once each, in the order of their numbers, whatever the pieces."""

from __future__ import annotations

import numpy as np
import pytest

from columnminer.store import shuffle as shuffle_module
from columnminer.store.shuffle import Shuffle, order_of

COLUMNS = {"x": ((2,), "f4"), "i": ((), "i8")}


@pytest.mark.parametrize(("bucket", "pieces"), [(2**18, 1), (100, 7), (10, 50)])
def test_runs_are_merged_into_one_order(tmp_path, monkeypatch, bucket, pieces):
    monkeypatch.setattr(shuffle_module, "BUCKET", bucket)
    rng = np.random.default_rng(0)
    numbers = rng.uniform(size=1000)
    numbers[[3, 500, 990]] = numbers[7]  # ties stay in the order in which they came
    table = {"x": rng.normal(size=(1000, 2)).astype("f4"), "i": np.arange(1000)}
    shuffle = Shuffle(tmp_path, COLUMNS, 1000)
    runs = [
        shuffle.write(str(rows[0]), numbers[rows], {name: values[rows] for name, values in table.items()})
        for rows in np.array_split(np.arange(1000), pieces)
    ]
    merged = list(shuffle.merged(runs))
    assert len(merged) == max(1000 // bucket, 1)
    order = np.argsort(numbers, kind="stable")
    for name, values in table.items():
        np.testing.assert_array_equal(np.concatenate([m[name] for m in merged]), values[order])


def test_order_of_numbers_with_and_without_ties():
    numbers = np.random.default_rng(1).uniform(size=10_000)
    np.testing.assert_array_equal(numbers[order_of(numbers)], np.sort(numbers))
    coarse = numbers.round(2)
    order = order_of(coarse)
    np.testing.assert_array_equal(order, np.argsort(coarse, kind="stable"))
    assert (np.argsort(coarse) != order).any()  # not what a quicker sort gives


def test_a_run_that_is_cut_off_is_not_taken_for_rows(tmp_path):
    shuffle = Shuffle(tmp_path, COLUMNS, 4)
    run = shuffle.write("a", np.linspace(0.1, 0.9, 4), {"x": np.ones((4, 2)), "i": np.arange(4)})
    run.path.write_bytes(run.path.read_bytes()[:-1])
    with pytest.raises(OSError, match="is cut off"):
        list(shuffle.merged([run]))
