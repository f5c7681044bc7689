"""The parton densities of the built-in generator against what any set must obey."""

from __future__ import annotations

import numpy as np
import pytest

from columnminer.generate.exact import panel_nodes
from columnminer.generate.partons import alpha_s, gluon_density, quark_densities

SCALES = [2.0, 10.0, 91.2, 300.0, 1000.0]


@pytest.fixture(scope="module")
def nodes():
    log_x = panel_nodes(np.linspace(np.log(1e-9), 0.0, 41), 10)
    return np.exp(log_x.x), log_x.weights  # d log x, so that sum(w * x f) is a number and sum(w * x * x f) a momentum


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
    valence = [np.sum(w * x * sum(q[i] - q[-i] for i in (1, 2))) for q in (quark_densities(x, scale) for scale in scales)]
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
