"""No text and no file runs as code: the source is searched for every way in, and what is allowed has its reason.

So are notebooks, benchmarks, examples and the configuration of the documentation. What is found by its name may be
hidden from such a search; then the way to it (getattr of a computed name, a module by name) is what is found.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

import columnminer

SOURCE = Path(columnminer.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
REPOSITORY = Path(__file__).parents[1]
BESIDE = [
    *(path for folder in ("benchmarks", "docs", "examples") for path in sorted((REPOSITORY / folder).rglob("*.py"))),
    *sorted((REPOSITORY / "notebooks").rglob("*.ipynb")),
    REPOSITORY / "noxfile.py",
]

RUNS_TEXT = {"eval", "exec", "compile", "__import__", "execfile"}
PICKLES = ("pickle", "_pickle", "cPickle", "cloudpickle", "dill", "marshal", "joblib", "jsonpickle", "torch.package")
RUNS_CODE = {
    *(f"{module}.{name}" for module in PICKLES for name in ("load", "loads", "Unpickler", "PackageImporter")),
    *("shelve.open", "code.interact", "code.InteractiveInterpreter", "runpy.run_path", "runpy.run_module"),
    *("torch.hub.load", "torch.jit.load", "torch.serialization.add_safe_globals", "torch.ops.load_library"),
    *("torch.utils.cpp_extension.load", "torch.utils.cpp_extension.load_inline", "torch.export.load"),
    *("yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "yaml.unsafe_load_all", "yaml.full_load_all"),
    *("yaml.UnsafeLoader", "yaml.FullLoader", "yaml.Loader", "yaml.CLoader", "yaml.add_constructor"),
    *("pandas.read_pickle", "pandas.eval", "numpy.fromregex", "numexpr.evaluate", "sympy.sympify", "sympy.parse_expr"),
    *("sympy.parsing.sympy_parser.parse_expr", "uproot.reading.pickle", "numcodecs.Pickle", "numcodecs.pickles"),
    *(
        "onnx.load",
        "onnx.load_model",
        "onnxruntime.InferenceSession",
        "ROOT.gInterpreter",
        "llvmlite.binding.load_library_permanently",
    ),
    *("sys.settrace", "types.FunctionType", "types.CodeType", "ast.literal_eval", "awkward.from_buffers"),
}
RUNS_SHELL = {
    *("os.system", "os.popen", "pty.spawn", "commands.getoutput", "asyncio.create_subprocess_shell"),
    *(
        f"os.{how}{variant}"
        for how in ("spawn", "exec")
        for variant in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")
    ),
    *("os.posix_spawn", "os.posix_spawnp", "os.startfile", "subprocess.getoutput", "subprocess.getstatusoutput"),
}
OPENS_STORES = {
    f"zarr.{name}" for name in ("open", "open_group", "open_array", "load", "open_consolidated", "Group", "group")
}
BY_NAME = {
    *("importlib.import_module", "importlib.reload", "importlib.util.spec_from_file_location", "pkgutil.resolve_name"),
    *(
        "importlib.machinery.SourceFileLoader",
        "importlib.util.module_from_spec",
        "pydoc.locate",
        "zipimport.zipimporter",
    ),
    *("sys.modules", "globals", "pydoc.locate", "operator.attrgetter", "operator.methodcaller"),
    *(
        "importlib.metadata.entry_points",
        "pydantic.ImportString",
        "logging.config.fileConfig",
        "logging.config.dictConfig",
    ),
}
MODULES = {
    "pickle",
    "_pickle",
    "dill",
    "marshal",
    "shelve",
    "joblib",
    "runpy",
    "ctypes",
    "cffi",
    "jsonpickle",
    "code",
    "pty",
    "dbm",
}

ALLOWED = {
    ("run/tasks.py", "cloudpickle.loads"): "bytes that this run made itself, on their way to and from its processes",
    ("__init__.py", "importlib.import_module"): "names of our own modules, from a table in the same file",
    ("show/__init__.py", "importlib.import_module"): "names of our own modules, from a table in the same file",
    ("show/__init__.py", "globals"): "to keep what was imported under the name that a table in the same file gives it",
    ("__init__.py", "globals"): "to keep what was imported under the name that a table in the same file gives it",
    ("run/tasks.py", "sys.modules"): "the script that runs, which is hidden from new processes",
    ("store/columns.py", "zarr.open_group"): "of format 3 only, whose codecs do not unpickle; the one place that opens",
}

MAGIC = {"%matplotlib inline", '%config InlineBackend.figure_format = "svg"'}
"""Lines of notebooks that are no Python, and harmless."""

ALLOWED_BESIDE: dict[tuple[str, str], str] = {}

DUNDERS = {"__builtins__", "__subclasses__", "__globals__", "__code__", "__reduce__", "__reduce_ex__", "__loader__"}
MODULES_BY_NAME = {
    "builtins",
    "__builtins__",
    "os",
    "subprocess",
    "importlib",
    "torch",
    "yaml",
    "pickle",
    "cloudpickle",
    "sys",
}


def dotted(node: ast.AST, names: dict[str, str]) -> str:
    """Return what an expression calls by its full name, seen through imports under other names."""
    name = ""
    if isinstance(node, ast.Name):
        name = names.get(node.id, node.id)
    elif isinstance(node, ast.Attribute):
        name = f"{dotted(node.value, names)}.{node.attr}"
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
        named = node.args[1] if len(node.args) > 1 else None
        if isinstance(named, ast.Constant):
            name = f"{dotted(node.args[0], names)}.{named.value}"
    return name.removeprefix("builtins.").removeprefix("__builtins__.")


def imported(tree: ast.AST) -> dict[str, str]:
    """Return what every imported name stands for."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name.split(".")[0]: _known_as(alias) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):  # such as load = torch.load
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name | ast.Attribute):
            meant = dotted(node.value, names)
            if meant.split(".")[0] in set(names.values()) and "." in meant:
                names |= {target.id: meant for target in node.targets if isinstance(target, ast.Name)}
    return names


