"""ONNX graphs against the estimators that they come from, run by onnxruntime, which knows nothing of us."""

from __future__ import annotations

import json
import logging
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from some_estimators import INPUTS, KINDS, fitted, numpy_value, some_inputs, training_samples

import columnminer
from columnminer.errors import MissingError, OutputExistsError
from columnminer.learn.activations import ACTIVATIONS
from columnminer.learn.estimators import RatioEstimator, load_estimator
from columnminer.learn.onnx_export import export_onnx

# Every kind and every activation, in as few exports as that takes.
REMAINING = [*list(ACTIVATIONS)[len(KINDS) :], "prelu"]
CASES = [*zip(KINDS, ACTIVATIONS, strict=False), *(("score", name) for name in REMAINING)]
OUTPUTS = {"score": "score", "maf": "log_density", "spline": "log_density"}


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return training_samples(tmp_path_factory.mktemp("samples"))


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def run(graph, arrays):
    (output,) = graph.run(None, dict(zip([i.name for i in graph.get_inputs()], arrays, strict=True)))
    return output


@pytest.mark.parametrize(("kind", "activation"), CASES)
def test_graphs_give_what_estimators_give(kind, activation, samples, tmp_path):
    estimator = fitted(kind, samples, activation=activation)
    export_onnx(estimator, tmp_path / "model.onnx")
    onnx.checker.check_model(onnx.load(tmp_path / "model.onnx"), full_check=True)
    graph = session(tmp_path / "model.onnx")
    assert tuple(i.name for i in graph.get_inputs()) == INPUTS[kind]
    assert [o.name for o in graph.get_outputs()] == [OUTPUTS.get(kind, "log_ratio")]
    assert {i.type for i in (*graph.get_inputs(), *graph.get_outputs())} == {"tensor(float)"}

    arrays = [a.astype(np.float32) for a in some_inputs(kind)]
    expected = numpy_value(estimator, *arrays)
    assert np.std(expected) > 1e-3
    for n in (len(expected), 1, 7):
        output = run(graph, [a[:n] for a in arrays])
        assert output.shape == expected[:n].shape
        np.testing.assert_allclose(output, expected[:n], rtol=1e-5, atol=1e-5)
    # Another function of x would be seen, and another of theta.
    for i in range(len(arrays)):
        moved = run(graph, [np.roll(a, 1, axis=0) if j == i else a for j, a in enumerate(arrays)])
        assert np.abs(moved - expected).max() > 1e-3


@pytest.fixture(scope="module")
def score(samples):
    return fitted("score", samples)


def test_it_lies_beside_the_saved_estimator_on_request_and_says_what_it_is(score, tmp_path):
    score.save(tmp_path / "plain")
    assert not (tmp_path / "plain" / "model.onnx").exists()
    both = tmp_path / "both"
    score.save(both, onnx=True)
    assert sorted(p.name for p in both.iterdir()) == ["estimator.json", "model.onnx", "weights.safetensors"]
    (x,) = some_inputs("score")
    again, graph = load_estimator(both), session(both / "model.onnx")
    np.testing.assert_array_equal(again.score(x), score.score(x))
    np.testing.assert_allclose(run(graph, [x.astype(np.float32)]), again.score(x), rtol=1e-5, atol=1e-5)

    told = graph.get_modelmeta().custom_metadata_map
    assert told["kind"] == "ScoreEstimator"
    assert json.loads(told["feature_names"]) == ["noise", "x"]
    assert json.loads(told["parameter_names"]) == ["mean"]
    assert json.loads(told["reference"]) == [0.5]
    assert (told["method"], told["store_hash"]) == ("sally", "toy")
    assert told["columnminer_version"] == columnminer.__version__


def test_a_file_is_written_whole_quietly_and_over_another_only_if_told_to(score, tmp_path, capfd):
    path, level = tmp_path / "model.onnx", logging.getLogger("torch.onnx").level
    path.write_text("something else")
    with pytest.raises(OutputExistsError, match="exists already"):
        columnminer.export_onnx(score, path)
    assert path.read_text() == "something else"
    columnminer.export_onnx(score, path, replace=True)
    assert session(path).get_inputs()[0].shape == ["events", 2]
    assert list(tmp_path.iterdir()) == [path]
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("torch.onnx").level == level


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_missing_packages_and_trainings_are_named(package, score, tmp_path, monkeypatch):
    with pytest.raises(MissingError, match="RatioEstimator has learned nothing yet"):
        export_onnx(RatioEstimator(), tmp_path / "model.onnx")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingError, match=rf"the package {package} is needed: pip install columnminer\[onnx\]"):
        export_onnx(score, tmp_path / "model.onnx")
    with pytest.raises(MissingError, match="pip install"):
        score.save(tmp_path / "estimator", onnx=True)
    assert not list(tmp_path.iterdir())
