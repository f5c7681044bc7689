"""Training and test samples from an event store, with the gold that estimators learn from.

=======================  ==========================================================================================
``sample_ratio``         x ~ p(x | theta0) and x ~ p(x | theta1), label, joint ratio, joint score: `RatioEstimator`
``sample_double_ratio``  the same with the joint scores at theta0 and theta1: both of them may vary
``sample_local``         x ~ p(x | theta), joint score at theta: `ScoreEstimator`
``sample_density``       x ~ p(x | theta) at many theta, joint score where there is one: `DensityEstimator`
``sample_plain``         x ~ p(x | theta) alone
``sample_test``          the same from the test events
=======================  ==========================================================================================

Wherever a parameter point is asked for, it may be a benchmark's name, a dict by parameter name, a sequence of values,
several of these, or a prior (`flat_prior`, `gaussian_prior`, `fixed_points`).

Nuisance parameters go with each point: None (nominal, all 0), one point, several, or a prior from which every point has
its own, see `points.joint_points`. Where they take part, they are parameters like any other: samples have columns for
them behind those of theta, and scores in their directions. With ``nuisance_score=False`` they do not show: theta and
the scores are about theta alone, so that what is learned from events with random nu is averaged over nu. By default
("auto") ratio samples have nuisance parameters where nu is given, as a network cannot learn from an input that is
always 0, and local samples where the store has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Unpack

import numpy as np

from columnminer.errors import InputError, MissingError
from columnminer.model.crosssection import CrossSectionPolynomial
from columnminer.sample.augment import signs
from columnminer.sample.draw import Sampler, with_background
from columnminer.sample.hypotheses import Hypotheses
from columnminer.sample.points import counts, joint_points
from columnminer.sample.samples import Samples
from columnminer.streams import seed_sequence

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from columnminer.model.setup import Setup
    from columnminer.sample.draw import DrawOptions
    from columnminer.store.eventstore import EventStore
    from columnminer.streams import Seed

__all__ = [
    "NuisanceScore",
    "sample_density",
    "sample_double_ratio",
    "sample_local",
    "sample_plain",
    "sample_ratio",
    "sample_test",
]

NuisanceScore: TypeAlias = bool | Literal["auto"]


def sample_ratio(
    store: EventStore,
    theta0: Any,
    theta1: Any,
    n: int,
    *,
    nu0: Any = None,
    nu1: Any = None,
    nuisance_score: NuisanceScore = "auto",
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
    nu0, nu1
        Nuisance parameters that go with theta0 and theta1, see above.
    nuisance_score
        Whether nuisance parameters show in the samples: True, False, or "auto", if nu0 or nu1 is given.
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
        If points, weights or options are not what they should be; see `draw` and `Setup.thetas`; or if the store has no
        nuisance parameters that could show.
    OutputExistsError
        If `out` exists.

    Warns
    -----
    ColumnMinerWarning
        If some points have too few effective events, or weights were clipped or trimmed.
    """
    scores = ("t_xz",) if _has_gradients(store.setup) else ()
    given = nu0 is not None or nu1 is not None
    shown = _nuisances_show(nuisance_score, store, auto=given)
    sampler = Sampler(store, partition, seed, nuisances=given or shown, **options)
    return _written(_ratio(sampler, (theta0, theta1), (nu0, nu1), n, n_theta=n_theta, scores=scores, shown=shown), out)


