"""Stores written as MadMiner's files: they round-trip, and (marker peer) MadMiner goes on from them."""

from __future__ import annotations

import json
import os
import subprocess

import h5py
import numpy as np
import pytest

import columnminer as cm
from columnminer.errors import InputError, OutputExistsError
from columnminer.generate.drellyan import DrellYan
from columnminer.model.systematics import SelectionVariation
from columnminer.store.madminer import import_madminer, load_madminer_setup
from columnminer.store.madminer_write import at_unit_step, export_madminer, save_madminer_setup
from columnminer.store.weights import NuisanceColumn

ROUNDED = {"morphing/morphing_matrix": 1e-14}
"""The matrix is inverted again, here as there."""


def contents(path):
    found = {}

    def collect(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(collect)
    return found


def assert_same_file(path, other):
    ours, theirs = contents(path), contents(other)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype, name
        if name in ROUNDED:
            np.testing.assert_allclose(ours[name], value, rtol=0, atol=ROUNDED[name])
        else:
            np.testing.assert_array_equal(ours[name], value, err_msg=name)


@pytest.mark.parametrize("name", ["madminer_setup", "madminer_setup_systematics"])
def test_set_ups_round_trip(shared, tmp_path, name):
    original = shared / "vbf" / f"{name}.h5"
    save_madminer_setup(load_madminer_setup(original), tmp_path / "again.h5")
    assert_same_file(tmp_path / "again.h5", original)


@pytest.mark.parametrize("name", ["madminer_lhe_nosmear", "madminer_lhe_nosmear_shuffled", "madminer_lhe_systematics"])
def test_events_round_trip(shared, tmp_path, name):
    original = shared / "vbf" / f"{name}.h5"
    export_madminer(import_madminer(original, tmp_path / "events.zarr"), tmp_path / "again.h5")
    assert_same_file(tmp_path / "again.h5", original)


@pytest.fixture(scope="module")
def generator():
    return DrellYan()


def processed(generator, folder, systematics=()):
    """Two samples of one benchmark, one of another, and a background."""
    made = generator.setup()
    setup = cm.Setup(made.space, made.benchmarks, systematics).with_morphing(max_overall_power=2, seed=1)
    names = list(made.benchmark_names)
    samples = []
    for i, (benchmark, n) in enumerate([(names[0], 300), (names[0], 100), (names[1], 200), (names[0], 50)]):
        path = folder / f"{i}.lhe"
        generator.write_lhe(path, n, benchmark, seed=i)
        of = {"background": True} if i == 3 else {"benchmark": benchmark, "systematics": [s.name for s in systematics]}
        samples.append(cm.Sample(path, name=f"sample {i}", **of))
    selection = cm.Selection(observables=generator.observables)
    return cm.process(samples, setup, selection, folder / "events.zarr", progress=False)


@pytest.fixture(scope="module")
def store(generator, tmp_path_factory):
    return processed(generator, tmp_path_factory.mktemp("varied"), [cm.NormalisationUncertainty("rate", 0.1)])


def test_a_store_of_ours_means_the_same_when_it_comes_back(store, tmp_path):
    """Cross sections depend on how samples are mixed: two of one benchmark are one there."""
    export_madminer(store, tmp_path / "events.h5")
    again = import_madminer(tmp_path / "events.h5", tmp_path / "again.zarr")
    assert again.observable_names == store.observable_names
    assert again.setup.systematics == store.setup.systematics
    assert [s.n_events for s in again.samples] == [400, 200, 50]
    thetas = [*store.setup.benchmark_points[:2], 0.3 * store.setup.benchmark_points[1]]
    np.testing.assert_allclose(again.xsec(thetas).value, store.xsec(thetas).value, rtol=1e-12)
    nu = np.array([[0.7]] * 3)
    np.testing.assert_allclose(again.xsec(thetas, nu).value, store.xsec(thetas, nu).value, rtol=1e-12)
    with h5py.File(tmp_path / "events.h5") as file:
        assert np.bincount(file["samples/sampling_benchmarks"][()] + 1).tolist()[:3] == [50, 400, 200]
        assert file["observables/definitions"][()].astype(str).tolist()[0] != ""
        raw = file["samples/weights"][()][:, 0]
    assert raw.sum() != pytest.approx(store.weights[:][:, 0].sum(), rel=0.01)  # unshared, they would count twice


def test_finite_differences_round_trip(generator, tmp_path):
    made = generator.setup()
    setup = cm.Setup(made.space, made.benchmarks[:2]).with_finite_differences(0.02)
    save_madminer_setup(setup, tmp_path / "setup.h5")
    again = load_madminer_setup(tmp_path / "setup.h5")
    assert again.differences == setup.differences
    assert again.benchmarks == setup.benchmarks


def test_what_madminer_cannot_hold_is_refused(generator, store, tmp_path):
    made = generator.setup()
    unbounded = cm.ParameterSpace([cm.Parameter("c")])
    with pytest.raises(InputError, match="range for parameter 'c'"):
        save_madminer_setup(cm.Setup(unbounded, {"sm": {"c": 0}}), tmp_path / "s.h5")
    selection = cm.Setup(made.space, made.benchmarks, [SelectionVariation("scale")])
    with pytest.raises(InputError, match="varies the selection"):
        save_madminer_setup(selection, tmp_path / "s.h5")
    central = cm.Setup(made.space, made.benchmarks[:1]).with_finite_differences(0.02, central=True)
    with pytest.raises(InputError, match="one side"):
        save_madminer_setup(central, tmp_path / "s.h5")
    assert not list(tmp_path.iterdir())  # nothing is left half-written
    export_madminer(store, tmp_path / "events.h5")
    with pytest.raises(OutputExistsError):
        export_madminer(store, tmp_path / "events.h5")
    export_madminer(store, tmp_path / "events.h5", replace=True)


def test_nuisance_weights_are_moved_to_one_sigma():
    """Weights at nu = +-2 with a = 0.1 and b = 0.02 are at nu = +-1 what the same a and b give there."""
    reference = np.array([1.0, 3.0])
    varied = reference[:, None] * np.exp([0.1 * 2 + 0.02 * 4, -0.1 * 2 + 0.02 * 4])
    column = NuisanceColumn("pdf", "pdf", up=0, down=1, step=2.0)
    moved = at_unit_step(reference, varied, column)
    np.testing.assert_allclose(moved, reference[:, None] * np.exp([0.12, -0.08]))
    one_sided = at_unit_step(reference, varied[:, :1], NuisanceColumn("pdf", "pdf", up=0, step=2.0))
    np.testing.assert_allclose(one_sided, reference[:, None] * np.exp([0.14]))


READ_IT = """
import json, sys
from madminer.sampling import SampleAugmenter, morphing_points
from madminer.fisherinformation import FisherInformation
augmenter = SampleAugmenter(sys.argv[1])
_, values, _ = augmenter.cross_sections(theta=morphing_points([(0.02, 0.01)]))
information, _ = FisherInformation(sys.argv[1]).truth_information([0.02, 0.01], luminosity=1.0)
said = {"n": int(augmenter.n_samples), "xsec": values.tolist(), "information": information.tolist()}
print(json.dumps(said))
"""


@pytest.mark.peer
def test_madminer_goes_on_from_our_file(generator, tmp_path):
    """Without systematics: MadMiner 0.9.6 cannot read the "None" that it writes as the scale of a normalisation."""
    python = os.environ.get("MADMINER_PYTHON")
    if not python:
        pytest.skip("MADMINER_PYTHON names no Python that has MadMiner")
    store = processed(generator, tmp_path)
    export_madminer(store, tmp_path / "events.h5")
    (tmp_path / "read.py").write_text(READ_IT)
    done = subprocess.run(
        [python, tmp_path / "read.py", tmp_path / "events.h5"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.strip().splitlines()[-1])
    assert said["n"] == len(store)
    np.testing.assert_allclose(said["xsec"], store.xsec([0.02, 0.01]).value, rtol=1e-6)
    ours = cm.FisherInformation(store, luminosity=1.0).truth([0.02, 0.01]).information
    np.testing.assert_allclose(said["information"], ours, rtol=1e-6, atol=1e-9 * ours.max())
