"""Ranges and distributions as text: what numpy and scipy say, and nothing else gets through."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from columnminer.errors import ExpressionError, InputError
from columnminer.model.conditional import ConditionalParameter
from columnminer.model.distributions import Distribution, parse_distribution, parse_values
from columnminer.model.parameters import Parameter


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("np.linspace(0, 100, 51)", np.linspace(0, 100, 51)),
        ("np.geomspace(100, 100000, 51)", np.geomspace(100, 100000, 51)),
        ("numpy.logspace(0, 2, num=5)", np.logspace(0, 2, 5)),
        ("np.arange(3)", [0, 1, 2]),
        ("np.arange(-2, 2.5, 0.5)", np.arange(-2, 2.5, 0.5)),
        ("np.arange(0, 1, step=0.25)", [0, 0.25, 0.5, 0.75]),
        ("np.array([1, 2, -3])", [1, 2, -3]),
        ("np.linspace(-np.pi, 2 * np.pi, 4)", np.linspace(-np.pi, 2 * np.pi, 4)),
        ("np.linspace(0, (1 + 2) / 4 - 1, 3)", np.linspace(0, -0.25, 3)),
        ("0, 1, 2", [0, 1, 2]),
        ("0 1 2.5e1", [0, 1, 25]),
        ([0, 1, 2], [0, 1, 2]),
        (3.0, [3.0]),
    ],
)
def test_ranges(written, wanted) -> None:
    np.testing.assert_array_equal(parse_values(written), wanted)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("np.fromfile(3)", "np.fromfile is not allowed"),
        ("np.linspce(0, 1, 5)", "Did you mean 'linspace'"),
        ("np.linspace(0, 1, 10**9)", "not allowed"),
        ("np.linspace(0, 1, 1000000000)", "at most 10000000 numbers"),
        ("np.arange(1e12)", "at most"),
        ("np.arange(0, 1, 1e-12)", "at most"),
        ("np.arange(0, 1, 0)", "at most"),
        ("np.arange(start=0, stop=1000000000000)", "at most"),
        ("np.linspace(0, 1, num=[3])", "at most"),
        ("np.linspace(__import__('os'), 1, 5)", "not allowed"),
        ("np.linspace(0, 1, 5).tolist()", "is not understood"),
        ("np.random.normal(3)", "is not understood"),
        ("np.linspace(0, 1 / 0, 5)", "divides by zero"),
        ("np.linspace(0, [1, 2] + 1, 5)", "a number is needed"),
        ("np.array(3)", "list of numbers"),
        ("np.geomspace(0, 1, 5)", "Geometric sequence"),
        ("np.linspace(0, 1", "cannot be read"),
        ("linspace(0, 1, 5)", "neither a list of numbers"),
        ("", "list of numbers"),
    ],
)
def test_other_text_is_refused(written, complaint) -> None:
    with pytest.raises(ExpressionError, match=complaint):
        parse_values(written)


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("stats.uniform(loc=-2, scale=4)", stats.uniform(-2, 4)),
        ("stats.norm(1, 0.2)", stats.norm(1, 0.2)),
        ("stats.lognorm(s=0.3, scale=2)", stats.lognorm(0.3, scale=2)),
        ("stats.truncnorm(-2, np.inf, loc=1, scale=0.5)", stats.truncnorm(-2, np.inf, 1, 0.5)),
        ("stats.gamma(a=2.5)", stats.gamma(2.5)),
    ],
)
def test_distributions(written, wanted) -> None:
    found, x = parse_distribution(written), np.linspace(-3, 4, 29)
    np.testing.assert_array_equal(found.log_density(x), wanted.logpdf(x))
    np.testing.assert_array_equal(found.quantile([0.1, 0.9]), wanted.ppf([0.1, 0.9]))
    assert found.support == wanted.support()
    assert found.std == wanted.std()
    assert pickle.loads(pickle.dumps(found)) == found == Distribution(written)  # noqa: S301 - our own
    assert (found.gaussian is not None) == (found.text == "stats.norm(1, 0.2)")


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("stats.poisson(3)", "no continuous distribution 'poisson'"),
        ("stats.unifrom(0, 1)", "Did you mean 'uniform'"),
        ("stats.norm.rvs(3)", "is not understood"),
        ("stats.sys(3)", "no continuous distribution"),
        ("stats.kstest([1], 'norm')", "not allowed"),
        ("stats.norm(0, -1)", "make no distribution"),
        ("stats.norm(scal=1)", "scal"),
        ("stats.lognorm()", "lognorm"),
        ("norm(0, 1)", "is not understood"),
        ("np.linspace(0, 1, 5)", "is not understood"),
        ("stats.norm(0, 'a')", "not allowed"),
    ],
)
def test_what_is_no_distribution_is_refused(written, complaint) -> None:
    with pytest.raises(ExpressionError, match=complaint):
        parse_distribution(written)


@given(st.text(max_size=40))
def test_any_text_is_a_list_of_numbers_or_an_error(written) -> None:
    words = written.replace(",", " ").split()
    try:
        wanted = [float(word) for word in words]
    except ValueError:
        wanted = []
    if wanted:
        np.testing.assert_array_equal(parse_values(written), wanted)
    else:
        with pytest.raises(ExpressionError):
            parse_values(written)


# Parameters that use them


def test_parameters_hold_distributions_anchors_and_limits() -> None:
    p = Parameter(
        "shift",
        constraint="stats.uniform(loc=-2, scale=4)",
        anchors="np.arange(2, -3, -1)",
        fit_limits=(-2, 2),
        interval_bounds=(-1, None),
        fittable=False,
    )
    assert p.anchors == (-2.0, -1.0, 0.0, 1.0, 2.0)
    assert p.width == pytest.approx(4 / np.sqrt(12))
    assert p.distribution.support == (-2.0, 2.0)
    np.testing.assert_array_equal(p.clip([-3.0, 0.5, 3.0]), [-2.0, 0.5, 2.0])
    assert Parameter(**p.to_dict()) == p
    assert p.to_dict()["constraint"] == "stats.uniform(loc=-2, scale=4)"
    assert Parameter("x", constraint=parse_distribution("stats.norm(0, 1)")).constraint == "stats.norm(0, 1)"
    assert Parameter("x", constraint="stats.cauchy(0, 1)").width is None
    assert Parameter("x", constraint=0.3).width == 0.3
    assert Parameter("x", constraint=0.3).distribution is None
    assert Parameter("x").width is None
    assert Parameter("x").fittable
    np.testing.assert_array_equal(Parameter("x", fit_limits=(None, 1)).clip([-9.0, 9.0]), [-9.0, 1.0])


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"constraint": "stats.nrm(0, 1)"}, "parameter 'x': constraint: .*Did you mean"),
        ({"constraint": -1.0}, "standard deviation"),
        ({"anchors": []}, "anchors"),
        ({"anchors": "np.linspac(0, 1, 2)"}, "parameter 'x': anchors: .*Did you mean"),
        ({"anchors": [0.0, np.inf]}, "must be finite"),
        ({"anchors": [0.0, 1.0], "kind": "needs_reinit"}, "cannot have anchors"),
        ({"interval_bounds": (0, 5), "fit_limits": (0, 4)}, "reach beyond fit_limits"),
        ({"interval_bounds": (5, 0)}, "not below"),
        ({"fittable": "yes"}, "true or false"),
        ({"interval_bounds": (0, 5), "interval_bounds_in_events": True}, "only a parameter of kind 'rate'"),
    ],
)
def test_bad_properties_of_parameters_are_named(fields, complaint) -> None:
    with pytest.raises(InputError, match=complaint):
        Parameter("x", **fields)


def test_conditional_parameters() -> None:
    p = ConditionalParameter(
        "efficiency", "mass", {50: {"nominal": 1.0, "constraint": 0.1}, 100.0: {"nominal": 1.0, "constraint": 0.2}}
    )
    assert p.at(50) == Parameter("efficiency", 1.0, constraint=0.1)
    assert p.at(100.0).constraint == 0.2
    with pytest.raises(InputError, match="not defined at mass = 70, only at 50, 100"):
        p.at(70)
    with pytest.raises(InputError, match="no values"):
        ConditionalParameter("efficiency", "mass", {})
    with pytest.raises(InputError, match="standard deviation"):
        ConditionalParameter("efficiency", "mass", {50: {"constraint": -0.1}})
