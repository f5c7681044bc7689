"""Parameters, couplings, benchmarks and the space they span."""

from __future__ import annotations

import dataclasses
import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columnminer.errors import ExpressionError, InputError, UnknownNameError
from columnminer.model.parameters import Benchmark, Coupling, Parameter, ParameterSpace

numbers = st.floats(-1e6, 1e6)
names = st.text("abcdefgh_0123", min_size=1, max_size=8)


@pytest.fixture
def space() -> ParameterSpace:
    return ParameterSpace(
        [
            Parameter("CWL2", lha=("dim6", 2), max_power=2, bounds=(-20, 20), transform="16.52*theta"),
            Parameter("CPWL2", lha=["dim6", 5], bounds=(-20, 20)),
            Parameter("mu", 1.0),
        ]
    )


def test_options_of_a_coupling_make_a_coupling(space: ParameterSpace) -> None:
    assert [type(p) for p in space] == [Coupling, Coupling, Parameter]
    assert isinstance(Parameter("g", max_power=4), Coupling)
    assert space["CPWL2"] == Coupling("CPWL2", bounds=(-20.0, 20.0), lha=("dim6", 5), max_power=2)
    assert space["mu"] != Coupling("mu", 1.0)


def test_parameters_are_values(space: ParameterSpace) -> None:
    for parameter in space:
        assert pickle.loads(pickle.dumps(parameter)) == parameter  # noqa: S301 - our own bytes
        assert dataclasses.replace(parameter, description="x").description == "x"
        assert hash(parameter) == hash(dataclasses.replace(parameter))
        with pytest.raises(dataclasses.FrozenInstanceError):
            parameter.nominal = 3.0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"name": " "}, "name of a parameter"),
        ({"name": 3}, "name of a parameter"),
        ({"nominal": "1"}, "'g': nominal must be a number"),
        ({"nominal": float("nan")}, "'g': nominal must be finite"),
        ({"nominal": True}, "'g': nominal must be a number"),
        ({"bounds": (1, 1)}, "'g': bounds: 1 is not below 1"),
        ({"bounds": (0, float("inf"))}, "'g': bounds must be finite"),
        ({"bounds": 5}, "'g': bounds must be a sequence"),
        ({"bounds": "ab"}, "'g': bounds must be a sequence"),
        ({"bounds": (1, 2, 3)}, "'g': bounds must be a pair"),
        ({"constraint": 0.0}, "'g': constraint, a standard deviation"),
        ({"fit_limits": (2, 1)}, "'g': fit_limits: 2 is not below 1"),
        ({"kind": ""}, "'g': kind must be a text"),
        ({"description": 1}, "'g': description must be a text"),
        ({"lha": ("dim6", "2")}, "'g': the LHA id must be an integer"),
        ({"lha": (6, 2)}, "'g': the LHA block must be a text"),
        ({"lha": "dim6"}, "'g': lha, such as"),
        ({"max_power": -1}, "'g': max_power must be an integer"),
        ({"max_power": 1.5}, "'g': max_power must be an integer"),
    ],
)
def test_bad_parameters_are_refused(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Parameter(**{"name": "g", **options})


def test_card_value_follows_the_transform(space: ParameterSpace) -> None:
    np.testing.assert_array_equal(space["CWL2"].card_value([0.0, 15.2]), [0.0, 16.52 * 15.2])
    assert float(space["CPWL2"].card_value(3.0)) == 3.0


@pytest.mark.parametrize("transform", ["16.52*thet", "theta +", "__import__('os')", 3])
def test_transforms_are_checked_when_given(transform: object) -> None:
    with pytest.raises(ExpressionError, match="parameter 'g': transform"):
        Parameter("g", transform=transform)


def test_transform_undefined_at_a_point_is_an_error() -> None:
    with pytest.raises(InputError, match="undefined at theta = 0"):
        Parameter("g", transform="1/theta").card_value(0.0)


@given(
    st.builds(
        Parameter,
        names,
        numbers,
        st.none() | st.tuples(st.floats(-1e6, -1e-3), st.floats(1e-3, 1e6)),
        constraint=st.none() | st.floats(1e-6, 1e6),
        kind=st.sampled_from(["theory", "nuisance", "rate"]),
        description=names,
        fit_limits=st.sampled_from([None, (0.0, None), (None, 2.0), (0.0, 1.0)]),
        fit_guess=st.none() | st.floats(-1e6, 1e6),
    )
)
def test_parameters_survive_json(parameter: Parameter) -> None:
    assert Parameter(**json.loads(json.dumps(parameter.to_dict()))) == parameter


@given(names, st.integers(0, 6), st.none() | st.tuples(names, st.integers(0, 99)), st.sampled_from([None, "2*theta"]))
def test_couplings_survive_json(name: str, power: int, lha: tuple[str, int] | None, transform: str | None) -> None:
    coupling = Coupling(name, max_power=power, lha=lha, transform=transform)
    again = Parameter(**json.loads(json.dumps(coupling.to_dict())))
    assert again == coupling
    assert isinstance(again, Coupling)


def test_space_names_and_bounds(space: ParameterSpace) -> None:
    assert space.names == ("CWL2", "CPWL2", "mu")
    assert len(space) == 3
    assert "mu" in space
    assert "nu" not in space
    assert space[0] is space["CWL2"]
    np.testing.assert_array_equal(space.bounds, [[-20, 20], [-20, 20], [-np.inf, np.inf]])
    np.testing.assert_array_equal(space.nominal, [0, 0, 1])


def test_theta_in_any_form_is_the_same_array(space: ParameterSpace) -> None:
    wanted = np.array([1.0, 2.0, 3.0])
    for theta in ({"mu": 3, "CWL2": 1, "CPWL2": np.float64(2)}, [1, 2, 3], (1, 2, 3), wanted):
        np.testing.assert_array_equal(space.array(theta), wanted)
        np.testing.assert_array_equal(space.points(theta), [wanted])
    np.testing.assert_array_equal(space.points([{"CWL2": 1, "CPWL2": 2, "mu": 3}, [1, 2, 3]]), [wanted, wanted])
    assert space.as_dict(wanted) == {"CWL2": 1.0, "CPWL2": 2.0, "mu": 3.0}
    assert space.array(wanted) is not wanted


def test_a_single_parameter_takes_plain_numbers() -> None:
    line = ParameterSpace([Parameter("x")])
    np.testing.assert_array_equal(line.array(2.0), [2.0])
    np.testing.assert_array_equal(line.points([1.0, 2.0, 3.0]), [[1.0], [2.0], [3.0]])
    np.testing.assert_array_equal(line.points(2.0), [[2.0]])


@pytest.mark.parametrize(
    ("theta", "error", "complaint"),
    [
        ({"CWL2": 1, "CPWL2": 2}, InputError, "no value for 'mu'"),
        ({"CWL2": 1, "CPWL": 2, "mu": 0}, UnknownNameError, "'CPWL'. Did you mean 'CPWL2'"),
        ({"CWL2": 1, "CPWL2": "2", "mu": 0}, InputError, "value of 'CPWL2' must be a number"),
        ([1, 2], InputError, "one value each for"),
        ([1, np.nan, 2], InputError, "value of 'CPWL2' is not finite"),
        ("sm", InputError, "theta: these are not numbers"),
        ([1, [2], 3], InputError, "these are not numbers"),
    ],
)
def test_bad_theta_names_the_parameter(
    space: ParameterSpace, theta: object, error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        space.array(theta)
    with pytest.raises(error):
        space.points(theta)


def test_bad_points_name_the_row(space: ParameterSpace) -> None:
    with pytest.raises(InputError, match="theta number 1: the value of 'mu' is not finite"):
        space.points([[1, 2, 3], [1, 2, np.inf]])
    with pytest.raises(InputError, match=r"\(n, 3\) is needed"):
        space.points(np.zeros((4, 2)))


def test_space_refuses_duplicates_and_strangers() -> None:
    with pytest.raises(InputError, match="'x' is used twice"):
        ParameterSpace([Parameter("x"), Parameter("x")])
    with pytest.raises(InputError, match="made of Parameters"):
        ParameterSpace(["x"])


def test_benchmarks_in_any_form(space: ParameterSpace) -> None:
    values = {"mu": 3, "CWL2": 1, "CPWL2": 2}
    (named,) = space.benchmarks({"sm": values})
    assert named == Benchmark("sm", values)
    assert list(named.values) == list(space.names)
    assert [b.name for b in space.benchmarks([values, Benchmark("x", values), values])] == [
        "benchmark_0",
        "x",
        "benchmark_2",
    ]


@pytest.mark.parametrize(
    ("benchmarks", "error", "complaint"),
    [
        ({"sm": {"CWL2": 0, "CPWL2": 0}}, InputError, "benchmark 'sm': theta .* has no value for 'mu'"),
        ({"sm": {"CWL2": 0, "CPWL2": 0, "CPWL": 1}}, UnknownNameError, "benchmark 'sm': .*Did you mean 'CPWL2'"),
        ({"sm": {"CWL2": 0, "CPWL2": 0, "mu": "1"}}, InputError, "benchmark 'sm': mu must be a number"),
        ({"sm": [0, 0, 0]}, InputError, "benchmark 'sm': values must be a dict"),
        ({"": {}}, InputError, "name of a benchmark"),
    ],
)
def test_bad_benchmarks_are_named(
    space: ParameterSpace, benchmarks: object, error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        space.benchmarks(benchmarks)
