"""Impacts of nuisance parameters: closed forms of Gaussian likelihoods, limits, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_likelihoods import Curve, Gaussian

from columnminer.errors import InputError, UnknownNameError
from columnminer.infer.fit import fit
from columnminer.infer.impacts import impacts
from columnminer.model.parameters import Parameter

COVARIANCE = np.array([[1.0, 0.3, -0.9], [0.3, 0.5, 0.0], [-0.9, 0.0, 2.0]])
DATA = np.array([1.0, 0.4, -0.7])


def gaussian(*, limits=(None, None), constraint=2.0):
    parameters = [
        Parameter("mu"),
        Parameter("small", constraint=constraint, kind="nuisance"),
        Parameter("large", kind="nuisance", fit_limits=limits),
    ]
    return Gaussian(parameters, COVARIANCE).with_data(DATA)


def test_impacts_of_a_gaussian_are_covariances_over_errors():
    found = impacts(gaussian(), "mu")
    assert found.nuisances == ("large", "small")
    assert found.up == pytest.approx([-0.9 / np.sqrt(2.0), 0.3 / np.sqrt(0.5)], abs=1e-4)
    assert found.down == pytest.approx(-found.up, abs=2e-4)
    assert found.largest == pytest.approx(np.abs(found.up), abs=2e-4)
    assert found.values == pytest.approx([-0.7, 0.4], abs=1e-4)
    assert found.errors == pytest.approx(np.sqrt([2.0, 0.5]), rel=1e-3)
    assert found.valid
    assert found.pulls[1] == pytest.approx(0.2, abs=1e-4)
    assert found.constrained[1] == pytest.approx(np.sqrt(0.5) / 2.0, rel=1e-3)
    assert np.isnan(found.pulls[0]), "without a constraint there is no pull"


def test_impacts_end_at_fit_limits():
    found = impacts(gaussian(limits=(-1.0, None)), "mu")
    reached = dict(zip(found.nuisances, found.down, strict=True))["large"]
    assert reached == pytest.approx(0.3 * 0.9 / 2.0, abs=1e-3), "0.3 below its best fit lies the limit"


def test_a_constraint_makes_the_error_smaller_and_moves_the_fit():
    constrained = gaussian(constraint=0.5).constrained()
    constrained = constrained.with_data([DATA, 0.0])
    found = impacts(constrained, "mu", best_fit=fit(constrained))
    at = found.nuisances.index("small")
    assert found.values[at] == pytest.approx(0.4 * 0.25 / 0.75, abs=1e-4)
    assert found.errors[at] == pytest.approx(np.sqrt(0.5 * 0.25 / 0.75), rel=1e-3)
    assert found.up[at] == pytest.approx(0.3 / 0.5 * found.errors[at], rel=1e-2)


def test_a_better_best_fit_that_is_met_on_the_way_takes_its_place():
    def two_valleys(points):
        mu, nu = points[..., 0], points[..., 1]
        near, far = 0.5 * (nu / 0.8) ** 2, 0.5 * ((nu - 1.2) / 0.2) ** 2 - 3.0
        return -np.minimum(near, far) - 0.5 * (mu - nu) ** 2

    likelihood = Curve([Parameter("mu"), Parameter("nu")], two_valleys)
    lesser = fit(likelihood, start={"mu": -0.5, "nu": -0.5})
    assert lesser.by_name["nu"] == pytest.approx(0.0, abs=0.01), "the lesser of two maxima"
    found = impacts(likelihood, "mu", best_fit=lesser)
    assert found.values == pytest.approx([1.2], abs=0.01)
    assert found.up == pytest.approx([0.2], rel=0.05)


def test_what_is_no_parameter_of_interest_is_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'mu'"):
        impacts(gaussian(), "mmu")
    held = Curve([Parameter("mu", fittable=False), Parameter("nu")], lambda p: -(p[..., 1] ** 2))
    with pytest.raises(InputError, match="not fittable"):
        impacts(held, "mu")


def test_without_nuisance_parameters_there_are_no_impacts():
    found = impacts(Gaussian([Parameter("mu")], [[1.0]]).with_data([0.3]), "mu")
    assert found.nuisances == ()
    assert found.up.shape == (0,)
