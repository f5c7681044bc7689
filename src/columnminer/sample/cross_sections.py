"""Cross sections at many parameter points, given as for sampling: benchmarks, points, or a prior."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.sample.points import joint_points
from columnminer.sample.replicas import checked_replica, multiplicities
from columnminer.store.weights import CrossSection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.store.eventstore import EventStore
    from columnminer.streams import Seed

__all__ = ["CrossSections", "cross_sections"]

_CHUNK = 2**22
"""Weights (points x events) in work at a time."""


@dataclass(frozen=True)
class CrossSections(CrossSection):
    """Cross sections, (n_theta,) `value` and `error` [pb], with the points that they belong to.

    Attributes
    ----------
    theta : numpy.ndarray
        (n_theta, n_par).
    nu : numpy.ndarray
        (n_theta, n_nu) nuisance parameters.
    parameter_names, nuisance_names : tuple of str
        What the columns of theta and nu are.
    """

    theta: NDArray[np.float64]
    nu: NDArray[np.float64]
    parameter_names: tuple[str, ...]
    nuisance_names: tuple[str, ...]


def cross_sections(
    store: EventStore,
    theta: Any,
    *,
    nu: Any = None,
    n_theta: int = 1000,
    seed: Seed = 0,
    partition: str = "all",
    replica: int | None = None,
) -> CrossSections:
    """Return the cross section after the selection, signal and backgrounds together, at each point.

    Parameters
    ----------
    store, partition
        Where the events are.
    theta, nu
        Parameter points or priors, as for `sample_plain`; its points are those of the same seed and n_theta.
    n_theta
        Points to draw from a prior.
    seed
        Of points that are drawn.
    replica
        Number of a bootstrap replica, as in `draw.DrawOptions`; None: each event counts once.

    Raises
    ------
    InputError, UnknownNameError, MissingError
        If points are not what they should be, or the set-up has no weights at one.

    Examples
    --------
    >>> xsec = cm.cross_sections(cm.EventStore("events.zarr"), cm.flat_prior([(-0.05, 0.05)] * 2), n_theta=10)
    >>> xsec.theta.shape, xsec.value.shape
    ((10, 2), (10,))
    """
    thetas, nus = joint_points(theta, nu, store, n_theta=n_theta, n=sys.maxsize, seed=seed, name="theta")
    names = (store.setup.parameter_names, store.nuisance_names)
    if checked_replica(replica) is None and len(np.unique(nus, axis=0)) <= 1:
        one = store.xsec(thetas, nus[0], partition)
        return CrossSections(one.value, one.error, thetas, nus, *names)
    store.xsec(thetas[:1], partition=partition)  # refuses recorded events and incomplete partitions
    value, squares = np.zeros((2, len(thetas)))
    for block in store.blocks(partition):
        times = np.ones(len(block)) if replica is None else multiplicities(replica, block.indices)
        step = max(_CHUNK // len(block), 1)
        for start in range(0, len(thetas), step):
            some = slice(start, start + step)
            weights = block.weights(thetas[some], nus[some])
            value[some] += np.einsum("pn,n->p", weights, times)
            squares[some] += np.einsum("pn,pn,n->p", weights, weights, times)
    return CrossSections(value, np.sqrt(squares), thetas, nus, *names)
