r"""How samples add up to cross sections, on reading: mixing fractions and the size of a partition.

Weights at rest are normalised per sample. Signal samples s, each generated at its own benchmark, all estimate the same
cross section; they are averaged with the fractions of generated events g_s that they bring. In a partition with the
fraction k_s of the stored events of sample s, its estimate is the sum of weights / k_s, and counts with the fraction of
the g_s k_s events that stand behind it. So all weights of sample s are multiplied with

.. math:: \frac{g_s k_s}{\sum_t g_t k_t} \cdot \frac{1}{k_s} = \frac{g_s}{\sum_t g_t k_t} ,

which holds also where a partition has no events of some sample. Backgrounds are sums of their own: 1 / k_s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from columnminer.errors import MissingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from columnminer.store.samples import SampleInfo

__all__ = ["mixing_scales"]


def mixing_scales(
    samples: Sequence[SampleInfo], counts: NDArray[np.int64], where: str, benchmark: str | None = None
) -> NDArray[np.float64]:
    """Return what the stored weights of each sample are multiplied with, (n_samples,); 0 leaves the sample out.

    Parameters
    ----------
    samples
        What is stored.
    counts
        (n_samples,) how many stored events of each are in the partition.
    where
        What to call the partition in messages.
    benchmark
        Only signal samples generated at this benchmark; None: all.

    Raises
    ------
    MissingError
        If no events are left of the signal, or of a background.
    """
    if counts.sum() == 0:
        msg = f"there are no events in {where}"
        raise MissingError(msg)
    stored = np.array([s.n_events for s in samples])
    generated = np.array([s.n_generated for s in samples], dtype=np.float64)
    background = np.array([s.background for s in samples])
    # A sample of which nothing passed the selection has no fraction of its own: it takes that of the others.
    kept = np.where(stored > 0, counts / np.maximum(stored, 1), counts.sum() / stored.sum())
    scales = np.zeros(len(samples))
    signal = ~background & np.array([benchmark in {None, s.benchmark} for s in samples])
    if signal.any():
        if not counts[signal].any():
            msg = f"there are no signal events in {where}"
            raise MissingError(msg)
        scales[signal] = generated[signal] / (generated[signal] @ kept[signal])
    for i in np.flatnonzero(background & (stored > 0)).tolist():
        if not counts[i]:
            msg = f"there are no events of background {samples[i].name!r} in {where}"
            raise MissingError(msg)
        scales[i] = 1.0 / kept[i]
    return scales
