"""What a PDG id means to a detector: which object the particle is measured as, its charge, its tags, if it is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, SupportsFloat

import numpy as np
from particle.pdgid import charge, is_hadron

from columnminer.formats.flavour import open_flavour
from columnminer.momenta import KINEMATICS, Momenta

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["FORMULAS", "SPECIES", "are", "are_known"]

SPECIES = {
    "e": (11,),
    "mu": (13,),
    "tau": (15,),
    "a": (22,),
    "j": (1, 2, 3, 4, 5, 6, 9, 21),
    "v": (12, 14, 16),
    "boson": (23, 24, 25),
}
"""Objects by absolute PDG id: what a detector knows of. An electroweak boson that did not decay is seen as such."""

_LARGEST = 26
_CODES = np.zeros(_LARGEST + 1, dtype=np.uint8)
for _code, _ids in enumerate(SPECIES.values(), start=1):
    _CODES[list(_ids)] = _code
_SEEN = {sign * i for name, ids in SPECIES.items() if name != "v" for i in ids for sign in (-1, 1)}
_CODE_OF = {name: code for code, name in enumerate(SPECIES, start=1)}


def are(particles: Momenta, name: str) -> NDArray[np.bool_]:
    """Return which particles are of the named species, (n,) bool."""
    return np.asarray(particles["species"] == _CODE_OF[name])


def are_known(particles: Momenta) -> NDArray[np.bool_]:
    """Return which particles are of any species, (n,) bool."""
    return np.asarray(particles["species"] > 0)


def _species(p: Momenta) -> NDArray[np.uint8]:
    codes: NDArray[np.uint8] = _CODES[np.minimum(np.abs(p["pdgid"]), _LARGEST)]
    return codes


def _of_id(
    function: Callable[[int], SupportsFloat | None], dtype: type[np.generic]
) -> Callable[[Momenta], NDArray[Any]]:
    """Return a column that is a function of the PDG id alone, which is called once for each id."""

    def column(p: Momenta) -> NDArray[Any]:
        ids, inverse = np.unique(p["pdgid"], return_inverse=True)
        return np.array([float(function(int(i)) or 0) for i in ids], dtype=dtype)[inverse]

    return column


def _is_visible(pdgid: int) -> bool:
    """Whether a detector sees it: what is charged, photons, gluons, hadrons, and bosons that did not decay."""
    return pdgid in _SEEN or is_hadron(pdgid) or bool(charge(pdgid))


def _tag(pdgid: int) -> Callable[[Momenta], NDArray[np.bool_]]:
    return lambda p: np.abs(p["pdgid"]) == pdgid


FORMULAS = {
    **KINEMATICS,
    "species": _species,
    "charge": _of_id(charge, np.float64),  # in units of the positron's; 0 for ids that mean nothing
    "visible": _of_id(_is_visible, np.bool_),
    "open_flavour": _of_id(open_flavour, np.int64),
    "b_tag": _tag(5),
    "c_tag": _tag(4),
    "t_tag": _tag(6),
    "tau_tag": _tag(15),
}
"""Columns of particles whose PDG id is known; a tag is what a perfect detector would say."""
