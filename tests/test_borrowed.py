"""Showered events with the weights of the parton-level file that they came from."""

from __future__ import annotations

import gzip
import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml

import columnminer as cm
from columnminer.errors import FileFormatError, InputError, MissingError
from columnminer.formats.reader import Reader
from columnminer.pipeline.analysis import Analysis
from columnminer.pipeline.steps import STORE, Running

if TYPE_CHECKING:
    from pathlib import Path

KEPT = [0, 1, 2, 12, 27]
"""Events of the parton-level file that the committed showered file has."""


@pytest.fixture(scope="module")
def partons(data) -> Path:
    return data / "vbf" / "signal_sm.lhe.gz"


@pytest.fixture(scope="module")
def showered(data) -> Path:
    return data / "hepmc" / "signal_sm_pythia8.hepmc.gz"


@pytest.fixture
def broken(showered, tmp_path) -> Path:
    """The showered file as a shower leaves it that knows one weight only."""
    lines = gzip.decompress(showered.read_bytes()).decode().splitlines()
    seen_event, kept = False, []
    for line in lines:
        seen_event |= line.startswith("E ")
        if not line.startswith("W "):
            kept.append(line)
        elif seen_event:
            kept.append("W 1.0")
    path = tmp_path / "broken.hepmc"
    path.write_text("\n".join(kept) + "\n")
    return path


def renumbered(source: Path, target: Path, numbers: list[int]) -> Path:
    text = source.read_text()
    for old, new in zip(KEPT, numbers, strict=True):
        text = text.replace(f"\nE {old} ", f"\nEVENT {new} ", 1)
    target.write_text(text.replace("\nEVENT ", "\nE "))
    return target


def first_partons(source: Path, target: Path, n: int) -> Path:
    text = gzip.decompress(source.read_bytes()).decode()
    events = text.split("<event>")
    target.write_text("<event>".join(events[: n + 1]).removesuffix("</LesHouchesEvents>\n") + "</LesHouchesEvents>\n")
    return target


def all_of(path: Path, size: int = 100) -> np.ndarray:
    return np.concatenate([batch.weights for batch in cm.open_reader(path).batches(size)])


@pytest.mark.parametrize(("size", "skip", "base"), list(itertools.product([1, 2, 3, 100], [0, 2, 4], [0, 1])))
def test_by_number(showered, broken, partons, tmp_path, *, size, skip, base):
    path = renumbered(broken, tmp_path / "numbered.hepmc", [n + base for n in KEPT])
    reader = cm.open_reader(path, digest=True, weights_from=partons)
    assert isinstance(reader, Reader)
    batches = list(reader.batches(size, skip))
    assert {batch.weight_names for batch in batches} == {cm.open_reader(partons).info().weight_names}
    assert [batch.first_event for batch in batches] == list(range(skip, 5, size))
    weights = np.concatenate([batch.weights for batch in batches])
    np.testing.assert_array_equal(weights, all_of(partons)[KEPT[skip:]])
    own = {name: i for i, name in enumerate(cm.open_reader(showered).info().weight_names)}
    order = [own[name] for name in batches[0].weight_names]
    np.testing.assert_allclose(weights, all_of(showered)[skip:][:, order], rtol=1e-12)
    assert reader.content["size"] == path.stat().st_size
    info = reader.info()
    assert (info.cross_section, info.weighting) == (cm.open_reader(partons).info().cross_section, -3)


@pytest.mark.parametrize("numbers", [[0, 1, 2, 3, 4], [1, 2, 3, 4, 5], [0, 0, 0, 0, 0]])
def test_in_order(broken, partons, tmp_path, numbers):
    path = renumbered(broken, tmp_path / "numbered.hepmc", numbers)
    five = first_partons(partons, tmp_path / "five.lhe", 5)
    weights = np.concatenate([b.weights for b in cm.open_reader(path, weights_from=five).batches(2)])
    np.testing.assert_array_equal(weights, all_of(partons)[:5])
    for n, what in (
        (6, "has 5 events, fewer than"),
        (4, r"event 4 .* belongs to event 4 of .* which has only 4 events"),
    ):
        other = first_partons(partons, tmp_path / "other.lhe", n)
        with pytest.raises(FileFormatError, match=what):
            list(cm.open_reader(path, weights_from=other).batches(2))


