"""Conditional normalising flows: densities p(x | theta) with free parameters.

A flow maps x to z = f(x; theta), feature by feature with the features before it as arguments, so that the Jacobian is
triangular: log p(x | theta) = log b(f(x; theta); theta) + log ``|det df/dx|``, with b the density of the base.

===========  ==========================================================================================================
``maf``      each feature is shifted and scaled (masked autoregressive flow, arXiv:1705.07057). Quick. Of one feature
             alone, a Gaussian base makes Gaussians.
``spline``   each feature goes through a monotonic rational-quadratic spline between -5 and +5 standard deviations
             (neural spline flow, arXiv:1906.04032), beyond which it stays as it is: for sharp edges and several peaks,
             not for long tails, whose logarithm is the better feature.
===========  ==========================================================================================================

The base is a standard Gaussian, or a mixture of Gaussians whose weights, means and widths depend on theta (as in MAF
MoG, arXiv:1705.07057, section 4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import zuko  # on import it turns off the validation of arguments in torch.distributions, for the whole process
from torch import Tensor, nn

from columnminer.errors import InputError, did_you_mean
from columnminer.learn.activations import activation

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BASES", "FLOWS", "ConditionalFlow"]

FLOWS = ("maf", "spline")
BASES = ("gaussian", "mixture")


class ConditionalFlow(nn.Module):
    """Density of features x at parameters theta, both as the network sees them (scaled).

    Parameters
    ----------
    n_features, n_parameters
        Numbers of columns of x and of theta.
    hidden, activation
        Of the networks that give the maps (and the mixture) from theta and the features before.
    flow
        "maf" or "spline", see above.
    base
        "gaussian" or "mixture".
    n_transforms
        Maps in a row; from one to the next the order of the features is reversed.
    n_components
        Gaussians of the mixture.
    n_bins
        Pieces of each spline.
    generator
        Draws the initial weights; the global state of torch is left as it is.

    Raises
    ------
    InputError
        If there is no such flow or base, or a number is not positive.
    UnknownNameError
        If there is no such activation.
    """

    def __init__(
        self,
        n_features: int,
        n_parameters: int,
        hidden: Sequence[int],
        *,
        flow: str = "maf",
        base: str = "gaussian",
        n_transforms: int = 3,
        n_components: int = 4,
        n_bins: int = 8,
        activation: str = "tanh",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        for what, name, known in (("flow", flow, FLOWS), ("base", base, BASES)):
            if name not in known:
                msg = f"there is no {what} {name!r}; there are {', '.join(known)}.{did_you_mean(name, known)}"
                raise InputError(msg)
        for what, n in (("n_transforms", n_transforms), ("n_components", n_components), ("n_bins", n_bins)):
            if n < 1:
                msg = f"{what} must be positive, not {n}"
                raise InputError(msg)
        networks: dict[str, Any] = {"hidden_features": tuple(hidden), "activation": lambda: _Elementwise(activation)}
        size: dict[str, Any] = {"features": n_features, "context": n_parameters}
        with torch.random.fork_rng(devices=[]):  # zuko draws initial weights of its own, which are drawn again below
            if flow == "maf":
                self.flow = zuko.flows.MAF(**size, transforms=n_transforms, **networks)
            else:
                self.flow = zuko.flows.NSF(**size, transforms=n_transforms, bins=n_bins, **networks)
            if base == "mixture":
                self.flow.base = zuko.mixtures.GMM(
                    **size, components=n_components, covariance_type="diagonal", **networks
                )
        _initialise(self.flow, generator)

    def forward(self, theta: Tensor, x: Tensor) -> Tensor:
        """Return the log densities, (n,), of x (n, n_features) at theta (n, n_parameters)."""
        log_density: Tensor = self.flow(theta).log_prob(x)
        return log_density

    def value_and_score(self, theta: Tensor, x: Tensor, *, trainable: bool) -> tuple[Tensor, Tensor]:
        """Return the log densities (n,) and their gradients with respect to theta (n, n_parameters).

        With `trainable`, both can be trained on.
        """
        with torch.enable_grad():
            theta = theta.detach().requires_grad_()
            log_density = self(theta, x)
            (score,) = torch.autograd.grad(log_density.sum(), theta, create_graph=trainable)
        return log_density if trainable else log_density.detach(), score


class _Elementwise(nn.Module):
    """One of our activation functions as a layer."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.activation = activation(name)

    def extra_repr(self) -> str:
        return self.name

    def forward(self, a: Tensor) -> Tensor:
        return self.activation.value(a)


def _initialise(flow: nn.Module, generator: torch.Generator | None) -> None:
    """Draw the weights and biases of all layers uniformly in +-1 / sqrt(fan in), as `networks.MLP` does."""
    with torch.no_grad():
        for layer in flow.modules():
            if isinstance(layer, nn.Linear | zuko.nn.Linear):
                bound = layer.weight.shape[-1] ** -0.5
                for parameter in layer.parameters(recurse=False):
                    parameter.uniform_(-bound, bound, generator=generator)
