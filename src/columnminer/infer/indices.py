"""Index parameters: those that take the values of their anchors only, with nothing between.

No derivative says where they are best. They are fitted in turns: all other parameters with the indices held, then the
indices over the grid of all their anchors with the others held, until the indices stay.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from columnminer.infer.likelihood import Likelihood

__all__ = ["best_indices", "nearest_anchors"]


def nearest_anchors(likelihood: Likelihood, points: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.float64]:
    """Return points (..., n_par) with index parameters at the anchors next to where they are."""
    points = points.copy()
    for name in names:
        i = likelihood.names.index(name)
        anchors = _anchors(likelihood, name)
        points[..., i] = anchors[np.abs(points[..., i, None] - anchors).argmin(axis=-1)]
    return points


def best_indices(
    likelihood: Likelihood, points: NDArray[np.float64], names: Sequence[str], data: Any
) -> NDArray[np.float64]:
    """Return points (..., n_par) with index parameters where log L is largest, the others held.

    They stay where they are unless another place is better.
    """
    columns = [likelihood.names.index(name) for name in names]
    best = points.copy()
    largest = np.asarray(likelihood.terms(points, data).total)
    for indices in itertools.product(*(_anchors(likelihood, name) for name in names)):
        there = points.copy()
        there[..., columns] = indices
        found = np.asarray(likelihood.terms(there, data).total)
        better = found > largest
        best, largest = np.where(better[..., None], there, best), np.where(better, found, largest)
    return best


def _anchors(likelihood: Likelihood, name: str) -> NDArray[np.float64]:
    return np.array(likelihood.parameters[likelihood.names.index(name)].anchors or (), dtype=np.float64)
