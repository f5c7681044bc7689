"""Objects of parton-level and of reconstructed events, and those that users define."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from toy_events import batch_of, drawn

from columnminer.arithmetic import Number
from columnminer.errors import InputError, MissingError
from columnminer.momenta import Collection, Particle
from columnminer.observe.detector import Detector
from columnminer.observe.objects import OBJECTS, Objects
from columnminer.schema import NOMINAL, EventBatch, jagged

EVENTS = batch_of(
    [
        [
            (2, -1, 0.0, 0.0, 500.0, 0.0),
            (21, 1, 30.0, 0.0, 5.0, 0.0),
            (-5, 1, 0.0, 50.0, 5.0, 4.7),
            (11, 1, 0.0, -10.0, 0.0, 0.0),
            (-13, 1, -20.0, 0.0, 0.0, 0.1),
            (22, 1, -7.0, -1.0, 0.0, 0.0),
            (-15, 1, 1.0, 1.0, 0.0, 1.7),
            (12, 1, 4.0, 4.0, 4.0, 0.0),
            (23, 1, 0.0, -3.0, 0.0, 91.0),
            (1000022, 1, -8.0, -41.0, 0.0, 100.0),
            (25, 2, 0.0, 0.0, 0.0, 125.0),
        ],
        [],
        [(6, 1, 1.0, 0.0, 0.0, 173.0), (1, 1, 2.0, 0.0, 0.0, 0.0), (3, 1, 3.0, 0.0, 0.0, 0.0)],
    ]
)


def column(value: object, name: str) -> list[list[float]]:
    assert isinstance(value, Collection)
    return ak.unflatten(value.momenta[name], value.counts).to_list()


@pytest.mark.parametrize(
    ("name", "pdgids"),
    [
        ("j", [[-5, 21], [], [3, 1, 6]]),
        ("e", [[11], [], []]),
        ("mu", [[-13], [], []]),
        ("tau", [[-15], [], []]),
        ("a", [[22], [], []]),
        ("v", [[12], [], []]),
        ("l", [[-13, 11], [], []]),
        ("p", [[21, -5, 11, -13, 22, -15, 12, 23], [], [6, 1, 3]]),
        ("p_truth", [[21, -5, 11, -13, 22, -15, 12, 23, 1000022], [], [6, 1, 3]]),
    ],
)
def test_species_by_falling_pt(name: str, pdgids: list[list[int]]) -> None:
    assert column(Objects(EVENTS)[name], "pdgid") == pdgids


def test_visible_momentum_and_what_balances_it() -> None:
    objects = Objects(EVENTS)
    visible, met, everything = objects["visible"], objects["met"], objects["all"]
    assert isinstance(visible, Particle)
    assert isinstance(met, Particle)
    assert isinstance(everything, Particle)
    # All but the neutrino and the neutralino, with the Z that did not decay.
    np.testing.assert_allclose(visible.momenta["px"], [30 - 20 - 7 + 1, 0, 6])
    np.testing.assert_allclose(visible.momenta["py"], [50 - 10 - 1 + 1 - 3, 0, 0])
    np.testing.assert_allclose(met.momenta["px"], -visible.momenta["px"])
    np.testing.assert_allclose(met.momenta["pz"], 0.0)
    np.testing.assert_allclose(met.momenta["m"], 0.0, atol=1e-12)
    np.testing.assert_allclose(everything.momenta["pt"], 0.0, atol=1e-12)


def test_charges_spins_and_tags() -> None:
    objects = Objects(EVENTS)
    np.testing.assert_allclose(column(objects["p"], "charge")[0], [0, 1 / 3, -1, 1, 0, 1, 0, 0])
    assert column(objects["j"], "b_tag") == [[True, False], [], [False, False, False]]
    assert column(objects["j"], "t_tag")[2] == [False, False, True]
    assert column(objects["tau"], "tau_tag")[0] == [True]
    assert column(objects["j"], "spin")[0] == [1.0, 1.0]


def test_azimuths_of_measured_particles_are_positive() -> None:
    objects = Objects(EVENTS)
    np.testing.assert_allclose(column(objects["e"], "phi")[0], [1.5 * np.pi])
    np.testing.assert_allclose(column(objects["p_truth"], "phi")[0][2], -0.5 * np.pi)
    np.testing.assert_allclose(objects["met"].momenta["phi"][0], np.arctan2(-37, -4))


def test_numbers_of_the_event() -> None:
    objects = Objects(EVENTS)
    assert objects["n_particles"].values.tolist() == [11.0, 0.0, 3.0]
    assert objects["scale"].values.tolist() == [90.0, 91.0, 92.0]
    with pytest.raises(MissingError, match=r"toy\.lhe: these events give no 'process_id'; they hold alpha_qcd"):
        objects["process_id"]


def test_objects_do_not_depend_on_how_awkward_stores_the_events() -> None:
    events = drawn(60)
    whole = batch_of(events)
    some = EventBatch(whole.events[::2][ak.Array([True] * 30)], np.ones((30, 1)), (NOMINAL,))
    want = Objects(batch_of(events[::2]))
    for name in ("j", "l", "p"):
        assert column(Objects(some)[name], "pt") == column(want[name], "pt")


def test_no_events_and_no_particles() -> None:
    for batch in (batch_of([]), batch_of([[], []])):
        objects = Objects(batch)
        for name in set(OBJECTS) - {"process_id"}:
            value = objects[name]
            n = (
                len(value.offsets) - 1
                if isinstance(value, Collection)
                else len(value[0])
                if isinstance(value, Number)
                else len(value.momenta["pt"])
            )
            assert n == len(batch)


def reconstructed() -> EventBatch:
    def cylinder(counts: list[int], **columns: list[float]) -> ak.Array:
        return jagged(counts, {name: np.array(values) for name, values in columns.items()})

    events = ak.zip(
        {
            "e": cylinder([1, 0], pt=[20.0], eta=[0.5], phi=[-1.0], mass=[0.0], charge=[-1]),
            "mu": cylinder([0, 1], pt=[30.0], eta=[-0.5], phi=[3.0], mass=[0.1], charge=[1]),
            "a": cylinder([0, 0], pt=[], eta=[], phi=[], mass=[]),
            "j": cylinder(
                [3, 1], pt=[25.0, 60.0, 40.0, 50.0], eta=[1.0, -2.0, 4.0, 0.0], phi=[0.0, 1.0, 2.0, 3.0], mass=[5.0] * 4
            ),
            "met": ak.zip({"pt": [10.0, 20.0], "phi": [-3.0, 1.0]}, with_name="Momentum2D"),
        },
        depth_limit=1,
    )
    return EventBatch(events, np.ones((2, 1)), (NOMINAL,), source="reco.root")


def test_reconstructed_objects_are_taken_as_they_are() -> None:
    objects = Objects(reconstructed())
    np.testing.assert_allclose(column(objects["j"], "pt")[0], [60.0, 40.0, 25.0])
    np.testing.assert_allclose(column(objects["e"], "phi")[0], [-1.0])
    assert column(objects["l"], "charge") == [[-1], [1]]
    met, visible = objects["met"], objects["visible"]
    assert isinstance(met, Particle)
    assert isinstance(visible, Particle)
    np.testing.assert_allclose(met.momenta["pt"], [10.0, 20.0])
    np.testing.assert_allclose(met.momenta["e"], [10.0, 20.0])
    np.testing.assert_allclose(visible.momenta["px"][1], 50 * np.cos(3.0) + 30 * np.cos(3.0))
    for name in ("p", "p_truth", "tau", "n_particles"):
        with pytest.raises(MissingError, match=r"reco\.root: these events give no"):
            objects[name]


def test_only_acceptance_acts_on_reconstructed_objects() -> None:
    objects = Objects(reconstructed(), Detector(pt_min={"j": 30.0}, eta_max={"j": 2.5, "e": 0.1}))
    np.testing.assert_allclose(column(objects["j"], "pt")[0], [60.0])
    assert column(objects["e"], "pt") == [[], []]
    assert len(column(objects["mu"], "pt")[1]) == 1
    with pytest.raises(InputError, match=r"reco\.root: these events hold reconstructed objects"):
        Objects(reconstructed(), Detector(met_noise=(1.0, 0.0)))


def test_users_define_objects_from_ours() -> None:
    batch = batch_of(drawn(50))
    hard = Objects(
        batch,
        definitions={"j": lambda events: events.j[events.j.pt > 30], "b": lambda events: events.j[events.j.b_tag]},
    )
    plain = Objects(batch)
    assert column(hard["j"], "pt") == [[pt for pt in event if pt > 30] for event in column(plain["j"], "pt")]
    assert column(hard["b"], "b_tag") == [[True for b in event if b] for event in column(plain["j"], "b_tag")]
    assert column(hard["p"], "pt") == column(plain["p"], "pt")
    np.testing.assert_array_equal(ak.num(hard.events.j), hard["j"].counts)


def test_users_define_particles_and_numbers_under_their_names() -> None:
    batch = batch_of(drawn(50))
    definitions = {"met": lambda events: ak.firsts(events.v), "scale": lambda events: np.full(len(events), 7.0)}
    objects = Objects(batch, definitions=definitions)
    assert objects["scale"].values.tolist() == [7.0] * 50
    met, neutrinos = objects["met"], objects["v"]
    assert isinstance(met, Particle)
    assert isinstance(neutrinos, Collection)
    assert met.defined.tolist() == (neutrinos.counts > 0).tolist()


@pytest.mark.parametrize(
    ("name", "definition", "reason"),
    [
        ("j", lambda events: events.jets, "failed: .*jets"),
        ("j", lambda events: events.met, "must be a jagged array of 3 events"),
        ("j", lambda events: events.j[:2], "must be a jagged array of 3 events, not 2 \\*"),
        ("j", lambda events: 3, "not int"),
        ("j", lambda events: events.j.pt, "it has no fields"),
        ("j", lambda events: events.j[["px", "py"]], "it has px, py"),
        ("met", lambda events: events.j, "one per event"),
        ("scale", lambda events: [1.0], "not of shape"),
        ("scale", lambda events: ["a"] * 3, "must be an array of 3 numbers"),
    ],
)
def test_wrong_definitions_are_named(name: str, definition: object, reason: str) -> None:
    objects = Objects(EVENTS, definitions={name: definition})
    with pytest.raises(InputError, match=rf"toy\.lhe: the object '{name}'.*{reason}"):
        objects[name].momenta["pt"]


def test_the_events_that_functions_get_behave_as_vectors() -> None:
    events = Objects(batch_of(drawn(40))).events
    assert set(events.fields) >= {
        "particles",
        "scale",
        "e",
        "mu",
        "tau",
        "j",
        "a",
        "l",
        "v",
        "p",
        "met",
        "visible",
        "all",
    }
    np.testing.assert_allclose(ak.flatten(events.j.pt), ak.flatten(np.hypot(events.j.px, events.j.py)))
    pairs = events[ak.num(events.j) > 1]
    assert np.all((pairs.j[:, 0] + pairs.j[:, 1]).mass >= 0)
    assert np.all(ak.drop_none(ak.firsts(events.j).deltaR(events.met)) >= 0)


def test_particles_without_identity_are_refused() -> None:
    momenta = jagged([1], {name: np.ones(1) for name in ("px", "py", "pz", "e")})
    batch = EventBatch(ak.zip({"particles": momenta}, depth_limit=1), np.ones((1, 1)), (NOMINAL,), source="bare.lhe")
    with pytest.raises(InputError, match=r"bare\.lhe: particles need the fields pdgid and status"):
        Objects(batch)["j"]
