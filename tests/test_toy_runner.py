"""Campaigns that run: what comes out is right, and the same whoever does which batch and however often it is killed."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from analytic_likelihoods import Gaussian, OnOff
from analytic_store import ExactRatio, analytic_store
from scipy.stats import chi2, kstest, norm

import columnminer as cm
from columnminer.errors import InputError, MissingError, OutputExistsError, TaskError
from columnminer.infer.batches import pick
from columnminer.infer.fit import fit
from columnminer.infer.intervals import confidence_interval
from columnminer.infer.neural import NeuralLikelihood
from columnminer.model.parameters import Parameter
from columnminer.toys.alea_files import read_toys
from columnminer.toys.alea_results import read_alea_results, write_alea_results
from columnminer.toys.runner import make_toys

HERE = Path(__file__).parent


def gaussian():
    return Gaussian([Parameter("mu", 1.0), Parameter("nu", 0.0)], [[1.0, 0.3], [0.3, 0.5]])


def onoff():
    return OnOff([10.0, 5.0], [50.0, 20.0], [5.0, 3.0], fit_limits=(0, None))


def simple(**settings):
    given = {"to_vary": {"mu": [0.0, 2.0]}, "n_toys": 20, "batch_size": 8, "seed": 3, **settings}
    return cm.Campaign(gaussian(), "mu", **given)


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def run(campaign, out, **options):
    return cm.run_campaign(campaign, out, progress=False, **options)


# What comes out ------------------------------------------------------------------------------------------------------


def test_fits_are_those_of_each_toy_alone(tmp_path):
    campaign = cm.Campaign(
        onoff(),
        "mu",
        generate_values={"mu": 1.5},
        hypotheses=["free", "zero", "true", {"mu": 1.0, "gamma1": 1.1}, {"gamma0": 1.0}],
        compute_confidence_interval=True,
        n_toys=6,
        batch_size=4,
    )
    (point,) = run(campaign, tmp_path / "r.zarr")
    assert list(point.fits) == ["free", "zero", "true", "3", "4"]
    toys = make_toys(campaign.points()[0], range(6))
    for i in range(6):
        model = onoff().with_data(pick(toys, np.array(i)))
        for fits in point.fits.values():
            alone = fit(model, **fits.held)
            assert fits.log_likelihood[i] == pytest.approx(alone.log_likelihood, abs=1e-6)
            values = dict(zip(point.parameter_names, fits.values[i], strict=True))
            assert values == pytest.approx(alone.by_name, abs=2e-3)
            assert fits.valid[i]
        interval = confidence_interval(model, "mu", level=0.9)
        np.testing.assert_allclose(point.intervals[i], [interval.lower, interval.upper], atol=1e-3)
    assert point.fits["4"].interval is not None
    assert point.fits["zero"].interval is None
    assert (point.statistic("true") >= 0.0).all()


def test_toys_are_those_of_the_model(tmp_path):
    """Fits of a Gaussian are its data; wrong values of the truth must be noticed."""
    (_, point) = run(simple(n_toys=400, batch_size=200, hypotheses=["free", "true"]), tmp_path / "r.zarr")
    pull = point.values("mu") - 2.0
    assert kstest(pull, "norm").pvalue > 0.01
    assert kstest(pull + 0.3, "norm").pvalue < 1e-4
    t = point.statistic("true")
    assert kstest(t, chi2(1).cdf).pvalue > 0.01
    assert kstest(t, chi2(2).cdf).pvalue < 1e-4


def test_a_toy_depends_on_seed_point_and_number_alone():
    first, second = simple().points()
    whole = make_toys(first, range(20))
    for part in (range(3), range(7, 12), range(19, 20)):
        np.testing.assert_array_equal(make_toys(first, part), whole[part.start : part.stop])
    assert len({tuple(row) for row in whole}) == 20
    assert not np.allclose(make_toys(second, range(20)) - [2.0, 0.0], whole), "another point, other toys"
    assert not np.allclose(make_toys(simple(seed=4).points()[0], range(20)), whole)
    alone = simple(to_vary={}, generate_values={"mu": 2.0}, level=0.95).points()[0]
    np.testing.assert_array_equal(make_toys(alone, range(20)), make_toys(second, range(20)))


@pytest.mark.parametrize("batch_size", [20, 7, 1])
def test_batches_change_no_toy(tmp_path, batch_size):
    reference = run(simple(), tmp_path / "a.zarr")
    other = run(simple(batch_size=batch_size), tmp_path / "b.zarr")
    for a, b in zip(reference, other, strict=True):
        for name in a.fits:
            np.testing.assert_allclose(a.fits[name].values, b.fits[name].values, atol=1e-6)
            np.testing.assert_allclose(a.fits[name].log_likelihood, b.fits[name].log_likelihood, atol=1e-8)


def test_the_seed_may_be_given_late(tmp_path):
    a = run(simple(), tmp_path / "a.zarr", seed=5)
    b = run(simple(seed=5), tmp_path / "b.zarr")
    assert files(a.path) == files(b.path)
    assert a.hash != run(simple(), tmp_path / "c.zarr").hash


def test_workers_change_nothing(tmp_path):
    one = run(simple(), tmp_path / "one.zarr", workers=1)
    two = run(simple(), tmp_path / "two.zarr", workers=2)
    assert files(one.path) == files(two.path)


def test_a_cluster_changes_nothing(tmp_path):
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=":0")
    with cluster, distributed.Client(cluster) as client:
        there = run(simple(), tmp_path / "there.zarr", client=client)
    assert files(there.path) == files(run(simple(), tmp_path / "here.zarr").path)


def test_results_say_nothing_of_when_and_where(tmp_path):
    results = run(simple(metadata={"who": "me", "day": dt.date(2024, 2, 29)}), tmp_path / "r.zarr")
    text = (results.path / "zarr.json").read_text()
    assert str(tmp_path) not in text
    assert results[0].metadata == {"who": "me", "day": "2024-02-29"}


def test_thresholds_may_be_numbers_and_functions(tmp_path):
    settings = {"compute_confidence_interval": True, "n_toys": 4, "to_vary": {}, "hypotheses": ["free"]}
    by = {
        name: run(simple(threshold=threshold, **settings), tmp_path / f"{name}.zarr")[0].intervals
        for name, threshold in {"number": 1.0, "function": lambda x: 0.0 * x + 1.0, "none": None}.items()
    }
    np.testing.assert_allclose(by["number"], by["function"], atol=1e-5)
    np.testing.assert_allclose(np.diff(by["number"]), 2.0, rtol=1e-4)
    assert (np.diff(by["none"]) > 3.0).all(), "90 % of a Gaussian"


def test_thresholds_are_read_from_a_file(tmp_path):
    toys = run(simple(n_toys=40, batch_size=40), tmp_path / "t.zarr")
    thresholds = cm.NeymanThresholds.from_results(toys, 0.9)
    thresholds.to_json(tmp_path / "thresholds.json", layout="alea")
    given = {"to_vary": {}, "folder": tmp_path, "n_toys": 4, "compute_confidence_interval": True}
    read = cm.Campaign(gaussian(), "mu", hypotheses=["free"], threshold="thresholds.json", **given)
    said = cm.Campaign(gaussian(), "mu", hypotheses=["free"], threshold=thresholds.at(0.9), **given)
    a, b = run(read, tmp_path / "a.zarr"), run(said, tmp_path / "b.zarr")
    np.testing.assert_array_equal(a[0].intervals, b[0].intervals)


# Toy data ------------------------------------------------------------------------------------------------------------


def test_toys_are_kept_and_read_again(tmp_path):
    name = {"toy_data_file": "toys_{mu:.1f}.h5"}
    made = run(simple(), tmp_path / "made.zarr")
    kept = run(simple(toy_data="generate_and_store", **name), tmp_path / "kept.zarr")
    expected = [f"toys_{mu}_{batch}.h5" for mu in ("0.0", "2.0") for batch in range(3)]
    assert sorted(p.name for p in tmp_path.glob("toys*")) == expected
    read = run(simple(toy_data="read", **name), tmp_path / "read.zarr")
    assert made.hash == kept.hash == read.hash
    assert len(read_toys(tmp_path / "toys_2.0_2.h5", gaussian())) == 4
    (tmp_path / "toys_2.0_1.h5").unlink()
    with pytest.raises(InputError, match=r"toys_2\.0_1\.h5"):
        run(simple(toy_data="read", **name), tmp_path / "again.zarr")


class Measured(cm.StatisticalModel):
    """A value with a known error: alea's example, with data as dictionaries or tuples."""

    def __init__(self, form):
        super().__init__([Parameter("mu", bounds=(-10.0, 10.0)), Parameter("sigma", 1.0, fittable=False)])
        self.form = form

    def _log_likelihood(self, data, *, mu, sigma):
        return norm.logpdf(dict(data)["measured"] if self.form is dict else data[1], mu, sigma)

    def _simulate(self, rng, *, mu, sigma):
        measured = rng.normal(mu, sigma)
        return {"measured": measured} if self.form is dict else (0.0, measured)


