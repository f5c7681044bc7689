"""Benchmarks as marks in pictures over parameters: those that belong there filled, others hollow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from columnminer.model.setup import Setup

__all__ = ["mark_benchmarks", "mark_benchmarks_on_line"]

_CLOSE = 0.03
"""Benchmarks nearer than this share of a line have one name for all."""


def mark_benchmarks(
    ax: Axes, setup: Setup, columns: Sequence[int], base: NDArray[np.float64], *, named: bool = True
) -> None:
    """Mark benchmarks in a plane of two parameters, `columns`: basis members in it filled, others hollow.

    Names stand beside those in the plane through `base` (n_par,); others would only seem to be there.
    """
    limits = ax.get_xlim(), ax.get_ylim()
    for name, point, here in _placed(setup, columns, base):
        if not all(low <= v <= high for v, (low, high) in zip(point, limits, strict=True)):
            continue
        filled = here and setup.morphing is not None and name in setup.morphing.basis
        colour = "black" if filled else "white"
        ax.plot(*point, "o", color=colour, markeredgecolor="black", markersize=5, clip_on=False, zorder=4)
        if not here or not named:
            continue
        right = point[0] > 0.5 * sum(limits[0])
        top = point[1] > 0.9 * limits[1][1] + 0.1 * limits[1][0]  # there the frame would cross the name
        ax.annotate(
            name,
            tuple(point),
            (-6 if right else 6, -5 if top else 5),
            textcoords="offset points",
            ha="right" if right else "left",
            va="top" if top else "bottom",
            fontsize="x-small",
            zorder=5,
        )


def mark_benchmarks_on_line(
    ax: Axes, setup: Setup, column: int, base: NDArray[np.float64], *, named: bool = True
) -> None:
    """Mark the benchmarks on a line along parameter number `column` through `base` (n_par,) below it, and name them."""
    low, high = ax.get_xlim()
    places: list[tuple[float, list[str]]] = []
    for name, (x,), here in sorted(_placed(setup, [column], base), key=lambda placed: float(placed[1][0])):
        if not here or not low <= x <= high:
            continue
        filled = setup.morphing is not None and name in setup.morphing.basis
        ax.plot(
            x,
            0.0,
            "o",
            color="black" if filled else "white",
            markeredgecolor="black",
            transform=ax.get_xaxis_transform(),
            clip_on=False,
            zorder=4,
        )
        if places and x - places[-1][0] < _CLOSE * (high - low):
            places[-1][1].append(name)
        else:
            places.append((float(x), [name]))
    for x, names in places if named else ():
        right = x > 0.5 * (low + high)
        ax.annotate(
            ", ".join(names),
            (x, 0.0),
            (-7 if right else 7, 8),
            xycoords=ax.get_xaxis_transform(),
            textcoords="offset points",
            ha="right" if right else "left",
            va="bottom",
            rotation=90,
            fontsize="x-small",
        )


def _placed(
    setup: Setup, columns: Sequence[int], base: NDArray[np.float64]
) -> list[tuple[str, NDArray[np.float64], bool]]:
    """Return name, place in `columns`, and whether all else is as at `base`, of each benchmark."""
    others = [i for i in range(len(base)) if i not in columns]
    return [
        (name, point[list(columns)], bool(np.allclose(point[others], base[others])))
        for name, point in zip(setup.benchmark_names, setup.benchmark_points, strict=True)
    ]
