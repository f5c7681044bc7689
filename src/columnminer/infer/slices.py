"""How cross sections and Fisher information are distributed over observables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from columnminer.learn.information import Information

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from columnminer.infer.bins import Axis
    from columnminer.infer.moments import Array

__all__ = ["BinnedRates", "InformationSlices"]


@dataclass(frozen=True)
class BinnedRates:
    """Cross sections and their gradients in bins.

    Attributes
    ----------
    axes : tuple of Axis
        Edges; under- and overflow are bins beside them.
    cross_section : numpy.ndarray
        ``(*shape)`` [pb].
    error : numpy.ndarray
        ``(*shape)`` statistical error of it [pb].
    gradient : numpy.ndarray
        ``(n_par, *shape)`` [pb per unit of the parameter].
    covariance : numpy.ndarray
        ``(1 + n_par, 1 + n_par, *shape)`` statistical covariance of cross section and gradient in each bin.
    parameter_names : tuple of str
        Directions of the gradient.
    """

    axes: tuple[Axis, ...]
    cross_section: Array
    error: Array
    gradient: Array
    covariance: Array
    parameter_names: tuple[str, ...]


@dataclass(frozen=True)
class InformationSlices:
    """How the information is distributed over slices of observables.

    Attributes
    ----------
    axes : tuple of Axis
        Edges; under- and overflow are slices beside them.
    cross_section : numpy.ndarray
        (n_slices,) [pb], flat.
    rate : numpy.ndarray
        (n_slices, n_par, n_par) information in the number of events of each slice.
    full : numpy.ndarray
        (n_slices, n_par, n_par) information in all that is known of the events of each slice; sums to the total.
    rate_covariance, full_covariance : numpy.ndarray
        (n_slices, n_par, n_par, n_par, n_par) of the entries in each slice, from the finite number of events.
    parameter_names : tuple of str
        Rows and columns.
    """

    axes: tuple[Axis, ...]
    cross_section: Array
    rate: Array
    full: Array
    rate_covariance: Array
    full_covariance: Array
    parameter_names: tuple[str, ...]

    @property
    def total(self) -> Information:
        """What is known of the events of all slices together."""
        return Information(self.full.sum(axis=0), self.full_covariance.sum(axis=0), self.parameter_names)

    def along(self, directions: Mapping[str, ArrayLike]) -> InformationSlices:
        """Return the information about how far theta goes in some directions; see `Information.along`.

        The directions that are known best and least are the last and the first of ``total.eigenvectors``.
        """

        def turned(values: Array, covariances: Array) -> tuple[Array, Array]:
            slices = [
                Information(value, covariance, self.parameter_names).along(directions)
                for value, covariance in zip(values, covariances, strict=True)
            ]
            return np.array([one.information for one in slices]), np.array([one.covariance for one in slices])

        rate, rate_covariance = turned(self.rate, self.rate_covariance)
        full, full_covariance = turned(self.full, self.full_covariance)
        return replace(
            self,
            rate=rate,
            full=full,
            rate_covariance=rate_covariance,
            full_covariance=full_covariance,
            parameter_names=tuple(directions),
        )
