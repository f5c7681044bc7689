"""How a training tells how far it is: a bar on terminals and in notebooks, log lines, or a function of yours."""

from __future__ import annotations

import logging
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from columnminer.bars import bar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["EpochReport", "Progress", "reporter"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EpochReport:
    """Where a training stands.

    Attributes
    ----------
    epoch, epochs : int
        Epochs done, epochs in all.
    train_loss, validation_loss : float
        Losses of the last epoch.
    learning_rate : float
        At its end.
    """

    epoch: int
    epochs: int
    train_loss: float
    validation_loss: float
    learning_rate: float

    def __str__(self) -> str:
        return f"train loss {self.train_loss:.5f}, validation loss {self.validation_loss:.5f}"


Progress: TypeAlias = "bool | Callable[[EpochReport], None]"


@contextmanager
def reporter(progress: Progress, title: str, epochs: int) -> Iterator[Callable[[EpochReport], None]]:
    """Give a function to call after each epoch, which shows the progress as asked for.

    Parameters
    ----------
    progress
        False: debug log only; True: a bar on a terminal and in a notebook, else an info log line about every tenth of
        the epochs; or the function to call.
    title
        Name of the training.
    epochs
        Epochs in all.
    """
    if callable(progress):
        yield progress
        return
    step = max(epochs // 10, 1)
    with bar(title, epochs) if progress else nullcontext() as move:

        def show(report: EpochReport) -> None:
            if move is not None:
                move(report.epoch, str(report))
                return
            due = progress and (report.epoch % step == 0 or report.epoch == epochs)
            level = logging.INFO if due else logging.DEBUG
            logger.log(level, "%s: epoch %d of %d, %s", title, report.epoch, epochs, report)

        yield show
