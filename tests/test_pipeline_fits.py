"""Fits of an analysis file: the same numbers as from the Python calls, done again when asked otherwise."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from columnminer.errors import InputError
from columnminer.generate.drellyan import DrellYan
from columnminer.infer.asymptotics import cls_limit, discovery
from columnminer.infer.events import RecordedEvents
from columnminer.infer.fit import fit
from columnminer.infer.histogram import HistogramLikelihood
from columnminer.infer.intervals import confidence_interval
from columnminer.infer.neural import NeuralLikelihood
from columnminer.learn.estimators import load_estimator
from columnminer.pipeline.analysis import Analysis
from columnminer.pipeline.steps import Running
from columnminer.store.eventstore import EventStore
from columnminer.toys.neyman import NeymanThresholds, ThresholdCurve

QUIET = Running(progress=False)

# One epoch teaches an estimator little: that checks find it is tested elsewhere.
pytestmark = pytest.mark.filterwarnings(
    "ignore:the estimator is not right", "ignore:this .* failed checks", "ignore:.*lie outside those of the training"
)

TEXT = """\
seed: 3
generate:
  drellyan: {events: {sm: 4000}}
samples:
  - {path: data.lhe, data: true}
sampling:
  ratio: {theta0: {flat: {c_ll: [-0.05, 0.05], c_lr: [-0.05, 0.05]}}, n: 2000, n_theta: 20}
estimators:
  alices: {kind: quadratic, hidden: [4], epochs: 1, checks: {n: 500, closure: false}}
fits:
  mass:
    luminosity: 3000
    theta_true: {c_ll: 0.01, c_lr: 0}
    observables: m_ll
    bins: 8
    template_statistics: true
    intervals:
      - {parameter: c_ll, level: 0.68}
      - {parameter: c_lr, level: 0.95, kind: upper}
      - {parameter: c_ll, level: 0.9, threshold: thresholds.json}
    cls: [{parameter: c_ll, level: 0.9}]
    discovery: [{parameter: c_ll}]
    workspace: {theta: sm}
  learned: {luminosity: 3000, theta_true: sm, estimator: alices, fixed: {c_lr: 0}, options: {strategy: 0}}
  counted: {luminosity: 3000, theta_true: sm, fixed: {c_lr: 0}}
