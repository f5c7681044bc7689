from __future__ import annotations

import json

import numpy as np
import pytest
import zarr
from mixed_store import COUNTS, GENERATED, mixed_columns, mixed_store

from columnminer.errors import FileFormatError, InputError, MissingError, OutputExistsError, UnknownNameError
from columnminer.store import arrays
from columnminer.store.eventstore import EventStore


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return mixed_store(tmp_path_factory.mktemp("stores") / "mixed.zarr")


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_columns_come_back(store):
    columns = mixed_columns()
    assert len(store) == len(columns["sample"]) == sum(COUNTS)
    for name in ("observables", "weights", "sample"):
        np.testing.assert_array_equal(getattr(store, name)[:], columns[name])
    np.testing.assert_array_equal(store.observables[10:20], columns["observables"][10:20])
    assert store.observable_names == ("x", "z")
    assert store.observable_index("z") == 1
    assert store.nuisance_names == ("rate", "shape")
    assert store.partition_names == ("train", "validation", "test")
    assert [s.n_events for s in store.samples] == list(COUNTS)
    assert [s.partition_counts for s in store.samples] == [(540, 180, 180), (180, 60, 60), (36, 12, 12)]
    assert "mixed.zarr" in repr(store)


def test_bytes_and_hash_do_not_depend_on_how_rows_arrive(store, tmp_path, monkeypatch):
    other = mixed_store(tmp_path / "other.zarr", pieces=7)
    assert other.hash == store.hash
    assert files(other.path) == files(store.path)
    monkeypatch.setattr(arrays, "CHUNK", 100)
    chunked = mixed_store(tmp_path / "chunked.zarr", pieces=7)
    np.testing.assert_array_equal(chunked.weights[:], store.weights[:])


def test_the_hash_tells_stores_apart(store, tmp_path):
    others = [mixed_store(tmp_path / "a.zarr", seed=7), mixed_store(tmp_path / "b.zarr", partition=(0.5, 0.3, 0.2))]
    assert len({store.hash, *(other.hash for other in others)}) == 3


def test_it_is_a_plain_zarr_group(store):
    group = zarr.open_group(str(store.path), mode="r", zarr_format=3)
    assert set(group.array_keys()) == {"observables", "weights", "nuisance_weights", "sample", "partition", "event"}
    text = json.dumps(dict(group.attrs))
    assert str(store.path.parent) not in text, "no absolute paths at rest"


def test_signal_samples_are_mixed_by_generated_events_and_backgrounds_added(store):
    columns = mixed_columns()
    sums = [columns["weights"][columns["sample"] == k].sum(axis=0) for k in range(3)]
    a, b = GENERATED[0] / sum(GENERATED[:2]), GENERATED[1] / sum(GENERATED[:2])
    np.testing.assert_allclose(store.xsec().value, a * sums[0] + b * sums[1] + sums[2], rtol=1e-13)
    assert store.xsec("sm").value[0] == pytest.approx(2.0 + sums[2][0], rel=1e-13)


@pytest.mark.parametrize("size", [1, 7, 1000, None])
def test_blocks_of_any_size_hold_the_same_events(store, size):
    if size == 1:
        blocks = list(store.blocks(slice(0, 5), size=1))
        assert [len(b) for b in blocks] == [1] * 5
        return
    blocks = list(store.blocks("validation", size=size))
    whole = next(store.blocks("validation"))
    for name in ("indices", "x", "sample", "benchmark_weights", "background", "nuisance_weights"):
        np.testing.assert_array_equal(np.concatenate([getattr(b, name) for b in blocks]), getattr(whole, name))


def test_partitions_are_disjoint_and_complete(store):
    indices = [np.concatenate([b.indices for b in store.blocks(p)]) for p in store.partition_names]
    np.testing.assert_array_equal(np.sort(np.concatenate(indices)), np.arange(len(store)))
    assert [len(i) for i in indices] == [store.n_events(p) for p in store.partition_names]
    for i, name in zip(indices, store.partition_names, strict=True):
        np.testing.assert_array_equal(store.partition[:][i], store.partition_names.index(name))


@pytest.mark.parametrize("partition", ["train", "validation", "test", slice(100, 900)])
def test_weights_of_a_partition_are_scaled_to_the_whole(store, partition):
    """With weights that are the same for all events of a sample, a partition gives the cross section exactly."""
    columns = mixed_columns()
    blocks = list(store.blocks(partition))
    scale = np.concatenate([b.benchmark_weights[:, 0] for b in blocks])
    sample = np.concatenate([b.sample for b in blocks])
    indices = np.concatenate([b.indices for b in blocks])
    scale /= columns["weights"][indices, 0]
    kept = np.bincount(sample, minlength=3) / COUNTS
    expected = np.array([*GENERATED[:2], 0.0])
    expected /= expected @ kept
    expected[2] = 1.0 / kept[2]
    np.testing.assert_allclose(scale, expected[sample], rtol=1e-12)
    # The signal's scale times the generated events that stand behind it is the mixing fraction of all of them.
    assert (expected[:2] * kept[:2]).sum() == pytest.approx(1.0)


