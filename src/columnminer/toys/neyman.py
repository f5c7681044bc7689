r"""Thresholds of t from toys: Neyman's construction of confidence intervals that cover where asymptotics do not.

At each true value of the parameter of interest the threshold of a confidence level is that quantile of
:math:`t = 2 (\log L_\mathrm{free} - \log L_\mathrm{true})` among toys made there. An interval of the values at which t
of the data is below the threshold holds the truth as often as the level says (J. Neyman, Phil. Trans. Roy. Soc. A 236
(1937) 333; with t as ordering: G. Feldman and R. Cousins, arXiv:physics/9711021).
"""

from __future__ import annotations

import itertools
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from columnminer.errors import ColumnMinerWarning, InputError, UnknownNameError, did_you_mean
from columnminer.infer.intervals import asymptotic_threshold
from columnminer.toys.points import as_points, statistics, truth
from columnminer.toys.points import conditions as conditions_of
from columnminer.toys.statistics import quantiles, toys_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.intervals import Kind
    from columnminer.toys.results import PointResult
    from columnminer.toys.statistics import Quantiles

__all__ = ["LEVELS", "NeymanThresholds", "Threshold", "ThresholdCurve"]

LEVELS = (0.6827, 0.8, 0.9, 0.95)
"""Confidence levels for which thresholds are found unless others are wanted."""

_INVALID_SHARE = 0.01
"""Of the toys at a point; where the fits of more of them fail, those left may not be typical."""


@dataclass(frozen=True)
class ThresholdCurve:
    """Thresholds along the parameter of interest, all else set.

    Attributes
    ----------
    conditions : mapping
        name -> value of what else was set: a mass, a livetime, a nuisance parameter.
    values : numpy.ndarray
        (n,) of the parameter of interest, ascending.
    thresholds : numpy.ndarray
        (n_levels, n) of t.
    errors : numpy.ndarray
        (n_levels, n) their standard errors; NaN where not known.
    toys : numpy.ndarray
        (n,) toys behind them; 0 where not known.
    expectations : numpy.ndarray
        (n,) expected events of the parameter of interest; NaN where not known.
    """

    conditions: Mapping[str, float]
    values: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    errors: NDArray[np.float64]
    toys: NDArray[np.int64]
    expectations: NDArray[np.float64]

    def __post_init__(self) -> None:
        n = len(self.values)
        shapes = (self.thresholds.shape[1:], self.errors.shape[1:], self.toys.shape, self.expectations.shape)
        if n == 0 or any(shape != (n,) for shape in shapes) or len(self.errors) != len(self.thresholds):
            msg = f"thresholds at {n} values do not fit together: {shapes}"
            raise InputError(msg)
        if not np.isfinite(self.values).all() or not (np.diff(self.values) > 0.0).all():
            msg = f"the values of thresholds must be finite, ascending and distinct, not {self.values.tolist()}"
            raise InputError(msg)
        if not (np.isfinite(self.thresholds) & (self.thresholds >= 0.0)).all():
            msg = f"thresholds of t must be finite and not negative: {self.thresholds.tolist()}"
            raise InputError(msg)


