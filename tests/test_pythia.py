"""Showers: events equal their partons in weight and number, momentum is kept, faults have names."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path

import awkward as ak
import lhe_text
import numpy as np
import pytest

import columnminer as cm
from columnminer.errors import FileFormatError, GeneratorError, InputError, MissingError
from columnminer.formats.lhe import LHEReader
from columnminer.formats.pythia_card import setting_lines
from columnminer.generate import pythia, pythia_child
from columnminer.generate.pythia import PythiaReader

pytest.importorskip("pythia8mc", reason="needs Pythia: the extra 'generate'")

QUICK = {"PartonLevel:MPI": False, "HadronLevel:all": False}
"""A shower of the partons alone: 1 ms an event."""


@pytest.fixture(scope="module")
def drell_yan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generated") / "drell_yan.lhe.gz"
    cm.DrellYan().write_lhe(path, 60, seed=5)
    return path


def showered(
    path: Path, settings: object = QUICK, *, size: int = 100, skip: int = 0, **options: object
) -> cm.EventBatch:
    return next(PythiaReader(path, settings, **options).batches(size, skip))


@pytest.fixture(scope="module")
def full(drell_yan: Path) -> cm.EventBatch:
    """All of them, hadronised."""
    return showered(drell_yan, None)


def check_against_partons(path: Path, n: int) -> None:
    partons = next(LHEReader(path).batches(n))
    batch = showered(path, size=n)
    assert batch.weight_names == partons.weight_names
    np.testing.assert_array_equal(batch.weights, partons.weights)
    assert batch.vetoed is None
    for name in ("scale", "alpha_qed", "alpha_qcd", "process_id"):
        assert ak.all(batch.events[name] == partons.events[name])


def test_weights_are_those_of_the_file(drell_yan: Path) -> None:
    check_against_partons(drell_yan, 60)


@pytest.mark.parametrize("name", ["signal_sm", "signal_sm_avgnorm_1000", "signal_sm_systematics", "background_qcd"])
def test_weights_are_those_of_real_files(shared: Path, name: str) -> None:
    check_against_partons(shared / "vbf" / f"{name}.lhe.gz", 100)


def test_energy_and_momentum_are_kept(full: cm.EventBatch) -> None:
    final = full.events.particles[full.events.particles.status == 1]
    assert ak.min(ak.num(final)) > 20
    for name, total in {"px": 0.0, "py": 0.0, "pz": 0.0, "e": 13_000.0}.items():
        np.testing.assert_allclose(ak.to_numpy(ak.sum(final[name], axis=1)), total, atol=1e-3)
    # Negative control: the sum over all that is kept counts decayed particles twice where there are any.
    everything = ak.to_numpy(ak.sum(full.events.particles.e, axis=1))
    assert np.max(everything) > 13_001


def test_the_final_state_is_hadrons_and_leptons(full: cm.EventBatch) -> None:
    assert full.showered
    particles = full.events.particles
    ids = np.abs(ak.to_numpy(ak.flatten(particles.pdgid[particles.status == 1])))
    assert not np.isin(ids, [1, 2, 3, 4, 5, 21]).any()
    assert np.isin([13, 22, 211], ids).all()
    decayed = np.abs(ak.to_numpy(ak.flatten(particles.pdgid[particles.status == 2])))
    digits = np.stack([decayed // 1000 % 10, decayed // 100 % 10])
    assert np.all(((digits == 4) | (digits == 5)).any(axis=0) | (decayed == 15))
    assert 421 in decayed
    muons = particles[(np.abs(particles.pdgid) == 13) & (particles.status == 1) & (particles.pt > 100)]
    assert ak.all(ak.num(muons) <= 2)
    assert ak.mean(ak.num(muons)) > 1.5


def test_an_event_does_not_depend_on_batches(drell_yan: Path) -> None:
    whole = showered(drell_yan, seed=7)
    *_, last = PythiaReader(drell_yan, QUICK, seed=7).batches(25, skip=4)
    assert (last.first_event, len(last)) == (54, 6)
    assert ak.array_equal(last.events, whole.events[54:])
    # Negative control: another seed gives another shower.
    other = showered(drell_yan, seed=8)
    assert not ak.array_equal(other.events.particles.pdgid, whole.events.particles.pdgid)


def test_the_number_that_events_carry_changes_nothing(drell_yan: Path) -> None:
    """AQEDUP, in which the number of the event travels, plays no part in the shower."""
    code = f"""
import sys, awkward as ak
from columnminer.generate.pythia_process import Source, generator
class Plain(Source):
    def setOldEventLHEF(self):
        return True
import columnminer.generate.pythia_process as process
found = []
for kind in (Source, Plain):
    process.Source = kind
    pythia, source = process.generator(("HadronLevel:all = off",), {str(drell_yan)!r}, 3)
    source.stop = 20
    found.append(pythia.nextBatch(20))
tagged, plain = found
assert ak.all(tagged.prt.p.px == plain.prt.p.px) and ak.all(tagged.prt.id == plain.prt.id)
assert not ak.all(tagged.info.alphaEM == plain.info.alphaEM)
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_nothing_is_printed(drell_yan: Path, capfd: pytest.CaptureFixture[str]) -> None:
    showered(drell_yan, size=5)
    assert capfd.readouterr() == ("", "")


