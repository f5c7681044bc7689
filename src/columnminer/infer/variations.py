"""How nuisance parameters change the bins of a histogram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from columnminer.model.response import nuisance_coefficients

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from columnminer.model.parameters import Parameter
    from columnminer.store.weights import NuisanceColumn

__all__ = ["Variations"]


@dataclass(frozen=True)
class Variations:
    r"""Factors :math:`\exp(\sum_i a_{ik}\nu_i + b_{ik}\nu_i^2)` by which nuisance parameters change the bins k.

    a and b follow from the varied *sums* of each bin at the reference benchmark, so that the varied histograms come out
    exactly at nu = +1 and -1; between, and at other theta, the relative change is taken for the same.

    Attributes
    ----------
    parameters : tuple of Parameter
        The nuisance parameters.
    a, b : numpy.ndarray
        (n_nu, n_bins) coefficients.
    """

    parameters: tuple[Parameter, ...]
    a: NDArray[np.float64]
    b: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        parameters: Sequence[Parameter],
        columns: Sequence[NuisanceColumn],
        varied: NDArray[np.float64],
        reference: NDArray[np.float64],
    ) -> Variations:
        """Return the variations from histograms.

        Parameters
        ----------
        parameters, columns
            The nuisance parameters, and which of the varied histograms belong to each.
        varied
            (n_columns, n_bins) varied histograms at the reference benchmark.
        reference
            (n_bins,) the histogram there at nu = 0.
        """
        pairs = [
            nuisance_coefficients(varied[c.up], None if c.down is None else varied[c.down], reference, c.step)
            for c in columns
        ]
        shape = (len(columns), len(reference))
        return cls(
            tuple(parameters), np.reshape([a for a, _ in pairs], shape), np.reshape([b for _, b in pairs], shape)
        )

    def factors(self, nus: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the factors at nus (..., n_nu): [..., n_bins]."""
        return np.asarray(np.exp(nus @ self.a + nus**2 @ self.b))

    def log_gradients(self, nus: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the gradients of the log factors: [..., n_nu, n_bins]."""
        return np.asarray(self.a + 2.0 * self.b * nus[..., None])
