"""From training samples to what a network learned: the one way that all kinds of estimators go.

A kind of estimator says in a `Lesson` what is special to it: columns, network and loss. `learn` brings the columns to
the device (all of them if they fit, else block by block), splits off the events that judge, trains one network or
several of one shape together, and returns a `Fit` for each.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import psutil
import torch

from columnminer.errors import InputError
from columnminer.learn.census import BLOCK, Census, pieces
from columnminer.learn.fit import Fit
from columnminer.learn.loaders import StreamedData, TensorData
from columnminer.learn.networks import MLP
from columnminer.learn.options import TrainingOptions
from columnminer.learn.reach import Reach
from columnminer.learn.training import train
from columnminer.sample.samples import Samples
from columnminer.streams import key, seed_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from columnminer.learn.loaders import Batch, Data, Generators
    from columnminer.learn.progress import Progress
    from columnminer.learn.scaling import Scaling
    from columnminer.store.samplestore import SampleStore
    from columnminer.streams import Seed

__all__ = ["Lesson", "learn"]


class Columns(Protocol):
    """Turns samples into the columns that the loss needs."""

    def __call__(self, samples: Samples, *, first: int) -> dict[str, NDArray[Any]]:
        """Return name -> (n,) or (n, k); `first` is the number of the first event, for messages."""


@dataclass(frozen=True)
class Lesson:
    """What an estimator has to learn, and how.

    Attributes
    ----------
    method : str
        Name of the loss.
    features : tuple of str
        What it learns from.
    reference : numpy.ndarray
        (n_par,) see `Fit`.
    scalings : dict
        See `Fit`.
    columns : callable
        Samples -> columns of the batches.
    network : callable
        Seed of the initial weights -> network, on its device.
    objective : callable
        (network, batch, noise) -> terms of the loss; see `training.Objective`.
    settings : dict
        What else the loss is made of, as JSON types: kept among the facts of the training.
    """

    method: str
    features: tuple[str, ...]
    reference: NDArray[np.float64]
    scalings: dict[str, Scaling]
    columns: Columns
    network: Callable[[Seed], nn.Module]
    objective: Callable[[Any, Batch, Generators | None], dict[str, Tensor]]
    settings: dict[str, Any]


def learn(
    lesson_of: Callable[[Census], Lesson],
    features: Sequence[str] | None,
    samples: Samples | SampleStore,
    method: str,
    *,
    device: torch.device,
    seeds: Sequence[Seed],
    options: Mapping[str, Any],
    validation: Samples | SampleStore | None = None,
    limit: int | None = None,
    shuffle_labels: bool = False,
    bootstrap: bool = False,
    progress: Progress = False,
    checkpoint: str | Path | None = None,
) -> list[Fit]:
    """Train a network for each seed, and return what they learned; see `Estimator.fit` for the arguments.

    With `bootstrap` each learns from a replica: as many events, drawn from the training events with replacement.
    """
    if bootstrap and validation is not None:
        msg = "replicas of a bootstrap are judged by events that are split off: leave validation out"
        raise InputError(msg)
    chosen = TrainingOptions.of(options)
    # A Generator gives another number each time it is asked; streams are asked for again.
    seeds = [seed if isinstance(seed, int) else key(seed, "fit") for seed in seeds]
    if limit is not None and limit < len(samples):
        few = np.random.default_rng(seed_sequence(seeds[0], "limit")).choice(len(samples), limit, replace=False)
        samples = Samples.of(samples, np.sort(few))
    census = Census(samples, features, method)
    lesson = lesson_of(census)
    reach = Reach.of(census)
    source = partial(_data, columns=lesson.columns, mean_weight=census.mean_weight, device=device, memory=chosen.memory)
    data = source(samples, shuffle=seeds[0] if shuffle_labels else None)
    judges = None if validation is None else source(validation)
    networks = [lesson.network(seed) for seed in seeds]

    def train_some(some: NDArray[np.intp]) -> list[Fit]:
        own = [seeds[i] for i in some]
        single = len(own) == 1
        network = networks[some[0]] if single else MLP.stacked([cast("MLP", networks[i]) for i in some])
        mine: Data = data
        theirs: Data
        if judges is None:
            mine, theirs = data.split(chosen.validation_fraction, own[0] if single else own, bootstrap=bootstrap)
        elif single:
            theirs = judges
        else:
            mine, theirs = data.for_members(len(own)), judges.for_members(len(own))
        first = int(some[0])
        histories = train(
            network,
            partial(lesson.objective, network),
            mine,
            theirs,
            chosen,
            seeds=own,
            progress=progress if first == 0 else False,
            title=f"{lesson.method.upper()} on {len(mine)} events" + ("" if single else f", {len(own)} networks"),
            checkpoint=checkpoint if first == 0 or checkpoint is None else f"{checkpoint}.{first}",
            identity={
                "method": lesson.method,
                **lesson.settings,
                "features": lesson.features,
                "store": census.store_hash,
            },
        )
        trained = [network] if single else cast("MLP", network).unstacked()
        facts = {"method": lesson.method, **lesson.settings, "n_events": len(mine), **asdict(chosen)}
        facts["reach"] = None if reach is None else reach.to_dict()
        return [
            Fit(
                feature_names=lesson.features,
                parameter_names=census.parameter_names,
                nuisance_names=census.nuisance_names,
                reference=lesson.reference,
                store_hash=census.store_hash,
                partition=census.partition,
                training=facts,
                network=one,
                scalings=lesson.scalings,
                history=history,
            )
            for one, history in zip(trained, histories, strict=True)
        ]

    jobs = _jobs(networks, device)
    if len(jobs) == 1:
        return train_some(jobs[0])
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return [fit for fits in pool.map(train_some, jobs) for fit in fits]


def _jobs(networks: Sequence[nn.Module], device: torch.device) -> list[NDArray[np.intp]]:
    """Return which networks are trained together: all on a GPU, one portion for each thread on a CPU.

    Threads of our own beat those of torch here: they meet at the end, not after each small product. What cannot be
    stacked is trained by itself.
    """
    which = np.arange(len(networks))
    if not all(isinstance(network, MLP) for network in networks):
        return np.array_split(which, len(networks))
    return np.array_split(which, min(len(networks), torch.get_num_threads()) if device.type == "cpu" else 1)


def _data(
    samples: Samples | SampleStore,
    *,
    columns: Columns,
    mean_weight: float,
    device: torch.device,
    memory: float | None,
    shuffle: Seed | None = None,
) -> TensorData | StreamedData:
    """Return the columns of the samples: in memory if they fit into `memory` bytes, else to be streamed.

    With `shuffle` every event has the labels and gold of another.
    """
    n = len(samples)

    def read(block: int) -> Iterator[dict[str, NDArray[Any]]]:
        for first, part in pieces(samples, block * BLOCK, (block + 1) * BLOCK):
            arrays = columns(part, first=first)
            if part.weights is not None:
                arrays["weight"] = np.asarray(part.weights, dtype=np.float64) / mean_weight
            if shuffle is not None:
                order = np.random.default_rng(seed_sequence(shuffle, "shuffle", first)).permutation(len(part))
                arrays = {name: values if name == "inputs" else values[order] for name, values in arrays.items()}
            yield arrays

    sizes = [min(BLOCK, n - first) for first in range(0, n, BLOCK)]
    event = 4 * sum(a[0].size for a in columns(Samples.of(samples, slice(0, 1)), first=0).values())
    memory = _free_memory(device) / 2.0 if memory is None else memory
    if n * event <= memory:
        return TensorData.collect(chain.from_iterable(map(read, range(len(sizes)))), n, device)
    return StreamedData(read, sizes, device, buffer=int(memory / event / 3.0))


def _free_memory(device: torch.device) -> float:
    """Return the bytes that can be had on the device."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return float(psutil.virtual_memory().available)
