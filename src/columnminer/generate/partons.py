"""Parton densities in closed form, so that the built-in generator needs no grid files.

The set is GRV 94 LO, the leading-order dynamical densities of the proton: M. Glueck, E. Reya and A. Vogt, "Dynamical
parton distributions of the proton and small-x physics", Z. Phys. C 67 (1995) 433, the parametrisation in its appendix.
It has three light flavours and a gluon; charm and bottom are not partons there, and strange equals antistrange.
Parametrised for 1e-5 < x < 1 and 0.4 GeV^2 < Q^2 < 1e6 GeV^2; beyond, the same formulas carry on smoothly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

__all__ = ["alpha_s", "gluon_density", "quark_densities"]

_INPUT_SCALE_SQUARED = 0.23  # GeV^2
_LAMBDA_3 = 0.2322  # GeV, three flavours
_LAMBDA_5 = 0.153  # GeV, five flavours
_LARGEST_X = 1 - 1e-12  # log(1/x) is raised to negative powers that (1 - x)^D outweighs only in the limit

# Letters as in the appendix of the paper; each is a polynomial in the evolution variable s, constant term first.
_UP_VALENCE = {
    "N": (2.284, 0.802, 0.055),
    "a": (0.590, -0.024),
    "b": (0.131, 0.063),
    "A": (-0.449, -0.138, -0.076),
    "B": (0.213, 2.669, -0.728),
    "C": (8.854, -9.135, 1.979),
    "D": (2.997, 0.753, -0.076),
}
_DOWN_VALENCE = {
    "N": (0.371, 0.083, 0.039),
    "a": (0.376,),
    "b": (0.486, 0.062),
    "A": (-0.509, 3.310, -1.248),
    "B": (12.41, -10.52, 2.267),
    "C": (6.373, -6.208, 1.418),
    "D": (3.691, 0.799, -0.071),
}
_SEA_DIFFERENCE = {  # dbar - ubar
    "N": (0.082, 0.014, 0.008),
    "a": (0.409, -0.005),
    "b": (0.799, 0.071),
    "A": (-38.07, 36.13, -0.656),
    "B": (90.31, -74.15, 7.645),
    "C": (0.0,),
    "D": (7.486, 1.217, -0.159),
}
_SEA_SUM = {  # dbar + ubar
    "alpha": (1.451,),
    "beta": (0.271,),
    "a": (0.410, -0.232),
    "b": (0.534, -0.457),
    "A": (0.890, -0.140),
    "B": (-0.981,),
    "C": (0.320, 0.683),
    "D": (4.752, 1.164, 0.286),
    "E": (4.119, 1.713),
    "E'": (0.682, 2.978),
}
_GLUON = {
    "alpha": (0.524,),
    "beta": (1.088,),
    "a": (1.742, -0.930),
    "b": (0.0, 0.0, -0.399),
    "A": (7.486, -2.185),
    "B": (16.69, -22.74, 5.779),
    "C": (-25.59, 29.71, -7.296),
    "D": (2.792, 2.215, 0.422, -0.104),
    "E": (0.807, 2.005),
    "E'": (3.841, 0.316),
}
_STRANGE = {
    "alpha": (0.914,),
    "beta": (0.577,),
    "a": (1.798, -0.596),
    "D": (6.379, -0.350, 0.142),
    "E": (3.981, 1.638),
    "E'": (6.402,),
}
_STRANGE_IN_ROOT_S = {"A": (-5.548, 3.669, -0.616), "B": (18.92, -16.73, 5.168)}  # polynomials in sqrt(s)

_Table: TypeAlias = "Mapping[str, tuple[float, ...]]"


def _values(table: _Table, s: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    return {letter: np.asarray(np.polynomial.polynomial.polyval(s, c), np.float64) for letter, c in table.items()}


class _Point:
    """The functions of x and of the scale that every parton shares: each is computed once."""

    def __init__(self, x: ArrayLike, scale: ArrayLike) -> None:
        self.x = np.minimum(np.asarray(x, dtype=np.float64), _LARGEST_X)
        self.root_x = np.sqrt(self.x)
        self.log_x = np.log(self.x)
        self.log_one_minus_x = np.log1p(-self.x)
        self.log_minus_log_x = np.log(-self.log_x)
        running = np.log(np.asarray(scale, dtype=np.float64) ** 2 / _LAMBDA_3**2)
        self.s = np.log(running / np.log(_INPUT_SCALE_SQUARED / _LAMBDA_3**2))

    def valence(self, table: _Table) -> NDArray[np.float64]:
        """N x^a (1 + A x^b + B x + C x^(3/2)) (1 - x)^D."""
        v = _values(table, self.s)
        shape = 1 + v["A"] * np.exp(v["b"] * self.log_x) + self.x * (v["B"] + v["C"] * self.root_x)
        return np.asarray(v["N"] * shape * np.exp(v["a"] * self.log_x + v["D"] * self.log_one_minus_x))

    def sea(self, table: _Table) -> NDArray[np.float64]:
        """[x^a (A + B x + C x^2) log(1/x)^b + s^alpha exp(-E + sqrt(E' s^beta log(1/x)))] (1 - x)^D."""
        v = _values(table, self.s)
        polynomial = v["A"] + self.x * (v["B"] + self.x * v["C"])
        hard = np.exp(v["a"] * self.log_x + v["b"] * self.log_minus_log_x) * polynomial
        return np.asarray((hard + self._small_x(v)) * np.exp(v["D"] * self.log_one_minus_x))

    def strange(self) -> NDArray[np.float64]:
        """s^alpha log(1/x)^-a (1 + A sqrt(x) + B x) (1 - x)^D exp(-E + sqrt(E' s^beta log(1/x)))."""
        v = _values(_STRANGE, self.s) | _values(_STRANGE_IN_ROOT_S, np.sqrt(self.s))
        powers = np.exp(v["D"] * self.log_one_minus_x - v["a"] * self.log_minus_log_x)
        return np.asarray((1 + v["A"] * self.root_x + v["B"] * self.x) * powers * self._small_x(v))

    def _small_x(self, v: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """s^alpha exp(-E + sqrt(E' s^beta log(1/x))): the double-logarithmic rise at small x."""
        rise = np.sqrt(-v["E'"] * self.s ** v["beta"] * self.log_x)
        return np.asarray(self.s ** v["alpha"] * np.exp(rise - v["E"]))


def quark_densities(x: ArrayLike, scale: ArrayLike) -> Mapping[int, NDArray[np.float64]]:
    """Return x f(x, scale) of the quarks and antiquarks in the proton, by PDG id (1, 2, 3, -1, -2, -3).

    Parameters
    ----------
    x
        Momentum fractions in (0, 1].
    scale
        Factorisation scale [GeV], above 0.48 GeV, where the densities begin; broadcasts with `x`.
    """
    point = _Point(x, scale)
    difference, total, strange = point.valence(_SEA_DIFFERENCE), point.sea(_SEA_SUM), point.strange()
    ubar, dbar = (total - difference) / 2, (total + difference) / 2
    up, down = point.valence(_UP_VALENCE) + ubar, point.valence(_DOWN_VALENCE) + dbar
    return {1: down, 2: up, 3: strange, -1: dbar, -2: ubar, -3: strange}


def gluon_density(x: ArrayLike, scale: ArrayLike) -> NDArray[np.float64]:
    """Return x g(x, scale) of the gluon in the proton; arguments as for `quark_densities`."""
    return _Point(x, scale).sea(_GLUON)


def alpha_s(scale: ArrayLike) -> NDArray[np.float64]:
    """Return the strong coupling that belongs to the set: one loop, five flavours, Lambda = 153 MeV; scale in GeV."""
    return np.asarray(12 * np.pi / (23 * np.log(np.asarray(scale, dtype=np.float64) ** 2 / _LAMBDA_5**2)))
