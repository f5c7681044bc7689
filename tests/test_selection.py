"""Selections: MadMiner's numbers, its rules for what is undefined (without its fault), cut flow and provenance."""

from __future__ import annotations

import functools
import gc
import json
import pickle
from typing import TYPE_CHECKING

import awkward as ak
import h5py
import numpy as np
import pytest
from toy_events import batch_of, drawn

from columnminer import streams
from columnminer.errors import ExpressionError, InputError, MissingError, UnknownNameError
from columnminer.formats.lhe import LHEReader
from columnminer.momenta import Momenta
from columnminer.observe.detector import Detector
from columnminer.observe.objects import Objects
from columnminer.observe.observables import Cut, DefaultObservables, Efficiency, Observable, provenance
from columnminer.observe.selection import Selection
from columnminer.observe.smearing import Resolution

if TYPE_CHECKING:
    from pathlib import Path

SIGNAL = ("sm", "w", "neg_w", "ww", "neg_ww")
NOISE = ("met", "et_miss", "phi_miss")  # rounding noise in parton-level events without neutrinos


def madminer_selection() -> Selection:
    """Return the selection of MadMiner's physics tutorial, in its own words."""
    return Selection(
        {
            "pt_j1": Observable("j[0].pt", default=0.0),
            "delta_phi_jj": "j[0].deltaphi(j[1]) * (-1.0 + 2.0 * float(j[0].eta > j[1].eta))",
            "met": "met.pt",
        },
        cuts=["(a[0] + a[1]).m > 122.0", "(a[0] + a[1]).m < 128.0", "pt_j1 > 20.0"],
        default_observables=DefaultObservables(n_leptons=0, visible=False, charge=False),
        required=["delta_phi_jj", "met"],
    )


def assert_columns_agree(x: np.ndarray, reference: np.ndarray, names: list[str]) -> None:
    assert x.shape == reference.shape
    for i, name in enumerate(names):
        if name not in NOISE:
            np.testing.assert_allclose(x[:, i], reference[:, i], rtol=1e-8, atol=1e-8 * np.abs(reference[:, i]).max())


def test_the_first_events_of_the_tutorial(data: Path) -> None:
    selection = madminer_selection()
    with np.load(data / "vbf" / "madminer_observables.npz") as file:
        reference = dict(file)
    assert selection.observable_names == tuple(reference["names"])
    for name in SIGNAL:
        batch = next(iter(LHEReader(data / "vbf" / f"signal_{name}.lhe.gz").batches(20)))
        selected = selection.apply(batch)
        assert_columns_agree(selected.observables, reference[name], list(selection.observable_names))
        np.testing.assert_array_equal(selected.weights, batch.weights)


def test_all_events_of_the_tutorial(shared: Path) -> None:
    selection = madminer_selection()
    oracle = json.loads((shared / "vbf" / "oracle.json").read_text())
    assert list(selection.observable_names) == oracle["observables"]
    selected = [
        selection.apply(batch)
        for name in SIGNAL
        for batch in LHEReader(shared / "vbf" / f"signal_{name}.lhe.gz").batches(size=7_000)
    ]
    with h5py.File(shared / "vbf" / "madminer_lhe_nosmear.h5") as file:
        reference = file["samples/observations"][()]
    assert_columns_agree(np.concatenate([s.observables for s in selected]), reference, oracle["observables"])
    flow = functools.reduce(lambda a, b: a + b, (s.cut_flow for s in selected))
    assert flow.events == (40_000,) * 5


def three_events(**options: object) -> Selection:
    return Selection({"pt": "j[0].pt"}, **options)


EVENTS = [
    [(1, 1, 50.0, 0.0, 0.0, 0.0), (2, 1, 20.0, 0.0, 0.0, 0.0)],
    [(1, 1, 30.0, 0.0, 0.0, 0.0)],
    [(22, 1, 10.0, 0.0, 0.0, 0.0)],
]
WEIGHTS = np.array([[1.0, 10.0], [2.0, 20.0], [-4.0, 40.0]])
BATCH = batch_of(EVENTS, weights=WEIGHTS)


