"""Models that MadMiner has saved say here what they say there (numbers and recipe in tests/data/madminer_models)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from analytic_store import analytic_store

from columnminer import NormalisationUncertainty, Parameter, Setup, import_madminer_estimator, load_estimator
from columnminer.errors import FileFormatError, InputError, MissingError
from columnminer.learn.activations import ACTIVATIONS
from columnminer.learn.ensembles import Ensemble
from columnminer.learn.estimators import DoubleRatioEstimator, RatioEstimator, ScoreEstimator
from columnminer.learn.madminer_flows import MadMinerDensityEstimator

OBSERVABLES = ("pt", "phi", "eta")
ABOUT = {"observable_names": OBSERVABLES, "parameter_names": ("cg", "cu"), "reference": [0.0, 0.0]}
NAMES = ("tanh", "relu", "sigmoid", "lrelu", "rrelu", "elu", "selu", "softplus", "log_sigmoid")


@pytest.fixture(scope="module")
def models(data):
    return data / "madminer_models"


@pytest.fixture(scope="module")
def expected(models):
    def arrays(value):
        return {k: arrays(v) for k, v in value.items()} if isinstance(value, dict) else np.array(value)

    return arrays(json.loads((models / "expected.json").read_text()))


@pytest.fixture
def copied(models, tmp_path):
    """Copy the files of one model; with new settings, or without some of them."""

    def copy(name, *, without=(), **settings):
        for file in models.glob(f"{name}_*"):
            if not any(part in file.name for part in without):
                shutil.copy(file, tmp_path)
        path = tmp_path / f"{name}_settings.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))
        return tmp_path / name

    return copy


def close(ours, theirs):
    """Float32 all the way: 1e-5 of each number, and of the largest where they cancel."""
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6 * np.abs(theirs).max())


def differ(ours, theirs):
    assert np.abs(ours - theirs).max() > 0.05 * np.abs(theirs).max()


def reloaded(estimator, folder):
    """Save and load, which must change nothing."""
    estimator.save(folder / "saved")
    again = load_estimator(folder / "saved", device="cpu")
    assert type(again) is type(estimator)
    assert again.parameter_names == estimator.parameter_names
    np.testing.assert_array_equal(again.reference, estimator.reference)
    return again


# Ratios ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_ratio_and_its_score_for_each_activation(copied, expected, name, tmp_path):
    if name not in ACTIVATIONS:
        pytest.skip(f"there is no activation {name} here")
    estimator = import_madminer_estimator(copied("ratio", activation=name), **ABOUT)
    assert isinstance(estimator, RatioEstimator)
    for each in (estimator, reloaded(estimator, tmp_path)):
        close(each.log_ratio(expected["x"], expected["theta0"]), expected["ratio"][name]["log_ratio"])
        close(each.score(expected["x"], expected["theta0"]), expected["ratio"][name]["score"])
    grid = estimator.log_ratio(expected["x"], expected["theta0"], pairing="grid")
    close(np.diagonal(grid), expected["ratio"][name]["log_ratio"])


def test_the_sigmoid_of_madminer_is_a_relu(expected):
    np.testing.assert_array_equal(expected["ratio"]["sigmoid"]["log_ratio"], expected["ratio"]["relu"]["log_ratio"])
    differ(expected["ratio"]["tanh"]["log_ratio"], expected["ratio"]["relu"]["log_ratio"])


@pytest.mark.parametrize("unscaled", ["x", "theta"])
def test_inputs_that_were_not_scaled(copied, expected, unscaled):
    theirs = expected["ratio"][f"without {unscaled}"]
    path = copied("ratio", without=(f"_{unscaled}_means", f"_{unscaled}_stds"), activation="relu")
    estimator = import_madminer_estimator(path, **ABOUT)
    assert estimator.scale_parameters is (unscaled == "x")
    close(estimator.log_ratio(expected["x"], expected["theta0"]), theirs["log_ratio"])
    close(estimator.score(expected["x"], expected["theta0"]), theirs["score"])
    if unscaled == "x":  # MadMiner without scale_inputs writes zeros and ones, one for each event
        np.save(f"{path}_x_means.npy", np.zeros(256))
        np.save(f"{path}_x_stds.npy", np.ones(256))
        again = import_madminer_estimator(path, **ABOUT)
        close(again.log_ratio(expected["x"], expected["theta0"]), theirs["log_ratio"])


@pytest.mark.parametrize("kind", ["ratio", "double", "flow"])
def test_with_another_scaling_of_theta_it_is_wrong(copied, expected, kind):
    path = copied(kind)
    for part in ("means", "stds"):
        values = np.load(f"{path}_theta_{part}.npy")
        np.save(f"{path}_theta_{part}.npy", values[::-1])
    estimator = import_madminer_estimator(path, **ABOUT)
    x, theta = expected["x"], expected["theta0"]
    if kind == "flow":
        differ(estimator.log_density(x, theta) + width(path), expected["flow"]["log_density"])
    elif kind == "ratio":
        differ(estimator.log_ratio(x, theta), expected["ratio"]["tanh"]["log_ratio"])
    else:
        differ(estimator.log_ratio(x, theta, expected["theta1"]), expected["double"]["log_ratio"])


def test_with_dropout_the_activation_acts_on_inputs_and_twice(models, expected, tmp_path):
    estimator = import_madminer_estimator(models / "dropout", **ABOUT)
    assert estimator.feature_names == ("eta", "pt")
    again = reloaded(estimator, tmp_path)
    x, theta = expected["x"], expected["theta0"]
    for each in (estimator, again):
        close(each.log_ratio(x, theta, names=OBSERVABLES), expected["dropout"]["log_ratio"])
        close(each.score(x, theta, names=OBSERVABLES), expected["dropout"]["score"])
    close(estimator.log_ratio(x[:, [2, 0]], theta), expected["dropout"]["log_ratio"])
    differ(estimator.log_ratio(x[:, [0, 2]], theta), expected["dropout"]["log_ratio"])


def test_a_double_ratio(models, expected, tmp_path):
    estimator = import_madminer_estimator(models / "double", **{**ABOUT, "reference": None})
    assert isinstance(estimator, DoubleRatioEstimator)
    np.testing.assert_allclose(estimator.reference, np.load(models / "double_theta_means.npy"))
    x, theta0, theta1 = (expected[name] for name in ("x", "theta0", "theta1"))
    unit = np.load(models / "double_theta_stds.npy")
    for each in (estimator, reloaded(estimator, tmp_path)):
        close(each.log_ratio(x, theta0, theta1), expected["double"]["log_ratio"])
        for ours, theirs in zip(each.scores(x, theta0, theta1), (1.0, -1.0), strict=True):
            close(ours * unit * theirs, expected["double"]["slope0" if theirs > 0 else "slope1"])
    np.testing.assert_allclose(
        estimator.log_ratio(x, theta1, theta0), -estimator.log_ratio(x, theta0, theta1), atol=1e-6
    )
    differ(estimator.log_ratio(x, theta0, theta1), expected["double as given"]["log_ratio"])


# Scores ----------------------------------------------------------------------------------------------------------


def test_scores_kept_projected_and_profiled(models, copied, expected, tmp_path):
    about = {**ABOUT, "parameter_names": ("cg", "nu", "cu"), "reference": [1.0, 2.0, 3.0]}
    estimator = import_madminer_estimator(models / "score", **about)
    assert isinstance(estimator, ScoreEstimator)
    for each in (estimator, reloaded(estimator, tmp_path)):
        close(each.score(expected["x"], names=OBSERVABLES), expected["score"]["keep"])
        assert each.nuisance_names == ("nu",)
        projected = each.score(expected["x"], names=OBSERVABLES, nuisances="project")
        close(projected[:, ::-1], expected["score"]["project"])  # here in the order of the names
        with pytest.raises(MissingError, match="does not know the information"):
            each.score(expected["x"], names=OBSERVABLES, nuisances="profile")
    for mode in ("project", "profile"):
        fewer = import_madminer_estimator(models / "score", **about, nuisance=mode)
        assert fewer.parameter_names == ("cu", "cg")
        np.testing.assert_array_equal(fewer.reference, [3.0, 1.0])
        close(fewer.score(expected["x"], names=OBSERVABLES), expected["score"][mode])
        auto = import_madminer_estimator(copied("score", nuisance_mode_default=mode), **about)
        close(auto.score(expected["x"], names=OBSERVABLES), expected["score"][mode])
    differ(expected["score"]["project"], expected["score"]["profile"])
    path = copied("score", nuisance_mode_default="profile")
    Path(f"{path}_nuisance_profile_matrix.npy").unlink()
    with pytest.raises(InputError, match="set_nuisance"):
        import_madminer_estimator(path, **about)
    with pytest.raises(InputError, match="the point of the score"):
        import_madminer_estimator(models / "score", **{**about, "reference": None})


# Densities -------------------------------------------------------------------------------------------------------


def width(path):
    """What MadMiner leaves out: log of the units in which x was scaled."""
    features = json.loads((path.parent / f"{path.name}_settings.json").read_text())["features"] or [0, 1, 2]
    return np.log(np.load(f"{path}_x_stds.npy")[features]).sum()


@pytest.mark.parametrize("name", ["flow", "mixture", "single"])
def test_a_density_and_its_score(models, expected, name, tmp_path):
    path = models / name
    estimator = import_madminer_estimator(path, **{**ABOUT, "reference": None})
    assert isinstance(estimator, MadMinerDensityEstimator)
    x, theta, theirs = expected["x"], expected["theta0"], expected[name]
    unit = np.load(f"{path}_theta_stds.npy")
    for each in (estimator, reloaded(estimator, tmp_path)):
        log_p = each.log_density(x, theta, names=OBSERVABLES)
        close(log_p + width(path), theirs["log_density"])
        close(each.score(x, theta, names=OBSERVABLES) * unit, theirs["scaled_score"])
        grid = each.log_density(x, theta, pairing="grid", names=OBSERVABLES)
        close(np.diagonal(grid), log_p)
        close(each.log_ratio(x, theta, theta[0], names=OBSERVABLES), log_p - grid[0])
    differ(theirs["log_density"], expected[f"{name} as given"]["log_density"])
    with pytest.raises(MissingError, match="train a DensityEstimator"):
        estimator.fit(None)


def test_the_density_of_a_mixture_integrates_to_one(models):
    estimator = import_madminer_estimator(models / "single", **ABOUT)
    line = np.linspace(-3.0, 3.0, 4001)
    densities = np.exp(estimator.log_density(line[:, None], [1.0, -20.0]))
    np.testing.assert_allclose(densities.sum() * (line[1] - line[0]), 1.0, rtol=1e-3)

    estimator = import_madminer_estimator(models / "mixture", **ABOUT)
    axes = [m + s * np.linspace(-12.0, 12.0, 90) for m, s in ((50.0, 20.0), (0.2, 0.1), (-3.0, 1.0))]
    points = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)
    cell = np.prod([a[1] - a[0] for a in axes])
    assert np.exp(estimator.log_density(points, [1.0, -20.0])).sum() * cell == pytest.approx(1.0, rel=0.02)


def test_batch_normalisation_is_lost_in_madminers_files(copied):
    with pytest.raises(FileFormatError, match=r"flow_settings.json.*batch normalisation"):
        import_madminer_estimator(copied("flow", batch_norm=0.1), **ABOUT)


# Ensembles -------------------------------------------------------------------------------------------------------


def test_an_ensemble_with_votes(models, expected):
    theirs = expected["ensemble"]
    ensemble = import_madminer_estimator(models / "ensemble", **ABOUT, votes=theirs["votes"])
    assert isinstance(ensemble, Ensemble)
    assert [member.feature_names for member in ensemble.members] == [("eta", "phi"), ("pt", "phi")]
    x, theta = expected["x"], expected["theta0"]
    close(ensemble.log_ratio(x, theta, pairing="grid", names=OBSERVABLES), theirs["log_ratio"])
    alike = import_madminer_estimator(models / "ensemble", **ABOUT)
    differ(alike.log_ratio(x, theta, pairing="grid", names=OBSERVABLES), theirs["log_ratio"])
    with pytest.raises(InputError, match="votes are for the members"):
        import_madminer_estimator(models / "ratio", **ABOUT, votes=[1.0])


def test_members_of_an_ensemble_are_of_one_kind(models, tmp_path):
    for i, name in enumerate(("score", "score")):
        for file in models.glob(f"{name}_*"):
            shutil.copy(file, tmp_path / file.name.replace(name, f"estimator_{i}"))
    document = tmp_path / "ensemble.json"
    document.write_text(json.dumps({"estimator_type": "score", "n_estimators": 2}))
    about = {**ABOUT, "parameter_names": ("a", "b", "c"), "reference": [0.0, 0.0, 0.0]}
    assert isinstance(import_madminer_estimator(tmp_path, **about), Ensemble)
    document.write_text(json.dumps({"estimator_type": "likelihood", "n_estimators": 2}))
    with pytest.raises(FileFormatError, match=r"ensemble.json: .* of one kind, not likelihood, score"):
        import_madminer_estimator(tmp_path, **about)
    document.write_text(json.dumps({"estimator_type": "score", "n_estimators": 3}))
    with pytest.raises(FileFormatError, match=r"estimator_2_settings.json"):
        import_madminer_estimator(tmp_path, **about)


# What MadMiner does not save ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"observable_names": None}, "no names of observables"),
        ({"observable_names": ("pt", "phi")}, "takes 3 features, but there are 2 observable_names"),
        ({"observable_names": ("pt", "phi", "pt")}, "a name twice"),
        ({"parameter_names": None}, "no names of parameters"),
        ({"parameter_names": ("cg",)}, "has 2 parameters, but there are the names cg"),
        ({"reference": None}, "does not save the denominator"),
        ({"reference": [0.0]}, "needs 2 finite values"),
        ({"reference": "sm"}, "needs 2 finite values"),
        ({"partition": "train"}, "one of a store"),
    ],
)
def test_what_is_missing_is_asked_for(models, given, message):
    with pytest.raises(InputError, match=message):
        import_madminer_estimator(models / "ratio", **{**ABOUT, **given})


def test_names_and_reference_come_from_the_setup(models):
    benchmarks = {"sm": {"cg": 0.0, "cu": 0.0}, "far": {"cg": 0.5, "cu": -1.0}}
    parameters = [Parameter("cg"), Parameter("cu")]
    about = {"observable_names": OBSERVABLES, "reference": "far"}
    estimator = import_madminer_estimator(models / "ratio", setup=Setup(parameters, benchmarks), **about)
    assert estimator.parameter_names == ("cg", "cu")
    np.testing.assert_array_equal(estimator.reference, [0.5, -1.0])

    setup = Setup(parameters, benchmarks, [NormalisationUncertainty("size", 0.1)])
    score = import_madminer_estimator(models / "score", setup=setup, **about)
    assert score.parameter_names == ("cg", "cu", *(p.name for p in setup.nuisance_parameters))
    np.testing.assert_array_equal(score.reference, [0.5, -1.0, 0.0])
    again = import_madminer_estimator(models / "score", setup=setup, **{**about, "reference": [0.5, -1.0, 2.0]})
    np.testing.assert_array_equal(again.reference, [0.5, -1.0, 2.0])


def test_names_and_events_come_from_the_store(copied, tmp_path):
    store = analytic_store(tmp_path / "store", n=300, tilt=0.2)
    path = copied("single", without=("_x_means", "_x_stds"))
    estimator = import_madminer_estimator(path, store=store, partition="train")
    assert estimator.feature_names == ("y",)
    assert estimator.parameter_names == ("theta", "tilt")
    again = reloaded(estimator, tmp_path)
    again.check_store(store, "test")
    with pytest.raises(InputError, match="memorised"):
        again.check_store(store, "train")
    for partition in (None, "practice"):
        with pytest.raises(InputError, match="say which partition"):
            import_madminer_estimator(path, store=store, partition=partition)
    with pytest.raises(InputError, match="either parameter_names, or"):
        import_madminer_estimator(path, store=store, partition="all", parameter_names=("theta", "tilt"))
    stranger = import_madminer_estimator(path, observable_names=("x", "y"), parameter_names=("theta", "tilt"))
    with pytest.raises(InputError, match="other_store=True"):
        stranger.check_store(store, "test")
    stranger.check_store(store, "test", other_store=True)


# Files that are not what they should be ----------------------------------------------------------------------------


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_a_state_dict_runs_nothing(copied, tmp_path):
    mark = tmp_path / "it ran"
    path = copied("ratio")
    torch.save({"layers.0.weight": Hostile(mark)}, f"{path}_state_dict.pt")
    with pytest.raises(FileFormatError, match=r"ratio_state_dict.pt"):
        import_madminer_estimator(path, **ABOUT)
    assert not mark.exists()
    torch.load(f"{path}_state_dict.pt", weights_only=False)  # the file would have done it
    assert mark.exists()


def good(path):
    return torch.load(f"{path}_state_dict.pt", weights_only=True)


def huge(path):
    """A tensor of 4 bytes that claims 4e15 of them."""
    return good(path) | {"layers.0.weight": torch.zeros(1).expand(10**8, 10**7)}


@pytest.mark.parametrize(
    "change",
    [
        lambda path: Path(f"{path}_state_dict.pt").write_bytes(b""),
        lambda path: Path(f"{path}_state_dict.pt").write_bytes(b"no archive"),
        lambda path: Path(f"{path}_state_dict.pt").write_bytes(Path(f"{path}_state_dict.pt").read_bytes()[:1500]),
        lambda path: Path(f"{path}_state_dict.pt").unlink(),
        lambda path: torch.save([1, 2], f"{path}_state_dict.pt"),
        lambda path: torch.save({"layers.0.weight": 1}, f"{path}_state_dict.pt"),
        lambda path: torch.save(good(path) | {"layers.0.bias": torch.full((5,), torch.nan)}, f"{path}_state_dict.pt"),
        lambda path: torch.save(good(path) | {"layers.0.bias": torch.zeros(4)}, f"{path}_state_dict.pt"),
        lambda path: torch.save(good(path) | {"layers.7.bias": torch.zeros(4)}, f"{path}_state_dict.pt"),
        lambda path: torch.save(huge(path), f"{path}_state_dict.pt"),
        lambda path: np.save(f"{path}_x_means.npy", np.array([{}], dtype=object), allow_pickle=True),
        lambda path: np.save(f"{path}_x_means.npy", np.ones(2)),
        lambda path: np.save(f"{path}_x_stds.npy", np.array([1.0, 0.0, 1.0])),
        lambda path: np.save(f"{path}_theta_stds.npy", np.array([1.0, np.inf])),
        lambda path: Path(f"{path}_theta_means.npy").write_bytes(b"\x93NUMPY"),
        lambda path: Path(f"{path}_settings.json").write_text("[]"),
        lambda path: Path(f"{path}_settings.json").write_text("{"),
        lambda path: Path(f"{path}_settings.json").unlink(),
    ],
)
def test_damaged_files_are_named(copied, change):
    path = copied("ratio")
    change(path)
    with pytest.raises(FileFormatError, match=rf"{path}_\w+\.(json|pt|npy)"):
        import_madminer_estimator(path, **ABOUT)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ratio", {"estimator_type": "oracle"}),
        ("ratio", {"estimator_type": "score"}),
        ("ratio", {"estimator_type": "likelihood", "n_components": 1, "n_mades": 1}),
        ("ratio", {"morphing_matrix": [[1.0]], "components": [[0]]}),
        ("ratio", {"activation": "prelu"}),
        ("ratio", {"n_hidden": []}),
        ("ratio", {"n_hidden": [10**12, 4]}),
        ("ratio", {"n_hidden": "54"}),
        ("ratio", {"features": [0.5, 1, 2]}),
        ("ratio", {"dropout_prob": "often"}),
        ("ratio", {"dropout_prob": 0.5}),
        ("ratio", {"n_parameters": 0}),
        ("score", {"nuisance_mode_default": "../other"}),
        ("flow", {"n_mades": 10**9}),
        ("flow", {"batch_norm": [0.1]}),
        ("flow", {"n_components": 10**9}),
        ("mixture", {"n_components": 1}),
        ("single", {"n_components": 2}),
    ],
)
def test_settings_that_do_not_fit_are_refused(copied, name, settings):
    about = {**ABOUT, "parameter_names": "abc", "reference": [0.0, 0.0, 0.0]} if name == "score" else ABOUT
    with pytest.raises(FileFormatError, match=f"{name}_(settings.json|state_dict.pt)"):
        import_madminer_estimator(copied(name, **settings), **about)
