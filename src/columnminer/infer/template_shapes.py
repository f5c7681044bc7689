"""From a histogram of a file to what a source is in the analysis space: how many events, and how they are spread.

The steps, in the order in which a template goes through them: `reweighted` by a spectrum, `counted` (contents to
events per bin, all adding up to one if so wanted), `sliced`, `combined` with others, and at last `shape_in`, which
holds the axes against the analysis space and splits events from density.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import FileFormatError, InputError
from columnminer.infer.template_files import Histogram, bin_volumes
from columnminer.model.checks import entries, floats, number, pair

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Shape", "Spectrum", "combined", "counted", "read_spectrum", "reweighted", "shape_in", "sliced"]

_BINNING_TOLERANCE = 0.01
"""Edges of a template may lie this far from those of the analysis space, in units of the bins beside them."""


_ROUNDING = 5e-7
"""Sums of probabilities that are this close to one are left as they are."""


@dataclass(frozen=True)
class Shape:
    """What a source is at one point of its shape parameters.

    Attributes
    ----------
    events
        Expected events per unit of exposure.
    edges
        Of the bins along each axis, as the template has them.
    density : numpy.ndarray
        (*n_bins) probability density in each bin; all zero where no events are expected.
    """

    events: Any
    edges: tuple[NDArray[Any], ...]
    density: NDArray[Any]

    @property
    def probability(self) -> NDArray[np.float64]:
        """(*n_bins) probability of each bin, in the precision of the template."""
        return np.asarray(self.density * bin_volumes(self.edges), dtype=np.float64)

    def probability_in(self, edges: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the probability of each bin, (*n_bins), whose edges are these but for rounding: the density is kept.

        Where rounded edges change the sum by more than that, it is made one again.
        """
        probability = np.asarray(self.density * bin_volumes(edges), dtype=np.float64)
        total = probability.sum()
        return np.asarray(probability / total if abs(total - 1.0) > _ROUNDING and total > 0.0 else probability)


@dataclass(frozen=True)
class Spectrum:
    """A function given at points, linear between them and zero outside: `x` (n,), `y` (n,)."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]

    def __call__(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return the function at `x`."""
        return np.asarray(np.interp(x, self.x, self.y, left=0.0, right=0.0), dtype=np.float64)


