"""Campaigns as plain jobs of a batch system: tasks make some batches of toys each, and leave parts of the results.

`columnminer toys CAMPAIGN --submit slurm` comes here. When the jobs are done, the same command without ``--submit``
makes the store of results, and whatever batch is still missing.
"""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from columnminer.documents import read_mapping
from columnminer.errors import UnknownNameError, did_you_mean
from columnminer.run.alea_jobs import alea_job_options
from columnminer.run.jobs import Submission, Task, submit_jobs
from columnminer.run.resources import Resources
from columnminer.toys.campaign import Campaign
from columnminer.toys.runner import open_batches

if TYPE_CHECKING:
    import os

__all__ = ["read_resources", "submit_campaign"]


def read_resources(file: str | os.PathLike[str]) -> Resources:
    """Read a YAML file whose keys are the options of `Resources`: cores, memory, walltime, queue, ...

    Raises
    ------
    InputError
        If the file cannot be read, or a value makes no sense.
    UnknownNameError
        If there is no such option.
    """
    path = Path(file)
    said = read_mapping(path)
    known = [option.name for option in fields(Resources)]
    for key in said:
        if key not in known:
            msg = f"{path}: there is no resource {key!r}.{did_you_mean(str(key), known)}"
            raise UnknownNameError(msg)
    return Resources(**said)


def submit_campaign(
    file: str | os.PathLike[str],
    out: str | os.PathLike[str],
    system: str,
    *,
    computation: str | None = None,
    seed: int | None = None,
    redo: bool = False,
    resources: Resources | None = None,
    combine: int | None = None,
    **submitting: Any,
) -> Submission:
    """Submit the batches of the campaign of a YAML file that are not finished.

    Parameters
    ----------
    file, computation, seed
        The campaign, as for `Campaign.from_yaml` and `run_campaign`.
    out
        The store of results. Parts are left in ``<out>.parts``, job scripts and logs in ``<out>.jobs``.
    system
        ``"local"``, ``"slurm"`` or ``"htcondor"``.
    redo
        Delete what an earlier run has left, and start afresh.
    resources, combine
        What each job asks for, and how many batches make one; by default what a running configuration of alea says.
    **submitting
        Further options of `columnminer.run.jobs.submit_jobs`: ``debug``, ``dry_run``, ``queue_limit``, ``workers``, ...

    Raises
    ------
    OutputExistsError
        If the store is there already, or unfinished parts of another campaign are.
    InputError, UnknownNameError, MissingError, TaskError
        As `submit_jobs` and `Campaign.from_yaml`.
    """
    path, store = Path(file).absolute(), Path(out).absolute()
    said = alea_job_options(system, read_mapping(path).get(f"{system}_configurations"))
    asked = said.resources if resources is None else resources
    parts = open_batches(
        Campaign.from_yaml(path, computation=computation), store, seed=seed, resume=not redo, replace=redo
    )
    # The same Python as here; in a container, what is installed there.
    program = ["columnminer"] if asked.container else [sys.executable, "-m", "columnminer.cli"]
    common = [*program, "toys", str(path), "--out", str(store), "--quiet"]
    common += [] if computation is None else ["--computation", computation]
    common += [] if seed is None else ["--seed", str(seed)]
    # One process makes the batches of a job, in order: it is done when the last one that was missing is there.
    together = said.combine if combine is None else combine
    tasks = []
    for first in range(0, len(parts), together):
        own = parts[first : first + together]
        last_missing = next((part for part in reversed(own) if not part.exists()), own[-1])
        tasks.append(Task((*common, "--batches", f"{first}:{first + len(own) - 1}"), last_missing))
    folder = store.with_name(store.name + ".jobs")
    return submit_jobs(tasks, system, folder=folder, resources=asked, **submitting)
