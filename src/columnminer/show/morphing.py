"""Pictures of morphing bases: where in parameter space interpolation is safe, and what each benchmark adds to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator

from columnminer.errors import InputError, MissingError
from columnminer.model.priors import flat_prior
from columnminer.show.benchmarks import mark_benchmarks, mark_benchmarks_on_line
from columnminer.show.maps import draw_map, draw_round_contours
from columnminer.show.style import axes, look, panels, styled
from columnminer.streams import seed_sequence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from columnminer.model.setup import Setup
    from columnminer.streams import Seed

__all__ = ["plot_morphing_basis", "plot_morphing_scatter", "plot_morphing_slices", "plot_morphing_weights"]

_DECADE = 20.0
"""Values that differ by more than this factor are shown on a logarithmic axis."""
_SQUARES = r"squared weights $\sum_b w_b^2$"


@styled
def plot_morphing_basis(
    setup: Setup,
    *,
    parameters: Sequence[str] | None = None,
    at: Mapping[str, float] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    labels: Sequence[str] | None = None,
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
    labels
        Of the axes; the names of the parameters by default.
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
    _require_morphing(setup)
    shown = list(setup.parameter_names[:2] if parameters is None else parameters)
    if len(shown) not in {1, 2}:
        msg = f"plot_morphing_basis draws one or two parameters, not {len(shown)}"
        raise InputError(msg)
    base, columns, lines, points = _plane(setup, shown, at, ranges, resolution)
    values = setup.squared_weights(points).reshape([resolution] * len(shown))
    ax = axes(ax, (6.8, 5.2) if len(shown) == 2 else (6.4, 4.8))
    names = shown if labels is None else list(labels)
    if len(shown) == 2:
        image = _surface(ax, lines, values, (float(values.min()), float(values.max())))
        ax.figure.colorbar(image, ax=ax).set_label(_SQUARES, loc="center")
        mark_benchmarks(ax, setup, columns, base)
        ax.set_ylabel(names[1])
    else:
        ax.plot(lines[0], values, color=look(0).colour)
        low, high = float(values.min()), float(values.max())
        if high > _DECADE * low:
            ax.set_yscale("log")
            ax.set_ylim(low * (low / high) ** 0.4, high * 1.5)  # below the line stand the names of benchmarks
        else:
            ax.set_ylim(low - 0.4 * (high - low), high + 0.1 * (high - low))
        ax.set_xlim(lines[0][0], lines[0][-1])
        ax.set_ylabel(_SQUARES)
        mark_benchmarks_on_line(ax, setup, columns[0], base)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel(names[0])
    return ax


@styled
def plot_morphing_weights(
    setup: Setup,
    *,
    parameter: str | None = None,
    at: Mapping[str, float] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    label: str = "",
    resolution: int = 201,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw the morphing weight :math:`w_b(\theta)` of each benchmark of the basis along one parameter.

    The thick black line is the root of the sum of their squares. At a benchmark of the basis its own weight is one, and
    the others vanish.

    Parameters
    ----------
    setup
        A set-up with morphing.
    parameter
        Its name; the first by default.
    at, ranges, resolution, ax
        As for `plot_morphing_basis`.
    label
        Of the axis; the name of the parameter by default.

    Raises
    ------
    MissingError
        If the set-up has no morphing.
    InputError
        If the parameter has no range.
    UnknownNameError
        If the parameter does not exist.
    """
    morphing = _require_morphing(setup)
    name = setup.parameter_names[0] if parameter is None else parameter
    base, columns, (line,), points = _plane(setup, [name], at, ranges, resolution)
    weights = setup.weights(points)
    ax = axes(ax, (8.0, 4.8))
    for i, benchmark in enumerate(morphing.basis):
        style = look(i)
        column = setup.benchmark_names.index(benchmark)
        ax.plot(line, weights[:, column], color=style.colour, linestyle=style.dash, label=benchmark)
    total = np.sqrt(setup.squared_weights(points))
    ax.plot(line, total, color="black", linewidth=2.4, label=r"$\sqrt{\sum_b w_b^2}$")
    ax.axhline(0.0, color="0.6", linewidth=0.8)
    ax.set_xlim(line[0], line[-1])
    ax.set_xlabel(label or name)
    ax.set_ylabel(r"morphing weight $w_b$")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), handlelength=3)
    mark_benchmarks_on_line(ax, setup, columns[0], base, named=False)
    return ax


@styled
def plot_morphing_slices(
    setup: Setup,
    *,
    parameters: Sequence[str] | None = None,
    at: Mapping[str, float] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    labels: Sequence[str] | None = None,
    resolution: int = 41,
) -> Axes:
    """Draw the squared morphing weights over each pair of parameters, the others fixed; return the first of the axes.

    Parameters
    ----------
    setup
        A set-up with morphing of at least two parameters.
    parameters
        Names of those that are paired; all by default.
    at, ranges
        As for `plot_morphing_basis`.
    labels
        Of the parameters; their names by default.
    resolution
        Points along each parameter.

    Raises
    ------
    MissingError, InputError, UnknownNameError
        As for `plot_morphing_basis`.
    """
    _require_morphing(setup)
    shown = list(setup.parameter_names if parameters is None else parameters)
    grid = _pairs(shown, labels)
    planes = {}
    for row, column in grid:
        base, columns, lines, points = _plane(setup, [shown[column], shown[row]], at, ranges, resolution)
        planes[row, column] = (base, columns, lines, setup.squared_weights(points).reshape(resolution, resolution))
    span = tuple(f([f(values) for *_, values in planes.values()]) for f in (np.min, np.max))
    for place, ax in grid.items():
        base, columns, lines, values = planes[place]
        image = _surface(ax, lines, values, (float(span[0]), float(span[1])))
        mark_benchmarks(ax, setup, columns, base, named=len(shown) == 2)
    return _finish_pairs(grid, image)


