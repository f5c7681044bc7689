"""Texts made to do harm, beyond those of ``test_expressions``, ``test_documents`` and ``test_campaign``."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from mutations import bounded

from columnminer.documents import check_document
from columnminer.errors import ExpressionError, InputError
from columnminer.expressions import compile_expression
from columnminer.pipeline.configuration import AnalysisConfig
from columnminer.toys.patterns import names_in

ANALYSIS = (Path(__file__).parent / "data" / "fuzz" / "analysis.yaml").read_text()


@pytest.mark.parametrize(
    "text",
    [
        "x.__class__.__mro__[1].__subclasses__()",
        "x.real",
        "(x).__add__(1)",
        "getattr(x, 'real')",
        "globals()",
        "vars()",
        "type(x)",
        "breakpoint()",
        "__builtins__",
        "x.__init__.__globals__['os']",
        "x if __import__('os') else 1",
        "х",  # noqa: RUF001 - a Cyrillic letter that looks like x
        "x\u200b",
        "\u202ex",
        "x − 1",  # noqa: RUF001 - a minus sign that is not Python's
        "eva\u006c\u0301('1')",
        "x**x**1e5",
        "9" * 1999,
        "10**1001",
        "(((2**999)**999)**999)**1001",
        "x << 10**9",
        "x * 'a' * 10**9",
        "[0] * 10**9",
        "max(" + ",".join(["x"] * 990) + ",)" + "," * 9,
        "(" * 101 + "x" + ")" * 101 + "(",
        "1" + "+(1" * 300 + ")" * 300,
    ],
)
def test_hostile_expressions_are_refused_at_once(text: str) -> None:
    begin = time.perf_counter()
    with bounded(), pytest.raises(ExpressionError):
        compile_expression(text, {"x"})
    assert time.perf_counter() - begin < 1.0


def test_large_powers_are_numbers_of_the_machine() -> None:
    """Integers of Python would grow without end; there are only floats here, which become undefined instead."""
    with bounded(), pytest.raises(InputError, match="undefined"):
        compile_expression("((x**1000)**1000)**1000", {"x"})(x=9.0)
    assert compile_expression("x**1000", {"x"})(x=np.float64(1.0)) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['true']",
        "!!python/name:os.system",
        "!!python/object/new:type [x, [], {}]",
        "!!python/module:os",
        "!custom x",
        "!!binary x",
        "&a [*a]",
        "&a {x: *a}",
        "&a x",
        "9" * 10_000,
        "1:" * 5_000 + "1",
        "2026-99-99",
        "!!int x",
        "<<: [1]",
    ],
)
def test_hostile_values_in_an_analysis_are_refused(text: str) -> None:
    for damaged in (ANALYSIS.replace("luminosity: 3000\n", f"luminosity: {text}\n"), f"{text}\n"):
        assert damaged != ANALYSIS
        with bounded(), pytest.raises(InputError):
            check_document(damaged, AnalysisConfig)


@pytest.mark.parametrize("name", ["../x", "..", "/etc/x", "a/b", ".hidden", "a\\b", "'a\\0b'", "''", "x" * 81, "~x"])
def test_names_that_become_folders_lead_nowhere_else(name: str) -> None:
    assert check_document(ANALYSIS, AnalysisConfig).limits is not None
    with pytest.raises(InputError):
        check_document(ANALYSIS.replace("alices: {kind", f"{name}: {{kind"), AnalysisConfig)


@pytest.mark.parametrize(
    "pattern",
    ["../{m}", "/{m}", "a/../../{m}", "{m.__class__}", "{m[0]}", "{m!r}", "{m:{n}}", "{m:9999d}", "{", ""],
)
def test_patterns_lead_nowhere_else(pattern: str) -> None:
    with pytest.raises(InputError):
        names_in(pattern)
