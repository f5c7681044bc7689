"""Pictures of morphing bases: where in parameter space interpolation is safe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LogNorm

from columnminer.errors import InputError, MissingError
from columnminer.show.style import axes, look, styled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from columnminer.model.setup import Setup

__all__ = ["plot_morphing_basis"]


@styled
def plot_morphing_basis(
    setup: Setup,
    *,
    parameters: Sequence[str] | None = None,
    at: Mapping[str, float] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    resolution: int = 101,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw the squared morphing weights :math:`\sum_b w_b(\theta)^2` over one or two parameters.

    The figure is one at each benchmark of the basis; where it is large, cross sections are small differences of large
    numbers and the effective number of events falls.

    Parameters
    ----------
    setup
        A set-up with morphing.
    parameters
        One or two parameter names; the first two (or the only one) by default.
    at
        Values of the others; their nominal values by default. Benchmarks elsewhere in them are drawn hollow.
    ranges
        (low, high) by parameter; the bounds of the parameter by default.
    resolution
        Points along each parameter.
    ax
        Where to draw; a new figure by default.

    Raises
    ------
    MissingError
        If the set-up has no morphing.
    InputError
        If other than one or two parameters are named, or one has no range.
    UnknownNameError
        If a parameter does not exist.
    """
    if setup.morphing is None:
        msg = "this set-up has no morphing to draw; see Setup.with_morphing"
        raise MissingError(msg)
    names = list(setup.parameter_names)
    shown = names[:2] if parameters is None else list(parameters)
    if len(shown) not in {1, 2}:
        msg = f"plot_morphing_basis draws one or two parameters, not {len(shown)}"
        raise InputError(msg)
    base = setup.space.array({**{p.name: p.nominal for p in setup.space}, **(at or {}), **dict.fromkeys(shown, 0.0)})
    columns = [names.index(name) for name in shown]
    lines = [np.linspace(*_range(setup, name, ranges), resolution) for name in shown]
    points = np.repeat(base[None, :], resolution ** len(shown), axis=0)
    points[:, columns] = np.stack([m.ravel() for m in np.meshgrid(*lines, indexing="ij")], axis=1)
    values = np.asarray(setup.squared_weights(points)).reshape([resolution] * len(shown))
    ax = axes(ax, (6.8, 5.2) if len(shown) == 2 else (6.4, 4.8))
    if len(shown) == 2:
        _surface(ax, lines, values)
    else:
        ax.plot(lines[0], values, color=look(0).colour)
        ax.set_yscale("log")
        ax.set_xlim(lines[0][0], lines[0][-1])
        ax.set_ylabel(r"squared weights $\sum_b w_b^2$")
    _benchmarks(ax, setup, setup.morphing.basis, columns, base)
    ax.set_xlabel(shown[0])
    if len(shown) == 2:
        ax.set_ylabel(shown[1])
    return ax


def _range(setup: Setup, name: str, ranges: Mapping[str, tuple[float, float]] | None) -> tuple[float, float]:
    if ranges is not None and name in ranges:
        return ranges[name]
    low, high = (float(v) for v in setup.space.bounds[list(setup.parameter_names).index(name)])
    if not np.isfinite([low, high]).all():
        msg = f"parameter {name!r} has no bounds; give ranges={{{name!r}: (low, high)}}"
        raise InputError(msg)
    return low, high


def _surface(ax: Axes, lines: list[np.ndarray], values: np.ndarray) -> None:
    low, high = float(values.min()), float(values.max())
    image = ax.pcolormesh(*lines, values.T, norm=LogNorm(low, max(high, low * 10)), cmap="Blues", rasterized=True)
    ax.figure.colorbar(image, ax=ax).set_label(r"squared weights $\sum_b w_b^2$", loc="center")
    steps = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    # Few decades need lines between them, many do not.
    levels = np.outer(steps, [1.0, 2.0, 5.0] if high < 1e3 * low else [1.0]).ravel()
    levels = levels[(levels > low) & (levels < high)]
    if len(levels):
        contours = ax.contour(*lines, values.T, levels=levels, colors="0.25", linewidths=0.7)
        ax.clabel(contours, fmt="%g", fontsize=9)


def _benchmarks(ax: Axes, setup: Setup, basis: Sequence[str], columns: list[int], base: np.ndarray) -> None:
    """Mark the benchmarks: basis members filled, others hollow; names beside them."""
    others = [i for i in range(len(base)) if i not in columns]
    limits = ax.get_xlim(), ax.get_ylim()
    for name, point in zip(setup.benchmark_names, setup.benchmark_points, strict=True):
        here = bool(np.allclose(point[others], base[others]))
        place = point[columns] if len(columns) == 2 else np.array([point[columns[0]], limits[1][0]])
        inside = all(low <= v <= high for v, (low, high) in zip(place, limits, strict=True))
        if not inside:
            continue
        member = name in basis and here
        ax.plot(*place, "o", color="black" if member else "white", markeredgecolor="black", clip_on=False, zorder=4)
        right = place[0] > 0.5 * sum(limits[0])
        top = place[1] > 0.9 * limits[1][1] + 0.1 * limits[1][0]  # there the frame would cross the name
        ax.annotate(
            name,
            tuple(place),
            (-6 if right else 6, -5 if top else 5),
            textcoords="offset points",
            ha="right" if right else "left",
            va="top" if top else "bottom",
            fontsize="x-small",
            zorder=5,
        )
