from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys

import pytest

from columnminer.errors import FileFormatError, InputError, TaskError
from columnminer.run.tasks import run_tasks


def square(n):
    return n * n


def picky(n):
    if n == 2:
        msg = "two.lhe, event 7: not a number"
        raise FileFormatError(msg)
    if n == 4:
        raise ZeroDivisionError
    return n


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50)
    with cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture(params=["here", "processes", "cluster"])
def where(request):
    """Each way to run tasks, as options of run_tasks."""
    if request.param == "cluster":
        return {"client": request.getfixturevalue("client")}
    return {"workers": 2 if request.param == "processes" else 1}


def test_results_come_in_the_order_of_the_items(where):
    assert run_tasks(square, range(7), **where) == [0, 1, 4, 9, 16, 25, 36]
    assert run_tasks(square, [], **where) == []


def test_functions_defined_anywhere_travel(where):
    offset = 5
    assert run_tasks(lambda n: n + offset, [1, 2], **where) == [6, 7]


def test_failures_are_reported_after_the_others_are_done(where, tmp_path):
    def work(n):
        (tmp_path / f"{n}").touch()
        return picky(n)

    with pytest.raises(TaskError) as caught:
        run_tasks(work, range(6), name=lambda n: f"file {n}", title="reading", retries=0, **where)
    assert sorted(p.name for p in tmp_path.iterdir()) == list("012345")
    message = str(caught.value)
    assert "2 of 6 failed" in message
    assert "file 2: two.lhe, event 7: not a number" in message
    assert "file 4: ZeroDivisionError" in message


def test_only_errors_that_may_pass_are_tried_again(where, tmp_path):
    def flaky(n):
        tries = len(list(tmp_path.glob(f"{n}-*")))
        (tmp_path / f"{n}-{tries}").touch()
        if n == 0 and tries == 0:
            msg = "the disk hiccuped"
            raise OSError(msg)
        if n == 1:
            msg = "bad input stays bad"
            raise InputError(msg)
        return tries

    with pytest.raises(TaskError, match="1 of 2 failed"):
        run_tasks(flaky, [0, 1], retries=2, **where)
    assert len(list(tmp_path.glob("0-*"))) == 2
    assert len(list(tmp_path.glob("1-*"))) == 1


def test_a_dying_process_takes_no_other_task_with_it():
    def deadly(n):
        if n == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    with pytest.raises(TaskError, match=r"1 of 8 failed:\n  3: the process that ran it died"):
        run_tasks(deadly, range(8), workers=2)


def test_a_process_that_dies_once_is_replaced(tmp_path):
    def dies_once(n):
        if n == 1 and not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    assert run_tasks(dies_once, range(4), workers=2) == [0, 1, 2, 3]


def test_progress_is_logged_where_there_is_no_terminal(caplog):
    with caplog.at_level(logging.INFO, logger="columnminer"):
        run_tasks(square, range(3), title="squares")
    assert "squares: 3 of 3 done" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="columnminer"):
        run_tasks(square, range(3), progress=False)
    assert not caplog.text


def test_progress_is_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    run_tasks(square, range(3), title="squares")
    shown = capsys.readouterr()
    assert "squares" in shown.err
    assert "3/3" in shown.err
    assert not shown.out


@pytest.mark.parametrize("options", [{"workers": 0}, {"retries": -1}])
def test_senseless_options_are_refused(options):
    with pytest.raises(InputError):
        run_tasks(square, [1], **options)


def test_scripts_need_no_guard_to_use_processes(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from columnminer.run.tasks import run_tasks\n"
        "def square(x):\n    return x * x\n"
        "print(run_tasks(square, [1, 2, 3], workers=2, progress=False))\n",
        encoding="utf-8",
    )
    answer = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout == "[1, 4, 9]\n"
    assert not answer.stderr
