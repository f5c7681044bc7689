"""What collides in the built-in generator: which fermions meet, from which side, and how often at each (m, y)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from columnminer.generate.amplitudes import GAMMA_Z, M_Z
from columnminer.generate.exact import Nodes, panel_nodes
from columnminer.generate.partons import quark_densities

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Beams", "Channel", "ElectronBeams", "ProtonBeams", "mass_panels"]


@dataclass(frozen=True)
class Channel:
    """A pair of incoming partons.

    Attributes
    ----------
    fermion : str
        Kind of fermion, as `amplitudes` names them.
    pdgids : tuple of int
        PDG ids of the partons from beam 1 (along +z) and beam 2.
    """

    fermion: str
    pdgids: tuple[int, int]

    @property
    def direction(self) -> int:
        """+1 if the fermion comes from beam 1, -1 if the antifermion does."""
        return 1 if self.pdgids[0] > 0 else -1


@dataclass(frozen=True)
class ElectronBeams:
    """e- along +z on e+ at a fixed energy: m = sqrt(s) and y = 0 always, and integrals over (m, y) are one point."""

    sqrt_s: float

    @property
    def beam_ids(self) -> tuple[int, int]:
        """PDG ids of the beam particles."""
        return 11, -11

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The one pair there is."""
        return (Channel("electron", (11, -11)),)

    def luminosities(self, mass: NDArray[np.float64], rapidity: NDArray[np.float64]) -> NDArray[np.float64]:  # noqa: ARG002
        """Return what the cross section of each channel has to be multiplied with: ones, (n, 1)."""
        return np.ones((len(mass), 1))

    def nodes(self) -> Nodes:
        """Return the one point."""
        return Nodes(np.array([[self.sqrt_s, 0.0]]), np.ones(1))


@dataclass(frozen=True)
class ProtonBeams:
    """Protons on protons: ``d L / dm dy = 2/m * x_1 q(x_1) * x_2 qbar(x_2)``, ``x_12 = m / sqrt(s) exp(+-y)`` [1/GeV].

    The factorisation scale is m.
    """

    sqrt_s: float
    mass_range: tuple[float, float]

    @property
    def beam_ids(self) -> tuple[int, int]:
        """PDG ids of the beam particles."""
        return 2212, 2212

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Each light flavour, with the quark from either side."""
        kinds = {2: "up", 1: "down", 3: "down"}
        return tuple(Channel(kind, (sign * quark, -sign * quark)) for quark, kind in kinds.items() for sign in (1, -1))

    def luminosities(self, mass: NDArray[np.float64], rapidity: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return d L / dm dy of each channel [1/GeV], (n, n_channels); zero where a parton would exceed its proton."""
        x1, x2 = (mass / self.sqrt_s * np.exp(sign * rapidity) for sign in (1, -1))
        first, second = (quark_densities(np.minimum(x, 1.0), mass) for x in (x1, x2))
        products = [first[one] * second[two] for one, two in (channel.pdgids for channel in self.channels)]
        possible = np.maximum(x1, x2) < 1
        return np.asarray(np.where(possible, 2 / mass, 0.0)[:, np.newaxis] * np.stack(products, axis=1))

    def rapidity_limit(self, mass: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the largest rapidity at each mass, log(sqrt(s) / m), (n,)."""
        return np.log(self.sqrt_s / mass)

    def nodes(self) -> Nodes:
        """Return nodes in (m, y) for integrals of functions that do not change under y -> -y."""
        return self.nodes_between(mass_panels(*self.mass_range))

    def nodes_between(self, edges: NDArray[np.float64], order: int = 20) -> Nodes:
        """Return the nodes for the given edges of panels in m: `order` in each panel, twice as many in y > 0."""
        mass, rapidity = panel_nodes(np.log(edges), order), panel_nodes([0.0, 1.0], 2 * order)
        m = np.repeat(np.exp(mass.x), 2 * order)
        limit = np.maximum(self.rapidity_limit(m), 0.0)
        # The Jacobian of log m is m; both signs of y count.
        weights = np.repeat(mass.weights, 2 * order) * np.tile(rapidity.weights, len(mass.x)) * m * 2 * limit
        return Nodes(np.column_stack([m, np.tile(rapidity.x, len(mass.x)) * limit]), weights)


Beams: TypeAlias = ElectronBeams | ProtonBeams


def mass_panels(low: float, high: float) -> NDArray[np.float64]:
    """Return edges of panels in m [GeV] in which spectra are smooth: a factor 1.6 apart at most, narrow at the Z."""
    edges = np.geomspace(low, high, 1 + int(np.ceil(np.log(high / low) / np.log(1.6))))
    steps = GAMMA_Z * np.array([1, 2, 4, 8, 16])
    peak = np.concatenate([M_Z - steps[::-1], [M_Z], M_Z + steps])
    return np.unique(np.concatenate([edges, peak[(peak > low) & (peak < high)]]))
