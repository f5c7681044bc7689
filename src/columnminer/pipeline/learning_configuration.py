"""What an analysis file says of training events and estimators; see `configuration`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from columnminer.documents import Section, misplaced
from columnminer.errors import did_you_mean
from columnminer.pipeline.event_configuration import Count, Point, Positive, Range, Seed, Text

__all__ = [
    "CalibrationConfig",
    "ChecksConfig",
    "DensityConfig",
    "DoubleRatioConfig",
    "DrawConfig",
    "EnsembleConfig",
    "EstimatorConfig",
    "Kind",
    "LearnedVariationsConfig",
    "LocalConfig",
    "MemberConfig",
    "NuisanceConfig",
    "PriorConfig",
    "RatioConfig",
    "SamplingConfig",
    "SamplingKind",
    "TrainingConfig",
    "VotesConfig",
]

Kind = Literal["ratio", "quadratic", "morphing", "double", "score", "density"]
Method = Literal["carl", "rolr", "cascal", "rascal", "alice", "alices", "sally", "sallino", "nde", "scandal"]
SamplingKind = Literal["ratio", "double_ratio", "local", "density"]
Widths = list[Count]
Calibration = Literal["isotonic", "histogram", "normalisation"]

_RATIO = ("carl", "rolr", "cascal", "rascal", "alice", "alices")
METHODS: dict[Kind, tuple[str, ...]] = {
    "ratio": _RATIO,
    "quadratic": _RATIO,
    "morphing": _RATIO,
    "double": _RATIO,
    "score": ("sally", "sallino"),
    "density": ("nde", "scandal"),
}
"""Which methods train an estimator of each kind."""

DEFAULT_METHODS: dict[Kind, str] = dict.fromkeys(METHODS, "alices") | {"score": "sally", "density": "scandal"}

_SAMPLING: dict[Kind, SamplingKind] = {
    "ratio": "ratio",
    "quadratic": "ratio",
    "morphing": "ratio",
    "double": "double_ratio",
    "score": "local",
    "density": "density",
}

_OWN: dict[str, tuple[Kind, ...]] = {
    "dropout": ("ratio", "quadratic", "morphing", "double", "score"),
    "optimise_basis": ("morphing",),
    **dict.fromkeys(("flow", "base", "n_transforms", "n_components", "n_bins"), ("density",)),
}
"""Settings that not every kind has."""


class _Where(Section):
    """Where points are drawn from: exactly one of these."""

    @model_validator(mode="after")
    def _one_kind(self) -> _Where:
        if [getattr(self, name) for name in ("flat", "gaussian", "points")].count(None) != 2:
            msg = "give one of flat: {name: [low, high]}, gaussian: {name: [mean, sigma]}, points: [...]"
            raise misplaced(msg)
        return self


class PriorConfig(_Where):
    """Where parameter points are drawn from: exactly one of these, the first two with each parameter by name."""

    flat: dict[Text, Range] | None = None
    gaussian: dict[Text, tuple[float, Positive]] | None = None
    points: list[Point] | None = None


class NuisanceConfig(_Where):
    """Where nuisance parameters are drawn from: exactly one of these, by name; those that are not named are 0."""

    flat: dict[Text, Range] | None = None
    gaussian: dict[Text, tuple[float, Positive]] | None = None
    points: Annotated[list[dict[Text, float]], Field(min_length=1)] | None = None


class DrawConfig(Section):
    """How events are drawn; see `columnminer.sample.draw.DrawOptions`.

    They come from the training partition, or from that of validation; estimators are then calibrated and checked with
    events of the other one, and test events are left to limits and information.
    """

    n: Count
    n_theta: Count | None = None
    seed: Seed | None = None
    partition: Literal["train", "validation"] = "train"
    negative_weights: Literal["clip", "refuse", "keep"] = "clip"
    closest_benchmark: bool = False
    trim: Annotated[float, Field(gt=1)] | None = None
    dtype: Literal["float32", "float64"] = "float32"


class _WithNuisances(DrawConfig):
    """How events are drawn, and whether scores and parameter points are those of nuisance parameters, too."""

    nuisance_score: bool | Literal["auto"] = "auto"


class RatioConfig(_WithNuisances):
    """Training events for estimators of ratios to one reference point; see `columnminer.sample_ratio`."""

    theta0: PriorConfig
    theta1: Point | None = None
    nu0: NuisanceConfig | None = None
    nu1: NuisanceConfig | None = None


class DoubleRatioConfig(_WithNuisances):
    """Training events for estimators of ratios between any two points; see `columnminer.sample_double_ratio`."""

    theta0: PriorConfig
    theta1: PriorConfig
    additional: PriorConfig | None = None
    nu0: NuisanceConfig | None = None
    nu1: NuisanceConfig | None = None
    nu_additional: NuisanceConfig | None = None


class LocalConfig(_WithNuisances):
    """Training events for score estimators; see `columnminer.sample_local`."""

    theta: Point
    nu: NuisanceConfig | None = None


class DensityConfig(_WithNuisances):
    """Training events for density estimators; see `columnminer.sample_density`."""

    theta: PriorConfig
    nu: NuisanceConfig | None = None


class SamplingConfig(Section):
    """What is drawn from the store to train on."""

    ratio: RatioConfig | None = None
    double_ratio: DoubleRatioConfig | None = None
    local: LocalConfig | None = None
    density: DensityConfig | None = None


class MemberConfig(Section):
    """Settings of a network, in place of those of its estimator: a member of an ensemble."""

    features: list[Text] | None = None
    scale_parameters: bool = True
    hidden: Widths | None = None
    activation: Text | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    optimise_basis: bool = False
    flow: Literal["maf", "spline"] | None = None
    base: Literal["gaussian", "mixture"] | None = None
    n_transforms: Count | None = None
    n_components: Count | None = None
    n_bins: Count | None = None


class VotesConfig(Section):
    """Votes by how well expectation values of a member come out; see `columnminer.Ensemble.vote`."""

    strength: Annotated[float, Field(ge=0)]


class EnsembleConfig(Section):
    """Several estimators in the place of one; see `columnminer.Ensemble`.

    `members` is their number, or a list of settings in which they differ. `votes` are weights, one for each, or found
    on events of validation.
    """

    members: Annotated[int, Field(gt=1)] | Annotated[list[MemberConfig], Field(min_length=2)]
    bootstrap: bool = False
    votes: VotesConfig | list[Annotated[float, Field(ge=0)]] | None = None

    @model_validator(mode="after")
    def _a_vote_each(self) -> EnsembleConfig:
        if isinstance(self.votes, list) and (len(self.votes) != self.n_members or not sum(self.votes)):
            msg = f"give one weight for each of {self.n_members} members, not all 0"
            raise misplaced(msg, "votes")
        return self

    @property
    def n_members(self) -> int:
        """How many there are."""
        return self.members if isinstance(self.members, int) else len(self.members)


class CalibrationConfig(Section):
    """What is learned on events of validation after training; see `columnminer.calibrate`. `n` events are drawn."""

    method: Calibration
    n: Count = 40_000


class TrainingConfig(Section):
    """How to train; see `columnminer.learn.options.TrainingOptions`."""

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
    memory: Positive | None = None


class LearnedVariationsConfig(MemberConfig, TrainingConfig):
    """How selection variations are learned; see `columnminer.learn_variations`.

    `names` are those of the nuisance parameters, all by default. The rest is of the classifiers that learn them.
    """

    names: Annotated[list[Text], Field(min_length=1)] | None = None
    ensemble: EnsembleConfig | None = None
    limit: Count | None = None
    seed: Seed | None = None

    @model_validator(mode="after")
    def _of_ratios(self) -> LearnedVariationsConfig:
        if self.ensemble is not None and self.ensemble.votes is not None:
            msg = "each variation has classifiers of its own, which vote alike"
            raise misplaced(msg, "ensemble", "votes")
        _check_settings("ratio", self, self.ensemble)
        return self


class ChecksConfig(Section):
    """What estimators are checked on: `n` events that they were not trained on; see `columnminer.check`."""

    n: Count = 40_000
    closure: bool = True


class EstimatorConfig(MemberConfig, TrainingConfig):
    """What is trained: options of the estimator, of its method and of the training, as in `columnminer.learn`.

    Without `kind` it is the one that the method belongs to, or else a ratio to one reference point. With `onnx` its
    networks are written for other programs, too, without what calibration and variations add.
    """

    kind: Kind | None = None
    method: Method | None = None
    alpha: Positive | None = None
    limit: Count | None = None
    shuffle_labels: bool = False
    seed: Seed | None = None
    ensemble: EnsembleConfig | None = None
    calibration: Calibration | CalibrationConfig | None = None
    variations: bool | LearnedVariationsConfig = False
    checks: ChecksConfig = ChecksConfig()
    onnx: bool = False

    @model_validator(mode="after")
    def _of_one_kind(self) -> EstimatorConfig:
        if self.method is not None and self.method not in METHODS[self.estimator_kind]:
            known = METHODS[self.estimator_kind]
            msg = (
                f"an estimator of kind {self.estimator_kind!r} is trained by {' or '.join(known)}, not {self.method!r}."
            )
            raise misplaced(msg + did_you_mean(self.method, known), "method")
        _check_settings(self.estimator_kind, self, self.ensemble)
        if self.calibration is not None and self.sampling != "ratio":
            msg = "only ratios to one reference point are calibrated: kinds ratio, quadratic and morphing"
            raise misplaced(msg, "calibration")
        if self.variations and self.sampling != "ratio":
            msg = "variations are learned for ratios to one reference point: kinds ratio, quadratic and morphing"
            raise misplaced(msg, "variations")
        if self.votes_by_events and self.sampling == "density":
            msg = "densities have no expectation value to vote by: give a weight for each member"
            raise misplaced(msg, "ensemble", "votes")
        return self

    @property
    def estimator_kind(self) -> Kind:
        """Its kind, whether given or not."""
        if self.kind is not None:
            return self.kind
        return next((kind for kind, methods in METHODS.items() if self.method in methods), "ratio")

    @property
    def training_method(self) -> str:
        """Its method, whether given or not."""
        return self.method or DEFAULT_METHODS[self.estimator_kind]

    @property
    def fit_options(self) -> dict[str, Any]:
        """What is said of the training beside `TrainingConfig`."""
        return {name: value for name, value in self.given().items() if name in {"alpha", "limit", "shuffle_labels"}}

    @property
    def sampling(self) -> SamplingKind:
        """Which training events it needs."""
        return _SAMPLING[self.estimator_kind]

    @property
    def votes_by_events(self) -> bool:
        """Whether events of validation decide on votes."""
        return self.ensemble is not None and isinstance(self.ensemble.votes, VotesConfig)

    @property
    def calibration_wanted(self) -> CalibrationConfig | None:
        """The calibration, with its number of events."""
        return CalibrationConfig(method=self.calibration) if isinstance(self.calibration, str) else self.calibration


def _check_settings(kind: Kind, settings: MemberConfig, ensemble: EnsembleConfig | None) -> None:
    """Refuse settings of a network, or of one of the members, that those of this kind do not have."""
    own: list[tuple[tuple[str | int, ...], MemberConfig]] = [((), settings)]
    if ensemble is not None and not isinstance(ensemble.members, int):
        own += [(("ensemble", "members", i), member) for i, member in enumerate(ensemble.members)]
    for place, given in own:
        for name, kinds in _OWN.items():
            if name in given.model_fields_set and kind not in kinds:
                msg = f"an estimator of kind {kind!r} has no {name}; it is for {' or '.join(kinds)}"
                raise misplaced(msg, *place, name)
