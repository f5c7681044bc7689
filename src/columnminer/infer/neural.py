"""Unbinned likelihood from an estimated likelihood ratio, with the rate beside it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError, MissingError
from columnminer.infer.estimates import warn_of_checks, with_denominator
from columnminer.infer.event_sets import EventSets
from columnminer.infer.events import AsimovEvents, Dataset, StoredEvents
from columnminer.infer.likelihood import Likelihood, Params
from columnminer.infer.rate import RateLikelihood
from columnminer.infer.terms import LogTerms
from columnminer.streams import Seed, seed_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.estimates import RatioLike
    from columnminer.infer.events import Events, Partition
    from columnminer.store.eventstore import EventStore

__all__ = ["NeuralLikelihood"]

logger = logging.getLogger(__name__)

_PRECISION = 1e-6
_PAIRS = 2**22
"""Pairs of (theta, event) evaluated at a time: bounds the memory whatever the grid and the number of events."""


class NeuralLikelihood(Likelihood):
    r"""Extended likelihood of events x_e, up to a constant.

    .. math:: \log L(\theta) = \log\mathrm{Pois}(n \mid L\sigma(\theta))
       + \sum_e w_e \log\hat r(x_e|\theta), \qquad \hat r(x|\theta) \approx p(x|\theta) / p(x|\theta_\mathrm{ref})

    with n the sum of the weights w_e: 1 for recorded events, fractions for Asimov data. Data are a `Dataset`. Several
    pseudo-experiments that share events are `Events` with weights (n_toys, n), others `EventSets`.

    The parameters are those of the rate: theta and, if it has them, nuisance parameters nu, which `constrained`
    constrains. An estimator of theta alone says that nu does not change the distribution of the events, but only their
    number; one of (theta, nu) beside a rate without nu is evaluated at nu = 0. Where nu changes the events and not
    their weights, it takes an estimator that learned how (`columnminer.learn.variations.learn_variations`).

    Parameters
    ----------
    estimator
        Of the likelihood ratio, in theta, or in theta and nuisance parameters.
    rate
        Likelihood of the number of events.
    events
        Stored events that Asimov data and pseudo-experiments are made of; not those that the estimator was trained on.
    include_rate
        Whether the number of events counts (the first term).

    Raises
    ------
    InputError
        If the estimator knows other parameters than the rate.

    Warns
    -----
    CheckWarning
        If the estimator was learned, and not checked since, or failed checks.

    Examples
    --------
    >>> store = cm.EventStore("events.zarr")
    >>> likelihood = cm.NeuralLikelihood.from_store(store, cm.load_estimator("alices"), luminosity=3000.0)
    >>> observed = likelihood.with_data(likelihood.simulate(1, c_ll=0.0, c_lr=0.0))
    >>> observed.log_likelihood(c_ll=[-0.02, 0.0, 0.02], c_lr=0.0).shape
    (3,)
    """

    def __init__(
        self,
        estimator: RatioLike,
        rate: RateLikelihood,
        *,
        events: StoredEvents | None = None,
        include_rate: bool = True,
    ) -> None:
        super().__init__(rate.parameters)
        setup, known = rate.total.setup, tuple(estimator.parameter_names)
        theta, nuisances = setup.space.names, [p.name for p in setup.nuisance_parameters]
        if known[: len(theta)] != theta or not set(known[len(theta) :]) <= set(nuisances):
            msg = (
                f"the estimator knows the parameters {', '.join(known)}, the store "
                f"{', '.join([*theta, *nuisances])}: train it on this store"
            )
            raise InputError(msg)
        if getattr(estimator, "estimates", "ratio") != "ratio":
            msg = "a likelihood needs ratios to one point: take ratio_to(theta), or build it with from_store"
            raise InputError(msg)
        warn_of_checks(estimator)
        # Which of the parameters (columns of points) are which of the estimator's.
        self._ours = [i for i, name in enumerate(self.names) if name in known]
        self._theirs = [known.index(self.names[i]) for i in self._ours]
        self.estimator = estimator
        self.rate = rate
        self.events = events
        self.include_rate = include_rate

    @classmethod
    def from_store(
        cls,
        store: EventStore,
        estimator: RatioLike,
        luminosity: float,
        *,
        include_rate: bool = True,
        partition: Partition = "test",
        rate_partition: Partition = "all",
        cuts: Sequence[str] = (),
        efficiencies: Sequence[str] = (),
        other_store: bool = False,
        nuisances: bool = False,
    ) -> NeuralLikelihood:
        """Return the likelihood from an estimator and a store.

        Parameters
        ----------
        store
            Simulated events.
        estimator
            Trained on events that pass the same cuts and efficiencies. Densities, and ratios between any two points,
            are taken relative to the store's reference benchmark.
        luminosity
            [pb^-1].
        include_rate
            Whether the number of events counts.
        partition
            Events that Asimov data and pseudo-experiments are made of.
        rate_partition
            Events that give the total cross section.
        cuts, efficiencies
            Expressions of observables; data must pass the cuts, too.
        other_store
            Whether the estimator may come from another store.
        nuisances
            Whether the store's nuisance parameters are parameters; constrain them with `Likelihood.constrained`.
            Those that the estimator does not know change the number of events only, which is logged as a warning.

        Raises
        ------
        InputError
            If the estimator was trained on these events, or on another store, or knows other parameters.
        UnknownNameError
            If the store lacks a feature of the estimator, or an observable of a cut.
        MissingError
            If nuisance parameters are asked for and there are none.
        """
        estimator = with_denominator(estimator, store.setup.theta(store.setup.reference))
        rate = RateLikelihood.from_store(
            store, luminosity, partition=rate_partition, cuts=cuts, efficiencies=efficiencies, nuisances=nuisances
        )
        unknown = [name for name in rate.names if name not in estimator.parameter_names]
        if unknown:
            logger.warning(
                "nuisance parameters that the estimator does not know change the number of events, not their "
                "distribution: %s",
                ", ".join(unknown),
            )
        events = StoredEvents(store, partition, cuts=cuts, efficiencies=efficiencies)
        events.check_estimator(estimator, other_store=other_store)
        return cls(estimator, rate, events=events, include_rate=include_rate)

    @property
    def precision(self) -> float:
        """Relative precision of its values: estimators calculate in single precision, and log ratios cancel."""
        return _PRECISION

    def as_data(self, data: Any) -> Any:
        """Return the data set, or the data sets of many toys."""
        if isinstance(data, EventSets):
            return data
        if not isinstance(data, Dataset):
            msg = f"data of an unbinned likelihood are events: Events(x, names), not {type(data).__name__}"
            raise InputError(msg)
        return data

    def terms(self, points: NDArray[np.float64], data: Any) -> LogTerms:
        """Return the weighted sum of log ratios, and the log probability of the number of events."""
        if isinstance(data, EventSets):
            return self._terms_of_sets(points, data)
        thetas = self._of_estimator(points)

        def log_ratios(x: NDArray[np.float64], names: tuple[str, ...]) -> NDArray[np.float64]:
            ratios = self.estimator.log_ratio(x, thetas, pairing="grid", names=names)
            return np.asarray(ratios, dtype=np.float64).reshape(*points.shape[:-1], len(x))

        kinematic, n = self._summed(data, log_ratios, max(1, _PAIRS // len(thetas)))
        rate = self.rate.terms(points, n).rate if self.include_rate else np.zeros_like(kinematic)
        return LogTerms(kinematic=kinematic, rate=rate)

    def term_gradients(self, points: NDArray[np.float64], data: Any) -> NDArray[np.float64]:
        """Return the weighted sum of the estimated scores, and the gradient of the rate term."""
        score = getattr(self.estimator, "score", None)
        if score is None:
            return super().term_gradients(points, data)
        if isinstance(data, EventSets):
            return self._gradients_of_sets(points, data, score)
        thetas = self._of_estimator(points)

        def scores(x: NDArray[np.float64], names: tuple[str, ...]) -> NDArray[np.float64]:
            each = np.asarray(score(x, thetas, pairing="grid", names=names), dtype=np.float64)[..., self._theirs]
            return np.moveaxis(each, -1, 0).reshape(-1, *points.shape[:-1], len(x))

        # The parameters stand first while summing, so that the batch axes of points and weights line up.
        kinematic, n = self._summed(data, scores, max(1, _PAIRS // thetas.size))
        gradient = np.zeros((*kinematic.shape[1:], len(self.names)))
        gradient[..., self._ours] = np.moveaxis(kinematic, 0, -1)
        return gradient + self.rate.term_gradients(points, n) if self.include_rate else gradient

    def _terms_of_sets(self, points: NDArray[np.float64], data: EventSets) -> LogTerms:
        """Return the terms [..., n] of n toys at points (..., n_par) of which the last batch axis is theirs."""

        def log_ratios(x: NDArray[np.float64], thetas: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.asarray(self.estimator.log_ratio(x, thetas, pairing="pairs", names=data.names))[:, None]

        kinematic, n = self._summed_in_sets(points, data, log_ratios)
        rate = self.rate.terms(points, n).rate if self.include_rate else np.zeros(kinematic.shape[:-1])
        return LogTerms(kinematic=kinematic[..., 0], rate=rate)

    def _gradients_of_sets(
        self, points: NDArray[np.float64], data: EventSets, score: Callable[..., Any]
    ) -> NDArray[np.float64]:
        def scores(x: NDArray[np.float64], thetas: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.asarray(score(x, thetas, pairing="pairs", names=data.names))[:, self._theirs]

        kinematic, n = self._summed_in_sets(points, data, scores)
        gradient = np.zeros((*kinematic.shape[:-1], len(self.names)))
        gradient[..., self._ours] = kinematic
        return gradient + self.rate.term_gradients(points, n) if self.include_rate else gradient

    def _summed_in_sets(
        self,
        points: NDArray[np.float64],
        data: EventSets,
        function: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return sums of weight times function (..., n, k) over the events of each toy, and of weights (n,)."""
        n_sets = len(data)
        batch = np.broadcast_shapes(points.shape[:-1], (n_sets,))
        each = np.broadcast_to(points, (*batch, points.shape[-1])).reshape(-1, n_sets, points.shape[-1])
        passed = self.rate.cuts(data.x, data.names) if self.rate.cuts is not None else np.ones(len(data.x), dtype=bool)
        x, weights, owner = data.x[passed], data.weights[passed], data.owner[passed]
        sums: list[NDArray[np.float64]] = []
        for at in each:
            thetas = self._of_estimator(at)
            total = None
            for start in range(0, max(len(x), 1), _PAIRS):
                part = slice(start, start + _PAIRS)
                columns = function(x[part], thetas[owner[part]]).astype(np.float64).T
                found = [np.bincount(owner[part], weights[part] * c, minlength=n_sets) for c in columns]
                total = np.stack(found, axis=-1) + (0.0 if total is None else total)
            sums.append(np.asarray(total))
        result = np.stack(sums).reshape(*batch, -1)
        if not np.isfinite(result).all():
            msg = "the estimator gives log ratios that are not finite for these events: look at their observables"
            raise MissingError(msg)
        return result, np.asarray(np.bincount(owner, weights, minlength=n_sets), dtype=np.float64)

    def _of_estimator(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return points (..., n_par) as a list of points of the estimator, with what is not a parameter here at 0."""
        ours = points.reshape(-1, points.shape[-1])
        theirs = np.zeros((len(ours), len(self.estimator.parameter_names)))
        theirs[:, self._theirs] = ours[:, self._ours]
        return theirs

    def _summed(
        self,
        data: Dataset,
        function: Callable[[NDArray[np.float64], tuple[str, ...]], NDArray[np.float64]],
        step: int,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the sums over events of weight times function (..., n), and of weights; `step` events at a time."""
        total: NDArray[np.float64] = np.zeros(())
        number: NDArray[np.float64] = np.zeros(())
        for x_block, weight_block in data.blocks():
            passed = self.rate.cuts(x_block, data.names) if self.rate.cuts is not None else slice(None)
            x, weights = x_block[passed], weight_block[..., passed]
            for start in range(0, max(len(x), 1), step):
                some, weight = x[start : start + step], weights[..., start : start + step]
                total = total + np.einsum("...n,...n->...", function(some, data.names), weight)
                number = number + weight.sum(axis=-1)
        if not np.isfinite(total).all():
            msg = "the estimator gives log ratios that are not finite for these events: look at their observables"
            raise MissingError(msg)
        return total, number

    def expected(self, params: Params = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return the expected number of events, [...]."""
        return self.rate.expected(params, **by_name)

    def asimov(self, params: Params = None, **by_name: ArrayLike) -> AsimovEvents:
        """Return the stored events, weighted to the expectation at one point; they are read when needed."""
        point = self.point(params, by_name)
        events, theta, nu = self._made_at(point)
        return AsimovEvents(events, theta, float(self.rate.mean(point)), nu)

    def simulate(self, seed: Seed, params: Params = None, **by_name: ArrayLike) -> Events:
        """Return unweighted events drawn from the stored ones, a Poisson number of them."""
        point = self.point(params, by_name)
        events, theta, nu = self._made_at(point)
        rng = np.random.default_rng(seed_sequence(seed, "events"))
        return events.draw(theta, int(rng.poisson(self.rate.mean(point))), rng, nu)

    def _made_at(
        self, point: NDArray[np.float64]
    ) -> tuple[StoredEvents, NDArray[np.float64], NDArray[np.float64] | None]:
        """Return the events that data are made of, theta, and the nu that changes their weights, None where all are 0.

        What changes the events themselves is what the estimator learned of it: a further factor of nominal events.
        """
        events, n_theta = self._stored(), len(self.rate.total.setup.space)
        nu, seen = np.split(point[n_theta:], [len(events.store.nuisances)])
        if seen.any():
            moved = {name: value for name, value in zip(events.store.variations, seen.tolist(), strict=True) if value}
            response = getattr(self.estimator, "response", None)
            if response is None:
                msg = f"the estimator does not know what {', '.join(moved)} does to events: see learn_variations"
                raise MissingError(msg)
            events = events.reweighted(lambda x, names: response(x, moved, names=names))
        return events, point[:n_theta], nu if nu.any() else None

    def _stored(self) -> StoredEvents:
        if self.events is None:
            msg = "this likelihood has no stored events to make data of: build it with from_store"
            raise MissingError(msg)
        return self.events
