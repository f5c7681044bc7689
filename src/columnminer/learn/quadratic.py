r"""The quadratic ratio estimator: d sigma as the squares of amplitudes, positive whatever the network says.

An amplitude is a polynomial of theta, linear where |M|^2 is quadratic. With the monomials v(u) = (1, u_1, ..., u_n)
(and their products, where d sigma has powers above 2) of u = (theta - theta_1) / scale,

    rho(x, theta) = |R(x) v(u)|^2,

where R is upper triangular with R_00 = 1: the Cholesky factor of the quadratic form of d sigma(x, theta) / d sigma(x,
theta_1), which is 1 at theta_1. The network gives the other elements of R. For one parameter this is
(1 + u a(x))^2 + (u b(x))^2 (arXiv:2007.10356, where theta_1 = 0).
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from columnminer.learn.polynomial import PolynomialRatioEstimator
from columnminer.model.components import monomial_gradients, monomials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from columnminer.learn.scaling import Scaling
    from columnminer.model.crosssection import CrossSectionPolynomial

__all__ = ["QuadraticRatioEstimator", "SquaredAmplitudes"]


class QuadraticRatioEstimator(PolynomialRatioEstimator):
    """Learns the ratio r(x | theta, theta1) of densities, positive and of the exact form in theta.

    sigma(theta) r(x | theta, theta1) is a quadratic polynomial of theta for each x, or of the degree that the morphing
    has; see `quadratic`. For settings, methods and results see `RatioEstimator`; the samples must come from a set-up
    with morphing.

    Examples
    --------
    >>> store = cm.EventStore("events.zarr")
    >>> samples = cm.sample_ratio(store, cm.flat_prior([(-0.05, 0.05)] * 2), "sm", 4000)
    >>> estimator = cm.QuadraticRatioEstimator((10,)).fit(samples, "alices", epochs=1, progress=False)
    >>> estimator.log_ratio(samples.x[:3], [0.0, 0.0], pairing="grid")  # at its reference the ratio is 1
    array([[0., 0., 0.]])
    """

    def _law(self, xsec: CrossSectionPolynomial, scaling: Scaling, training: Mapping[str, Any]) -> SquaredAmplitudes:  # noqa: ARG002
        return SquaredAmplitudes(amplitude_components(xsec.components), scaling)


class SquaredAmplitudes:
    """rho = |R v(u)|^2: the `Law` of a `QuadraticRatioEstimator`.

    Parameters
    ----------
    components
        (n_terms, n_par) powers of the monomials v, the constant first.
    scaling
        Maps theta to u.
    """

    floor = 1e-6

    def __init__(self, components: NDArray[np.int64], scaling: Scaling) -> None:
        self.components, self.scaling = components, scaling
        self.n_terms = len(components)
        self.matrix = np.eye(self.n_terms)
        rows, columns = np.triu_indices(self.n_terms)
        self.n_outputs = len(rows) - 1
        # R, flattened, is outputs @ places + first: every output has its place, and R_00 = 1.
        places = torch.zeros(len(rows), self.n_terms**2, dtype=torch.float32)
        places[np.arange(len(rows)), rows * self.n_terms + columns] = 1.0
        self._first, self._places = places[0], places[1:]

    def terms(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return v(u), (n, n_terms)."""
        return monomials(self._scaled(points), self.components)

    def term_gradients(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return d v / d theta, (n, n_par, n_terms)."""
        return np.asarray(monomial_gradients(self._scaled(points), self.components) / self.scaling.scale[:, np.newaxis])

    def ratio(self, outputs: Tensor, terms: Tensor) -> Tensor:
        """Return |R v|^2 for pairs, (n,)."""
        return (self._factor(outputs) * terms[:, None]).sum(2).square().sum(1)

    def ratio_and_gradient(self, outputs: Tensor, terms: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Return |R v|^2 and 2 (R v)^T R dv for pairs, (n,) and (n, n_par)."""
        factor = self._factor(outputs)
        amplitude = (factor * terms[:, None]).sum(2)
        # The amplitude times R first: then the number of parameters multiplies vectors, not matrices.
        back = (amplitude[:, :, None] * factor).sum(1)
        return amplitude.square().sum(1), 2.0 * (gradients * back[:, None]).sum(2)

    def grid(self, outputs: Tensor, terms: Tensor) -> Tensor:
        """Return |R v|^2 for all pairs, (m, n): a matrix product for each amplitude."""
        factor = self._factor(outputs)
        total = torch.zeros((len(terms), len(outputs)), dtype=terms.dtype, device=terms.device)
        for k in range(self.n_terms):
            amplitude = terms[:, k:] @ factor[:, k, k:].T
            total.addcmul_(amplitude, amplitude)
        return total

    def _factor(self, outputs: Tensor) -> Tensor:
        """Return R, (n, n_terms, n_terms)."""
        flat = torch.addmm(self._first.to(outputs), outputs, self._places.to(outputs))
        return flat.reshape(-1, self.n_terms, self.n_terms)

    def _scaled(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return (points - self.scaling.mean) / self.scaling.scale


def amplitude_components(components: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the powers of an amplitude whose square has these (and lower) components, the constant first.

    Half of the highest power of each parameter, and of all together, rounded up.
    """
    highest = -(-components.max(axis=0) // 2)
    overall = -(-int(components.sum(axis=1).max()) // 2)
    rows = [row for row in product(*(range(h + 1) for h in highest.tolist())) if sum(row) <= overall]
    return np.array(sorted(rows, key=sum), dtype=np.int64).reshape(len(rows), components.shape[1])
