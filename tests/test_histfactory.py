"""Workspaces of pyhf as likelihoods, and histograms as workspaces; pyhf itself is the measure of both."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pyhf
import pytest
import torch
from analytic_store import ExactRatio, analytic_store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

import columnminer
from columnminer.errors import FileFormatError, InputError, MissingError, OutputExistsError, UnknownNameError
from columnminer.infer.events import StoredEvents
from columnminer.infer.fit import fit
from columnminer.infer.histfactory import to_workspace, write_workspace
from columnminer.infer.histogram import HistogramLikelihood
from columnminer.infer.morphed import MorphedHistogram
from columnminer.infer.neural import NeuralLikelihood
from columnminer.infer.pyhf_likelihood import PyhfLikelihood
from columnminer.infer.pyhf_modifiers import pyhf_modifier_set
from columnminer.infer.rate import RateLikelihood
from columnminer.model.parameters import Parameter, ParameterSpace
from columnminer.model.setup import Setup

DATA = Path(__file__).parent / "data" / "pyhf"
NAMES = ["counting", "shapes", "regions"]
EDGES = np.array([0.1, 0.3, 0.5, 0.7, 0.9])


def document(name):
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


def pyhf_model(spec, **options):
    workspace = pyhf.Workspace(spec, validate="modifier_set" not in options)
    model = workspace.model(measurement_name=workspace.measurement_names[0], **options)
    return model, workspace.data(model)


@pytest.fixture
def by_minuit():
    before = pyhf.get_backend()
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-5))
    yield
    pyhf.set_backend(*before)


# Import --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_log_likelihoods_are_those_of_pyhf_at_any_points_and_data(name):
    likelihood = PyhfLikelihood.from_workspace(DATA / f"{name}.json")
    model, data = pyhf_model(document(name))
    rng = np.random.default_rng(1)
    low, high = np.array(model.config.suggested_bounds()).T
    points = rng.uniform(np.maximum(low, -2.0), np.minimum(high, 2.0), (20, len(low)))
    points[0] = model.config.suggested_init()
    free = [i for i, fixed in enumerate(model.config.suggested_fixed()) if not fixed]
    points[:, [i for i in range(len(low)) if i not in free]] = 1.0
    theirs = [float(model.logpdf(point, data)[0]) for point in points]
    np.testing.assert_allclose(likelihood.log_likelihood(points[:, free]), theirs, rtol=1e-12)
    np.testing.assert_array_equal(likelihood.point(), points[0, free])
    many = np.tile(points[:, free], (30, 1)).reshape(30, 20, -1)  # more than pyhf is given at once
    np.testing.assert_allclose(likelihood.log_likelihood(many), np.tile(theirs, (30, 1)), rtol=1e-12)
    # Toys, with auxiliary data of their own, against all points at once.
    toys = np.stack([likelihood.simulate(seed) for seed in range(3)])
    together = likelihood.log_likelihood(points[:, None, free], toys)
    assert together.shape == (20, 3)
    assert together[7, 2] == pytest.approx(float(model.logpdf(points[7], toys[2])[0]), rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_our_fit_gives_the_test_statistic_of_pyhf(name, by_minuit):
    likelihood = PyhfLikelihood.from_workspace(DATA / f"{name}.json")
    model, data = pyhf_model(document(name))
    ours = fit(likelihood, tolerance=1e-5)
    _, theirs = pyhf.infer.mle.fit(data, model, return_fitted_val=True)
    assert ours.valid
    assert -2.0 * ours.log_likelihood == pytest.approx(float(theirs), abs=1e-6)
    for mu in (0.0, 1.5):
        q = 2.0 * (ours.log_likelihood - fit(likelihood.fix(mu=mu), tolerance=1e-5).log_likelihood)
        _, held = pyhf.infer.mle.fixed_poi_fit(mu, data, model, return_fitted_val=True)
        assert q == pytest.approx(float(held - theirs), abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_bin_changes_the_test_statistic(name):
    changed = document(name)
    changed["channels"][0]["samples"][1]["data"][0] *= 1.01

    def q(source):
        likelihood = PyhfLikelihood.from_workspace(source)
        free, held = (fit(which, tolerance=1e-5) for which in (likelihood, likelihood.fix(mu=0.0)))
        return 2.0 * (free.log_likelihood - held.log_likelihood)

    assert abs(q(changed) - q(document(name))) > 1e-4  # a hundred times what we and pyhf may differ by


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_the_derivative(name):
    likelihood = PyhfLikelihood.from_workspace(DATA / f"{name}.json")
    points = np.stack([likelihood.point(), likelihood.point() * 0.9 + 0.15])
    gradient, h = likelihood.gradient(points), 1e-4
    for i in range(len(likelihood.names)):
        step = h * np.eye(len(likelihood.names))[i]
        numerical = (likelihood.log_likelihood(points + step) - likelihood.log_likelihood(points - step)) / (2 * h)
        np.testing.assert_allclose(gradient[:, i], numerical, rtol=1e-5, atol=1e-5)


def test_parameters_follow_the_measurement():
    first = PyhfLikelihood.from_workspace(DATA / "shapes.json")
    assert first.names[-3:] == ("mc_tight[0]", "mc_tight[1]", "mc_tight[2]")
    by_name = {p.name: p for p in first.parameters}
    assert by_name["lumi"].fit_limits == (0.8, 1.2)
    assert by_name["mu"].nominal == 1.0
    held = PyhfLikelihood.from_workspace(DATA / "shapes.json", measurement="fixed_lumi")
    assert set(first.names) - set(held.names) == {"lumi"}
    assert held.log_likelihood() == pytest.approx(first.log_likelihood(), rel=1e-14)
    freed = PyhfLikelihood.from_workspace(
        DATA / "shapes.json", measurement="fixed_lumi", parameters=[Parameter("lumi", 1.0)]
    )
    assert freed.names == first.names
    assert freed.log_likelihood(lumi=1.01) == pytest.approx(first.log_likelihood(lumi=1.01), rel=1e-14)
    # A bin without error of its template has a parameter that pyhf fixes.
    assert "w_signal[2]" not in PyhfLikelihood.from_workspace(DATA / "regions.json").names


def test_interpolation_is_an_option():
    codes = {"normsys": {"interpcode": "code1"}, "histosys": {"interpcode": "code0"}}
    ours = PyhfLikelihood.from_workspace(DATA / "shapes.json", modifier_settings=codes)
    model, _ = pyhf_model(document("shapes"), modifier_settings=codes)
    point = ours.point({"z_rate": 0.4, "jes": -0.6})
    np.testing.assert_allclose(ours.expected(point), model.expected_data(point, include_auxdata=False), rtol=1e-13)
    assert not np.allclose(ours.expected(point), PyhfLikelihood.from_workspace(DATA / "shapes.json").expected(point))


def test_a_model_keeps_its_clipping():
    spec = document("counting")
    spec["channels"][0]["samples"][0]["data"] = [-120.0]
    workspace = pyhf.Workspace(spec)
    clipped = PyhfLikelihood(workspace.model(clip_bin_data=1e-3, batch_size=3))
    assert clipped.expected() == pytest.approx(1e-3)
    assert PyhfLikelihood(workspace.model()).log_likelihood(data=[3.0]) == -np.inf


def test_patches_change_the_model():
    patch = [{"op": "replace", "path": "/channels/0/samples/0/data", "value": [24.0]}]
    patched = PyhfLikelihood.from_workspace(DATA / "counting.json", patches=[patch])
    plain = PyhfLikelihood.from_workspace(DATA / "counting.json")
    assert patched.expected(mu=0.5) == pytest.approx(plain.expected(mu=1.0))


def test_simulated_data_scatter_about_the_expectation_auxiliary_data_too():
    likelihood = PyhfLikelihood.from_workspace(DATA / "regions.json")
    at = {"mu": 2.0, "top_rate": 0.5, "w_control[1]": 1.2}
    toys = np.stack([likelihood.simulate(seed, **at) for seed in range(600)])
    asimov = likelihood.asimov(**at)
    n_bins = likelihood.n_bins
    np.testing.assert_array_equal(asimov[:n_bins], likelihood.expected(**at))
    # Poisson counts and Poisson auxiliary data have their mean as variance, Gaussian ones 1.
    variance = np.where(asimov > 1.0, asimov, 1.0)
    pulls = (toys.mean(axis=0) - asimov) / np.sqrt(variance / len(toys))
    assert kstest(pulls, "norm").pvalue > 0.01
    assert np.abs(toys.var(axis=0) / variance - 1.0).max() < 0.3
    elsewhere = (toys.mean(axis=0) - likelihood.asimov()) / np.sqrt(variance / len(toys))
    assert kstest(elsewhere, "norm").pvalue < 0.01
    np.testing.assert_array_equal(likelihood.simulate(3, **at), toys[3])


def test_data_by_channel_take_the_auxiliary_data_of_the_model():
    likelihood = PyhfLikelihood.from_workspace(DATA / "regions.json")
    counts = {o["name"]: o["data"] for o in document("regions")["observations"]}
    np.testing.assert_array_equal(likelihood.as_data(counts), likelihood.data)
    bins = likelihood.channels["signal"]
    np.testing.assert_array_equal(likelihood.data[bins], counts["signal"])
    with pytest.raises(UnknownNameError, match="missing for channel 'control'"):
        likelihood.as_data({"signal": counts["signal"], "w_region": [3.0]})
    with pytest.raises(InputError, match="channel 'w_region' have shape"):
        likelihood.as_data(counts | {"w_region": [1.0, 2.0]})
    for i in (0, likelihood.n_bins + 4):  # a count, and the auxiliary data of a Poisson constraint
        wrong = likelihood.data.copy()
        wrong[i] = -1.0
        with pytest.raises(InputError, match="not negative"):
            likelihood.as_data(wrong)
    with pytest.raises(InputError, match=r"counts in 7 bins of control, signal, w_region, and may go on with"):
        likelihood.as_data(np.ones(3))


@pytest.fixture(autouse=True)
def precision_of_torch():
    """Put back what pyhf's torch backend changes for everybody."""
    before = torch.get_default_dtype()
    yield
    torch.set_default_dtype(before)


