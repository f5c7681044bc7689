"""Side by side with MadMiner and pylhe on the same real events, in one run: ``nox -s peers``.

Each row is measured here and there in turn on one core; the figure to quote is the ratio.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pylhe
from rich.console import Console
from rich.table import Table

import columnminer as cm
from benchmarks import vbf
from benchmarks.timing import VBF, measure

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 3


@dataclass(frozen=True)
class Row:
    what: str
    ours: float
    theirs: float
    wanted: str


def side_by_side(ours: Callable[[], object], theirs: Callable[[], float]) -> tuple[float, float]:
    """Return the median seconds of ours (warm) and theirs, run in turn; `theirs` returns its own seconds."""
    ours()
    here, there = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        ours()
        here.append(time.perf_counter() - start)
        there.append(theirs())
    return statistics.median(here), statistics.median(there)


def against_pylhe(folder: Path) -> Row:
    plain = folder / "signal_w.lhe"
    plain.write_bytes(gzip.decompress((VBF / "signal_w.lhe.gz").read_bytes()))

    def theirs() -> float:
        return measure(lambda: pylhe.to_awkward(pylhe.LHEFile.fromfile(plain).events), repeats=1).median

    ours, there = side_by_side(lambda: [b.events for b in cm.open_reader(plain).batches()], theirs)
    return Row("parse 5,000 LHE events (pylhe to_awkward)", ours, there, ">= 12")


def against_madminer(python: str, script: Path, folder: Path) -> list[Row]:
    def peer(task: str, *arguments: object) -> float:
        command = [python, str(script), task, *map(str, arguments)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(json.loads(answer.stdout.strip().splitlines()[-1])["wall_s"])

    setup, selection = vbf.setup(), vbf.selection()
    store = cm.process(vbf.samples(), setup, selection, folder / "all.zarr", progress=False)
    h5 = VBF / "madminer_lhe_nosmear_shuffled.h5"
    one = vbf.samples()[:1]

    def read() -> None:
        cm.process(one, setup, selection, folder / "one.zarr", replace=True, resume=False, progress=False)

    grid = cm.Grid([(-1, 1, 25), (-1, 1, 25)])
    prior = cm.gaussian_prior([0, 0], [5, 5])
    work: list[tuple[str, Callable[[], object], tuple[object, ...], str]] = [
        ("read 20,000 events into observables (LHEReader)", read, ("read", VBF, folder, 1), ">= 400"),
        (
            "sample_ratio, 500,000 from 1,000 thetas",
            lambda: cm.sample_ratio(store, theta0=prior, theta1="sm", n=500_000, seed=0),
            ("sample_ratio", h5, folder),
            ">= 25",
        ),
        (
            "histogram limits on 25 x 25 thetas",
            lambda: cm.expected_limits(
                store, "pt_j1", theta_true=[0, 0], grid=grid, luminosity=300e3, include_rate=False
            ),
            ("limits_histo", h5, folder),
            ">= 30",
        ),
    ]
    rows = []
    for what, ours, arguments, wanted in work:
        rows.append(Row(what, *side_by_side(ours, lambda arguments=arguments: peer(*arguments)), wanted))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--madminer", required=True, help="Python of an environment with MadMiner")
    parser.add_argument("--shared", required=True, type=Path, help="folder with data/vbf and peers/madminer_peer.py")
    options = parser.parse_args()
    script = options.shared / "peers" / "madminer_peer.py"
    if not script.exists():
        sys.exit(f"{script} is absent; set COLUMNMINER_SHARED to the folder of the shared data")
    with tempfile.TemporaryDirectory() as name:
        rows = [against_pylhe(Path(name)), *against_madminer(options.madminer, script, Path(name))]
    table = Table("work", "columnminer [s]", "peer [s]", "ratio", "wanted")
    for row in rows:
        table.add_row(row.what, f"{row.ours:.4f}", f"{row.theirs:.3f}", f"{row.theirs / row.ours:.0f}", row.wanted)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
