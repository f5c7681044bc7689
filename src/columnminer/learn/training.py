"""The training loop: mini-batches, early stopping, history, checkpoints, for one network or stacked ones.

One path for CPU and CUDA. All randomness (order of the events, dropout) comes from generators that belong to the seed
and the epoch, so that a training is repeated by its seed and goes on from a checkpoint as if it had never stopped.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from columnminer.errors import ColumnMinerWarning, InputError
from columnminer.learn.checkpoints import Checkpoint
from columnminer.learn.history import History
from columnminer.learn.loaders import generator
from columnminer.learn.progress import EpochReport, reporter
from columnminer.streams import key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from columnminer.learn.loaders import Batch, Data, Generators
    from columnminer.learn.options import TrainingOptions
    from columnminer.learn.progress import Progress
    from columnminer.streams import Seed

__all__ = ["Objective", "evaluate", "train"]

logger = logging.getLogger(__name__)

_SMALL_STEP = 2**18
"""Events of a batch times units of a layer, up to which one thread does the step."""

_JUDGE_BATCH = 16_384
"""Events in a batch when losses are only evaluated: small enough to stay in the cache, large enough to cost nothing."""


class Objective(Protocol):
    """What is minimised: a batch -> the named terms of the loss, whose sum it is.

    A batch has the columns ``inputs`` and whatever else the loss needs. `noise` is the generator of dropout masks in
    training (one for each stacked network), None in validation.
    """

    def __call__(self, batch: Batch, noise: Generators | None) -> dict[str, Tensor]:
        """Return name -> scalar, or (n_members,) where networks are stacked."""


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

    def means(self) -> list[dict[str, float]]:
        """Return the mean terms of each network."""
        columns = {name: (total / self._n).reshape(-1).tolist() for name, total in self._sums.items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@dataclass
class _Record:
    """What the training of one network has reached: losses by epoch, and which weights were best."""

    train: list[dict[str, float]] = field(default_factory=list)
    validation: list[dict[str, float]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    best_epoch: int = -1
    seconds: float = 0.0
    ended: bool = False

    def improves(self, loss: float) -> bool:
        return self.best_epoch < 0 or loss < sum(self.validation[self.best_epoch].values())

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


class _Best:
    """The weights to keep, of one network or of stacked ones."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self.weights = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    def keep(self, member: int | None) -> None:
        """Keep the present weights of one of the stacked networks, or of the only one."""
        for name, tensor in self._network.state_dict().items():
            into = self.weights[name] if member is None else self.weights[name][member]
            into.copy_(tensor if member is None else tensor[member])


def evaluate(objective: Objective, data: Data) -> list[dict[str, float]]:
    """Return the mean of each term of the loss over the data, for each network."""
    terms = _Terms()
    with torch.no_grad():
        for batch in data.batches(_JUDGE_BATCH):
            terms.add(objective(batch, None), batch["inputs"].shape[-2])
    return terms.means()


