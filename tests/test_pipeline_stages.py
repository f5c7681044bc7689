"""Stages: done once, done again exactly when something they depend on changes, never half seen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings

import pytest

from columnminer.errors import ColumnMinerWarning, InputError, OutputExistsError
from columnminer.pipeline.stages import Stage, Workspace


class Kitchen:
    """A small graph of stages, a -> b -> d and c -> d, that counts what it makes."""

    def __init__(self, folder, source):
        self.folder, self.source, self.made = folder, source, []
        self.options = {"a": 1, "b": 1, "c": 1, "d": 1}

    def stages(self):
        def make(name):
            def write(folder):
                self.made.append(name)
                (folder / "value").write_text(f"{name}{self.options[name]}")

            return write

        def stage(name, *needs, files=()):
            return Stage(name, name, make(name), {"value": self.options[name]}, needs=needs, files=files)

        a = stage("a", files=(self.source,))
        b = stage("b", a)
        c = stage("c")
        return [a, b, c, stage("d", b, c)]

    def run(self):
        """Run what is not done, in a new workspace on the same folder; return the names of what was made."""
        self.made = []
        workspace = Workspace(self.folder)
        for stage in self.stages():
            if not workspace.is_done(stage):
                workspace.run(stage)
        return self.made


@pytest.fixture
def kitchen(tmp_path):
    source = tmp_path / "input.txt"
    source.write_text("events")
    return Kitchen(tmp_path / "out", source)


def test_everything_is_made_once(kitchen):
    assert kitchen.run() == ["a", "b", "c", "d"]
    assert kitchen.run() == []
    assert (kitchen.folder / "d" / "value").read_text() == "d1"


@pytest.mark.parametrize(("changed", "again"), [("a", "abd"), ("b", "bd"), ("c", "cd"), ("d", "d")])
def test_a_change_makes_again_only_what_depends_on_it(kitchen, changed, again):
    kitchen.run()
    kitchen.options[changed] = 2
    assert kitchen.run() == list(again)
    assert (kitchen.folder / changed / "value").read_text() == f"{changed}2"
    assert kitchen.run() == []


def test_an_input_counts_by_its_content_not_by_its_date(kitchen):
    kitchen.run()
    os.utime(kitchen.source, (1, 1))
    assert kitchen.run() == []
    kitchen.source.write_text("others")  # the same size
    assert kitchen.run() == ["a", "b", "d"]


def test_a_missing_input_is_named(kitchen):
    kitchen.source.unlink()
    with pytest.raises(InputError, match=r"input\.txt: cannot be read"):
        kitchen.run()


def test_a_failed_stage_leaves_the_old_output_and_keeps_what_it_had(kitchen):
    kitchen.run()
    workspace = Workspace(kitchen.folder)
    seen = []

    def fail(folder):
        seen.append(sorted(p.name for p in folder.iterdir()))
        (folder / "part1").write_text("done")
        msg = "the disk is full"
        raise OSError(msg)

    stage = Stage("a", "a", fail, {"value": 3})
    for _ in range(2):
        with pytest.raises(OSError, match="full"):
            workspace.run(stage)
    assert seen == [[], ["part1"]], "a second try goes on from what the first left"
    assert (kitchen.folder / "a" / "value").read_text() == "a1"
    other = Stage("a", "a", lambda folder: (folder / "value").write_text("new"), {"value": 4})
    workspace = Workspace(kitchen.folder)
    workspace.run(other)
    partial = kitchen.folder / ".columnminer" / "partial" / "a"
    assert list(partial.iterdir()) == [], "what other options left is gone"


def test_a_damaged_record_means_not_done(kitchen):
    kitchen.run()
    (kitchen.folder / "c" / "stage.json").write_text("{")
    (kitchen.folder / ".columnminer" / "hashes.json").write_text('["nonsense"]')
    assert kitchen.run() == ["c"]


def test_warnings_are_shown_and_kept_with_the_output(tmp_path):
    workspace = Workspace(tmp_path / "out")

    def make(folder):
        (folder / "value").write_text("1")
        for message in ("few events", "few events", "far points"):
            warnings.warn(message, ColumnMinerWarning, stacklevel=1)
        warnings.warn("of others", UserWarning, stacklevel=1)

    shown = warnings.showwarning
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        workspace.run(Stage("warned", "warned", make, {}))
    assert [str(one.message) for one in caught] == ["few events", "few events", "far points", "of others"]
    assert workspace.warnings("warned") == ("few events", "far points")
    assert workspace.warnings("never made") == ()
    workspace.run(Stage("quiet", "quiet", lambda folder: None, {}))
    assert workspace.warnings("quiet") == ()
    assert warnings.showwarning is shown


def test_records_hold_no_paths_and_no_times(kitchen):
    kitchen.run()
    record = json.loads((kitchen.folder / "a" / "stage.json").read_text())
    assert set(record) == {"format", "stage", "key", "options", "needs", "files", "warnings"}
    assert [f["name"] for f in record["files"]] == ["input.txt"]
    assert str(kitchen.folder.parent) not in (kitchen.folder / "a" / "stage.json").read_text()


def test_a_folder_of_somebody_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(OutputExistsError, match="holds files that columnminer did not write"):
        Workspace(tmp_path)
    with pytest.raises(OutputExistsError, match="is a file"):
        Workspace(tmp_path / "thesis.tex")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["thesis.tex"]


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks of this kind")
def test_a_second_run_in_the_same_folder_is_refused_and_a_killed_one_lets_go(tmp_path):
    code = (
        "import sys, time; from columnminer.pipeline.stages import Workspace\n"
        "with Workspace(sys.argv[1]).alone():\n    print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(OutputExistsError, match="another run"), Workspace(tmp_path / "out").alone():
            pass
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        with Workspace(tmp_path / "out").alone():
            pass
    finally:
        other.kill()
        other.stdout.close()
        other.wait()


_KILLED = """
import sys, time
from pathlib import Path
from columnminer.pipeline.stages import Stage, Workspace

def make(folder):
    for i in range(5):
        (folder / f"{i}.txt").write_text("x" * 1000)
        time.sleep(0.004)

workspace = Workspace(sys.argv[1])
for name in "abcd":
    stage = Stage(name, name, make, {"value": sys.argv[2]})
    if not workspace.is_done(stage):
        workspace.run(stage)
"""


def test_whenever_a_run_is_killed_an_output_is_whole_or_absent(tmp_path):
    out = tmp_path / "out"
    for attempt in range(6):
        run = subprocess.Popen([sys.executable, "-c", _KILLED, str(out), str(attempt // 3)])
        time.sleep(0.25 + 0.06 * attempt)
        run.kill()
        run.wait()
        for name in "abcd":
            if (out / name).exists():
                assert sorted(p.name for p in (out / name).iterdir()) == [*(f"{i}.txt" for i in range(5)), "stage.json"]
    subprocess.run([sys.executable, "-c", _KILLED, str(out), "1"], check=True)
    workspace = Workspace(out)
    assert all(workspace.is_done(Stage(n, n, lambda _: None, {"value": "1"})) for n in "abcd")
