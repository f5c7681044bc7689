"""What an analysis file can train: every kind of estimator, ensembles, calibration, nuisance parameters."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import yaml

from columnminer.documents import check_document
from columnminer.errors import ColumnMinerWarning, InputError, UnknownNameError
from columnminer.generate.drellyan import DrellYan
from columnminer.infer.limits import Grid, expected_limits
from columnminer.learn.calibration import CalibratedRatio
from columnminer.learn.ensembles import Ensemble
from columnminer.learn.estimators import load_estimator, trained_members
from columnminer.pipeline.analysis import Analysis
from columnminer.pipeline.configuration import AnalysisConfig
from columnminer.pipeline.describe import describe
from columnminer.pipeline.learning import Draws, _parted
from columnminer.pipeline.reporting import load_results
from columnminer.pipeline.results import Spread, load_spread, save_spread
from columnminer.pipeline.steps import Running
from columnminer.sample.samples import Samples
from columnminer.store.eventstore import EventStore
from columnminer.store.samplestore import SampleStore

# The trainings here are of one epoch, and their estimators wrong.
pytestmark = pytest.mark.filterwarnings(
    "ignore:the estimator is not right",
    "ignore:this .* failed checks",
    "ignore:.*lie outside those of the training",
    "ignore:.*the estimated densities of",
)
QUIET = Running(progress=False)
PRIOR = {"flat": {"c_ll": [-0.1, 0.1], "c_lr": [-0.1, 0.1]}}
FEW = {"n": 1200, "n_theta": 20}
FAST = {"hidden": [6], "epochs": 1}
KINDS = {
    "ratio": {"method": "cascal", "activation": "prelu", "patience": 1, "clip_gradient": 1.0, "memory": 1e6},
    "quadratic": {"kind": "quadratic", "method": "alice"},
    "morphing": {"kind": "morphing", "optimise_basis": True},
    "double": {"kind": "double", "method": "rascal", "weight_decay": 0.01},
    "score": {"method": "sallino", "dropout": 0.1},
    "density": {"method": "nde", "flow": "spline", "base": "mixture", "n_transforms": 1, "n_bins": 3},
    "crowd": {
        "method": "alice",
        "limit": 1000,
        "ensemble": {"members": 3, "bootstrap": True, "votes": {"strength": 5}},
        "calibration": {"method": "isotonic", "n": 600},
    },
    "mixed": {
        "method": "sally",
        "ensemble": {"members": [{"hidden": [4]}, {"activation": "rrelu"}], "votes": [1, 3]},
    },
    "flows": {"kind": "density", "method": "scandal", "n_transforms": 1, "ensemble": {"members": 2}},
    "doubles": {"kind": "double", "method": "alice", "ensemble": {"members": 2, "votes": {"strength": 1}}},
    "normalised": {"method": "carl", "calibration": "normalisation"},
}
CLASSES = {
    "ratio": "RatioEstimator",
    "quadratic": "QuadraticRatioEstimator",
    "morphing": "MorphingRatioEstimator",
    "double": "DoubleRatioEstimator",
    "score": "ScoreEstimator",
    "density": "DensityEstimator",
    "crowd": "RatioEstimator",
    "mixed": "ScoreEstimator",
    "flows": "DensityEstimator",
    "doubles": "DoubleRatioEstimator",
    "normalised": "RatioEstimator",
}
SCORES = ("score", "mixed")
DOCUMENT = {
    "seed": 2,
    "generate": {"drellyan": {"events": {"sm": 4400}}},
    "sampling": {
        "ratio": {**FEW, "theta0": PRIOR, "dtype": "float64"},
        "double_ratio": {**FEW, "theta0": PRIOR, "theta1": PRIOR},
        "local": {"n": 1200, "theta": "sm"},
        "density": {**FEW, "theta": PRIOR, "partition": "validation", "negative_weights": "keep"},
    },
    "estimators": {name: {**FAST, **options} for name, options in KINDS.items()},
    "limits": {
        "luminosity": 1000,
        "theta_true": [0.02, 0.0],
        "grid": {"c_ll": [-0.1, 0.1, 3], "c_lr": [-0.1, 0.1, 3]},
        "estimators": [name for name in KINDS if name not in SCORES],
        "projections": {"sallino": {"score": "score", "n_bins": 5}},
    },
    "information": {"luminosity": 1000, "theta": "sm", "estimators": list(KINDS)},
}


def write(folder, document=DOCUMENT):
    folder.mkdir(exist_ok=True)
    path = folder / "analysis.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    analysis = Analysis(write(folder), folder / "out", QUIET)
    for stage in analysis.stages[:-1]:  # drawing all of these takes longer than making them
        analysis.workspace.run(stage)
    return folder, load_results(analysis.workspace.folder, [stage.name for stage in analysis.stages])


def estimator_folder(folder, name):
    return folder / "out" / "estimators" / name / "estimator"


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_runs_from_the_file_to_its_results(finished, name):
    folder, results = finished
    estimator = load_estimator(estimator_folder(folder, name))
    members = trained_members(estimator)
    assert {type(member).__name__ for member in members} == {CLASSES[name]}
    method = KINDS[name].get("method", "alices")
    assert {member.fitted.training["method"] for member in members} == {method}
    assert [str(check) for check in estimator.checks] == [str(check) for check in results.checks[name]] != []
    assert results.agreements[name].quantity == ("score" if name in SCORES else "log likelihood ratio")
    assert np.isfinite(results.agreements[name].estimated).all()
    assert np.isfinite(results.information[name].information).all()
    assert (name in results.limits) == (name not in SCORES)
    if name not in SCORES:
        assert np.isfinite(results.limits[name].log_ratio_kinematic).all()
        assert np.ptp(results.limits[name].log_ratio_kinematic) > 0
    assert not list(estimator_folder(folder, name).parent.glob("checkpoint*"))


def test_settings_arrive(finished):
    folder, _ = finished
    ratio = load_estimator(estimator_folder(folder, "ratio"))
    assert (ratio.hidden, ratio.activation) == ((6,), "prelu")
    assert load_estimator(estimator_folder(folder, "morphing")).optimise_basis
    assert load_estimator(estimator_folder(folder, "score")).dropout == 0.1
    flow = load_estimator(estimator_folder(folder, "density"))
    assert (flow.flow, flow.base, flow.n_transforms, flow.n_bins) == ("spline", "mixture", 1, 3)
    assert flow.partition == "validation"
    samples = Samples.of(SampleStore(folder / "out" / "sampling" / "ratio" / "samples.zarr"))
    assert samples.x.dtype == np.float64


def test_ensembles_vote_and_are_calibrated(finished):
    folder, results = finished
    mixed = load_estimator(estimator_folder(folder, "mixed"))
    assert isinstance(mixed, Ensemble)
    assert [member.hidden for member in mixed.members] == [(4,), (6,)]
    assert [member.activation for member in mixed.members] == ["tanh", "rrelu"]
    assert mixed.votes.tolist() == [0.25, 0.75]
    crowd = load_estimator(estimator_folder(folder, "crowd"))
    assert isinstance(crowd, CalibratedRatio)
    assert isinstance(crowd.estimator, Ensemble)
    assert len(crowd.estimator) == 3
    assert len(set(crowd.estimator.votes.tolist())) == 3
    assert crowd.calibrated_on[1] == "validation, tuning"
    assert 0 < len(crowd.events) < 600, "those of the denominator, and not those of the checks"
    single = load_estimator(estimator_folder(folder, "normalised"))
    assert single.curve is None
    assert set(results.spreads) == {"crowd", "mixed", "flows", "doubles"}
    x, theta0 = np.array([[600.0, 0.1, 0.2]]), np.array([0.05, 0.0])
    spread = np.sqrt(crowd.estimator.log_ratio_variance(x, theta0))
    assert spread > 0
    assert 0 < results.spreads["crowd"].rms < 10


def test_limits_of_free_ratios_are_those_of_the_python_calls(finished):
    folder, results = finished
    store, grid = EventStore(folder / "out" / "events" / "events.zarr"), Grid([(-0.1, 0.1, 3)] * 2)
    for name in ("double", "flows"):
        ratio = load_estimator(estimator_folder(folder, name)).ratio_to([0.02, 0.0])
        direct = expected_limits(store, ratio, [0.02, 0.0], grid, 1000.0)
        np.testing.assert_array_equal(results.limits[name].log_ratio, direct.log_ratio)


@pytest.mark.filterwarnings("default:.*lie outside those of the training")
def test_the_report_shows_estimators_ensembles_and_warnings(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder / "out", tmp_path / "out")
    names, wide = ("quadratic", "crowd"), {"c_ll": [-1, 1, 3], "c_lr": [-1, 1, 3]}
    limits = {"luminosity": 1000, "theta_true": "sm", "grid": wide, "estimators": ["quadratic"]}
    chosen = {name: DOCUMENT["estimators"][name] for name in names}
    document = {**DOCUMENT, "estimators": chosen, "limits": limits, "information": None}
    with pytest.warns(ColumnMinerWarning, match="lie outside those of the training"):
        results = Analysis(write(tmp_path, document), tmp_path / "out", QUIET).run()
    assert list(results.warnings) == ["limits/quadratic"]
    text = (tmp_path / "out" / "report" / "report.html").read_text(encoding="utf-8")
    for words in (
        "loss on validation events of its 3 members",
        "how much its members differ",
        "curve with ",
        "normalised on ",
        "effective events, least",
        "negative weights",
        "<td>QuadraticRatioEstimator</td>",
        "<h2>Warnings</h2>",
        "lie outside those of the training",
    ):
        assert words in text, words


@pytest.mark.parametrize("name", ["double", "crowd", "mixed", "density"])
def test_inspect_describes_every_kind(finished, name):
    facts, networks, *checks = describe(estimator_folder(finished[0], name))
    said = dict(facts.rows)
    assert said["checks"].startswith(f"{sum(len(table.rows) for table in checks)} made")
    assert CLASSES[name] in said["kind"]
    assert len(networks.rows) == int(said["networks"]) == {"crowd": 3, "mixed": 2}.get(name, 1)
    assert ("calibration" in said) == (name == "crowd")
    assert [row[3] for row in networks.rows] == ["0.25", "0.75"] or name != "mixed"


def test_inspect_describes_what_was_drawn(finished):
    tables = describe(finished[0] / "out" / "sampling" / "density" / "samples.zarr")
    assert tables[1].rows[0][:4] == ["samples.zarr", "1200", "validation", "20"]
    assert tables[1].rows[0][-1] == "0.00%"


# Events that tune and events that check


def test_no_event_tunes_and_checks(finished):
    folder, _ = finished
    store = folder / "out" / "events" / "events.zarr"
    options = {"n": 3000, "n_theta": 5, "seed": 1}
    draws = Draws("ratio", store, {"theta0": [0.05, 0.0], "theta1": "sm"}, options, QUIET)
    drawn = draws.held_out(2500)
    assert (len(drawn), drawn.partition) == (2500, "validation")
    assert len(np.unique(drawn.x, axis=0)) < 2400, "events were drawn several times"
    tuning, checks = _parted(drawn, 0.4, seed=3)
    assert len(tuning) + len(checks) == 2500
    assert len(tuning) == pytest.approx(1000, abs=150)
    rows = [{row.tobytes() for row in part.x} for part in (tuning, checks)]
    assert not rows[0] & rows[1]
    halves = [{row.tobytes() for row in half} for half in np.split(drawn.x, 2)]
    assert halves[0] & halves[1], "parted by draw, they would share events"
    again, _ = _parted(drawn, 0.4, seed=3)
    np.testing.assert_array_equal(again.x, tuning.x)


def test_a_spread_comes_back_as_it_was(tmp_path):
    assert load_spread(tmp_path) is None
    spread = Spread("score", np.array([1.0, -1.0]), np.array([3.0, 4.0]))
    save_spread(spread, tmp_path)
    assert spread.rms == pytest.approx(np.sqrt(12.5))
    np.testing.assert_array_equal(load_spread(tmp_path).spread, [3.0, 4.0])


# Nuisance parameters


NUISANCE = {
    "seed": 2,
    "setup": {
        "parameters": {"c_ll": {"bounds": [-0.2, 0.2]}},
        "benchmarks": {"sm": {"c_ll": 0}},
        "systematics": {"luminosity": {"type": "normalisation", "size": 0.05}},
    },
    "samples": [{"path": "events.lhe", "benchmark": "sm", "systematics": ["luminosity"]}],
    "selection": {"observables": {"m_ll": {"formula": "(mu[0] + mu[1]).m", "required": True}}},
    "sampling": {
        "ratio": {
            "n": 200,
            "theta0": {"points": ["sm"]},
            "theta1": "sm",
            "nu0": {"gaussian": {"luminosity": [0, 1]}},
            "nuisance_score": False,
        }
    },
    "estimators": {"carl": {**FAST, "method": "carl"}},
}


def changed(document, path, value):
    """A copy with the value at a path ("sampling.ratio.n") replaced."""
    copy = json.loads(json.dumps(document))
    *parents, last = path.split(".")
    section = copy
    for key in parents:
        section = section[key]
    section[last] = value
    return copy


@pytest.mark.filterwarnings("ignore:.*fewer than 100 effective")
def test_nuisance_parameters_take_part_in_the_sampling(tmp_path):
    DrellYan().write_lhe(tmp_path / "events.lhe", 400, "sm", seed=1)
    for shown, names in ((True, ["c_ll", "luminosity"]), (False, ["c_ll"])):
        document = changed(NUISANCE, "sampling.ratio.nuisance_score", shown)
        analysis = Analysis(write(tmp_path, document), tmp_path / "out", QUIET)
        for stage in analysis.stages[:3]:
            analysis.workspace.run(stage)
        samples = SampleStore(tmp_path / "out" / "sampling" / "ratio" / "samples.zarr")
        assert samples.attributes["parameter_names"] == names
        if shown:
            nu = np.asarray(samples["theta0"][:])[:, 1]
            assert nu.std() == pytest.approx(1.0, abs=0.3)
            assert not np.asarray(samples["theta1"][:])[:, 1].any()


LIMITS = {"luminosity": 1, "theta_true": "sm", "grid": {"c_ll": [-0.1, 0.1, 3]}, "estimators": ["carl"]}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("sampling.ratio.nu0", {"gaussian": {"lumi": [0, 1]}}, r"sampling\.ratio\.nu0: .*'lumi'\. Known: luminosity"),
        (
            "sampling.ratio.nu0",
            {"points": [{"lum": 1}]},
            r"sampling\.ratio\.nu0: no nuisance parameter is called 'lum'",
        ),
        ("sampling.ratio.nu0", {}, r"nu0: give one of flat"),
        ("setup.systematics", {}, r"nu0: no nuisance parameter is called 'luminosity'"),
        ("estimators.carl.kind", "quadratic", r"carl\.kind: with nuisance parameters, cross sections are no polynom"),
    ],
)
def test_mistakes_about_nuisance_parameters_are_named(tmp_path, path, value, message):
    (tmp_path / "events.lhe").write_text("")
    with pytest.raises(InputError, match=message):
        Analysis(write(tmp_path, changed(NUISANCE, path, value)), tmp_path / "out")


def test_ratios_of_nuisance_parameters_give_limits():
    for shown in ("auto", False):
        document = {
            **changed(NUISANCE, "sampling.ratio.nuisance_score", shown),
            "limits": {**LIMITS, "nuisances": True},
        }
        check_document(yaml.safe_dump(document), AnalysisConfig)


def test_variations_of_the_selection_reach_the_store_and_the_limits(tmp_path):
    DrellYan(couplings=("c_ll",)).write_lhe(tmp_path / "events.lhe", 400, [0.0], seed=1)

    def selection(scale):
        return {"observables": {"m_ll": {"formula": f"{scale} * (mu[0] + mu[1]).m", "required": True}}}

    document = {
        "setup": {**NUISANCE["setup"], "systematics": {"scale": {"type": "selection"}}},
        "samples": [{"path": "events.lhe", "benchmark": "sm", "systematics": ["scale"]}],
        "selection": selection(1.0),
        "process": {"variations": {"scale": {"up": selection(1.05), "down": selection(0.95)}}},
        "report": {"title": "Scale"},
    }
    results = Analysis(write(tmp_path, document), tmp_path / "out", QUIET).run()
    up, down = results.store.varied("scale")
    nominal = results.store.observables[:, 0]
    np.testing.assert_allclose(up.observables[:, 0], 1.05 * nominal, rtol=1e-12)
    np.testing.assert_allclose(down.observables[:, 0], 0.95 * nominal, rtol=1e-12)
    wrong = changed(document, "process.variations", {"other": {"up": selection(1.0)}})
    with pytest.raises(UnknownNameError, match="no SelectionVariation called 'other'"):
        Analysis(write(tmp_path, wrong), tmp_path / "wrong", QUIET).run()


def test_learned_variations_reach_the_limits(tmp_path):
    DrellYan(couplings=("c_ll",)).write_lhe(tmp_path / "events.lhe", 700, "sm", seed=1)

    def selection(scale):
        return {"observables": {"m_ll": {"formula": f"{scale} * (mu[0] + mu[1]).m", "required": True}}}

    document = {
        "setup": {
            "parameters": {"c_ll": {"bounds": [-0.05, 0.05], "max_power": 2}},
            "benchmarks": {"sm": {"c_ll": 0}, "c_ll_plus": {"c_ll": 0.05}, "c_ll_minus": {"c_ll": -0.05}},
            "morphing": {"max_overall_power": 2},
            "systematics": {"scale": {"type": "selection"}},
        },
        "samples": [{"path": "events.lhe", "benchmark": "sm", "systematics": ["scale"]}],
        "selection": selection(1.0),
        "process": {"variations": {"scale": {"up": selection(1.05)}}},
        "sampling": {"ratio": {"n": 400, "theta0": {"flat": {"c_ll": [-0.05, 0.05]}}, "n_theta": 20}},
        "estimators": {
            "varied": {
                "hidden": [5],
                "epochs": 1,
                "calibration": "normalisation",
                "checks": {"n": 200, "closure": False},
                "variations": {
                    "names": ["scale"],
                    "hidden": [4, 4],
                    "epochs": 2,
                    "ensemble": {"members": 2, "bootstrap": True},
                },
            }
        },
        "limits": {**LIMITS, "estimators": ["varied"], "nuisances": True},
        "report": {"title": "Scale"},
    }
    results = Analysis(write(tmp_path, document), tmp_path / "out", QUIET).run()
    varied = results.estimators["varied"]
    assert varied.parameter_names == ("c_ll", "scale")
    assert [(v.name, v.two_sided) for v in varied.variations] == [("scale", False)]
    assert [(m.hidden, len(m.history.train_loss)) for m in varied.variations[0].estimator.members] == [((4, 4), 2)] * 2
    assert "reweighting closure" not in [check.name for check in varied.checks]
    assert tuple(results.limits["varied"].nuisances) == ("scale",)
    facts = dict(describe(tmp_path / "out" / "estimators" / "varied" / "estimator")[0].rows)
    assert facts["kind"] == "VariedRatio of CalibratedRatio of RatioEstimator"
    assert facts["reference"] == "c_ll = 0, scale = 0"
    for options, message in (
        ({"names": ["scle"]}, r"names\[0\]: no one of process\.variations is called 'scle'\. Did you mean 'scale'"),
        ({"flow": "maf"}, r"variations\.flow: an estimator of kind 'ratio' has no flow"),
        ({"ensemble": {"members": 2, "votes": [1, 2]}}, r"ensemble\.votes: each variation has classifiers of its own"),
    ):
        with pytest.raises(InputError, match=message):
            check_document(yaml.safe_dump(changed(document, "estimators.varied.variations", options)), AnalysisConfig)
    without = changed(document, "process.variations", {})
    with pytest.raises(InputError, match=r"varied\.variations: there are no variations to learn"):
        check_document(yaml.safe_dump(without), AnalysisConfig)
    wrong = changed(document, "estimators.varied", {"kind": "double", "variations": True})
    wrong = changed(wrong, "sampling.double_ratio", {"n": 40, **{t: {"points": ["sm"]} for t in ("theta0", "theta1")}})
    with pytest.raises(InputError, match=r"varied\.variations: variations are learned for ratios to one reference"):
        check_document(yaml.safe_dump(wrong), AnalysisConfig)


def test_options_of_limits_alone_are_refused_for_information():
    histograms = {"mass": {"observables": "m_ll", "bins": 5, "bins_at": "each"}}
    information = {"luminosity": 100.0, "theta": "sm", "histograms": histograms}
    with pytest.raises(InputError, match=r"histograms\.mass\.bins_at is for limits"):
        check_document(yaml.safe_dump({**NUISANCE, "information": information}), AnalysisConfig)


# What does not go together


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "estimators.score",
            {"kind": "score", "method": "alices"},
            r"score\.method: an estimator of kind 'score' is tr",
        ),
        ("estimators.ratio", {"kind": "ratio", "method": "sally"}, r"by carl or .* or alices, not 'sally'"),
        ("estimators.density", {"kind": "density", "method": "alice"}, r"density\.method: .* by nde or scandal"),
        ("estimators.ratio.kind", "quadrtic", r"ratio\.kind: 'quadrtic' is not known here\. Did you mean 'quadratic'"),
        ("estimators.ratio.n_transforms", 2, r"ratio\.n_transforms: an estimator of kind 'ratio' has no n_transforms"),
        ("estimators.density.dropout", 0.1, r"density\.dropout: an estimator of kind 'density' has no dropout"),
        ("estimators.double.optimise_basis", True, r"double\.optimise_basis: .* it is for morphing"),
        ("estimators.mixed.ensemble", {"members": [{}, {"flow": "maf"}]}, r"members\[1\]\.flow: .* has no flow"),
        ("estimators.mixed.ensemble.members", 1, r"mixed\.ensemble\.members: .*greater than 1"),
        ("estimators.mixed.ensemble.votes", [1], r"mixed\.ensemble\.votes: give one weight for each of 2 members"),
        ("estimators.mixed.ensemble.votes", {"strenth": 1}, r"votes\.strenth: unknown key .* Did you mean 'strength'"),
        ("estimators.flows.ensemble.votes", {"strength": 1}, r"flows\.ensemble\.votes: densities have no expectation"),
        ("estimators.double.calibration", "isotonic", r"double\.calibration: only ratios to one reference point are"),
        ("estimators.ratio.calibration", "isotone", r"ratio\.calibration: .*'isotone'"),
        (
            "sampling.double_ratio",
            None,
            r"double\.method: method 'rascal' of kind 'double' needs the section sampling\.",
        ),
        ("sampling.density.partition", "test", r"density\.partition: 'test' is not known here"),
        ("sampling.density.dtype", "float16", r"density\.dtype: 'float16' is not known here\. Did you mean 'float"),
        ("sampling.local.nu", {"flat": {"x": [0, 1]}}, r"sampling\.local\.nu: no nuisance parameter is called 'x'"),
        ("sampling.local.nuisance_score", True, r"sampling\.local\.nuisance_score: the set-up has no systematics"),
        ("limits.estimators", ["mixed"], r"limits\.estimators\[0\]: 'mixed' knows a score, not ratios: take it in lim"),
        (
            "limits.projections.sallino.score",
            "ratio",
            r"projections\.sallino\.score: no score estimator is called 'rat",
        ),
        (
            "limits.projections",
            {"ratio": {"score": "score"}},
            r"projections\.ratio: 'ratio' is the name of another res",
        ),
        ("limits.projections.sallino.theta_ref", "smm", r"limits\.projections\.sallino\.theta_ref: no benchmark is c"),
        ("estimators.mixed.ensemble", {"members": [{}, {"features": ["m"]}]}, r"members\[1\]\.features: no observable"),
    ],
)
def test_wrong_combinations_are_named_by_their_key(tmp_path, path, value, message):
    with pytest.raises(InputError, match=message):
        Analysis(write(tmp_path, changed(DOCUMENT, path, value)), tmp_path / "out")


def test_polynomial_estimators_need_morphing(tmp_path):
    (tmp_path / "events.lhe").write_text("")
    document = changed(NUISANCE, "sampling.ratio", {"n": 10, "theta0": {"points": ["sm"]}})
    document["estimators"] = {"morphed": {"kind": "morphing", "method": "alice"}}
    with pytest.raises(InputError, match=r"estimators\.morphed\.kind: 'morphing' needs a set-up with morphing"):
        Analysis(write(tmp_path, document), tmp_path / "out")