@styled
def plot_morphing_scatter(
    setup: Setup,
    *,
    parameters: Sequence[str] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    labels: Sequence[str] | None = None,
    n_points: int = 1000,
    seed: Seed = 0,
) -> Axes:
    """Draw the squared morphing weights at random points, over each pair of parameters; return the first of the axes.

    The points are spread evenly over the ranges of all parameters, and the worst are drawn last.

    Parameters
    ----------
    setup
        A set-up with morphing of at least two parameters.
    parameters
        Names of those that are paired; all by default.
    ranges, labels
        As for `plot_morphing_slices`.
    n_points, seed
        How many points, and the seed that they are drawn by.

    Raises
    ------
    MissingError, InputError, UnknownNameError
        As for `plot_morphing_basis`.
    """
    _require_morphing(setup)
    shown = list(setup.parameter_names if parameters is None else parameters)
    bounds = [_range(setup, name, ranges) for name in setup.parameter_names]
    points = flat_prior(bounds).sample(n_points, np.random.default_rng(seed_sequence(seed, "morphing")))
    values = setup.squared_weights(points)
    order = np.argsort(values)
    span = float(values.min()), float(values.max())
    norm = LogNorm(span[0], max(span[1], 10.0 * span[0]))
    grid = _pairs(shown, labels)
    columns = [setup.parameter_names.index(name) for name in shown]
    for (row, column), ax in grid.items():
        x, y = points[order, columns[column]], points[order, columns[row]]
        image = ax.scatter(
            x, y, c=values[order], norm=norm, cmap="Blues", s=13, edgecolors="0.5", linewidths=0.3, rasterized=True
        )
        ax.set_xlim(*bounds[columns[column]])
        ax.set_ylim(*bounds[columns[row]])
    return _finish_pairs(grid, image)


def _require_morphing(setup: Setup) -> Any:
    if setup.morphing is None:
        msg = "this set-up has no morphing to draw; see Setup.with_morphing"
        raise MissingError(msg)
    return setup.morphing


def _plane(
    setup: Setup,
    shown: Sequence[str],
    at: Mapping[str, float] | None,
    ranges: Mapping[str, tuple[float, float]] | None,
    resolution: int,
) -> tuple[NDArray[np.float64], list[int], list[NDArray[np.float64]], NDArray[np.float64]]:
    """Return a line or plane: a point of it, its columns, the values along them, and all points (n, n_par)."""
    base = setup.space.array({**{p.name: p.nominal for p in setup.space}, **(at or {}), **dict.fromkeys(shown, 0.0)})
    columns = [setup.parameter_names.index(name) for name in shown]
    lines = [np.linspace(*_range(setup, name, ranges), resolution) for name in shown]
    points = np.repeat(base[None, :], resolution ** len(shown), axis=0)
    points[:, columns] = np.stack([m.ravel() for m in np.meshgrid(*lines, indexing="ij")], axis=1)
    return base, columns, lines, points


def _range(setup: Setup, name: str, ranges: Mapping[str, tuple[float, float]] | None) -> tuple[float, float]:
    if ranges is not None and name in ranges:
        return ranges[name]
    low, high = (float(v) for v in setup.space.bounds[list(setup.parameter_names).index(name)])
    if not np.isfinite([low, high]).all():
        msg = f"parameter {name!r} has no bounds; give ranges={{{name!r}: (low, high)}}"
        raise InputError(msg)
    return low, high


def _surface(
    ax: Axes, lines: Sequence[NDArray[np.float64]], values: NDArray[np.float64], span: tuple[float, float]
) -> Any:
    image = draw_map(ax, (lines[0], lines[1]), values, span, log=True)
    draw_round_contours(ax, (lines[0], lines[1]), values, log=True)
    return image


def _pairs(shown: Sequence[str], labels: Sequence[str] | None) -> dict[tuple[int, int], Axes]:
    """Return axes by the (vertical, horizontal) parameter of each pair, in a triangle: a column has one parameter."""
    n = len(shown)
    if n < 2:
        msg = f"pairs are drawn of two parameters or more, not of {', '.join(shown) or 'none'}"
        raise InputError(msg)
    names = shown if labels is None else labels
    size = 4.4 if n == 2 else 3.0
    grid = panels(n - 1, n - 1, (size * (n - 1) + 1.2, size * (n - 1)), sharex="col", sharey="row")
    pairs = {}
    for (row, column), ax in np.ndenumerate(grid):
        if column > row:
            ax.set_axis_off()
            continue
        pairs[row + 1, column] = ax
        if row == n - 2:
            ax.set_xlabel(names[column])
        if column == 0:
            ax.set_ylabel(names[row + 1])
        ax.xaxis.set_major_locator(MaxNLocator(4, prune="both"))
        ax.yaxis.set_major_locator(MaxNLocator(4, prune="both"))
    return pairs


def _finish_pairs(grid: Mapping[tuple[int, int], Axes], image: Any) -> Axes:
    first = next(iter(grid.values()))
    first.figure.colorbar(image, ax=first.figure.axes).set_label(_SQUARES, loc="center")
    return first