@pytest.mark.parametrize(
    ("observable", "values"),
    [
        (Observable("j[1].pt"), [20.0, np.nan, np.nan]),
        (Observable("j[1].pt", default=-1.0), [20.0, -1.0, -1.0]),
        (Observable("j[1].pt", required=True), [20.0]),
        (Observable("j[1].pt", required=True, default=-1.0), [20.0]),
        (Observable("len(j) > 1"), [1.0, 0.0, 0.0]),
        (Observable("3"), [3.0, 3.0, 3.0]),
        (Observable("sqrt(25 - j[0].pt)", default=7.0), [7.0, 7.0, 7.0]),
        (Observable("1e308 * 10 - 1e308 * 10", default=7.0), [7.0, 7.0, 7.0]),
    ],
)
def test_undefined_observables(observable: Observable, values: list[float]) -> None:
    np.testing.assert_array_equal(Selection({"x": observable}).apply(BATCH).observables[:, 0], values)


def test_a_missing_required_observable_is_not_forgiven_when_a_later_one_fails() -> None:
    """MadMiner lets an event pass again when an optional observable after the required one is undefined, too."""
    selection = Selection({"two": Observable("j[1].pt", required=True), "three": Observable("j[2].pt")})
    assert selection.apply(BATCH).passed.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("cut", "passed"),
    [
        ("j[1].pt > 10", [True, False, False]),
        (Cut("j[1].pt > 10", required=True), [True, True, True]),
        (Cut("j[1].pt > 30", required=True), [False, True, True]),
        ("len(j) < 2 or j[1].pt > 30", [False, True, True]),
        ("pt > 40", [True, False, False]),  # the observable, NaN in the last event, where no comparison holds
        (Cut("pt > 40", required=True), [True, False, False]),
        ("not pt > 40", [False, True, True]),
        ("safe == 9", [False, False, True]),
        ("met > 60", [True, False, False]),  # an observable that hides an object
        ("met.pt > 60 and met.px < 0", [True, False, False]),  # the object
        (lambda events: ak.num(events.j) == 1, [False, True, False]),
    ],
)
def test_cuts(cut: object, passed: list[bool]) -> None:
    observables = {"pt": "j[0].pt", "safe": Observable("j[0].pt", default=9.0), "met": "met.pt"}
    assert Selection(observables, cuts=[cut]).apply(BATCH).passed.tolist() == passed


@pytest.mark.parametrize(
    ("efficiency", "factors"),
    [
        ("0.5", [0.5, 0.5, 0.5]),
        ("0.8 if pt > 40 else 0.4", [0.8, 0.4, 0.4]),
        ("len(j) / 4", [0.5, 0.25, None]),
        ("-1 + len(j)", [1.0, None, None]),
        ("0.01 * j[0].pt", [0.5, 0.3, 1.0]),
        (Efficiency("0.01 * j[0].pt", default=0.7), [0.5, 0.3, 0.7]),
        (Efficiency("0.01 * j[0].pt", default=0.0), [0.5, 0.3, None]),
        ("0.01 * pt", [0.5, 0.3, None]),  # an efficiency of NaN is no efficiency
    ],
)
def test_efficiencies_multiply_all_weights(efficiency: object, factors: list[float | None]) -> None:
    selected = Selection({"pt": "j[0].pt"}, efficiencies=[efficiency, "1"]).apply(BATCH)
    kept = np.array([f is not None for f in factors])
    assert selected.passed.tolist() == kept.tolist()
    np.testing.assert_allclose(
        selected.weights, WEIGHTS[kept] * np.array([f for f in factors if f is not None])[:, None]
    )


def test_cut_flow_counts_events_and_weights_and_adds_up() -> None:
    selection = Selection(
        {"n": Observable("len(j)", required=True)}, cuts=["n > 0", "j[0].pt > 40"], efficiencies=["0.5"]
    )
    flow = selection.apply(BATCH).cut_flow
    assert flow.steps == ("all events", "required observables", "n > 0", "j[0].pt > 40", "0.5")
    assert flow.events == (3, 3, 2, 1, 1)
    assert flow.weights == (-1.0, -1.0, 3.0, 1.0, 0.5)
    assert (flow + flow).events == (6, 6, 4, 2, 2)
    assert type(flow).from_dict(json.loads(json.dumps(flow.to_dict()))) == flow
    with pytest.raises(InputError, match="different selections"):
        flow + three_events().apply(BATCH).cut_flow


