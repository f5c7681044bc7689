"""Which weight of a file is which variation, from what the file says about its weights.

Generators describe the same thing in their own ways; this is the one place that reads them:

======================  ==============================================================
MadGraph                ``MUR="0.5" MUF="1.0" PDF="247000"``, ``muR=0.50000E+00``
POWHEG-BOX              ``lhapdf=303400 renscfact=0.5d0 facscfact=1d0``
======================  ==============================================================
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from columnminer.errors import MissingError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["find_weight", "settings"]

_SETTING = re.compile(
    r"\b(?P<key>mur|muf|renscfact|facscfact|lhapdf|pdf|dyn_?scale|dyn)\s*=\s*[\"']?\s*"
    r"(?P<value>[-+]?(?:\d+\.?\d*|\.\d+)(?:[ed][-+]?\d+)?)",
    re.IGNORECASE,
)
_SPELLING = {"renscfact": "mur", "facscfact": "muf", "lhapdf": "pdf", "dynscale": "dyn", "dyn_scale": "dyn"}
_DEFAULT_DYNAMICAL_SCALE = -1.0


def settings(description: str) -> dict[str, float]:
    """Return what a description says of "mur", "muf" (factors), "pdf" (LHAPDF number) and "dyn" (form of the scale)."""
    found = {}
    for match in _SETTING.finditer(description):
        key = match["key"].lower()
        found[_SPELLING.get(key, key)] = float(match["value"].lower().replace("d", "e"))
    return found


def find_weight(wanted: Mapping[str, float], descriptions: Mapping[str, str], where: str) -> str:
    """Return the id of the weight with these settings.

    A scale that a description leaves out is the central one; weights with another functional form of the scale are
    passed over. Where several fit, the first does.

    Parameters
    ----------
    wanted
        Setting -> value, as `settings` returns.
    descriptions
        Weight id -> what the file says about it.
    where
        What the error message begins with.

    Raises
    ------
    MissingError
        If there is none.
    """
    said = {weight_id: settings(description) for weight_id, description in descriptions.items()}
    varied = {weight_id: s for weight_id, s in said.items() if s and s.get("dyn", -1.0) == _DEFAULT_DYNAMICAL_SCALE}
    for weight_id, found in varied.items():
        central = {"mur": 1.0, "muf": 1.0} | found
        if all(math.isclose(central.get(key, math.nan), value, rel_tol=1e-7) for key, value in wanted.items()):
            return weight_id
    text = ", ".join(f"{key} = {value:g}" for key, value in wanted.items())
    have = f"weights with scales or PDFs: {', '.join(varied)}" if varied else "none with scales or PDFs"
    msg = f"{where} needs a weight with {text}, which the file does not describe (it has {have})"
    raise MissingError(msg)
