"""What `columnminer inspect` says of each kind of file and folder, and of what it does not know."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from delphes_files import write_delphes

import columnminer as cm
from columnminer.errors import ColumnMinerError, FileFormatError, InputError
from columnminer.generate.drellyan import DrellYan
from columnminer.infer.histfactory import to_workspace, write_workspace
from columnminer.infer.histogram import HistogramLikelihood
from columnminer.infer.template_files import Histogram, write_histograms
from columnminer.pipeline.analysis import Analysis
from columnminer.pipeline.describe import describe
from columnminer.pipeline.steps import Running
from columnminer.run.jobs import Task, submit_jobs
from columnminer.store.arrays import write_arrays
from columnminer.store.eventstore import EventStore
from columnminer.toys.alea_files import write_datasets
from columnminer.toys.alea_results import write_alea_results
from columnminer.toys.campaign import Campaign
from columnminer.toys.neyman import NeymanThresholds
from columnminer.toys.runner import run_campaign

QUIET = Running(progress=False)

pytestmark = pytest.mark.filterwarnings(
    "ignore:the estimator is not right",
    "ignore:this .* failed checks",
    "ignore:.*fewer than 100 effective",
    "ignore:.*lie outside those of the training",
)

ANALYSIS = """\
generate:
  drellyan: {events: {sm: 2000}}
sampling:
  local: {theta: sm, n: 1000}
  ratio: {theta0: {flat: {c_ll: [-0.05, 0.05], c_lr: [-0.05, 0.05]}}, n: 1000, n_theta: 10}
estimators:
  sally: {method: sally, hidden: [4], epochs: 1}
  crowd:
    method: alice
    hidden: [4]
    epochs: 1
    checks: {n: 500, closure: false}
    calibration: {method: normalisation, n: 500}
    ensemble: {members: 2}
limits: {luminosity: 1000, theta_true: sm, grid: {c_ll: [-0.1, 0.1, 5], c_lr: [-0.1, 0.1, 5]}, rate: true}
information: {luminosity: 1000, theta: sm}
fits:
  counted: {luminosity: 1000, theta_true: sm, fixed: {c_lr: 0}, intervals: [{parameter: c_ll}]}
