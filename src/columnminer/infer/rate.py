"""The likelihood of the number of events, alone or as a factor of the likelihoods of their distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError
from columnminer.infer.events import Dataset, StoredEvents
from columnminer.infer.likelihood import Likelihood, Params
from columnminer.infer.morphed import MorphedHistogram, fill
from columnminer.infer.terms import LogTerms, poisson_log
from columnminer.streams import Seed, seed_sequence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.events import Partition
    from columnminer.infer.summary import Cuts
    from columnminer.store.eventstore import EventStore

__all__ = ["RateLikelihood", "checked_luminosity"]


def checked_luminosity(luminosity: float) -> float:
    """Return a luminosity [pb^-1], or raise `InputError` unless it is positive and finite."""
    if not (np.ndim(luminosity) == 0 and np.isfinite(luminosity) and luminosity > 0.0):
        msg = f"the luminosity must be a positive number of pb^-1, not {luminosity!r}"
        raise InputError(msg)
    return float(luminosity)


class RateLikelihood(Likelihood):
    r"""Poisson likelihood of the number of events, with mean :math:`\mu(\theta) = L \sigma(\theta)`.

    Data are numbers of events [...], or a `Dataset` that is counted.

    Parameters
    ----------
    total
        The cross section: a histogram with one bin.
    luminosity
        [pb^-1].
    cuts
        That events must pass to be counted.

    Examples
    --------
    >>> rate = cm.RateLikelihood.from_store(cm.EventStore("events.zarr"), luminosity=3000.0)
    >>> rate.with_data(200).log_likelihood(c_ll=[0.0, 0.05], c_lr=0.0).shape
    (2,)
    """

    def __init__(self, total: MorphedHistogram, luminosity: float, *, cuts: Cuts | None = None) -> None:
        super().__init__(total.parameters)
        if total.bins.size != 1:
            msg = f"a rate is a histogram with one bin, not {total.bins.size}"
            raise InputError(msg)
        self.total = total
        self.luminosity = checked_luminosity(luminosity)
        self.cuts = cuts

    @classmethod
    def from_store(
        cls,
        store: EventStore,
        luminosity: float,
        *,
        partition: Partition = "all",
        cuts: Sequence[str] = (),
        efficiencies: Sequence[str] = (),
        nuisances: bool = False,
    ) -> RateLikelihood:
        """Return the rate likelihood with the cross section of a store's events.

        Parameters
        ----------
        store
            Simulated events.
        luminosity
            [pb^-1].
        partition
            Events that give the cross section; all, since nothing is trained on them here.
        cuts, efficiencies
            Expressions of observables; data must pass the cuts, too.
        nuisances
            Whether the store's nuisance parameters are parameters; constrain them with `Likelihood.constrained`.
        """
        events = StoredEvents(store, partition, cuts=cuts, efficiencies=efficiencies)
        return cls(fill(events, nuisances=nuisances), luminosity, cuts=events.cuts)

    def mean(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the expected number of events at points (..., n_par): [...]."""
        return self.luminosity * self.total.at(points)[..., 0]

    def as_data(self, data: Any) -> NDArray[np.float64]:
        """Return numbers of events: those given, or the sum of the weights of events that pass the cuts."""
        if isinstance(data, Dataset):
            count: NDArray[np.float64] = np.zeros(())
            for x, weights in data.blocks():
                passed = self.cuts(x, data.names) if self.cuts is not None else slice(None)
                count = count + weights[..., passed].sum(axis=-1)
            return np.asarray(count)
        number = np.asarray(data, dtype=np.float64)
        if not (np.isfinite(number).all() and (number >= 0.0).all()):
            msg = f"numbers of events must be finite and not negative, not {data!r}"
            raise InputError(msg)
        return number

    def terms(self, points: NDArray[np.float64], data: Any) -> LogTerms:
        """Return the Poisson log probability, as the rate term."""
        rate = poisson_log(data, self.mean(points))
        return LogTerms(kinematic=np.zeros_like(rate), rate=rate)

    def term_gradients(self, points: NDArray[np.float64], data: Any) -> NDArray[np.float64]:
        r"""Return :math:`(n / \mu - 1) \nabla\mu`."""
        slope = self.luminosity * self.total.gradient(points)[..., 0]
        return np.asarray((data / self.mean(points) - 1.0)[..., None] * slope)

    def expected(self, params: Params = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return the expected number of events, [...]."""
        return self.mean(self.points(params, by_name))

    def asimov(self, params: Params = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return the expected number of events as data."""
        return np.asarray(self.mean(self.point(params, by_name)))

    def simulate(self, seed: Seed, params: Params = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return a Poisson number of events."""
        rng = np.random.default_rng(seed_sequence(seed, "rate"))
        return np.asarray(rng.poisson(self.mean(self.point(params, by_name))), dtype=np.float64)
