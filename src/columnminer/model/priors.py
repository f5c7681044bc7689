"""From which distribution parameter points are proposed: flat, Gaussian, given points, or a product of these.

A prior covers all columns of theta (or of nu); `product_prior` sets priors of single columns side by side. None of them
enters an inference result: they say where training points lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from columnminer.errors import InputError
from columnminer.model.checks import floats
from columnminer.model.parameters import ParameterSpace

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "FixedPoints",
    "FlatPrior",
    "GaussianPrior",
    "Prior",
    "ProductPrior",
    "fixed_points",
    "flat_prior",
    "gaussian_prior",
    "product_prior",
]


@runtime_checkable
class Prior(Protocol):
    """A distribution over parameter points."""

    @property
    def n_par(self) -> int:
        """Number of columns."""
        ...

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return n points, (n, n_par)."""
        ...

    def log_density(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Return the logarithm of the density, (..., n_par) -> (...)."""
        ...


@dataclass(frozen=True, eq=False)
class FlatPrior:
    """Uniform between (n_par, 2) bounds."""

    bounds: NDArray[np.float64]

    @property
    def n_par(self) -> int:
        """Number of columns."""
        return len(self.bounds)

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return n points, (n, n_par)."""
        return rng.uniform(self.bounds[:, 0], self.bounds[:, 1], (n, self.n_par))

    def log_density(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Return the logarithm of the density, (..., n_par) -> (...); -inf outside the bounds."""
        theta = _columns(theta, self.n_par)
        inside = ((theta >= self.bounds[:, 0]) & (theta <= self.bounds[:, 1])).all(axis=-1)
        return np.where(inside, -np.log(self.bounds[:, 1] - self.bounds[:, 0]).sum(), -np.inf)


@dataclass(frozen=True, eq=False)
class GaussianPrior:
    """Independent Gaussians with (n_par,) means and standard deviations."""

    mean: NDArray[np.float64]
    sigma: NDArray[np.float64]

    @property
    def n_par(self) -> int:
        """Number of columns."""
        return len(self.mean)

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return n points, (n, n_par)."""
        return rng.normal(self.mean, self.sigma, (n, self.n_par))

    def log_density(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Return the logarithm of the density, (..., n_par) -> (...)."""
        pulls = (_columns(theta, self.n_par) - self.mean) / self.sigma
        return np.asarray(-0.5 * (pulls**2).sum(axis=-1) - np.log(np.sqrt(2.0 * np.pi) * self.sigma).sum())


@dataclass(frozen=True, eq=False)
class FixedPoints:
    """The (n_points, n_par) given points, all equally often: taken in turn, so that no randomness is spent on them."""

    points: NDArray[np.float64]

    @property
    def n_par(self) -> int:
        """Number of columns."""
        return int(self.points.shape[1])

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:  # noqa: ARG002 - the same for all priors
        """Return n points, (n, n_par): the given ones over and over."""
        return self.points[np.arange(n) % len(self.points)]

    def log_density(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Return the logarithm of the probability of each point, (..., n_par) -> (...); -inf elsewhere."""
        same = (_columns(theta, self.n_par)[..., np.newaxis, :] == self.points).all(axis=-1)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(same.mean(axis=-1)))


@dataclass(frozen=True)
class ProductPrior:
    """Independent priors of consecutive columns."""

    priors: tuple[Prior, ...]

    @property
    def n_par(self) -> int:
        """Number of columns."""
        return sum(prior.n_par for prior in self.priors)

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return n points, (n, n_par)."""
        return np.concatenate([prior.sample(n, rng) for prior in self.priors], axis=1)

    def log_density(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Return the logarithm of the density, (..., n_par) -> (...)."""
        theta = _columns(theta, self.n_par)
        ends = np.cumsum([prior.n_par for prior in self.priors])[:-1].tolist()
        parts = np.split(theta, ends, axis=-1)
        densities = [prior.log_density(part) for prior, part in zip(self.priors, parts, strict=True)]
        return np.asarray(np.sum(densities, axis=0))


def flat_prior(bounds: ArrayLike | ParameterSpace) -> FlatPrior:
    """Return a uniform prior.

    Parameters
    ----------
    bounds
        (n_par, 2), or (low, high) of a single parameter, or a `ParameterSpace` whose bounds are meant.

    Raises
    ------
    InputError
        If a bound is not finite (a parameter without bounds), or low is not below high.

    Examples
    --------
    >>> cm.flat_prior([(-0.05, 0.05), (0.0, 1.0)]).sample(3, np.random.default_rng(1)).shape
    (3, 2)
    """
    rows = floats(bounds.bounds if isinstance(bounds, ParameterSpace) else bounds, "flat prior: bounds")
    rows = rows[np.newaxis] if rows.shape == (2,) else rows
    if rows.ndim != 2 or rows.shape[1] != 2:
        msg = f"flat prior: bounds of shape {rows.shape} are no (n_par, 2) array of low and high"
        raise InputError(msg)
    for i, (low, high) in enumerate(rows):
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            name = repr(bounds.names[i]) if isinstance(bounds, ParameterSpace) else str(i)
            msg = f"flat prior: bounds of parameter {name} must be finite and in order, not ({low:g}, {high:g})"
            raise InputError(msg)
    return FlatPrior(rows)


def gaussian_prior(mean: ArrayLike, sigma: ArrayLike) -> GaussianPrior:
    """Return a Gaussian prior without correlations.

    Parameters
    ----------
    mean, sigma
        (n_par,) each; one number in place of either stands for all parameters.

    Raises
    ------
    InputError
        If a standard deviation is not positive, or the shapes differ.

    Examples
    --------
    >>> prior = cm.gaussian_prior([0.0, 0.0], [0.02, 0.02])
    >>> prior.log_density([[0.0, 0.0]]) > prior.log_density([[0.04, 0.0]])
    array([ True])
    """
    means, sigmas = floats(mean, "gaussian prior: mean"), floats(sigma, "gaussian prior: sigma")
    try:
        means, sigmas = np.broadcast_arrays(np.atleast_1d(means), np.atleast_1d(sigmas))
    except ValueError:
        msg = f"gaussian prior: {means.shape} means do not fit {sigmas.shape} standard deviations"
        raise InputError(msg) from None
    if means.ndim != 1 or not (np.isfinite(means) & np.isfinite(sigmas) & (sigmas > 0)).all():
        msg = f"gaussian prior: needs a mean and a positive sigma for each parameter, not {mean!r} and {sigma!r}"
        raise InputError(msg)
    return GaussianPrior(means.copy(), sigmas.copy())


def fixed_points(points: ArrayLike) -> FixedPoints:
    """Return a prior that is a list of points, (n_points, n_par), or one point, (n_par,).

    Raises
    ------
    InputError
        If there are none.

    Examples
    --------
    >>> cm.fixed_points([[0.0, 0.0], [0.02, 0.0]]).sample(3, np.random.default_rng(1)).shape
    (3, 2)
    """
    rows = np.atleast_2d(floats(points, "fixed points"))
    if rows.ndim != 2 or rows.size == 0 or not np.isfinite(rows).all():
        msg = f"fixed points must be finite numbers (n_points, n_par) with at least one point, not {points!r}"
        raise InputError(msg)
    return FixedPoints(rows)


def product_prior(*priors: Prior) -> ProductPrior:
    """Return the product of priors of consecutive parameters, for instance flat in one and Gaussian in another.

    Raises
    ------
    InputError
        If one is no prior, or there are none.

    Examples
    --------
    >>> prior = cm.product_prior(cm.flat_prior([(-1, 1)]), cm.gaussian_prior([0.0], [2.0]))
    >>> prior.sample(3, np.random.default_rng(1)).shape
    (3, 2)
    """
    if not priors or not all(isinstance(prior, Prior) for prior in priors):
        msg = f"product prior: these are not all priors, or there are none: {priors!r}"
        raise InputError(msg)
    return ProductPrior(priors)


def _columns(theta: ArrayLike, n_par: int) -> NDArray[np.float64]:
    values = np.asarray(theta, dtype=np.float64)
    if values.ndim == 0 or values.shape[-1] != n_par:
        msg = f"theta of shape {values.shape} does not fit a prior of {n_par} parameters"
        raise InputError(msg)
    return values
