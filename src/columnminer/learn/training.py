"""The training loop: mini-batches, early stopping, history, checkpoints.

One path for CPU and CUDA. All randomness (order of the events, dropout) comes from generators that belong to the seed
and the epoch, so that a training is repeated by its seed and goes on from a checkpoint as if it had never stopped.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from columnminer.errors import ColumnMinerWarning, InputError
from columnminer.learn.checkpoints import Checkpoint
from columnminer.learn.history import History
from columnminer.learn.progress import EpochReport, reporter
from columnminer.streams import key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from columnminer.learn.loaders import Batch, TensorData
    from columnminer.learn.options import TrainingOptions
    from columnminer.learn.progress import Progress
    from columnminer.streams import Seed

__all__ = ["Objective", "evaluate", "generator", "train"]

logger = logging.getLogger(__name__)

_SMALL_STEP = 2**18
"""Events of a batch times units of a layer, up to which one thread does the step."""

_JUDGE_BATCH = 16_384
"""Events in a batch when losses are only evaluated: small enough to stay in the cache, large enough to cost nothing."""


class Objective(Protocol):
    """What is minimised: a batch -> the named terms of the loss, whose sum it is.

    A batch has the columns ``inputs`` and whatever else the loss needs. `noise` is the generator of dropout masks in
    training, None in validation.
    """

    def __call__(self, batch: Batch, noise: torch.Generator | None) -> dict[str, Tensor]:
        """Return name -> scalar."""


def generator(seed: Seed, *path: int | str) -> torch.Generator:
    """Return the torch generator (on the CPU) of the stream that `path` names under `seed`."""
    return torch.Generator().manual_seed(key(seed, *path) >> 1)


class _Terms:
    """Sums of the terms of a loss over batches; on the device, so that no step waits for a number."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._n = 0

    def add(self, terms: dict[str, Tensor], n: int) -> None:
        for name, term in terms.items():
            share = term.detach().double() * n
            self._sums[name] = self._sums[name] + share if name in self._sums else share
        self._n += n

    def means(self) -> dict[str, float]:
        return {name: float(total) / self._n for name, total in self._sums.items()}


