from __future__ import annotations

import numpy as np
import pyhf
import pytest
from analytic_likelihoods import Curve, Gaussian, OnOff
from scipy.stats import norm

from columnminer.errors import InputError, MissingError, UnknownNameError
from columnminer.infer.asymptotics import cls_limit, cls_values, discovery
from columnminer.infer.constraints import GaussianConstraint
from columnminer.infer.intervals import confidence_interval
from columnminer.model.parameters import Parameter

CASES = {
    "counting, few events": ([5.0], [10.0], [2.0], [7]),
    "counting, an excess": ([5.0], [10.0], [2.0], [20]),
    "shape": (
        [1.0, 4.0, 9.0, 4.0, 1.0],
        [20.0, 18.0, 16.0, 14.0, 12.0],
        [2.0, 2.0, 2.0, 1.0, 1.0],
        [22, 17, 20, 13, 10],
    ),
}


def ours_and_pyhfs(case):
    s, b, db, n = CASES[case]
    model = OnOff(s, b, db)
    return model.with_data([*n, *model.tau]), pyhf.simplemodels.uncorrelated_background(s, b, db, validate=False), n


def position(mean=0.0, sigma=0.5, **options):
    """A measurement of mu that is Gaussian: all formulae are exact."""
    return Gaussian([Parameter("mu", **options)], [[sigma**2]]).with_data([mean])


@pytest.mark.parametrize("case", CASES)
def test_limits_agree_with_pyhf(case):
    model, theirs, n = ours_and_pyhfs(case)
    data = n + theirs.config.auxdata
    observed, expected = pyhf.infer.intervals.upper_limits.toms748_scan(data, theirs, 0.1, 5.0, rtol=1e-4)
    limit = cls_limit(model, "mu")
    assert limit.observed == pytest.approx(float(observed), rel=1e-3)
    np.testing.assert_allclose(limit.expected, np.array(expected), rtol=1e-3)
    assert (np.diff(limit.expected) > 0).all()


