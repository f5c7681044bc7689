"""Dask clusters: local ones for real, the scripts of batch systems as dask-jobqueue renders them, what is refused."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import types
from typing import TYPE_CHECKING, Any

import pytest

from columnminer.errors import InputError, MissingError, TaskError
from columnminer.run.clusters import connect, htcondor_cluster, local_cluster, slurm_cluster
from columnminer.run.resources import Resources
from columnminer.run.tasks import run_tasks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ASKED = Resources(cores=2, memory="3 GiB", walltime=2.0, account="physics", container="image.sif")


def square(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


def test_tasks_run_on_local_processes() -> None:
    with local_cluster(2, memory="1 GB") as client:
        assert len(client.scheduler_info()["workers"]) == 2
        answers = run_tasks(square, range(8), client=client, progress=False)
        address = client.scheduler.address
        with connect(address) as other:
            assert run_tasks(square, [3], client=other, progress=False)[0][0] == 9
    assert [answer for answer, _ in answers] == [n**2 for n in range(8)]
    assert os.getpid() not in {process for _, process in answers}


def test_a_scheduler_file_leads_to_its_scheduler(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    with local_cluster(1) as client:
        client.write_scheduler_file(str(file))
        with connect(str(file)) as other:
            assert other.scheduler.address == client.scheduler.address
    with pytest.raises(InputError, match=r"no dask scheduler answers at 'nowhere\.json'"):
        connect("nowhere.json")


def test_a_function_that_workers_cannot_import_fails_instead_of_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    ghost = types.ModuleType("ghost")
    exec("def haunt(number): return number", ghost.__dict__)  # noqa: S102 - a module that exists in this process alone
    monkeypatch.setitem(sys.modules, "ghost", ghost)
    with local_cluster(1) as client:
        with pytest.raises(TaskError, match="No module named 'ghost'"):
            run_tasks(ghost.haunt, [1, 2], client=client, progress=False)
        assert run_tasks(square, [3], client=client, progress=False)[0][0] == 9, "the worker must survive it"


@contextlib.contextmanager
def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, *programs: str) -> Iterator[Path]:
    """Put programs in front of the PATH that keep the submitted file, and say what a batch system would."""
    folder.mkdir()
    answers = {"sbatch": "Submitted batch job 41", "condor_submit": "1 job(s) submitted to cluster 41."}
    for program in programs:
        file = folder / program
        keep = f'[ -f "$1" ] && cp "$1" {folder}/new && mv {folder}/new {folder}/submitted'
        file.write_text(f'#!/bin/bash\n{keep}\necho "{answers.get(program, "")}"\n')
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    yield folder / "submitted"


def script_of(cluster: Any, submitted: Path) -> str:
    """Return the script that dask-jobqueue handed over."""
    with cluster:
        patience = time.monotonic() + 20
        while not submitted.exists():
            assert time.monotonic() < patience, "nothing was submitted"
            time.sleep(0.02)
    return submitted.read_text()


def test_slurm_workers_get_what_was_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Resources(**vars(ASKED) | {"queue": "short", "directives": ["--qos=debug"]})
    with stand_in(tmp_path / "bin", monkeypatch, "sbatch", "scancel") as submitted:
        cluster = slurm_cluster(1, asked, name="fits", logs=tmp_path / "logs", interface="lo", patience=99)
        text = script_of(cluster, submitted)
    lines = text.splitlines()
    assert {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")} == {
        "-J fits",
        f"-e {tmp_path}/logs/fits-%J.err",
        f"-o {tmp_path}/logs/fits-%J.out",
        "-n 1",
        "--cpus-per-task=2",
        "--mem=3072M",
        "-t 02:00:00",
        "--partition=short",
        "--account=physics",
        "--qos=debug",
    }
    command = lines[-1].split()
    assert command[:6] == ["apptainer", "exec", "image.sif", "python", "-m", "distributed.cli.dask_worker"]
    options = dict(zip(command[7::2], command[8::2], strict=False))
    assert (options["--nthreads"], options["--nworkers"], options["--memory-limit"]) == ("1", "2", "1.50GiB")
    assert "--death-timeout 99" in lines[-1]
    assert "--interface lo" in lines[-1]


def test_htcondor_workers_get_what_was_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Resources(
        cores=2, memory="3 GiB", walltime=2.0, account="physics", directives=['+JobFlavour = "longlunch"']
    )
    with stand_in(tmp_path / "bin", monkeypatch, "condor_submit", "condor_rm") as submitted:
        text = script_of(htcondor_cluster(1, asked, disk="5 GiB", logs=tmp_path / "logs", interface="lo"), submitted)
    found = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)
    assert int(found["MY.DaskWorkerCores"]) == 2
    assert int(found["MY.DaskWorkerMemory"]) == 3 * 2**30
    assert int(found["MY.DaskWorkerDisk"]) == 5 * 2**30
    assert found["accounting_group"] == "physics"
    assert found["+JobFlavour"] == '"longlunch"'
    assert "> 7200)" in found["periodic_remove"]
    assert f"{sys.executable} -m distributed.cli.dask_worker tcp://" in found["Arguments"]


@pytest.mark.parametrize("cluster", [slurm_cluster, htcondor_cluster])
def test_what_is_missing_is_said(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingError, match=r"there is no (sbatch|condor_submit) here"), cluster(1, logs=tmp_path):
        pass
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(MissingError, match=r"install columnminer\[cluster\]"), cluster(1, logs=tmp_path):
        pass


@pytest.mark.parametrize("cluster", [slurm_cluster, htcondor_cluster])
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"name": "a\n#SBATCH --uid=0"}, "name .* cannot be written"),
        ({"interface": "lo; id"}, "interface .* cannot be written"),
        ({"logs": "logs of $USER"}, "the folder of logs .* cannot be written"),
        ({"patience": 0}, "patience must be at least 1"),
        ({"jobs": 0}, "jobs must be at least 1"),
        ({"jobs": (3, 2)}, r"jobs must be a number or \(least, most\)"),
        ({"resources": Resources(directives=["--x\n--uid=0"])}, "directive .* cannot be written"),
    ],
)
def test_options_that_make_no_sense(cluster: Any, options: dict[str, Any], reason: str, tmp_path: Path) -> None:
    given = {"jobs": 1, "logs": tmp_path} | options
    with pytest.raises(InputError, match=reason), cluster(**given):
        pass


@pytest.mark.parametrize(("workers", "memory"), [(0, "auto"), (1, "lots")])
def test_local_options_that_make_no_sense(workers: int, memory: str) -> None:
    with pytest.raises(InputError, match=r"workers must be|memory must be"), local_cluster(workers, memory=memory):
        pass
