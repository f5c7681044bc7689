"""Several event stores become one, such as signal and backgrounds processed apart, with their events shuffled.

Every event gets a random number of its own, and the new store has the events in the order of these numbers, sorted out
of core (`shuffle`). Weights at rest are normalised per sample, so that nothing but k-factors changes them: the samples
of all stores are mixed on reading.
"""

from __future__ import annotations

import dataclasses
import tempfile
import warnings
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import ColumnMinerWarning, InputError
from columnminer.files import writing
from columnminer.model.response import nuisance_coefficients
from columnminer.observe.cutflow import CutFlow
from columnminer.store.commit import require_free
from columnminer.store.partition import PartitionScheme
from columnminer.store.publish import Description, publish_events
from columnminer.store.shuffle import Shuffle
from columnminer.streams import key, uniform

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from columnminer.store.eventstore import EventStore
    from columnminer.store.samples import SampleInfo
    from columnminer.store.shuffle import Run
    from columnminer.store.weights import NuisanceColumn
    from columnminer.streams import Seed

__all__ = ["combine"]

_BLOCK = 65_536
"""Events that are read at a time."""


def combine(
    stores: Sequence[EventStore],
    out: str | os.PathLike[str],
    *,
    k_factors: Sequence[float] | None = None,
    seed: Seed = 0,
    replace: bool = False,
) -> EventStore:
    """Write the events of several stores, shuffled, into one.

    Signal samples of all stores are averaged on reading, as if they had been processed together, and backgrounds added
    up. Events stay in their partitions. Their other selections (`EventStore.varied`) are combined, too; stores that do
    not have one of them are there as they are.

    Parameters
    ----------
    stores
        Two or more, with the same set-up and observables.
    out
        Folder of the new store.
    k_factors
        Multiplies the weights of each store, on top of what `Sample` said; None: 1.
    seed
        Of the order of the events.
    replace
        Whether a store that is there gives way.

    Raises
    ------
    InputError
        If the stores do not fit together, hold the same file twice or recorded events, or a k-factor is not positive.
    OutputExistsError
        If something is at `out` that may not be replaced.

    Warns
    -----
    ColumnMinerWarning
        If the events of the stores were selected differently.

    Examples
    --------
    >>> selection, setup = cm.Selection(cm.DrellYan().observables), cm.DrellYan().setup()
    >>> names = ["sm", "c_ll_plus"]
    >>> stores = [
    ...     cm.process([cm.Sample(f"{n}.lhe.gz", benchmark=n)], setup, selection, f"{n}.zarr", progress=False)
    ...     for n in names
    ... ]
    >>> len(cm.combine(stores, "both.zarr")) == sum(map(len, stores))
    True
    """
    out = Path(out)
    factors = [1.0] * len(stores) if k_factors is None else [float(k) for k in k_factors]
    _require_alike(stores, factors)
    require_free(out, replace=replace)
    out.parent.mkdir(parents=True, exist_ok=True)
    sides = _varied_stores(stores)
    with writing(out), tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        inside = {
            name: [_written(side, factors, Path(folder) / f"{name}-{i}", seed) for i, side in enumerate(both)]
            for name, both in sides.items()
        }
        return _written(stores, factors, out, seed, replace=replace, inside=inside)


def _written(
    stores: Sequence[EventStore],
    factors: Sequence[float],
    out: Path,
    seed: Seed,
    *,
    replace: bool = False,
    inside: Mapping[str, Sequence[EventStore]] | None = None,
) -> EventStore:
    """Write the events of all stores into one, with those of other selections, combined before, inside."""
    nuisances = _layout(stores)
    samples, flows = _samples(stores, factors)
    description = Description(
        setup=stores[0].setup,
        observables=stores[0].observable_names,
        samples=samples,
        partition=PartitionScheme(tuple(stores[0].attributes["partition"]["fractions"])),
        nuisances=nuisances,
        cut_flow=flows,
        selection=stores[0].attributes["selection"],
        configuration={
            "mixing": stores[0].mixing,
            "combined": [{"hash": s.hash, "k_factor": k} for s, k in zip(stores, factors, strict=True)],
        },
        provenance={package: version(package) for package in ("columnminer", "numpy", "zarr")},
    )
    n_events = sum(map(len, stores))
    codes = np.empty(n_events, dtype=np.uint8)
    runs: list[Run] = []
    with writing(out), tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        shuffle = Shuffle(Path(folder), description.columns, n_events)
        stream, offset = key(seed, "combine"), 0
        for i, (store, factor) in enumerate(zip(stores, factors, strict=True)):
            for first in range(0, len(store), _BLOCK):
                rows = slice(first, min(first + _BLOCK, len(store)))
                columns = store.columns(rows)
                columns["nuisance_weights"] = factor * _varied(columns, store.nuisances, nuisances)
                columns["weights"] = factor * columns["weights"]
                columns["sample"] = columns["sample"] + np.int32(offset)
                numbers = uniform(stream, i, np.arange(rows.start, rows.stop))
                runs.append(shuffle.write(str(len(runs)), numbers, columns))
            offset += len(store.samples)
        tables = _with_partitions(shuffle.merged(runs), codes)
        return publish_events(out, description, tables, codes, replace_existing=replace, variations=inside)


