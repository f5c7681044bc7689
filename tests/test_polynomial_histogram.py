"""Histograms of polynomials against brute-force sums of event weights, and polynomials against left-out weights."""

from __future__ import annotations

import pickle

import hist
import numpy as np
import pytest

import columnminer as cm
from columnminer.model.labels import couplings, labelled_points
from columnminer.model.polynomials import EventPolynomials

N = 3000


@pytest.fixture(scope="module")
def setup() -> cm.Setup:
    space = cm.ParameterSpace(
        [cm.Parameter("c_w", lha=("dim6", 1), max_power=2), cm.Parameter("c_b", lha=("dim6", 2), max_power=2)]
    )
    rng = np.random.default_rng(7)
    points = {f"b{i}": dict(zip(space.names, rng.normal(size=2) * 3, strict=True)) for i in range(7)}
    benchmarks = {"sm": dict.fromkeys(space.names, 0.0), **points}
    basis = ["sm", *list(points)[:5]]
    return cm.Setup(space, benchmarks).with_morphing(max_overall_power=2, morphing_basis=basis)


@pytest.fixture(scope="module")
def true(setup: cm.Setup) -> np.ndarray:
    """Random positive polynomials: squares of amplitudes, (N, n_components) coefficients in the morphing's order."""
    return np.random.default_rng(1).normal(size=(N, 3))


def weights_at(setup: cm.Setup, amplitudes: np.ndarray, theta: object) -> np.ndarray:
    vector = np.concatenate([[1.0], setup.theta(theta)])
    return (amplitudes @ vector) ** 2


def at_benchmarks(setup: cm.Setup, amplitudes: np.ndarray) -> np.ndarray:
    return np.stack([weights_at(setup, amplitudes, name) for name in setup.benchmark_names], axis=1)


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(N, 2))


def axes() -> list[object]:
    return [hist.axis.Regular(6, -2, 2, name="x"), hist.axis.Variable([-1.0, 0.0, 0.3, 2.0], name="y")]


def test_values_and_variances_are_those_of_the_events(setup: cm.Setup, true: np.ndarray, x: np.ndarray) -> None:
    histogram = cm.PolynomialHistogram(setup, *axes()).fill(at_benchmarks(setup, true), x=x[:, 0], y=x[:, 1])
    for theta in np.random.default_rng(3).normal(size=(5, 2)) * 2:
        expected = hist.Hist(*axes(), storage=hist.storage.Weight())
        expected.fill(x[:, 0], x[:, 1], weight=weights_at(setup, true, theta))
        made = histogram.at(theta)
        for flow in (False, True):
            np.testing.assert_allclose(made.values(flow=flow), expected.values(flow=flow), rtol=1e-9)
            np.testing.assert_allclose(made.variances(flow=flow), expected.variances(flow=flow), rtol=1e-8)
        np.testing.assert_allclose(histogram.variances(theta), expected.variances(), rtol=1e-8)
        assert np.abs(histogram.values(theta * 1.5) / expected.values() - 1).max() > 0.05


def test_merging_is_filling_with_all(setup: cm.Setup, true: np.ndarray, x: np.ndarray) -> None:
    weights, half = at_benchmarks(setup, true), N // 2
    whole = cm.PolynomialHistogram(setup, *axes()).fill(weights, x=x[:, 0], y=x[:, 1])
    parts = [
        cm.PolynomialHistogram(setup, *axes()).fill(weights[some], x=x[some, 0], y=x[some, 1])
        for some in (slice(half), slice(half, None))
    ]
    merged = pickle.loads(pickle.dumps(parts[1])) + parts[0]  # noqa: S301 - as executors do
    np.testing.assert_allclose(merged.values([1.0, -1.0]), whole.values([1.0, -1.0]), rtol=1e-12)
    np.testing.assert_allclose(merged.variances([1.0, -1.0]), whole.variances([1.0, -1.0]), rtol=1e-12)
    assert parts[0].values("sm").sum() < whole.values("sm").sum()  # the summands stay what they were
    scaled = 3.0 * whole
    np.testing.assert_allclose(scaled.values("b1"), 3 * whole.values("b1"))
    np.testing.assert_allclose(scaled.variances("b1"), 9 * whole.variances("b1"))
    with pytest.raises(cm.ColumnMinerError, match="add up if they have the same"):
        _ = whole + cm.PolynomialHistogram(setup, *axes()[:1])