@pytest.mark.filterwarnings("ignore:Creating a tensor from a list:UserWarning")  # pyhf does, with torch
def test_the_backend_of_pyhf_is_neither_changed_nor_required():
    likelihood = PyhfLikelihood.from_workspace(DATA / "shapes.json")
    before = likelihood.log_likelihood(mu=[0.5, 2.0])
    state = pyhf.get_backend()
    pyhf.set_backend("pytorch", precision="64b")
    try:
        backend = pyhf.get_backend()
        np.testing.assert_allclose(likelihood.log_likelihood(mu=[0.5, 2.0]), before, rtol=1e-12)
        assert pyhf.get_backend() == backend
        assert likelihood.precision < 1e-15
        pyhf.set_backend("pytorch", precision="32b")
        np.testing.assert_allclose(likelihood.log_likelihood(mu=[0.5, 2.0]), before, rtol=1e-4)
        assert likelihood.precision > 1e-8
    finally:
        pyhf.set_backend(*state)


# Products ------------------------------------------------------------------------------------------------------------


def signal_rate(mu):
    """A rate of 25 mu + 3, as a histogram with one bin."""
    setup = Setup(ParameterSpace([mu]), {"none": {"mu": 0.0}, "one": {"mu": 1.0}}).with_morphing(max_overall_power=1)
    return RateLikelihood(MorphedHistogram(setup, np.array([[3.0], [28.0]]), np.zeros(1)), 1.0)


