"""Delphes trees: the same events analysed from a Les Houches file and from a Delphes-shaped file (`delphes_files`)."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from delphes_files import delphes_columns, without, write_delphes, write_tree
from toy_events import batch_of, drawn

from columnminer.errors import InputError, MissingError, UnknownNameError
from columnminer.formats.delphes import DelphesReader
from columnminer.formats.lhe import LHEReader
from columnminer.formats.opening import open_reader
from columnminer.formats.reader import Reader
from columnminer.generate.drellyan import DrellYan
from columnminer.observe.detector import Detector
from columnminer.observe.objects import Objects
from columnminer.observe.observables import DefaultObservables
from columnminer.observe.selection import Selection
from columnminer.schema import NOMINAL

SINGLE = float(np.finfo(np.float32).eps)
VBF = {
    "pt_j1": "j[0].pt",
    "eta_j1": "j[0].eta",
    "delta_phi_jj": "j[0].deltaphi(j[1]) * (-1.0 + 2.0 * float(j[0].eta > j[1].eta))",
    "e_visible": "visible.e",
    "n_jets": "len(j)",
    "m_aa": "(a[0] + a[1]).m",
    "m_jj": "(j[0] + j[1]).m",
}


def whole(path, **options):
    return next(iter(open_reader(path, **options).batches(size=10**6)))


@pytest.fixture(scope="module")
def vbf(data):
    return next(iter(LHEReader(data / "vbf" / "signal_w.lhe.gz").batches()))


@pytest.fixture(scope="module")
def toys():
    return batch_of(drawn(400, seed=5), weights=np.random.default_rng(1).uniform(0.5, 2, (400, 3)))


@pytest.fixture(scope="module")
def toy_file(toys, tmp_path_factory):
    return write_delphes(tmp_path_factory.mktemp("delphes") / "toys.root", toys, cross_section=3.5)


# Objects


@pytest.mark.parametrize("level", ["detector", "generator"])
def test_observables_are_those_of_the_parton_level_events(vbf, tmp_path, level):
    path = write_delphes(tmp_path / "vbf.root", vbf)
    ours, theirs = (Selection(VBF).apply(batch) for batch in (whole(path, level=level), vbf))
    assert ours.passed.all()
    # Angles and momenta are rounded by up to half of SINGLE; masses of pairs add the errors of both.
    np.testing.assert_allclose(ours.observables, theirs.observables, rtol=4 * SINGLE, atol=8 * SINGLE)
    assert np.abs(ours.observables / theirs.observables - 1)[:, :3].max() > SINGLE / 100, "single precision is visible"


@pytest.mark.parametrize(("lepton", "branch"), [("mu", "Muon"), ("e", "Electron")])
def test_leptons_of_the_built_in_generator(tmp_path, lepton, branch):
    process = DrellYan(lepton=lepton)
    batch = process.generate(2_000, "c_ll_plus", seed=3)
    path = write_delphes(tmp_path / "pairs.root", batch)
    selection = Selection(process.observables)
    x, y = (selection.apply(b).observables for b in (whole(path), batch))
    # The generator's muons have no mass; Delphes' have theirs.
    np.testing.assert_allclose(x, y, rtol=1e-5, atol=2e-6)
    assert whole(path).events[lepton].pdgid.tolist() == Objects(batch).events[lepton].pdgid.tolist()
    # After the same events' final-state particles have gone through isolation, as showered ones.
    central = Selection(process.observables, cuts=[f"{lepton}[1].pt > 50"])
    particles, partons = (central.apply(b) for b in (whole(path, level="particles"), batch))
    both = particles.passed & partons.passed
    assert both.sum() > 1_000
    assert both.sum() > 0.99 * partons.passed.sum()
    np.testing.assert_allclose(
        particles.observables[both[particles.passed]], partons.observables[both[partons.passed]], rtol=1e-5, atol=2e-6
    )
    # Negative control: exchanged charges turn the angle around.
    columns = delphes_columns(batch)
    columns[branch] = ak.with_field(columns[branch], -columns[branch].Charge, "Charge")
    z = selection.apply(whole(write_tree(tmp_path / "turned.root", columns))).observables
    assert np.abs(z - y).max() > 0.5


def test_a_real_sample(shared, tmp_path):
    batch = next(iter(LHEReader(shared / "vbf" / "signal_sm_systematics.lhe.gz").batches()))
    path = write_delphes(tmp_path / "vbf.root", batch, weights=batch.weights)
    found = whole(path, weight_names=batch.weight_names)
    x, y = (Selection(VBF).apply(b).observables for b in (found, batch))
    np.testing.assert_allclose(x, y, rtol=1e-5, atol=8 * SINGLE)
    assert found.weight_names == batch.weight_names
    np.testing.assert_allclose(found.weights, batch.weights, rtol=SINGLE)


@pytest.mark.parametrize("level", ["detector", "generator"])
def test_all_collections_charges_and_tags(toys, toy_file, level):
    found, true = Objects(whole(toy_file, level=level)), Objects(toys)
    for name in ("e", "mu", "a", "tau"):
        ours, theirs = found[name], true[name]
        assert np.array_equal(ours.offsets, theirs.offsets), name
        assert np.array_equal(ours.momenta["charge"], theirs.momenta["charge"]), name
        np.testing.assert_allclose(ours.momenta["pt"], theirs.momenta["pt"], rtol=SINGLE)
        np.testing.assert_allclose(ours.momenta["pz"], theirs.momenta["pz"], rtol=1e-5, atol=1e-4)
        assert np.array_equal(ours.momenta["pdgid"], theirs.momenta["pdgid"])
    jets = true["j"].merged(true["tau"]).by_pt()
    for tag in ("b_tag", "tau_tag"):
        assert np.array_equal(found["j"].momenta[tag], jets.momenta[tag])
        assert 0 < np.sum(jets.momenta[tag]) < len(jets.momenta[tag])
    np.testing.assert_allclose(found["j"].momenta["m"], jets.momenta["m"], atol=1e-3)
    assert found["tau"].momenta["tau_tag"].all()
    met, true_met = found["met"].momenta, true["met"].momenta
    np.testing.assert_allclose(met["pt"], true_met["pt"], rtol=SINGLE)
    np.testing.assert_allclose(met["px"], true_met["px"], rtol=1e-5, atol=1e-4)
    for name in ("scale", "alpha_qed", "alpha_qcd"):
        np.testing.assert_allclose(found[name].values, true[name].values, rtol=SINGLE)


def test_muons_and_electrons_have_their_masses_and_photons_none(toy_file):
    events = whole(toy_file).events
    assert ak.flatten(events.mu.mass).to_numpy() == pytest.approx(0.1056583755)
    assert ak.flatten(events.e.mass).to_numpy() == pytest.approx(0.00051099895)
    assert not ak.any(events.a.mass)
    assert ak.to_numpy(ak.flatten(events.e.deltaR(events.e))) == pytest.approx(0)  # vectors


def test_particles_of_the_final_state(toys, tmp_path):
    columns = delphes_columns(toys)
    pileup = np.arange(len(ak.flatten(columns["Particle"]))) % 5 == 0
    pileup = ak.unflatten(pileup.astype(np.int32), ak.num(columns["Particle"]))
    columns["Particle"] = ak.with_field(columns["Particle"], pileup, "IsPU")
    found = whole(write_tree(tmp_path / "t.root", columns), level="particles")
    assert found.showered
    assert "j" not in found.events.fields
    particles, true = found.events.particles, toys.events.particles
    final = true[(true.status == 1) & (pileup == 0)]
    ours = particles[particles.status == 1]
    assert ours.pdgid.tolist() == final.pdgid.tolist()
    np.testing.assert_allclose(ak.flatten(ours.e).to_numpy(), ak.flatten(final.e).to_numpy(), rtol=SINGLE)
    decayed = particles[particles.status != 1]
    assert set(ak.flatten(decayed.pdgid).to_list()) == {15}, "what tags need: no quarks, no bosons"
    # Nor is pile-up in the objects of the generator.
    muons = ak.num(whole(tmp_path / "t.root", level="generator").events.mu)
    assert muons.to_list() == ak.sum(np.abs(final.pdgid) == 13, axis=1).to_list()


def test_hadrons_that_tags_need_are_kept(tmp_path):
    heavy, others = [511, -521, 5122, 431, 4122, 10511], [443, 553, 211, 3122, 130, 2212, 1000022]
    events = [[(pdgid, 2, 1.0, 2.0, 3.0, 1.0) for pdgid in heavy + others] + [(211, 1, 1.0, 0.0, 0.0, 0.1)]]
    found = whole(write_delphes(tmp_path / "h.root", batch_of(events)), level="particles")
    assert found.events.particles.pdgid.to_list() == [[*heavy, 211]]


def test_other_branches_on_request(toys, tmp_path):
    columns = delphes_columns(toys)
    columns["JetPUPPI"] = columns["Jet"][:, :1]
    found = whole(write_tree(tmp_path / "t.root", columns), branches={"j": "JetPUPPI"})
    assert ak.max(ak.num(found.events.j)) == 1
    with pytest.raises(UnknownNameError, match="no branch for 'jet'"):
        DelphesReader(tmp_path / "t.root", branches={"jet": "JetPUPPI"})


# What is missing


def test_missing_branches_are_missed_only_by_who_asks(toys, tmp_path):
    columns = without(delphes_columns(toys), "Photon", "Jet.BTag", "Jet.TauTag", "Event.Scale", "MissingET", "GenJet")
    batch = whole(write_tree(tmp_path / "old.root", columns))
    x = Selection({"pt": "j[0].pt", "n": "len(l)"}).apply(batch).observables
    y = Selection({"pt": "j[0].pt", "n": "len(l)"}).apply(whole(write_delphes(tmp_path / "n.root", toys))).observables
    assert np.array_equal(x, y, equal_nan=True)
    for text in ("len(a)", "met.pt", "len(tau)", "scale", "visible.e"):
        with pytest.raises(MissingError, match="these events give no"):
            Selection({"x": text}).apply(batch)
    tags = Selection({"x": "j[0].b_tag"}).apply(batch).observables
    assert np.isnan(tags).all(), "a tag that was not looked for is not one that was not found"


def test_leptons_without_charge_and_events_without_missing_momentum(toys, tmp_path):
    columns = without(delphes_columns(toys), "Muon.Charge")
    kept = np.arange(len(toys)) % 2 == 0
    met = columns["MissingET"]
    columns["MissingET"] = ak.unflatten(ak.flatten(met)[kept], kept.astype(np.int64))
    batch = whole(write_tree(tmp_path / "t.root", columns))
    observed = Selection({"q": "mu[0].charge", "pt": "mu[0].pt", "met": "met.pt"}).apply(batch).observables
    assert np.isnan(observed[:, 0]).all()
    assert np.isfinite(observed[:, 1]).any()
    assert np.array_equal(np.isfinite(observed[:, 2]), kept)


# Weights


def test_weights_by_three_ways(data, vbf, tmp_path):
    source = data / "vbf" / "signal_w.lhe.gz"
    path = write_delphes(tmp_path / "w.root", vbf, weights=vbf.weights)
    by_lhe = whole(path, weights_from=source)
    assert by_lhe.weight_names == vbf.weight_names
    assert np.array_equal(by_lhe.weights, vbf.weights)
    by_order = whole(path, weight_names=vbf.weight_names)
    assert by_order.weight_names == vbf.weight_names
    np.testing.assert_allclose(by_order.weights, vbf.weights, rtol=SINGLE)
    # All values named, also the first: as HepMC files do that name the nominal weight.
    names = ("first", *vbf.weight_names[1:])
    named = whole(path, weight_names=(NOMINAL, *names))
    assert named.weight_names == (NOMINAL, *names)
    np.testing.assert_allclose(named.weight("first"), vbf.weights[:, 0], rtol=SINGLE)
    nameless = whole(path)
    assert nameless.weight_names == (NOMINAL, *(str(i) for i in range(1, vbf.weights.shape[1])))
    assert np.array_equal(nameless.weights, by_order.weights)
    info = open_reader(path, weights_from=source).info()
    assert info.cross_section == LHEReader(source).info().cross_section
    assert info.n_events is None, "two files side by side are read from the front"


def test_names_come_from_a_hepmc_file(shared, tmp_path):
    source = shared / "vbf" / "signal_sm_pythia8_200.hepmc.gz"
    hepmc = next(iter(open_reader(source).batches()))
    partons = next(iter(LHEReader(shared / "vbf" / "signal_sm.lhe.gz").batches(size=len(hepmc))))
    first = 1 if len(set(hepmc.weight_names)) > hepmc.weights.shape[1] else 0
    values = hepmc.weights[:, first:]
    if np.array_equal(hepmc.weights[:, 0], hepmc.weights[:, 1]):  # the nominal weight has a name of its own, too
        values = hepmc.weights[:, 1:]
    path = write_delphes(tmp_path / "s.root", partons, weights=values)
    found = whole(path, weight_names=open_reader(source).info().weight_names)
    assert found.weight_names == hepmc.weight_names
    np.testing.assert_allclose(found.weights[:, 1:], hepmc.weights[:, 1:], rtol=SINGLE)
    exact = whole(path, weights_from=source)
    assert np.array_equal(exact.weights, hepmc.weights)


def test_ids_of_weights_that_came_from_a_les_houches_file(toys, tmp_path):
    columns = delphes_columns(toys, weights=toys.weights)
    ids = np.tile(np.array([1001, 1002, 1003], dtype=np.int32), len(toys))
    columns["Weight"] = ak.zip({"Weight": columns["Weight"].Weight, "ID": ak.unflatten(ids, 3)})
    batch = whole(write_tree(tmp_path / "t.root", columns))
    assert batch.weight_names == (NOMINAL, "1001", "1002", "1003")
    np.testing.assert_allclose(batch.weights[:, 1:], toys.weights, rtol=SINGLE)


def test_without_weights_events_count_once(toys, tmp_path):
    columns = without(delphes_columns(toys), "Event.Weight", "Event.CrossSection")
    reader = DelphesReader(write_tree(tmp_path / "t.root", columns))
    assert np.array_equal(next(iter(reader.batches())).weights, np.ones((len(toys), 1)))
    assert reader.info().cross_section is None
    columns = without(delphes_columns(toys, weights=toys.weights), "Event.Weight")
    first = whole(write_tree(tmp_path / "w.root", columns)).weights[:, 0]
    np.testing.assert_allclose(first, toys.weights[:, 0], rtol=SINGLE)


# The protocol


def test_batches_of_any_size_are_the_same_events(toys, toy_file):
    reader = open_reader(toy_file, digest=True)
    assert isinstance(reader, Reader)
    assert isinstance(reader, DelphesReader)
    assert reader.info().n_events == len(toys)
    assert reader.info().cross_section == pytest.approx(3.5)
    assert reader.info().cross_section_error == pytest.approx(0.035)
    together = whole(toy_file)
    pieces = list(reader.batches(size=77, skip=33))
    assert [b.first_event for b in pieces] == list(range(33, len(toys), 77))
    assert ak.concatenate([b.events for b in pieces]).to_list() == together.events[33:].to_list()
    assert np.array_equal(np.concatenate([b.weights for b in pieces]), together.weights[33:])
    assert reader.content is not None
    assert reader.content["size"] == toy_file.stat().st_size
    assert list(reader.batches(skip=len(toys))) == []
    for options in ({"size": 0}, {"skip": -1}):
        with pytest.raises(InputError, match="batches need"):
            next(reader.batches(**options))


def test_options_are_checked(toy_file, data):
    with pytest.raises(InputError, match="level must be one of detector, generator, particles"):
        open_reader(toy_file, level="truth")
    with pytest.raises(UnknownNameError, match=r"no option 'levl'\. Did you mean 'level'"):
        open_reader(toy_file, levl="generator")
    with pytest.raises(UnknownNameError, match="LHEReader has no option 'level'"):
        open_reader(data / "vbf" / "signal_w.lhe.gz", level="generator")
    with pytest.raises(InputError, match="'a' is used twice"):
        open_reader(toy_file, weight_names=["a", "a"])


# Acceptance


def test_acceptance_against_brute_force(toy_file):
    pt_min = {"e": 10.0, "mu": 20.0, "a": 30.0, "j": 25.0}
    eta_max = {"e": 1.5, "mu": 1.0, "a": 2.0, "j": 0.7}
    batch = whole(toy_file)
    accepted = Objects(batch, Detector(pt_min=pt_min, eta_max=eta_max))
    n_all = n_kept = 0
    for name, low in pt_min.items():
        expected = [
            sorted((p["pt"] for p in event if p["pt"] >= low and abs(p["eta"]) <= eta_max[name]), reverse=True)
            for event in batch.events[name].to_list()
        ]
        assert accepted[name].counts.tolist() == [len(event) for event in expected]
        assert accepted[name].momenta["pt"].tolist() == [pt for event in expected for pt in event]
        n_all, n_kept = n_all + ak.sum(ak.num(batch.events[name])), n_kept + len(accepted[name].momenta["pt"])
    assert 0.1 < n_kept / n_all < 0.9
    assert np.array_equal(accepted["met"].momenta["pt"], Objects(batch)["met"].momenta["pt"]), "MET is as measured"


def test_default_observables(toy_file):
    selected = Selection(default_observables=DefaultObservables()).apply(whole(toy_file))
    assert selected.passed.all()
    assert np.isfinite(selected.observables).all()


def test_a_detector_does_not_smear_what_was_smeared(toy_file):
    with pytest.raises(InputError, match="a detector has seen already"):
        Selection({"n": "len(j)"}, detector=Detector(met_noise=(5.0, 0.0))).apply(whole(toy_file))