def _varied_stores(stores: Sequence[EventStore]) -> dict[str, list[list[EventStore]]]:
    """Return by nuisance parameter the stores to combine at nu = +1 and (unless one-sided) -1.

    A store on which the nuisance parameter does not act is there as it is.

    Raises
    ------
    InputError
        If a nuisance parameter is one-sided in one store, and two-sided in another.
    """
    found: dict[str, list[list[EventStore]]] = {}
    for name in (p.name for p in stores[0].setup.nuisance_parameters):
        varied = [store.varied(name) if name in store.variations else () for store in stores]
        numbers = {len(sides) for sides in varied if sides}
        if len(numbers) > 1:
            msg = f"{name!r} has one other selection in one store, and two in another: process them alike"
            raise InputError(msg)
        for n_sides in numbers:
            found[name] = [
                [sides[i] if sides else store for store, sides in zip(stores, varied, strict=True)]
                for i in range(n_sides)
            ]
    return found


def _with_partitions(
    tables: Iterator[dict[str, NDArray[Any]]], codes: NDArray[np.uint8]
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the tables without their partitions, which go into `codes` before the rows are handed out."""
    first = 0
    for table in tables:
        partition = table.pop("partition")
        codes[first : first + len(partition)] = partition
        first += len(partition)
        yield table


def _require_alike(stores: Sequence[EventStore], k_factors: Sequence[float]) -> None:
    if len(stores) < 2 or len(k_factors) != len(stores):
        msg = f"combine takes two or more stores, and as many k-factors: not {len(stores)} and {len(k_factors)}"
        raise InputError(msg)
    for factor in k_factors:
        if not 0.0 < factor < np.inf:
            msg = f"a k-factor must be positive, not {factor!r}"
            raise InputError(msg)
    for store in stores:
        if store.recorded:
            msg = f"{store.path} holds recorded events, which cannot be combined with others"
            raise InputError(msg)
    files = [file.sha256 for store in stores for s in store.samples for file in s.files]
    hashes = [store.hash for store in stores]
    if len(set(files)) < len(files) or len(set(hashes)) < len(hashes):
        msg = f"{', '.join(str(s.path) for s in stores)} hold the same events twice: they would not be independent"
        raise InputError(msg)
    for one, other in pairwise(stores):
        differ = {
            "set-ups": one.setup.hash != other.setup.hash,
            "observables": one.observable_names != other.observable_names,
            "mixings": one.mixing != other.mixing,
            "partition fractions": one.attributes["partition"]["fractions"]
            != other.attributes["partition"]["fractions"],
        }
        for what in (name for name, different in differ.items() if different):
            msg = f"{one.path} and {other.path} have different {what}: process them alike"
            raise InputError(msg)
        if one.attributes["selection"] != other.attributes["selection"]:
            msg = f"{one.path} and {other.path} were selected differently; the new store names the first selection"
            warnings.warn(msg, ColumnMinerWarning, stacklevel=3)


def _layout(stores: Sequence[EventStore]) -> tuple[NuisanceColumn, ...]:
    """Return nuisance columns that hold the variations of all stores: two-sided where one of them is."""
    layout: list[NuisanceColumn] = []
    position = 0
    for alike in zip(*(store.nuisances for store in stores), strict=True):
        two_sided = any(column.down is not None for column in alike)
        step = max(column.step for column in alike)
        down = position + 1 if two_sided else None
        layout.append(dataclasses.replace(alike[0], up=position, down=down, step=step))
        position += 1 + two_sided
    return tuple(layout)


def _varied(
    columns: dict[str, NDArray[Any]], given: Sequence[NuisanceColumn], wanted: Sequence[NuisanceColumn]
) -> NDArray[np.float64]:
    """Return nuisance weights in another layout, (n, n_columns): the same exp(a nu + b nu^2), at other nu."""
    varied, reference = columns["nuisance_weights"], columns["weights"][:, 0]
    if tuple(given) == tuple(wanted):
        return np.asarray(varied)
    laid_out = []
    for old, new in zip(given, wanted, strict=True):
        down = None if old.down is None else varied[:, old.down]
        a, b = nuisance_coefficients(varied[:, old.up], down, reference, old.step)
        steps = [new.step] if new.down is None else [new.step, -new.step]
        laid_out += [reference * np.exp(a * nu + b * nu**2) for nu in steps]
    return np.stack(laid_out, axis=1)


def _samples(
    stores: Sequence[EventStore], k_factors: Sequence[float]
) -> tuple[tuple[SampleInfo, ...], dict[str, dict[str, Any]]]:
    """Return all samples, with names that tell them apart, and their cut flows, after the k-factors."""
    samples: list[SampleInfo] = []
    flows: dict[str, dict[str, Any]] = {}
    taken: set[str] = set()
    for store, k in zip(stores, k_factors, strict=True):
        for sample in store.samples:
            candidates = (sample.name if i == 1 else f"{sample.name} {i}" for i in range(1, len(taken) + 2))
            name = next(c for c in candidates if c not in taken)
            taken.add(name)
            samples.append(
                dataclasses.replace(
                    sample,
                    name=name,
                    k_factor=k * sample.k_factor,
                    cross_section=None if sample.cross_section is None else k * sample.cross_section,
                    files=tuple(dataclasses.replace(file, factor=k * file.factor) for file in sample.files),
                )
            )
            if flow := store.cut_flow.get(sample.name):
                counted = CutFlow.from_dict(flow)
                flows[name] = dataclasses.replace(counted, weights=tuple(k * w for w in counted.weights)).to_dict()
    return tuple(samples), flows
