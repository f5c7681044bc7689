"""The whole chain from one file: what it finds, what it does again after a change, what it refuses."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml
from browser import seen
from scipy.stats import chi2

from columnminer.errors import CheckWarning, InputError, OutputExistsError
from columnminer.generate.drellyan import DrellYan
from columnminer.infer.limits import Grid, Limits, expected_limits
from columnminer.learn.estimators import load_estimator
from columnminer.pipeline.analysis import Analysis
from columnminer.pipeline.overview import load_overview
from columnminer.pipeline.results import agreement, load_limits, profile_intervals, save_limits
from columnminer.pipeline.steps import Running
from columnminer.store.eventstore import EventStore

SMALL = """\
seed: 3
generate:
  drellyan: {events: {sm: 5000}}
samples:
  - {path: data.lhe, data: true}
sampling:
  ratio: {theta0: {flat: {c_ll: [-0.05, 0.05], c_lr: [-0.05, 0.05]}}, n: 3000, n_theta: 30}
  local: {theta: sm, n: 2000}
estimators:
  alices: {method: alices, hidden: [8], epochs: 1}
  sally: {method: sally, hidden: [8], epochs: 1}
limits:
  luminosity: 1000
  theta_true: sm
  grid: {c_ll: [-0.1, 0.1, 7], c_lr: [-0.1, 0.1, 7]}
  estimators: [alices]
  histograms: {mass: {observables: m_ll, bins: 5}, local: {score: sally, bins: 3}}
  rate: true
information:
  luminosity: 1000
  theta: sm
  estimators: [sally]
report:
  labels: {m_ll: "m(ll) [GeV]"}
"""
QUIET = Running(progress=False)

# The trainings here are of one epoch, and their estimators wrong: that checks find it is tested below.
pytestmark = pytest.mark.filterwarnings(  # few points of training, few epochs
    "ignore:the estimator is not right", "ignore:this .* failed checks", "ignore:.*lie outside those of the training"
)


def write(folder, text=SMALL, **changes):
    """Write an analysis file with some values changed, named by their path ("limits.luminosity")."""
    document = yaml.safe_load(text)
    for path, value in changes.items():
        *parents, last = path.split("__")
        section = document
        for key in parents:
            section = section[int(key) if isinstance(section, list) else key]
        if value is None:
            del section[last]
        else:
            section[last] = value
    folder.mkdir(exist_ok=True)
    DrellYan().write_lhe(folder / "data.lhe", 80, [0.02, 0.0], seed=5, replace=True)
    path = folder / "analysis.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def pending(analysis):
    return {stage.name for stage in analysis.stages if not analysis.workspace.is_done(stage)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of the small analysis; tests that change its folder work on copies."""
    folder = tmp_path_factory.mktemp("run")
    analysis = Analysis(write(folder), folder / "out", QUIET)
    results = analysis.run()
    return folder, analysis, results


def test_every_stage_leaves_its_output(finished):
    folder, analysis, results = finished
    assert [s.name for s in analysis.stages] == [
        "setup",
        "generate",
        "events",
        "observed",
        "sampling/ratio",
        "sampling/local",
        "estimators/alices",
        "estimators/sally",
        "limits/alices",
        "observed_limits/alices",
        "limits/mass",
        "observed_limits/mass",
        "limits/local",
        "observed_limits/local",
        "limits/rate",
        "observed_limits/rate",
        "information/sally",
        "information/truth",
        "information/rate",
        "overview",
        "report",
    ]
    assert pending(analysis) == set()
    assert len(results.store) == 5000
    assert list(results.limits) == ["alices", "mass", "local", "rate"]
    assert list(results.observed_limits) == ["alices", "mass", "local", "rate"]
    assert list(results.information) == ["sally", "truth", "rate"]
    assert (folder / "out" / "report" / "report.html").is_file()


def test_results_are_those_of_the_python_calls(finished):
    folder, _, results = finished
    store = EventStore(folder / "out" / "events" / "events.zarr")
    grid = Grid([(-0.1, 0.1, 7)] * 2)
    estimator = load_estimator(folder / "out" / "estimators" / "alices" / "estimator")
    direct = expected_limits(store, estimator, "sm", grid, 1000.0)
    assert np.array_equal(results.limits["alices"].log_ratio, direct.log_ratio)
    assert np.array_equal(results.limits["alices"].p_value, direct.p_value)
    histogram = expected_limits(store, "m_ll", "sm", grid, 1000.0, bins=5)
    assert np.array_equal(results.limits["mass"].log_ratio, histogram.log_ratio)
    assert np.array_equal(results.limits["mass"].best_fit, histogram.best_fit)


