"""Whole analyses of showered events: cross sections and weights of the partons, whoever showers and whoever reads."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import awkward as ak
import numpy as np
import pytest
import yaml

import columnminer as cm
from columnminer.errors import InputError, OutputExistsError, TaskError
from columnminer.formats.lhe import LHEReader
from columnminer.generate import pythia
from columnminer.pipeline.analysis import Analysis

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("pythia8mc", reason="needs Pythia: the extra 'generate'")

QUICK = {"PartonLevel:MPI": False, "HadronLevel:all": False}
ALL = cm.Selection({"n": cm.Observable("len(p_truth)", required=True)})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("generated")
    paths = [folder / name for name in ("first.lhe.gz", "second.lhe")]
    for seed, path in enumerate(paths):
        cm.DrellYan().write_lhe(path, 30, seed=seed)
    return paths


def check_stores_agree(sample: dict[str, object], setup: cm.Setup, folder: Path) -> None:
    options = {"partition": "in_order", "progress": False}
    partons = cm.process([cm.Sample(**sample)], setup, ALL, folder / "partons.zarr", **options)
    showered = cm.process([cm.Sample(**sample, shower=QUICK)], setup, ALL, folder / "showered.zarr", **options)
    np.testing.assert_allclose(showered.xsec().value, partons.xsec().value, rtol=1e-12)
    np.testing.assert_array_equal(showered.weights[:], partons.weights[:])
    assert np.all(showered.observables[:] > partons.observables[:])


def test_parton_level_and_showered_analysis_agree(files: list[Path], tmp_path: Path) -> None:
    check_stores_agree({"paths": files, "benchmark": "sm"}, cm.DrellYan().setup(), tmp_path)


@pytest.mark.parametrize("name", ["signal_sm", "signal_sm_avgnorm_1000"])
def test_parton_level_and_showered_analysis_of_real_events_agree(shared: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "some.lhe"
    head, *events = gzip.decompress((shared / "vbf" / f"{name}.lhe.gz").read_bytes()).decode().split("<event>")
    path.write_text("<event>".join([head, *events[:200]]) + "</LesHouchesEvents>\n")
    setup = cm.load_madminer_setup(shared / "vbf" / "madminer_setup.h5")
    check_stores_agree({"paths": path, "benchmark": "sm"}, setup, tmp_path)


def test_a_store_does_not_depend_on_workers(files: list[Path], tmp_path: Path) -> None:
    def store(name: str, **options: int) -> cm.EventStore:
        sample = cm.Sample(files, benchmark="sm", shower=QUICK)
        return cm.process([sample], cm.DrellYan().setup(), ALL, tmp_path / name, progress=False, **options)

    one, two = store("one", workers=1), store("two", workers=2)
    assert one.hash == two.hash
    np.testing.assert_array_equal(one.observables[:], two.observables[:])
    assert np.any(store("other", seed=1).observables[:] != one.observables[:])


def test_hepmc_files_give_the_same_events(files: list[Path], tmp_path: Path) -> None:
    pyhepmc = pytest.importorskip("pyhepmc")
    (sample,) = cm.shower([cm.Sample(files, benchmark="sm")], tmp_path, seed=3, progress=False)
    assert [path.name for path in sample.files] == ["first.hepmc.gz", "second.hepmc.gz"]
    for lhe, hepmc in zip(files, sample.files, strict=True):
        (direct,) = cm.PythiaReader(lhe, seed=3).batches(100)
        (read,) = cm.open_reader(hepmc).batches(100)
        assert read.showered
        assert read.weight_names == direct.weight_names
        np.testing.assert_array_equal(read.weights, direct.weights)
        for status in (1, 2):
            some = [batch.events.particles[batch.events.particles.status == status] for batch in (read, direct)]
            assert ak.sum(ak.num(some[0])) > 0
            for field in ("pdgid", "px", "py", "pz", "e"):
                a, b = (np.concatenate([np.sort(event) for event in ak.to_list(s[field])]) for s in some)
                np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-14)
        with pyhepmc.open(hepmc) as file:
            for number, event in enumerate(file):
                assert event.event_number == number
                ends = [p for p in event.particles if p.end_vertex is None]
                assert all(p.status == 1 for p in ends)
                assert sum(p.momentum.e for p in ends) == pytest.approx(13_000, rel=1e-7)
                assert [p.status for p in event.beams] == [4, 4]
        declared = float(np.mean(next(LHEReader(lhe).batches(100)).weights[:, 0]))
        assert event.cross_section.xsec() == pytest.approx(declared)
        assert number == 29


def test_hepmc_files_do_not_depend_on_workers(files: list[Path], tmp_path: Path) -> None:
    options = {"settings": QUICK, "seed": 3, "progress": False}
    (one,) = cm.shower([cm.Sample(files, benchmark="sm")], tmp_path / "one", workers=1, **options)
    (two,) = cm.shower([cm.Sample(files, benchmark="sm")], tmp_path / "two", workers=2, **options)
    for a, b in zip(one.files, two.files, strict=True):
        assert gzip.decompress(a.read_bytes()) == gzip.decompress(b.read_bytes())


def test_what_is_there_is_kept_or_refused(files: list[Path], tmp_path: Path) -> None:
    sample = cm.Sample(files[0], benchmark="sm", shower=QUICK)
    (made,) = cm.shower([sample], tmp_path, progress=False)
    assert made.shower is None
    before = made.files[0].stat().st_mtime_ns
    cm.shower([sample], tmp_path, progress=False)
    assert made.files[0].stat().st_mtime_ns == before
    with pytest.raises(OutputExistsError, match=r"first.hepmc.gz exists, and holds other events"):
        cm.shower([sample], tmp_path, seed=1, progress=False)
    cm.shower([sample], tmp_path, seed=1, replace=True, progress=False)
    assert made.files[0].stat().st_mtime_ns > before


def test_one_bad_file_does_not_lose_the_others(files: list[Path], tmp_path: Path) -> None:
    text = files[1].read_text()
    bad = tmp_path / "bad.lhe"
    bad.write_text(text[: text.rindex("<event>") + 80])
    samples = [cm.Sample(bad, benchmark="sm", name="bad"), cm.Sample(files[0], benchmark="sm")]
    with pytest.raises(TaskError, match=r"(?s)showering: 1 of 2 failed.*bad.lhe, event 29"):
        cm.shower(samples, tmp_path / "out", settings=QUICK, progress=False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["first.hepmc.gz"]


def test_files_of_one_name_are_refused(files: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "first.lhe"
    other.write_bytes(gzip.decompress(files[0].read_bytes()))
    with pytest.raises(InputError, match=r"would both become .*first.hepmc.gz"):
        cm.shower([cm.Sample([files[0], other], benchmark="sm")], tmp_path / "out", progress=False)


def analysis(folder: Path, shower: object) -> Path:
    document = {
        "generate": {"drellyan": {"events": {"sm": 40}}, "shower": shower},
        "selection": {
            "observables": {"n": "n_particles", "n_jets": "len(j)"},
            "detector": {"tags": {"b": {"b": 0.7}}},
        },
    }
    (folder / "analysis.yaml").write_text(yaml.safe_dump(document))
    return folder / "analysis.yaml"


def test_an_analysis_file_may_shower(tmp_path: Path) -> None:
    Analysis(analysis(tmp_path, {"PartonLevel:MPI": False}), tmp_path / "out").run()
    store = cm.EventStore(tmp_path / "out" / "events" / "events.zarr")
    (tmp_path / "card.cmnd").write_text("PartonLevel:MPI = off ! a card\n")
    Analysis(analysis(tmp_path, "card.cmnd"), tmp_path / "card").run()
    again = cm.EventStore(tmp_path / "card" / "events" / "events.zarr")
    np.testing.assert_array_equal(store.observables[:], again.observables[:])
    assert 0 < np.mean(store.observables[:, 1]) < 10


def test_an_analysis_file_names_what_is_wrong_with_a_shower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"generate.shower: there is no file '.*absent.cmnd'"):
        Analysis(analysis(tmp_path, "absent.cmnd"), tmp_path / "out")
    with pytest.raises(InputError, match=r"generate.shower: the setting 'Random:seed'"):
        Analysis(analysis(tmp_path, {"Random:seed": 3}), tmp_path / "out")
    monkeypatch.setattr(pythia.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="columnminer\\[generate\\]"):
        Analysis(analysis(tmp_path, {}), tmp_path / "out")


def test_samples_that_cannot_be_showered(files: list[Path]) -> None:
    with pytest.raises(InputError, match="no k-factor, systematics, cross section or shower"):
        cm.Sample(files[0], data=True, shower={})
    with pytest.raises(InputError, match="no weights_from"):
        cm.Sample(files[0], benchmark="sm", shower={}, weights_from=files[0])