@dataclass
class _State:
    """What a training has reached: losses by epoch, and the weights to keep."""

    train: list[dict[str, float]] = field(default_factory=list)
    validation: list[dict[str, float]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    best_epoch: int = -1
    seconds: float = 0.0
    best: dict[str, Tensor] = field(default_factory=dict)

    def improves(self, loss: float) -> bool:
        return self.best_epoch < 0 or loss < sum(self.validation[self.best_epoch].values())

    def keep(self, network: nn.Module) -> None:
        self.best_epoch = len(self.train) - 1
        self.best = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    def document(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "best"}

    def history(self) -> History:
        def columns(rows: list[dict[str, float]]) -> dict[str, NDArray[np.float64]]:
            return {name: np.array([row[name] for row in rows]) for name in rows[0]}

        def totals(rows: list[dict[str, float]]) -> NDArray[np.float64]:
            return np.array([sum(row.values()) for row in rows])

        return History(
            train_loss=totals(self.train),
            validation_loss=totals(self.validation),
            train_terms=columns(self.train),
            validation_terms=columns(self.validation),
            learning_rate=np.array(self.rates),
            best_epoch=self.best_epoch,
            seconds=self.seconds,
        )


def evaluate(objective: Objective, data: TensorData) -> dict[str, float]:
    """Return the mean of each term of the loss over the data."""
    terms = _Terms()
    with torch.no_grad():
        for batch in data.batches(_JUDGE_BATCH):
            terms.add(objective(batch, None), len(batch["inputs"]))
    return terms.means()


def train(
    network: nn.Module,
    objective: Objective,
    data: TensorData,
    validation: TensorData,
    options: TrainingOptions,
    *,
    seed: Seed = 0,
    progress: Progress = False,
    title: str = "training",
    checkpoint: str | Path | None = None,
    identity: Mapping[str, object] | None = None,
) -> History:
    """Train the parameters of `network` in place, so that `objective` becomes small, and return the history.

    Parameters
    ----------
    network
        Its parameters are trained; `objective` calls it.
    objective
        Batch -> terms of the loss.
    data, validation
        On the device of the network.
    options
        See `TrainingOptions`.
    seed
        Of the order of events and of dropout.
    progress
        True: a progress bar on a terminal, log lines elsewhere; or a function of an `EpochReport`.
    title
        What to call the training there.
    checkpoint
        File to write after each epoch, to go on from if it exists, and to remove when the training is finished.
    identity
        What else than options, seed and sizes makes the training what it is: a checkpoint of another one is refused.

    Raises
    ------
    InputError
        If the loss is not finite in the first epoch, or the checkpoint belongs to another training.

    Warns
    -----
    ColumnMinerWarning
        If the loss stops being finite later: the training ends with the weights that were best.
    """
    stream = key(seed, "train")
    optimiser = options.make_optimiser(network.parameters())
    state = _State()
    saved = None
    if checkpoint is not None:
        sizes = [list(p.shape) for p in network.parameters()] + [len(data), len(validation)]
        saved = Checkpoint(checkpoint, {"options": repr(options), "seed": stream, "sizes": sizes, **(identity or {})})
        if saved.exists():
            best, document = saved.load(network, optimiser)
            state = _State(**document, best=best)
            logger.info("%s goes on after epoch %d from %s", title, len(state.train), checkpoint)
    started = time.perf_counter() - state.seconds
    with reporter(progress, title, options.epochs) as report, _threads(network, options.batch_size):
        for epoch in range(len(state.train), options.epochs):
            terms, rate = _epoch(network, objective, data, options, optimiser, epoch=epoch, stream=stream)
            judged = evaluate(objective, validation)
            loss, judged_loss = sum(terms.values()), sum(judged.values())
            if not math.isfinite(loss + judged_loss):
                _diverged(title, epoch)
                break
            better = state.improves(judged_loss)
            state.train.append(terms)
            state.validation.append(judged)
            state.rates.append(rate)
            state.seconds = time.perf_counter() - started
            if better or not options.early_stopping:
                state.keep(network)
            if saved is not None:
                saved.save(network, optimiser, state.best, state.document())
            report(EpochReport(epoch + 1, options.epochs, loss, judged_loss, rate))
            if options.early_stopping and options.patience and epoch - state.best_epoch >= options.patience:
                logger.info("%s stops after epoch %d: no better for %d epochs", title, epoch + 1, options.patience)
                break
    network.load_state_dict(state.best)
    if saved is not None:
        saved.remove()
    return state.history()


@contextmanager
def _threads(network: nn.Module, batch_size: int) -> Iterator[None]:
    """Train on one thread where steps are too small to share: then neither speed nor bits depend on how many there are.

    Two threads would be a third faster on idle cores, but wait for each other for milliseconds where cores are busy.
    """
    threads = torch.get_num_threads()
    widest = max(p.shape[-1] for p in network.parameters())
    if batch_size * widest <= _SMALL_STEP:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _epoch(
    network: nn.Module,
    objective: Objective,
    data: TensorData,
    options: TrainingOptions,
    optimiser: torch.optim.Optimizer,
    *,
    epoch: int,
    stream: int,
) -> tuple[dict[str, float], float]:
    """Take all steps of one epoch; return the mean terms of the loss and the last learning rate."""
    size = min(options.batch_size, len(data))
    n_steps = len(data) // size
    noise = generator(stream, "dropout", epoch)
    sums = _Terms()
    rate = options.learning_rate
    for step, batch in enumerate(data.batches(size, generator(stream, "order", epoch))):
        rate = options.rate(epoch, (epoch + step / n_steps) / options.epochs)
        optimiser.param_groups[0]["lr"] = rate
        terms = objective(batch, noise)
        optimiser.zero_grad(set_to_none=True)
        sum(terms.values(), torch.zeros((), device=data.device)).backward()  # type: ignore[no-untyped-call]
        if options.clip_gradient is not None:
            torch.nn.utils.clip_grad_norm_(network.parameters(), options.clip_gradient)
        optimiser.step()
        sums.add(terms, size)
    return sums.means(), rate


def _diverged(title: str, epoch: int) -> None:
    msg = f"{title}: the loss is not finite in epoch {epoch + 1}; lower learning_rate, or set clip_gradient"
    if epoch == 0:
        raise InputError(msg)
    warnings.warn(f"{msg}. The best weights so far are kept.", ColumnMinerWarning, stacklevel=4)
