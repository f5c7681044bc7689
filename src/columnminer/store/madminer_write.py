"""Event stores and set-ups as MadMiner's HDF5 files, so that MadMiner can go on from them.

A store that came from such a file gives it again: the same weights, observations and sampling benchmarks in the same
order, and the names that MadMiner had given to what only it names. Of other stores note:

* MadMiner mixes signal samples by the number of events after the selection, where ours know how many were generated.
* It counts two samples of one benchmark twice. Their weights are written as shares of one sample.
* Its nuisance weights stand at nu = +1 and -1; those of ours that stand elsewhere are moved there along
  exp(a nu + b nu^2).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from columnminer.errors import InputError
from columnminer.files import appearing
from columnminer.model.parameters import Coupling
from columnminer.model.systematics import (
    NormalisationUncertainty,
    PDFUncertainty,
    ScaleUncertainty,
    SelectionVariation,
    Systematic,
    WeightVariation,
)
from columnminer.store.commit import require_free
from columnminer.store.madminer import BLOCK, IDENTITY, MADMINER, NuisanceNames

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from columnminer.model.setup import Setup
    from columnminer.store.eventstore import EventStore
    from columnminer.store.weights import NuisanceColumn

__all__ = ["at_unit_step", "export_madminer", "save_madminer_setup"]


def save_madminer_setup(setup: Setup, path: str | os.PathLike[str], *, replace: bool = False) -> None:
    """Write a set-up as MadMiner's file without events.

    Parameters
    ----------
    setup
        Its parameters need bounds; systematics that MadMiner does not know are refused.
    path
        The HDF5 file.
    replace
        Whether a file that is there gives way.

    Raises
    ------
    InputError
        If MadMiner has no word for something; the message says for what.
    OutputExistsError
        If the file exists.

    Examples
    --------
    >>> cm.save_madminer_setup(cm.DrellYan().setup(), "madminer_setup.h5")
    """
    path = Path(path)
    require_free(path, replace=replace)
    path.parent.mkdir(parents=True, exist_ok=True)
    _check(setup)
    with appearing(path) as new, h5py.File(new, "w") as file:
        _write_setup(file, setup, [_words(s) for s in setup.systematics])


def export_madminer(store: EventStore, path: str | os.PathLike[str], *, replace: bool = False) -> None:
    """Write an event store as MadMiner's file with events.

    Parameters
    ----------
    store
        Events with weights. Its partition has no place there: MadMiner cuts its files in order.
    path
        The HDF5 file.
    replace
        Whether a file that is there gives way.

    Raises
    ------
    InputError
        If the events were recorded, or MadMiner has no word for something; the message says for what.
    OutputExistsError
        If the file exists.

    Examples
    --------
    >>> store = cm.EventStore("events.zarr")
    >>> cm.export_madminer(store, "events.h5")
    >>> imported = cm.import_madminer("events.h5", "imported.zarr")
    >>> bool(np.isclose(imported.xsec("sm").value, store.xsec("sm").value, rtol=0.05).all())
    True
    """
    path = Path(path)
    require_free(path, replace=replace)
    path.parent.mkdir(parents=True, exist_ok=True)
    _check(store.setup)
    if store.recorded:
        msg = f"{store.path}: these events were recorded and have no weights; MadMiner's files are of simulated events"
        raise InputError(msg)
    known = store.attributes["provenance"].get(MADMINER, {})
    nuisances = _nuisance_names(store, known)
    varied = [name for n in nuisances for name in (n.up, n.down) if name is not None]
    order = known.get("nuisance_benchmarks", varied)
    systematics = known.get("systematics") or [_words(s) for s in store.setup.systematics]
    with appearing(path) as new, h5py.File(new, "w") as file:
        _write_setup(file, store.setup, systematics, order, reference=0)
        _write_nuisances(file, nuisances)
        _write_observables(file, store, known)
        _write_events(file, store, [varied.index(name) for name in order])


def _check(setup: Setup) -> None:
    for parameter in setup.space:
        if parameter.bounds is None:
            msg = f"MadMiner needs a range for parameter {parameter.name!r}: give it bounds"
            raise InputError(msg)
    if setup.differences is not None:
        steps = set(setup.differences.steps.values())
        if setup.differences.central or len(steps) > 1:
            msg = "MadMiner knows finite differences to one side, with one step for all parameters, only"
            raise InputError(msg)


def _texts(texts: Sequence[str]) -> NDArray[np.bytes_]:
    encoded = [text.encode("utf-8") for text in texts]
    long = next((t for t in texts if len(t.encode("utf-8")) > 256), None)
    if long is not None:
        msg = f"MadMiner's files hold texts of up to 256 bytes; this one is longer: {long!r}"
        raise InputError(msg)
    return np.array(encoded, dtype="S256")


def _words(systematic: Systematic) -> list[str]:
    """Return name, type, value and scale of a systematic uncertainty in MadMiner's words."""
    match systematic:
        case NormalisationUncertainty():
            return [systematic.name, "norm", repr(1.0 + systematic.size), "None"]
        case ScaleUncertainty():
            return [systematic.name, "scale", ",".join(map(repr, systematic.factors)), systematic.scale]
        case PDFUncertainty():
            return [systematic.name, "pdf", systematic.name, "None"]
        case WeightVariation():
            return [systematic.name, "pdf", systematic.name, "None"]
        case SelectionVariation():
            msg = f"systematic {systematic.name!r} varies the selection, which MadMiner does not know: export without"
            raise InputError(msg)
    msg = f"MadMiner has no word for the systematic uncertainty {systematic!r}"
    raise InputError(msg)


