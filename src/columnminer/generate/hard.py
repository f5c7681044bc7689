"""The hard process between given beams: cross sections by latent configuration, and summed over them.

A latent configuration z is a channel (flavours, and which beam the fermion comes from) and a pair of helicities.
Cosines are those of l- with beam 1 in the rest frame of the pair, which has no transverse momentum.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from columnminer.generate.amplitudes import (
    HELICITIES,
    RELATIVE_HELICITY,
    amplitude_coefficients,
    amplitude_squares,
    flux_factor,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.generate.beams import Beams

__all__ = ["HardProcess"]

_ANGULAR_INTEGRAL = 8 / 3  # of (1 + c)^2 over c in (-1, 1)


@dataclass(frozen=True)
class HardProcess:
    """Beams, and the contact couplings that theta holds.

    Cross sections are `Beams.luminosities` (thus per GeV for protons) times those of the partons, in pb; forms are the
    quadratic forms Q of ``v^T Q v``, v = (1, theta).
    """

    beams: Beams
    couplings: tuple[str, ...]

    def forms(
        self, mass: NDArray[np.float64], rapidity: NDArray[np.float64], cosine: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return Q of d sigma / d(m, y) dc, (n, 1 + n_par, 1 + n_par)."""
        return self._summed(mass, self.beams.luminosities(mass, rapidity)[..., np.newaxis] * self._angular(cosine))

    @cached_property
    def total_form(self) -> NDArray[np.float64]:
        """(1 + n_par, 1 + n_par) Q of the total cross section, by quadrature."""
        nodes = self.beams.nodes()
        mass, rapidity = nodes.x.T
        luminosities = np.repeat(self.beams.luminosities(mass, rapidity)[..., np.newaxis], len(HELICITIES), axis=2)
        return np.asarray(np.einsum("n,nij->ij", nodes.weights, self._summed(mass, luminosities * _ANGULAR_INTEGRAL)))

    def latent_xsec(
        self,
        mass: NDArray[np.float64],
        rapidity: NDArray[np.float64],
        theta: NDArray[np.float64],
        cosine: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Return d sigma / d(m, y) dc of every configuration, (n, n_channels, 4); integrated over c if it is None."""
        angular = _ANGULAR_INTEGRAL if cosine is None else self._angular(cosine)
        squares = np.empty((len(mass), len(self.beams.channels), len(HELICITIES)))
        for kind, columns in self._kinds.items():
            of_kind = amplitude_squares(amplitude_coefficients(mass, kind, self.couplings), theta)
            squares[:, columns] = (flux_factor(mass, kind)[:, np.newaxis] * of_kind)[:, np.newaxis]
        return np.asarray(self.beams.luminosities(mass, rapidity)[..., np.newaxis] * angular * squares)

    def squares(
        self,
        mass: NDArray[np.float64],
        channel: NDArray[np.integer],
        helicity: NDArray[np.integer],
        thetas: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return the squared amplitude of one configuration for each event, at many parameter points, (n, n_theta)."""
        result = np.empty((len(mass), len(thetas)))
        for kind, columns in self._kinds.items():
            chosen = np.flatnonzero(np.isin(channel, columns))
            coefficients = amplitude_coefficients(mass[chosen], kind, self.couplings)
            of_events = coefficients[np.arange(len(chosen)), helicity[chosen]]
            for column, theta in enumerate(thetas):
                result[chosen, column] = amplitude_squares(of_events, theta)
        return result

    @cached_property
    def directions(self) -> NDArray[np.float64]:
        """(n_channels,) +1 where the fermion comes from beam 1, else -1."""
        return np.array([channel.direction for channel in self.beams.channels], dtype=np.float64)

    @cached_property
    def _kinds(self) -> dict[str, list[int]]:
        """Channels of each kind of fermion."""
        kinds: dict[str, list[int]] = {}
        for column, channel in enumerate(self.beams.channels):
            kinds.setdefault(channel.fermion, []).append(column)
        return kinds

    def _angular(self, cosine: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (1 + eta d c)^2, (n, n_channels, 4); d is the direction of the fermion."""
        signs = self.directions[:, np.newaxis] * RELATIVE_HELICITY
        return np.asarray((1 + signs * cosine[:, np.newaxis, np.newaxis]) ** 2)

    def _summed(self, mass: NDArray[np.float64], factors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return sum_z factor_z Re(a_z a_z^+), where |A_z|^2 = |a_z . v|^2; `factors` is (n, n_channels, 4)."""
        forms = np.zeros((len(mass), 1 + len(self.couplings), 1 + len(self.couplings)))
        for kind, columns in self._kinds.items():
            a = amplitude_coefficients(mass, kind, self.couplings)
            weights = (factors[:, columns].sum(axis=1) * flux_factor(mass, kind)[:, np.newaxis])[..., np.newaxis]
            for part in (a.real, a.imag):
                forms += (weights * part).transpose(0, 2, 1) @ part
        return forms
