r"""The morphing-aware ratio estimator: one output of the network for each point of a morphing basis.

With the morphing weights w_b(theta), rho(x, theta) = sum_b w_b(theta) rho_b(x), where rho_b = exp(output_b) is the
ratio at the point b of a basis (arXiv:1805.00020, section 2; MadMiner learns the same per benchmark). The first point
of the basis is the reference theta_1 itself, with rho_1 = 1: so the ratio to the reference is 1 there.

Nothing keeps the sum positive between the points of the basis. Where it is not, log r is cut off with a warning; a
basis that suits the range of theta, and the `QuadraticRatioEstimator`, are the remedies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import qr
from torch.nn import functional

from columnminer.errors import InputError
from columnminer.learn.polynomial import PolynomialRatioEstimator
from columnminer.learn.scaling import Scaling
from columnminer.model.basis import optimise_basis
from columnminer.model.components import monomial_gradients, monomials
from columnminer.model.parameters import Parameter, ParameterSpace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from columnminer.learn.scaling import Moments
    from columnminer.model.crosssection import CrossSectionPolynomial

__all__ = ["MorphedRatios", "MorphingRatioEstimator"]

_INDEPENDENT = 1e-10
"""Share of the components of a point that others must leave over for it to count as independent of them."""


class MorphingRatioEstimator(PolynomialRatioEstimator):
    """Learns the ratio r(x | theta, theta1) of densities at the points of a morphing basis, and morphs between them.

    For methods and results see `RatioEstimator`; the samples must come from a set-up with morphing.

    Parameters
    ----------
    hidden, **settings
        See `Estimator`.
    optimise_basis
        Whether to look for the basis that is best over the range of theta0 in training, instead of that of the set-up.

    Examples
    --------
    >>> store = cm.EventStore("events.zarr")
    >>> samples = cm.sample_ratio(store, cm.flat_prior([(-0.05, 0.05)] * 2), "sm", 4000)
    >>> estimator = cm.MorphingRatioEstimator((10,)).fit(samples, "alices", epochs=1, progress=False)
    >>> estimator.log_ratio(samples.x[:3], cm.Grid([(-0.02, 0.02, 5)] * 2).points, pairing="grid").shape
    (25, 3)
    """

    def __init__(self, hidden: Sequence[int] = (60, 60), *, optimise_basis: bool = False, **settings: Any) -> None:
        super().__init__(hidden, **settings)
        self.optimise_basis = optimise_basis

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "optimise_basis": self.optimise_basis}

    def _law_settings(self, xsec: CrossSectionPolynomial, theta0: Moments) -> dict[str, Any]:
        points = _best_points(xsec, theta0) if self.optimise_basis else xsec.basis
        return {"basis": points.tolist()}

    def _law(self, xsec: CrossSectionPolynomial, scaling: Scaling, training: Mapping[str, Any]) -> MorphedRatios:
        return MorphedRatios(xsec.components, np.array(training["basis"], dtype=np.float64), scaling.mean)


class MorphedRatios:
    """rho = sum_b w_b(theta) rho_b: the `Law` of a `MorphingRatioEstimator`.

    Parameters
    ----------
    components
        (n_components, n_par) powers.
    points
        (n_points, n_par) to choose a basis from. The reference takes the place of the one that it replaces best.
    reference
        (n_par,).

    Raises
    ------
    InputError
        If the points do not determine the components.
    """

    floor = 5e-3

    def __init__(
        self, components: NDArray[np.int64], points: NDArray[np.float64], reference: NDArray[np.float64]
    ) -> None:
        self.components, self.n_outputs = components, len(components) - 1
        largest = np.abs(np.concatenate([points, reference[np.newaxis]])).max(axis=0)
        self.scaling = Scaling(np.zeros_like(largest), np.where(largest > 0, largest, 1.0))
        rows = monomials(points / self.scaling.scale, components)
        first = monomials(reference[np.newaxis] / self.scaling.scale, components)
        # What the reference leaves over of each point: the most independent of them complete the basis.
        left = rows - (rows @ first.T) @ first / (first @ first.T)
        _, triangle, order = qr(left.T, mode="economic", pivoting=True)
        chosen = order[: self.n_outputs]
        independent = np.abs(np.diag(triangle))[: self.n_outputs] > _INDEPENDENT * np.abs(rows).max()
        if len(chosen) < self.n_outputs or not independent.all():
            msg = (
                f"{len(points)} points of a basis and the reference do not determine the {len(components)} components "
                "of the morphing: set optimise_basis=True"
            )
            raise InputError(msg)
        self.basis = np.concatenate([reference[np.newaxis], points[chosen]])
        self.matrix = np.linalg.inv(np.concatenate([first, rows[chosen]]))

    def terms(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the morphing weights, (n, n_components); that of the reference first."""
        return np.asarray(monomials(points / self.scaling.scale, self.components) @ self.matrix)

    def term_gradients(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return their derivatives by theta, (n, n_par, n_components)."""
        gradients = monomial_gradients(points / self.scaling.scale, self.components) @ self.matrix
        return np.asarray(gradients / self.scaling.scale[:, np.newaxis])

    def ratio(self, outputs: Tensor, terms: Tensor) -> Tensor:
        """Return rho for pairs, (n,)."""
        return (_ratios(outputs) * terms).sum(1)

    def ratio_and_gradient(self, outputs: Tensor, terms: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Return rho and its derivatives by theta for pairs, (n,) and (n, n_par)."""
        ratios = _ratios(outputs)
        return (ratios * terms).sum(1), (gradients * ratios[:, None]).sum(2)

    def grid(self, outputs: Tensor, terms: Tensor) -> Tensor:
        """Return rho for all pairs, (m, n): one matrix product."""
        return terms @ _ratios(outputs).T


def _ratios(outputs: Tensor) -> Tensor:
    """Return rho_b, (n, n_components), 1 at the reference."""
    return functional.pad(outputs, (1, 0)).exp()


def _best_points(xsec: CrossSectionPolynomial, theta0: Moments) -> NDArray[np.float64]:
    low, high = theta0.low, theta0.high
    fixed = low == high
    if fixed.any():
        msg = f"parameter {int(fixed.argmax())} does not vary in training: no basis can be optimised over its range"
        raise InputError(msg)
    bounds = zip(low.tolist(), high.tolist(), strict=True)
    space = ParameterSpace([Parameter(f"theta{i}", bounds=(a, b), nominal=a) for i, (a, b) in enumerate(bounds)])
    return optimise_basis(space, xsec.components)
