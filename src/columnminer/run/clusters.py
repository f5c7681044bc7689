"""Clusters that tasks run on, each as a `distributed.Client` for the `client=` of whatever takes one.

==================================================  ================================================================
``local_cluster(8)``                                eight processes of this machine
``slurm_cluster(20, resources)``                    twenty Slurm jobs with dask workers, by dask-jobqueue
``htcondor_cluster(20, resources)``                 twenty HTCondor jobs, likewise
``connect("tls://scheduler:8786")``                 a cluster that others started
==================================================  ================================================================

Where workers cannot reach the scheduler through the network, `run.jobs` makes plain jobs of the tasks.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import Client, LocalCluster

from columnminer.errors import InputError, MissingError
from columnminer.run.resources import Resources, plain_name, plain_path

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["connect", "htcondor_cluster", "local_cluster", "slurm_cluster"]

_PATIENCE = 30
"""Seconds in which a scheduler has to answer."""


def connect(address: str) -> Client:
    """Return a client of the running dask scheduler at `address`, such as ``tcp://10.0.0.1:8786``.

    A name that ends with ``.json`` is the file that ``dask scheduler --scheduler-file`` wrote. Certificates for
    ``tls://`` addresses are those of dask's configuration (``distributed.comm.tls``).

    Raises
    ------
    InputError
        If nobody answers there.
    """
    place = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
    try:
        if "scheduler_file" in place:
            Path(address).read_bytes()  # the client itself waits for the file without end
        return Client(**place, timeout=_PATIENCE)  # type: ignore[no-untyped-call]  # distributed is not typed
    except (OSError, ValueError, TypeError) as reason:
        msg = f"no dask scheduler answers at {address!r}: {reason}"
        raise InputError(msg) from reason


@contextlib.contextmanager
def local_cluster(workers: int, *, memory: str = "auto") -> Iterator[Client]:
    """Start worker processes on this machine, and end them with the ``with`` block.

    As always where Python starts processes, scripts need ``if __name__ == "__main__":`` around it.

    Parameters
    ----------
    workers
        Processes, of one thread each.
    memory
        Memory of each, at which dask begins to restart it: ``"2 GB"``; ``"auto"`` shares what the machine has.

    Raises
    ------
    InputError
        If the number or the memory makes no sense.
    """
    _check_count(workers, "workers")
    limit = memory if memory == "auto" else f"{Resources(memory=memory).mebibytes} MiB"
    options: dict[str, Any] = {"n_workers": workers, "threads_per_worker": 1, "memory_limit": limit}
    options["dashboard_address"] = None
    # Without a port of its own, the second cluster on a machine warns that the first one has the usual port.
    options["scheduler_kwargs"] = {"dashboard_address": ":0"}
    with LocalCluster(**options) as cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]
        yield client


@contextlib.contextmanager
def slurm_cluster(
    jobs: int | tuple[int, int],
    resources: Resources | None = None,
    *,
    name: str = "columnminer",
    logs: str | Path = "cluster-logs",
    interface: str | None = None,
    patience: float = 600.0,
) -> Iterator[Client]:
    """Have Slurm start dask workers, and end them with the ``with`` block.

    Each job is a node's share of `resources` and holds one worker process of one thread for each of its cores.

    Parameters
    ----------
    jobs
        How many jobs; (least, most) lets dask ask for as many as the work needs.
    resources
        What each job asks for.
    name
        What the jobs are called.
    logs
        Folder of the workers' logs.
    interface
        Network interface through which workers and the scheduler talk, such as ``ib0``.
    patience
        Seconds after which a worker that has lost its scheduler ends.

    Raises
    ------
    MissingError
        If dask-jobqueue is not installed, or if Slurm's programs are not on this machine.
    InputError
        If options make no sense, or hold characters that cannot stand in a script.
    """
    asked = Resources() if resources is None else resources
    least_and_most = _least_and_most(jobs)
    options = _worker_options(asked, name, logs, interface, patience)
    options |= {"walltime": asked.clock, "job_extra_directives": asked.slurm(), "job_mem": f"{asked.mebibytes}M"}
    with _jobqueue("sbatch").SLURMCluster(**options) as cluster:
        yield from _scaled(cluster, *least_and_most)


@contextlib.contextmanager
def htcondor_cluster(
    jobs: int | tuple[int, int],
    resources: Resources | None = None,
    *,
    name: str = "columnminer",
    disk: str = "2 GB",
    logs: str | Path = "cluster-logs",
    interface: str | None = None,
    patience: float = 600.0,
) -> Iterator[Client]:
    """Have HTCondor start dask workers, and end them with the ``with`` block.

    Parameters
    ----------
    disk
        Disk space of each job.
    jobs, resources, name, logs, interface, patience
        As for `slurm_cluster`.

    Raises
    ------
    MissingError
        If dask-jobqueue is not installed, or if HTCondor's programs are not on this machine.
    InputError
        If options make no sense, or hold characters that cannot stand in a script.
    """
    asked = Resources() if resources is None else resources
    least_and_most = _least_and_most(jobs)
    options = _worker_options(asked, name, logs, interface, patience)
    too_long = f"(JobStatus == 2) && (time() - EnteredCurrentStatus > {asked.seconds})"
    directives = {"periodic_remove": too_long, "batch_name": name} | asked.htcondor()
    options |= {"disk": f"{Resources(memory=disk).mebibytes} MiB", "job_extra_directives": directives}
    with _jobqueue("condor_submit").HTCondorCluster(**options) as cluster:
        yield from _scaled(cluster, *least_and_most)


def _worker_options(
    asked: Resources, name: str, logs: str | Path, interface: str | None, patience: float
) -> dict[str, Any]:
    """Return what dask-jobqueue takes for any batch system, checked: it writes it into scripts as it is."""
    plain_name(name, "name")
    if interface is not None:
        plain_name(interface, "interface")
    _check_count(patience, "patience")
    # In a container, the Python there; otherwise the one that asks.
    python = shlex.join(asked.inside(["python"] if asked.container else [sys.executable]))
    return {
        "cores": asked.cores,
        "processes": asked.cores,
        "memory": f"{asked.mebibytes} MiB",
        "job_name": name,
        "log_directory": plain_path(Path(logs).absolute(), "the folder of logs"),
        "interface": interface,
        "death_timeout": patience,
        "python": python,
        "scheduler_options": {"dashboard_address": ":0"},
    }


def _jobqueue(program: str) -> Any:
    try:
        import dask_jobqueue  # noqa: PLC0415 - optional
    except ImportError as reason:
        msg = "batch systems need the package dask-jobqueue: install columnminer[cluster]"
        raise MissingError(msg) from reason
    if shutil.which(program) is None:
        msg = f"there is no {program} here: start from where the batch system's programs are"
        raise MissingError(msg)
    return dask_jobqueue


def _least_and_most(jobs: int | tuple[int, int]) -> tuple[int, int]:
    least, most = (jobs, jobs) if isinstance(jobs, int) else jobs
    _check_count(most, "jobs")
    if not 0 <= least <= most:
        msg = f"jobs must be a number or (least, most), not {jobs!r}"
        raise InputError(msg)
    return least, most


def _scaled(cluster: Any, least: int, most: int) -> Iterator[Client]:
    if least == most:
        cluster.scale(jobs=most)
    else:
        cluster.adapt(minimum_jobs=least, maximum_jobs=most)
    with Client(cluster) as client:  # type: ignore[no-untyped-call]
        yield client


def _check_count(count: float, what: str) -> None:
    if not count >= 1:
        msg = f"{what} must be at least 1, not {count!r}"
        raise InputError(msg)
