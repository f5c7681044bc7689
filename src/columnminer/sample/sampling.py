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
from columnminer.model.crosssection import CrossSectionPolynomial
from columnminer.sample.augment import joint_ratio, joint_score, signs
from columnminer.sample.draw import Sampler, with_background
from columnminer.sample.points import counts, parameter_points
from columnminer.sample.samples import Samples
from columnminer.streams import seed_sequence

if TYPE_CHECKING:
    from pathlib import Path

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
    out: str | Path | None = None,
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
    out
        Folder of a SampleStore to write the samples to as well.
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
    OutputExistsError
        If `out` exists.

    Warns
    -----
    ColumnMinerWarning
        If some points have too few effective events, or weights were clipped or trimmed.
    """
    scores = ("t_xz",) if _has_gradients(store.setup) else ()
    sampler = Sampler(store, partition, seed, **options)
    return _written(_ratio(sampler, (theta0, theta1), n, n_theta, scores), out)


def sample_double_ratio(
    store: EventStore,
    theta0: Any,
    theta1: Any,
    n: int,
    *,
    n_theta: int | None = 1000,
    seed: Seed = 0,
    partition: str = "train",
    out: str | Path | None = None,
    **options: Unpack[DrawOptions],
) -> Samples:
    """Draw as `sample_ratio` does, with the joint scores t_xz at theta0 and t_xz1 at theta1.

    Raises
    ------
    MissingError
        If the set-up has no gradients at a point.
    """
    scores = ("t_xz", "t_xz1")
    sampler = Sampler(store, partition, seed, **options)
    return _written(_ratio(sampler, (theta0, theta1), n, n_theta, scores), out)


def sample_local(
    store: EventStore,
    theta: Any,
    n: int,
    *,
    n_theta: int | None = 1000,
    seed: Seed = 0,
    partition: str = "train",
    out: str | Path | None = None,
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
    sampler = Sampler(store, partition, seed, **options)
    return _written(_single(sampler, theta, n, n_theta, "local"), out)


def sample_plain(
    store: EventStore,
    theta: Any,
    n: int,
    *,
    n_theta: int | None = 1000,
    seed: Seed = 0,
    partition: str = "train",
    out: str | Path | None = None,
    **options: Unpack[DrawOptions],
) -> Samples:
    """Draw n events at theta, without gold; see `sample_ratio` for the arguments.

    Returns
    -------
    Samples
        In random order: x and theta0 (the point).
    """
    sampler = Sampler(store, partition, seed, **options)
    return _written(_single(sampler, theta, n, n_theta, "plain"), out)


def sample_test(
    store: EventStore,
    theta: Any,
    n: int,
    *,
    n_theta: int | None = 1000,
    seed: Seed = 0,
    partition: str = "test",
    out: str | Path | None = None,
    **options: Unpack[DrawOptions],
) -> Samples:
    """Draw n test events at theta, without gold; see `sample_ratio` for the arguments.

    Returns
    -------
    Samples
        In random order: x and theta0 (the point).
    """
    sampler = Sampler(store, partition, seed, **options)
    return _written(_single(sampler, theta, n, n_theta, "test"), out)


def _ratio(sampler: Sampler, theta: tuple[Any, Any], n: int, n_theta: int | None, scores: tuple[str, ...]) -> Samples:
    """Draw for both classes into one set of arrays, straight into random rows, and mine the gold there."""
    if n < 2:
        msg = f"a ratio needs events of both classes: n must be 2 or more, not {n}"
        raise InputError(msg)
    setup, seed = sampler.store.setup, sampler.seed
    sizes = (n - n // 2, n // 2)
    points = [
        parameter_points(t, setup, n_theta=n_theta, n=size, seed=seed, name=f"theta{y}")
        for y, (t, size) in enumerate(zip(theta, sizes, strict=True))
    ]
    n_pairs = max(map(len, points))
    which = [np.arange(n_pairs) % len(p) for p in points]
    rows = np.split(_random_order(n, seed), [sizes[0]])
    x, weights = sampler.buffers(n)
    pair = np.empty(n, dtype=np.int64)
    draws = []
    for label, size in enumerate(sizes):
        events = counts(size, n_pairs)
        order = np.argsort(which[label], kind="stable")  # pairs in the order of their points, as events are drawn
        pair[rows[label]] = np.repeat(order, events[order])
        per_point = np.bincount(which[label], weights=events, minlength=len(points[label])).astype(np.int64)
        name = f"y{label}"
        draws.append(sampler.draw(points[label], per_point, name=name, rows=rows[label], x=x, weights=weights))

    y = np.zeros(n, dtype=np.int64)
    y[rows[1]] = 1
    # The gold of an event is normalised with the cross sections of the events that it was drawn from.
    case = pair + n_pairs * y
    totals = np.concatenate([d.totals[w] for d, w in zip(draws, which, strict=True)])
    coefficients = [np.tile(with_background(setup.weights(p))[w], (2, 1)) for p, w in zip(points, which, strict=True)]
    gold = {"r_xz": joint_ratio(weights, totals, coefficients[0], coefficients[1], case)}
    for i, name in enumerate(scores):
        gradients = with_background(setup.weight_gradients(points[i]), 0.0)[which[i]]
        gold[name] = joint_score(weights, totals, coefficients[i], np.tile(gradients, (2, 1, 1)), case)
    if sampler.negative_weights == "keep":
        gold["weights"] = signs(weights, np.concatenate([coefficients[0][:n_pairs], coefficients[1][n_pairs:]]), case)
    return _samples(
        sampler,
        x,
        np.concatenate([d.n_eff for d in draws]),
        _cross_section(setup, draws[1].totals[0]),
        theta0=points[0][which[0]][pair],
        theta1=points[1][which[1]][pair],
        y=y,
        **gold,
    )


def _single(sampler: Sampler, theta: Any, n: int, n_theta: int | None, name: str) -> Samples:
    if n < 1:
        msg = f"n must be positive, not {n}"
        raise InputError(msg)
    setup, seed = sampler.store.setup, sampler.seed
    points = parameter_points(theta, setup, n_theta=n_theta, n=n, seed=seed, name="theta")
    events = counts(n, len(points))
    rows = _random_order(n, seed)
    x, weights = sampler.buffers(n)
    point = np.empty(n, dtype=np.int64)
    point[rows] = np.repeat(np.arange(len(points)), events)
    coefficients = with_background(setup.weights(points))
    gradients = with_background(setup.weight_gradients(points), 0.0) if name == "local" else None
    draws = sampler.draw(points, events, name=name, rows=rows, x=x, weights=weights)
    gold = {}
    if gradients is not None:
        gold["t_xz"] = joint_score(weights, draws.totals, coefficients, gradients, point)
    if sampler.negative_weights == "keep":
        gold["weights"] = signs(weights, coefficients, point)
    return _samples(sampler, x, draws.n_eff, None, theta0=points[point], **gold)


def _written(samples: Samples, out: str | Path | None) -> Samples:
    if out is not None:
        samples.write(out)
    return samples


def _has_gradients(setup: Setup) -> bool:
    return setup.morphing is not None or setup.differences is not None


def _cross_section(setup: Setup, totals: NDArray[np.float64]) -> CrossSectionPolynomial | None:
    """Return the cross section at any theta from the sums of the linear weights."""
    if setup.morphing is None:
        return None
    return CrossSectionPolynomial.of(setup.morphing, totals[:-1], float(totals[-1]))


def _random_order(n: int, seed: Seed) -> NDArray[np.int64]:
    return np.random.default_rng(seed_sequence(seed, "order")).permutation(n)


def _samples(
    sampler: Sampler,
    x: NDArray[np.floating],
    n_eff: NDArray[np.float64],
    cross_section: CrossSectionPolynomial | None,
    **arrays: NDArray[np.float64] | NDArray[np.int64],
) -> Samples:
    return Samples(
        x=x,
        **{name: values.astype(x.dtype) for name, values in arrays.items()},
        feature_names=sampler.store.observable_names,
        parameter_names=tuple(sampler.store.setup.parameter_names),
        n_eff=n_eff,
        store_hash=sampler.store.hash,
        partition=sampler.partition,
        cross_section=cross_section,
    )
