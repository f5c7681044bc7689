r"""The information in bins about nuisance parameters that change what is seen of events, and its covariance.

The sums over varied events are further entries of the sums S of each bin, see `moments`. But an event is not in one
bin alone any more: varied, it may lie in another, or none. An event more or less changes the information by

.. math:: dI_e = \sum_s \frac{\partial I}{\partial S_{k_s(e)}} v_{e, s},

where s runs over the nominal selection and the varied ones, in which e is found in bin :math:`k_s(e)`. The covariance
is :math:`\sum_e dI_e\, dI_e^T`; that the same events are in all selections makes it much smaller than if these were
independent.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from columnminer.infer.moments import BinMoments, event_vectors
from columnminer.store.weights import NuisanceColumn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.infer.bins import Bins
    from columnminer.infer.events import StoredBlock, StoredEvents
    from columnminer.infer.summary import Summary

__all__ = ["varied_information"]

Array: TypeAlias = "NDArray[np.float64]"


def varied_information(events: StoredEvents, theta: Array, summary: Summary | None, bins: Bins) -> tuple[Array, Array]:
    """Return the information for 1 pb^-1, (n, n), and its covariance, (n, n, n, n), in the numbers of events in bins.

    Its directions are theta, the nuisance parameters that change weights, and the variations of the store. For each
    event n (n + 1) / 2 numbers are held in memory.

    Parameters
    ----------
    events
        Which; of a partition, not of a slice.
    theta
        (n_par,) parameter point.
    summary, bins
        What is binned, and the bins; None for a single bin.
    """
    nominal = BinMoments.of(events, theta, summary, bins)
    sides = [(name, side) for name in events.store.variations for side in events.varied(name)]

    def index(block: StoredBlock) -> NDArray[np.intp]:
        return bins.find_bins(
            np.zeros((len(block.background), 0)) if summary is None else summary(block.x, events.names)
        )

    sums = [sum(bins.sum(index(b), b.reference_weights[:, None]) for b in side.blocks()) for _, side in sides]
    # Varied sums as those of weights: behind the reference weight, and the varied weights where there are any.
    start = 1 + nominal.n_theta
    with_reference = bool(nominal.nuisances)
    first = nominal.first
    if not with_reference:
        reference = sum(bins.sum(index(b), b.reference_weights[:, None]) for b in events.blocks())
        first = np.concatenate([first, reference], axis=1)
    n_columns = first.shape[1] - start - 1
    columns = []
    for name in events.store.variations:
        places = [n_columns + i for i, (of, _) in enumerate(sides) if of == name]
        columns.append(NuisanceColumn(name, name, places[0], places[1] if len(places) > 1 else None))
    together = replace(nominal, first=np.concatenate([first, *sums], axis=1), nuisances=(*nominal.nuisances, *columns))
    information, jacobian = together.rate_information()

    n = information.shape[1]
    one, other = np.triu_indices(n)
    slopes = jacobian[:, one, other]  # (n_bins, n_pairs, n_v)
    numbers, changes = [], []
    for block in events.blocks():
        vectors = event_vectors(block, theta, None, varied=True)
        numbers.append(_numbers(events, block))
        changes.append(np.einsum("epv,ev->ep", slopes[index(block)][..., : vectors.shape[1]], vectors))
    for i, (_, side) in enumerate(sides):
        of_side = slopes[..., start + 1 + n_columns + i]
        for block in side.blocks():
            numbers.append(_numbers(side, block))
            changes.append(of_side[index(block)] * block.reference_weights[:, None])
    event = np.unique(np.concatenate(numbers), return_inverse=True)[1]
    terms = np.concatenate(changes)
    of_events: Array = np.stack([np.bincount(event, weights=column) for column in terms.T])
    pair = np.zeros((n, n), dtype=np.intp)
    pair[one, other] = pair[other, one] = np.arange(len(one))
    covariance: Array = (of_events @ of_events.T)[pair[:, :, None, None], pair]
    return information.sum(axis=0), covariance


def _numbers(events: StoredEvents, block: StoredBlock) -> NDArray[np.int64]:
    """Return numbers by which the same events are known in all selections."""
    rows = block.block.indices[block.rows]
    sample = block.block.sample[block.rows].astype(np.int64)
    return np.asarray((sample << _SAMPLE) + np.asarray(events.store.event.take(rows)), dtype=np.int64)


_SAMPLE = 40
"""Bits for the number of an event in its sample."""
