"""Toys of template likelihoods: the cells and sources of their events, thousands of toys at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import pdtr

from columnminer.infer.template_events import TemplateEvents
from columnminer.streams import Seed, key, uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["drawn_events"]

_DRAWS = 1_000_000
"""Events drawn at once."""


def drawn_events(content: NDArray[np.float64], seed: Seed, toys: NDArray[np.int64]) -> TemplateEvents:
    """Return the events of toys of these numbers (n,), each a function of the seed and its number alone.

    Parameters
    ----------
    content
        (n_sources, n_cells) expected number of events of each source in each cell, not negative.
    seed
        Of all toys.
    toys
        Their numbers.
    """
    # Of independent Poisson numbers in all cells the sum is Poisson, and each event is anywhere by its share.
    n_cells = content.shape[1]
    possible = np.flatnonzero(content > 0.0)
    heights = np.cumsum(content.ravel()[possible])
    mu = heights[-1] if len(heights) else 0.0
    numbers = toys[:, None]
    n_events = _poisson_quantile(uniform(key(seed, "number"), numbers), mu)
    n_slots = int(n_events.max(initial=0))
    cells = np.zeros((len(numbers), n_slots), dtype=np.int32 if n_cells < 2**31 else np.int64)
    source = np.zeros(cells.shape, dtype=np.int16)
    slots, stream = np.arange(n_slots), key(seed, "cell")
    for begin in range(0, len(numbers), step := max(1, _DRAWS // max(1, n_slots))):
        here = slice(begin, begin + step)
        draws = uniform(stream, numbers[here], slots) * mu
        found = possible[_find(heights, draws).clip(max=len(possible) - 1)]
        source[here], cells[here] = np.divmod(np.where(slots < n_events[here], found, 0), n_cells)
    return TemplateEvents(cells, (slots < n_events).astype(np.float64), source=source)


def _poisson_quantile(p: NDArray[np.float64], mu: float) -> NDArray[np.int64]:
    """Return the least k for which the Poisson probability of at most k events is not below p."""
    reach = 12.0 * math.sqrt(mu) + 60.0  # what is beyond has less probability than p resolves
    k = np.arange(max(0, math.floor(mu - reach)), math.ceil(mu + reach))
    return np.asarray(k[np.searchsorted(pdtr(k, mu), p).clip(max=len(k) - 1)])


def _find(heights: NDArray[np.float64], draws: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return ``np.searchsorted(heights, draws, side="right")``, several times as fast where there are many draws.

    A table over equal steps of the draws tells where to begin (Chen and Asau, AIIE Trans. 6 (1974) 163); what is not
    found after two steps from there is searched for. Draws are from 0 to the last of the heights.
    """
    n_steps = 4 * len(heights)
    if draws.size <= n_steps:
        return np.asarray(np.searchsorted(heights, draws, side="right"))
    scale = n_steps / heights[-1]
    begin = np.arange(n_steps + 1) / scale * (1.0 - 1e-12)  # never too late, however products are rounded
    table = np.searchsorted(heights, begin, side="right").clip(max=len(heights) - 1)
    flat = draws.ravel()
    found = table[(flat * scale).astype(np.int64)]
    late = np.flatnonzero(heights[found] <= flat)
    for _ in range(2):
        found[late] = np.minimum(found[late] + 1, len(heights) - 1)
        late = late[heights[found[late]] <= flat[late]]
    found[late] = np.searchsorted(heights, flat[late], side="right")
    return np.asarray(found.reshape(draws.shape))