"""


def write(folder, **changes):
    """Write the analysis beside its data and thresholds, with changes of the fit of the mass."""
    document = yaml.safe_load(TEXT)
    document["fits"]["mass"] |= changes
    DrellYan().write_lhe(folder / "data.lhe", 60, [0.02, 0.0], seed=5, replace=True)
    nothing, n = np.full(2, np.nan), np.array([100, 100])
    curve = ThresholdCurve({}, np.array([-1.0, 1.0]), np.array([[4.0, 4.0]]), nothing[None], n, nothing)
    NeymanThresholds("c_ll", (0.9,), (curve,)).to_json(folder / "thresholds.json")
    (folder / "analysis.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return folder / "analysis.yaml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fits")
    return folder, Analysis(write(folder), folder / "out", QUIET).run()


def histogram(folder):
    store = EventStore(folder / "out" / "events" / "events.zarr")
    return HistogramLikelihood.from_store(store, "m_ll", 3000.0, bins=8, template_statistics=True)


def test_results_are_those_of_the_python_calls(finished):
    folder, found = finished
    model = histogram(folder)
    data = RecordedEvents(EventStore(folder / "out" / "observed" / "events.zarr"))
    for result, given in (
        (found.fits["mass"], model.asimov(c_ll=0.01, c_lr=0.0)),
        (found.observed_fits["mass"], data),
    ):
        known = model.with_data(given)
        best = fit(known)
        assert result.valid
        assert list(result.values.values()) == pytest.approx(best.values.tolist(), abs=1e-6)
        assert list(result.errors.values()) == pytest.approx(best.errors.tolist(), rel=1e-3)
        central, upper, neyman, cls, signal = result.answers
        interval = confidence_interval(known, "c_ll", level=0.68)
        assert (central.low, central.high) == pytest.approx((interval.lower, interval.upper), rel=1e-3, abs=1e-5)
        limit = confidence_interval(known, "c_lr", level=0.95, kind="upper")
        assert upper.low is None
        assert upper.high == pytest.approx(limit.upper, rel=1e-3)
        from_toys = confidence_interval(known, "c_ll", level=0.9, threshold=4.0)
        assert (neyman.low, neyman.high) == pytest.approx((from_toys.lower, from_toys.upper), rel=1e-2, abs=1e-4)
        bound = cls_limit(known, "c_ll", level=0.9)
        assert cls.high == pytest.approx(bound.observed, rel=1e-3)
        assert cls.expected == pytest.approx(bound.expected.tolist(), rel=1e-3)
        assert signal.significance == pytest.approx(discovery(known, "c_ll").significance, rel=1e-2, abs=1e-3)


def test_asimov_data_are_fitted_by_their_truth(finished):
    _, found = finished
    assert found.fits["mass"].values["c_ll"] == pytest.approx(0.01, abs=1e-3), "templates fluctuate, too"
    assert found.fits["counted"].values == {"c_ll": pytest.approx(0.0, abs=1e-4)}


def test_estimators_are_fitted_with_their_events(finished):
    folder, found = finished
    store = EventStore(folder / "out" / "events" / "events.zarr")
    estimator = load_estimator(folder / "out" / "estimators" / "alices" / "estimator")
    model = NeuralLikelihood.from_store(store, estimator, 3000.0)
    best = fit(model.with_data(model.asimov(c_ll=0.0, c_lr=0.0)).fix(c_lr=0.0), strategy=0)
    assert found.fits["learned"].values["c_ll"] == pytest.approx(best.values[0], rel=1e-3, abs=1e-5)


def test_the_workspace_is_that_of_the_histogram(finished):
    pyhf = pytest.importorskip("pyhf")
    folder, _ = finished
    document = json.loads((folder / "out" / "fits" / "mass" / "workspace.json").read_text())
    workspace = pyhf.Workspace(document)
    model = histogram(folder)
    expected = model.expected(c_ll=0.01, c_lr=0.0)
    assert workspace.data(workspace.model(), include_auxdata=False) == pytest.approx(expected.tolist())


def test_the_report_and_the_command_line_show_them(finished):
    folder, found = finished
    text = (folder / "out" / "report" / "report.html").read_text(encoding="utf-8")
    assert "Best fits to the data." in text
    assert "Intervals, limits and significances from Asimov data." in text
    assert "CLs limit" in text
    assert f"<td>{found.fits['mass'].answers[-1].significance:.3g} standard deviations</td>" in text


def test_a_change_of_a_fit_asks_for_that_fit_alone(finished, tmp_path):
    folder, _ = finished
    (tmp_path / "out").symlink_to(folder / "out")
    analysis = Analysis(write(tmp_path, luminosity=2000), tmp_path / "out", QUIET)
    # The data lie elsewhere, but are the same; so are the thresholds.
    pending = {stage.name for stage in analysis.stages if not analysis.workspace.is_done(stage)}
    assert pending == {"fits/mass", "observed_fits/mass", "report"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimator": "alices"}, r"fits\.mass\.observables: either estimator or observables says how .* not both"),
        ({"observables": None, "estimator": "alices"}, r"bins is for histograms"),
        ({"score": "alices", "observables": None}, r"fits\.mass\.score: no score estimator is called 'alices'"),
        ({"observables": "m_l"}, r"fits\.mass\.observables: .*'m_l'.* Did you mean 'm_ll'"),
        ({"theta_true": "s"}, r"fits\.mass\.theta_true: .*'s'.* Did you mean 'sm'"),
        ({"intervals": [{"parameter": "c_lll"}]}, r"fits\.mass: no parameter is called 'c_lll'\. Did you mean 'c_ll'"),
        (
            {"intervals": [{"parameter": "c_ll", "threshold": "none.json"}]},
            r"fits\.mass: there is no file of thresholds '.*none\.json'",
        ),
        ({"options": {"method": "migrat"}}, r"options\.method: 'migrat' is not known here\. Did you mean 'migrad'"),
        ({"partition": ["train", "tset"]}, r"partition\[1\]: 'tset' is not known here\. Did you mean 'test'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_mistakes_are_named_before_anything_runs(tmp_path, changes, message):
    path = write(tmp_path, **changes)
    with pytest.raises(InputError, match=message):
        Analysis(path, tmp_path / "out")