def test_numbers_that_do_not_increase(broken, partons, tmp_path):
    path = renumbered(broken, tmp_path / "numbered.hepmc", [0, 1, 5, 3, 9])
    for size in (2, 3, 100):
        with pytest.raises(FileFormatError, match=r"event 3 \(counted from 0\): its number does not increase"):
            list(cm.open_reader(path, weights_from=partons).batches(size))


def test_a_store(broken, showered, partons, tmp_path):
    names = cm.open_reader(partons).info().weight_names[1:]
    benchmarks = {"sm": {"c": 0.0}, **{name: {"c": float(i)} for i, name in enumerate(names, start=1)}}
    setup = cm.Setup(cm.ParameterSpace([cm.Parameter("c")]), benchmarks=benchmarks)
    selection = cm.Selection({"n": "len(p_truth)"})

    def stored(name: str, sample: cm.Sample) -> cm.EventStore:
        return cm.process([sample], setup, selection, tmp_path / name, progress=False, partition="in_order")

    with pytest.raises(MissingError, match="no weight for benchmark"):
        stored("absent.zarr", cm.Sample(broken, benchmark="sm"))
    borrowed = stored("borrowed.zarr", cm.Sample(broken, benchmark="sm", weights_from=partons))
    own = stored("own.zarr", cm.Sample(showered, benchmark="sm"))
    np.testing.assert_allclose(borrowed.weights[:], own.weights[:], rtol=1e-5)
    assert borrowed.xsec("sm").value == pytest.approx([cm.open_reader(partons).info().cross_section], rel=1e-5)
    assert borrowed.hash != own.hash
    again = stored("borrowed.zarr", cm.Sample(broken, benchmark="sm", weights_from=[partons]))
    assert again.hash == borrowed.hash


def test_one_file_of_weights_for_each_file_of_events(broken, showered, partons):
    assert cm.Sample([broken, showered], benchmark="sm").weight_files == (None, None)
    with pytest.raises(InputError, match="one file for each of the 2 files"):
        cm.Sample([broken, showered], benchmark="sm", weights_from=partons)


def test_the_analysis_file(broken, partons, tmp_path):
    names = cm.open_reader(partons).info().weight_names[1:]
    document = {
        "setup": {
            "parameters": {"c": {}},
            "benchmarks": {"sm": {"c": 0}, **{n: {"c": i + 1} for i, n in enumerate(names)}},
        },
        "samples": [{"path": broken.name, "benchmark": "sm", "weights_from": "weights.lhe.gz"}],
        "selection": {
            "observables": {"n_j": "len(j)", "n_a": "len(a)"},
            "jets": {"pt_min": 200.0},
            "isolation": {"a": {"pt_min": 1.0}},
        },
    }
    (tmp_path / "weights.lhe.gz").write_bytes(partons.read_bytes())
    path = tmp_path / "analysis.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))

    def analysis() -> Analysis:
        return Analysis(path, tmp_path / "out", Running(progress=False))

    first = analysis()
    for stage in first.stages[:2]:
        first.workspace.run(stage)
    store = cm.EventStore(first.workspace.path(first.stages[1]) / STORE)
    direct = cm.Selection(
        {"n_j": "len(j)", "n_a": "len(a)"}, jets=cm.Jets(pt_min=200.0), isolation={"a": cm.Isolation(pt_min=1.0)}
    )
    expected = direct.apply(next(cm.open_reader(broken).batches())).observables
    np.testing.assert_array_equal(store.observables[:], expected)
    assert store.xsec("sm").value == pytest.approx([cm.open_reader(partons).info().cross_section], rel=1e-5)
    assert analysis().workspace.is_done(analysis().stages[1])
    first_partons(partons, tmp_path / "other.lhe", 30)
    (tmp_path / "weights.lhe.gz").write_bytes((tmp_path / "other.lhe").read_bytes())
    assert not analysis().workspace.is_done(analysis().stages[1])
