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

A sample may be larger than memory: with ``out`` it is drawn block by block, shuffled on disk and published as one
`SampleStore`, which is what is returned then. With ``workers`` or a ``client`` the blocks are drawn side by side. The
same seed gives the same sample, bit by bit, either way; see `drawing` and `mining`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Unpack, overload

from columnminer.errors import InputError, MissingError
from columnminer.run.tasks import run_tasks
from columnminer.sample.draw import DrawOptions
from columnminer.sample.drawing import Request, draw_compared, draw_single

if TYPE_CHECKING:
    from distributed import Client

    from columnminer.sample.samples import Samples
    from columnminer.store.eventstore import EventStore
    from columnminer.store.samplestore import SampleStore
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
Out: TypeAlias = str | Path


class _Options(DrawOptions, total=False):
    """What all functions take, for the type of what they return."""

    n_theta: int | None
    seed: Seed
    partition: str
    client: Client | None
    workers: int
    progress: bool


class _PointOptions(_Options, total=False):
    nu: Any


class _LocalOptions(_PointOptions, total=False):
    nuisance_score: NuisanceScore


class _RatioOptions(_Options, total=False):
    nu0: Any
    nu1: Any
    nuisance_score: NuisanceScore


class _DoubleOptions(_RatioOptions, total=False):
    additional: Any
    nu_additional: Any


