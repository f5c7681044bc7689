"""The set-up: parameter points, weights, and its life as a document."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from columnminer.errors import FileFormatError, InputError, MissingError, UnknownNameError
from columnminer.model.basis import mean_squared_weight
from columnminer.model.components import monomials
from columnminer.model.morphing import Morphing
from columnminer.model.parameters import Benchmark, Parameter, ParameterSpace
from columnminer.model.setup import Setup
from columnminer.model.systematics import NormalisationUncertainty, PDFUncertainty, ScaleUncertainty, WeightVariation

if TYPE_CHECKING:
    from pathlib import Path

SPACE = ParameterSpace(
    [
        Parameter("CWL2", lha=("dim6", 2), max_power=2, bounds=(-20, 20), transform="16.52*theta"),
        Parameter("CPWL2", lha=("dim6", 5), max_power=2, bounds=(-20, 20), transform="16.52*theta"),
    ]
)
BENCHMARKS = {"sm": {"CWL2": 0, "CPWL2": 0}, "w": {"CWL2": 15.2, "CPWL2": 0.1}}
SYSTEMATICS = [
    NormalisationUncertainty("norm", 0.1),
    ScaleUncertainty("scales"),
    PDFUncertainty("pdf", 303400, 4),
    WeightVariation("other", "up", "down"),
]


@pytest.fixture(scope="module")
def bare() -> Setup:
    return Setup(SPACE, BENCHMARKS, SYSTEMATICS)


@pytest.fixture(scope="module")
def morphed(bare: Setup) -> Setup:
    return bare.with_morphing(max_overall_power=2, seed=1)


@pytest.fixture(scope="module")
def shifted(bare: Setup) -> Setup:
    return bare.with_finite_differences({"CWL2": 0.1, "CPWL2": 0.2}, benchmarks=["sm"])


def test_names_and_points(bare: Setup) -> None:
    assert bare.parameter_names == ("CWL2", "CPWL2")
    assert bare.benchmark_names == ("sm", "w")
    np.testing.assert_array_equal(bare.benchmark_points, [[0, 0], [15.2, 0.1]])
    assert bare.reference == "sm"
    assert [p.name for p in bare.nuisance_parameters] == ["norm", "scales", "pdf_1", "pdf_2", "other"]
    assert bare.morphing is None
    assert Setup(SPACE.parameters, list(BENCHMARKS.values())).benchmark_names == ("benchmark_0", "benchmark_1")
    with pytest.raises(MissingError, match="no reference benchmark"):
        _ = Setup(SPACE).reference


def test_theta_in_every_form(bare: Setup) -> None:
    wanted = [15.2, 0.1]
    for point in ("w", {"CPWL2": 0.1, "CWL2": 15.2}, (15.2, 0.1), np.array(wanted), Benchmark("b", BENCHMARKS["w"])):
        np.testing.assert_array_equal(bare.theta(point), wanted)
        np.testing.assert_array_equal(bare.thetas(point), [wanted])
    np.testing.assert_array_equal(bare.thetas(["w", wanted, {"CWL2": 15.2, "CPWL2": 0.1}]), [wanted] * 3)
    np.testing.assert_array_equal(bare.thetas(np.zeros((4, 2))), np.zeros((4, 2)))
    bare.theta("w")[:] = 0  # a copy: the set-up keeps its points
    np.testing.assert_array_equal(bare.theta("w"), wanted)


@pytest.mark.parametrize(
    ("point", "error", "complaint"),
    [
        ("ww", UnknownNameError, "no benchmark is called 'ww'. Did you mean 'w'"),
        ({"CWL2": 1.0}, InputError, "no value for 'CPWL2'"),
        ({"CWL2": 1.0, "CPWL": 0.0}, UnknownNameError, "'CPWL'. Did you mean 'CPWL2'"),
        ([1.0, 2.0, 3.0], InputError, "CWL2, CPWL2"),
    ],
)
def test_bad_theta(bare: Setup, point: object, error: type[Exception], complaint: str) -> None:
    for ask in (bare.theta, bare.thetas, bare.weights, bare.weight_gradients):
        with pytest.raises(error, match=complaint):
            ask(point)
    with pytest.raises(error):
        bare.thetas(["sm", point])


# Weights


def test_weights_without_morphing(bare: Setup) -> None:
    np.testing.assert_array_equal(bare.weights(["w", "sm", [15.2, 0.1]]), [[0, 1], [1, 0], [0, 1]])
    np.testing.assert_array_equal(bare.weights([15.2 * (1 + 1e-15), 0.1]), [[0, 1]])
    with pytest.raises(MissingError, match=r"CWL2 = 15.2, CPWL2 = 0.2 is no benchmark.*with_morphing"):
        bare.weights([15.2, 0.2])
    with pytest.raises(MissingError, match="with_finite_differences"):
        bare.weight_gradients("sm")
    twins = Setup(SPACE, {"a": BENCHMARKS["w"], "b": BENCHMARKS["w"]})
    np.testing.assert_array_equal(twins.weights(["b", "a", [15.2, 0.1]]), [[0, 1], [1, 0], [1, 0]])


def test_weights_through_morphing(morphed: Setup) -> None:
    morphing = morphed.morphing
    assert morphing is not None
    theta = [[5.0, -3.0], [0.0, 0.0]]
    np.testing.assert_array_equal(morphed.weights(theta), morphing.weights(theta))
    np.testing.assert_array_equal(morphed.weight_gradients(theta), morphing.weight_gradients(theta))
    np.testing.assert_allclose(morphed.squared_weights(theta), morphing.squared_weights(theta))
    assert morphed.weights(theta).shape == (2, 6)
    assert morphed.weight_gradients(theta).shape == (2, 2, 6)
    np.testing.assert_array_equal(morphed.weights(["w", theta[0]])[0], np.eye(6)[1])
    np.testing.assert_allclose(morphed.weights(["w", theta[0]])[1], morphed.weights(theta[0])[0], atol=1e-15)


def test_morphing_completes_the_basis(bare: Setup, morphed: Setup) -> None:
    assert morphed.benchmark_names[:2] == bare.benchmark_names
    assert morphed.benchmark_names[2:] == tuple(f"morphing_basis_vector_{i}" for i in range(2, 6))
    assert morphed.morphing is not None
    assert morphed.morphing.basis == morphed.benchmark_names
    assert morphed.systematics == bare.systematics
    assert bare.with_morphing(max_overall_power=2, seed=1) == morphed
    assert bare.with_morphing(max_overall_power=2, seed=2) != morphed
    assert bare.morphing is None


def test_morphing_beside_the_benchmarks(bare: Setup) -> None:
    setup = bare.with_morphing(max_overall_power=2, include_existing=False)
    assert setup.morphing is not None
    assert setup.benchmark_names[:2] == ("sm", "w")
    assert setup.morphing.basis == tuple(f"morphing_basis_vector_{i}" for i in range(6))
    np.testing.assert_array_equal(setup.weights([[1.0, 2.0]])[0, :2], 0)
    np.testing.assert_array_equal(setup.weights("w"), [np.eye(8)[1]])
    again = setup.with_morphing(max_overall_power=2, include_existing=False)
    assert again.morphing is not None
    assert again.morphing.basis == tuple(f"morphing_basis_vector_{i}" for i in range(6, 12))
    with_all = bare.with_morphing(max_overall_power=2)
    assert with_all.morphing is not None
    assert mean_squared_weight(setup.morphing) < mean_squared_weight(with_all.morphing)


def test_given_basis_components_and_size(bare: Setup, morphed: Setup) -> None:
    assert morphed.morphing is not None
    again = Setup(SPACE, morphed.benchmarks).with_morphing(2, morphing_basis=list(reversed(morphed.benchmark_names)))
    np.testing.assert_allclose(again.weights([3, 4]), morphed.weights([3, 4]), atol=1e-12)
    line = bare.with_morphing(components=[[0, 0], [1, 0]], morphing_basis=["sm", "w"])
    np.testing.assert_allclose(line.weights([7.6, 5.0]), [[0.5, 0.5]])
    big = bare.with_morphing(2, n_basis=8)
    assert big.morphing is not None
    assert len(big.benchmarks) == 8
    assert mean_squared_weight(big.morphing) < mean_squared_weight(morphed.morphing)
    vertices = bare.with_morphing(production=["CWL2"], decay=["CPWL2"], fixed_terms=True)
    assert vertices.morphing is not None
    assert len(vertices.morphing.components) == 9
    interference = bare.with_morphing(bsm_max_power=1)
    assert interference.morphing is not None
    assert interference.morphing.components.tolist() == [[0, 0], [0, 1], [1, 0]]


def test_refused_morphing(bare: Setup, shifted: Setup) -> None:
    with pytest.raises(InputError, match="2 benchmarks, but 6 components"):
        bare.with_morphing(2, morphing_basis=["sm", "w"])
    with pytest.raises(UnknownNameError, match="'v'"):
        bare.with_morphing(2, morphing_basis=["sm", "v"])
    with pytest.raises(InputError, match="morphing_basis must be a sequence"):
        bare.with_morphing(2, morphing_basis="sm")
    with pytest.raises(InputError, match="finite differences already"):
        shifted.with_morphing(2)
    with pytest.raises(MissingError, match="'x' enters: give it a max_power"):
        Setup([Parameter("x", bounds=(0, 1))]).with_morphing()


def test_the_benchmarks_morph_a_cross_section(morphed: Setup) -> None:
    """The purpose of it all: weights at six points give the cross section anywhere."""
    rng = np.random.default_rng(0)
    assert morphed.morphing is not None
    terms = rng.normal(size=6)
    theta = rng.uniform(-20, 20, (50, 2))
    morph = morphed.weights(theta) @ monomials(morphed.benchmark_points, morphed.morphing.components) @ terms
    np.testing.assert_allclose(morph, monomials(theta, morphed.morphing.components) @ terms, atol=1e-10 * 400)


# Finite differences


def test_finite_differences_at_benchmarks(shifted: Setup) -> None:
    assert shifted.benchmark_names == ("sm", "w", "sm_plus_CWL2", "sm_plus_CPWL2")
    np.testing.assert_allclose(shifted.benchmark_points[2:], [[0.1, 0.0], [0.0, 0.2]])
    gradients = shifted.weight_gradients(["sm", [0.0, 0.0]])
    np.testing.assert_allclose(gradients[0], [[-10, 0, 10, 0], [-5, 0, 0, 5]])
    np.testing.assert_array_equal(gradients[0], gradients[1])
    np.testing.assert_array_equal(shifted.weights("sm_plus_CWL2"), [[0, 0, 1, 0]])


def test_finite_differences_elsewhere_are_missing(shifted: Setup) -> None:
    for elsewhere in ("w", "sm_plus_CWL2"):
        with pytest.raises(MissingError, match=f"no gradient at benchmark '{elsewhere}'.*at sm only"):
            shifted.weight_gradients(elsewhere)
    with pytest.raises(MissingError, match="is no benchmark"):
        shifted.weight_gradients([1.0, 1.0])
    with pytest.raises(MissingError, match="is no benchmark"):
        shifted.weights([1.0, 1.0])


@pytest.mark.parametrize(("central", "order"), [(False, 1), (True, 2)])
def test_finite_differences_approach_the_gradient(bare: Setup, central: bool, order: int) -> None:
    def rate(theta: np.ndarray) -> np.ndarray:
        return np.exp(0.3 * theta[:, 0]) * np.cos(0.2 * theta[:, 1] + 1.0)

    errors = []
    for epsilon in (0.1, 0.01):
        setup = bare.with_finite_differences(epsilon, benchmarks=["sm"], central=central)
        gradient = setup.weight_gradients("sm")[0] @ rate(setup.benchmark_points)
        errors.append(np.abs(gradient - [0.3 * np.cos(1.0), -0.2 * np.sin(1.0)]).max())
    assert errors[1] < errors[0] / 10**order * 1.2
    assert errors[1] > 1e-9


def test_refused_finite_differences(bare: Setup, morphed: Setup, shifted: Setup) -> None:
    with pytest.raises(InputError, match="morphing, whose gradients are exact"):
        morphed.with_finite_differences()
    with pytest.raises(InputError, match="finite differences already"):
        shifted.with_finite_differences()
    with pytest.raises(InputError, match="no value for 'CPWL2'"):
        bare.with_finite_differences({"CWL2": 0.1})
    with pytest.raises(InputError, match=r"step of 'CWL2': 0 is not below -0\.1"):
        bare.with_finite_differences(-0.1)
    with pytest.raises(UnknownNameError, match="'ww'"):
        bare.with_finite_differences(benchmarks=["ww"])


# Consistency


@pytest.mark.parametrize(
    ("make", "error", "complaint"),
    [
        (lambda: Setup(SPACE, {"sm": {"CWL2": 0}}), InputError, "benchmark 'sm': .* 'CPWL2'"),
        (lambda: Setup(SPACE, [Benchmark("b", BENCHMARKS["w"])] * 2), InputError, "'b' is used twice"),
        (lambda: Setup(SPACE, (), SYSTEMATICS[:1] * 2), InputError, "systematics: the name 'norm' is used twice"),
        (lambda: Setup(SPACE, (), [WeightVariation("CWL2", "1")]), InputError, "'CWL2' is used twice"),
        (
            lambda: Setup(SPACE, BENCHMARKS, [PDFUncertainty("p", 1, 2), WeightVariation("p_1", "1")]),
            InputError,
            "'p_1' is used twice",
        ),
    ],
)
def test_names_are_unique(make: Any, error: type[Exception], complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        make()


def test_morphing_of_another_set_up_is_refused(morphed: Setup) -> None:
    with pytest.raises(InputError, match="another set of parameters or benchmarks"):
        Setup(SPACE, BENCHMARKS, morphing=morphed.morphing)


# As a document


@pytest.mark.parametrize("kind", ["bare", "morphed", "shifted"])
def test_round_trip(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    setup: Setup = request.getfixturevalue(kind)
    path = tmp_path / "new folder" / "setup.json"
    setup.save(path)
    again = Setup.load(path)
    assert again == setup
    assert again.hash == setup.hash
    assert hash(again) == hash(setup)
    assert again.to_dict() == setup.to_dict()
    assert again.systematics == setup.systematics
    assert again.space == setup.space
    np.testing.assert_array_equal(again.benchmark_points, setup.benchmark_points)
    np.testing.assert_array_equal(again.weights("sm"), setup.weights("sm"))
    if setup.morphing is not None:
        np.testing.assert_array_equal(again.weights([1, 2]), setup.weights([1, 2]))
    setup.save(path)
    assert [p.name for p in path.parent.iterdir()] == ["setup.json"]
    assert pickle.loads(pickle.dumps(setup)) == setup  # noqa: S301 - our own bytes


values = st.floats(-1e3, 1e3)


@given(st.lists(st.tuples(values, values), min_size=1, max_size=5), st.booleans())
@hypothesis_settings(deadline=None, max_examples=40)
def test_any_benchmarks_survive_json(points: list[tuple[float, float]], differences: bool) -> None:
    setup = Setup(SPACE, {f"b{i}": SPACE.as_dict(point) for i, point in enumerate(points)})
    setup = setup.with_finite_differences(0.5) if differences else setup
    again = Setup.from_dict(json.loads(json.dumps(setup.to_dict())))
    assert again == setup
    np.testing.assert_array_equal(again.benchmark_points, setup.benchmark_points)


def test_the_hash_belongs_to_the_content(bare: Setup) -> None:
    assert len(bare.hash) == 64
    assert Setup(SPACE, BENCHMARKS, SYSTEMATICS).hash == bare.hash
    integers_or_floats = {"sm": {"CPWL2": 0.0, "CWL2": 0.0}, "w": {"CPWL2": 0.1, "CWL2": 15.2}}
    assert Setup(SPACE, integers_or_floats, SYSTEMATICS).hash == bare.hash
    negative_zero = {"sm": {"CWL2": -0.0, "CPWL2": 0}, "w": BENCHMARKS["w"]}
    assert Setup(SPACE, negative_zero, SYSTEMATICS).hash == bare.hash
    others = [
        Setup(SPACE, {"sm": BENCHMARKS["sm"], "w": {"CWL2": 15.2, "CPWL2": 0.1000001}}, SYSTEMATICS),
        Setup(SPACE, dict(reversed(BENCHMARKS.items())), SYSTEMATICS),
        Setup(SPACE, BENCHMARKS, SYSTEMATICS[1:]),
    ]
    assert len({bare.hash, *(other.hash for other in others)}) == 4


def edited(document: dict[str, Any], path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    document = json.loads(json.dumps(document))
    inner: Any = document
    for key in path[:-1]:
        inner = inner[key]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("format",), "x", "this is no set-up of columnminer"),
        (("format_version",), 99, "format_version 99 is not 1"),
        (("benchmarks",), None, "the key 'benchmarks' is missing"),
        (("benchmark",), [], "unknown key 'benchmark'. Did you mean 'benchmarks'"),
        (("parameters",), {}, "parameters: expected a list"),
        (("parameters", 1), 3, r"parameters\[1\]: expected an object, found 3"),
        (("parameters", 1, "name"), None, r"parameters\[1\]: the key 'name' is missing"),
        (("parameters", 1, "name"), "CWL2", "parameters: .*'CWL2' is used twice"),
        (("parameters", 0, "bound"), [0, 1], r"parameters\[0\]: unknown key 'bound'. Did you mean 'bounds'"),
        (("parameters", 0, "bounds"), [1, 0], r"parameters\[0\]: parameter 'CWL2': bounds: 1 is not below 0"),
        (("parameters", 0, "transform"), "exit()", r"parameters\[0\]: parameter 'CWL2': transform"),
        (("benchmarks", 1, "values", "CWL2"), "x", r"benchmarks\[1\]: benchmark 'w': CWL2 must be a number"),
        (("benchmarks", 1, "values", "CWL2"), None, "benchmarks: benchmark 'w': .* no value for 'CWL2'"),
        (("benchmarks", 1, "name"), "sm", "benchmarks: .*'sm' is used twice"),
        (("systematics", 0, "type"), "norms", r"systematics\[0\]: the type of a systematic cannot be 'norms'"),
        (("systematics", 1, "scale"), "mux", r"systematics\[1\]: systematic 'scales': scale cannot be 'mux'"),
        (("morphing", "basis", 0), "smm", "morphing: .*no benchmark is called 'smm'. Did you mean 'sm'"),
        (("morphing", "basis"), "sm", "morphing: basis: expected a list"),
        (("morphing", "components", 0), [0], "morphing: .*components"),
        (("morphing", "components", 0, 0), 0.5, "morphing: .*non-negative integers"),
        (("morphing", "matrix"), [], "morphing: unknown key 'matrix'"),
    ],
)
def test_bad_documents_name_file_and_key(
    morphed: Setup, tmp_path: Path, path: tuple[str | int, ...], value: object, complaint: str
) -> None:
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(edited(morphed.to_dict(), path, value)))
    with pytest.raises(FileFormatError, match=r"bad\.json: " + complaint):
        Setup.load(file)


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("finite_differences", "steps", "CWL2"), 0, "step of 'CWL2'"),
        (("finite_differences", "steps"), [0.1, 0.1], "steps must be a dict"),
        (("finite_differences", "steps", "CWL2"), 0.3, "'sm' need benchmark 'sm_plus_CWL2' at"),
        (("finite_differences", "steps", "CWL2"), None, r"steps for \(CPWL2\)"),
        (("finite_differences", "benchmarks", 0), "smm", "'smm'. Did you mean"),
        (("finite_differences", "central"), True, "need benchmark 'sm_minus_CWL2'"),
    ],
)
def test_bad_differences_are_named(shifted: Setup, path: tuple[str | int, ...], value: object, complaint: str) -> None:
    with pytest.raises(FileFormatError, match=f"^here: .*{complaint}"):
        Setup.from_dict(edited(shifted.to_dict(), path, value), "here")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"format": "other"}'])
def test_files_of_something_else(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(FileFormatError, match=r"x\.json: this is no"):
        Setup.load(tmp_path / "x.json")
    with pytest.raises(FileNotFoundError):
        Setup.load(tmp_path / "y.json")


def test_the_real_set_up(data: Path) -> None:
    """The VBF analysis: MadMiner's benchmarks as a given basis give its weights."""
    oracle = json.loads((data / "vbf_morphing.json").read_text())
    setup = Setup(SPACE, oracle["benchmarks"]).with_morphing(2, morphing_basis=list(oracle["benchmarks"]))
    assert isinstance(setup.morphing, Morphing)
    np.testing.assert_allclose(setup.weights(oracle["thetas"]), oracle["morphing_weights"], atol=1e-12)
    # our own completion of the same first benchmark serves better
    found = Setup(SPACE, {"sm": BENCHMARKS["sm"]}).with_morphing(2)
    assert found.morphing is not None
    assert mean_squared_weight(found.morphing) < mean_squared_weight(setup.morphing)