def test_results_do_not_depend_on_batches() -> None:
    detector = Detector({"all": Resolution(energy=None, pt=(0.0, 0.1))}, met_noise=(1.0, 0.1))
    defaults = DefaultObservables()
    selection = Selection(
        cuts=["n_js > 0"], efficiencies=["0.5 + 0.1 * n_js"], default_observables=defaults, detector=detector
    )
    key = streams.key(0, "signal")
    events = drawn(300)
    whole = selection.apply(batch_of(events), key)
    parts = [selection.apply(batch_of(events[i : i + 70], first_event=i), key) for i in range(0, 300, 70)]
    np.testing.assert_array_equal(np.concatenate([p.observables for p in parts]), whole.observables)
    np.testing.assert_array_equal(np.concatenate([p.weights for p in parts]), whole.weights)
    assert not np.array_equal(selection.apply(batch_of(events), key + 1).observables, whole.observables)


def test_default_observables_are_those_of_madminer() -> None:
    assert list(DefaultObservables(n_leptons=1, n_photons=0, n_jets=1).observables()) == [
        *("et_miss", "phi_miss", "e_visible", "eta_visible", "n_ls", "e_l1", "pt_l1", "eta_l1", "phi_l1", "charge_l1"),
        *("n_as", "n_js", "e_j1", "pt_j1", "eta_j1", "phi_j1"),
    ]
    bare = DefaultObservables(2, 0, 0, met=False, visible=False, numbers=False, charge=False).observables()
    assert list(bare) == ["e_l1", "pt_l1", "eta_l1", "phi_l1", "e_l2", "pt_l2", "eta_l2", "phi_l2"]
    assert bare["pt_l2"] == Observable("l[1].pt", default=0.0)


def test_given_observables_stay_before_default_ones() -> None:
    given = Observable("j[1].pt", default=-5.0)
    selection = Selection({"x": "3", "pt_j1": given}, default_observables=DefaultObservables())
    assert selection.observable_names[:3] == ("x", "pt_j1", "et_miss")
    assert selection.observables["pt_j1"] is given
    assert len(selection.observable_names) == len(set(selection.observable_names))


def test_required_and_defaults_by_name() -> None:
    selection = Selection({"a": "j[0].pt", "b": "j[1].pt"}, required=["a"], defaults={"b": 3})
    assert selection.observables == {"a": Observable("j[0].pt", required=True), "b": Observable("j[1].pt", default=3.0)}
    with pytest.raises(UnknownNameError, match=r"no observable is called 'ptj1'\. Did you mean 'pt_j1'"):
        Selection({"pt_j1": "j[0].pt"}, required=["ptj1"])


def test_functions_see_our_objects_and_say_what_is_undefined() -> None:
    functions = {
        "masked": lambda events: ak.firsts(events.j).pt,
        "nan": lambda events: np.where(ak.num(events.j) > 1, 1.0, np.nan),
        "numpy": lambda events: np.ma.masked_array(np.arange(3), mask=[True, False, False]),
        "objects": lambda events: ak.num(events.hard),
        "header": lambda events: events.scale + events.met.pt,
    }
    definitions = {"hard": lambda events: events.j[events.j.pt > 25]}
    x = Selection(functions, objects=definitions).apply(BATCH).observables
    want = [[50, 30, np.nan], [1, np.nan, np.nan], [np.nan, 1, 2], [1, 1, 0], [90 + 70, 91 + 30, 92 + 10]]
    np.testing.assert_allclose(x.T, want)
    assert Selection({"x": Observable(functions["masked"], required=True)}).apply(BATCH).passed.tolist() == [1, 1, 0]
    assert Selection({"n": "len(hard)"}, objects=definitions).apply(BATCH).observables[:, 0].tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda events: events.j.pt[:, 0], r"failed: IndexError: "),
        (lambda events: events.jets, r"failed: .*jets"),
        (lambda events: events.j.pt, r"must be an array of 3 numbers, one per event: "),
        (lambda events: [1.0, 2.0], r"must be an array of 3 numbers, one per event, not of shape \(2,\)"),
        (lambda events: "text", r"must be an array of 3 numbers"),
    ],
)
def test_functions_that_fail_are_named(function: object, reason: str) -> None:
    with pytest.raises(InputError, match=rf"(?s)toy\.lhe: the observable 'x', <?\S+, {reason}"):
        Selection({"x": function}).apply(BATCH)


