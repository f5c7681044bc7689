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
)
from columnminer.learn.variations import learn_variations
from columnminer.model.priors import Prior, fixed_points
from columnminer.pipeline.learning_configuration import EnsembleConfig, MemberConfig, VotesConfig
from columnminer.pipeline.results import agreement, save_agreement, save_spread, spread_of
from columnminer.pipeline.steps import ESTIMATOR, SAMPLES
from columnminer.sample.sampling import sample_density, sample_double_ratio, sample_local, sample_ratio, sample_test
from columnminer.store.eventstore import EventStore
from columnminer.store.samplestore import SampleStore
from columnminer.streams import seed_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from columnminer.generate.drellyan import DrellYan
    from columnminer.learn.estimator import Estimator
    from columnminer.pipeline.learning_configuration import EstimatorConfig, Kind, SamplingKind
    from columnminer.pipeline.steps import Running
    from columnminer.sample.samples import Samples

__all__ = ["CHECK_EVENTS", "TUNING_EVENTS", "Draws", "compare", "train"]

CHECK_EVENTS = 40_000
"""Events that estimators are checked on, unless they were trained on fewer."""

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
    estimator = _made(config)
    training: dict[str, Any] = config.given(
        without=("kind", "ensemble", "calibration", "variations", *MemberConfig.model_fields)
    )
    training |= {"method": config.training_method, "seed": seed, "progress": running.progress}
    if config.ensemble is not None:
        training |= {"bootstrap": config.ensemble.bootstrap, "client": running.client, "workers": running.workers}
    estimator.fit(SampleStore(samples), checkpoint=folder / "checkpoint", **training)
    calibration = config.calibration_wanted
    n = TUNING_EVENTS if calibration is None else calibration.n
    if calibration is None and not config.votes_by_events:
        n = 0
    tuning, checked = _parted(draws.held_out(n + CHECK_EVENTS), n / (n + CHECK_EVENTS), seed)
    if isinstance(estimator, Ensemble):
        if config.ensemble is not None and isinstance(config.ensemble.votes, VotesConfig):
            estimator.vote(tuning, config.ensemble.votes.strength)
        save_spread(spread_of(estimator, checked), folder)
    final: Any = estimator if calibration is None else calibrate(estimator, tuning, calibration.method)
    check(final, checked, seed=seed)
    if config.variations:
        final = learn_variations(EventStore(draws.store), final, seed=seed, progress=running.progress)
    final.save(folder / ESTIMATOR, replace=True)
    for checkpoint in folder.glob("checkpoint*"):
        checkpoint.unlink()


def _made(config: EstimatorConfig) -> Estimator | Ensemble:
    """Return the estimator, or the ensemble, before its training."""
    kind = _KINDS[config.estimator_kind]
    settings = {name: value for name, value in config.given().items() if name in MemberConfig.model_fields}
    ensemble: EnsembleConfig | None = config.ensemble
    if ensemble is None:
        return kind(**settings)
    members = [MemberConfig()] * ensemble.members if isinstance(ensemble.members, int) else ensemble.members
    votes = ensemble.votes if isinstance(ensemble.votes, list) else None
    return Ensemble([kind(**{**settings, **member.given()}) for member in members], votes)


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


def compare(folder: Path, *, store: Path, estimator: Path, exact: DrellYan, prior: Prior | None, seed: int) -> None:
    """Compare an estimator with the exact likelihood, on test events drawn at its reference point.

    Log likelihood ratios are taken at points drawn from the prior of its training, scores at the reference point.
    """
    events = EventStore(store)
    learned: Any = load_estimator(estimator)
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
