"""Pictures of cross sections and effective numbers of events over the parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from columnminer.errors import InputError
from columnminer.show.maps import draw_map, draw_round_contours
from columnminer.show.style import axes, look, styled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from columnminer.sample.cross_sections import CrossSections

__all__ = ["plot_cross_section", "plot_effective_events"]


@styled
def plot_cross_section(
    results: CrossSections | Mapping[str, CrossSections],
    *,
    labels: Sequence[str] | None = None,
    log: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw cross sections along one parameter, with bands of their statistical errors, or over two as a map.

    Parameters
    ----------
    results
        What `columnminer.cross_sections` gives at points along a line, or on a grid in two parameters; of lines also
        several, by the name that the legend gives them. All other parameters have one value.
    labels
        Of the parameter or the two; their names by default.
    log
        Whether cross sections are on a logarithmic scale.
    ax
        Where to draw; a new figure by default.

    Raises
    ------
    InputError
        If no parameter or more than two change, results differ in which does, or points are on no grid.
    """

    def value(one: CrossSections) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return one.value, one.error

    return _draw(results, value, r"$\sigma$ [pb]", labels, ax, log=log)


@styled
def plot_effective_events(
    results: CrossSections | Mapping[str, CrossSections],
    *,
    labels: Sequence[str] | None = None,
    log: bool = True,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw the effective number of events, :math:`(\sum_e w_e)^2 / \sum_e w_e^2`, over one or two parameters.

    As many events without weights would know the cross section as well: where it is small, results rest on few events.

    Parameters
    ----------
    results, labels, log, ax
        See `plot_cross_section`.

    Raises
    ------
    InputError
        As there.
    """

    def value(one: CrossSections) -> tuple[NDArray[np.float64], None]:
        return one.n_effective, None

    return _draw(results, value, "effective number of events", labels, ax, log=log)


def _draw(
    results: CrossSections | Mapping[str, CrossSections],
    value_of: Callable[[CrossSections], tuple[NDArray[np.float64], NDArray[np.float64] | None]],
    quantity: str,
    labels: Sequence[str] | None,
    ax: Axes | None,
    *,
    log: bool,
) -> Axes:
    several = results if isinstance(results, Mapping) else {"": results}
    found = [_varied(one) for one in several.values()]
    names = found[0][0]
    if any(own != names for own, _ in found) or not 1 <= len(names) <= 2 or (len(names) == 2 and len(several) > 1):
        msg = (
            f"cross sections are drawn along the same parameter, or one result over two; what changes here is "
            f"{'; '.join(', '.join(own) or 'nothing' for own, _ in found)}"
        )
        raise InputError(msg)
    ax = axes(ax, (6.8, 5.2) if len(names) == 2 else (6.4, 4.8))
    shown = names if labels is None else tuple(labels)
    if len(names) == 2:
        (one,) = several.values()
        _map(ax, found[0][1], value_of(one)[0], quantity, log=log)
        ax.set_ylabel(shown[1])
    else:
        for i, (name, (_, points), one) in enumerate(zip(several, found, several.values(), strict=True)):
            order, style = np.argsort(points[:, 0]), look(i)
            x, (value, error) = points[order, 0], value_of(one)
            ax.plot(x, value[order], color=style.colour, linestyle=style.dash, label=name)
            if error is not None:
                ends = (value - error)[order], (value + error)[order]
                ax.fill_between(x, *ends, color=style.colour, alpha=0.3, linewidth=0)
            ax.set_xlim(x[0], x[-1])
        if log:
            ax.set_yscale("log")
        ax.set_ylabel(quantity)
        if len(several) > 1:
            ax.legend(handlelength=3)
    ax.set_xlabel(shown[0])
    return ax


def _varied(one: CrossSections) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return the names of what changes among the points, and its values (n_points, n_names)."""
    points = np.concatenate([one.theta, one.nu], axis=1)
    changes = np.flatnonzero(np.ptp(points, axis=0) > 0.0)
    names = (*one.parameter_names, *one.nuisance_names)
    return tuple(names[i] for i in changes), points[:, changes]


def _map(ax: Axes, points: NDArray[np.float64], values: NDArray[np.float64], quantity: str, *, log: bool) -> None:
    x, y = (np.unique(column) for column in points.T)
    if len(points) != len(x) * len(y) or len(np.unique(points, axis=0)) != len(points):
        msg = f"a map needs points on a grid, such as Grid([...]).points; these {len(points)} points are none"
        raise InputError(msg)
    grid = values[np.lexsort((points[:, 1], points[:, 0]))].reshape(len(x), len(y))
    span = float(grid[grid > 0.0].min()) if log else float(grid.min()), float(grid.max())
    image = draw_map(ax, (x, y), np.where(grid > 0.0, grid, np.nan) if log else grid, span, log=log)
    draw_round_contours(ax, (x, y), grid, log=log)
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])
    ax.figure.colorbar(image, ax=ax).set_label(quantity, loc="center")
