"""Expected and observed limits: p values of parameter points, from any likelihood or what stands for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from columnminer.errors import InputError
from columnminer.infer.estimates import gives_ratio
from columnminer.infer.events import AsimovEvents, Dataset, Events, RecordedEvents, StoredEvents
from columnminer.infer.grid import Grid, grid_points
from columnminer.infer.histogram import HistogramLikelihood
from columnminer.infer.likelihood import Likelihood
from columnminer.infer.neural import NeuralLikelihood
from columnminer.infer.rate import RateLikelihood
from columnminer.infer.scan import Limits, scan
from columnminer.store.eventstore import EventStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from columnminer.infer.bins import BinSpec
    from columnminer.infer.estimates import RatioLike
    from columnminer.infer.events import Partition
    from columnminer.infer.summary import SummaryItems

__all__ = ["Grid", "Limits", "expected_limits", "observed_limits", "scan"]

What: TypeAlias = "RatioLike | SummaryItems"
"""What a likelihood is built from: a ratio estimator, "rate", or the axes of a histogram."""


def expected_limits(
    store: EventStore | None,
    what: Likelihood | What,
    theta_true: Any,
    grid: Grid | ArrayLike,
    luminosity: float | None = None,
    *,
    include_rate: bool = True,
    bins: BinSpec = None,
    dof: int | None = None,
    partition: Partition = "test",
    template_partition: Partition = ("train", "validation"),
    cuts: Sequence[str] = (),
    efficiencies: Sequence[str] = (),
    nuisances: bool = False,
    template_statistics: bool = False,
) -> Limits:
    """Return the limits to expect if `theta_true` is the truth.

    The data are Asimov data (arXiv:1007.1727, section 3): all events of `partition`, weighted to theta_true and scaled
    to the expected number of events.

    Parameters
    ----------
    store
        Simulated events; None where `what` is a likelihood.
    what
        A ratio estimator, "rate", what to histogram (names or expressions of observables, score estimators, or a list
        of them), or any `Likelihood`, whose own Asimov data are then used.
    theta_true
        Parameter point, or name of a benchmark.
    grid
        `Grid`, or points (n, n_par), to evaluate.
    luminosity
        [pb^-1].
    include_rate
        Whether the number of events counts.
    bins
        Of histograms: edges, or numbers of bins whose cross sections, averaged over the grid, are equal.
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
        estimator knows theta alone, they change the number of events, not their distribution.
    template_statistics
        Whether the limited number of simulated events in histograms counts; see `HistogramLikelihood`.

    Raises
    ------
    InputError, UnknownNameError, MissingError
        If these do not fit together; the message says what.
    """
    if isinstance(what, Likelihood):
        return scan(what.with_data(what.asimov(theta_true)), grid, dof=dof)
    store, luminosity = _both(store, luminosity)
    options = {"cuts": cuts, "efficiencies": efficiencies}
    likelihood = _likelihood(
        store,
        what,
        luminosity,
        grid,
        include_rate,
        bins=bins,
        templates=template_partition,
        events=partition,
        nuisances=nuisances,
        template_statistics=template_statistics,
        **options,
    )
    truth = store.setup.theta(theta_true)
    by_name = dict(zip(store.setup.space.names, truth.tolist(), strict=True))
    n_expected = float(np.asarray(likelihood.expected(by_name)).sum())
    if isinstance(likelihood, RateLikelihood):
        return _scan(likelihood.with_data(n_expected), grid, dof)
    asimov = AsimovEvents(StoredEvents(store, partition, **options), truth, n_expected)
    return _scan(likelihood.with_data(asimov), grid, dof)


def observed_limits(
    store: EventStore | None,
    what: Likelihood | What,
    data: Any,
    grid: Grid | ArrayLike,
    luminosity: float | None = None,
    *,
    include_rate: bool = True,
    bins: BinSpec = None,
    dof: int | None = None,
    n_observed: float | None = None,
    template_partition: Partition = ("train", "validation"),
    cuts: Sequence[str] = (),
    efficiencies: Sequence[str] = (),
    nuisances: bool = False,
    template_statistics: bool = False,
) -> Limits:
    """Return the limits from observed data.

    Parameters
    ----------
    store
        Simulated events; None where `what` is a likelihood.
    what, grid, luminosity, include_rate, bins, dof, template_partition
        As for `expected_limits`.
    data
        Observed events: observables (n, n_obs) in the order of the store, a store of recorded events, a `Dataset`, or
        what else the likelihood takes: counts in bins, a number of events.
    n_observed
        Rescale the data to this number of events: what more data of the same kind would say.
    cuts, efficiencies, nuisances, template_statistics
        As for `expected_limits`. Cuts act on the data, too.

    Raises
    ------
    InputError, UnknownNameError, MissingError
        If these do not fit together; the message says what.
    """
    if isinstance(what, Likelihood):
        likelihood: Likelihood = what
    else:
        store, luminosity = _both(store, luminosity)
        options = {"cuts": cuts, "efficiencies": efficiencies}
        likelihood = _likelihood(
            store,
            what,
            luminosity,
            grid,
            include_rate,
            bins=bins,
            templates=template_partition,
            events="test",
            nuisances=nuisances,
            template_statistics=template_statistics,
            **options,
        )
    with_data = likelihood.with_data(_observed(data, store, n_observed, likelihood))
    return scan(with_data, grid, dof=dof) if isinstance(what, Likelihood) else _scan(with_data, grid, dof)


def _scan(likelihood: Likelihood, grid: Grid | ArrayLike, dof: int | None) -> Limits:
    """Scan a likelihood built here, whose nuisance parameters nothing else constrains yet."""
    constrained = likelihood.constrained()
    return scan(constrained if len(constrained.factors) > 1 else likelihood, grid, dof=dof)


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
    templates: Partition,
    events: Partition,
    nuisances: bool,
    template_statistics: bool,
    **options: Any,
) -> RateLikelihood | HistogramLikelihood | NeuralLikelihood:
    """Return the likelihood that `what` is short for."""
    if isinstance(what, str) and what == "rate":
        if not include_rate:
            msg = "limits from the rate without the rate say nothing: leave include_rate=True"
            raise InputError(msg)
        return RateLikelihood.from_store(store, luminosity, nuisances=nuisances, **options)
    if gives_ratio(what):
        return NeuralLikelihood.from_store(
            store,
            what,
            luminosity,
            include_rate=include_rate,
            partition=events,
            nuisances=nuisances,
            **options,
        )
    points = grid_points(grid, store.setup.space.names)
    return HistogramLikelihood.from_store(
        store,
        what,
        luminosity,
        bins=bins,
        bin_thetas=points,
        include_rate=include_rate,
        partition=templates,
        nuisances=nuisances,
        template_statistics=template_statistics,
        **options,
    )


def _observed(data: Any, store: EventStore | None, n_observed: float | None, likelihood: Likelihood) -> Any:
    """Return data in a form that the likelihood takes, scaled to `n_observed` events."""
    if isinstance(data, EventStore):
        data = RecordedEvents(data)
    elif store is not None and np.ndim(data) == 2 and np.shape(data)[1] == len(store.observable_names):
        data = Events(np.asarray(data, dtype=np.float64), store.observable_names)
    if n_observed is None:
        return data
    if isinstance(data, Dataset):
        blocks = list(data.blocks())
        x, weights = np.concatenate([x for x, _ in blocks]), np.concatenate([w for _, w in blocks], axis=-1)
        return Events(x, data.names, weights * (n_observed / weights.sum(axis=-1, keepdims=True)))
    counts = np.asarray(likelihood.as_data(data))
    return counts * (n_observed / counts.sum())