def test_a_product_shares_parameters_by_name():
    mu = Parameter("mu", 1.0, bounds=(0.0, 5.0), max_power=1)
    rate = signal_rate(mu)
    with pytest.raises(InputError, match="define the parameter 'mu' differently"):
        _ = rate * PyhfLikelihood.from_workspace(DATA / "counting.json")
    region = PyhfLikelihood.from_workspace(DATA / "counting.json", parameters=[mu])
    both = rate.with_data(30.0) * region
    assert both.names == ("mu", "diboson_rate", "efficiency", "top_rate")
    at = {"mu": [0.3, 1.7], "top_rate": -0.4}
    separate = rate.log_likelihood(mu=at["mu"], data=30.0) + region.log_likelihood(**at)
    np.testing.assert_allclose(both.log_likelihood(**at), separate, rtol=1e-13)
    ours = fit(both, gradient=True)
    assert ours.valid
    assert ours.values == pytest.approx(fit(both, gradient=False).values, abs=1e-3)
    assert ours.errors[0] < min(fit(region).errors[0], 0.3)
    data = both.simulate(4, mu=1.0)
    assert len(data) == 2
    assert np.isfinite(both.with_data(data).fix(mu=1.0).rename({"top_rate": "tt"}).log_likelihood(tt=0.1))


