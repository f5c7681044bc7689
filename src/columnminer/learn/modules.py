r"""Fitted estimators as torch modules: functions of tensors that can be differentiated in theta and in x.

A module takes features and parameters in their own units, in the order of `feature_names` and `parameter_names`; the
scaling is inside. It holds a frozen copy of the network, for use within other models, gradients and Hessians of log
likelihoods, and export. Values are not looked at: what is not finite is not refused, nor is there a warning far from
the training.

=============================================  =================================  ====================================
`RatioEstimator` and its polynomial kinds      ``(x, theta)``                     log r
`DoubleRatioEstimator`                         ``(x, theta0, theta1)``            log r
`ScoreEstimator`                               ``(x)``                            t, (..., n_par)
`DensityEstimator`                             ``(x, theta)``                     log p per unit of the features
=============================================  =================================  ====================================

All but the last dimension of the arguments are broadcast: x (n, n_features) with theta (n_par,) or (n, n_par) gives
pairs, (n,), and with theta (m, 1, n_par) the grid, (m, n). Results have the precision of the arguments; scalings and
polynomials are computed in double precision, the network in its own, which is double after ``module.double()``.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from columnminer.learn.scaling import Scaling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.learn.laws import Law
    from columnminer.model.crosssection import CrossSectionPolynomial

__all__ = ["DensityModule", "DoubleRatioModule", "PolynomialRatioModule", "RatioModule", "ScoreModule"]


class _Network(nn.Module):
    """A frozen copy of a trained network, which takes and gives tensors in double precision."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = deepcopy(network).eval().requires_grad_(requires_grad=False)

    def forward(self, *inputs: Tensor) -> Tensor:
        own = next(self.network.parameters()).dtype
        outputs: Tensor = self.network(*(values.to(own) for values in inputs))
        return outputs.double()


class _Scaled(nn.Module):
    """v -> (v - mean) / scale, in double precision."""

    mean: Tensor
    scale: Tensor

    def __init__(self, scaling: Scaling) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(scaling.mean.copy()))
        self.register_buffer("scale", torch.from_numpy(scaling.scale.copy()))

    def forward(self, values: Tensor) -> Tensor:
        return (values.double() - self.mean) / self.scale


class _Polynomials(nn.Module):
    """theta -> polynomials of scaled theta: its monomials times a matrix (n_components, n_polynomials)."""

    matrix: Tensor

    def __init__(self, components: NDArray[np.int64], scaling: Scaling, matrix: NDArray[np.float64]) -> None:
        super().__init__()
        self.components: list[list[int]] = components.T.tolist()
        self.highest = int(components.max(initial=0))
        self.scaled = _Scaled(scaling)
        self.register_buffer("matrix", torch.from_numpy(matrix.copy()))

    def forward(self, theta: Tensor) -> Tensor:
        # Products one by one: prod and pow have derivatives that fail or are slow where a parameter is zero.
        u = self.scaled(theta)
        powers = [torch.ones_like(u)]
        for _ in range(self.highest):
            powers.append(powers[-1] * u)
        table = torch.stack(powers, dim=-1)
        monomials = table[..., 0, self.components[0]]
        for parameter, column in enumerate(self.components[1:], start=1):
            monomials = monomials * table[..., parameter, column]
        return monomials @ self.matrix


class _PointsAndFeatures(nn.Module):
    """log r by a network of scaled points and features."""

    def __init__(self, network: nn.Module, x: Scaling, theta: Scaling) -> None:
        super().__init__()
        self.network, self.x, self.theta = _Network(network), _Scaled(x), _Scaled(theta)

    def _log_r(self, x: Tensor, *points: Tensor) -> Tensor:
        shape, rows = _paired(*(self.theta(theta) for theta in points), self.x(x))
        log_r: Tensor = self.network(torch.cat(rows, dim=1))[:, 0]
        return log_r.reshape(shape).to(_precision(x, *points))


