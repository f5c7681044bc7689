"""The example analysis, `examples/vbf.yaml`, on real MadGraph events; smaller where the files are smaller."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.stats import binomtest

from columnminer.errors import ColumnMinerWarning
from columnminer.infer.limits import Grid, observed_limits
from columnminer.infer.neural import NeuralLikelihood
from columnminer.learn.estimators import RatioEstimator, load_estimator
from columnminer.pipeline.analysis import Analysis
from columnminer.pipeline.steps import Running
from columnminer.sample.samples import Samples
from columnminer.store.samplestore import SampleStore

EXAMPLE = Path(__file__).parents[1] / "examples" / "vbf.yaml"
QUIET = Running(progress=False)


def example(folder, events, **sections):
    """Write the example with other sections in the place of some of its own, and its event files elsewhere."""
    document = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8")) | sections
    for sample in document["samples"]:
        sample["path"] = str(events / sample["path"])
    path = folder / "vbf.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


# One epoch on 180 events teaches nothing, and the checks say so.
@pytest.mark.filterwarnings(
    "ignore:the estimator is not right", "ignore:this .* failed checks", "ignore:.*lie outside those of the training"
)
def test_the_example_runs_on_a_few_events(data, tmp_path):
    prior = {"gaussian": {"CWL2": [0, 1], "CPWL2": [0, 1]}}
    grid = {"CWL2": [-1, 1, 5], "CPWL2": [-1, 1, 5]}
    path = example(
        tmp_path,
        data / "vbf",
        sampling={"ratio": {"theta0": prior, "n": 200, "n_theta": 5}},
        estimators={"alices": {"method": "alices", "epochs": 1}},
        limits={"luminosity": 300e3, "theta_true": "sm", "grid": grid, "estimators": ["alices"], "rate": True},
        information={"luminosity": 300e3, "theta": "sm"},
    )
    with pytest.warns(ColumnMinerWarning, match="fewer than 100 effective events"):
        results = Analysis(path, tmp_path / "out", QUIET).run()
    assert [s.n_generated for s in results.store.samples] == [60, 30, 30, 30, 30]
    assert results.limits["alices"].p_value.max() == 1.0
    assert results.store.observable_names == ("pt_j1", "delta_phi_jj", "m_jj", "pt_aa")


@pytest.fixture(scope="module")
def trained(shared, tmp_path_factory):
    """ALICES and SALLY trained on the 40,000 events of five samples, by the example as it stands."""
    folder = tmp_path_factory.mktemp("vbf")
    analysis = Analysis(example(folder, shared / "vbf"), folder / "out", QUIET)
    return folder / "out", analysis.run()


LUMINOSITY = 100e3  # pb^-1: about 100 events
GRID = Grid([(-1, 1, 51)] * 2)  # steps of a third of the standard error: on coarser ones the best fit falls short


def coverage(store, estimator):
    """In how many of 200 pseudo-experiments at the standard model the 68 % region holds it.

    They are drawn from all events that the estimator was not trained on: the few in the tails of fewer would make
    pseudo-experiments whose spread is not that of the model.
    """
    likelihood = NeuralLikelihood.from_store(store, estimator, LUMINOSITY, partition=("validation", "test"))
    origin = int(np.argmin(np.abs(GRID.points).sum(axis=1)))
    inside = 0
    for seed in range(200):
        toy = likelihood.simulate(seed, [0.0, 0.0])
        inside += observed_limits(None, likelihood, toy, GRID).allowed(0.68)[origin]
    return int(inside)


@pytest.mark.slow
def test_the_injected_point_lies_in_the_68_percent_region_as_often_as_it_should(trained):
    folder, results = trained
    estimator = load_estimator(folder / "estimators" / "alices" / "estimator")
    inside = coverage(results.store, estimator)
    assert binomtest(inside, 200, 0.68).pvalue > 0.01, f"{inside} of 200"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:this RatioEstimator was never checked")  # the coverage is the check
def test_a_mislabelled_training_does_not_pass(trained):
    folder, results = trained
    samples = Samples.of(SampleStore(folder / "sampling" / "ratio" / "samples.zarr"))
    wrong = dataclasses.replace(samples, y=1 - samples.y, r_xz=1 / samples.r_xz, t_xz=-samples.t_xz)
    estimator = RatioEstimator(hidden=(60, 60)).fit(wrong, method="alice", epochs=3, seed=1)
    inside = coverage(results.store, estimator)
    assert binomtest(inside, 200, 0.68).pvalue < 1e-6, f"{inside} of 200"


@pytest.mark.slow
def test_what_is_learned_is_worth_more_than_a_histogram_and_less_than_the_truth(trained):
    _, results = trained
    errors = {
        name: np.sqrt(np.diag(np.linalg.inv(results.information[name].information)))
        for name in ("truth", "sally", "pt_j1")
    }
    assert (errors["truth"] < errors["sally"]).all()
    assert (errors["sally"] < errors["pt_j1"]).all()
    assert (errors["sally"] < 1.5 * errors["truth"]).all()
