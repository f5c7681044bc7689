"""What an analysis file may say: the YAML document of ``columnminer run``, as checked models.

Keys have the names of the Python arguments that they become, and what is left out keeps the default that Python has:
`Section.given` hands over only what the file says. Parameter points are benchmark names, ``{parameter: value}`` or
lists; energies in GeV, cross sections in pb, luminosities in pb^-1. Paths are relative to the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from columnminer.documents import Section, misplaced
from columnminer.errors import did_you_mean
from columnminer.pipeline.event_configuration import (
    Count,
    GenerateConfig,
    Name,
    Point,
    Positive,
    ProcessConfig,
    SampleConfig,
    Seed,
    SelectionConfig,
    SetupConfig,
    Text,
)
from columnminer.pipeline.fit_configuration import FitConfig  # noqa: TC001 - pydantic looks at it
from columnminer.pipeline.learning_configuration import EstimatorConfig, SamplingConfig
from columnminer.toys.saved import Partition  # noqa: TC001 - pydantic looks at it

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "AnalysisConfig",
    "HistogramConfig",
    "InformationConfig",
    "LimitsConfig",
    "ProjectionConfig",
    "ReportConfig",
]

Edges = Count | list[float]

RESERVED = ("exact", "rate", "truth")
"""Results that have these names already."""


class HistogramConfig(Section):
    """A histogram of observables, or of the estimated score.

    What follows the bins is for limits; see `columnminer.expected_limits`.
    """

    observables: Text | list[Text] | None = None
    score: Name | None = None
    bins: Edges | list[Edges] | None = None
    bins_at: Literal["grid", "each"] | list[Point] = "grid"
    theta_ref: Point | None = None
    score_components: tuple[Text, ...] | None = None
    template_statistics: bool = False
    n_sampled: Count | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> HistogramConfig:
        if (self.observables is None) == (self.score is None):
            msg = "give either observables: NAME or [NAMES], or score: ESTIMATOR"
            raise misplaced(msg)
        return self


class ProjectionConfig(Section):
    """A score projected onto the direction of each theta (SALLINO); see `columnminer.infer.projection`."""

    score: Name
    n_bins: Annotated[int, Field(ge=2)] = 25
    theta_ref: Point | None = None


class LimitsConfig(Section):
    """Limits on a grid of the parameters; see `columnminer.expected_limits`.

    Each of `estimators`, `histograms` and `projections`, and the rate, gives limits of its own, on the same grid.
    `exact` adds those of the exact likelihood, for events of the built-in generator. Nuisance parameters are profiled,
    if asked for; with ratio estimators that were trained without them, they act on the rate alone. Estimators with both
    points of the ratio free take `theta_true` for the denominator.
    """

    luminosity: Positive
    grid: Annotated[dict[Text, tuple[float, float, Count]], Field(min_length=1)]
    theta_true: Point
    include_rate: bool = True
    nuisances: bool = False
    dof: Count | None = None
    n_asimov: Count | None = None
    partition: Partition = "test"
    template_partition: Partition = ("train", "validation")
    seed: Seed | None = None
    cuts: tuple[Text, ...] = ()
    efficiencies: tuple[Text, ...] = ()
    estimators: tuple[Name, ...] = ()
    histograms: dict[Name, HistogramConfig] = Field(default_factory=dict)
    projections: dict[Name, ProjectionConfig] = Field(default_factory=dict)
    rate: bool = False
    exact: bool = False


class InformationConfig(Section):
    """Fisher information; see `columnminer.FisherInformation`.

    Whether the rate is included is a question about estimators, and `mode` one about ensembles.
    """

    luminosity: Positive
    theta: Point
    include_rate: bool = True
    mode: Literal["score", "information"] = "score"
    partition: Partition | None = None
    cuts: tuple[Text, ...] = ()
    efficiencies: tuple[Text, ...] = ()
    truth: bool = True
    rate: bool = True
    estimators: tuple[Name, ...] = ()
    histograms: dict[Name, HistogramConfig] = Field(default_factory=dict)
    exact: bool = False

    @model_validator(mode="after")
    def _bins_alone(self) -> InformationConfig:
        for name, histogram in self.histograms.items():
            further = sorted(set(histogram.given()) - {"observables", "score", "bins"})
            if further:
                msg = f"histograms.{name}.{further[0]} is for limits; information knows the bins alone"
                raise misplaced(msg)
        return self


class ReportConfig(Section):
    """What the report shows beside the results.

    With `blind`, recorded events are neither read nor compared with anything, until it is taken back.
    """

    blind: bool = False
    title: Text | None = None
    observables: list[Text] | None = None
    thetas: dict[Text, Point] = Field(default_factory=dict)
    labels: dict[Text, Text] = Field(default_factory=dict)


class AnalysisConfig(Section):
    """One analysis, from event files to a report."""

    seed: Seed = 0
    setup: SetupConfig | Text | None = None
    generate: GenerateConfig | None = None
    samples: tuple[SampleConfig, ...] = ()
    selection: SelectionConfig | None = None
    process: ProcessConfig = ProcessConfig()
    sampling: SamplingConfig = SamplingConfig()
    estimators: dict[Name, EstimatorConfig] = Field(default_factory=dict)
    limits: LimitsConfig | None = None
    information: InformationConfig | None = None
    fits: dict[Name, FitConfig] = Field(default_factory=dict)
    report: ReportConfig = ReportConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> AnalysisConfig:
        if self.generate is None:
            for key in ("setup", "samples", "selection"):
                if not getattr(self, key):
                    msg = f"the key {key!r} is missing: without 'generate', event files and what they mean are needed"
                    raise misplaced(msg)
        elif self.setup is not None:
            msg = "the built-in generator brings its own set-up: leave out either 'setup' or 'generate'"
            raise misplaced(msg, "setup")
        for name, estimator in self.estimators.items():
            self._check_estimator(name, estimator)
        if self.limits is not None:
            self._check_limits(self.limits)
        if self.information is not None:
            self._check_results("information", self.information, list(self.estimators))
        for name, wanted in self.fits.items():
            _check_name(wanted.estimator, "estimator of ratios", self._ratios, "fits", name, "estimator")
            _check_name(wanted.score, "score estimator", self._scores, "fits", name, "score")
        return self

    @property
    def _ratios(self) -> list[str]:
        return [name for name, estimator in self.estimators.items() if estimator.sampling != "local"]

    @property
    def _scores(self) -> list[str]:
        return [name for name, estimator in self.estimators.items() if estimator.sampling == "local"]

    def _check_estimator(self, name: str, estimator: EstimatorConfig) -> None:
        kind = estimator.estimator_kind
        draws = getattr(self.sampling, estimator.sampling)
        if draws is None:
            by = f"kind {kind!r}" if estimator.method is None else f"method {estimator.method!r} of kind {kind!r}"
            msg = f"{by} needs the section sampling.{estimator.sampling}"
            raise misplaced(msg, "estimators", name, "kind" if estimator.method is None else "method")
        if kind in {"quadratic", "morphing"} and _uses_nuisances(draws):
            msg = f"with nuisance parameters, cross sections are no polynomials: kind {kind!r} is for theta alone"
            raise misplaced(msg, "estimators", name, "kind")
        known = list(self.process.variations)
        if estimator.variations and not known:
            msg = "there are no variations to learn: process.variations is empty"
            raise misplaced(msg, "estimators", name, "variations")
        for i, varied in enumerate(getattr(estimator.variations, "names", None) or ()):
            _check_name(varied, "one of process.variations", known, "estimators", name, "variations", "names", i)

    def _check_limits(self, wanted: LimitsConfig) -> None:
        usable = self._ratios
        for i, name in enumerate(wanted.estimators):
            if name in self._scores:
                msg = f"{name!r} knows a score, not ratios: take it in limits.projections or limits.histograms"
                raise misplaced(msg, "limits", "estimators", i)
        self._check_results("limits", wanted, usable)
        for key, projection in wanted.projections.items():
            if key in wanted.histograms:
                msg = f"{key!r} is the name of another result; choose another one"
                raise misplaced(msg, "limits", "projections", key)
            self._check_other("limits", wanted, "projections", key, projection.score)

    def _check_results(self, where: str, wanted: LimitsConfig | InformationConfig, usable: list[str]) -> None:
        for i, name in enumerate(wanted.estimators):
            _check_name(name, f"estimator for {where}", usable, where, "estimators", i)
        for key, histogram in wanted.histograms.items():
            self._check_other(where, wanted, "histograms", key, histogram.score)
        alone = self.generate is not None and self.generate.shower is None and self.selection is None
        if wanted.exact and (not alone or self.samples):
            msg = (
                "the exact likelihood is known only for events of 'generate' alone, without 'samples', 'selection' or "
                "'shower'"
            )
            raise misplaced(msg, where, "exact")

    def _check_other(
        self, where: str, wanted: LimitsConfig | InformationConfig, section: str, key: str, score: str | None
    ) -> None:
        """Check the name of a histogram or projection, and the score estimator that it may be made of."""
        if key in RESERVED or key in wanted.estimators:
            msg = f"{key!r} is the name of another result; choose another one"
            raise misplaced(msg, where, section, key)
        _check_name(score, "score estimator", self._scores, where, section, key, "score")


def _check_name(name: str | None, what: str, known: Sequence[str], *place: int | str) -> None:
    if name is not None and name not in known:
        msg = f"no {what} is called {name!r}.{did_you_mean(name, known)}"
        raise misplaced(msg, *place)


def _uses_nuisances(draws: Section) -> bool:
    """Return whether nuisance parameters take part in a sampling."""
    given = any(getattr(draws, name, None) is not None for name in ("nu", "nu0", "nu1"))
    return given or getattr(draws, "nuisance_score", False) is True
