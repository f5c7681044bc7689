"""A likelihood with data at many parameter points, and what that says about each: `Limits`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import chi2

from columnminer.errors import InputError, MissingError
from columnminer.infer.adaptive import AdaptiveHistograms
from columnminer.infer.fit import fit
from columnminer.infer.grid import Grid, grid_points
from columnminer.infer.histogram import HistogramLikelihood
from columnminer.infer.neural import NeuralLikelihood
from columnminer.infer.newton import climb
from columnminer.infer.products import Product

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.bins import Axis
    from columnminer.infer.likelihood import Likelihood

__all__ = ["Histograms", "Limits", "scan"]


@dataclass(frozen=True)
class Histograms:
    """The histograms that limits were made with.

    Attributes
    ----------
    axes : tuple of Axis
        Edges; under- and overflow are bins beside them.
    expected : numpy.ndarray
        (n_theta, *shape) expected number of events in each bin.
    observed : numpy.ndarray
        (*shape) number of events in the data.
    """

    axes: tuple[Axis, ...]
    expected: NDArray[np.float64]
    observed: NDArray[np.float64]


@dataclass(frozen=True)
class Limits:
    r"""What data say about parameter points.

    The log ratios are :math:`\log L(\theta) / L(\hat\theta)` with the best fit among the points. By Wilks' theorem
    :math:`q = -2 \log L(\theta)/L(\hat\theta)` follows a chi-square distribution at the true theta (arXiv:1007.1727),
    which gives the p value.

    Attributes
    ----------
    parameter_names : tuple of str
        What theta is.
    theta : numpy.ndarray
        (n, n_par) points.
    log_ratio : numpy.ndarray
        (n,) log likelihood ratio to the best fit.
    log_ratio_kinematic, log_ratio_rate : numpy.ndarray
        (n,) its two parts: distribution and number of events. They sum to `log_ratio`.
    p_value : numpy.ndarray
        (n,) probability of a ratio this small or smaller, if theta is true.
    dof : int
        Degrees of freedom of the chi-square distribution.
    best_fit_index : int
        Point of the largest likelihood.
    nuisances : mapping
        name -> (n,) fitted value of each nuisance parameter at each point.
    grid : Grid or None
        The grid that the points are, if they are one.
    histograms : Histograms, tuple of Histograms or None
        Of a binned likelihood; one for each point, whose `expected` is that of this point alone, where each has bins of
        its own.
    data : object
        What the likelihood was evaluated on: number of events, counts in bins, or a `Dataset`.

    Examples
    --------
    >>> store = cm.EventStore("events.zarr")
    >>> limits = cm.expected_limits(store, "m_ll", "sm", cm.Grid([(-0.05, 0.05, 11)] * 2), 3000.0, bins=8)
    >>> isinstance(limits, cm.Limits), limits.allowed(0.95).shape, float(limits.p_value.max())  # 1 at the best fit
    (True, (121,), 1.0)
    """

    parameter_names: tuple[str, ...]
    theta: NDArray[np.float64]
    log_ratio: NDArray[np.float64]
    log_ratio_kinematic: NDArray[np.float64]
    log_ratio_rate: NDArray[np.float64]
    p_value: NDArray[np.float64]
    dof: int
    best_fit_index: int
    nuisances: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    grid: Grid | None = None
    histograms: Histograms | tuple[Histograms, ...] | None = None
    data: Any = None

    @property
    def best_fit(self) -> NDArray[np.float64]:
        """(n_par,) point of the largest likelihood."""
        return np.asarray(self.theta[self.best_fit_index])

    def allowed(self, level: float = 0.95) -> NDArray[np.bool_]:
        """Return which points lie in the confidence region of this level, (n,)."""
        if not 0.0 < level < 1.0:
            msg = f"a confidence level lies between 0 and 1, not at {level}"
            raise InputError(msg)
        return np.asarray(self.p_value >= 1.0 - level)


def scan(likelihood: Likelihood, grid: Grid | ArrayLike, *, dof: int | None = None) -> Limits:
    """Return the limits from a likelihood with data on a grid, or a list of points; nuisance parameters are profiled.

    Parameters
    ----------
    likelihood
        With data. Parameters of kind "nuisance" are fitted at each point.
    grid
        Where to evaluate it: values (n, n_par) of all other parameters.
    dof
        Degrees of freedom; the number of those other parameters unless given.

    Raises
    ------
    InputError
        If the points do not fit the parameters.
    MissingError
        If there are no data, or they are impossible at every point.
    """
    names = tuple(p.name for p in likelihood.parameters if p.kind != "nuisance")
    theta = grid_points(grid, names)
    data = likelihood.data
    points = theta if names == likelihood.names else _profiled(likelihood, names, theta)
    terms = likelihood.terms(points, data)
    total = np.asarray(terms.total)
    if total.shape != (len(points),):
        msg = f"limits take one data set at a time, not {total.shape[:-1]} of them"
        raise InputError(msg)
    if not np.isfinite(total).any():
        msg = "these data are impossible at every point of the grid"
        raise MissingError(msg)
    best = int(np.nanargmax(np.where(np.isnan(total), -np.inf, total)))
    dof = len(names) if dof is None else dof
    log_ratio = total - total[best]
    return Limits(
        parameter_names=names,
        theta=theta,
        log_ratio=log_ratio,
        log_ratio_kinematic=terms.kinematic - terms.kinematic[best],
        log_ratio_rate=terms.rate - terms.rate[best],
        p_value=np.asarray(chi2.sf(-2.0 * log_ratio, dof)),
        dof=dof,
        best_fit_index=best,
        nuisances={name: points[:, i] for i, name in enumerate(likelihood.names) if name not in names},
        grid=replace(grid, names=names) if isinstance(grid, Grid) else None,
        histograms=_histograms(likelihood, points, data),
        data=data,
    )


def _profiled(likelihood: Likelihood, names: Sequence[str], theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the points with the nuisance parameters fitted at each: all at once, or one by one where that fails."""
    points = likelihood.points(None, dict(zip(names, theta.T, strict=True)))
    nuisances = [p for p in likelihood.parameters if p.name not in names]
    climbed = climb(likelihood, points, [p.name for p in nuisances], likelihood.data, shared=True)
    points, done = climbed.points, climbed.arrived
    possible = np.isfinite(likelihood.terms(points, likelihood.data).total)
    start: dict[str, float] = {}
    for i in np.flatnonzero(possible & ~done):
        held = dict(zip(names, theta[i].tolist(), strict=True))
        best = fit(likelihood.fix(**held), start=start)
        if best.valid:
            start = best.by_name
        points[i] = likelihood.point(held | best.by_name)
    return points


def _histograms(
    likelihood: Likelihood, points: NDArray[np.float64], data: Any
) -> Histograms | tuple[Histograms, ...] | None:
    """Return the histograms of a binned likelihood, or of the first factor of a product if that is one."""
    if isinstance(likelihood, Product):
        first, data = likelihood.factors[0], data[0]
        points = points[:, [likelihood.names.index(name) for name in first.names]]
        likelihood = first
    if isinstance(likelihood, HistogramLikelihood):
        return Histograms(likelihood.bins.axes, likelihood.expected(points), data)
    if not (isinstance(likelihood, NeuralLikelihood) and isinstance(likelihood.estimator, AdaptiveHistograms)):
        return None
    estimator = likelihood.estimator
    thetas = np.ascontiguousarray(points[:, : len(estimator.parameter_names)])
    return tuple(
        Histograms(estimator.bins_at(theta).axes, n * estimator.shares_at(theta)[np.newaxis], counts)
        for theta, n, counts in zip(
            thetas, likelihood.expected(points), estimator.counts(data, thetas, likelihood.rate.cuts), strict=True
        )
    )
