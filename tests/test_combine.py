"""Stores that were cut apart and combined again hold the same physics in another order."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_store import setup as other_setup
from mixed_store import COUNTS, GENERATED, mixed_columns, mixed_setup, mixed_store
from scipy import stats

import columnminer.store.combine as combine_module
import columnminer.store.shuffle as shuffle_module
from columnminer import EventStore, combine, sample_ratio
from columnminer.errors import ColumnMinerWarning, InputError, OutputExistsError
from columnminer.store.partition import PartitionScheme
from columnminer.store.publish import Description, publish_events
from columnminer.store.samples import FileInfo, SampleInfo
from columnminer.store.weights import NuisanceColumn

SAMPLES = tuple(
    SampleInfo(name, benchmark, g, n, background=benchmark is None, cross_section=2.0 + i)
    for i, (name, benchmark, g, n) in enumerate(
        zip(("a", "b", "bkg"), ("sm", "plus", None), GENERATED, COUNTS, strict=True)
    )
)
TWO_SIDED = (NuisanceColumn("rate", "rate", 0), NuisanceColumn("shape", "shape", 1, 2))
ONE_SIDED = (NuisanceColumn("rate", "rate", 0), NuisanceColumn("shape", "shape", 1))
THETAS, NUS = [[0.0], [0.7], [-1.5]], [[0.0, 0.0], [1.0, -0.5], [0.3, 2.0]]


def part(out, whole, kept, nuisances=TWO_SIDED, **changes):
    """A store with some of the samples of the mixed store, partitioned as there."""
    columns = mixed_columns()
    rows = np.isin(columns["sample"], kept)
    table = {name: values[rows] for name, values in columns.items()}
    table["sample"] = np.searchsorted(kept, table["sample"]).astype(np.int32)
    if nuisances == ONE_SIDED:
        table["nuisance_weights"] = table["nuisance_weights"][:, :2]
    options = {"setup": mixed_setup(), "observables": ("x", "z"), "partition": PartitionScheme()} | changes
    description = Description(samples=tuple(SAMPLES[k] for k in kept), nuisances=nuisances, **options)
    return publish_events(out, description, [table], whole.partition[:][rows])


@pytest.fixture
def whole(tmp_path):
    return mixed_store(tmp_path / "whole.zarr")


@pytest.fixture
def parts(tmp_path, whole):
    return [part(tmp_path / "signal.zarr", whole, [0, 1]), part(tmp_path / "background.zarr", whole, [2])]


@pytest.mark.parametrize("bucket", [2**18, 100])
def test_combined_parts_are_the_whole(tmp_path, whole, parts, monkeypatch, bucket):
    monkeypatch.setattr(shuffle_module, "BUCKET", bucket)
    monkeypatch.setattr(combine_module, "_BLOCK", 170)
    store = combine(parts, tmp_path / "combined.zarr")
    assert [s.name for s in store.samples] == ["a", "b", "bkg"]
    assert [s.partition_counts for s in store.samples] == [s.partition_counts for s in whole.samples]
    for partition in ("all", "train", "validation", "test"):
        ours, theirs = (s.xsec(THETAS, NUS, partition) for s in (store, whole))
        np.testing.assert_allclose(ours.value, theirs.value, rtol=1e-12)
        np.testing.assert_allclose(ours.error, theirs.error, rtol=1e-12)
    mine, yours = store.columns(slice(0, None)), whole.columns(slice(0, None))
    for name, values in yours.items():
        np.testing.assert_array_equal(mine[name][np.argsort(mine["event"])], values)
    assert not list(tmp_path.glob(".*"))


def test_the_order_is_random_everywhere_and_belongs_to_the_seed(tmp_path, parts, monkeypatch):
    one, other = combine(parts, tmp_path / "1.zarr", seed=1), combine(parts, tmp_path / "2.zarr", seed=2)
    monkeypatch.setattr(shuffle_module, "BUCKET", 50)
    again = combine(parts, tmp_path / "3.zarr", seed=1)
    assert one.hash == again.hash != other.hash
    position = np.flatnonzero(one.sample[:] == 2) / len(one)
    assert stats.kstest(position, "uniform").pvalue > 1e-3
    event = one.columns(slice(0, None))["event"]
    assert abs(stats.spearmanr(event, np.arange(len(event))).statistic) < 0.1
    assert stats.kstest(np.arange(COUNTS[2]) / len(one), "uniform").pvalue < 1e-6  # as they were before


def test_k_factors(tmp_path, parts):
    store = combine(parts, tmp_path / "combined.zarr", k_factors=[1.0, 1.5])
    signal, background = (p.xsec(THETAS, NUS).value for p in parts)
    np.testing.assert_allclose(store.xsec(THETAS, NUS).value, signal + 1.5 * background, rtol=1e-12)
    assert [s.k_factor for s in store.samples] == [1.0, 1.0, 1.5]
    assert store.samples[2].cross_section == pytest.approx(1.5 * SAMPLES[2].cross_section)
    with pytest.raises(InputError, match="k-factor must be positive"):
        combine(parts, tmp_path / "other.zarr", k_factors=[1.0, -1.0])
    with pytest.raises(InputError, match="as many k-factors"):
        combine(parts, tmp_path / "other.zarr", k_factors=[1.0])


def test_balance_is_still_applied_on_reading(tmp_path, whole):
    parts = [part(tmp_path / f"{k}.zarr", whole, [k]) for k in (0, 1, 2)]
    combine(parts, tmp_path / "combined.zarr", k_factors=[2.0, 2.0, 1.0])
    balanced = EventStore(tmp_path / "combined.zarr", mixing="balance")
    together = EventStore(part(tmp_path / "together.zarr", whole, [0, 1, 2]).path, mixing="balance")
    ours, theirs = (
        s.event_weights(THETAS)[:, np.argsort(s.columns(slice(0, None))["event"])] for s in (balanced, together)
    )
    signal = mixed_columns()["sample"] < 2
    np.testing.assert_allclose(ours[:, signal], 2.0 * theirs[:, signal], rtol=1e-10)
    assert (np.abs(ours / EventStore(balanced.path).event_weights(THETAS) - 1.0) > 0.1).any()


def test_one_sided_variations_stand_beside_two_sided_ones(tmp_path, whole):
    signal = part(tmp_path / "signal.zarr", whole, [0, 1])
    background = part(tmp_path / "background.zarr", whole, [2], ONE_SIDED)
    store = combine([background, signal], tmp_path / "combined.zarr")
    assert [c.down is None for c in store.nuisances] == [True, False]
    expected = signal.xsec(THETAS, NUS).value + background.xsec(THETAS, NUS).value
    np.testing.assert_allclose(store.xsec(THETAS, NUS).value, expected, rtol=1e-10)


def test_names_are_told_apart_and_the_store_can_be_sampled(tmp_path, parts):
    other = mixed_store(tmp_path / "other.zarr", seed=9)
    store = combine([parts[0], other], tmp_path / "combined.zarr")
    assert [s.name for s in store.samples] == ["a", "b", "a 2", "b 2", "bkg"]
    with pytest.warns(ColumnMinerWarning, match="negative weights"):
        assert len(sample_ratio(store, "plus", "sm", 100, nu0=[0.1, 0.5])) == 100


def test_what_does_not_fit_is_refused(tmp_path, whole, parts):
    out = tmp_path / "combined.zarr"
    with pytest.raises(InputError, match="hold the same events twice"):
        combine([whole, whole], out)
    with pytest.raises(InputError, match="takes two or more"):
        combine([whole], out)
    renamed = part(tmp_path / "renamed.zarr", whole, [2], observables=("x", "y"))
    with pytest.raises(InputError, match="different observables: process them alike"):
        combine([parts[0], renamed], out)
    elsewhere = part(tmp_path / "setup.zarr", whole, [2], setup=other_setup())
    with pytest.raises(InputError, match="different set-ups"):
        combine([parts[0], elsewhere], out)
    halves = part(tmp_path / "halves.zarr", whole, [2], partition=PartitionScheme((0.5, 0.0, 0.5)))
    with pytest.raises(InputError, match="different partition fractions"):
        combine([parts[0], halves], out)
    cut = part(tmp_path / "cut.zarr", whole, [2], selection={"cuts": ["x > 0"]})
    with pytest.warns(ColumnMinerWarning, match="were selected differently"):
        combine([parts[0], cut], out)
    with pytest.raises(OutputExistsError):
        combine(parts, out)
    assert combine(parts, out, replace=True).hash == combine(parts, tmp_path / "again.zarr").hash


def test_the_same_file_twice_is_refused(tmp_path, whole, monkeypatch):
    from_file = tuple(
        SampleInfo(**{**vars(s), "files": (FileInfo("events.lhe", 1, "same", s.n_generated),)}) for s in SAMPLES
    )
    monkeypatch.setitem(globals(), "SAMPLES", from_file)
    parts = [part(tmp_path / f"{k}.zarr", whole, [k]) for k in (0, 2)]
    with pytest.raises(InputError, match="hold the same events twice"):
        combine(parts, tmp_path / "combined.zarr")