@pytest.mark.parametrize("form", [dict, tuple])
def test_toys_of_own_models_are_kept_and_read_in_their_form(tmp_path, form):
    settings = {
        "generate_values": {"mu": 1.0},
        "nominal_values": {"sigma": 2.0},
        "n_toys": 6,
        "batch_size": 4,
        "compute_confidence_interval": True,
        "roots": "extremal",
        "toy_data_file": "t.h5",
    }
    kept = run(cm.Campaign(Measured(form), "mu", toy_data="generate_and_store", **settings), tmp_path / "kept.zarr")
    read = run(cm.Campaign(Measured(form), "mu", toy_data="read", **settings), tmp_path / "read.zarr")
    assert kept.hash == read.hash
    toys = [dict(toy)["measured"] if form is dict else toy[1] for toy in read_toys(tmp_path / "t_0.h5", Measured(form))]
    (point,) = kept
    np.testing.assert_allclose(point.values("mu")[:4], toys, atol=1e-3)
    np.testing.assert_allclose(point.intervals[:4, 1], toys + 2.0 * norm.ppf(0.95), atol=1e-2)
    np.testing.assert_allclose(point.fits["free"].log_likelihood, norm.logpdf(0.0, 0.0, 2.0), atol=1e-6)


def test_one_file_serves_all_batches(tmp_path):
    whole = {"toy_data_file": "t.h5", "to_vary": {}}
    run(simple(toy_data="generate_and_store", batch_size=20, **whole), tmp_path / "kept.zarr")
    read = run(simple(toy_data="read", batch_size=6, **whole), tmp_path / "read.zarr")
    assert read.hash == run(simple(batch_size=6, to_vary={}), tmp_path / "made.zarr").hash
    with pytest.raises(TaskError, match="holds 20 toys"):
        run(simple(toy_data="read", n_toys=21, batch_size=6, **whole), tmp_path / "more.zarr")


