"""What log likelihoods are made of: Poisson terms, and a kinematic part apart from the rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln, xlogy

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["LogTerms", "poisson_log"]


def poisson_log(n: ArrayLike, mu: ArrayLike) -> NDArray[np.float64]:
    """Return the Poisson log probability ``n log mu - mu - log n!``; n may be fractional (Asimov data).

    An expectation that is not positive, where a morphed cross section is extrapolated beyond its meaning, has
    probability zero (-inf), but for n = mu = 0.
    """
    n, mu = np.asarray(n, dtype=np.float64), np.asarray(mu, dtype=np.float64)
    log = xlogy(n, np.maximum(mu, 0.0)) - mu - gammaln(n + 1.0)
    return np.where(mu < 0.0, -np.inf, log)


@dataclass(frozen=True)
class LogTerms:
    """A log likelihood in two parts, each of the batch shape.

    Attributes
    ----------
    kinematic : numpy.ndarray
        What the distribution of the events says, at a given number of events.
    rate : numpy.ndarray
        What the number of events says.
    """

    kinematic: NDArray[np.float64]
    rate: NDArray[np.float64]

    @property
    def total(self) -> NDArray[np.float64]:
        """The log likelihood."""
        return np.asarray(self.kinematic + self.rate)
