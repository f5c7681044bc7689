"""Training and test samples from an event store, with the gold that estimators learn from.

=======================  ==========================================================================================
``sample_ratio``         x ~ p(x | theta0) and x ~ p(x | theta1), label, joint ratio, joint score: `RatioEstimator`
``sample_double_ratio``  the same with the joint scores at theta0 and theta1: both of them may vary
``sample_local``         x ~ p(x | theta), joint score at theta: `ScoreEstimator`; with a prior, for densities
``sample_plain``         x ~ p(x | theta) alone
``sample_test``          the same from the test events
=======================  ==========================================================================================

Wherever a parameter point is asked for, it may be a benchmark's name, a dict by parameter name, a sequence of values,
several of these, or a prior (`flat_prior`, `gaussian_prior`, `fixed_points`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from columnminer.errors import InputError
from columnminer.sample.augment import joint_ratio, joint_score
from columnminer.sample.draw import draw, with_background
from columnminer.sample.points import counts, parameter_points
from columnminer.sample.samples import ARRAYS, Samples
from columnminer.streams import seed_sequence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.model.setup import Setup
    from columnminer.sample.draw import DrawOptions
    from columnminer.store.eventstore import EventStore
    from columnminer.streams import Seed

__all__ = ["sample_double_ratio", "sample_local", "sample_plain", "sample_ratio", "sample_test"]


def sample_ratio(
    store: EventStore,
    theta0: Any,
    theta1: Any,
    n: int,
    *,
    n_theta: int | None = 1000,
    seed: Seed = 0,
    partition: str = "train",
    **options: Unpack[DrawOptions],
) -> Samples:
    """Draw half of n events from numerator points theta0 and half from denominator points theta1, with their gold.

    Points are paired in turn: with one theta1, each theta0 has as many events of either class.

    Parameters
    ----------
    store, partition
        Where the events are.
    theta0, theta1
        Parameter points or priors, see above.
    n
        Events in all.
    n_theta
        Points to draw from a prior; None: a new one for every event.
    seed
        Of the points, the draws and the order of the events.
    **options
        Fields of `draw.DrawOptions`: negative_weights, closest_benchmark, trim, dtype.

    Returns
    -------
    Samples
        In random order: x, theta0, theta1, y, r_xz and, where the set-up has gradients, t_xz.

    Raises
    ------
    InputError, UnknownNameError, MissingError
        If points, weights or options are not what they should be; see `draw` and `Setup.thetas`.

    Warns
    -----
    ColumnMinerWarning
        If some points have too few effective events, or weights were clipped or trimmed.
    """
    scores = ("t_xz",) if _has_gradients(store.setup) else ()
    return _ratio(store, (theta0, theta1), n, n_theta, seed, partition, scores, options)


def sample_double_ratio(
    store: EventStore,
    theta0: Any,
    theta1: Any,
    n: int,
    *,
    n_theta: int | None = 1000,
    seed: Seed = 0,
    partition: str = "train",
    **options: Unpack[DrawOptions],
) -> Samples:
    """Draw as `sample_ratio` does, with the joint scores t_xz at theta0 and t_xz1 at theta1.

    Raises
    ------
    MissingError
        If the set-up has no gradients at a point.
    """
    return _ratio(store, (theta0, theta1), n, n_theta, seed, partition, ("t_xz", "t_xz1"), options)


def sample_local(
    store: EventStore,
    theta: Any,
    n: int,
    *,
    n_theta: int | None = 1000,
    seed: Seed = 0,
    partition: str = "train",
    **options: Unpack[DrawOptions],
) -> Samples:
    """Draw n events at theta, with the joint score there; see `sample_ratio` for the arguments.

    Returns
    -------
    Samples
        In random order: x, theta0 (the point) and t_xz.

    Raises
    ------
    MissingError
        If the set-up has no gradients at a point, or no event has weight there.
    """
    return _single(store, theta, n, n_theta, seed, partition, "local", options)


def sample_plain(
    store: EventStore,
    theta: Any,
    n: int,
    *,
    n_theta: int | None = 1000,
    seed: Seed = 0,
    partition: str = "train",
    **options: Unpack[DrawOptions],
) -> Samples:
    """Draw n events at theta, without gold; see `sample_ratio` for the arguments.

    Returns
    -------
    Samples
        In random order: x and theta0 (the point).
    """
    return _single(store, theta, n, n_theta, seed, partition, "plain", options)


def sample_test(
    store: EventStore,
    theta: Any,
    n: int,
    *,
    n_theta: int | None = 1000,
    seed: Seed = 0,
    partition: str = "test",
    **options: Unpack[DrawOptions],
) -> Samples:
    """Draw n test events at theta, without gold; see `sample_ratio` for the arguments.

    Returns
    -------
    Samples
        In random order: x and theta0 (the point).
    """
    return _single(store, theta, n, n_theta, seed, partition, "test", options)


def _ratio(
    store: EventStore,
    theta: tuple[Any, Any],
    n: int,
    n_theta: int | None,
    seed: Seed,
    partition: str,
    scores: tuple[str, ...],
    options: DrawOptions,
) -> Samples:
    if n < 2:
        msg = f"a ratio needs events of both classes: n must be 2 or more, not {n}"
        raise InputError(msg)
    sizes = (n - n // 2, n // 2)
    points = [
        parameter_points(t, store.setup, n_theta=n_theta, n=size, seed=seed, name=f"theta{label}")
        for label, (t, size) in enumerate(zip(theta, sizes, strict=True))
    ]
    n_pairs = max(map(len, points))
    which = [np.arange(n_pairs) % len(p) for p in points]
    coefficients = [with_background(store.setup.weights(p), 1.0)[w] for p, w in zip(points, which, strict=True)]
    gradients = {
        name: with_background(store.setup.weight_gradients(points[i]), 0.0)[which[i]] for i, name in enumerate(scores)
    }
    parts: dict[str, list[NDArray[Any]]] = {}
    n_eff = []
    for label, size in enumerate(sizes):
        events = counts(size, n_pairs)
        order = np.argsort(which[label], kind="stable")  # pairs in the order of their points, as events are drawn
        pair = np.repeat(order, events[order])
        per_point = np.bincount(which[label], weights=events, minlength=len(points[label])).astype(np.int64)
        draws = draw(store, points[label], per_point, seed=seed, name=f"y{label}", partition=partition, **options)
        totals = draws.totals[which[label]]
        n_eff.append(draws.n_eff)
        columns = {"x": draws.x, "weights": draws.sign, "y": np.full(size, float(label))}
        columns |= {f"theta{i}": points[i][which[i]][pair] for i in range(2)}
        columns["r_xz"] = joint_ratio(draws.weights, totals, *coefficients, pair)
        for i, (name, slopes) in enumerate(gradients.items()):
            columns[name] = joint_score(draws.weights, totals, coefficients[i], slopes, pair)
        for name, values in columns.items():
            parts.setdefault(name, []).append(values)
    return _shuffled(store, parts, np.concatenate(n_eff), seed, partition)


def _single(
    store: EventStore,
    theta: Any,
    n: int,
    n_theta: int | None,
    seed: Seed,
    partition: str,
    name: str,
    options: DrawOptions,
) -> Samples:
    if n < 1:
        msg = f"n must be positive, not {n}"
        raise InputError(msg)
    points = parameter_points(theta, store.setup, n_theta=n_theta, n=n, seed=seed, name="theta")
    gradients = with_background(store.setup.weight_gradients(points), 0.0) if name == "local" else None
    draws = draw(store, points, counts(n, len(points)), seed=seed, name=name, partition=partition, **options)
    columns = {"x": draws.x, "weights": draws.sign, "theta0": points[draws.point]}
    if gradients is not None:
        coefficients = with_background(store.setup.weights(points), 1.0)
        columns["t_xz"] = joint_score(draws.weights, draws.totals, coefficients, gradients, draws.point)
    return _shuffled(store, {key: [values] for key, values in columns.items()}, draws.n_eff, seed, partition)


def _has_gradients(setup: Setup) -> bool:
    return setup.morphing is not None or setup.differences is not None


def _shuffled(
    store: EventStore, parts: dict[str, list[NDArray[Any]]], n_eff: NDArray[np.float64], seed: Seed, partition: str
) -> Samples:
    """Put the parts of each array together, in one random order for all, in the precision of x."""
    if not any((sign < 0).any() for sign in parts["weights"]):
        del parts["weights"]
    dtype = parts["x"][0].dtype
    order = np.random.default_rng(seed_sequence(seed, "shuffle")).permutation(sum(map(len, parts["x"])))
    arrays = {
        name: np.concatenate([values.astype(dtype, copy=False) for values in parts[name]])[order]
        for name in ARRAYS
        if name in parts
    }
    return Samples(
        **arrays,
        feature_names=store.observable_names,
        parameter_names=tuple(store.setup.parameter_names),
        n_eff=n_eff,
        store_hash=store.hash,
        partition=partition,
    )
