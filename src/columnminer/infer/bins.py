"""Bins of histograms: edges along each axis, under- and overflow always in bins of their own.

`find_bins` is the only place where an event meets an edge, so filling and evaluating cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from columnminer.errors import InputError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Axis", "BinSpec", "Bins", "even_edges", "quantile_edges", "split_bins"]

BinSpec: TypeAlias = "int | ArrayLike | Sequence[int | ArrayLike] | Mapping[str, int | ArrayLike] | None"
"""Bins along one or several axes; see `split_bins`."""

_DEFAULT_NUMBER = {1: 25, 2: 8}
"""Equal-cross-section bins along each of this many axes, unless said otherwise; more axes get 5 each."""


@dataclass(frozen=True)
class Axis:
    """One axis of a histogram.

    Bin 0 holds x < edges[0], bin k holds edges[k-1] <= x < edges[k], the last holds x >= edges[-1].

    Attributes
    ----------
    name : str
        What is binned.
    edges : numpy.ndarray
        (n_edges,) increasing.

    Raises
    ------
    InputError
        If the edges are not finite and increasing.
    """

    name: str
    edges: NDArray[np.float64]

    def __post_init__(self) -> None:
        edges = np.array(self.edges, dtype=np.float64)
        if edges.ndim != 1 or not np.isfinite(edges).all() or not (np.diff(edges) > 0).all():
            msg = f"the bin edges of {self.name!r} must be finite and increasing, not {np.array2string(edges)}"
            raise InputError(msg)
        edges.flags.writeable = False
        object.__setattr__(self, "edges", edges)

    def __len__(self) -> int:
        """Return the number of bins, under- and overflow among them."""
        return len(self.edges) + 1


@dataclass(frozen=True)
class Bins:
    """The bins of a histogram in any number of dimensions; with no axes, a single bin that holds everything.

    Attributes
    ----------
    axes : tuple of Axis
        In order.
    """

    axes: tuple[Axis, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of bins along each axis, under- and overflow included."""
        return tuple(len(axis) for axis in self.axes)

    @property
    def size(self) -> int:
        """Number of bins in all."""
        return int(np.prod(self.shape, dtype=np.int64))

    def find_bins(self, values: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the flat bin number of each event, (n,), from its values (n, n_axes).

        Raises
        ------
        InputError
            If a value is NaN: it has no bin.
        """
        index = np.zeros(len(values), dtype=np.intp)
        for column, axis in zip(values.T, self.axes, strict=True):
            if np.isnan(column).any():
                msg = f"{axis.name!r} is undefined (NaN) for {int(np.isnan(column).sum())} events; cut them away"
                raise InputError(msg)
            index *= len(axis)
            index += np.searchsorted(axis.edges, column, side="right")
        return index

    def sum(self, index: NDArray[np.intp], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sums of weights (n, k) in each bin, (size, k)."""
        sums = [np.bincount(index, weights=column, minlength=self.size) for column in weights.T]
        return np.stack(sums, axis=1) if sums else np.zeros((self.size, 0))


def split_bins(bins: BinSpec, names: Sequence[str]) -> list[int | NDArray[np.float64]]:
    """Return what is wanted along each axis: a number of equal-cross-section bins, or edges.

    Parameters
    ----------
    bins
        For every axis a number of bins or an array of edges, as a sequence in order or a mapping by name; one number
        stands for every axis, and with one axis its edges may be given as they are. None: 25 bins on one axis, 8 each
        on two, 5 each on more.
    names
        Names of the axes.

    Raises
    ------
    InputError
        If there is not one entry for each axis, or a number is not positive.
    UnknownNameError
        If a mapping names another axis.
    """
    n_axes = len(names)
    entries: Any = _DEFAULT_NUMBER.get(n_axes, 5) if bins is None else bins
    if isinstance(entries, int | np.integer):
        entries = [entries] * n_axes
    elif isinstance(entries, Mapping):
        for name in entries:
            if name not in names:
                msg = f"bins are given for {name!r}, which is not an axis.{did_you_mean(name, names)}"
                raise UnknownNameError(msg)
        entries = [entries.get(name, _DEFAULT_NUMBER.get(n_axes, 5)) for name in names]
    elif n_axes == 1 and len(entries) > 1 and all(np.ndim(entry) == 0 for entry in entries):
        entries = [entries]
    if len(entries) != n_axes:
        msg = f"bins are needed for {n_axes} axes ({', '.join(names)}), not {len(entries)}"
        raise InputError(msg)
    split: list[int | NDArray[np.float64]] = []
    for name, entry in zip(names, entries, strict=True):
        if np.ndim(entry) == 0:
            if isinstance(entry, bool) or not isinstance(entry, int | np.integer) or entry < 1:
                msg = f"the number of bins of {name!r} must be a positive integer, not {entry!r}"
                raise InputError(msg)
            split.append(int(entry))
        else:
            split.append(Axis(name, np.asarray(entry, dtype=np.float64)).edges)
    return split


def quantile_edges(values: NDArray[np.float64], weights: NDArray[np.float64], n_bins: int) -> NDArray[np.float64]:
    """Return the inner edges of `n_bins` bins of equal weight, (n_bins - 1,) or fewer where values repeat.

    The outermost bins are open: under- and overflow. An event stands at the middle of its weight in the cumulative
    distribution, between events it is linear. Negative weights count, but the distribution is kept from falling.
    """
    order = np.argsort(values, kind="stable")
    cumulative = np.maximum.accumulate(np.cumsum(weights[order]) - 0.5 * weights[order])
    wanted = np.linspace(0.0, 1.0, n_bins + 1)[1:-1] * weights.sum()
    return np.unique(np.interp(wanted, cumulative, values[order]))


def even_edges(values: NDArray[np.float64], n_bins: int) -> NDArray[np.float64]:
    """Return edges (n_bins + 1,) of equal width over the middle 99.6 % of `values`; for few integers, one bin each."""
    values = values[np.isfinite(values)]
    if not len(values):
        return np.array([0.0, 1.0])
    low, high = np.quantile(values, [0.002, 0.998])
    if (values == np.round(values)).all() and high - low <= 2 * n_bins:  # counts and charges
        return np.asarray(np.arange(np.floor(low), np.ceil(high) + 2) - 0.5)
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, n_bins + 1)
