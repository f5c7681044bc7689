"""Unweighted parton-level events of a hard process, each a function of the seed and of its own number.

(m, y) comes by acceptance and rejection against an envelope that is constant in cells of (log m, y / y_max); given
these the channel and the helicities are a discrete draw, and given the helicities the cosine is drawn by inverting its
distribution, (1 +- c)^2. The azimuth is flat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from columnminer import streams
from columnminer.generate.amplitudes import HELICITIES, RELATIVE_HELICITY
from columnminer.generate.beams import ProtonBeams, mass_panels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.generate.hard import HardProcess

__all__ = ["EventSampler", "PartonEvents"]

_MASS_CELLS, _RAPIDITY_CELLS = 96, 48
_HEADROOM = 1.05  # of the envelope over the largest of nine points of a cell


@dataclass(frozen=True)
class PartonEvents:
    """Events with their latent configurations, all (n,).

    Attributes
    ----------
    mass, rapidity : numpy.ndarray
        Of the lepton pair [GeV, -].
    cosine : numpy.ndarray
        Of l- with beam 1 in the rest frame of the pair.
    azimuth : numpy.ndarray
        Of l- [rad].
    channel, helicity : numpy.ndarray
        Index in `Beams.channels` and in `amplitudes.HELICITIES`.
    first_event : int
        Number of the first event.
    """

    mass: NDArray[np.float64]
    rapidity: NDArray[np.float64]
    cosine: NDArray[np.float64]
    azimuth: NDArray[np.float64]
    channel: NDArray[np.int64]
    helicity: NDArray[np.int64]
    first_event: int = 0


class EventSampler:
    """Draws events at one parameter point.

    Parameters
    ----------
    process
        What to draw from.
    theta
        (n_par,) parameter point.
    seed
        Of all random numbers.
    """

    def __init__(self, process: HardProcess, theta: NDArray[np.float64], seed: streams.Seed) -> None:
        self.process = process
        self.theta = theta
        # Samples at different points must be independent even where they are given the same seed.
        path = ("drell-yan", *(float(value).hex() for value in theta))
        entropy = streams.seed_sequence(seed)
        self._pair_key = streams.key(entropy, *path, "pair")
        self._latent_key = streams.key(entropy, *path, "latent")
        beams = process.beams
        self._envelope = _Envelope(process, beams, theta) if isinstance(beams, ProtonBeams) else None

    def draw(self, first_event: int, n: int) -> PartonEvents:
        """Return the events with numbers from `first_event` on."""
        events = np.arange(first_event, first_event + n)
        if self._envelope is None:
            mass, rapidity = np.full(n, self.process.beams.sqrt_s), np.zeros(n)
        else:
            mass, rapidity = self._envelope.draw(self._pair_key, events)
        u_latent, u_cosine, u_azimuth = streams.uniform(self._latent_key, events, np.arange(3)[:, np.newaxis])
        xsec = self.process.latent_xsec(mass, rapidity, self.theta).reshape(n, -1)
        cumulative = np.cumsum(xsec, axis=1)
        latent = (cumulative < (u_latent * cumulative[:, -1])[:, np.newaxis]).sum(axis=1)
        channel, helicity = np.divmod(latent, len(HELICITIES))
        # The distribution function of (1 + c)^2 on (-1, 1) is ((1 + c) / 2)^3.
        sign = self.process.directions[channel] * RELATIVE_HELICITY[helicity]
        cosine = sign * (2 * np.cbrt(u_cosine) - 1)
        return PartonEvents(mass, rapidity, cosine, 2 * np.pi * u_azimuth, channel, helicity, first_event)


class _Envelope:
    """A bound on d sigma / dm dy that is constant in cells of (log m, y / y_max)."""

    def __init__(self, process: HardProcess, beams: ProtonBeams, theta: NDArray[np.float64]) -> None:
        self.process, self.beams, self.theta = process, beams, theta
        low, high = beams.mass_range
        self.log_mass = np.log(
            np.union1d(np.geomspace(low, high, _MASS_CELLS + 1), _subdivided(mass_panels(low, high)))
        )
        self.v = np.linspace(-1.0, 1.0, _RAPIDITY_CELLS + 1)
        log_mass, v = _with_midpoints(self.log_mass), _with_midpoints(self.v)
        density = self._density(np.repeat(log_mass, len(v)), np.tile(v, len(log_mass))).reshape(len(log_mass), len(v))
        rows = np.maximum(np.maximum(density[:-2:2], density[1:-1:2]), density[2::2])
        self.bound = _HEADROOM * np.maximum(np.maximum(rows[:, :-2:2], rows[:, 1:-1:2]), rows[:, 2::2]).ravel()
        areas = np.outer(np.diff(self.log_mass), np.diff(self.v)).ravel()
        self.cumulative = np.cumsum(self.bound * areas)

    def draw(self, key: int, events: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return m and y of each event."""
        log_mass, v = np.empty(len(events)), np.empty(len(events))
        waiting, attempt = np.arange(len(events)), 0
        while len(waiting):
            u = streams.uniform(key, events[waiting], attempt, np.arange(4)[:, np.newaxis])
            cell = np.searchsorted(self.cumulative, u[0] * self.cumulative[-1])
            row, column = np.divmod(cell, _RAPIDITY_CELLS)
            proposed = [
                edges[index] + u_inside * (edges[index + 1] - edges[index])
                for edges, index, u_inside in ((self.log_mass, row, u[1]), (self.v, column, u[2]))
            ]
            ratio = self._density(*proposed) / self.bound[cell]
            assert np.all(ratio <= 1), "the envelope lies below the density"  # noqa: S101 - would be our own mistake
            accepted = u[3] < ratio
            log_mass[waiting[accepted]], v[waiting[accepted]] = (values[accepted] for values in proposed)
            waiting, attempt = waiting[~accepted], attempt + 1
        mass = np.exp(log_mass)
        return mass, v * self.beams.rapidity_limit(mass)

    def _density(self, log_mass: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return d sigma / d(log m) dv, v = y / y_max."""
        mass = np.exp(log_mass)
        limit = self.beams.rapidity_limit(mass)
        return np.asarray(mass * limit * self.process.latent_xsec(mass, v * limit, self.theta).sum(axis=(1, 2)))


def _with_midpoints(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    points = np.empty(2 * len(edges) - 1)
    points[::2], points[1::2] = edges, (edges[1:] + edges[:-1]) / 2
    return points


def _subdivided(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the edges with seven more in each panel: near the Z panels are narrow, and so will be the cells."""
    steps = np.linspace(0, 1, 8, endpoint=False)
    return np.append((edges[:-1, np.newaxis] + np.diff(edges)[:, np.newaxis] * steps).ravel(), edges[-1])
