"""The rules of the house that no linter knows: the stream of imports, and lazy names."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import columnminer
from columnminer import show

SOURCE = Path(columnminer.__file__).parent
ORDER = [
    *("errors", "files", "documents", "bars", "streams", "arithmetic", "momenta", "expressions", "run", "model"),
    *(
        "schema",
        "formats",
        "generate",
        "observe",
        "store",
        "processing",
        "processor",
        "sample",
        "learn",
        "infer",
        "toys",
    ),
    *("show", "pipeline", "cli"),
]
FILES = sorted(p for p in SOURCE.rglob("*.py") if p.name != "_version.py")
ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
HEAVY = {"distributed": ("run",), "dask": ("run",), "torch": ("learn", "infer"), "zuko": ("learn",)}


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path, *, running: bool = False) -> list[str]:
    """Return the modules that a file imports; with `running`, not those that only type checkers see."""
    found = []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if running:
        tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.append(node.module or "")
            if node.module == "columnminer":
                found += [f"columnminer.{alias.name}" for alias in node.names]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_module_imports_only_from_above(path: Path) -> None:
    if path.parent == SOURCE and path.name == "__init__.py":
        return
    assert room(path) in ORDER, f"{path.name} has no place in the order of the house"
    place = ORDER.index(room(path))
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "columnminer" and len(parts) > 1 and parts[1] != "_version":
            assert ORDER.index(parts[1]) <= place, f"{path.name} imports {name}, which comes after it"
    for name in imports(path, running=True):
        assert room(path) in HEAVY.get(name.split(".")[0], [room(path)]), f"{path.name} imports {name}"


def test_every_name_users_type_exists() -> None:
    for name in columnminer.__all__:
        assert getattr(columnminer, name) is not None


def test_show_gives_every_picture() -> None:
    files = (SOURCE / "show").glob("*.py")
    drawn = [name for file in files for name in re.findall(r"^def (plot_\w+)", file.read_text(), re.MULTILINE)]
    assert sorted([*drawn, "save"]) == sorted(show.__all__)
    for name in show.__all__:
        assert getattr(show, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'plot_nothing'"):
        _ = show.plot_nothing


def test_unknown_names_say_so() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = columnminer.nothing


def test_importing_is_quick_and_loads_nothing_heavy() -> None:
    heavy = ("torch", "matplotlib", "distributed", "numba", "awkward")
    code = f"import sys, columnminer; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def named(table: str) -> list[str]:
    """Return the names in the first column of the table under this heading on the page of the architecture."""
    rows = PAGE.partition(f"| folder | {table} |\n")[2].partition("\n\n")[0].splitlines()[1:]
    return [name for row in rows for name in re.findall(r"`([\w/]+)`", row.split("|")[1])]


def test_the_map_of_the_rooms_is_that_of_the_house() -> None:
    assert [name.removesuffix("/") for name in named("says")] == ORDER
    for name in named("says"):
        assert (SOURCE / name).is_dir() if name.endswith("/") else (SOURCE / f"{name}.py").is_file(), name
    here = {p.stem for p in SOURCE.iterdir() if p.is_dir() or p.suffix == ".py"}
    assert here - {"__init__", "_version", "__pycache__"} == set(ORDER)


def test_the_map_of_the_folders_is_that_of_the_repository() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not tracked:
        pytest.skip("not in a repository of git")
    folders = {name.partition("/")[0] + "/" for name in tracked if "/" in name and not name.startswith(".")}
    assert set(named("holds")) == folders
