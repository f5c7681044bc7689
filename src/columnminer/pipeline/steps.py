"""What the stages of an analysis do: read outputs of earlier stages, call one room of the package, write their own.

Each step may find in its folder what an interrupted run of it left. Files and stores appear there complete or not at
all, so that those which are there are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.infer.fisher import FisherInformation
from columnminer.infer.limits import Grid, expected_limits, observed_limits
from columnminer.learn.checks import check
from columnminer.learn.estimator import Estimator
from columnminer.learn.estimators import RatioEstimator, ScoreEstimator, load_estimator
from columnminer.pipeline.overview import save_overview, take_overview
from columnminer.pipeline.results import agreement, save_agreement, save_information, save_limits
from columnminer.processing import process
from columnminer.run.tasks import run_tasks
from columnminer.sample.samples import Samples
from columnminer.sample.sampling import sample_local, sample_ratio, sample_test
from columnminer.store.eventstore import EventStore
from columnminer.store.samplestore import SampleStore
from columnminer.streams import seed_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from distributed import Client

    from columnminer.generate.drellyan import DrellYan
    from columnminer.model.priors import Prior
    from columnminer.model.setup import Setup
    from columnminer.observe.selection import Selection
    from columnminer.pipeline.configuration import InformationConfig, LimitsConfig
    from columnminer.store.samples import Sample

__all__ = [
    "CHECK_EVENTS",
    "ESTIMATOR",
    "SAMPLES",
    "STORE",
    "Binned",
    "Running",
    "compare",
    "draw_local",
    "draw_ratio",
    "event_file",
    "find_information",
    "find_limits",
    "generate_events",
    "held_out_local",
    "held_out_ratio",
    "overview",
    "process_events",
    "train",
    "write_setup",
]

STORE = "events.zarr"
SAMPLES = "samples.zarr"
ESTIMATOR = "estimator"

CHECK_EVENTS = 40_000
"""Events that estimators are checked on, unless they were trained on fewer."""

_AGREEMENT_EVENTS = 10_000
_AGREEMENT_POINTS = 25
_CONSTRUCTED = ("hidden", "activation", "dropout", "features", "scale_parameters")
"""Options of an estimator that belong to the network, and not to its training."""


@dataclass(frozen=True)
class Running:
    """Where work runs, and whether it shows how far it is. No result depends on it.

    Attributes
    ----------
    client : distributed.Client or None
        Cluster that tasks run on.
    workers : int
        Processes on this machine, without a client.
    progress : bool
        Bars on a terminal, log lines elsewhere.
    """

    client: Client | None = None
    workers: int = 1
    progress: bool = True


@dataclass(frozen=True)
class Binned:
    """What a histogram is made of.

    Attributes
    ----------
    what : str, list of str or Path
        Names or expressions of observables, or the folder of a score estimator.
    bins : object
        As `columnminer.infer.bins.split_bins` takes them.
    """

    what: Any
    bins: Any


def write_setup(folder: Path, setup: Setup) -> None:
    """Write ``setup.json``."""
    setup.save(folder / "setup.json")


def event_file(benchmark: str) -> str:
    """Return what the file of events generated at a benchmark is called."""
    return f"{benchmark}.lhe.gz"


def generate_events(folder: Path, generator: DrellYan, counts: Mapping[str, int], seed: int, running: Running) -> None:
    """Write a file of events for each benchmark named in `counts`."""

    def write(benchmark: str) -> None:
        # Each file has a stream of its own: with one for all, events of two benchmarks would be near copies.
        path = folder / event_file(benchmark)
        if not path.exists():
            generator.write_lhe(path, counts[benchmark], benchmark, seed_sequence(seed, "generate", benchmark))

    run_tasks(
        write,
        counts,
        client=running.client,
        workers=running.workers,
        title="generate events",
        progress=running.progress,
    )


def process_events(
    folder: Path,
    *,
    samples: Sequence[Sample],
    setup: Setup,
    selection: Selection,
    options: Mapping[str, Any],
    running: Running,
) -> None:
    """Write the store of the samples' events."""
    process(
        samples,
        setup,
        selection,
        folder / STORE,
        client=running.client,
        workers=running.workers,
        progress=running.progress,
        **options,
    )


def draw_ratio(folder: Path, store: Path, theta0: Prior | None, options: Mapping[str, Any]) -> None:
    """Write training events of ratio estimators."""
    if not (folder / SAMPLES).exists():
        sample_ratio(EventStore(store), theta0=theta0, out=folder / SAMPLES, **options)


def draw_local(folder: Path, store: Path, options: Mapping[str, Any]) -> None:
    """Write training events of score estimators."""
    if not (folder / SAMPLES).exists():
        sample_local(EventStore(store), out=folder / SAMPLES, **options)