def test_other_toys_are_another_campaign(tmp_path):
    """What was read is part of what results depend on."""
    settings = {"toy_data_file": "t.h5", "to_vary": {}, "batch_size": 20}
    run(simple(toy_data="generate_and_store", **settings), tmp_path / "kept.zarr")
    run(simple(toy_data="read", **settings), tmp_path / "read.zarr")
    (tmp_path / "t.h5").unlink()
    run(simple(toy_data="generate_and_store", seed=9, **settings), tmp_path / "other.zarr")
    with pytest.raises(OutputExistsError, match=r"files\.t\.h5"):
        run(simple(toy_data="read", **settings), tmp_path / "read.zarr")


def test_toy_data_may_be_all_that_is_wanted(tmp_path):
    settings = {"toy_data": "generate_and_store", "toy_data_file": "t_{mu}.h5", "batch_size": 20}
    results = run(simple(only_toydata=True, **settings), tmp_path / "r.zarr")
    assert [dict(p.fits) for p in results] == [{}, {}]
    assert len(read_toys(tmp_path / "t_2.0.h5", gaussian())) == 20


def test_without_toys_the_data_of_the_model_are_fitted(tmp_path):
    settings = {"toy_data": "no_toydata", "n_toys": 1, "hypotheses": ["free"]}
    (point,) = run(cm.Campaign(gaussian().with_data([0.5, -0.25]), "mu", **settings), tmp_path / "r.zarr")
    np.testing.assert_allclose(point.fits["free"].values, [[0.5, -0.25]], atol=1e-6)
    with pytest.raises((MissingError, TaskError), match="no data"):
        run(cm.Campaign(gaussian(), "mu", **settings), tmp_path / "none.zarr")


