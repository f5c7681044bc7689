r"""Fisher information as the metric of parameter space, :math:`ds^2 = I_{ij}(\theta)\, d\theta_i\, d\theta_j`.

It measures how well neighbouring parameter points can be told apart, in standard deviations, and does not depend on how
the parameters are written (arXiv:1612.05261, section II D).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from columnminer.arithmetic import Number
from columnminer.errors import InputError
from columnminer.expressions import Evaluator, Program, compile_expression
from columnminer.infer.estimates import gives_ratio
from columnminer.infer.fisher import FisherInformation
from columnminer.infer.grid import Grid, grid_points
from columnminer.infer.interpolation import Interpolation, Spline, interpolated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.bins import BinSpec
    from columnminer.infer.estimates import RatioLike
    from columnminer.infer.summary import SummaryItems
    from columnminer.store.eventstore import EventStore

__all__ = ["Metric"]

Matrices: TypeAlias = "Callable[[NDArray[np.float64]], NDArray[np.float64]]"
"""From points (n, n_par) to one matrix for each (n, n_par, n_par); NaN where it is not known."""

_STEP = 1e-3
"""Of differences of fourth order, in units of the scale: truncation (1e-12) and rounding (1e-13) are alike."""
_SINGULAR = 1e-12
"""Smaller eigenvalues of a matrix with unit diagonal are rounding noise around zero."""


class Metric:
    """A metric of the space of some parameters, evaluated at many points at once.

    Made by `from_function`, `from_expressions`, `from_grid` or `from_store`.

    Parameters
    ----------
    names
        Of the parameters.
    value
        From points (n, n_par) to metrics (n, n_par, n_par), NaN where there is none.
    derivative
        From points to derivatives (n, k, i, j) of g_ij in the direction of parameter k; by default from differences of
        `value` over a thousandth of the scale.
    inverse
        From points to inverse metrics; by default those of `value`.
    scale
        Length over which the metric changes, for each parameter; only for differences.
    bounds
        (n_par, 2) box outside which nothing is known, if there is one.

    Examples
    --------
    >>> sphere = cm.Metric.from_expressions([["1", "0"], ["0", "sin(a)**2"]], ["a", "b"])
    >>> sphere([[np.pi / 2, 0.0]])
    array([[[1., 0.],
            [0., 1.]]])
    """

    def __init__(
        self,
        names: Sequence[str],
        value: Matrices,
        *,
        derivative: Matrices | None = None,
        inverse: Matrices | None = None,
        scale: ArrayLike = 1.0,
        bounds: NDArray[np.float64] | None = None,
    ) -> None:
        if isinstance(names, str) or not names or len(set(names)) != len(names):
            msg = f"a list of different parameter names is needed, not {names!r}"
            raise InputError(msg)
        self.names = tuple(names)
        self.bounds = bounds
        try:
            self._scale = np.broadcast_to(np.asarray(scale, dtype=np.float64), (len(self.names),))
        except ValueError:
            msg = f"the scale is one number, or one for each of {', '.join(self.names)}, not {scale!r}"
            raise InputError(msg) from None
        if not (self._scale > 0.0).all():
            msg = f"the scale of a parameter is positive, not {scale!r}"
            raise InputError(msg)
        self._value, self._derivative, self._inverse = value, derivative, inverse

    @classmethod
    def from_function(
        cls,
        function: Callable[[NDArray[np.float64]], ArrayLike],
        names: Sequence[str],
        *,
        derivative: Callable[[NDArray[np.float64]], ArrayLike] | None = None,
        scale: ArrayLike = 1.0,
    ) -> Metric:
        """Return the metric that a function gives.

        Parameters
        ----------
        function
            From points (n, n_par) to metrics (n, n_par, n_par), NaN where there is none.
        names
            Of the parameters.
        derivative
            From points to derivatives (n, k, i, j) of g_ij in the direction of parameter k.
        scale
            Length over which the metric changes, for each parameter. Derivatives that are not given are taken from
            differences over a thousandth of it.

        Raises
        ------
        InputError
            When evaluated, if a result has another shape or is not symmetric.
        """
        return cls(names, _checked(function, 2), derivative=derivative and _checked(derivative, 3), scale=scale)

    @classmethod
    def from_expressions(
        cls, expressions: Sequence[Sequence[str]], names: Sequence[str], *, scale: ArrayLike = 1.0
    ) -> Metric:
        """Return the metric with entries given as text, such as ``[["1", "0"], ["0", "sin(a)**2"]]`` with names a, b.

        Parameters
        ----------
        expressions
            A matrix of expressions of the parameters; see `columnminer.expressions`. Where one is undefined there is
            no metric.
        names, scale
            As in `from_function`.

        Raises
        ------
        ExpressionError
            If a text is not an expression.
        InputError
            If the matrix is not square with one row for each name, or, when evaluated, not symmetric.
        """
        n = len(names)
        if len(expressions) != n or any(isinstance(row, str) or len(row) != n for row in expressions):
            msg = f"a metric of {', '.join(names)} is {n} rows of {n} expressions"
            raise InputError(msg)
        programs = [[compile_expression(text, names) for text in row] for row in expressions]
        return cls(names, _checked(lambda theta: _evaluated(programs, names, theta), 2), scale=scale)

    @classmethod
    def from_grid(
        cls,
        thetas: Grid | ArrayLike,
        matrices: ArrayLike,
        names: Sequence[str] | None = None,
        *,
        interpolation: Interpolation = "smooth",
        inverse: Literal["exact", "interpolate"] = "exact",
    ) -> Metric:
        """Return the metric that interpolates Fisher information known at some points.

        On a regular grid of any dimension "smooth" is a cubic spline and "linear" a multilinear one. Scattered points
        are triangulated: "smooth" is then a cubic Clough-Tocher interpolation in two dimensions, "linear" is linear in
        each simplex of any dimension.

        Parameters
        ----------
        thetas
            A grid, or points (n, n_par) in any order; which of the two cases they are is found out.
        matrices
            (n, n_par, n_par) Fisher information at each.
        names
            Of the parameters; those of the grid by default.
        interpolation
            "smooth" or "linear".
        inverse
            Whether the inverse is that of the interpolated matrix, or is itself interpolated.

        Raises
        ------
        InputError
            If shapes do not fit, a matrix is not symmetric and positive definite, an option is unknown, or scattered
            points in more than two dimensions are to be interpolated smoothly.
        """
        if interpolation not in {"smooth", "linear"} or inverse not in {"exact", "interpolate"}:
            msg = (
                f'interpolation is "smooth" or "linear" and inverse "exact" or "interpolate", not {interpolation!r} '
                f"and {inverse!r}"
            )
            raise InputError(msg)
        names = tuple(names or (thetas.names if isinstance(thetas, Grid) else ()))
        points = grid_points(thetas, names)
        values = np.asarray(matrices, dtype=np.float64)
        n_par = len(names)
        if values.shape != (len(points), n_par, n_par):
            msg = f"{len(points)} points of {', '.join(names)} need {(len(points), n_par, n_par)}, not {values.shape}"
            raise InputError(msg)
        _check_symmetry(values, points)
        if not (definite := positive_definite(values)).all():
            msg = f"the matrix at {_at(names, points[~definite][0])} is not positive definite: no metric"
            raise InputError(msg)
        value = interpolated(points, values, interpolation)
        bounds = np.stack([points.min(axis=0), points.max(axis=0)], axis=1)
        return cls(
            names,
            value,
            derivative=value.derivatives if isinstance(value, Spline) else None,
            inverse=None
            if inverse == "exact"
            else interpolated(points, np.asarray(np.linalg.inv(values)), interpolation),
            scale=bounds[:, 1] - bounds[:, 0],
            bounds=bounds,
        )

    @classmethod
    def from_store(
        cls,
        store: EventStore,
        luminosity: float,
        grid: Grid,
        what: Literal["truth", "rate"] | SummaryItems | RatioLike = "truth",
        *,
        bins: BinSpec = None,
        interpolation: Interpolation = "smooth",
        inverse: Literal["exact", "interpolate"] = "exact",
        **options: Any,
    ) -> Metric:
        """Return the metric of the parameters of a store, interpolated between the points of a grid.

        Nuisance parameters of the store are constrained and profiled at each point, in histograms also those that
        change what is seen. Histograms and rates take one pass over the events for all points, others one for each.

        Parameters
        ----------
        store
            Simulated events.
        luminosity
            [pb^-1].
        grid
            Where the information is calculated; the metric is not known outside.
        what
            "truth", "rate", observables to be filled into a histogram, or a ratio estimator.
        bins
            Of the histogram, as in `FisherInformation.histogram`. A number of bins becomes edges at the centre of the
            grid, so that it is one histogram everywhere.
        interpolation, inverse
            As in `from_grid`.
        **options
            Of `FisherInformation`: partition, cuts, efficiencies.

        Raises
        ------
        InputError
            If the information is singular at a point: a rate constrains one parameter only.
        """
        fisher = FisherInformation(store, luminosity, **options)
        names, points = store.setup.space.names, grid_points(grid, store.setup.space.names)
        if what == "truth" or gives_ratio(what):
            estimator: Any = what
            results = [fisher.truth(p) if what == "truth" else fisher.detector(p, estimator) for p in points]
            if results[0].parameter_names != names:
                results = [(result + fisher.constraints()).profile(names) for result in results]
            values = np.stack([result.information for result in results])
        else:
            summary: Any = None if what == "rate" else what
            templates = fisher.templates(points.mean(axis=0), summary, bins)
            at = np.pad(points, ((0, 0), (0, len(templates.parameters) - len(names))))
            values = _profiled(fisher.luminosity * templates.information(at), len(names))
        return cls.from_grid(grid, values, names, interpolation=interpolation, inverse=inverse)

    def __call__(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Return the metric at points (n, n_par): (n, n_par, n_par).

        Raises
        ------
        InputError
            If it is not known, or not positive definite, at one of the points.
        """
        points = grid_points(theta, self.names)
        values = self._value(points)
        known = np.isfinite(values).all(axis=(1, 2))
        for good, reason in ((known, "not known"), (positive_definite(values), "not positive definite")):
            if not good.all():
                msg = f"the metric is {reason} at {_at(self.names, points[~good][0])}"
                raise InputError(msg)
        return values

    def derivative(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Return the derivatives of g_ij in the direction of parameter k at points (n, n_par): (n, k, i, j).

        Raises
        ------
        InputError
            If they are not known at one of the points.
        """
        points = grid_points(theta, self.names)
        values = self.sampled(points)[2]
        if not (known := np.isfinite(values).all(axis=(1, 2, 3))).all():
            msg = f"the derivative of the metric is not known at {_at(self.names, points[~known][0])}"
            raise InputError(msg)
        return values

    def christoffel(self, theta: ArrayLike) -> NDArray[np.float64]:
        r"""Return the Christoffel symbols at points (n, n_par): (n, i, j, k).

        .. math:: \Gamma^i_{jk} = \tfrac12 g^{im} (\partial_j g_{mk} + \partial_k g_{mj} - \partial_m g_{jk})
        """
        points = grid_points(theta, self.names)
        self(points)
        d = self.derivative(points)
        lowered = 0.5 * (np.einsum("njmk->nmjk", d) + np.einsum("nkmj->nmjk", d) - d)
        return np.asarray(np.einsum("nim,nmjk->nijk", self.sampled(points)[1], lowered))

    def sampled(self, theta: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Return metrics, inverses and derivatives at points (n, n_par), without complaint; NaN where there are none.

        Nothing is known where the metric is not positive definite, either: such a matrix has the inverse NaN.
        """
        value = self._value(theta)
        definite = positive_definite(value)
        safe = np.where(definite[:, None, None], value, np.eye(len(self.names)))
        inverse = np.linalg.inv(safe) if self._inverse is None else np.array(self._inverse(theta))
        inverse[~definite] = np.nan
        return value, inverse, self._differences(theta) if self._derivative is None else self._derivative(theta)

    def _differences(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        n, n_par = theta.shape
        steps = _STEP * self._scale
        shifts = np.array([-2.0, -1.0, 1.0, 2.0])[:, None, None] * np.diag(steps)  # (4, k, n_par)
        values = self._value((theta[:, None, None, :] + shifts).reshape(-1, n_par)).reshape(n, 4, n_par, n_par, n_par)
        factors = np.array([1.0, -8.0, 8.0, -1.0])[:, None] / (12.0 * steps)
        return np.asarray(np.einsum("sk,nskij->nkij", factors, values))


def positive_definite(matrices: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which of (n, n_par, n_par) symmetric matrices are positive definite, whatever units parameters have."""
    diagonal = np.einsum("nii->ni", matrices)
    usable = np.isfinite(matrices).all(axis=(1, 2)) & (diagonal > 0.0).all(axis=1)
    sizes = np.sqrt(np.where(usable[:, None], diagonal, 1.0))
    scaled = np.where(usable[:, None, None], matrices / sizes[:, :, None] / sizes[:, None, :], 0.0)
    return np.asarray(np.linalg.eigvalsh(scaled)[:, 0] > _SINGULAR)


def _profiled(information: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return the information (n_points, n, n) about the first n parameters, the others constrained and profiled."""
    mixed, rest = information[:, :n, n:], information[:, n:, n:]
    constrained = rest + np.eye(rest.shape[-1])
    return np.asarray(information[:, :n, :n] - mixed @ np.linalg.solve(constrained, mixed.transpose(0, 2, 1)))


def _at(names: Sequence[str], point: NDArray[np.float64]) -> str:
    return ", ".join(f"{name} = {value:g}" for name, value in zip(names, point, strict=True))


def _check_symmetry(values: NDArray[np.float64], points: NDArray[np.float64]) -> None:
    transposed = np.swapaxes(values, -1, -2)
    if not np.allclose(values, transposed, rtol=1e-9, atol=0.0, equal_nan=True):
        worst = int(np.nanargmax(np.abs(values - transposed).reshape(len(values), -1).max(axis=1)))
        msg = f"a metric is symmetric; at theta = {points[worst]} it is not"
        raise InputError(msg)


def _checked(function: Callable[[NDArray[np.float64]], ArrayLike], order: int) -> Matrices:
    """Return the function with its results checked: symmetric tensors of this order, one for each point."""

    def checked(theta: NDArray[np.float64]) -> NDArray[np.float64]:
        values = np.asarray(function(theta), dtype=np.float64)
        shape = (len(theta), *[theta.shape[1]] * order)
        if values.shape != shape:
            msg = f"from points {theta.shape} the function of a metric gives {shape}, this one gave {values.shape}"
            raise InputError(msg)
        _check_symmetry(values, theta)
        return values

    return checked


def _evaluated(
    programs: Sequence[Sequence[Program]], names: Sequence[str], theta: NDArray[np.float64]
) -> NDArray[np.float64]:
    evaluator = Evaluator({name: Number(theta[:, i]) for i, name in enumerate(names)})
    values = np.empty((len(theta), len(names), len(names)))
    for i, row in enumerate(programs):
        for j, program in enumerate(row):
            number = evaluator.number(program)
            values[:, i, j] = np.where(number.defined, number.values, np.nan)
    return values
