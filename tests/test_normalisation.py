from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from columnminer.errors import ColumnMinerWarning, FileFormatError
from columnminer.store.normalisation import RawTotals, file_factor, sample_factors


def totals(n, weights_sum, weighting, declared=2.0, squared=None):
    squared = weights_sum**2 / n if squared is None and n else squared or 0.0
    return RawTotals("f.lhe", n, weights_sum, squared, declared, weighting)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("weighting", "raw"),
    [
        (3, 1.0),  # the accord: unit weights
        (3, 2.0 / 1000),  # MadGraph, event_norm = sum, all 1000 events
        (3, 2.0 / 20_000),  # the same, cut from 20,000 events
        (4, 2.0),  # MadGraph, event_norm = average
        (2, 17.0),
        (1, 2.0),
    ],
)
def test_nominal_weights_sum_to_the_cross_section(weighting, raw, sign):
    n = 1000
    assert file_factor(totals(n, n * raw, sign * weighting)) * n * raw == pytest.approx(2.0, rel=1e-12)


@given(st.integers(1, 10**6), st.floats(0.51, 1.0), st.floats(1e-9, 1e9))
def test_negative_weights_count_with_their_sign(n, positive, size):
    n_plus = round(positive * n)
    net = (2 * n_plus - n) * size
    if net <= 0:
        return
    assert file_factor(totals(n, net, 3, squared=n * size**2)) * net == pytest.approx(2.0, rel=1e-9)


def test_weights_that_are_right_up_to_printing_are_left_alone():
    assert file_factor(totals(100, 2.0 * (1 + 0.9e-5), -3)) == 1.0
    assert file_factor(totals(100, 2.0 * (1 + 1.1e-5), -3)) != 1.0


def test_a_cross_section_given_by_the_user_comes_first():
    for weighting in (3, 4, None):
        assert file_factor(totals(10, 5.0, weighting), cross_section=7.0) * 5.0 == pytest.approx(7.0)


def test_files_of_a_sample_are_averaged():
    """Two files of the same process, one four times as long, in different conventions: the sum is still 2 pb."""
    files = [totals(400, 2.0, -3), totals(100, 100 * 2.0, -4)]
    factors = sample_factors(files, k_factor=1.5)
    assert factors[0] * 2.0 == pytest.approx(1.5 * 2.0 * 0.8)
    assert sum(f * t.sum_weights for f, t in zip(factors, files, strict=True)) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (totals(0, 0.0, 3), "no events"),
        (totals(10, 5.0, 3, declared=None), r"f\.lhe: only the declared cross section.*cross_section="),
        (totals(10, 5.0, 3, declared=-1.0), "declares -1"),
        (totals(10, 5.0, None, declared=None), "IDWTUP = None"),
        (totals(10, -5.0, 3, squared=10.0), "sum to -5"),
        (totals(10, float("nan"), 3, squared=10.0), "sum to nan"),
    ],
)
def test_what_cannot_be_normalised_is_an_error_with_a_remedy(case, message):
    with pytest.raises(FileFormatError, match=message):
        file_factor(case)


def test_a_mean_weight_far_from_the_declared_cross_section_is_pointed_out():
    with pytest.warns(ColumnMinerWarning, match=r"mean weight is 3.*declares 2"):
        assert file_factor(totals(100, 300.0, 4)) == 0.01
    assert file_factor(totals(100, 300.0, 4, squared=1e6)) == 0.01, "such weights scatter enough to explain it"
    assert file_factor(totals(100, 300.0, 4, declared=-1.0)) == 0.01, "POWHEG writes -1 where it does not know"
