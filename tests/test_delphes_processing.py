"""Delphes files on their way to a store, against the store of the Les Houches files that they were made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from delphes_files import delphes_columns, write_delphes, write_tree

from columnminer.errors import FileFormatError, OutputExistsError, UnknownNameError
from columnminer.formats.lhe import LHEReader
from columnminer.formats.opening import open_reader
from columnminer.generate.drellyan import DrellYan
from columnminer.observe.selection import Selection
from columnminer.processing import process
from columnminer.schema import EventBatch
from columnminer.store.samples import Sample

N = 3_000
PROCESS = DrellYan()
SINGLE = float(np.finfo(np.float32).eps)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A Les Houches file, and a Delphes-shaped file of the same events."""
    folder = tmp_path_factory.mktemp("files")
    PROCESS.write_lhe(folder / "sm.lhe.gz", N, "sm", seed=2)
    batch = next(iter(LHEReader(folder / "sm.lhe.gz").batches()))
    xsec = float(PROCESS.xsec("sm")[0])
    write_delphes(folder / "sm.root", batch, cross_section=xsec, weights=batch.weights)
    return folder


@pytest.fixture(scope="module")
def selection():
    return Selection(PROCESS.observables, cuts=["mu[0].pt > 200"])


def stored(sample, selection, out, **options):
    return process([sample], PROCESS.setup(), selection, out, part_size=500, progress=False, **options)


@pytest.fixture(scope="module")
def from_lhe(files, selection, tmp_path_factory):
    return stored(Sample(files / "sm.lhe.gz", benchmark="sm"), selection, tmp_path_factory.mktemp("s") / "lhe.zarr")


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def same_events(store, reference):
    """Return where the reference store has the events of the other (rounding may carry a few across a cut)."""
    assert abs(len(store) - len(reference)) < 3
    x, y = store.observables[:], reference.observables[:]
    nearest = np.array([np.argmin(np.abs(y / row - 1).max(axis=1)) for row in x])
    matched = np.abs(y[nearest, 0] / x[:, 0] - 1) < 1e-5
    assert matched.sum() > len(reference) - 3
    return matched, nearest[matched]


@pytest.mark.parametrize("way", ["weights_from", "weight_names"])
def test_a_store_has_the_benchmark_weights_of_the_generator(files, selection, from_lhe, tmp_path, way):
    names = LHEReader(files / "sm.lhe.gz").info().weight_names
    given = {"weights_from": files / "sm.lhe.gz"} if way == "weights_from" else {"weight_names": names}
    store = stored(Sample(files / "sm.root", benchmark="sm", **given), selection, tmp_path / "s.zarr")
    ours, theirs = same_events(store, from_lhe)
    tolerance = 1e-12 if way == "weights_from" else 3 * SINGLE
    np.testing.assert_allclose(store.weights[:][ours], from_lhe.weights[:][theirs], rtol=tolerance)
    np.testing.assert_allclose(store.observables[:][ours], from_lhe.observables[:][theirs], rtol=1e-5, atol=2e-6)
    assert store.samples[0].cross_section == pytest.approx(float(PROCESS.xsec("sm")[0]), rel=1e-6)
    theta = [[0.01, -0.02], [0.0, 0.0]]
    np.testing.assert_allclose(store.xsec(theta).value, from_lhe.xsec(theta).value, rtol=3e-3)


def test_several_workers_share_a_file_and_make_the_same_bytes(files, selection, tmp_path):
    sample = Sample(files / "sm.root", benchmark="sm", weight_names=LHEReader(files / "sm.lhe.gz").info().weight_names)
    stored(sample, selection, tmp_path / "one.zarr")
    stored(sample, selection, tmp_path / "two.zarr", workers=2)
    one = contents(tmp_path / "one.zarr")
    assert one == contents(tmp_path / "two.zarr")
    assert len(one) > 3


def test_level_and_order_of_weights_belong_to_the_configuration(files, tmp_path):
    """An unfinished or finished store of other options is not taken for this one."""
    names = list(LHEReader(files / "sm.lhe.gz").info().weight_names)
    selection = Selection({"n": "len(mu)"})
    sample = Sample(files / "sm.root", benchmark="sm", weight_names=names)
    store = stored(sample, selection, tmp_path / "s.zarr")
    assert len(stored(sample, selection, tmp_path / "s.zarr")) == len(store)
    for other in ({"weight_names": [*names[:-2], names[-1], names[-2]]}, {"reading": {"level": "generator"}}):
        changed = Sample(files / "sm.root", **{"benchmark": "sm", "weight_names": names, **other})
        with pytest.raises(OutputExistsError, match=r"weight_names|reading"):
            stored(changed, selection, tmp_path / "s.zarr")
    with pytest.raises(UnknownNameError, match="no option 'lvel'"):
        stored(Sample(files / "sm.root", benchmark="sm", reading={"lvel": "x"}), selection, tmp_path / "t.zarr")


def test_files_are_deleted_on_request_when_the_store_is_complete(files, selection, tmp_path):
    path = tmp_path / "sm.root"
    path.write_bytes((files / "sm.root").read_bytes())
    given = {"benchmark": "sm", "weights_from": files / "sm.lhe.gz"}
    kept = stored(Sample(path, **given), selection, tmp_path / "kept.zarr")
    assert path.exists(), "never by default"
    broken = tmp_path / "cut.lhe.gz"
    PROCESS.write_lhe(broken, N - 10, "sm", seed=2)
    with pytest.raises(RuntimeError, match="only 2990 events"):
        stored(Sample(path, benchmark="sm", weights_from=broken, delete_after_reading=True), selection, tmp_path / "b")
    assert path.exists(), "not before all is done"
    store = stored(Sample(path, **given, delete_after_reading=True), selection, tmp_path / "gone.zarr")
    assert not path.exists()
    assert (files / "sm.lhe.gz").exists()
    assert np.array_equal(store.weights[:], kept.weights[:])
    assert store.hash == kept.hash


def test_weights_of_other_events_are_refused(files, tmp_path):
    """Event numbers tell, where both files have them; numbers of events tell always."""
    batch = next(iter(LHEReader(files / "sm.lhe.gz").batches(size=500)))
    path = write_delphes(tmp_path / "few.root", EventBatch(batch.events, batch.weights, batch.weight_names))
    sample = Sample(path, benchmark="sm", weights_from=files / "sm.lhe.gz", cross_section=1.0)
    with pytest.raises(RuntimeError, match=r"few.root: has 500 events, fewer than"):
        stored(sample, Selection({"n": "len(mu)"}), tmp_path / "s.zarr")


def test_events_that_were_lost_on_the_way_are_found_by_their_numbers(files, tmp_path):
    batch = next(iter(LHEReader(files / "sm.lhe.gz").batches()))
    kept = np.sort(np.random.default_rng(4).choice(N, N - 500, replace=False))
    columns = {name: array[kept] for name, array in delphes_columns(batch).items()}
    path = write_tree(tmp_path / "lossy.root", columns)
    found = next(iter(open_reader(path, weights_from=files / "sm.lhe.gz").batches(size=N)))
    assert np.array_equal(found.weights, batch.weights[kept])


def test_without_weights_at_the_benchmarks_there_is_no_store(files, selection, tmp_path):
    with pytest.raises(RuntimeError, match="no weight for benchmark"):
        stored(Sample(files / "sm.root", benchmark="sm"), selection, tmp_path / "s.zarr")
    with pytest.raises(FileFormatError, match="2 weight names are given"):
        stored(Sample(files / "sm.root", benchmark="sm", weight_names=["a", "b"]), selection, tmp_path / "s.zarr")