def test_results_go_to_files_of_alea_and_come_back(tmp_path):
    results = run(simple(compute_confidence_interval=True), tmp_path / "r.zarr")
    paths = write_alea_results(results, tmp_path, simple().output_file, seed=3)
    assert [p.name for p in paths] == ["toymc_mu_0.0.ii.h5", "toymc_mu_2.0.ii.h5"]
    for path, point in zip(paths, results, strict=True):
        back = read_alea_results(path)
        assert back.generate == point.generate
        np.testing.assert_array_equal(back.statistic("true"), point.statistic("true"))
        np.testing.assert_array_equal(back.intervals, point.intervals)


# Going on ------------------------------------------------------------------------------------------------------------


def test_a_finished_campaign_is_not_run_again(tmp_path, monkeypatch):
    first = run(simple(), tmp_path / "r.zarr")
    monkeypatch.setattr("columnminer.toys.runner._make_batch", None)
    assert run(simple(), tmp_path / "r.zarr").hash == first.hash
    with pytest.raises(OutputExistsError, match=r"points\[0\]\.level: 0.9 there, 0.8 asked for"):
        run(simple(level=0.8), tmp_path / "r.zarr")
    with pytest.raises(OutputExistsError, match="exists already"):
        run(simple(), tmp_path / "r.zarr", resume=False)


def test_another_model_is_another_campaign(tmp_path):
    run(simple(), tmp_path / "r.zarr")
    other = cm.Campaign(
        Gaussian(gaussian().parameters, [[1.0, 0.3], [0.3, 0.6]]),
        "mu",
        **simple().config.given(without=["model", "poi"]),
    )
    with pytest.raises(OutputExistsError, match=r"models.*log_likelihoods"):
        run(other, tmp_path / "r.zarr")
    assert run(other, tmp_path / "r.zarr", replace=True).hash


class Picky(Gaussian):
    """Breaks at toys whose first measurement is large, until it is mended."""

    limit = 2.5

    def terms(self, points, data):
        if np.max(np.asarray(data)[..., 0]) > self.limit:
            msg = "too large"
            raise MissingError(msg)
        return super().terms(points, data)


