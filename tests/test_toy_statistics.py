"""Quantiles and shares of toys: values, errors, and how often their intervals hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, expon, norm

from columnminer.errors import InputError
from columnminer.toys.statistics import quantiles, share, toys_for


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4))
def test_quantiles_are_those_of_numpy(sample, probabilities):
    assert quantiles(sample, probabilities).values == pytest.approx(np.quantile(sample, probabilities), rel=1e-9)


@pytest.mark.parametrize("law", [norm(), expon()])
@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_errors_of_quantiles_are_their_spread(law, probability):
    rng = np.random.default_rng(4)
    found = [quantiles(law.rvs(1000, random_state=rng), probability) for _ in range(600)]
    pulls = np.array([(q.values[0] - law.ppf(probability)) / q.errors[0] for q in found])
    assert pulls.std() == pytest.approx(1.0, abs=0.1)
    assert (np.abs(pulls) < 1.0).mean() == pytest.approx(0.68, abs=0.06)
    halved = np.array([(q.values[0] - law.ppf(probability)) / (0.5 * q.errors[0]) for q in found])
    assert (np.abs(halved) < 1.0).mean() < 0.5  # errors half as large are seen to be wrong


def test_infinite_values_stay_infinite():
    found = quantiles([1.0, 2.0, 3.0, np.inf, np.inf], [0.25, 0.5, 0.75, 0.9])
    assert found.values.tolist() == [2.0, 3.0, np.inf, np.inf]
    assert quantiles([1.0, np.inf], 0.4).values[0] == np.inf
    assert np.isnan(found.errors[3])


def test_errors_are_unknown_where_the_sample_ends():
    found = quantiles(np.arange(20.0), [0.5, 0.99])
    assert np.isfinite(found.errors[0])
    assert np.isnan(found.errors[1])
    assert toys_for(0.9) == toys_for(0.1) == 36
    assert toys_for(0.5) == 4


def test_clopper_pearson_intervals_cover_at_least_their_level():
    n = 40
    every = share(np.arange(n + 1), n, 0.9)
    for p in np.linspace(0.01, 0.99, 50):
        inside = (every.low <= p) & (p <= every.high)
        assert binom.pmf(np.arange(n + 1), n, p)[inside].sum() >= 0.9
    # the naive interval of the Gaussian error does not
    error = norm.isf(0.05) * np.sqrt(every.fraction * (1 - every.fraction) / n)
    naive = (np.abs(every.fraction - 0.02) <= error) @ binom.pmf(np.arange(n + 1), n, 0.02)
    assert naive < 0.8
    assert every.low[0] == 0.0
    assert every.high[-1] == 1.0
    assert every.high[0] == pytest.approx(1.0 - 0.05 ** (1 / n))


def test_bad_input_is_refused():
    for sample in ([], [1.0, np.nan]):
        with pytest.raises(InputError, match="none of them NaN"):
            quantiles(sample, 0.5)
    with pytest.raises(InputError, match="between 0 and 1"):
        quantiles([1.0], 1.0)
    with pytest.raises(InputError, match="3 of 2 toys is no share"):
        share(3, 2)
    with pytest.raises(InputError, match="between 0 and 1"):
        share(1, 2, 1.0)
