"""What an analysis file may say: the YAML document of ``columnminer run``, as checked models.

Keys have the names of the Python arguments that they become, and what is left out keeps the default that Python has:
`Section.given` hands over only what the file says. Parameter points are benchmark names, ``{parameter: value}`` or
lists; energies in GeV, cross sections in pb, luminosities in pb^-1. Paths are relative to the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from columnminer.errors import did_you_mean
from columnminer.pipeline.document import Section, misplaced

__all__ = [
    "AnalysisConfig",
    "DrellYanConfig",
    "EstimatorConfig",
    "GenerateConfig",
    "HistogramConfig",
    "InformationConfig",
    "LimitsConfig",
    "LocalConfig",
    "MorphingConfig",
    "ParameterConfig",
    "PriorConfig",
    "ProcessConfig",
    "RatioConfig",
    "ReportConfig",
    "SampleConfig",
    "SamplingConfig",
    "SelectionConfig",
    "SetupConfig",
]

# Names become folder names below the output folder, so that nothing but plain words is let in.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_+.-]{0,79}$")]
Text = Annotated[str, StringConstraints(min_length=1)]
Point = Text | dict[Text, float] | list[float]
Range = tuple[float, float]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0)]
Edges = Count | list[float]


class ParameterConfig(Section):
    """A parameter; see `columnminer.Parameter`."""

    nominal: float = 0.0
    bounds: Range | None = None
    description: str = ""
    lha: tuple[Text, int] | None = None
    max_power: Annotated[int, Field(ge=0)] = 2
    transform: Text | None = None


class MorphingConfig(Section):
    """How weights between benchmarks are had; see `columnminer.Setup.with_morphing`."""

    max_overall_power: Count = 4
    bsm_max_power: Count | None = None
    standard_model: tuple[Text, ...] = ()
    production: tuple[Text, ...] = ()
    decay: tuple[Text, ...] = ()
    shared: tuple[Text, ...] = ()
    fixed_terms: bool = False
    components: list[list[int]] | None = None
    morphing_basis: list[Text] | None = None
    include_existing: bool = True
    n_basis: Count | None = None
    n_trials: Count = 100
    seed: Seed | None = None


class DifferencesConfig(Section):
    """Gradients at benchmarks without morphing; see `columnminer.Setup.with_finite_differences`."""

    epsilon: Positive | dict[Text, Positive] = 0.01
    benchmarks: list[Text] | None = None
    central: bool = False


class SetupConfig(Section):
    """Parameters, benchmarks and morphing; see `columnminer.Setup`."""

    parameters: Annotated[dict[Text, ParameterConfig], Field(min_length=1)]
    benchmarks: dict[Text, dict[Text, float]]
    systematics: dict[Text, dict[Text, Any]] = Field(default_factory=dict)
    morphing: MorphingConfig | None = None
    finite_differences: DifferencesConfig | None = None


class DrellYanConfig(Section):
    """Events from the built-in generator; see `columnminer.generate.drellyan.DrellYan`."""

    events: dict[Text, Count]
    generator: dict[Text, Any] = Field(default_factory=dict)
    seed: Seed | None = None


class GenerateConfig(Section):
    """Events that are made first, beside those of `samples`."""

    drellyan: DrellYanConfig


class SampleConfig(Section):
    """Event files; see `columnminer.Sample`. Paths may hold wildcards."""

    path: Text | list[Text]
    benchmark: Text | None = None
    background: bool = False
    data: bool = False
    k_factor: Positive = 1.0
    cross_section: Positive | None = None
    systematics: tuple[Text, ...] = ()
    name: Text | None = None


class ProcessConfig(Section):
    """How files become a store; see `columnminer.process`."""

    partition: tuple[Positive, Positive, Positive] | Literal["in_order"] | None = None
    part_size: Count | None = None
    seed: Seed | None = None


class PriorConfig(Section):
    """Where parameter points are drawn from: exactly one of these, each by parameter name."""

    flat: dict[Text, Range] | None = None
    gaussian: dict[Text, tuple[float, Positive]] | None = None
    points: list[Point] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> PriorConfig:
        if len(self.model_fields_set) != 1:
            msg = "give one of flat: {name: [low, high]}, gaussian: {name: [mean, sigma]}, points: [...]"
            raise misplaced(msg)
        return self


class RatioConfig(Section):
    """Training events for ratio estimators; see `columnminer.sample_ratio`."""

    theta0: PriorConfig
    theta1: Point | None = None
    n: Count
    n_theta: Count | None = None
    seed: Seed | None = None


class LocalConfig(Section):
    """Training events for score estimators; see `columnminer.sample_local`."""

    theta: Point
    n: Count
    seed: Seed | None = None


class SamplingConfig(Section):
    """What is drawn from the store to train on."""

    ratio: RatioConfig | None = None
    local: LocalConfig | None = None


class EstimatorConfig(Section):
    """What is trained: options of the estimator, of its method and of the training, as in `columnminer.learn`."""

    method: Literal["carl", "rolr", "cascal", "rascal", "alice", "alices", "sally"]
    alpha: Positive | None = None
    features: list[Text] | None = None
    hidden: list[Count] | None = None
    activation: Text | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    epochs: Count | None = None
    batch_size: Count | None = None
    optimiser: Text | None = None
    learning_rate: Positive | None = None
    final_learning_rate: Positive | None = None
    schedule: Text | None = None
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    early_stopping: bool | None = None
    patience: Count | None = None
    clip_gradient: Positive | None = None
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    seed: Seed | None = None

    @property
    def sampling(self) -> Literal["ratio", "local"]:
        """Which training events the method needs."""
        return "local" if self.method == "sally" else "ratio"


class HistogramConfig(Section):
    """A histogram of observables, or of the estimated score."""

    observables: Text | list[Text] | None = None
    score: Name | None = None
    bins: Edges | list[Edges] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> HistogramConfig:
        if (self.observables is None) == (self.score is None):
            msg = "give either observables: NAME or [NAMES], or score: ESTIMATOR"
            raise misplaced(msg)
        return self


class LimitsConfig(Section):
    """Limits on a grid of the parameters; see `columnminer.expected_limits`.

    Each of `estimators` and `histograms`, and the rate, gives limits of its own, on the same grid. `exact` adds those
    of the exact likelihood, for events of the built-in generator.
    """

    luminosity: Positive
    grid: Annotated[dict[Text, tuple[float, float, Count]], Field(min_length=1)]
    theta_true: Point
    include_rate: bool = True
    estimators: tuple[Name, ...] = ()
    histograms: dict[Name, HistogramConfig] = Field(default_factory=dict)
    rate: bool = False
    exact: bool = False


class InformationConfig(Section):
    """Fisher information; see `columnminer.FisherInformation`."""

    luminosity: Positive
    theta: Point
    truth: bool = True
    rate: bool = True
    estimators: tuple[Name, ...] = ()
    histograms: dict[Name, HistogramConfig] = Field(default_factory=dict)
    exact: bool = False


class ReportConfig(Section):
    """What the report shows beside the results."""

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
    report: ReportConfig = ReportConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> AnalysisConfig:
        if self.generate is None:
            for key in ("setup", "samples", "selection"):
                if not getattr(self, key):
                    msg = f"the key {key!r} is missing: without 'generate', event files and what they mean are needed"
                    raise misplaced(msg)
        for name, estimator in self.estimators.items():
            if getattr(self.sampling, estimator.sampling) is None:
                msg = f"method {estimator.method!r} needs the section sampling.{estimator.sampling}"
                raise misplaced(msg, "estimators", name, "method")
        ratios = [name for name, e in self.estimators.items() if e.sampling == "ratio"]
        scores = [name for name, e in self.estimators.items() if e.sampling == "local"]
        if self.limits is not None:
            self._known(self.limits.estimators, ratios, "ratio", "limits")
            self._known_in_histograms(self.limits.histograms, scores, "limits")
            self._exact_only_generated(exact=self.limits.exact, where="limits")
        if self.information is not None:
            self._known(self.information.estimators, scores, "score", "information")
            self._known_in_histograms(self.information.histograms, scores, "information")
            self._exact_only_generated(exact=self.information.exact, where="information")
        return self

    def _known(self, names: Sequence[str], known: list[str], kind: str, where: str) -> None:
        for i, name in enumerate(names):
            if name not in known:
                msg = f"no {kind} estimator is called {name!r}.{did_you_mean(name, known)}"
                raise misplaced(msg, where, "estimators", i)

    def _known_in_histograms(self, histograms: dict[str, HistogramConfig], known: list[str], where: str) -> None:
        for key, histogram in histograms.items():
            if histogram.score is not None and histogram.score not in known:
                msg = f"no score estimator is called {histogram.score!r}.{did_you_mean(histogram.score, known)}"
                raise misplaced(msg, where, "histograms", key, "score")

    def _exact_only_generated(self, *, exact: bool, where: str) -> None:
        if exact and self.generate is None:
            msg = "the exact likelihood is only known for events of the built-in generator: see 'generate'"
            raise misplaced(msg, where, "exact")
