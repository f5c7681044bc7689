"""Text to an array program: the language of observables, cuts, efficiencies and parameter transforms.

An expression is a small part of Python: names, numbers, arithmetic, comparisons, `and or not`, `x if c else y`,
indexing of collections, and the attributes, methods and functions listed in `momenta` and `arithmetic`.
`compile_expression` walks Python's syntax tree, takes what is on its list and refuses all else; nothing is ever run
as Python. The result is a tree of `Node`s that an `Evaluator` turns into one number per event; sub-expressions that
several programs share are computed once.

Undefined is what Python would raise an exception for: the third jet of an event with two, the root of -1 (see
`arithmetic`). `and`, `or` and `if` decide event by event, as Python does: an undefined right side does not matter
where the left side decides.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

from columnminer.arithmetic import CONSTANTS, FUNCTIONS, OPERATORS, Number
from columnminer.errors import ExpressionError, InputError, did_you_mean
from columnminer.momenta import ATTRIBUTES, METHODS, Collection, Particle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import ArrayLike, NDArray

__all__ = ["MAX_DEPTH", "MAX_EXPONENT", "MAX_LENGTH", "Evaluator", "Kind", "Node", "Program", "compile_expression"]

MAX_LENGTH = 2000
MAX_DEPTH = 100
MAX_EXPONENT = 1000.0

Value: TypeAlias = Number | Particle | Collection


class Kind(StrEnum):
    """What a name or a sub-expression stands for."""

    NUMBER = "a number"
    PARTICLE = "a particle"
    COLLECTION = "a collection"


@dataclass(frozen=True)
class Node:
    """One step of a program.

    Attributes
    ----------
    operation : str
        What to do: a sign, a function, an attribute with its dot, or "name" or "constant" for a leaf.
    kind : Kind
        What comes out.
    arguments : tuple of Node
        What it is done to.
    text : str
        The leaf's name or number.
    key : str
        The whole sub-expression; equal keys are equal values.
    """

    operation: str
    kind: Kind
    arguments: tuple[Node, ...] = ()
    text: str = ""
    key: str = field(init=False)

    def __post_init__(self) -> None:
        inside = ", ".join(a.key for a in self.arguments) or self.text
        object.__setattr__(self, "key", f"{self.operation}({inside})")

    def names(self) -> frozenset[str]:
        """Return the names that the value depends on."""
        if self.operation in {"name", "observable"}:
            return frozenset({self.text})
        return frozenset().union(*(a.names() for a in self.arguments))


_OPERATIONS: dict[str, Callable[..., Value]] = {
    **OPERATORS,
    **{name: function.apply for name, function in FUNCTIONS.items()},
    **{f".{name}": partial(Particle.attribute, name=name) for name in ATTRIBUTES},
    **{f".{name}()": method for name, method in METHODS.items()},
    "particle +": Particle.__add__,
    "particle -": Particle.__sub__,
    "particle if": Particle.either,
    "[]": Collection.item,
    "len": Collection.length,
}
_SIGNS: dict[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.USub: "negative",
    ast.UAdd: "positive",
    ast.Not: "not",
    ast.And: "and",
    ast.Or: "or",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
_ALIASES = {"energy": "e", "mass": "m", "pdg_id": "pdgid"}
_HINTS = {
    Kind.COLLECTION: "pick one of it, as in {0}[0], or count it: len({0})",
    Kind.PARTICLE: "ask for one of its attributes, as in {0}.pt",
    Kind.NUMBER: "it cannot be indexed and has no attributes",
}


@dataclass(frozen=True)
class Program:
    """A compiled expression: plain data, so that it can travel to workers.

    Attributes
    ----------
    text : str
        The expression.
    root : Node
        Its last step, a number.
    """

    text: str
    root: Node

    @property
    def names(self) -> frozenset[str]:
        """The names that occur in the expression."""
        return self.root.names()

    def __call__(self, **numbers: ArrayLike) -> NDArray[np.float64]:
        """Evaluate on numbers, or arrays that broadcast together: ``program(theta=[0.0, 1.0])``.

        Raises
        ------
        InputError
            If a name is missing, or the expression is undefined at one of the points.
        """
        if missing := sorted(self.names - numbers.keys()):
            msg = f"{self.text!r} needs a value for {', '.join(missing)}"
            raise InputError(msg)
        arrays = {name: np.asarray(value, dtype=np.float64) for name, value in numbers.items()}
        shape = np.broadcast_shapes(*(a.shape for a in arrays.values()))
        values, defined = Evaluator({name: Number(array) for name, array in arrays.items()}).number(self)
        if not np.all(defined):
            where = np.flatnonzero(~np.broadcast_to(defined, shape))[0]
            at = ", ".join(f"{name} = {np.broadcast_to(a, shape).flat[where]:g}" for name, a in arrays.items())
            msg = f"{self.text!r} is undefined at {at or 'every point'}"
            raise InputError(msg)
        result: NDArray[np.float64] = np.broadcast_to(values, shape)[()]
        return result


class Evaluator:
    """Runs programs on one batch of events, each distinct sub-expression once.

    Parameters
    ----------
    names
        What each name stands for: a `Number`, a `Particle` or a `Collection`, asked for only when it is needed.
    """

    def __init__(self, names: Mapping[str, Value]) -> None:
        self._names = names
        self._values: dict[str, Value] = {}

    def define(self, name: str, number: Number) -> None:
        """Set the value of an observable, for the programs that name it."""
        self._values[Node("observable", Kind.NUMBER, text=name).key] = number

    def number(self, program: Program) -> Number:
        """Return the value of a program."""
        with np.errstate(all="ignore"):  # what makes numpy complain is undefined, and marked so
            return cast("Number", self._value(program.root))

    def _value(self, node: Node) -> Value:
        value = self._values.get(node.key)
        if value is None:
            value = self._values[node.key] = self._computed(node)
        return value

    def _computed(self, node: Node) -> Value:
        if node.operation == "name":
            return self._names[node.text]
        if node.operation == "constant":
            return Number(np.asarray(float(node.text)))
        return _OPERATIONS[node.operation](*[self._value(argument) for argument in node.arguments])


def compile_expression(
    text: str, names: Mapping[str, Kind] | Iterable[str], observables: Iterable[str] = ()
) -> Program:
    """Compile an expression.

    Parameters
    ----------
    text
        The expression: at most `MAX_LENGTH` characters, `MAX_DEPTH` levels deep, and constant exponents at most
        `MAX_EXPONENT`.
    names
        The names it may use, with their kinds; without kinds, all are numbers.
    observables
        Further names of numbers, set by `Evaluator.define`. One that is also in `names` hides it, except where only a
        particle or a collection makes sense: with an observable ``met``, ``met > 30`` is about the observable and
        ``met.phi`` about the object.

    Raises
    ------
    ExpressionError
        If the text is not an expression of this language: says what, shows where, and proposes the nearest name.
    """
    kinds = dict(names) if isinstance(names, Mapping) else dict.fromkeys(names, Kind.NUMBER)
    text = _checked(text)
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError as error:
        raise ExpressionError(_pointed(text, f"not an expression: {error.msg}", error.lineno, error.offset)) from None
    except ValueError as error:
        msg = f"not an expression: {error}\n    {text[:60]!r}"
        raise ExpressionError(msg) from None
    except (RecursionError, MemoryError):  # from Python's parser, which has its own limits
        msg = f"not an expression: nested too deeply\n    {text[:60]!r}"
        raise ExpressionError(msg) from None
    return Program(text, _Compiler(text, kinds, frozenset(observables)).visit(tree.body, Kind.NUMBER))


def _checked(text: object) -> str:
    if not isinstance(text, str):
        msg = f"an expression is text, not {type(text).__name__}"
        raise ExpressionError(msg)
    if len(text) > MAX_LENGTH:
        msg = f"expression of {len(text)} characters: at most {MAX_LENGTH} are allowed. It begins {text[:60]!r}"
        raise ExpressionError(msg)
    return text.strip()


def _pointed(text: str, reason: str, line: int | None, column: int | None) -> str:
    """Return the reason above the part of the expression around a line and column (from 1), and a mark below it."""
    lines = text.splitlines() or [""]
    shown = lines[min(line or 1, len(lines)) - 1]
    before = max(column or 1, 1) - 1
    start = max(before - 60, 0)
    return f"{reason}\n    {shown[start : start + 100]}\n    {' ' * (before - start)}^"


class _Compiler:
    """Walks one syntax tree; `wanted` is the kind that makes sense where a node stands, None if several do."""

    def __init__(self, text: str, names: Mapping[str, Kind], observables: frozenset[str]) -> None:
        self._text = text
        self._names = names
        self._observables = observables
        self._depth = 0

    def _error(self, node: ast.expr, reason: str) -> ExpressionError:
        line, offset = node.lineno, node.col_offset
        if isinstance(node, ast.Attribute) and node.end_lineno and node.end_col_offset:
            line, offset = node.end_lineno, node.end_col_offset - len(node.attr.encode())
        before = self._text.splitlines()[line - 1].encode()[:offset]
        column = len(before.decode(errors="replace")) + 1  # names in the tree are normalised, and may be shorter
        return ExpressionError(_pointed(self._text, reason, line, column))

    def _written(self, node: ast.expr) -> str:
        written = ast.get_source_segment(self._text, node) or ""
        return written if len(written) < 60 else f"{written[:56]} ..."

    def visit(self, node: ast.expr, wanted: Kind | None) -> Node:
        if self._depth == MAX_DEPTH:
            raise self._error(node, f"nested too deeply: at most {MAX_DEPTH} levels are allowed")
        self._depth += 1
        made = self._made(node, wanted)
        self._depth -= 1
        if wanted is not None and made.kind is not wanted:
            written = self._written(node)
            hint = _HINTS[made.kind].format(written)
            raise self._error(node, f"{written} is {made.kind}, where {wanted} is needed: {hint}")
        return made

    def _numbers(self, *nodes: ast.expr) -> tuple[Node, ...]:
        return tuple(self.visit(node, Kind.NUMBER) for node in nodes)

    def _made(self, node: ast.expr, wanted: Kind | None) -> Node:
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                made = self._constant(node, value)
            case ast.Name():
                made = self._name(node, wanted)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not()):
                made = Node(_SIGNS[type(node.op)], Kind.NUMBER, self._numbers(node.operand))
            case ast.BinOp() if type(node.op) in _SIGNS:
                made = self._binary(node, wanted)
            case ast.BoolOp():
                made = Node(_SIGNS[type(node.op)], Kind.NUMBER, self._numbers(*node.values))
            case ast.Compare() if all(type(op) in _SIGNS for op in node.ops):
                made = self._comparison(node)
            case ast.IfExp():
                made = self._conditional(node, wanted)
            case ast.Subscript():
                collection = self.visit(node.value, Kind.COLLECTION)
                made = Node("[]", Kind.PARTICLE, (collection, *self._numbers(node.slice)))
            case ast.Attribute():
                made = self._attribute(node)
            case ast.Call(keywords=[]):
                made = self._call(node)
            case _:
                what = type(node).__name__
                raise self._error(node, f"{self._written(node)}: {what} is not part of the expression language")
        return made

    def _comparison(self, node: ast.Compare) -> Node:
        terms = self._numbers(node.left, *node.comparators)
        steps = zip(node.ops, terms[:-1], terms[1:], strict=True)
        compared = tuple(Node(_SIGNS[type(op)], Kind.NUMBER, (x, y)) for op, x, y in steps)
        return compared[0] if len(compared) == 1 else Node("and", Kind.NUMBER, compared)

    def _constant(self, node: ast.Constant, value: float) -> Node:
        try:
            return Node("constant", Kind.NUMBER, text=repr(float(value)))
        except OverflowError:
            raise self._error(node, "this number is too large") from None

    def _name(self, node: ast.Name, wanted: Kind | None) -> Node:
        name = node.id
        if name in self._observables and (wanted in {None, Kind.NUMBER} or name not in self._names):
            return Node("observable", Kind.NUMBER, text=name)
        if name in self._names:
            return Node("name", self._names[name], text=name)
        if name in CONSTANTS:
            return Node("constant", Kind.NUMBER, text=repr(CONSTANTS[name]))
        if name in FUNCTIONS or name == "len":
            raise self._error(node, f"{name} is a function: {name}(...)")
        known = dict.fromkeys([*self._names, *sorted(self._observables), *CONSTANTS])
        raise self._error(node, f"unknown name {name!r}.{did_you_mean(name, known)}")

    def _binary(self, node: ast.BinOp, wanted: Kind | None) -> Node:
        sign = _SIGNS[type(node.op)]
        if sign in {"+", "-"}:
            left = self.visit(node.left, wanted if wanted is Kind.PARTICLE else None)
            if left.kind is Kind.PARTICLE:
                return Node(f"particle {sign}", Kind.PARTICLE, (left, self.visit(node.right, Kind.PARTICLE)))
        left, right = self._numbers(node.left, node.right)
        if sign == "**" and not right.names():
            exponent = Evaluator({}).number(Program("", right))
            if not exponent.defined or not abs(exponent.values) <= MAX_EXPONENT:
                raise self._error(node.right, f"exponents are at most {MAX_EXPONENT:g}")
        return Node(sign, Kind.NUMBER, (left, right))

    def _conditional(self, node: ast.IfExp, wanted: Kind | None) -> Node:
        (test,) = self._numbers(node.test)
        yes = self.visit(node.body, wanted)
        if yes.kind is Kind.COLLECTION:
            raise self._error(
                node.body, f"{self._written(node.body)} is {yes.kind}, and an if cannot choose between those"
            )
        no = self.visit(node.orelse, yes.kind)
        return Node("particle if" if yes.kind is Kind.PARTICLE else "if", yes.kind, (test, yes, no))

    def _attribute(self, node: ast.Attribute) -> Node:
        name = _ALIASES.get(node.attr, node.attr)
        if name not in ATTRIBUTES:
            known = did_you_mean(name, [*ATTRIBUTES, *METHODS])
            raise self._error(node, f"particles have no attribute {name!r}.{known}")
        return Node(f".{name}", Kind.NUMBER, (self.visit(node.value, Kind.PARTICLE),))

    def _call(self, node: ast.Call) -> Node:
        if isinstance(node.func, ast.Attribute):
            return self._method(node, node.func.attr, node.func.value, node.args)
        if not isinstance(node.func, ast.Name):
            raise self._error(node, f"{self._written(node.func)} cannot be called")
        name = node.func.id
        if name == "boost_to_com":
            self._count(node, name, 1, 1)
            return self._method(node, name, node.args[0], [])
        if name == "len":
            self._count(node, name, 1, 1)
            return Node("len", Kind.NUMBER, (self.visit(node.args[0], Kind.COLLECTION),))
        if name not in FUNCTIONS:
            raise self._error(node, f"unknown function {name!r}.{did_you_mean(name, [*FUNCTIONS, 'len'])}")
        self._count(node, name, FUNCTIONS[name].fewest, FUNCTIONS[name].most)
        return Node(name, Kind.NUMBER, self._numbers(*node.args))

    def _method(self, node: ast.Call, name: str, receiver: ast.expr, others: list[ast.expr]) -> Node:
        if name in ATTRIBUTES or name in _ALIASES:
            raise self._error(node.func, f"{name} is an attribute: leave out the brackets")
        if name not in METHODS:
            raise self._error(node.func, f"particles have no method {name!r}.{did_you_mean(name, METHODS)}")
        particle = self.visit(receiver, Kind.PARTICLE)
        if name == "boost_to_com" and not others:  # into the rest frame of everything
            everything = ast.copy_location(ast.Name("all"), node)
            other = self.visit(everything, Kind.PARTICLE)
        else:
            self._count(node, name, 1, 1)
            other = self.visit(others[0], Kind.PARTICLE)
        kind = Kind.PARTICLE if name.startswith("boost") else Kind.NUMBER
        return Node(f".{name}()", kind, (particle, other))

    def _count(self, node: ast.Call, name: str, fewest: int, most: int | None) -> None:
        n = len(node.args)
        if n < fewest or (most is not None and n > most):
            wanted = f"{fewest}" if most == fewest else f"{fewest} to {most}" if most else f"at least {fewest}"
            raise self._error(node, f"{name}() takes {wanted} argument{'s' * (wanted != '1')}, not {n}")