def read_spectrum(path: Path) -> Spectrum:
    """Read a spectrum from JSON: ``coordinate_system`` (where), ``map`` (how much), perhaps ``description``.

    Raises
    ------
    FileFormatError
        If the file is missing or something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path}: this is no spectrum in JSON: {error}"
        raise FileFormatError(msg) from error
    keys = entries(document, f"spectrum {path}", required=("coordinate_system", "map"), optional=("description",))
    x, y = (floats(keys[key], f"spectrum {path}: {key}") for key in ("coordinate_system", "map"))
    if x.ndim != 1 or x.shape != y.shape or len(x) < 2 or not (np.diff(x) > 0).all():
        msg = f"spectrum {path}: 'coordinate_system' must increase, and 'map' have one number for each of its entries"
        raise FileFormatError(msg)
    return Spectrum(x, y)


def reweighted(histogram: Histogram, axis: str | int, spectrum: Spectrum) -> Histogram:
    """Return the histogram times the spectrum along one axis: its value at the middle of a bin times the width."""
    number = histogram.axis(axis)
    along = [1] * histogram.contents.ndim
    along[number] = -1
    weight = spectrum(histogram.centres(number)) * np.diff(histogram.edges[number])
    return histogram.filled(histogram.contents * weight.reshape(along))


def counted(histogram: Histogram, *, in_events_per_bin: bool = True, normalise: bool = False) -> Histogram:
    """Return the histogram with events per bin as contents.

    Parameters
    ----------
    histogram
        Template.
    in_events_per_bin
        Whether its contents are events already; if not, they are densities.
    normalise
        Scale it to one event in all.

    Raises
    ------
    InputError
        If a bin is negative, or there is nothing that could be scaled.
    """
    if (histogram.contents < 0).any():
        where = tuple(int(i) for i in np.argwhere(histogram.contents < 0)[0])
        msg = f"bin {where} of the template is negative: {histogram.contents[where]:g}"
        raise InputError(msg)
    if not in_events_per_bin:
        histogram = histogram.filled((histogram.contents * histogram.volumes).astype(histogram.contents.dtype))
    if normalise:
        if not histogram.total > 0:
            msg = "a template without events cannot be normalised"
            raise InputError(msg)
        histogram = histogram.filled(histogram.contents / histogram.total)
    return histogram


def sliced(histogram: Histogram, slices: Sequence[Mapping[str, Any]]) -> Histogram:
    """Return the histogram cut along axes, one after the other.

    Parameters
    ----------
    histogram
        Template.
    slices
        Each with ``slice_axis`` (name, or number among the axes that are left), and perhaps ``slice_axis_limits`` (low,
        high): the bins that contain the limits and those between them are kept (a limit on an edge lies in the bin
        above it, that on the last edge in the last); ``sum_axis``: whether the axis is then summed over and gone.

    Raises
    ------
    InputError, UnknownNameError
        If an axis does not exist, or limits leave nothing.
    """
    for cut in slices:
        axis = histogram.axis(cut["slice_axis"])
        edges = histogram.edges[axis]
        first, last = 0, len(edges) - 2
        if cut.get("slice_axis_limits") is not None:
            low, high = (number(limit, "slice_axis_limits") for limit in pair(cut["slice_axis_limits"], "limits"))
            if not low <= high or high < edges[0] or low > edges[-1]:
                msg = f"slice_axis_limits ({low}, {high}) leave nothing of axis {histogram.names[axis]!r}"
                raise InputError(msg)
            found = np.searchsorted(edges, [low, high], side="right") - 1
            first, last = (int(i) for i in np.clip(found, 0, len(edges) - 2))
        contents = np.take(histogram.contents, np.arange(first, last + 1), axis=axis)
        names, kept = list(histogram.names), list(histogram.edges)
        if cut.get("sum_axis", False):
            if len(names) == 1:
                msg = f"summing over {names[0]!r}, its only axis, leaves no histogram"
                raise InputError(msg)
            contents = contents.sum(axis=axis)
            del names[axis], kept[axis]
        else:
            kept[axis] = edges[first : last + 2]
        histogram = Histogram(tuple(names), tuple(kept), contents)
    return histogram


def combined(histograms: Sequence[Histogram], weights: Sequence[float]) -> Histogram:
    """Return the first histogram plus the others times their weights, each normalised before; negative sums are 0.

    The others may cover a part of the first only, in the same bins.

    Raises
    ------
    InputError
        If the number of weights is not one less than that of histograms, or one does not fit into the first.
    """
    if len(weights) + 1 != len(histograms):
        msg = f"{len(histograms)} histograms are combined with {len(histograms) - 1} weights, not {len(weights)}"
        raise InputError(msg)
    base, *others = (h.filled(h.contents / h.total if h.total > 0 else 0.0 * h.contents) for h in histograms)
    contents = base.contents
    for i, (other, weight) in enumerate(zip(others, weights, strict=True), start=1):
        added = np.zeros_like(contents)
        added[_inside(other, base, i)] += other.contents
        contents = contents + added * weight
    return base.filled(np.maximum(contents, 0))


def _inside(part: Histogram, whole: Histogram, number: int) -> tuple[slice, ...]:
    if len(part.edges) != len(whole.edges):
        msg = f"histogram {number} has {len(part.edges)} axes, the first one {len(whole.edges)}"
        raise InputError(msg)
    found = []
    for name, ours, theirs in zip(whole.names, whole.edges, part.edges, strict=True):
        first = int(np.searchsorted(ours, 0.5 * (theirs[0] + theirs[1]), side="right")) - 1
        here = ours[max(first, 0) : max(first, 0) + len(theirs)]
        if not _same_edges(theirs, here):
            msg = f"the bins of histogram {number} along {name!r} are not those of the first one"
            raise InputError(msg)
        found.append(slice(first, first + len(theirs) - 1))
    return tuple(found)


def shape_in(
    space: Mapping[str, NDArray[np.float64]],
    histogram: Histogram,
    *,
    scale: float = 1,
    log10_axes: Sequence[int] = (),
    uniform: bool = False,
) -> Shape:
    """Return the shape that a histogram of events per bin has in the analysis space.

    Parameters
    ----------
    space
        Edges by name of the axis: those that the template must have, in this order.
    histogram
        Template.
    scale
        Factor on the number of events.
    log10_axes
        Numbers of axes whose edges in the file are logarithms.
    uniform
        Keep the number of events only, and spread them over all bins alike.

    Raises
    ------
    InputError
        If the number of axes or their edges differ: by more than a hundredth of the bins beside an edge.
    """
    edges = [10.0**e if i in log10_axes else e for i, e in enumerate(histogram.edges)]
    if len(edges) != len(space):
        msg = (
            f"the template has {len(edges)} axes ({', '.join(histogram.names)}), the analysis space {', '.join(space)}"
        )
        raise InputError(msg)
    for name, wanted, seen in zip(space, space.values(), edges, strict=True):
        if not _same_edges(seen, wanted):
            msg = (
                f"the template has {len(seen) - 1} bins in {seen[0]:g} ... {seen[-1]:g} along {name!r}, the analysis "
                f"space {len(wanted) - 1} in {wanted[0]:g} ... {wanted[-1]:g}: these edges differ"
            )
            raise InputError(msg)
    histogram = Histogram(histogram.names, tuple(edges), histogram.contents * scale)
    events = histogram.total
    density = (histogram.contents / histogram.volumes).astype(histogram.contents.dtype)
    if events > 0:
        density = density / events
    if uniform:
        density = 1.0 / (histogram.volumes * histogram.contents.size)
    return Shape(events, histogram.edges, density)


def _same_edges(seen: NDArray[Any], wanted: NDArray[Any]) -> bool:
    if len(seen) != len(wanted):
        return False
    widths = np.diff(wanted)
    beside = np.minimum(np.append(widths, widths[-1]), np.append(widths[0], widths))
    return bool((np.abs(seen - wanted) <= _BINNING_TOLERANCE * beside).all())
