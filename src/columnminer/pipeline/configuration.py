"""What an analysis file may say: the YAML document of ``columnminer run``, as checked models.

Keys have the names of the Python arguments that they become, and what is left out keeps the default that Python has:
`Section.given` hands over only what the file says. Parameter points are benchmark names, ``{parameter: value}`` or
lists; energies in GeV, cross sections in pb, luminosities in pb^-1. Paths are relative to the file.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from columnminer.errors import did_you_mean
from columnminer.pipeline.document import Section, misplaced

__all__ = [
    "AnalysisConfig",
    "CutConfig",
    "DefaultObservablesConfig",
    "DetectorConfig",
    "DifferencesConfig",
    "DrawConfig",
    "DrellYanConfig",
    "EfficiencyConfig",
    "EstimatorConfig",
    "GenerateConfig",
    "HistogramConfig",
    "InformationConfig",
    "LimitsConfig",
    "LocalConfig",
    "MorphingConfig",
    "ObservableConfig",
    "ParameterConfig",
    "PriorConfig",
    "ProcessConfig",
    "RatioConfig",
    "ReportConfig",
    "ResolutionConfig",
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

RESERVED = ("exact", "rate", "truth")
"""Results that have these names already."""


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
    n_trials: Count = 8
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
    """Events from the built-in generator; see `columnminer.generate.drellyan.DrellYan`. `events` by benchmark."""

    events: Annotated[dict[Name, Count], Field(min_length=1)]
    process: Literal["pp", "ee"] = "pp"
    sqrt_s: Positive | None = None
    mass_range: Range | None = None
    couplings: tuple[Text, ...] | None = None
    bound: Positive | None = None
    lepton: Literal["mu", "e"] = "mu"
    resolution: Annotated[float, Field(ge=0)] = 0.0
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


class ObservableConfig(Section):
    """An observable with what to do where it is undefined; see `columnminer.observe.observables.Observable`."""

    formula: Text
    required: bool = False
    default: float | None = None


class CutConfig(Section):
    """A cut; see `columnminer.observe.observables.Cut`."""

    formula: Text
    required: bool = False


class EfficiencyConfig(Section):
    """An efficiency; see `columnminer.observe.observables.Efficiency`."""

    formula: Text
    default: float = 1.0


class DefaultObservablesConfig(Section):
    """Which default observables; see `columnminer.observe.observables.DefaultObservables`."""

    n_leptons: Annotated[int, Field(ge=0)] = 2
    n_photons: Annotated[int, Field(ge=0)] = 2
    n_jets: Annotated[int, Field(ge=0)] = 2
    met: bool = True
    visible: bool = True
    numbers: bool = True
    charge: bool = True


class ResolutionConfig(Section):
    """Resolutions, each [absolute, relative]; see `columnminer.observe.detector.Resolution`."""

    energy: Range | None = (0.0, 0.0)
    pt: Range | None = (0.0, 0.0)
    eta: Range = (0.0, 0.0)
    phi: Range = (0.0, 0.0)


class DetectorConfig(Section):
    """How particles are measured; see `columnminer.Detector`."""

    resolutions: dict[Text | int, ResolutionConfig] = Field(default_factory=dict)
    met_noise: Range = (0.0, 0.0)
    pt_min: dict[Text, float] = Field(default_factory=dict)
    eta_max: dict[Text, float] = Field(default_factory=dict)
    efficiencies: dict[Text, float | Text] = Field(default_factory=dict)


class SelectionConfig(Section):
    """Which events are kept, and what is computed of them; see `columnminer.Selection`."""

    observables: dict[Text, Text | ObservableConfig] = Field(default_factory=dict)
    default_observables: DefaultObservablesConfig | bool = False
    cuts: tuple[Text | CutConfig, ...] = ()
    efficiencies: tuple[Text | EfficiencyConfig, ...] = ()
    detector: DetectorConfig | None = None


class ProcessConfig(Section):
    """How files become a store; see `columnminer.processing`."""

    partition: tuple[Positive, Positive, Positive] | Literal["in_order"] | None = None
    mixing: Literal["fractions", "balance"] | None = None
    part_size: Count | None = None
    seed: Seed | None = None


class PriorConfig(Section):
    """Where parameter points are drawn from: exactly one of these, each by parameter name."""

    flat: dict[Text, Range] | None = None
    gaussian: dict[Text, tuple[float, Positive]] | None = None
    points: list[Point] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> PriorConfig:
        if [self.flat, self.gaussian, self.points].count(None) != 2:
            msg = "give one of flat: {name: [low, high]}, gaussian: {name: [mean, sigma]}, points: [...]"
            raise misplaced(msg)
        return self


class DrawConfig(Section):
    """How events are drawn; see `columnminer.sample.draw.DrawOptions`."""

    n: Count
    n_theta: Count | None = None
    seed: Seed | None = None
    negative_weights: Literal["clip", "refuse", "keep"] = "clip"
    closest_benchmark: bool = False
    trim: Annotated[float, Field(gt=1)] | None = None


class RatioConfig(DrawConfig):
    """Training events for ratio estimators; see `columnminer.sample_ratio`."""

    theta0: PriorConfig
    theta1: Point | None = None


class LocalConfig(DrawConfig):
    """Training events for score estimators; see `columnminer.sample_local`."""

    theta: Point


class SamplingConfig(Section):
    """What is drawn from the store to train on."""

    ratio: RatioConfig | None = None
    local: LocalConfig | None = None


class EstimatorConfig(Section):
    """What is trained: options of the estimator, of its method and of the training, as in `columnminer.learn`."""

    method: Literal["carl", "rolr", "cascal", "rascal", "alice", "alices", "sally"]
    alpha: Positive | None = None
    features: list[Text] | None = None
    limit: Count | None = None
    scale_parameters: bool = True
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
    of the exact likelihood, for events of the built-in generator. Nuisance parameters are profiled, if asked for, in
    histograms and the rate; ratio estimators know none.
    """

    luminosity: Positive
    grid: Annotated[dict[Text, tuple[float, float, Count]], Field(min_length=1)]
    theta_true: Point
    include_rate: bool = True
    nuisances: bool = False
    cuts: tuple[Text, ...] = ()
    efficiencies: tuple[Text, ...] = ()
    estimators: tuple[Name, ...] = ()
    histograms: dict[Name, HistogramConfig] = Field(default_factory=dict)
    rate: bool = False
    exact: bool = False


