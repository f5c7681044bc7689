"""Which parameter points are drawn from: one, several, or random ones from a prior."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError
from columnminer.model.priors import FixedPoints, Prior
from columnminer.streams import seed_sequence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.model.setup import Setup
    from columnminer.streams import Seed

__all__ = ["counts", "parameter_points"]


def parameter_points(
    theta: Any, setup: Setup, *, n_theta: int | None, n: int, seed: Seed, name: str
) -> NDArray[np.float64]:
    """Return the points that `theta` stands for, (n_points, n_par).

    Parameters
    ----------
    theta
        A benchmark's name, a point, several of them, or a prior.
    setup
        What theta means.
    n_theta
        Points to draw from a prior; None: a new one for every event.
    n
        Events to be drawn: there are never more points than these.
    seed, name
        The stream of a prior's points.

    Raises
    ------
    InputError
        If there are no or too many points, or a prior has another number of parameters.
    """
    if not isinstance(theta, Prior):
        points = setup.thetas(theta)
    else:
        if theta.n_par != len(setup.parameter_names):
            msg = f"the prior of {name} has {theta.n_par} parameters, but the set-up {len(setup.parameter_names)}"
            raise InputError(msg)
        most = len(theta.points) if isinstance(theta, FixedPoints) else n_theta
        wanted = n if most is None else min(most, n)
        if wanted < 1:
            msg = f"n_theta must be positive, not {n_theta}"
            raise InputError(msg)
        points = theta.sample(wanted, np.random.default_rng(seed_sequence(seed, name)))
    if len(points) > n:
        msg = f"{name}: {len(points)} parameter points cannot share {n} events; ask for more events"
        raise InputError(msg)
    return points


def counts(n: int, n_points: int) -> NDArray[np.int64]:
    """Return how many of n events each point gets, (n_points,): equally many, the first ones one more if need be."""
    return np.full(n_points, n // n_points) + (np.arange(n_points) < n % n_points)
