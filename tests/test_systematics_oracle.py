"""The real file with scale weights, from LHE to Fisher information, against MadMiner's numbers.

Theirs (`oracle_systematics.json`) come from a MadMiner whose reading of systematics had to be repaired first. Its
faults, beside what we stand for:

=============================================================  ========================================================
MadMiner                                                       here
=============================================================  ========================================================
cannot read <initrwgt> in CDATA, as MadGraph writes it         read as it is (its file had the CDATA removed)
scale weights that are not found: a warning, then none         `MissingError` with what the file has
the first of several weights that fit is taken                 `InputError` that names them
errors of cross sections: squared weights times f(nu)          times f(nu)^2; 1.7517e-05 and not 1.6701e-05 pb at (1, 0)
no covariance of information about nuisances                   propagated from the sums (`test_fisher` has a bootstrap)
covariance of truth information with a wrong sign: 2455.9      272.88
=============================================================  ========================================================
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from columnminer.formats.lhe import LHEReader
from columnminer.infer.fisher import FisherInformation
from columnminer.infer.histogram import HistogramLikelihood
from columnminer.observe.selection import Selection
from columnminer.processing import process
from columnminer.store.madminer import load_madminer_setup
from columnminer.store.samples import Sample

EDGES = np.linspace(30.0, 400.0, 11)
K_FACTOR = 1.1


@pytest.fixture(scope="module")
def vbf(shared):
    return shared / "vbf"


@pytest.fixture(scope="module")
def oracle(vbf):
    return json.loads((vbf / "oracle_systematics.json").read_text())


@pytest.fixture(scope="module")
def store(vbf, tmp_path_factory):
    selection = Selection(
        {
            "pt_j1": "j[0].pt",
            "delta_phi_jj": "j[0].deltaphi(j[1]) * (-1.0 + 2.0 * float(j[0].eta > j[1].eta))",
        },
        cuts=["pt_j1 > 30."],
    )
    sample = Sample(
        vbf / "signal_sm_systematics.lhe.gz",
        benchmark="sm",
        k_factor=K_FACTOR,
        systematics=["signal_norm", "scales"],
    )
    setup = load_madminer_setup(vbf / "madminer_setup_systematics.h5")
    out = tmp_path_factory.mktemp("systematics") / "events.zarr"
    return process([sample], setup, selection, out, progress=False)


@pytest.fixture(scope="module")
def block(store):
    return next(store.blocks())


def assert_agrees(ours, theirs):
    """Within 1e-8 of the largest entry."""
    theirs = np.asarray(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-8 * np.abs(theirs).max())


def test_benchmarks_and_events(store, oracle):
    physical = [n for n, varied in zip(oracle["benchmarks"], oracle["nuisance_flags"], strict=True) if not varied]
    assert list(store.setup.benchmark_names) == physical
    points = [list(oracle["benchmarks"][name].values()) for name in physical]
    assert_agrees(store.setup.benchmark_points, points)
    assert len(store) == oracle["n"]
    assert_agrees(store.observables[:5], oracle["first5_observations"])


def test_weights_of_benchmarks_and_variations(store, block, oracle):
    """All columns, by name: nu = +1 of the scales is the last factor, and the first weight of the parameter."""
    ours = dict(zip(store.setup.benchmark_names, block.benchmark_weights.T, strict=True))
    for column in store.nuisances:
        up, down = next(o[1:] for o in oracle["nuisance_parameters"].values() if o[0] == column.systematic)
        ours[up] = block.nuisance_weights[:, column.up]
        assert (down is None) == (column.down is None)
        if column.down is not None:
            ours[down] = block.nuisance_weights[:, column.down]
    table = np.stack([ours[name] for name in oracle["benchmarks"]], axis=1)
    for column, theirs in zip(table[:5].T, np.transpose(oracle["first5_weights"]), strict=True):
        assert_agrees(column, theirs)  # column by column, as they differ by orders of magnitude
    np.testing.assert_allclose(table.sum(axis=0), oracle["sum_weights"], rtol=1e-8)


def test_factors_cross_sections_and_gradients(store, block, oracle):
    assert_agrees(block.nuisance_factors(np.array([[0.5, -1.0]]))[0, :5], oracle["nuisance_morphing_a"])
    entry = oracle["xsecs_theta0_at_nus"]
    result = store.xsec([[0, 0]] * 4, entry["nus"])
    assert_agrees(result.value, entry["values"])
    assert_agrees(store.xsec_gradients([[0, 0]] * 4, entry["nus"]), oracle["xsec_gradients_theta_nu"])
    weights, factors = block.weights([[0, 0]])[0], block.nuisance_factors(np.array(entry["nus"]))
    assert_agrees(np.sqrt(factors @ weights**2), entry["uncertainties"])  # their recipe gives their numbers
    np.testing.assert_allclose(result.error, np.sqrt(factors**2 @ weights**2), rtol=1e-12)
    assert result.error[1] == pytest.approx(1.751667e-05, rel=1e-6)
    # negative control: the sign of nu matters
    swapped = store.xsec([[0, 0]] * 4, np.negative(entry["nus"])).value
    assert np.abs(swapped / entry["values"] - 1.0).max() > 0.05


@pytest.mark.parametrize(
    ("key", "calculate"),
    [
        ("rate", lambda f: f.rate([0, 0])),
        ("truth", lambda f: f.truth([0, 0])),
        ("histo", lambda f: f.histogram([0, 0], "pt_j1", EDGES)),
    ],
)
def test_information(store, oracle, key, calculate):
    information = FisherInformation(store, 300e3)
    ours, theirs = calculate(information), oracle["fisher"][key]
    assert_agrees(ours.information, theirs["information"])
    covariance = np.array(theirs["covariance"])
    assert not covariance[:, :, 2:].any()  # theirs says nothing about nuisances
    assert (ours.error > 0.0).all()
    if key == "truth":
        assert covariance[0, 0, 0, 0] == pytest.approx(9 * ours.covariance[0, 0, 0, 0], rel=1e-8)
        assert ours.covariance[0, 0, 0, 0] == pytest.approx(272.878, rel=1e-5)
        constrained = ours + information.constraints()
        assert_agrees(information.constraints().information, oracle["fisher"]["constraint"])
        names = store.setup.parameter_names
        assert_agrees(constrained.profile(names).information, oracle["fisher"]["truth_plus_constraint_profiled"])
        assert_agrees(constrained.project(names).information, oracle["fisher"]["truth_plus_constraint_projected"])


def test_histograms_at_shifted_nuisances_are_those_of_the_varied_weights(vbf, store):
    """At nu = +1 and -1 of the scales, the templates are histograms of the weights with ids 8 and 1 of the file."""
    likelihood = HistogramLikelihood.from_store(
        store, "pt_j1", 300e3, bins=EDGES, partition="all", nuisances=True, include_rate=False
    )
    pt, columns = [], []
    reader = LHEReader(vbf / "signal_sm_systematics.lhe.gz")
    for batch in reader.batches():
        selected = Selection({"pt_j1": "j[0].pt"}, cuts=["pt_j1 > 30."]).apply(batch)
        pt.append(selected.observables[:, 0])
        columns.append(selected.weights[:, [batch.weight_names.index(i) for i in ("nominal", "8", "1")]])
    index = np.digitize(np.concatenate(pt), EDGES)
    raw = np.stack([np.bincount(index, w, len(EDGES) + 1) for w in np.concatenate(columns).T])
    expected = K_FACTOR * raw  # event_norm = sum: the raw weights are in pb
    points = [[0.0, 0.0, 0.0, nu] for nu in (0.0, 1.0, -1.0)]
    templates = likelihood.templates.at(np.array(points))
    np.testing.assert_allclose(templates, expected, rtol=1e-9)
    rate = likelihood.templates.at(np.array([0.0, 0.0, 1.0, 1.0]))
    np.testing.assert_allclose(rate, 1.1 * expected[1], rtol=1e-9)
    assert np.abs(expected[1, 1:] / expected[2, 1:] - 1.0).max() > 0.05  # up and down differ
