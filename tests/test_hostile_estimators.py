"""Folders of estimators made to do harm: none is loaded, nothing outside is read or written, and little memory used."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from mutations import bounded
from safetensors.torch import load_file, save_file

from columnminer.errors import ColumnMinerError, FileFormatError
from columnminer.learn.estimators import load_estimator

if TYPE_CHECKING:
    from torch import Tensor

WHOLE = Path(__file__).parent / "data" / "fuzz" / "estimator"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(WHOLE, tmp_path / "estimator")
    return tmp_path / "estimator"


def refused(folder: Path, words: str = "estimator") -> None:
    with bounded(), pytest.raises(FileFormatError, match=words):
        load_estimator(folder)


def with_tensors(folder: Path, **changes: Tensor) -> None:
    tensors = load_file(WHOLE / "weights.safetensors")
    assert set(changes) <= set(tensors)
    save_file(tensors | changes, folder / "weights.safetensors")


def test_it_is_whole(folder: Path) -> None:
    assert load_estimator(folder).parameter_names == ("mean",)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["network.weights.0", "scaling.x.mean"])
def test_weights_that_are_not_finite(folder: Path, name: str, value: float) -> None:
    tensor = load_file(WHOLE / "weights.safetensors")[name].clone()
    tensor.view(-1)[-1] = value
    with_tensors(folder, **{name: tensor})
    refused(folder, f"{name} holds numbers that are not finite")


@pytest.mark.parametrize("shape", [(), (0,), (4,), (1, 1), (4, 3, 1), (4, 300)])
def test_weights_of_other_shapes(folder: Path, shape: tuple[int, ...]) -> None:
    with_tensors(folder, **{"network.weights.1": torch.zeros(shape)})
    refused(folder)


def test_every_cut_of_the_weights(folder: Path) -> None:
    whole = (WHOLE / "weights.safetensors").read_bytes()
    for length in range(len(whole)):
        (folder / "weights.safetensors").write_bytes(whole[:length])
        refused(folder)


@pytest.mark.parametrize("shape", [[2**40], [2**62, 4], [-1], [1.5], "4", None])
def test_headers_that_lie(folder: Path, shape: Any) -> None:
    header = json.dumps({"network.weights.0": {"dtype": "F32", "shape": shape, "data_offsets": [0, 16]}}).encode()
    (folder / "weights.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    refused(folder)


@pytest.mark.parametrize("length", [2**63, 2**40, 10**8])
def test_headers_without_end(folder: Path, length: int) -> None:
    (folder / "weights.safetensors").write_bytes(struct.pack("<Q", length) + b"{}")
    refused(folder)


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "1", "{", "[" * 100_000, '{"a":' * 100_000, "9" * 10_000, '"' + "\\ud800" + '"', "NaN"]
)
def test_documents_that_are_none(folder: Path, text: str) -> None:
    (folder / "estimator.json").write_text(text)
    refused(folder)


@pytest.mark.parametrize("kind", ["../../x", "/etc/passwd", "os.system", "__class__", "Estimator", "", None, 3, [], {}])
def test_kinds_are_names_of_ours(folder: Path, kind: Any) -> None:
    document = json.loads((WHOLE / "estimator.json").read_text())
    (folder / "estimator.json").write_text(json.dumps(document | {"kind": kind}))
    refused(folder, "not a Estimator")


@pytest.mark.parametrize("votes", [["x"], [None], {"a": 1}, 3, [1.0] * 3, []])
def test_ensembles(folder: Path, votes: Any) -> None:
    """Members are numbered folders inside: a document cannot lead elsewhere."""
    shutil.copytree(folder, folder / "member_0")
    document = {"format": "columnminer ensemble", "format_version": 1, "votes": votes}
    (folder / "ensemble.json").write_text(json.dumps(document))
    with pytest.raises(ColumnMinerError, match=r"no ensemble|votes|members|estimator"):
        load_estimator(folder)
