"""Batch systems: how each is handed a job, and how it says which jobs still wait or run."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from columnminer.errors import MissingError, TaskError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from columnminer.run.resources import Resources

__all__ = ["BATCH_SYSTEMS", "BatchSystem"]

_PATIENCE = 120.0
"""Seconds in which a command of a batch system has to answer."""


@dataclass(frozen=True)
class BatchSystem:
    """One batch system.

    Attributes
    ----------
    template
        Name of the shipped template of what is submitted.
    submitting, listing
        Commands that submit a file, whose path is added, and that list one's own jobs which wait or run.
    answer
        What `submitting` prints: the first group is the job's number.
    directives
        Lines of a template for what was asked for beyond cores, memory and time.
    """

    template: str
    submitting: tuple[str, ...]
    listing: tuple[str, ...]
    answer: re.Pattern[str]
    directives: Callable[[Resources], list[str]]

    def submit(self, file: Path) -> str:
        """Submit a file, and return the number under which the system knows the job.

        Raises
        ------
        MissingError
            If the program of the batch system is not on this machine.
        TaskError
            If the system does not take the job.
        """
        said = _call((*self.submitting, str(file)))
        number = self.answer.search(said)
        if number is None:
            msg = f"{self.submitting[0]} took {file}, but named no job: {said.strip()!r}"
            raise TaskError(msg)
        return number[1]

    def queued(self) -> frozenset[str]:
        """Return the numbers of one's own jobs that wait or run.

        Raises
        ------
        MissingError
            If the program of the batch system is not on this machine.
        TaskError
            If the system does not answer.
        """
        return frozenset(_call(self.listing).split())


def _call(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE)  # noqa: S603 - no shell
    except FileNotFoundError as reason:
        msg = f"there is no {command[0]} here: submit where the batch system's programs are, or run jobs locally"
        raise MissingError(msg) from reason
    except subprocess.TimeoutExpired as reason:
        msg = f"{' '.join(command)} did not answer within {_PATIENCE:.0f} s"
        raise TaskError(msg) from reason
    if done.returncode:
        msg = f"{' '.join(command)} ended with status {done.returncode}: {(done.stderr or done.stdout).strip()}"
        raise TaskError(msg)
    return done.stdout


BATCH_SYSTEMS = {
    "slurm": BatchSystem(
        template="slurm.sh",
        submitting=("sbatch", "--parsable"),
        listing=("squeue", "--noheader", "--me", "--format=%A"),
        answer=re.compile(r"^(\d+)", re.MULTILINE),
        directives=lambda resources: [f"#SBATCH {option}" for option in resources.slurm()],
    ),
    "htcondor": BatchSystem(
        template="htcondor.sub",
        submitting=("condor_submit", "-terse"),
        listing=("condor_q", "-autoformat", "ClusterId"),
        answer=re.compile(r"^(\d+)\.\d+", re.MULTILINE),
        directives=lambda resources: [f"{name} = {value}" for name, value in resources.htcondor().items()],
    ),
}
"""The batch systems, by the names that users give."""
