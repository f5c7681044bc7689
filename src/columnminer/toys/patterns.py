"""Names of files with values in them: ``toys_mass_{wimp_mass:d}_{poi_expectation:.2f}.h5``.

A pattern is plain text, names in braces, and format specifications: no attributes, no indices, no conversions. What it
gives is a path below a folder, never outside.
"""

from __future__ import annotations

import re
import string
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from columnminer.errors import InputError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["file_name", "names_in", "pattern_values", "with_batch"]

_SPECIFICATION = re.compile(r"[<>=^]?[-+ ]?0?\d{0,2}(\.\d{1,2})?[defgEFGn%]?")
_FIELD = re.compile(r"[A-Za-z_]\w*")


def names_in(pattern: str) -> tuple[str, ...]:
    """Return the names between braces of a pattern.

    Raises
    ------
    InputError
        If it is more than text, names and format specifications, or may lead out of its folder.
    """
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError as reason:
        msg = f"the file name {pattern!r} is no pattern: {reason}"
        raise InputError(msg) from reason
    names = []
    for _, name, specification, conversion in parts:
        if name is None:
            continue
        if not _FIELD.fullmatch(name) or conversion or not _SPECIFICATION.fullmatch(specification or ""):
            msg = f"the file name {pattern!r} may have names with a format in braces, like {{mass:.1f}}, and no more"
            raise InputError(msg)
        names.append(name)
    plain = "".join(text for text, *_ in parts)
    path = PurePosixPath(plain)
    if path.is_absolute() or ".." in path.parts or "\\" in plain or "\0" in plain or not pattern.strip():
        msg = f"the file name {pattern!r} must lead to a file below the output folder"
        raise InputError(msg)
    return tuple(names)


def file_name(pattern: str, values: Mapping[str, float]) -> str:
    """Return the file name that a pattern gives for values.

    Raises
    ------
    UnknownNameError
        If the pattern has a name that has no value.
    InputError
        If it is no pattern, or a value does not suit its format.
    """
    for name in names_in(pattern):
        if name not in values:
            msg = f"the file name {pattern!r} has {name!r}, of which nothing is said.{did_you_mean(name, values)}"
            raise UnknownNameError(msg)
    # Whole numbers come as 50.0 from ranges, and 50 is what is meant by {mass:d}.
    whole = {n: int(v) if float(v).is_integer() and _is_whole(pattern, n) else v for n, v in values.items()}
    try:
        return pattern.format(**whole)
    except ValueError as reason:
        msg = f"the file name {pattern!r} does not suit {dict(values)}: {reason}"
        raise InputError(msg) from reason


def _is_whole(pattern: str, name: str) -> bool:
    return any(n == name and (spec or "").endswith("d") for _, n, spec, _ in string.Formatter().parse(pattern))


def with_batch(pattern: str) -> str:
    """Return the pattern of the files of single batches: with ``_{i_batch:d}`` before the ending, as alea has them."""
    if "{i_batch" in pattern:
        return pattern
    path = PurePosixPath(pattern)
    return pattern.removesuffix(path.suffix) + "_{i_batch:d}" + path.suffix


def pattern_values(
    level: float, poi_expectation: float | None, nominal: Mapping[str, float], generate: Mapping[str, float]
) -> dict[str, float]:
    """Return what names in patterns stand for at a point of a campaign; true values go before all others."""
    expectation = {} if poi_expectation is None else {"poi_expectation": poi_expectation}
    return {"level": level, "confidence_level": level, **expectation, **nominal, **generate}
