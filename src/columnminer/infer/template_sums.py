"""Sums over events of the logarithm of a mixture of templates, in blocks that fit in the cache of a processor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.infer.arrays import Place
    from columnminer.infer.template_sources import Coefficients

__all__ = ["event_sums"]

_BLOCK = {None: 65_536, "cpu": 262_144}
"""Template values looked up at once, by the place of the arrays (None: numpy)."""
_ACCELERATOR_BLOCK = 16_777_216


def event_sums(
    place: Place,
    table: Any,
    found: Coefficients,
    *,
    cells: NDArray[np.integer[Any]],
    counts: NDArray[np.float64],
    rows: NDArray[np.int64],
    order: int,
) -> list[NDArray[np.float64]]:
    """Return sums over the events of n points: log density, number of events without density, derivatives.

    Parameters
    ----------
    place
        Where to compute.
    table
        `Mixture.table`, there.
    found
        Coefficients of the n points.
    cells, counts
        (n_sets, n_entries) data sets.
    rows
        (n,) number of the data set of each point.
    order
        Up to which derivatives are wanted; others are zero.

    Returns
    -------
    list of numpy.ndarray
        (n,), (n,), (n, K) and (n, K, K); the derivatives are in the coefficients.
    """
    n, n_terms = found.value.shape
    n_entries = cells.shape[1]
    size = _BLOCK.get(place.device, _ACCELERATOR_BLOCK) // max(1, n_terms)
    entries = max(1, min(n_entries, size))
    step = max(1, size // entries)
    sums = [np.zeros(n), np.zeros(n), np.zeros((n, n_terms)), np.zeros((n, n_terms, n_terms))]
    consecutive = n > 0 and np.array_equal(rows, np.arange(rows[0], rows[0] + n))  # then they need not be copied
    for begin in range(0, n, step):
        here = slice(begin, begin + step)
        which = slice(rows[begin], rows[begin] + len(rows[here])) if consecutive else rows[here]
        starts, value = place.put(found.starts[here]), place.put(found.value[here])
        for left in range(0, n_entries, entries):
            part = slice(left, left + entries)
            events = place.put(cells[which, part]), place.put(counts[which, part])
            parts = _block(place.namespace, table, (starts, value), events, order)
            for total, add in zip(sums, parts, strict=False):
                total[here] += place.get(add)
    return sums


def _block(xp: Any, table: Any, terms: tuple[Any, Any], events: tuple[Any, Any], order: int) -> tuple[Any, ...]:
    r"""Return the sums of one block: terms are starts and values (n, K), events cells and counts (n, m).

    With the density :math:`d = \sum_k c_k p_k`, derivatives of :math:`\sum_e n_e \log d_e` in the coefficients are
    :math:`\sum_e n_e p_k / d` and :math:`-\sum_e n_e p_k p_l / d^2`.
    """
    (starts, value), (cells, counts) = terms, events
    templates = xp.take(table, starts[:, :, None] + cells[:, None, :])
    density = xp.matmul(value[:, None, :], templates)[:, 0, :]
    positive = density > 0.0
    dark = None
    if not bool(positive.all()):
        dark = xp.where(positive, 0.0, counts).sum(-1)
        density, counts = xp.where(positive, density, 1.0), xp.where(positive, counts, 0.0)
    log = (counts * xp.log(density)).sum(-1)
    dark = 0.0 * log if dark is None else dark
    if order == 0:
        return log, dark
    inverse = counts / density
    first = xp.matmul(templates, inverse[:, :, None])[:, :, 0]
    if order == 1:
        return log, dark, first
    scaled = templates * (inverse / density)[:, None, :]
    return log, dark, first, -xp.matmul(scaled, xp.swapaxes(templates, 1, 2))
