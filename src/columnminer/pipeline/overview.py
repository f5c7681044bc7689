"""What a store of events holds, at a few parameter points: cross sections, effective sample sizes, distributions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boost_histogram as bh
import numpy as np

from columnminer.infer.bins import even_edges

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from columnminer.store.eventstore import EventStore

__all__ = ["Overview", "load_overview", "save_overview", "take_overview"]

_PILOT_EVENTS = 50_000
_BINS = 30


@dataclass(frozen=True)
class Overview:
    """What `take_overview` finds.

    Attributes
    ----------
    cross_section, error : dict
        Name of the parameter point -> cross section after the selection, and its statistical error [pb].
    n_effective : dict
        Name of the point -> (sum of weights)^2 / (sum of squared weights): as many unweighted events would have the
        same relative error.
    negative : dict
        Name of the point -> share of negative weights in the sum of absolute weights.
    distributions : dict
        Observable -> {name of the point -> histogram with contents in pb}.
    """

    cross_section: dict[str, float]
    error: dict[str, float]
    n_effective: dict[str, float]
    negative: dict[str, float]
    distributions: dict[str, dict[str, bh.Histogram[Any]]]


def take_overview(store: EventStore, thetas: Mapping[str, Any], observables: Sequence[str]) -> Overview:
    """Look through the store once.

    Parameters
    ----------
    store
        Simulated events.
    thetas
        Name -> parameter point.
    observables
        Names of the observables to histogram, each over the middle 99.6 % of the events.
    """
    points = store.setup.thetas(list(thetas.values()))
    columns = [store.observable_index(name) for name in observables]
    pilot = store.select(min(_PILOT_EVENTS, len(store)), seed=0).x[:, columns]
    axes = [_axis(name, pilot[:, i]) for i, name in enumerate(observables)]
    histograms = {
        name: {point: bh.Histogram(axis, storage=bh.storage.Weight()) for point in thetas}
        for name, axis in zip(observables, axes, strict=True)
    }
    squares, negative, absolute = np.zeros((3, len(points)))
    for block in store.blocks():
        weights = block.weights(points)
        squares += (weights**2).sum(axis=1)
        negative += np.maximum(-weights, 0.0).sum(axis=1)
        absolute += np.abs(weights).sum(axis=1)
        for name, column in zip(observables, columns, strict=True):
            for point, weight in zip(thetas, weights, strict=True):
                histograms[name][point].fill(block.x[:, column], weight=weight)
    xsec = store.xsec(points)
    return Overview(
        cross_section=dict(zip(thetas, xsec.value.tolist(), strict=True)),
        error=dict(zip(thetas, xsec.error.tolist(), strict=True)),
        n_effective=dict(zip(thetas, (xsec.value**2 / squares).tolist(), strict=True)),
        negative=dict(zip(thetas, (negative / absolute).tolist(), strict=True)),
        distributions=histograms,
    )


def _axis(name: str, values: NDArray[np.float64]) -> bh.axis.Variable:
    return bh.axis.Variable(even_edges(values, _BINS), metadata=name)


def save_overview(overview: Overview, folder: Path) -> None:
    """Write an overview as ``overview.json`` and ``overview.npz``."""
    names = list(overview.distributions)
    points = list(overview.cross_section)
    document = {
        "format": "columnminer overview",
        "format_version": 2,
        "observables": names,
        "points": points,
        "cross_section": overview.cross_section,
        "error": overview.error,
        "n_effective": overview.n_effective,
        "negative": overview.negative,
    }
    (folder / "overview.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    arrays = {}
    for i, name in enumerate(names):
        histograms = overview.distributions[name]
        arrays[f"edges_{i}"] = histograms[points[0]].axes[0].edges
        arrays[f"values_{i}"] = np.stack([histograms[p].values() for p in points])
        arrays[f"variances_{i}"] = np.stack([np.asarray(histograms[p].variances()) for p in points])
    np.savez(folder / "overview.npz", **arrays)


def load_overview(folder: Path) -> Overview:
    """Read what `save_overview` wrote."""
    document = json.loads((folder / "overview.json").read_text(encoding="utf-8"))
    distributions: dict[str, dict[str, bh.Histogram[Any]]] = {}
    with np.load(folder / "overview.npz") as arrays:
        for i, name in enumerate(document["observables"]):
            distributions[name] = {}
            for k, point in enumerate(document["points"]):
                histogram = bh.Histogram(bh.axis.Variable(arrays[f"edges_{i}"]), storage=bh.storage.Weight())
                histogram.view().value = arrays[f"values_{i}"][k]
                histogram.view().variance = arrays[f"variances_{i}"][k]
                distributions[name][point] = histogram
    figures = {name: document[name] for name in ("cross_section", "error", "n_effective", "negative")}
    return Overview(**figures, distributions=distributions)
