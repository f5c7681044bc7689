r"""Which benchmarks to morph from: the figure of merit of a basis, and the search for a good one.

The figure of merit is the mean over the parameter ranges of the sum of squared morphing weights. Weights are
polynomials of theta, so the mean is exact: with the morphing matrix M and the moments C[c, d] = <theta**(p_c + p_d)> it
is tr(M^T C M). With A[b, c] = theta_b**p_c this is tr(C (A^T A)^-1), which the theory of optimal designs calls the
I-criterion (or V-criterion). Taking linear combinations of components that are orthonormal over the ranges turns C into
the unit matrix, and the figure into tr((A^T A)^-1).

`optimise_basis` starts from several random sets of candidate points at once. From each it picks a basis greedily, every
time the point where the weight is least determined by those picked before (approximate Fekete points: Bos et al., SIAM
J. Numer. Anal. 48 (2010) 1984), and then moves all points downhill along the analytic gradient, inside the ranges
(spectral projected gradient: Birgin, Martinez and Raydan, SIAM J. Optim. 10 (2000) 1196), dropping the worse half of
the starts as it goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from columnminer.errors import MissingError
from columnminer.model.components import monomial_gradients, monomials
from columnminer.streams import seed_sequence

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from columnminer.model.morphing import Morphing
    from columnminer.model.parameters import ParameterSpace
    from columnminer.streams import Seed

__all__ = ["mean_squared_weight", "optimise_basis"]

CANDIDATES_PER_COMPONENT = 8
STEPS_PER_ROUND = 10
MAX_ROUNDS = 10
ENOUGH = 1e-5
"""Relative improvement in a round of steps below which the search ends."""
WIDE_PRIOR = 1e-9
"""Weight of a prior on the coefficients of the components, so that coinciding points are bad and not an error."""


def mean_squared_weight(morphing: Morphing) -> float:
    """Return the mean of `Morphing.squared_weights` over theta uniform in the bounds of the parameters, exactly.

    Raises
    ------
    MissingError
        If a parameter has no bounds.
    """
    moments = component_moments(morphing.components, _finite_bounds(morphing.space))
    matrix = morphing.matrix
    return float(np.sum(matrix * (moments @ matrix)))


def component_moments(components: NDArray[np.int64], bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of theta**(p_c + p_d) for theta uniform in (n_par, 2) bounds, (n_components, n_components)."""
    powers = components[:, np.newaxis] + components + 1.0
    low, high = bounds[:, 0], bounds[:, 1]
    return np.asarray(((high**powers - low**powers) / (powers * (high - low))).prod(axis=-1))


def optimise_basis(
    space: ParameterSpace,
    components: NDArray[np.int64],
    *,
    fixed: ArrayLike | None = None,
    n_basis: int | None = None,
    n_trials: int = 8,
    seed: Seed = 0,
) -> NDArray[np.float64]:
    """Return points of a morphing basis with a small mean squared weight.

    Parameters
    ----------
    space
        Parameters with bounds: the ranges that count, and in which points are sought.
    components
        (n_components, n_par) powers.
    fixed
        (n_fixed, n_par) points that belong to the basis whatever else does.
    n_basis
        How many points, with the fixed ones. None: just enough.
    n_trials
        Number of starts.
    seed
        Of the random candidates.

    Returns
    -------
    numpy.ndarray
        (n_basis, n_par), the fixed points first; found ones are rounded to 1e-5 of the range, so that they look well on
        cards and do not hang on the last bit of a linear-algebra library.

    Raises
    ------
    MissingError
        If a parameter has no bounds.
    """
    fixed = np.asarray(() if fixed is None else fixed, dtype=np.float64).reshape(-1, len(space))
    if n_basis is None:
        n_basis = len(fixed) + len(components) - (_rank(monomials(fixed, components)) if len(fixed) else 0)
    if n_basis <= len(fixed):
        return fixed
    bounds = _finite_bounds(space)
    scale = np.abs(bounds).max(axis=1)
    search = _Search(components, bounds / scale[:, np.newaxis], fixed / scale)
    n_candidates = CANDIDATES_PER_COMPONENT * len(components)
    rng = np.random.default_rng(seed_sequence(seed, "morphing basis"))
    candidates = rng.uniform(bounds[:, 0] / scale, bounds[:, 1] / scale, (n_trials, n_candidates, len(space)))
    found = search.descend(search.pick(candidates, n_basis - len(fixed))) * scale
    decimals = 5 - np.floor(np.log10(bounds[:, 1] - bounds[:, 0])).astype(int)
    rounded = np.column_stack([column.round(n) for column, n in zip(found.T, decimals.tolist(), strict=True)])
    return np.concatenate([fixed, np.clip(rounded, bounds[:, 0], bounds[:, 1])])


