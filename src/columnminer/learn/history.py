"""What a training leaves behind beside the weights: its losses, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["History"]


@dataclass(frozen=True)
class History:
    """Losses by epoch.

    Attributes
    ----------
    train_loss, validation_loss : numpy.ndarray
        (n_epochs,) mean over the events; the training loss is taken while the weights still move.
    train_terms, validation_terms : dict
        name -> (n_epochs,): the terms whose sum the loss is.
    learning_rate : numpy.ndarray
        (n_epochs,) at the end of the epoch.
    best_epoch : int
        Epoch, counted from 0, whose weights were kept.
    seconds : float
        Time spent training.
    """

    train_loss: NDArray[np.float64]
    validation_loss: NDArray[np.float64]
    train_terms: dict[str, NDArray[np.float64]]
    validation_terms: dict[str, NDArray[np.float64]]
    learning_rate: NDArray[np.float64]
    best_epoch: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the history as plain numbers and lists."""

        def plain(value: object) -> object:
            if isinstance(value, dict):
                return {k: plain(v) for k, v in value.items()}
            return value.tolist() if isinstance(value, np.ndarray) else value

        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> History:
        """Return the history that `to_dict` wrote."""

        def arrays(value: object) -> Any:
            if isinstance(value, dict):
                return {k: arrays(v) for k, v in value.items()}
            return np.asarray(value, dtype=np.float64) if isinstance(value, list) else value

        given: dict[str, Any] = {f.name: arrays(document[f.name]) for f in fields(cls)}
        numbers = isinstance(given["best_epoch"], int) and isinstance(given["seconds"], int | float)
        losses = (given["train_loss"], given["validation_loss"])
        if not numbers or not all(isinstance(loss, np.ndarray) and loss.ndim == 1 for loss in losses):
            msg = "the losses of a history are lists of numbers, its best epoch and seconds are numbers"
            raise ValueError(msg)
        return cls(**given)