def test_backgrounds_are_constant_and_growing_axes_grow(setup: cm.Setup, true: np.ndarray) -> None:
    category = hist.axis.StrCategory([], growth=True, name="channel")
    histogram = cm.PolynomialHistogram(setup, category)
    names = np.where(np.arange(N) % 3 == 0, "ee", "mumu")
    histogram.fill(at_benchmarks(setup, true), channel=names)
    histogram.fill(np.full(10, 2.5), background=True, channel=np.full(10, "emu"))
    for theta in ([0.0, 0.0], [1.0, 2.0]):
        made, w = histogram.at(theta), weights_at(setup, true, theta)
        assert made[hist.loc("emu")].value == pytest.approx(25.0)
        assert made[hist.loc("emu")].variance == pytest.approx(62.5)
        assert made[hist.loc("ee")].value == pytest.approx(w[names == "ee"].sum())


def test_wrong_fillings_are_refused(setup: cm.Setup, true: np.ndarray, x: np.ndarray) -> None:
    histogram = cm.PolynomialHistogram(setup, *axes())
    weights = at_benchmarks(setup, true)
    with pytest.raises(cm.ColumnMinerError, match="values are missing of the axis 'y'"):
        histogram.fill(weights, x=x[:, 0])
    with pytest.raises(cm.ColumnMinerError, match="do not fit"):
        histogram.fill(weights[:, :2], x=x[:, 0], y=x[:, 1])
    with pytest.raises(cm.ColumnMinerError, match="different names"):
        cm.PolynomialHistogram(setup, hist.axis.Regular(2, 0, 1))
    with pytest.raises(cm.ColumnMinerError, match="need a set-up with morphing"):
        cm.PolynomialHistogram(cm.Setup(setup.space, setup.benchmarks), *axes())


def test_left_out_weights_tell_whether_weights_are_polynomials(setup: cm.Setup, true: np.ndarray) -> None:
    polynomials = EventPolynomials(setup)
    assert polynomials.left_out == ("b5", "b6")
    weights = at_benchmarks(setup, true)
    point = np.array([2.0, 1.0])
    good = {"extra": (point, weights_at(setup, true, point))}
    residual = polynomials.worst(weights, good, "f", 100)
    assert residual is not None
    assert residual.value < 1e-10
    np.testing.assert_allclose(
        polynomials.coefficients(weights) @ polynomials.monomials(point), good["extra"][1], rtol=1e-9, atol=1e-10
    )
    wrong = weights.copy()
    wrong[321, 7] *= 1.25
    residual = polynomials.worst(wrong, {}, "f", 100)
    assert residual is not None
    assert (residual.weight, residual.event) == ("b6", 421)
    assert residual.value == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("EFTrwgt12_c_w_1.5_c_b_-2e-1", {"c_w": 1.5, "c_b": -0.2}),
        ("c_w_m1p5_c_b_0p25", {"c_w": -1.5, "c_b": 0.25}),
        ("c_w=1, c_b=-.5", {"c_w": 1.0, "c_b": -0.5}),
        ("rwgt_3", {}),
        ("c_w_1.0_ctp_0.0", {"c_w": 1.0, "ctp": 0.0}),
    ],
)
def test_labels_give_couplings(label: str, expected: dict[str, float]) -> None:
    assert couplings(label, ("c_w", "c_b")) == expected


def test_unknown_couplings_of_labels_are_named(setup: cm.Setup) -> None:
    found = labelled_points({"1": "c_w_1.0_ctp_0.0", "2": "rwgt_3", "3": "nothing"}, setup.space, "f.root")
    assert {name: point.tolist() for name, point in found.items()} == {"1": [1.0, 0.0]}
    with pytest.raises(cm.ColumnMinerError, match=r"f\.root: the weight 'c_w_1\.0_ctp_2\.0' names 'ctp'"):
        labelled_points({"1": "c_w_1.0_ctp_2.0"}, setup.space, "f.root")
