"""Examples in docstrings run as tests, and every name that users type has one.

They know `cm` and `np`, and run in a folder of their own with the files of `documented.py`.
"""

from __future__ import annotations

import doctest
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest

import columnminer as cm

if TYPE_CHECKING:
    from pathlib import Path

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
NEEDS_A_PROGRAM = {
    "MadGraph": "MadGraph",
    "run_delphes": "Delphes",
}
SHOWN_ELSEWHERE = {
    "EventProcessor": "needs NanoAOD files; runs in notebook 08 and tests/test_processor.py",
    "publish": "needs NanoAOD files; runs in notebook 08 and tests/test_processor.py",
    "find_directions": "needs events with weights of PDF replicas; tests/test_directions.py",
    "reduce_directions": "needs events with weights of PDF replicas; tests/test_directions.py",
}
NAMES = [name for name in cm.__all__ if not name.startswith("_")]


def examples(name: str) -> doctest.DocTest:
    found = getattr(cm, name)
    return doctest.DocTestParser().get_doctest(found.__doc__ or "", {"cm": cm, "np": np}, f"cm.{name}", None, 0)


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_each_name_runs(name: str, workplace: Path) -> None:
    del workplace
    test = examples(name)
    if name in NEEDS_A_PROGRAM or name in SHOWN_ELSEWHERE:
        assert not test.examples, f"{name} has an example: take it off the list"
        return
    assert test.examples, f"{name} needs an example in its docstring"
    assert f"cm.{name}" in test.docstring, "an example uses the name that users type"
    said: list[str] = []
    warnings.simplefilter("ignore", cm.ColumnMinerWarning)  # few events, small trainings
    doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test, out=said.append)
    assert not said, "".join(said)


def test_an_example_that_is_wrong_is_found() -> None:
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    said: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test, out=said.append)
    assert "Expected" in "".join(said)
