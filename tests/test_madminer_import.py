"""MadMiner's files, and its numbers on them (`oracle.json`; units and faults in the README beside it)."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from columnminer.errors import ColumnMinerWarning, FileFormatError, OutputExistsError
from columnminer.model.systematics import NormalisationUncertainty, ScaleUncertainty, WeightVariation
from columnminer.store.madminer import import_madminer, load_madminer_setup


@pytest.fixture(scope="module")
def vbf(shared):
    return shared / "vbf"


@pytest.fixture(scope="module")
def oracle(vbf):
    return json.loads((vbf / "oracle.json").read_text())


@pytest.fixture(scope="module")
def with_nuisances(vbf):
    return json.loads((vbf / "oracle_systematics.json").read_text())


@pytest.fixture(scope="module")
def store(vbf, tmp_path_factory):
    return import_madminer(vbf / "madminer_lhe_nosmear.h5", tmp_path_factory.mktemp("s") / "nosmear.zarr")


@pytest.fixture(scope="module")
def varied(vbf, tmp_path_factory):
    return import_madminer(vbf / "madminer_lhe_systematics.h5", tmp_path_factory.mktemp("s") / "systematics.zarr")


def assert_agrees(ours, theirs):
    """Within 1e-8 of the largest entry."""
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-8 * np.abs(theirs).max())


def test_set_up(vbf, oracle):
    setup = load_madminer_setup(vbf / "madminer_setup.h5")
    assert setup.parameter_names == ("CWL2", "CPWL2")
    assert setup.space["CWL2"].lha == ("dim6", 2)
    assert setup.space["CPWL2"].transform == "16.52*theta"
    np.testing.assert_array_equal(setup.space.bounds, [[-20, 20], [-20, 20]])
    assert list(setup.benchmark_names) == list(oracle["benchmarks"])
    assert_agrees(setup.morphing.matrix, np.array(oracle["morphing_matrix"]))
    assert setup.systematics == ()


def test_set_up_with_systematics(vbf):
    setup = load_madminer_setup(vbf / "madminer_setup_systematics.h5")
    assert setup.systematics == (
        NormalisationUncertainty("signal_norm", 0.1),
        ScaleUncertainty("scales", "mu", (0.5, 1.0, 2.0)),
    )


def test_columns_and_samples(store, oracle):
    assert len(store) == oracle["n_samples"]
    assert list(store.observable_names) == oracle["observables"]
    assert_agrees(store.observables[:5], np.array(oracle["first5_observations"]))
    assert_agrees(store.weights[:5], np.array(oracle["first5_weights"]))
    assert_agrees(store.weights[:].sum(axis=0), np.array(oracle["sum_weights_raw"]))
    generated = [n for n in oracle["n_events_generated_per_benchmark"] if n]
    assert [s.n_generated for s in store.samples] == generated
    assert [s.benchmark for s in store.samples] == ["sm", "w", "neg_w", "ww", "neg_ww"]


def test_cross_sections_at_benchmarks(store, oracle):
    result = store.xsec()
    assert_agrees(result.value, np.array(oracle["xsecs_benchmarks"]["values"]))
    assert_agrees(result.error, np.array(oracle["xsecs_benchmarks"]["uncertainties"]))


@pytest.mark.parametrize(
    ("entry", "partition", "scale"),
    [
        ("xsecs_thetas", "all", 1.0),
        # MadMiner's train events are the first 60 % of the file, also where `test_split` alone is given.
        ("xsecs_thetas_train_split0.2", slice(0, 24_000), 1.0),
        # Its test events begin one late, and are scaled by 5 all the same: we scale by 40000 / 7999.
        ("xsecs_thetas_test_split0.2", slice(32_001, None), 5 * 7999 / 40_000),
    ],
)
def test_cross_sections(store, oracle, entry, partition, scale):
    thetas = oracle["xsecs_thetas"]["thetas"]
    assert_agrees(store.xsec(thetas, partition=partition).value * scale, np.array(oracle[entry]["values"]))


def test_cross_sections_from_the_closest_benchmark(store, oracle):
    thetas = oracle["xsecs_thetas"]["thetas"]
    assert_agrees(
        store.xsec(thetas, closest_to=[0.0, 0.0]).value,
        np.array(oracle["xsecs_thetas_generated_close_to_sm"]["values"]),
    )


def test_errors_are_those_of_the_morphed_weights(store, oracle):
    """MadMiner morphs squared weights as if they were weights, and clips what comes out negative.

    Its error is sqrt(sum_e sum_b w_b(theta) W_eb^2), exactly 0 at (10, 10). Ours is sqrt(sum_e (sum_b w_b W_eb)^2): the
    standard error of a sum over a Poisson-distributed number of events with weights W_e(theta).
    """
    thetas = oracle["xsecs_thetas"]["thetas"]
    weights = np.concatenate([b.benchmark_weights for b in store.blocks()])
    morphing = np.array(oracle["morphing_weights"])
    theirs = np.sqrt(np.maximum(morphing @ (weights**2).sum(axis=0), 0.0))
    assert_agrees(theirs, np.array(oracle["xsecs_thetas"]["uncertainties"]))
    assert theirs[2] == 0.0
    ours = store.xsec(thetas).error
    np.testing.assert_allclose(ours, np.sqrt(((weights @ morphing.T) ** 2).sum(axis=0)), rtol=1e-12)
    np.testing.assert_allclose(ours, [2.555293e-05, 2.305516e-04, 1.278329e-03], rtol=1e-6)


def test_gradients(store, oracle):
    assert_agrees(store.xsec_gradients(oracle["xsecs_thetas"]["thetas"]), np.array(oracle["xsec_gradients"]))


def test_partition_in_order(vbf, tmp_path, oracle):
    store = import_madminer(vbf / "madminer_lhe_nosmear.h5", tmp_path / "s.zarr", partition="in_order")
    thetas = oracle["xsecs_thetas"]["thetas"]
    assert_agrees(
        store.xsec(thetas, partition="train").value, np.array(oracle["xsecs_thetas_train_split0.2"]["values"])
    )
    assert store.n_events("test") == 8000


def test_shuffled_events_give_the_same(vbf, store, tmp_path):
    shuffled = import_madminer(vbf / "madminer_lhe_nosmear_shuffled.h5", tmp_path / "s.zarr")
    assert_agrees(shuffled.xsec([[5.0, -3.0]]).value, store.xsec([[5.0, -3.0]]).value)
    assert [s.partition_counts for s in shuffled.samples] == [s.partition_counts for s in store.samples]


def test_nuisance_weights(varied, with_nuisances):
    assert varied.nuisance_names == ("signal_norm", "scales")
    names = list(with_nuisances["benchmarks"])
    sums = dict(zip(names, with_nuisances["sum_weights"], strict=True))
    assert_agrees(varied.weights[:].sum(axis=0), np.array([sums[n] for n in names[:6]]))
    block = next(varied.blocks())
    columns = ["signal_norm_nuisance_param_0_benchmark_0", *(f"scales_nuisance_param_0_benchmark_{i}" for i in (0, 1))]
    assert_agrees(block.nuisance_weights.sum(axis=0), np.array([sums[n] for n in columns]))


def test_cross_sections_with_nuisances(varied, with_nuisances):
    """MadMiner multiplies squared weights with the nuisance factor once; the error needs its square.

    At nu = (1, 0) all weights are multiplied with 1.1: its error grows by sqrt(1.1), ours by 1.1.
    """
    entry = with_nuisances["xsecs_theta0_at_nus"]
    result = varied.xsec([[0.0, 0.0]] * 4, entry["nus"])
    assert_agrees(result.value, np.array(entry["values"]))
    theirs = np.array(entry["uncertainties"])
    assert result.error[0] == pytest.approx(theirs[0], rel=1e-10)
    assert theirs[1] / theirs[0] == pytest.approx(np.sqrt(1.1), rel=1e-10)
    assert result.error[1] / result.error[0] == pytest.approx(1.1, rel=1e-10)
    np.testing.assert_allclose(result.error, [1.592424e-05, 1.751667e-05, 1.524363e-05, 1.754470e-05], rtol=1e-6)


def test_gradients_with_nuisances(varied, with_nuisances):
    nus = with_nuisances["xsecs_theta0_at_nus"]["nus"]
    ours = varied.xsec_gradients([[0.0, 0.0]] * 4, nus)
    assert_agrees(ours, np.array(with_nuisances["xsec_gradients_theta_nu"]))


def test_nuisance_factors(varied, with_nuisances):
    block = next(varied.blocks())
    factors = block.weights("sm", [0.5, -1.0])[0] / block.weights("sm")[0]
    assert_agrees(factors[:5], np.array(with_nuisances["nuisance_morphing_a"]))


def small_file(path, backgrounds=2, reference=0):
    """Write a file as MadMiner does: two benchmarks, one PDF-like nuisance parameter, background events."""
    texts = lambda *names: np.array(names, dtype="S256")  # noqa: E731
    with h5py.File(path, "w") as f:
        f["parameters/names"], f["parameters/lha_blocks"] = texts("c"), texts("dim6")
        f["parameters/lha_ids"], f["parameters/max_power"] = [1], [2]
        f["parameters/transforms"], f["parameters/val_ranges"] = texts(""), [[-1.0, 1.0]]
        f["benchmarks/names"] = texts("zero", "one", "eigen_up", "eigen_down")
        f["benchmarks/values"] = [[0.0], [1.0], [0.0], [0.0]]
        f["benchmarks/is_nuisance"] = [0, 0, 1, 1]
        f["benchmarks/is_reference"] = [int(i == reference) for i in range(4)]
        f["systematics/names"], f["systematics/types"] = texts("pdf"), texts("pdf")
        f["systematics/values"], f["systematics/scales"] = texts("CT10"), texts("None")
        f["nuisance_parameters/names"], f["nuisance_parameters/systematics"] = texts("pdf_0"), texts("pdf")
        f["nuisance_parameters/benchmark_positive"] = texts("eigen_up")
        f["nuisance_parameters/benchmark_negative"] = texts("eigen_down")
        f["observables/names"] = texts("x")
        f["samples/observations"] = np.arange(6.0)[:, None]
        f["samples/weights"] = np.array([[1.0, 2.0, 1.1, 0.9]] * 6) * np.arange(1, 7)[:, None]
        f["samples/sampling_benchmarks"] = [1, 1, 0, 0] + [-1] * backgrounds
    return path


def test_background_events_are_a_sample_of_their_own(tmp_path):
    store = import_madminer(small_file(tmp_path / "small.h5"), tmp_path / "s.zarr")
    assert [(s.name, s.background, s.n_events) for s in store.samples] == [
        ("zero", False, 2),
        ("one", False, 2),
        ("background", True, 2),
    ]
    np.testing.assert_array_equal(store.sample[:], [1, 1, 0, 0, 2, 2])
    assert store.setup.morphing is None
    # Signal: both samples count one half; background: all of it.
    assert store.xsec("zero").value[0] == pytest.approx(0.5 * (1 + 2 + 3 + 4) + 5 + 6)


def test_nuisance_weights_are_rescaled_to_our_reference_benchmark(tmp_path):
    plain = import_madminer(small_file(tmp_path / "a.h5"), tmp_path / "a.zarr")
    moved = import_madminer(small_file(tmp_path / "b.h5", reference=1), tmp_path / "b.zarr")
    assert plain.setup.systematics == (WeightVariation("pdf_0", "eigen_up", "eigen_down"),)
    np.testing.assert_allclose(next(plain.blocks()).nuisance_weights, 2 * next(moved.blocks()).nuisance_weights)


def test_what_cannot_be_imported_is_said(vbf, tmp_path):
    with pytest.raises(FileFormatError, match="only a set-up"):
        import_madminer(vbf / "madminer_setup.h5", tmp_path / "s.zarr")
    with pytest.raises(FileFormatError, match="no HDF5 file"):
        load_madminer_setup(vbf / "oracle.json")
    with h5py.File(tmp_path / "other.h5", "w") as f:
        f["a"] = 1
    with pytest.raises(FileFormatError, match="no MadMiner file"):
        load_madminer_setup(tmp_path / "other.h5")
    with h5py.File(small_file(tmp_path / "pdf.h5"), "a") as f:
        del f["nuisance_parameters"]
    with pytest.warns(ColumnMinerWarning, match="define a PDFUncertainty"):
        load_madminer_setup(tmp_path / "pdf.h5")
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputExistsError):
        import_madminer(vbf / "madminer_lhe_nosmear.h5", tmp_path / "taken")
