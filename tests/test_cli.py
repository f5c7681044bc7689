"""The command line: what it prints where, with which status it ends, and that bad input costs one line."""

from __future__ import annotations

import logging
import re
import subprocess
import sys

import numpy as np
import pytest

from columnminer import cli
from columnminer.errors import TaskError
from columnminer.generate.drellyan import DrellYan
from columnminer.pipeline.stages import Workspace
from columnminer.run.jobs import Task, submit_jobs
from columnminer.store.eventstore import EventStore
from columnminer.toys.neyman import NeymanThresholds
from columnminer.toys.results import CampaignResults

# The small analysis leaves few events to check its estimator on, which has learned little in its one epoch.
pytestmark = pytest.mark.filterwarnings(
    "ignore:the estimator is not right",
    "ignore:this .* failed checks",
    "ignore:.*fewer than 100 effective",
    "ignore:.*lie outside those of the training",
)

SMALL = """\
generate:
  drellyan: {events: {sm: 2000}}
sampling:
  ratio: {theta0: {flat: {c_ll: [-0.05, 0.05], c_lr: [-0.05, 0.05]}}, n: 1000, n_theta: 10}
estimators:
  alices: {method: alices, hidden: [4], epochs: 1}
limits:
  luminosity: 1000
  theta_true: sm
  grid: {c_ll: [-0.1, 0.1, 5], c_lr: [-0.1, 0.1, 5]}
  estimators: [alices]
  exact: true
"""