def test_a_shared_nuisance_parameter_is_measured_once():
    top = Parameter("top_rate", constraint=1.0, fit_limits=(-5.0, 5.0))
    plain = PyhfLikelihood.from_workspace(DATA / "counting.json")
    with pytest.raises(InputError, match="'efficiency' is constrained by two factors"):
        _ = plain * PyhfLikelihood.from_workspace(DATA / "regions.json")
    other = plain.rename({"efficiency": "efficiency_2", "diboson_rate": "diboson_2", "top_rate": "top"})
    with pytest.raises(InputError, match="'top' is constrained by two factors"):
        _ = plain.rename({"top_rate": "top"}) * other
    assert (plain.rename({"top_rate": "top"}).fix(top=0.0) * other).measured.count("top") == 1
    left = PyhfLikelihood.from_workspace(DATA / "counting.json", parameters=[top])
    # Constrained by the product instead of the workspace, it is the same likelihood.
    at = {"top_rate": 0.8, "mu": 0.4}
    assert "top_rate" not in left.measured
    assert left.constrained().log_likelihood(**at) == pytest.approx(plain.log_likelihood(**at), rel=1e-13)
    assert left.log_likelihood(**at) > plain.log_likelihood(**at)
    assert left.constrained().gradient(**at)[3] == pytest.approx(plain.gradient(**at)[3], rel=1e-9)
    with pytest.raises(InputError, match=r"a constraint of 0.5 around 0, but the workspace has a Gaussian of width 1"):
        PyhfLikelihood.from_workspace(DATA / "counting.json", parameters=[Parameter("top_rate", constraint=0.5)])
    with pytest.raises(InputError, match="a Poisson law"):
        PyhfLikelihood.from_workspace(
            DATA / "regions.json", parameters=[Parameter("w_control[0]", 1.0, constraint=0.15)]
        )
    with pytest.raises(UnknownNameError, match=r"no parameter 'top_rat'. Did you mean 'top_rate'"):
        PyhfLikelihood.from_workspace(DATA / "counting.json", parameters=[Parameter("top_rat")])


# Bad input -----------------------------------------------------------------------------------------------------------


