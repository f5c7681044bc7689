"""A real Slurm of one node on loopback: its daemons in a folder of their own, as whoever runs the tests."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
SEARCHED = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
PATIENCE = 30.0


def configuration(folder: Path, node: str) -> str:
    """Return the slurm.conf of a cluster that needs neither root nor control groups."""
    controller_port, node_port = free_ports(2)
    user = getpass.getuser()
    return f"""\
ClusterName=loopback
SlurmctldHost={node}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1
MinJobAge=2
NodeName={node} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextlib.contextmanager
def loopback_slurm() -> Iterator[Path]:
    """Start munged, slurmctld and slurmd, wait until the node is idle, and yield the folder of their files.

    Skips the test where they are not installed or do not come up, with what they said.
    """
    missing = [program for program in PROGRAMS if shutil.which(program, path=SEARCHED) is None]
    if missing:
        pytest.skip(f"needs Slurm's and munge's programs (Debian: slurm-wlm, munge); not here: {', '.join(missing)}")
    # Not the test's own folder: munged wants its socket where every user may look.
    with tempfile.TemporaryDirectory(prefix="slurm-") as name, contextlib.ExitStack() as daemons:
        folder, node = Path(name), socket.gethostname().partition(".")[0]
        folder.chmod(0o755)
        for part in ("state", "spool"):
            (folder / part).mkdir()
        key, config = folder / "munge.key", folder / "slurm.conf"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        config.write_text(configuration(folder, node))
        socket_file = folder / "munge.socket"
        files = {"socket": socket_file, "key-file": key, "pid-file": folder / "munged.pid"}
        files |= {"seed-file": folder / "munge.seed", "log-file": folder / "munged.log"}
        munged = ["munged", "--foreground", *(f"--{option}={file}" for option, file in files.items())]
        daemons.enter_context(daemon(folder, config, *munged))
        wait_until(socket_file.exists, folder)
        daemons.enter_context(daemon(folder, config, "slurmctld", "-D", "-f", str(config)))
        daemons.enter_context(daemon(folder, config, "slurmd", "-D", "-f", str(config), "-N", node))
        environment = os.environ | {"SLURM_CONF": str(config), "PATH": SEARCHED}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", environment["SLURM_CONF"])
            patch.setenv("PATH", environment["PATH"])
            wait_until(lambda: said("sinfo", "--noheader", "--format=%T") == "idle", folder)
            yield folder


@contextlib.contextmanager
def daemon(folder: Path, config: Path, program: str, *options: str) -> Iterator[None]:
    path = str(shutil.which(program, path=SEARCHED))
    with (folder / f"{program}.out").open("wb") as out:
        process = subprocess.Popen(
            [path, *options], stdout=out, stderr=out, env=os.environ | {"SLURM_CONF": str(config)}
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20).stdout.strip()


def wait_until(condition: Callable[[], bool], folder: Path, patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            outputs = {file.name: file.read_text(errors="replace")[-800:] for file in folder.glob("*.out")}
            pytest.skip(f"Slurm does not come up here: {outputs}")
        time.sleep(0.1)
