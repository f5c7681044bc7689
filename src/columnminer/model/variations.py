"""Which weight of a file is which variation, from its id and from what the file says about it.

Generators describe the same thing in their own ways; this is the one place that reads them:

======================  =====================================================================================
MadGraph                ``MUR="0.5" MUF="1.0" PDF="247000"``, ``PDF=247000 MemberID=3``, ``DYN_SCALE="1"``
MadGraph5_aMC@NLO       ``dyn=  -1 muR=0.50000E+00 muF=0.10000E+01``
POWHEG-BOX              ``lhapdf=303400 renscfact=0.5d0 facscfact=1d0``, ``lhapdf1=303401 lhapdf2=303401``
Sherpa, and HepMC       all of it in the id: ``MUR0.5_MUF1_PDF303200``, ``MUR=0.5__MUF=1__LHAPDF=303200``
======================  =====================================================================================
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from columnminer.errors import InputError, MissingError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["find_named_weight", "find_weight", "fitting_weights", "settings"]

_KEYS = r"mur|muf|renscfact|facscfact|lhapdf[12]?|pdf|dyn_?scale|dyn"
_SETTING = re.compile(
    rf"\b(?P<key>{_KEYS}|pdf\s?set|memberid)\s*=\s*[\"']?\s*(?P<value>[-+]?(?:\d+\.?\d*|\.\d+)(?:[ed][-+]?\d+)?)",
    re.IGNORECASE,
)
_SETTING_IN_ID = re.compile(rf"(?<![a-z])(?P<key>{_KEYS})=?(?P<value>-?\d+(?:\.\d+)?)", re.IGNORECASE)
_SPELLING = {"renscfact": "mur", "facscfact": "muf", "lhapdf": "pdf", "pdfset": "pdf", "pdf set": "pdf"}
_SPELLING |= {"dynscale": "dyn", "dyn_scale": "dyn"}
_DEFAULT_DYNAMICAL_SCALE = -1.0
_SHOWN = 12
"""Weights that an error message lists."""


def settings(description: str, weight_id: str = "") -> dict[str, float]:
    """Return what is said of "mur", "muf" (factors), "pdf" (LHAPDF number) and "dyn" (form of the scale).

    A description consists of parts, ``attributes | text | group``; what an earlier one says holds, as texts may say
    less: MadGraph writes ``PDF="247003"``, but behind it the set, ``PDF=247000 MemberID=3``. The id comes last.
    """
    found: dict[str, float] = {}
    for pattern, part in [*((_SETTING, part) for part in description.split(" | ")), (_SETTING_IN_ID, weight_id)]:
        said: dict[str, float] = {}
        for match in pattern.finditer(part):
            key = match["key"].lower()
            said[_SPELLING.get(key, key)] = float(match["value"].lower().replace("d", "e"))
        beams = {said.pop(key) for key in ("lhapdf1", "lhapdf2") if key in said}
        if len(beams) == 1:  # different densities in the two beams have no one number
            said["pdf"] = beams.pop()
        member = said.pop("memberid", 0.0)
        if "pdf" in said:
            said["pdf"] += member
        found = said | found
    return found


def fitting_weights(
    wanted: Mapping[str, float], weight_names: Sequence[str], descriptions: Mapping[str, str]
) -> list[str]:
    """Return the ids of all weights with these settings; parameters as in `find_weight`.

    A scale that is not mentioned is the central one; weights with another functional form of the scale do not fit.
    """
    fitting = []
    for weight_id, said in _described(weight_names, descriptions).items():
        central = {"mur": 1.0, "muf": 1.0, "dyn": _DEFAULT_DYNAMICAL_SCALE} | said
        asked = {"dyn": _DEFAULT_DYNAMICAL_SCALE} | dict(wanted)
        # LHAPDF numbers have up to eight digits, factors may be printed with four.
        if all(math.isclose(central.get(k, math.nan), v, rel_tol=0.0, abs_tol=1e-4) for k, v in asked.items()):
            fitting.append(weight_id)
    return fitting


def find_weight(
    wanted: Mapping[str, float], weight_names: Sequence[str], descriptions: Mapping[str, str], where: str
) -> str:
    """Return the id of the one weight with these settings.

    Parameters
    ----------
    wanted
        Setting -> value, as `settings` returns.
    weight_names
        Ids of the weights that events have, the nominal one first.
    descriptions
        Weight id -> what the file says about it.
    where
        What the error message begins with.

    Raises
    ------
    MissingError
        If there is none.
    InputError
        If there are several.
    """
    fitting = fitting_weights(wanted, weight_names, descriptions)
    text = _shown(wanted)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise InputError(_ambiguous(f"{where} needs a weight with {text}", fitting, descriptions))
    declared = fitting_weights(wanted, ["", *descriptions], descriptions)
    known = [f"{i!r} ({_shown(said)})" for i, said in _described(weight_names, descriptions).items()]
    if declared:
        reason = f"the header declares {declared[0]!r} as such, but events do not have it"
    elif known:
        more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        reason = f"there is none. Weights with scales or PDFs: {', '.join(known[:_SHOWN])}{more}"
    else:
        have = ", ".join(weight_names[1 : _SHOWN + 1]) or "none but the nominal one"
        reason = f"the file describes none with scales or PDFs (weights in the file: {have})"
    msg = f"{where} needs a weight with {text}, but {reason}"
    raise MissingError(msg)


def find_named_weight(name: str, weight_names: Sequence[str], descriptions: Mapping[str, str], where: str) -> str:
    """Return the one weight with this id or, if none has, the one that is so described.

    A description fits if one of its parts (attributes, text, group) is `name`, whatever the case and the spaces.
    Parameters and errors as in `find_weight`.
    """
    if name in weight_names:
        return name
    parts = {weight_id: descriptions.get(weight_id, "").split(" | ") for weight_id in weight_names}
    fitting = [weight_id for weight_id, said in parts.items() if _plain(name) in map(_plain, said)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise InputError(_ambiguous(f"{where} needs weight {name!r}", fitting, descriptions))
    if name in descriptions:
        hint = " The header declares it, but events do not have it."
    else:
        hint = did_you_mean(name, [*weight_names[1:], *(part for said in parts.values() for part in said if part)])
    msg = f"{where} needs weight {name!r}, which is neither the id nor the description of one.{hint}"
    raise MissingError(msg)


def _described(weight_names: Sequence[str], descriptions: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Return the settings of all weights that have any, but for the nominal one."""
    said = {weight_id: settings(descriptions.get(weight_id, ""), weight_id) for weight_id in weight_names[1:]}
    return {weight_id: found for weight_id, found in said.items() if found}


def _shown(values: Mapping[str, float]) -> str:
    return ", ".join(f"{key} = {values[key]:.10g}" for key in ("mur", "muf", "pdf", "dyn") if key in values)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _ambiguous(what: str, fitting: Sequence[str], descriptions: Mapping[str, str]) -> str:
    several = "; ".join(f"{weight_id!r} ({descriptions.get(weight_id) or 'by its id'})" for weight_id in fitting)
    return f"{what}, but {len(fitting)} weights fit: {several}. Name the right one by its id in a WeightVariation."