def test_bad_files_are_named_with_the_reason(tmp_path):
    path = tmp_path / "workspace.json"

    spec = document("shapes")
    cases = [("{", "this is no JSON"), ("[1]", "is a JSON object, not list"), ({"channels": 3}, "3 is not of type")]
    broken = copy.deepcopy(spec)
    broken["channels"][0]["samples"][0]["modifiers"][0]["type"] = "normfaktor"
    cases.append((broken, r"no HistFactory workspace: at .*normfaktor"))
    broken = copy.deepcopy(spec)
    broken["channels"][0]["samples"][0]["data"] = [1.0]
    cases.append((broken, "pyhf makes no model of it"))
    broken = copy.deepcopy(spec)
    broken["observations"][0]["data"] = [1.0]
    cases.append((broken, r"observations: counts of channel 'tight' have shape \(1,\), not 3"))
    broken = copy.deepcopy(spec)
    del broken["observations"][0]
    cases.append((broken, "observations: counts are missing for channel 'tight'"))
    broken = copy.deepcopy(spec)
    broken["measurements"][0]["config"]["poi"] = "nu"
    cases.append((broken, "parameter of interest 'nu'"))
    for changed, reason in cases:
        path.write_text(changed if isinstance(changed, str) else json.dumps(changed), encoding="utf-8")
        with pytest.raises(FileFormatError, match=rf"{path.name}: (?s:.*){reason}"):
            PyhfLikelihood.from_workspace(path)
    with pytest.raises(FileNotFoundError):
        PyhfLikelihood.from_workspace(tmp_path / "nothing.json")
    with pytest.raises(UnknownNameError, match=r"shapes.json: no measurement is called 'serch'. Did you mean 'search'"):
        PyhfLikelihood.from_workspace(DATA / "shapes.json", measurement="serch")
    with pytest.raises(FileFormatError, match="workspace: pyhf makes no model of it: JsonP"):
        PyhfLikelihood.from_workspace(spec, patches=[[{"op": "remove", "path": "/channels/7"}]])


# Export --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return analytic_store(tmp_path_factory.mktemp("store") / "events.zarr", 4000, background=0.5, tilt=0.4)


@pytest.fixture(scope="module")
def plain(store):
    return HistogramLikelihood.from_store(store, "x", 300.0, bins=EDGES, partition="all")


@pytest.fixture(scope="module")
def tilted(store):
    return HistogramLikelihood.from_store(store, "x", 300.0, bins=EDGES, nuisances=True)  # rate from other events


@pytest.fixture(scope="module")
def exact(tilted):
    return PyhfLikelihood.from_workspace(to_workspace(tilted, dependence="polynomial"))


def test_fixed_theta_follows_the_schema_and_has_our_yields(plain):
    spec = to_workspace(plain.with_data(plain.simulate(1)), {"theta": 0.7})
    model, data = pyhf_model(spec)
    assert [s["name"] for s in spec["channels"][0]["samples"]] == ["signal", "background"]
    expected = plain.expected(theta=0.7)
    np.testing.assert_allclose(model.expected_data([1.0]), expected, rtol=1e-10)
    np.testing.assert_array_equal(data, plain.simulate(1))
    background = 300.0 * plain.templates.background
    np.testing.assert_allclose(model.expected_data([0.0]), background, rtol=1e-10)
    ours = PyhfLikelihood.from_workspace(spec)
    assert ours.names == ("mu",)
    np.testing.assert_allclose(to_workspace(plain)["observations"][0]["data"], plain.expected(), rtol=1e-14)


def test_linear_dependence_is_the_tangent_with_an_unconstrained_parameter(tilted):
    spec = to_workspace(tilted, {"theta": 0.6}, dependence="linear")
    linear = PyhfLikelihood.from_workspace(spec)
    assert set(linear.names) == {"theta", "tilt"}
    assert linear.measured == ("tilt",)
    np.testing.assert_allclose(linear.expected(theta=0.6), tilted.expected(theta=0.6), rtol=1e-10)
    h = 1e-4
    slope = (tilted.expected(theta=0.6 + h) - tilted.expected(theta=0.6 - h)) / (2 * h)
    np.testing.assert_allclose((linear.expected(theta=1.6) - linear.expected(theta=0.6)), slope, rtol=1e-6)
    assert np.abs(linear.expected(theta=1.6) / tilted.expected(theta=1.6) - 1.0).max() > 0.01
    pyhf_model(spec)  # validates
    assert spec["measurements"][0]["config"]["poi"] == "theta"


def test_shape_nuisances_become_histosys_and_agree_at_one_and_minus_one(store):
    ours = HistogramLikelihood.from_store(store, "x", 300.0, bins=EDGES, partition="all", nuisances=True)
    spec = to_workspace(ours)
    types = {m["type"] for s in spec["channels"][0]["samples"] for m in s["modifiers"]}
    assert types == {"normfactor", "histosys", "normsys"}  # the flat background does not change: by the factor 1
    workspace = PyhfLikelihood.from_workspace(spec)
    for nu in (-1.0, 0.0, 1.0):
        np.testing.assert_allclose(workspace.expected(tilt=nu), ours.expected(tilt=nu), rtol=1e-9)
    # Constraints come with the workspace: it is our likelihood times its constraint.
    constrained = ours.constrained()
    assert workspace.log_likelihood(tilt=1.0) == pytest.approx(
        constrained.with_data((workspace.data[:6], np.asarray(0.0))).log_likelihood(theta=0.0, tilt=1.0), rel=1e-9
    )