def test_batches_that_fail_are_named_and_the_others_kept(tmp_path):
    model = Picky(gaussian().parameters, gaussian().covariance)
    settings = {"n_toys": 40, "batch_size": 4, "hypotheses": ["free"]}
    with pytest.raises(TaskError, match=r"toys \d+ to \d+: too large[\s\S]*kept in"):
        run(cm.Campaign(model, "mu", **settings), tmp_path / "r.zarr")
    assert not (tmp_path / "r.zarr").exists()
    done = len([*(tmp_path / "r.zarr.parts").glob("*/000000/*")])
    assert 0 < done < 10
    model.limit = 100.0
    results = run(cm.Campaign(model, "mu", **settings), tmp_path / "r.zarr")
    fresh = run(cm.Campaign(model, "mu", **settings), tmp_path / "f.zarr")
    assert files(results.path) == files(fresh.path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.zarr", "r.zarr"], "no parts are left"


class Slow(Gaussian):
    """Takes its time, if the environment says so; also in other processes."""

    def simulate_many(self, *arguments, **options):
        time.sleep(float(os.environ.get("TOY_PAUSE", "0")))
        return super().simulate_many(*arguments, **options)


def slow():
    model = Slow(gaussian().parameters, gaussian().covariance)
    return cm.Campaign(model, "mu", to_vary={"mu": [0.0, 2.0]}, n_toys=20, batch_size=2, seed=3)


def start(out, workers=1, pause=0.03):
    path = os.pathsep.join([str(Path(cm.__file__).parents[1]), str(HERE)])
    code = (
        "import sys, columnminer as cm; from test_toy_runner import slow\n"
        "cm.run_campaign(slow(), sys.argv[1], workers=int(sys.argv[2]), progress=False)"
    )
    environment = {**os.environ, "PYTHONPATH": path, "TOY_PAUSE": str(pause)}
    return subprocess.Popen([sys.executable, "-c", code, str(out), str(workers)], env=environment)


def n_parts(out):
    return len([p for p in out.with_name(out.name + ".parts").glob("*/*/*") if not p.name.startswith(".")])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return files(run(slow(), tmp_path_factory.mktemp("undisturbed") / "r.zarr").path)


def test_killed_twice_in_mid_campaign_and_run_again_equals_undisturbed(undisturbed, tmp_path):
    out = tmp_path / "r.zarr"
    seen = 0
    for wanted in (4, 11):
        runner = start(out)
        while n_parts(out) < wanted and runner.poll() is None:
            time.sleep(0.002)
        runner.kill()
        runner.wait()
        assert not out.exists()
        assert seen < n_parts(out) < 20, "it went on, and was not done"
        seen = n_parts(out)
    times = {p: p.stat().st_mtime_ns for p in out.with_name("r.zarr.parts").glob("*/*/*") if p.name[0] != "."}
    assert len(times) == seen
    assert files(run(slow(), out).path) == undisturbed
    assert [p.name for p in tmp_path.iterdir()] == ["r.zarr"], "nothing is left lying about"


def test_two_runs_at_once_give_one_result(undisturbed, tmp_path):
    out = tmp_path / "r.zarr"
    both = [start(out, pause=0.01) for _ in range(2)]
    assert [runner.wait() for runner in both] == [0, 0]
    assert files(out) == undisturbed


@pytest.mark.slow
def test_killed_ten_times_at_random_moments_equals_undisturbed(undisturbed, tmp_path):
    """The runner, or one of its workers."""
    moments = np.random.default_rng(7)
    out = tmp_path / "r.zarr"
    for attempt in range(10):
        runner = start(out, workers=2, pause=0.5)
        process = psutil.Process(runner.pid)
        while len(process.children()) < 2 and runner.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 6.0))
        running = process.children(recursive=True) if runner.poll() is None else []
        if attempt % 2 and running:
            running[moments.integers(len(running))].kill()
            time.sleep(moments.uniform(0.0, 3.0))
        for one in [process, *running] if runner.poll() is None else []:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        runner.wait()
        if out.exists():
            assert files(out) == undisturbed
            shutil.rmtree(out)
    assert files(run(slow(), out).path) == undisturbed


# Other likelihoods ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return analytic_store(tmp_path_factory.mktemp("store") / "events.zarr")


SAVED = """\
model: {store: events.zarr, observables: x, bins: [0.1, 0.3, 0.5, 0.7, 0.9], luminosity: 300.0}
poi: %s
n_toys: 6
batch_size: 3
"""


def test_a_histogram_of_a_saved_store_runs_as_any_likelihood_does(store, tmp_path):
    model = cm.HistogramLikelihood.from_store(store, "x", 300.0, bins=[0.1, 0.3, 0.5, 0.7, 0.9])
    poi = model.names[0]
    given = run(cm.Campaign(model, poi, n_toys=6, batch_size=3), tmp_path / "given.zarr")
    assert given[0].fits["free"].valid.all()
    assert (given[0].statistic("true") >= 0.0).all()
    (store.path.parent / "saved.yaml").write_text(SAVED % poi)
    saved = cm.Campaign.from_yaml(store.path.parent / "saved.yaml")
    assert run(saved, tmp_path / "saved.zarr").hash == given.hash


