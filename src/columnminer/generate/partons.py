"""Parton densities in closed form, so that the built-in generator needs no grid files.

The set is GRV 94 LO, the leading-order dynamical parton densities of the proton: M. Glueck, E. Reya and A. Vogt, "Dynamical
parton distributions of the proton and small-x physics", Z. Phys. C 67 (1995) 433, the parametrisation in its appendix.
It has three light flavours and a gluon; charm and bottom are not partons there, and strange equals antistrange.
Parametrised for 10^-5 < x < 1 and 0.4 GeV^2 < Q^2 < 10^6 GeV^2; beyond, the same formulas carry on smoothly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

__all__ = ["alpha_s", "gluon_density", "quark_densities"]

_INPUT_SCALE_SQUARED = 0.23  # GeV^2
_LAMBDA_3 = 0.2322  # GeV, three flavours
_LAMBDA_5 = 0.153  # GeV, five flavours
_LARGEST_X = 1 - 1e-12  # log(1/x) is raised to negative powers that (1 - x)^D outweighs only in the limit


class _Point:
    """The functions of x and of the scale that every parton shares: each is computed once."""

    def __init__(self, x: ArrayLike, scale: ArrayLike) -> None:
        x = np.minimum(np.asarray(x, dtype=np.float64), _LARGEST_X)
        evolution = np.log(np.asarray(scale, dtype=np.float64) ** 2 / _LAMBDA_3**2)
        self.x = x
        self.root_x = np.sqrt(x)
        self.log_x = np.log(x)
        self.log_one_minus_x = np.log1p(-x)
        self.log_minus_log_x = np.log(-self.log_x)
        self.s = np.log(evolution / np.log(_INPUT_SCALE_SQUARED / _LAMBDA_3**2))
        self.log_s = np.log(self.s)

    def valence(
        self, n: ArrayLike, a: ArrayLike, b: ArrayLike, A: ArrayLike, B: ArrayLike, C: ArrayLike, D: ArrayLike
    ) -> NDArray[np.float64]:
        """N x^a (1 + A x^b + x (B + C sqrt(x))) (1 - x)^D."""
        shape = 1 + A * np.exp(b * self.log_x) + self.x * (B + C * self.root_x)
        return np.asarray(n * shape * np.exp(a * self.log_x + D * self.log_one_minus_x))

    def sea(
        self,
        powers: tuple[ArrayLike, ArrayLike],
        polynomial: tuple[ArrayLike, ArrayLike, ArrayLike],
        alpha: float,
        beta: float,
        D: ArrayLike,
        E: ArrayLike,
        E_prime: ArrayLike,
    ) -> NDArray[np.float64]:
        """[x^a (A + B x + C x^2) log(1/x)^b + s^alpha exp(-E + sqrt(E' s^beta log(1/x)))] (1 - x)^D."""
        (a, b), (A, B, C) = powers, polynomial
        hard = np.exp(a * self.log_x + b * self.log_minus_log_x) * (A + self.x * (B + self.x * C))
        return np.asarray((hard + self._small_x(alpha, beta, E, E_prime)) * np.exp(D * self.log_one_minus_x))

    def strange(self) -> NDArray[np.float64]:
        """s^alpha log(1/x)^-a (1 + A sqrt(x) + B x) exp(-E + sqrt(E' s^beta log(1/x))) (1 - x)^D."""
        s, root_s = self.s, np.sqrt(self.s)
        shape = 1 + (-5.548 + 3.669 * root_s - 0.616 * s) * self.root_x + (18.92 - 16.73 * root_s + 5.168 * s) * self.x
        powers = -(1.798 - 0.596 * s) * self.log_minus_log_x + (6.379 - 0.350 * s + 0.142 * s**2) * self.log_one_minus_x
        return np.asarray(shape * self._small_x(0.914, 0.577, 3.981 + 1.638 * s, 6.402) * np.exp(powers))

    def _small_x(self, alpha: float, beta: float, E: ArrayLike, E_prime: ArrayLike) -> NDArray[np.float64]:
        """Return the double-logarithmic rise at small x, s^alpha exp(-E + sqrt(E' s^beta log(1/x)))."""
        rise = np.sqrt(-E_prime * np.exp(beta * self.log_s) * self.log_x)
        return np.asarray(np.exp(alpha * self.log_s - E + rise))


def quark_densities(x: ArrayLike, scale: ArrayLike) -> Mapping[int, NDArray[np.float64]]:
    """Return x f(x, scale) of the quarks and antiquarks in the proton, by PDG id (1, 2, 3, -1, -2, -3).

    Parameters
    ----------
    x
        Momentum fractions in (0, 1].
    scale
        Factorisation scale [GeV], above 0.64 GeV; broadcasts with `x`.
    """
    point = _Point(x, scale)
    s, s2 = point.s, point.s**2
    up = point.valence(
        2.284 + 0.802 * s + 0.055 * s2,
        0.590 - 0.024 * s,
        0.131 + 0.063 * s,
        -0.449 - 0.138 * s - 0.076 * s2,
        0.213 + 2.669 * s - 0.728 * s2,
        8.854 - 9.135 * s + 1.979 * s2,
        2.997 + 0.753 * s - 0.076 * s2,
    )
    down = point.valence(
        0.371 + 0.083 * s + 0.039 * s2,
        0.376,
        0.486 + 0.062 * s,
        -0.509 + 3.310 * s - 1.248 * s2,
        12.41 - 10.52 * s + 2.267 * s2,
        6.373 - 6.208 * s + 1.418 * s2,
        3.691 + 0.799 * s - 0.071 * s2,
    )
    difference = point.valence(  # dbar - ubar
        0.082 + 0.014 * s + 0.008 * s2,
        0.409 - 0.005 * s,
        0.799 + 0.071 * s,
        -38.07 + 36.13 * s - 0.656 * s2,
        90.31 - 74.15 * s + 7.645 * s2,
        0.0,
        7.486 + 1.217 * s - 0.159 * s2,
    )
    total = point.sea(  # dbar + ubar
        (0.410 - 0.232 * s, 0.534 - 0.457 * s),
        (0.890 - 0.140 * s, -0.981, 0.320 + 0.683 * s),
        1.451,
        0.271,
        4.752 + 1.164 * s + 0.286 * s2,
        4.119 + 1.713 * s,
        0.682 + 2.978 * s,
    )
    strange = point.strange()
    ubar, dbar = (total - difference) / 2, (total + difference) / 2
    return {1: down + dbar, 2: up + ubar, 3: strange, -1: dbar, -2: ubar, -3: strange}


def gluon_density(x: ArrayLike, scale: ArrayLike) -> NDArray[np.float64]:
    """Return x g(x, scale) of the gluon in the proton; arguments as for `quark_densities`."""
    point = _Point(x, scale)
    s, s2 = point.s, point.s**2
    return point.sea(
        (1.742 - 0.930 * s, -0.399 * s2),
        (7.486 - 2.185 * s, 16.69 - 22.74 * s + 5.779 * s2, -25.59 + 29.71 * s - 7.296 * s2),
        0.524,
        1.088,
        2.792 + 2.215 * s + 0.422 * s2 - 0.104 * s**3,
        0.807 + 2.005 * s,
        3.841 + 0.316 * s,
    )


def alpha_s(scale: ArrayLike) -> NDArray[np.float64]:
    """Return the strong coupling that belongs to the set: one loop, five flavours, Lambda = 153 MeV; scale in GeV."""
    return np.asarray(12 * np.pi / (23 * np.log(np.asarray(scale, dtype=np.float64) ** 2 / _LAMBDA_5**2)))
