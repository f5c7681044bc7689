"""Events as template likelihoods see them: the cell of the analysis space that each one lies in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError, MissingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["TemplateEvents"]


@dataclass(frozen=True, eq=False)
class TemplateEvents:
    """Data of a `TemplateLikelihood`: one data set, or a batch of them along leading axes.

    Data sets of a batch have different numbers of events: the shorter ones are filled up with entries of count 0.

    Attributes
    ----------
    cells : numpy.ndarray
        (..., n) number of the cell of each entry, counted with the last axis of the analysis space fastest.
    counts : numpy.ndarray
        (..., n) number of events that it stands for: 1, 0 to fill up, the content of a bin, or any weight.
    values : mapping of str to numpy.ndarray, or None
        (..., n) position of each event along each axis of the analysis space, where it is known.
    source : numpy.ndarray or None
        (..., n) number of the source that a simulated event is from.
    merged : bool
        Whether no cell occurs twice in a data set.
    """

    cells: NDArray[np.integer[Any]]
    counts: NDArray[np.float64]
    values: Mapping[str, NDArray[np.float64]] | None = None
    source: NDArray[np.integer[Any]] | None = None
    merged: bool = False

    @property
    def batch(self) -> tuple[int, ...]:
        """Shape of the batch of data sets; () for a single one."""
        return self.counts.shape[:-1]

    @property
    def n_events(self) -> NDArray[np.float64]:
        """Number of events of each data set, [...]."""
        return np.asarray(self.counts.sum(axis=-1))

    def pick(self, rows: NDArray[np.int64]) -> TemplateEvents:
        """Return the data sets of these rows of a batch."""
        if not self.batch:
            msg = "one data set is no batch: stack several with columnminer.infer.batches.stack"
            raise InputError(msg)
        return TemplateEvents(
            self.cells[rows],
            self.counts[rows],
            None if self.values is None else {name: column[rows] for name, column in self.values.items()},
            None if self.source is None else self.source[rows],
            self.merged,
        )

    @classmethod
    def stack(cls, data: Sequence[TemplateEvents]) -> TemplateEvents:
        """Return data sets as one batch; positions and sources are kept if all have them."""
        longest = max(d.counts.shape[-1] for d in data)

        def padded(columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
            widths = [(0, 0)] * (columns[0].ndim - 1)
            return np.stack([np.pad(c, [*widths, (0, longest - c.shape[-1])]) for c in columns])

        names = tuple(data[0].values or ()) if all(d.values is not None for d in data) else ()
        sources = [d.source for d in data if d.source is not None]
        return cls(
            padded([d.cells for d in data]),
            padded([d.counts for d in data]),
            {name: padded([d.values[name] for d in data if d.values]) for name in names} or None,
            padded(sources) if len(sources) == len(data) else None,
            all(d.merged for d in data),
        )

    def merge(self) -> TemplateEvents:
        """Return the same data sets with the events of each cell in one entry, without positions and sources."""
        if self.merged:
            return self
        flat = (math.prod(self.batch), self.counts.shape[-1])
        cells, counts = self.cells.reshape(flat), self.counts.reshape(flat)
        stride = int(cells.max(initial=0)) + 1
        keys = (cells + stride * np.arange(len(cells))[:, None])[counts != 0.0]
        unique, position = np.unique(keys, return_inverse=True)
        sums = np.bincount(position, weights=counts[counts != 0.0], minlength=len(unique))
        row = unique // stride
        place = np.arange(len(unique)) - np.searchsorted(row, np.arange(len(cells)))[row]
        shape: tuple[int, ...] = (len(cells), int(place.max(initial=-1)) + 1)
        new_cells, new_counts = np.zeros(shape, dtype=np.int64), np.zeros(shape)
        new_cells[row, place], new_counts[row, place] = unique % stride, sums
        shape = (*self.batch, shape[1])
        return TemplateEvents(new_cells.reshape(shape), new_counts.reshape(shape), merged=True)

    def table(self) -> NDArray[np.void]:
        """Return one data set as a structured array: a column for each axis, and the number of the source.

        Raises
        ------
        InputError
            If this is a batch.
        MissingError
            If the positions of the events are not known.
        """
        if self.batch:
            msg = f"a table holds one data set, not a batch of shape {self.batch}: pick one"
            raise InputError(msg)
        if self.values is None:
            msg = "these events have no positions: take them from simulate, or from TemplateLikelihood.place"
            raise MissingError(msg)
        kept = self.counts > 0.0
        columns: dict[str, NDArray[Any]] = {name: column[kept] for name, column in self.values.items()}
        if self.source is not None:
            columns["source"] = self.source[kept]
        table = np.empty(int(kept.sum()), dtype=[(name, column.dtype) for name, column in columns.items()])
        for name, column in columns.items():
            table[name] = column
        return table
