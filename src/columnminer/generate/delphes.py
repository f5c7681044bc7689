"""Running the detector simulation Delphes (arXiv:1307.6346), where it is installed, on files of showered events.

Each file is a task. A ROOT file appears under its name by one rename when Delphes has written all of it; what Delphes
says goes to a log beside it. It ends with status 0 also where it gave up on a broken event, so its log counts.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isal import igzip

from columnminer.errors import FileFormatError, GeneratorError, InputError, OutputExistsError
from columnminer.formats.delphes import DelphesReader
from columnminer.formats.window import Window
from columnminer.generate.programs import run_program
from columnminer.run.tasks import run_tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distributed import Client

__all__ = ["run_delphes"]

_EXECUTABLES = {
    b"HepMC::Asciiv3": ("DelphesHepMC3",),
    b"HepMC::IO_GenEvent": ("DelphesHepMC2", "DelphesHepMC"),  # its name before Delphes 3.5
    b"<LesHouchesEvents": ("DelphesLHEF",),
}
"""Which of Delphes' executables reads a file that begins with this."""

_PROGRESS = re.compile(r"\((\d+(?:\.\d+)?)%\)")
_FATAL = re.compile(r"\*\* ERROR|Fatal in <|\*\*\* Break \*\*\*")
_FAULT = re.compile(r"Error in <|terminate called|what\(\):|error while loading|command not found|No such file")
_QUOTED = 12


def run_delphes(
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    card: str | os.PathLike[str],
    *,
    delphes: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    setup: str | None = None,
    timeout: float | None = None,
    client: Client | None = None,
    workers: int = 1,
    resume: bool = False,
    replace: bool = False,
    progress: bool = True,
) -> list[Path]:
    """Run Delphes on files of events, and return its ROOT files, in the same order.

    Parameters
    ----------
    files
        HepMC2 or HepMC3 files, or LHE files, plain or gzip.
    card
        Delphes card (Tcl).
    delphes
        Folder of Delphes, whose executable for the format of each file is taken; or an executable. None: on the PATH.
    out
        Folder for the ROOT files, ``<name>_delphes.root`` each, and their logs. None: beside the events.
    setup
        Commands of yours for bash that prepare the environment (``source .../setup.sh``). Nothing else is ever given
        to a shell.
    timeout
        Seconds that Delphes may take for a file.
    client, workers
        Where files are simulated at the same time, as in `run_tasks`.
    resume
        Whether ROOT files that are there are taken as they are.
    replace
        Whether they are made again.
    progress
        Whether to show progress.

    Raises
    ------
    InputError, FileFormatError
        If a file, the card or the executable is missing, or a file is of no format that Delphes reads; before anything
        is run.
    OutputExistsError
        If a ROOT file exists, and neither `resume` nor `replace` is set.
    TaskError
        If Delphes failed on some of the files, with its reason for each; the ROOT files of the others are there.
    """
    given = [files] if isinstance(files, str | os.PathLike) else files
    events = [Path(path).absolute() for path in given]
    card = Path(card).absolute()
    for path in (card, *events):
        if not path.is_file():
            msg = f"{path}: there is no such file"
            raise InputError(msg)
    jobs = [
        _Job(
            events=path,
            card=card,
            executable=_executable(path, delphes),
            output=(path.parent if out is None else Path(out).absolute()) / f"{_stem(path)}_delphes.root",
            setup=setup,
            timeout=timeout,
            progress=progress and client is None and (workers == 1 or len(events) == 1),
        )
        for path in events
    ]
    outputs = [job.output for job in jobs]
    for output in outputs:
        if outputs.count(output) > 1:
            msg = f"two files of events would become {output}: rename one, or put them into different folders"
            raise InputError(msg)
        if output.exists() and not (resume or replace):
            msg = f"{output} exists already; pass resume=True to keep it, or replace=True to make it again"
            raise OutputExistsError(msg)
        output.parent.mkdir(parents=True, exist_ok=True)
    todo = [job for job in jobs if replace or not job.output.exists()]
    run_tasks(_run, todo, client=client, workers=workers, title="Delphes", progress=progress)
    return outputs


