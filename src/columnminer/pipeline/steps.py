"""What each stage of an analysis does: read the outputs of earlier stages, call one room of the package, write its own.

File names within the stages' folders: ``generate/<benchmark>.lhe.gz``, ``setup/setup.json``, ``events/events.zarr``,
``observed/events.zarr``, ``sampling/<kind>/samples.zarr``, ``estimators/<name>/estimator/``, ``limits/<name>/limits.*``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError
from columnminer.infer.fisher import FisherInformation
from columnminer.infer.limits import Grid, expected_limits, observed_limits
from columnminer.learn.estimators import RatioEstimator, ScoreEstimator, load_estimator
from columnminer.pipeline.results import agreement, save_agreement, save_information, save_limits
from columnminer.process import process
from columnminer.run.tasks import run_tasks
from columnminer.sample.augment import sample_local, sample_ratio, sample_test
from columnminer.store.eventstore import EventStore
from columnminer.store.samplestore import SampleStore
from columnminer.streams import key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from distributed import Client

    from columnminer.generate.drellyan import DrellYan
    from columnminer.model.setup import Setup
    from columnminer.observe.selection import Selection
    from columnminer.pipeline.configuration import EstimatorConfig, HistogramConfig, LimitsConfig
    from columnminer.store.samples import Sample

__all__ = ["Running"]

_AGREEMENT_EVENTS = 10_000
_AGREEMENT_POINTS = 25


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


def generate_events(
    folder: Path, generator: DrellYan, counts: Mapping[str, int], seed: int, running: Running
) -> None:
    """Write one LHE file of events for each benchmark named in `counts`."""

    def write(benchmark: str) -> None:
        # Each sample has a stream of its own: with one for all, events of two benchmarks would be copies.
        generator.write_lhe(
            folder / f"{benchmark}.lhe.gz", counts[benchmark], benchmark, key(seed, "generate", benchmark)
        )

    run_tasks(
        write,
        counts,
        client=running.client,
        workers=running.workers,
        title="generate",
        progress=running.progress,
    )


def process_events(
    folder: Path,
    samples: Sequence[Sample],
    setup: Setup,
    selection: Selection,
    options: Mapping[str, Any],
    running: Running,
) -> None:
    """Write the event store of the samples."""
    process(
        samples,
        setup,
        selection,
        folder / "events.zarr",
        client=running.client,
        workers=running.workers,
        progress=running.progress,
        **options,
    )


def draw_ratio(folder: Path, events: Path, theta0: Any, options: Mapping[str, Any]) -> None:
    """Draw the training events of ratio estimators."""
    sample_ratio(EventStore(events), theta0=theta0, out=folder / "samples.zarr", **options)


def draw_local(folder: Path, events: Path, options: Mapping[str, Any]) -> None:
    """Draw the training events of score estimators."""
    sample_local(EventStore(events), out=folder / "samples.zarr", **options)


_CONSTRUCTED = ("features", "hidden", "activation", "dropout")


def train(folder: Path, samples: Path, config: EstimatorConfig, seed: int, running: Running) -> None:
    """Train one estimator and save it."""
    given = {"seed": seed, **config.given()}
    built = {name: given.pop(name) for name in _CONSTRUCTED if name in given}
    kind = RatioEstimator if config.sampling == "ratio" else ScoreEstimator
    estimator = kind(**built).fit(SampleStore(samples), progress=running.progress, **given)
    estimator.save(folder / "estimator")


def compare_ratio(
    folder: Path, events: Path, estimator: Path, exact: DrellYan, theta: Any, theta1: Any, seed: int
) -> None:
    """Compare an estimated log likelihood ratio with the exact one, on test events at the reference point."""
    store = EventStore(events)
    learned = load_estimator(estimator)
    x, points = _test_events(store, theta1, seed), theta.sample(_AGREEMENT_POINTS, np.random.default_rng(key(seed)))
    names = store.observable_names
    estimated = learned.log_ratio(x, points, pairing="grid", names=names)
    truth = exact.log_ratio(x, points, learned.reference, pairing="grid", names=names)
    save_agreement(agreement("log likelihood ratio", truth, estimated), folder)


def compare_score(folder: Path, events: Path, estimator: Path, exact: DrellYan, seed: int) -> None:
    """Compare an estimated score with the exact one, on test events at the point where it was trained."""
    store = EventStore(events)
    learned = load_estimator(estimator)
    x = _test_events(store, learned.reference, seed)
    names = store.observable_names
    truth = exact.score(x, learned.reference, names=names)
    save_agreement(agreement("score", truth, learned.score(x, names=names)), folder)


def _test_events(store: EventStore, theta: Any, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    n = min(_AGREEMENT_EVENTS, store.n_events("test"))
    return np.asarray(sample_test(store, theta, n, partition="test", seed=seed).x, dtype=np.float64)


def find_limits(
    folder: Path, events: Path, what: Any, config: LimitsConfig, *, bins: Any = None, observed: Path | None = None
) -> None:
    """Find expected limits, or observed ones if there is a store of recorded events."""
    store = EventStore(events)
    names = store.setup.parameter_names
    if set(config.grid) != set(names):
        msg = f"limits.grid names {', '.join(config.grid)}; it needs a range for each of {', '.join(names)}"
        raise InputError(msg)
    grid = Grid([config.grid[name] for name in names])
    shared = {"grid": grid, "luminosity": config.luminosity, "include_rate": config.include_rate, "bins": bins}
    if observed is None:
        limits = expected_limits(store, what, config.theta_true, **shared)
    else:
        limits = observed_limits(store, what, EventStore(observed), **shared)
    save_limits(limits, folder)
