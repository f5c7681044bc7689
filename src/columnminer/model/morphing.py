r"""Events at any theta from events at a few: the squared matrix element is a polynomial of the couplings.

At tree level d sigma(x, theta) = sum_c theta**p_c f_c(x), where the *components* p_c are rows of powers. Knowing d sigma
at the benchmarks of a *basis* determines the f_c, so that d sigma(x, theta) = sum_b w_b(theta) d sigma(x, theta_b) with
*morphing weights* w_b(theta) that know nothing of x (ATL-PHYS-PUB-2015-047; arXiv:1805.00020, section II C).

`power_components` finds the components from the highest powers, `vertex_components` from which couplings enter production
and decay; `Morphing` holds the weights; how good a basis is, and how to find a better one, stands in `basis.py`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import ColumnMinerWarning, InputError, MissingError, UnknownNameError, did_you_mean
from columnminer.model.parameters import Coupling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from columnminer.model.parameters import ParameterSpace, ThetaLike

__all__ = ["Morphing", "monomial_gradients", "monomials", "power_components", "vertex_components"]

CONDITION_LIMIT = 1e8
"""Condition number from which on a basis is warned about: half of the digits of a float64 are lost."""


def power_components(space: ParameterSpace, max_overall_power: int = 4) -> NDArray[np.int64]:
    """Return all products of powers that the couplings' `max_power` and the overall power allow.

    Parameters
    ----------
    space
        Couplings, each with its `max_power` in the squared matrix element.
    max_overall_power
        Highest sum of powers: 2 n if the couplings affect n vertices.

    Returns
    -------
    numpy.ndarray
        (n_components, n_par) powers in ascending lexicographic order.

    Raises
    ------
    MissingError
        If a parameter is not a `Coupling`: nothing is known of its powers.
    """
    rows: list[tuple[int, ...]] = [()]
    for parameter in space:
        if not isinstance(parameter, Coupling):
            msg = f"morphing needs to know with which powers {parameter.name!r} enters: give it a max_power"
            raise MissingError(msg)
        rows = [
            (*row, power)
            for row in rows
            for power in range(min(parameter.max_power, max_overall_power - sum(row)) + 1)
        ]
    return np.array(rows, dtype=np.int64).reshape(len(rows), len(space))


def vertex_components(
    space: ParameterSpace,
    production: Sequence[str] = (),
    decay: Sequence[str] = (),
    shared: Sequence[str] = (),
    *,
    fixed_terms: bool = False,
) -> NDArray[np.int64]:
    r"""Return the components of a production vertex times a decay vertex.

    Each vertex is linear in its couplings, so the amplitude is (sum g_production + sum g_shared) (sum g_decay + sum
    g_shared), and the components are the different products of any two of its terms (ATL-PHYS-PUB-2015-047, section 2).
    A vertex without couplings is a constant.

    Parameters
    ----------
    space
        The parameters; each must be named in exactly one of the three groups.
    production, decay, shared
        Names of the couplings at the production vertex, the decay vertex, and both.
    fixed_terms
        Whether each vertex also has a term without any of these couplings, such as a standard-model coupling that is
        kept fixed. False: the standard-model couplings are among the parameters.

    Returns
    -------
    numpy.ndarray
        (n_components, n_par) powers in ascending lexicographic order.

    Raises
    ------
    UnknownNameError
        If a name is no parameter.
    InputError
        If a parameter is named twice or not at all.
    """
    named = [space.index(name) for name in (*production, *decay, *shared)]
    for index, name in enumerate(space.names):
        if named.count(index) != 1:
            times = "no" if index not in named else "more than one"
            msg = f"coupling {name!r} stands in {times} group; production, decay or shared must name it, one of them"
            raise InputError(msg)
    unit = np.eye(len(space), dtype=np.int64)
    amplitude = np.zeros((1, len(space)), dtype=np.int64)
    for group in (production, decay):
        terms = unit[[space.index(name) for name in (*group, *shared)]]
        if fixed_terms or len(terms) == 0:
            terms = np.vstack([np.zeros((1, len(space)), dtype=np.int64), terms])
        amplitude = _products(amplitude, terms)
    return _products(amplitude, amplitude)


def _products(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the different products of any two monomials, sorted."""
    return np.unique((first[:, np.newaxis] + second).reshape(-1, first.shape[1]), axis=0)


def monomials(theta: NDArray[Any], components: NDArray[np.int64]) -> NDArray[Any]:
    """Return theta**p for every component, (..., n_par) -> (..., n_components); 0**0 is 1."""
    highest = int(components.max(initial=0))
    values = np.ones((*theta.shape[:-1], len(components)), dtype=theta.dtype)
    for i in range(theta.shape[-1]):
        powers = np.ones((*theta.shape[:-1], highest + 1), dtype=theta.dtype)
        powers[..., 1:] = theta[..., i, np.newaxis]
        np.cumprod(powers, axis=-1, out=powers)
        values *= powers[..., components[:, i]]
    return values


def monomial_gradients(theta: NDArray[Any], components: NDArray[np.int64]) -> NDArray[Any]:
    """Return d theta**p / d theta_i, (..., n_par) -> (..., n_par, n_components)."""
    gradients = np.empty((*theta.shape, len(components)), dtype=theta.dtype)
    for i in range(theta.shape[-1]):
        lowered = components.copy()
        lowered[:, i] = np.maximum(components[:, i] - 1, 0)
        gradients[..., i, :] = components[:, i] * monomials(theta, lowered)
    return gradients


