r"""Fisher information: how well parameters can be measured at best, with the statistical error of the simulation.

With the derivative :math:`g_i = \partial_i \sigma` of a cross section :math:`\sigma`, in a bin or of a single event,

.. math:: I_{ij} = L \sum \frac{g_i g_j}{\sigma}

where the sum runs over events for the truth information (all that could be seen, were every particle measured), over
bins for that of a histogram, and has one term for the rate (arXiv:1805.00020, section IV B).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from columnminer.errors import InputError
from columnminer.infer.bins import Bins
from columnminer.infer.estimates import gives_ratio, warn_of_checks, with_denominator
from columnminer.infer.events import StoredEvents
from columnminer.infer.moments import BinMoments, information_of
from columnminer.infer.morphed import choose_bins
from columnminer.infer.rate import checked_luminosity
from columnminer.infer.summary import Summary
from columnminer.learn.information import Information

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from columnminer.infer.bins import Axis, BinSpec
    from columnminer.infer.estimates import RatioLike, ScoreLike
    from columnminer.infer.events import Partition
    from columnminer.infer.summary import SummaryItems
    from columnminer.store.eventstore import EventStore

__all__ = ["BinnedRates", "FisherInformation", "InformationSlices"]

Score: TypeAlias = "Callable[[NDArray[np.float64]], NDArray[np.float64]]"
"""From observables (n, n_obs) to scores (n, n_par)."""


@dataclass(frozen=True)
class BinnedRates:
    """Cross sections and their gradients in bins.

    Attributes
    ----------
    axes : tuple of Axis
        Edges; under- and overflow are bins beside them.
    cross_section : numpy.ndarray
        ``(*shape)`` [pb].
    error : numpy.ndarray
        ``(*shape)`` statistical error of it [pb].
    gradient : numpy.ndarray
        ``(n_par, *shape)`` [pb per unit of the parameter].
    parameter_names : tuple of str
        Directions of the gradient.
    """

    axes: tuple[Axis, ...]
    cross_section: NDArray[np.float64]
    error: NDArray[np.float64]
    gradient: NDArray[np.float64]
    parameter_names: tuple[str, ...]


@dataclass(frozen=True)
class InformationSlices:
    """How the information is distributed over slices of observables.

    Attributes
    ----------
    axes : tuple of Axis
        Edges; under- and overflow are slices beside them.
    cross_section : numpy.ndarray
        (n_slices,) [pb], flat.
    rate : numpy.ndarray
        (n_slices, n_par, n_par) information in the number of events of each slice.
    full : numpy.ndarray
        (n_slices, n_par, n_par) information in all that is known of the events of each slice; sums to the total.
    parameter_names : tuple of str
        Rows and columns.
    """

    axes: tuple[Axis, ...]
    cross_section: NDArray[np.float64]
    rate: NDArray[np.float64]
    full: NDArray[np.float64]
    parameter_names: tuple[str, ...]


class FisherInformation:
    """Expected Fisher information of the events of a store.

    Nuisance parameters of the store stand behind the parameters of the set-up, at nu = 0; `constraints` is what is
    known of them from elsewhere, to be added.

    Parameters
    ----------
    store
        Simulated events.
    luminosity
        [pb^-1].
    partition
        Which events; by default all, as nothing is trained here, but only test events for `detector`.
    cuts, efficiencies
        Expressions of observables: which events would be seen, and with what probability.

    Raises
    ------
    InputError
        If the luminosity is not positive.
    UnknownNameError
        If a cut or an efficiency names something that is not an observable.
    """

    def __init__(
        self,
        store: EventStore,
        luminosity: float,
        *,
        partition: Partition | None = None,
        cuts: Sequence[str] = (),
        efficiencies: Sequence[str] = (),
    ) -> None:
        self.store = store
        self.luminosity = checked_luminosity(luminosity)
        self.partition = partition
        self.cuts = tuple(cuts) if not isinstance(cuts, str) else (cuts,)
        self.efficiencies = tuple(efficiencies) if not isinstance(efficiencies, str) else (efficiencies,)
        self._events()  # what is wrong with the cuts is said now

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Parameters, then nuisance parameters."""
        return (*self.store.setup.space.names, *self.store.nuisance_names)

    def _events(self, default: Partition = "all") -> StoredEvents:
        partition = default if self.partition is None else self.partition
        return StoredEvents(self.store, partition, cuts=self.cuts, efficiencies=self.efficiencies)

    def rate(self, theta: Any) -> Information:
        """Return the information in the number of events.

        Parameters
        ----------
        theta
            Parameter point, or name of a benchmark.
        """
        return self._of_bins(theta, None, Bins())

    def histogram(self, theta: Any, observables: SummaryItems, bins: BinSpec = None) -> Information:
        """Return the information in a histogram, number of events included.

        Parameters
        ----------
        theta
            Parameter point, or name of a benchmark.
        observables
            One or several names or expressions of observables, or score estimators: one axis each.
        bins
            For each axis the edges, or a number of bins of equal cross section at theta. Under- and overflow count.
        """
        summary, chosen = self._binning(theta, observables, bins)
        return self._of_bins(theta, summary, chosen)

    def _binning(self, theta: Any, observables: SummaryItems, bins: BinSpec) -> tuple[Summary, Bins]:
        summary = Summary(observables, self.store.observable_names)
        return summary, choose_bins(self._events(), summary, bins, self.store.setup.theta(theta)[None])

    def _of_bins(self, theta: Any, summary: Summary | None, bins: Bins) -> Information:
        moments = BinMoments.of(self._events(), self.store.setup.theta(theta), summary, bins)
        information, covariance = moments.information()
        return self._result(information.sum(axis=0), covariance)

    def _result(
        self, information: NDArray[np.float64], covariance: NDArray[np.float64], names: tuple[str, ...] | None = None
    ) -> Information:
        """Scale from one pb^-1 to the luminosity."""
        names = self.parameter_names if names is None else names
        return Information(self.luminosity * information, self.luminosity**2 * covariance, names)

    def truth(self, theta: Any) -> Information:
        r"""Return the information in everything that could be known of the events.

        An event's term :math:`I^e_{ij} = L g_i g_j / w` is of first degree in its weights, so that an event more or
        less changes the sum by :math:`I^e`, and the covariance is :math:`\sum_e I^e_{ij} I^e_{kl}`. (MadMiner adds the
        third of three terms of the derivative, -g_i g_j dw / w^2, where it is subtracted.)

        Parameters
        ----------
        theta
            Parameter point, or name of a benchmark.
        """
        point = self.store.setup.theta(theta)
        n = len(self.parameter_names)
        information, covariance = np.zeros((n, n)), np.zeros((n, n, n, n))
        for block in self._events().blocks():
            terms = information_of(block.weights(point), block.weight_gradients(point))
            flat = terms.reshape(len(terms), n * n)
            information += terms.sum(axis=0)
            covariance += (flat.T @ flat).reshape(n, n, n, n)
        return self._result(information, covariance)

    def detector(self, theta: Any, estimator: RatioLike | ScoreLike, *, include_rate: bool = True) -> Information:
        r"""Return the information in the observables, from an estimated score t.

        .. math:: I_{ij} = L \frac{g_i g_j}{\sigma} + L \sum_e w_e t_i(x_e) t_j(x_e)

        Parameters
        ----------
        theta
            Parameter point, or name of a benchmark: where the estimator was trained.
        estimator
            Score estimator, or ratio estimator, whose score at theta is taken; of the parameters of the set-up, which
            alone are then looked at, or of the nuisance parameters, too.
        include_rate
            Whether the number of events counts (the first term).

        Raises
        ------
        InputError
            If the estimator knows other parameters, or was trained at another point.
        """
        score, names = self._score(theta, estimator)
        moments = BinMoments.of(
            self._events("test"),
            self.store.setup.theta(theta),
            None,
            Bins(),
            score,
            nuisances=names == self.parameter_names,
        )
        information, covariance = moments.information(include_rate=include_rate)
        return self._result(information[0], covariance, names)

    def _score(self, theta: Any, estimator: RatioLike | ScoreLike) -> tuple[Score, tuple[str, ...]]:
        """Return the scores at theta as a function of observables, and what they are about, if one may ask for them."""
        about = tuple(estimator.parameter_names)
        if about not in {self.store.setup.space.names, self.parameter_names}:
            msg = (
                f"the estimator gives the score for {', '.join(about)}, the information is about "
                f"{', '.join(self.parameter_names)}"
            )
            raise InputError(msg)
        self._events("test").check_estimator(estimator)
        warn_of_checks(estimator)
        point, names = self.store.setup.theta(theta), self.store.observable_names
        any_estimator: Any = with_denominator(estimator, point) if gives_ratio(estimator) else estimator
        if gives_ratio(estimator):
            return lambda x: np.asarray(any_estimator.score(x, point, names=names)), about
        reference = getattr(estimator, "reference", point)
        if not np.allclose(np.asarray(reference)[: len(point)], point):
            msg = f"the estimator was trained for the score at {reference}, not at theta = {point}"
            raise InputError(msg)
        return lambda x: np.asarray(any_estimator.score(x, names=names)), about

    def distribution(
        self,
        theta: Any,
        observables: SummaryItems,
        bins: BinSpec = None,
        *,
        estimator: RatioLike | ScoreLike | None = None,
    ) -> InformationSlices:
        """Return how the information is distributed over slices of observables.

        Parameters
        ----------
        theta, observables, bins
            As for `histogram`.
        estimator
            Take the information in the observables, as `detector`, each event with the score t + grad log sigma of an
            unbinned Poisson process; by default the truth information.
        """
        point = self.store.setup.theta(theta)
        summary, chosen = self._binning(theta, observables, bins)
        score, names = (None, self.parameter_names) if estimator is None else self._score(theta, estimator)
        events = self._events("all" if estimator is None else "test")
        moments = BinMoments.of(events, point, summary, chosen, nuisances=names == self.parameter_names)
        rate, _ = moments.information()
        # An event says that it is where it is, t, and that it is there at all, g / sigma.
        existence = moments.gradient().sum(axis=0) / moments.cross_section.sum()
        n = len(names)
        full = np.zeros((chosen.size, n * n))
        for block in events.blocks():
            weights = block.weights(point)
            if score is None:
                terms = information_of(weights, block.weight_gradients(point))
            else:
                whole = score(block.x) + existence
                terms = np.einsum("n,ni,nj->nij", weights, whole, whole)
            index = chosen.find_bins(summary(block.x, events.names))
            full += chosen.sum(index, terms.reshape(len(terms), n * n))
        return InformationSlices(
            chosen.axes,
            moments.cross_section,
            self.luminosity * rate,
            self.luminosity * full.reshape(-1, n, n),
            names,
        )

    def binned_rates(self, theta: Any, observables: SummaryItems, bins: BinSpec = None) -> BinnedRates:
        """Return cross sections and gradients in bins; parameters as for `histogram`."""
        summary, chosen = self._binning(theta, observables, bins)
        moments = BinMoments.of(self._events(), self.store.setup.theta(theta), summary, chosen)
        gradient = moments.gradient()
        return BinnedRates(
            chosen.axes,
            moments.cross_section.reshape(chosen.shape),
            np.sqrt(moments.second[:, 0, 0]).reshape(chosen.shape),
            gradient.T.reshape(-1, *chosen.shape),
            self.parameter_names,
        )

    def constraints(self) -> Information:
        """Return the information in the constraints of the nuisance parameters: the unit matrix in their directions."""
        n, n_nu = len(self.parameter_names), len(self.store.nuisance_names)
        diagonal = np.concatenate([np.zeros(n - n_nu), np.ones(n_nu)])
        return Information(np.diag(diagonal), np.zeros((n, n, n, n)), self.parameter_names)