def test_events_that_pythia_gives_up_keep_their_place_and_weight(drell_yan: Path, tmp_path: Path) -> None:
    """An event with a lepton of more energy than its beams is none for Pythia."""
    head, *events = gzip.decompress(drell_yan.read_bytes()).decode().split("<event>")
    lines = events[3].splitlines()
    words = lines[4].split()
    words[8:10] = "9000.0", "9001.0"
    lines[4] = " ".join(words)
    events[3] = "\n".join(lines) + "\n"
    path = Path(lhe_text.save(tmp_path, "<event>".join([head, *events])))
    batch = showered(path)
    assert batch.vetoed is not None
    assert np.flatnonzero(batch.vetoed).tolist() == [3]
    np.testing.assert_array_equal(batch.weights, next(LHEReader(path).batches(100)).weights)
    assert ak.num(batch.events.particles)[3] == 0
    np.testing.assert_array_equal(
        ak.to_numpy(batch.events.particles[4].px), ak.to_numpy(showered(path, size=1, skip=4).events.particles[0].px)
    )
    selected = cm.Selection({"n": "len(p_truth)"}).apply(batch)
    assert np.flatnonzero(~selected.passed).tolist() == [3]


def test_negative_weights_stay_as_they_are(tmp_path: Path, drell_yan: Path) -> None:
    text = gzip.decompress(drell_yan.read_bytes()).decode()
    head, *events = text.split("<event>")
    lines = events[1].splitlines()
    words = lines[1].split()
    words[2] = f"-{words[2].lstrip('+')}"
    lines[1] = " ".join(words)
    events[1] = "\n".join(lines) + "\n"
    path = Path(lhe_text.save(tmp_path, "<event>".join([head, *events])))
    batch = showered(path, size=4)
    assert np.sign(batch.weights[:, 0]).tolist() == [1, -1, 1, 1]
    np.testing.assert_array_equal(batch.weights, next(LHEReader(path).batches(4)).weights)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"PartonLevl:MPI": False},
            r"does not take the setting 'PartonLevl:MPI = off'.*Did you mean 'PartonLevel:MPI'",
        ),
        ({"PartonLevel:MPI": "perhaps"}, "does not take the setting 'PartonLevel:MPI = perhaps'"),
        ({"PDF:pSet": "nonsense"}, "does not start. It says: .*invalid pSet nonsense"),
        ("Random:seed = 4", "random numbers follow from seed="),
        ({"Init:plugins": "{libevil.so::Evil}"}, "load a program"),
        ({"Beams:LHEF": "other.lhe"}, "the input is the sample's file"),
        ("nothing at all", "has a name such as 'PartonLevel:MPI' and a value"),
        ({"PartonLevel:MPI": "on\nInit:plugins = {x}"}, "has a name such as"),
        ({"PartonLevel:MPI": None}, "needs a number, a text or True or False"),
        (4, "or the text of a card, not 4"),
    ],
)
def test_bad_settings(drell_yan: Path, settings: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        showered(drell_yan, settings, size=2)


def test_settings_are_found_wrong_before_events_are_read(drell_yan: Path) -> None:
    with pytest.raises(InputError, match="PartonLevl"):
        PythiaReader(drell_yan, {"PartonLevl:MPI": False}).info()


def test_cards() -> None:
    card = """! comment
    PartonLevel:MPI = off   ! no second scatter
    Tune:pp 14
    15:onMode = off  # decays
    """
    lines = ("PartonLevel:MPI = off", "Tune:pp = 14", "15:onMode = off")
    assert setting_lines(card) == lines
    assert setting_lines({"PartonLevel:MPI": False, "Tune:pp": 14, "15:onMode": "off"}) == lines
    assert setting_lines({"Weights:x": [1, 2.5]}) == ("Weights:x = {1,2.5}",)
    assert setting_lines(None) == setting_lines({}) == setting_lines("") == ()


def test_a_broken_file(drell_yan: Path, tmp_path: Path) -> None:
    text = gzip.decompress(drell_yan.read_bytes()).decode()
    at = text.index("<event>", len(text) // 2)
    path = lhe_text.save(tmp_path, text[: at + 60])
    batches = PythiaReader(path, QUICK).batches(100)
    assert len(next(batches)) == text[:at].count("<event>")
    with pytest.raises(FileFormatError, match=r"events.lhe, event 30 .*cut"):
        next(batches)


def test_other_formats_cannot_be_showered(tmp_path: Path) -> None:
    path = tmp_path / "events.txt"
    path.write_text("nothing")
    with pytest.raises(FileFormatError, match=r"events.txt: no event file"):
        showered(path)


def test_a_generator_that_never_ends(drell_yan: Path) -> None:
    with pytest.raises(GeneratorError, match=r"drell_yan.lhe.gz: .*after event 0 within 0.05 s"):
        showered(drell_yan, patience=0.05)


def test_a_generator_that_dies(drell_yan: Path) -> None:
    order = {"path": str(drell_yan), "settings": (), "key": 1, "skip": 5, "size": 5, "whole": False}
    with pythia_child.Child(order, "events.lhe", 60) as child:
        os.kill(child._process.pid, signal.SIGKILL)
        with pytest.raises(GeneratorError, match=r"events.lhe: the process of Pythia was killed by signal 9 after"):
            deque(iter(child.frame, None), maxlen=0)


def test_the_process_ends_with_whoever_wants_its_events(drell_yan: Path) -> None:
    reader = PythiaReader(drell_yan, QUICK).batches(5)
    next(reader)
    reader.close()
    process = subprocess.Popen(
        [sys.executable, "-m", "columnminer.generate.pythia_process"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    order = {"path": str(drell_yan), "settings": [], "key": 1, "skip": 0, "size": 1, "whole": True}
    process.stdin.write(json.dumps(order).encode() + b"\n")
    process.stdin.close()  # as it happens when the process that started it is killed
    assert process.wait(30) == 1
    process.stdout.close()


def test_without_pythia(drell_yan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pythia.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r'pip install "columnminer\[generate\]"'):
        PythiaReader(drell_yan)
