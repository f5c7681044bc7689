"""Running Delphes, with a program in its place that does what its card says."""

from __future__ import annotations

import gzip
import os
import sys
import time
from pathlib import Path

import pytest
from delphes_files import write_delphes
from toy_events import batch_of, drawn

from columnminer.errors import FileFormatError, InputError, OutputExistsError, TaskError
from columnminer.formats.opening import open_reader
from columnminer.generate.delphes import run_delphes

FAKE = """#!{python}
import os, shutil, signal, sys, time
card, output, *events = sys.argv[1:]
with open(card) as file:
    words = file.read().split()
if os.path.exists(output):
    sys.exit("** ERROR: can't create output file " + output)
with open(events[0], "rb") as file:
    content = file.read()
if content[:2] == b"\\x1f\\x8b":
    sys.exit("** ERROR: invalid event format")
print("** Reading", events[0], os.path.basename(sys.argv[0]), "with", os.environ.get("FAKE_SETUP", "nothing"))
print("** [####------] (45.50%)", end="\\r")
what = words[0]
if b"BROKEN" in content:
    what = "give-up"
if what == "hang":
    open(output, "w").close()
    time.sleep(60)
if what == "fail":
    sys.exit("** ERROR: can't open configuration file")
if what == "die":
    os.kill(os.getpid(), signal.SIGSEGV)
shutil.copy(words[1], output)
if what == "garbage":
    with open(output, "wb") as file:
        file.write(b"root, or so")
if what == "give-up":
    print("** ERROR: invalid particle format", file=sys.stderr)
print("** Exiting...")
"""
HEPMC3 = "HepMC::Version 3.02.05\nHepMC::Asciiv3-START_EVENT_LISTING\n"
HEPMC2 = "\nHepMC::Version 2.06.09\nHepMC::IO_GenEvent-START_EVENT_LISTING\n"


@pytest.fixture(scope="module")
def delphes(tmp_path_factory):
    """A folder of Delphes' executables."""
    folder = tmp_path_factory.mktemp("Delphes 3 $(touch here)")  # no shell looks at it
    for name in ("DelphesHepMC2", "DelphesHepMC3"):
        path = folder / name
        path.write_text(FAKE.format(python=sys.executable))
        path.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_delphes(tmp_path_factory.mktemp("tree") / "made.root", batch_of(drawn(20)))


@pytest.fixture
def card(tmp_path, tree):
    def card(what):
        path = tmp_path / f"{what}.tcl"
        path.write_text(f"{what} {tree}")
        return path

    return card


@pytest.fixture
def events(tmp_path):
    path = tmp_path / "run 1; rm.hepmc"
    path.write_text(HEPMC3)
    return path


def left_over(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_files_become_trees(delphes, card, events, tmp_path):
    zipped = tmp_path / "zipped.hepmc.gz"
    zipped.write_bytes(gzip.compress(HEPMC2.encode()))
    made = run_delphes([events, zipped], card("work"), delphes=delphes, out=tmp_path / "made")
    assert [path.name for path in made] == ["run 1; rm_delphes.root", "zipped_delphes.root"]
    assert [open_reader(path).info().n_events for path in made] == [20, 20]
    logs = [path.with_suffix(".log").read_text() for path in made]
    assert "DelphesHepMC3 with nothing" in logs[0]
    assert "DelphesHepMC2 with nothing" in logs[1]
    assert left_over(tmp_path / "made") == []
    assert zipped.exists()
    assert not list(Path.cwd().glob("here"))


def test_the_environment_is_set_up_with_what_the_user_passed(delphes, card, events):
    setup = "export FAKE_SETUP='a; b'"
    (made,) = run_delphes(events, card("work"), delphes=delphes / "DelphesHepMC3", setup=setup)
    assert made.parent == events.parent
    assert "with a; b" in made.with_suffix(".log").read_text()


def test_an_executable_on_the_path(delphes, card, events, monkeypatch):
    with pytest.raises(InputError, match="no executable DelphesHepMC3 on the PATH: say with delphes="):
        run_delphes(events, card("work"))
    monkeypatch.setenv("PATH", f"{delphes}{os.pathsep}{os.environ['PATH']}")
    assert run_delphes(events, card("work"))[0].exists()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("fail", r"ended with status 1; its log says:\n.*ERROR: can't open configuration file"),
        ("give-up", r"ended with status 0; its log says:\n.*ERROR: invalid particle format"),
        ("garbage", r"ended with status 0, but wrote no file that can be read"),
        ("die", r"was ended by signal 11; the last line of its log"),
    ],
)
def test_a_failure_is_told_and_leaves_nothing(delphes, card, events, what, message):
    with pytest.raises(TaskError, match=message) as caught:
        run_delphes(events, card(what), delphes=delphes)
    assert events.name in str(caught.value)
    assert not list(events.parent.glob("*.root"))
    assert left_over(events.parent) == []