def held_out_ratio(store: Path, theta0: Prior | None, options: Mapping[str, Any]) -> Samples:
    """Return events that check ratio estimators, drawn as those of the training but from others."""
    return Samples.of(sample_ratio(EventStore(store), theta0=theta0, **_of_validation(options)))


def held_out_local(store: Path, options: Mapping[str, Any]) -> Samples:
    """Return events that check score estimators, drawn as those of the training but from others."""
    return Samples.of(sample_local(EventStore(store), **_of_validation(options)))


def _of_validation(options: Mapping[str, Any]) -> dict[str, Any]:
    seed = seed_sequence(options["seed"], "checks")
    return {**options, "n": min(options["n"], CHECK_EVENTS), "seed": seed, "partition": "validation"}


def train(
    folder: Path, samples: Path, options: Mapping[str, Any], running: Running, *, held_out: Callable[[], Samples]
) -> None:
    """Train one estimator, from its last checkpoint if there is one, check it on other events, and save it."""
    built = {name: options[name] for name in _CONSTRUCTED if name in options}
    training = {name: value for name, value in options.items() if name not in built}
    checkpoint = folder / "checkpoint"
    estimator = (ScoreEstimator if options["method"] == "sally" else RatioEstimator)(**built)
    estimator.fit(SampleStore(samples), progress=running.progress, checkpoint=checkpoint, **training)
    check(estimator, held_out(), seed=options["seed"])
    estimator.save(folder / ESTIMATOR, replace=True)
    checkpoint.unlink(missing_ok=True)


def compare(folder: Path, *, store: Path, estimator: Path, exact: DrellYan, theta0: Prior | None, seed: int) -> None:
    """Compare an estimator with the exact likelihood, on test events drawn at its reference point.

    Log likelihood ratios are taken at points drawn from `theta0`, scores at the reference point.
    """
    events, learned = EventStore(store), Estimator.load(estimator)
    n = min(_AGREEMENT_EVENTS, events.n_events("test"))
    n_par = len(events.setup.parameter_names)  # a score may have nuisance parameters behind those
    reference = learned.reference[:n_par]
    x = np.asarray(sample_test(events, reference, n, seed=seed).x, dtype=np.float64)
    names = events.observable_names
    if isinstance(learned, RatioEstimator) and theta0 is not None:
        points = theta0.sample(_AGREEMENT_POINTS, np.random.default_rng(seed_sequence(seed, "agreement")))
        estimated = learned.log_ratio(x, points, pairing="grid", names=names)
        truth = exact.log_ratio(x, points, reference, pairing="grid", names=names)
        save_agreement(agreement("log likelihood ratio", truth, estimated), folder)
    else:
        truth = exact.score(x, reference, names=names)
        save_agreement(agreement("score", truth, learned.score(x, names=names)[:, :n_par]), folder)


def find_limits(folder: Path, store: Path, what: Any, config: LimitsConfig, observed: Path | None = None) -> None:
    """Write expected limits, or observed ones if there is a store of recorded events."""
    events = EventStore(store)
    used, bins = _loaded(what)
    grid = Grid([config.grid[name] for name in events.setup.parameter_names])
    rate = config.include_rate or used == "rate"
    nuisances = config.nuisances and isinstance(what, Binned | str)
    find = (
        partial(expected_limits, events, used, config.theta_true)
        if observed is None
        else partial(observed_limits, events, used, EventStore(observed))
    )
    limits = find(
        grid,
        config.luminosity,
        include_rate=rate,
        bins=bins,
        nuisances=nuisances,
        cuts=config.cuts,
        efficiencies=config.efficiencies,
    )
    save_limits(limits, folder)


def find_information(folder: Path, store: Path, what: Any, config: InformationConfig) -> None:
    """Write one Fisher information: of the truth, the rate, a histogram, or an estimator."""
    fisher = FisherInformation(EventStore(store), config.luminosity, cuts=config.cuts, efficiencies=config.efficiencies)
    used, bins = _loaded(what)
    if isinstance(what, Binned):
        result = fisher.histogram(config.theta, used, bins=bins)
    elif isinstance(used, str):
        result = fisher.truth(config.theta) if used == "truth" else fisher.rate(config.theta)
    else:
        result = fisher.detector(config.theta, used)
    # What is known of nuisance parameters from elsewhere belongs to every analysis.
    save_information(result + fisher.constraints() if fisher.store.nuisance_names else result, folder)


def _loaded(what: Any) -> tuple[Any, Any]:
    """Return what a result is made with, estimators read from their folders, and its bins."""
    inner, bins = (what.what, what.bins) if isinstance(what, Binned) else (what, None)
    return (load_estimator(inner) if isinstance(inner, Path) else inner), bins


def overview(folder: Path, store: Path, thetas: Mapping[str, Any], observables: Sequence[str]) -> None:
    """Write what the store holds at some parameter points."""
    save_overview(take_overview(EventStore(store), thetas, observables), folder)
