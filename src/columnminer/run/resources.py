"""What a job on a cluster asks for, checked before any of it is written into a script.

Job scripts are lines of text that a batch system and a shell read. A line break or a semicolon in the name of a queue
would make another line or another command of it, so each value may only hold the characters that such values need.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence  # noqa: TC003 - a JSON schema is made of these hints
from dataclasses import dataclass
from typing import TYPE_CHECKING

from columnminer.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Resources", "plain_name", "plain_path"]

_MIB = 2**20
_UNITS = {f"{prefix}B": 1000**power for power, prefix in enumerate("kMGT", 1)} | {
    f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", 1)
}
_BYTES: dict[str, int] = {unit.lower(): size for unit, size in _UNITS.items()}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([A-Za-z]+)")
_CLOCK = re.compile(r"(?:(\d{1,3})-)?(\d{1,4}):([0-5]\d):([0-5]\d)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_QUEUES = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,+-]*")
_PATH = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_.,:@+=/-]*")
_SBATCH_OPTION = re.compile(r"--?[A-Za-z][A-Za-z-]*(?:[= ][A-Za-z0-9_.,:@%+=/*\[\]-]+)?")
_CONDOR_COMMAND = re.compile(r"[+A-Za-z_][A-Za-z0-9_.]*\s*=\s*[^\x00-\x1f\x7f`;$\\]+")


def plain_name(value: str, what: str) -> str:
    """Return a name that may stand in a script: letters, digits and ``_ . + -``.

    Raises
    ------
    InputError
        If other characters are in it, or if it begins with ``-`` or ``.``.
    """
    return _matching(_NAME, value, what, "letters, digits and any of '_.+-'")


def plain_path(value: str | Path, what: str) -> str:
    """Return a path that may stand in a directive, where nothing is quoted: no spaces and no special characters.

    Raises
    ------
    InputError
        If other characters are in it.
    """
    return _matching(_PATH, str(value), what, "letters, digits and any of '_.,:@+=/-'")


def _matching(pattern: re.Pattern[str], value: object, what: str, allowed: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        msg = f"{what} {value!r} cannot be written into a job script: it may hold {allowed}"
        raise InputError(msg)
    return value


def _whole(cores: object) -> int:
    if isinstance(cores, bool) or not isinstance(cores, int) or cores < 1:
        msg = f"cores must be a whole number from 1 on, not {cores!r}"
        raise InputError(msg)
    return cores


def _mebibytes(memory: object) -> int:
    found = _SIZE.fullmatch(memory) if isinstance(memory, str) else None
    if found is None or found[2].lower() not in _BYTES or not float(found[1]):
        msg = f"memory must be a number with a unit ({', '.join(_UNITS)}), such as '8 GB', not {memory!r}"
        raise InputError(msg)
    return math.ceil(float(found[1]) * _BYTES[found[2].lower()] / _MIB)


def _seconds(walltime: object) -> int:
    seconds = 0
    if isinstance(walltime, int | float) and not isinstance(walltime, bool) and math.isfinite(walltime):
        seconds = round(walltime * 3600)
    elif isinstance(walltime, str) and (found := _CLOCK.fullmatch(walltime)):
        days, hours, minutes, rest = (int(part or 0) for part in found.groups())
        seconds = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    if seconds < 1:
        msg = f"walltime must be 'HH:MM:SS', 'D-HH:MM:SS' or a number of hours, not {walltime!r}"
        raise InputError(msg)
    return seconds


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What each job gets from the batch system, for job scripts and for dask workers alike.

    Parameters
    ----------
    cores
        Processor cores of each job, on one node.
    memory
        Memory of each job with its unit, such as ``"8 GB"`` (10^9 bytes each) or ``"512 MiB"``.
    walltime
        Time after which a job is ended: ``"HH:MM:SS"`` or ``"D-HH:MM:SS"``, or a number of hours.
    queue
        Slurm: the partition, or several separated by commas. HTCondor has none.
    account
        Slurm: the account. HTCondor: the accounting group.
    container
        Image that the work runs in, a file or an address such as ``docker://python:3.11``.
    container_program
        What runs a container: ``apptainer``, or ``singularity`` where it is still called so.
    directives
        More lines for the batch system as it wants them: for Slurm ``"--qos=short"``, for HTCondor
        ``'+JobFlavour = "longlunch"'`` or ``"requirements = OpSysMajorVer >= 9"``.

    Raises
    ------
    InputError
        If a value makes no sense, or holds characters that would change the meaning of a script.
    """

    cores: int = 1
    memory: str = "2 GB"
    walltime: str | float = "01:00:00"
    queue: str | None = None
    account: str | None = None
    container: str | None = None
    container_program: str = "apptainer"
    directives: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "cores", _whole(self.cores))
        _ = self.mebibytes, self.seconds
        if self.queue is not None:
            _matching(_QUEUES, self.queue, "queue", "letters, digits and any of '_.,+-'")
        if self.account is not None:
            plain_name(self.account, "account")
        if self.container is not None:
            plain_path(self.container, "container")
        plain_path(self.container_program, "container_program")
        if isinstance(self.directives, str):
            msg = f"directives must be a list of texts, not the one text {self.directives!r}"
            raise InputError(msg)
        object.__setattr__(self, "directives", tuple(self.directives))

    @property
    def mebibytes(self) -> int:
        """Memory in MiB, the unit in which batch systems count, rounded up."""
        return _mebibytes(self.memory)

    @property
    def seconds(self) -> int:
        """Wall time in seconds."""
        return _seconds(self.walltime)

    @property
    def clock(self) -> str:
        """Wall time as Slurm writes it, ``HH:MM:SS`` or ``D-HH:MM:SS``."""
        days, rest = divmod(self.seconds, 86400)
        text = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
        return f"{days}-{text}" if days else text

    def inside(self, command: Sequence[str]) -> tuple[str, ...]:
        """Return the command that does the same in the container, or the command itself if there is none."""
        within = () if self.container is None else (self.container_program, "exec", self.container)
        return (*within, *command)

    def slurm(self) -> list[str]:
        """Return the options of ``sbatch`` that go beyond cores, memory and time.

        Raises
        ------
        InputError
            If one of the directives is not an option of the form ``--name``, ``--name=value`` or ``-n value``.
        """
        for directive in self.directives:
            allowed = "an option of sbatch such as '--qos=short', with no spaces, quotes or other special characters"
            _matching(_SBATCH_OPTION, directive, "directive", allowed)
        named = {"partition": self.queue, "account": self.account}
        return [f"--{name}={value}" for name, value in named.items() if value is not None] + list(self.directives)

    def htcondor(self) -> dict[str, str]:
        """Return the commands of an HTCondor submit file that go beyond cores, memory and time.

        Expressions may hold quotes, brackets and ``&& || < >``: no shell reads them.

        Raises
        ------
        InputError
            If one of the directives is not ``name = value``, or if a queue was asked for.
        """
        if self.queue is not None:
            msg = f"HTCondor has no queues such as {self.queue!r}: say what jobs need by directives of the site"
            raise InputError(msg)
        for directive in self.directives:
            allowed = "a command 'name = value' of a submit file on one line, without '`', ';', '$' and '\\'"
            _matching(_CONDOR_COMMAND, directive, "directive", allowed)
        commands = {} if self.account is None else {"accounting_group": self.account}
        pairs = (directive.partition("=") for directive in self.directives)
        return commands | {name.strip(): value.strip() for name, _, value in pairs}
