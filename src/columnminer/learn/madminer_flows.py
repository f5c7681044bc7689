"""MadMiner's conditional flow, evaluated here: a masked autoregressive flow whose last map may be a mixture.

MadMiner (0.9) stacks MADEs (arXiv:1502.03509): each gives every feature a mean m and a log precision q from theta and
the features before it, and maps x to u = exp(q / 2) (x - m). The base is a standard Gaussian, or one more MADE that
gives each feature a mixture of Gaussians (arXiv:1705.07057, section 4). All maps take the features in the same order.
The weights that a mask takes away are stored as zeros, so that each MADE is an ordinary perceptron here.
"""

from __future__ import annotations

from itertools import pairwise
from math import log, pi
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor, nn

from columnminer.errors import MissingError
from columnminer.learn.densities import DensityEstimator
from columnminer.learn.flows import ConditionalFlow
from columnminer.learn.networks import MLP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from columnminer.learn.madminer_files import Layers

__all__ = ["MadMinerDensityEstimator", "MaskedFlow", "masked_layers", "masked_shapes"]


class MaskedFlow(ConditionalFlow):
    """Density of features x at parameters theta, both as the network sees them (scaled).

    Parameters
    ----------
    n_features, n_parameters
        Numbers of columns of x and of theta.
    hidden, activation
        Of each MADE.
    n_mades
        Number of MADEs, with that of the mixture.
    n_components
        Gaussians of the mixture; 1: a standard Gaussian is the base.
    """

    def __init__(
        self,
        n_features: int,
        n_parameters: int,
        hidden: Sequence[int],
        *,
        n_mades: int,
        n_components: int,
        activation: str,
    ) -> None:
        nn.Module.__init__(self)  # not ConditionalFlow's, which makes maps of another form
        self.n_features = n_features
        self.n_components = n_components
        unused = torch.Generator()  # initial weights, which are overwritten: the global state of torch is left as it is
        n_outputs = [2 * n_features] * n_mades
        if n_components > 1:
            n_outputs[-1] = 3 * n_features * n_components
        self.mades = nn.ModuleList(
            MLP(n_parameters + n_features, n, hidden, activation=activation, generator=unused) for n in n_outputs
        )

    def forward(self, theta: Tensor, x: Tensor) -> Tensor:
        """Return the log densities, (n,), of x (n, n_features) at theta (n, n_parameters)."""
        maps, mixture = (self.mades[:-1], self.mades[-1]) if self.n_components > 1 else (self.mades, None)
        jacobian = torch.zeros_like(x)
        for made in maps:
            mean, log_precision = made(torch.cat((theta, x), dim=1)).chunk(2, dim=1)
            x = torch.exp(0.5 * log_precision) * (x - mean)
            jacobian = jacobian + 0.5 * log_precision
        if mixture is None:
            base = -0.5 * x**2
        else:
            outputs = mixture(torch.cat((theta, x), dim=1)).view(len(x), 3, self.n_features, self.n_components)
            mean, log_precision, log_odds = outputs.unbind(dim=1)
            pull = torch.exp(0.5 * log_precision) * (x[:, :, None] - mean)
            base = torch.logsumexp(log_odds.log_softmax(dim=2) + 0.5 * log_precision - 0.5 * pull**2, dim=2)
        return (base + jacobian - 0.5 * log(2.0 * pi)).sum(dim=1)


class MadMinerDensityEstimator(DensityEstimator):
    """A density estimator that MadMiner has trained, from `import_madminer_estimator`; `n_transforms` counts MADEs."""

    def fit(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: training would not keep the masked weights at zero.

        Raises
        ------
        MissingError
            Always.
        """
        msg = "a density that MadMiner has trained cannot be trained further here: train a DensityEstimator"
        raise MissingError(msg)

    def _saved_network(self, document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> MaskedFlow:  # noqa: ARG002
        return self.masked_flow(len(document["feature_names"]), len(document["parameter_names"]))

    def masked_flow(self, n_features: int, n_parameters: int) -> MaskedFlow:
        """Return a flow of these settings, with weights still to be loaded."""
        flow = MaskedFlow(
            n_features,
            n_parameters,
            self.hidden,
            n_mades=self.n_transforms,
            n_components=self.n_components,
            activation=self.activation,
        )
        return flow.to(self.device)


def masked_shapes(
    n_features: int, n_parameters: int, hidden: Sequence[int], n_mades: int, n_components: int
) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the tensors in MadMiner's state dict of a flow."""
    shapes: dict[str, tuple[int, ...]] = {}
    for prefix, outputs, each in _mades(n_mades, n_components):
        shapes[f"{prefix}.Wx"] = (n_parameters, hidden[0])
        for i, (n_in, n_out) in enumerate(pairwise((n_features, *hidden))):
            shapes |= {f"{prefix}.Ws.{i}": (n_in, n_out), f"{prefix}.bs.{i}": (n_out,)}
        for output in outputs:
            shapes[f"{prefix}.W{output}"] = (hidden[-1], n_features, *each)
            shapes[f"{prefix}.b{output}"] = (1, n_features, *each) if each else (n_features,)
    return shapes


def masked_layers(
    tensors: Mapping[str, Tensor], n_features: int, hidden: Sequence[int], n_mades: int, n_components: int
) -> list[Layers]:
    """Return the weights (in, out) and biases of the layers of each MADE, which takes (theta, x), masks applied.

    A unit of degree d may see features up to d, and feature d is given by units of degrees below d. Hidden units have
    the degrees 1 to n_features - 1 in turn (0, so that they see theta alone, where there is just one feature).
    """
    features = torch.arange(1, n_features + 1)
    degrees = [features, *(torch.arange(n) % max(1, n_features - 1) + min(1, n_features - 1) for n in hidden)]
    masks = [before[:, None] <= after for before, after in pairwise(degrees)]
    last_mask = degrees[-1][:, None] < features
    mades = []
    for prefix, outputs, each in _mades(n_mades, n_components):
        layers = [(mask * tensors[f"{prefix}.Ws.{i}"], tensors[f"{prefix}.bs.{i}"]) for i, mask in enumerate(masks)]
        weight, bias = layers[0]
        layers[0] = (torch.cat((tensors[f"{prefix}.Wx"], weight)), bias)
        mask = last_mask[:, :, None] if each else last_mask
        weights = [(mask * tensors[f"{prefix}.W{output}"]).flatten(start_dim=1) for output in outputs]
        biases = [tensors[f"{prefix}.b{output}"].flatten() for output in outputs]
        mades.append([*layers, (torch.cat(weights, dim=1), torch.cat(biases))])
    return mades


def _mades(n_mades: int, n_components: int) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Yield each MADE's name, its outputs (mean, log precision, log odds), and what they are for each feature."""
    n_maps = n_mades if n_components == 1 else n_mades - 1
    for i in range(n_maps):
        yield f"mades.{i}", "mp", ()
    if n_components > 1:
        yield "made_mog", "mpa", (n_components,)
