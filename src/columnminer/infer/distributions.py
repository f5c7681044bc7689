"""Distributions of observables at several parameter points, with what is uncertain about them: what pictures show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.stats import chi2

from columnminer.errors import InputError, MissingError, UnknownNameError, did_you_mean
from columnminer.infer.bins import Axis, Bins, even_edges
from columnminer.infer.events import StoredEvents
from columnminer.infer.morphed import fill
from columnminer.infer.summary import Summary
from columnminer.streams import Seed, seed_sequence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from boost_histogram import Histogram
    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.events import Partition
    from columnminer.infer.morphed import MorphedHistogram
    from columnminer.model.setup import Theta
    from columnminer.store.eventstore import EventStore

__all__ = ["TOTAL", "Distribution", "distributions"]

TOTAL = "all systematics"
"""Name of the toys in which all nuisance parameters vary together."""

_N_BINS = 40
_PILOT_EVENTS = 50_000
_ONE_SIGMA = 0.6827


@dataclass(frozen=True)
class Distribution:
    """A histogram in one or two observables at several parameter points.

    Arrays end in the shape of the bins, under- and overflow included: n_edges + 1 along each axis.

    Attributes
    ----------
    axes : tuple of Axis
        One or two.
    points : tuple of str
        Names of the parameter points.
    value : numpy.ndarray
        (n_points, bins...) contents, in `unit`.
    error : numpy.ndarray or None
        (n_points, bins...) statistical errors of the simulation.
    toys : mapping
        Name of a systematic uncertainty, or `TOTAL` -> (n_points, n_toys, bins...) contents where its nuisance
        parameters are drawn from their constraints; empty without systematic uncertainties.
    unit : str
        "pb", "events", or "" of a normalised distribution.
    counts : numpy.ndarray or None
        (bins...) observed events.
    per_count : float
        What an observed event adds to a bin, in `unit`.

    Examples
    --------
    >>> store = cm.EventStore("events.zarr")
    >>> likelihood = cm.HistogramLikelihood.from_store(store, "m_ll", 3000.0, bins=8)
    >>> shown = cm.Distribution.from_templates(likelihood.templates, {"SM": "sm"}).at_luminosity(3000.0)
    >>> shown = shown.with_counts(likelihood.simulate(seed=1, c_ll=0.0, c_lr=0.0))
    >>> shown.value.shape, shown.counts.shape
    ((1, 8), (8,))
    """

    axes: tuple[Axis, ...]
    points: tuple[str, ...]
    value: NDArray[np.float64]
    error: NDArray[np.float64] | None = None
    toys: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    unit: str = "pb"
    counts: NDArray[np.float64] | None = None
    per_count: float = 1.0

    @classmethod
    def of(cls, histograms: Mapping[str, Histogram[Any]]) -> Self:
        """Return histograms of the `hist` or `boost_histogram` package, by the name of their parameter points.

        Raises
        ------
        InputError
            If there are none, or they do not have the same one or two axes.
        """
        axes = [h.axes for h in histograms.values()]
        if not axes or any(
            not 1 <= len(own) <= 2
            or len(own) != len(axes[0])
            or any(not np.array_equal(a.edges, b.edges) for a, b in zip(own, axes[0], strict=True))
            for own in axes
        ):
            msg = "a distribution is made of histograms with equal axes, one or two"
            raise InputError(msg)
        names = [getattr(a, "label", "") or getattr(a, "name", "") or "observable" for a in axes[0]]
        value = np.stack([_with_flow(h, h.values(flow=True)) for h in histograms.values()])
        variance = np.stack([_with_flow(h, h.variances(flow=True)) for h in histograms.values()])
        own = tuple(Axis(name, a.edges) for name, a in zip(names, axes[0], strict=True))
        return cls(own, tuple(histograms), value, np.sqrt(variance))

    @classmethod
    def from_templates(
        cls,
        templates: MorphedHistogram,
        points: Mapping[str, Theta],
        *,
        systematics: Sequence[str] | None = None,
        n_toys: int = 1000,
        seed: Seed = 0,
    ) -> Self:
        """Return what benchmark histograms, such as the `HistogramLikelihood.templates`, are at parameter points.

        Parameters
        ----------
        templates
            Errors are those of its sums of squared weights, if it has them; toys vary its nuisance parameters.
        points
            Name -> parameter point.
        systematics
            Names of the systematic uncertainties that vary; all by default.
        n_toys, seed
            Number of toys: points of the nuisance parameters, drawn from their constraints, unit Gaussians.

        Raises
        ------
        InputError
            If there are not one or two axes.
        UnknownNameError
            If a systematic uncertainty does not exist.
        """
        bins, setup = templates.bins, templates.setup
        if not 1 <= len(bins.axes) <= 2:
            msg = f"a distribution has one or two axes, not {len(bins.axes)}"
            raise InputError(msg)
        varied = () if templates.signal_variations is None else templates.signal_variations.parameters
        theta = setup.thetas(list(points.values()))
        nominal = np.concatenate([theta, np.zeros((len(theta), len(varied)))], axis=1)
        shape = (len(theta), *bins.shape)
        error = None if templates.signal_squares is None else np.sqrt(templates.variance(nominal)).reshape(shape)
        known = {s.name: {p.name for p in s.nuisance_parameters} & {p.name for p in varied} for s in setup.systematics}
        known = {name: parameters for name, parameters in known.items() if parameters}
        for name in systematics or ():
            if name not in known:
                msg = f"no systematic uncertainty of these histograms is called {name!r}.{did_you_mean(name, known)}"
                raise UnknownNameError(msg)
        wanted = {name: known[name] for name in (known if systematics is None else systematics)}
        nu = np.random.default_rng(seed_sequence(seed, "distribution")).normal(size=(n_toys, len(varied)))
        toys = {}
        for name, parameters in ({TOTAL: set().union(*wanted.values()), **wanted} if wanted else {}).items():
            some = np.where([p.name in parameters for p in varied], nu, 0.0)
            both = np.concatenate([np.repeat(theta, n_toys, axis=0), np.tile(some, (len(theta), 1))], axis=1)
            toys[name] = templates.at(both).reshape(len(theta), n_toys, *bins.shape)
        return cls(bins.axes, tuple(points), templates.at(nominal).reshape(shape), error, toys)

    def band(self, level: float = _ONE_SIGMA, systematic: str = TOTAL) -> tuple[NDArray[np.float64], ...]:
        """Return the central interval of the toys in each bin, lower and upper ends, each (n_points, bins...).

        Raises
        ------
        MissingError
            If there are no such toys.
        """
        if systematic not in self.toys:
            have = ", ".join(self.toys) or "none"
            msg = f"this distribution has no toys of {systematic!r} (it has: {have}); see columnminer.distributions"
            raise MissingError(msg)
        low, high = np.quantile(self.toys[systematic], [0.5 - 0.5 * level, 0.5 + 0.5 * level], axis=1)
        return low, high

    def at_luminosity(self, luminosity: float) -> Self:
        """Return the expected numbers of events at an integrated luminosity [pb^-1], without observed ones."""
        if self.unit != "pb":
            msg = f"a luminosity makes events of cross sections, but the unit of this distribution is {self.unit!r}"
            raise InputError(msg)
        return replace(self._scaled(luminosity), unit="events", counts=None)

    def normalised(self) -> Self:
        """Return the distribution over the bins that are shown: those between the edges sum to 1.

        Each toy is normalised, too: what only changes the rate has no width any more.

        Raises
        ------
        MissingError
            If there is nothing between the edges.
        """
        n_observed = None if self.counts is None else self._inner_sum(self.counts)
        total = self._inner_sum(self.value)
        if not (total > 0.0).all() or n_observed == 0.0:
            msg = "there is nothing between the edges of this distribution to normalise"
            raise MissingError(msg)
        toys = {name: toy / self._inner_sum(toy) for name, toy in self.toys.items()}
        per_count = 1.0 if n_observed is None else 1.0 / float(n_observed.item())
        return replace(self._scaled(1.0 / total), toys=toys, unit="", per_count=per_count)

    def with_data(self, x: ArrayLike) -> Self:
        """Return the distribution with observed events: their values (n,) of the observable, or (n, 2) of both."""
        values = np.asarray(x, dtype=np.float64).reshape(-1, len(self.axes))
        bins = Bins(self.axes)
        return self.with_counts(np.bincount(bins.find_bins(values), minlength=bins.size).reshape(bins.shape))

    def with_counts(self, counts: ArrayLike) -> Self:
        """Return the distribution with observed numbers of events in the bins, under- and overflow included.

        Raises
        ------
        InputError
            If their shape is not that of the bins, or this is a distribution of cross sections.
        """
        observed = np.asarray(counts, dtype=np.float64)
        if observed.shape != self.value.shape[1:]:
            msg = f"counts have shape {observed.shape}, but the bins (with under- and overflow) {self.value.shape[1:]}"
            raise InputError(msg)
        if self.unit == "pb":
            msg = "data are compared with numbers of events: call at_luminosity(...) first (or normalised())"
            raise InputError(msg)
        per_count = 1.0 if self.unit else 1.0 / max(float(self._inner_sum(observed).item()), 1.0)
        return replace(self, counts=observed, per_count=per_count)

    def data(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return what was observed in `unit`, and the ends of its 68 % intervals, each (bins...).

        The intervals are the central ones of a Poisson mean (Garwood 1936).

        Raises
        ------
        MissingError
            If there are no data.
        """
        if self.counts is None:
            msg = "this distribution has no data; see with_data and with_counts"
            raise MissingError(msg)
        tail, n = 0.5 * (1.0 - _ONE_SIGMA), self.counts
        low = np.where(n > 0.0, 0.5 * chi2.ppf(tail, 2.0 * np.maximum(n, 1e-9)), 0.0)
        high = 0.5 * chi2.isf(tail, 2.0 * n + 2.0)
        return n * self.per_count, low * self.per_count, high * self.per_count

    def _inner_sum(self, contents: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sums over the bins between the edges, with axes kept."""
        inner = contents[..., 1:-1] if len(self.axes) == 1 else contents[..., 1:-1, 1:-1]
        return np.asarray(inner.sum(axis=tuple(range(-len(self.axes), 0)), keepdims=True))

    def _scaled(self, factor: float | NDArray[np.float64]) -> Self:
        error = None if self.error is None else self.error * factor
        toys = {
            name: toy * np.expand_dims(factor, 1) if np.ndim(factor) else toy * factor
            for name, toy in self.toys.items()
        }
        return replace(self, value=self.value * factor, error=error, toys=toys)


def _with_flow(histogram: Histogram[Any], contents: Any) -> NDArray[np.float64]:
    """Add empty under- and overflow bins where a histogram has none."""
    missing = [(int(not a.traits.underflow), int(not a.traits.overflow)) for a in histogram.axes]
    return np.pad(np.asarray(contents, dtype=np.float64), missing)


def distributions(
    store: EventStore,
    points: Mapping[str, Theta] | Sequence[str] | None = None,
    observables: Sequence[str | Sequence[str]] | str | None = None,
    *,
    bins: int | Mapping[str, int | ArrayLike] = _N_BINS,
    systematics: Sequence[str] | bool = True,
    n_toys: int = 1000,
    seed: Seed = 0,
    partition: Partition = "all",
    cuts: Sequence[str] = (),
    efficiencies: Sequence[str] = (),
) -> tuple[Distribution, ...]:
    """Return distributions of a store's observables at parameter points, each from one pass over the events.

    Parameters
    ----------
    store
        Simulated events.
    points
        Name -> parameter point, or names of benchmarks; all benchmarks by default.
    observables
        Names or expressions of observables, a distribution for each; a pair of them is a distribution in both. All
        observables by default.
    bins
        Number of bins of equal width over the middle 99.6 % of the events, or by observable that number, or edges.
    systematics
        Which systematic uncertainties of the store vary: all, none (False), or their names.
    n_toys, seed
        Points of the nuisance parameters, see `Distribution.from_templates`.
    partition, cuts, efficiencies
        Which events, and expressions of observables that multiply their weights; see `HistogramLikelihood.from_store`.

    Raises
    ------
    UnknownNameError
        If an observable, a benchmark or a systematic uncertainty does not exist.
    MissingError
        If systematic uncertainties are named and the store has none, or no events are left.

    Examples
    --------
    >>> mass, both = cm.distributions(cm.EventStore("events.zarr"), ["sm"], ["m_ll", ("m_ll", "y_ll")], bins=10)
    >>> mass.value.shape, both.value.shape  # under- and overflow included
    ((1, 12), (1, 12, 12))
    """
    if points is None or not isinstance(points, Mapping):
        points = {name: name for name in (points or store.setup.benchmark_names)}
    wanted = (
        store.observable_names
        if observables is None
        else [observables]
        if isinstance(observables, str)
        else observables
    )
    events = StoredEvents(store, partition, cuts=cuts, efficiencies=efficiencies)
    varied = bool(systematics) and (systematics is not True or bool(store.nuisances or store.variations))
    found = []
    for observable in wanted:
        summary = Summary(observable, store.observable_names)
        axes = tuple(
            Axis(name, edges) for name, edges in zip(summary.names, _edges(events, summary, bins), strict=True)
        )
        templates = fill(events, summary, Bins(axes), nuisances=varied, squares=True)
        some = None if isinstance(systematics, bool) else systematics
        found.append(Distribution.from_templates(templates, points, systematics=some, n_toys=n_toys, seed=seed))
    return tuple(found)


def _edges(
    events: StoredEvents, summary: Summary, bins: int | Mapping[str, int | ArrayLike]
) -> list[NDArray[np.float64]]:
    """Return the edges along each column of a summary."""
    given = {name: bins.get(name, _N_BINS) if isinstance(bins, Mapping) else bins for name in summary.names}
    if all(np.ndim(entry) > 0 for entry in given.values()):
        return [np.asarray(entry, dtype=np.float64) for entry in given.values()]
    # Spread over the store, as many events as are enough to see where they are.
    step = max(1, events.n_stored // _PILOT_EVENTS)
    values = np.concatenate([summary(block.x[::step], events.names) for block in events.blocks()])
    return [
        even_edges(column, entry) if isinstance(entry, int) else np.asarray(entry, dtype=np.float64)
        for entry, column in zip(given.values(), values.T, strict=True)
    ]