def sample_double_ratio(
    store: EventStore,
    theta0: Any,
    theta1: Any,
    n: int,
    *,
    nu0: Any = None,
    nu1: Any = None,
    nuisance_score: NuisanceScore = "auto",
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
    given = nu0 is not None or nu1 is not None
    shown = _nuisances_show(nuisance_score, store, auto=given)
    sampler = Sampler(store, partition, seed, nuisances=given or shown, **options)
    return _written(_ratio(sampler, (theta0, theta1), (nu0, nu1), n, n_theta=n_theta, scores=scores, shown=shown), out)


def sample_local(
    store: EventStore,
    theta: Any,
    n: int,
    *,
    nu: Any = None,
    nuisance_score: NuisanceScore = "auto",
    n_theta: int | None = 1000,
    seed: Seed = 0,
    partition: str = "train",
    out: str | Path | None = None,
    **options: Unpack[DrawOptions],
) -> Samples:
    """Draw n events at theta, with the joint score there; see `sample_ratio` for the arguments.

    By default nuisance parameters show if the store has any: the score is that of theta and of them.

    Returns
    -------
    Samples
        In random order: x, theta0 (the point) and t_xz.

    Raises
    ------
    MissingError
        If the set-up has no gradients at a point, or no event has weight there.
    """
    shown = _nuisances_show(nuisance_score, store, auto=bool(store.nuisances))
    sampler = Sampler(store, partition, seed, nuisances=nu is not None or shown, **options)
    return _written(_single(sampler, theta, nu, n, n_theta=n_theta, name="local", shown=shown), out)


def sample_density(
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
    """Draw n events at many theta (from a prior, for instance); see `sample_ratio` for the arguments.

    Returns
    -------
    Samples
        In random order: x, theta0 (the point) and, where the set-up has gradients, t_xz.
    """
    sampler = Sampler(store, partition, seed, **options)
    return _written(_single(sampler, theta, None, n, n_theta=n_theta, name="density", shown=False), out)


def sample_plain(
    store: EventStore,
    theta: Any,
    n: int,
    *,
    nu: Any = None,
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
    sampler = Sampler(store, partition, seed, nuisances=nu is not None, **options)
    return _written(_single(sampler, theta, nu, n, n_theta=n_theta, name="plain", shown=nu is not None), out)


def sample_test(
    store: EventStore,
    theta: Any,
    n: int,
    *,
    nu: Any = None,
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
    sampler = Sampler(store, partition, seed, nuisances=nu is not None, **options)
    return _written(_single(sampler, theta, nu, n, n_theta=n_theta, name="test", shown=nu is not None), out)


def _ratio(
    sampler: Sampler,
    theta: tuple[Any, Any],
    nu: tuple[Any, Any],
    n: int,
    *,
    n_theta: int | None,
    scores: tuple[str, ...],
    shown: bool,
) -> Samples:
    """Draw for both classes into one set of arrays, straight into random rows, and mine the gold there."""
    if n < 2:
        msg = f"a ratio needs events of both classes: n must be 2 or more, not {n}"
        raise InputError(msg)
    seed = sampler.seed
    sizes = (n - n // 2, n // 2)
    points = [
        joint_points(theta[y], nu[y], sampler.store, n_theta=n_theta, n=sizes[y], seed=seed, name=f"theta{y}")
        for y in (0, 1)
    ]
    n_pairs = max(len(thetas) for thetas, _ in points)
    which = [np.arange(n_pairs) % len(thetas) for thetas, _ in points]
    rows = np.split(_random_order(n, seed), [sizes[0]])
    x, weights = sampler.buffers(n)
    pair = np.empty(n, dtype=np.int64)
    draws = []
    for label, (thetas, nus) in enumerate(points):
        events = counts(sizes[label], n_pairs)
        order = np.argsort(which[label], kind="stable")  # pairs in the order of their points, as events are drawn
        pair[rows[label]] = np.repeat(order, events[order])
        per_point = np.bincount(which[label], weights=events, minlength=len(thetas)).astype(np.int64)
        given = nus if sampler.nuisances else None
        name = f"y{label}"
        draws.append(sampler.draw(thetas, per_point, name=name, rows=rows[label], x=x, weights=weights, nus=given))

    y = np.zeros(n, dtype=np.int64)
    y[rows[1]] = 1
    # The gold of an event is normalised with the cross sections of the events that it was drawn from.
    case = pair + n_pairs * y
    totals = np.concatenate([d.totals[w] for d, w in zip(draws, which, strict=True)])
    drawn_at = np.concatenate([thetas[w] for (thetas, _), w in zip(points, which, strict=True)])
    numerator, denominator = (
        Hypotheses.of(sampler, p, np.tile(w, 2), drawn_at, totals) for p, w in zip(points, which, strict=True)
    )
    gold = {"r_xz": numerator.ratio_to(denominator, weights, case)}
    for name, side in zip(scores, (numerator, denominator), strict=False):
        gold[name] = side.score(weights, case, along_nu=shown)
    if sampler.negative_weights == "keep":
        drawn = np.concatenate([numerator.coefficients[:n_pairs], denominator.coefficients[n_pairs:]])
        gold["weights"] = signs(weights[:, : drawn.shape[1]], drawn, case)
    at = [_columns(p, shown=shown)[w][pair] for p, w in zip(points, which, strict=True)]
    n_eff = np.concatenate([d.n_eff for d in draws])
    # With nuisance parameters, cross sections are no polynomials.
    cross_section = None if sampler.nuisances else _cross_section(sampler.store.setup, draws[1].totals[0])
    return _samples(sampler, x, n_eff, cross_section, shown=shown, theta0=at[0], theta1=at[1], y=y, **gold)


def _single(sampler: Sampler, theta: Any, nu: Any, n: int, *, n_theta: int | None, name: str, shown: bool) -> Samples:
    if n < 1:
        msg = f"n must be positive, not {n}"
        raise InputError(msg)
    setup, seed = sampler.store.setup, sampler.seed
    points = thetas, nus = joint_points(theta, nu, sampler.store, n_theta=n_theta, n=n, seed=seed, name="theta")
    if name == "local":
        setup.weight_gradients(thetas)  # where there are none, that is known before anything is drawn
    events = counts(n, len(thetas))
    rows = _random_order(n, seed)
    x, weights = sampler.buffers(n)
    point = np.empty(n, dtype=np.int64)
    point[rows] = np.repeat(np.arange(len(thetas)), events)
    given = nus if sampler.nuisances else None
    draws = sampler.draw(thetas, events, name=name, rows=rows, x=x, weights=weights, nus=given)
    gold = {}
    if name == "local" or (name == "density" and _has_gradients(setup)):
        hypotheses = Hypotheses.of(sampler, points, np.arange(len(thetas)), thetas, draws.totals)
        gold["t_xz"] = hypotheses.score(weights, point, along_nu=shown)
    if sampler.negative_weights == "keep":
        drawn = with_background(setup.weights(thetas))
        gold["weights"] = signs(weights[:, : drawn.shape[1]], drawn, point)
    theta0 = _columns(points, shown=shown)[point]
    return _samples(sampler, x, draws.n_eff, None, shown=shown, theta0=theta0, **gold)


def _columns(points: tuple[NDArray[np.float64], NDArray[np.float64]], *, shown: bool) -> NDArray[np.float64]:
    """Return the columns of theta in the samples."""
    return np.concatenate(points, axis=1) if shown else points[0]


def _written(samples: Samples, out: str | Path | None) -> Samples:
    if out is not None:
        samples.write(out)
    return samples


def _has_gradients(setup: Setup) -> bool:
    return setup.morphing is not None or setup.differences is not None


def _nuisances_show(nuisance_score: NuisanceScore, store: EventStore, *, auto: bool) -> bool:
    """Return whether samples have columns for nuisance parameters."""
    if nuisance_score not in {True, False, "auto"}:
        msg = f'nuisance_score is True, False or "auto", not {nuisance_score!r}'
        raise InputError(msg)
    shown = auto if nuisance_score == "auto" else bool(nuisance_score)
    if shown and not store.nuisances:
        msg = f"{store.path} has no nuisance parameters: leave nu and nuisance_score out"
        raise MissingError(msg)
    return shown


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
    *,
    shown: bool,
    **arrays: NDArray[np.float64] | NDArray[np.int64],
) -> Samples:
    nuisances = sampler.store.nuisance_names if shown else ()
    return Samples(
        x=x,
        **{name: values.astype(x.dtype) for name, values in arrays.items()},
        feature_names=sampler.store.observable_names,
        parameter_names=(*sampler.store.setup.parameter_names, *nuisances),
        nuisance_names=nuisances,
        n_eff=n_eff,
        store_hash=sampler.store.hash,
        partition=sampler.partition,
        cross_section=cross_section,
    )