@pytest.mark.parametrize("case", CASES)
def test_cls_and_q0_agree_with_pyhf(case):
    model, theirs, n = ours_and_pyhfs(case)
    data = n + theirs.config.auxdata
    cls, tails, expected = pyhf.infer.hypotest(1.5, data, theirs, return_tail_probs=True, return_expected_set=True)
    result = cls_values(model, "mu", [0.5, 1.5])
    assert result.cls[1] == pytest.approx(float(cls), rel=1e-3)
    assert (result.p_signal[1], 1 - result.p_background[1]) == pytest.approx(tuple(map(float, tails)), rel=1e-3)
    np.testing.assert_allclose(result.expected[1], np.array(expected), rtol=2e-3)
    config = theirs.config
    q0 = pyhf.infer.test_statistics.q0(
        0.0, data, theirs, config.suggested_init(), config.suggested_bounds(), config.suggested_fixed()
    )
    assert discovery(model, "mu").q0 == pytest.approx(float(q0), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("mean", [-0.7, 0.0, 0.3, 1.5])
def test_gaussian_limits_have_their_closed_form(mean):
    """With q, CLs = Phi((mean - mu) / sigma) / Phi(mean / sigma), as of a Gaussian truncated to positive mu."""
    sigma, alpha = 0.5, 0.05
    limit = cls_limit(position(mean), "mu", test_statistic="q", level=1 - alpha)
    assert limit.observed == pytest.approx(mean + sigma * norm.isf(alpha * norm.cdf(mean / sigma)), rel=1e-4)
    bands = [sigma * (norm.isf(alpha * norm.cdf(n)) + n) for n in (-2, -1, 0, 1, 2)]
    np.testing.assert_allclose(limit.expected, bands, rtol=1e-4)
    tilde = cls_limit(position(mean), "mu", level=1 - alpha)  # the same, as the asymptotic formulae are exact
    assert tilde.observed == pytest.approx(limit.observed, rel=1e-4)
    np.testing.assert_allclose(tilde.expected, bands, rtol=1e-4)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_limits_scale_with_the_parameter(scale):
    limit = cls_limit(position(0.3 * scale, 0.5 * scale), "mu")
    assert limit.observed / scale == pytest.approx(cls_limit(position(0.3), "mu").observed, rel=1e-3)
    assert limit.expected[2] / scale == pytest.approx(0.5 * norm.isf(0.025), rel=1e-3)


def test_cls_excludes_less_than_the_upper_limit_alone():
    """A deficit excludes every signal with the latter, and with CLs only what there is sensitivity to."""
    model = position(-1.2)
    assert confidence_interval(model, "mu", kind="upper", level=0.95).upper < 0.0
    assert cls_limit(model, "mu").observed > 0.3


def test_a_nuisance_weakens_a_limit():
    def measured(sigma):
        covariance = [[0.25, 0.0], [0.0, 1e6]]  # of mu + nu, and of nothing
        model = Gaussian([Parameter("mu"), Parameter("nu", constraint=sigma)], covariance)

        class Sum(Gaussian):
            def terms(self, points, data):
                mixed = np.stack([points[..., 0] + points[..., 1], points[..., 1]], axis=-1)
                return super().terms(mixed, data)

            def asimov(self, params=None, **by_name):
                point = self.point(params, by_name)
                return np.array([point.sum(), point[1]])

        signal = Sum(model.parameters, covariance).with_data([0.0, 0.0])
        return cls_limit(signal * GaussianConstraint(model.parameters[1]), "mu").expected[2]

    assert measured(0.01) == pytest.approx(0.5 * norm.isf(0.025), rel=1e-2)
    assert measured(1.2) == pytest.approx(np.hypot(0.5, 1.2) * norm.isf(0.025), rel=1e-3)


def test_discovery_of_a_counting_excess_is_li_and_mas():
    n_on, n_off, alpha = 20.0, 25.0, 0.4
    model = OnOff([5.0], [10.0], [2.0])
    n = n_on + n_off
    q0 = 2 * (n_on * np.log((1 + alpha) / alpha * n_on / n) + n_off * np.log((1 + alpha) * n_off / n))
    found = discovery(model.with_data([n_on, n_off]), "mu")
    assert found.q0 == pytest.approx(q0, rel=1e-5)
    assert found.p_value == pytest.approx(norm.sf(np.sqrt(q0)), rel=1e-4)
    deficit = discovery(model.with_data([5.0, 25.0]), "mu")
    assert (deficit.q0, deficit.significance, deficit.p_value) == (0.0, 0.0, 0.5)
    expected = discovery(model.with_data(model.asimov(mu=2.0)), "mu")  # the same data
    assert expected.significance == pytest.approx(found.significance, rel=1e-5)


def test_no_signal_may_be_elsewhere_and_limits_may_not_be_reached():
    shifted = cls_limit(position(2.3), "mu", no_signal=2.0)
    assert shifted.observed - 2.0 == pytest.approx(cls_limit(position(0.3), "mu").observed, rel=1e-4)
    assert discovery(position(2.3), "mu", no_signal=2.0).significance == pytest.approx(0.6, abs=1e-3)
    short = cls_limit(position(0.3, fit_limits=(None, 0.7)), "mu")
    assert short.observed == np.inf
    assert np.isinf(short.expected[2:]).all()


def test_errors_name_what_is_wrong():
    model = position()
    with pytest.raises(UnknownNameError, match="no parameter 'nu'"):
        cls_limit(model, "nu")
    with pytest.raises(InputError, match="between 0 and 1, not at 95"):
        cls_limit(model, "mu", level=95)
    with pytest.raises(InputError, match=r"'qtilde' or 'q', not 'qtild'. Did you mean 'qtilde'"):
        cls_values(model, "mu", [1.0], test_statistic="qtild")
    with pytest.raises(InputError, match="above no signal, mu = 0"):
        cls_values(model, "mu", [0.0, 1.0])
    with pytest.raises(InputError, match="below the fit limit 1"):
        discovery(position(fit_limits=(0.0, 1.0)), "mu", no_signal=2.0)
    with pytest.raises(InputError, match="use qtilde"):
        cls_limit(position(fit_limits=(0.0, 1.0)), "mu", test_statistic="q")
    with pytest.raises(MissingError, match="no data"):
        discovery(Gaussian([Parameter("mu")], [[1.0]]), "mu")
    with pytest.raises(MissingError, match="did not converge"):
        discovery(Curve([Parameter("mu")], lambda points: points[..., 0]), "mu")