def _known_as(alias: ast.alias) -> str:
    return alias.name if alias.asname else alias.name.split(".")[0]


def ways_in(text: str) -> list[tuple[int, str]]:
    """Return line and name of everything in a source text that may run what it reads."""
    tree = ast.parse(text)
    names = imported(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            found += [(node.lineno, f"{node.module}.*") for alias in node.names if alias.name == "*"]
            if (node.module or "").split(".")[0] in MODULES:
                found.append((node.lineno, str(node.module)))
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            name = dotted(node, names)
            if name in RUNS_TEXT | RUNS_CODE | RUNS_SHELL | OPENS_STORES | BY_NAME | DUNDERS:
                found.append((node.lineno, name))
            elif isinstance(node, ast.Attribute) and node.attr in DUNDERS:
                found.append((node.lineno, node.attr))
        elif isinstance(node, ast.Call):
            found += [(node.lineno, name) for name in [_dangerous(node, names)] if name]
    return sorted(set(found))


def _dangerous(call: ast.Call, names: dict[str, str]) -> str:
    """Return the name of a call that is dangerous by its arguments, else nothing."""
    name, itself = dotted(call.func, names), dotted(call, names)
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    owner = dotted(call.args[0], names) if name == "getattr" and call.args else ""

    def says(argument: str, value: object) -> bool:
        node = given.get(argument)
        return isinstance(node, ast.Constant) and node.value is value

    hidden = None in given and name.split(".")[0] in {"subprocess", "torch"}  # what is in it cannot be seen here
    reasons = {
        itself: itself in RUNS_TEXT | RUNS_CODE | RUNS_SHELL | BY_NAME,
        f"getattr({owner}, ...)": owner in MODULES_BY_NAME,
        f"{name}(shell=...)": "shell" in given and not says("shell", False),
        f"{name}(allow_pickle=...)": "allow_pickle" in given and not says("allow_pickle", False),
        "torch.load": name in {"torch.load", "torch.serialization.load"} and not says("weights_only", True),
        "yaml.load": name == "yaml.load",
        f"{name}(**...)": hidden and name.endswith((".load", ".Popen", ".run")),
    }
    return next((reason for reason, found in reasons.items() if found), "")


def text_of(path: Path) -> str:
    """Return the program in a file; of a notebook that of all its cells, where magic commands are no Python."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = [cell["source"] for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    lines = "\n".join("".join(cell) for cell in cells).splitlines()
    return "\n".join(line for line in lines if line not in MAGIC)


@pytest.mark.parametrize("path", BESIDE, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_nor_does_what_lies_beside(path: Path) -> None:
    text = text_of(path)
    assert not [line for line in text.splitlines() if line.startswith(("!", "%"))], "a notebook runs a command"
    where = path.relative_to(REPOSITORY).as_posix()
    assert [name for _, name in ways_in(text) if (where, name) not in ALLOWED_BESIDE] == []


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
        "import builtins as b\nb.eval(text)",
        "getattr(__builtins__, name)(text)",
        "import builtins\ngetattr(builtins, 'ev' + 'al')(text)",
        "import builtins\ngetattr(builtins, 'eval')(text)",
        "import os\ngetattr(os, 'system')(text)",
        "import os\ngetattr(os, name)(text)",
        "import os as o\nrun = o.system\nrun(text)",
        "import torch\nread = torch.load\nread(path)",
        "from os import *",
        "import os\nos.execve(path, [], {})",
        "import os\nos.posix_spawn(path, [], {})",
        "import asyncio\nasyncio.create_subprocess_shell(text)",
        "import dill as d",
        "from joblib import load",
        "import cloudpickle.cloudpickle\ncloudpickle.loads(data)",
        "import _pickle",
        "import ctypes\nctypes.cast(address, kind)",
        "from ctypes import CDLL",
        "import cffi",
        "import runpy",
        "import torch.jit\ntorch.jit.load(path)",
        "import torch\ntorch.hub.load(name, name)",
        "import torch\ntorch.serialization.add_safe_globals([print])",
        "import yaml\nyaml.load(text, yaml.CLoader)",
        "import yaml\nyaml.add_constructor('!x', make)",
        "from yaml import load\nload(text)",
        "import sys\nsys.modules[name]",
        "import importlib.util\nimportlib.util.spec_from_file_location(name, path)",
        "from pkgutil import resolve_name\nresolve_name(name)",
        "import operator\noperator.attrgetter(name)(thing)",
        "().__class__.__base__.__subclasses__()",
        "function.__globals__['os']",
        "import zarr\nzarr.open_group(path)",
        "from zarr import open\nopen(path)",
        "import numcodecs\nnumcodecs.Pickle()",
        "import onnx\nonnx.load(path)",
        "import onnxruntime as rt\nrt.InferenceSession(path)",
        "import awkward as ak\nak.from_buffers(form, length, buffers)",
        "import pandas as pd\npd.read_pickle(path)",
        "import sympy\nsympy.sympify(text)",
        "globals()[name](text)",
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
