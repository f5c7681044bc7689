"""Four-momenta in columns: what is stored, and what follows from it, computed when first asked for and then kept.

`Momenta` is a bag of columns. A `Collection` deals them out to events, any number each (jets); a `Particle` holds one
for each event that has one (the hardest jet). Energies and momenta in GeV, angles in rad.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from columnminer.arithmetic import Mask, Number, choose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

__all__ = ["ATTRIBUTES", "CARTESIAN", "IDENTITIES", "KINEMATICS", "METHODS", "Collection", "Momenta", "Particle"]

Column: TypeAlias = "NDArray[Any]"
Formula: TypeAlias = "Callable[[Momenta], Column]"

CARTESIAN = ("px", "py", "pz", "e")
TAGS = ("b_tag", "c_tag", "tau_tag", "t_tag")
IDENTITIES = ("pdgid", "charge", "spin", *TAGS)
"""Columns that say what a particle is; boosts keep them."""


def _pseudorapidity(p: Momenta) -> Column:
    """Return asinh(pz / pT): infinite along the beam, 0 for a momentum of zero."""
    with np.errstate(all="ignore"):
        eta = np.arcsinh(p["pz"] / p["pt"])
    return np.where(np.isnan(eta) & (p["pz"] == 0), 0.0, eta)


def _mass(p: Momenta) -> Column:
    """Return sqrt(E^2 - p^2), negative for a space-like momentum."""
    squared: Column = p["e"] ** 2 - (p["px"] ** 2 + p["py"] ** 2 + p["pz"] ** 2)
    return np.copysign(np.sqrt(np.abs(squared)), squared)


def _rapidity(p: Momenta) -> Column:
    with np.errstate(all="ignore"):
        return np.arctanh(p["pz"] / p["e"])


KINEMATICS: dict[str, Formula] = {
    "px": lambda p: p["pt"] * np.cos(p["phi"]),
    "py": lambda p: p["pt"] * np.sin(p["phi"]),
    "pz": lambda p: p["pt"] * np.sinh(p["eta"]),
    "e": lambda p: np.sqrt(np.maximum(p["p"] ** 2 + p["m"] * np.abs(p["m"]), 0.0)),
    "pt": lambda p: np.sqrt(p["px"] ** 2 + p["py"] ** 2),
    "eta": _pseudorapidity,
    "phi": lambda p: np.arctan2(p["py"], p["px"]),
    "m": _mass,
    "p": lambda p: np.sqrt(p["px"] ** 2 + p["py"] ** 2 + p["pz"] ** 2),
    "theta": lambda p: np.arctan2(p["pt"], p["pz"]),
    "rapidity": _rapidity,
}
"""Each kinematic column from others; whoever stores momenta stores (px, py) or (pt, phi), pz or eta, and e or m."""

ATTRIBUTES = (*KINEMATICS, *IDENTITIES)
"""All that can be asked of a particle."""


class Momenta:
    """Columns of particles, one entry each.

    Parameters
    ----------
    columns
        name -> (n,) array as stored, or a function without arguments that fetches it when it is first asked for.
    formulas
        name -> how to compute a column from others; asking for a column that is neither stored nor here is a KeyError.
    """

    __slots__ = ("_columns", "_index", "_source", "formulas")

    def __init__(
        self, columns: Mapping[str, Column | Callable[[], Column]], formulas: Mapping[str, Formula] = KINEMATICS
    ) -> None:
        self.formulas = formulas
        self._columns = dict(columns)
        self._source: Momenta | None = None
        self._index: NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def __getitem__(self, name: str) -> Column:
        column = self._columns.get(name)
        if not isinstance(column, np.ndarray):
            column = self._columns[name] = column() if column is not None else self._made(name)
        return column

    def _made(self, name: str) -> Column:
        if self._source is None or not self._source.holds(name):
            return self.formulas[name](self)
        column = self._source[name]
        # An index into nothing points at particles that are undefined anyway.
        return column[self._index] if len(column) else np.zeros(len(self._index), column.dtype)

    def holds(self, name: str) -> bool:
        """Whether a column is stored, or has been computed, here or where these particles were taken from."""
        return name in self._columns or (self._source is not None and self._source.holds(name))

    def has(self, name: str) -> bool:
        """Whether a column can be had, stored or computed."""
        try:
            self[name]
        except KeyError:
            return False
        return True

    def take(self, index: NDArray[np.int64]) -> Momenta:
        """Return the particles at `index`; each column is gathered only when it is asked for."""
        taken = Momenta({}, self.formulas)
        taken._source, taken._index = self, index
        return taken

    def moved(self, columns: Mapping[str, Column | Callable[[], Column]]) -> Momenta:
        """Return the same particles with other momenta."""
        return Momenta({**_each(IDENTITIES, self.__getitem__), **columns}, self.formulas)


def _each(names: Iterable[str], make: Callable[[str], Column]) -> dict[str, Callable[[], Column]]:
    return {name: partial(make, name) for name in names}


@dataclass(frozen=True, eq=False)
class Particle:
    """One particle per event, where there is one.

    Attributes
    ----------
    momenta : Momenta
        (n_events,) columns; anything where undefined.
    defined : numpy.ndarray
        (n_events,) bool, or () where it is the same for all events.
    """

    momenta: Momenta
    defined: Mask = np.True_

    def attribute(self, name: str) -> Number:
        """Return a column as a number, undefined everywhere if these particles have no such thing."""
        try:
            return Number(np.asarray(self.momenta[name], dtype=np.float64), self.defined)
        except KeyError:
            return Number(np.asarray(np.nan), np.False_)

    def __add__(self, other: Particle) -> Particle:
        return self._joined(other, np.add)

    def __sub__(self, other: Particle) -> Particle:
        return self._joined(other, np.subtract)

    def _joined(self, other: Particle, ufunc: np.ufunc) -> Particle:
        """Add or subtract momenta and charges; a tag is set where either has it."""
        a, b = self.momenta, other.momenta

        def joined(name: str) -> Column:
            column: Column = ufunc(a[name], b[name]) if name == "charge" else a[name] | b[name]
            return column

        momentum = {c: ufunc(a[c], b[c]) for c in CARTESIAN}
        return Particle(Momenta({**momentum, **_each(("charge", *TAGS), joined)}), self.defined & other.defined)

    def delta_phi(self, other: Particle) -> Number:
        """Return phi - phi' in [-pi, pi)."""
        difference = self.momenta["phi"] - other.momenta["phi"]
        return Number((difference + np.pi) % (2 * np.pi) - np.pi, self.defined & other.defined)

    def delta_eta(self, other: Particle) -> Number:
        """Return eta - eta'."""
        return Number(self.momenta["eta"] - other.momenta["eta"], self.defined & other.defined)

    def delta_r(self, other: Particle) -> Number:
        """Return sqrt(delta_phi^2 + delta_eta^2)."""
        (phi, defined), (eta, _) = self.delta_phi(other), self.delta_eta(other)
        return Number(np.sqrt(phi**2 + eta**2), defined)

    def boost(self, other: Particle, direction: float = 1.0) -> Particle:
        """Return this particle boosted by the velocity of another, or with `direction` -1 into its rest frame.

        Undefined where the other one is not slower than light.
        """
        a, b = self.momenta, other.momenta
        mass2 = b["e"] ** 2 - b["p"] ** 2
        slower = (mass2 > 0) & (b["e"] > 0)
        mass = np.sqrt(np.where(slower, mass2, 1.0))
        gamma = np.where(slower, b["e"] / mass, 1.0)
        u = [direction * np.where(slower, b[c] / mass, 0.0) for c in ("px", "py", "pz")]  # gamma times velocity
        along = u[0] * a["px"] + u[1] * a["py"] + u[2] * a["pz"]
        shift = along / (1.0 + gamma) + a["e"]
        columns = {c: a[c] + shift * ui for c, ui in zip(("px", "py", "pz"), u, strict=True)}
        columns["e"] = gamma * a["e"] + along
        return Particle(a.moved(columns), self.defined & other.defined & slower)

    @staticmethod
    def either(condition: Number, yes: Particle, no: Particle) -> Particle:
        """Return the first particle where the condition holds, else the second."""

        def where(name: str) -> Column:
            return np.where(condition.values != 0, yes.momenta[name], no.momenta[name])

        return Particle(Momenta(_each(ATTRIBUTES, where)), choose(condition, yes.defined, no.defined))