@dataclass(frozen=True)
class NeymanThresholds:
    """Thresholds of t over a grid of the parameter of interest and of conditions, for several confidence levels.

    Called with values of the parameter of interest it returns thresholds, as `confidence_interval` and
    `interval_batch` take them: interpolated linearly between grid points; beyond the first and the last value of the
    parameter of interest the asymptotic one. Where there are several levels or conditions, `at` chooses.

    Attributes
    ----------
    name : str
        The parameter of interest.
    levels : tuple of float
        Confidence levels, ascending.
    curves : tuple of ThresholdCurve
        One for each set of conditions; all have conditions on the same names.
    kind : str
        Of the intervals: "central", or an "upper" or "lower" limit, whose t counts on one side.
    dof : int
        Degrees of freedom of the asymptotic threshold.
    nominal : tuple of str
        Names of the conditions which make another model, in place of being parameters of it.

    Examples
    --------
    >>> thresholds = cm.NeymanThresholds.from_results(cm.CampaignResults("toys.zarr"), (0.68, 0.9))
    >>> threshold = thresholds.at(level=0.9)
    >>> bool(threshold(0.0) < threshold.asymptotic)  # at the boundary half of the toys have t = 0
    True
    """

    name: str
    levels: tuple[float, ...]
    curves: tuple[ThresholdCurve, ...]
    kind: Kind = "central"
    dof: int = 1
    nominal: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.levels or list(self.levels) != sorted(set(self.levels)):
            msg = f"thresholds have confidence levels in ascending order, not {self.levels}"
            raise InputError(msg)
        for level in self.levels:
            asymptotic_threshold(level, self.kind, self.dof)
        if not self.curves:
            msg = f"there are no thresholds of {self.name!r}"
            raise InputError(msg)
        points = [tuple(sorted(curve.conditions.items())) for curve in self.curves]
        if len({tuple(name for name, _ in point) for point in points}) > 1:
            msg = f"thresholds have conditions on different names: {points}"
            raise InputError(msg)
        if len(set(points)) < len(points):
            msg = f"thresholds are given twice for the same conditions: {points}"
            raise InputError(msg)
        if any(len(curve.thresholds) != len(self.levels) for curve in self.curves):
            msg = f"each curve must have thresholds for the {len(self.levels)} levels {self.levels}"
            raise InputError(msg)

    @classmethod
    def from_results(
        cls,
        results: PointResult | Iterable[PointResult],
        levels: float | Sequence[float] = LEVELS,
        *,
        hypothesis: str = "true",
        free: str = "free",
        kind: Kind = "central",
        dof: int = 1,
        conditions: Sequence[str] | None = None,
    ) -> NeymanThresholds:
        """Return the thresholds of a campaign.

        Parameters
        ----------
        results
            Toys at the points of a grid, fitted freely and under the hypothesis that is true.
        levels
            Confidence level or levels.
        hypothesis
            Name of the true hypothesis.
        free
            Name of the hypothesis that t compares with: another than "free" where both hold a parameter.
        kind
            Of the intervals that the thresholds are for. "central" has t as it is; limits count it on one side.
        dof
            Degrees of freedom of the asymptotic threshold that continues them.
        conditions
            Names of what thresholds depend on besides the parameter of interest; by default all that the points say.

        Raises
        ------
        InputError
            If the points do not fit together, or a point has too few toys for a level.
        UnknownNameError
            If the toys were not fitted under the hypothesis, or do not say what a condition was.
        """
        points = as_points(results)
        chosen = tuple(sorted({float(level) for level in np.atleast_1d(levels)}))
        for level in chosen:
            asymptotic_threshold(level, kind, dof)
        groups: dict[tuple[tuple[str, float], ...], list[PointResult]] = {}
        for point in points:
            groups.setdefault(tuple(sorted(conditions_of(point, conditions).items())), []).append(point)
        curves = tuple(
            _curve(group, dict(key), chosen, (hypothesis, free), kind) for key, group in sorted(groups.items())
        )
        nominal = tuple(name for name in curves[0].conditions if name in points[0].nominal)
        return cls(points[0].poi, chosen, curves, kind, dof, nominal)

    @property
    def grid(self) -> dict[str, NDArray[np.float64]]:
        """Values of each condition, by its name."""
        names = self.curves[0].conditions
        return {name: np.unique([curve.conditions[name] for curve in self.curves]) for name in names}

    def at(self, level: float | None = None, **conditions: float) -> Threshold:
        """Return the threshold as a function of the parameter of interest alone, for one level and set of conditions.

        Parameters
        ----------
        level
            One of `levels`; may be left out if there is one.
        **conditions
            By name; those with a single value on the grid may be left out. Between the grid's values thresholds are
            interpolated linearly, in each condition.

        Raises
        ------
        InputError
            If there is no such level, a condition is missing or outside the grid, or the points around it are not all
            on the grid.
        UnknownNameError
            If a condition has another name.
        """
        row, grid = self._row(level), self.grid
        for name in conditions:
            if name not in grid:
                msg = f"thresholds do not depend on {name!r}.{did_you_mean(name, grid)}"
                raise UnknownNameError(msg)
        sides = [_sides(name, values, conditions.get(name)) for name, values in grid.items()]
        known = {tuple(curve.conditions[name] for name in grid): curve for curve in self.curves}
        corners = []
        for corner in itertools.product(*sides):
            where = tuple(value for value, _ in corner)
            if where not in known:
                missing = ", ".join(f"{name} = {value}" for name, value in zip(grid, where, strict=True))
                msg = f"thresholds of {self.name!r} cannot be interpolated: there are none at {missing}"
                raise InputError(msg)
            curve = known[where]
            weight = float(np.prod([part for _, part in corner]))
            corners.append((weight, curve.values, curve.thresholds[row]))
        chosen = {name: float(sum(v * w for v, w in side)) for name, side in zip(grid, sides, strict=True)}
        level = self.levels[row]
        return Threshold(
            self.name, level, self.kind, chosen, asymptotic_threshold(level, self.kind, self.dof), tuple(corners)
        )

    @overload
    def __call__(self, values: float, /, level: float | None = ..., **conditions: float) -> float: ...
    @overload
    def __call__(self, values: ArrayLike, /, level: float | None = ..., **conditions: float) -> NDArray[np.float64]: ...
    def __call__(
        self, values: ArrayLike, /, level: float | None = None, **conditions: float
    ) -> float | NDArray[np.float64]:
        """Return thresholds at values (...) of the parameter of interest; see `at`."""
        return self.at(level, **conditions)(values)

    def to_json(
        self, path: Path | str, *, layout: Literal["columnminer", "alea"] = "columnminer", integers: Sequence[str] = ()
    ) -> None:
        """Write the thresholds to a JSON file; see `columnminer.toys.threshold_files`.

        Parameters
        ----------
        path
            Of the file, which appears whole or not at all.
        layout
            "alea": as its ``limit_threshold`` files are, without errors.
        integers
            For alea, conditions whose values the running configuration writes without a decimal point. alea finds an
            entry by a hash in which 50 and 50.0 differ.
        """
        from columnminer.toys.threshold_files import write_thresholds  # noqa: PLC0415 - which builds these

        write_thresholds(self, path, layout=layout, integers=integers)

    @classmethod
    def from_json(cls, path: Path | str, *, kind: Kind | None = None, dof: int | None = None) -> NeymanThresholds:
        """Read thresholds, in our layout or alea's.

        Parameters
        ----------
        path
            Of the file.
        kind, dof
            What alea's files do not say: for which intervals they are, and degrees of freedom of the asymptotic
            threshold; "central" and 1 by default.

        Raises
        ------
        FileFormatError
            If the file holds no thresholds.
        InputError
            If `kind` or `dof` contradict a file that says them.
        """
        from columnminer.toys.threshold_files import read_thresholds  # noqa: PLC0415 - which builds these

        return read_thresholds(path, kind=kind, dof=dof)

    def _row(self, level: float | None) -> int:
        if level is None:
            if len(self.levels) > 1:
                msg = f"there are thresholds for the levels {self.levels}: choose one with at(level=...)"
                raise InputError(msg)
            return 0
        near = np.flatnonzero(np.isclose(self.levels, level, rtol=0.0, atol=1e-9))
        if not len(near):
            msg = f"there are no thresholds for the confidence level {level}, but for {self.levels}"
            raise InputError(msg)
        return int(near[0])


