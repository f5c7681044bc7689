"""Likelihoods of the events of a store, as documents describe them: campaigns of toys, and fits of an analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from columnminer.documents import Section, misplaced
from columnminer.infer.histogram import HistogramLikelihood
from columnminer.infer.rate import RateLikelihood
from columnminer.store.eventstore import EventStore

if TYPE_CHECKING:
    from pathlib import Path

    from columnminer.infer.likelihood import Likelihood

__all__ = ["LikelihoodConfig", "SavedModel"]

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(gt=0)]
PartitionName = Literal["all", "train", "validation", "test"]
Partition = PartitionName | Annotated[tuple[PartitionName, ...], Field(min_length=1)]
Edges = Count | list[float]

_OF_HISTOGRAMS = ("bins", "bin_thetas", "score_components", "template_statistics", "n_sampled")


class LikelihoodConfig(Section):
    """How events of a store make a likelihood.

    Events count by the likelihood ratio of an `estimator`, in a histogram of `observables`, in one of an estimated
    `score`, or by their number alone; see `columnminer.NeuralLikelihood.from_store`, that of `HistogramLikelihood` and
    that of `RateLikelihood`. Luminosity in 1/pb.
    """

    luminosity: Annotated[float, Field(gt=0)]
    estimator: Text | None = None
    observables: Text | list[Text] | None = None
    score: Text | None = None
    bins: Edges | list[Edges] | None = None
    bin_thetas: Annotated[list[Text | dict[Text, float] | list[float]], Field(min_length=1)] | None = None
    score_components: tuple[Text, ...] | None = None
    template_statistics: bool = False
    n_sampled: Count | None = None
    include_rate: bool = True
    nuisances: bool = False
    partition: Partition | None = None
    rate_partition: Partition = "all"
    cuts: tuple[Text, ...] = ()
    efficiencies: tuple[Text, ...] = ()
    seed: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _of_one_kind(self) -> LikelihoodConfig:
        given = [name for name in ("estimator", "observables", "score") if getattr(self, name) is not None]
        if len(given) > 1:
            msg = f"either {given[0]} or {given[1]} says how events are distributed, not both"
            raise misplaced(msg, given[1])
        for name in _OF_HISTOGRAMS if not self.binned else ():
            if name in self.model_fields_set:
                msg = f"{name} is for histograms of observables, or of a score, which are missing"
                raise misplaced(msg, name)
        if not given and not self.include_rate:
            msg = "without estimator, observables or score there is nothing but the number of events"
            raise misplaced(msg, "include_rate")
        return self

    @property
    def binned(self) -> bool:
        """Whether events fill a histogram."""
        return self.observables is not None or self.score is not None

    def likelihood(
        self, store: EventStore, folder: Path | None, *, seed: int = 0, device: str = "auto"
    ) -> RateLikelihood | HistogramLikelihood | Any:
        """Return the likelihood, without the constraints of its parameters.

        Parameters
        ----------
        store
            Simulated events.
        folder
            Of the estimator, if one is named.
        seed
            Of what is drawn, unless the document has its own.
        device
            Where networks are.
        """
        seen: dict[str, Any] = {"cuts": self.cuts, "efficiencies": self.efficiencies, "nuisances": self.nuisances}
        if folder is None and self.observables is None:
            return RateLikelihood.from_store(store, self.luminosity, partition=self.rate_partition, **seen)
        seen |= {"include_rate": self.include_rate, "rate_partition": self.rate_partition}
        if self.partition is not None:
            seen["partition"] = self.partition
        binned: Any = self.observables
        if folder is not None:
            from columnminer.infer.neural import NeuralLikelihood  # noqa: PLC0415 - these two load torch
            from columnminer.learn.estimators import load_estimator  # noqa: PLC0415

            binned = load_estimator(folder, device=device)
            if self.estimator is not None:
                return NeuralLikelihood.from_store(store, binned, self.luminosity, **seen)
        return HistogramLikelihood.from_store(
            store,
            binned,
            self.luminosity,
            bins=self.bins,
            bin_thetas=None if self.bin_thetas is None else store.setup.thetas(self.bin_thetas),
            score_components=self.score_components,
            template_statistics=self.template_statistics,
            n_sampled=self.n_sampled,
            seed=seed if self.seed is None else self.seed,
            **seen,
        )


class SavedModel(LikelihoodConfig):
    """A likelihood of what `columnminer run` or `process` have saved: a store, and what is known of its events.

    `store` is its folder, and `estimator` or `score` that of an estimator. Parameters that have a constraint get it.
    """

    store: Text

    def load(self, folder: Path) -> Likelihood:
        """Return the likelihood; paths are relative to `folder`."""
        learned = self.estimator or self.score
        model: Likelihood = self.likelihood(
            EventStore(folder / self.store), None if learned is None else folder / learned
        )
        return model.constrained() if any(p.constraint is not None for p in model.parameters) else model
