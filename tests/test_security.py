"""No text and no file runs as code: the source is searched for every way in, and what is allowed has its reason."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import columnminer

SOURCE = Path(columnminer.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

RUNS_TEXT = {"eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec", "builtins.compile"}
RUNS_CODE = {
    *(
        f"{module}.{name}"
        for module in ("pickle", "cloudpickle", "dill", "marshal", "joblib")
        for name in ("load", "loads")
    ),
    *("pickle.Unpickler", "shelve.open", "code.interact", "runpy.run_path", "runpy.run_module", "torch.hub.load"),
    *("yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "yaml.unsafe_load_all", "yaml.full_load_all"),
    *("yaml.UnsafeLoader", "yaml.FullLoader", "yaml.Loader", "pandas.read_pickle", "pandas.eval"),
}
RUNS_SHELL = {
    *("os.system", "os.popen", "os.spawnl", "os.execv", "os.execvp", "pty.spawn"),
    *("subprocess.getoutput", "subprocess.getstatusoutput"),
}
BY_NAME = {"importlib.import_module", "importlib.util.spec_from_file_location", "importlib.machinery.SourceFileLoader"}
MODULES = {"pickle", "dill", "marshal", "shelve", "joblib", "runpy", "ctypes"}

ALLOWED = {
    ("run/tasks.py", "cloudpickle.loads"): "bytes that this run made itself, on their way to and from its processes",
    ("__init__.py", "importlib.import_module"): "names of our own modules, from a table in the same file",
    ("show/__init__.py", "importlib.import_module"): "names of our own modules, from a table in the same file",
}


def dotted(node: ast.AST, names: dict[str, str]) -> str:
    """Return what an expression calls by its full name, seen through imports under other names."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, names)}.{node.attr}"
    return ""


def imported(tree: ast.AST) -> dict[str, str]:
    """Return what every imported name stands for."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def ways_in(text: str) -> list[tuple[int, str]]:
    """Return line and name of everything in a source text that may run what it reads."""
    tree = ast.parse(text)
    names = imported(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            found.append((node.lineno, str(node.module)))
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            name = dotted(node, names)
            if name in RUNS_TEXT | RUNS_CODE | RUNS_SHELL | BY_NAME:
                found.append((node.lineno, name))
        elif isinstance(node, ast.Call):
            found += [(node.lineno, name) for name in [_dangerous(node, names)] if name]
    return sorted(set(found))


def _dangerous(call: ast.Call, names: dict[str, str]) -> str:
    """Return the name of a call that is dangerous by its arguments, else nothing."""
    name = dotted(call.func, names)
    given = {keyword.arg: keyword.value for keyword in call.keywords}

    def says(argument: str, value: object) -> bool:
        node = given.get(argument)
        return isinstance(node, ast.Constant) and node.value is value

    if "shell" in given and not says("shell", False):
        return f"{name}(shell=...)"
    if "allow_pickle" in given and not says("allow_pickle", False):
        return f"{name}(allow_pickle=...)"
    if name in {"torch.load", "torch.serialization.load"} and not says("weights_only", True):
        return "torch.load"
    if name == "yaml.load":
        return "yaml.load"
    if None in given and name.split(".")[0] in {"subprocess", "torch"} and name.endswith((".load", ".Popen", ".run")):
        return f"{name}(**...)"  # what is in it cannot be seen here
    return ""


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_nothing_runs_what_it_reads(path: Path) -> None:
    where = path.relative_to(SOURCE).as_posix()
    found = [(line, name) for line, name in ways_in(path.read_text(encoding="utf-8")) if (where, name) not in ALLOWED]
    assert not found, f"{where}: {found}"


def test_what_is_allowed_is_there() -> None:
    """An exception that nobody needs any more would let the next one in."""
    for where, name in ALLOWED:
        assert name in {found for _, found in ways_in((SOURCE / where).read_text(encoding="utf-8"))}, (where, name)


@pytest.mark.parametrize(
    "text",
    [
        "eval('1')",
        "exec(text)",
        "run = eval",
        "list(map(exec, texts))",
        "import builtins\nbuiltins.exec(text)",
        "from builtins import eval as value\nvalue('1')",
        "code = compile(text, 'file', 'exec')",
        "__import__('os')",
        "import importlib\nimportlib.import_module(name)",
        "from importlib import import_module\nimport_module(name)",
        "import pickle",
        "from pickle import load",
        "import pickle as p",
        "import marshal",
        "import shelve",
        "import joblib",
        "import cloudpickle\ncloudpickle.load(file)",
        "import cloudpickle as c\nc.loads(path.read_bytes())",
        "from cloudpickle import loads\nloads(data)",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
        "import yaml\nyaml.load(text, Loader=yaml.SafeLoader)",
        "import yaml\nyaml.unsafe_load(text)",
        "import yaml\nclass Mine(yaml.UnsafeLoader):\n    pass",
        "from yaml import full_load\nfull_load(text)",
        "import subprocess\nsubprocess.run(text, shell=True)",
        "import subprocess\nsubprocess.run(text, shell=wanted)",
        "import subprocess\nsubprocess.Popen(text, **options)",
        "import subprocess\nsubprocess.getoutput(text)",
        "import os\nos.system(text)",
        "from os import system\nsystem(text)",
        "import os\nos.popen(text)",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import torch as t\nt.load(path, weights_only=wanted)",
        "from torch import load\nload(path)",
        "import torch\ntorch.load(path, **options)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "from numpy import load\nload(path, allow_pickle=True)",
    ],
)
def test_the_search_finds(text: str) -> None:
    assert ways_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "import re\npattern = re.compile(text)",
        "network.eval()",
        "import numpy as np\nnp.load(path, allow_pickle=False)",
        "import numpy as np\nnp.load(path)",
        "import torch\ntorch.load(path, weights_only=True)",
        "import subprocess\nsubprocess.run(['ls'], shell=False)",
        "import json\njson.loads(text)",
        "import cloudpickle\ncloudpickle.dumps(task)",
        "import yaml\nyaml.safe_load(text)",
        "text = 'eval(1)'",
    ],
)
def test_and_leaves_alone(text: str) -> None:
    assert ways_in(text) == []
