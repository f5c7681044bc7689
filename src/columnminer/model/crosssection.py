"""The total cross section as a function of theta: a polynomial with the components of the morphing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from columnminer.errors import InputError
from columnminer.model.components import monomial_gradients, monomials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from columnminer.model.morphing import Morphing

__all__ = ["CrossSectionPolynomial"]


@dataclass(frozen=True, eq=False)
class CrossSectionPolynomial:
    """sigma(theta) = sum_c theta**p_c k_c.

    Attributes
    ----------
    components : numpy.ndarray
        (n_components, n_par) powers p.
    coefficients : numpy.ndarray
        (n_components,) k [pb per unit of the monomial].
    basis : numpy.ndarray
        (n_basis, n_par) points of the benchmarks that it was morphed from.
    """

    components: NDArray[np.int64]
    coefficients: NDArray[np.float64]
    basis: NDArray[np.float64]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CrossSectionPolynomial) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.components.tobytes(), self.coefficients.tobytes(), self.basis.tobytes()))

    @classmethod
    def of(cls, morphing: Morphing, benchmarks: NDArray[np.float64], background: float = 0.0) -> Self:
        """Return the cross section from that at the benchmarks, (n_benchmarks,), and of a background [pb].

        A background adds to the constant component, and is one itself if the morphing has none.
        """
        columns = [morphing.benchmark_names.index(name) for name in morphing.basis]
        components, coefficients = morphing.components, morphing.matrix @ benchmarks[columns]
        if background:
            constant = ~components.any(axis=1)
            if not constant.any():
                components = np.concatenate([components, np.zeros((1, components.shape[1]), dtype=np.int64)])
                coefficients, constant = np.append(coefficients, 0.0), np.append(constant, True)
            coefficients = coefficients + background * constant
        return cls(components, coefficients, morphing.basis_points)

    def values(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return sigma [pb] at (n, n_par) points, (n,).

        Raises
        ------
        InputError
            If it is not positive somewhere: too far from the benchmarks.
        """
        values = monomials(points, self.components) @ self.coefficients
        if not (values > 0.0).all():
            where = int((~(values > 0.0)).argmax())
            msg = f"the morphed cross section is {values[where]:.3g} pb at theta = {points[where]}: stay closer to the "
            msg += "benchmarks"
            raise InputError(msg)
        return np.asarray(values)

    def log_gradients(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return d log sigma / d theta_i at (n, n_par) points, (n, n_par)."""
        gradients = monomial_gradients(points, self.components) @ self.coefficients
        return np.asarray(gradients / self.values(points)[:, np.newaxis])

    def to_dict(self) -> dict[str, Any]:
        """Return the polynomial as JSON types."""
        return {
            "components": self.components.tolist(),
            "coefficients": self.coefficients.tolist(),
            "basis": self.basis.tolist(),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Return the polynomial that `to_dict` described."""
        return cls(
            np.array(document["components"], dtype=np.int64),
            np.array(document["coefficients"], dtype=np.float64),
            np.array(document["basis"], dtype=np.float64),
        )
