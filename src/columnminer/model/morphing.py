r"""Events at any theta from events at a few: the squared matrix element is a polynomial of the couplings.

At tree level d sigma(x, theta) = sum_c theta**p_c f_c(x), where the components p_c are rows of powers (see
`components.py`). Knowing d sigma at the benchmarks of a *basis* determines the f_c, so that d sigma(x, theta) =
sum_b w_b(theta) d sigma(x, theta_b) with *morphing weights* w_b(theta) that know nothing of x (ATL-PHYS-PUB-2015-047;
arXiv:1805.00020). How good a basis is, and how to find a better one, stands in `basis.py`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from columnminer.errors import ColumnMinerWarning, InputError, UnknownNameError, did_you_mean
from columnminer.model.checks import unique
from columnminer.model.components import checked_components, monomial_gradients, monomials

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from columnminer.model.parameters import Benchmark, ParameterSpace, ThetaLike

__all__ = ["Morphing"]

CONDITION_LIMIT = 1e8
"""Condition number from which on a basis is warned about: half of the digits of a float64 are lost."""


@dataclass(frozen=True, eq=False)
class Morphing:
    """Morphing weights of a set of benchmarks.

    Parameters
    ----------
    space
        The parameters.
    components
        (n_components, n_par) powers.
    benchmarks
        All benchmarks; weights have a column for each.
    basis
        Names of the benchmarks to morph from; the others get weight zero.

    Raises
    ------
    InputError
        If the components do not fit the parameters, or the basis does not determine them: too few benchmarks, or too
        few independent ones.
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
    benchmarks: tuple[Benchmark, ...]
    basis: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "components", checked_components(self.components, self.space))
        object.__setattr__(self, "benchmarks", tuple(self.benchmarks))
        object.__setattr__(self, "basis", unique(self.basis, "morphing basis"))
        names = self.benchmark_names
        for name in self.basis:
            if name not in names:
                msg = f"morphing basis: no benchmark is called {name!r}.{did_you_mean(name, names)}"
                raise UnknownNameError(msg)
        n_components, n_basis = len(self.components), len(self.basis)
        if n_basis < n_components:
            msg = (
                f"the morphing basis has {n_basis} benchmarks, but {n_components} components need at least as many: "
                f"name more, or leave the basis out to have it completed"
            )
            raise InputError(msg)
        condition = self.condition_number
        if not condition < 1.0 / (np.finfo(np.float64).eps * n_basis):
            msg = (
                f"the benchmarks {', '.join(self.basis)} do not determine the {n_components} morphing components: some "
                f"are linear combinations of others. Choose others, or leave the basis out to have it completed"
            )
            raise InputError(msg)
        if condition > CONDITION_LIMIT:
            msg = f"the morphing basis {', '.join(self.basis)} is badly conditioned ({condition:.1e})"
            warnings.warn(msg, ColumnMinerWarning, stacklevel=3)

    @cached_property
    def benchmark_names(self) -> tuple[str, ...]:
        """Names of the benchmarks, in the order of the weights."""
        return tuple(benchmark.name for benchmark in self.benchmarks)

    @cached_property
    def basis_points(self) -> NDArray[np.float64]:
        """(n_basis, n_par) parameter values of the basis benchmarks."""
        return np.array([self.space.array(self.benchmarks[i].values) for i in self._columns])

    @cached_property
    def _columns(self) -> list[int]:
        return [self.benchmark_names.index(name) for name in self.basis]

    @cached_property
    def _scale(self) -> NDArray[np.float64]:
        """(n_par,) magnitude of each parameter in the basis: powers of theta / scale stay of order one."""
        largest = np.abs(self.basis_points).max(axis=0)
        return np.where(largest > 0, largest, 1.0)

    @cached_property
    def _design(self) -> NDArray[np.float64]:
        """(n_basis, n_components) components of the scaled basis points."""
        return monomials(self.basis_points / self._scale, self.components)

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

        Were all benchmarks known with the same independent error, this would be the squared error at theta in its
        units: 1 at a benchmark of the basis. Where it is large, look at the basis.
        """
        return np.asarray((self.weights(theta) ** 2).sum(axis=1))
