"""Plain job scripts: combined, skipped, redone and debugged here for real, and handed to stand-ins of batch systems.

The counterparts of alea's submitters: ``combine_n_jobs`` (`combine`), output that is there already (skipped, unless
``resubmit``, here `redo`), ``debug`` (prints and submits one), the limit on jobs in the queue, names of batches.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from columnminer.errors import FileFormatError, InputError, MissingError, TaskError, UnknownNameError
from columnminer.run.alea_jobs import JobOptions, alea_job_options
from columnminer.run.jobs import Task, describe_failures, job_states, submit_jobs
from columnminer.run.resources import Resources
from columnminer.run.scripts import shipped_template

WRITE = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(' '.join(sys.argv[2:]))"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def writing(output: str, *words: str) -> Task:
    return Task((sys.executable, "-c", WRITE, output, *words), Path(output))


def failing(output: str) -> Task:
    return Task(("bash", "-c", "echo no luck today; exit 3"), Path(output))


def directives(script: Path) -> dict[str, str]:
    """Parse the options that sbatch reads: the comments before the first command."""
    found = {}
    for line in script.read_text().splitlines()[1:]:
        if line and not line.startswith("#"):
            break
        if line.startswith("#SBATCH "):
            name, _, value = line.removeprefix("#SBATCH ").partition("=")
            assert name not in found
            found[name] = value
    return found


def commands(script: Path) -> list[list[str]]:
    """Parse the tasks of a script as a shell would: [output, program, arguments...] of each."""
    calls = [line for line in script.read_text().split("\n}\n")[-1].splitlines() if line.startswith("task ")]
    return [shlex.split(call)[2:] for call in calls]


# Local: for real.


def test_combined_tasks_run_in_as_few_scripts(here: Path) -> None:
    tasks = [writing(f"out-{i}.txt", str(i)) for i in range(7)]
    submission = submit_jobs(tasks, "local", combine=3, workers=2)
    assert [len(job.tasks) for job in submission.jobs] == [3, 3, 1]
    assert [job.name for job in submission.jobs] == ["toys_000", "toys_001", "toys_002"]
    assert [Path(f"out-{i}.txt").read_text() for i in range(7)] == list("0123456")
    assert sorted(path.name for path in (here / "jobs").glob("*.sh")) == [f"toys_{i:03d}.sh" for i in range(3)]
    assert [state.state for state in job_states("jobs")] == ["finished"] * 3


def test_arguments_arrive_whatever_they_hold() -> None:
    words = ["two words", "$HOME `id` $(id) ; & | < > * ?", "'\"\\", "", "line\nbreak", "@NAME@", "ünïcode", "-n"]
    submit_jobs([Task((sys.executable, "-c", WRITE, "a b'c.txt", *words), Path("a b'c.txt"))], "local")
    assert Path("a b'c.txt").read_text() == " ".join(words)


def test_finished_tasks_are_left_out_unless_redone() -> None:
    Path("out-1.txt").write_text("from before")
    tasks = [writing(f"out-{i}.txt", "new") for i in range(3)]
    first = submit_jobs(tasks, "local")
    assert [task.output.name for task in first.finished] == ["out-1.txt"]
    assert len(first.jobs) == 2
    assert Path("out-1.txt").read_text() == "from before"
    again = submit_jobs(tasks, "local")
    assert (len(again.jobs), len(again.finished)) == (0, 3)
    redone = submit_jobs(tasks, "local", redo=True, combine=10)
    assert [job.name for job in redone.jobs] == ["toys_002"], "records of earlier jobs must stay"
    assert Path("out-1.txt").read_text() == "new"


def test_a_script_that_runs_again_leaves_out_what_is_finished() -> None:
    (job,) = submit_jobs([writing("out.txt", "first")], "local", dry_run=True).jobs
    assert not Path("out.txt").exists()
    assert job_states("jobs")[0].state == "written"
    Path("out.txt").write_text("by another")
    subprocess.run(["bash", f"{job.base}.sh"], check=True)
    assert Path("out.txt").read_text() == "by another"


def test_a_failing_task_is_told_with_its_log_and_keeps_nobody_from_running() -> None:
    tasks = [writing("a.txt"), failing("b.txt"), writing("c.txt"), writing("d.txt")]
    with pytest.raises(
        TaskError, match=r"1 of 2 jobs failed:\n  toys_000 left no finished \S+b\.txt; (.|\n)+no luck today"
    ):
        submit_jobs(tasks, "local", combine=3, workers=2)
    assert [Path(f"{name}.txt").exists() for name in "abcd"] == [True, False, True, True]
    states = job_states("jobs")
    assert [state.state for state in states] == ["failed", "finished"]
    assert [task.output.name for task in states[0].unfinished] == ["b.txt"]
    assert "toys_001" not in describe_failures(states)
    submit_jobs([writing("b.txt")], "local")
    assert [state.state for state in job_states("jobs")] == ["finished"] * 3


def test_a_redone_task_that_fails_is_not_taken_for_its_old_output() -> None:
    Path("b.txt").write_text("from before")
    with pytest.raises(TaskError, match="no luck today"):
        submit_jobs([failing("b.txt")], "local", redo=True)
    assert job_states("jobs")[0].state == "failed"
    submit_jobs([failing("b.txt")], "local")
    assert Path("b.txt").read_text() == "from before"


def test_a_task_that_ends_well_but_leaves_nothing_failed() -> None:
    with pytest.raises(TaskError, match=r"ended well, but left no \S+nowhere"):
        submit_jobs([Task(("true",), Path("nowhere"))], "local")


def test_a_program_that_does_not_exist_fails_like_any_other() -> None:
    with pytest.raises(TaskError, match="no-such-program"):
        submit_jobs([Task(("no-such-program",), Path("out"))], "local")


def test_debug_prints_the_script_and_runs_one(capsys: pytest.CaptureFixture[str]) -> None:
    tasks = [writing(f"out-{i}.txt") for i in range(5)]
    submission = submit_jobs(tasks, "local", combine=2, debug=True)
    assert capsys.readouterr().out == Path("jobs/toys_000.sh").read_text()
    assert len(submission.jobs) == 1
    assert [Path(f"out-{i}.txt").exists() for i in range(5)] == [True, True, False, False, False]


def test_no_more_jobs_run_at_once_than_workers() -> None:
    note = "echo start >> notes; sleep 0.15; echo end >> notes; touch "
    tasks = [Task(("bash", "-c", f"{note} out-{i}"), Path(f"out-{i}")) for i in range(5)]
    submit_jobs(tasks, "local", workers=2)
    running = [0]
    for line in Path("notes").read_text().split():
        running.append(running[-1] + (1 if line == "start" else -1))
    assert max(running) == 2, "one more would break the limit, one less would not be parallel"


def test_tasks_run_in_the_folder_of_the_submission(here: Path) -> None:
    elsewhere = here / "some where"
    elsewhere.mkdir()
    submit_jobs([Task(("bash", "-c", "pwd > place"), Path("place"))], "local", folder=elsewhere)
    assert Path((here / "place").read_text().strip()) == here


# Scripts of batch systems.

ASKED = Resources(
    cores=4,
    memory="8 GB",
    walltime="1-02:30:00",
    account="xenon.nt",
    container="docker://python:3.11",
    container_program="/usr/bin/singularity",
)


def test_slurm_scripts_ask_for_what_was_asked(here: Path) -> None:
    asked = Resources(
        **vars(ASKED) | {"queue": "short,long", "directives": ["--qos=short", "--exclude=dali[028-030],m-47"]}
    )
    (job,) = submit_jobs([writing("out", "1 2")], dry_run=True, resources=asked, name="scan").jobs
    script = here / "jobs" / "scan_000.sh"
    assert directives(script) == {
        "--job-name": "scan_000",
        "--output": str(here / "jobs" / "scan_000.log"),
        "--ntasks": "1",
        "--cpus-per-task": "4",
        "--mem": "7630M",
        "--time": "1-02:30:00",
        "--partition": "short,long",
        "--account": "xenon.nt",
        "--qos": "short",
        "--exclude": "dali[028-030],m-47",
    }
    command = ["/usr/bin/singularity", "exec", "docker://python:3.11", sys.executable, "-c", WRITE, "out", "1 2"]
    assert commands(script) == [[str(here / "out"), *command]]
    assert job.number is None


def test_htcondor_files_ask_for_what_was_asked(here: Path) -> None:
    asked = Resources(
        **vars(ASKED) | {"directives": ['+JobFlavour = "longlunch"', "requirements = A >= 9 && (B || C)"]}
    )
    submit_jobs([writing("out")], "htcondor", dry_run=True, resources=asked, name="scan")
    *lines, last = (here / "jobs" / "scan_000.sub").read_text().split("\n")[:-1]
    found = dict(line.split(" = ", 1) for line in lines)
    assert last == "queue"
    assert found["executable"] == str(here / "jobs" / "scan_000.sh")
    assert found["batch_name"] == "scan"
    assert (found["request_cpus"], found["request_memory"]) == ("4", "7630")
    assert found["accounting_group"] == "xenon.nt"
    assert found["+JobFlavour"] == '"longlunch"'
    assert found["requirements"] == "A >= 9 && (B || C)"
    assert "> 95400)" in found["periodic_remove"]
    assert commands(here / "jobs" / "scan_000.sh")[0][1:3] == ["/usr/bin/singularity", "exec"]
    assert os.access(here / "jobs" / "scan_000.sh", os.X_OK)


def test_own_templates(here: Path) -> None:
    template = here / "mine.sh"
    template.write_text("#!/bin/bash\n# me@example.org @NAME@ @MEMORY@\nexport LUCK=good\n@TASKS@\n")
    task = Task(("bash", "-c", "echo $LUCK > luck"), Path("luck"))
    submit_jobs([task], "local", template_path=template, resources=Resources(memory="1 GiB"))
    assert Path("luck").read_text() == "good\n"
    assert "# me@example.org toys_000 1024\n" in Path("jobs/toys_000.sh").read_text()
    template.write_text("#!/bin/bash\n@TASK@\n@TASKS@")
    with pytest.raises(
        InputError, match=r"mine\.sh: there is nothing to put at the place @TASK@\. Did you mean 'TASKS'"
    ):
        submit_jobs([task], "local", template_path=template, redo=True)
    template.write_text("#!/bin/bash\n")
    with pytest.raises(InputError, match=r"mine\.sh: a template needs the place @TASKS@"):
        submit_jobs([task], "local", template_path=template, redo=True)


def test_templates_come_along() -> None:
    assert "@TASKS@" in shipped_template("slurm.sh")
    assert "@TASKS@" in shipped_template("local.sh")
    assert "@SCRIPT@" in shipped_template("htcondor.sub")


# Stand-ins for batch systems: programs that note how they were called.


class Batch:
    """Programs in front of the PATH; `queue` holds the numbers of jobs that they say are there."""

    def __init__(self, folder: Path, submitting: str, listing: str, answer: str) -> None:
        self.folder = folder
        folder.mkdir()
        self.queue = folder / "queue"
        self.queue.touch()
        note = f'printf "%s\\n" "{{}}" "$@" >> {folder}/calls'
        number = f"n=$(grep -cx submitted {folder}/calls); echo $n >> {self.queue}"
        self._program(submitting, note.format("submitted"), number, answer)
        self._program(listing, note.format("listed"), f"cat {self.queue}; : > {folder}/looked")

    def _program(self, name: str, *lines: str) -> None:
        file = self.folder / name
        file.write_text("\n".join(["#!/bin/bash", *lines, ""]))
        file.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []


SYSTEMS = {
    "slurm": ("sbatch", "squeue", 'echo "$n;cluster"'),
    "htcondor": ("condor_submit", "condor_q", 'echo "$n.0 - $n.0"'),
}


@pytest.fixture(params=SYSTEMS)
def batch(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Batch]:
    system = Batch(tmp_path / "bin", *SYSTEMS[request.param])
    monkeypatch.setenv("PATH", f"{system.folder}{os.pathsep}{os.environ['PATH']}")
    return request.param, system


def test_jobs_are_submitted_with_the_file_as_an_argument(here: Path, batch: tuple[str, Batch]) -> None:
    system, programs = batch
    submission = submit_jobs([writing(f"out-{i}") for i in range(3)], system, combine=2)
    assert [job.number for job in submission.jobs] == ["1", "2"]
    option, ending = {"slurm": ("--parsable", "sh"), "htcondor": ("-terse", "sub")}[system]
    files = [str(here / "jobs" / f"toys_{i:03d}.{ending}") for i in range(2)]
    assert programs.calls == ["submitted", option, files[0], "submitted", option, files[1]]


def test_jobs_in_the_queue_are_not_submitted_twice(batch: tuple[str, Batch]) -> None:
    system, programs = batch
    tasks = [writing(f"out-{i}") for i in range(3)]
    submit_jobs(tasks, system)
    programs.queue.write_text("2\n77\n")
    Path("out-0").touch()
    again = submit_jobs(tasks, system)
    assert [task.output.name for task in again.finished] == ["out-0"]
    assert [task.output.name for task in again.queued] == ["out-1"]
    assert [(job.name, job.tasks[0].output.name) for job in again.jobs] == [("toys_003", "out-2")]
    states = {state.job.name: state.state for state in job_states("jobs")}
    assert states == {"toys_000": "finished", "toys_001": "queued", "toys_003": "queued"}


def test_jobs_that_left_the_queue_without_output_failed(batch: tuple[str, Batch]) -> None:
    system, programs = batch
    (job,) = submit_jobs([writing("out")], system).jobs
    assert job_states("jobs")[0].state == "queued"
    job.log.write_text("\n".join(f"line {i}" for i in range(40)) + "\nslurmstepd: exceeded memory limit")
    programs.queue.write_text("")
    (state,) = job_states("jobs")
    assert state.state == "failed"
    assert state.tail.splitlines()[-1].endswith("exceeded memory limit")
    assert "line 39" in describe_failures([state])
    assert "line 10\n" not in describe_failures([state])


@pytest.mark.parametrize(("limit", "longest"), [(2, 2), (100, 6)])
def test_the_queue_is_not_filled_over_its_limit(batch: tuple[str, Batch], limit: int, longest: int) -> None:
    system, programs = batch
    submitting, listing = (programs.folder / name for name in SYSTEMS[system][:2])
    lengths = programs.folder / "lengths"
    submitting.write_text(submitting.read_text() + f"wc -l < {programs.queue} >> {lengths}\n")
    # Each look at the queue takes the oldest job away afterwards, as time would.
    listing.write_text(listing.read_text() + f"sed -i 1d {programs.queue}\n")
    submission = submit_jobs([writing(f"out-{i}") for i in range(6)], system, queue_limit=limit, poll=0.01)
    assert len(submission.jobs) == 6
    assert max(map(int, lengths.read_text().split())) == longest


def test_debug_submits_one(batch: tuple[str, Batch], capsys: pytest.CaptureFixture[str]) -> None:
    system, programs = batch
    submit_jobs([writing(f"out-{i}") for i in range(3)], system, debug=True)
    assert programs.calls.count("submitted") == 1
    assert "toys_000" in capsys.readouterr().out


def test_what_a_batch_system_refuses_is_said_with_its_words(batch: tuple[str, Batch]) -> None:
    system, programs = batch
    program = SYSTEMS[system][0]
    (programs.folder / program).write_text("#!/bin/bash\necho error: invalid partition >&2\nexit 1\n")
    with pytest.raises(TaskError, match=f"{program} .* ended with status 1: error: invalid partition"):
        submit_jobs([writing("out")], system)
    assert job_states("jobs")[0].state == "written"
    (programs.folder / program).write_text("#!/bin/bash\necho welcome\n")
    with pytest.raises(TaskError, match="named no job: 'welcome'"):
        submit_jobs([writing("out")], system)


@pytest.mark.parametrize("system", SYSTEMS)
def test_where_there_is_no_batch_system(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingError, match=f"there is no {SYSTEMS[system][0]} here"):
        submit_jobs([writing("out")], system)


# What cannot be.


@pytest.mark.parametrize(
    "text", ["a\n#SBATCH --uid=0", "a;id", "a b", "$(id)", "`id`", "a&b", "a|b", "-x", "a'", 'a"', "a\\", ""]
)
def test_values_that_would_change_a_script_are_refused(text: str) -> None:
    for option in ("queue", "account", "container", "container_program"):
        with pytest.raises(InputError, match=f"{option} .* cannot be written into a job script"):
            Resources(**{option: text})
    if text != "-x":
        with pytest.raises(InputError, match=r"directive .* cannot be written into a job script"):
            submit_jobs([writing("out")], dry_run=True, resources=Resources(directives=[f"--qos={text}"]))
    with pytest.raises(InputError, match=r"name .* cannot be written into a job script"):
        submit_jobs([writing("out")], dry_run=True, name=text)
    if text not in {"", "-x"}:
        with pytest.raises(InputError, match=r"the path of job scripts .* cannot be written"):
            submit_jobs([writing("out")], dry_run=True, folder=text)
    assert list(Path().glob("**/*.json")) == []


@pytest.mark.parametrize(
    "text", ["queue 10", "include : /bin/id |", "a = 1\nexecutable = /bin/id", "a = `id`", "a = 1; b", "a = $ENV(HOME)"]
)
def test_lines_that_would_change_a_submit_file_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="cannot be written into a job script"):
        submit_jobs([writing("out")], "htcondor", dry_run=True, resources=Resources(directives=[text]))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"cores": 0}, "cores"),
        ({"cores": "1\n#"}, "cores"),
        ({"memory": "8"}, "unit"),
        ({"memory": 8000}, "unit"),
        ({"memory": "8 GB\n"}, "unit"),
        ({"memory": "0 GB"}, "unit"),
        ({"walltime": "90:00"}, "walltime"),
        ({"walltime": "01:00:00\n"}, "walltime"),
        ({"walltime": "01:75:00"}, "walltime"),
        ({"walltime": float("nan")}, "walltime"),
        ({"walltime": -1}, "walltime"),
        ({"directives": "--qos=x"}, "list of texts"),
    ],
)
def test_resources_that_make_no_sense(options: dict[str, object], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Resources(**options)  # type: ignore[arg-type]


def test_units_of_resources() -> None:
    assert Resources(memory="512 MiB").mebibytes == 512
    assert Resources(memory="8000Mb").mebibytes == Resources(memory="8 GB").mebibytes == 7630
    assert Resources(memory="1kB").mebibytes == 1
    assert Resources(walltime=1.5).clock == "01:30:00"
    assert Resources(walltime="100:00:00").clock == "4-04:00:00"


def test_queues_of_htcondor() -> None:
    with pytest.raises(InputError, match="HTCondor has no queues"):
        submit_jobs([writing("out")], "htcondor", dry_run=True, resources=Resources(queue="short"))


@pytest.mark.parametrize("option", ["combine", "queue_limit", "workers"])
def test_counts_that_make_no_sense(option: str) -> None:
    with pytest.raises(InputError, match=f"{option} must be at least 1"):
        submit_jobs([writing("out")], "local", **{option: 0})  # type: ignore[arg-type]


def test_tasks_that_make_no_sense() -> None:
    with pytest.raises(InputError, match="list of arguments"):
        Task("rm -rf x", Path("x"))
    with pytest.raises(InputError, match="list of arguments"):
        Task((), Path("x"))
    with pytest.raises(InputError, match="zero byte"):
        Task(("echo", "a\0b"), Path("x"))
    with pytest.raises(InputError, match="same output"):
        submit_jobs([writing("a"), writing("./a")], "local")
    with pytest.raises(UnknownNameError, match="Did you mean 'slurm'"):
        submit_jobs([writing("a")], "slrum")


def test_records_that_are_none() -> None:
    Path("jobs").mkdir()
    Path("jobs/toys_000.json").write_text(json.dumps({"system": "local"}))
    with pytest.raises(FileFormatError, match=r"toys_000\.json is no record of a job"):
        job_states("jobs")


# What alea's running configurations say.


def test_what_alea_asks_of_slurm() -> None:
    said = {"template_path": None, "hours": 1.5, "mem_per_cpu": 8000, "container": "xenonnt-development.simg"}
    said |= {"partition": "xenon1t", "qos": "xenon1t", "cpus_per_task": 2, "exclude_nodes": "dali[028-030]"}
    options = alea_job_options("slurm", said | {"combine_n_jobs": 10})
    assert options.combine == 10
    asked = options.resources
    assert (asked.cores, asked.mebibytes, asked.clock) == (2, Resources(memory="16 GB").mebibytes, "01:30:00")
    assert (asked.queue, asked.container) == ("xenon1t", "xenonnt-development.simg")
    assert asked.directives == ("--qos=xenon1t", "--exclude=dali[028-030]")


def test_what_alea_asks_of_htcondor(caplog: pytest.LogCaptureFixture) -> None:
    said = {"request_memory": "8000Mb", "singularity_image": None, "request_disk": 2000, "dagman_retry": 2}
    options = alea_job_options("htcondor", said)
    assert options.resources == Resources(memory="8000Mb", directives=("request_disk = 2000MB",))
    assert "dagman_retry have no meaning here" in caplog.text
    assert options.combine == 1


def test_alea_configurations_as_they_are(shared: Path) -> None:
    document = yaml.safe_load((shared / "alea" / "configs" / "unbinned_wimp_running.yaml").read_text())
    slurm = alea_job_options("slurm", document["slurm_configurations"]).resources
    assert (slurm.clock, slurm.mebibytes, slurm.queue) == ("01:30:00", 7630, "xenon1t")
    assert alea_job_options("htcondor", document["htcondor_configurations"]).resources.mebibytes == 7630
    assert alea_job_options("local", document.get("local_configurations")) == JobOptions()


def test_what_alea_cannot_ask() -> None:
    with pytest.raises(InputError, match="slurm_configurations: could not convert"):
        alea_job_options("slurm", {"hours": "long"})
    with pytest.raises(InputError, match=r"queue .* cannot be written"):
        alea_job_options("slurm", {"partition": "a\n#SBATCH --uid=0"})
    with pytest.raises(UnknownNameError, match="Did you mean 'slurm'"):
        alea_job_options("slrum", {})
