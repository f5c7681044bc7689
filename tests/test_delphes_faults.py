"""Delphes files that are not what they should be: named errors, and the other files carry on."""

from __future__ import annotations

import shutil

import awkward as ak
import numpy as np
import pytest
import uproot
from delphes_files import delphes_columns, without, write_delphes, write_tree
from toy_events import batch_of, drawn

from columnminer.errors import FileFormatError, InputError, TaskError
from columnminer.formats.delphes import DelphesReader
from columnminer.formats.opening import open_reader
from columnminer.model.parameters import Parameter, ParameterSpace
from columnminer.model.setup import Setup
from columnminer.observe.selection import Selection
from columnminer.processing import process
from columnminer.store.samples import Sample

N = 300


@pytest.fixture(scope="module")
def toys():
    return batch_of(drawn(N, seed=8), weights=np.random.default_rng(2).uniform(0.5, 2, (N, 3)))


@pytest.fixture(scope="module")
def columns(toys):
    return delphes_columns(toys, cross_section=2.0, weights=toys.weights)


@pytest.fixture(scope="module")
def good(columns, tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("delphes") / "good.root", columns, steps=100)


def read(path, **options):
    return list(open_reader(path, **options).batches(size=100))


def basket_of(path, branch, number):
    """Return where a basket of a branch lies in the file: first byte of its (compressed) data, and behind the last."""
    with uproot.open(path) as file:
        b = file["Delphes"][branch]
        start, n = int(b.member("fBasketSeek")[number]), int(b.member("fBasketBytes")[number])
    return start + 80, start + n


def test_a_corrupt_basket_is_named_with_its_events(good, tmp_path):
    path = tmp_path / "corrupt.root"
    data = bytearray(good.read_bytes())
    start, stop = basket_of(good, "Jet.PT", 1)
    data[start : stop - 10] = bytes(255 - byte for byte in data[start : stop - 10])
    path.write_bytes(data)
    batches = DelphesReader(path).batches(size=100)
    assert len(next(batches)) == 100
    message = r"corrupt.root: branch 'Jet.PT' is damaged, or was cut, in events 100 to 199 \(counted from 0\)"
    with pytest.raises(FileFormatError, match=message):
        next(batches)
    # Who reads past it, or does not want jets, does not meet it.
    assert len(next(DelphesReader(path).batches(size=100, skip=200))) == 100
    assert sum(len(batch) for batch in DelphesReader(path, branches={"j": "GenJet"}).batches()) == N


@pytest.mark.parametrize("keep", [3, 60, 300, 2_000, 20_000, -2_000, -100])
def test_a_file_that_was_cut(good, tmp_path, keep):
    path = tmp_path / "cut.root"
    path.write_bytes(good.read_bytes()[:keep])
    with pytest.raises(FileFormatError, match=r"cut\.root"):
        read(path)


def test_bytes_that_flip_never_raise_what_is_not_ours(good, tmp_path):
    """In headers of trees and keys a flip may lead uproot anywhere."""
    path, data, rng = tmp_path / "flip.root", good.read_bytes(), np.random.default_rng(3)
    reasons = []
    for place in rng.integers(4, len(data), 40):
        flipped = bytearray(data)
        flipped[place : place + 8] = rng.bytes(8)
        path.write_bytes(flipped)
        try:
            read(path)
        except (FileFormatError, InputError) as error:
            reasons.append(str(error))
    assert len(reasons) > 8
    assert all("flip.root" in reason for reason in reasons)


def test_no_file_an_empty_one_and_a_foreign_one(tmp_path):
    with pytest.raises(InputError, match=r"cannot open .*nothing\.root"):
        open_reader(tmp_path / "nothing.root")
    with pytest.raises(InputError, match=r"cannot open .*nothing\.root"):
        DelphesReader(tmp_path / "nothing.root").info()
    (tmp_path / "empty.root").touch()
    with pytest.raises(FileFormatError, match=r"empty\.root"):
        open_reader(tmp_path / "empty.root")
    (tmp_path / "text.root").write_text("not a ROOT file")
    for opened in (open_reader, lambda path: DelphesReader(path).info()):
        with pytest.raises(FileFormatError, match=r"text\.root"):
            opened(tmp_path / "text.root")


def test_a_missing_tree(columns, tmp_path):
    path = write_tree(tmp_path / "other.root", columns, tree="Delfes")
    with pytest.raises(FileFormatError, match=r"other\.root: a ROOT file without a tree of events .*: Delfes"):
        open_reader(path)
    with pytest.raises(FileFormatError, match=r"there is no tree 'Delphes'. Did you mean 'Delfes'"):
        DelphesReader(path).info()
    with uproot.recreate(tmp_path / "none.root") as file:
        file["h"] = np.histogram([1.0, 2.0])
    with pytest.raises(FileFormatError, match=r"none\.root: there is no tree 'Delphes'. There are no trees at all"):
        DelphesReader(tmp_path / "none.root").info()


