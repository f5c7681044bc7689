"""Code in the documentation: that of each page runs, from top to bottom, and calls what exists as it may be called.

Pages run in a folder with the files of `documented.py`. A comment `skip: next "reason"` before a block leaves it out,
`invisible-code-block: python` holds what a page takes for granted; both are Sybil's.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
import unittest
import warnings
from pathlib import Path

import pytest
from sybil import Document
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

import columnminer as cm
from columnminer.cli import columnminer as command_line

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def code(page: Path) -> list[ast.Module]:
    """Return the blocks of Python on a page; a SyntaxError says where one is none."""
    return [ast.parse(inspect.cleandoc(found[2]), str(page)) for found in BLOCK.finditer(page.read_text())]


def refuse_wrong_calls(block: ast.Module) -> None:
    """Raise where `cm` has no such name, or a call of it keywords that it does not take."""
    for node in ast.walk(block):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "cm":
            getattr(cm, node.attr)
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("cm."):
            function = getattr(cm, ast.unparse(node.func).split(".")[1], None)
            for name in ast.unparse(node.func).split(".")[2:]:
                function = getattr(function, name, None)
            if callable(function):
                keywords = {word.arg: None for word in node.keywords if word.arg is not None}
                inspect.signature(function).bind_partial(**keywords)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_on_a_page_calls_what_exists(page: Path) -> None:
    for block in code(page):
        refuse_wrong_calls(block)


def test_a_wrong_call_is_found() -> None:
    with pytest.raises(TypeError, match="luminosityy"):
        refuse_wrong_calls(ast.parse("cm.FisherInformation(store, luminosityy=1.0)"))
    with pytest.raises(AttributeError, match="Fisher"):
        refuse_wrong_calls(ast.parse("cm.Fisher(store)"))


@pytest.mark.parametrize("page", [page for page in PAGES if code(page)], ids=lambda page: page.stem)
def test_the_code_on_a_page_runs(page: Path, workplace: Path) -> None:
    del workplace
    document = Document.parse(str(page), PythonCodeBlockParser(), SkipParser())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cm.ColumnMinerWarning)  # few events, small trainings
        for example in document.examples():
            with contextlib.suppress(unittest.SkipTest):
                example.evaluate()


def commands(page: Path) -> list[list[str]]:
    """Return the words of the commands of `columnminer` on a page: of consoles, of shell scripts and in sentences."""
    text = re.sub(r"\s*\n\s*", " ", page.read_text())  # a command may be broken by the end of a line
    written = re.findall(r"(?:[$`] ?|\.sh |activate | )(columnminer [a-z-]+(?:(?! columnminer )[^`$#&;|])*)", text)
    known = command_line.commands
    meant = [line for line in written if f"$ {line}" in text or f"`{line}" in text or line.split()[1] in known]
    return [line.split() for line in meant]  # other words behind the name are those of a sentence


def refuse_unknown_options(words: list[str]) -> None:
    """Raise where a command, or an option of it, does not exist."""
    assert words[1] in command_line.commands, f"there is no command {words[1]!r}"
    known = {name for parameter in command_line.commands[words[1]].params for name in parameter.opts}
    given = {word.strip(".,:;)`'") for word in words[2:] if re.match(r"--[a-z]", word)}
    assert given <= known | {"--help"}, f"{words[1]} has no {given - known}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_on_a_page_exist(page: Path) -> None:
    for words in commands(page):
        refuse_unknown_options(words)


def test_a_wrong_command_is_found() -> None:
    with pytest.raises(AssertionError, match="--wrokers"):
        refuse_unknown_options(["columnminer", "run", "analysis.yaml", "--wrokers", "4"])
    assert sum(len(commands(page)) for page in PAGES) > 20


def test_each_name_that_users_type_is_described_once() -> None:
    page = (ROOT / "docs" / "names.md").read_text()
    described = re.findall(r"^\.\. auto\w+:: (\w+)$", page, re.MULTILINE)
    assert sorted(described) == sorted(set(cm.__all__) - {"__version__"})


def test_each_page_can_be_reached() -> None:
    text = (ROOT / "docs" / "index.md").read_text()
    listed = {name for tree in re.findall(r"```{toctree}(.*?)```", text, re.DOTALL) for name in tree.split()}
    assert {page.stem for page in PAGES[1:]} - {"index"} <= listed