@dataclass(frozen=True)
class Threshold:
    """The threshold of t as a function of the parameter of interest, from toys: see `NeymanThresholds.at`.

    Attributes
    ----------
    name : str
        The parameter of interest.
    level : float
        Confidence level.
    kind : str
        Of the intervals.
    conditions : mapping
        What else is set.
    asymptotic : float
        Threshold beyond the grid of the parameter of interest.
    corners : tuple
        (weight, values (n,), thresholds (n,)) of the grid's curves that it is interpolated between.
    """

    name: str
    level: float
    kind: Kind
    conditions: Mapping[str, float]
    asymptotic: float
    corners: tuple[tuple[float, NDArray[np.float64], NDArray[np.float64]], ...]

    @overload
    def __call__(self, values: float) -> float: ...
    @overload
    def __call__(self, values: ArrayLike) -> NDArray[np.float64]: ...
    def __call__(self, values: ArrayLike) -> float | NDArray[np.float64]:
        """Return thresholds at values (...)."""
        where = np.asarray(values, dtype=np.float64)
        beyond = self.asymptotic
        found = sum(
            weight * np.interp(where, grid, thresholds, left=beyond, right=beyond)
            for weight, grid, thresholds in self.corners
        )
        return float(found) if where.ndim == 0 else np.asarray(found)