class InformationConfig(Section):
    """Fisher information; see `columnminer.FisherInformation`."""

    luminosity: Positive
    theta: Point
    cuts: tuple[Text, ...] = ()
    efficiencies: tuple[Text, ...] = ()
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
        elif self.setup is not None:
            msg = "the built-in generator brings its own set-up: leave out either 'setup' or 'generate'"
            raise misplaced(msg, "setup")
        for name, estimator in self.estimators.items():
            if getattr(self.sampling, estimator.sampling) is None:
                msg = f"method {estimator.method!r} needs the section sampling.{estimator.sampling}"
                raise misplaced(msg, "estimators", name, "method")
        ratios = [name for name, estimator in self.estimators.items() if estimator.sampling == "ratio"]
        if self.limits is not None:
            self._check_results("limits", self.limits, ratios)
        if self.information is not None:
            self._check_results("information", self.information, list(self.estimators))
        return self

    def _check_results(self, where: str, wanted: LimitsConfig | InformationConfig, usable: list[str]) -> None:
        scores = [name for name, estimator in self.estimators.items() if estimator.sampling == "local"]
        for i, name in enumerate(wanted.estimators):
            if name not in usable:
                msg = f"no estimator for {where} is called {name!r}.{did_you_mean(name, usable)}"
                raise misplaced(msg, where, "estimators", i)
        for key, histogram in wanted.histograms.items():
            if key in RESERVED or key in wanted.estimators:
                msg = f"{key!r} is the name of another result; choose another one"
                raise misplaced(msg, where, "histograms", key)
            if histogram.score is not None and histogram.score not in scores:
                msg = f"no score estimator is called {histogram.score!r}.{did_you_mean(histogram.score, scores)}"
                raise misplaced(msg, where, "histograms", key, "score")
        if wanted.exact and (self.generate is None or self.selection is not None or self.samples):
            msg = "the exact likelihood is known only for events of 'generate' alone, without 'samples' or 'selection'"
            raise misplaced(msg, where, "exact")
