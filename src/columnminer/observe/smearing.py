"""Gaussian smearing of energies and directions, each kind of particle with its own resolution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from columnminer import streams
from columnminer.errors import InputError, UnknownNameError, did_you_mean
from columnminer.momenta import CARTESIAN
from columnminer.observe.species import SPECIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from columnminer.momenta import Momenta

__all__ = ["Resolution", "Width", "checked_width", "pdg_ids", "smear"]

Width: TypeAlias = tuple[float, float]

_QUANTITIES = {"e": "energy", "pt": "pt", "eta": "eta", "phi": "phi"}
"""Column -> its field of `Resolution`; the place in this list says which quantity a random number is for."""

_ATTEMPTS = 200  # at worst every second draw is thrown away, so that long before this nothing is left to redraw


@dataclass(frozen=True)
class Resolution:
    """Gaussian resolutions of one kind of particle, each (absolute, relative): sigma = absolute + relative * size.

    Energies and transverse momenta that come out negative (with `pt` None: energies below the mass) are drawn again.

    Attributes
    ----------
    energy, pt : tuple of float, or None
        Absolute part in GeV. One of them may be None: it then follows from the mass of the true particle,
        E^2 = (pT cosh(eta))^2 + m^2. Where both are given, the measured mass is whatever comes out.
    eta, phi : tuple of float
        Absolute part in units of eta, and in rad.

    Raises
    ------
    InputError
        If a width is negative, or both energy and pT are None.

    Examples
    --------
    >>> calorimeter = cm.Resolution(energy=(1.0, 0.08), pt=None, eta=(0.02, 0.0))  # 1 GeV + 8 %; pT follows the energy
    """

    energy: Width | None = (0.0, 0.0)
    pt: Width | None = (0.0, 0.0)
    eta: Width = (0.0, 0.0)
    phi: Width = (0.0, 0.0)

    def __post_init__(self) -> None:
        if self.energy is None and self.pt is None:
            msg = "energy and pT cannot both follow from the mass: give the resolution of one of them"
            raise InputError(msg)
        for name in ("energy", "pt", "eta", "phi"):
            width = getattr(self, name)
            if width is not None:
                object.__setattr__(self, name, checked_width(width, f"the resolution of {name}"))


def checked_width(width: object, what: str) -> Width:
    """Return (absolute, relative) as floats.

    Raises
    ------
    InputError
        If they are not two non-negative numbers; `what` says in the message whose they are.
    """
    numbers = [float(w) for w in width if isinstance(w, int | float)] if isinstance(width, Sequence) else []
    if len(numbers) != 2 or not all(0 <= w < math.inf for w in numbers):
        msg = f"{what} must be two non-negative numbers, (absolute, relative), not {width!r}"
        raise InputError(msg)
    return numbers[0], numbers[1]


def pdg_ids(whom: str | int) -> list[int]:
    """Return the signed PDG ids that a key of `Detector.resolutions` concerns.

    Raises
    ------
    UnknownNameError
        If it is not the name of an object, "all", or the PDG id of a particle that a detector knows of.
    """
    everybody = [sign * i for ids in SPECIES.values() for i in ids for sign in (1, -1)]
    if whom == "all":
        return everybody
    if isinstance(whom, str) and whom in SPECIES:
        return [sign * i for i in SPECIES[whom] for sign in (1, -1)]
    if isinstance(whom, int) and whom in everybody:
        return [whom]
    msg = f"no resolution can be set for {whom!r}: name an object, a PDG id or 'all'.{did_you_mean(str(whom), SPECIES)}"
    raise UnknownNameError(msg)


def smear(
    true: Momenta, resolutions: Mapping[str | int, Resolution], counters: tuple[NDArray[np.int64], ...], key: int
) -> Momenta:
    """Return measured momenta, phi in [0, 2 pi).

    A particle that flies along the beam has no pT or phi to smear and stays as it is.

    Parameters
    ----------
    true
        Momenta with PDG ids.
    resolutions
        As in `Detector.resolutions`.
    counters
        (n,) event number and place in the event of each particle: what its random numbers depend on.
    key
        From `streams.key`.
    """
    if not resolutions:
        exact = {name: partial(true.__getitem__, name) for name in CARTESIAN}
        return true.moved({**exact, "phi": lambda: np.where(true["phi"] < 0, true["phi"] + 2 * np.pi, true["phi"])})
    table, row = _rows(resolutions, true["pdgid"])
    some = np.flatnonzero((row > 0) & (true["pt"] > 0))
    few, row, counters = true.take(some), row[some], tuple(c[some] for c in counters)
    pt_follows, e_follows = (np.array([follows is None for follows in table[name]])[row] for name in ("pt", "energy"))
    lowest = {"e": np.where(pt_follows, few["m"], 0.0), "pt": np.zeros(len(some))}

    drawn = {}
    for quantity, (column, name) in enumerate(_QUANTITIES.items()):
        absolute, relative = np.array([width or (0.0, 0.0) for width in table[name]]).T[:, row]
        sigma = absolute + relative * np.abs(few[column])
        drawn[column] = _drawn(few[column], sigma, (key, quantity), counters, lowest.get(column))
    e, pt, eta, phi = drawn["e"], drawn["pt"], drawn["eta"], drawn["phi"] % (2 * np.pi)
    mass2 = few["m"] * np.abs(few["m"])
    pt = np.where(pt_follows, np.sqrt(np.maximum(e**2 - mass2, 0.0)) / np.cosh(eta), pt)
    e = np.where(e_follows, np.sqrt(np.maximum((pt * np.cosh(eta)) ** 2 + mass2, 0.0)), e)

    measured = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta), "e": e}
    measured |= {"pt": pt, "eta": eta, "phi": phi}
    columns = {name: np.array(true[name]) for name in measured}
    columns["phi"] %= 2 * np.pi
    for name, values in measured.items():
        columns[name][some] = values
    return true.moved(columns)


def _rows(
    resolutions: Mapping[str | int, Resolution], pdgid: NDArray[Any]
) -> tuple[dict[str, list[Width | None]], NDArray[np.int64]]:
    """Return name -> widths in each row of a table, and the row of each particle; row 0 is no smearing."""
    largest = max(map(abs, pdg_ids("all")))
    row_of = np.zeros(2 * largest + 1, dtype=np.int64)
    for row, (whom, resolution) in enumerate(resolutions.items(), start=1):
        row_of[[i + largest for i in pdg_ids(whom)]] = row if resolution != Resolution() else 0
    table = [Resolution(), *resolutions.values()]
    return {name: [getattr(r, name) for r in table] for name in _QUANTITIES.values()}, row_of[pdgid + largest]


def _drawn(
    true: NDArray[np.float64],
    sigma: NDArray[np.float64],
    stream: tuple[int, int],
    counters: tuple[NDArray[np.int64], ...],
    lowest: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Return true + sigma * normal, drawn again where it is not above `lowest`; exact where sigma is zero."""
    key, quantity = stream
    values = true.astype(np.float64)
    again = np.flatnonzero(sigma > 0)
    for attempt in range(_ATTEMPTS):
        noise = streams.normal(key, *(c[again] for c in counters), quantity, attempt)
        values[again] = true[again] + sigma[again] * noise
        again = again[values[again] <= lowest[again]] if lowest is not None else again[:0]
        if not len(again):
            break
    values[again] = true[again]
    return values