def test_a_factor_for_all_bins_becomes_normsys(tilted):
    templates = copy.copy(tilted.templates)
    variations = copy.copy(templates.signal_variations)
    object.__setattr__(variations, "a", np.full_like(variations.a, 0.1))
    object.__setattr__(variations, "b", np.full_like(variations.b, 0.02))
    object.__setattr__(templates, "signal_variations", variations)
    spec = to_workspace(HistogramLikelihood(templates, tilted.rate))
    modifier = spec["channels"][0]["samples"][0]["modifiers"][1]
    assert modifier["type"] == "normsys"
    assert modifier["data"] == pytest.approx({"hi": np.exp(0.12), "lo": np.exp(-0.08)})


@pytest.fixture(scope="module")
def careful(store):
    return HistogramLikelihood.from_store(
        store, "x", 300.0, bins=EDGES, partition="all", template_statistics=True, n_sampled=200
    )


@pytest.mark.parametrize("dependence", ["fixed", "linear", "polynomial"])
def test_template_statistics_become_staterror(store, plain, dependence):
    whole = HistogramLikelihood.from_store(
        store, "x", 300.0, bins=EDGES, partition="all", nuisances=True, template_statistics=True
    )
    events = StoredEvents(store, "all")
    spec = to_workspace(whole, {"theta": 0.5}, dependence=dependence)
    model, _ = pyhf_model(spec, modifier_set=pyhf_modifier_set(), validate=False)
    sigmas = model.config.param_set("staterror_histogram").sigmas
    sums, squares = np.zeros(6), np.zeros(6)
    for block in events.blocks():
        index = np.digitize(block.x[:, 0], EDGES)
        weights = block.weights([0.5])
        sums += np.bincount(index, weights, minlength=6)
        squares += np.bincount(index, weights**2, minlength=6)
    np.testing.assert_allclose(sigmas, np.sqrt(squares) / sums, rtol=1e-9)
    likelihood = PyhfLikelihood.from_workspace(spec)
    moved = likelihood.expected({"staterror_histogram[2]": 1.1}) / likelihood.expected()
    np.testing.assert_allclose(moved, [1.0, 1.0, 1.1, 1.0, 1.0, 1.0])
    assert "staterror" not in json.dumps(to_workspace(plain, {"theta": 0.5}, dependence=dependence))


def test_fitted_staterrors_are_our_profiled_template_statistics(plain, careful):
    """One fit for each data set; what remains is the same constant for all."""
    left, without = [], []
    for seed in range(3):
        data = careful.simulate(seed, theta=1.0)
        theirs = PyhfLikelihood.from_workspace(to_workspace(careful.with_data(data), {"theta": 0.5})).fix(mu=1.0)
        best = fit(theirs).log_likelihood
        left.append(best - careful.log_likelihood(data=data, theta=0.5))
        without.append(best - plain.log_likelihood(data=data, theta=0.5))
    np.testing.assert_allclose(left, left[0], atol=1e-4)
    assert np.ptp(without) > 0.1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(theta=st.floats(-2.0, 2.0), tilt=st.floats(-2.0, 2.0))
def test_polynomials_agree_with_ours_at_any_theta_and_nu(tilted, exact, theta, tilt):
    np.testing.assert_allclose(
        exact.expected(theta=theta, tilt=tilt), tilted.expected(theta=theta, tilt=tilt), rtol=1e-9, atol=1e-9
    )


