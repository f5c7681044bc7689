"""HDF5 in the layout of alea. The files in tests/data/alea were written by alea 0.3.5 (inference_interface 0.0.1)."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from analytic_likelihoods import Gaussian, OnOff

import columnminer as cm
from columnminer.errors import ColumnMinerError, FileFormatError, InputError
from columnminer.infer.batches import pick, stack
from columnminer.infer.events import Events
from columnminer.model.parameters import Parameter
from columnminer.toys.alea_files import read_datasets, read_toys, store_real_data, write_datasets, write_toys
from columnminer.toys.alea_results import read_alea_results, write_alea_result, write_alea_results
from columnminer.toys.results import FitTable, PointResult

PARAMETERS = [
    *("er_band_shift", "er_rate_multiplier", "livetime_sr0", "livetime_sr1", "signal_efficiency", "wimp_mass"),
    "wimp_rate_multiplier",
]


# Toy data ------------------------------------------------------------------------------------------------------------


def test_toy_data_of_alea_are_read(data):
    toys = read_datasets(data / "alea" / "alea_toydata.ii.h5")
    assert len(toys) == 2
    for toy in toys:
        assert list(toy) == ["sr0", "sr1", "ancillary", "generate_values"]
        assert toy["sr1"].dtype.names == ("cs1", "cs2", "source")
        assert list(toy["generate_values"].dtype.names) == PARAMETERS
        assert toy["generate_values"]["er_rate_multiplier"] == 0.05
        assert toy["generate_values"]["wimp_mass"] == 50.0
        assert set(toy["sr1"]["source"].tolist()) <= {0, 1}
    assert [len(toy["sr1"]) for toy in toys] == [7, 6]
    assert [len(toy["sr1"]) for toy in read_datasets(data / "alea" / "alea_toydata.ii.h5", [1])] == [6]


def test_toy_data_are_written_as_alea_writes_them(data, tmp_path):
    theirs = data / "alea" / "alea_toydata.ii.h5"
    write_datasets(tmp_path / "ours.h5", read_datasets(theirs), metadata={"version": "0.0", "date": "some day"})
    with h5py.File(theirs) as a, h5py.File(tmp_path / "ours.h5") as b:
        names = {file: [] for file in (a, b)}
        for file, found in names.items():
            file.visit(found.append)
        assert names[a] == names[b]
        for name in ("n_datasets", "dataset_names", "version"):
            assert a.attrs[name] == b.attrs[name]
        assert set(a.attrs) == set(b.attrs)
        for name in names[a]:
            if isinstance(a[name], h5py.Dataset):
                assert a[name].dtype == b[name].dtype
                np.testing.assert_array_equal(a[name][()], b[name][()])


def test_the_same_toys_are_the_same_file(tmp_path):
    toys = [{"a": np.arange(3.0), "b": {"x": np.arange(2), "y": np.ones(2)}}]
    write_datasets(tmp_path / "1.h5", toys)
    write_datasets(tmp_path / "2.h5", toys)
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "2.h5").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.h5", "2.h5"], "nothing else is left"


def test_toys_of_any_likelihood_come_back(tmp_path):
    gaussian = Gaussian([Parameter("a"), Parameter("b")], np.eye(2))
    product = OnOff([10.0], [5.0], [1.0]) * gaussian
    for name, model in {"one": gaussian, "two": product}.items():
        made = model.simulate_many(3, np.arange(4))
        write_toys(tmp_path / name, model, [pick(made, np.array(i)) for i in range(4)], generate={model.names[0]: 0.5})
        back = read_toys(tmp_path / name, model, [2, 0])
        for i, toy in zip((2, 0), back, strict=True):
            given = pick(made, np.array(i))
            np.testing.assert_array_equal(model.log_likelihood(None, toy), model.log_likelihood(None, given))
        truth = read_datasets(tmp_path / name)[0]["generate_values"]
        assert sorted(truth.dtype.names) == list(truth.dtype.names)
        assert truth[model.names[0]] == 0.5
    with pytest.raises(InputError, match="the model takes 2"):
        read_toys(tmp_path / "one", product)
    with pytest.raises(InputError, match="holds 4 toys"):
        read_toys(tmp_path / "one", gaussian, range(5))


def test_events_of_a_store_come_back_as_events(tmp_path):
    events = Events(np.arange(6.0).reshape(3, 2), ("m_ll", "y_ll"))
    gaussian = Gaussian([Parameter("mu")], np.eye(1))
    write_toys(tmp_path / "e.h5", gaussian, [events, Events(np.empty((0, 2)), events.names)])
    first, second = read_toys(tmp_path / "e.h5", gaussian)
    assert isinstance(first, Events)
    assert first.names == ("m_ll", "y_ll")
    np.testing.assert_array_equal(first.x, events.x)
    assert second.x.shape == (0, 2)


@pytest.fixture(scope="module")
def wimps(shared):
    """The model that the files of alea are of."""
    path = shared / "alea" / "configs" / "unbinned_wimp_statistical_model.yaml"
    return cm.load_alea(path, wimp_mass=50, livetime_sr0=0.02, livetime_sr1=0.03)


def test_a_model_fits_the_toys_of_alea_as_alea_did(wimps, data):
    model, theirs = wimps, read_alea_results(data / "alea" / "alea_toymc.ii.h5")
    toys = [model.as_data(toy) for toy in read_toys(data / "alea" / "alea_toydata.ii.h5", model)]
    for fits in theirs.fits.values():
        for i, toy in enumerate(toys):
            there = dict(zip(theirs.parameter_names, fits.values[i], strict=True))
            assert model.log_likelihood(there, toy) == pytest.approx(fits.log_likelihood[i], rel=1e-9)
        ours = cm.fit_batch(model, stack(toys), start=dict(theirs.generate), **fits.held)
        assert ours.converged.all()
        assert (ours.log_likelihood > fits.log_likelihood - 1e-4).all()
    ours = cm.interval_batch(model, theirs.poi, stack(toys), level=0.9)
    np.testing.assert_allclose(np.stack([ours.lower, ours.upper], axis=1), theirs.intervals, rtol=1e-2, atol=1e-2)


def test_toys_of_a_template_model_come_back(wimps, tmp_path):
    made = [wimps.simulate(i, wimp_rate_multiplier=3.0) for i in range(3)]
    write_toys(tmp_path / "t.h5", wimps, made, generate={"wimp_rate_multiplier": 3.0})
    raw = read_datasets(tmp_path / "t.h5")[0]
    assert list(raw) == ["sr0", "sr1", "ancillary", "generate_values"]
    assert raw["sr1"].dtype.names == ("cs1", "cs2", "source")
    assert raw["ancillary"].dtype.names == ("er_band_shift", "er_rate_multiplier", "signal_efficiency")
    assert list(raw["generate_values"].dtype.names) == PARAMETERS
    # A toy may be a tuple, a list or a mapping, too.
    for form, same in {"list": list(made[0]), "mapping": wimps.named(made[0])}.items():
        write_toys(tmp_path / form, wimps, [same], generate={"wimp_rate_multiplier": 3.0})
        np.testing.assert_array_equal(read_datasets(tmp_path / form)[0]["sr1"], raw["sr1"])
        np.testing.assert_array_equal(read_datasets(tmp_path / form)[0]["ancillary"], raw["ancillary"])
    for given, back in zip(made, read_toys(tmp_path / "t.h5", wimps), strict=True):
        assert wimps.log_likelihood(None, back) == wimps.log_likelihood(None, given)


def test_real_data_are_stored_beside_toys(wimps, data, tmp_path):
    toy = read_datasets(data / "alea" / "alea_toydata.ii.h5")[0]
    observed = {"sr0": toy["sr0"], "sr1": toy["sr1"]}
    store_real_data(tmp_path / "data.h5", wimps, observed, metadata={"version": "1"})
    (back,) = read_datasets(tmp_path / "data.h5")
    assert list(back) == ["sr0", "sr1", "ancillary"]
    np.testing.assert_array_equal(back["sr1"], observed["sr1"])
    measured = {name: back["ancillary"][name].item() for name in back["ancillary"].dtype.names}
    assert measured == {"er_band_shift": 0.0, "er_rate_multiplier": 1.0, "signal_efficiency": 1.0}, "nominal values"
    store_real_data(tmp_path / "same.h5", wimps, list(observed.values()), metadata={"version": "1"})
    assert (tmp_path / "same.h5").read_bytes() == (tmp_path / "data.h5").read_bytes()
    best = cm.fit(wimps.with_data(read_toys(tmp_path / "data.h5", wimps)[0]))
    assert best.by_name == cm.fit(wimps.with_data(observed)).by_name


def test_recorded_events_need_no_source(wimps, data, tmp_path):
    toy = read_datasets(data / "alea" / "alea_toydata.ii.h5")[0]
    observed = {name: toy[name][["cs1", "cs2"]] for name in ("sr0", "sr1")}
    store_real_data(tmp_path / "data.h5", wimps, observed)
    (back,) = read_toys(tmp_path / "data.h5", wimps)
    assert back["sr1"].dtype.names == ("cs1", "cs2", "source")
    assert (back["sr1"]["source"] == -1).all()
    assert wimps.log_likelihood(None, back) == wimps.log_likelihood(None, observed)


def test_real_data_of_something_else_are_refused(wimps, tmp_path):
    good = np.zeros(1, dtype=[("cs1", float), ("cs2", float), ("source", int)])
    with pytest.raises(InputError, match="sr0, sr1"):
        store_real_data(tmp_path / "d.h5", wimps, [good])
    with pytest.raises(InputError, match="'sr1' have the fields"):
        store_real_data(tmp_path / "d.h5", wimps, [good, np.zeros(1, dtype=[("cs2", float)])])
    assert not (tmp_path / "d.h5").exists()


def test_toys_that_do_not_fit_together_are_refused(tmp_path):
    for toys in ([], [{"a": np.zeros(1)}, {"b": np.zeros(1)}]):
        with pytest.raises(InputError, match="same names"):
            write_datasets(tmp_path / "x.h5", toys)
    with pytest.raises(InputError, match="differ in length"):
        write_datasets(tmp_path / "x.h5", [{"a": {"x": [1, 2], "y": [1]}}])
    with pytest.raises(InputError, match="no array"):
        write_datasets(tmp_path / "x.h5", [{"a": object()}])
    assert not list(tmp_path.iterdir()), "and nothing half-written is left"


def broken(path, how):
    with h5py.File(path, "w") as file:
        if how == "nothing":
            return
        file.attrs["dataset_names"] = json.dumps(["a"]) if how != "names" else "["
        file.attrs["n_datasets"] = json.dumps(2 if how != "number" else "two")
        file["0/a"] = np.zeros(1)


@pytest.mark.parametrize("how", ["nothing", "names", "number", "missing"])
def test_files_that_break_the_layout_are_refused(tmp_path, how):
    broken(tmp_path / "b.h5", how)
    with pytest.raises(FileFormatError, match=r"b\.h5"):
        read_datasets(tmp_path / "b.h5")
    (tmp_path / "t.h5").write_text("no HDF5")
    with pytest.raises(FileFormatError, match=r"t\.h5"):
        read_datasets(tmp_path / "t.h5")


# Results -------------------------------------------------------------------------------------------------------------


def test_results_of_alea_are_read(data):
    point = read_alea_results(data / "alea" / "alea_toymc.ii.h5")
    assert point.poi == "wimp_rate_multiplier"
    assert list(point.parameter_names) == PARAMETERS
    assert set(point.fits) == {"free", "zero", "true", "3"}
    assert next(iter(point.fits)) == "free"
    assert point.generate["wimp_rate_multiplier"] == pytest.approx(20.0, rel=1e-6)
    assert point.poi_expectation == pytest.approx(10.0)
    assert point.nominal == {"wimp_mass": 50, "livetime_sr0": 0.02, "livetime_sr1": 0.03}
    assert point.fits["3"].held == {"wimp_rate_multiplier": pytest.approx(30.0, rel=1e-6)}
    np.testing.assert_array_equal(point.values(point.poi, "zero"), 0.0)
    t = point.statistic("zero")
    assert (t > 0.0).all()
    ends = point.intervals
    best = point.values(point.poi)
    assert ((ends[:, 0] <= best) & (best <= ends[:, 1])).all()
    assert point.fits["true"].interval is None


def test_results_are_written_as_alea_writes_them(data, tmp_path):
    theirs = data / "alea" / "alea_toymc.ii.h5"
    write_alea_result(tmp_path / "ours.h5", read_alea_results(theirs), seed=1)
    with h5py.File(theirs) as a, h5py.File(tmp_path / "ours.h5") as b:
        assert set(a.attrs) - {"date"} == set(b.attrs), "which no result depends on"
        assert {k: json.loads(a.attrs[k]) for k in b.attrs} == {k: json.loads(b.attrs[k]) for k in b.attrs}
        assert set(a["fits"]) == set(b["fits"])
        for name in a["fits"]:
            assert a["fits"][name].dtype == b["fits"][name].dtype
            assert a["fits"][name][()].tobytes() == b["fits"][name][()].tobytes()
            assert dict(a["fits"][name].attrs) == dict(b["fits"][name].attrs)


def result(mu, n=3, **changes):
    rng = np.random.default_rng(int(10 * mu))
    names = ("nu", "mu")
    tables = {
        name: FitTable(held, rng.normal(size=(n, 2)), rng.normal(size=n), np.arange(n) > 0, np.zeros(n, bool), ends)
        for name, held, ends in (("free", {}, rng.normal(size=(n, 2))), ("true", {"mu": mu}, None))
    }
    return PointResult({"mu": mu}, {}, "mu", names, tables, **changes)


def test_results_come_back(tmp_path):
    given = result(1.5, expected={"mu": 3.0}, metadata={"who": "me", "n": [1, 2]})
    write_alea_result(tmp_path / "r.h5", given)
    back = read_alea_results(tmp_path / "r.h5")
    assert back.parameter_names == ("mu", "nu"), "in alphabetical order"
    assert back.metadata == given.metadata
    assert back.poi_expectation == 3.0
    for name, fits in given.fits.items():
        np.testing.assert_array_equal(back.fits[name].values, fits.values[:, ::-1])
        np.testing.assert_array_equal(back.fits[name].log_likelihood, fits.log_likelihood)
        np.testing.assert_array_equal(back.fits[name].valid, fits.valid)
    np.testing.assert_array_equal(back.intervals, given.intervals)


def test_a_file_for_each_point_is_written_and_batches_are_joined(tmp_path):
    points = [result(0.5), result(2.0)]
    paths = write_alea_results(points, tmp_path / "deep", "toys_{mu:.1f}.h5", seed=3)
    assert [p.name for p in paths] == ["toys_0.5.h5", "toys_2.0.h5"]
    for i in range(2):
        write_alea_result(tmp_path / f"batch_{i}.h5", result(0.5))
    joined = read_alea_results(str(tmp_path / "batch_*.h5"))
    assert len(joined) == 6
    different = (
        r"toys_2.0.h5: holds the results of another point than .*toys_0.5.h5: true mu is 2.0, not 0.5; hypothesis"
    )
    with pytest.raises(InputError, match=different) as caught:
        read_alea_results(str(tmp_path / "deep" / "toys_*.h5"))
    assert "Read each point by itself" in str(caught.value)
    assert [read_alea_results(path).generate["mu"] for path in paths] == [0.5, 2.0]
    with pytest.raises(InputError, match="no files"):
        read_alea_results(str(tmp_path / "none_*.h5"))
    with pytest.raises(InputError, match="two points"):
        write_alea_results(points, tmp_path, "toys.h5")


def test_other_files_are_no_results(data, tmp_path):
    with pytest.raises(ColumnMinerError, match=r"holds no results|no JSON"):
        read_alea_results(data / "alea" / "alea_toydata.ii.h5")
    write_alea_result(tmp_path / "r.h5", result(1.0))
    with h5py.File(tmp_path / "r.h5", "a") as file:
        del file["fits/true"]
        file["fits/true"] = np.zeros(2, dtype=[("mu", float)])
        file["fits/true"].attrs["hypotheses_values"] = "{}"
    with pytest.raises(FileFormatError, match="columns of 'fits/true'"):
        read_alea_results(tmp_path / "r.h5")
