"""How far work is: a bar on a terminal, one output in a notebook however many steps there are, nothing elsewhere."""

from __future__ import annotations

import re

import pytest

from columnminer.bars import bar

CELL = """\
import time
from columnminer.bars import bar
from columnminer.run.tasks import run_tasks

run_tasks(lambda n: time.sleep(0.01), range(100), title="<b>things</b>")
with bar("training", 4) as move:
    for epoch in range(1, 4):
        time.sleep(0.25)
        move(epoch, f"loss {1 / epoch:.2f}")
with bar("a program") as move:
    move(0, "it says hello")
"""


def test_nobody_watches_here(capsys):
    with bar("things", 3) as move:
        assert move is None
    shown = capsys.readouterr()
    assert not shown.err
    assert not shown.out


def test_a_terminal_shows_a_bar(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with bar("[red]things", 3) as move:
        move(2, "note [bold]")
    shown = capsys.readouterr().err
    assert "[red]things" in shown, "words are no markup"
    assert "note [bold]" in shown
    assert "2/3" in shown
    with bar("a program") as move:
        move(0, "it says hello")
    assert "it says hello" in capsys.readouterr().err


def test_a_notebook_shows_one_output_for_each_bar():
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    outputs = notebook.cells[0].outputs
    assert [output.output_type for output in outputs] == ["display_data"] * 3, "no stream of lines, no warnings"
    tasks, training, program = (output.data for output in outputs)
    assert re.fullmatch(r"<b>things</b>: 100/100, took 0:0\d", tasks["text/plain"])
    assert tasks["text/html"].startswith('<div>&lt;b&gt;things&lt;/b&gt; <progress value="100" max="100">')
    assert training["text/plain"] == "training: 3/4, 0:00 left, loss 0.33"
    assert program["text/plain"] == "a program: it says hello"
    assert "<progress" not in program["text/html"]
