"""The whole chain on many events, on two workers of 2 GB, with what each stage costs: time, memory, bytes.

``python tests/scale_chain.py FOLDER N_EVENTS`` does it in FOLDER, which it fills with files, and leaves ``chain.json``
there, anew after each stage. `test_ten_million_events.py` runs it in a process of its own, so that nothing else counts
in its memory.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from isal import igzip

import columnminer as cm
from columnminer.run.clusters import local_cluster
from columnminer.run.tasks import run_tasks
from columnminer.streams import key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client

log = logging.getLogger(__name__)

PROCESS = cm.DrellYan()
LUMINOSITY = 300e3  # pb^-1: 26,000 events
THETA = [0.004, -0.006]
GRID = cm.Grid([(-0.02, 0.02, 25), (-0.02, 0.02, 25)])
COARSE = cm.Grid([(-0.02, 0.02, 5), (-0.02, 0.02, 5)])
PRIOR = cm.flat_prior([(-0.02, 0.02)] * 2)
PER_FILE = 250_000
N_DRAWN = 500_000


@dataclass(frozen=True)
class Stage:
    """What one stage took: seconds, MB at the peak, bytes on disk that it reads or leaves."""

    name: str
    events: int
    wall: float
    cpu_client: float
    cpu_workers: float
    peak_client: float
    peak_worker: float
    size: int


class Meter:
    """Measures stages in this process and in the workers of a client."""

    def __init__(self, client: Client, out: Path) -> None:
        self.found: dict[str, Any] = {"stages": [], "pids": []}
        self.out, self.dask = out, client
        self.workers = [psutil.Process(pid) for pid in self.note_workers()]
        self.client = psutil.Process()

    def note_workers(self) -> list[int]:
        """Remember which processes the workers are: others would be restarted ones."""
        self.found["pids"].append(sorted(self.dask.run(os.getpid).values()))
        return list(self.found["pids"][-1])

    @contextmanager
    def stage(self, name: str, events: int, folder: Path | None = None) -> Iterator[None]:
        processes = [self.client, *self.workers]
        for process in processes:
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the peak starts again here
        before = [cpu(process) for process in processes]
        start = time.perf_counter()
        yield
        wall = time.perf_counter() - start
        used = [cpu(process) - earlier for process, earlier in zip(processes, before, strict=True)]
        peaks = [peak(process) for process in processes]
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder else 0
        stage = Stage(name, events, wall, used[0], sum(used[1:]), peaks[0], max(peaks[1:]), size)
        log.info("%s", stage)
        self.found["stages"].append(asdict(stage))
        self.out.write_text(json.dumps(self.found))


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def peak(process: psutil.Process) -> float:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def write_file(item: tuple[Path, int, int]) -> None:
    path, n, seed = item
    if not path.exists():
        PROCESS.write_lhe(path, n, "sm", seed=seed)


def gunzip(path: Path) -> int:
    size, buffer = 0, bytearray(1 << 20)
    with igzip.open(path, "rb") as file:
        while n := file.readinto(buffer):
            size += n
    return size


def events(folder: Path, n: int, meter: Meter) -> cm.EventStore:
    """Make the files of events, and a store of them."""
    files = [folder / "lhe" / f"events_{i:03}.lhe.gz" for i in range(-(-n // PER_FILE))]
    files[0].parent.mkdir(exist_ok=True)
    run = partial(run_tasks, client=meter.dask, progress=False)
    with meter.stage("generate, write LHE", n, files[0].parent):
        run(write_file, [(f, min(PER_FILE, n - i * PER_FILE), key(1, "file", i)) for i, f in enumerate(files)])
    with meter.stage("gunzip alone", n, files[0].parent):
        meter.found["bytes of text"] = sum(run(gunzip, files))
    sample, selection = cm.Sample(files, benchmark="sm", name="sm"), cm.Selection(observables=PROCESS.observables)
    out = folder / "events"
    with meter.stage("process", n, out):
        store = cm.process([sample], PROCESS.setup(), selection, out, client=meter.dask, seed=1, progress=False)
    with meter.stage("read the store once", n, out):
        meter.found["checksum"] = [float(block.x.sum() + block.benchmark_weights.sum()) for block in store.blocks()]
    return store


def learn(store: cm.EventStore, folder: Path, meter: Meter) -> cm.RatioEstimator:
    with meter.stage("sample", N_DRAWN):
        samples = cm.sample_ratio(store, PRIOR, "sm", N_DRAWN, seed=1)
    with meter.stage("sample, by workers", N_DRAWN):
        others = cm.sample_ratio(store, PRIOR, "sm", N_DRAWN, seed=1, client=meter.dask)
    meter.found["same samples"] = all(
        (getattr(samples, name) == getattr(others, name)).all() for name in samples.array_names
    )
    del others
    with meter.stage("sample, by workers, into a store", len(store), folder / "samples"):
        cm.sample_ratio(store, PRIOR, "sm", len(store), seed=1, out=folder / "samples", client=meter.dask)
    with meter.stage("train", 3 * N_DRAWN):
        estimator = cm.RatioEstimator().fit(samples, epochs=3, seed=1)
    estimator.save(folder / "ratio")
    return estimator


def infer(store: cm.EventStore, estimator: cm.RatioEstimator, meter: Meter) -> None:
    for name, what, grid in [
        ("rate", "rate", GRID),
        ("histogram", ["m_ll", "y_ll", "cos_theta"], GRID),
        ("exact", PROCESS, GRID),
        ("estimator", estimator, COARSE),
    ]:
        with meter.stage(f"limits: {name}", len(store), store.path):
            limits = cm.expected_limits(store, what, THETA, grid, LUMINOSITY)
        meter.found[f"limits: {name}"] = {"log_ratio": limits.log_ratio.tolist(), "theta": limits.theta.tolist()}
    information = cm.FisherInformation(store, LUMINOSITY)
    for name, work in {
        "rate": information.rate,
        "truth": information.truth,
        "histogram": partial(information.histogram, observables=["m_ll", "cos_theta"], bins=[20, 10]),
        "detector": partial(information.detector, estimator=PROCESS),
    }.items():
        with meter.stage(f"information: {name}", len(store), store.path):
            result = work("sm")
        numbers = {"information": result.information.tolist(), "covariance": result.covariance.tolist()}
        meter.found[f"information: {name}"] = numbers


def table(stages: list[dict[str, Any]]) -> str:
    """Return the stages as a table in Markdown."""
    lines = [
        "| stage | events | wall [s] | CPU [s], client + workers | peak, client [MB] | worker [MB] | on disk [MB] |"
    ]
    lines += ["|---|---|---|---|---|---|---|"]
    for stage in (Stage(**each) for each in stages):
        times = f"{stage.wall:.1f} | {stage.cpu_client:.1f} + {stage.cpu_workers:.1f}"
        memory = f"{stage.peak_client:.0f} | {stage.peak_worker:.0f} | {stage.size / 1e6:.0f}"
        lines.append(f"| {stage.name} | {stage.events:,} | {times} | {memory} |")
    return "\n".join(lines)


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    folder, n = Path(sys.argv[1]).absolute(), int(sys.argv[2])
    folder.mkdir(exist_ok=True, parents=True)
    with local_cluster(2, memory="2 GB") as client:
        meter = Meter(client, folder / "chain.json")
        store = events(folder, n, meter)
        infer(store, learn(store, folder, meter), meter)
        lines = [*client.get_worker_logs().values(), *client.get_worker_logs(nanny=True).values()]
        meter.found["log"] = [text for some in lines for level, text in some if level not in {"DEBUG", "INFO"}]
        with meter.stage("all", n, folder):
            meter.note_workers()


if __name__ == "__main__":
    main()
