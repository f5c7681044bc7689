"""What alea's running configurations say about jobs: ``slurm_configurations`` and the like as `Resources`."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from columnminer.errors import InputError, UnknownNameError, did_you_mean
from columnminer.run.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["JobOptions", "alea_job_options"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobOptions:
    """How the tasks of a campaign become jobs.

    Attributes
    ----------
    resources
        What each job asks for.
    combine
        How many tasks make one job.
    """

    resources: Resources = field(default_factory=Resources)
    combine: int = 1


def _megabytes(value: Any) -> str:
    return f"{value} MB" if isinstance(value, int | float) else str(value)


# Per system: alea's name -> (ours, what makes our value of theirs).
_READ: dict[str, dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "local": {},
    "slurm": {
        "hours": ("walltime", float),
        "cpus_per_task": ("cores", int),
        "container": ("container", str),
        "partition": ("queue", str),
        "account": ("account", str),
    },
    "htcondor": {
        "request_cpus": ("cores", int),
        "request_memory": ("memory", _megabytes),
        "singularity_image": ("container", str),
    },
}
_OPTIONS_OF_SBATCH = {"qos": "qos", "exclude_nodes": "exclude"}
_ELSEWHERE = ("template_path", "combine_n_jobs", "mem_per_cpu", "request_disk")
"""Keys with a meaning of their own; ``template_path`` is the folder of histograms, which the model wants."""


def alea_job_options(system: str, configuration: Mapping[str, Any] | None) -> JobOptions:
    """Return what ``local_configurations``, ``slurm_configurations`` or ``htcondor_configurations`` ask for.

    Memory without a unit is in MB, as in alea, and ``mem_per_cpu`` counts for each core. Keys that are None count as
    absent. What only steers Pegasus or utilix has no meaning here, and is named in the log.

    Parameters
    ----------
    system
        ``"local"``, ``"slurm"`` or ``"htcondor"``.
    configuration
        The mapping of that name, or None.

    Raises
    ------
    InputError
        If a value makes no sense.
    UnknownNameError
        If there is no such system.
    """
    if system not in _READ:
        msg = f"there is no batch system {system!r}.{did_you_mean(system, _READ)}"
        raise UnknownNameError(msg)
    given = {key: value for key, value in (configuration or {}).items() if value is not None}
    options: dict[str, Any] = {}
    try:
        for key, (name, convert) in _READ[system].items():
            if key in given:
                options[name] = convert(given[key])
        if system == "slurm":
            if "mem_per_cpu" in given:
                options["memory"] = _megabytes(float(given["mem_per_cpu"]) * options.get("cores", 1))
            options["directives"] = [f"--{o}={given[k]}" for k, o in _OPTIONS_OF_SBATCH.items() if k in given]
        if system == "htcondor" and "request_disk" in given:
            options["directives"] = [f"request_disk = {_megabytes(given['request_disk']).replace(' ', '')}"]
        combine = int(given.get("combine_n_jobs", 1))
    except (TypeError, ValueError) as reason:
        msg = f"{system}_configurations: {reason}"
        raise InputError(msg) from reason
    unused = (
        set(given) - set(_READ[system]) - set(_ELSEWHERE) - (set(_OPTIONS_OF_SBATCH) if system == "slurm" else set())
    )
    if unused:
        _log.warning("%s_configurations: %s have no meaning here", system, ", ".join(sorted(unused)))
    return JobOptions(Resources(**options), combine)
