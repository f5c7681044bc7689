"""The parton densities of the built-in generator against what any set must obey."""

from __future__ import annotations

import numpy as np
import pytest

from columnminer.generate.exact import panel_nodes
from columnminer.generate.partons import alpha_s, gluon_density, quark_densities

# x f(x, scale) as Pythia 8.317 has it, GRV94L(2212).xf(id, x, scale^2): (x, scale) -> {PDG id: value}
PYTHIA = {
    (1e-3, 91.2): {
        1: 1.6601166546773398,
        2: 1.6804794636153553,
        3: 1.4888885760167878,
        -1: 1.606103593881642,
        -2: 1.5966429416268608,
        21: 41.711514270540064,
    },
    (0.1, 91.2): {
        1: 0.3501066605662587,
        2: 0.5761246044607917,
        3: 0.04810360878583565,
        -1: 0.12980248459941562,
        -2: 0.09125446829125049,
        21: 0.8711684793857923,
    },
    (0.5, 1000.0): {
        1: 0.018848653720264223,
        2: 0.09005822052829289,
        3: 0.00044503452107330405,
        -1: 0.0007825372682656782,
        -2: 0.00044547926898863533,
        21: 0.004965140193740985,
    },
}
SCALES = [2.0, 10.0, 91.2, 300.0, 1000.0]


@pytest.fixture(scope="module")
def nodes():
    log_x = panel_nodes(np.linspace(np.log(1e-9), 0.0, 41), 10)
    return np.exp(log_x.x), log_x.weights  # d log x, so that sum(w * x f) is a number and sum(w * x * x f) a momentum


@pytest.mark.parametrize(("point", "expected"), PYTHIA.items())
def test_densities_are_those_of_the_published_set(point, expected):
    densities = {**quark_densities(*point), 21: gluon_density(*point)}
    assert {i: float(densities[i]) for i in expected} == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scale", SCALES)
def test_momentum_and_valence_sum_rules_hold_to_the_precision_of_the_parametrisation(nodes, scale):
    x, w = nodes
    quarks = quark_densities(x, scale)
    momentum = sum(np.sum(w * x * density) for density in (*quarks.values(), gluon_density(x, scale)))
    assert momentum == pytest.approx(1, abs=5e-3)
    assert np.sum(w * (quarks[2] - quarks[-2])) == pytest.approx(2, abs=1e-2)
    assert np.sum(w * (quarks[1] - quarks[-1])) == pytest.approx(1, abs=5e-3)
    assert np.sum(w * (quarks[3] - quarks[-3])) == 0


def test_sum_rules_would_notice_a_wrong_constant(nodes):
    x, w = nodes
    quarks = quark_densities(x, 100.0)
    assert abs(np.sum(w * 1.02 * (quarks[2] - quarks[-2])) - 2) > 1e-2


def test_quarks_lose_momentum_to_gluons_and_large_x_to_small_x_as_the_scale_grows(nodes):
    x, w = nodes
    gluon = [np.sum(w * x * gluon_density(x, scale)) for scale in SCALES]
    assert np.all(np.diff(gluon) > 0)
    up = [quark_densities(np.array([1e-3, 0.5]), scale)[2] for scale in SCALES]
    small, large = np.transpose(up)
    assert np.all(np.diff(small) > 0)
    assert np.all(np.diff(large) < 0)


def test_dglap_evolution_of_the_valence_momentum(nodes):
    # d<x>_V / d log Q^2 = -alpha_s / (2 pi) * 16/9 <x>_V at leading order.
    x, w = nodes
    scales = np.geomspace(20.0, 200.0, 5)
    valence = [
        np.sum(w * x * sum(q[i] - q[-i] for i in (1, 2))) for q in (quark_densities(x, scale) for scale in scales)
    ]
    integral = np.trapezoid(alpha_s(scales) / (2 * np.pi) * 16 / 9, np.log(scales**2))
    assert np.log(valence[0] / valence[-1]) == pytest.approx(integral, rel=0.02)


def test_densities_are_positive_and_vanish_at_x_equal_one():
    x = np.concatenate([np.geomspace(1e-5, 0.9, 200), [1.0]])
    for density in (*quark_densities(x, 500.0).values(), gluon_density(x, 500.0)):
        assert np.all(density[:-1] > 0)
        assert 0 <= density[-1] < 1e-20


def test_strong_coupling_runs_like_one_loop():
    assert alpha_s(91.2) == pytest.approx(0.128, abs=1e-3)
    assert 1 / alpha_s(1000.0) - 1 / alpha_s(100.0) == pytest.approx(23 / (6 * np.pi) * np.log(10))
