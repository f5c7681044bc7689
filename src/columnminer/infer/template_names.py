"""Names of template files and histograms that hold parameters, ``er_template_{shift}.ii.h5``, and their folders.

A field is the plain name of a parameter with, perhaps, a format specification: ``{wimp_mass:d}``, ``{shift:.2f}``.
Attributes, items, conversions and nested fields of Python's format strings, with which a text can reach into
the running program, are refused.
"""

from __future__ import annotations

import contextlib
import re
import string
from pathlib import Path
from typing import TYPE_CHECKING, Any

from columnminer.errors import InputError, UnknownNameError, did_you_mean
from columnminer.model.checks import text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["fill_name", "find_file", "spellings"]

_SPECIFICATION = re.compile(r"[<>=^]?[+\- ]?#?0?[0-9]{0,2}(\.[0-9]{1,2})?[deEfFgG]?")


def fill_name(pattern: str, values: Mapping[str, Any]) -> str:
    """Return `pattern` with the values of parameters in it.

    A whole number in a field of kind ``d`` may be given as a float.

    Raises
    ------
    InputError
        If the pattern has anything but plain names and format specifications, or a value does not suit its field.
    UnknownNameError
        If a field names no parameter among `values`.
    """
    made = []
    text(pattern, "a name with fields")
    try:
        pieces = list(string.Formatter().parse(pattern))
    except ValueError as error:
        msg = f"the name {pattern!r} is no format text: {error}"
        raise InputError(msg) from error
    for literal, field, specification, conversion in pieces:
        made.append(literal)
        if field is None:
            continue
        form = str(specification or "")
        if not field.isidentifier() or conversion or not _SPECIFICATION.fullmatch(form):
            msg = f"the name {pattern!r}: a field is a plain name with a format such as {{wimp_mass:d}}, not {field!r}"
            raise InputError(msg)
        if field not in values:
            msg = f"the name {pattern!r} has the field {field!r}, which is no named parameter."
            raise UnknownNameError(msg + did_you_mean(field, values))
        value = values[field]
        if form.endswith("d") and isinstance(value, float) and value.is_integer():
            value = int(value)
        try:
            made.append(format(value, form))
        except ValueError as error:
            msg = f"the name {pattern!r}: {field} = {value!r} does not suit its format {form!r}"
            raise InputError(msg) from error
    return "".join(made)


def spellings(values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the values as they are given, then with whole numbers as integers, then as floats: -2 is also -2.0."""
    whole = {name: int(v) if isinstance(v, float) and v.is_integer() else v for name, v in values.items()}
    return [values, whole, {name: float(v) for name, v in values.items()}]


def find_file(name: str, folders: Sequence[Path]) -> Path:
    """Return the first file of this name in the folders; an absolute name stands for itself.

    Raises
    ------
    InputError
        If there is none; the message lists where it was looked for.
    """
    tried = [Path(name)] if Path(name).is_absolute() else [folder / name for folder in folders]
    for path in tried:
        with contextlib.suppress(OSError):  # a name that no file system takes is the name of no file
            if path.is_file():
                return path
    msg = f"there is no file {name!r}; it was looked for in {', '.join(str(p.parent) for p in tried)}"
    raise InputError(msg)
