r"""Fisher information: how well parameters can be measured at best, with the statistical error of the simulation.

With the derivative :math:`g_i = \partial_i \sigma` of a cross section :math:`\sigma`, in a bin or of a single event,

.. math:: I_{ij} = L \sum \frac{g_i g_j}{\sigma}

where the sum runs over events for the truth information (all that could be seen, were every particle measured), over
bins for that of a histogram, and has one term for the rate (arXiv:1805.00020, section IV B).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from columnminer.errors import InputError
from columnminer.infer.bins import Bins
from columnminer.infer.estimates import gives_score, warn_of_checks
from columnminer.infer.events import Events, StoredEvents
from columnminer.infer.moments import BinMoments, information_of
from columnminer.infer.morphed import choose_bins, fill
from columnminer.infer.rate import checked_luminosity
from columnminer.infer.slices import BinnedRates, InformationSlices
from columnminer.infer.summary import Summary
from columnminer.learn.fisher import ScoreMoments, member_scores
from columnminer.learn.information import Information
from columnminer.sample.samples import Samples
from columnminer.store.samplestore import SampleStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike

    from columnminer.infer.bins import BinSpec
    from columnminer.infer.estimates import RatioLike, ScoreLike
    from columnminer.infer.events import Partition
    from columnminer.infer.moments import Array, Extras
    from columnminer.infer.morphed import MorphedHistogram
    from columnminer.infer.summary import SummaryItems
    from columnminer.learn.fisher import EnsembleMode
    from columnminer.store.eventstore import EventStore

__all__ = ["BinnedRates", "FisherInformation", "InformationSlices"]

Scores: TypeAlias = "Callable[[Array], Array]"
"""From observables (n, n_obs) to the scores of all members of an ensemble, (n_members, n, n_par)."""

Sampled: TypeAlias = "Samples | SampleStore | Events | ArrayLike"
"""Events drawn at the point; an array has the columns of the store's observables."""