@pytest.fixture
def call(capsys):
    """Run the command line in this process; return status, standard output and standard error."""

    def run(*arguments):
        status = 0
        try:
            cli.main([str(a) for a in arguments])
        except SystemExit as end:
            status = end.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    log = logging.getLogger("columnminer")
    handlers, level = log.handlers[:], log.level
    yield run
    log.handlers[:] = handlers
    log.setLevel(level)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """A folder with a finished run of the small analysis."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "small.yaml").write_text(SMALL)
    code = "import sys; from columnminer.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "run", "small.yaml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return folder, done


def test_a_run_prints_results_to_the_output_and_progress_to_the_errors(outputs):
    folder, done = outputs
    assert "Expected intervals" in done.stdout
    assert re.search(r"c_ll +alices +\S+ +\[", done.stdout)
    assert re.search(r"c_lr +exact +\S+ +\[", done.stdout)
    assert re.search(r"alices +log likelihood ratio +\d\.\d+ +\d\.\d+ +-?\d\.\d+", done.stdout)
    assert done.stdout.endswith("Report: small/report/report.html\n")
    assert (folder / "small" / "report" / "report.html").is_file()
    assert re.search(r"\d\d:\d\d:\d\d \[1/\d+\] setup", done.stderr)
    assert "\x1b" not in done.stdout + done.stderr, "no terminal, no colours"


def test_running_again_keeps_everything_and_prints_the_same(outputs):
    folder, done = outputs
    code = "import sys; from columnminer.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "run", "small.yaml", "--quiet", "--workers", "2"]
    again = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert again.stdout == done.stdout
    assert again.stderr == ""


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("small", ["stages that are done", "estimators/alices"]),
        ("small/events/events.zarr", ["Event store", "m_ll, y_ll, cos_theta", "Cut flow", "sm.lhe.gz"]),
        ("small/sampling/ratio/samples.zarr", ["Sample store", "theta0", "(1000, 2)"]),
        ("small/estimators/alices/estimator", ["RatioEstimator", "c_ll = 0, c_lr = 0"]),
        ("small/setup/setup.json", ["Parameters", "Benchmarks", "c_ll_c_lr"]),
        ("small/generate/sm.lhe.gz", ["Event file", "nominal", "c_ll_minus"]),
    ],
)
def test_inspect_describes(outputs, call, path, words):
    status, out, _ = call("inspect", outputs[0] / path)
    assert status == 0
    for word in words:
        assert word in out


def test_demo_runs_the_analysis_that_it_left_in_its_folder(tmp_path, call):
    (Workspace(tmp_path / "demo").folder / "analysis.yaml").write_text(SMALL)
    status, out, _ = call("demo", "--out", tmp_path / "demo", "--quiet")
    assert status == 0
    assert "log likelihood ratio" in out


def test_the_showered_demo_is_a_valid_analysis(tmp_path):
    from importlib.resources import files

    from columnminer.pipeline.analysis import Analysis

    pytest.importorskip("pythia8mc", reason="needs Pythia: the extra 'generate'")
    text = files("columnminer.pipeline").joinpath("demo_shower.yaml").read_text(encoding="utf-8")
    (tmp_path / "demo.yaml").write_text(text, encoding="utf-8")
    names = [stage.name for stage in Analysis(tmp_path / "demo.yaml", tmp_path / "out").stages]
    assert {"generate", "events", "limits/alices", "report"} <= set(names)


def test_the_showered_demo_needs_pythia(tmp_path, call, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    status, _, said = call("demo", "--shower", "--out", tmp_path / "demo", "--quiet")
    assert status == 2
    assert 'pip install "columnminer[generate]"' in said
    assert not (tmp_path / "demo").exists()


def test_the_demo_is_a_valid_analysis(tmp_path):
    from importlib.resources import files

    from columnminer.pipeline.analysis import Analysis

    text = files("columnminer.pipeline").joinpath("demo.yaml").read_text(encoding="utf-8")
    (tmp_path / "demo.yaml").write_text(text, encoding="utf-8")
    names = [stage.name for stage in Analysis(tmp_path / "demo.yaml", tmp_path / "out").stages]
    assert {"estimators/alices", "estimators/sally", "agreement/alices", "limits/exact", "report"} <= set(names)


def test_madminer_files_are_imported_and_described(shared, tmp_path, call):
    status, out, _ = call(
        "import-madminer", shared / "vbf" / "madminer_lhe_nosmear.h5", tmp_path / "out.zarr", "--in-order"
    )
    assert status == 0
    assert re.search(r"events +40000", out)
    status, out, _ = call("inspect", shared / "vbf" / "madminer_setup.h5")
    assert status == 0
    assert "morphing_basis_vector_5" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "absent.yaml"], "absent.yaml: cannot be read: No such file or directory"),
        (["run", "typo.yaml"], "typo.yaml:3: smapling: unknown key 'smapling'. Did you mean 'sampling'?"),
        (["run", "small.yaml", "--out", "thesis"], "thesis: holds files that columnminer did not write"),
        (["demo", "--out", "thesis"], "thesis: holds files that columnminer did not write"),
        (["inspect", "absent"], "absent: there is no such file or folder"),
        (["inspect", "thesis"], "thesis: holds no store, estimator or analysis of columnminer"),
        (["inspect", "typo.yaml"], "typo.yaml"),
        (["import-madminer", "typo.yaml", "out.zarr"], "typo.yaml"),
        (["run"], "Missing argument 'ANALYSIS'"),
        (["run", "small.yaml", "--workers", "0"], "0 is not in the range x>=1"),
        (["run", "small.yaml", "--schduler", "x"], "--schduler"),
        (["rnu"], "rnu"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_ends_with_status_2_and_one_line(tmp_path, monkeypatch, call, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "typo.yaml").write_text(SMALL.replace("sampling", "smapling"))
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("...")
    status, out, err = call(*arguments)
    assert status == 2
    assert out == ""
    assert message in err
    assert err.startswith("columnminer: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_a_stage_that_fails_says_why_and_keeps_what_was_done(tmp_path, call):
    data = tmp_path / "data.lhe"
    DrellYan().write_lhe(data, 50, "sm", seed=1)
    text = data.read_text()
    data.write_text(text[: len(text) // 2])
    (tmp_path / "small.yaml").write_text(SMALL + "samples: [{path: data.lhe, benchmark: sm, name: broken}]\n")
    changed = (tmp_path / "small.yaml").read_text().replace("  exact: true\n", "")
    (tmp_path / "small.yaml").write_text(changed)
    status, _, err = call("run", tmp_path / "small.yaml", "--out", tmp_path / "out", "--quiet")
    assert status == 2
    assert "data.lhe" in err.splitlines()[-1]
    assert (tmp_path / "out" / "generate" / "stage.json").is_file()
    assert not (tmp_path / "out" / "events").exists()


def test_a_dask_cluster_gives_the_same_events(outputs, tmp_path, call):
    distributed = pytest.importorskip("distributed")
    (tmp_path / "small.yaml").write_text(SMALL)
    with distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=":0", silence_logs=50) as cluster:
        address = cluster.scheduler_address
        status, _, err = call("run", tmp_path / "small.yaml", "--out", tmp_path / "out", "--scheduler", address)
    assert status == 0, err
    here, there = (EventStore(f / "events" / "events.zarr").hash for f in (outputs[0] / "small", tmp_path / "out"))
    assert here == there


def test_help_is_quick_and_names_the_commands():
    code = (
        "import sys; from columnminer import cli\n"
        "try: cli.main(['--help'])\n"
        "finally: print([m for m in ('torch', 'matplotlib', 'awkward', 'distributed') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for command in ("demo", "run", "inspect", "import-madminer"):
        assert command in done.stdout
    assert done.stdout.endswith("[]\n")


def test_jobs_tells_how_they_stand(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tasks = [
        Task(("touch", "a"), "a"),
        Task(("bash", "-c", "echo no luck today; exit 3"), "b"),
        Task(("touch", "c"), "c"),
    ]
    with pytest.raises(TaskError):
        submit_jobs(tasks, "local", combine=2)
    status, out, _ = call("jobs", "jobs")
    assert status == 0
    assert out.startswith("toys_000: failed, 1 of 2 tasks finished\ntoys_001: finished, 1 of 1 tasks finished\n")
    assert "    no luck today\n" in out
    status, _, err = call("jobs", "nowhere")
    assert (status, err) == (2, "columnminer: nowhere is no folder of jobs\n")


CAMPAIGN = """\
model: {store: events.zarr, observables: m_ll, bins: 8, luminosity: 1000}
poi: c_ll
n_toys: 10
batch_size: 5
to_vary: {c_ll: [0, 0.02]}
hypotheses: [free, zero, true]
"""


def test_toys_of_a_campaign_are_made_fitted_and_summed_up(outputs, tmp_path, call, monkeypatch):
    (tmp_path / "events.zarr").symlink_to((outputs[0] / "small" / "events" / "events.zarr").resolve())
    (tmp_path / "campaign.yaml").write_text(CAMPAIGN)
    monkeypatch.chdir(tmp_path)
    status, out, err = call("toys", "campaign.yaml", "--alea", "alea")
    assert status == 0
    assert re.search(r"c_ll = 0.02 +\d* +10 +free 100.00%, zero 100.00%, true 100.00%", out)
    assert out.endswith("Results: campaign.zarr\n")
    assert "toys: 4 of 4 done" in err
    assert sorted(p.name for p in (tmp_path / "alea").iterdir()) == ["toymc_c_ll_0.0.ii.h5", "toymc_c_ll_0.02.ii.h5"]
    status, again, err = call("toys", "campaign.yaml", "--quiet", "--workers", "2")
    assert (status, again, err) == (0, out, ""), "what is there is kept"
    status, _, _ = call("toys", "campaign.yaml", "--quiet", "--n-toys", "4", "--out", "few.zarr")
    assert (status, [len(point) for point in CampaignResults("few.zarr")]) == (0, [4, 4])
    status, _, err = call("toys", "campaign.yaml", "--seed", "7")
    assert status == 2
    assert "seed: 0 there, 7 asked for" in err
    assert err.count("\n") == 1
    status, other, _ = call("toys", "campaign.yaml", "--seed", "7", "--no-resume", "--quiet")
    assert status == 0
    assert other != out
    status, described, _ = call("inspect", tmp_path / "campaign.zarr")
    assert status == 0
    assert described.strip() in other


def test_thresholds_of_toys_lead_to_intervals(outputs, tmp_path, call, monkeypatch):
    """A campaign, its thresholds in both layouts, and a campaign that reads them."""
    (tmp_path / "events.zarr").symlink_to((outputs[0] / "small" / "events" / "events.zarr").resolve())
    (tmp_path / "toys.yaml").write_text(CAMPAIGN.replace("n_toys: 10", "n_toys: 60").replace("size: 5", "size: 60"))
    interval = "compute_confidence_interval: true\nlevel: 0.8\nthreshold: {}\n"
    for name in ("ours", "theirs"):
        (tmp_path / f"{name}.yaml").write_text(CAMPAIGN + interval.format(f"{name}.json"))
    monkeypatch.chdir(tmp_path)
    assert call("toys", "toys.yaml", "--quiet", "--alea", "alea")[0] == 0
    levels = ("--level", "0.8", "--level", "0.9")
    status, out, err = call("thresholds", "toys.zarr", "ours.json", *levels)
    assert (status, err) == (0, "")
    assert re.search(r"truth +toys +0.8 +0.9\n", out)
    assert re.search(r"c_ll = 0.02 +60 +\S+ ± \S+ +\S+ ± \S+\n", out)
    assert out.endswith("Thresholds: ours.json\n")
    found = NeymanThresholds.from_json("ours.json")
    assert found.levels == (0.8, 0.9)
    toys = CampaignResults("toys.zarr")
    assert found(0.02, 0.9) == np.quantile(toys.at(c_ll=0.02)[0].statistic("true"), 0.9)
    files = sorted(str(path) for path in (tmp_path / "alea").iterdir())
    assert call("thresholds", *files, "theirs.json", "--alea", *levels)[0] == 0
    assert NeymanThresholds.from_json("theirs.json")(0.02, 0.9) == pytest.approx(found(0.02, 0.9), rel=1e-9)
    assert call("toys", "ours.yaml", "--quiet")[0] == call("toys", "theirs.yaml", "--quiet")[0] == 0
    intervals = [CampaignResults(f"{name}.zarr")[1].intervals for name in ("ours", "theirs")]
    np.testing.assert_allclose(*intervals, rtol=1e-6)
    assert call("inspect", "ours.json")[1].strip() in out
    assert "for central intervals" in call("inspect", "theirs.json")[1]
    status, _, err = call("thresholds", "toys.zarr", "x.json", "--hypothesis", "treu")
    assert (status, err.count("\n")) == (2, 1)
    assert "the hypothesis 'treu'. Did you mean 'true'" in err
    assert "too few for a 0.99 quantile" in call("thresholds", "toys.zarr", "x.json", "--level", "0.99")[2]
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CAMPAIGN.replace("c_ll:", "c_lll:"), "'c_lll' is neither a setting nor a parameter. Did you mean 'c_ll'"),
        (CAMPAIGN.replace("n_toys", "n_tois"), "campaign.yaml:3: n_tois: unknown key 'n_tois'. Did you mean 'n_toys'"),
        (CAMPAIGN.replace("events.zarr", "nothing.zarr"), "nothing.zarr"),
        ("poi: [", "not valid YAML"),
    ],
)
def test_a_bad_campaign_costs_one_line(outputs, tmp_path, call, text, words):
    (tmp_path / "events.zarr").symlink_to((outputs[0] / "small" / "events" / "events.zarr").resolve())
    (tmp_path / "campaign.yaml").write_text(text)
    status, out, err = call("toys", tmp_path / "campaign.yaml", "--out", tmp_path / "r.zarr")
    assert status == 2
    assert out == ""
    assert words in err
    assert err.startswith("columnminer: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "r.zarr").exists()