def _nuisance_names(store: EventStore, known: Mapping[str, Any]) -> list[NuisanceNames]:
    """Return MadMiner's names of nuisance parameters and their benchmarks, those that it gave where there are any."""
    given = [NuisanceNames(*names) for names in known.get("nuisance_parameters", [])]
    if len(given) == len(store.nuisances):
        return given
    made, count = [], dict.fromkeys((c.systematic for c in store.nuisances), 0)
    for column in store.nuisances:
        name = f"{column.systematic}_nuisance_param_{count[column.systematic]}"
        count[column.systematic] += 1
        down = f"{name}_benchmark_1" if column.down is not None else None
        made.append(NuisanceNames(name, f"{name}_benchmark_0", down, column.systematic))
    return made


def _write_setup(
    file: h5py.File,
    setup: Setup,
    systematics: Sequence[Sequence[str]],
    varied: Sequence[str] = (),
    reference: int | None = None,
) -> None:
    couplings = [p if isinstance(p, Coupling) else Coupling(p.name, bounds=p.bounds) for p in setup.space]
    lha = [c.lha or ("", 0) for c in couplings]
    file["parameters/names"] = _texts([c.name for c in couplings])
    file["parameters/lha_blocks"] = _texts([block for block, _ in lha])
    file["parameters/lha_ids"] = np.array([number for _, number in lha], dtype=np.int64)
    file["parameters/max_power"] = np.array([c.max_power for c in couplings], dtype=np.int64)
    file["parameters/val_ranges"] = np.asarray(setup.space.bounds)
    file["parameters/transforms"] = _texts([c.transform or IDENTITY for c in couplings])
    points = np.concatenate([setup.benchmark_points, np.repeat(setup.benchmark_points[:1], len(varied), axis=0)])
    file["benchmarks/names"] = _texts([*setup.benchmark_names, *varied])
    file["benchmarks/values"] = points
    file["benchmarks/is_nuisance"] = np.repeat([0, 1], [len(setup.benchmark_names), len(varied)]).astype(np.int64)
    file["benchmarks/is_reference"] = (np.arange(len(points)) == (-1 if reference is None else reference)).astype(int)
    if setup.morphing is not None:
        matrix = np.zeros((len(setup.morphing.components), len(setup.benchmark_names)))
        matrix[:, [setup.benchmark_names.index(name) for name in setup.morphing.basis]] = setup.morphing.matrix
        file["morphing/components"] = np.asarray(setup.morphing.components, dtype=np.int64)
        file["morphing/morphing_matrix"] = matrix
    if setup.differences is not None:
        bases = setup.differences.benchmarks
        shifted = [[f"{base}_plus_{name}" for name in setup.parameter_names] for base in bases]
        file["finite_differences/base_benchmarks"] = _texts(bases)
        file["finite_differences/shifted_benchmarks"] = np.stack([_texts(names) for names in shifted])
        file["finite_differences/epsilon"] = next(iter(setup.differences.steps.values()))
    if systematics:
        for key, column in zip(("names", "types", "values", "scales"), zip(*systematics, strict=True), strict=True):
            file[f"systematics/{key}"] = _texts(column)