@dataclass(frozen=True, eq=False)
class Collection:
    """Any number of particles per event.

    Attributes
    ----------
    momenta : Momenta
        (n_particles,) columns, event after event.
    offsets : numpy.ndarray
        (n_events + 1,) where each event's particles begin and the last one's end.
    """

    momenta: Momenta
    offsets: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """(n_events,) number of particles."""
        return np.diff(self.offsets)

    @cached_property
    def event(self) -> NDArray[np.int64]:
        """(n_particles,) number of the event, in this batch, that each particle belongs to."""
        return np.repeat(np.arange(len(self.offsets) - 1), self.counts)

    def length(self) -> Number:
        """Return the number of particles of each event."""
        return Number(self.counts.astype(np.float64))

    def item(self, index: Number) -> Particle:
        """Return one particle of each event, undefined where there is none; negative indices count from the end."""
        starts, stops = self.offsets[:-1], self.offsets[1:]
        whole = np.floor(index.values) == index.values
        i = np.where(whole & (np.abs(index.values) < 2**31), index.values, 2**31).astype(np.int64)
        position = np.where(i >= 0, starts, stops) + i
        defined = index.defined & (position >= starts) & (position < stops)
        return Particle(self.momenta.take(np.where(defined, position, 0)), defined)

    def where(self, keep: NDArray[np.bool_]) -> Collection:
        """Return the particles where the (n_particles,) mask is set."""
        kept = np.zeros(len(keep) + 1, dtype=np.int64)
        np.cumsum(keep, out=kept[1:])
        return Collection(self.momenta.take(np.flatnonzero(keep)), kept[self.offsets])

    def by_pt(self) -> Collection:
        """Return the particles of each event sorted by descending pT; equals keep their order."""
        pt = self.momenta["pt"]
        key = np.empty(len(pt), dtype=np.complex128)  # sorts by its real part first, then by its imaginary part
        key.real, key.imag = self.event, -np.nan_to_num(pt, nan=-np.inf, posinf=np.inf)
        return Collection(self.momenta.take(np.argsort(key, kind="stable")), self.offsets)

    def total_of(self, name: str) -> NDArray[np.float64]:
        """Return the sum of a column over the particles of each event, (n_events,)."""
        weights = self.momenta[name].astype(np.float64, copy=False)
        return np.asarray(np.bincount(self.event, weights, len(self.offsets) - 1), dtype=np.float64)

    def total(self) -> Particle:
        """Return the sum of the particles of each event; it has no identity."""
        return Particle(Momenta({name: self.total_of(name) for name in CARTESIAN}))

    def merged(self, other: Collection) -> Collection:
        """Return the particles of both collections, this one's first in each event."""
        first, second = self.momenta, other.momenta
        both = Momenta(_each(ATTRIBUTES, lambda name: np.concatenate([first[name], second[name]])))
        order = np.argsort(np.concatenate([self.event, other.event]), kind="stable")
        return Collection(both.take(order), self.offsets + other.offsets)


METHODS: dict[str, Callable[..., Number | Particle]] = {
    "deltaphi": Particle.delta_phi,
    "deltaeta": Particle.delta_eta,
    "deltaR": Particle.delta_r,
    "boost": Particle.boost,
    "boost_to_com": partial(Particle.boost, direction=-1.0),
}
"""What expressions may call on a particle, with another particle in brackets."""
