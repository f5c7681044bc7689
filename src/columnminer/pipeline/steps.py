"""What the stages of an analysis do: read outputs of earlier stages, call one room of the package, write their own.

Each step may find in its folder what an interrupted run of it left. Files and stores appear there complete or not at
all, so that those which are there are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from columnminer.generate.drellyan import DrellYan
from columnminer.infer.fisher import FisherInformation
from columnminer.infer.limits import Grid, expected_limits, observed_limits
from columnminer.infer.projection import ScoreProjection
from columnminer.learn.denominators import ratio_to
from columnminer.learn.estimators import load_estimator
from columnminer.pipeline.overview import save_overview, take_overview
from columnminer.pipeline.results import save_information, save_limits
from columnminer.processing import process
from columnminer.run.tasks import run_tasks
from columnminer.store.eventstore import EventStore
from columnminer.streams import seed_sequence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from distributed import Client

    from columnminer.model.setup import Setup
    from columnminer.observe.selection import Selection
    from columnminer.pipeline.configuration import InformationConfig, LimitsConfig
    from columnminer.store.samples import Sample

__all__ = [
    "ESTIMATOR",
    "SAMPLES",
    "STORE",
    "Binned",
    "Projected",
    "Running",
    "event_file",
    "find_information",
    "find_limits",
    "generate_events",
    "overview",
    "process_events",
    "write_setup",
]

STORE = "events.zarr"
SAMPLES = "samples.zarr"
ESTIMATOR = "estimator"


@dataclass(frozen=True)
class Running:
    """Where work runs, and whether it shows how far it is. No result depends on it.

    Attributes
    ----------
    client : distributed.Client or None
        Cluster that tasks run on.
    workers : int
        Processes on this machine, without a client.
    device : str
        Where networks are: "auto" (the GPU, if there is one), "cpu" or "cuda".
    progress : bool
        Bars on a terminal, log lines elsewhere.
    """

    client: Client | None = None
    workers: int = 1
    device: str = "auto"
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
    options : mapping
        Further options of limits: bins_at, theta_ref, score_components, template_statistics, n_sampled.
    """

    what: Any
    bins: Any
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Projected:
    """What a projection of the score is made of.

    Attributes
    ----------
    what : Path
        Folder of a score estimator.
    options : mapping
        Of `columnminer.infer.projection.ScoreProjection`.
    """

    what: Path
    options: Mapping[str, Any]


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


def find_limits(
    folder: Path,
    store: Path,
    what: Any,
    *,
    config: LimitsConfig,
    seed: int,
    running: Running,
    observed: Path | None = None,
) -> None:
    """Write expected limits, or observed ones if there is a store of recorded events."""
    events = EventStore(store)
    used, bins = _loaded(what, running.device)
    if getattr(used, "estimates", None) in {"double ratio", "density"}:
        used = ratio_to(used, events.setup.theta(config.theta_true))
    if isinstance(what, Projected):
        seen = {"cuts": config.cuts, "efficiencies": config.efficiencies, "partition": config.template_partition}
        used = ScoreProjection(events, used, **{**what.options, **seen})
    grid = Grid([config.grid[name] for name in events.setup.parameter_names])
    rate = config.include_rate or used == "rate"
    find = (
        partial(expected_limits, events, used, config.theta_true, n_asimov=config.n_asimov, partition=config.partition)
        if observed is None
        else partial(observed_limits, events, used, EventStore(observed))
    )
    limits = find(
        grid,
        config.luminosity,
        include_rate=rate,
        bins=bins,
        dof=config.dof,
        template_partition=config.template_partition,
        nuisances=config.nuisances and not isinstance(what, Projected | DrellYan),
        cuts=config.cuts,
        efficiencies=config.efficiencies,
        seed=seed,
        **(what.options if isinstance(what, Binned) else {}),
    )
    save_limits(limits, folder)


def find_information(folder: Path, store: Path, what: Any, *, config: InformationConfig, running: Running) -> None:
    """Write one Fisher information: of the truth, the rate, a histogram, or an estimator."""
    options: dict[str, Any] = {"partition": config.partition, "cuts": config.cuts, "efficiencies": config.efficiencies}
    fisher = FisherInformation(EventStore(store), config.luminosity, **options)
    used, bins = _loaded(what, running.device)
    if isinstance(what, Binned):
        result = fisher.histogram(config.theta, used, bins=bins)
    elif isinstance(used, str):
        result = fisher.truth(config.theta) if used == "truth" else fisher.rate(config.theta)
    else:
        result = fisher.detector(config.theta, used, include_rate=config.include_rate, mode=config.mode)
    # What is known of nuisance parameters from elsewhere belongs to every analysis.
    save_information(result + fisher.constraints() if fisher.store.nuisance_names else result, folder)


def _loaded(what: Any, device: str) -> tuple[Any, Any]:
    """Return what a result is made with, estimators read from their folders, and its bins."""
    inner, bins = what.what if isinstance(what, Binned | Projected) else what, getattr(what, "bins", None)
    if not isinstance(inner, Path):
        return inner, bins
    return load_estimator(inner, device=device), bins


def overview(folder: Path, store: Path, thetas: Mapping[str, Any], observables: Sequence[str]) -> None:
    """Write what the store holds at some parameter points."""
    save_overview(take_overview(EventStore(store), thetas, observables), folder)
