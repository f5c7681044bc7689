"""Tree-level helicity amplitudes of f fbar -> l- l+ through photon, Z and contact interactions.

All fermions are massless, so helicity is conserved along each line and four amplitudes remain, one for each helicity of
the incoming fermion f and of the outgoing l-. With ``eta = +1`` for equal and ``-1`` for opposite helicities, and c the
cosine between f and l- in their common rest frame (E. Eichten, K. Lane and M. Peskin, Phys. Rev. Lett. 50 (1983) 811),
averaged over spins and colours::

    d sigma_hat / dc = 1 / (128 pi N_c s) * sum_h (1 + eta_h c)^2 |A_h|^2
    A_h = e^2 Q_f Q_l + g_h^f g_h^l s / (s - M_Z^2 + i M_Z Gamma_Z) + s sum_k C_k u_kh
    g_L = (T_3 - Q sin^2 theta_W) e / (sin theta_W cos theta_W)
    g_R = -Q sin^2 theta_W e / (sin theta_W cos theta_W)

A contact coupling C_k belongs to ``L = C_k (fbar gamma_mu f)_h (lbar gamma^mu l)_h'``, the same for all flavours f;
u_kh is 1 for its pair of helicities, else 0. Each A_h is linear in (1, C_1, ..., C_p): cross sections are quadratic.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from columnminer.errors import InputError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ALPHA",
    "CONTACT_COUPLINGS",
    "GAMMA_Z",
    "HELICITIES",
    "M_W",
    "M_Z",
    "PICOBARN",
    "RELATIVE_HELICITY",
    "SIN2_THETA_W",
    "amplitude_coefficients",
    "amplitude_squares",
    "couplings_checked",
    "flux_factor",
]

ALPHA = 1 / 132.507
"""Electromagnetic coupling at the Z scale."""
G_F = 1.16639e-5
"""Fermi constant [GeV^-2]."""
M_Z = 91.188
"""Mass of the Z [GeV]."""
GAMMA_Z = 2.441404
"""Width of the Z [GeV]."""
M_W = M_Z * math.sqrt(0.5 + math.sqrt(0.25 - math.pi * ALPHA / (math.sqrt(2) * G_F * M_Z**2)))
"""Mass of the W [GeV] at tree level, from the four inputs above."""
SIN2_THETA_W = 1 - (M_W / M_Z) ** 2
"""Weak mixing angle, on shell."""
PICOBARN = 0.389379372e9
"""(hbar c)^2: GeV^-2 in pb."""

HELICITIES = ((-1, -1), (-1, 1), (1, -1), (1, 1))
"""Signs of the helicities of the incoming fermion and of the outgoing l-; the order of all arrays over helicities."""
RELATIVE_HELICITY = np.array([f * lepton for f, lepton in HELICITIES], dtype=np.float64)
"""(4,) eta: the sign in the angular distribution (1 + eta c)^2."""
CONTACT_COUPLINGS = ("c_ll", "c_lr", "c_rl", "c_rr")
"""Contact couplings [TeV^-2] by chirality of the incoming fermion, then of the lepton; in the order of `HELICITIES`."""

_CHARGE_AND_ISOSPIN = {"up": (2 / 3, 0.5), "down": (-1 / 3, -0.5), "electron": (-1.0, -0.5)}
_GEV2_IN_TEV2 = 1e-6


def _z_coupling(fermion: str, helicity: int) -> float:
    charge, isospin = _CHARGE_AND_ISOSPIN[fermion]
    weak_charge = (isospin if helicity < 0 else 0.0) - charge * SIN2_THETA_W
    return weak_charge * math.sqrt(4 * math.pi * ALPHA / (SIN2_THETA_W * (1 - SIN2_THETA_W)))


def couplings_checked(couplings: Sequence[str]) -> tuple[str, ...]:
    """Return the names as a tuple, or say which is not a contact coupling or stands twice.

    Raises
    ------
    UnknownNameError
        If a name is not in `CONTACT_COUPLINGS`.
    InputError
        If there is none, or one stands twice.
    """
    for name in couplings:
        if name not in CONTACT_COUPLINGS:
            msg = f"{name!r} is not a contact coupling.{did_you_mean(name, CONTACT_COUPLINGS)}"
            raise UnknownNameError(msg)
    if not couplings or len(set(couplings)) != len(couplings):
        msg = f"couplings must be different names out of {', '.join(CONTACT_COUPLINGS)}, not {list(couplings)}"
        raise InputError(msg)
    return tuple(couplings)


def amplitude_coefficients(mass: ArrayLike, fermion: str, couplings: Sequence[str]) -> NDArray[np.complex128]:
    """Return the coefficients a of ``A_h = a_h . (1, C_1, ..., C_p)``, (n, 4, 1 + p), dimensionless for C in TeV^-2.

    Parameters
    ----------
    mass
        (n,) invariant masses sqrt(s) of the pair [GeV].
    fermion
        Incoming fermion: "up" or "down" (any generation) or "electron".
    couplings
        Names of the p contact couplings.
    """
    s = np.asarray(mass, dtype=np.float64) ** 2
    photon = 4 * math.pi * ALPHA * _CHARGE_AND_ISOSPIN[fermion][0] * _CHARGE_AND_ISOSPIN["electron"][0]
    propagator = s / (s - M_Z**2 + 1j * M_Z * GAMMA_Z)
    coefficients = np.zeros((len(s), len(HELICITIES), 1 + len(couplings)), dtype=np.complex128)
    for h, (helicity, lepton_helicity) in enumerate(HELICITIES):
        z = _z_coupling(fermion, helicity) * _z_coupling("electron", lepton_helicity)
        coefficients[:, h, 0] = photon + z * propagator
    for k, name in enumerate(couplings):
        coefficients[:, CONTACT_COUPLINGS.index(name), 1 + k] = s * _GEV2_IN_TEV2
    return coefficients


def amplitude_squares(coefficients: NDArray[np.complex128], theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``|A|^2`` at theta, (...,) from coefficients (..., 1 + p).

    A loop over the few couplings, not a matrix product: so the last bit of an event's weight does not depend on which
    events it is computed with.
    """
    amplitudes = coefficients[..., 0].copy()
    for k, value in enumerate(theta):
        amplitudes += value * coefficients[..., 1 + k]
    return np.asarray(amplitudes.real**2 + amplitudes.imag**2)


def flux_factor(mass: ArrayLike, fermion: str) -> NDArray[np.float64]:
    """Return 1 / (128 pi N_c s) in pb, N_c = 3 for quarks; shape of `mass`."""
    colours = 1 if fermion == "electron" else 3
    return PICOBARN / (128 * math.pi * colours * np.asarray(mass, dtype=np.float64) ** 2)
