"""Jets, isolation and truth labels of showered events against FastJet called event by event and plain loops."""

from __future__ import annotations

import itertools
import math
import pickle

import awkward as ak
import fastjet
import numpy as np
import pytest
from particle import pdgid as ids

import columnminer as cm
from columnminer.errors import InputError, UnknownNameError
from columnminer.formats.flavour import open_flavour
from columnminer.formats.hepmc import HepMCReader
from columnminer.momenta import Collection
from columnminer.observe.objects import Objects
from columnminer.schema import NOMINAL, EventBatch, jagged

NEUTRINOS = {12, 14, 16}


@pytest.fixture(scope="module")
def batch(data) -> EventBatch:
    return next(HepMCReader(data / "hepmc" / "signal_sm_pythia8.hepmc.gz").batches())


def made(events: list[list[tuple[int, int, float, float, float, float]]], *, showered: bool = True) -> EventBatch:
    """Make a batch of massless particles (pdgid, status, pt, eta, phi, mass)."""
    flat = np.array(list(itertools.chain(*events)) or np.empty((0, 6)), dtype=float)
    pdgid, status, pt, eta, phi, mass = flat.T
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    e = np.sqrt(px**2 + py**2 + pz**2 + mass**2)
    columns = {"pdgid": pdgid.astype(np.int32), "status": status.astype(np.int32), "px": px, "py": py, "pz": pz, "e": e}
    particles = jagged([len(event) for event in events], columns)
    return EventBatch(
        ak.zip({"particles": particles}, depth_limit=1), np.ones((len(events), 1)), (NOMINAL,), showered=showered
    )


def rows(value: object, *names: str) -> list[list[tuple[float, ...]]]:
    """Return the columns of a collection, event by event."""
    assert isinstance(value, Collection)
    columns = [value.momenta[name].tolist() for name in names]
    flat = list(zip(*columns, strict=True))
    return [flat[a:b] for a, b in itertools.pairwise(value.offsets.tolist())]


def is_visible(pdgid: int) -> bool:
    return abs(pdgid) not in NEUTRINOS and (ids.is_hadron(pdgid) or pdgid == 22 or bool(ids.charge(pdgid)))


def by_loops(
    event: ak.Record, cone: float = 0.3, ratio: float = 0.15, least: float = 10.0, jets: cm.Jets | None = None
):
    """Return (isolated, jets) of an event: [(pdgid, pt)] and [(px, py, pz, e)], one particle and one jet at a time."""
    jets = jets or cm.Jets()
    particles = [
        (p.pdgid, p.px, p.py, p.pz, p.e, math.hypot(p.px, p.py), math.atan2(p.py, p.px))
        for p in event.particles
        if p.status == 1 and is_visible(p.pdgid)
    ]
    alone, rest = [], []
    for i, (pdgid, px, py, pz, e, pt, phi) in enumerate(particles):
        if abs(pdgid) in {11, 13, 22} and pt >= least:
            around = 0.0
            for k, (_, _, _, pz_, _, pt_, phi_) in enumerate(particles):
                d_phi = abs((phi - phi_ + math.pi) % (2 * math.pi) - math.pi)
                if k != i and math.hypot(math.asinh(pz / pt) - math.asinh(pz_ / pt_), d_phi) < cone:
                    around += pt_
            if around <= ratio * pt:
                alone.append((pdgid, pt))
                continue
        rest.append(fastjet.PseudoJet(px, py, pz, e))
    algorithm = {"anti-kt": fastjet.antikt_algorithm, "kt": fastjet.kt_algorithm}[jets.algorithm]
    clustered = fastjet.ClusterSequence(rest, fastjet.JetDefinition(algorithm, jets.R))
    found = fastjet.sorted_by_pt(clustered.inclusive_jets(jets.pt_min))
    return alone, [(jet.px(), jet.py(), jet.pz(), jet.e()) for jet in found]


