"""What ratios that are made of an estimator have in common: they are about what it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from columnminer.store.eventstore import EventStore

__all__ = ["RatioFrom"]


class RatioFrom:
    """A log likelihood ratio to one reference point, made of an estimator.

    Parameters
    ----------
    estimator
        Fitted; an ensemble, for instance.
    """

    estimates: ClassVar[Literal["ratio"]] = "ratio"

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the observables it takes, in order."""
        return tuple(self.estimator.feature_names)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of theta."""
        return tuple(self.estimator.parameter_names)

    @property
    def nuisance_names(self) -> tuple[str, ...]:
        """Which of the parameters are nuisances."""
        return tuple(getattr(self.estimator, "nuisance_names", ()))

    @property
    def store_hash(self) -> str:
        """Content hash of the event store that the estimator was trained on."""
        return str(self.estimator.store_hash)

    @property
    def partition(self) -> str:
        """Partition of that store."""
        return str(self.estimator.partition)

    def check_store(self, store: EventStore, partition: str | slice, *, other_store: bool = False) -> None:
        """Refuse events on which the estimator has nothing to say; see `Estimator.check_store`."""
        self.estimator.check_store(store, partition, other_store=other_store)
