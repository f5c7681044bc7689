"""Numbers read by the compiled code are those of float(), bit for bit."""

from __future__ import annotations

import math
import struct

import numba
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from columnminer.formats import decimals
from columnminer.formats.machine import PADDING, kernel


@numba.njit
def _floats(buf, starts, values, ends):
    for i in range(len(starts)):
        values[i], ends[i] = decimals.read_float(buf, starts[i])


@numba.njit
def _integers(buf, starts, values, ends):
    for i in range(len(starts)):
        values[i], ends[i] = decimals.read_int(buf, starts[i])


def read(tokens: list[str], of=_floats, dtype=np.float64):
    """Return what the compiled code reads, and how many characters of each token it took (or a negative code)."""
    data = " ".join(tokens).encode() + bytes(PADDING)
    buffer = np.frombuffer(data, dtype=np.uint8).copy()
    starts = np.cumsum([0, *(len(token) + 1 for token in tokens[:-1])])
    values, ends = np.zeros(len(tokens), dtype=dtype), np.zeros(len(tokens), dtype=np.int64)
    of(buffer.ctypes.data, starts, values, ends)
    return values, np.where(ends < 0, ends, ends - starts)


def assert_like_float(tokens: list[str]) -> None:
    values, taken = read(tokens)
    expected = np.array([float(token) for token in tokens])
    decided = taken != decimals.HARD
    np.testing.assert_array_equal(values[decided].view(np.int64), expected[decided].view(np.int64))
    np.testing.assert_array_equal(taken[decided], np.array([len(token) for token in tokens])[decided])
    assert all(len(token) > 18 for token, sure in zip(tokens, decided, strict=True) if not sure)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50))
def test_every_double_comes_back_from_its_text(bits):
    doubles = [x for x in (struct.unpack("d", struct.pack("Q", b))[0] for b in bits) if math.isfinite(x)]
    for form in ("{!r}", "{:.8e}", "{:.16e}", "{:.17e}", "{:.25e}"):
        if doubles:
            assert_like_float([form.format(x) for x in doubles])


@settings(deadline=None)  # the first call compiles
@given(st.integers(0, 10**24), st.integers(0, 30), st.integers(-400, 400))
@example(9007199254740993, 0, 0)  # 2^53 + 1: half way between two doubles
@example(22250738585072011, 16, -308)  # below the smallest normal double
@example(24703282292062327, 16, -324)  # half of the smallest double
@example(24703282292062328, 16, -324)
@example(17976931348623159, 16, 308)  # just beyond the largest double
def test_decimal_texts_round_like_float(digits, point, power):
    text = str(digits).rjust(point + 1, "0")
    assert_like_float([f"{text[: len(text) - point]}.{text[len(text) - point :]}e{power:+d}", f"{digits}e{power}"])


@settings(deadline=None)  # the first call compiles
@given(st.integers(2**52, 2**53 - 1), st.integers(-12, 60))
def test_ties_go_to_even(mantissa, power):
    half_way = 2 * mantissa + 1  # 54 bits: exactly between two doubles, times a power of two
    assert_like_float([str(half_way * 2**power) if power >= 0 else f"{half_way * 5**-power}e{power}"])


def test_digits_that_decide_are_left_to_float():
    """Beyond 18 digits a number may hang on the last one: it must be said so, not guessed."""
    _, taken = read(["1.00000000000000011102230246251565404236316680908203125", "9007199254740993.0000000000001"])
    assert list(taken) == [decimals.HARD, decimals.HARD]
    values, taken = read(["123456789012345678901234567890", "0." + "0" * 40 + "5", "1." + "0" * 40])
    np.testing.assert_array_equal(values, [123456789012345678901234567890.0, 5e-41, 1.0])
    assert (taken > 0).all()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-.93544317E+03", -935.44317),
        ("1.0D+02", 100.0),
        ("1.0d-02", 0.01),
        ("0.", 0.0),
        (".5", 0.5),
        ("1.5-103", 1.5e-103),
        ("1.5+03", 1500.0),
        ("Infinity", math.inf),
        ("-inf", -math.inf),
        ("NaN", math.nan),
        ("1e999999999999", math.inf),
        ("1e-999999999999", 0.0),
        ("0e999999999999", 0.0),
    ],
)
def test_fortran_and_words(text, value):
    values, taken = read([text])
    np.testing.assert_array_equal(values, [value])
    assert taken[0] == len(text)
    assert math.copysign(1, values[0]) == math.copysign(1, value)


@pytest.mark.parametrize("text", [".", "-", "+-1", "e5", "1e", "1e+", "na", "in", "x", "--1", "<"])
def test_what_is_no_number_is_refused(text):
    assert read([text])[1][0] == decimals.BAD


@settings(deadline=None)  # the first call compiles
@given(st.integers(-(2**31), 2**31 - 1))
def test_integers(number):
    values, taken = read([str(number), f"{number}.", f"{float(number)!r}", f"+{abs(number)}"], _integers, np.int64)
    np.testing.assert_array_equal(values, [number, number, number, abs(number)])
    assert (taken > 0).all()


@pytest.mark.parametrize("text", ["1.5", "nan", "inf", "1e300", "-", "", "x1"])
def test_what_is_no_integer_is_refused(text):
    assert read([text], _integers, np.int64)[1][0] == decimals.BAD


def test_kernels_compile_where_nothing_can_be_cached():
    """Code without a file stands for a folder that cannot be written: numba finds no place for a cache either way."""
    scope: dict[str, object] = {"__name__": "nowhere"}
    exec("def double(x):\n    return 2 * x\n", scope)  # noqa: S102
    assert kernel(scope["double"])(21) == 42