class FisherInformation:
    """Expected Fisher information of the events of a store.

    Nuisance parameters of the store stand behind the parameters of the set-up, at nu = 0; `constraints` is what is
    known of them from elsewhere, to be added. Those that change what is seen, and not the weights, are not among them:
    the information in histograms about these is that of their `templates`.

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

    Examples
    --------
    >>> fisher = cm.FisherInformation(cm.EventStore("events.zarr"), luminosity=3000.0)
    >>> everything, mass = fisher.truth("sm"), fisher.histogram("sm", "m_ll", bins=10)
    >>> everything.parameter_names
    ('c_ll', 'c_lr')
    >>> bool(mass.information[0, 0] < everything.information[0, 0])
    True
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

    def templates(self, theta: Any, observables: SummaryItems | None = None, bins: BinSpec = None) -> MorphedHistogram:
        """Return the histogram of the events at any parameter point, filled in one pass.

        Its `MorphedHistogram.information` is that of `histogram` at all points and for all nuisance parameters,
        without the covariance, for 1 pb^-1. A nuisance parameter acts on signal and background apart there, in
        `histogram` on their sum.

        Parameters
        ----------
        theta
            Where a number of bins have equal cross sections.
        observables, bins
            As for `histogram`; None: the total cross section alone.
        """
        nuisances = bool(self.store.nuisances or self.store.variations)
        if observables is None:
            return fill(self._events(), nuisances=nuisances)
        return fill(self._events(), *self._binning(theta, observables, bins), nuisances=nuisances)

    def _binning(self, theta: Any, observables: SummaryItems, bins: BinSpec) -> tuple[Summary, Bins]:
        summary = Summary(observables, self.store.observable_names)
        return summary, choose_bins(self._events(), summary, bins, self.store.setup.theta(theta)[None])

    def _of_bins(self, theta: Any, summary: Summary | None, bins: Bins) -> Information:
        moments = BinMoments.of(self._events(), self.store.setup.theta(theta), summary, bins)
        information, covariance = moments.information()
        return self._result(information.sum(axis=0), covariance.sum(axis=0))

    def _result(self, information: Array, covariance: Array, names: tuple[str, ...] | None = None) -> Information:
        """Scale from one pb^-1 to the luminosity."""
        names = self.parameter_names if names is None else names
        return Information(self.luminosity * information, self.luminosity**2 * covariance, names)

    def truth(self, theta: Any) -> Information:
        r"""Return the information in everything that could be known of the events.

        An event's term :math:`I^e_{ij} = L g_i g_j / w` is of first degree in its weights, so that an event more or
        less changes the sum by :math:`I^e`, and the covariance is :math:`\sum_e I^e_{ij} I^e_{kl}`. (MadMiner adds the
        third of three terms of the derivative, -g_i g_j dw / w^2, where it is subtracted; see `infer.moments`.)

        Parameters
        ----------
        theta
            Parameter point, or name of a benchmark.
        """
        moments = BinMoments.of(self._events(), self.store.setup.theta(theta), None, Bins(), _truth)
        information, covariance = moments.information(include_rate=False)
        return self._result(information[0], covariance[0])

    def detector(
        self,
        theta: Any,
        estimator: RatioLike | ScoreLike,
        *,
        include_rate: bool = True,
        mode: EnsembleMode = "score",
        sample: Sampled | None = None,
    ) -> Information:
        r"""Return the information in the observables, from an estimated score t.

        .. math:: I_{ij} = L \frac{g_i g_j}{\sigma} + L \sum_e w_e t_i(x_e) t_j(x_e)

        The covariance is that from the finite number of events; for an `Ensemble`, that from the spread of its members
        is added.

        Parameters
        ----------
        theta
            Parameter point, or name of a benchmark: where the estimator was trained.
        estimator
            Score estimator, or estimator of ratios or densities, whose score at theta is taken, or an `Ensemble`; of
            the parameters of the set-up, which alone are then looked at, or of the nuisance parameters, too.
        include_rate
            Whether the number of events counts (the first term).
        mode
            Of an ensemble: "score" for the information of the mean score, "information" for the mean of the members'
            informations; see `columnminer.fisher_information`.
        sample
            Events drawn at theta (from `sample_test`, say) whose mean of t t, times sigma, stands for the second term,
            while cross sections remain those of the store; cuts and efficiencies apply to both. They are taken for
            independent: drawn more than once, they say no more than the store. By default the weighted test events.

        Raises
        ------
        InputError
            If the estimator knows other parameters, or was trained at another point or on these events, or the sample
            was drawn at another point.
        """
        point = self.store.setup.theta(theta)
        moments = ScoreMoments(estimator, mode)
        events = self._events("test") if sample is None else self._drawn(sample, point, estimator)
        scores, names = self._scores(point, estimator, events)
        nuisances = names == self.parameter_names
        if isinstance(events, Events):
            for x, weights in events.blocks():
                moments.add(scores(x), weights)
            rates = BinMoments.of(self._events(), point, None, Bins(), nuisances=nuisances)
            information, covariance = rates.information(include_rate=include_rate, shape=moments.information())
            spread = moments.covariance_of_events() + moments.covariance_of_members()
        else:

            def products(x: Array, weights: Array, _: Array) -> tuple[Array, ...]:
                return (weights[:, None, None] * moments.add(scores(x), weights),)

            rates = BinMoments.of(events, point, None, Bins(), products, nuisances=nuisances)
            information, covariance = rates.information(include_rate=include_rate)
            spread = moments.covariance_of_members()
        return self._result(information[0], covariance[0] + rates.cross_section[0] ** 2 * spread, names)

    def _drawn(self, sample: Sampled, point: Array, estimator: RatioLike | ScoreLike) -> Events:
        """Return those of the sampled events that pass the cuts, with the efficiencies as weights."""
        if isinstance(sample, Samples | SampleStore):
            drawn = Samples.of(sample)
            nu = np.zeros(len(drawn.parameter_names) - len(point))
            if drawn.y is not None or drawn.theta0 is None or not np.allclose(drawn.theta0, [*point, *nu]):
                msg = f"the sample was not drawn at theta = {point}: give the output of sample_test there"
                raise InputError(msg)
            if (check := getattr(estimator, "check_store", None)) is not None:
                check(self.store, drawn.partition)
            weights = None if drawn.weights is None else np.asarray(drawn.weights, dtype=np.float64)
            events = Events(np.asarray(drawn.x, dtype=np.float64), drawn.feature_names, weights)
        else:
            events = sample if isinstance(sample, Events) else Events(np.asarray(sample), self.store.observable_names)
        seen = self._events()
        x, weights = events.x, np.ones(len(events.x)) if events.weights is None else events.weights
        if seen.cuts is not None:
            passed = seen.cuts(x, events.names)
            x, weights = x[passed], weights[passed]
        if seen.efficiencies is not None:
            weights = weights * seen.efficiencies(x, events.names)
        if weights.ndim != 1 or not weights.sum() > 0.0:
            msg = "the sampled events that pass the cuts need one weight each, with a positive sum"
            raise InputError(msg)
        return Events(x, events.names, weights)

    def _scores(
        self, point: Array, estimator: RatioLike | ScoreLike, events: StoredEvents | Events
    ) -> tuple[Scores, tuple[str, ...]]:
        """Return the scores at theta as a function of observables, and what they are about, if one may ask for them."""
        about = tuple(estimator.parameter_names)
        if about not in {self.store.setup.space.names, self.parameter_names}:
            msg = (
                f"the estimator gives the score for {', '.join(about)}, the information is about "
                f"{', '.join(self.parameter_names)}"
            )
            raise InputError(msg)
        if isinstance(events, StoredEvents):
            events.check_estimator(estimator)
        warn_of_checks(estimator)
        reference = np.asarray(getattr(estimator, "reference", point))
        points: tuple[Array, ...] = ()
        if not gives_score(estimator):
            at = np.concatenate([point, np.zeros(len(about) - len(point))])  # nuisance parameters at 0
            points = (at, reference) if getattr(estimator, "estimates", None) == "double ratio" else (at,)
        elif not np.allclose(reference[: len(point)], point):
            msg = f"the estimator was trained for the score at {reference}, not at theta = {point}"
            raise InputError(msg)
        return member_scores(estimator, points, events.names), about

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
            unbinned Poisson process, t the mean score of an `Ensemble`; by default the truth information.
        """
        point = self.store.setup.theta(theta)
        summary, chosen = self._binning(theta, observables, bins)
        if estimator is None:
            events, names = self._events(), self.parameter_names
            extras: Extras = _truth
        else:
            events = self._events("test")
            scores, names = self._scores(point, estimator, events)
            extras = _scored(scores, ScoreMoments(estimator, "score"))
        moments = BinMoments.of(events, point, summary, chosen, extras, nuisances=names == self.parameter_names)
        rate, rate_covariance = moments.information(include_extras=False)
        full, full_covariance = (
            moments.information(include_rate=False) if estimator is None else moments.process_information()
        )
        return InformationSlices(
            chosen.axes,
            moments.cross_section,
            self.luminosity * rate,
            self.luminosity * full,
            self.luminosity**2 * rate_covariance,
            self.luminosity**2 * full_covariance,
            names,
        )

    def binned_rates(self, theta: Any, observables: SummaryItems, bins: BinSpec = None) -> BinnedRates:
        """Return cross sections and gradients in bins; parameters as for `histogram`."""
        summary, chosen = self._binning(theta, observables, bins)
        moments = BinMoments.of(self._events(), self.store.setup.theta(theta), summary, chosen)
        covariance = moments.rate_covariance()
        return BinnedRates(
            chosen.axes,
            moments.cross_section.reshape(chosen.shape),
            np.sqrt(covariance[:, 0, 0]).reshape(chosen.shape),
            moments.gradient().T.reshape(-1, *chosen.shape),
            np.moveaxis(covariance, 0, -1).reshape(*covariance.shape[1:], *chosen.shape),
            self.parameter_names,
        )

    def constraints(self) -> Information:
        """Return the information in the constraints of the nuisance parameters: the unit matrix in their directions."""
        n, n_nu = len(self.parameter_names), len(self.store.nuisance_names)
        diagonal = np.concatenate([np.zeros(n - n_nu), np.ones(n_nu)])
        return Information(np.diag(diagonal), np.zeros((n, n, n, n)), self.parameter_names)


def _truth(_: Array, weights: Array, gradients: Array) -> tuple[Array, ...]:
    """Return the information in all that is known of events."""
    return (information_of(weights, gradients),)


def _scored(scores: Scores, moments: ScoreMoments) -> Extras:
    """Return what gives the weighted mean scores of events, and their products."""

    def extras(x: Array, weights: Array, _: Array) -> tuple[Array, ...]:
        t = moments.mean(scores(x))
        weighted = weights[:, None] * t
        return weighted, weighted[:, :, None] * t[:, None, :]

    return extras