report: {title: A small one}
"""

CAMPAIGN = """\
model: {store: out/events/events.zarr, observables: m_ll, bins: 4, luminosity: 1000}
poi: c_ll
n_toys: 10
to_vary: {c_ll: [0, 0.02]}
hypotheses: [free, true]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with one of each of what we write."""
    folder = tmp_path_factory.mktemp("inspect")
    (folder / "analysis.yaml").write_text(ANALYSIS)
    Analysis(folder / "analysis.yaml", folder / "out", QUIET).run()
    (folder / "campaign.yaml").write_text(CAMPAIGN)
    campaign = Campaign.from_yaml(folder / "campaign.yaml")
    results = run_campaign(campaign, folder / "toys.zarr", progress=False)
    write_alea_results(results, folder / "alea", campaign.output_file)
    NeymanThresholds.from_results(results, [0.6], hypothesis="true").to_json(folder / "thresholds.json")
    NeymanThresholds.from_results(results, [0.6], hypothesis="true").to_json(folder / "alea.json", layout="alea")
    store = EventStore(folder / "out" / "events" / "events.zarr")
    model = HistogramLikelihood.from_store(store, "m_ll", 1000.0, bins=4)
    write_workspace(folder / "workspace.json", to_workspace(model))
    write_datasets(folder / "toys.h5", [{"events": np.zeros(3)}, {"events": np.zeros(4)}])
    edges = (np.linspace(0.0, 5.0, 6),)
    write_histograms(folder / "templates.h5", {"signal": Histogram(("energy",), edges, np.full(5, 2.0))})
    cm.export_madminer(store, folder / "madminer.h5")
    (folder / "resources.yaml").write_text("cores: 4\nmemory: 8 GB\n")
    (folder / "golden.json").write_text(json.dumps({"315257": [[1, 88], [91, 92]], "315259": [[1, 172]]}))
    shutil.copytree(store.path, folder / "moved" / "renamed")
    return folder


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("out", ["stages that are done", "estimators/sally", "fits/counted"]),
        ("out/events", ["Stage of an analysis", "Event store", "generate, setup"]),
        ("out/events/events.zarr", ["Event store", "m_ll, y_ll, cos_theta", "Cut flow", "sm.lhe.gz"]),
        ("moved/renamed", ["Event store"]),
        ("out/sampling/ratio", ["Sample store", "(1000, 2)"]),
        ("out/estimators/sally/estimator", ["ScoreEstimator", "c_ll = 0, c_lr = 0", "mean score of c_ll"]),
        ("out/estimators/crowd/estimator", ["CalibratedRatio of Ensemble of RatioEstimator", "normalised on"]),
        ("out/estimators/crowd/estimator/estimator", ["Ensemble of RatioEstimator", "networks\t2"]),
        ("out/estimators/crowd/estimator/estimator/member_0", ["RatioEstimator", "networks\t1"]),
        ("out/limits/rate", ["Expected intervals", "c_lr"]),
        ("out/information/truth", ["Standard errors", "c_ll"]),
        ("out/agreement/sally", ["correlation"]),
        ("out/fits/counted", ["Best fit", "interval", "0.9"]),
        ("out/overview", ["effective events", "c_ll_plus"]),
        ("out/report", ["Stage of an analysis", "overview"]),
        ("out/setup/setup.json", ["Set-up", "Parameters", "c_ll_c_lr"]),
        ("out/generate/sm.lhe.gz", ["Event file", "LHE 3.0", "nominal", "c_ll_minus"]),
        ("analysis.yaml", ["Analysis", "A small one", "2000 at sm", "sally\tscore\tsally", "crowd\tratio\talice\t2"]),
        ("campaign.yaml", ["Campaign of toys", "points\t2", "c_ll = 0.02", "m_ll"]),
        ("resources.yaml", ["Resources of jobs", "memory\t8 GB"]),
        ("toys.zarr", ["Toys", "c_ll = 0.02"]),
        ("alea/toymc_c_ll_0.02.ii.h5", ["Toys", "c_ll = 0.02"]),
        ("toys.h5", ["Toy data", "toys\t2", "events"]),
        ("templates.h5", ["Templates", "axis energy\t5 bins, 0 to 5", "signal\t10"]),
        ("thresholds.json", ["Thresholds", "0.6"]),
        ("alea.json", ["Thresholds", "0.6"]),
        ("workspace.json", ["Workspace of HistFactory", "histogram", "measurement (of mu)", "normfactor"]),
        ("golden.json", ["luminosity sections", "315257 to 315259", "sections\t262"]),
        ("madminer.h5", ["MadMiner file", "events\t2000", "Benchmarks"]),
    ],
)
def test_what_is_known_is_described(folder, path, words):
    text = written(folder / path)
    for word in words:
        assert word in text, text


def written(path):
    tables = describe(path)
    return "\n".join(line for t in tables for line in (t.caption, *("\t".join(r) for r in (t.head, *t.rows))))


def test_files_of_others_are_described(shared):
    assert "MadMiner file" in written(shared / "vbf" / "madminer_setup.h5")
    assert "HepMC3" in written(shared / "vbf" / "signal_sm_pythia8_200.hepmc.gz")
    assert "NanoAOD" in written(shared / "nanoaod" / "nanoAOD_2015_CMS_Open_Data_ttbar.root")
    models = shared / "alea" / "configs"
    text = written(models / "unbinned_wimp_statistical_model.yaml")
    assert "wimp_rate_multiplier\trate\t1.0" in text
    assert "sr0\tunbinned\tcs1 (50 bins), cs2 (50 bins)\ter (template), wimp (template)" in text
    running = written(models / "unbinned_wimp_running.yaml")
    assert "unbinned_wimp_statistical_model.yaml" in running
    assert "discovery_power\t" in running
    assert "er_template\t200" in written(shared / "alea" / "templates" / "er_template.ii.h5")
    assert "Spectrum" in written(models / "test_cs1_spectrum.json")


def test_detector_files_and_maps_are_described(tmp_path):
    write_delphes(tmp_path / "delphes.root", DrellYan().generate(5, "sm", seed=1))
    assert "Delphes" in written(tmp_path / "delphes.root")
    correctionlib = pytest.importorskip("correctionlib.schemav2")
    correction = correctionlib.Correction(
        name="mu_id",
        version=1,
        description="of muons",
        inputs=[correctionlib.Variable(name="pt", type="real")],
        output=correctionlib.Variable(name="weight", type="real"),
        data=0.9,
    )
    held = correctionlib.CorrectionSet(schema_version=2, corrections=[correction])
    (tmp_path / "maps.json").write_text(held.model_dump_json(exclude_unset=True))
    assert "mu_id\tpt (real)\tof muons" in written(tmp_path / "maps.json")


def test_jobs_and_unfinished_stores_are_described(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    submit_jobs([Task(("touch", "a"), "a"), Task(("touch", "b"), "b")], "local")
    assert "toys_000\tlocal\t\tfinished\t1 of 1" in written(tmp_path / "jobs")
    assert "touch" not in written(tmp_path / "jobs" / "toys_000.json")
    (tmp_path / "events.zarr.parts").mkdir()
    (tmp_path / "events.zarr.parts" / "configuration.json").write_text("{}")
    arrays = {"x": np.zeros(3)}
    write_arrays(tmp_path / "events.zarr.parts" / "0a" / "1b" / "000000000000", arrays, {})
    assert "finished parts\t1" in written(tmp_path / "events.zarr.parts")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("thesis.tex", "\\begin{document}", "no event file of a known format .* Known are: event stores, .*HDF5"),
        ("notes.json", '{"remember": "milk"}', "JSON with the keys remember, which is not known here. Known are"),
        ("list.json", "[1, 2]", "JSON that holds no keys, but a list"),
        ("broken.json", "{", "no JSON"),
        ("empty.yaml", "", "YAML with no keys, which is not known here. Known are"),
        ("recipe.yaml", "flour: 500 g", "YAML with the keys flour, which"),
        ("analysis.yaml", "samplng: {}\nlimits: {}", "unknown key 'samplng'. Did you mean 'sampling'"),
        ("workspace.json", '{"channels": [{}], "measurements": []}', "something in it is missing"),
        ("data.h5", "no", "data.h5"),
        ("stage.json", '{"stage": "", "key": "", "needs": ""}', "a part of what its folder holds; describe "),
    ],
)
def test_what_is_not_known_is_said_with_what_is(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ColumnMinerError, match=message):
        describe(tmp_path / name)


def test_folders_that_are_not_known_are_said_to_be_so(tmp_path):
    with pytest.raises(FileFormatError, match=r"nothing that is known\. Known are: event stores"):
        describe(tmp_path)
    with pytest.raises(InputError, match="there is no such file or folder"):
        describe(tmp_path / "none")


def test_events_without_weights_are_described(tmp_path):
    DrellYan().write_lhe(tmp_path / "events.txt", 5, "sm", seed=1)
    assert "LHE" in written(tmp_path / "events.txt"), "names do not matter to event files"
