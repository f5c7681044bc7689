"""What is known in bins of observables: cross sections with their gradients, and how information is distributed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
