"""Histograms at the benchmarks, filled in one pass over a store, and morphed to any theta by a small matrix product."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from columnminer.errors import InputError, MissingError
from columnminer.infer.bins import Axis, Bins, quantile_edges, split_bins
from columnminer.infer.sampled import checked_number, sampled
from columnminer.infer.variations import Variations
from columnminer.store.weights import NuisanceColumn
from columnminer.streams import seed_sequence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.infer.bins import BinSpec
    from columnminer.infer.events import StoredEvents
    from columnminer.infer.summary import Summary
    from columnminer.model.parameters import Parameter
    from columnminer.model.setup import Setup
    from columnminer.streams import Seed

__all__ = ["PILOT_EVENTS", "MorphedHistogram", "choose_bins", "fill"]

PILOT_EVENTS = 2**18
"""Events that decide on equal-cross-section bins: quantiles to a fraction of a per mille, in a few MB."""


@dataclass(frozen=True)
class MorphedHistogram:
    r"""Cross sections in bins [pb] at any theta.

    .. math:: \sigma_k(\theta, \nu) = f_k(\nu) \sum_b w_b(\theta) H_{bk} + f^B_k(\nu) B_k

    with the morphing weights w_b, the histograms H_b of the signal at the benchmarks, and the background B; f are the
    factors of nuisance parameters, if there are any.

    Attributes
    ----------
    setup : Setup
        Gives the parameters and the morphing weights.
    signal : numpy.ndarray
        (n_benchmarks, n_bins) [pb].
    background : numpy.ndarray
        (n_bins,) [pb].
    bins : Bins
        Where the bins are.
    signal_variations, background_variations : Variations or None
        How the same nuisance parameters change the bins of signal and background; None: there are none.
    signal_squares : numpy.ndarray or None
        (n_benchmarks, n_benchmarks, n_bins) sums of products of event weights [pb^2], which `variance` needs.
    background_squares : numpy.ndarray or None
        (n_bins,) sums of squared weights [pb^2].
    """

    setup: Setup
    signal: NDArray[np.float64]
    background: NDArray[np.float64]
    bins: Bins = field(default_factory=Bins)
    signal_variations: Variations | None = None
    background_variations: Variations | None = None
    signal_squares: NDArray[np.float64] | None = None
    background_squares: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        shapes = (self.signal.shape, self.background.shape)
        if shapes != ((len(self.setup.benchmark_names), self.bins.size), (self.bins.size,)):
            msg = (
                f"histograms of shapes {shapes[0]} and {shapes[1]} do not fit {len(self.setup.benchmark_names)} "
                f"benchmarks and {self.bins.size} bins"
            )
            raise InputError(msg)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Parameters of the set-up, then nuisance parameters."""
        nuisances = () if self.signal_variations is None else self.signal_variations.parameters
        return (*self.setup.space, *nuisances)

    def at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the cross sections at points (..., n_par): [..., n_bins] in pb."""
        theta, nu = self._split(points)
        signal, background = self._morphed(theta), self.background
        if self.signal_variations is not None and self.background_variations is not None:
            signal = signal * self.signal_variations.factors(nu)
            background = background * self.background_variations.factors(nu)
        return np.asarray(signal + background)

    def gradient(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the gradients of `at`: [..., n_par, n_bins]."""
        theta, nu = self._split(points)
        weights = self.setup.weight_gradients(theta.reshape(-1, theta.shape[-1]))
        slopes = np.asarray(weights @ self.signal).reshape(*theta.shape, -1)
        if self.signal_variations is None or self.background_variations is None:
            return slopes
        factors = self.signal_variations.factors(nu)[..., None, :]
        signal = self._morphed(theta)[..., None, :] * factors
        background = self.background * self.background_variations.factors(nu)[..., None, :]
        along_nu = signal * self.signal_variations.log_gradients(nu)
        along_nu = along_nu + background * self.background_variations.log_gradients(nu)
        return np.concatenate([slopes * factors, along_nu], axis=-2)

    def information(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        r"""Return the Fisher information in Poisson numbers of events in the bins, for 1 pb^-1: [..., n_par, n_par].

        .. math:: I_{ij} = \sum_k \frac{\partial_i \sigma_k\, \partial_j \sigma_k}{\sigma_k}

        with all nuisance parameters, also those that change what is seen. Bins without cross section say nothing.
        """
        sigma, slopes = self.at(points), self.gradient(points)
        inverse = np.divide(1.0, sigma, out=np.zeros_like(sigma), where=sigma > 0.0)
        return np.asarray(np.einsum("...ik,...jk,...k->...ij", slopes, slopes, inverse, optimize=True))

    def variance(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        r"""Return the variance of the bins from the limited number of simulated events, [..., n_bins] in pb^2.

        .. math:: V_k(\theta, \nu) = f_k^2(\nu) \sum_{bc} w_b(\theta) w_c(\theta) C_{bck} + (f_k^B(\nu))^2 C^B_k

        with the sums of products of weights C, so that it is the sum of squared weights at any theta.

        Raises
        ------
        MissingError
            If the squares were not filled.
        """
        theta, nu = self._split(points)
        signal, background = self._squares()
        weights = self._weights(theta)
        variance = np.einsum("...b,bck,...c->...k", weights, signal, weights, optimize=True)
        if self.signal_variations is not None and self.background_variations is not None:
            variance = variance * self.signal_variations.factors(nu) ** 2
            background = background * self.background_variations.factors(nu) ** 2
        return np.asarray(variance + background)

    def variance_gradient(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the gradients of `variance`: [..., n_par, n_bins]."""
        theta, nu = self._split(points)
        squares, background = self._squares()
        weights = self._weights(theta)
        slopes = self.setup.weight_gradients(theta.reshape(-1, theta.shape[-1])).reshape(*theta.shape, -1)
        along = 2.0 * np.einsum("...b,bck,...ic->...ik", weights, squares, slopes, optimize=True)
        if self.signal_variations is None or self.background_variations is None:
            return np.asarray(along)
        factors = self.signal_variations.factors(nu)[..., None, :] ** 2
        signal = np.einsum("...b,bck,...c->...k", weights, squares, weights, optimize=True)[..., None, :] * factors
        background = background * self.background_variations.factors(nu)[..., None, :] ** 2
        along_nu = signal * self.signal_variations.log_gradients(nu)
        along_nu = along_nu + background * self.background_variations.log_gradients(nu)
        return np.concatenate([along * factors, 2.0 * along_nu], axis=-2)

    def _squares(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self.signal_squares is None or self.background_squares is None:
            msg = "these histograms were filled without sums of squared weights: fill them with squares=True"
            raise MissingError(msg)
        return self.signal_squares, self.background_squares

    def _weights(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        weights = self.setup.weights(theta.reshape(-1, theta.shape[-1]))
        return np.asarray(weights.reshape(*theta.shape[:-1], -1))

    def _split(self, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        n_theta = len(self.setup.space)
        return points[..., :n_theta], points[..., n_theta:]

    def _morphed(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self._weights(theta) @ self.signal)


def fill(
    events: StoredEvents,
    summary: Summary | None = None,
    bins: Bins | None = None,
    *,
    nuisances: bool = False,
    squares: bool = False,
    n_sampled: int | None = None,
    seed: Seed = 0,
) -> MorphedHistogram:
    """Return the benchmark histograms of stored events, in one pass over them.

    Parameters
    ----------
    events
        Which events.
    summary, bins
        The columns that are binned, and the bins; None for a single bin, the total cross section.
    nuisances
        Whether to fill the varied histograms of the store's nuisance parameters, too.
    squares
        Whether to sum squared weights, too, for `MorphedHistogram.variance`.
    n_sampled, seed
        Fill the histogram at each benchmark, and that of the background, with so many unweighted events, drawn by this
        seed; see `columnminer.infer.sampled`. None: with all events, weighted. Nuisance parameters change either as
        they change all events.

    Raises
    ------
    MissingError
        If there are no events, or nuisance parameters are asked for and there are none.
    InputError
        If `n_sampled` is no positive integer.
    """
    store, bins = events.store, bins if bins is not None else Bins()
    n_drawn = None if n_sampled is None else checked_number(n_sampled)
    if nuisances and not (store.nuisances or store.variations):
        msg = "the store has no nuisance parameters: its set-up or its samples have no systematics"
        raise MissingError(msg)
    n_benchmarks, n = len(store.setup.benchmark_names), 0
    signal: NDArray[np.float64] = np.zeros(())
    background: NDArray[np.float64] = np.zeros(())
    one, other = np.triu_indices(n_benchmarks)
    signal_squares: NDArray[np.float64] = np.zeros(())
    background_squares: NDArray[np.float64] = np.zeros(())
    signal_sizes: NDArray[np.float64] = np.zeros(())
    background_sizes: NDArray[np.float64] = np.zeros(())
    for block in events.blocks():
        index = bins.find_bins(
            summary(block.x, events.names) if summary is not None else np.zeros((len(block.background), 0))
        )
        weights, is_background = block.benchmark_weights, block.background
        if nuisances:
            weights = np.concatenate([weights, block.nuisance_weights], axis=1)
        n += len(index)
        signal = signal + bins.sum(index[~is_background], weights[~is_background]).T
        background = background + bins.sum(index[is_background], weights[is_background]).T
        own, rest = weights[~is_background, :n_benchmarks], weights[is_background, :1]
        if n_drawn is not None:
            signal_sizes = signal_sizes + bins.sum(index[~is_background], np.abs(own)).T
            background_sizes = background_sizes + bins.sum(index[is_background], np.abs(rest))[:, 0]
        elif squares:
            signal_squares = signal_squares + bins.sum(index[~is_background], own[:, one] * own[:, other]).T
            background_squares = background_squares + bins.sum(index[is_background], rest**2)[:, 0]
    if n == 0:
        msg = f"no events are left in {events.partition!r} to fill a histogram with"
        raise MissingError(msg)
    # Backgrounds do not depend on theta: the same weight stands at every benchmark.
    histogram = MorphedHistogram(store.setup, signal[:n_benchmarks], background[0], bins)
    if nuisances:
        of_signal, of_background = _variations(events, summary, bins, signal, background)
        histogram = replace(histogram, signal_variations=of_signal, background_variations=of_background)
    if n_drawn is not None:
        return _drawn(histogram, signal_sizes, background_sizes, n_drawn, seed)
    if not squares:
        return histogram
    both = np.zeros((n_benchmarks, n_benchmarks, bins.size))
    both[one, other] = both[other, one] = signal_squares
    return replace(histogram, signal_squares=both, background_squares=background_squares)


def _drawn(
    histogram: MorphedHistogram,
    signal_sizes: NDArray[np.float64],
    background_sizes: NDArray[np.float64],
    n: int,
    seed: Seed,
) -> MorphedHistogram:
    """Return the histogram as n unweighted events at each benchmark, and n of the background, would fill it."""
    stream, names = seed_sequence(seed, "templates"), histogram.setup.benchmark_names
    signal, squares = np.empty_like(histogram.signal), np.zeros((len(names), *histogram.signal.shape))
    for i, name in enumerate(names):
        rng = np.random.default_rng(seed_sequence(stream, "signal", name))
        signal[i], squares[i, i] = sampled(histogram.signal[i], signal_sizes[i], n, rng)
    rng = np.random.default_rng(seed_sequence(stream, "background"))
    background, background_squares = sampled(histogram.background, background_sizes, n, rng)
    return replace(
        histogram,
        signal=signal,
        background=background,
        signal_squares=squares,
        background_squares=background_squares,
    )


def _variations(
    events: StoredEvents,
    summary: Summary | None,
    bins: Bins,
    signal: NDArray[np.float64],
    background: NDArray[np.float64],
) -> list[Variations]:
    """Return how the nuisance parameters change signal and background.

    `signal` and `background` are (n_benchmarks + n_columns, n_bins) sums of weights and of varied weights; what changes
    the events themselves is filled here.
    """
    store, n_benchmarks = events.store, len(events.store.setup.benchmark_names)
    reference = store.setup.benchmark_names.index(store.setup.reference)
    columns = list(store.nuisances)
    seen: list[MorphedHistogram] = []
    for name in store.variations:
        first, sides = len(signal) - n_benchmarks + len(seen), events.varied(name)
        columns.append(NuisanceColumn(name, name, first, first + 1 if len(sides) > 1 else None))
        seen += [fill(side, summary, bins) for side in sides]
    by_name = {p.name: p for p in store.setup.nuisance_parameters}
    parameters = [by_name[c.name] for c in columns]
    return [
        Variations.of(parameters, columns, np.concatenate([sums[n_benchmarks:], *others]), sums[reference])
        for sums, others in (
            (signal, [side.signal[[reference]] for side in seen]),
            (background, [side.background[None] for side in seen]),
        )
    ]


def choose_bins(events: StoredEvents, summary: Summary, spec: BinSpec, thetas: NDArray[np.float64]) -> Bins:
    """Return bins along the columns of `summary`: given edges as they are, a number n as n bins of equal cross section.

    Parameters
    ----------
    events
        Decide where the bins are; at most about 260,000 of them, evenly spread, are looked at.
    summary
        What is binned.
    spec
        See `columnminer.infer.bins.split_bins`.
    thetas
        (n_theta, n_par) parameter points whose mean cross section is split evenly.
    """
    wanted = split_bins(spec, summary.names)
    if not any(isinstance(entry, int) for entry in wanted):
        return Bins(tuple(Axis(name, np.asarray(edges)) for name, edges in zip(summary.names, wanted, strict=True)))
    setup = events.store.setup
    morphing_weights = setup.weights(thetas).mean(axis=0)
    stride = max(1, events.n_stored // PILOT_EVENTS)
    columns, weights, seen = [], [], 0
    for block in events.blocks():
        # Counted through all blocks, so that the choice does not depend on where they are cut.
        pick = slice(-seen % stride, None, stride)
        seen += len(block.x)
        at_benchmarks = block.benchmark_weights[pick]
        columns.append(summary(block.x[pick], events.names))
        weights.append(np.where(block.background[pick], at_benchmarks[:, 0], at_benchmarks @ morphing_weights))
    values, weight = np.concatenate(columns), np.concatenate(weights)
    return Bins(
        tuple(
            Axis(name, quantile_edges(column, weight, entry) if isinstance(entry, int) else entry)
            for name, column, entry in zip(summary.names, values.T, wanted, strict=True)
        )
    )
