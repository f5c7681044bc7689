"""Index parameters, and parameters that are not fittable, in single and batched fits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from analytic_likelihoods import Curve, Gaussian
from wimp_templates import ANCHORS, wimps

from columnminer.errors import InputError
from columnminer.infer.batches import pick
from columnminer.infer.batchfit import fit_batch
from columnminer.infer.batchintervals import interval_batch
from columnminer.infer.fit import fit, maximise
from columnminer.infer.intervals import confidence_interval
from columnminer.infer.profiles import profile
from columnminer.model.parameters import Parameter

COVARIANCE = np.diag([0.04, 0.25, 1.0])


def test_indices_are_those_of_the_best_of_all_fits():
    model = wimps(shape_kind="index")
    data = model.simulate_many(3, np.arange(5), shape=1.0)
    fits = fit_batch(model, data)
    everywhere = np.stack([fit_batch(model, data, shape=a).log_likelihood for a in ANCHORS])
    assert fits.converged.all()
    assert np.isin(fits.by_name["shape"], ANCHORS).all()
    np.testing.assert_allclose(fits.log_likelihood, everywhere.max(axis=0), atol=1e-6)
    assert len(set(fits.by_name["shape"])) > 1
    for i in range(len(fits)):
        one = maximise(model.with_data(pick(data, np.asarray(i))))
        assert one.valid
        assert one.parameter_names == model.names
        assert one.by_name["shape"] == fits.by_name["shape"][i]
        assert one.log_likelihood == pytest.approx(fits.log_likelihood[i], abs=1e-6)
        assert np.isnan(one.errors[3])


def test_intervals_fit_indices_at_each_value():
    model = wimps(shape_kind="index")
    data = model.simulate_many(3, np.arange(3), shape=1.0)
    batch = interval_batch(model, "mu", data)
    for i in range(3):
        single = confidence_interval(model.with_data(pick(data, np.asarray(i))), "mu")
        assert (batch.lower[i], batch.upper[i]) == pytest.approx((single.lower, single.upper), abs=1e-3)


def two_indices():
    """-log L is a bowl around (0.3, 2.2) in two indices, leaning on x."""
    parameters = [
        Parameter("x"),
        Parameter("i", 0.0, kind="index", anchors=(-1.0, 0.0, 1.0)),
        Parameter("j", 0.0, kind="index", anchors=(0.0, 2.0, 3.0)),
    ]

    def log(p):
        x, i, j = (p[..., k] for k in range(3))
        return -0.5 * ((i - 0.3) ** 2 + (j - 2.2) ** 2 + (x - i - 0.5 * j) ** 2)

    return Curve(parameters, log)


def test_several_indices_are_searched_together():
    model = two_indices()
    best = fit(model)
    assert best.by_name == {"x": pytest.approx(1.0, abs=1e-3), "i": 0.0, "j": 2.0}
    grid = itertools.product(*(p.anchors for p in model.parameters[1:]))
    assert best.log_likelihood == pytest.approx(max(fit(model.fix(i=i, j=j)).log_likelihood for i, j in grid))
    batch = fit_batch(model, 0.0, start={"j": 3.0})
    np.testing.assert_allclose(batch.values[0], [1.0, 0.0, 2.0], atol=1e-4)
    only = fit(model.fix(x=1.0))
    assert only.by_name == {"i": 0.0, "j": 2.0}
    assert only.valid


def test_index_fitting_can_be_disabled_and_its_turns_are_counted():
    model = two_indices()
    held = fit(model, disable_index_fitting=True, start={"i": 0.8, "j": 2.9})
    assert held.by_name == {"x": pytest.approx(2.5, abs=1e-3), "i": 1.0, "j": 3.0}  # at the anchors next to the start
    options = {"fit_options": {"disable_index_fitting": True}}
    batch = fit_batch(model, 0.0, start={"i": 0.8, "j": 2.9}, **options)
    np.testing.assert_allclose(batch.values[0], [2.5, 1.0, 3.0], atol=1e-4)
    once = maximise(model, start={"i": 1.0, "j": 3.0}, max_index_fitting_iter=1)
    assert not once.valid  # the indices were still moving
    with pytest.raises(InputError, match="max_index_fitting_iter"):
        fit(model, max_index_fitting_iter=0)


def livetimes():
    parameters = [Parameter("a"), Parameter("livetime", 2.0, kind="livetime", fittable=False), Parameter("c")]
    return Gaussian(parameters, COVARIANCE)


def test_parameters_that_are_not_fittable_stay_nominal():
    model = livetimes().with_data([1.0, 5.0, -1.0])
    best = fit(model)
    assert best.parameter_names == ("a", "c")
    assert best.by_name == {"a": pytest.approx(1.0, abs=1e-3), "c": pytest.approx(-1.0, abs=1e-3), "livetime": 2.0}
    assert best.log_likelihood == pytest.approx(-0.5 * 9.0 / 0.25, abs=1e-6)
    batch = fit_batch(livetimes(), np.array([[1.0, 5.0, -1.0], [2.0, 3.0, 0.0]]))
    np.testing.assert_array_equal(batch.by_name["livetime"], 2.0)
    np.testing.assert_allclose(batch.by_name["a"], [1.0, 2.0], atol=1e-5)
    elsewhere = fit(model, livetime=4.0)
    assert elsewhere.log_likelihood == pytest.approx(-0.5 / 0.25, abs=1e-6)
    along = profile(model, "a", [0.8, 1.2])
    assert set(along.others) == {"c"}
    np.testing.assert_allclose(along.test_statistic, 1.0, atol=1e-3)
    interval = confidence_interval(model, "a")
    assert interval.best_fit.fixed == {"livetime": 2.0}
    with pytest.raises(InputError, match="'livetime' is not fittable"):
        confidence_interval(model, "livetime")