def test_expressions_that_do_not_compile_are_named() -> None:
    for options, where in (
        ({"observables": {"x": "jj[0].pt"}}, "observable 'x': unknown name 'jj'"),
        ({"observables": {"x": "1", "y": "x"}}, "observable 'y': unknown name 'x'"),
        ({"observables": {"x": "1"}, "cuts": ["y > 1"]}, "cut: unknown name 'y'"),
        ({"observables": {"x": "1"}, "efficiencies": ["9**9**9"]}, "efficiency: exponents"),
        ({"observables": {"x": 3}}, "observable 'x': an expression is text, not int"),
    ):
        with pytest.raises(ExpressionError) as caught:
            Selection(**options)
        assert str(caught.value).startswith(where)
    with pytest.raises(InputError, match="at least one observable"):
        Selection(cuts=["1"])


def test_what_events_do_not_hold_is_named() -> None:
    with pytest.raises(MissingError, match=r"toy\.lhe: these events give no 'process_id'"):
        Selection({"x": "process_id"}).apply(BATCH)


def test_no_events() -> None:
    selected = madminer_selection().apply(batch_of([]))
    assert selected.observables.shape == (0, 23)
    assert selected.weights.shape == (0, 1)
    assert selected.cut_flow.events == (0,) * 5


def test_selections_travel() -> None:
    selection = madminer_selection()
    again = pickle.loads(pickle.dumps(selection))  # noqa: S301 - our own bytes
    batch = batch_of(drawn(50))
    np.testing.assert_array_equal(again.apply(batch).observables, selection.apply(batch).observables)


def test_selections_describe_themselves() -> None:
    def twice(events: ak.Array, factor: float = 2.0) -> ak.Array:
        return factor * events.met.pt

    selection = Selection(
        {"x": twice, "y": Observable("met.pt", default=1.0)},
        ["y > 1"],
        ["0.5"],
        detector=Detector({"j": Resolution()}),
        objects={"j": twice},
    )
    described = json.loads(json.dumps(selection.to_dict()))
    assert described == selection.to_dict()
    assert described["observables"]["y"] == {"formula": "met.pt", "required": False, "default": 1.0}
    assert described["observables"]["x"]["formula"] == described["objects"]["j"] == provenance(twice)
    assert described["cuts"] == [{"formula": "y > 1", "required": False}]
    assert Detector.from_dict(described["detector"]) == selection.detector


def test_provenance_changes_with_what_a_function_does() -> None:
    def scaled(factor: float) -> object:
        return lambda events: factor * events.met.pt

    assert provenance(scaled(2.0)) == provenance(scaled(2.0))
    assert provenance(scaled(2.0)) != provenance(scaled(3.0))

    def versioned(events: ak.Array) -> ak.Array:
        return events.met.pt

    versioned.version = "1.2"
    assert provenance(versioned).endswith("versioned@1.2")
    assert provenance(lambda events: 2 * versioned(events)) == provenance(lambda events: 2 * versioned(events))
    with pytest.raises(InputError, match="give it an attribute 'version'"):
        provenance(functools.partial(versioned))


def test_nothing_of_a_batch_outlives_it():
    """Columns in a circle would wait for the garbage collector, and files of any length fill the memory."""
    batch = batch_of(drawn(20))
    selection = Selection({"pt": "e[0].pt", "met": "met.pt", "all": "all.m", "l": "len(l)"})

    def alive():
        return sum(type(thing) in {Objects, Momenta} for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = alive()  # other tests may hold some
        selection.apply(batch)
        assert alive() == before
    finally:
        gc.enable()
