"""Which parameter points are drawn from: one, several, or random ones from a prior.

Nuisance parameters go with theta: nominal, fixed, or random for each point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError
from columnminer.model.priors import FixedPoints, Prior
from columnminer.store.weights import nuisance_points
from columnminer.streams import seed_sequence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.model.setup import Setup
    from columnminer.store.eventstore import EventStore
    from columnminer.streams import Seed

__all__ = ["counts", "joint_points", "parameter_points"]


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


def joint_points(
    theta: Any, nu: Any, store: EventStore, *, n_theta: int | None, n: int, seed: Seed, name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return theta (n_points, n_par) and nu (n_points, n_nu) of the points that `theta` and `nu` stand for.

    Whatever there is less of is taken in turn, so that fixed theta with a prior of nu are `n_theta` points, too.

    Parameters
    ----------
    theta, n_theta, n, seed
        See `parameter_points`.
    nu
        None (nominal, all 0), one point (values in the order of the store, or a dict by name), several of them, or a
        prior, from which each point has its own: of all nuisance parameters, or of one, for each of them alike.
    store
        Which nuisance parameters there are.
    name
        "theta", perhaps with a number; the stream of the nuisance parameters is called nu instead.

    Raises
    ------
    InputError
        If theta or nu are not what they should be.
    """
    thetas = parameter_points(theta, store.setup, n_theta=n_theta, n=n, seed=seed, name=name)
    name = name.replace("theta", "nu")
    n_nu = len(store.nuisances)
    if isinstance(nu, Prior):
        if not n_nu or nu.n_par not in {1, n_nu}:
            msg = f"the prior of {name} has {nu.n_par} parameters, but the store {n_nu} nuisance parameters"
            raise InputError(msg)
        wanted = len(thetas)
        if not isinstance(theta, Prior):  # it has no number of points of its own
            most = len(nu.points) if isinstance(nu, FixedPoints) else n_theta
            wanted = max(wanted, n if most is None else min(most, n))
        rng = np.random.default_rng(seed_sequence(seed, name))
        nus = np.stack([nu.sample(wanted, rng) for _ in range(n_nu // nu.n_par)], axis=1).reshape(wanted, n_nu)
    else:
        several = np.ndim(nu) == 2 if nu is not None and not isinstance(nu, dict) else False
        nus = nuisance_points(nu, store.nuisances, len(nu) if several else 1)
    n_points = max(len(thetas), len(nus))
    if n_points > n:
        msg = f"{name}: {n_points} points of nuisance parameters cannot share {n} events; ask for more events"
        raise InputError(msg)
    turn = np.arange(n_points)
    return thetas[turn % len(thetas)], nus[turn % len(nus)]


def counts(n: int, n_points: int) -> NDArray[np.int64]:
    """Return how many of n events each point gets, (n_points,): equally many, the first ones one more if need be."""
    return np.full(n_points, n // n_points) + (np.arange(n_points) < n % n_points)
