"""Damage to files: bytes that flip, are cut, put in or repeated, and JSON documents with values that make no sense.

`survives` is what every reader must do with them: read, or say in an error of ours what is wrong, soon and in little
memory.
"""

from __future__ import annotations

import contextlib
import copy
import json
import resource
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from columnminer.errors import ColumnMinerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 20
"""Seconds that a reader may take for a damaged small file."""
MEMORY = 3 << 30
"""Bytes of address space that may be asked for beyond what is in use."""

Damage = tuple[str, float, int, bytes]
_PIECES = [
    b"\0",
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"-1",
    b"1e999",
    b"nan",
    b"\n",
    b"{",
    b"[",
    b"..",
    b"%",
]

damages: st.SearchStrategy[list[Damage]] = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "overwrite", "repeat", "end"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(1, 64),
        st.sampled_from(_PIECES) | st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=3,
)


def damaged(data: bytes, edits: list[Damage]) -> bytes:
    """Return the bytes after these edits, each at a fraction of what is there."""
    now = bytearray(data)
    for kind, where, length, new in edits:
        at = int(where * len(now))
        if kind == "flip":
            now[at : at + 1] = bytes(byte ^ (1 << length % 8) for byte in now[at : at + 1])
        elif kind == "cut":
            del now[at : at + length]
        elif kind == "insert":
            now[at:at] = new
        elif kind == "overwrite":
            now[at : at + len(new)] = new
        elif kind == "repeat":
            now[at:at] = now[at : at + length] * 3
        else:
            del now[at:]
    return bytes(now)


HOSTILE: list[Any] = [
    *(None, True, 0, -1, 1, 2**31, 2**63, -(2**70), 10**400, 0.5, 1e308, float("nan"), float("inf"), -0.0),
    *("", "x", "../../x", "/etc/passwd", "a\0b", "\u202e", "0", "nan", "{0.__class__}", "x" * 5000),
    *([], [None], [[]], [1, "x"], [[1.0], [1.0, 2.0]], {}, {"x": 1}, {"": None}, [0.0] * 300),
]
"""Values to put where others are expected."""


def places(document: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value of a JSON document, the document itself first."""
    yield at
    inside = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in inside:
        yield from places(value, (*at, key))


def replaced(document: Any, at: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of the document with another value at one place."""
    if not at:
        return value
    changed = copy.deepcopy(document)
    parent = changed
    for key in at[:-1]:
        parent = parent[key]
    parent[at[-1]] = value
    return changed


def without(document: Any, at: tuple[Any, ...]) -> Any:
    """Return a copy of the document that lacks what is at one place."""
    changed = copy.deepcopy(document)
    parent = changed
    for key in at[:-1]:
        parent = parent[key]
    del parent[at[-1]]
    return changed


class TooSlowError(BaseException):
    """A reader takes so long that it may never end; no reader may catch this."""


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """End what takes too long or too much memory (where the system lets us)."""

    def stop(*_: object) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGALRM, stop)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    signal.alarm(PATIENCE)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def survives(read: Callable[[Path], object], path: Path) -> str:
    """Return what is wrong with a file according to its reader, nothing if it can be read; all else is let through."""
    with bounded():
        try:
            read(path)
        except ColumnMinerError as error:
            return str(error) or "?"
    return ""


def fuzz(path: Path, read: Callable[[Path], object], folder: Path, examples: int) -> list[str]:
    """Damage the bytes of one reader's file so many times; return what was wrong each time, or nothing."""
    whole, target, said = path.read_bytes(), folder / path.name, []

    @settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(damages)
    def each(edits: list[Damage]) -> None:
        target.write_bytes(damaged(whole, edits))
        said.append(survives(read, target))

    each()
    return said


def nonsense(path: Path, read: Callable[[Path], object], folder: Path, examples: int) -> list[str]:
    """Put values that make no sense, or nothing, in places of one reader's document; return what was wrong."""
    dump, parse = (json.dumps, json.loads) if path.suffix == ".json" else (yaml.safe_dump, yaml.safe_load)
    whole, target, said = parse(path.read_text(encoding="utf-8")), folder / path.name, []
    everywhere = list(places(whole))

    @settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.sampled_from(everywhere), st.sampled_from(HOSTILE), st.booleans())
    def each(at: tuple[Any, ...], value: Any, left_out: bool) -> None:
        document = without(whole, at) if left_out and at else replaced(whole, at, value)
        with contextlib.suppress(UnicodeEncodeError):
            target.write_text(dump(document), encoding="utf-8")
        said.append(survives(read, target))

    each()
    return said
