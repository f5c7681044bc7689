"""Activation functions with what the score of a network needs of them: their first and second derivative.

Both follow from the activation's own value h = s(a), so that nothing but h has to be kept: the slope s'(a), and the
bend k with s''(a) = k s'(a). For tanh, s' = 1 - h^2 and k = -2h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from columnminer.errors import UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ACTIVATIONS", "Activation", "activation"]

_LEAK = 0.01
_MEAN_LEAK = (1 / 8 + 1 / 3) / 2
_SELU_SCALE = 1.0507009873554804934193349852946
_SELU_ALPHA = 1.6732632423543772848170429916717


@dataclass(frozen=True)
class Activation:
    """An elementwise function h = s(a).

    Attributes
    ----------
    value : callable
        a -> h.
    slope : callable
        h -> s'(a).
    bend : callable or None
        h -> s''(a) / s'(a); None where it is zero almost everywhere.
    """

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    bend: Callable[[Tensor], Tensor] | None = None


def _leaky(leak: float) -> Activation:
    return Activation(lambda a: functional.leaky_relu(a, leak), lambda h: 1.0 - (1.0 - leak) * _below(h))


def _below(h: Tensor) -> Tensor:
    return (h <= 0).to(h.dtype)


ACTIVATIONS: dict[str, Activation] = {
    "tanh": Activation(torch.tanh, lambda h: 1.0 - h * h, lambda h: -2.0 * h),
    "sigmoid": Activation(torch.sigmoid, lambda h: h * (1.0 - h), lambda h: 1.0 - 2.0 * h),
    "relu": Activation(torch.relu, lambda h: (h > 0).to(h.dtype)),
    "lrelu": _leaky(_LEAK),
    "rrelu": _leaky(_MEAN_LEAK),
    "elu": Activation(functional.elu, lambda h: 1.0 + h.clamp(max=0.0), _below),
    "selu": Activation(
        functional.selu,
        lambda h: _SELU_SCALE * (h > 0).to(h.dtype) + (h + _SELU_SCALE * _SELU_ALPHA) * _below(h),
        _below,
    ),
    "softplus": Activation(functional.softplus, lambda h: -torch.expm1(-h), lambda h: torch.exp(-h)),
    "log_sigmoid": Activation(functional.logsigmoid, lambda h: -torch.expm1(h), lambda h: -torch.exp(h)),
}
"""Name -> Activation: MadMiner's, but for "prelu", whose leak is learned by `networks.MLP`.

The leak of "rrelu" is the mean of the range that its inventors draw from, as in MadMiner, which never draws."""


def activation(name: str) -> Activation:
    """Return the activation called `name`.

    Raises
    ------
    UnknownNameError
        If there is none of that name.
    """
    if name not in ACTIVATIONS:
        msg = f"no activation is called {name!r}.{did_you_mean(name, ACTIVATIONS)}"
        raise UnknownNameError(msg)
    return ACTIVATIONS[name]
