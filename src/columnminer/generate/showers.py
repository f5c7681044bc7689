"""Showering files: Les Houches files in, HepMC3 files out, each by a task of its own."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import numpy as np

from columnminer.errors import InputError, OutputExistsError
from columnminer.formats.fingerprint import fingerprint
from columnminer.formats.hepmc_write import HepMCWriter, described
from columnminer.formats.pythia_card import setting_lines
from columnminer.generate.pythia import PATIENCE, PythiaReader, raw_weights
from columnminer.run.tasks import run_tasks

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from distributed import Client
    from numpy.typing import NDArray

    from columnminer.formats.lhe_header import LHEInfo
    from columnminer.formats.pythia_card import Settings

__all__ = ["shower"]

_log = logging.getLogger(__name__)


class Files(Protocol):
    """A dataclass with files of events, `paths`, in it, such as `columnminer.Sample`."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files."""
        ...

    @property
    def shower(self) -> Settings:
        """Settings of its own."""
        ...


S = TypeVar("S", bound=Files)


def shower(
    samples: Sequence[S],
    out: str | os.PathLike[str],
    *,
    settings: Settings = None,
    seed: int = 0,
    client: Client | None = None,
    workers: int = 1,
    replace: bool = False,
    patience: float = PATIENCE,
    progress: bool = True,
) -> list[S]:
    """Shower Les Houches files, each to a HepMC3 file (ascii, gzip) with Pythia's whole record.

    Weights are raw as in the file, under the same names, the nominal one first; events keep their numbers, those that
    are vetoed are left out. The cross section in each event is that of the file times the fraction that is left.

    Parameters
    ----------
    samples
        What to shower: `columnminer.Sample` of Les Houches files. One with `shower` brings its own settings.
    out
        Folder of the new files, which are called as the old ones, with .hepmc.gz in place of .lhe or .lhe.gz.
    settings, seed, patience
        As in `PythiaReader`.
    client, workers
        Where to run, a file at a time; see `columnminer.run.tasks.run_tasks`. No result depends on it.
    replace
        Whether to overwrite files of other events or settings. Those that are there and were made from the same are
        kept as they are.
    progress
        Whether to show progress.

    Returns
    -------
    list
        The samples with the new files in place of the old ones.

    Raises
    ------
    MissingError
        If Pythia is not installed.
    InputError, FileFormatError
        If settings or files are wrong. This is found before any event is showered.
    OutputExistsError
        If there is a file of other events or settings, and it is not to be replaced.
    TaskError
        If files could not be showered, with the reason for each, after all others are done.

    Examples
    --------
    >>> showered = cm.shower([cm.Sample("signal_sm.lhe.gz", benchmark="sm")], "showered")
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    jobs: dict[Path, _Job] = {}
    showered = []
    for sample in samples:
        lines = setting_lines(settings if sample.shower is None else sample.shower)
        places = [out / f"{_stem(path)}.hepmc.gz" for path in sample.files]
        for path, place in zip(sample.files, places, strict=True):
            if place in jobs:
                msg = f"{path} and {jobs[place].path} would both become {place}: shower them into folders of their own"
                raise InputError(msg)
            PythiaReader(path, lines).info()
            jobs[place] = _Job(path, place, lines, seed, patience)
        showered.append(cast("S", dataclasses.replace(cast("Any", sample), paths=places, shower=None)))
    waiting = [job for job in jobs.values() if not job.is_done(replace=replace)]
    run_tasks(_write, waiting, client=client, workers=workers, title="showering", progress=progress)
    return showered


def _stem(path: Path) -> str:
    name = path.name.removesuffix(".gz")
    return name.removesuffix(".lhe") or name


@dataclass(frozen=True)
class _Job:
    """One file to shower; it travels to other processes."""

    path: Path
    place: Path
    lines: tuple[str, ...]
    seed: int
    patience: float

    def __str__(self) -> str:
        return self.path.name

    @property
    def identity(self) -> str:
        """What the result depends on, as a hash: it stands in the file."""
        version = importlib.metadata.version("pythia8mc")
        text = json.dumps([fingerprint(self.path), self.lines, self.seed, version])
        return f"inputs sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def is_done(self, *, replace: bool) -> bool:
        """Return whether the result is there.

        Raises
        ------
        OutputExistsError
            If there is another one, which is not to be replaced.
        """
        if not self.place.exists():
            return False
        if self.identity in described(self.place):
            return True
        if not replace:
            msg = f"{self.place} exists, and holds other events or was made with other settings: replace=True does it"
            raise OutputExistsError(msg)
        return False


def _write(job: _Job) -> None:
    reader = PythiaReader(job.path, job.lines, seed=job.seed, patience=job.patience)
    info = reader.info()
    tools = [
        ("Pythia", importlib.metadata.version("pythia8mc"), "; ".join(job.lines)),
        ("columnminer", importlib.metadata.version("columnminer"), job.identity),
    ]
    all_weights = kept_weights = 0.0
    n_tried = n_kept = 0
    with HepMCWriter(job.place, info.weight_names, tools) as out:
        for partons, columns in reader.whole_events():
            weights = raw_weights(partons, columns)
            given = columns["number"] - partons.first_event
            kept = np.zeros(len(partons))
            kept[given] = weights[given, 0]
            tried = all_weights + np.cumsum(partons.weights[:, 0])
            left = kept_weights + np.cumsum(kept)
            sections = _cross_sections(info, tried, left, n_tried + 1 + np.arange(len(partons)))
            out.write(columns, weights[given], sections[given])
            all_weights, kept_weights = float(tried[-1]), float(left[-1])
            n_tried, n_kept = n_tried + len(partons), n_kept + len(given)
    if n_kept < n_tried:
        _log.warning("%s: %d of %d events did not come out of the shower", job.path, n_tried - n_kept, n_tried)


def _cross_sections(
    info: LHEInfo, tried: NDArray[np.float64], left: NDArray[np.float64], n: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the cross section [pb] of what is left, as known after each event; see `store.normalisation`."""
    if info.weighting is not None and abs(info.weighting) in {1, 4}:
        return np.asarray(left / n)
    declared = np.nan if info.cross_section is None else info.cross_section
    return np.asarray(declared * np.divide(left, tried, out=np.ones_like(left), where=tried != 0))
