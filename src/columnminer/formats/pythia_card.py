"""Settings of Pythia, as a user gives them, to the lines that Pythia reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from columnminer.errors import InputError

__all__ = ["Setting", "Settings", "setting_lines"]

Setting: TypeAlias = bool | int | float | str | Sequence[int | float | str]
Settings: TypeAlias = Mapping[str, Setting] | str | Sequence[str] | None

_OURS = {
    "beams:frametype": "the input is the sample's file",
    "beams:lhef": "the input is the sample's file",
    "beams:lhefheader": "the input is the sample's file",
    "beams:setproductionscalesfromlhef": "scales of the file are used where it has them",
    "init:plugins": "it would load a program from a file",
    "random:setseed": "random numbers follow from seed=",
    "random:seed": "random numbers follow from seed=",
}
"""What a user cannot set, in lower case as Pythia compares names, and why."""


def setting_lines(settings: Settings) -> tuple[str, ...]:
    """Return one line ``name = value`` for each setting.

    Parameters
    ----------
    settings
        Names and values, or a card, as text or in lines: a setting in each line, "!" and "#" begin comments.

    Raises
    ------
    InputError
        If a line or name has not the form of a setting, or is not for the user to set.
    """
    if settings is None:
        return ()
    if isinstance(settings, str | list | tuple):
        card = settings.splitlines() if isinstance(settings, str) else [str(line) for line in settings]
        lines = [line.partition("!")[0].partition("#")[0].strip() for line in card]
        pairs = [_split(line) for line in lines if line]
    else:
        given: object = settings  # callers without a type checker pass anything
        if not isinstance(given, Mapping):
            msg = f"settings of Pythia are {{name: value}} or the text of a card, not {settings!r}"
            raise InputError(msg)
        pairs = [(str(name).strip(), _text(value, name)) for name, value in given.items()]
    for name, value in pairs:
        if ":" not in name or not value or any(c in f"{name}{value}" for c in "\r\n\0"):
            msg = f"a setting of Pythia has a name such as 'PartonLevel:MPI' and a value, not {name!r} = {value!r}"
            raise InputError(msg)
        if name.lower() in _OURS:
            msg = f"the setting {name!r} of Pythia cannot be given: {_OURS[name.lower()]}"
            raise InputError(msg)
    return tuple(f"{name} = {value}" for name, value in pairs)


def _split(line: str) -> tuple[str, str]:
    """Return name and value, which an equals sign or a space parts."""
    name, sign, value = line.partition("=")
    if not sign or " " in name.strip():
        name, _, value = line.partition(" ")
    return name.strip(), value.strip().lstrip("=").strip()


def _text(value: object, name: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float | str):
        return str(value).strip()
    if isinstance(value, Sequence):
        return "{" + ",".join(_text(v, name) for v in value) + "}"
    msg = f"the setting {name!r} of Pythia needs a number, a text or True or False, not {value!r}"
    raise InputError(msg)
