"""Efficiencies and tags follow their maps, whatever these are written in, and belong to events."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from toy_events import batch_of

from columnminer import streams
from columnminer.errors import InputError, UnknownNameError
from columnminer.momenta import Collection
from columnminer.observe.detector import Detector
from columnminer.observe.maps import CorrectionMap
from columnminer.observe.objects import Objects

if TYPE_CHECKING:
    from pathlib import Path

KEY = streams.key(1, "maps")
N = 20_000


def objects(detector: Detector, pdgid: int, pt: float = 40.0, n: int = N) -> Objects:
    return Objects(batch_of([[(pdgid, 1, pt, 0.0, 30.0, 0.0)]] * n), detector, key=KEY)


def found(detector: Detector, pdgid: int, name: str, pt: float = 40.0) -> float:
    value = objects(detector, pdgid, pt)[name]
    assert isinstance(value, Collection)
    return float(np.sum(value.counts)) / N


def near(fraction: float, expected: float) -> bool:
    return abs(fraction - expected) < 4 * np.sqrt(expected * (1 - expected) / N)


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Corrections with the efficiencies 0.3 and 0.8 below and above 50 GeV, plus 0.1 for b."""
    pytest.importorskip("correctionlib")
    binned = {
        "nodetype": "binning",
        "input": "pt",
        "edges": [0.0, 50.0, 1000.0],
        "flow": "error",
    }
    numbers = {"b": [0.4, 0.9], "light": [0.3, 0.8]}
    flavours = [
        {"key": 5, "value": {**binned, "content": numbers["b"]}},
        {"key": 21, "value": {**binned, "content": numbers["light"]}},
    ]
    inputs = [{"name": "flavor", "type": "int"}, {"name": "pt", "type": "real"}]
    by_flavour = {
        "name": "tag",
        "version": 1,
        "inputs": inputs,
        "output": {"name": "efficiency", "type": "real"},
        "data": {"nodetype": "category", "input": "flavor", "content": flavours},
    }
    by_word = {
        "name": "word",
        "version": 1,
        "inputs": [{"name": "working_point", "type": "string"}],
        "output": {"name": "efficiency", "type": "real"},
        "data": {
            "nodetype": "category",
            "input": "working_point",
            "content": [{"key": "loose", "value": 0.9}, {"key": "wrong", "value": 1.5}],
        },
    }
    path = tmp_path / "maps.json.gz"
    document = {"schema_version": 2, "corrections": [by_flavour, by_word]}
    path.write_bytes(gzip.compress(json.dumps(document).encode()))
    return str(path)


def test_an_efficiency_may_be_a_function() -> None:
    detector = Detector(efficiencies={"mu": lambda p: np.where(p["pt"] > 50, 0.9, 0.4)})
    assert near(found(detector, 13, "mu"), 0.4)
    assert near(found(detector, 13, "mu", pt=60.0), 0.9)
    assert not near(found(detector, 13, "mu", pt=60.0), 0.88)
    assert found(detector, 11, "e") == 1.0


def test_an_efficiency_may_be_a_correction(file: str) -> None:
    for given in (CorrectionMap(file, "tag"), {"file": file, "correction": "tag", "inputs": {"flavor": "abs(pdgid)"}}):
        detector = Detector(efficiencies={"j": given})
        assert near(found(detector, 21, "j"), 0.3)
        assert near(found(detector, 5, "j", pt=60.0), 0.9)
    assert near(
        found(Detector(efficiencies={"j": CorrectionMap(file, "word", {"working_point": "loose"})}), 5, "j"), 0.9
    )


def tags(detector: Detector, pdgid: int) -> dict[str, float]:
    p = objects(detector, pdgid)["p"]
    assert isinstance(p, Collection)
    return {name: float(np.mean(p.momenta[name])) for name in ("b_tag", "c_tag", "tau_tag")}


def test_tags_and_mistags() -> None:
    detector = Detector(tags={"b": {"b": 0.7, "c": "0.2 if pt > 30 else 0", "j": 0.05}})
    b, c, light, tau = (tags(detector, pdgid) for pdgid in (5, 4, 21, -15))
    assert near(b["b_tag"], 0.7)
    assert not near(b["b_tag"], 0.68)
    assert b["c_tag"] == b["tau_tag"] == 0
    assert near(c["b_tag"], 0.2)
    assert near(c["c_tag"], 0.8)  # a tag without maps is perfect
    assert near(light["b_tag"], 0.05)
    assert tau == {"b_tag": 0.0, "c_tag": 0.0, "tau_tag": 1.0}


