r"""Templates as so many unweighted events would fill them: how well a histogram is known from a smaller simulation.

An event e is drawn with probability :math:`|W_e| / \sum |W|`, each time anew, and counts with the sign of its weight.
So it falls into bin k with the probability :math:`\sum_{e \in k} |W_e| / \sum |W|`, whichever of the events there it
is: bins are drawn instead of events, from the sums over all weighted ones. Every drawn event stands for
:math:`\sum |W| / n` pb. At another theta, templates are morphed from those at the benchmarks, each drawn on its own;
their fluctuations are then as large as the morphing weights make them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from columnminer.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["checked_number", "sampled"]

_AT_A_TIME = 2**20


def checked_number(n: int) -> int:
    """Return a number of events to draw, or raise `InputError` unless it is a positive integer."""
    given: object = n  # callers without a type checker pass anything
    if isinstance(given, bool) or not isinstance(given, int | np.integer) or given < 1:
        msg = f"n_sampled, a number of events to fill templates with, must be a positive integer, not {n!r}"
        raise InputError(msg)
    return int(given)


def sampled(
    sums: NDArray[np.float64], sizes: NDArray[np.float64], n: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what n drawn events put into each bin [pb], and the sums of their squared weights [pb^2], each (n_bins,).

    Parameters
    ----------
    sums, sizes
        (n_bins,) sums of the weights, and of their absolute values, over all events [pb].
    n
        Events to draw. Where there are none to draw from, the bins stay empty.
    rng
        To draw with.
    """
    total = float(sizes.sum())
    if not total > 0.0:
        return np.zeros_like(sums), np.zeros_like(sums)
    # One uniform number for each event: sums that differ by rounding then give the same counts, which numbers of events
    # drawn bin after bin would not.
    ends = np.cumsum(np.maximum(np.concatenate([sizes + sums, sizes - sums]), 0.0))
    counts = np.zeros(len(ends), dtype=np.int64)
    for first in range(0, n, _AT_A_TIME):
        heights = np.minimum(rng.random(min(n - first, _AT_A_TIME)) * ends[-1], np.nextafter(ends[-1], 0.0))
        counts += np.bincount(np.searchsorted(ends, heights, side="right"), minlength=len(ends))
    above, below = counts.reshape(2, -1).astype(np.float64)
    return (above - below) * (total / n), (above + below) * (total / n) ** 2
