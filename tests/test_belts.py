"""Acceptance belts: against the tables of Feldman and Cousins, a search by brute force, and exact probabilities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, poisson
from toy_points import counting_toys, exact_threshold, gaussian_toys

from columnminer.errors import InputError, UnknownNameError
from columnminer.toys.belts import belt, poisson_belt, poisson_interval

# Table IV of arXiv:physics/9711021: 90 % intervals for n = 0 ... 10 observed events, rounded to 0.01.
TABLE = {
    0.0: "0.00,2.44 0.11,4.36 0.53,5.91 1.10,7.42 1.47,8.60 1.84,9.99 2.21,11.47 3.56,12.53 3.96,13.99 4.36,15.30 "
    "5.50,16.50",
    3.0: "0.00,1.08 0.00,1.88 0.00,3.04 0.00,4.42 0.00,5.60 0.00,6.99 0.15,8.47 0.89,9.53 1.51,10.99 1.88,12.30 "
    "2.63,13.50",
}


def accepted_by_hand(mu, background, level, n_counts=60):
    """Accepted counts at one signal, one after the other, in plain arithmetic."""
    probability, ratio = {}, {}
    for n in range(n_counts):
        probability[n] = math.exp(-(mu + background) + n * math.log(mu + background) - math.lgamma(n + 1))
        best = max(n - background, 0.0) + background
        log_best = -best + (n * math.log(best) if n else 0.0) - math.lgamma(n + 1)
        ratio[n] = math.log(probability[n]) - log_best
    accepted, total = [], 0.0
    for n in sorted(ratio, key=lambda n: -ratio[n]):
        accepted.append(n)
        total += probability[n]
        if total >= level:
            return min(accepted), max(accepted)
    raise AssertionError


@pytest.mark.parametrize("background", TABLE)
def test_intervals_are_those_of_the_tables(background):
    for n, text in enumerate(TABLE[background].split()):
        low, high = map(float, text.split(","))
        found = poisson_interval(n, background, 0.9)
        if (n, background) == (0, 3.0):  # which the paper lengthens, so that it is no shorter than over more background
            assert found == pytest.approx((0.0, 0.95), abs=0.01)
            longest = max(poisson_interval(0, b, 0.9)[1] for b in np.arange(3.0, 6.0, 0.1))
            assert longest == pytest.approx(high, abs=0.03)
            continue
        assert found == pytest.approx((low, high), abs=0.0051)  # 0.10536 is quoted as 0.11


def test_the_belt_is_that_of_a_search_by_brute_force():
    mu = np.array([0.02, 0.5, 1.0, 2.7, 5.0, 8.3, 12.0])
    found = poisson_belt(mu, 3.0, 0.9)
    expected = np.array([accepted_by_hand(value, 3.0, 0.9) for value in mu])
    assert np.array_equal(np.stack([found.lower, found.upper], axis=1), expected)
    other = np.array([accepted_by_hand(value, 3.0, 0.8) for value in mu])
    assert not np.array_equal(np.stack([found.lower, found.upper], axis=1), other)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.0, 20.0), st.floats(0.0, 20.0), st.floats(0.5, 0.99), st.sampled_from(["likelihood ratio", "central"])
)
def test_accepted_counts_have_at_least_the_probability_of_the_level(mu, background, level, ordering):
    found = poisson_belt([mu], background, level, ordering=ordering)
    probability = poisson.cdf(found.upper, mu + background) - poisson.cdf(found.lower - 1, mu + background)
    assert probability[0] >= level - 1e-9


def test_other_orderings_are_the_classical_limits():
    assert poisson_interval(5, 0.0, 0.9, ordering="central") == pytest.approx(
        (0.5 * chi2.ppf(0.05, 10), 0.5 * chi2.isf(0.05, 12)), abs=1e-6
    )
    assert poisson_interval(5, 3.0, 0.9, ordering="upper") == pytest.approx(
        (0.0, 0.5 * chi2.isf(0.1, 12) - 3.0), abs=1e-6
    )
    assert np.isnan(poisson_interval(0, 3.0, 0.9, ordering="upper")).all()  # the empty interval that they avoid
    assert np.isinf(poisson_belt([1.0], 3.0, ordering="upper").upper).all()


def test_an_interval_is_read_off_across_the_belt():
    found = poisson_belt(np.arange(0.0, 15.0, 0.005), 3.0, 0.9)
    for n in (1, 4, 7, 10):
        assert found.interval(n) == pytest.approx(poisson_interval(n, 3.0), abs=0.0051)
    assert np.isnan(poisson_belt([1.0], 3.0).interval(50.0)).all()


def test_many_events_have_nearly_gaussian_intervals():
    low, high = poisson_interval(900, 100.0, 0.6827)
    assert (low, high) == pytest.approx((800 - 30, 800 + 30), abs=2.0)


def test_belts_of_toys_are_the_exact_ones():
    values = [0.0, 0.5, 2.0, 4.0]
    found = belt([gaussian_toys(mu, 100_000, (1, i)) for i, mu in enumerate(values)], 0.9)
    threshold = np.array([exact_threshold(mu, 0.9) for mu in values])
    mu = np.array(values)
    assert found.upper == pytest.approx(mu + np.sqrt(threshold), abs=0.03)
    # t = mu^2 - 2 mu x below zero: there the best fit is 0 however negative x is
    assert found.lower == pytest.approx(np.maximum(mu - np.sqrt(threshold), 0.0), abs=0.03)
    assert found.estimate == "best fit of mu"
    low, high = found.interval(2.5)
    assert np.interp(low, mu, found.upper) == pytest.approx(2.5)
    assert high == 4.0  # accepts it, and the belt goes no farther
    assert found.interval(0.1)[0] == 0.0
    assert np.interp(found.interval(1.0)[1], mu, found.lower) == pytest.approx(1.0)
    assert found.values.tolist() == values


def test_belts_of_counts_accept_what_the_exact_ones_do():
    values = [1.0, 5.0]
    found = belt([counting_toys(mu, 3.0, 50_000, (2, i)) for i, mu in enumerate(values)], 0.9)
    exact = poisson_belt(values, 3.0, 0.9)
    assert found.lower.tolist() == np.maximum(exact.lower - 3.0, 0.0).tolist()
    assert found.upper.tolist() == (exact.upper - 3.0).tolist()


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="Did you mean 'central'"):
        poisson_belt([1.0], 3.0, ordering="centre")
    with pytest.raises(InputError, match="finite and not negative"):
        poisson_belt([-1.0], 3.0)
    with pytest.raises(InputError, match="between 0 and 1"):
        poisson_interval(1, 3.0, 90)
    with pytest.raises(InputError, match="whole number"):
        poisson_interval(1.5, 3.0)
    with pytest.raises(InputError, match=r"10 toys at mu = 1.0 are too few: a belt of 0.9 needs 36"):
        belt(gaussian_toys(1.0, 10, 0), 0.9)
    with pytest.raises(InputError, match="one set of conditions"):
        belt([gaussian_toys(1.0, 100, 0, nominal={"m": m}) for m in (1.0, 2.0)])
    with pytest.raises(UnknownNameError, match="'q' is not a parameter"):
        belt(gaussian_toys(1.0, 100, 0), name="q")
