r"""Weights of stored events at any (theta, nu), and sums of them, from blocks that fit into memory.

With morphing weights w_b(theta), benchmark weights W_eb of event e and nuisance coefficients a and b of
`model.response`,

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

from columnminer.errors import InputError, MissingError, UnknownNameError, did_you_mean
from columnminer.model.response import nuisance_coefficients, nuisance_factor, nuisance_log_gradients

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

    @property
    def n_effective(self) -> NDArray[np.float64]:
        """(sum of weights)^2 / (sum of squared weights), (n_theta,): so many unweighted events have this error."""
        return np.divide(self.value, self.error, out=np.zeros_like(self.value), where=self.error > 0.0) ** 2


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
        Column of the weights at nu = step (and theta at the reference benchmark).
    down : int or None
        Column of the weights at nu = -step, None for a one-sided variation.
    step : float
        Value of nu to which these weights belong.
    """

    name: str
    systematic: str
    up: int
    down: int | None = None
    step: float = 1.0


@dataclass(frozen=True)
class Block:
    """Some events of a store, with weights in which mixing fractions and the size of the partition are applied.

    Sums of its weights over all blocks of a partition are total cross sections in pb.

    Attributes
    ----------
    indices : numpy.ndarray
        (n,) position of each event in the store.
    sample : numpy.ndarray
        (n,) which of the store's samples it belongs to.
    benchmark_weights : numpy.ndarray
        (n, n_benchmarks) weights [pb] at the benchmarks, float64; background events repeat their weight.
    background : numpy.ndarray
        (n,) bool, events whose weights do not depend on theta.
    nuisance_weights : numpy.ndarray
        (n, n_columns) weights [pb] of the varied events, as the `NuisanceColumn`s say.
    setup : Setup
        What theta means.
    nuisances : tuple of NuisanceColumn
        The nuisance parameters, in the order of nu.
    """

    indices: NDArray[np.int64]
    sample: NDArray[np.int32]
    benchmark_weights: NDArray[np.float64]
    background: NDArray[np.bool_]
    nuisance_weights: NDArray[np.float64]
    setup: Setup
    nuisances: tuple[NuisanceColumn, ...]
    _read_x: Callable[[], NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.indices)

    @cached_property
    def x(self) -> NDArray[np.float64]:
        """Observables, (n, n_observables); read when first asked for, as many calculations only need weights."""
        return self._read_x()

    @cached_property
    def nuisance_coefficients(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """First- and second-order coefficients a and b of log f, each (n_nu, n)."""
        reference = self.benchmark_weights[:, self.setup.benchmark_names.index(self.setup.reference)]
        varied = self.nuisance_weights.T
        pairs = [
            nuisance_coefficients(varied[c.up], None if c.down is None else varied[c.down], reference, c.step)
            for c in self.nuisances
        ]
        shape = (len(pairs), len(self))
        return np.reshape([a for a, _ in pairs], shape), np.reshape([b for _, b in pairs], shape)

    def nuisance_factors(self, nus: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return f at each nu (n_points, n_nu): (n_points, n), or (n_points, 1) of ones where all nu are 0."""
        if not nus.any():
            return np.ones((len(nus), 1))
        return nuisance_factor(*self.nuisance_coefficients, nus)

    def nuisance_log_gradients(self, nus: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return d log f / d nu at each nu (n_points, n_nu): (n_points, n_nu, n)."""
        return nuisance_log_gradients(*self.nuisance_coefficients, nus)

    def weights(self, theta: Any, nu: Any = None) -> NDArray[np.float64]:
        """Return the weights [pb] at each theta, (n_theta, n).

        Parameters
        ----------
        theta
            Parameter points, as `Setup.thetas` takes them.
        nu
            Nuisance parameters: None (all 0), one point (n_nu,) or dict for all theta, or one for each (n_theta, n_nu).
        """
        combined = self._combine(self.setup.weights(theta), 1.0)
        return combined * self.nuisance_factors(nuisance_points(nu, self.nuisances, len(combined)))

    def weight_gradients(self, theta: Any, nu: Any = None) -> NDArray[np.float64]:
        """Return the gradients of the weights [pb], (n_theta, n_directions, n).

        The directions are those of theta; if `nu` is given (zeros are fine), those of nu follow.
        """
        gradients = np.stack([self._combine(m, 0.0) for m in self.setup.weight_gradients(theta)])
        if nu is None:
            return gradients
        nus = nuisance_points(nu, self.nuisances, len(gradients))
        along_theta = gradients * self.nuisance_factors(nus)[:, np.newaxis]
        along_nu = self.weights(theta, nus)[:, np.newaxis] * self.nuisance_log_gradients(nus)
        return np.concatenate([along_theta, along_nu], axis=1)

    def _combine(self, coefficients: NDArray[np.float64], background: float) -> NDArray[np.float64]:
        """Return weights (k, n) from coefficients (k, n_benchmarks); `background` is that of background events."""
        if not self.benchmark_weights.shape[1]:
            msg = "recorded events have no weights"
            raise MissingError(msg)
        combined = coefficients @ self.benchmark_weights.T
        if self.background.any():
            combined = np.where(self.background, background * self.benchmark_weights[:, 0], combined)
        return combined


def nuisance_points(nu: Any, nuisances: tuple[NuisanceColumn, ...], n_theta: int) -> NDArray[np.float64]:
    """Return nu for each theta, (n_theta, n_nu), from None, one point, a dict by name, or one point for each theta.

    Raises
    ------
    UnknownNameError
        If a dict names a nuisance parameter that is not there.
    InputError
        If the shape does not fit.
    """
    names = [c.name for c in nuisances]
    if nu is None:
        return np.zeros((n_theta, len(names)))
    if isinstance(nu, dict):
        for name in nu:
            if name not in names:
                msg = f"no nuisance parameter is called {name!r}.{did_you_mean(name, names)}"
                raise UnknownNameError(msg)
        nu = [nu.get(name, 0.0) for name in names]
    points = np.asarray(nu, dtype=np.float64)
    if points.shape not in {(len(names),), (n_theta, len(names))} or not np.isfinite(points).all():
        msg = (
            f"nu must be finite, with shape ({len(names)},) or ({n_theta}, {len(names)}) for the nuisance parameters "
            f"{', '.join(names) or '(none)'}, not shape {points.shape}"
        )
        raise InputError(msg)
    return np.broadcast_to(points, (n_theta, len(names)))


@dataclass(frozen=True)
class Moments:
    """Sums over events at one nu, from which cross sections at any theta follow.

    Attributes
    ----------
    first : numpy.ndarray
        (n_benchmarks,) sum of f W over signal events [pb].
    second : numpy.ndarray
        (n_benchmarks, n_benchmarks) sum of f^2 W W^T over signal events [pb^2].
    background, background_squared : float
        Sums of f w [pb] and f^2 w^2 [pb^2] over background events.
    varied : numpy.ndarray
        (n_nu, n_benchmarks) sum of df/dnu W over signal events [pb].
    background_varied : numpy.ndarray
        (n_nu,) sum of df/dnu w over background events [pb].
    """

    first: NDArray[np.float64]
    second: NDArray[np.float64]
    background: float
    background_squared: float
    varied: NDArray[np.float64]
    background_varied: NDArray[np.float64]

    @classmethod
    def of(cls, blocks: Iterable[Block], nu: NDArray[np.float64], n_benchmarks: int) -> Moments:
        """Sum over blocks at one nu, (n_nu,)."""
        first, second = np.zeros(n_benchmarks), np.zeros((n_benchmarks, n_benchmarks))
        background = background_squared = 0.0
        varied, background_varied = np.zeros((len(nu), n_benchmarks)), np.zeros(len(nu))
        for block in blocks:
            weights = block.benchmark_weights * block.nuisance_factors(nu[np.newaxis]).T
            signal, rest = weights[~block.background], weights[block.background, 0]
            first += signal.sum(axis=0)
            second += signal.T @ signal
            background += float(rest.sum())
            background_squared += float(rest @ rest)
            if len(nu):
                (slopes,) = block.nuisance_log_gradients(nu[np.newaxis])
                varied += slopes[:, ~block.background] @ signal
                background_varied += slopes[:, block.background] @ rest
        return cls(first, second, background, background_squared, varied, background_varied)

    def cross_section(self, coefficients: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return values and errors [pb], each (k,), for coefficients (k, n_benchmarks) such as morphing weights."""
        squared = np.einsum("kb,bc,kc->k", coefficients, self.second, coefficients) + self.background_squared
        return coefficients @ self.first + self.background, np.sqrt(np.maximum(squared, 0.0))