@pytest.mark.filterwarnings("ignore:Creating a tensor from a list:UserWarning")
def test_polynomials_agree_in_pyhf_itself_with_and_without_batches_and_on_another_backend(plain, tilted):
    rng = np.random.default_rng(5)
    state = pyhf.get_backend()
    for ours, n_modifiers in ((plain, 1), (tilted, 3)):
        spec = json.loads(json.dumps(to_workspace(ours, 0.4, dependence="polynomial")))
        assert len({m["type"] for s in spec["channels"][0]["samples"] for m in s["modifiers"]}) == n_modifiers
        options = {"modifier_set": pyhf_modifier_set(), "validate": False}
        model, data = pyhf_model(spec, **options)
        batched, _ = pyhf_model(spec, batch_size=7, **options)
        order = [model.config.par_names.index(name) for name in ours.names]
        points = rng.uniform(-1.5, 1.5, (7, len(ours.names)))
        theirs = np.empty_like(points)
        theirs[:, order] = points
        expected = ours.expected(points)
        np.testing.assert_allclose(model.expected_data(theirs[2])[:6], expected[2], rtol=1e-10)
        np.testing.assert_allclose(batched.expected_data(theirs)[:, :6], expected, rtol=1e-10)
        try:
            pyhf.set_backend("pytorch", precision="64b")
            torch_points = pyhf.tensorlib.astensor(theirs)
            np.testing.assert_allclose(np.asarray(batched.expected_data(torch_points))[:, :6], expected, rtol=1e-10)
        finally:
            pyhf.set_backend(*state)
        # The log likelihood is ours, too: that of bins times that of the rate is a product of Poisson laws.
        toy = ours.constrained()
        aux = tuple(np.asarray(0.0) for _ in toy.factors[1:])
        counts = ours.expected(theta=0.4)
        with_data = toy.with_data((counts, *aux))
        assert float(model.logpdf(theirs[0], data)[0]) == pytest.approx(with_data.log_likelihood(points[0]), rel=1e-8)


def test_a_wrong_coefficient_is_seen(tilted):
    spec = to_workspace(tilted, dependence="polynomial")
    modifier = spec["channels"][0]["samples"][0]["modifiers"][0]
    modifier["data"]["coefficients"][1][2] *= 1.001
    wrong = PyhfLikelihood.from_workspace(spec)
    difference = np.abs(wrong.expected(theta=1.0) / tilted.expected(theta=1.0) - 1.0)
    assert difference[2] > 1e-6
    np.testing.assert_allclose(difference[[0, 1, 3, 4, 5]], 0.0, atol=1e-9)


def test_fits_of_the_exported_polynomial_are_ours(plain):
    data = plain.simulate(11, theta=0.8)
    ours = plain.with_data(data)
    theirs = PyhfLikelihood.from_workspace(to_workspace(ours, 0.8, dependence="polynomial"))
    assert theirs.parameters[0].fit_limits == (-2.0, 2.0)
    a, b = fit(ours, start={"theta": 0.8}), fit(theirs)
    for theta in (-0.5, 0.0, 1.2):
        q = 2.0 * (a.log_likelihood - ours.log_likelihood(theta=theta))
        assert q == pytest.approx(2.0 * (b.log_likelihood - theirs.log_likelihood(theta=theta)), abs=1e-6)


def test_a_region_beside_a_neural_ratio(store, plain):
    ratio = NeuralLikelihood.from_store(store, ExactRatio(), 300.0, include_rate=False)
    theta = ratio.parameters[0]
    spec = to_workspace(plain.with_data(plain.simulate(2, theta=0.5)), dependence="polynomial")
    region = PyhfLikelihood.from_workspace(spec, parameters=[theta])
    both = ratio.with_data(ratio.asimov(theta=0.5)) * region
    assert both.names == ("theta",)
    at = np.linspace(-1.0, 1.0, 5)
    separate = both.factors[0].log_likelihood(theta=at) + region.log_likelihood(theta=at)
    np.testing.assert_allclose(both.log_likelihood(theta=at), separate, rtol=1e-12)
    best = fit(both, start={"theta": 0.4}, gradient=True)
    assert best.valid
    assert best.errors[0] < fit(region, start={"theta": 0.4}).errors[0]
    assert abs(best.values[0] - 0.5) < 4.0 * best.errors[0]


