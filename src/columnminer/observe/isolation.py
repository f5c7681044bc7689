"""Which leptons and photons stand alone, and what lies within a cone around something.

Loops over pairs of particles of one event, compiled, as their number is that of all particles squared.
"""

# ruff: noqa: PLR0917 - compiled code passes by position

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError, UnknownNameError, did_you_mean
from columnminer.formats.machine import kernel
from columnminer.observe.species import are

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from columnminer.momenta import Collection

__all__ = ["Isolation", "described", "isolated", "isolations", "nearest"]

ISOLATED = ("e", "mu", "a")
"""What can be isolated."""


@dataclass(frozen=True)
class Isolation:
    """When a lepton or photon counts as isolated: its surroundings carry little pT beside its own.

    Attributes
    ----------
    R : float
        Radius of the cone around it, in sqrt(delta_eta^2 + delta_phi^2).
    max_ratio : float
        Largest sum of the pT of all other visible particles in the cone, over its own.
    pt_min : float
        Smallest pT [GeV] of its own; what is softer goes into jets.

    Raises
    ------
    InputError
        If a number is out of range.

    Examples
    --------
    >>> isolation = {"a": cm.Isolation(R=0.4, max_ratio=0.1, pt_min=20.0)}
    >>> selection = cm.Selection({"n_a": "len(a)"}, jets=cm.Jets(), isolation=isolation)
    """

    R: float = 0.3
    max_ratio: float = 0.15
    pt_min: float = 10.0

    def __post_init__(self) -> None:
        if not (self.R > 0 and self.max_ratio >= 0 and self.pt_min >= 0):
            msg = f"an isolation needs a positive R, and max_ratio and pt_min that are not negative, not {self}"
            raise InputError(msg)


def isolations(given: Isolation | Mapping[str, Isolation] | None) -> dict[str, Isolation]:
    """Return the isolation of each of `e`, `mu` and `a`, the default where none is given.

    Raises
    ------
    UnknownNameError
        If one is given for something else.
    """
    if given is None or isinstance(given, Isolation):
        return dict.fromkeys(ISOLATED, given or Isolation())
    for name in given:
        if name not in ISOLATED:
            msg = f"there is no isolation of {name!r}.{did_you_mean(name, ISOLATED)}"
            raise UnknownNameError(msg)
    return {name: given.get(name, Isolation()) for name in ISOLATED}


def described(given: Mapping[str, Isolation]) -> dict[str, dict[str, float]]:
    """Return isolations as JSON has them."""
    return {name: asdict(isolation) for name, isolation in given.items()}


def isolated(particles: Collection, cones: Mapping[str, Isolation]) -> NDArray[np.bool_]:
    """Return which of these visible particles are isolated leptons or photons, (n_particles,) bool."""
    momenta = particles.momenta
    found = np.zeros(len(momenta["pdgid"]), dtype=np.bool_)
    for name, cone in cones.items():
        candidates = np.flatnonzero(are(momenta, name) & (momenta["pt"] >= cone.pt_min))
        sums = np.empty(len(candidates))
        first, last = _others(particles, particles.event[candidates])
        _sum_in_cones(
            candidates,
            first,
            last,
            _column(particles, "eta"),
            _column(particles, "phi"),
            _column(particles, "pt"),
            cone.R,
            sums,
        )
        found[candidates] = sums <= cone.max_ratio * momenta["pt"][candidates]
    return found


def nearest(particles: Collection, targets: Collection, radius: float) -> NDArray[np.int64]:
    """Return for each particle the nearest target of its event within `radius`, -1 where there is none."""
    found = np.empty(len(particles.event), dtype=np.int64)
    first, last = _others(targets, particles.event)
    _find_nearest(
        _column(particles, "eta"),
        _column(particles, "phi"),
        first,
        last,
        _column(targets, "eta"),
        _column(targets, "phi"),
        radius,
        found,
    )
    return found


def _column(particles: Collection, name: str) -> NDArray[np.float64]:
    return np.ascontiguousarray(particles.momenta[name], dtype=np.float64)


def _others(particles: Collection, event: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the particles of these events begin and end."""
    return particles.offsets[event], particles.offsets[event + 1]


@kernel
def _sum_in_cones(candidates: Any, first: Any, last: Any, eta: Any, phi: Any, pt: Any, radius: Any, sums: Any) -> None:
    """Sum the pT of the other particles of the event around each candidate."""
    for i in range(len(candidates)):
        c = candidates[i]
        total = 0.0
        for k in range(first[i], last[i]):
            d_eta = eta[k] - eta[c]
            d_phi = abs(phi[k] - phi[c])
            d_phi = min(d_phi, 2 * np.pi - d_phi)
            if k != c and d_eta * d_eta + d_phi * d_phi < radius * radius:
                total += pt[k]
        sums[i] = total


@kernel
def _find_nearest(
    eta: Any, phi: Any, first: Any, last: Any, target_eta: Any, target_phi: Any, radius: Any, found: Any
) -> None:
    """Find the nearest target of the same event."""
    for i in range(len(eta)):
        found[i] = -1
        closest = radius * radius
        for k in range(first[i], last[i]):
            d_eta = target_eta[k] - eta[i]
            d_phi = abs(target_phi[k] - phi[i])
            d_phi = min(d_phi, 2 * np.pi - d_phi)
            if d_eta * d_eta + d_phi * d_phi < closest:
                closest = d_eta * d_eta + d_phi * d_phi
                found[i] = k
