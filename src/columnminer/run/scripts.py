"""Job scripts: tasks written into templates, those that come along or the user's own.

A template is a script of the batch system with places such as ``@CORES@`` in it:

==================  ================================================================================================
``@TASKS@``         the tasks, as lines of bash; they end with status 0 if none failed
``@SCRIPT@``        HTCondor: the script that runs the tasks
``@NAME@``          name of the job, unique in its folder; ``@BATCH@``: name that all jobs of a batch have in common
``@LOG@``           the job's log
``@CORES@``         cores of the job; ``@MEMORY@``: its memory in MiB
``@WALLTIME@``      time limit as ``D-HH:MM:SS``; ``@SECONDS@``: in seconds
``@DIRECTIVES@``    lines for the queue, the account and further directives
==================  ================================================================================================
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from columnminer.errors import InputError, did_you_mean
from columnminer.run.batch import BATCH_SYSTEMS
from columnminer.run.resources import plain_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from columnminer.run.resources import Resources

__all__ = ["Task", "shipped_template", "write_scripts"]

_PLACE = re.compile(r"@([A-Z]+)@")


@dataclass(frozen=True)
class Task:
    """One command line, and the file or folder whose existence says that it was finished.

    The command has to write its output so that it appears only when it is complete, by renaming a temporary one.

    Parameters
    ----------
    command
        Program and arguments, each a text of its own; no shell interprets them.
    output
        What the command leaves.

    Raises
    ------
    InputError
        If the command is empty or no list of texts.
    """

    command: Sequence[str]
    output: Path

    def __post_init__(self) -> None:
        if isinstance(self.command, str) or not self.command:
            msg = f"the command of a task is a list of arguments, not {self.command!r}"
            raise InputError(msg)
        command = tuple(map(str, self.command))
        if any("\0" in text for text in (*command, str(self.output))):
            msg = f"the task {shlex.join(command)!r} holds a zero byte"
            raise InputError(msg)
        object.__setattr__(self, "command", command)
        object.__setattr__(self, "output", Path(self.output))

    @property
    def finished(self) -> bool:
        """Whether the output is there."""
        return self.output.exists()


def shipped_template(name: str) -> str:
    """Return the text of a template that comes along: ``local.sh``, ``slurm.sh`` or ``htcondor.sub``."""
    return files("columnminer.run").joinpath("templates", name).read_text(encoding="utf-8")


def write_scripts(
    tasks: Sequence[Task],
    system: str,
    base: Path,
    resources: Resources,
    *,
    batch: str,
    redo: bool = False,
    template_path: Path | None = None,
) -> Path:
    """Write what runs the tasks as one job, and return the file to submit (or, for ``"local"``, to run).

    Parameters
    ----------
    tasks
        The tasks, which run one after another in the folder where we are now.
    system
        ``"local"``, ``"slurm"`` or ``"htcondor"``.
    base
        Absolute path of the job's files without their endings; its last part is the name of the job.
    resources
        What the job asks for.
    batch
        Name that the jobs of one batch have in common.
    redo
        Whether to run tasks whose output is there.
    template_path
        A template of one's own instead of the one that comes along.

    Raises
    ------
    InputError
        If the template has unknown places or none for the tasks, or if the path or the resources hold characters that
        cannot stand in directives.
    """
    places = {
        "NAME": base.name,
        "BATCH": batch,
        "LOG": f"{base}.log",
        "CORES": str(resources.cores),
        "MEMORY": str(resources.mebibytes),
        "WALLTIME": resources.clock,
        "SECONDS": str(resources.seconds),
        "TASKS": _tasks(tasks, base, resources, redo=redo),
    }
    own = None if template_path is None else Path(template_path)
    if system == "local":
        return _write(base, "local.sh", own, places)
    plain_path(base, "the path of job scripts")
    places["DIRECTIVES"] = "\n".join(BATCH_SYSTEMS[system].directives(resources))
    if system == "htcondor":
        places["SCRIPT"] = str(_write(base, "local.sh", None, places))
        del places["TASKS"]
    return _write(base, BATCH_SYSTEMS[system].template, own, places)


def _tasks(tasks: Sequence[Task], base: Path, resources: Resources, *, redo: bool) -> str:
    calls = (
        shlex.join(["task", str(number), str(task.output), *resources.inside(task.command)])
        for number, task in enumerate(tasks)
    )
    places = {
        "FOLDER": shlex.quote(str(Path.cwd())),
        "STATUS": shlex.quote(f"{base}.status"),
        "REDO": "yes" if redo else "no",
        "CALLS": "\n".join(calls),
    }
    return _filled(shipped_template("tasks.sh"), places, "tasks.sh").rstrip("\n")


def _write(base: Path, shipped: str, own: Path | None, places: dict[str, str]) -> Path:
    template = shipped_template(shipped) if own is None else own.read_text(encoding="utf-8")
    needed = "TASKS" if "TASKS" in places else "SCRIPT"
    if f"@{needed}@" not in template:
        msg = f"{own}: a template needs the place @{needed}@"
        raise InputError(msg)
    file = base.with_name(base.name + Path(shipped).suffix)
    file.write_text(_filled(template, places, str(own or shipped)), encoding="utf-8")
    file.chmod(0o755 if file.suffix == ".sh" else 0o644)
    return file


def _filled(template: str, places: dict[str, str], name: str) -> str:
    def value(place: re.Match[str]) -> str:
        if place[1] not in places:
            msg = f"{name}: there is nothing to put at the place {place[0]}.{did_you_mean(place[1], places)}"
            raise InputError(msg)
        return places[place[1]]

    return _PLACE.sub(value, template)
