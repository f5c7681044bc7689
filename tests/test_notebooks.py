"""The notebooks are kept without outputs and are all in the documentation; `nox -s notebooks` executes them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_have_no_outputs_and_start_with_what_they_are_about(path):
    document = json.loads(path.read_text())
    assert document["metadata"]["kernelspec"]["name"] == "python3"
    code = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
    assert len(code) > 3
    assert not any(cell["outputs"] or cell["execution_count"] is not None for cell in code)
    first = document["cells"][0]
    assert first["cell_type"] == "markdown"
    assert first["source"][0].startswith("# ")


def test_all_notebooks_are_listed():
    page = (ROOT / "docs" / "notebooks.md").read_text()
    for listed in (r"^\| {doc}`\d\d <notebooks/(\w+)>`", r"^notebooks/(\w+)$"):
        assert re.findall(listed, page, re.MULTILINE) == [path.stem for path in NOTEBOOKS]
    assert len(NOTEBOOKS) == 11
