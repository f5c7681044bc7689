"""Expected and observed limits: p values of parameter points, from any likelihood."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy.stats import chi2

from columnminer.errors import InputError, MissingError
from columnminer.infer.estimates import gives_ratio
from columnminer.infer.events import AsimovEvents, Dataset, Events, RecordedEvents, StoredEvents
from columnminer.infer.histogram import HistogramLikelihood
from columnminer.infer.likelihood import Likelihood
from columnminer.infer.neural import NeuralLikelihood
from columnminer.infer.rate import RateLikelihood
from columnminer.store.eventstore import EventStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.bins import Axis, BinSpec
    from columnminer.infer.estimates import RatioLike
    from columnminer.infer.events import Partition
    from columnminer.infer.summary import SummaryItems

__all__ = ["Grid", "Histograms", "Limits", "expected_limits", "observed_limits", "scan"]

What: TypeAlias = "RatioLike | SummaryItems"
"""What a likelihood is built from: a ratio estimator, "rate", or the axes of a histogram."""


@dataclass(frozen=True)
class Grid:
    """Regular grid of parameter points.

    Parameters
    ----------
    ranges
        (low, high, number of points) for each parameter.
    names
        Of the parameters; limits fill them in.

    Raises
    ------
    InputError
        If a range is not increasing, or has fewer than two points.
    """

    ranges: Sequence[tuple[float, float, int]]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for entry in self.ranges:
            if np.shape(entry) != (3,) or not entry[0] < entry[1] or entry[2] != int(entry[2]) or entry[2] < 2:
                msg = f"a range of a grid is (low, high, number of points >= 2), not {entry!r}"
                raise InputError(msg)
        object.__setattr__(self, "ranges", tuple((float(lo), float(hi), int(n)) for lo, hi, n in self.ranges))
        if self.names and len(self.names) != len(self.ranges):
            msg = f"a grid of {len(self.ranges)} parameters cannot be named {', '.join(self.names)}"
            raise InputError(msg)

    @cached_property
    def axes(self) -> tuple[NDArray[np.float64], ...]:
        """Values along each parameter."""
        return tuple(np.linspace(lo, hi, n) for lo, hi, n in self.ranges)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of points along each parameter."""
        return tuple(n for _, _, n in self.ranges)

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """All points (n, n_par), the last parameter running fastest."""
        return np.stack(np.meshgrid(*self.axes, indexing="ij"), axis=-1).reshape(-1, len(self.ranges))


@dataclass(frozen=True)
class Histograms:
    """The histograms that limits were made with.

    Attributes
    ----------
    axes : tuple of Axis
        Edges; under- and overflow are bins beside them.
    expected : numpy.ndarray
        (n_theta, *shape) expected number of events in each bin.
    observed : numpy.ndarray
        (*shape) number of events in the data.
    """

    axes: tuple[Axis, ...]
    expected: NDArray[np.float64]
    observed: NDArray[np.float64]


@dataclass(frozen=True)
class Limits:
    r"""What data say about parameter points.

    The log ratios are :math:`\log L(\theta) / L(\hat\theta)` with the best fit among the points. By Wilks' theorem
    :math:`q = -2 \log L(\theta)/L(\hat\theta)` follows a chi-square distribution at the true theta (arXiv:1007.1727),
    which gives the p value.

    Attributes
    ----------
    parameter_names : tuple of str
        What theta is.
    theta : numpy.ndarray
        (n, n_par) points.
    log_ratio : numpy.ndarray
        (n,) log likelihood ratio to the best fit.
    log_ratio_kinematic, log_ratio_rate : numpy.ndarray
        (n,) its two parts: distribution and number of events. They sum to `log_ratio`.
    p_value : numpy.ndarray
        (n,) probability of a ratio this small or smaller, if theta is true.
    dof : int
        Degrees of freedom of the chi-square distribution.
    best_fit_index : int
        Point of the largest likelihood.
    grid : Grid or None
        The grid that the points are, if they are one.
    histograms : Histograms or None
        Of a binned likelihood.
    data : object
        What the likelihood was evaluated on: number of events, counts in bins, or a `Dataset`.
    """

    parameter_names: tuple[str, ...]
    theta: NDArray[np.float64]
    log_ratio: NDArray[np.float64]
    log_ratio_kinematic: NDArray[np.float64]
    log_ratio_rate: NDArray[np.float64]
    p_value: NDArray[np.float64]
    dof: int
    best_fit_index: int
    grid: Grid | None = None
    histograms: Histograms | None = None
    data: Any = None

    @property
    def best_fit(self) -> NDArray[np.float64]:
        """(n_par,) point of the largest likelihood."""
        return np.asarray(self.theta[self.best_fit_index])

    def allowed(self, level: float = 0.95) -> NDArray[np.bool_]:
        """Return which points lie in the confidence region of this level, (n,)."""
        if not 0.0 < level < 1.0:
            msg = f"a confidence level lies between 0 and 1, not at {level}"
            raise InputError(msg)
        return np.asarray(self.p_value >= 1.0 - level)


