"""What the expression language takes, what it refuses and how it says so; scalar transforms; shared sub-expressions."""

from __future__ import annotations

import pickle
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columnminer.arithmetic import Number
from columnminer.errors import ExpressionError, InputError
from columnminer.expressions import MAX_LENGTH, Evaluator, Kind, Program, compile_expression
from columnminer.momenta import Momenta, Particle
from columnminer.observe.objects import OBJECTS


def message(text: str, **options: object) -> str:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, OBJECTS, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "j[0].pt",
        "abs(j[0].phi - j[1].phi)",
        "j[0].deltaphi(j[1]) * (-1.0 + 2.0 * float(j[0].eta > j[1].eta))",
        "(l[0] + l[1] - met).m",
        "(a[0] + a[1]).m > 122. and len(e) >= 2 or not mu[0].charge > 0.",
        "p_truth[2].pdgid == 25 and p[0].spin != 9",
        "visible.e + all.pt + v[0].py ** 2 + tau[0].pz",
        "n_particles * scale / alpha_qed - alpha_qcd",
        "j[0].b_tag + j[1].tau_tag + j[2].t_tag",
        "j[0].boost(met).pt + j[0].boost_to_com().e + boost_to_com(j[0]).m",
        "sqrt(pow(j[0].px, 2)) + exp(-pi) + atan2(j[0].py, 1) + max(1, 2, 3) + min(int(j[0].e), 2)",
        "(j[0] if j[0].pt > 30 else j[1]).deltaR(met)",
        "j[0].pdg_id + j[0].mass + j[0].energy",
    ],
)
def test_the_language_of_madminer_compiles(text: str) -> None:
    assert compile_expression(text, OBJECTS).text == text


@pytest.mark.parametrize(
    ("text", "reason", "mark"),
    [
        ("len(j) + jj[0].pt", r"unknown name 'jj'. Did you mean 'j'?", 9),
        ("j[0].ptt > 1", r"no attribute 'ptt'. Did you mean 'pt'?", 5),
        ("j[0].deltar(j[1])", r"no method 'deltar'. Did you mean 'deltaR'?", 5),
        ("sqr(3)", r"unknown function 'sqr'. Did you mean 'sqrt'?", 0),
        ("1 + j", "j is a collection, where a number is needed", 4),
        ("j[0] > 3", "j[0] is a particle, where a number is needed: ask for one of its attributes, as in j[0].pt", 0),
        ("j.pt", "j is a collection, where a particle is needed: pick one of it, as in j[0]", 0),
        ("len(met)", "met is a particle, where a collection is needed", 4),
        ("j[0] + 1", "1 is a number, where a particle is needed", 7),
        ("sqrt(1, 2)", "sqrt() takes 1 argument, not 2", 0),
        ("log()", "log() takes 1 to 2 arguments, not 0", 0),
        ("min(1)", "min() takes at least 2 arguments, not 1", 0),
        ("j[0].pt()", "pt is an attribute: leave out the brackets", 5),
        ("3 + sqrt", "sqrt is a function: sqrt(...)", 4),
        ("(1 +\n zz)", "unknown name 'zz'", 1),
        ("j[0].pt >> 3", "BinOp is not part of the expression language", 0),
    ],
)
def test_errors_say_what_and_where(text: str, reason: str, mark: int) -> None:
    said = message(text)
    assert reason in said
    assert said.splitlines()[-1] == " " * (mark + 4) + "^"


