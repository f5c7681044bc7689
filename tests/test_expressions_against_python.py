"""Random expressions, evaluated on columns and, by a walk over Python's own syntax tree, event by event in Python.

The walk uses Python's operators and functions on floats, so that what raises there must be undefined in the columns.
"""

from __future__ import annotations

import ast
import math
import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from columnminer.arithmetic import Number
from columnminer.expressions import Evaluator, Kind, compile_expression
from columnminer.momenta import Collection, Momenta, Particle

NAMES = {"j": Kind.COLLECTION, "a": Kind.COLLECTION, "met": Kind.PARTICLE, "n": Kind.NUMBER}
RNG = np.random.default_rng(5)
COUNTS = {"j": [0, 1, 2, 3, 2, 5, 0, 1, 4, 2], "a": [2, 0, 1, 2, 2, 3, 0, 4, 2, 1]}
N_EVENTS = 10


def momenta(n: int) -> dict[str, np.ndarray]:
    p = RNG.normal(size=(3, n)) * 40
    return dict(zip(("px", "py", "pz"), p, strict=True)) | {
        "e": np.sqrt((p**2).sum(axis=0) + RNG.exponential(30, n) ** 2)
    }


COLUMNS = {name: momenta(sum(counts)) for name, counts in COUNTS.items()} | {"met": momenta(N_EVENTS)}
NUMBERS = np.array([0.0, 1.0, -1.0, 2.5, -3.0, 0.5, 1e308, -0.0, 7.0, 1e-9])


def columnar() -> dict[str, Any]:
    objects: dict[str, Any] = {
        name: Collection(Momenta(COLUMNS[name]), np.concatenate([[0], np.cumsum(counts)]))
        for name, counts in COUNTS.items()
    }
    return objects | {"met": Particle(Momenta(COLUMNS["met"])), "n": Number(NUMBERS)}


class P:
    """A particle in plain Python."""

    def __init__(self, px: float, py: float, pz: float, e: float) -> None:
        self.px, self.py, self.pz, self.e = px, py, pz, e
        self.pt = math.sqrt(px * px + py * py)

    @property
    def eta(self) -> float:
        if self.pt == 0:  # as the vector package has it
            return math.copysign(math.inf, self.pz) if self.pz else 0.0
        return math.asinh(self.pz / self.pt)

    phi = property(lambda self: math.atan2(self.py, self.px))

    def __add__(self, other: P) -> P:
        return P(self.px + other.px, self.py + other.py, self.pz + other.pz, self.e + other.e)

    def __sub__(self, other: P) -> P:
        return P(self.px - other.px, self.py - other.py, self.pz - other.pz, self.e - other.e)

    def deltaphi(self, other: P) -> float:
        return (self.phi - other.phi + math.pi) % (2 * math.pi) - math.pi

    def deltaeta(self, other: P) -> float:
        return self.eta - other.eta

    def deltaR(self, other: P) -> float:
        return math.hypot(self.deltaphi(other), self.deltaeta(other))


def event(i: int) -> dict[str, Any]:
    def particle(name: str, k: int) -> P:
        return P(*(float(COLUMNS[name][c][k]) for c in ("px", "py", "pz", "e")))

    starts = {name: sum(counts[:i]) for name, counts in COUNTS.items()}
    lists = {n: [particle(n, k) for k in range(starts[n], starts[n] + COUNTS[n][i])] for n in COUNTS}
    return lists | {"met": particle("met", i), "n": float(NUMBERS[i]), "pi": math.pi}