class _Search:
    """The search for `optimise_basis` in scaled parameters; arrays begin with the axis of the starts."""

    def __init__(self, components: NDArray[np.int64], box: NDArray[np.float64], fixed: NDArray[np.float64]) -> None:
        self.components = components
        self.box = box
        moments, vectors = np.linalg.eigh(component_moments(components, box))
        self.orthonormal = vectors / np.sqrt(np.maximum(moments, 1e-14 * moments[-1]))
        rows = monomials(fixed, components) @ self.orthonormal
        self.fixed_gram = rows.T @ rows + WIDE_PRIOR * np.eye(len(components))

    def pick(self, candidates: NDArray[np.float64], n_points: int) -> NDArray[np.float64]:
        """Return n_points of each set of candidates, (n_starts, n_candidates, n_par) -> (n_starts, n_points, n_par)."""
        rows = monomials(candidates, self.components) @ self.orthonormal
        starts = np.arange(len(candidates))
        # Covariance of the coefficients of the components given the points so far; variance of d sigma at candidates.
        covariance = np.tile(np.linalg.inv(self.fixed_gram), (len(candidates), 1, 1))
        variance = ((rows @ covariance) * rows).sum(axis=-1)
        picked = np.empty((len(candidates), n_points, candidates.shape[-1]))
        for i in range(n_points):
            best = variance.argmax(axis=1)
            picked[:, i] = candidates[starts, best]
            direction = (covariance @ rows[starts, best, :, np.newaxis])[..., 0]
            norm = 1.0 + variance[starts, best]
            covariance -= direction[:, :, np.newaxis] * direction[:, np.newaxis] / norm[:, np.newaxis, np.newaxis]
            variance -= (rows @ direction[..., np.newaxis])[..., 0] ** 2 / norm[:, np.newaxis]
        return picked

    def figure(self, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the figure of merit of each start, and the gradient of its logarithm with respect to the points."""
        rows = monomials(points, self.components) @ self.orthonormal
        inverse = np.linalg.inv(rows.transpose(0, 2, 1) @ rows + self.fixed_gram)
        figure = np.trace(inverse, axis1=1, axis2=2)
        component_gradients = -2.0 * (rows @ (inverse @ inverse)) @ self.orthonormal.T
        slopes = monomial_gradients(points, self.components)
        gradients = (slopes @ component_gradients[..., np.newaxis])[..., 0]
        return figure, gradients / figure[:, np.newaxis, np.newaxis]

    def descend(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the best basis, (n_points, n_par), to which the starts (n_starts, n_points, n_par) lead."""
        low, high = self.box[:, 0], self.box[:, 1]
        figure, gradient = self.figure(points)
        step = 0.1 / np.abs(gradient).max(axis=(1, 2), initial=1e-12)
        best, best_points = figure.copy(), points.copy()
        for _ in range(MAX_ROUNDS):
            before = best.min()
            for _ in range(STEPS_PER_ROUND):
                moved = np.clip(points - step[:, np.newaxis, np.newaxis] * gradient, low, high)
                figure, moved_gradient = self.figure(moved)
                # Spectral steps need not go down every time; what goes far up, or lost its digits, is taken back.
                accepted = (figure > 0) & (figure < 1.5 * best)
                shift, bend = moved - points, moved_gradient - gradient
                curvature = (shift * bend).sum(axis=(1, 2))
                spectral = (shift**2).sum(axis=(1, 2)) / np.where(curvature > 0, curvature, 1.0)
                step = np.where(accepted, np.where(curvature > 0, np.clip(spectral, 1e-6, 1e3), 10 * step), step / 4)
                where = accepted[:, np.newaxis, np.newaxis]
                points, gradient = np.where(where, moved, points), np.where(where, moved_gradient, gradient)
                better = accepted & (figure < best)
                best = np.where(better, figure, best)
                best_points = np.where(better[:, np.newaxis, np.newaxis], moved, best_points)
            if len(best) == 1 and best[0] > (1.0 - ENOUGH) * before:
                break
            kept = np.argsort(best, kind="stable")[: (len(best) + 1) // 2]
            points, gradient, step, best, best_points = (a[kept] for a in (points, gradient, step, best, best_points))
        return np.asarray(best_points[best.argmin()])


def _rank(rows: NDArray[np.float64]) -> int:
    size = np.abs(rows).max(axis=0)
    return int(np.linalg.matrix_rank(rows / np.where(size > 0, size, 1.0)))


def _finite_bounds(space: ParameterSpace) -> NDArray[np.float64]:
    for parameter in space:
        if parameter.bounds is None:
            msg = f"parameter {parameter.name!r} needs bounds: the range over which morphing is to be good"
            raise MissingError(msg)
    return space.bounds