class RatioModule(_PointsAndFeatures):
    """log p(x | theta) / p(x | reference)."""

    def forward(self, x: Tensor, theta: Tensor) -> Tensor:
        """Return log r at features x (..., n_features) and parameter points (..., n_par)."""
        return self._log_r(x, theta)


class DoubleRatioModule(_PointsAndFeatures):
    """log p(x | theta0) / p(x | theta1)."""

    def forward(self, x: Tensor, theta0: Tensor, theta1: Tensor) -> Tensor:
        """Return log r at features x (..., n_features) and two parameter points (..., n_par) each."""
        return self._log_r(x, theta0, theta1)


class PolynomialRatioModule(nn.Module):
    """log r by a network of the features, with the law of its dependence on theta.

    Below the law's floor, where a morphed ratio is not physical, log r is constant. It is NaN where the cross section
    is negative.
    """

    def __init__(
        self,
        network: nn.Module,
        x: Scaling,
        law: Law,
        cross_section: CrossSectionPolynomial,
        reference: NDArray[np.float64],
    ) -> None:
        super().__init__()
        self.network, self.x, self.law = _Network(network), _Scaled(x), law
        self.terms = _Polynomials(law.components, law.scaling, law.matrix)
        # sigma(theta) / sigma(reference)
        relative = cross_section.coefficients / cross_section.values(reference[np.newaxis])
        unscaled = Scaling.none(len(reference))
        self.cross_section = _Polynomials(cross_section.components, unscaled, relative[:, np.newaxis])

    def forward(self, x: Tensor, theta: Tensor) -> Tensor:
        """Return log r at features x (..., n_features) and parameter points (..., n_par)."""
        features = self.x(x)
        outputs = self.network(features.reshape(-1, features.shape[-1]))
        shape, (outputs, terms) = _paired(outputs.reshape(*features.shape[:-1], -1), self.terms(theta))
        log_rho = self.law.ratio(outputs, terms).clamp_min(self.law.floor).log().reshape(shape)
        log_r: Tensor = log_rho - self.cross_section(theta)[..., 0].log()
        return log_r.to(_precision(x, theta))


class ScoreModule(nn.Module):
    """The score at the reference point by a network of the features."""

    def __init__(self, network: nn.Module, x: Scaling, score: Scaling) -> None:
        super().__init__()
        self.network, self.x, self.score = _Network(network), _Scaled(x), _Scaled(score)

    def forward(self, x: Tensor) -> Tensor:
        """Return the score, (..., n_par), at features x (..., n_features)."""
        shape, (rows,) = _paired(self.x(x))
        score: Tensor = self.network(rows) * self.score.scale
        return score.reshape(*shape, -1).to(x.dtype)


class DensityModule(nn.Module):
    """log p(x | theta) by a conditional flow."""

    def __init__(self, flow: nn.Module, x: Scaling, theta: Scaling) -> None:
        super().__init__()
        self.network, self.x, self.theta = _Network(flow), _Scaled(x), _Scaled(theta)

    def forward(self, x: Tensor, theta: Tensor) -> Tensor:
        """Return log p per unit of the features at x (..., n_features) and parameter points (..., n_par)."""
        shape, rows = _paired(self.theta(theta), self.x(x))
        # The scaled features have density p times d x / d v = scale.
        log_p: Tensor = self.network(*rows) - self.x.scale.log().sum()
        return log_p.reshape(shape).to(_precision(x, theta))


def _paired(*arrays: Tensor) -> tuple[torch.Size, list[Tensor]]:
    """Return the common shape of all but the last dimension, and the arrays as rows (n, k) of that many."""
    shape: torch.Size = torch.broadcast_shapes(*(values.shape[:-1] for values in arrays))  # type: ignore[no-untyped-call]
    return shape, [values.expand(*shape, -1).reshape(-1, values.shape[-1]) for values in arrays]


def _precision(first: Tensor, *others: Tensor) -> torch.dtype:
    dtype = first.dtype
    for other in others:
        dtype = torch.promote_types(dtype, other.dtype)
    return dtype
