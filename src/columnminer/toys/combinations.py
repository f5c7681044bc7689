"""Which settings go together: lists that are walked through side by side, and lists of which every combination counts.

The meaning is that of alea's ``to_zip``, ``to_vary`` and ``in_common``. Lists may be given as text, such as
``np.linspace(0, 30, 10)``. A mapping among the entries of a list that has lists itself stands for all of its
combinations.
"""

from __future__ import annotations

import copy
import itertools
import math
from typing import TYPE_CHECKING, Any

from columnminer.errors import InputError
from columnminer.model.distributions import parse_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["combinations", "expanded"]

_MOST = 100_000
"""Combinations in a campaign: more are a slip of the pen."""


def combinations(
    to_zip: Mapping[str, Any], to_vary: Mapping[str, Any], in_common: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the settings of each point of a campaign.

    Parameters
    ----------
    to_zip
        name -> values, all of the same number: the first of all, the second of all, ...
    to_vary
        name -> values: every combination, the last varying fastest. For each of those of `to_zip`.
    in_common
        What all have. Where a name is given more than once, `to_zip` goes before `to_vary` before this.

    Raises
    ------
    InputError
        If something is no list, or lists to be zipped differ in length, or there are far too many combinations.
    """
    zipped = {name: _list(values, f"to_zip.{name}") for name, values in to_zip.items()}
    lengths = {name: len(values) for name, values in zipped.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        msg = f"to_zip: lists that are walked through side by side must be equally long, but {listed}"
        raise InputError(msg)
    varied = {name: _list(values, f"to_vary.{name}") for name, values in to_vary.items()}
    number = math.prod(map(len, varied.values())) * max([1, *lengths.values()])
    if number > _MOST:
        msg = f"to_vary: {number} combinations are more than the {_MOST} that a campaign may have"
        raise InputError(msg)
    for name, value in in_common.items():
        if isinstance(value, list | tuple) and name not in _LISTS:
            msg = f"in_common.{name}: a list cannot be common to all points; move it to to_vary or to_zip"
            raise InputError(msg)
    sides = zip(*zipped.values(), strict=True) if zipped else [()]
    return [
        # Copies, so that nobody changes the settings of two points at once.
        copy.deepcopy({**in_common, **dict(zip(varied, each, strict=True)), **dict(zip(zipped, beside, strict=True))})
        for beside in sides
        for each in itertools.product(*varied.values())
    ]


_LISTS = ("hypotheses", "confidence_levels", "limits", "parameter_definition")
"""Settings that are lists themselves."""


def expanded(entries: Sequence[Any], where: str) -> list[Any]:
    """Return entries in which a mapping that has lists is replaced by the mappings of all their combinations.

    ``["free", {"a": [1, 2], "b": [3, 4]}]`` becomes "free" and four mappings, the last key varying fastest.

    Raises
    ------
    InputError
        If some values of a mapping are lists and others are not.
    """
    result: list[Any] = []
    for i, entry in enumerate(entries):
        if not isinstance(entry, dict):
            result.append(entry)
            continue
        values = {name: parse_values(value).tolist() if _is_range(value) else value for name, value in entry.items()}
        lists = [isinstance(value, list) for value in values.values()]
        if any(lists) and not all(lists):
            msg = f"{where}[{i}]: either all values are lists, or none is: {entry}"
            raise InputError(msg)
        if values and all(lists):
            if math.prod(map(len, values.values())) > _MOST:
                msg = f"{where}[{i}]: stands for more than {_MOST} combinations"
                raise InputError(msg)
            result += [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]
        else:
            result.append(values)
    return result


def _list(values: Any, where: str) -> list[Any]:
    if isinstance(values, str):
        try:
            return list(parse_values(values).tolist())
        except InputError as reason:
            msg = f"{where}: {reason}"
            raise InputError(msg) from reason
    if not isinstance(values, list | tuple):
        msg = f"{where}: must be a list, or text such as 'np.linspace(0, 30, 10)', not {values!r}"
        raise InputError(msg)
    if not values:
        msg = f"{where}: an empty list leaves no point at all"
        raise InputError(msg)
    return expanded(list(values), where)


def _is_range(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("np.", "numpy."))
