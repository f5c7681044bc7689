"""Tasks as plain jobs of a batch system: for clusters where no dask worker can reach its scheduler, or none is wanted.

=======================================================  ============================================================
``submit_jobs(tasks, "slurm", combine=10)``              ten tasks a job, through sbatch; finished ones are left out
``submit_jobs(tasks, "local", workers=4)``               the same scripts here, four at a time
``submit_jobs(tasks, "slurm", debug=True)``              print the first job's script, and submit only that one
``job_states(folder)``                                   which jobs finished, wait or failed, and what they said last
=======================================================  ============================================================

All is in the folder of the jobs: of each its script, its log, a record of its tasks (``.json``) and how each of them
ended (``.status``). The folder, and the one that tasks run in, must be on a file system that the nodes share.
"""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from columnminer.errors import FileFormatError, InputError, TaskError, UnknownNameError, did_you_mean
from columnminer.files import appearing
from columnminer.run.batch import BATCH_SYSTEMS
from columnminer.run.resources import Resources, plain_name
from columnminer.run.scripts import Task, write_scripts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Job", "JobState", "Submission", "Task", "describe_failures", "job_states", "submit_jobs"]

_log = logging.getLogger(__name__)

_TAIL = 15
"""Lines of a log that are shown of a failed job."""


@dataclass(frozen=True)
class Job:
    """Some tasks that run one after another as one job.

    Attributes
    ----------
    base
        Absolute path of its files without their endings.
    system
        ``"local"``, ``"slurm"`` or ``"htcondor"``.
    tasks
        What it runs.
    redo
        Whether it runs tasks whose output is there.
    number
        What the batch system calls it; None if it was not submitted (yet), or runs here.
    """

    base: Path
    system: str
    tasks: tuple[Task, ...]
    redo: bool = False
    number: str | None = None

    @property
    def name(self) -> str:
        """Name of the job: that of its batch and a counter, such as ``toys_004``."""
        return self.base.name

    @property
    def log(self) -> Path:
        """What the job printed."""
        return self._file("log")

    def _file(self, ending: str) -> Path:
        return self.base.with_name(f"{self.name}.{ending}")

    def save(self) -> None:
        """Write the record of the job beside its script."""
        tasks = [{"command": task.command, "output": str(task.output)} for task in self.tasks]
        record = {"system": self.system, "number": self.number, "redo": self.redo, "tasks": tasks}
        with appearing(self._file("json")) as new:
            new.write_text(json.dumps(record, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, record: Path) -> Job:
        """Read the record of a job.

        Raises
        ------
        FileFormatError
            If the file is no such record.
        """
        try:
            content = json.loads(record.read_text(encoding="utf-8"))
            tasks = tuple(Task(tuple(task["command"]), Path(task["output"])) for task in content["tasks"])
            return cls(record.with_suffix(""), content["system"], tasks, content["redo"], content["number"])
        except (ValueError, LookupError, TypeError, RecursionError) as reason:
            msg = f"{record} is no record of a job: {reason}"
            raise FileFormatError(msg) from reason

    def ended(self) -> dict[int, int]:
        """Return the exit status of each task that ended, by its place among the tasks."""
        file = self._file("status")
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        return {int(place): int(status) for place, status in re.findall(r"^(\d+) (\d+)\n", text, re.MULTILINE)}

    def unfinished(self) -> tuple[Task, ...]:
        """Return the tasks that left no output or ended with an error.

        The output of a task that is done again may be there from before: then only its exit status counts.
        """
        unknown, ended = 1 if self.redo else 0, self.ended()
        return tuple(t for i, t in enumerate(self.tasks) if not t.finished or ended.get(i, unknown))


@dataclass(frozen=True)
class Submission:
    """What became of some tasks: the jobs made of them, and those that needed none.

    Attributes
    ----------
    jobs
        Jobs that were submitted (locally: run; in a dry run: only written).
    finished
        Tasks left out because their output was there.
    queued
        Tasks left out because a job of an earlier submission still waits or runs.
    """

    jobs: tuple[Job, ...]
    finished: tuple[Task, ...]
    queued: tuple[Task, ...]


@dataclass(frozen=True)
class JobState:
    """How a job stands.

    Attributes
    ----------
    job
        The job.
    state
        ``"finished"``: all tasks are; ``"queued"``: it waits or runs; ``"written"``: it was never submitted;
        ``"failed"``: it is gone, and tasks are not finished.
    unfinished
        The tasks that are not finished.
    tail
        Last lines of the log of a failed job.
    """

    job: Job
    state: Literal["finished", "queued", "written", "failed"]
    unfinished: tuple[Task, ...]
    tail: str


def submit_jobs(
    tasks: Iterable[Task],
    system: str = "slurm",
    *,
    folder: str | Path = "jobs",
    name: str = "toys",
    resources: Resources | None = None,
    combine: int = 1,
    redo: bool = False,
    debug: bool = False,
    dry_run: bool = False,
    queue_limit: int = 100,
    poll: float = 30.0,
    workers: int = 1,
    template_path: str | Path | None = None,
) -> Submission:
    """Run tasks as jobs: ``"slurm"`` and ``"htcondor"`` get them and go on alone, ``"local"`` ones run here at once.

    Submitting again is safe at any time: finished tasks, and those of jobs that still wait or run, are left out. A task
    that fails does not keep those behind it in its job from running.

    Parameters
    ----------
    tasks
        What to run, from the folder in which we are. Each needs an output of its own.
    system
        ``"local"``, ``"slurm"`` or ``"htcondor"``.
    folder, name
        Where scripts, logs and records go, and what jobs are called: ``toys_000``, ``toys_001``, ...
    resources
        What each job asks for.
    combine
        How many tasks make one job.
    redo
        Run tasks whose output is there, too.
    debug
        Print the first job's script, and submit (or run) no more than that job.
    dry_run
        Write the scripts, and submit nothing.
    queue_limit
        How many jobs of this name may wait or run at once; submitting pauses until there are less.
    poll
        Seconds between looks at the queue while it is full.
    workers
        How many local jobs run at once.
    template_path
        A template of one's own; `columnminer.run.scripts` tells what it holds.

    Returns
    -------
    Submission
        The jobs, and the tasks that needed none.

    Raises
    ------
    TaskError
        If local jobs failed (after all have run, with the ends of their logs), or if the batch system refuses a job.
    MissingError
        If the batch system's programs are not on this machine.
    InputError
        If options make no sense, or hold characters that cannot stand in a script.
    """
    wanted = [replace(task, output=task.output.absolute()) for task in tasks]
    _check(wanted, system, combine=combine, queue_limit=queue_limit, workers=workers)
    asked = Resources() if resources is None else resources
    plain_name(name, "name")
    home = Path(folder).absolute()
    home.mkdir(parents=True, exist_ok=True)
    earlier = _jobs(home, name)
    busy = _queued(earlier)
    running = {task.output for job in earlier if job.number in busy[job.system] for task in job.tasks}
    queued = tuple(task for task in wanted if task.output in running)
    finished = tuple(task for task in wanted if task.output not in running and task.finished and not redo)
    todo = [task for task in wanted if task.output not in running and (redo or not task.finished)]
    parts = [tuple(todo[i : i + combine]) for i in range(0, len(todo), combine)]
    first = 1 + max((int(job.name.rpartition("_")[2]) for job in earlier), default=-1)
    jobs: list[Job] = []
    room = 0
    for place, part in enumerate(parts[:1] if debug else parts):
        job = Job(home / f"{name}_{first + place:03d}", system, part, redo)
        own = None if template_path is None else Path(template_path)
        script = write_scripts(part, system, job.base, asked, batch=name, redo=redo, template_path=own)
        if debug:
            sys.stdout.write(script.read_text(encoding="utf-8"))
        job.save()
        if not dry_run and system != "local":
            room = (room or _room([*earlier, *jobs], queue_limit, poll)) - 1
            job = replace(job, number=BATCH_SYSTEMS[system].submit(script))
            job.save()
            _log.info("%s: %d tasks submitted to %s as %s", job.name, len(part), system, job.number)
        jobs.append(job)
    _log.info("%s: %d jobs, %d tasks finished before, %d queued before", name, len(jobs), len(finished), len(queued))
    if system == "local" and not dry_run:
        _run_here(jobs, workers)
    return Submission(tuple(jobs), finished, queued)


def _check(tasks: Sequence[Task], system: str, **counts: int) -> None:
    if system != "local" and system not in BATCH_SYSTEMS:
        msg = f"there is no batch system {system!r}.{did_you_mean(system, ['local', *BATCH_SYSTEMS])}"
        raise UnknownNameError(msg)
    for option, count in counts.items():
        if count < 1:
            msg = f"{option} must be at least 1, not {count!r}"
            raise InputError(msg)
    seen = set()
    for task in tasks:
        if task.output in seen:
            msg = f"two tasks have the same output {task.output}"
            raise InputError(msg)
        seen.add(task.output)


def _run_here(jobs: Sequence[Job], workers: int) -> None:
    def run(job: Job) -> None:
        with job.log.open("wb") as log:
            # No shell line is built: bash runs a file in which each argument was quoted.
            script = str(job.base.with_name(f"{job.name}.sh"))
            subprocess.run(["bash", script], stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)  # noqa: S603, S607
        _log.info("%s: %s", job.name, "failed" if job.unfinished() else "finished")

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(run, jobs))
    failed = [_state(job, job.tasks, frozenset()) for job in jobs if job.unfinished()]
    if failed:
        msg = f"{len(failed)} of {len(jobs)} jobs failed:\n{describe_failures(failed)}"
        raise TaskError(msg)


