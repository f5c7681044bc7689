"""What a HepMC file says before its first event, and what its weights are called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from columnminer.errors import FileFormatError
from columnminer.schema import NOMINAL

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["START", "Header", "declared_names", "is_nameless", "parse_header", "weight_columns"]

START = re.compile(rb"^HepMC::(Asciiv3|IO_GenEvent)-START_EVENT_LISTING[ \t\r]*\n", re.MULTILINE)
"""The line before the first event."""

_FIRST_EVENT = re.compile(rb"^(?:E |HepMC::)", re.MULTILINE)
_QUOTED = re.compile(r'"([^"]*)"')
_ESCAPE = re.compile(r"\\(.)")
_MERGING = re.compile(r"_MERGING=.*$")
_NAMELESS = {"", "0", "default", "nominal", "weight"}


@dataclass(frozen=True)
class Header:
    """Version of the format (2 or 3), length of the header [bytes], names of the weights, programs that were used."""

    version: int
    length: int
    names: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()


def parse_header(start: bytes, path: str, *, whole: bool) -> Header | None:
    """Read the lines before the first event; return None where `start` does not reach it.

    Parameters
    ----------
    start
        The file from its beginning on.
    path
        What to call it.
    whole
        Whether there is no more of it.

    Raises
    ------
    FileFormatError
        If this is no HepMC file, or it ends here.
    """
    opening = START.search(start)
    first = _FIRST_EVENT.search(start, opening.end()) if opening else None
    if opening is None or first is None:
        if whole:
            what = "no HepMC file, for no ...-START_EVENT_LISTING is in it" if opening is None else "ends in its header"
            msg = f"{path}: {what}"
            raise FileFormatError(msg)
        return None
    names: tuple[str, ...] = ()
    tools = []
    for line in start[opening.end() : first.start()].decode(errors="replace").splitlines():
        letter, _, rest = line.partition(" ")
        if letter == "W":
            names = tuple(_parts(rest))
        elif letter == "T":
            tools.append(" ".join(part for part in _parts(rest) if part))
    return Header(3 if opening[1] == b"Asciiv3" else 2, first.start(), names, tuple(tools))


def _parts(text: str) -> list[str]:
    r"""Split text at its line ends, which HepMC3 writes as ``\|``; a backslash of the text is doubled."""
    return _ESCAPE.sub(lambda match: "\n" if match[1] == "|" else match[1], text).split("\n")


def declared_names(line: str) -> tuple[str, ...]:
    """Return the names on an N line of HepMC2: ``N 2 "a" "b"``."""
    return tuple(_QUOTED.findall(line))


def weight_columns(names: Sequence[str], path: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return what the weights after the nominal one are called, and the names in the file where they differ.

    The first weight of HepMC events is the nominal one. MadGraph's showers write ``id=NAME_MERGING=SCALE`` for NAME;
    that is undone, unless two weights would then be called the same.

    Raises
    ------
    FileFormatError
        If two weights have the same name.
    """
    plain = [_MERGING.sub("", name.removeprefix("id=")) for name in names]
    if len(set(plain)) < len(plain):
        plain = list(names)
    twice = sorted({name for name in plain if plain.count(name) > 1})
    if twice:
        msg = f"{path}: two weights are called {twice[0]!r}"
        raise FileFormatError(msg)
    plain = [f"'{name}'" if name == NOMINAL else name for name in plain]
    told = {name: raw for name, raw in zip((NOMINAL, *plain[1:]), names, strict=True) if raw not in {"", name}}
    return tuple(plain), told


def is_nameless(name: str) -> bool:
    """Whether the name of a nominal weight says no more than that."""
    return name.strip("'").lower() in _NAMELESS
