"""How training data come to the network: whole or in portions, for one network or for several."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from latent_toy import held_out, log_ratio, ratio_samples

from columnminer.errors import InputError
from columnminer.learn.estimators import RatioEstimator
from columnminer.learn.loaders import StreamedData, TensorData, generator

SIZES = [40, 40, 40, 13]


def columns(first, n):
    numbers = np.arange(first, first + n, dtype=np.float64)
    return {"inputs": numbers[:, None], "y": numbers}


def whole():
    return TensorData(columns(0, sum(SIZES)))


def streamed(buffer=80):
    return StreamedData(lambda block: [columns(40 * block, SIZES[block])], SIZES, "cpu", buffer=buffer)


def seen(data, size, generators=None):
    return [b["y"].tolist() for b in data.batches(size, generators)]


@pytest.mark.parametrize("make", [whole, streamed])
def test_batches_cover_the_data_once_in_random_order(make):
    data = make()
    batches = list(data.batches(10, generator(0, "a")))
    assert all(torch.equal(b["inputs"][:, 0], b["y"]) for b in batches)
    assert all(len(b["y"]) == 10 for b in batches)
    events = [event for b in batches for event in b["y"].tolist()]
    assert len(set(events)) == len(events)
    assert len(events) >= sum(SIZES) - 20  # a batch that is not full at the end of each portion
    assert events != sorted(events)
    assert [event for b in data.batches(30) for event in b["y"].tolist()] == list(range(sum(SIZES)))
    assert seen(data, 10, generator(0, "a")) == [b["y"].tolist() for b in batches]
    assert seen(data, 10, generator(1, "a")) != [b["y"].tolist() for b in batches]


@pytest.mark.parametrize("make", [whole, streamed])
def test_parts_are_disjoint_and_complete(make):
    data = make()
    first, second = data.split(0.3, 5)
    assert len(second) == pytest.approx(0.3 * len(data), abs=2)
    events = [event for part in (first, second) for batch in seen(part, 50) for event in batch]
    assert sorted(events) == list(range(len(data)))
    assert len(first) + len(second) == len(data)


@pytest.mark.parametrize("make", [whole, streamed])
def test_members_have_parts_and_orders_of_their_own(make):
    data = make()
    first, second = data.split(0.3, [5, 6])
    alone, judges = data.split(0.3, 6)
    orders = [generator(5, "o"), generator(6, "o")]
    together = list(first.batches(10, orders))
    assert all(b["inputs"].shape == (2, 10, 1) for b in together)
    if make is whole:  # portions are chosen by the first member
        assert [b["y"][1].tolist() for b in together] == seen(alone, 10, generator(6, "o"))
    assert [b["y"][1].tolist() for b in second.batches(10)] == seen(judges, 10)
    assert sorted(e for b in first.batches(10) for e in b["y"][0].tolist()) != sorted(
        e for b in first.batches(10) for e in b["y"][1].tolist()
    )
    everybody = next(iter(data.for_members(3).batches(20)))
    assert everybody["y"].shape == (3, 20)


@pytest.mark.parametrize("make", [whole, streamed])
def test_replicas_repeat_training_events_and_never_touch_the_judges(make):
    first, second = make().split(0.3, 5, bootstrap=True)
    drawn = [e for batch in seen(first, 50) for e in batch]
    judges = {e for batch in seen(second, 50) for e in batch}
    assert len(drawn) == len(first)
    assert not judges & set(drawn)
    distinct = len(set(drawn)) / len(drawn)
    assert distinct == pytest.approx(1 - np.exp(-1), abs=0.12)  # of n draws from n, 63 % are different


def test_data_that_are_not_finite_or_do_not_fit_are_refused():
    with pytest.raises(InputError, match="t_xz is not finite in 1 of 3 events, first in event 2"):
        TensorData({"inputs": np.zeros((3, 1)), "t_xz": np.array([[0.0], [1.0], [np.nan]])})
    with pytest.raises(InputError, match="one common length"):
        TensorData({"inputs": np.zeros((3, 1)), "y": np.zeros(2)})


def test_streamed_samples_teach_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr("columnminer.learn.lesson.BLOCK", 1000)
    samples = ratio_samples(20_000)
    stored = samples.write(tmp_path / "samples.zarr")
    x, theta = held_out()
    exact = log_ratio(x[:, 1], theta[:, 0])
    options = {"method": "alices", "epochs": 4, "batch_size": 128}

    def error(**more):
        estimator = RatioEstimator((16,)).fit(stored, **options, **more)
        return np.sqrt(((estimator.log_ratio(x, theta) - exact) ** 2).mean()), estimator

    in_memory, _ = error()
    small, first = error(memory=60_000)
    _, again = error(memory=60_000)
    assert small < 1.5 * in_memory
    np.testing.assert_array_equal(first.log_ratio(x, theta), again.log_ratio(x, theta))
    shuffled, _ = error(memory=60_000, shuffle_labels=True)
    assert shuffled > 3 * small


def test_events_are_named_by_their_number_in_the_store(tmp_path, monkeypatch):
    monkeypatch.setattr("columnminer.learn.lesson.BLOCK", 1000)
    samples = ratio_samples(5000)
    samples.r_xz[3210] = np.nan
    with pytest.raises(InputError, match="in event 3210"):
        RatioEstimator((4,)).fit(samples.write(tmp_path / "samples.zarr"), epochs=1, memory=50_000)


CHILD = """
import sys
from pathlib import Path
from latent_toy import ratio_samples
from columnminer.learn.estimators import RatioEstimator
from columnminer.store.samplestore import SampleStore
def megabytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024
RatioEstimator((8,)).fit(ratio_samples(2000), method="alice", epochs=1)  # brings in what training needs
before = megabytes("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak starts again here
RatioEstimator((8,)).fit(SampleStore(sys.argv[1]), method="alice", epochs=1, batch_size=8192, memory=float(sys.argv[2]))
print(megabytes("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
def test_a_store_four_times_larger_than_the_memory_limit(tmp_path):
    n, n_more = 600_000, 60
    few = ratio_samples(1000)
    rows = np.random.default_rng(0).integers(1000, size=n)
    more = np.random.default_rng(1).normal(size=(n, n_more)).astype(np.float32)
    many = few.take(rows)
    x = np.concatenate([many.x.astype(np.float32), more], axis=1)
    names = (*many.feature_names, *(f"e{i}" for i in range(n_more)))
    stored = dataclasses.replace(many, x=x, feature_names=names).write(tmp_path / "large.zarr")
    data = 4 * n * (len(names) + 3) / 2**20  # MB of features, theta, y and the gold
    # Freed memory goes back to the system at once, so that the peak is what was in use.
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "MALLOC_MMAP_THRESHOLD_": "1000000"}

    def grown(limit):
        command = [sys.executable, "-c", CHILD, str(stored.path), str(limit * 2**20)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
        return float(answer.stdout)

    assert data > 140
    assert grown(limit=data / 4) < 0.6 * data  # the portions, and what reading a chunk of the store takes
    assert grown(limit=2 * data) > data  # all of them at once