def test_the_first_of_several_tags_counts() -> None:
    detector = Detector(tags={"b": {"c": 0.5}, "c": {"c": 0.5}})
    c = tags(detector, 4)
    assert near(c["b_tag"], 0.5)
    assert near(c["c_tag"], 0.25)


def test_taus_that_are_not_tagged_are_jets_and_the_other_way_round() -> None:
    detector = Detector(tags={"tau": {"tau": 0.6, "j": 0.1}})
    assert near(found(detector, 15, "tau"), 0.6)
    assert near(found(detector, 15, "j"), 0.4)
    assert near(found(detector, 21, "tau"), 0.1)
    charges = objects(detector, 21)["tau"]
    assert isinstance(charges, Collection)
    assert abs(np.mean(charges.momenta["charge"])) < 0.1
    own = objects(detector, 15)["tau"]
    assert isinstance(own, Collection)
    assert np.all(own.momenta["charge"] == -1)


def test_tags_belong_to_events_and_not_to_batches() -> None:
    events = [[(5, 1, 40.0, 0.0, 10.0, 0.0), (21, 1, -50.0, 0.0, 5.0, 0.0)]] * 200
    detector = Detector(tags={"b": {"b": 0.5, "j": 0.5}})
    whole = Objects(batch_of(events), detector, key=KEY)["p"]
    last = Objects(batch_of(events[:100], first_event=100), detector, key=KEY)["p"]
    assert isinstance(whole, Collection)
    assert isinstance(last, Collection)
    np.testing.assert_array_equal(whole.momenta["pdgid"][200:], last.momenta["pdgid"])
    assert np.any(whole.momenta["pdgid"][:200] != last.momenta["pdgid"])
    np.testing.assert_array_equal(whole.momenta["px"][:2], [40.0, -50.0])


def test_a_detector_with_maps_is_json(file: str) -> None:
    detector = Detector(efficiencies={"j": CorrectionMap(file, "tag")}, tags={"b": {"b": 0.7}})
    said = json.loads(json.dumps(detector.to_dict()))
    assert said["tags"] == {"b": {"b": 0.7}}
    assert said["efficiencies"]["j"]["correction"] == "tag"
    assert len(said["efficiencies"]["j"]["sha256"]) == 64
    assert file not in json.dumps(said)
    plain = Detector(tags={"b": {"b": 0.7, "j": "0.01"}})
    assert Detector.from_dict(plain.to_dict()) == plain
    assert "tags" not in Detector().to_dict()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tags": {"bottom": {"b": 1}}}, UnknownNameError, "no tag 'bottom'"),
        ({"tags": {"b": {"light": 1}}}, UnknownNameError, "no flavour 'light'"),
        ({"tags": {"b": 0.7}}, InputError, "true flavour"),
        ({"efficiencies": {"mu": [0.5]}}, InputError, "must be a number, an expression, a function"),
        ({"efficiencies": {"mu": {"file": "x"}}}, InputError, "needs the keys file and correction"),
        ({"efficiencies": {"mu": {"file": "absent.json", "correction": "x"}}}, InputError, "no file 'absent.json'"),
    ],
)
def test_what_is_no_map(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Detector(**options)


def test_wrong_corrections(file: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"no correction is called 'tags'. Did you mean 'tag'"):
        CorrectionMap(file, "tags")
    with pytest.raises(UnknownNameError, match="has no input 'p'"):
        CorrectionMap(file, "tag", {"p": "pt"})
    with pytest.raises(InputError, match="needs a text for its input 'working_point'"):
        CorrectionMap(file, "word")
    other = tmp_path / "other.json"
    other.write_text("{}")
    with pytest.raises(InputError, match="no corrections of correctionlib"):
        CorrectionMap(str(other), "tag")
    with pytest.raises(InputError, match="'tag' has no value for some particle"):
        found(Detector(efficiencies={"j": CorrectionMap(file, "tag")}), 3, "j")
    with pytest.raises(InputError, match="'word', is not between 0 and 1"):
        found(Detector(efficiencies={"j": CorrectionMap(file, "word", {"working_point": "wrong"})}), 3, "j")


def test_a_function_that_fails() -> None:
    def fails(p: object) -> float:
        raise ZeroDivisionError

    with pytest.raises(InputError, match=r"the tag 'b' of 'b', .*fails.*, failed: ZeroDivisionError"):
        tags(Detector(tags={"b": {"b": fails}}), 5)