def test_partition_cross_sections_agree_within_their_errors(store):
    whole = store.xsec([[0.5], [-1.0]])
    for name in store.partition_names:
        part = store.xsec([[0.5], [-1.0]], partition=name)
        assert (np.abs(part.value - whole.value) < 4 * part.error).all()
        assert (part.error > whole.error).all()


def test_closest_to_uses_events_of_one_benchmark_and_all_backgrounds(store):
    assert store.closest_benchmark([0.4]) == "sm"
    assert store.closest_benchmark([0.6]) == "plus"
    assert store.closest_benchmark([-2.0]) == "sm", "minus has no events"
    blocks = list(store.blocks(closest_to=[1.0]))
    assert set(np.concatenate([b.sample for b in blocks])) == {1, 2}
    columns = mixed_columns()
    expected = sum(columns["weights"][columns["sample"] == k].sum(axis=0) for k in (1, 2))
    np.testing.assert_allclose(store.xsec(closest_to="plus").value, expected, rtol=1e-13)


def test_select_draws_different_events_reproducibly(store):
    block = store.select(100, seed=3, partition="train")
    assert len(np.unique(block.indices)) == 100
    assert (np.diff(block.indices) > 0).all()
    np.testing.assert_array_equal(store.partition[:][block.indices], 0)
    np.testing.assert_array_equal(block.x, store.observables[:][block.indices])
    np.testing.assert_array_equal(store.select(100, seed=3, partition="train").indices, block.indices)
    assert not np.array_equal(store.select(100, seed=4, partition="train").indices, block.indices)
    everything = store.select(len(store))
    np.testing.assert_allclose(everything.benchmark_weights.sum(axis=0), store.xsec().value, rtol=1e-12)
    with pytest.raises(InputError, match="cannot draw"):
        store.select(len(store) + 1)


def test_selected_weights_estimate_the_cross_section(store):
    drawn = [store.select(200, seed=s).weights("sm").sum() for s in range(200)]
    truth = store.xsec("sm").value[0]
    assert abs(np.mean(drawn) - truth) < 4 * np.std(drawn) / np.sqrt(len(drawn))


def test_event_weights_are_those_of_the_blocks(store):
    weights = store.event_weights([[0.0], [0.3]])
    assert weights.shape == (2, len(store))
    np.testing.assert_allclose(weights.sum(axis=1), store.xsec([[0.0], [0.3]]).value, rtol=1e-12)
    assert store.event_weights("sm", partition="test").shape == (1, store.n_events("test"))


def test_wrong_questions_get_named_errors(store):
    with pytest.raises(UnknownNameError, match="Did you mean 'train'"):
        next(store.blocks("trian"))
    with pytest.raises(UnknownNameError, match="no observable is called 'y'"):
        store.observable_index("y")
    with pytest.raises(InputError, match="step 1"):
        next(store.blocks(slice(0, 10, 2)))
    with pytest.raises(InputError, match="at least 1 event"):
        next(store.blocks(size=0))
    with pytest.raises(MissingError, match="no signal events in"):
        store.xsec(partition=slice(0, 0))
    first_background = int(np.argmax(store.sample[:] == 2))
    with pytest.raises(MissingError, match="background 'bkg'"):
        store.xsec(partition=slice(0, first_background))
    assert sum(len(b) for b in store.blocks(slice(0, first_background))) == first_background, "but it can be read"


def test_only_event_stores_are_opened(store, tmp_path):
    with pytest.raises(FileFormatError, match="not an event store"):
        EventStore(tmp_path / "nothing")
    zarr.create_group(str(tmp_path / "other.zarr"), attributes={"format": "spam"})
    with pytest.raises(FileFormatError, match="'spam'"):
        EventStore(tmp_path / "other.zarr")
    newer = mixed_store(tmp_path / "newer.zarr")
    zarr.open_group(str(newer.path), mode="r+").update_attributes({"format_version": 99})
    with pytest.raises(FileFormatError, match="update columnminer"):
        EventStore(newer.path)


def test_an_existing_store_is_kept_unless_replaced(tmp_path):
    first = mixed_store(tmp_path / "s.zarr")
    with pytest.raises(OutputExistsError):
        mixed_store(tmp_path / "s.zarr", partition="in_order")
    assert EventStore(first.path).hash == first.hash
    assert mixed_store(tmp_path / "s.zarr", partition="in_order", replace_existing=True).hash != first.hash
    assert [p.name for p in tmp_path.iterdir()] == ["s.zarr"]