def test_bad_modifiers_say_which(plain, tilted):
    spec = to_workspace(plain, dependence="polynomial")

    def changed(**data):
        new = copy.deepcopy(spec)
        new["channels"][0]["samples"][0]["modifiers"][0]["data"].update(data)
        return new

    for data, reason in (
        (
            {"coefficients": [[1.0]]},
            r"modifier 'theta' of sample 'signal' in channel 'histogram': coefficients must be",
        ),
        ({"components": [[0], [-1], [2]]}, "must be powers"),
        ({"components": 3}, "components must be a list, not 3"),
        ({"parameters": "theta"}, "parameters must be a list, not 'theta'"),
        ({"more": 1}, "its data must have coefficients, components, parameters"),
    ):
        with pytest.raises(FileFormatError, match=reason):
            PyhfLikelihood.from_workspace(changed(**data))
    rate = to_workspace(tilted, dependence="polynomial")
    for side, term, reason in (
        ("numerator", 3, "numerator must be a list, not 3"),
        ("denominator", [{"a": []}], "must be a list of terms with components, coefficients, a and b"),
    ):
        broken = copy.deepcopy(rate)
        for sample in broken["channels"][0]["samples"]:
            sample["modifiers"][-2]["data"][side] = term
        with pytest.raises(FileFormatError, match=rf"columnminer_rate modifier 'rate' of .*{reason}"):
            PyhfLikelihood.from_workspace(broken)
    rate["channels"][0]["samples"][0]["modifiers"][1]["data"]["nuisances"] = ["bent"]
    with pytest.raises(FileFormatError, match="its data differ from those of another sample"):
        PyhfLikelihood.from_workspace(rate)
    twice = copy.deepcopy(spec)
    modifiers = twice["channels"][0]["samples"][0]["modifiers"]
    modifiers.append(modifiers[0] | {"name": "again"})
    with pytest.raises(FileFormatError, match="two columnminer_polynomial modifiers"):
        PyhfLikelihood.from_workspace(twice)
    with pytest.raises(FileFormatError, match="columnminer_polynomial not among"):
        PyhfLikelihood.from_workspace(spec, modifier_set=pyhf.modifiers.histfactory_set)


def test_what_cannot_be_exported_says_so(plain, tilted):
    with pytest.raises(InputError, match="not a Product"):
        to_workspace(tilted.constrained())
    with pytest.raises(InputError, match="include_rate=True"):
        to_workspace(HistogramLikelihood(plain.templates, plain.rate, include_rate=False))
    with pytest.raises(InputError, match="dependence"):
        to_workspace(plain, dependence="quadratic")
    with pytest.raises(InputError, match="one histogram of data"):
        to_workspace(plain.with_data(np.ones((2, 6))))
    with pytest.raises(UnknownNameError, match="thet"):
        to_workspace(plain, {"thet": 0.0})
    setup = plain.templates.setup
    bare = Setup(setup.space, {n: {"theta": v} for n, v in zip(setup.benchmark_names, (0.0, 1.0, -1.0), strict=True)})
    templates = copy.copy(plain.templates)
    object.__setattr__(templates, "setup", bare)
    with pytest.raises(MissingError, match="no morphing"):
        to_workspace(HistogramLikelihood(templates, plain.rate), dependence="polynomial")


def test_files_are_written_in_one_step(tmp_path, plain):
    path = tmp_path / "new" / "workspace.json"
    spec = to_workspace(plain)
    write_workspace(path, spec)
    assert json.loads(path.read_text(encoding="utf-8")) == spec
    assert [p.name for p in path.parent.iterdir()] == ["workspace.json"]
    with pytest.raises(OutputExistsError, match="replace=True"):
        write_workspace(path, spec)
    write_workspace(path, to_workspace(plain, 1.0), replace=True)
    assert columnminer.PyhfLikelihood.from_workspace(path).expected() == pytest.approx(plain.expected(theta=1.0))
