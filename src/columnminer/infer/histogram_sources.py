"""Sources of template likelihoods from histograms in memory: those of hist, boost-histogram, ROOT files, or our own."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError
from columnminer.infer.template_files import Histogram
from columnminer.infer.template_shapes import counted, shape_in
from columnminer.infer.template_sources import TemplateSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["axes_of", "histogram_source"]


def axes_of(histogram: Any) -> dict[str, NDArray[np.float64]]:
    """Return the axes of a histogram as `TemplateLikelihood` takes them: edges by name."""
    made = Histogram.of(histogram)
    return {name: np.asarray(edges, dtype=np.float64) for name, edges in zip(made.names, made.edges, strict=True)}


def histogram_source(
    name: str,
    histograms: Any,
    *,
    shapes: str | Sequence[str] = (),
    rate: str | None = None,
    efficiency: str | None = None,
    exposure: float = 1.0,
) -> TemplateSource:
    """Return a source of histograms of expected events.

    Parameters
    ----------
    name
        Of the source.
    histograms
        One of any kind that `Histogram.of` takes; or, for a source that depends on shape parameters, one for each
        anchor: ``{-1.0: down, 0.0: middle, 1.0: up}``, with tuples as keys for several parameters, whose anchors must
        form a grid.
    shapes
        Names of the shape parameters, in the order of the keys. Their `Parameter` has the same anchors.
    rate, efficiency
        Names of parameters that multiply the number of events.
    exposure
        Nominal exposure by which the contents are multiplied.

    Raises
    ------
    InputError
        If bins are negative or differ among the histograms, or anchors form no grid.
    """
    shapes = (shapes,) if isinstance(shapes, str) else tuple(shapes)
    by_anchor = histograms if isinstance(histograms, Mapping) else {(): histograms}
    keyed = {tuple(map(float, np.atleast_1d(key))): Histogram.of(h) for key, h in by_anchor.items()}
    where = f"source {name!r}"
    if any(len(key) != len(shapes) for key in keyed) or not keyed:
        msg = f"{where}: there is one histogram, or one for each anchor of the shape parameters, not {list(by_anchor)}"
        raise InputError(msg)
    anchors = [sorted({key[i] for key in keyed}) for i in range(len(shapes))]
    grid = list(itertools.product(*anchors))
    missing = [key for key in grid if key not in keyed]
    if missing:
        msg = f"{where}: anchors must form a grid; there is no histogram for {missing[0]}"
        raise InputError(msg)
    space = axes_of(keyed[grid[0]])
    try:
        made = [shape_in(space, counted(keyed[key])) for key in grid]
    except InputError as error:
        msg = f"{where}: {error}"
        raise InputError(msg) from error
    counts = tuple(map(len, anchors))
    bins = tuple(len(edges) - 1 for edges in space.values())
    return TemplateSource(
        name=name,
        shapes=shapes,
        probability=np.reshape([shape.probability_in(tuple(space.values())) for shape in made], counts + bins),
        events=np.reshape([float(shape.events) * exposure for shape in made], counts),
        rate=rate,
        efficiency=efficiency,
    )
