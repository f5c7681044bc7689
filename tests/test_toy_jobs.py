"""Campaigns as plain jobs: the same results as in one process, whichever jobs made which batch."""

from __future__ import annotations

import logging

import pytest
from analytic_store import analytic_store

import columnminer as cm
from columnminer import cli
from columnminer.errors import InputError, OutputExistsError, UnknownNameError
from columnminer.run.jobs import job_states
from columnminer.run.resources import Resources
from columnminer.toys.jobs import read_resources, submit_campaign
from columnminer.toys.runner import open_batches, run_batches

CAMPAIGN = """\
model: {store: events.zarr, observables: x, bins: [0.1, 0.3, 0.5, 0.7, 0.9], luminosity: 300.0}
poi: %s
n_toys: 6
batch_size: 2
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("campaign")
    store = analytic_store(folder / "events.zarr")
    model = cm.HistogramLikelihood.from_store(store, "x", 300.0, bins=[0.1, 0.3, 0.5, 0.7, 0.9])
    (folder / "scan.yaml").write_text(CAMPAIGN % model.names[0])
    return folder / "scan.yaml"


def test_jobs_leave_what_one_process_would(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    toys = ["toys", str(file), "--seed", "5", "--quiet"]
    level, handlers = logging.getLogger("columnminer").level, logging.getLogger("columnminer").handlers[:]
    try:
        cli.main([*toys, "--out", "jobs.zarr", "--submit", "local", "--combine", "2", "--workers", "2"])
        states = job_states("jobs.zarr.jobs")
        assert [(state.state, state.job.tasks[0].command[-1]) for state in states] == [
            ("finished", "0:1"),
            ("finished", "2:2"),
        ]
        assert not (tmp_path / "jobs.zarr").exists(), "results are collected afterwards"
        cli.main([*toys, "--out", "jobs.zarr"])
    finally:
        logging.getLogger("columnminer").setLevel(level)
        logging.getLogger("columnminer").handlers[:] = handlers
    alone = cm.run_campaign(cm.Campaign.from_yaml(file), tmp_path / "alone.zarr", seed=5, progress=False)
    assert cm.CampaignResults(tmp_path / "jobs.zarr").hash == alone.hash
    with pytest.raises(OutputExistsError):
        submit_campaign(file, tmp_path / "jobs.zarr", "local", seed=5)


def test_only_missing_batches_are_submitted(file, tmp_path):
    campaign, out = cm.Campaign.from_yaml(file), tmp_path / "r.zarr"
    parts = open_batches(campaign, out)
    run_batches(campaign, out, 1, 1)
    assert [part.exists() for part in parts] == [False, True, False]
    submission = submit_campaign(file, out, "slurm", dry_run=True, resources=Resources(queue="short"))
    assert [task.output for task in submission.finished] == [parts[1]]
    assert [job.tasks[0].command[-2:] for job in submission.jobs] == [("--batches", "0:0"), ("--batches", "2:2")]
    assert "#SBATCH --partition=short\n" in (tmp_path / "r.zarr.jobs" / "toys_000.sh").read_text()
    together = submit_campaign(file, out, "slurm", dry_run=True, combine=2)
    assert [(job.tasks[0].command[-1], job.tasks[0].output) for job in together.jobs] == [
        ("0:1", parts[0]),
        ("2:2", parts[2]),
    ]
    again = submit_campaign(file, out, "slurm", dry_run=True, redo=True)
    assert (len(again.jobs), len(again.finished)) == (3, 0)
    assert not parts[1].exists()


def test_a_running_configuration_of_alea_is_submitted(shared, tmp_path, capsys):
    """For debugging: the script of the first job is printed, and that job alone is run."""
    running = shared / "alea" / "configs" / "unbinned_wimp_running.yaml"
    options = {"computation": "discovery_power", "n_toys": 4, "debug": True}
    submission = submit_campaign(running, tmp_path / "r.zarr", "local", **options)
    assert "--computation discovery_power --n-toys 4 --batches 0:0" in capsys.readouterr().out
    assert [state.state for state in job_states(tmp_path / "r.zarr.jobs")][:1] == ["finished"]
    assert submission.jobs[0].tasks[0].output.is_dir()
    assert len(list((tmp_path / "r.zarr.parts").glob("*/*/*"))) == 1


def test_batches_need_what_was_made_ready(file, tmp_path):
    campaign = cm.Campaign.from_yaml(file)
    with pytest.raises(InputError, match="was not made ready"):
        run_batches(campaign, tmp_path / "r.zarr", 0, 0)
    open_batches(campaign, tmp_path / "r.zarr", seed=1)
    with pytest.raises(OutputExistsError, match="seed"):
        run_batches(campaign, tmp_path / "r.zarr", 0, 0, seed=2)
    with pytest.raises(InputError, match="numbered 0 to 2"):
        run_batches(campaign, tmp_path / "r.zarr", 0, 3, seed=1)


def test_resources_in_a_file(tmp_path):
    file = tmp_path / "node.yaml"
    file.write_text("cores: 2\nmemory: 4 GB\nwalltime: 1.5\ndirectives: [--qos=short]\n")
    assert read_resources(file) == Resources(cores=2, memory="4 GB", walltime=1.5, directives=("--qos=short",))
    file.write_text("memroy: 4 GB\n")
    with pytest.raises(UnknownNameError, match=r"node\.yaml: there is no resource 'memroy'\. Did you mean 'memory'"):
        read_resources(file)
