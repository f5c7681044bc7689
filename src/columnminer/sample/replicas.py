"""Bootstrap replicas of a store: every stored event counts as often as a Poisson number of mean 1 says.

The number belongs to the replica and to the position of the event in the store, and to nothing else: not to the seed of
a sample, nor to blocks or partitions, so that training events, test events and cross sections of one replica fit
together. Over replicas, the total weight has mean sum w and variance sum w^2, the statistical error of the simulation
(the Poisson bootstrap: Chamandy et al., "Estimating uncertainty for massive data streams", 2012).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import pdtr

from columnminer.errors import InputError
from columnminer.streams import key, uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["checked_replica", "multiplicities"]

_CUMULATIVE = pdtr(np.arange(20), 1.0)
"""Probability of at most k events at mean 1, which is 1 in double precision for the last ones."""


def checked_replica(replica: int | None) -> int | None:
    """Return the number of a replica.

    Raises
    ------
    InputError
        If it is none.
    """
    given: object = replica
    if given is not None and (isinstance(given, bool) or not isinstance(given, int | np.integer) or given < 0):
        msg = f"replica must be a non-negative integer, or None for the events as they are, not {replica!r}"
        raise InputError(msg)
    return replica


def multiplicities(replica: int, events: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how often events, by their positions in the store (n,), count in a replica, (n,)."""
    return np.searchsorted(_CUMULATIVE, uniform(key(replica, "replica"), events), side="right")
