"""The network behind the estimators: a multilayer perceptron that also gives its own gradient, and trains on both.

Losses such as ALICES contain the gradient of the network's output with respect to theta, and training needs the gradient
of *that*. `MLP.value_and_gradient` writes both passes out in closed form (reverse over reverse). Measured on batches of
1024 with two hidden layers of 60 and two parameters, one core, a whole training step with Adam takes 1.3 ms this way,
1.9 ms by double backward and 2.3 ms by forward tangents; on batches of 128 it takes 0.36, 0.76 and 0.81 ms.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from columnminer.errors import InputError
from columnminer.learn.activations import Activation, activation

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MLP"]


class MLP(nn.Module):
    """Multilayer perceptron: h_{l+1} = s(h_l W_l + b_l), linear in the last layer.

    Initial weights and biases are uniform in +-1 / sqrt(fan in) (LeCun et al., Efficient BackProp, 1998).

    Parameters
    ----------
    n_in, n_out
        Numbers of inputs and outputs.
    hidden
        Widths of the hidden layers.
    activation
        Name of the activation s; see `columnminer.learn.activations`.
    dropout
        Probability with which a hidden unit is left out of a training step.
    generator
        Draws the initial weights; the global state of torch is not used.

    Raises
    ------
    InputError
        If a width is not positive or `dropout` is not in [0, 1).
    UnknownNameError
        If there is no such activation.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        hidden: Sequence[int],
        *,
        activation: str = "tanh",
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        sizes = (n_in, *hidden, n_out)
        if any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in sizes):
            msg = f"layers need a positive number of units, but the sizes are {sizes}"
            raise InputError(msg)
        if not 0.0 <= dropout < 1.0:
            msg = f"dropout is a probability in [0, 1), not {dropout!r}"
            raise InputError(msg)
        self.activation: Activation = _activation(activation)
        self.dropout = dropout
        self.weights = nn.ParameterList(_uniform((i, o), i, generator) for i, o in pairwise(sizes))
        self.biases = nn.ParameterList(_uniform((o,), i, generator) for i, o in pairwise(sizes))

    def forward(self, inputs: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
        """Return the outputs, (n, n_out), for inputs (n, n_in); `masks` from `dropout_masks`."""
        h = inputs
        for layer, (weight, bias) in enumerate(zip(self.weights[:-1], self.biases[:-1], strict=True)):
            h = self.activation.value(torch.addmm(bias, h, weight))
            if masks is not None:
                h = h * masks[layer]
        return torch.addmm(self.biases[-1], h, self.weights[-1])

    def value_and_gradient(
        self, inputs: Tensor, n_gradient: int, masks: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the single output and its gradient with respect to the first inputs; both can be trained on.

        Parameters
        ----------
        inputs
            (n, n_in).
        n_gradient
            Number of leading inputs to derive for.
        masks
            From `dropout_masks`.

        Returns
        -------
        value : Tensor
            (n,).
        gradient : Tensor
            (n, n_gradient).
        """
        kept = () if masks is None else tuple(masks)
        outputs = _ValueAndGradient.apply(
            self.activation, 1.0 - self.dropout, n_gradient, kept, inputs, *self.weights, *self.biases
        )
        value, gradient = outputs
        return value, gradient

    def dropout_masks(self, n: int, generator: torch.Generator) -> tuple[Tensor, ...] | None:
        """Return a mask (n, width) for each hidden layer, 1 / (1 - dropout) where a unit stays; None without dropout."""
        if self.dropout == 0.0:
            return None
        keep = 1.0 - self.dropout
        return tuple(
            (torch.rand((n, w.shape[1]), generator=generator, device=w.device, dtype=w.dtype) < keep) / keep
            for w in self.weights[:-1]
        )


_activation = activation  # the argument of MLP has the same name


def _uniform(shape: tuple[int, ...], fan_in: int, generator: torch.Generator | None) -> nn.Parameter:
    bound = fan_in**-0.5
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound, generator=generator))


class _ValueAndGradient(torch.autograd.Function):
    """Value v and input gradient t of a perceptron with one output, with the derivative of both.

    Forward: a_l = h_{l-1} W_{l-1} + b_{l-1}, h_l = s(a_l), v = h_L W_L + b_L; then backwards g_L = s'(a_L) W_L,
    q_l = g_{l+1} W_l^T, g_l = s'(a_l) q_l, t = g_1 W_0^T. Backward of the score runs forwards through the g_l and leaves
    at each layer the derivative e_l with respect to the slope, which enters the usual backward pass through
    d s'(a) / da = k s'(a): da_l = s'(a_l) (dh_l + k_l e_l).
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch attaches attributes to its context
        act: Activation,
        keep: float,
        n_gradient: int,
        masks: tuple[Tensor, ...],
        inputs: Tensor,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        n_layers = len(parameters) // 2
        weights, biases = parameters[:n_layers], parameters[n_layers:]
        hs, slopes = [inputs], []
        for layer in range(n_layers - 1):
            h = act.value(torch.addmm(biases[layer], hs[-1], weights[layer]))
            slope = act.slope(h)
            if masks:
                h, slope = h * masks[layer], slope * masks[layer]
            hs.append(h)
            slopes.append(slope)
        value = torch.addmm(biases[-1], hs[-1], weights[-1])[:, 0]

        qs = [weights[-1][:, 0].expand_as(hs[-1])]
        gs = []
        for layer in range(n_layers - 1, 0, -1):
            gs.append(slopes[layer - 1] * qs[-1])
            if layer > 1:
                qs.append(gs[-1] @ weights[layer - 1].T)
        gs.reverse()
        qs.reverse()
        first = gs[0] if gs else qs[0].new_ones((len(inputs), 1))
        gradient = first @ weights[0][:n_gradient].T

        ctx.act, ctx.keep, ctx.masked, ctx.n_gradient = act, keep, bool(masks), n_gradient
        ctx.save_for_backward(*weights, *hs, *slopes, *qs, *gs)
        ctx.n_layers = n_layers
        return value, gradient
