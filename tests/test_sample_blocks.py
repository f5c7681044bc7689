"""A sample is the same in one block or many, by one worker or several, in memory or on disk, for which disk will do."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from analytic_store import analytic_store
from mixed_store import mixed_store

from columnminer import SampleStore
from columnminer.errors import InputError, OutputExistsError, TaskError
from columnminer.model.priors import flat_prior, gaussian_prior
from columnminer.sample import mining as mining_module
from columnminer.sample.npy import write_npy
from columnminer.sample.samples import ARRAYS, Samples
from columnminer.sample.sampling import (
    sample_density,
    sample_double_ratio,
    sample_local,
    sample_plain,
    sample_ratio,
    sample_test,
)
from columnminer.store import shuffle as shuffle_module

pytestmark = pytest.mark.filterwarnings("ignore:negative weights", "ignore:.*fewer than 100 effective")

PRIOR = flat_prior([(-1.0, 1.0)])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return analytic_store(tmp_path_factory.mktemp("stores") / "signal.zarr", 6000)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return mixed_store(tmp_path_factory.mktemp("stores") / "mixed.zarr")


def assert_same(one, other):
    one, other = Samples.of(one), Samples.of(other)
    assert one.array_names == other.array_names
    for name in (*one.array_names, "n_eff", "negative"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.attributes == other.attributes


def in_small_blocks(monkeypatch):
    monkeypatch.setattr(mining_module, "_DRAWS", 170)
    monkeypatch.setattr(mining_module, "_POINTS", 3)
    monkeypatch.setattr(shuffle_module, "BUCKET", 300)


DRAWS = {
    "ratio": lambda s, **o: sample_ratio(s, PRIOR, "zero", 1001, n_theta=20, **o),
    "new theta for every event": lambda s, **o: sample_ratio(s, PRIOR, "zero", 400, n_theta=None, **o),
    "double": lambda s, **o: sample_double_ratio(s, PRIOR, ["zero", "one"], 1200, n_theta=9, **o),
    "additional": lambda s, **o: sample_double_ratio(s, PRIOR, "zero", 1200, additional=PRIOR, n_theta=9, **o),
    "local": lambda s, **o: sample_local(s, [0.3], 700, **o),
    "closest": lambda s, **o: sample_density(s, PRIOR, 700, n_theta=9, closest_benchmark=True, dtype=np.float64, **o),
    "plain": lambda s, **o: sample_plain(s, ["zero", "one"], 700, trim=2500, replica=3, **o),
    "test": lambda s, **o: sample_test(s, "zero", 700, **o),
}


@pytest.mark.filterwarnings("ignore:.*are left out")
@pytest.mark.parametrize("what", DRAWS)
def test_blocks_and_disk_do_not_matter(store, tmp_path, monkeypatch, what):
    draw = DRAWS[what]
    whole = draw(store, seed=5)
    assert isinstance(whole, Samples)
    stored = draw(store, seed=5, out=tmp_path / "whole.zarr")
    assert isinstance(stored, SampleStore)
    assert_same(stored, whole)
    in_small_blocks(monkeypatch)
    assert_same(draw(store, seed=5), whole)
    assert_same(draw(store, seed=5, out=tmp_path / "deep" / "blocks.zarr"), whole)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["blocks.zarr"]
    other = draw(store, seed=6)
    assert len(other) == len(whole)
    assert (other.x != whole.x).any()


def test_nuisance_parameters_and_signs_in_blocks(mixed, tmp_path, monkeypatch):
    def draw(**options):
        nu = gaussian_prior([0.0], [1.0])
        return sample_ratio(mixed, PRIOR, "sm", 800, nu0=nu, nu1=nu, n_theta=15, negative_weights="keep", **options)

    whole = draw()
    assert {-1.0, 1.0} == set(whole.weights)
    in_small_blocks(monkeypatch)
    assert_same(draw(), whole)
    assert_same(draw(out=tmp_path / "blocks.zarr"), whole)


def test_workers_do_not_matter(store, tmp_path, monkeypatch):
    whole = DRAWS["local"](store)
    monkeypatch.setattr(mining_module, "_DRAWS", 300)
    assert_same(DRAWS["local"](store, workers=2), whole)
    assert_same(DRAWS["local"](store, workers=2, out=tmp_path / "out.zarr"), whole)
    with pytest.raises(InputError, match="workers must be at least 1"):
        DRAWS["ratio"](store, workers=0)


def test_rows_of_a_stored_sample_are_in_random_order(store, tmp_path, monkeypatch):
    """Classes and points are mixed everywhere, though they were drawn one after another."""
    in_small_blocks(monkeypatch)
    sample = Samples.of(sample_ratio(store, [[0.5]], "zero", 4000, out=tmp_path / "out.zarr"))
    halves = sample.y.reshape(8, 500).mean(axis=1)
    assert (np.abs(halves - 0.5) < 5 * 0.5 / np.sqrt(500)).all()
    assert abs(np.corrcoef(sample.y[1:], sample.y[:-1])[0, 1]) < 5 / np.sqrt(4000)
    assert np.corrcoef(np.sort(sample.y)[1:], np.sort(sample.y)[:-1])[0, 1] > 0.9  # as they were drawn


def test_nothing_is_left_of_what_failed(store, tmp_path, monkeypatch):
    out = tmp_path / "out.zarr"

    def broken(*_arguments):
        msg = "no space left on device"
        raise OSError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(shuffle_module.Shuffle, "write", broken)
        with pytest.raises(TaskError, match="no space left"):
            sample_plain(store, "zero", 10, out=out)
    with monkeypatch.context() as patch:
        patch.setattr(shuffle_module.Shuffle, "merged", broken)
        with pytest.raises(OSError, match="no space left"):
            sample_plain(store, "zero", 10, out=out)
    assert list(tmp_path.iterdir()) == []
    sample_plain(store, "zero", 10, out=out)
    with pytest.raises(OutputExistsError):
        sample_plain(store, "zero", 10, out=out)


def test_stored_samples_are_copied_to_npy_files(store, tmp_path):
    stored = sample_ratio(store, "one", "zero", 70_000, out=tmp_path / "out.zarr")  # more than a chunk
    files = write_npy(stored, tmp_path / "stored", "set")
    others = write_npy(Samples.of(stored), tmp_path / "memory", "set")
    assert [f.name for f in files] == [f.name for f in others]
    for one, other in zip(files, others, strict=True):
        assert one.read_bytes() == other.read_bytes()
    np.testing.assert_array_equal(np.load(tmp_path / "stored" / "x_set.npy"), stored.x[:])
    assert np.load(tmp_path / "stored" / "r_xz_set.npy", mmap_mode="r").shape == (70_000, 1)


PEAK = """
import sys
from columnminer import EventStore, sample_ratio, flat_prior
from columnminer.sample import mining
from columnminer.store import shuffle

mining._DRAWS = shuffle.BUCKET = 20_000
store, folder, to_disk, peaks = EventStore(sys.argv[1]), sys.argv[2], sys.argv[3] == "disk", []
for n in (100_000, 1_400_000):
    out = f"{folder}/{n}.zarr" if to_disk else None
    made = sample_ratio(store, flat_prior([(-1.0, 1.0)]), "zero", n, n_theta=10, out=out, dtype="f8")
    with open("/proc/self/status") as status:
        peaks.append(next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM")))
print(peaks[1] - peaks[0])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
@pytest.mark.parametrize("where", ["disk", "memory"])
def test_memory_on_the_way_to_disk_does_not_grow_with_the_sample(store, tmp_path, where):
    """More than a million rows more, of 56 bytes: in memory, that is what they take."""
    command = [sys.executable, "-c", PEAK, str(store.path), str(tmp_path), where]
    grown, size = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout), 1_300_000 * 56
    assert grown < size / 4 if where == "disk" else grown > size
    if where == "disk":
        stored = SampleStore(tmp_path / "1400000.zarr")
        assert sum(stored[name].nbytes for name in ARRAYS if name in stored) == 1_400_000 * 56
