"""Fixtures for all tests: where the project's shared real data are, and one thread for each numerical library."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the real data and reference numbers beside the checkout; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("COLUMNMINER_SHARED", Path(__file__).parents[2] / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the shared reference data in {folder}")
    return folder


@pytest.fixture(scope="session")
def examples(shared: Path) -> Path:
    """Folder of alea's example models and of what alea says of them; see `alea_examples`."""
    return shared / "alea"


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of the small data files committed with the tests."""
    return DATA


@pytest.fixture(scope="session")
def documented_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the files that examples in docstrings and pages use; see `documented`."""
    from documented import make_files

    folder = tmp_path_factory.mktemp("documented")
    make_files(folder)
    return folder


@pytest.fixture
def workplace(documented_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change into an empty folder with those files."""
    for path in documented_files.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