def _room(jobs: Sequence[Job], limit: int, poll: float) -> int:
    """Wait until fewer jobs than the limit wait or run, and return how many more there may be."""
    while True:
        busy = _queued(jobs)
        waiting = sum(job.number in busy[job.system] for job in jobs)
        if waiting < limit:
            return limit - waiting
        _log.info("%d jobs wait or run: no more until there are less than %d", waiting, limit)
        time.sleep(poll)


def _queued(jobs: Iterable[Job]) -> dict[str, frozenset[str | None]]:
    """Return what each of the systems that have some of the jobs still has."""
    asked = {job.system for job in jobs if job.number is not None}
    busy: dict[str, frozenset[str | None]] = {job.system: frozenset() for job in jobs}
    return busy | {system: frozenset(BATCH_SYSTEMS[system].queued()) for system in asked}


def _jobs(folder: Path, name: str | None) -> list[Job]:
    """Return the jobs of a folder in the order in which they were made."""
    pattern = re.compile(rf"{'.+' if name is None else re.escape(name)}_(\d+)\.json")
    found = [(int(match[1]), path) for path in folder.glob("*.json") if (match := pattern.fullmatch(path.name))]
    return [Job.load(path) for _, path in sorted(found)]


def job_states(folder: str | Path, name: str | None = None) -> tuple[JobState, ...]:
    """Return how the jobs of a folder stand, in the order in which they were made.

    Tasks that were submitted again count for the last of their jobs alone; a job with no others is not listed.

    Parameters
    ----------
    folder
        Where the jobs' records are.
    name
        Only the jobs of this name.

    Raises
    ------
    MissingError
        If jobs were submitted to a batch system whose programs are not on this machine.
    """
    jobs = _jobs(Path(folder).absolute(), name)
    busy = _queued(jobs)
    last = {task.output: job for job in jobs for task in job.tasks}
    own = [(job, tuple(task for task in job.tasks if last[task.output] is job)) for job in jobs]
    return tuple(_state(job, tasks, busy[job.system]) for job, tasks in own if tasks)


def _state(job: Job, tasks: tuple[Task, ...], busy: frozenset[str | None]) -> JobState:
    unfinished = tuple(task for task in job.unfinished() if task in tasks)
    if not unfinished:
        return JobState(job, "finished", (), "")
    if job.number in busy:
        return JobState(job, "queued", unfinished, "")
    if job.number is None and not job.log.exists():
        return JobState(job, "written", unfinished, "")
    lines = job.log.read_text(encoding="utf-8", errors="replace").splitlines() if job.log.exists() else []
    return JobState(job, "failed", unfinished, "\n".join(lines[-_TAIL:]))


def describe_failures(states: Iterable[JobState]) -> str:
    """Return a text that names each failed job and its unfinished tasks, with the end of its log."""
    parts = []
    for state in states:
        if state.state == "failed":
            outputs = ", ".join(str(task.output) for task in state.unfinished)
            tail = "".join(f"\n    {line}" for line in state.tail.splitlines()) or "\n    (nothing)"
            parts.append(f"  {state.job.name} left no finished {outputs}; the end of {state.job.log}:{tail}")
    return "\n".join(parts)
