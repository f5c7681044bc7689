"""One run of MadGraph5_aMC@NLO after another: from prepared scripts to checked files of events in their place.

A run works in a temporary folder. Its result is looked at there, and moved to its place by one rename if it is right:
what a reader sees under ``Events/`` is complete, whatever died on the way.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import tempfile
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from columnminer.errors import ColumnMinerError, GeneratorError, MissingError, OutputExistsError
from columnminer.files import appearing
from columnminer.formats.lhe import LHEReader
from columnminer.formats.samples import Sample
from columnminer.generate.madgraph_log import MadGraphLog
from columnminer.generate.programs import run_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Execution", "GeneratedEvents", "GeneratedRun", "add_weights", "generate", "look", "make_process"]


@dataclass(frozen=True)
class GeneratedRun:
    """Events of one run.

    Attributes
    ----------
    name : str
        Of the run, and of its folder.
    benchmark : str or None
        Where the events were sampled; None for a background.
    path : Path
        The LHE file.
    n_events : int
        Events in it.
    cross_section, cross_section_error : float
        As the file declares them [pb]; NaN where it does not.
    showered : Path or None
        The HepMC file, if Pythia 8 ran.
    kind : str
        Equal for runs whose cards differ at most in seed and number of events: they are files of one sample.
    """

    name: str
    benchmark: str | None
    path: Path
    n_events: int
    cross_section: float
    cross_section_error: float
    showered: Path | None = None
    kind: str = ""


@dataclass(frozen=True)
class GeneratedEvents:
    """What MadGraph was run, or only prepared, for.

    Attributes
    ----------
    folder : Path
        Where everything is: events in ``Events/``, cards and scripts in ``columnminer/``.
    script : Path
        Makes the process folder and all runs that are not there, one after another.
    runs : tuple of GeneratedRun
        Empty if only scripts were prepared.
    systematics : tuple of str
        Names of the systematics that act on these events.
    """

    folder: Path
    script: Path
    runs: tuple[GeneratedRun, ...] = ()
    systematics: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """The LHE files, in the order of the runs."""
        return tuple(run.path for run in self.runs)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Samples of the LHE files, ready for `columnminer.process`.

        Raises
        ------
        MissingError
            If nothing was run yet.
        """
        return self._samples({run.name: run.path for run in self.runs})

    @property
    def showered_samples(self) -> tuple[Sample, ...]:
        """Samples of the HepMC files.

        Raises
        ------
        MissingError
            If there are none.
        """
        return self._samples({run.name: run.showered for run in self.runs if run.showered is not None})

    def _samples(self, paths: dict[str, Path]) -> tuple[Sample, ...]:
        kinds: dict[str, list[GeneratedRun]] = {}
        for run in self.runs:
            if run.name in paths:
                kinds.setdefault(run.kind, []).append(run)
        if not kinds:
            msg = f"{self.folder}: there are no such events; run {self.script}, or call again without preparing only"
            raise MissingError(msg)
        return tuple(
            Sample(
                [paths[run.name] for run in runs],
                benchmark=runs[0].benchmark,
                background=runs[0].benchmark is None,
                systematics=self.systematics,
                name=self._name(runs[0], [group[0] for group in kinds.values()]),
            )
            for runs in kinds.values()
        )

    def _name(self, run: GeneratedRun, all_runs: Sequence[GeneratedRun]) -> str:
        name = run.benchmark or self.folder.name
        alone = sum(other.benchmark == run.benchmark for other in all_runs) == 1
        return name if alone else f"{name}_{run.name}"


@dataclass(frozen=True)
class Execution:
    """One script to run; travels to other processes.

    Attributes
    ----------
    name : str
        Of the run.
    script, madgraph, root, temporary, log : Path
        What is run, the folders that it is given, and where its output goes.
    timeout : float or None
        Seconds it may take.
    progress : bool
        Whether to show how far it is.
    benchmark, kind
        As in `GeneratedRun`.
    event_file : str
        What MadGraph calls the file of events.
    weights : tuple of str
        Benchmarks whose weights each event must have.
    showered : bool
        Whether there must be a HepMC file.
    """

    name: str
    script: Path
    madgraph: Path
    root: Path
    temporary: Path
    log: Path
    timeout: float | None = None
    progress: bool = True
    benchmark: str | None = None
    kind: str = ""
    event_file: str = ""
    weights: tuple[str, ...] = ()
    showered: bool = False

    @property
    def what(self) -> str:
        """What to call it in messages."""
        return f"MadGraph, {self.name}"

    def start(self, *arguments: Path) -> MadGraphLog:
        """Run the script, and return what its log said.

        Raises
        ------
        GeneratorError
            If it fails, dies or takes too long.
        """
        if not (self.madgraph / "bin" / "mg5_aMC").is_file():
            msg = f"{self.madgraph} is no MadGraph folder: there is no bin/mg5_aMC in it"
            raise GeneratorError(msg)
        log = MadGraphLog()
        status = run_program(
            ["bash", str(self.script), str(self.madgraph), str(self.root), *map(str, arguments)],
            self.log,
            folder=self.root,
            what=self.what,
            timeout=self.timeout,
            follow=log.follow,
            progress=self.progress,
        )
        if status != 0:
            how = f"failed with status {status}" if status > 0 else f"was killed by signal {-status}"
            raise self.failure(how, log)
        return log

    def failure(self, reason: object, log: MadGraphLog) -> GeneratorError:
        """Return an error that says why, what the log says, and where everything is written."""
        where = f"The whole log is {self.log}. Nothing was kept: once that is mended, call again."
        return GeneratorError(f"{self.what}: {reason}; {log.complaint}\n{where}")


