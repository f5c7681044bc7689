"""YAML documents checked by pydantic models, with errors that name the line and the nearest key.

`Section` is the base of every part of a document; `read_document` reads a file into one. Nothing in a document is
evaluated: YAML is loaded by the safe loader (no tags that build objects), and texts stay texts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from columnminer.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

__all__ = ["Section", "check_document", "check_values", "misplaced", "read_document", "read_mapping"]

_MAX_BYTES = 10_000_000
_MAX_DEPTH = 50
_MAX_NODES = 200_000
_FROM_YAML = (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What PyYAML lets out for control characters, dates that do not exist, tags on values that they do not suit."""


class Section(BaseModel):
    """A mapping of a document: its keys are its fields, and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)

    def given(self, *, without: Iterable[str] = ()) -> dict[str, Any]:
        """Return what the document says, without what it leaves to defaults."""
        return self.model_dump(exclude_unset=True, exclude=set(without))

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any, _info: ValidationInfo) -> Any:
        # pydantic's own message for a key it does not know cannot say which key was meant.
        if isinstance(value, dict):
            known = [field.alias or name for name, field in cls.model_fields.items()]
            for key in value:
                if key not in known:
                    msg = f"unknown key {key!r}.{did_you_mean(str(key), known)}"
                    raise misplaced(msg, key)
        return value


def misplaced(sentence: str, *at: int | str) -> PydanticCustomError:
    """Return the error, for a validator to raise, that says `sentence` of the place `at` below what it validates."""
    return PydanticCustomError("misplaced", "{sentence}", {"sentence": sentence, "at": at})


S = TypeVar("S", bound=Section)


class _Loader(yaml.SafeLoader):
    """The safe loader, with two changes.

    It refuses a key given twice: the first of two would be lost without a word. And it takes 300e3 and 1e-3 for
    numbers, as YAML 1.2 does, for which YAML 1.1 wants a point and a sign.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key.value!r} is given twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_document(path: Path, model: type[S]) -> S:
    """Read the YAML (or JSON) file `path` and check it against `model`.

    Raises
    ------
    InputError
        If the file cannot be read, is no YAML, or does not fit; the message starts with ``file:line:``, and one about
        an unknown key names the nearest known one.
    """
    return check_document(_text(path), model, name=str(path))


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            msg = f"{path}: larger than {_MAX_BYTES // 1_000_000} MB; this is no configuration file"
            raise InputError(msg)
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as reason:
        msg = f"{path}: cannot be read: {getattr(reason, 'strerror', None) or reason}"
        raise InputError(msg) from reason


def check_document(text: str, model: type[S], name: str = "document") -> S:
    """Check YAML text against `model`; `name` is what messages call it. See `read_document`."""
    root, value = _parse(text, name)
    return _validated(value, model, name, root, in_text=True)


def check_values(values: Mapping[str, Any], model: type[S], name: str = "arguments") -> S:
    """Check a mapping against `model`, as `check_document` does with what a text says.

    Raises
    ------
    InputError
        If it does not fit; the message starts with `name`, and names the key.
    """
    return _validated(dict(values), model, name, None, in_text=False)


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping that the YAML file `path` holds, for documents of other programs.

    Raises
    ------
    InputError
        If the file cannot be read, is no YAML, or holds something else.
    """
    value = _parse(_text(path), str(path))[1]
    if not isinstance(value, dict):
        msg = f"{path}: holds no keys, but a {type(value).__name__}"
        raise InputError(msg)
    return value


def _validated(value: Any, model: type[S], name: str, root: yaml.Node | None, *, in_text: bool) -> S:
    try:
        return model.model_validate(value)
    except ValidationError as reason:
        errors = reason.errors(include_url=False)
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        # Where alternatives were tried, the one that got furthest into the document is the one that was meant.
        error = max(errors, key=lambda e: (e["type"] == "misplaced", len(e["loc"])))
        raise InputError(_sentence(error, root, name, in_text=in_text) + more) from None


def _parse(text: str, name: str) -> tuple[yaml.Node | None, Any]:
    """Return the tree of nodes, which know their lines, and the value made from it."""
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        _check_size(root, name)
        return root, {} if root is None else loader.construct_document(root)
    except yaml.MarkedYAMLError as reason:
        line = f":{reason.problem_mark.line + 1}" if reason.problem_mark else ""
        msg = f"{name}{line}: not valid YAML: {reason.problem}"
        raise InputError(msg) from reason
    except InputError:
        raise
    except _FROM_YAML as reason:
        msg = f"{name}: not valid YAML: {' '.join(str(reason).split())}"
        raise InputError(msg) from reason


def _check_size(root: yaml.Node | None, name: str) -> None:
    """Refuse nesting without end and aliases that multiply ("billion laughs") before anything is built from them."""
    count = 0
    stack = [(root, 0)]
    while stack:
        node, depth = stack.pop()
        count += 1
        if count > _MAX_NODES or depth > _MAX_DEPTH:
            msg = f"{name}: too large or nested too deeply for a configuration file"
            raise InputError(msg)
        if isinstance(node, yaml.MappingNode):
            stack += [(child, depth + 1) for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            stack += [(child, depth + 1) for child in node.value]


def _sentence(error: ErrorDetails, root: yaml.Node | None, name: str, *, in_text: bool) -> str:
    loc = [*error["loc"], *error.get("ctx", {}).get("at", ())]
    line, path = _place(root, loc)
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "missing":
        message = f"the key {loc[-1]!r} is missing"
    elif error["type"] == "union_tag_not_found":
        message = f"the key {error['ctx']['discriminator']} is missing"
    elif error["type"] == "union_tag_invalid":
        known = re.findall(r"'([^']*)'", error["ctx"]["expected_tags"])
        message = f"{error['ctx']['tag']!r} is not known here.{did_you_mean(error['ctx']['tag'], known)}"
    elif error["type"] == "literal_error":
        known = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        message = f"{error['input']!r} is not known here.{did_you_mean(str(error['input']), known)}"
    elif error["type"] != "misplaced" and isinstance(error["input"], str | int | float | bool):
        message = f"{message}, not {_shown(error['input'])}"
    where = f" {path}:" if path else ""
    return f"{name}:{line}:{where} {message}" if in_text else f"{name}: {'.'.join(map(str, loc))}: {message}"


def _shown(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # Python writes no integers of thousands of digits, but YAML makes them: 1:1:1:...
        return "a number of thousands of digits"


def _place(node: yaml.Node | None, loc: Sequence[int | str]) -> tuple[int, str]:
    """Return the line (from 1) and the written path of what pydantic calls `loc`.

    Parts of `loc` that are not in the document (the name of an alternative, a missing key) are passed over.
    """
    line = 1 if node is None else node.start_mark.line + 1
    path = ""
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            for key, child in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value == str(part):
                    node, line = child, key.start_mark.line + 1
                    path += f".{part}" if path else str(part)
                    break
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
            path += f"[{part}]"
    return line, path
