"""How to train: epochs, batches, optimiser, learning-rate schedule, early stopping."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from columnminer.errors import InputError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import nn

__all__ = ["TrainingOptions"]

# The fused kernels update all parameters in one call, which on small networks saves more time than a layer costs.
_OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": partial(torch.optim.Adam, fused=True),
    "amsgrad": partial(torch.optim.Adam, amsgrad=True, fused=True),
    "adamw": partial(torch.optim.AdamW, fused=True),
    "sgd": partial(torch.optim.SGD, momentum=0.9, fused=True),
    "nesterov": partial(torch.optim.SGD, momentum=0.9, nesterov=True, fused=True),
}
_SCHEDULES = ("one_cycle", "exponential", "constant")
_POSITIVE = ("epochs", "batch_size", "learning_rate", "final_learning_rate", "patience", "clip_gradient", "memory")
_WARM_UP = 0.3
_START = 1.0 / 25.0
_END = 1e-4


@dataclass(frozen=True)
class TrainingOptions:
    """How to train; the defaults suit some 10^5 to 10^6 events.

    Attributes
    ----------
    epochs : int
        Passes over the training events.
    batch_size : int
        Events in a step.
    optimiser : str
        "adam", "amsgrad", "adamw", "sgd" (momentum 0.9) or "nesterov".
    learning_rate : float
        Largest learning rate.
    final_learning_rate : float or None
        Learning rate at the end; None: a ten-thousandth ("one_cycle") or a tenth ("exponential") of `learning_rate`.
    schedule : str
        "one_cycle": cosine up during the first 30 % of the steps, then cosine down (arXiv:1708.07120);
        "exponential": falls by a constant factor from epoch to epoch, as in MadMiner; "constant".
    validation_fraction : float
        Share of the events that only judge, if no validation sample is given.
    early_stopping : bool
        Keep the weights of the epoch with the smallest validation loss (else those of the last epoch).
    patience : int or None
        With early stopping, end after so many epochs without improvement; None: run all epochs.
    clip_gradient : float or None
        Largest norm of the gradient of a step.
    weight_decay : float
        L2 penalty (decoupled for "adamw").
    memory : float or None
        Bytes that the training data may take on the device; where they need more, they are streamed from the store in
        a shuffled order. None: half of what is free.

    Raises
    ------
    InputError
        If a value is out of its range.
    """

    epochs: int = 10
    batch_size: int = 1024
    optimiser: str = "adam"
    learning_rate: float = 0.01
    final_learning_rate: float | None = None
    schedule: str = "one_cycle"
    validation_fraction: float = 0.1
    early_stopping: bool = True
    patience: int | None = None
    clip_gradient: float | None = None
    weight_decay: float = 0.0
    memory: float | None = None

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and not value > 0:
                msg = f"{name} must be positive, not {value!r}"
                raise InputError(msg)
        if not 0.0 < self.validation_fraction < 1.0:
            msg = f"validation_fraction must lie between 0 and 1, not {self.validation_fraction!r}"
            raise InputError(msg)
        for name, known in (("optimiser", _OPTIMISERS), ("schedule", _SCHEDULES)):
            value = getattr(self, name)
            if value not in known:
                msg = f"there is no {name} {value!r}.{did_you_mean(value, known)}"
                raise InputError(msg)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> TrainingOptions:
        """Return the options given by name.

        Raises
        ------
        UnknownNameError
            If there is no option of a name.
        InputError
            If a value is out of its range.
        """
        known = [f.name for f in fields(cls)]
        for name in options:
            if name not in known:
                msg = f"training has no option {name!r}.{did_you_mean(name, known)}"
                raise UnknownNameError(msg)
        return cls(**options)

    def make_optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return a fresh optimiser of these parameters."""
        return _OPTIMISERS[self.optimiser](parameters, lr=self.learning_rate, weight_decay=self.weight_decay)

    def rate(self, epoch: int, fraction: float) -> float:
        """Return the learning rate in an epoch (counted from 0), after a fraction of all steps of the training."""
        peak, final = self.learning_rate, self.final_learning_rate
        if self.schedule == "one_cycle":
            if fraction < _WARM_UP:
                return _cosine(_START * peak, peak, fraction / _WARM_UP)
            return _cosine(peak, _END * peak if final is None else final, (fraction - _WARM_UP) / (1.0 - _WARM_UP))
        if self.schedule == "exponential":
            end = 0.1 * peak if final is None else final
            return float(peak * (end / peak) ** (epoch / max(self.epochs - 1, 1)))
        return peak


def _cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) * (1.0 + math.cos(math.pi * fraction)) / 2.0