@dataclass(frozen=True, eq=False)
class Morphing:
    """Morphing weights of a set of benchmarks.

    Parameters
    ----------
    space
        The parameters.
    components
        (n_components, n_par) powers.
    benchmark_names, benchmark_points
        All benchmarks, (n_benchmarks,) and (n_benchmarks, n_par); weights have a column for each.
    basis
        Names of the benchmarks to morph from; the others get weight zero. None: all of them.

    Raises
    ------
    InputError
        If the components do not fit the parameters, or the basis does not determine them: too few benchmarks, or too few
        independent ones.
    UnknownNameError
        If a name of the basis is no benchmark.

    Warns
    -----
    ColumnMinerWarning
        If the condition number of the basis is above 1e8.

    Notes
    -----
    With more basis benchmarks than components the pseudo-inverse gives the weights of smallest sum of squares.
    """

    space: ParameterSpace
    components: NDArray[np.int64]
    benchmark_names: tuple[str, ...]
    benchmark_points: NDArray[np.float64]
    basis: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "components", checked_components(self.components, self.space))
        object.__setattr__(self, "benchmark_names", tuple(self.benchmark_names))
        object.__setattr__(self, "basis", tuple(self.basis or self.benchmark_names))
        for name in self.basis:
            if name not in self.benchmark_names:
                msg = f"morphing basis: no benchmark is called {name!r}.{did_you_mean(name, self.benchmark_names)}"
                raise UnknownNameError(msg)
        if len(set(self.basis)) < len(self.basis):
            msg = f"morphing basis: a benchmark is named twice in {', '.join(self.basis)}"
            raise InputError(msg)
        n_components, n_basis = len(self.components), len(self.basis)
        if n_basis < n_components:
            msg = (
                f"the morphing basis has {n_basis} benchmarks, but {n_components} components need at least "
                f"{n_components}: name more, or leave the basis out to have it completed"
            )
            raise InputError(msg)
        condition = self.condition_number
        if not condition < 1.0 / (np.finfo(np.float64).eps * n_basis):
            msg = (
                f"the benchmarks {', '.join(self.basis)} do not determine the {n_components} morphing components: some "
                f"are linear combinations of others. Choose others, or leave the basis out to have one found"
            )
            raise InputError(msg)
        if condition > CONDITION_LIMIT:
            msg = f"the morphing basis {', '.join(self.basis)} is badly conditioned ({condition:.1e})"
            warnings.warn(msg, ColumnMinerWarning, stacklevel=3)

    @cached_property
    def _columns(self) -> list[int]:
        return [self.benchmark_names.index(name) for name in self.basis]

    @cached_property
    def _scale(self) -> NDArray[np.float64]:
        """(n_par,) magnitude of each parameter in the basis: powers of theta / scale stay of order one."""
        largest = np.abs(self.benchmark_points[self._columns]).max(axis=0)
        return np.where(largest > 0, largest, 1.0)

    @cached_property
    def _design(self) -> NDArray[np.float64]:
        """(n_basis, n_components) components of the scaled basis points."""
        return monomials(self.benchmark_points[self._columns] / self._scale, self.components)

    @cached_property
    def condition_number(self) -> float:
        """Ratio of the largest to the smallest singular value of the components over the basis, parameters scaled."""
        singular = np.linalg.svd(self._design, compute_uv=False)
        return float(singular[0] / singular[-1]) if singular[-1] > 0 else float("inf")

    @cached_property
    def _scaled_matrix(self) -> NDArray[np.float64]:
        """(n_components, n_benchmarks) morphing matrix for theta / scale, zero outside the basis."""
        matrix = np.zeros((len(self.components), len(self.benchmark_names)))
        matrix[:, self._columns] = np.linalg.pinv(self._design, rcond=0.0)
        return matrix

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(n_components, n_basis) morphing matrix: weights are the components of theta times this."""
        scale = monomials(self._scale, self.components)
        return np.asarray(self._scaled_matrix[:, self._columns] / scale[:, np.newaxis])

    def weights(self, theta: ThetaLike | Sequence[ThetaLike]) -> NDArray[np.float64]:
        """Return w_b(theta), (n_theta, n_benchmarks)."""
        return np.asarray(monomials(self.space.points(theta) / self._scale, self.components) @ self._scaled_matrix)

    def weight_gradients(self, theta: ThetaLike | Sequence[ThetaLike]) -> NDArray[np.float64]:
        """Return d w_b / d theta_i, (n_theta, n_par, n_benchmarks)."""
        gradients = monomial_gradients(self.space.points(theta) / self._scale, self.components)
        return np.asarray((gradients @ self._scaled_matrix) / self._scale[:, np.newaxis])

    def squared_weights(self, theta: ThetaLike | Sequence[ThetaLike]) -> NDArray[np.float64]:
        """Return sum_b w_b(theta)**2, (n_theta,): how much morphing enlarges statistical errors there.

        Were all benchmarks known with the same independent error, this would be the squared error at theta in its units:
        1 at a benchmark; where it is large, look at the basis.
        """
        return np.asarray((self.weights(theta) ** 2).sum(axis=1))


def checked_components(components: object, space: ParameterSpace) -> NDArray[np.int64]:
    """Return components as (n_components, n_par) integers, or raise InputError."""
    powers = np.asarray(components)
    if powers.ndim != 2 or powers.shape[1] != len(space) or len(powers) == 0:
        msg = f"morphing components of shape {powers.shape} do not fit {len(space)} parameters: (n_components, n_par)"
        raise InputError(msg)
    if not np.issubdtype(powers.dtype, np.integer) or powers.min() < 0:
        msg = "morphing components are powers: non-negative integers"
        raise InputError(msg)
    rows = sorted(map(tuple, powers.tolist()))
    for first, second in pairwise(rows):
        if first == second:
            msg = f"morphing component {list(first)} is given twice"
            raise InputError(msg)
    return powers.astype(np.int64)