def test_branches_of_another_schema(columns, tmp_path):
    texts = dict(columns)
    texts["Electron"] = ak.zip({f: columns["Electron"][f] for f in ("PT", "Eta", "Phi")})
    with uproot.recreate(tmp_path / "text.root") as file:
        file.mktree("Delphes", {"Electron.PT": "string", "Electron.Eta": np.float32, "Electron.Phi": np.float32})
        file["Delphes"].extend(
            {"Electron.PT": ["x"], "Electron.Eta": np.ones(1, "f4"), "Electron.Phi": np.ones(1, "f4")}
        )
    with pytest.raises(
        FileFormatError, match=r"branch 'Electron.PT' must hold numbers, any number of them per event, not"
    ):
        read(tmp_path / "text.root")


def test_records_that_disagree(columns, tmp_path):
    with uproot.recreate(tmp_path / "odd.root") as file:
        pt, eta = ak.Array([[1.0], [2.0, 3.0]]), ak.Array([[1.0, 2.0], [3.0]])
        file.mktree(
            "Delphes", {"Photon.PT": pt.type.content, "Photon.Eta": pt.type.content, "Photon.Phi": pt.type.content}
        )
        file["Delphes"].extend({"Photon.PT": pt, "Photon.Eta": eta, "Photon.Phi": pt})
    message = r"event 0 \(counted from 0\) has 1 records in branch Photon.PT, but 2 in Photon.Eta"
    with pytest.raises(FileFormatError, match=message):
        read(tmp_path / "odd.root")


def test_two_records_of_what_an_event_has_once(columns, tmp_path):
    twice = dict(columns)
    counts = np.where(np.arange(N) == 7, 2, 1)
    twice["Event"] = ak.unflatten(np.repeat(ak.flatten(columns["Event"]), counts), counts)
    path = write_tree(tmp_path / "twice.root", twice)
    with pytest.raises(FileFormatError, match=r"event 7 \(counted from 0\) has 2 records in Event.Weight, not 1"):
        read(path)


def test_weights_fewer_than_declared(columns, good, tmp_path):
    with pytest.raises(FileFormatError, match="5 weight names are given, but its first event has 3 weights"):
        open_reader(good, weight_names=list("abcde")).info()
    path = write_tree(tmp_path / "none.root", without(columns, "Weight"))
    with pytest.raises(FileFormatError, match="2 weight names are given, but it has no branch Weight"):
        open_reader(path, weight_names=["a", "b"]).info()
    counts = np.where(np.arange(N) == 150, 2, 3)
    keep = np.arange(3) < counts[:, np.newaxis]
    fewer = {**columns, "Weight": ak.unflatten(ak.flatten(columns["Weight"])[keep.ravel()], counts)}
    batches = open_reader(write_tree(tmp_path / "f.root", fewer), weight_names=["a", "b", "c"]).batches(size=100)
    assert len(next(batches)) == 100
    with pytest.raises(
        FileFormatError, match=r"event 150 \(counted from 0\) has 2 weights .* but 3 are declared: a, b, c"
    ):
        next(batches)


def test_a_tree_without_events(columns, tmp_path):
    path = write_tree(tmp_path / "empty.root", {name: array[:0] for name, array in columns.items()})
    assert read(path) == []
    info = open_reader(path, weight_names=["a", "b", "c"]).info()
    assert (info.n_events, info.cross_section, info.weight_names[1:]) == (0, None, ("a", "b", "c"))


def test_other_files_carry_on(toys, good, tmp_path):
    """One damaged file is reported; the other is read, kept, and there when the damaged one has been replaced."""
    setup = Setup(ParameterSpace([Parameter("c", bounds=(-1, 1))]), {"sm": {"c": 0.0}})
    corrupt = tmp_path / "corrupt.root"
    data = bytearray(good.read_bytes())
    start, stop = basket_of(good, "Electron.PT", 2)
    data[start : stop - 10] = bytes(255 - byte for byte in data[start : stop - 10])
    corrupt.write_bytes(data)
    whole = write_delphes(tmp_path / "whole.root", batch_of(drawn(N, seed=9)), cross_section=2.0)
    samples = [Sample(corrupt, benchmark="sm", name="first"), Sample(whole, benchmark="sm", name="second")]
    selection = Selection({"n": "len(e)"})
    with pytest.raises(TaskError, match=r"1 of 2 failed:\n.*Electron.PT.* events 200 to 299") as caught:
        process(samples, setup, selection, tmp_path / "s.zarr", part_size=100, progress=False)
    assert "whole.root" not in str(caught.value)
    whole.rename(tmp_path / "moved.root")
    shutil.copy(good, corrupt)
    samples = [samples[0], Sample(tmp_path / "moved.root", benchmark="sm", name="second")]
    store = process(samples, setup, selection, tmp_path / "s.zarr", part_size=100, progress=False)
    assert len(store) == 2 * N
