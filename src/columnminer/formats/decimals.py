"""Compiled reading of decimal numbers from bytes: exactly what `float()` gives, without making a Python object.

Three ways, the cheapest that is exact: a mantissa below 2^53 with a power of ten up to 22 takes one multiplication or
division (Clinger, PLDI 1990); others take a 128-bit product with a tabulated power of five (Lemire, "Number parsing at
a gigabyte per second", arXiv:2101.11408; that it needs no fallback: Mushtak and Lemire, arXiv:2212.06644); a number of
more than 18 digits whose dropped digits decide the rounding is handed back to the caller as `HARD`.

Beyond Python's floats it reads what Fortran writes: ``-.5``, ``1.0D+02``, ``1.5-103``.

The functions read `buf` without a bound, so the caller puts a byte that belongs to no number (0) behind the last one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numba
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["BAD", "HARD", "POWERS", "compiled", "read_float", "read_int"]

F = TypeVar("F", bound="Callable[..., Any]")

BAD = -1
"""Returned instead of the end position: what stands there is no number."""

HARD = -2
"""Returned instead of the end position: a number that `float()` must decide."""

_MAX_DIGITS = 18  # decimal digits that always fit into an int64
_SMALLEST, _LARGEST = -342, 308  # powers of ten outside make 0 or infinity of any 19-digit mantissa


def compiled(function: F) -> F:
    """Compile for numba on first call, kept on disk between processes wherever a cache can be written."""
    try:
        return numba.njit(cache=True, nogil=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # neither the package's folder nor the user's cache is writable
        return numba.njit(nogil=True)(function)  # type: ignore[no-any-return]


def _powers_of_five() -> NDArray[np.uint64]:
    """Leading 128 bits of 5^q, q = -342..308, as (high, low) words: truncated, but for q = -27..-1 rounded up."""
    table = np.empty((_LARGEST - _SMALLEST + 1, 2), dtype=np.uint64)
    for q in range(_SMALLEST, _LARGEST + 1):
        if q >= 0:
            power = 5**q
            shift = power.bit_length() - 128
            word = power >> shift if shift > 0 else power << -shift
        else:
            power = 5**-q
            word = (1 << (power.bit_length() + 127)) // power + (q >= -27)
        table[q - _SMALLEST] = (word >> 64, word & (2**64 - 1))
    return table


POWERS = _powers_of_five()
"""The table that `read_float` wants: passing it keeps it out of the compiled code."""

_TENS = np.array([10.0**k for k in range(23)])
_ZERO, _ONE, _TWO, _THREE = (np.uint64(k) for k in range(4))
_HALF_WORD, _LOW_HALF = np.uint64(32), np.uint64(0xFFFFFFFF)


@compiled
def _product(a: Any, b: Any) -> Any:
    """Return the (high, low) words of the 128-bit product of two 64-bit words."""
    a1, a0 = a >> _HALF_WORD, a & _LOW_HALF
    b1, b0 = b >> _HALF_WORD, b & _LOW_HALF
    middle = a1 * b0 + ((a0 * b0) >> _HALF_WORD)
    carry = (middle & _LOW_HALF) + a0 * b1
    return a1 * b1 + (middle >> _HALF_WORD) + (carry >> _HALF_WORD), a * b


@compiled
def _nearest(digits: Any, power: Any, powers: Any) -> Any:
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
    row = power - _SMALLEST
    high, low = _product(w, powers[row, 0])
    if high & np.uint64(0x1FF) == np.uint64(0x1FF):  # the lower word of the power may carry into the bits that matter
        more, _ = _product(w, powers[row, 1])
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


@compiled
def _is_word(buf: Any, p: Any, word: Any) -> Any:
    """Say whether `word` (lower-case letters) stands at `p`, in any case."""
    for k in range(len(word)):
        if buf[p + k] | 32 != word[k]:
            return False
    return True


_NAN, _INF, _INITY = (np.frombuffer(word, dtype=np.uint8) for word in (b"nan", b"inf", b"inity"))


@compiled
def _read_word(buf: Any, p: Any, negative: Any) -> Any:
    """Read nan, inf or infinity at `p`; the sentinel ends a word that the buffer cuts."""
    if _is_word(buf, p, _NAN):
        return math.nan, p + 3
    if _is_word(buf, p, _INF):
        p += 3
        if _is_word(buf, p, _INITY):
            p += 5
        return (-math.inf if negative else math.inf), p
    return 0.0, BAD


@compiled
def _many_digits(buf: Any, p: Any, power: Any, powers: Any) -> Any:
    """Read a mantissa of more than 18 digits at `p`, `power` being that of its exponent field."""
    digits, kept, fraction, exact = 0, 0, False, True
    while True:
        d = np.int64(buf[p]) - 48
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
        p += 1
    if digits == 0:
        return 0.0, True
    value = _nearest(digits, power, powers)
    return value, exact or value == _nearest(digits + 1, power, powers)


@compiled
def read_float(buf: Any, p: Any, powers: Any) -> Any:
    """Read the number that starts at `p`.

    Parameters
    ----------
    buf
        uint8 array, with a 0 behind the bytes that count.
    p
        Index of the first character, not a blank.
    powers
        `POWERS`.

    Returns
    -------
    value, end
        `end` is the index behind the number, or `BAD`, or `HARD`. Whether a separator follows is the caller's matter.
    """
    negative = buf[p] == 45
    if negative or buf[p] == 43:
        p += 1
    start = p
    digits = 0
    d = np.int64(buf[p]) - 48
    while 0 <= d <= 9:
        digits = digits * 10 + d
        p += 1
        d = np.int64(buf[p]) - 48
    n_digits = p - start
    power = 0
    if d == -2:
        p += 1
        point = p
        d = np.int64(buf[p]) - 48
        while 0 <= d <= 9:
            digits = digits * 10 + d
            p += 1
            d = np.int64(buf[p]) - 48
        power = point - p
        n_digits -= power
    if n_digits == 0:
        return _read_word(buf, p, negative) if p == start else (0.0, BAD)
    field = 0
    letter = d == 21 or d == 53 or d == 20 or d == 52  # E e D d
    if letter or d == -5 or d == -3:  # or the sign of an exponent whose letter Fortran left out
        p += letter
        minus = buf[p] == 45
        if minus or buf[p] == 43:
            p += 1
        first = p
        d = np.int64(buf[p]) - 48
        while 0 <= d <= 9:
            if field < 100_000:
                field = field * 10 + d
            p += 1
            d = np.int64(buf[p]) - 48
        if p == first:
            return 0.0, BAD
        if minus:
            field = -field
        power += field
    if n_digits > _MAX_DIGITS:
        value, sure = _many_digits(buf, start, field, powers)
        if not sure:
            return 0.0, HARD
    elif digits < 9007199254740993 and -22 <= power <= 22:
        value = np.float64(digits)
        value = value / _TENS[-power] if power < 0 else value * _TENS[power]
    elif digits == 0:
        value = 0.0
    else:
        value = _nearest(digits, power, powers)
    return (-value if negative else value), p


@compiled
def read_int(buf: Any, p: Any, powers: Any) -> Any:
    """Read the whole number that starts at `p`, be it written as an integer or as a float; see `read_float`."""
    start = p
    negative = buf[p] == 45
    if negative or buf[p] == 43:
        p += 1
    first = p
    value = 0
    d = np.int64(buf[p]) - 48
    while 0 <= d <= 9:
        value = value * 10 + d
        p += 1
        d = np.int64(buf[p]) - 48
    if 0 < p - first <= _MAX_DIGITS and (d < -5 or d == 12):  # a blank, the sentinel or '<' ends it
        return (-value if negative else value), p
    number, p = read_float(buf, start, powers)
    if p < 0:
        return 0, BAD
    if number != math.floor(number) or abs(number) > 2.0**53:
        return 0, BAD
    return np.int64(number), p
