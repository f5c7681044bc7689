"""The processor of coffea: the same bytes from every executor, and what `process` makes of the same files."""

from __future__ import annotations

import concurrent.futures
import shutil
import warnings
from typing import TYPE_CHECKING, Any

import distributed
import hist
import numpy as np
import pytest
from coffea import processor
from coffea.nanoevents import BaseSchema, NanoAODSchema
from nanoaod_files import damage, relative_weights, write_nanoaod

if TYPE_CHECKING:
    from pathlib import Path

import columnminer as cm

SELECTION = cm.Selection({"m_ll": "(mu[0] + mu[1]).m", "pt": "mu[0].pt"}, cuts=["mu[1].pt > 20"])
AXIS = hist.axis.Regular(8, 200, 1800, name="m_ll")


@pytest.fixture(autouse=True)
def quiet_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slimmed files lack cross-references, of which coffea warns."""
    monkeypatch.setattr(NanoAODSchema, "warn_missing_crossrefs", False)


@pytest.fixture(scope="module")
def drell_yan() -> cm.DrellYan:
    return cm.DrellYan()


@pytest.fixture(scope="module")
def files(drell_yan: cm.DrellYan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nano")
    for i, (name, theta) in enumerate({"sm_1": "sm", "sm_2": "sm", "plus": "c_ll_plus", "background": "sm"}.items()):
        write_nanoaod(folder / f"{name}.root", relative_weights(drell_yan.generate(250 + 50 * i, theta, seed=i)))
    return folder


@pytest.fixture(scope="module")
def samples(files: Path) -> list[cm.Sample]:
    return [
        cm.Sample([files / "sm_1.root", files / "sm_2.root"], benchmark="sm", cross_section=12.5),
        cm.Sample(files / "plus.root", benchmark="c_ll_plus", cross_section=14.0),
        cm.Sample(files / "background.root", background=True, name="ttbar", cross_section=3.0, k_factor=1.5),
    ]


def run(
    samples: list[cm.Sample], made: Any, executor: Any = None, chunksize: int = 120, schema: Any = NanoAODSchema
) -> Any:
    runner = processor.Runner(
        executor or processor.IterativeExecutor(status=False),
        chunksize=chunksize,
        schema=schema,
        metadata_cache={},  # coffea would remember what earlier tests have said of the same files
    )
    return runner(cm.fileset(samples), made)


def contents(store: cm.EventStore) -> dict[str, bytes]:
    return {str(f.relative_to(store.path)): f.read_bytes() for f in sorted(store.path.rglob("*")) if f.is_file()}


def test_every_executor_gives_the_same_bytes(drell_yan: cm.DrellYan, samples: list[cm.Sample], tmp_path: Path) -> None:
    setup = drell_yan.setup()

    def stored(name: str, executor: Any, *, on_disk: bool) -> dict[str, bytes]:
        out = tmp_path / name / "events.zarr"
        made = cm.EventProcessor(setup, SELECTION, out=out if on_disk else None, samples=samples)
        accumulator = run(samples, made, executor)
        assert len(accumulator) == 2 + 2 + 3 + 3
        assert all(len(key) == 4 for key in accumulator)
        return contents(cm.publish(accumulator, None if on_disk else out))

    reference = stored("iterative", processor.IterativeExecutor(status=False), on_disk=True)
    assert stored("memory", processor.IterativeExecutor(status=False), on_disk=False) == reference
    threads = processor.FuturesExecutor(pool=concurrent.futures.ThreadPoolExecutor, workers=3, status=False)
    assert stored("threads", threads, on_disk=True) == reference
    processes = processor.FuturesExecutor(workers=2, status=False)
    assert stored("processes", processes, on_disk=True) == reference
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0", silence_logs=50
    )
    with cluster, distributed.Client(cluster) as client, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dask = processor.DaskExecutor(client=client, status=False)
        assert stored("dask", dask, on_disk=False) == reference
    made = cm.EventProcessor(setup, SELECTION, samples=samples)
    other = run(samples, made, chunksize=1000)
    assert contents(cm.publish(other, tmp_path / "whole.zarr"))  # other chunks, the same events:
    assert cm.EventStore(tmp_path / "whole.zarr").hash == cm.EventStore(tmp_path / "iterative" / "events.zarr").hash


def test_the_store_is_that_of_process(drell_yan: cm.DrellYan, samples: list[cm.Sample], tmp_path: Path) -> None:
    setup = drell_yan.setup()
    by_coffea = cm.publish(run(samples, cm.EventProcessor(setup, SELECTION)), tmp_path / "a.zarr")
    direct = cm.process(sorted(samples, key=lambda s: s.name), setup, SELECTION, tmp_path / "b.zarr", progress=False)
    assert [s.name for s in by_coffea.samples] == ["c_ll_plus", "sm", "ttbar"]
    # Datasets say here themselves what they are; files of one are in the order of their uuids.
    for column in ("weights", "observables"):
        ours, theirs = (np.sort(getattr(store, column)[:], axis=0) for store in (by_coffea, direct))
        np.testing.assert_array_equal(ours, theirs)
    assert by_coffea.xsec("sm").value[0] > 0
    # Partitions are drawn by the identity of files, which is a hash there and a uuid here.
    np.testing.assert_allclose(by_coffea.xsec().value, direct.xsec().value, rtol=1e-12)
    assert [f["fingerprint"] for f in by_coffea.attributes["configuration"]["samples"][0]["files"]] != [""]


def test_histograms_are_those_of_the_store_at_any_theta(
    drell_yan: cm.DrellYan, samples: list[cm.Sample], tmp_path: Path
) -> None:
    made = cm.EventProcessor(drell_yan.setup(), SELECTION, samples=samples, histograms={"mass": AXIS})
    accumulator = run(samples, made)
    store, histogram = cm.publish(accumulator, tmp_path / "a.zarr"), accumulator.histogram("mass")
    mass = store.observables[:, 0]
    for theta in ([0.0, 0.0], [0.3, -0.2], [-0.1, 0.4]):
        weights = store.event_weights(theta)[0]
        np.testing.assert_allclose(
            histogram.values(theta), np.histogram(mass, AXIS.edges, weights=weights)[0], rtol=1e-8, atol=1e-12
        )
        np.testing.assert_allclose(
            histogram.variances(theta), np.histogram(mass, AXIS.edges, weights=weights**2)[0], rtol=1e-8, atol=1e-15
        )
    assert histogram.values([0.3, -0.2]).sum() != pytest.approx(histogram.values([0.0, 0.0]).sum(), rel=1e-3)
    with pytest.raises(cm.ColumnMinerError, match="no histogram is called 'mas'"):
        accumulator.histogram("mas")


def test_results_add_up_and_resume(drell_yan: cm.DrellYan, samples: list[cm.Sample], tmp_path: Path) -> None:
    setup, out = drell_yan.setup(), tmp_path / "o.zarr"
    made = cm.EventProcessor(setup, SELECTION, out=out, samples=samples)
    first, second = run(samples[:1], made), run(samples[1:], made)
    with pytest.raises(cm.ColumnMinerError, match="are in both results"):
        _ = first + first
    parts = sorted(p.stat().st_mtime_ns for p in (tmp_path / "o.zarr.parts").glob("*/0*"))
    again = cm.EventProcessor(setup, SELECTION, out=out, samples=samples)
    assert run(samples[:1], again) + second == {**first, **second}
    assert sorted(p.stat().st_mtime_ns for p in (tmp_path / "o.zarr.parts").glob("*/0*")) == parts
    assert "another chunk size" in str(run(samples[:1], again, chunksize=90).failures)
    other = cm.Selection({"m_ll": "(mu[0] + mu[1]).m"})
    with pytest.raises(cm.ColumnMinerError, match="has another configuration"):
        cm.EventProcessor(setup, other, out=out, samples=samples)
    store = cm.publish(second + first)
    assert store.path == out
    assert not (tmp_path / "o.zarr.parts").exists()
    assert [s.name for s in store.samples] == ["sm", "c_ll_plus", "ttbar"]


def test_other_selections_vary_what_is_seen(drell_yan: cm.DrellYan, files: Path, tmp_path: Path) -> None:
    setup = cm.Setup(
        drell_yan.setup().space, drell_yan.setup().benchmarks, systematics=[cm.SelectionVariation("energy")]
    )
    sample = [cm.Sample(files / "sm_1.root", benchmark="sm", cross_section=1.0, systematics="energy")]
    up = cm.Selection({"m_ll": "1.1 * (mu[0] + mu[1]).m", "pt": "1.1 * mu[0].pt"}, cuts=["mu[1].pt > 18"])
    variations = {"energy": up}
    made = cm.EventProcessor(setup, SELECTION, samples=sample, variations=variations)
    ours = cm.publish(run(sample, made), tmp_path / "a.zarr").varied("energy")[0]
    theirs = cm.process(sample, setup, SELECTION, tmp_path / "b.zarr", variations=variations, progress=False)
    np.testing.assert_array_equal(ours.observables[:], theirs.varied("energy")[0].observables[:])
    with pytest.raises(cm.ColumnMinerError, match="selections are missing"):
        cm.EventProcessor(setup, SELECTION, samples=sample)
    failures = run(sample, cm.EventProcessor(setup, SELECTION)).failures
    assert "has the SelectionVariation 'energy'" in str(failures)


def test_missing_chunks_are_refused(drell_yan: cm.DrellYan, samples: list[cm.Sample], tmp_path: Path) -> None:
    runner = processor.Runner(
        processor.IterativeExecutor(status=False), chunksize=120, schema=NanoAODSchema, maxchunks=1
    )
    accumulator = runner(cm.fileset(samples), cm.EventProcessor(drell_yan.setup(), SELECTION, samples=samples))
    with pytest.raises(cm.ColumnMinerError, match=r"from 1[02][05] on are missing"):
        cm.publish(accumulator, tmp_path / "o.zarr")
    with pytest.raises(cm.ColumnMinerError, match="publish needs"):
        cm.publish({}, tmp_path / "o.zarr")


def test_a_damaged_file_is_named_and_the_others_carry_on(
    drell_yan: cm.DrellYan, files: Path, samples: list[cm.Sample], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.root"
    shutil.copy(files / "plus.root", bad)
    damage(bad, "Muon_eta", 1)
    several = [samples[0], cm.Sample(bad, benchmark="c_ll_plus", cross_section=14.0)]
    accumulator = run(several, cm.EventProcessor(drell_yan.setup(), SELECTION, samples=several))
    assert {key[2] for key in accumulator.failures} == {0, 117}
    with pytest.raises(cm.ColumnMinerError, match=r"bad\.root, events 0 to 116 .*damaged"):
        cm.publish(accumulator, tmp_path / "o.zarr")
    store = cm.publish(accumulator, tmp_path / "o.zarr", skip_failed=True)
    assert [(s.name, s.n_generated) for s in store.samples] == [("sm", 550)]


def test_another_schema_is_named(drell_yan: cm.DrellYan, samples: list[cm.Sample], tmp_path: Path) -> None:
    accumulator = run(samples[2:], cm.EventProcessor(drell_yan.setup(), SELECTION), schema=BaseSchema)
    with pytest.raises(cm.ColumnMinerError, match=r"none of the collections of NanoAOD.*is the schema NanoAODSchema"):
        cm.publish(accumulator, tmp_path / "o.zarr")


def test_weights_that_are_no_polynomials_are_reported(drell_yan: cm.DrellYan, tmp_path: Path) -> None:
    setup = drell_yan.setup()
    batch = relative_weights(drell_yan.generate(200, "sm", seed=5))
    point = np.array([0.2, -0.1])
    morphed = batch.weights[:, 1:] @ setup.morphing.weights(point)[0]
    label = "_".join(f"{name}_{value}" for name, value in zip(setup.parameter_names, point, strict=True))
    for name, factor in {"good": 1.0, "bad": 1.5}.items():
        values = np.column_stack([batch.weights[:, 1:], morphed])
        values[150, -1] *= factor
        extra = {"LHEReweightingWeight": values.astype(np.float32).tolist()}
        write_nanoaod(tmp_path / f"{name}.root", batch, names=[*batch.weight_names[1:], label], extra=extra)
    good, bad = ([cm.Sample(tmp_path / f"{name}.root", benchmark="sm", cross_section=1.0)] for name in ("good", "bad"))
    assert run(good, cm.EventProcessor(setup, SELECTION)).residual.value < 1e-5
    with pytest.warns(
        cm.ColumnMinerWarning, match=rf"off by 0\.33 for the weight '{label}' of event 150 of .*bad\.root"
    ):
        run(bad, cm.EventProcessor(setup, SELECTION))
    unknown = cm.Sample(tmp_path / "good.root", benchmark="nowhere", cross_section=1.0)
    assert "no benchmark is called 'nowhere'" in str(run([unknown], cm.EventProcessor(setup, SELECTION)).failures)
    once = processor.IterativeExecutor(status=False, retries=0)
    with pytest.raises(Exception, match="was given no sample called 'sm'"):
        run(good, cm.EventProcessor(setup, SELECTION, samples=[unknown]), once)
