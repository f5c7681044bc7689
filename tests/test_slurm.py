"""Plain jobs and dask workers on a real Slurm, which the test starts on loopback (Debian: slurm-wlm, munge)."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from analytic_store import analytic_store
from loopback_slurm import loopback_slurm, said

import columnminer as cm
from columnminer.errors import TaskError
from columnminer.run.clusters import slurm_cluster
from columnminer.run.jobs import JobState, Task, describe_failures, job_states, submit_jobs
from columnminer.run.resources import Resources
from columnminer.run.tasks import run_tasks
from columnminer.toys.jobs import submit_campaign

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

SMALL = Resources(memory="200 MB", walltime="00:05:00", queue="main")


@pytest.fixture(scope="module")
def slurm() -> Iterator[Path]:
    with loopback_slurm() as folder:
        yield folder


@pytest.fixture(autouse=True)
def here(slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shell(line: str, output: str) -> Task:
    return Task(("bash", "-c", line), Path(output))


def ended(patience: float = 60.0, folder: str = "jobs") -> tuple[JobState, ...]:
    """Wait until no job of the folder is in the queue, and return how they stand."""
    end = time.monotonic() + patience
    while any(state.state == "queued" for state in job_states(folder)):
        assert time.monotonic() < end, said("squeue")
        time.sleep(0.2)
    return job_states(folder)


def test_plain_jobs(here: Path) -> None:
    tasks = [shell(f'echo "$SLURM_JOB_NAME $SLURM_CPUS_PER_TASK $PWD" > out-{i}', f"out-{i}") for i in range(5)]
    tasks.insert(1, shell("echo no luck today; exit 3", "never"))
    submission = submit_jobs(tasks, "slurm", resources=SMALL, combine=2, name="scan")
    assert [len(job.tasks) for job in submission.jobs] == [2, 2, 2]
    states = ended()
    assert [state.state for state in states] == ["failed", "finished", "finished"]
    assert "no luck today" in describe_failures(states)
    assert Path("out-0").read_text() == f"scan_000 1 {here}\n"
    assert Path("out-4").read_text() == f"scan_002 1 {here}\n"
    tasks[1] = shell("touch never", "never")
    again = submit_jobs(tasks, "slurm", resources=SMALL, combine=2, name="scan")
    assert ([job.name for job in again.jobs], len(again.finished)) == (["scan_003"], 5)
    assert {state.state for state in ended()} == {"finished"}


def test_a_job_that_waits_or_was_cancelled(here: Path) -> None:
    tasks = [shell("touch begun; sleep 60; touch slow", "slow"), shell("touch quick", "quick")]
    (job,) = submit_jobs(tasks, "slurm", resources=SMALL, combine=2).jobs
    assert said("scontrol", "show", "job", str(job.number)).count("TimeLimit=00:05:00") == 1
    assert submit_jobs(tasks, "slurm", resources=SMALL).queued == job.tasks
    while not Path("begun").exists():
        time.sleep(0.1)
    subprocess.run(["scancel", str(job.number)], check=True)
    (state,) = ended()
    assert state.state == "failed"
    assert "CANCELLED" in state.tail
    assert len(state.unfinished) == 2
    tasks[0] = shell("touch slow", "slow")
    submit_jobs(tasks, "slurm", resources=SMALL)
    assert [state.state for state in ended()] == ["finished", "finished"]


def test_no_more_jobs_than_the_limit_are_in_the_queue() -> None:
    tasks = [shell(f"squeue --noheader --format=%A > seen-{i}; sleep 0.5", f"seen-{i}") for i in range(5)]
    submit_jobs(tasks, "slurm", resources=SMALL, queue_limit=2, poll=0.2)
    assert {state.state for state in ended()} == {"finished"}
    assert all(len(Path(f"seen-{i}").read_text().split()) <= 2 for i in range(5))


def test_what_slurm_refuses() -> None:
    with pytest.raises(TaskError, match="invalid partition"):
        submit_jobs([shell("true", "x")], "slurm", resources=Resources(queue="nowhere"))


@pytest.mark.parametrize("jobs", [1, (0, 1)])
def test_dask_workers(jobs: int | tuple[int, int], tmp_path: Path) -> None:
    def where(number: int) -> tuple[int, str]:  # in here, so that it travels as a whole: workers know no test modules
        return number**2, os.environ.get("SLURM_JOB_NAME", "no job of Slurm")

    with slurm_cluster(jobs, SMALL, name="workers", logs=tmp_path / "logs", interface="lo") as client:
        answers = run_tasks(where, range(6), client=client, progress=False)
    assert answers == [(n**2, "workers") for n in range(6)]
    end = time.monotonic() + 30
    while "workers" in said("squeue", "--noheader", "--format=%j"):
        assert time.monotonic() < end, "the workers outlived the with block"
        time.sleep(0.2)


def test_a_campaign_of_toys(here: Path) -> None:
    store = analytic_store(here / "events.zarr")
    model = "{store: events.zarr, observables: x, bins: [0.1, 0.3, 0.5, 0.7, 0.9], luminosity: 300.0}"
    (here / "scan.yaml").write_text(
        f"model: {model}\npoi: {store.setup.parameter_names[0]}\nn_toys: 6\nbatch_size: 2\n"
    )
    submission = submit_campaign("scan.yaml", "scan.zarr", "slurm", resources=SMALL, combine=2)
    assert [job.tasks[0].command[-1] for job in submission.jobs] == ["0:1", "2:2"]
    states = ended(patience=180.0, folder="scan.zarr.jobs")
    assert {state.state for state in states} == {"finished"}, describe_failures(states)
    campaign = cm.Campaign.from_yaml("scan.yaml")
    assert len(list(here.glob("scan.zarr.parts/000000/*"))) == 3
    collected = cm.run_campaign(campaign, "scan.zarr", progress=False)
    assert collected.hash == cm.run_campaign(campaign, "alone.zarr", progress=False).hash