BINARY = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
BINARY |= {ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow}
COMPARE = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}
COMPARE |= {ast.Eq: operator.eq, ast.NotEq: operator.ne}
UNARY = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_}
TRANSCENDENTAL = ["exp", "log", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh"]
MATH = ["sqrt", "ceil", "floor", "atan2", "pow", *TRANSCENDENTAL]
CALLS = {name: getattr(math, name) for name in MATH} | {f.__name__: f for f in (abs, min, max, int, float, bool, len)}
EVENTS = [event(i) for i in range(N_EVENTS)]


class InPython(ast.NodeVisitor):
    """Evaluates an expression in one event."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names

    def visit(self, node: ast.AST) -> Any:
        value = super().visit(node)
        return float(value) if isinstance(value, int) else value

    def visit_Constant(self, node: ast.Constant) -> Any:
        return node.value

    def visit_Name(self, node: ast.Name) -> Any:
        return self.names[node.id]

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        return UNARY[type(node.op)](self.visit(node.operand))

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        return BINARY[type(node.op)](self.visit(node.left), self.visit(node.right))

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        for term in node.values:
            value = self.visit(term)
            if bool(value) is isinstance(node.op, ast.Or):
                break
        return value

    def visit_Compare(self, node: ast.Compare) -> Any:
        left, value = self.visit(node.left), True
        for op, comparator in zip(node.ops, node.comparators, strict=True):
            right = self.visit(comparator)
            value = COMPARE[type(op)](left, right)
            if not value:
                break
            left = right
        return value

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        return self.visit(node.body) if self.visit(node.test) else self.visit(node.orelse)

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        index = self.visit(node.slice)
        if index != int(index):
            raise IndexError
        return self.visit(node.value)[int(index)]

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        return getattr(self.visit(node.value), node.attr)

    def visit_Call(self, node: ast.Call) -> Any:
        function = CALLS[node.func.id] if isinstance(node.func, ast.Name) else self.visit(node.func)
        return function(*map(self.visit, node.args))


def expected(text: str) -> list[float | None]:
    tree = ast.parse(text, mode="eval").body
    results: list[float | None] = []
    for names in EVENTS:
        try:
            result = InPython(names).visit(tree)
        except (IndexError, ZeroDivisionError, ValueError, OverflowError):
            results.append(None)
        else:
            results.append(None if isinstance(result, complex) else float(result))
    return results


def observed(text: str) -> list[float | None]:
    values, defined = Evaluator(columnar()).number(compile_expression(text, NAMES))
    pairs = zip(np.broadcast_to(values, N_EVENTS), np.broadcast_to(defined, N_EVENTS), strict=True)
    return [float(value) if known else None for value, known in pairs]


def same(got: list[float | None], want: list[float | None], tolerance: float) -> bool:
    def alike(g: float | None, w: float | None) -> bool:
        if g is None or w is None or math.isnan(g) or math.isnan(w):
            return str(g) == str(w)
        return math.isclose(g, w, rel_tol=tolerance, abs_tol=tolerance)

    return all(map(alike, got, want))


INDEX = st.sampled_from(["0", "1", "2", "-1", "-2", "4", "n", "len(a) - 1", "0.5"])
PARTICLES = st.recursive(
    st.one_of(st.just("met"), st.builds("{}[{}]".format, st.sampled_from("ja"), INDEX)),
    lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from("+-"), inner),
    max_leaves=3,
)
LEAVES = st.one_of(
    st.sampled_from(["n", "0", "1", "2", "0.5", "3.", "1e308", "1e-3", "True", "len(j)", "len(a)"]),
    st.builds("{}.{}".format, PARTICLES, st.sampled_from(["pt", "px", "py", "pz", "e"])),
)


def compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Build what rounds alike in Python and numpy."""
    chain = st.builds(
        "({} {} {} {} {})".format, inner, st.sampled_from(["<", "<=", "=="]), inner, st.sampled_from(["<", "!="]), inner
    )
    return st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner),
        st.builds("({} {} {})".format, inner, st.sampled_from(["<", "<=", ">", ">=", "==", "!=", "and", "or"]), inner),
        chain,
        st.builds("({} and {} or {})".format, inner, inner, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("({}{})".format, st.sampled_from(["-", "+", "not "]), inner),
        st.builds("{}({})".format, st.sampled_from(["abs", "sqrt", "ceil", "floor", "int", "float", "bool"]), inner),
        st.builds("{}({}, {})".format, st.sampled_from(["min", "max"]), inner, inner),
        st.builds("max({}, {}, {})".format, inner, inner, inner),
    )


EXACT = st.recursive(LEAVES, compound, max_leaves=8)
ROUNDED = st.one_of(
    st.builds("{}({})".format, st.sampled_from(TRANSCENDENTAL), EXACT),
    st.builds("{}({}, {})".format, st.sampled_from(["atan2", "pow", "log"]), EXACT, EXACT),
    st.builds("({}) ** min(n, {})".format, EXACT, EXACT),
    st.builds("({}) ** {}".format, EXACT, st.sampled_from(["2", "0.5", "-1", "3.0", "-0.5", "0", "(1 / 3)"])),
    # Back to back, rounding may turn pi into -pi.
    st.builds("abs({}.{}({}))".format, PARTICLES, st.sampled_from(["deltaphi", "deltaeta", "deltaR"]), PARTICLES),
)


@settings(max_examples=400, deadline=None)
@given(EXACT)
def test_arithmetic_and_logic_are_those_of_python(text: str) -> None:
    assert same(observed(text), expected(text), 0.0)


@settings(max_examples=400, deadline=None)
@given(ROUNDED)
@example("(n * 1e308) ** 0.5")
@example("atan2(n, ceil(n))")  # integers have no negative zero
def test_functions_are_those_of_python(text: str) -> None:
    assert same(observed(text), expected(text), 1e-11)


@pytest.mark.parametrize(
    "text",
    [
        "j[0].pt",
        "j[-1].pt + j[1].pt",
        "len(j) >= 2 and (j[0] + j[1]).pt > 30",
        "len(j) < 2 or j[1].pt > 30",
        "j[1].pt if len(j) > 1 else -1",
        "not j[3].pt",
        "j[0].deltaphi(j[1]) * (-1.0 + 2.0 * float(j[0].eta > j[1].eta))",
        "0 < len(j) < 3 == len(a)",
        "sqrt(n) and 1",
        "log(n, 2.)",
        "n ** n",
        "n % -3.",
        "2 ** -n",
    ],
)
def test_examples(text: str) -> None:
    assert same(observed(text), expected(text), 1e-11)


def test_a_wrong_rule_would_be_noticed() -> None:
    assert not same(observed("j[0].pt"), expected("j[1].pt"), 1e-11)
    assert not same(observed("1 if len(j) > 1 and j[1].pt > 0 else 0"), expected("1 if j[1].pt > 0 else 0"), 1e-11)
