"""The space in which events are measured, divided into cells by bins along each axis; all events lie inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError
from columnminer.infer.bins import Axis
from columnminer.streams import uniform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

__all__ = ["AnalysisSpace", "volumes"]


@dataclass(frozen=True)
class AnalysisSpace:
    """Axes with bins; unlike `columnminer.infer.bins.Bins` without under- and overflow.

    A bin holds ``low <= x < high``, the last one of an axis its upper end, too.

    Attributes
    ----------
    edges : mapping of str to numpy.ndarray
        Increasing bin edges of each axis.

    Raises
    ------
    InputError
        If there is no axis, or the edges of one are not increasing.
    """

    edges: Mapping[str, NDArray[np.float64]]

    def __post_init__(self) -> None:
        edges = {name: Axis(name, np.asarray(e, dtype=np.float64)).edges for name, e in self.edges.items()}
        object.__setattr__(self, "edges", edges)
        if not edges or 0 in self.shape:
            msg = "an analysis space needs at least one axis, with at least one bin each"
            raise InputError(msg)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of bins along each axis."""
        return tuple(len(edges) - 1 for edges in self.edges.values())

    @property
    def size(self) -> int:
        """Number of cells."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def volumes(self) -> NDArray[np.float64]:
        """Volume of each cell, ``[*shape]``."""
        return volumes(self.edges)

    def columns(self, data: Any) -> dict[str, NDArray[np.float64]]:
        """Return the column of each axis, (n,), from a mapping or a structured array.

        Raises
        ------
        InputError
            If one is missing, or they differ in length.
        """
        known = list(data.dtype.names) if isinstance(data, np.ndarray) else list(data)
        found = {}
        for name in self.edges:
            if name not in known:
                msg = f"the data have no column {name!r}, only {', '.join(map(repr, known)) or 'none'}"
                raise InputError(msg)
            found[name] = np.atleast_1d(np.asarray(data[name], dtype=np.float64))
        if any(column.ndim != 1 for column in found.values()) or len({len(column) for column in found.values()}) > 1:
            msg = "each column must hold one value for each event; batches are stacked of single data sets"
            raise InputError(msg)
        return found

    def inside(self, columns: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.bool_]]:
        """Return for each axis which events are within its edges."""
        return {name: (columns[name] >= edges[0]) & (columns[name] <= edges[-1]) for name, edges in self.edges.items()}

    def cells(self, columns: Mapping[str, NDArray[np.float64]]) -> NDArray[np.int64]:
        """Return the number of the cell of each event, all of them inside; the last axis counts fastest."""
        cells: NDArray[np.int64] = np.zeros((), dtype=np.int64)
        for name, edges in self.edges.items():
            bins = np.minimum(np.searchsorted(edges, columns[name], side="right") - 1, len(edges) - 2)
            cells = cells * (len(edges) - 1) + bins
        return cells

    def positions(
        self, cells: NDArray[np.integer[Any]], key: int, *counters: ArrayLike
    ) -> dict[str, NDArray[np.float64]]:
        """Return positions along each axis, anywhere in the cells; random numbers are those of a key and counters."""
        found = {}
        bins = np.unravel_index(cells, self.shape)
        for i, (name, edges) in enumerate(self.edges.items()):
            low, high = edges[bins[i]], edges[bins[i] + 1]
            found[name] = low + uniform(key, *counters, i) * (high - low)
        return found


def volumes(edges: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the volume of each bin, one axis for each entry."""
    product: NDArray[np.float64] = np.ones(())
    for e in edges.values():
        product = product[..., None] * np.diff(e)
    return product
