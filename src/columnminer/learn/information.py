"""An information matrix with its covariance: sums, projections, profiles, errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from columnminer.errors import InputError, MissingError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Information", "profiling"]

_NOTHING = 1e-10
"""Eigenvalue of a correlation matrix, relative to the largest, that counts as zero."""


@dataclass(frozen=True)
class Information:
    """Fisher information about named parameters.

    Attributes
    ----------
    information : numpy.ndarray
        (n, n) symmetric; in inverse units of the parameters, squared.
    covariance : numpy.ndarray
        (n, n, n, n) covariance of its entries, from the finite number of simulated events or as its maker says.
    parameter_names : tuple of str
        Rows and columns.

    Examples
    --------
    >>> both = cm.Information(np.array([[4.0, 1.0], [1.0, 2.0]]), np.zeros((2, 2, 2, 2)), ("a", "b"))
    >>> both.project(["a"]).information, both.profile(["a"]).information  # b known, and b unknown
    (array([[4.]]), array([[3.5]]))
    """

    information: NDArray[np.float64]
    covariance: NDArray[np.float64]
    parameter_names: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.parameter_names)
        if self.information.shape != (n, n) or self.covariance.shape != (n, n, n, n):
            msg = (
                f"an information about {n} parameters has shape {(n, n)} and covariance {(n, n, n, n)}, not "
                f"{self.information.shape} and {self.covariance.shape}"
            )
            raise InputError(msg)

    @property
    def error(self) -> NDArray[np.float64]:
        """Standard error of each entry, (n, n)."""
        return np.asarray(np.sqrt(np.einsum("ijij->ij", self.covariance)))

    @property
    def eigenvalues(self) -> NDArray[np.float64]:
        """(n,) ascending, in the directions of `eigenvectors`; of use where all parameters have one unit."""
        return np.asarray(np.linalg.eigvalsh(self.information))

    @property
    def eigenvectors(self) -> NDArray[np.float64]:
        """(n, n) directions of unit length, one in each row, in which the errors are not correlated."""
        return np.asarray(np.linalg.eigh(self.information)[1].T)

    @property
    def mean(self) -> float:
        r"""Geometric mean of the eigenvalues, :math:`\det(I)^{1/n}`."""
        return float(np.prod(np.maximum(self.eigenvalues, 0.0)) ** (1.0 / len(self.information)))

    @property
    def mean_error(self) -> float:
        r"""Standard error of `mean`, to first order: :math:`d\det I = \det I\,\mathrm{tr}(I^{-1} dI)`."""
        inverse = np.linalg.pinv(self.information, hermitian=True)
        variance = float(np.einsum("ij,kl,ijkl->", inverse, inverse, self.covariance))
        return self.mean / len(self.information) * float(np.sqrt(max(variance, 0.0)))

    def along(self, directions: Mapping[str, ArrayLike]) -> Information:
        """Return the information about how far theta goes in some directions, each as if all others were known.

        Parameters
        ----------
        directions
            (n,) by name: what theta changes by, for a change of one.

        Raises
        ------
        InputError
            If a direction has another number of parameters.
        """
        rows = np.array([np.asarray(direction, dtype=np.float64) for direction in directions.values()])
        if rows.ndim != 2 or rows.shape[1] != len(self.parameter_names):
            msg = f"directions have one number for each of {', '.join(self.parameter_names)}"
            raise InputError(msg)
        return Information(
            rows @ self.information @ rows.T,
            np.einsum("ia,jb,kc,ld,abcd->ijkl", *[rows] * 4, self.covariance, optimize=True),
            tuple(directions),
        )

    def __add__(self, other: Information) -> Information:
        """Add the information of independent data about the same parameters, from independent simulations."""
        if not isinstance(other, Information):
            return NotImplemented
        if self.parameter_names != other.parameter_names:
            both = " and ".join(", ".join(i.parameter_names) for i in (self, other))
            msg = f"cannot add informations about {both}"
            raise InputError(msg)
        return Information(
            self.information + other.information, self.covariance + other.covariance, self.parameter_names
        )

    def project(self, names: Sequence[str]) -> Information:
        """Return the information about some parameters if all others are known."""
        keep = self._indices(names)
        return Information(
            self.information[np.ix_(keep, keep)], self.covariance[np.ix_(keep, keep, keep, keep)], tuple(names)
        )

    def profile(self, names: Sequence[str]) -> Information:
        r"""Return the information about some parameters if all others are fitted.

        With t the parameters kept and n the others, :math:`I' = I_{tt} - B I_{nt}` where :math:`B = I_{tn} I_{nn}^{-1}`
        (arXiv:1612.05261, section II C). Its variation is :math:`dI' = A\, dI\, A^T` with :math:`A = (1, -B)`, exactly
        to first order, and so :math:`\mathrm{cov}'_{ijkl} = A_{ia} A_{jb} A_{kc} A_{ld}\, \mathrm{cov}_{abcd}`.

        Raises
        ------
        MissingError
            If nothing is known of the others, so that they cannot be fitted.
        """
        keep = self._indices(names)
        rest = [i for i in range(len(self.parameter_names)) if i not in keep]
        inner = self.information[np.ix_(rest, rest)]
        if rest and np.linalg.matrix_rank(inner) < len(rest):
            others = ", ".join(self.parameter_names[i] for i in rest)
            msg = f"the information about {others} is singular: project, or add what constrains them"
            raise MissingError(msg)
        transform = profiling(self.information, keep)
        return Information(
            transform @ self.information @ transform.T,
            np.einsum("ia,jb,kc,ld,abcd->ijkl", *[transform] * 4, self.covariance, optimize=True),
            tuple(names),
        )

    def _indices(self, names: Sequence[str]) -> list[int]:
        for name in names:
            if name not in self.parameter_names:
                msg = f"the information is not about {name!r}.{did_you_mean(name, self.parameter_names)}"
                raise UnknownNameError(msg)
        if isinstance(names, str) or not names or len(set(names)) != len(names):
            msg = f"a list of different parameter names is needed, not {names!r}"
            raise InputError(msg)
        return [self.parameter_names.index(name) for name in names]


def profiling(information: NDArray[np.float64], keep: Sequence[int]) -> NDArray[np.float64]:
    r"""Return the matrix A, (n_keep, n), by which scores t of all parameters become those kept, the others profiled.

    .. math:: A\, t = t_\theta - I_{\theta\nu} I_{\nu\nu}^{-1} t_\nu, \qquad I = E[t\, t^T]

    is the part of :math:`t_\theta` that is not correlated with :math:`t_\nu`, to first order blind to the parameters
    :math:`\nu`; its information :math:`A I A^T` is the profiled one (arXiv:1903.01473). Directions of :math:`\nu` that
    do nothing, or what others do, are left out of the inverse: there is nothing to remove.

    Parameters
    ----------
    information
        (n, n) I.
    keep
        Which parameters are kept, in the order of the rows of A.
    """
    n = len(information)
    rest = [i for i in range(n) if i not in keep]
    matrix = np.eye(n)[list(keep)]
    if rest:
        # In units of their errors, so that the units of parameters do not decide what counts as nothing.
        size = np.sqrt(np.maximum(np.diag(information)[rest], 0.0))
        inverse_size = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0.0)
        inner = information[np.ix_(rest, rest)] * inverse_size[:, None] * inverse_size
        inverse = inverse_size[:, None] * np.linalg.pinv(inner, rcond=_NOTHING, hermitian=True) * inverse_size
        matrix[:, rest] = -information[np.ix_(keep, rest)] @ inverse
    return matrix
