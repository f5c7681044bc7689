"""Likelihoods of one's own: a log likelihood and how to simulate data are enough for fits, intervals and campaigns."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from columnminer.errors import InputError, MissingError
from columnminer.infer.likelihood import Likelihood, Params
from columnminer.infer.terms import LogTerms
from columnminer.streams import Seed, seed_sequence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["DataSets", "StatisticalModel"]


@dataclass(frozen=True)
class DataSets:
    """Many data sets, each of any form."""

    data: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.data)

    def pick(self, rows: NDArray[np.int64]) -> Any:
        """Return the data sets of these rows; of a single row without an axis, the data set itself."""
        rows = np.asarray(rows)
        return self.data[int(rows)] if rows.ndim == 0 else DataSets(tuple(self.data[i] for i in rows.tolist()))

    @classmethod
    def stack(cls, data: Sequence[Any]) -> Self:
        """Return single data sets as one batch."""
        return cls(tuple(data))


class StatisticalModel(Likelihood):
    """A likelihood of which a subclass defines `_log_likelihood` and `_simulate`.

    Data may be anything. Many data sets at once are `DataSets`; derivatives are taken by differences, so that fits of
    thousands of toys, profiles, intervals and campaigns work as with every other likelihood.

    Attributes
    ----------
    vectorised : bool
        Whether `_log_likelihood` takes arrays of parameter values and of data that broadcast, which is much quicker;
        data are then arrays. Otherwise it is called for one point and one data set at a time.

    Examples
    --------
    >>> class Counting(cm.StatisticalModel):
    ...     def _log_likelihood(self, data, *, mu):
    ...         return data * np.log(mu + 3.0) - mu - 3.0
    ...
    ...     def _simulate(self, rng, *, mu):
    ...         return rng.poisson(mu + 3.0)
    >>> model = Counting([cm.Parameter("mu", 1.0, fit_limits=(0, None))])
    >>> round(cm.fit(model.with_data(8)).by_name["mu"], 3)
    5.0
    """

    vectorised: ClassVar[bool] = False

    @abstractmethod
    def _log_likelihood(self, data: Any, **parameters: Any) -> Any:
        """Return the log likelihood of data at parameters by name."""

    @abstractmethod
    def _simulate(self, rng: np.random.Generator, **parameters: float) -> Any:
        """Return a pseudo-experiment at parameters by name."""

    def as_data(self, data: Any) -> Any:
        """Return the data as they are; as an array, if the model is vectorised."""
        return np.asarray(data, dtype=np.float64) if self.vectorised else data

    def batch(self, data: Sequence[Any]) -> Any:
        """Return data sets as one batch: `DataSets`, or arrays if the model is vectorised."""
        return super().batch(data) if self.vectorised else DataSets.stack(data)

    def terms(self, points: NDArray[np.float64], data: Any) -> LogTerms:
        """Return the log likelihood as a single term."""
        if self.vectorised:
            log = self._log_likelihood(data, **dict(zip(self.names, np.moveaxis(points, -1, 0), strict=True)))
        elif isinstance(data, DataSets):
            shape = np.broadcast_shapes(points.shape[:-1], (len(data),))
            at = np.broadcast_to(points, (*shape, len(self.names)))
            log = np.empty(shape)
            for place in np.ndindex(shape):
                log[place] = self._at(at[place], data.data[place[-1] if len(data) > 1 else 0])
        else:
            log = np.empty(points.shape[:-1])
            for place in np.ndindex(log.shape):
                log[place] = self._at(points[place], data)
        log = np.asarray(log, dtype=np.float64)
        return LogTerms(kinematic=log, rate=np.zeros_like(log))

    def _at(self, point: NDArray[np.float64], data: Any) -> float:
        log = np.asarray(self._log_likelihood(data, **dict(zip(self.names, point.tolist(), strict=True))))
        if log.shape not in {(), (1,)}:
            msg = f"{type(self).__name__}._log_likelihood returns an array of shape {log.shape}, not one number"
            raise InputError(msg)
        return float(log.reshape(()))

    def expected(self, params: Params = None, **by_name: ArrayLike) -> Any:
        """Raise `MissingError`, unless overridden."""
        del params, by_name
        msg = f"{type(self).__name__} does not say how many events it expects: define `expected`"
        raise MissingError(msg)

    def asimov(self, params: Params = None, **by_name: ArrayLike) -> Any:
        """Raise `MissingError`, unless overridden."""
        del params, by_name
        msg = f"{type(self).__name__} has no data set in which everything is as expected: define `asimov`"
        raise MissingError(msg)

    def simulate(self, seed: Seed, params: Params = None, **by_name: ArrayLike) -> Any:
        """Return one pseudo-experiment at one parameter point."""
        rng = np.random.default_rng(seed_sequence(seed, "simulate"))
        return self._simulate(rng, **dict(zip(self.names, self.point(params, by_name).tolist(), strict=True)))

    def simulate_many(self, seed: Seed, toys: ArrayLike, params: Params = None, **by_name: ArrayLike) -> Any:
        """Return the pseudo-experiments of these numbers at one parameter point."""
        if self.vectorised:
            return super().simulate_many(seed, toys, params, **by_name)
        point = self.point(params, by_name)
        return DataSets.stack([self.simulate(seed_sequence(seed, "toy", int(t)), point) for t in np.asarray(toys)])