@pytest.mark.parametrize(
    "text",
    [
        "1 +",
        "().__class__.__bases__[0].__subclasses__()",
        "j.__class__",
        "j[0].__init__.__globals__",
        "__import__('os').system('true')",
        "eval('1')",
        "open('/etc/passwd')",
        "lambda: 1",
        "(lambda: 1)()",
        "[x for x in j]",
        "{x: 1 for x in j}",
        "sum(x.pt for x in j)",
        "f'{j}'",
        "'text'",
        "b'bytes'",
        "None",
        "...",
        "1j",
        "(x := 3)",
        "max(*j)",
        "max(1, 2, key=abs)",
        "j[0:2]",
        "j[0, 1]",
        "[1, 2]",
        "{}",
        "1 is 1",
        "1 in j",
        "await j",
        "yield",
        "1; 2",
        "x = 1",
        "import os",
        "~1",
        "1 @ 2",
        "j[0].momenta",
        "9**9**9",
        "2 ** 1e9",
        "2 ** (1 / 0)",
        "2 ** -(9e9)",
        "1" + "0" * 400,
        "9" * (MAX_LENGTH + 1),
        "1 +" * 500 + "1",
        "(" * 300 + "1" + ")" * 300,
        "(" * 900 + ")" * 900,
        "-" * 1900 + "1",
        "not " * 450 + "1",
        "j[" * 600 + "0" + "]" * 600,
        "abs(" * 250 + "1" + ")" * 250,
        "a if b else " * 120 + "c",
        "[" + "+".join(["1"] * 900) + "]",
        "lambda: " + "-" * 1500 + "1",
        "x." + "y." * 900 + "z",
        "1\0",
        "\ud800",
        "",
        "   ",
        "# nothing",
    ],
)
def test_hostile_text_is_refused_at_once(text: str) -> None:
    begin = time.perf_counter()
    assert len(message(text)) < 1000
    assert time.perf_counter() - begin < 1.0


def test_only_text_is_compiled() -> None:
    with pytest.raises(ExpressionError, match="an expression is text, not int"):
        compile_expression(3, {"theta"})


@given(st.text(max_size=80))
def test_any_text_compiles_or_is_refused(text: str) -> None:
    try:
        program = compile_expression(text, OBJECTS)
    except ExpressionError:
        return
    assert isinstance(program, Program)


def test_long_flat_chains_are_fine() -> None:
    text = " and ".join(["x"] * 330)
    assert compile_expression(text, {"x"})(x=2.0) == 2.0
    assert compile_expression("<".join("x" * 900), {"x"})(x=2.0) == 0.0


def test_transforms_of_parameters() -> None:
    transform = compile_expression("16.52*theta", {"theta"})
    assert transform.names == {"theta"}
    assert transform(theta=2.0) == pytest.approx(33.04)
    np.testing.assert_allclose(transform(theta=[[0.0, 1.0], [2.0, -1.0]]), [[0.0, 16.52], [33.04, -16.52]])
    assert compile_expression("3", {"theta"})(theta=np.zeros(2)).tolist() == [3.0, 3.0]
    assert compile_expression("pi", ())() == np.pi


def test_transforms_are_defined_wherever_they_are_used() -> None:
    transform = compile_expression("log(theta) / other", {"theta", "other"})
    with pytest.raises(InputError, match=r"undefined at theta = -2, other = 1"):
        transform(theta=[1.0, -2.0], other=1.0)
    with pytest.raises(InputError, match="needs a value for other"):
        transform(theta=1.0)


def test_constants_are_floats() -> None:
    assert compile_expression("9**9**2", ())() == 9.0**81
    assert compile_expression("10**300 * 10**300", ())() == np.inf  # as Python's floats do
    with pytest.raises(InputError, match="undefined"):
        compile_expression("(10**300) ** 1.5", ())()


def test_an_observable_hides_an_object_only_where_numbers_are_meant() -> None:
    program = compile_expression("met > 3 and met.pt < 3", {"met": Kind.PARTICLE}, observables=["met"])
    met = Particle(Momenta({"px": np.array([3.0, 1.0]), "py": np.array([4.0, 0.0])}))
    evaluator = Evaluator({"met": met})
    evaluator.define("met", Number(np.array([9.0, 9.0])))
    assert evaluator.number(program).values.tolist() == [0.0, 1.0]
    assert program.names == {"met"}


def test_what_programs_share_is_computed_once() -> None:
    calls = []

    class Names(dict[str, Number]):
        def __getitem__(self, name: str) -> Number:
            calls.append(name)
            return Number(np.arange(3.0))

    evaluator = Evaluator(Names())
    first = evaluator.number(compile_expression("sqrt(x + 1) * 2", {"x"}))
    second = evaluator.number(compile_expression("sqrt(x + 1)", {"x"}))
    third = evaluator.number(compile_expression("sqrt(x+1.0)", {"x"}))
    assert calls == ["x"]
    assert second.values is third.values
    np.testing.assert_array_equal(first.values, 2 * second.values)


def test_programs_travel() -> None:
    program = compile_expression("(j[0] + j[1]).m > 30 if len(j) > 1 else 0", OBJECTS)
    assert pickle.loads(pickle.dumps(program)) == program  # noqa: S301 - our own bytes
