"""Stores whose documents were tampered with are refused by name when they are opened, or opened as they are.

Of toys all is read; the arrays of events and samples are zarr's own, and read when they are sliced.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mixed_store import mixed_store
from mutations import HOSTILE, Damage, damaged, damages, places, replaced, survives, without
from test_toy_results import described, rows

from columnminer.errors import FileFormatError
from columnminer.store.eventstore import EventStore
from columnminer.store.samplestore import SampleStore
from columnminer.toys.results import CampaignResults, publish_results

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore")  # of zarr about objects it does not know; a warning is no crash


def read_toys(path: Path) -> None:
    for point in CampaignResults(path):
        assert len(point) >= 0


READ: dict[str, Callable[[Path], object]] = {"events": EventStore, "samples": SampleStore, "toys": read_toys}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    mixed_store(folder / "events")
    SampleStore.write(folder / "samples", {"x": np.ones((4, 2)), "y": np.zeros(4)}, {"partition": "train"})
    point = described(0.5)
    publish_results(folder / "toys", {"seed": 1}, [(point, [rows(point, 1)])])
    return folder


@pytest.mark.parametrize("kind", READ)
def test_whole_stores_are_read(stores: Path, kind: str) -> None:
    assert survives(READ[kind], stores / kind) == ""


@pytest.mark.parametrize("kind", READ)
def test_damaged_documents_and_chunks_are_refused_or_read(stores: Path, kind: str, tmp_path: Path) -> None:
    pattern = "*" if kind == "toys" else "zarr.json"
    files = sorted(p.relative_to(stores / kind) for p in (stores / kind).rglob(pattern) if p.is_file())
    store, said = tmp_path / kind, []

    @settings(max_examples=60, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(files), damages)
    def each(file: Path, edits: list[Damage]) -> None:
        shutil.rmtree(store, ignore_errors=True)
        shutil.copytree(stores / kind, store)
        (store / file).write_bytes(damaged((store / file).read_bytes(), edits))
        said.append(survives(READ[kind], store))

    each()
    assert any(said)


@pytest.mark.parametrize("kind", READ)
def test_documents_of_nonsense_are_refused_or_read(stores: Path, kind: str, tmp_path: Path) -> None:
    documents = {p.relative_to(stores / kind): json.loads(p.read_text()) for p in (stores / kind).rglob("zarr.json")}
    everywhere = [(file, at) for file, document in sorted(documents.items()) for at in places(document)]
    store, said = tmp_path / kind, []
    shutil.copytree(stores / kind, store)

    @settings(max_examples=150, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(everywhere), st.sampled_from(HOSTILE), st.booleans())
    def each(place: tuple[Path, tuple[Any, ...]], value: Any, left_out: bool) -> None:
        file, at = place
        changed = without(documents[file], at) if left_out and at else replaced(documents[file], at, value)
        (store / file).write_text(json.dumps(changed))
        try:
            said.append(survives(READ[kind], store))
        finally:
            (store / file).write_text(json.dumps(documents[file]))

    each()
    assert any(said)


@pytest.mark.parametrize("missing", ["observables", "weights", "sample", "partition"])
def test_an_event_store_needs_its_arrays(stores: Path, missing: str, tmp_path: Path) -> None:
    shutil.copytree(stores / "events", tmp_path / "events")
    shutil.rmtree(tmp_path / "events" / missing)
    with pytest.raises(FileFormatError, match=f"damaged.*'{missing}'"):
        EventStore(tmp_path / "events")