@overload
def sample_ratio(
    store: EventStore, theta0: Any, theta1: Any, n: int, *, out: None = None, **options: Unpack[_RatioOptions]
) -> Samples: ...
@overload
def sample_ratio(
    store: EventStore, theta0: Any, theta1: Any, n: int, *, out: Out, **options: Unpack[_RatioOptions]
) -> SampleStore: ...
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
    out: Out | None = None,
    client: Client | None = None,
    workers: int = 1,
    progress: bool = False,
    **options: Unpack[DrawOptions],
) -> Samples | SampleStore:
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
        Folder of a SampleStore to write the samples to, instead of returning them in memory.
    client, workers
        A `distributed.Client` to draw on, or the number of processes here.
    progress
        Whether to show progress.
    **options
        Fields of `draw.DrawOptions`: negative_weights, closest_benchmark, trim, replica, dtype.

    Returns
    -------
    Samples or SampleStore
        In random order: x, theta0, theta1, y, r_xz and, where the set-up has gradients, t_xz. A SampleStore if `out` is
        given.

    Raises
    ------
    InputError, UnknownNameError, MissingError
        If points, weights or options are not what they should be; see `draw` and `Setup.thetas`; or if the store has no
        nuisance parameters that could show.
    OutputExistsError
        If `out` exists.
    TaskError
        If blocks cannot be drawn.

    Warns
    -----
    ColumnMinerWarning
        If some points have too few effective events, or weights were clipped or trimmed.

    Examples
    --------
    >>> prior = cm.flat_prior([(-0.05, 0.05), (-0.05, 0.05)])
    >>> samples = cm.sample_ratio(cm.EventStore("events.zarr"), theta0=prior, theta1="sm", n=1000, seed=1)
    >>> samples.feature_names, int(samples.y.sum())
    (('m_ll', 'y_ll', 'cos_theta'), 500)
    >>> samples.r_xz.shape, samples.t_xz.shape  # joint likelihood ratio and joint score at theta0
    ((1000,), (1000, 2))
    """
    shown = _nuisances_show(nuisance_score, store, auto=nu0 is not None or nu1 is not None)
    run = partial(run_tasks, client=client, workers=workers, progress=progress)
    request = Request(store, partition, n, n_theta, seed, out, run, shown, options)
    return draw_compared(request, [(theta0, nu0), (theta1, nu1)], scores=_scores_of(store))


@overload
def sample_double_ratio(
    store: EventStore, theta0: Any, theta1: Any, n: int, *, out: None = None, **options: Unpack[_DoubleOptions]
) -> Samples: ...
@overload
def sample_double_ratio(
    store: EventStore, theta0: Any, theta1: Any, n: int, *, out: Out, **options: Unpack[_DoubleOptions]
) -> SampleStore: ...
def sample_double_ratio(
    store: EventStore,
    theta0: Any,
    theta1: Any,
    n: int,
    *,
    additional: Any = None,
    nu0: Any = None,
    nu1: Any = None,
    nu_additional: Any = None,
    nuisance_score: NuisanceScore = "auto",
    n_theta: int | None = 1000,
    seed: Seed = 0,
    partition: str = "train",
    out: Out | None = None,
    client: Client | None = None,
    workers: int = 1,
    progress: bool = False,
    **options: Unpack[DrawOptions],
) -> Samples | SampleStore:
    """Draw as `sample_ratio` does, with the joint scores t_xz at theta0 and t_xz1 at theta1.

    Additional points make more of the drawn events. Each pair (theta0, theta1) has a third point a then, in turn, from
    which events are drawn too, and every event becomes two rows, one for each pair of which its point is part:

    =================  ==========================================
    drawn from theta0  (theta0, theta1), y = 0; (theta0, a), y = 0
    drawn from theta1  (theta0, theta1), y = 1; (a, theta1), y = 1
    drawn from a       (theta0, a), y = 1; (a, theta1), y = 0
    =================  ==========================================

    So each of the three pairs has as many events of either of its classes, which is what labels and cross-entropies
    with gold rest on: events of theta0 alone would tell an estimator that the pair (theta0, a) always has y = 0. The
    two rows of an event are not independent, so that n rows are worth less than n events.

    Parameters
    ----------
    n
        Rows in all; with additional points an even number, or one less.
    additional, nu_additional
        Parameter points or a prior, and nuisance parameters that go with them, as theta0 and nu0; None: no more points.

    Raises
    ------
    MissingError
        If the set-up has no gradients at a point.

    Examples
    --------
    >>> prior = cm.flat_prior([(-0.05, 0.05)] * 2)
    >>> samples = cm.sample_double_ratio(cm.EventStore("events.zarr"), prior, prior, 1000)
    >>> samples.theta0.shape, samples.theta1.shape
    ((1000, 2), (1000, 2))
    """
    given = any(nu is not None for nu in (nu0, nu1, nu_additional))
    shown = _nuisances_show(nuisance_score, store, auto=given)
    run = partial(run_tasks, client=client, workers=workers, progress=progress)
    request = Request(store, partition, n, n_theta, seed, out, run, shown, options)
    points = [(theta0, nu0), (theta1, nu1), *([] if additional is None else [(additional, nu_additional)])]
    return draw_compared(request, points, scores=("t_xz", "t_xz1"))


@overload
def sample_local(
    store: EventStore, theta: Any, n: int, *, out: None = None, **options: Unpack[_LocalOptions]
) -> Samples: ...
@overload
def sample_local(
    store: EventStore, theta: Any, n: int, *, out: Out, **options: Unpack[_LocalOptions]
) -> SampleStore: ...
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
    out: Out | None = None,
    client: Client | None = None,
    workers: int = 1,
    progress: bool = False,
    **options: Unpack[DrawOptions],
) -> Samples | SampleStore:
    """Draw n events at theta, with the joint score there; see `sample_ratio` for the arguments.

    By default nuisance parameters show if the store has any: the score is that of theta and of them.

    Returns
    -------
    Samples or SampleStore
        In random order: x, theta0 (the point) and t_xz.

    Raises
    ------
    MissingError
        If the set-up has no gradients at a point, or no event has weight there.

    Examples
    --------
    >>> samples = cm.sample_local(cm.EventStore("events.zarr"), "sm", 1000)
    >>> samples.t_xz.shape  # joint score
    (1000, 2)
    """
    shown = _nuisances_show(nuisance_score, store, auto=bool(store.nuisances))
    run = partial(run_tasks, client=client, workers=workers, progress=progress)
    request = Request(store, partition, n, n_theta, seed, out, run, shown, options)
    return draw_single(request, theta, nu, name="local", scores=("t_xz",))


@overload
def sample_density(
    store: EventStore, theta: Any, n: int, *, out: None = None, **options: Unpack[_LocalOptions]
) -> Samples: ...
@overload
def sample_density(
    store: EventStore, theta: Any, n: int, *, out: Out, **options: Unpack[_LocalOptions]
) -> SampleStore: ...
def sample_density(
    store: EventStore,
    theta: Any,
    n: int,
    *,
    nu: Any = None,
    nuisance_score: NuisanceScore = "auto",
    n_theta: int | None = 1000,
    seed: Seed = 0,
    partition: str = "train",
    out: Out | None = None,
    client: Client | None = None,
    workers: int = 1,
    progress: bool = False,
    **options: Unpack[DrawOptions],
) -> Samples | SampleStore:
    """Draw n events at many theta (from a prior, for instance); see `sample_ratio` for the arguments.

    Returns
    -------
    Samples or SampleStore
        In random order: x, theta0 (the point) and, where the set-up has gradients, t_xz.

    Examples
    --------
    >>> samples = cm.sample_density(cm.EventStore("events.zarr"), cm.flat_prior([(-0.05, 0.05)] * 2), 1000, n_theta=100)
    >>> samples.x.shape, samples.theta0.shape
    ((1000, 3), (1000, 2))
    """
    shown = _nuisances_show(nuisance_score, store, auto=nu is not None)
    run = partial(run_tasks, client=client, workers=workers, progress=progress)
    request = Request(store, partition, n, n_theta, seed, out, run, shown, options)
    return draw_single(request, theta, nu, name="density", scores=_scores_of(store))


@overload
def sample_plain(
    store: EventStore, theta: Any, n: int, *, out: None = None, **options: Unpack[_PointOptions]
) -> Samples: ...
@overload
def sample_plain(
    store: EventStore, theta: Any, n: int, *, out: Out, **options: Unpack[_PointOptions]
) -> SampleStore: ...
def sample_plain(
    store: EventStore,
    theta: Any,
    n: int,
    *,
    nu: Any = None,
    n_theta: int | None = 1000,
    seed: Seed = 0,
    partition: str = "train",
    out: Out | None = None,
    client: Client | None = None,
    workers: int = 1,
    progress: bool = False,
    **options: Unpack[DrawOptions],
) -> Samples | SampleStore:
    """Draw n events at theta, without gold; see `sample_ratio` for the arguments.

    Returns
    -------
    Samples or SampleStore
        In random order: x and theta0 (the point).

    Examples
    --------
    >>> cm.sample_plain(cm.EventStore("events.zarr"), "sm", 1000).x.shape
    (1000, 3)
    """
    run = partial(run_tasks, client=client, workers=workers, progress=progress)
    request = Request(store, partition, n, n_theta, seed, out, run, nu is not None, options)
    return draw_single(request, theta, nu, name="plain")


@overload
def sample_test(
    store: EventStore, theta: Any, n: int, *, out: None = None, **options: Unpack[_PointOptions]
) -> Samples: ...
@overload
def sample_test(
    store: EventStore, theta: Any, n: int, *, out: Out, **options: Unpack[_PointOptions]
) -> SampleStore: ...
def sample_test(
    store: EventStore,
    theta: Any,
    n: int,
    *,
    nu: Any = None,
    n_theta: int | None = 1000,
    seed: Seed = 0,
    partition: str = "test",
    out: Out | None = None,
    client: Client | None = None,
    workers: int = 1,
    progress: bool = False,
    **options: Unpack[DrawOptions],
) -> Samples | SampleStore:
    """Draw n test events at theta, without gold; see `sample_ratio` for the arguments.

    Returns
    -------
    Samples or SampleStore
        In random order: x and theta0 (the point).

    Examples
    --------
    >>> events = cm.sample_test(cm.EventStore("events.zarr"), [0.02, 0.0], 1000)
    >>> events.partition
    'test'
    """
    run = partial(run_tasks, client=client, workers=workers, progress=progress)
    request = Request(store, partition, n, n_theta, seed, out, run, nu is not None, options)
    return draw_single(request, theta, nu, name="test")


def _scores_of(store: EventStore) -> tuple[str, ...]:
    """Return the joint score, where the set-up has gradients."""
    return () if store.setup.morphing is None and store.setup.differences is None else ("t_xz",)


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