def make_process(execution: Execution) -> None:
    """Make the process folder.

    Raises
    ------
    GeneratorError
        If MadGraph does not make it.
    """
    with _working_folder(execution) as work:
        execution.start(work)


def generate(execution: Execution) -> GeneratedRun:
    """Generate the events of a run, and move them to their place.

    Raises
    ------
    GeneratorError
        If MadGraph fails, dies or takes too long, or the events are not what was asked for.
    OutputExistsError
        If somebody else has finished this run in the meantime.
    """
    events = execution.root / "Events"
    with _working_folder(execution) as work:
        log = execution.start(work, work / "made")
        made = work / "made" / execution.name
        try:
            run = look(execution, made)
        except ColumnMinerError as error:
            raise execution.failure(error, log) from error
        events.mkdir(exist_ok=True)
        stage = events / f".{execution.name}.{uuid.uuid4().hex}.tmp"
        try:
            shutil.move(made, stage)
            stage.rename(events / execution.name)
        except OSError as error:
            if not (events / execution.name).exists():
                raise
            msg = f"{events / execution.name} was written by somebody else in the meantime; theirs stands"
            raise OutputExistsError(msg) from error
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    return _moved(run, events / execution.name)


def add_weights(execution: Execution) -> GeneratedRun:
    """Add weights to the events of a run, replacing its file in one step.

    Raises
    ------
    GeneratorError
        If MadGraph fails, dies or takes too long, or a weight is missing afterwards.
    """
    folder = execution.root / "Events" / execution.name
    with _working_folder(execution) as work:
        log = execution.start(work, work / "made")
        try:
            run = look(execution, work / "made")
        except ColumnMinerError as error:
            raise execution.failure(error, log) from error
        with appearing(folder / execution.event_file) as new:
            shutil.move(run.path, new)
    return _moved(run, folder)


def look(execution: Execution, folder: Path) -> GeneratedRun:
    """Read the events in the folder of a run, all of them.

    Raises
    ------
    GeneratorError
        If there are none, or an event lacks the weight of a benchmark.
    FileFormatError
        If the file breaks its format: it was cut, for instance.
    """
    path = folder / execution.event_file
    if not path.is_file():
        msg = f"{path} does not exist"
        raise GeneratorError(msg)
    showered = next(iter(sorted(folder.glob("*.hepmc*"))), None)
    if execution.showered and showered is None:
        msg = f"{folder} has no HepMC file: Pythia 8 did not run, or failed"
        raise GeneratorError(msg)
    reader = LHEReader(path)
    n_events = 0
    for batch in reader.batches():
        for name in execution.weights:
            column = batch.weight_names.index(name) if name in batch.weight_names else None
            missing = [0] if column is None else np.flatnonzero(np.isnan(batch.weights[:, column])).tolist()
            if missing:
                msg = f"{path}: event {batch.first_event + missing[0]} has no weight for benchmark {name!r}"
                raise GeneratorError(msg)
        n_events += len(batch)
    if n_events == 0:
        msg = f"{path} has no events"
        raise GeneratorError(msg)
    info = reader.info()
    return GeneratedRun(
        execution.name,
        execution.benchmark,
        path,
        n_events,
        math.nan if info.cross_section is None else info.cross_section,
        math.nan if info.cross_section_error is None else info.cross_section_error,
        showered,
        execution.kind,
    )


def _moved(run: GeneratedRun, folder: Path) -> GeneratedRun:
    showered = None if run.showered is None else folder / run.showered.name
    return replace(run, path=folder / run.path.name, showered=showered)


@contextlib.contextmanager
def _working_folder(execution: Execution) -> Iterator[Path]:
    """Yield a temporary folder that goes in the end, also where a program that was killed could not clean up."""
    execution.temporary.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix="columnminer_", dir=execution.temporary, ignore_cleanup_errors=True
    ) as path:
        yield Path(path)
