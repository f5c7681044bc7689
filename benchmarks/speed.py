"""Our own speed on real events: ``python -m benchmarks.speed``, one core, medians of five after a cold first call.

The column "limit" is the fastest that anything could do the same on this machine, measured in the same run: gunzip of
the file alone, one pass over the bytes to be read or written, or the arithmetic alone (`learning`).
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyhepmc
from isal import igzip
from rich.console import Console
from rich.table import Table

import columnminer as cm
from benchmarks import learning, nanoaod, showers, vbf
from benchmarks.timing import VBF, Row, measure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.sample.samples import Samples

SIGNAL = VBF / "signal_sm.lhe.gz"
SHOWERED = VBF / "signal_sm_pythia8_200.hepmc.gz"


def peak_memory_of_reading(path: Path) -> float:
    """Return the peak memory [MB] of a process of its own that reads the file, imports and all."""
    code = f"""
from pathlib import Path
from benchmarks.vbf import read_all
read_all(Path({str(path)!r}))
status = Path("/proc/self/status").read_text(encoding="utf-8")  # resource.getrusage would count the parent, too
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""
    return int(subprocess.check_output([sys.executable, "-c", code])) / 1024


def compiling_seconds() -> float:
    """Return how long the first read takes [s] where nothing has been compiled before, without the imports."""
    code = f"""
import time
from pathlib import Path
from benchmarks.vbf import read_all
start = time.perf_counter()
read_all(Path({str(SIGNAL)!r}))
print(time.perf_counter() - start)
"""
    with tempfile.TemporaryDirectory() as empty:
        environment = {**os.environ, "NUMBA_CACHE_DIR": empty}
        return float(subprocess.check_output([sys.executable, "-c", code], env=environment))


def import_seconds() -> float:
    return (
        measure(lambda: subprocess.run([sys.executable, "-c", "import columnminer"], check=True)).median
        - measure(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)).median
    )


def reading(folder: Path) -> list[Row]:
    plain = folder / "signal_sm.lhe"
    plain.write_bytes(gzip.decompress(SIGNAL.read_bytes()))
    n = vbf.read_all(plain)

    def once_over() -> int:
        return int(np.count_nonzero(np.frombuffer(plain.read_bytes(), np.uint8) == ord("\n")))

    def gunzip() -> int:
        size, buffer = 0, bytearray(1 << 20)
        with igzip.open(SIGNAL, "rb") as file:
            while n := file.readinto(buffer):
                size += n
        return size

    return [
        Row("LHE, plain -> EventBatch", n, measure(lambda: vbf.read_all(plain)), ">= 400k/s", measure(once_over)),
        Row("LHE, gzip -> EventBatch", n, measure(lambda: vbf.read_all(SIGNAL)), ">= 200k/s", measure(gunzip)),
    ]


def reading_showered(folder: Path) -> list[Row]:
    """Read HepMC beside what a user of pyhepmc would write: the final state of each event as arrays."""
    plain = folder / "showered.hepmc"
    plain.write_bytes(gzip.decompress(SHOWERED.read_bytes()))

    def looped(path: Path) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        events = []
        with pyhepmc.open(str(path)) as file:
            for event in file:
                final = [particle for particle in event.particles if particle.status == 1]
                momenta = [(p.momentum.px, p.momentum.py, p.momentum.pz, p.momentum.e, p.pid, p.status) for p in final]
                events.append((np.array(momenta), np.array(event.weights)))
        return events

    rows = []
    for what, path in (("plain", plain), ("gzip", SHOWERED)):
        ours, theirs = measure(partial(vbf.read_all, path)), measure(partial(looped, path))
        remark = f"pyhepmc looped: {theirs.median:.3f} s, {theirs.median / ours.median:.0f} times as long"
        rows.append(Row(f"HepMC, {what} -> EventBatch", vbf.read_all(path), ours, ">= 3 pyhepmc", remark=remark))
    return rows


def chain(folder: Path) -> list[Row]:
    setup, selection = vbf.setup(), vbf.selection()
    sample = [cm.Sample(SIGNAL, benchmark="sm")]
    out = folder / "one.zarr"
    row = Row(
        f"LHE, gzip -> {len(selection.observable_names)} observables, cuts -> store",
        20_000,
        measure(lambda: cm.process(sample, setup, selection, out, replace=True, resume=False, progress=False)),
        ">= 110k/s",
    )
    return [row]


def after(folder: Path) -> list[Row]:
    setup, selection = vbf.setup(), vbf.selection()
    store = cm.process(vbf.samples(), setup, selection, folder / "all.zarr", progress=False)
    prior = cm.gaussian_prior([0, 0], [5, 5])
    grid = cm.Grid([(-1, 1, 25), (-1, 1, 25)])
    information = cm.FisherInformation(store, luminosity=300e3)

    def sample() -> Samples:
        return cm.sample_ratio(store, theta0=prior, theta1="sm", n=500_000, seed=0)

    samples = sample()
    arrays = [samples.x, samples.theta0, samples.theta1, samples.y, samples.r_xz, samples.t_xz]
    all_weights = measure(lambda: store.weights[:])
    return [
        Row(
            "sample_ratio, 1,000 thetas -> arrays",
            500_000,
            measure(sample),
            "",
            measure(lambda: [array.copy() for array in arrays]),
        ),
        Row(
            "histogram limits, 625 thetas",
            len(store),
            measure(lambda: cm.expected_limits(store, "pt_j1", theta_true=[0, 0], grid=grid, luminosity=300e3)),
            "",
            all_weights,
        ),
        Row(
            "truth information",
            len(store),
            measure(lambda: information.truth([0, 0])),
            "",
            all_weights,
        ),
        *learning.rows(store, "cpu"),
        *learning.rows(store, "cuda"),
    ]


def generator() -> list[Row]:
    drell_yan = cm.DrellYan()
    return [
        Row("built-in generator, 6 weights", 100_000, measure(lambda: drell_yan.generate(100_000, "sm", seed=0)), "")
    ]


def main() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if not SIGNAL.exists():
        sys.exit(f"the benchmarks read {SIGNAL}; set COLUMNMINER_SHARED to the folder of the shared data")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [
            *reading(folder),
            *reading_showered(folder),
            *chain(folder),
            *nanoaod.rows(folder),
            *after(folder),
            *generator(),
            *showers.rows(SIGNAL, "VBF"),
        ]
        long = folder / "long.lhe.gz"
        whole = gzip.decompress(SIGNAL.read_bytes())
        head, rest = whole.split(b"<event>", 1)
        body = b"<event>" + rest.rsplit(b"</LesHouchesEvents>", 1)[0]
        with igzip.open(long, "wb") as file:
            file.write(head)
            for _ in range(20):
                file.write(body)
            file.write(b"</LesHouchesEvents>\n")
        memory = peak_memory_of_reading(long)
    table = Table("what", "events", "cold [s]", "median [s]", "per s", "wanted", "limit [s]", "median / limit", "")
    for row in rows:
        table.add_row(*row.cells())
    console = Console(width=170)
    console.print(table)
    console.print(f"First read where the kernel has to be compiled: {compiling_seconds():.1f} s")
    console.print(f"Peak memory while reading 400,000 events (gzip): {memory:.0f} MB (wanted: below 600)")
    console.print(f"import columnminer: {import_seconds():.3f} s (wanted: below 0.3)")


if __name__ == "__main__":
    main()
