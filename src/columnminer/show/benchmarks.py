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

_EDGE = 0.25
"""Share of the width of axes that a name may take; it is less high."""
_CLOSE = 0.03
"""Benchmarks nearer than this share of a line have one name for all."""


def mark_benchmarks(
    ax: Axes, setup: Setup, columns: Sequence[int], base: NDArray[np.float64], *, named: bool = True
) -> None:
    """Mark benchmarks in a plane of two parameters, `columns`: basis members in it filled, others hollow.

    Names stand beside those in the plane through `base` (n_par,); others would only seem to be there.
    """
    limits = np.array([ax.get_xlim(), ax.get_ylim()])
    shown = [placed for placed in _placed(setup, columns, base) if _within(placed[1], limits)]
    centre = np.mean([point for _, point, _ in shown], axis=0) if shown else limits.mean(axis=1)
    for name, point, here in shown:
        filled = here and setup.morphing is not None and name in setup.morphing.basis
        colour = "black" if filled else "white"
        ax.plot(*point, "o", color=colour, markeredgecolor="black", markersize=5, clip_on=False, zorder=4)
        if not here or not named:
            continue
        # Names stand outwards, as those of neighbours do, and inwards where the frame is near.
        right, up = point >= centre
        near = (point - limits[:, 0]) / (limits[:, 1] - limits[:, 0])
        right = (right or near[0] < _EDGE) and near[0] < 1.0 - _EDGE
        up = (up or near[1] < 0.4 * _EDGE) and near[1] < 1.0 - 0.4 * _EDGE
        ax.annotate(
            name,
            (float(point[0]), float(point[1])),
            (6 if right else -6, 5 if up else -5),
            textcoords="offset points",
            ha="left" if right else "right",
            va="bottom" if up else "top",
            fontsize="x-small",
            zorder=5,
        )


def _within(point: NDArray[np.float64], limits: NDArray[np.float64]) -> bool:
    return bool(((limits[:, 0] <= point) & (point <= limits[:, 1])).all())


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
