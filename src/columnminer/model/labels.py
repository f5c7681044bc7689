"""Weights that are called by their couplings: ``EFTrwgt3_ctW_1.0_ctp_-0.5``, ``ctW=1, ctp=-0.5``, ``ctW_1p0_ctp_m0p5``.

A label belongs to these if it names at least one parameter; couplings that it does not name are 0.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from columnminer.errors import UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from columnminer.model.parameters import ParameterSpace

__all__ = ["couplings", "find_point", "labelled_points"]

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_ASSIGNED = re.compile(rf"([A-Za-z]\w*)\s*=\s*({_NUMBER})(?![\w.])")
_PLAIN = re.compile(_NUMBER)
_NUMBERED = re.compile(r"(?:EFT)?rwgt|weight|wgt|id", re.IGNORECASE)  # rwgt_3: the number of the weight
_SPELLED = re.compile(r"(m?)(\d+)p(\d+)")


def couplings(label: str, names: Collection[str]) -> dict[str, float]:
    """Return what a label gives values to: those of the `names` that it has, and whatever else.

    Words before a value are the longest of the names that they end with; without one, the last word.
    """
    if "=" in label:
        return {name: float(value) for name, value in _ASSIGNED.findall(label)}
    found: dict[str, float] = {}
    words: list[str] = []
    for word in label.split("_"):
        value = _value(word)
        if value is None:
            words.append(word)
        elif words:
            endings = ("_".join(words[i:]) for i in range(len(words)))
            name = next((ending for ending in endings if ending in names), words[-1])
            if not _NUMBERED.fullmatch(name):
                found[name] = value
            words = []
    return found


def labelled_points(labels: Mapping[str, str], space: ParameterSpace, where: str) -> dict[str, NDArray[np.float64]]:
    """Return weight id -> (n_par,) values of the couplings, for the labels that name any.

    Parameters
    ----------
    labels
        Weight id -> what it is called.
    space
        The couplings.
    where
        What the error message begins with.

    Raises
    ------
    UnknownNameError
        If one of these labels gives a value that is not 0 to something else than a parameter.
    """
    points = {}
    for weight, label in labels.items():
        said = couplings(label, space.names)
        if not any(name in said for name in space.names):
            continue
        strangers = [name for name, value in said.items() if name not in space.names and value != 0]
        if strangers:
            msg = (
                f"{where}: the weight {label!r} names {strangers[0]!r}, which is no parameter of the set-up."
                f"{did_you_mean(strangers[0], space.names)}"
            )
            raise UnknownNameError(msg)
        points[weight] = np.array([said.get(name, 0.0) for name in space.names])
    return points


def find_point(
    theta: NDArray[np.float64], names: Sequence[str], descriptions: Mapping[str, str], space: ParameterSpace, where: str
) -> str | None:
    """Return the id of the weight whose id or description says that it belongs to theta; None without one.

    Raises
    ------
    UnknownNameError
        If a label names couplings that are not known.
    """
    points = labelled_points({name: name for name in names}, space, where)
    described = {name: descriptions[name] for name in names if name in descriptions and name not in points}
    points |= labelled_points(described, space, where)
    return next((name for name, point in points.items() if np.allclose(point, theta, rtol=1e-6, atol=1e-9)), None)


def _value(word: str) -> float | None:
    if _PLAIN.fullmatch(word):
        return float(word)
    spelled = _SPELLED.fullmatch(word)
    return None if spelled is None else float(f"{spelled[1].replace('m', '-')}{spelled[2]}.{spelled[3]}")