def _sides(name: str, values: NDArray[np.float64], wanted: float | None) -> tuple[tuple[float, float], ...]:
    """Return the grid values beside the wanted one and their weights."""
    if wanted is None:
        if len(values) > 1:
            msg = f"thresholds depend on {name!r}: say at which of {values.tolist()}, or in between"
            raise InputError(msg)
        return ((float(values[0]), 1.0),)
    near = values[np.isclose(values, wanted, rtol=1e-9, atol=1e-12)]
    if len(near):
        return ((float(near[0]), 1.0),)
    if not values[0] < wanted < values[-1]:
        msg = f"there are thresholds for {name} from {values[0]} to {values[-1]}, not at {wanted}"
        raise InputError(msg)
    right = int(np.searchsorted(values, wanted))
    part = float((wanted - values[right - 1]) / (values[right] - values[right - 1]))
    return ((float(values[right - 1]), 1.0 - part), (float(values[right]), part))


def _curve(
    points: list[PointResult],
    conditions: dict[str, float],
    levels: tuple[float, ...],
    compared: tuple[str, str],
    kind: Kind,
) -> ThresholdCurve:
    points = sorted(points, key=truth)
    values = np.array([truth(point) for point in points])
    if len(set(values.tolist())) < len(values):
        msg = f"two points have toys at the same {points[0].poi!r} and {conditions}: {values.tolist()}"
        raise InputError(msg)
    found = [_quantiles(point, levels, compared, kind) for point in points]
    return ThresholdCurve(
        conditions=conditions,
        values=values,
        thresholds=np.stack([q.values for q in found], axis=1),
        errors=np.stack([q.errors for q in found], axis=1),
        toys=np.array([q.size for q in found]),
        expectations=np.array([point.poi_expectation for point in points], dtype=np.float64),
    )


def _quantiles(point: PointResult, levels: tuple[float, ...], compared: tuple[str, str], kind: Kind) -> Quantiles:
    hypothesis, free = compared
    t, where = statistics(point, hypothesis, kind, free=free), f"{point.poi} = {truth(point)}"
    lost = 1.0 - len(t) / len(point.fits[hypothesis].log_likelihood)
    if lost > _INVALID_SHARE:
        msg = f"fits of {lost:.1%} of the toys at {where} did not converge; thresholds leave these toys out"
        warnings.warn(msg, ColumnMinerWarning, stacklevel=4)
    for level in levels:
        if len(t) < toys_for(level):
            msg = f"{len(t)} toys at {where} are too few for a {level:.4g} quantile: it needs {toys_for(level)}"
            raise InputError(msg)
    return quantiles(t, levels)