def test_a_learned_ratio_runs_as_any_likelihood_does(store, tmp_path):
    model = NeuralLikelihood.from_store(store, ExactRatio(), 200.0)
    campaign = cm.Campaign(model, "theta", generate_values={"theta": 0.5}, n_toys=30, batch_size=10)
    (point,) = run(campaign, tmp_path / "r.zarr")
    assert point.fits["free"].valid.all()
    assert abs(np.mean(point.values("theta")) - 0.5) < 5.0 * np.std(point.values("theta")) / np.sqrt(30)
    kept = cm.Campaign(
        model,
        "theta",
        generate_values={"theta": 0.5},
        n_toys=30,
        batch_size=10,
        toy_data="generate_and_store",
        toy_data_file="toys.h5",
    )
    assert run(kept, tmp_path / "k.zarr").hash == run(campaign, tmp_path / "r.zarr").hash
    assert len(read_toys(tmp_path / "toys_2.h5", model)[0].x) > 50


# The running configuration of alea -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running(shared):
    return shared / "alea" / "configs" / "unbinned_wimp_running.yaml"


def test_a_power_computation_of_alea_runs_as_it_is(running, tmp_path):
    campaign = cm.Campaign.from_alea(running, "discovery_power", n_toys=30, batch_size=30)
    results = run(campaign, tmp_path / "power.zarr")
    assert len(results) == 10
    for point, expectation in zip(results, np.linspace(0, 30, 10), strict=True):
        assert point.poi_expectation == pytest.approx(expectation)
        assert point.expected["wimp"] == pytest.approx(expectation, rel=1e-6)
        assert list(point.fits) == ["free", "zero", "true", "3"]
        assert point.fits["3"].held["wimp_rate_multiplier"] == pytest.approx(1.25, rel=1e-6), "15 events"
        assert all(fits.valid.all() for fits in point.fits.values())
        np.testing.assert_array_equal(point.values("wimp_mass"), 50.0)
    power = [np.median(point.statistic("zero")) for point in results]
    assert power[0] < 2.0, "of the medians"
    assert power[-1] > 20.0, "a signal is seen where there is one"


def test_thresholds_of_alea_lead_to_a_sensitivity(running, tmp_path):
    few = {"n_toys": 40, "batch_size": 40}
    toys = run(cm.Campaign.from_alea(running, "threshold", **few), tmp_path / "threshold.zarr")
    with pytest.raises(InputError, match=r"thresholds\.json is not in"):
        run(cm.Campaign.from_alea(running, "sensitivity", **few), tmp_path / "sensitivity.zarr")
    cm.NeymanThresholds.from_results(toys, 0.9).to_json(tmp_path / "thresholds.json", layout="alea")
    campaign = cm.Campaign.from_alea(running, "sensitivity", n_toys=6, batch_size=2)
    (point,) = run(campaign, tmp_path / "sensitivity.zarr")
    asymptotic = cm.Campaign.from_alea(running, "sensitivity", n_toys=6, batch_size=2, threshold=None)
    (other,) = run(asymptotic, tmp_path / "asymptotic.zarr")
    np.testing.assert_array_equal(point.fits["free"].values, other.fits["free"].values)
    assert (point.intervals[:, 1] != other.intervals[:, 1]).any(), "thresholds of toys are others"
    assert (point.intervals[:, 0] <= point.intervals[:, 1]).all()
    names = sorted(p.name for p in tmp_path.glob("toyfile*"))
    assert names == [f"toyfile_wimp_mass_50_poi_expectation_0.00.ii_{i}.h5" for i in range(3)]
    read = cm.Campaign.from_alea(running, "sensitivity", n_toys=6, batch_size=2, threshold=None, toy_data="read")
    (again,) = run(read, tmp_path / "read.zarr")
    np.testing.assert_allclose(again.intervals, other.intervals, rtol=1e-9)
    np.testing.assert_array_equal(again.fits["free"].log_likelihood, other.fits["free"].log_likelihood)
