"""What an analysis file says of parameters, events and columns; see `configuration`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from columnminer.documents import Section

__all__ = [
    "Count",
    "CutConfig",
    "DefaultObservablesConfig",
    "DetectorConfig",
    "DifferencesConfig",
    "DrellYanConfig",
    "EfficiencyConfig",
    "GenerateConfig",
    "MorphingConfig",
    "Name",
    "NormalisationConfig",
    "ObservableConfig",
    "OpenRange",
    "OtherSelectionConfig",
    "PDFConfig",
    "ParameterConfig",
    "Point",
    "Positive",
    "ProcessConfig",
    "Range",
    "ResolutionConfig",
    "SampleConfig",
    "ScaleConfig",
    "Seed",
    "SelectionConfig",
    "SetupConfig",
    "Text",
    "VariationConfig",
    "WeightsConfig",
]

# Names become folder names below the output folder, so that nothing but plain words is let in.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_+.-]{0,79}$")]
Text = Annotated[str, StringConstraints(min_length=1)]
Point = Text | dict[Text, float] | list[float]
Range = tuple[float, float]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0)]
OpenRange = tuple[float | None, float | None]


class ParameterConfig(Section):
    """A parameter; see `columnminer.Parameter`."""

    nominal: float = 0.0
    bounds: Range | None = None
    description: str = ""
    constraint: Positive | Text | None = None
    fit_limits: OpenRange | None = None
    fit_guess: float | None = None
    interval_bounds: OpenRange | None = None
    fittable: bool = True
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


class NormalisationConfig(Section):
    """See `columnminer.NormalisationUncertainty`."""

    type: Literal["normalisation"]
    size: Positive


class ScaleConfig(Section):
    """See `columnminer.ScaleUncertainty`."""

    type: Literal["scale"]
    scale: Text = "mu"
    factors: tuple[Positive, ...] = (0.5, 1.0, 2.0)


class PDFConfig(Section):
    """See `columnminer.PDFUncertainty`."""

    type: Literal["pdf"]
    lhapdf_id: Annotated[int, Field(ge=0)]
    n_members: Count
    errors: Text = "hessian"
    confidence_level: Annotated[float, Field(gt=0, lt=1)] | None = None


class WeightsConfig(Section):
    """See `columnminer.WeightVariation`."""

    type: Literal["weights"]
    up: Text
    down: Text | None = None


class OtherSelectionConfig(Section):
    """What `process.variations` has under the same name; see `columnminer.SelectionVariation`."""

    type: Literal["selection"]


SystematicConfig = Annotated[
    NormalisationConfig | ScaleConfig | PDFConfig | WeightsConfig | OtherSelectionConfig, Field(discriminator="type")
]
"""A source of uncertainty."""


class SetupConfig(Section):
    """Parameters, benchmarks and morphing; see `columnminer.Setup`."""

    parameters: Annotated[dict[Text, ParameterConfig], Field(min_length=1)]
    benchmarks: dict[Text, dict[Text, float]]
    systematics: dict[Text, SystematicConfig] = Field(default_factory=dict)
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


ShowerConfig = dict[Text, bool | int | float | Text] | Text
"""Settings of Pythia, with which events are showered while they are read, or the name of a file of them (a card)."""


class GenerateConfig(Section):
    """Events that are made first, beside those of `samples`, and how they are showered, if they are."""

    drellyan: DrellYanConfig
    shower: ShowerConfig | None = None


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
    weights_from: Text | list[Text] | tuple[()] = ()
    shower: ShowerConfig | None = None
    weight_names: tuple[Text, ...] = ()
    reading: dict[Text, Any] = Field(default_factory=dict)


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


class CorrectionConfig(Section):
    """A correction in a file of correctionlib; see `columnminer.observe.maps.CorrectionMap`."""

    file: Text
    correction: Text
    inputs: dict[Text, float | Text] = Field(default_factory=dict)


class DetectorConfig(Section):
    """How particles are measured; see `columnminer.Detector`."""

    resolutions: dict[Text | int, ResolutionConfig] = Field(default_factory=dict)
    met_noise: Range = (0.0, 0.0)
    pt_min: dict[Text, float] = Field(default_factory=dict)
    eta_max: dict[Text, float] = Field(default_factory=dict)
    efficiencies: dict[Text, float | Text | CorrectionConfig] = Field(default_factory=dict)
    tags: dict[Text, dict[Text, float | Text | CorrectionConfig]] = Field(default_factory=dict)


class JetsConfig(Section):
    """How jets are clustered; see `columnminer.Jets`."""

    R: Positive = 0.4
    pt_min: Annotated[float, Field(ge=0)] = 20.0
    algorithm: Literal["anti-kt", "kt", "cambridge-aachen"] = "anti-kt"
    eta_max: Positive | None = None
    tag_radius: Positive = 0.3
    tag_pt_min: Annotated[float, Field(ge=0)] = 5.0


class IsolationConfig(Section):
    """What isolated leptons and photons are, where jets are clustered; see `columnminer.Isolation`."""

    R: Positive = 0.3
    max_ratio: Annotated[float, Field(ge=0)] = 0.15
    pt_min: Annotated[float, Field(ge=0)] = 10.0


class SelectionConfig(Section):
    """Which events are kept, and what is computed of them; see `columnminer.Selection`."""

    observables: dict[Text, Text | ObservableConfig] = Field(default_factory=dict)
    default_observables: DefaultObservablesConfig | bool = False
    required: tuple[Text, ...] = ()
    defaults: dict[Text, float] = Field(default_factory=dict)
    cuts: tuple[Text | CutConfig, ...] = ()
    efficiencies: tuple[Text | EfficiencyConfig, ...] = ()
    detector: DetectorConfig | None = None
    jets: JetsConfig | None = None
    isolation: IsolationConfig | dict[Literal["e", "mu", "a"], IsolationConfig] | None = None


class VariationConfig(Section):
    """Other selections of the same events, for a nuisance parameter of the type "selection"; one-sided without down."""

    up: SelectionConfig
    down: SelectionConfig | None = None


class ProcessConfig(Section):
    """How files become a store; see `columnminer.processing`. `variations` by nuisance parameter."""

    partition: tuple[Positive, Positive, Positive] | Literal["in_order"] | None = None
    mixing: Literal["fractions", "balance"] | None = None
    part_size: Count | None = None
    seed: Seed | None = None
    variations: dict[Text, VariationConfig] = Field(default_factory=dict)