def test_a_program_that_never_ends_is_ended(delphes, card, events):
    start = time.monotonic()
    with pytest.raises(TaskError, match=r"Delphes on run 1; rm.hepmc was ended after 1 s"):
        run_delphes(events, card("hang"), delphes=delphes, timeout=1)
    assert time.monotonic() - start < 20
    assert not list(events.parent.glob("*.root"))
    assert left_over(events.parent) == []


def test_others_carry_on_and_are_kept(delphes, card, events, tmp_path):
    broken, second = tmp_path / "broken.hepmc", tmp_path / "second.hepmc"
    broken.write_text(HEPMC3 + "BROKEN")
    second.write_text(HEPMC3)
    files = [broken, events, second]
    with pytest.raises(TaskError, match=r"1 of 3 failed:\n  broken.hepmc"):
        run_delphes(files, card("work"), delphes=delphes, out=tmp_path / "made", workers=2)
    made = sorted((tmp_path / "made").glob("*.root"))
    assert [path.name for path in made] == ["run 1; rm_delphes.root", "second_delphes.root"]
    times = [path.stat().st_mtime_ns for path in made]
    broken.write_text(HEPMC3)
    options = {"delphes": delphes, "out": tmp_path / "made"}
    with pytest.raises(OutputExistsError, match="resume=True to keep it, or replace=True"):
        run_delphes(files, card("work"), **options)
    assert len(run_delphes(files, card("work"), resume=True, **options)) == 3
    assert [path.stat().st_mtime_ns for path in made] == times
    run_delphes(files, card("work"), replace=True, **options)
    assert [path.stat().st_mtime_ns for path in made] != times


def test_what_does_not_fit_is_found_before_anything_runs(delphes, card, events, tmp_path):
    with pytest.raises(InputError, match=r"nothing\.tcl: there is no such file"):
        run_delphes(events, tmp_path / "nothing.tcl", delphes=delphes)
    with pytest.raises(InputError, match=r"nothing\.hepmc: there is no such file"):
        run_delphes([events, tmp_path / "nothing.hepmc"], card("work"), delphes=delphes)
    text = tmp_path / "text.hepmc"
    text.write_text("no events")
    with pytest.raises(FileFormatError, match=r"text\.hepmc: Delphes reads HepMC2, HepMC3 and LHE"):
        run_delphes([events, text], card("work"), delphes=delphes)
    (tmp_path / "a.lhe").write_text("<LesHouchesEvents>")
    with pytest.raises(InputError, match=r"no executable DelphesLHEF in .*Delphes 3"):
        run_delphes(tmp_path / "a.lhe", card("work"), delphes=delphes)
    (tmp_path / "cut.hepmc.gz").write_bytes(gzip.compress((HEPMC3 + "E" * 5000).encode())[:-12])
    with pytest.raises((TaskError, FileFormatError), match=r"cut\.hepmc\.gz"):
        run_delphes(tmp_path / "cut.hepmc.gz", card("work"), delphes=delphes)
    twin = tmp_path / "other"
    twin.mkdir()
    (twin / events.name).write_text(HEPMC3)
    with pytest.raises(InputError, match="two files of events would become"):
        run_delphes([events, twin / events.name], card("work"), delphes=delphes, out=tmp_path / "made")
    assert not list(tmp_path.rglob("*.root"))
