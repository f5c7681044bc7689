"""The events of the built-in generator as files: read back, read by others, and turned into observables."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pylhe
import pytest

from columnminer.errors import OutputExistsError
from columnminer.formats.lhe import LHEReader
from columnminer.generate.drellyan import DrellYan
from columnminer.observe.selection import Selection
from columnminer.schema import EventBatch

PROCESSES = {
    "pp": DrellYan(mass_range=(300.0, 3000.0)),
    "ee": DrellYan("ee", sqrt_s=91.19),
    "pp_e": DrellYan(lepton="e"),
}


@pytest.fixture(params=PROCESSES)
def process(request):
    return PROCESSES[request.param]


def generated_observables(process, events):
    if process.process == "ee":
        return events.cosine[:, np.newaxis]
    return np.column_stack([events.mass, events.rapidity, events.cosine * np.sign(events.rapidity)])


def read(path):
    return next(iter(LHEReader(path).batches(size=10**6)))


@pytest.mark.parametrize("name", ["events.lhe", "events.lhe.gz"])
def test_a_file_holds_what_was_generated(process, name, tmp_path):
    path = tmp_path / name
    process.write_lhe(path, 2_000, "c_ll_plus", seed=3)
    batch, expected = read(path), process.generate(2_000, "c_ll_plus", seed=3)
    assert batch.weight_names == expected.weight_names
    assert np.array_equal(batch.weights, expected.weights)
    for field in expected.events.particles.fields:
        assert ak.array_equal(batch.events.particles[field], expected.events.particles[field], dtype_exact=False), field
    info = LHEReader(path).info()
    assert info.cross_section == pytest.approx(process.xsec("c_ll_plus")[0])
    assert info.weighting == 4
    assert {beam.pdgid for beam in info.beams} == ({11, -11} if process.process == "ee" else {2212})
    assert "c_ll = 0.05" in info.weight_descriptions["c_ll_plus"]


def test_observables_of_a_file_are_those_that_were_generated(process, tmp_path):
    path = tmp_path / "events.lhe"
    process.write_lhe(path, 5_000, "sm", seed=4)
    selected = Selection(process.observables).apply(read(path))
    assert selected.passed.all()
    x = generated_observables(process, process.sample(5_000, "sm", seed=4))
    assert np.abs(selected.observables - x).max() < 1e-8
    # Events at the edge of the mass range are not lost to rounding.
    assert np.all(np.isfinite(process.log_ratio(selected.observables, "c_ll_plus")))


def test_observables_do_not_depend_on_which_lepton_comes_first(process):
    batch = process.generate(2_000, "sm", seed=5)
    turned = ak.with_field(batch.events, batch.events.particles[:, [0, 1, 3, 2]], "particles")
    other = EventBatch(turned, batch.weights, batch.weight_names)
    selection = Selection(process.observables)
    assert np.array_equal(selection.apply(batch).observables, selection.apply(other).observables)


def test_exchanging_the_charges_reverses_the_cosine(process):
    batch = process.generate(2_000, "sm", seed=5)
    particles = batch.events.particles
    leptons = ak.local_index(particles.pdgid) >= 2
    conjugate = ak.with_field(particles, ak.where(leptons, -particles.pdgid, particles.pdgid), "pdgid")
    other = EventBatch(ak.with_field(batch.events, conjugate, "particles"), batch.weights, batch.weight_names)
    selection = Selection(process.observables)
    before, after = selection.apply(batch).observables, selection.apply(other).observables
    assert np.array_equal(before[:, :-1], after[:, :-1])
    assert after[:, -1] == pytest.approx(-before[:, -1], abs=1e-14)


def test_another_reader_agrees(tmp_path):
    path = tmp_path / "events.lhe"
    PROCESSES["pp"].write_lhe(path, 200, "sm", seed=6)
    batch = read(path)
    for i, event in enumerate(pylhe.LHEFile.fromfile(path).events):
        ours = batch.events.particles[i]
        assert [p.id for p in event.particles] == ours.pdgid.tolist()
        assert [p.e for p in event.particles] == ours.e.tolist()
        assert [p.spin for p in event.particles] == ours.spin.tolist()
        assert list(event.weights.values()) == batch.weights[i, 1:].tolist()


def test_an_existing_file_is_kept_unless_told_otherwise(tmp_path):
    path = tmp_path / "events.lhe"
    path.write_text("precious")
    with pytest.raises(OutputExistsError):
        PROCESSES["pp"].write_lhe(path, 10)
    assert path.read_text() == "precious"
    PROCESSES["pp"].write_lhe(path, 10, replace=True)
    assert len(read(path)) == 10


def test_pythia_showers_every_event(tmp_path):
    pythia8mc = pytest.importorskip("pythia8mc", reason="needs pythia8mc")
    path = tmp_path / "events.lhe"
    PROCESSES["pp"].write_lhe(path, 200, "sm", seed=7)
    pythia = pythia8mc.Pythia("", False)
    for line in ("Beams:frameType = 4", f"Beams:LHEF = {path}", "Print:quiet = on"):
        assert pythia.readString(line)
    assert pythia.init()
    showered = 0
    while pythia.next():
        showered += 1
        final = [p.id() for p in pythia.event if p.isFinal()]
        assert 13 in final
        assert -13 in final
    assert showered == 200
    assert pythia.infoPython().sigmaGen() == pytest.approx(1e-9 * PROCESSES["pp"].xsec("sm")[0])  # in mb
