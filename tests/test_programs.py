"""Other programs: followed, ended when they take too long or we are interrupted; and what MadGraph's log says."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from columnminer.errors import GeneratorError
from columnminer.generate.madgraph_log import MadGraphLog
from columnminer.generate.programs import run_program


def start(code: str, folder: Path, **options: object) -> int:
    options = {"follow": lambda line: None, "progress": False, **options}
    return run_program([sys.executable, "-c", code], folder / "log", folder=folder, what="a program", **options)


def test_output_is_followed_and_kept(tmp_path: Path) -> None:
    lines: list[str] = []
    code = (
        "import sys, time; print('one', flush=True); print('half of ', end='', flush=True); time.sleep(0.6);"
        "print('two', flush=True); print('three', file=sys.stderr, flush=True); print('no end', end=''); sys.exit(3)"
    )
    assert start(code, tmp_path, follow=lines.append) == 3
    assert sorted(lines) == ["half of two", "no end", "one", "three"]
    assert (tmp_path / "log").read_text().splitlines() == lines


def test_nobody_answers_questions(tmp_path: Path) -> None:
    assert start("import sys; sys.exit(len(sys.stdin.read()))", tmp_path, timeout=20) == 0


def test_arguments_see_no_shell(tmp_path: Path) -> None:
    lines: list[str] = []
    hostile = ["; touch hacked", "$(touch hacked)", "`touch hacked`", "a b"]
    command = [sys.executable, "-c", "import sys; print(*sys.argv[1:], sep='\\n')", *hostile]
    status = run_program(command, tmp_path / "log", folder=tmp_path, what="a program", follow=lines.append)
    assert (status, lines) == (0, hostile)
    assert not (tmp_path / "hacked").exists()


def test_an_end_is_made(tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(GeneratorError, match=r"a program was ended after 0\.5 s, .*log"):
        start("import time; time.sleep(60)", tmp_path, timeout=0.5)
    assert time.monotonic() - begin < 5


def test_an_interrupt_ends_the_program_and_what_it_started(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys, time; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True);"
        "time.sleep(60)"
    )
    children: list[str] = []

    def interrupt(line: str) -> None:
        children.append(line)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(code, tmp_path, follow=interrupt)
    state = Path(f"/proc/{children[0]}/stat")
    for _ in range(50):
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.1)
    pytest.fail(f"process {children[0]} still runs")


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(GeneratorError, match="a program cannot be started: /nowhere: No such file"):
        run_program(["/nowhere"], tmp_path / "log", folder=tmp_path, what="a program", follow=lambda line: None)


# The log


def test_logs_are_followed() -> None:
    log = MadGraphLog()
    said = {
        "\x1b[1;34mINFO:  Idle: 5,  Running: 2,  Completed: 13 [ 1m 2s ] \x1b[0m": "13 of 20 jobs completed",
        "     Cross-section :   0.001037 +- 3.345e-06 pb": None,
        "     Nb of events :  10000": "10000 events generated",
        "launch --rwgt_name=neg_w": "weights of benchmark neg_w",
        "INFO: Event nb 3000 4.3s ": "weights of benchmark neg_w: 3000 of 10000 events",
        "INFO: relative error on the cross section": None,
        'Command "quit" interrupted with error:': None,  # looking for updates, without a network
        "last": None,
        "": None,
    }
    for line, expected in said.items():
        assert log.follow(line) == expected
    assert log.faults == []
    assert log.complaint.splitlines() == [
        "its log ends with:",
        "  INFO: relative error on the cross section",
        '  Command "quit" interrupted with error:',
        "  last",
    ]
    assert MadGraphLog().complaint == "its log is empty"


@pytest.mark.parametrize(
    "line",
    [
        'Command "generate_events run_01" interrupted with error:',
        'Error detected in "generate_events run_01"',
        "\t    Error: Symbol 'bias_module' at (1) has no IMPLICIT type",
        "ModuleNotFoundError: No module named 'six'",
        "\x1b[1;31mCRITICAL: Fail to set the width\x1b[0m",
        "make[1]: *** [driver.o] Error 1",
        "Traceback (most recent call last):",
        "scripts/run_01.sh: line 12: gfortran: command not found",
    ],
)
def test_faults_are_recognised(line: str) -> None:
    log = MadGraphLog()
    for each in ["INFO: fine", line, *[f"and {i}" for i in range(8)], "INFO: fine again"]:
        log.follow(each)
    assert log.faults[0] in line
    assert log.faults[1:] == ["and 0", "and 1", "and 2", "and 3"]
    assert "INFO" not in log.complaint
