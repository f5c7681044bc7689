r"""The limited number of simulated events behind a histogram, as one nuisance parameter per bin that is profiled away.

Barlow and Beeston's parameter for each bin and sample (Comput. Phys. Commun. 77 (1993) 219), one for each bin as J. S.
Conway takes it (arXiv:1103.0354): the expectation of bin k is :math:`\nu_k`, of which the simulation is a measurement
:math:`\mu_k` with the variance :math:`V_k`, the sum of squared weights,

.. math:: \log L_k = \log\mathrm{Pois}(n_k | \nu_k) - \frac{(\nu_k - \mu_k)^2}{2 V_k} ,

which is his with :math:`\nu_k = \beta_k \mu_k`. The largest value is where :math:`\nu^2 + (V - \mu)\nu - n V = 0`, so

.. math:: \hat\nu = \tfrac12 \left[ \mu - V + \sqrt{(\mu - V)^2 + 4 n V} \right] .

There :math:`\partial \log L_k / \partial\mu = n/\hat\nu - 1`, and :math:`\partial \log L_k / \partial V` is half its
square.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from columnminer.infer.terms import poisson_log

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["best_expectations", "best_scale", "log_profiled", "slopes"]

_STEPS = 60


def best_expectations(
    n: NDArray[np.float64], mu: NDArray[np.float64], variance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the expectations at which the likelihood of each bin is largest, broadcast over the arguments."""
    down = variance - mu
    root = np.sqrt(down**2 + 4.0 * n * variance)
    # Of the two forms of the solution the one that does not subtract numbers that are nearly the same.
    safe = np.where(down > 0.0, down + root, 1.0)
    return np.asarray(np.where(down > 0.0, 2.0 * n * variance / safe, 0.5 * (root - down)))


def log_profiled(n: NDArray[np.float64], mu: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log likelihood of each bin at its best expectation; with variance 0 the Poisson probability of mu.

    Parameters
    ----------
    n
        [..., n_bins] observed numbers of events.
    mu, variance
        [..., n_bins] expectations from simulation, and their variances.
    """
    nu = best_expectations(n, mu, variance)
    pull = np.divide((nu - mu) ** 2, variance, out=np.zeros(np.shape(nu)), where=variance > 0.0)
    return np.asarray(poisson_log(n, nu) - 0.5 * pull)


def slopes(
    n: NDArray[np.float64], mu: NDArray[np.float64], variance: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the derivatives of `log_profiled` in mu and in the variance."""
    nu = best_expectations(n, mu, variance)
    inside = nu > 0.0
    at_zero = -np.divide(mu, variance, out=np.zeros(np.shape(nu)), where=variance > 0.0)
    in_mu = np.where(inside, n / np.where(inside, nu, 1.0) - 1.0, at_zero)
    return in_mu, 0.5 * in_mu**2


def best_scale(n: NDArray[np.float64], mu: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the factor [...] on all expectations at which the likelihood of all bins together is largest.

    For likelihoods of a distribution alone, whose total floats. With s the factor, mu becomes s mu and V becomes s^2 V;
    Newton's method in log s looks for the zero of the derivative, sum_k (n_k - nu_k).
    """
    log_scale = np.zeros(np.broadcast_shapes(n.shape, mu.shape)[:-1])
    total = n.sum(axis=-1)
    for _ in range(_STEPS):
        s = np.exp(log_scale)[..., None]
        m, v = s * mu, s**2 * variance
        nu = best_expectations(n, m, v)
        slope = total - nu.sum(axis=-1)
        if (np.abs(slope) <= 1e-10 * (1.0 + total)).all():
            break
        bottom = 2.0 * nu + v - m
        change = np.divide(2.0 * n * v - (2.0 * v - m) * nu, bottom, out=np.zeros(nu.shape), where=bottom > 0.0)
        fall = np.maximum(change.sum(axis=-1), 1e-300)
        log_scale = log_scale + np.clip(slope / fall, -1.0, 1.0)
    return np.asarray(np.exp(log_scale))