def scan(likelihood: Likelihood, grid: Grid | ArrayLike, *, dof: int | None = None) -> Limits:
    """Return the limits from a likelihood with data on a grid, or a list of points (n, n_par).

    Parameters
    ----------
    likelihood
        With data.
    grid
        Where to evaluate it.
    dof
        Degrees of freedom; the number of parameters unless given.

    Raises
    ------
    InputError
        If the points do not fit the parameters.
    MissingError
        If there are no data, or they are impossible at every point.
    """
    points = _points(grid, likelihood.names)
    data = likelihood.data
    terms = likelihood.terms(points, data)
    total = np.asarray(terms.total)
    if total.shape != (len(points),):
        msg = f"limits take one data set at a time, not {total.shape[:-1]} of them"
        raise InputError(msg)
    if not np.isfinite(total).any():
        msg = "these data are impossible at every point of the grid"
        raise MissingError(msg)
    best = int(np.nanargmax(np.where(np.isnan(total), -np.inf, total)))
    dof = len(likelihood.parameters) if dof is None else dof
    log_ratio = total - total[best]
    return Limits(
        parameter_names=likelihood.names,
        theta=points,
        log_ratio=log_ratio,
        log_ratio_kinematic=terms.kinematic - terms.kinematic[best],
        log_ratio_rate=terms.rate - terms.rate[best],
        p_value=np.asarray(chi2.sf(-2.0 * log_ratio, dof)),
        dof=dof,
        best_fit_index=best,
        grid=replace(grid, names=likelihood.names) if isinstance(grid, Grid) else None,
        histograms=(
            Histograms(likelihood.bins.axes, likelihood.expected(points), data)
            if isinstance(likelihood, HistogramLikelihood)
            else None
        ),
        data=data,
    )


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
        **options,
    )
    truth = store.setup.theta(theta_true)
    n_expected = float(np.asarray(likelihood.expected(truth)).sum())
    if isinstance(likelihood, RateLikelihood):
        return scan(likelihood.with_data(n_expected), grid, dof=dof)
    asimov = AsimovEvents(StoredEvents(store, partition, **options), truth, n_expected)
    return scan(likelihood.with_data(asimov), grid, dof=dof)


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
) -> Limits:
    """Return the limits from observed data.

    Parameters
    ----------
    store
        Simulated events; None where `what` is a likelihood.
    what, grid, luminosity, include_rate, bins, dof, template_partition, cuts, efficiencies
        As for `expected_limits`. Cuts act on the data, too.
    data
        Observed events: observables (n, n_obs) in the order of the store, a store of recorded events, a `Dataset`, or
        what else the likelihood takes: counts in bins, a number of events.
    n_observed
        Rescale the data to this number of events: what more data of the same kind would say.

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
            **options,
        )
    return scan(likelihood.with_data(_observed(data, store, n_observed, likelihood)), grid, dof=dof)


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
    **options: Any,
) -> RateLikelihood | HistogramLikelihood | NeuralLikelihood:
    """Return the likelihood that `what` is short for."""
    if isinstance(what, str) and what == "rate":
        if not include_rate:
            msg = "limits from the rate without the rate say nothing: leave include_rate=True"
            raise InputError(msg)
        return RateLikelihood.from_store(store, luminosity, **options)
    if gives_ratio(what):
        return NeuralLikelihood.from_store(
            store, what, luminosity, include_rate=include_rate, partition=events, **options
        )
    points = _points(grid, store.setup.space.names)
    return HistogramLikelihood.from_store(
        store,
        what,
        luminosity,
        bins=bins,
        bin_thetas=points,
        include_rate=include_rate,
        partition=templates,
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


def _points(grid: Grid | ArrayLike, names: Sequence[str]) -> NDArray[np.float64]:
    points = grid.points if isinstance(grid, Grid) else np.asarray(grid, dtype=np.float64)
    if isinstance(grid, Grid) and grid.names and tuple(grid.names) != tuple(names):
        msg = f"the grid is one of {', '.join(grid.names)}, the likelihood one of {', '.join(names)}"
        raise InputError(msg)
    if points.ndim != 2 or points.shape[1] != len(names):
        msg = f"points of shape {points.shape} do not fit the {len(names)} parameters {', '.join(names)}"
        raise InputError(msg)
    return points