def test_estimators_keep_their_checks_and_the_report_shows_them(finished):
    folder, analysis, results = finished
    assert not all(check.passed for check in results.checks["alices"])
    assert [check.name for check in results.checks["sally"]][:2] == ["mean score of c_ll", "mean score of c_lr"]
    text = (folder / "out" / "report" / "report.html").read_text(encoding="utf-8")
    assert "<td>reweighting closure</td>" in text
    assert "<td><strong>FAILED</strong></td>" in text
    stage = next(stage for stage in analysis.stages if stage.name == "limits/alices")
    with pytest.warns(CheckWarning, match="this RatioEstimator failed checks: "):
        stage.make(folder)


def test_the_report_says_what_was_found(finished):
    folder, _, results = finished
    text = (folder / "out" / "report" / "report.html").read_text(encoding="utf-8")
    for heading in ("Results", "Set-up", "Events", "Estimators", "Limits", "Information", "Provenance"):
        assert f"<h2>{heading}</h2>" in text
    assert results.store.hash in text
    # morphing, three distributions, two trainings, their checks, observed and expected limits, information
    assert text.count("<img ") == 11
    assert "https://" not in text
    assert str(folder) not in text
    assert "5,000 of 5,000 simulated events were selected. 80 recorded events were selected." in text
    assert "Do not trust alices" in text
    assert text.count("Cut flow: events left after each step") == 2, "of simulated and of recorded events"
    assert ">5000 (100.0%)</td>" in text
    assert "effective events" in text
    assert '<td>all that has none of its own</td><td class="n">3</td>' in text
    assert f"<td>numpy</td><td>{np.__version__}</td>" in text
    best = results.limits["mass"].best_fit
    assert f'<td>mass</td><td class="n">{best[0]:.4g}</td><td class="n">{best[1]:.4g}</td>' in text
    assert "luminosity: 1000" in text, "the analysis file itself"


@pytest.mark.parametrize("width", [1280, 420])
def test_a_browser_shows_the_report(finished, tmp_path, width):
    folder, _, _ = finished
    page = seen(folder / "out" / "report" / "report.html", tmp_path, width)
    assert len(page.pictures) == 11
    assert all(page.pictures)
    assert page.fetched == []
    assert page.width <= page.window, "wide tables scroll by themselves"


def test_running_again_does_nothing(finished, caplog):
    folder, _, _ = finished
    before = {p: p.stat().st_mtime_ns for p in (folder / "out").rglob("*") if p.is_file()}
    with caplog.at_level(logging.INFO, logger="columnminer"):
        Analysis(folder / "analysis.yaml", folder / "out", QUIET).run()
    assert sum("kept" in message for message in caplog.messages) == 21
    after = {p: p.stat().st_mtime_ns for p in (folder / "out").rglob("*") if p.is_file()}
    assert {p: t for p, t in after.items() if p.name != "lock"} == {p: t for p, t in before.items() if p.name != "lock"}


