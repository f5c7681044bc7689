"""Binned likelihood: morphed histograms of observables, expressions or estimated scores, in any dimension."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import gammaln

from columnminer.errors import InputError, MissingError
from columnminer.infer.events import Dataset, StoredEvents
from columnminer.infer.likelihood import Likelihood, Params
from columnminer.infer.morphed import choose_bins, fill
from columnminer.infer.rate import RateLikelihood
from columnminer.infer.summary import Summary
from columnminer.infer.template_statistics import best_scale, log_profiled, slopes
from columnminer.infer.terms import LogTerms, poisson_log
from columnminer.streams import Seed, seed_sequence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.bins import Bins, BinSpec
    from columnminer.infer.events import Partition
    from columnminer.infer.morphed import MorphedHistogram
    from columnminer.infer.summary import SummaryItems
    from columnminer.store.eventstore import EventStore

__all__ = ["HistogramLikelihood"]

logger = logging.getLogger(__name__)

_FLOOR = 1e-12
"""Least probability of a bin: data where no event was simulated then say the same at every theta, instead of -inf."""


class HistogramLikelihood(Likelihood):
    r"""Likelihood of the numbers of events n_k in bins.

    .. math:: \log L(\theta) = \log\mathrm{Pois}(n \mid L\sigma(\theta)) + \sum_k n_k \log p_k(\theta) + \log
       \frac{n!}{\prod_k n_k!} \quad\text{with}\quad p_k(\theta) = \frac{\sigma_k(\theta)}{\sum_j \sigma_j(\theta)}

    which is the product of Poisson probabilities of the bins, if the rate sigma is the sum of the sigma_k. Both are
    kept apart because templates come from events that no estimator is evaluated on, while the rate may come from all.
    Under- and overflow are bins like the others. p_k is at least 1e-12.

    With `template_statistics` the expectation of each bin is known only as well as the simulated events in it allow;
    see `columnminer.infer.template_statistics`. Without the rate the total is then fitted, too. The variance is that of
    the events in the templates, also where the rate comes from more events.

    Data are counts ``[..., *bins.shape]``, or a `Dataset` that is filled into the bins.

    Parameters
    ----------
    templates
        Cross sections in bins, at any theta.
    rate
        Likelihood of the number of events.
    summary
        What is binned, needed to fill events.
    include_rate
        Whether the number of events counts (the first term), or only how they are distributed.
    template_statistics
        Whether the limited number of simulated events counts.

    Raises
    ------
    InputError
        If templates and rate have different parameters.
    MissingError
        If the template statistics count, and the templates have no sums of squared weights.

    Examples
    --------
    >>> store = cm.EventStore("events.zarr")
    >>> likelihood = cm.HistogramLikelihood.from_store(store, "m_ll", 3000.0, bins=8)
    >>> observed = likelihood.with_data(likelihood.simulate(seed=1, c_ll=0.0, c_lr=0.0))
    >>> observed.log_likelihood([[0.0, 0.0], [0.05, 0.05]]).shape
    (2,)
    """

    def __init__(
        self,
        templates: MorphedHistogram,
        rate: RateLikelihood,
        *,
        summary: Summary | None = None,
        include_rate: bool = True,
        template_statistics: bool = False,
    ) -> None:
        super().__init__(rate.parameters)
        if templates.parameters != rate.parameters:
            msg = "the templates and the rate have different parameters"
            raise InputError(msg)
        self.templates = templates
        self.rate = rate
        self.summary = summary
        self.include_rate = include_rate
        self.template_statistics = template_statistics
        if template_statistics:
            templates.variance(self.point())  # is there any?

    @classmethod
    def from_store(
        cls,
        store: EventStore,
        observables: SummaryItems,
        luminosity: float,
        *,
        bins: BinSpec = None,
        bin_thetas: ArrayLike | None = None,
        include_rate: bool = True,
        partition: Partition = ("train", "validation"),
        rate_partition: Partition = "all",
        cuts: Sequence[str] = (),
        efficiencies: Sequence[str] = (),
        nuisances: bool = False,
        template_statistics: bool = False,
        score_components: Sequence[str] | None = None,
        n_sampled: int | None = None,
        seed: Seed = 0,
    ) -> HistogramLikelihood:
        """Return the likelihood of a histogram of a store's observables.

        Parameters
        ----------
        store
            Simulated events.
        observables
            What is binned: names or expressions of observables, score estimators, or a list of them: one axis each (an
            estimated score has an axis for each parameter).
        luminosity
            [pb^-1].
        bins
            For each axis the edges, or a number of bins of equal cross section; see
            `columnminer.infer.bins.split_bins`.
        bin_thetas
            (n_theta, n_par) parameter points over which cross sections are made equal; the nominal point by default.
        include_rate
            Whether the number of events counts.
        partition
            Events that fill the templates.
        rate_partition
            Events that give the total cross section.
        cuts, efficiencies
            Expressions of observables; data must pass the cuts, too.
        nuisances
            Whether the store's nuisance parameters are parameters; constrain them with `Likelihood.constrained`.
        template_statistics
            Whether the limited number of simulated events in the templates counts.
        score_components
            Names of the parameters whose components of score estimators are axes; all by default.
        n_sampled, seed
            Fill the template at each benchmark with so many unweighted events, drawn by this seed, instead of all
            events with their weights (None); see `columnminer.infer.sampled`. Bins and the total cross section remain
            those of all events.
        """
        rate = RateLikelihood.from_store(
            store, luminosity, partition=rate_partition, cuts=cuts, efficiencies=efficiencies, nuisances=nuisances
        )
        summary = Summary(observables, store.observable_names, score_components)
        events = StoredEvents(store, partition, cuts=cuts, efficiencies=efficiencies)
        thetas = store.setup.space.points(store.setup.space.nominal if bin_thetas is None else bin_thetas)
        chosen = choose_bins(events, summary, bins, thetas)
        return cls(
            fill(
                events,
                summary,
                chosen,
                nuisances=nuisances,
                squares=template_statistics,
                n_sampled=n_sampled,
                seed=seed,
            ),
            rate,
            summary=summary,
            include_rate=include_rate,
            template_statistics=template_statistics,
        )

    @property
    def bins(self) -> Bins:
        """Where the bins are."""
        return self.templates.bins

    def as_data(self, data: Any) -> NDArray[np.float64]:
        """Return counts ``[..., *bins.shape]``: those given, or events that pass the cuts, filled."""
        if isinstance(data, Dataset):
            return self._filled(data)
        counts = np.asarray(data, dtype=np.float64)
        n_axes = len(self.bins.shape)
        if counts.shape[counts.ndim - n_axes :] != self.bins.shape or counts.ndim < n_axes:
            msg = f"counts have shape {counts.shape}, but the bins (with under- and overflow) {self.bins.shape}"
            raise InputError(msg)
        if not (np.isfinite(counts).all() and (counts >= 0.0).all()):
            msg = "counts must be finite and not negative"
            raise InputError(msg)
        return counts

    def _filled(self, data: Dataset) -> NDArray[np.float64]:
        if self.summary is None:
            msg = "this likelihood knows its bins but not what is binned: give counts instead of events"
            raise MissingError(msg)
        counts: NDArray[np.float64] = np.zeros(self.bins.size)
        for x, weights in data.blocks():
            passed = self.rate.cuts(x, data.names) if self.rate.cuts is not None else slice(None)
            index = self.bins.find_bins(self.summary(x[passed], data.names))
            toys = weights[..., passed].reshape(math.prod(weights.shape[:-1]), len(index))
            sums = self.bins.sum(index, toys.T).T.reshape(*weights.shape[:-1], -1)
            counts = counts + sums
        empty = self.templates.signal.any(axis=0) | (self.templates.background != 0.0)
        lost = counts[..., ~empty].sum()
        if lost > 0.0:
            logger.warning("%g events lie in bins without simulated events; they say nothing about theta", lost)
        return counts.reshape(*counts.shape[:-1], *self.bins.shape)

    def _flat(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        return counts.reshape(*counts.shape[: counts.ndim - len(self.bins.shape)], -1)

    def probabilities(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability of each bin at points (..., n_par): [..., n_bins] flat, at least 1e-12."""
        sigma = np.maximum(self.templates.at(points), 0.0)  # extrapolated too far, a morphed bin may be negative
        total = sigma.sum(axis=-1, keepdims=True)
        shares = np.divide(sigma, total, out=np.zeros_like(sigma), where=total > 0.0)
        return np.asarray(np.maximum(shares, _FLOOR))

    def terms(self, points: NDArray[np.float64], data: Any) -> LogTerms:
        """Return the log probability of the distribution over the bins, and that of the number of events."""
        counts = self._flat(data)
        n = counts.sum(axis=-1)
        if self.template_statistics:
            log = log_profiled(counts, *self._measured(points, counts)).sum(axis=-1)
            rate = self.rate.terms(points, n).rate if self.include_rate else poisson_log(n, n)
            return LogTerms(kinematic=log - rate, rate=rate if self.include_rate else np.zeros_like(log))
        kinematic = np.einsum("...k,...k->...", np.log(self.probabilities(points)), counts)
        kinematic = kinematic + gammaln(n + 1.0) - gammaln(counts + 1.0).sum(axis=-1)
        rate = self.rate.terms(points, n).rate if self.include_rate else np.zeros_like(kinematic)
        return LogTerms(kinematic=kinematic, rate=rate)

    def term_gradients(self, points: NDArray[np.float64], data: Any) -> NDArray[np.float64]:
        """Return the gradient; bins at the least probability do not contribute."""
        counts = self._flat(data)
        if self.template_statistics:
            return self._profiled_gradients(points, counts)
        sigma, slope = self.templates.at(points), self.templates.gradient(points)
        total = np.maximum(sigma, 0.0).sum(axis=-1)
        used = sigma > _FLOOR * total[..., None]
        of_log = np.divide(slope, sigma[..., None, :], out=np.zeros_like(slope), where=used[..., None, :])
        of_total = np.where((sigma > 0.0)[..., None, :], slope, 0.0).sum(axis=-1) / total[..., None]
        n_used = np.where(used, counts, 0.0).sum(axis=-1)
        gradient = np.einsum("...ik,...k->...i", of_log, counts) - n_used[..., None] * of_total
        if self.include_rate:
            gradient = gradient + self.rate.term_gradients(points, counts.sum(axis=-1))
        return np.asarray(gradient)

    def _measured(
        self, points: NDArray[np.float64], counts: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the expected counts [..., n_bins] and their variances; without the rate those of the best total."""
        shares, total = self.probabilities(points), np.maximum(self.templates.at(points), 0.0).sum(axis=-1)
        variance = self.templates.variance(points)
        n = self.rate.mean(points) if self.include_rate else counts.sum(axis=-1)
        per_pb = np.divide(n, total, out=np.zeros(np.broadcast_shapes(n.shape, total.shape)), where=total > 0.0)
        mu, variance = n[..., None] * shares, per_pb[..., None] ** 2 * variance
        if not self.include_rate:
            scale = best_scale(counts, mu, variance)[..., None]
            mu, variance = scale * mu, scale**2 * variance
        return mu, variance

    def _profiled_gradients(self, points: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the gradient where template statistics count; where parameters are fitted, it has no further terms."""
        sigma, slope = self.templates.at(points), self.templates.gradient(points)
        total = np.maximum(sigma, 0.0).sum(axis=-1)
        of_total = np.where((sigma > 0.0)[..., None, :], slope, 0.0).sum(axis=-1) / total[..., None]
        mu, variance = self._measured(points, counts)
        in_mu, in_variance = slopes(counts, mu, variance)
        # mu = scale sigma and V = scale^2 (sum of squared weights), with the scale = n / total.
        scale = mu.sum(axis=-1) / total
        of_scale = -of_total
        if self.include_rate:
            mean = self.rate.mean(points)[..., None]
            of_scale = of_scale + self.rate.luminosity * self.rate.total.gradient(points)[..., 0] / mean
        used = np.where(sigma > _FLOOR * total[..., None], 1.0, 0.0)[..., None, :]
        of_mu = scale[..., None, None] * used * slope + of_scale[..., None] * mu[..., None, :]
        of_variance = scale[..., None, None] ** 2 * self.templates.variance_gradient(points)
        of_variance = of_variance + 2.0 * of_scale[..., None] * variance[..., None, :]
        return np.asarray((in_mu[..., None, :] * of_mu + in_variance[..., None, :] * of_variance).sum(axis=-1))

    def expected(self, params: Params = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return the expected counts, ``[..., *bins.shape]``."""
        points = self.points(params, by_name)
        flat = self.rate.mean(points)[..., None] * self.probabilities(points)
        return flat.reshape(*points.shape[:-1], *self.bins.shape)

    def asimov(self, params: Params = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return the expected counts as data."""
        return self.expected(self.point(params, by_name))

    def simulate(self, seed: Seed, params: Params = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return Poisson counts in every bin."""
        rng = np.random.default_rng(seed_sequence(seed, "histogram"))
        return rng.poisson(self.expected(self.point(params, by_name))).astype(np.float64)
