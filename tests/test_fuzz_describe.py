"""`describe`, which ``columnminer inspect`` shows, of anything: it gives tables, or an error of ours."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mixed_store import mixed_store
from mutations import HOSTILE, Damage, damaged, damages, places, replaced, survives
from test_toy_results import described, rows

from columnminer.pipeline.describe import describe
from columnminer.store.samplestore import SampleStore
from columnminer.toys.results import publish_results

if TYPE_CHECKING:
    from collections.abc import Callable

CORPUS = Path(__file__).parent / "data" / "fuzz"
FILES = sorted(path for path in CORPUS.iterdir() if path.is_file() and path.suffix != ".py")
FOLDERS = ("events", "samples", "toys", "workspace", "estimator", "ensemble", "calibrated", "varied")
ENDINGS = (".json", ".yaml", ".h5", ".root", ".lhe", ".lhe.gz", ".hepmc", ".npy", ".npz", ".pt", ".zarr", ".html", "")

pytestmark = pytest.mark.filterwarnings("ignore")


def shown(path: Path) -> None:
    tables = describe(path)
    assert tables
    for table in tables:
        assert all(isinstance(cell, str) and len(row) == len(table.head) for row in table.rows for cell in row)


def each(examples: int, *strategies: st.SearchStrategy[object]) -> Callable[[Callable[..., None]], None]:
    """Run a function on examples, the same each time."""

    def run(function: Callable[..., None]) -> None:
        options = {"derandomize": True, "database": None, "deadline": None}
        checks = list(HealthCheck)
        settings(max_examples=examples, suppress_health_check=checks, **options)(given(*strategies)(function))()

    return run


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("folders")
    mixed_store(root / "events")
    names = {"feature_names": ["u", "v"], "parameter_names": ["mean"], "store_hash": "", "partition": "train"}
    SampleStore.write(root / "samples", {"x": np.ones((4, 2)), "weights": np.ones(4), "n_eff": np.ones(3)}, names)
    point = described(0.5)
    publish_results(root / "toys", {"seed": 1}, [(point, [rows(point, 1)])])
    (root / "workspace" / ".columnminer").mkdir(parents=True)
    (root / "workspace" / "events").mkdir()
    stage = {"stage": "events", "key": "0123456789abcdef0", "needs": ["setup"], "files": {}, "warnings": []}
    (root / "workspace" / "events" / "stage.json").write_text(json.dumps(stage))
    for name in FOLDERS[4:]:
        shutil.copytree(CORPUS / name, root / name)
    return root


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_damaged_files(path: Path, tmp_path: Path) -> None:
    whole, target = path.read_bytes(), tmp_path / path.name
    shutil.copy(path, target)
    survives(shown, target)

    @each(6, damages)
    def _(edits: list[Damage]) -> None:
        target.write_bytes(damaged(whole, edits))
        survives(shown, target)


@pytest.mark.parametrize("name", FOLDERS)
def test_damaged_folders(folders: Path, name: str, tmp_path: Path) -> None:
    files = sorted(path.relative_to(folders / name) for path in (folders / name).rglob("*") if path.is_file())
    copy = tmp_path / name
    assert survives(shown, folders / name) == ""

    @each(8, st.sampled_from(files), damages)
    def _(file: Path, edits: list[Damage]) -> None:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folders / name, copy)
        (copy / file).write_bytes(damaged((copy / file).read_bytes(), edits))
        survives(shown, copy)

    documents = {file: json.loads((folders / name / file).read_text()) for file in files if file.suffix == ".json"}
    everywhere = [(file, at) for file, document in documents.items() for at in places(document)]

    @each(12, st.sampled_from(everywhere), st.sampled_from(HOSTILE))
    def _(place: tuple[Path, tuple[object, ...]], value: object) -> None:
        file, at = place
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folders / name, copy)
        (copy / file).write_text(json.dumps(replaced(documents[file], at, value)))
        survives(shown, copy)


@pytest.mark.parametrize("ending", ENDINGS)
def test_random_bytes_and_nothing(ending: str, tmp_path: Path) -> None:
    target = tmp_path / f"file{ending}"
    assert survives(shown, target) != ""
    starts = (b"", b"root", b"\x89HDF\r\n\x1a\n", b"\x1f\x8b\x08", b"<LesHouchesEvents", b"{", b"PK\3\4", b"\x93NUMPY")

    @each(10, st.sampled_from(starts), st.binary(max_size=200))
    def _(start: bytes, rest: bytes) -> None:
        target.write_bytes(start + rest)
        assert survives(shown, target) != "" or ending in {".json", ".yaml"}

    target.unlink()
    target.mkdir()
    assert survives(shown, target) != ""
    (target / "zarr.json").mkdir()
    (target / "estimator.json").mkdir()
    assert survives(shown, target) != ""


def test_links_that_lead_in_circles_or_nowhere(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    for name in ("circle", "nowhere", "a\0b", "x" * 5000):
        assert survives(shown, tmp_path / name) != ""