@pytest.mark.parametrize("jets", [None, cm.Jets(R=0.8, pt_min=5.0, algorithm="kt")])
@pytest.mark.parametrize("cone", [None, cm.Isolation(R=0.4, max_ratio=0.02, pt_min=1.0)])
def test_objects_of_real_events(batch, jets, cone):
    objects = Objects(batch, jets=jets, isolation=cone)
    used = cone or cm.Isolation()
    expected = [by_loops(event, used.R, used.max_ratio, used.pt_min, jets) for event in batch.events]
    every_jet = objects["p"].where(np.abs(objects["p"].momenta["pdgid"]) < 22).by_pt()
    every_jet = every_jet.where(~np.isin(np.abs(every_jet.momenta["pdgid"]), [11, 13]) & ~neutrino(every_jet))
    for ours, (_, theirs) in zip(rows(every_jet, "px", "py", "pz", "e"), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    for name, pdgid in (("e", 11), ("mu", 13), ("a", 22)):
        for ours, (theirs, _) in zip(rows(objects[name], "pdgid", "pt"), expected, strict=True):
            of_kind = sorted((p for p in theirs if abs(p[0]) == pdgid), key=lambda p: -p[1])
            np.testing.assert_allclose(np.reshape(ours, (-1, 2)), np.reshape(of_kind, (-1, 2)), rtol=1e-12)
    assert sum(len(found) for found, _ in expected) >= 6
    assert sum(len(found) for _, found in expected) >= 9


def neutrino(collection: Collection) -> np.ndarray:
    return np.isin(np.abs(collection.momenta["pdgid"]), list(NEUTRINOS))


def test_the_events_are_those_of_a_higgs_boson_and_two_jets(batch):
    selection = cm.Selection({"m_aa": "(a[0] + a[1]).m", "n_j": "len(j)", "n_b": "float(j[0].b_tag + j[1].b_tag)"})
    m_aa, n_j, n_b = selection.apply(batch).observables.T
    np.testing.assert_allclose(m_aa[np.isfinite(m_aa)], 125.0, atol=2.0)
    assert np.sum(np.isfinite(m_aa)) >= 2
    assert np.all(n_j >= 1)
    assert np.nansum(n_b[:3]) == 0


def test_missing_momentum_is_that_of_the_neutrinos(batch):
    particles = batch.events.particles
    some = [
        [(p.px, p.py) for p in event if p.status == 1 and not is_visible(p.pdgid)] or [(0.0, 0.0)]
        for event in particles
    ]
    expected = np.array([np.sum(event, axis=0) for event in some])
    assert np.any(np.abs(expected) > 1.0)
    for jets in (None, cm.Jets(pt_min=50.0), cm.Jets(R=1.0)):
        met = Objects(batch, jets=jets)["met"].momenta
        np.testing.assert_allclose(np.stack([met["px"], met["py"]], axis=1), expected, atol=1e-6)
    visible = Objects(batch)["visible"].momenta
    unseen = (particles.status == 1) & ak.any([abs(particles.pdgid) == i for i in NEUTRINOS], axis=0)
    lost = ak.to_numpy(ak.sum(particles.e[unseen], axis=1))
    np.testing.assert_allclose(visible["e"] + lost, 13_000.0, rtol=1e-9)
    central = Objects(batch, jets=cm.Jets(eta_max=3.0))["visible"].momenta["e"]
    assert np.all(central < 0.9 * visible["e"])


def test_batches_do_not_matter(batch, data):
    selection = cm.Selection(
        {"pt": "j[0].pt", "a": "a[0].pt", "met": "met.pt", "b": "float(j[0].b_tag)"},
        detector=cm.Detector(
            resolutions={"j": {"energy": (0.0, 0.1)}, "a": {"energy": (0.0, 0.02)}}, efficiencies={"a": 0.5}
        ),
    )
    whole = selection.apply(batch, key=3).observables
    reader = HepMCReader(data / "hepmc" / "signal_sm_pythia8.hepmc.gz")
    single = np.concatenate([selection.apply(one, key=3).observables for one in reader.batches(size=1)])
    np.testing.assert_array_equal(whole, single)
    exact = cm.Selection(selection.observables).apply(batch, key=3).observables
    assert not np.allclose(whole, exact, equal_nan=True)


def test_a_detector_measures_the_jets(batch):
    exact = Objects(batch)
    cut = Objects(batch, cm.Detector(pt_min={"j": 40.0}, eta_max={"j": 4.0}))
    expected = [
        [jet for jet in event if jet[0] >= 40.0 and abs(jet[1]) <= 4.0] for event in rows(exact["j"], "pt", "eta")
    ]
    assert rows(cut["j"], "pt", "eta") == expected
    assert sum(map(len, expected)) < len(exact["j"].event)


BACK = math.pi - 0.5


def test_labels():
    jet = [(211, 1, 60.0, 0.0, 0.0, 0.14), (-211, 1, 40.0, 0.05, 0.05, 0.14)]
    other = [(211, 1, 50.0, 1.0, BACK, 0.14)]

    def labelled(*carriers: tuple[int, int, float, float, float, float]) -> list[tuple[float, ...]]:
        objects = Objects(made([[*jet, *other, *carriers]]))
        both = [*rows(objects["j"], "pdgid", "charge"), *rows(objects["tau"], "pdgid", "charge")]
        return [row for event in both for row in event]

    light = (21, 0.0)
    assert labelled() == [light, light]
    assert labelled((511, 2, 30.0, 0.1, 0.0, 5.3)) == [(5, -1 / 3), light]
    assert labelled((511, 2, 30.0, 1.1, BACK, 5.3)) == [light, (5, -1 / 3)]
    assert labelled((411, 2, 30.0, 0.1, 0.0, 1.9)) == [(4, 2 / 3), light]
    assert labelled((411, 2, 30.0, 0.0, 0.0, 1.9), (-521, 2, 30.0, 0.2, 0.0, 5.3)) == [(5, -1 / 3), light]
    assert labelled((15, 2, 30.0, 0.1, 0.0, 1.8)) == [light, (15, -1.0)]
    assert labelled((-15, 2, 30.0, 0.1, 0.0, 1.8)) == [light, (-15, 1.0)]
    assert labelled((15, 2, 30.0, 0.0, 0.0, 1.8), (4122, 2, 30.0, 0.1, 0.0, 2.3)) == [(4, 2 / 3), light]
    # Too soft, too far, not decayed, or of no open flavour.
    assert labelled((511, 2, 4.0, 0.1, 0.0, 5.3)) == [light, light]
    assert labelled((511, 2, 30.0, 0.4, 0.0, 5.3)) == [light, light]
    assert labelled((511, 71, 30.0, 0.1, 0.0, 5.3)) == [light, light]
    assert labelled((553, 2, 30.0, 0.1, 0.0, 9.5)) == [light, light]
    selection = cm.Selection({"b": "float(j[0].b_tag)", "c": "float(j[0].c_tag)", "t": "float(tau[0].tau_tag)"})
    tags = selection.apply(made([[*jet, (411, 2, 30.0, 0.1, 0.0, 1.9)], [*jet, (511, 2, 30.0, 0.1, 0.0, 5.3)]]))
    np.testing.assert_array_equal(tags.observables, [[0, 1, np.nan], [1, 0, np.nan]])


def test_isolation():
    lepton, far = (13, 1, 40.0, 0.0, 0.0, 0.1), (211, 1, 30.0, 0.0, 2.0, 0.14)

    def muons(near: float, distance: float = 0.2, **options: float) -> int:
        event = [lepton, far, (211, 1, near, distance, 0.0, 0.14)]
        return len(Objects(made([event]), isolation=cm.Isolation(**options))["mu"].event)

    assert muons(5.9) == 1
    assert muons(6.1) == 0
    assert muons(6.1, distance=0.31) == 1
    assert muons(6.1, max_ratio=0.2) == 1
    assert muons(5.9, pt_min=50.0) == 0
    assert muons(5.9, distance=0.45, R=0.5, max_ratio=0.1) == 0
    # A neutrino is no surroundings; angles go around.
    across = [(11, 1, 40.0, 0.0, math.pi - 0.05, 0.0), (211, 1, 20.0, 0.0, -math.pi + 0.05, 0.14)]
    assert len(Objects(made([across]))["e"].event) == 0
    assert len(Objects(made([[lepton, (14, 1, 40.0, 0.0, 0.1, 0.0)]]))["mu"].event) == 1
    loose = {"mu": cm.Isolation(max_ratio=10.0)}
    both = [[*across, (13, 1, 40.0, 0.0, 1.0, 0.1), (211, 1, 40.0, 0.0, 1.1, 0.14)]]
    objects = Objects(made(both), isolation=loose)
    assert (len(objects["mu"].event), len(objects["e"].event)) == (1, 0)


def test_what_is_not_isolated_is_in_jets():
    event = [(22, 1, 40.0, 0.0, 0.0, 0.0), (211, 1, 20.0, 0.0, 0.1, 0.14)]
    ((jet,),) = rows(Objects(made([event]))["j"], "pt", "pdgid")
    assert jet[0] == pytest.approx(60.0, abs=0.1)
    assert jet[1] == 21
    assert rows(Objects(made([event[:1]]))["j"], "pt") == [[]]
    assert rows(Objects(made([event[:1]]))["a"], "pt") == [[(pytest.approx(40.0),)]]


def test_events_without_anything():
    for events in ([[]], [[], [(12, 1, 5.0, 0.0, 0.0, 0.0)]], [[(211, 1, 5.0, 0.0, 0.0, 0.14)]]):
        objects = Objects(made(events))
        assert objects["j"].offsets.tolist() == [0] * (len(events) + 1)
        assert np.all(np.isfinite(objects["met"].momenta["pt"]))
    none = made([])
    assert len(Objects(none)["j"].event) == 0


def test_partons_are_clustered_only_where_that_is_asked_for():
    event = [
        (5, 1, 60.0, 0.0, 0.0, 4.7),
        (21, 1, 30.0, 0.1, 0.1, 0.0),
        (1, 1, 5.0, 2.0, 2.0, 0.0),
        (15, 1, 9.0, 0, 3, 1.8),
    ]
    partons = made([event], showered=False)
    assert rows(Objects(partons)["j"], "pdgid") == [[(5,), (21,), (1,)]]
    objects = Objects(partons, jets=cm.Jets())
    ((jet,),) = rows(objects["j"], "pdgid", "pt")
    assert jet == (5, pytest.approx(90.0, abs=0.5))
    assert rows(objects["tau"], "pdgid") == [[(15,)]]
    assert rows(objects["p_truth"], "pdgid") == [[(5,), (21,), (1,), (15,)]]


def test_reconstructed_events_have_their_jets():
    jets = jagged([1], {name: np.ones(1) for name in ("px", "py", "pz", "e")})
    events = EventBatch(ak.zip({"j": jets}, depth_limit=1), np.ones((1, 1)), (NOMINAL,), source="reco")
    with pytest.raises(InputError, match=r"reco: .*leave out jets="):
        Objects(events, jets=cm.Jets())


def test_a_selection_says_and_keeps_its_options(batch):
    plain = {"pt": "j[0].pt"}
    assert cm.Selection(plain).to_dict()["jets"] is None
    selection = cm.Selection(plain, jets=cm.Jets(R=0.7, pt_min=30.0), isolation={"a": cm.Isolation(R=0.2)})
    said = selection.to_dict()
    assert said["jets"]["R"] == 0.7
    assert said["jets"]["algorithm"] == "anti-kt"
    assert (said["isolation"]["a"]["R"], said["isolation"]["e"]["R"]) == (0.2, 0.3)
    copy = pickle.loads(pickle.dumps(selection))  # noqa: S301 - as it travels to workers
    np.testing.assert_array_equal(copy.apply(batch).observables, selection.apply(batch).observables)
    assert not np.allclose(cm.Selection(plain).apply(batch).observables, selection.apply(batch).observables)


def test_bad_options():
    with pytest.raises(UnknownNameError, match=r"no jet algorithm is called 'antikt'.*'anti-kt'"):
        cm.Jets(algorithm="antikt")
    for options in ({"R": 0.0}, {"pt_min": -1.0}, {"eta_max": 0.0}, {"tag_radius": -0.3}):
        with pytest.raises(InputError, match="jets need positive radii"):
            cm.Jets(**options)
    with pytest.raises(InputError, match="an isolation needs a positive R"):
        cm.Isolation(R=-1.0)
    with pytest.raises(UnknownNameError, match="there is no isolation of 'tau'"):
        cm.Selection({"n": "len(j)"}, isolation={"tau": cm.Isolation()})


def test_flavours_against_the_particle_package():
    from particle import Particle

    known = [int(p.pdgid) for p in Particle.findall() if abs(p.pdgid) < 10_000_000]  # not nuclei and pentaquarks
    assert len(known) > 500
    for pdgid in known:
        meson = ids.is_meson(pdgid)
        hidden = meson and abs(pdgid) // 100 % 10 == abs(pdgid) // 10 % 10
        expected = 0
        if ids.is_hadron(pdgid) and not hidden and not ids.is_SUSY(pdgid):
            expected = 5 if ids.has_bottom(pdgid) else 4 if ids.has_charm(pdgid) else 0
        assert open_flavour(pdgid) == (15 if abs(pdgid) == 15 else expected), pdgid
