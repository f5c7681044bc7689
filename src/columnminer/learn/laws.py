"""The law by which a likelihood ratio depends on theta, where it is known and only its coefficients are learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from columnminer.learn.scaling import Scaling

__all__ = ["Law"]


class Law(Protocol):
    """How a network's outputs and functions of theta, its *terms*, make up rho(x, theta).

    Attributes
    ----------
    n_outputs : int
        What the network has to give for each event.
    floor : float
        Below it, rho is taken for rounding or unphysical.
    components, scaling, matrix
        Terms are the monomials (n_components, n_par) of scaled theta, times the matrix (n_components, n_terms).
    """

    n_outputs: int
    floor: float
    components: NDArray[np.int64]
    scaling: Scaling
    matrix: NDArray[np.float64]

    def terms(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the terms at (n, n_par) points, (n, n_terms)."""

    def term_gradients(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return their derivatives by theta, (n, n_par, n_terms)."""

    def ratio(self, outputs: Tensor, terms: Tensor) -> Tensor:
        """Return rho for pairs of outputs (n, n_outputs) and terms (n, n_terms), (n,)."""

    def ratio_and_gradient(self, outputs: Tensor, terms: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Return rho and its derivatives by theta, (n,) and (n, n_par), for pairs."""

    def grid(self, outputs: Tensor, terms: Tensor) -> Tensor:
        """Return rho for outputs (n, n_outputs) and terms (m, n_terms), (m, n)."""