@dataclass(frozen=True)
class _Job:
    """What a task needs to know; it travels to other processes."""

    events: Path
    card: Path
    executable: Path
    output: Path
    setup: str | None
    timeout: float | None
    progress: bool

    def __str__(self) -> str:
        return self.events.name


class _Log:
    """Follows what Delphes says, line by line."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.is_fatal = False
        self.last = ""

    def follow(self, line: str) -> str | None:
        """Take the next line; return how far Delphes is, where it says so."""
        if found := _PROGRESS.search(line):
            return f"{found[1]} %"
        fatal = _FATAL.search(line) is not None
        if (fatal or _FAULT.search(line)) and len(self.faults) < _QUOTED:
            self.faults.append(line.strip())
        self.is_fatal |= fatal
        self.last = line.strip() or self.last
        return None

    @property
    def complaint(self) -> str:
        """The faults, or the last line where none was recognised."""
        if not self.faults:
            return f"the last line of its log: {self.last}" if self.last else "its log is empty"
        return "its log says:\n" + "\n".join(f"    {line}" for line in self.faults)


def _run(job: _Job) -> None:
    """Run Delphes on one file."""
    log, log_file = _Log(), job.output.with_suffix(".log")
    what = f"Delphes on {job.events.name}"
    with tempfile.TemporaryDirectory(prefix=f".{job.output.name}.", suffix=".tmp", dir=job.output.parent) as folder:
        made = Path(folder) / "delphes.root"
        command = [str(path) for path in (job.executable, job.card, made, _plain(job.events, Path(folder)))]
        if job.setup is not None:
            # Program and files are arguments of the script, not part of its text.
            command = ["bash", "-c", f'{job.setup}\nexec "$@"', "bash", *command]
        status = run_program(
            command,
            log_file,
            folder=job.executable.parent,  # where the files are that Delphes' own cards name
            what=what,
            timeout=job.timeout,
            follow=log.follow,
            progress=job.progress,
        )
        if status != 0 or log.is_fatal:
            ended = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
            msg = f"{what} {ended}; {log.complaint} (all of it: {log_file})"
            raise GeneratorError(msg)
        try:
            DelphesReader(made).info()
        except InputError as error:
            msg = f"{what} ended with status 0, but wrote no file that can be read: {error}; {log.complaint}"
            raise GeneratorError(msg) from error
        made.replace(job.output)


def _executable(events: Path, delphes: str | os.PathLike[str] | None) -> Path:
    """Return what simulates the events of a file."""
    names = _names(events)
    place = None if delphes is None else Path(delphes).absolute()
    if place is None:
        found = next((path for name in names if (path := shutil.which(name))), None)
    elif place.is_dir():
        found = next((path for name in names if (path := shutil.which(str(place / name)))), None)
    else:
        found = shutil.which(str(place))
    if found is None:
        where = "on the PATH" if place is None else f"in {place}" if place.is_dir() else f"at {place}"
        msg = f"there is no executable {' or '.join(names)} {where}: say with delphes= where Delphes is installed"
        raise InputError(msg)
    return Path(found).absolute()


def _names(events: Path) -> tuple[str, ...]:
    with Window(str(events)) as window:
        window.advance(0)
        start = window.bytes()
    for mark, names in _EXECUTABLES.items():
        if mark in start:
            return names
    msg = f"{events}: Delphes reads HepMC2, HepMC3 and LHE files; this begins with {start[:30]!r}"
    raise FileFormatError(msg)


def _plain(events: Path, folder: Path) -> Path:
    """Return the file, unpacked if need be: Delphes does not read gzip."""
    with events.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return events
    plain = folder / "events"
    gunzip: Any = igzip.open
    try:
        with gunzip(events, "rb") as source, plain.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except (EOFError, OSError) as error:
        msg = f"{events}: the compressed file is damaged or was cut: {error}"
        raise FileFormatError(msg) from error
    return plain


def _stem(events: Path) -> str:
    name = events.name.removesuffix(".gz")
    for suffix in (".hepmc", ".hepmc2", ".hepmc3", ".lhe"):
        name = name.removesuffix(suffix)
    return name
