"""The stages of an analysis that draw training events, and train, calibrate, check and compare estimators.

Events that an estimator was not trained on are drawn from the other of the two partitions for learning, training and
validation. Some of them decide on votes and calibration, others check what comes out. No event is among both: drawing
puts the same event back again and again, so that they are parted by event and not by draw.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.files import delete
from columnminer.learn.calibration import calibrate
from columnminer.learn.checks import check
from columnminer.learn.denominators import ratio_to
from columnminer.learn.estimators import (
    DensityEstimator,
    DoubleRatioEstimator,
    Ensemble,
    MorphingRatioEstimator,
    QuadraticRatioEstimator,
    RatioEstimator,
    ScoreEstimator,
    load_estimator,
    trained_members,
)
from columnminer.learn.onnx_export import export_onnx
from columnminer.learn.variations import learn_variations
from columnminer.model.priors import Prior, fixed_points
from columnminer.pipeline.learning_configuration import (
    EnsembleConfig,
    LearnedVariationsConfig,
    MemberConfig,
    TrainingConfig,
    VotesConfig,
)
from columnminer.pipeline.results import agreement, save_agreement, save_spread, spread_of
from columnminer.pipeline.steps import ESTIMATOR, SAMPLES
from columnminer.sample.sampling import sample_density, sample_double_ratio, sample_local, sample_ratio, sample_test
from columnminer.store.eventstore import EventStore
from columnminer.store.samplestore import SampleStore
from columnminer.streams import seed_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from columnminer.documents import Section
    from columnminer.generate.drellyan import DrellYan
    from columnminer.learn.estimator import Estimator
    from columnminer.pipeline.learning_configuration import EstimatorConfig, Kind, SamplingKind
    from columnminer.pipeline.steps import Running
    from columnminer.sample.samples import Samples

__all__ = ["TUNING_EVENTS", "Draws", "compare", "train"]

TUNING_EVENTS = 40_000
"""Events that decide on votes where there is no calibration, which says how many it wants."""

_AGREEMENT_EVENTS = 10_000
_AGREEMENT_POINTS = 25

_SAMPLERS: dict[SamplingKind, Callable[..., Any]] = {
    "ratio": sample_ratio,
    "double_ratio": sample_double_ratio,
    "local": sample_local,
    "density": sample_density,
}
_KINDS: dict[Kind, type[Estimator]] = {
    "ratio": RatioEstimator,
    "quadratic": QuadraticRatioEstimator,
    "morphing": MorphingRatioEstimator,
    "double": DoubleRatioEstimator,
    "score": ScoreEstimator,
    "density": DensityEstimator,
}


@dataclass(frozen=True)
class Draws:
    """A section of the sampling, ready to be drawn.

    Attributes
    ----------
    kind : str
        Its name.
    store : Path
        Of the events.
    points : mapping
        Parameter points and priors, by argument.
    options : mapping
        The other arguments of the function, among them n and seed.
    running : Running
        Where training events are drawn.
    """

    kind: SamplingKind
    store: Path
    points: Mapping[str, Any]
    options: Mapping[str, Any]
    running: Running

    @property
    def prior(self) -> Prior | None:
        """Where numerator points come from; None where there is but one point."""
        if self.kind == "local":
            return None
        points = self.points.get("theta0", self.points.get("theta"))
        return points if isinstance(points, Prior) else fixed_points(points)

    def write(self, folder: Path) -> None:
        """Write the training events."""
        how = self.running
        delete(folder / SAMPLES)  # of a run that was killed: drawn again, they are the same, and warn of the same
        self._draw(out=folder / SAMPLES, client=how.client, workers=how.workers, progress=how.progress)

    def held_out(self, n: int) -> Samples:
        """Return at most n events drawn as those of the training, but from others."""
        seed = seed_sequence(self.options["seed"], "checks")
        other = "train" if self.options.get("partition") == "validation" else "validation"
        drawn: Samples = self._draw(n=min(self.options["n"], n), seed=seed, partition=other)
        return drawn

    def _draw(self, **changes: Any) -> Any:
        options = {**self.points, **self.options, **changes}
        if "dtype" in options:
            options["dtype"] = np.dtype(options["dtype"]).type
        return _SAMPLERS[self.kind](EventStore(self.store), **options)


def train(folder: Path, samples: Path, *, config: EstimatorConfig, seed: int, draws: Draws, running: Running) -> None:
    """Train what one section describes, from its last checkpoint if there is one, calibrate, check and save it."""
    settings = {**_given(config, MemberConfig), "device": running.device}
    estimator = _made(_KINDS[config.estimator_kind], settings, config.ensemble)
    training: dict[str, Any] = {**_given(config, TrainingConfig), **config.fit_options}
    training |= {"method": config.training_method, "seed": seed, "progress": running.progress}
    if config.ensemble is not None:
        training |= {"bootstrap": config.ensemble.bootstrap, "client": running.client, "workers": running.workers}
    estimator.fit(SampleStore(samples), checkpoint=folder / "checkpoint", **training)
    calibration = config.calibration_wanted
    n = TUNING_EVENTS if calibration is None else calibration.n
    if calibration is None and not config.votes_by_events:
        n = 0
    in_all = n + config.checks.n
    tuning, checked = _parted(draws.held_out(in_all), n / in_all, seed)
    if isinstance(estimator, Ensemble):
        if config.ensemble is not None and isinstance(config.ensemble.votes, VotesConfig):
            estimator.vote(tuning, config.ensemble.votes.strength)
        save_spread(spread_of(estimator, checked), folder)
    final: Any = estimator if calibration is None else calibrate(estimator, tuning, calibration.method)
    check(final, checked, closure=config.checks.closure, seed=seed)
    if config.variations:
        final = _with_variations(final, config.variations, EventStore(draws.store), seed, running)
    final.save(folder / ESTIMATOR, replace=True)
    if config.onnx:
        for i, member in enumerate(trained_members(final)):
            export_onnx(member, folder / f"network_{i}.onnx", replace=True)
    for checkpoint in folder.glob("checkpoint*"):
        checkpoint.unlink()


def _given(config: Section, part: type[Section]) -> dict[str, Any]:
    """Return what the file says of the keys that `part` has, which `config` has, too."""
    return {name: value for name, value in config.given().items() if name in part.model_fields}


def _made(kind: type[Estimator], settings: Mapping[str, Any], ensemble: EnsembleConfig | None) -> Estimator | Ensemble:
    """Return the estimator, or the ensemble, before its training."""
    if ensemble is None:
        return kind(**settings)
    members = [MemberConfig()] * ensemble.members if isinstance(ensemble.members, int) else ensemble.members
    votes = ensemble.votes if isinstance(ensemble.votes, list) else None
    return Ensemble([kind(**{**settings, **member.given()}) for member in members], votes)


def _with_variations(
    estimator: Any, config: bool | LearnedVariationsConfig, store: EventStore, seed: int, running: Running
) -> Any:
    """Return the estimator with selection variations, learned as the file says."""
    if not isinstance(config, LearnedVariationsConfig):
        config = LearnedVariationsConfig()
    settings = {"features": estimator.feature_names, **_given(config, MemberConfig), "device": running.device}
    options: dict[str, Any] = {**_given(config, TrainingConfig), "limit": config.limit, "progress": running.progress}
    if config.ensemble is not None:
        options |= {"bootstrap": config.ensemble.bootstrap, "client": running.client, "workers": running.workers}
    learner: Any = _made(RatioEstimator, settings, config.ensemble)
    seed = seed if config.seed is None else config.seed
    return learn_variations(store, estimator, names=config.names, learner=learner, seed=seed, **options)


def _parted(samples: Samples, share: float, seed: int) -> tuple[Samples, Samples]:
    """Part events into those that tune an estimator, about this share, and those that check it."""
    rows = np.ascontiguousarray(samples.x)
    as_bytes = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).reshape(-1)
    different, event = np.unique(as_bytes, return_inverse=True)  # the same observables are the same event
    rng = np.random.default_rng(seed_sequence(seed, "tuning"))
    tunes = (rng.random(len(different)) < share)[event.reshape(-1)]
    first, second = (
        dataclasses.replace(samples.take(chosen), partition=f"{samples.partition}, {what}")
        for chosen, what in ((tunes, "tuning"), (~tunes, "checks"))
    )
    return first, second


def compare(
    folder: Path,
    *,
    store: Path,
    estimator: Path,
    exact: DrellYan,
    prior: Prior | None,
    seed: int,
    running: Running,
) -> None:
    """Compare an estimator with the exact likelihood, on test events drawn at its reference point.

    Log likelihood ratios are taken at points drawn from the prior of its training, scores at the reference point.
    """
    events = EventStore(store)
    learned: Any = load_estimator(estimator, device=running.device)
    n = min(_AGREEMENT_EVENTS, events.n_events("test"))
    n_par = len(events.setup.parameter_names)  # a score may have nuisance parameters behind those
    reference = learned.reference[:n_par]
    x = np.asarray(sample_test(events, reference, n, seed=seed).x, dtype=np.float64)
    names = events.observable_names
    if prior is None:
        truth = exact.score(x, reference, names=names)
        save_agreement(agreement("score", truth, learned.score(x, names=names)[:, :n_par]), folder)
        return
    ratio = learned if learned.estimates == "ratio" else ratio_to(learned, reference)
    points = prior.sample(_AGREEMENT_POINTS, np.random.default_rng(seed_sequence(seed, "agreement")))
    estimated = ratio.log_ratio(x, points, pairing="grid", names=names)
    truth = exact.log_ratio(x, points, reference, pairing="grid", names=names)
    save_agreement(agreement("log likelihood ratio", truth, estimated), folder)
