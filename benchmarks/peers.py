"""Side by side with MadMiner, pylhe and alea on the same events, in one run: ``nox -s peers``.

Each row is measured here and there in turn; the figure to quote is the ratio. Both sides have the threads and cores
that this process has (nox gives one thread; MadMiner's loaders of training data are further processes). Ours is the
median of three after a warm-up, theirs of as many as the row says.
``--only TEXT`` runs the rows with TEXT in their name.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pylhe
from rich.console import Console
from rich.table import Table

import columnminer as cm
from benchmarks import alices, vbf, wimp
from benchmarks.timing import VBF, measure

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from columnminer.sample.samples import Samples

ROUNDS = 3
H5 = VBF / "madminer_lhe_nosmear_shuffled.h5"
FISHER = Path(__file__).with_name("madminer_fisher.py")
LUMINOSITY = 300e3  # pb^-1, as in the peer script


@dataclass(frozen=True)
class Row:
    """One comparison: `theirs` returns its own seconds.

    A remark (about quality, say) is computed afterwards.
    """

    what: str
    ours: Callable[[], object]
    theirs: Callable[[], float]
    wanted: int
    rounds: int = ROUNDS
    remark: Callable[[], str] = str


def side_by_side(row: Row) -> tuple[float, float]:
    """Return the median seconds of ours (warm) and theirs, run in turn."""
    row.ours()
    here, there = [], []
    for turn in range(ROUNDS):
        start = time.perf_counter()
        row.ours()
        here.append(time.perf_counter() - start)
        if turn < row.rounds:
            there.append(row.theirs())
    return statistics.median(here), statistics.median(there)


class Bench:
    """What rows share, made when the first of them asks for it.

    Parameters
    ----------
    python
        Python of an environment with MadMiner.
    script
        The peer script.
    folder
        Where both sides may write.
    toys
        The model for comparing with alea.
    """

    def __init__(self, python: str, script: Path, folder: Path, toys: wimp.Toys) -> None:
        self.python, self.script, self.folder, self.toys = python, script, folder, toys
        self.prior = cm.gaussian_prior([0, 0], [5, 5])
        self.grid = cm.Grid([(-1, 1, 25), (-1, 1, 25)])

    def call(self, script: Path, *arguments: object) -> float:
        """Return the seconds that a script says it took."""
        return float(self.answer(script, *arguments)["wall_s"])

    def answer(self, script: Path, *arguments: object) -> dict[str, Any]:
        """Return what a script prints last, a JSON object."""
        command = [self.python, str(script), *map(str, arguments)]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{answer.stderr}")
        said: dict[str, Any] = json.loads(answer.stdout.strip().splitlines()[-1])
        return said

    def peer(self, *arguments: object) -> float:
        return self.call(self.script, *arguments)

    @cached_property
    def store(self) -> cm.EventStore:
        return cm.process(vbf.samples(), vbf.setup(), vbf.selection(), self.folder / "all.zarr", progress=False)

    @cached_property
    def samples(self) -> tuple[Samples, Samples]:
        """MadMiner's own 500,000 samples but for a tenth, and that tenth."""
        if not (self.folder / "x_ratio.npy").exists():
            self.peer("sample_ratio", H5, self.folder)
        return alices.split(self.folder, self.store.observable_names, self.store.hash)

    @cached_property
    def ours(self) -> cm.RatioEstimator:
        return alices.trained(self.samples[0])

    @cached_property
    def theirs(self) -> float:
        """Seconds of MadMiner's training, which leaves its model behind for the rows that evaluate it."""
        _ = self.samples
        return self.call(Path(__file__).with_name("madminer_alices.py"), self.folder)

    @cached_property
    def morphing(self) -> cm.MorphingRatioEstimator:
        """One that has seen little: its time does not depend on that."""
        few = cm.sample_ratio(self.store, theta0=self.prior, theta1="sm", n=100_000, seed=0)
        estimator = cm.MorphingRatioEstimator((60, 60), optimise_basis=True, features=alices.FEATURES)
        return estimator.fit(few, "carl", seed=0, epochs=2)

    def evaluate(self, estimator: cm.RatioEstimator) -> object:
        """Evaluate at the points and on the events of the peer's task "evaluate"."""
        line = np.linspace(-20.0, 20.0, 25)
        theta = np.array([[a, b] for a in line for b in line])
        x = np.load(self.folder / "x_test.npy")
        return estimator.log_ratio(x, theta, pairing="grid", names=self.store.observable_names)

    def their_evaluation(self) -> float:
        _ = self.theirs
        return self.peer("evaluate", self.folder)

    def their_limits(self) -> float:
        _ = self.theirs
        return self.peer("limits_ml", H5, self.folder)

    def truth(self) -> NDArray[np.float64]:
        return cm.FisherInformation(self.store, LUMINOSITY).truth([0, 0]).information

    def same_information(self) -> str:
        theirs = np.array(self.answer(FISHER, H5, LUMINOSITY)["information"])
        return f"entries agree to {np.abs(self.truth() / theirs - 1).max():.0e}"

    def losses(self) -> str:
        ours, theirs = alices.our_loss(self.ours, *self.samples), alices.their_loss(self.folder, *self.samples)
        return f"loss {ours:.4f} ({alices.EPOCHS} epochs), MadMiner {theirs:.4f} (10)"

    def limits(self, what: object) -> object:
        return cm.expected_limits(
            self.store, what, theta_true=[0, 0], grid=self.grid, luminosity=LUMINOSITY, include_rate=False
        )

    def sample(self, out: Path | None = None) -> object:
        if out is not None and out.exists():
            shutil.rmtree(out)
        return cm.sample_ratio(self.store, theta0=self.prior, theta1="sm", n=500_000, seed=0, out=out)

    def read(self) -> object:
        one, out = vbf.samples()[:1], self.folder / "one.zarr"
        return cm.process(one, vbf.setup(), vbf.selection(), out, replace=True, resume=False, progress=False)

    @cached_property
    def plain(self) -> Path:
        plain = self.folder / "signal_w.lhe"
        plain.write_bytes(gzip.decompress((VBF / "signal_w.lhe.gz").read_bytes()))
        return plain

    def pylhe(self) -> float:
        return measure(lambda: pylhe.to_awkward(pylhe.LHEFile.fromfile(self.plain).events), repeats=1).median

    def rows(self) -> list[Row]:
        folder = self.folder
        return [
            Row(
                "parse 5,000 LHE events (pylhe to_awkward)",
                lambda: [b.events for b in cm.open_reader(self.plain).batches()],
                self.pylhe,
                12,
            ),
            Row(
                "read 20,000 events into observables (LHEReader)",
                self.read,
                lambda: self.peer("read", VBF, folder, 1),
                400,
            ),
            Row(
                "sample_ratio, 500,000 from 1,000 thetas, in memory",
                self.sample,
                lambda: self.peer("sample_ratio", H5, folder),
                25,
            ),
            Row(
                "sample_ratio, 500,000 from 1,000 thetas, into a store",
                lambda: self.sample(folder / "samples.zarr"),
                lambda: self.peer("sample_ratio", H5, folder),
                18,
            ),
            Row(
                "train ALICES on 450,000 samples",
                lambda: alices.trained(self.samples[0]),
                lambda: self.theirs,
                12,
                rounds=1,
                remark=self.losses,
            ),
            Row(
                "log ratio, 625 thetas x 10,000 events",
                lambda: self.evaluate(self.ours),
                self.their_evaluation,
                20,
            ),
            Row(
                "log ratio, 625 thetas x 10,000 events, morphing",
                lambda: self.evaluate(self.morphing),
                self.their_evaluation,
                200,
            ),
            Row("neural limits on 25 x 25 thetas", lambda: self.limits(self.ours), self.their_limits, 15),
            Row(
                "histogram limits on 25 x 25 thetas",
                lambda: self.limits("pt_j1"),
                lambda: self.peer("limits_histo", H5, folder),
                30,
            ),
            Row(
                "truth information of 40,000 events",
                self.truth,
                lambda: self.call(FISHER, H5, LUMINOSITY),
                30,
                remark=self.same_information,
            ),
            Row(
                f"throw {wimp.TOYS:,} toys of a WIMP model and fit each twice (alea)",
                self.toys.fit,
                lambda: self.toys.theirs("simulate_s", "fit_s", "conditional_fit_s"),
                50,
                remark=lambda: f"{self.toys.fit():.1%} of our fits by Minuit",
            ),
            Row(
                f"90 % central intervals of {wimp.TOYS:,} toys (alea)",
                self.toys.intervals,
                lambda: self.toys.theirs("central_interval_s"),
                50,
                remark=lambda: f"{np.mean(self.toys.intervals().valid):.1%} of ours valid",
            ),
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--madminer", required=True, help="Python of an environment with MadMiner")
    parser.add_argument("--alea", required=True, help="Python of an environment with alea")
    parser.add_argument("--shared", required=True, type=Path, help="folder with data/ and peers/")
    only = "only rows with this text in their name; may be given several times"
    parser.add_argument("--only", action="append", metavar="TEXT", help=only)
    options = parser.parse_args()
    script = options.shared / "peers" / "madminer_peer.py"
    if not script.exists():
        sys.exit(f"{script} is absent; set COLUMNMINER_SHARED to the folder of the shared data")
    table = Table("work", "columnminer [s]", "peer [s]", "ratio", "wanted", "peer's rounds", "remark")
    with tempfile.TemporaryDirectory() as name:
        wanted = options.only or [""]
        toys = wimp.Toys(options.alea, options.shared)
        rows = Bench(options.madminer, script, Path(name), toys).rows()
        rows = [row for row in rows if any(text in row.what for text in wanted)]
        if not rows:
            sys.exit(f"no row has {' or '.join(map(repr, wanted))} in its name")
        for row in rows:
            ours, theirs = side_by_side(row)
            table.add_row(
                row.what,
                f"{ours:.4f}",
                f"{theirs:.3f}",
                f"{theirs / ours:.0f}",
                f">= {row.wanted}",
                str(row.rounds),
                row.remark(),
            )
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