def train(
    network: nn.Module,
    objective: Objective,
    data: Data,
    validation: Data,
    options: TrainingOptions,
    *,
    seeds: Sequence[Seed] = (0,),
    progress: Progress = False,
    title: str = "training",
    checkpoint: str | Path | None = None,
    identity: Mapping[str, object] | None = None,
) -> list[History]:
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
    seeds
        Of the order of events and of dropout: one, or one for each network where several are stacked.
    progress
        True: a progress bar on a terminal, log lines elsewhere; or a function of an `EpochReport`.
    title
        What to call the training there.
    checkpoint
        File to write after each epoch, to go on from if it exists, and to remove when the training is finished.
    identity
        What else than options, seeds and sizes makes the training what it is: a checkpoint of another one is refused.

    Returns
    -------
    list of History
        One for each network.

    Raises
    ------
    InputError
        If the loss is not finite in the first epoch, or the checkpoint belongs to another training.

    Warns
    -----
    ColumnMinerWarning
        If the loss stops being finite later: the training ends with the weights that were best.
    """
    streams = [key(seed, "train") for seed in seeds]
    members: list[int | None] = [None] if getattr(network, "members", None) is None else list(range(len(seeds)))
    optimiser = options.make_optimiser(network.parameters())
    records, best = [_Record() for _ in members], _Best(network)
    saved = None
    if checkpoint is not None:
        sizes = [list(p.shape) for p in network.parameters()] + [len(data), len(validation)]
        saved = Checkpoint(checkpoint, {"options": repr(options), "seed": streams, "sizes": sizes, **(identity or {})})
        if saved.exists():
            best.weights, document = saved.load(network, optimiser)
            records = [_Record(**record) for record in document["networks"]]
            logger.info("%s goes on after epoch %d from %s", title, max(len(r.train) for r in records), checkpoint)
    started = time.perf_counter() - records[0].seconds
    with reporter(progress, title, options.epochs) as report, _threads(network, options.batch_size):
        for epoch in range(max(len(r.train) for r in records), options.epochs):
            trained, rate = _epoch(network, objective, data, options, optimiser, epoch=epoch, streams=streams)
            judged = evaluate(objective, validation)
            for member, record, terms, verdict in zip(members, records, trained, judged, strict=True):
                if record.ended:
                    continue
                if not math.isfinite(sum(terms.values()) + sum(verdict.values())):
                    _diverged(title, epoch)
                    record.ended = True
                    continue
                better = record.improves(sum(verdict.values()))
                record.train.append(terms)
                record.validation.append(verdict)
                record.rates.append(rate)
                record.seconds = time.perf_counter() - started
                if better or not options.early_stopping:
                    record.best_epoch = epoch
                    best.keep(member)
                waited = epoch - record.best_epoch
                record.ended = bool(options.early_stopping and options.patience and waited >= options.patience)
            if saved is not None:
                saved.save(network, optimiser, best.weights, {"networks": [asdict(record) for record in records]})
            report(EpochReport(epoch + 1, options.epochs, _mean_loss(trained), _mean_loss(judged), rate))
            if all(record.ended for record in records):
                logger.info("%s ends after epoch %d", title, epoch + 1)
                break
    network.load_state_dict(best.weights)
    if saved is not None:
        saved.remove()
    return [record.history() for record in records]


def _mean_loss(terms: list[dict[str, float]]) -> float:
    return sum(sum(row.values()) for row in terms) / len(terms)


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
    data: Data,
    options: TrainingOptions,
    optimiser: torch.optim.Optimizer,
    *,
    epoch: int,
    streams: Sequence[int],
) -> tuple[list[dict[str, float]], float]:
    """Take all steps of one epoch; return the mean terms of the loss of each network, and the last learning rate."""
    size = min(options.batch_size, len(data))
    n_steps = len(data) // size
    stacked = getattr(network, "members", None) is not None

    def generators(purpose: str) -> Generators:
        each = [generator(stream, purpose, epoch) for stream in streams]
        return each if stacked else each[0]

    noise = generators("dropout")
    sums = _Terms()
    rate = options.learning_rate
    for step, batch in enumerate(data.batches(size, generators("order"))):
        rate = options.rate(epoch, (epoch + step / n_steps) / options.epochs)
        optimiser.param_groups[0]["lr"] = rate
        terms = objective(batch, noise)
        optimiser.zero_grad(set_to_none=True)
        # The sum over networks: each has the gradient that it would have alone.
        sum(terms.values(), torch.zeros((), dtype=torch.float32, device=data.device)).sum().backward()  # type: ignore[no-untyped-call]
        if options.clip_gradient is not None:
            _clip(network.parameters(), options.clip_gradient, stacked=stacked)
        optimiser.step()
        sums.add(terms, size)
    return sums.means(), rate


def _clip(parameters: Iterable[nn.Parameter], largest: float, *, stacked: bool) -> None:
    """Shorten gradients that are longer than `largest`, those of each network for themselves."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    rows = [g.flatten(1) if stacked else g.reshape(1, -1) for g in gradients]
    lengths = torch.stack([row.square().sum(1) for row in rows]).sum(0).sqrt()
    shrink = (largest / (lengths + 1e-6)).clamp(max=1.0)
    for row in rows:
        row.mul_(shrink[:, None])


def _diverged(title: str, epoch: int) -> None:
    msg = f"{title}: the loss is not finite in epoch {epoch + 1}; lower learning_rate, or set clip_gradient"
    if epoch == 0:
        raise InputError(msg)
    warnings.warn(f"{msg}. The best weights so far are kept.", ColumnMinerWarning, stacklevel=4)