def _write_nuisances(file: h5py.File, nuisances: Sequence[NuisanceNames]) -> None:
    if nuisances:
        file["nuisance_parameters/names"] = _texts([n.name for n in nuisances])
        file["nuisance_parameters/benchmark_positive"] = _texts([n.up for n in nuisances])
        file["nuisance_parameters/benchmark_negative"] = _texts([str(n.down) for n in nuisances])
        file["nuisance_parameters/systematics"] = _texts([n.systematic for n in nuisances])


def _write_observables(file: h5py.File, store: EventStore, known: Mapping[str, Any]) -> None:
    selected = store.attributes["selection"].get("observables", {})
    formulas = [selected.get(name, {}).get("formula") for name in store.observable_names]
    definitions = known.get("observable_definitions", [f if isinstance(f, str) else "" for f in formulas])
    file["observables/names"] = _texts(store.observable_names)
    file["observables/definitions"] = _texts(definitions)


def _write_events(file: h5py.File, store: EventStore, order: Sequence[int]) -> None:
    """Write the events, the nuisance weights in an `order` of theirs."""
    n_benchmarks = len(store.setup.benchmark_names)
    width = {"observations": len(store.observable_names), "weights": n_benchmarks + len(order)}
    data = {name: file.create_dataset(f"samples/{name}", (len(store), n), dtype="f8") for name, n in width.items()}
    sampled = file.create_dataset("samples/sampling_benchmarks", (len(store),), dtype="i8")
    ids = np.array(
        [-1 if s.benchmark is None else store.setup.benchmark_names.index(s.benchmark) for s in store.samples]
    )
    generated = np.array([s.n_generated for s in store.samples], dtype=np.float64)
    same = (ids[:, None] == ids) & ~np.array([s.background for s in store.samples])[:, None]
    share = np.where(same.any(axis=1), generated / np.maximum(same @ generated, 1.0), 1.0)
    for first in range(0, len(store), BLOCK):
        rows = slice(first, first + BLOCK)
        columns = store.columns(rows)
        scale = share[columns["sample"]][:, None]
        weights, varied = columns["weights"], columns["nuisance_weights"]
        moved = np.concatenate([varied[:, :0], *(at_unit_step(weights[:, 0], varied, c) for c in store.nuisances)], 1)
        data["observations"][rows] = columns["observables"]
        data["weights"][rows] = np.concatenate([weights, moved[:, order]], axis=1) * scale
        sampled[rows] = ids[columns["sample"]]
    events = np.array([s.n_events for s in store.samples])
    background = ids < 0
    counts = np.bincount(ids[~background], weights=events[~background], minlength=n_benchmarks)
    file["sample_summary/signal_events"] = counts.astype(np.int64)
    file["sample_summary/background_events"] = int(events[background].sum())


def at_unit_step(
    reference: NDArray[np.float64], varied: NDArray[np.float64], column: NuisanceColumn
) -> NDArray[np.float64]:
    """Return the weights at nu = +1 and (unless one-sided) -1, (n_events, 1 or 2)."""
    found = varied[:, [column.up] if column.down is None else [column.up, column.down]]
    if column.step == 1.0:
        return found
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(found / reference[:, None])
    logs = np.where(np.isfinite(logs), logs, 0.0)
    if column.down is None:
        return np.asarray(reference[:, None] * np.exp(logs / column.step))
    odd = (logs[:, 0] - logs[:, 1]) / (2.0 * column.step)
    even = (logs[:, 0] + logs[:, 1]) / (2.0 * column.step**2)
    return np.asarray(reference[:, None] * np.exp(np.stack([odd + even, even - odd], axis=1)))
