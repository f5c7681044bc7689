"""Stores that were damaged or tampered with are refused by name, when they are opened or when something is read."""

from __future__ import annotations

import json
import pickle
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mixed_store import mixed_store
from mutations import HOSTILE, Damage, damaged, damages, places, replaced, survives, without
from test_toy_results import described, rows

from columnminer.errors import FileFormatError
from columnminer.pipeline.tables import cut_flow_table, file_table, sample_table
from columnminer.sample.samples import Samples
from columnminer.store.eventstore import EventStore
from columnminer.store.samplestore import SampleStore
from columnminer.toys.results import CampaignResults, publish_results

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore")  # of zarr about objects it does not know; a warning is no crash


def read_events(path: Path) -> None:
    """Use all that an event store gives."""
    store = EventStore(path)
    repr(store)
    cut_flow_table(store), sample_table(store), file_table(store)
    for one in (store, *(varied for name in store.variations for varied in store.varied(name))):
        for block in one.blocks():
            assert block.x.shape == (len(block.indices), len(one.observable_names))
        one.columns(slice(0, len(one)))
    store.xsec()
    if store.setup.morphing is not None:
        store.xsec_gradients(store.setup.benchmark_points[0])
    store.select(1, partition="train")
    store.closest_benchmark(store.setup.benchmark_points[0])


def read_samples(path: Path) -> None:
    samples = SampleStore(path)
    for name in samples:
        assert samples[name][:].shape == samples[name].shape
    Samples.of(samples)


def read_toys(path: Path) -> None:
    results = CampaignResults(path)
    repr(results.campaign), results.hash
    for point in results:
        assert len(point) >= 0


READ: dict[str, Callable[[Path], object]] = {"events": read_events, "samples": read_samples, "toys": read_toys}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    mixed_store(folder / "events")
    arrays = {"x": np.ones((4, 2)), "y": np.zeros(4), "theta0": np.ones((4, 1)), "n_eff": np.ones(3)}
    names = {"feature_names": ["u", "v"], "parameter_names": ["mean"], "store_hash": "", "partition": "train"}
    SampleStore.write(folder / "samples", arrays, names)
    point = described(0.5)
    publish_results(folder / "toys", {"seed": 1}, [(point, [rows(point, 1)])])
    return folder


@pytest.mark.parametrize("kind", READ)
def test_whole_stores_are_read(stores: Path, kind: str) -> None:
    assert survives(READ[kind], stores / kind) == ""


@pytest.mark.parametrize("kind", READ)
def test_damaged_documents_and_chunks_are_refused_or_read(stores: Path, kind: str, tmp_path: Path) -> None:
    files = sorted(p.relative_to(stores / kind) for p in (stores / kind).rglob("*") if p.is_file())
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
    with pytest.raises(FileFormatError, match=f"damaged.*'{missing}'.*process the events again"):
        EventStore(tmp_path / "events")


CHUNKS = {"events": "weights/c.0.0", "samples": "x/c.0.0", "toys": "000000/values/c.0.0.0"}


@pytest.mark.parametrize("kind", READ)
def test_every_bit_that_flips_in_a_chunk_is_found(stores: Path, kind: str, tmp_path: Path) -> None:
    """Uncompressed numbers would be other numbers, and nobody would know."""
    shutil.copytree(stores / kind, tmp_path / kind)
    chunk = tmp_path / kind / CHUNKS[kind]
    whole = chunk.read_bytes()
    for bit in range(0, 8 * len(whole), max(1, 8 * len(whole) // 60)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        chunk.write_bytes(changed)
        said = survives(READ[kind], tmp_path / kind)
        assert str(tmp_path / kind) in said
        assert f"the array '{chunk.parent.name}' is damaged" in said
        assert "again" in said
    chunk.write_bytes(whole)
    assert survives(READ[kind], tmp_path / kind) == ""


@pytest.mark.parametrize("kind", READ)
def test_chunks_that_are_gone_are_not_taken_for_zeros(stores: Path, kind: str, tmp_path: Path) -> None:
    shutil.copytree(stores / kind, tmp_path / kind)
    (tmp_path / kind / CHUNKS[kind]).unlink()
    assert "1 of its 1 chunks are missing" in survives(READ[kind], tmp_path / kind)


def test_arrays_are_of_our_kind_only(stores: Path, tmp_path: Path) -> None:
    """Codecs may do anything when they are asked to decode; those of format 2 include one that unpickles."""
    shutil.copytree(stores / "events", tmp_path / "events")
    group = zarr.open_group(str(tmp_path / "events"), mode="r+")
    group.create_array("more", shape=(3,), dtype="str")
    with pytest.raises(FileFormatError, match=r"the array 'more' is damaged: it holds .* which is not ours"):
        EventStore(tmp_path / "events")


def test_groups_of_an_older_format_are_not_opened(stores: Path, tmp_path: Path) -> None:
    shutil.copytree(stores / "toys", tmp_path / "toys")
    point = tmp_path / "toys" / "000000"
    shutil.rmtree(point)
    (point / "values").mkdir(parents=True)
    (point / ".zgroup").write_text('{"zarr_format": 2}')
    layout = {"zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "order": "C", "fill_value": None}
    pickled = {"filters": [{"id": "vlen-utf8"}, {"id": "pickle"}], "compressor": None}
    (point / "values" / ".zarray").write_text(json.dumps({**layout, **pickled}))
    (point / "values" / "0").write_bytes(pickle.dumps(print))
    assert isinstance(zarr.open_group(str(point), mode="r")["values"], zarr.Array)  # Zarr itself would
    with pytest.raises(FileFormatError, match="point 0 cannot be read: no Zarr group is there"):
        CampaignResults(tmp_path / "toys")[0]


@pytest.mark.parametrize("folder", ["../other", "/etc", "variation_0_up/../..", "variation_0_up\n", ".", "", None, 0])
def test_groups_inside_lead_nowhere_else(stores: Path, folder: Any, tmp_path: Path) -> None:
    shutil.copytree(stores / "events", tmp_path / "events")
    shutil.copytree(stores / "events", tmp_path / "other")
    group = zarr.open_group(str(tmp_path / "events"), mode="r+")
    group.update_attributes({"variations": {"x": [folder]}})
    with pytest.raises(FileFormatError, match=r"damaged: 'variations\.x\.0'"):
        EventStore(tmp_path / "events")


def test_samples_that_are_not_there_are_no_samples_of_an_event(stores: Path, tmp_path: Path) -> None:
    shutil.copytree(stores / "events", tmp_path / "events")
    zarr.open_group(str(tmp_path / "events"), mode="r+")["sample"][0] = 99
    with pytest.raises(FileFormatError, match=r"'sample' is damaged: it holds numbers that are not from 0 to"):
        read_events(tmp_path / "events")


def test_a_place_that_an_array_has_not_is_no_damage(stores: Path) -> None:
    store = EventStore(stores / "events")
    with pytest.raises(IndexError):
        store.observables[len(store)]
    with pytest.raises(IndexError):
        store.observables.take([len(store)])
