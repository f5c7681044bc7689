r"""Weights of stored events at any (theta, nu), and sums of them, from blocks that fit into memory.

With morphing weights w_b(theta), benchmark weights W_eb of event e and nuisance coefficients a, b (`model.systematics`),

.. math:: W_e(\theta, \nu) = f_e(\nu) \sum_b w_b(\theta) W_{eb}
   \quad\text{with}\quad f_e(\nu) = \exp \sum_i (a_{ei} \nu_i + b_{ei} \nu_i^2),

and a background event has f_e times its own weight. Cross sections at many theta need one pass over the events: they
are linear, and their squared errors quadratic, in the sums kept by `Moments`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError, UnknownNameError, did_you_mean
from columnminer.model.systematics import nuisance_coefficients

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from columnminer.model.setup import Setup

__all__ = ["Block", "CrossSection", "Moments", "NuisanceColumn"]


@dataclass(frozen=True)
class CrossSection:
    """Cross sections with the statistical errors of the simulation.

    Attributes
    ----------
    value : numpy.ndarray
        (n_theta,) [pb].
    error : numpy.ndarray
        (n_theta,) [pb], square root of the sum of squared event weights at that theta.
    """

    value: NDArray[np.float64]
    error: NDArray[np.float64]


@dataclass(frozen=True)
class NuisanceColumn:
    """Which columns of a store's ``nuisance_weights`` belong to a nuisance parameter.

    Attributes
    ----------
    name : str
        The nuisance parameter.
    systematic : str
        The systematic uncertainty that it belongs to.
    up : int
        Column of the weights at nu = 1 (and theta at the reference benchmark).
    down : int or None
        Column of the weights at nu = -1, None for a one-sided variation.
    """

    name: str
    systematic: str
    up: int
    down: int | None = None