LIMITS = {"limits/alices", "limits/mass", "limits/local", "limits/rate"}
OBSERVED = {f"observed_{name}" for name in LIMITS}
INFORMATION = {"information/sally", "information/truth", "information/rate"}
ESTIMATORS = {"estimators/alices", "estimators/sally"}
LEARNED = {"limits/alices", "observed_limits/alices"}
SCORE = {"estimators/sally", "limits/local", "observed_limits/local", "information/sally"}
EVENTS = {"events", "sampling/ratio", "sampling/local", "overview", *ESTIMATORS, *LIMITS, *OBSERVED, *INFORMATION}


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"report__title": "another"}, set()),
        ({"report__thetas": {"SM": "sm"}}, {"overview"}),
        ({"information__luminosity": 2000}, INFORMATION),
        ({"limits__luminosity": 2000}, LIMITS | OBSERVED),
        ({"limits__histograms__mass__bins": 6}, {"limits/mass", "observed_limits/mass"}),
        ({"limits__rate": None}, set()),
        ({"limits__cuts": ["m_ll > 600"]}, LIMITS | OBSERVED),
        ({"estimators__alices__epochs": 2}, {"estimators/alices", *LEARNED}),
        ({"estimators__sally__epochs": 2}, SCORE),
        ({"sampling__ratio__n": 4000}, {"sampling/ratio", "estimators/alices", *LEARNED}),
        ({"sampling__local__seed": 9}, {"sampling/local", *SCORE}),
        ({"process": {"partition": [0.5, 0.2, 0.3]}}, {"observed", *EVENTS}),
        ({"generate__drellyan__events__sm": 6000}, {"generate", *EVENTS}),
        ({"generate__drellyan__mass_range": [600, 2000]}, {"generate", *EVENTS}),
        ({"seed": 4}, {"generate", "observed", *EVENTS}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_change_asks_only_for_what_depends_on_it(finished, tmp_path, change, again):
    folder, _, _ = finished
    shutil.copytree(folder / "out", tmp_path / "out")
    analysis = Analysis(write(tmp_path, **change), tmp_path / "out", QUIET)
    assert pending(analysis) == again | {"report"}


def test_a_changed_data_file_asks_for_what_depends_on_it(finished, tmp_path):
    folder, _, _ = finished
    shutil.copytree(folder / "out", tmp_path / "out")
    path = write(tmp_path)
    assert pending(Analysis(path, tmp_path / "out", QUIET)) == set(), "a copy elsewhere is the same file"
    DrellYan().write_lhe(tmp_path / "data.lhe", 80, [0.02, 0.0], seed=6, replace=True)
    assert pending(Analysis(path, tmp_path / "out", QUIET)) == {"observed", "report", *OBSERVED}


def test_a_blind_report_does_not_look_at_the_data(finished, tmp_path):
    folder, _, _ = finished
    shutil.copytree(folder / "out", tmp_path / "out")
    path = write(tmp_path, report__blind=True)
    (tmp_path / "data.lhe").write_text("nobody reads this")
    analysis = Analysis(path, tmp_path / "out", QUIET)
    assert not any(stage.name.startswith("observed") for stage in analysis.stages)
    assert analysis.run().observed_limits == {}
    text = (tmp_path / "out" / "report" / "report.html").read_text(encoding="utf-8")
    assert "Blinded: recorded events were not looked at." in text
    assert "Observed" not in text


def test_results_do_not_depend_on_where_and_how_often_it_ran(finished, tmp_path):
    folder, _, results = finished
    path = write(tmp_path)
    first = Analysis(path, tmp_path / "out", QUIET)
    for stage in first.stages[:5]:
        first.workspace.run(stage)
    again = Analysis(path, tmp_path / "out", QUIET).run()
    assert again.store.hash == results.store.hash
    for name, limits in results.limits.items():
        assert np.array_equal(again.limits[name].log_ratio, limits.log_ratio), name
    here, there = (f / "out" / "sampling" / "ratio" / "stage.json" for f in (folder, tmp_path))
    assert json.loads(here.read_text()) == json.loads(there.read_text())


def test_without_an_event_file_there_is_an_exact_likelihood(tmp_path):
    path = write(tmp_path, samples=None, limits__exact=True, information__exact=True)
    results = Analysis(path, tmp_path / "out", QUIET).run()
    assert set(results.agreements) == {"alices", "sally"}
    exact = results.agreements["alices"].exact
    store = results.store
    estimator = load_estimator(tmp_path / "out" / "estimators" / "alices" / "estimator")
    assert exact.shape[0] == 25
    assert results.agreements["alices"].rms == pytest.approx(
        np.sqrt(np.mean((results.agreements["alices"].estimated - exact) ** 2))
    )
    assert estimator.store_hash == store.hash
    # What a thousand events know of the couplings is what the exact score says of these events.
    tested = np.concatenate([block.x for block in store.blocks("test")])
    score = DrellYan().score(tested, np.zeros(2))
    xsec, slope = store.xsec("sm", partition="test").value[0], store.xsec_gradients("sm", partition="test")[0]
    expected = 1000.0 * (np.outer(slope, slope) / xsec + xsec * score.T @ score / len(score))
    assert results.information["exact"].information == pytest.approx(expected, rel=1e-9)
    # The best fit of the exact likelihood to Asimov data of the SM is the SM, up to the size of the sample.
    assert np.abs(results.limits["exact"].best_fit).max() <= 0.2 / 6 + 1e-12


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_as_an_undisturbed_one(finished, tmp_path):
    _, _, results = finished
    path = write(tmp_path)
    code = "import sys; from columnminer.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "run", str(path), "--out", str(tmp_path / "out")]
    rng = np.random.default_rng(1)
    for _ in range(8):
        run = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        run.stderr.readline()  # it has begun
        time.sleep(rng.uniform(0.0, 1.5))
        run.kill()
        run.communicate()
    again = Analysis(path, tmp_path / "out", QUIET).run()
    assert again.store.hash == results.store.hash
    for name, limits in results.limits.items():
        assert np.array_equal(again.limits[name].log_ratio, limits.log_ratio), name
    assert not list((tmp_path / "out" / ".columnminer" / "partial").glob("**/*.npz"))


# What is wrong with a file is said before anything runs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"limits__gird": {}}, r"analysis\.yaml:\d+: limits\.gird: unknown key 'gird'\. Did you mean 'grid'\?"),
        ({"limits__theta_true": "c_ll_pls"}, r"limits\.theta_true: no benchmark .* Did you mean 'c_ll_plus'\?"),
        ({"limits__grid": {"c_ll": [0, 1, 3]}}, r"limits\.grid: .*'c_lr'"),
        ({"limits__grid__c_ll": [1, 0, 5]}, r"limits\.grid: a range of a grid is \(low, high"),
        ({"information__theta": "c_ll_plus"}, r"information\.theta: 'sally' knows the score at sampling\.local\.theta"),
        ({"limits__estimators": ["alice"]}, r"limits\.estimators\[0\]: no estimator .* Did you mean 'alices'\?"),
        (
            {"limits__estimators": ["sally"]},
            r"limits\.estimators\[0\]: 'sally' knows a score, not ratios: take it in limits\.projections",
        ),
        (
            {"limits__histograms__mass__observables": "m_l"},
            r"limits\.histograms\.mass: .*'m_l'.* Did you mean 'm_ll'\?",
        ),
        ({"limits__histograms__local__score": "sall"}, r"score: no score estimator .* Did you mean 'sally'\?"),
        ({"limits__histograms__mass__score": "sally"}, r"give either observables"),
        ({"limits__histograms": {"rate": {"observables": "m_ll"}}}, r"'rate' is the name of another result"),
        ({"limits__exact": True}, r"limits\.exact: the exact likelihood is known only for events of 'generate' alone"),
        ({"estimators__alices__features": ["m_lll"]}, r"estimators\.alices\.features: .* Did you mean 'm_ll'\?"),
        ({"estimators__alices__method": "alicess"}, r"'alicess' is not known here\. Did you mean 'alices'\?"),
        ({"estimators": {"../up": {"method": "sally"}}}, r"estimators\.\.\./up: .*pattern"),
        ({"sampling__local": None}, r"sally\.method: method 'sally' of kind 'score' needs the section sampling\.local"),
        ({"sampling__ratio__theta0": {"flat": {"cll": [0, 1], "c_lr": [0, 1]}}}, r"theta0: .*Did you mean 'c_ll'\?"),
        ({"sampling__ratio__theta0": {}}, r"theta0: give one of flat"),
        ({"generate__drellyan__events": {"smm": 10}}, r"generate\.drellyan: no benchmark is called 'smm'"),
        ({"generate__drellyan__couplings": ["c_xx"]}, r"generate\.drellyan: .*'c_xx'"),
        ({"samples": [{"path": "missing_*.lhe", "data": True}]}, r"samples\[0\]: there is no file '.*missing_\*\.lhe'"),
        ({"samples": [{"path": "data.lhe"}]}, r"samples\[0\]: sample 'data': give exactly one of benchmark="),
        ({"samples": [{"path": "data.lhe", "benchmark": "sm"}]}, r"samples\[0\]: another sample is called 'sm'"),
        ({"samples": [{"path": "data.lhe", "benchmark": "x"}]}, r"samples\[0\]: no benchmark is called 'x'"),
        ({"selection": {"observables": {"x": "mu[0].ptt"}}}, r"selection: .*ptt.* Did you mean 'pt'\?"),
        (
            {"selection": {"observables": {"x": "mu[0].pt"}, "detector": {"pt_mn": {"mu": 20}}}},
            r"Did you mean 'pt_min'\?",
        ),
        (
            {"setup": {"parameters": {"a": {}}, "benchmarks": {}}},
            r"setup: the built-in generator brings its own set-up",
        ),
        ({"generate": None}, r"the key 'setup' is missing: without 'generate'"),
        ({"limits__cuts": ["m_l > 600"]}, r"limits\.cuts, efficiencies: .*'m_l'.* Did you mean 'm_ll'\?"),
        (
            {"process": {"mixing": "balanced"}},
            r"process\.mixing: 'balanced' is not known here\. Did you mean 'balance'",
        ),
        ({"report__observables": ["pt"]}, r"report\.observables: no observable is called 'pt'"),
    ],
    ids=lambda value: str(value)[:50] if isinstance(value, dict) else "",
)
def test_mistakes_are_named_before_anything_runs(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        Analysis(write(tmp_path, **changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_output_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("...")
    with pytest.raises(OutputExistsError, match="did not write"):
        Analysis(write(tmp_path), tmp_path / "out")


# What is read off results


def gaussian_limits(information, best, n=25, reach=1.0):
    axis = np.linspace(-reach, reach, n)
    points = np.stack([m.ravel() for m in np.meshgrid(axis, axis, indexing="ij")], axis=1)
    offsets = points - best
    log_ratio = -0.5 * np.einsum("ni,ij,nj->n", offsets, information, offsets)
    log_ratio -= log_ratio.max()
    return Limits(
        parameter_names=("a", "b"),
        theta=points,
        log_ratio=log_ratio,
        log_ratio_kinematic=log_ratio,
        log_ratio_rate=np.zeros_like(log_ratio),
        p_value=chi2.sf(-2 * log_ratio, 2),
        dof=2,
        best_fit_index=int(log_ratio.argmax()),
        grid=Grid([(-reach, reach, n)] * 2, ("a", "b")),
    )


def test_intervals_of_a_gaussian_likelihood():
    limits = gaussian_limits(np.diag([25.0, 4.0]), np.array([0.25, 0.0]))
    a68, a95, b68, b95 = profile_intervals(limits)
    for interval, sigma, best in ((a68, 0.2, 0.25), (a95, 0.2, 0.25), (b68, 0.5, 0.0)):
        half = np.sqrt(chi2.ppf(interval.level, 1)) * sigma
        assert np.allclose(interval.pieces, [(best - half, best + half)], rtol=1e-3)
        assert interval.best_fit == pytest.approx(best, abs=0.01)
    assert (a68.parameter, b95.parameter) == ("a", "b")
    assert str(b95) == "[-0.98, 0.98]"
    open_ended = profile_intervals(gaussian_limits(np.diag([0.1, 0.1]), np.zeros(2)))[0]
    assert str(open_ended) == "[< -1, > 1]"


def test_intervals_may_have_two_pieces():
    limits = gaussian_limits(np.eye(2), np.zeros(2))
    log_ratio = -200 * (limits.theta[:, 0] ** 2 - 0.25) ** 2 - 10 * limits.theta[:, 1] ** 2
    two = Limits(**{**vars(limits), "log_ratio": log_ratio - log_ratio.max()})
    (low, high) = profile_intervals(two, [0.68])[0].pieces
    assert low[0] < -0.5 < low[1] < 0 < high[0] < 0.5 < high[1]


def test_limits_come_back_as_they_were(tmp_path):
    limits = gaussian_limits(np.diag([25.0, 4.0]), np.array([0.25, 0.0]), n=9)
    save_limits(limits, tmp_path)
    again = load_limits(tmp_path)
    assert again.grid == limits.grid
    for name in ("theta", "log_ratio", "p_value", "best_fit"):
        assert np.array_equal(getattr(again, name), getattr(limits, name))


def test_agreement_of_known_numbers():
    exact = np.array([[0.0, 1.0], [2.0, 3.0]])
    assert agreement("x", exact, exact + 0.5).rms == 0.5
    assert agreement("x", exact, -exact).correlation == pytest.approx(-1.0)


def test_the_overview_adds_up_to_the_store(finished):
    folder, _, results = finished
    overview = load_overview(folder / "out" / "overview")
    store = results.store
    weights = store.event_weights("sm")[0]
    assert overview.cross_section["sm"] == pytest.approx(weights.sum())
    assert overview.n_effective["sm"] == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    histogram = overview.distributions["m_ll"]["sm"]
    edges = histogram.axes[0].edges
    values = store.observables[:, store.observable_index("m_ll")]
    counts, _ = np.histogram(values, bins=edges, weights=weights)
    assert histogram.values() == pytest.approx(counts)
    assert histogram.values().sum() > 0.99 * weights.sum()
