"""How compiled kernels see bytes: single ones, eight at once, and words compared in one step.

A kernel gets the address of a buffer instead of the array: that spares each of its steps the seven words that describe
an array, and the check for negative indices. Nothing checks bounds, so a buffer ends with `PADDING` zero bytes behind
what counts: a zero is no character of any word or number, and eight bytes can be read from any place that counts.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PADDING", "byte", "eight", "kernel", "starts", "step", "word"]

PADDING = 16
"""Number of zero bytes that a buffer needs behind what counts."""

F = TypeVar("F", bound="Callable[..., Any]")


# Without numba's runtime (_nrt) there is no counting of references to arrays, which made kernels 4 times slower.
_compile: Any = partial(numba.njit, nogil=True, error_model="numpy", _nrt=False)


def kernel(function: F) -> F:
    """Compile on the first call; the machine code is kept on disk wherever a cache can be written.

    Numba's cache looks at the file of a kernel, not at those of its steps: who changes these removes ``__pycache__``.
    """
    try:
        return _compile(cache=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # neither the package's folder nor the user's cache is writable
        return _compile()(function)  # type: ignore[no-any-return]


def step(function: F) -> F:
    """Compile as part of the kernels that call it; Python cannot call it, which spares compiling the way in."""
    return _compile(no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)  # type: ignore[no-any-return]


def _loader(bits: int, result: types.Type) -> Callable[[Any, Any], Any]:
    def load(_context: Any, _address: Any, _p: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            place = builder.inttoptr(builder.add(*arguments), ir.IntType(bits).as_pointer())
            value = builder.load(place, align=1)
            return value if bits == 64 else builder.zext(value, ir.IntType(64))

        return result(types.int64, types.int64), generate

    return cast("Callable[[Any, Any], Any]", intrinsic(load))


byte = _loader(8, types.int64)
"""byte(address, p): the byte at `address` + `p`, an int64 from 0 to 255."""

eight = _loader(64, types.uint64)
"""eight(address, p): the eight bytes from there on as one uint64, the first the lowest, as on all CPUs of numba."""


def word(text: str) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Return what `starts` needs to recognise an ASCII word: its first eight characters, their mask, its length."""
    data = text.encode("ascii")[:8]
    return np.uint64(int.from_bytes(data, "little")), np.uint64(256 ** len(data) - 1), np.uint64(len(data))


@step
def starts(buf: Any, p: Any, word: Any) -> Any:
    """Say whether `word` stands at `p`."""
    return eight(buf, p) & word[1] == word[0]
