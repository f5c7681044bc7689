"""Texts made to do harm, beyond those of ``test_expressions``, ``test_documents`` and ``test_campaign``."""

from __future__ import annotations

import gzip
import re
import shutil
import time
from pathlib import Path

import mutations
import numpy as np
import pytest
from mutations import bounded

import columnminer as cm
from columnminer.documents import check_document
from columnminer.errors import ColumnMinerError, ExpressionError, InputError
from columnminer.expressions import compile_expression
from columnminer.formats import window
from columnminer.learn.estimators import load_estimator
from columnminer.pipeline.configuration import AnalysisConfig
from columnminer.run.jobs import Job
from columnminer.store.samplestore import SampleStore
from columnminer.toys.patterns import names_in
from columnminer.toys.threshold_files import read_thresholds

FUZZ = Path(__file__).parent / "data" / "fuzz"
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
        "9**9**9**9",
        "'a'*10**9",
        "'a'",
        "b'x' * 9",
        "(" * 10**5 + "x" + ")" * 10**5,
        "x" + "[0]" * 10**5,
        "-" * 10**5 + "x",
        "-" * 1900 + "x",
        "not " * 400 + "x",
        "x if " * 300 + "x" + " else x" * 300,
        "9" * 10**6,
        "0x" + "f" * 1900,
        "1" + "_1" * 900,
        "x[::10**18]",
        "x[0:10**18:10**9]",
        "x[..., 0]",
        "f'{x}'",
        "f'{x.__class__}'",
        "(y := x)",
        "lambda: x",
        "(lambda: x)()",
        "[x for x in (1, 2)]",
        "sum(x for _ in range(10**9))",
        "{x: x}",
        "{x}",
        "(x,)",
        "*x",
        "max(*x)",
        "max(**x)",
        "max(x, x, key=x)",
        "await x",
        "(yield)",
        "x; x",
        "x\nimport os",
        "x == x is x",
        "x in x",
        "x @ x",
        "x and __class__",
        "ｅｖａｌ(x)",  # noqa: RUF001 - Python reads these as eval
        "__ｉｍｐｏｒｔ__('os')",  # noqa: RUF001
        "x.__ｃｌａｓｓ__",  # noqa: RUF001
        "x.ｐｔ",  # noqa: RUF001
        "𝐱.__dict__",  # noqa: RUF001
        "x\0",
        "\ud800",
        "1j",
        "...",
        "None",
        "",
        " " * 10**6,
        "#" * 100,
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
        "&a [1, *a, *a]",
        "[" * 10_000,
        "{a: " * 10_000,
        "- " * 10_000 + "x",
        "0b" + "1" * 10_000,
        "0x" + "f" * 10_000,
        "1e999",
        ".inf",
        ".nan",
        "{<<: {<<: {a: 1}}, a: 1}",
        "? {a: b} : c",
        "? [1, 2]\n: c",
        "{1: a, 1: b}",
        "!!set {a}",
        "!!omap [a: 1, a: 2]",
        "!!timestamp 0",
        "!<tag:yaml.org,2002:python/object/apply:os.system> [true]",
        "!!python/tuple [1]",
        "'\\x00'",
        "%TAG ! x",
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


LAUGHS = "\n".join(["l0: &l0 [x]", *(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 12))])
MERGES = "\n".join(
    ["a0: &a0 {k: 1}", *(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 12))]
)


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        MERGES,
        "[" * 10**6,
        "{a: " * 10**6,
        "[" * 10**6 + "]" * 10**6,
        "- " * 10**5,
        "a: 1\n" * 10**4,
        "x" * 10**6 + ": 1",
        "'" + "x" * 10**6,
        "? " * 10**4,
        "a: &b\n" * 10**4,
        "&a " * 10**4,
        "---\n" * 10**4,
    ],
    ids=lambda text: text[:12],
)
def test_documents_that_grow_are_refused_soon(text: str) -> None:
    begin = time.perf_counter()
    with bounded(), pytest.raises(InputError):
        check_document(text, AnalysisConfig)
    assert time.perf_counter() - begin < 15.0


@pytest.mark.parametrize(
    "text",
    [
        "[" * 10**6,
        '{"a":' * 10**6,
        "[" * 10**6 + "]" * 10**6,
        "9" * 10**6,
        "-" + "9" * 10**6,
        "NaN",
        "Infinity",
        '{"parameters": NaN}',
        '"' + "x" * 10**6,
        "\ufeff{}",
        "\0",
    ],
    ids=lambda text: text[:12],
)
def test_json_that_is_none_of_ours_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.write_text(text)
    for read in (cm.Setup.load, cm.LuminosityMask, read_thresholds, cm.PyhfLikelihood.from_workspace, Job.load):
        with bounded(), pytest.raises(ColumnMinerError):
            read(file)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_of_a_set_up_are_finite(value: str, tmp_path: Path) -> None:
    text = (FUZZ / "setup.json").read_text()
    changed = re.sub(r"-?\d+\.\d+", value, text, count=1)
    assert changed != text
    (tmp_path / "setup.json").write_text(changed)
    with pytest.raises(ColumnMinerError):
        cm.Setup.load(tmp_path / "setup.json")


def bomb(path: Path, before: bytes, repeated: bytes, n_bytes: int, after: bytes = b"") -> None:
    """Write a gzip file of many bytes in a row, in members that are made once: 10 GB take 10 MB."""
    member = gzip.compress(repeated * (2**24 // len(repeated)), compresslevel=9)
    with path.open("wb") as file:
        file.write(gzip.compress(before))
        for _ in range(n_bytes // 2**24):
            file.write(member)
        file.write(gzip.compress(after))


LHE_HEAD = b'<LesHouchesEvents version="3.0">\n<init>\n2212 2212 6500 6500 0 0 0 0 3 1\n1 0.1 1 1\n</init>\n'


@pytest.mark.parametrize("before", [LHE_HEAD, LHE_HEAD + b"<event>\n", b""], ids=len)
@pytest.mark.parametrize("repeated", [b"0", b"<"])
def test_a_line_without_end_in_a_gzip_file_takes_little_memory(
    before: bytes, repeated: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a limit of 32 MB instead of 256 MB, which takes less time."""
    monkeypatch.setattr(window, "_LIMIT", 1 << 25)
    monkeypatch.setattr(mutations, "MEMORY", 200 << 20)
    bomb(tmp_path / "bomb.lhe.gz", before, repeated, 400 << 20)
    with bounded(), pytest.raises(ColumnMinerError, match="bomb"):
        list(cm.open_reader(tmp_path / "bomb.lhe.gz").batches())


def test_links_within_a_store_are_not_followed_when_it_is_replaced(tmp_path: Path) -> None:
    """What lies where a link leads stays, whatever a store holds that gives way to another."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    arrays = {"x": np.ones((4, 2))}
    SampleStore.write(tmp_path / "samples", arrays, {})
    (tmp_path / "samples" / "link").symlink_to(tmp_path / "precious")
    SampleStore.write(tmp_path / "samples", arrays, {}, replace=True)
    assert (tmp_path / "precious" / "file").exists()
    assert not (tmp_path / "samples" / "link").exists()


def test_a_model_of_onnx_beside_an_estimator_is_never_loaded(tmp_path: Path) -> None:
    shutil.copytree(FUZZ / "estimator", tmp_path / "estimator")
    (tmp_path / "estimator" / "model.onnx").write_bytes(b"no model")
    assert load_estimator(tmp_path / "estimator").parameter_names == ("mean",)
