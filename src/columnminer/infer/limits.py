"""Expected and observed limits: p values of parameter points, from any likelihood or what stands for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from columnminer.errors import InputError, UnknownNameError, did_you_mean
from columnminer.infer.adaptive import AdaptiveHistograms
from columnminer.infer.estimates import gives_ratio
from columnminer.infer.events import AsimovEvents, Dataset, Events, RecordedEvents, Rescaled, StoredEvents
from columnminer.infer.grid import Grid, grid_points
from columnminer.infer.histogram import HistogramLikelihood
from columnminer.infer.likelihood import Likelihood
from columnminer.infer.neural import NeuralLikelihood
from columnminer.infer.rate import RateLikelihood
from columnminer.infer.scan import Limits, scan
from columnminer.sample.samples import Samples
from columnminer.store.eventstore import EventStore
from columnminer.store.samplestore import SampleStore
from columnminer.streams import Seed, seed_sequence

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.bins import BinSpec
    from columnminer.infer.estimates import RatioLike
    from columnminer.infer.events import Partition
    from columnminer.infer.summary import SummaryItems

__all__ = ["Grid", "Limits", "expected_limits", "observed_limits", "scan"]

What: TypeAlias = "RatioLike | SummaryItems"
"""What a likelihood is built from: a ratio estimator, "rate", or the axes of a histogram."""

Points: TypeAlias = "ArrayLike | Sequence[str | Mapping[str, float]]"
"""A list of parameter points: (n, n_par), names of benchmarks, or values by name."""

BinsAt: TypeAlias = 'Literal["grid", "each"] | Points'
"""Where bins have equal cross sections."""


def expected_limits(
    store: EventStore | None,
    what: Likelihood | What,
    theta_true: Any,
    grid: Grid | Points,
    luminosity: float | None = None,
    *,
    include_rate: bool = True,
    bins: BinSpec = None,
    bins_at: BinsAt = "grid",
    theta_ref: Any = None,
    score_components: Sequence[str] | None = None,
    template_statistics: bool = False,
    n_sampled: int | None = None,
    dof: int | None = None,
    partition: Partition = "test",
    template_partition: Partition = ("train", "validation"),
    cuts: Sequence[str] = (),
    efficiencies: Sequence[str] = (),
    nuisances: bool = False,
    n_asimov: int | None = None,
    seed: Seed = 0,
) -> Limits:
    """Return the limits to expect if `theta_true` is the truth.

    The data are Asimov data (arXiv:1007.1727, section 3): all events of `partition`, weighted to theta_true and scaled
    to the expected number of events, or a sample of them.

    Parameters
    ----------
    store
        Simulated events; None where `what` is a likelihood.
    what
        A ratio estimator (also of densities or double ratios, an ensemble, or a `ScoreProjection`), "rate", what to
        histogram (names or expressions of observables, score estimators, or a list of them), or any `Likelihood`, whose
        own Asimov data are then used.
    theta_true
        Parameter point, or name of a benchmark.
    grid
        `Grid`, or list of points, to evaluate: (n, n_par), names of benchmarks, or values by name.
    luminosity
        [pb^-1].
    include_rate
        Whether the number of events counts.
    bins
        Of histograms: edges, or numbers of bins of equal cross sections.
    bins_at
        Where these are equal: "grid", on average over the grid; a list of points, over which they are averaged;
        "each", anew at every point of the grid, as `AdaptiveHistograms` compares them.
    theta_ref
        Denominator of the ratios of ``bins_at="each"``; the reference benchmark by default.
    score_components
        Names of the parameters whose components of score estimators are histogrammed; all by default.
    template_statistics
        Whether the limited number of simulated events in histograms counts; see `HistogramLikelihood`.
    n_sampled
        Fill the histogram at each benchmark with so many unweighted events; None: with all, weighted. See
        `columnminer.infer.sampled`.
    dof
        Degrees of freedom; the number of parameters unless given.
    partition
        Events of the Asimov data.
    template_partition
        Events that fill histograms.
    cuts, efficiencies
        Expressions of observables.
    nuisances
        Whether the store's nuisance parameters are constrained and profiled at each point, or 0. Where a ratio
        estimator, or ``bins_at="each"``, knows theta alone, they change the number of events, not their distribution.
    n_asimov
        Make the Asimov data of so many unweighted events, drawn from those of `partition`; None: of all, weighted.
    seed
        Of what is drawn.

    Raises
    ------
    InputError, UnknownNameError, MissingError
        If these do not fit together; the message says what.

    Examples
    --------
    >>> store, alices = cm.EventStore("events.zarr"), cm.load_estimator("alices")
    >>> grid = cm.Grid([(-0.05, 0.05, 5), (-0.05, 0.05, 5)])
    >>> neural = cm.expected_limits(store, alices, "sm", grid, luminosity=3000.0)
    >>> histogram = cm.expected_limits(store, "m_ll", "sm", grid, luminosity=3000.0, bins=8)
    >>> rate = cm.expected_limits(store, "rate", "sm", grid, luminosity=3000.0)
    >>> rate.p_value.shape
    (25,)
    """
    if isinstance(what, Likelihood):
        return scan(what.with_data(what.asimov(theta_true)), _points(grid, None), dof=dof)
    store, luminosity = _both(store, luminosity)
    points = _points(grid, store)
    options = {"cuts": cuts, "efficiencies": efficiencies}
    likelihood = _likelihood(
        store,
        what,
        luminosity,
        points,
        include_rate,
        bins=bins,
        bins_at=bins_at,
        theta_ref=theta_ref,
        score_components=score_components,
        template_statistics=template_statistics,
        n_sampled=n_sampled,
        seed=seed,
        templates=template_partition,
        events=partition,
        nuisances=nuisances,
        **options,
    )
    truth = store.setup.theta(theta_true)
    by_name = dict(zip(store.setup.space.names, truth.tolist(), strict=True))
    n_expected = float(np.asarray(likelihood.expected(by_name)).sum())
    if isinstance(likelihood, RateLikelihood):
        return _scan(likelihood.with_data(n_expected), points, dof)
    events = StoredEvents(store, partition, **options)
    if n_asimov is None:
        asimov: Dataset = AsimovEvents(events, truth, n_expected)
    elif n_asimov < 1:
        msg = f"a sample of Asimov data has at least one event, not {n_asimov}"
        raise InputError(msg)
    else:
        rng = np.random.default_rng(seed_sequence(seed, "asimov"))
        asimov = Rescaled(events.draw(truth, n_asimov, rng), n_expected / n_asimov)
    return _scan(likelihood.with_data(asimov), points, dof)


def observed_limits(
    store: EventStore | None,
    what: Likelihood | What,
    data: Any,
    grid: Grid | Points,
    luminosity: float | None = None,
    *,
    include_rate: bool = True,
    bins: BinSpec = None,
    bins_at: BinsAt = "grid",
    theta_ref: Any = None,
    score_components: Sequence[str] | None = None,
    template_statistics: bool = False,
    n_sampled: int | None = None,
    dof: int | None = None,
    n_observed: float | None = None,
    template_partition: Partition = ("train", "validation"),
    cuts: Sequence[str] = (),
    efficiencies: Sequence[str] = (),
    nuisances: bool = False,
    seed: Seed = 0,
) -> Limits:
    """Return the limits from observed data.

    Parameters
    ----------
    store
        Simulated events; None where `what` is a likelihood.
    what, grid, luminosity, include_rate, bins, bins_at, theta_ref, score_components
        As for `expected_limits`.
    template_statistics, n_sampled, dof
        As for `expected_limits`.
    data
        Observed events: observables (n, n_obs) in the order of the store, a store of recorded events, what
        `sample_test` has drawn at one point, a `Dataset`, or what else the likelihood takes: counts in bins, a number
        of events.
    n_observed
        Rescale the data to this number of events (after cuts): what more data of the same kind would say.
    template_partition, cuts, efficiencies, nuisances, seed
        As for `expected_limits`. Cuts act on the data, too.

    Raises
    ------
    InputError, UnknownNameError, MissingError
        If these do not fit together; the message says what.

    Examples
    --------
    >>> store = cm.EventStore("events.zarr")
    >>> data = cm.sample_test(store, "sm", 300)
    >>> grid = cm.Grid([(-0.05, 0.05, 5), (-0.05, 0.05, 5)])
    >>> limits = cm.observed_limits(store, cm.load_estimator("alices"), data.x, grid, luminosity=3000.0)
    >>> limits.best_fit.shape
    (2,)
    """
    if isinstance(what, Likelihood):
        likelihood: Likelihood = what
        points = _points(grid, store)
    else:
        store, luminosity = _both(store, luminosity)
        points = _points(grid, store)
        options = {"cuts": cuts, "efficiencies": efficiencies}
        likelihood = _likelihood(
            store,
            what,
            luminosity,
            points,
            include_rate,
            bins=bins,
            bins_at=bins_at,
            theta_ref=theta_ref,
            score_components=score_components,
            template_statistics=template_statistics,
            n_sampled=n_sampled,
            seed=seed,
            templates=template_partition,
            events="test",
            nuisances=nuisances,
            **options,
        )
    with_data = likelihood.with_data(_observed(data, store, n_observed, likelihood))
    return scan(with_data, points, dof=dof) if isinstance(what, Likelihood) else _scan(with_data, points, dof)


def _scan(likelihood: Likelihood, grid: Grid | ArrayLike, dof: int | None) -> Limits:
    """Scan a likelihood built here, whose nuisance parameters nothing else constrains yet."""
    constrained = likelihood.constrained()
    return scan(constrained if len(constrained.factors) > 1 else likelihood, grid, dof=dof)


def _points(points: Grid | Points, store: EventStore | None) -> Grid | NDArray[np.float64]:
    """Return a grid as it is, and a list of points as an array (n, n_par)."""
    if isinstance(points, Grid):
        return points
    if isinstance(points, Sequence) and any(isinstance(point, str | Mapping) for point in points):
        if store is None:
            msg = "the parameters of a likelihood are numbers: give points (n, n_par) without names"
            raise InputError(msg)
        return store.setup.thetas(list(points))
    return np.asarray(points, dtype=np.float64)


def _both(store: EventStore | None, luminosity: float | None) -> tuple[EventStore, float]:
    if store is None or luminosity is None:
        msg = "limits from anything but a likelihood need a store of simulated events and a luminosity [pb^-1]"
        raise InputError(msg)
    return store, luminosity


def _likelihood(
    store: EventStore,
    what: What,
    luminosity: float,
    grid: Grid | ArrayLike,
    include_rate: bool,
    *,
    bins: BinSpec,
    bins_at: BinsAt,
    theta_ref: Any,
    score_components: Sequence[str] | None,
    template_statistics: bool,
    n_sampled: int | None,
    seed: Seed,
    templates: Partition,
    events: Partition,
    nuisances: bool,
    **options: Any,
) -> RateLikelihood | HistogramLikelihood | NeuralLikelihood:
    """Return the likelihood that `what` is short for."""
    each = isinstance(bins_at, str) and bins_at == "each"
    if isinstance(bins_at, str) and bins_at not in {"grid", "each"}:
        msg = f"bins_at is 'grid', 'each' or a list of points, not {bins_at!r}"
        raise InputError(msg)
    if theta_ref is not None and not each:
        msg = "theta_ref is the denominator of bins_at='each'; other ratios bring their own"
        raise InputError(msg)
    if n_sampled is not None and (each or gives_ratio(what) or what == "rate"):
        msg = "n_sampled is for histograms whose bins are the same at all points; leave it out"
        raise InputError(msg)
    if isinstance(what, str) and what == "rate":
        if not include_rate:
            msg = "limits from the rate without the rate say nothing: leave include_rate=True"
            raise InputError(msg)
        return RateLikelihood.from_store(store, luminosity, nuisances=nuisances, **options)
    if not gives_ratio(what) and each:
        if template_statistics:
            msg = "bins_at='each' compares two histograms of the same events: leave template_statistics=False"
            raise InputError(msg)
        what = AdaptiveHistograms(
            store,
            what,
            bins=bins,
            theta_ref=theta_ref,
            score_components=score_components,
            partition=templates,
            **options,
        )
    if gives_ratio(what):
        return NeuralLikelihood.from_store(
            store, what, luminosity, include_rate=include_rate, partition=events, nuisances=nuisances, **options
        )
    return HistogramLikelihood.from_store(
        store,
        what,
        luminosity,
        bins=bins,
        bin_thetas=grid_points(_points(grid if isinstance(bins_at, str) else bins_at, store), store.setup.space.names),
        include_rate=include_rate,
        partition=templates,
        nuisances=nuisances,
        template_statistics=template_statistics,
        score_components=score_components,
        n_sampled=n_sampled,
        seed=seed,
        **options,
    )


def _observed(data: Any, store: EventStore | None, n_observed: float | None, likelihood: Likelihood) -> Any:
    """Return data in a form that the likelihood takes, scaled to `n_observed` events that pass its cuts."""
    if isinstance(data, EventStore):
        if not data.recorded:
            msg = f"{data.path} holds simulated events, not data; process recorded ones with Sample(..., data=True)"
            raise InputError(msg)
        data = RecordedEvents(data)
    elif isinstance(data, Samples | SampleStore):
        data = _drawn(Samples.of(data), store, likelihood)
    elif store is not None and np.ndim(data) == 2 and np.shape(data)[1] == len(store.observable_names):
        data = Events(np.asarray(data, dtype=np.float64), store.observable_names)
    if n_observed is None:
        return data
    if isinstance(likelihood, NeuralLikelihood):
        return Rescaled(likelihood.as_data(data), n_observed / _count(likelihood.rate.as_data(data)))
    if not isinstance(likelihood, HistogramLikelihood | RateLikelihood):
        msg = f"n_observed rescales events, counts or their number, not the data of a {type(likelihood).__name__}"
        raise InputError(msg)
    counts = np.asarray(likelihood.as_data(data))
    return counts * (n_observed / _count(counts))


def _drawn(samples: Samples, store: EventStore | None, likelihood: Likelihood) -> Events:
    """Return samples as one pseudo-experiment; refuse those that are none, lack an observable, or were trained on."""
    if samples.y is not None or (samples.theta0 is not None and (samples.theta0 != samples.theta0[:1]).any()):
        msg = (
            "these samples were drawn at several points, but data have one truth: take those of columnminer.sample_test"
        )
        raise InputError(msg)
    if store is not None:
        for name in store.observable_names:
            if name not in samples.feature_names:
                msg = f"the samples lack the observable {name!r} of {store.path}."
                raise UnknownNameError(msg + did_you_mean(name, samples.feature_names))
        check = getattr(getattr(likelihood, "estimator", None), "check_store", None)
        if check is not None and store.hash == samples.store_hash:
            check(store, samples.partition)
    weights = None if samples.weights is None else np.asarray(samples.weights, dtype=np.float64)
    return Events(np.asarray(samples.x, dtype=np.float64), samples.feature_names, weights)


def _count(counts: NDArray[np.float64]) -> float:
    total = float(counts.sum())
    if not total > 0.0:
        msg = "there are no observed events to rescale"
        raise InputError(msg)
    return total
