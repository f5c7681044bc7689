"""Compiled reading of decimal numbers from bytes: exactly what `float()` gives, without making a Python object.

Three ways, the cheapest that is exact: a mantissa below 2^53 with a power of ten up to 22 takes one multiplication or
division (Clinger, PLDI 1990); others take a 128-bit product with a tabulated power of five (Lemire, "Number parsing at
a gigabyte per second", arXiv:2101.11408; that it needs no fallback: Mushtak and Lemire, arXiv:2212.06644); a number of
more than 18 digits whose dropped digits decide the rounding is left to the caller, as `HARD`.

Beyond Python's floats it reads what Fortran writes: ``-.5``, ``1.0D+02``, ``1.5-103``. Buffers are as `machine` says.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.formats.machine import byte, eight, step, word

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BAD", "HARD", "read_float", "read_int"]

BAD = -1
"""Returned instead of the end position: what stands there is no number."""

HARD = -2
"""Returned instead of the end position: a number that `float()` must decide."""

_MAX_DIGITS = 18  # decimal digits that always fit into an int64
_SMALLEST, _LARGEST = -342, 308  # powers of ten outside make 0 or infinity of any mantissa


def _powers_of_five() -> NDArray[np.uint64]:
    """Leading 128 bits of 5^q, q = -342..308, as high and low words: truncated, but for q = -27..-1 rounded up."""
    table = np.empty(2 * (_LARGEST - _SMALLEST + 1), dtype=np.uint64)
    for q in range(_SMALLEST, _LARGEST + 1):
        if q >= 0:
            bits = 5**q << 128
        else:
            power = 5**-q
            bits = (1 << (2 * power.bit_length() + 128)) // power
        bits >>= bits.bit_length() - 128
        bits += -27 <= q < 0
        table[2 * (q - _SMALLEST) : 2 * (q - _SMALLEST) + 2] = bits >> 64, bits & (2**64 - 1)
    return table


_POWERS = _powers_of_five()
_TENS = np.array([10.0**k for k in range(23)])
_ZERO, _ONE, _THREE = np.uint64(0), np.uint64(1), np.uint64(3)
_HALF_WORD, _LOW_HALF = np.uint64(32), np.uint64(0xFFFFFFFF)
_NAN, _INF, _INITY = map(word, ("nan", "inf", "inity"))
_LOWER = np.uint64(0x2020202020202020)


@step
def _product(a: Any, b: Any) -> Any:
    """Return the high and low words of the 128-bit product of two 64-bit words."""
    a1, a0 = a >> _HALF_WORD, a & _LOW_HALF
    b1, b0 = b >> _HALF_WORD, b & _LOW_HALF
    middle = a1 * b0 + ((a0 * b0) >> _HALF_WORD)
    carry = (middle & _LOW_HALF) + a0 * b1
    return a1 * b1 + (middle >> _HALF_WORD) + (carry >> _HALF_WORD), a * b


@step
def _nearest(digits: Any, power: Any) -> Any:
    """Return the double nearest to `digits` * 10^`power` (ties to even); `digits` is a positive int64."""
    if power < _SMALLEST:
        return 0.0
    if power > _LARGEST:
        return math.inf
    w = np.uint64(digits)
    leading = 0
    while w >> np.uint64(56) == _ZERO:
        w <<= np.uint64(8)
        leading += 8
    while w >> np.uint64(63) == _ZERO:
        w <<= _ONE
        leading += 1
    row = 2 * (power - _SMALLEST)
    high, low = _product(w, _POWERS[row])
    if high & np.uint64(0x1FF) == np.uint64(0x1FF):  # the lower word of the power may carry into the bits that matter
        more, _ = _product(w, _POWERS[row + 1])
        low += more
        if low < more:
            high += _ONE
    top = high >> np.uint64(63)
    mantissa = high >> (top + np.uint64(9))  # 53 bits and one for rounding
    exponent = ((217706 * power) >> 16) + 63 + np.int64(top) - leading  # floor(power * log2(10)) and what was shifted
    if exponent <= -1023:  # subnormal: fewer bits
        drop = -1022 - exponent
        if drop >= 64:
            return 0.0
        mantissa >>= np.uint64(drop)
        exponent = -1022
    elif low <= _ONE and -4 <= power <= 23 and mantissa & _THREE == _ONE and mantissa << (top + np.uint64(9)) == high:
        mantissa &= ~_ONE  # exactly half way: to even
    mantissa = (mantissa + (mantissa & _ONE)) >> _ONE
    return math.ldexp(np.float64(np.int64(mantissa)), exponent - 52)


@step
def _read_word(buf: Any, p: Any, negative: Any) -> Any:
    """Read nan, inf or infinity at `p`, in upper or lower case."""
    if (eight(buf, p) | _LOWER) & _NAN[1] == _NAN[0]:
        return math.nan, p + 3
    if (eight(buf, p) | _LOWER) & _INF[1] != _INF[0]:
        return 0.0, BAD
    p += 3
    if (eight(buf, p) | _LOWER) & _INITY[1] == _INITY[0]:
        p += 5
    return (-math.inf if negative else math.inf), p


@step
def _many_digits(buf: Any, p: Any, power: Any) -> Any:
    """Read a mantissa of more than 18 digits at `p`, `power` being that of its exponent; say whether it is sure."""
    digits, kept, fraction, exact = np.int64(0), 0, False, True
    while True:
        d = byte(buf, p) - 48
        p += 1
        if 0 <= d <= 9:
            if kept < _MAX_DIGITS:
                digits = digits * 10 + d
                kept += digits > 0
                power -= fraction
            else:
                exact &= d == 0
                power += not fraction
        elif d == -2 and not fraction:
            fraction = True
        else:
            break
    if digits == 0:
        return 0.0, True
    value = _nearest(digits, power)
    return value, exact or value == _nearest(digits + 1, power)


@step
def _read_digits(buf: Any, p: Any, digits: Any) -> Any:
    """Append the decimal digits at `p` to the number `digits`; return it and the position behind them."""
    eights = eight(buf, p)
    # Eight digits at once, two by two (Lemire, "Faster parsing of numbers", section 4 of arXiv:2101.11408).
    while ((eights + np.uint64(0x4646464646464646)) | (eights - np.uint64(0x3030303030303030))) & np.uint64(
        0x8080808080808080
    ) == _ZERO:
        eights -= np.uint64(0x3030303030303030)
        eights = eights * np.uint64(10) + (eights >> np.uint64(8))
        eights = (
            (eights & np.uint64(0x000000FF000000FF)) * np.uint64(0x000F424000000064)
            + ((eights >> np.uint64(16)) & np.uint64(0x000000FF000000FF)) * np.uint64(0x0000271000000001)
        ) >> _HALF_WORD
        digits = digits * 100_000_000 + np.int64(eights)
        p += 8
        eights = eight(buf, p)
    d = byte(buf, p) - 48
    while 0 <= d <= 9:
        digits = digits * 10 + d
        p += 1
        d = byte(buf, p) - 48
    return digits, p


@step
def read_float(buf: Any, p: Any) -> Any:
    """Read the number that starts at address `buf` + `p`, which is no blank.

    Returns
    -------
    value, end
        `end` is the position behind the number, or `BAD`, or `HARD`. Whether a separator follows is the caller's
        matter.
    """
    negative = byte(buf, p) == 45
    p += negative or byte(buf, p) == 43
    start = p
    digits, p = _read_digits(buf, p, np.int64(0))
    n_digits = p - start
    power = 0
    d = byte(buf, p) - 48
    if d == -2:
        point = p + 1
        digits, p = _read_digits(buf, point, digits)
        power = point - p
        n_digits -= power
        d = byte(buf, p) - 48
    if n_digits == 0:
        if p > start:  # a point and nothing else
            return 0.0, BAD
        return _read_word(buf, p, negative)
    field = 0
    letter = d in (21, 53, 20, 52)  # E e D d
    if letter or d in (-5, -3):  # or the sign of an exponent whose letter Fortran left out
        p += letter
        minus = byte(buf, p) == 45
        p += minus or byte(buf, p) == 43
        first = p
        d = byte(buf, p) - 48
        while 0 <= d <= 9:
            field = min(field * 10 + d, 100_000)
            p += 1
            d = byte(buf, p) - 48
        if p == first:
            return 0.0, BAD
        field = -field if minus else field
        power += field
    if n_digits > _MAX_DIGITS:
        value, sure = _many_digits(buf, start, field)
        if not sure:
            return 0.0, HARD
    elif digits < 9007199254740993 and -22 <= power <= 22:
        value = np.float64(digits)
        value = value / _TENS[-power] if power < 0 else value * _TENS[power]
    elif digits == 0:
        value = 0.0
    else:
        value = _nearest(digits, power)
    return (-value if negative else value), p


@step
def read_int(buf: Any, p: Any) -> Any:
    """Read the whole number that starts at `p`, be it written as an integer or as a float; see `read_float`."""
    start = p
    negative = byte(buf, p) == 45
    p += negative or byte(buf, p) == 43
    first = p
    value = 0
    d = byte(buf, p) - 48
    while 0 <= d <= 9:
        value = value * 10 + d
        p += 1
        d = byte(buf, p) - 48
    if 0 < p - first <= _MAX_DIGITS and (d < -5 or d == 12):  # a blank, the padding or '<' ends it
        return (-value if negative else value), p
    number, p = read_float(buf, start)
    if p < 0 or number != math.floor(number) or abs(number) > 2.0**53:
        return 0, BAD
    return np.int64(number), p
