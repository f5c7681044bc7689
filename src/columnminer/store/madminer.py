"""MadMiner's HDF5 files: a set-up (`load_madminer_setup`) or events with their weights (`import_madminer`).

`columnminer.store.madminer_write` goes the other way.

The layout was read off files that MadMiner 0.9 writes. Weights there are normalised per sample, as ours are; nuisance
benchmarks are columns beside the physical ones, already rescaled to the reference benchmark. What these files do not
hold: the number of events before the selection (the events after it stand in for it when samples are mixed, as in
MadMiner), the files that were read, the cut flow.
"""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from columnminer.errors import ColumnMinerWarning, FileFormatError
from columnminer.formats.hdf5 import opened_hdf5
from columnminer.model.differences import FiniteDifferences
from columnminer.model.parameters import Benchmark, Coupling, ParameterSpace
from columnminer.model.setup import Setup
from columnminer.model.systematics import NormalisationUncertainty, ScaleUncertainty, WeightVariation
from columnminer.store.commit import require_free
from columnminer.store.partition import PartitionScheme
from columnminer.store.publish import Description, publish_events
from columnminer.store.samples import FileInfo, SampleInfo
from columnminer.store.weights import NuisanceColumn
from columnminer.streams import key, uniform

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    import h5py
    from numpy.typing import NDArray

    from columnminer.model.systematics import Systematic
    from columnminer.store.eventstore import EventStore
    from columnminer.store.partition import Partitioning
    from columnminer.streams import Seed

__all__ = ["MADMINER", "NuisanceNames", "import_madminer", "load_madminer_setup"]

MADMINER = "madminer"
"""Entry of a store's provenance with what only MadMiner's file names: kept, so that it can be written again."""

IDENTITY = "theta"
"""The transform of a coupling that stands on the card as it is."""

BLOCK = 65_536
"""Events read at a time."""


def load_madminer_setup(path: str | os.PathLike[str]) -> Setup:
    """Return the set-up in a MadMiner file, with or without events.

    Raises
    ------
    FileFormatError
        If it is no such file.

    Examples
    --------
    >>> cm.save_madminer_setup(cm.DrellYan().setup(), "setup.h5")
    >>> cm.load_madminer_setup("setup.h5").parameter_names
    ('c_ll', 'c_lr')
    """
    with _open(path) as file:
        return _setup(file)


def import_madminer(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    partition: Partitioning = (0.6, 0.2, 0.2),
    seed: Seed = 0,
    replace: bool = False,
) -> EventStore:
    """Write the events of a MadMiner file as an event store.

    Parameters
    ----------
    path
        HDF5 file with events.
    out
        Folder of the new store.
    partition
        Fractions of train, validation and test, drawn within each sample; or "in_order" to cut the file at 60 and 80 %
        as MadMiner does.
    seed
        For the partition.
    replace
        Whether an output that exists gives way.

    Raises
    ------
    FileFormatError
        If it is no MadMiner file, or holds no events.
    OutputExistsError
        If the output exists.

    Examples
    --------
    >>> cm.export_madminer(cm.EventStore("events.zarr"), "madminer.h5")
    >>> cm.import_madminer("madminer.h5", "from_madminer.zarr").observable_names
    ('m_ll', 'y_ll', 'cos_theta')
    """
    require_free(Path(out), replace=replace)
    scheme = PartitionScheme.of(partition)
    with _open(path) as file:
        if "samples/observations" not in file:
            msg = f"{path} holds no events, only a set-up: use load_madminer_setup"
            raise FileFormatError(msg)
        layout = _Layout.of(file)
        sampled = file["samples/sampling_benchmarks"][()]
        present = [int(i) for i in np.unique(sampled[sampled >= 0])] + [-1] * int(np.any(sampled < 0))
        position = np.zeros(len(layout.setup.benchmark_names) + 1, dtype=np.int32)
        position[present] = np.arange(len(present))
        sample = position[sampled]  # backgrounds, -1, are in the last place here and come last there
        description = Description(
            setup=layout.setup,
            observables=_texts(file["observables/names"]),
            samples=_samples(Path(path), layout.setup, present, np.bincount(sample)),
            partition=scheme,
            nuisances=layout.nuisances,
            provenance={MADMINER: _only_there(file)},
        )
        codes = _partition(scheme, sample, key(seed, "partition"))
        rows = _rows(file, layout, sample)
        return publish_events(Path(out), description, rows, codes, replace_existing=replace)


class NuisanceNames(NamedTuple):
    """What MadMiner calls a nuisance parameter, its benchmarks at nu = 1 and (if any) -1, and its systematic."""

    name: str
    up: str
    down: str | None
    systematic: str


def _only_there(file: h5py.File) -> dict[str, Any]:
    """Return what the file names and a store does not, as a JSON document."""
    names, varied = _texts(file["benchmarks/names"]), file["benchmarks/is_nuisance"][()].astype(bool)
    found: dict[str, Any] = {
        "nuisance_parameters": [list(names) for names in _nuisance_parameters(file)],
        "nuisance_benchmarks": [name for name, v in zip(names, varied, strict=True) if v],
    }
    if "observables/definitions" in file:
        found["observable_definitions"] = list(_texts(file["observables/definitions"]))
    if "systematics" in file:
        columns = [_texts(file[f"systematics/{key}"]) for key in ("names", "types", "values", "scales")]
        found["systematics"] = [list(row) for row in zip(*columns, strict=True)]
    return found


@dataclass(frozen=True)
class _Layout:
    """Where what is among the weight columns of a MadMiner file.

    Attributes
    ----------
    setup : Setup
    physical : columns of the benchmarks of the set-up
    varied : columns of the nuisance benchmarks, in the order of our nuisance weights
    reference : column of MadMiner's reference benchmark, to which nuisance weights belong
    nuisances : our nuisance columns
    """

    setup: Setup
    physical: NDArray[np.int64]
    varied: NDArray[np.int64]
    reference: int
    nuisances: tuple[NuisanceColumn, ...]

    @classmethod
    def of(cls, file: h5py.File) -> _Layout:
        names = _texts(file["benchmarks/names"])
        flags = file["benchmarks/is_nuisance"][()].astype(bool)
        physical = np.flatnonzero(~flags)
        references = np.flatnonzero(file["benchmarks/is_reference"][()])
        varied: list[int] = []
        nuisances: list[NuisanceColumn] = []
        systematics: list[Systematic] = []
        known = {s.name: s for s in _systematics(file)}
        for name, up, down, source in _nuisance_parameters(file):
            columns = [names.index(c) for c in (up, down) if c is not None]
            one_parameter = known.get(source)
            if one_parameter is None:  # PDF sets have a parameter for each direction
                one_parameter = WeightVariation(name, up, down)
            systematics.append(one_parameter)
            first = len(varied)
            varied += columns
            nuisances.append(
                NuisanceColumn(one_parameter.name, one_parameter.name, first, first + 1 if len(columns) > 1 else None)
            )
        return cls(
            setup=_setup(file, systematics),
            physical=physical,
            varied=np.array(varied, dtype=np.int64),
            reference=int(references[0]) if len(references) else int(physical[0]),
            nuisances=tuple(nuisances),
        )


def _rows(file: h5py.File, layout: _Layout, sample: NDArray[np.int32]) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the columns of the store, a block of events at a time."""
    for first in range(0, len(sample), BLOCK):
        rows = slice(first, first + BLOCK)
        weights = file["samples/weights"][rows]
        physical, varied = weights[:, layout.physical], weights[:, layout.varied]
        if layout.reference != layout.physical[0]:
            reference = weights[:, [layout.reference]]
            varied = varied * np.divide(physical[:, :1], reference, out=np.zeros_like(reference), where=reference != 0)
        yield {
            "observables": file["samples/observations"][rows],
            "weights": physical,
            "nuisance_weights": varied,
            "sample": sample[rows],
            "event": np.arange(first, first + len(weights)),
        }


def _partition(scheme: PartitionScheme, sample: NDArray[np.int32], stream: int) -> NDArray[np.uint8]:
    if scheme.in_order:
        return scheme.assign_in_order(len(sample))
    codes = np.empty(len(sample), dtype=np.uint8)
    ranking = uniform(stream, np.arange(len(sample)))
    for i in np.unique(sample):
        members = sample == i
        codes[members] = scheme.assign(ranking[members])
    return codes


def _samples(path: Path, setup: Setup, present: list[int], counts: NDArray[np.int64]) -> tuple[SampleInfo, ...]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    source = FileInfo(path.name, path.stat().st_size, digest, n_generated=int(counts.sum()))
    return tuple(
        SampleInfo(
            name="background" if i < 0 else setup.benchmark_names[i],
            benchmark=None if i < 0 else setup.benchmark_names[i],
            background=i < 0,
            n_generated=n,
            n_events=n,
            files=(source,),
        )
        for i, n in zip(present, counts.tolist(), strict=True)
    )


def _setup(file: h5py.File, systematics: list[Systematic] | None = None) -> Setup:
    couplings = file["parameters"]
    bounds = couplings["val_ranges"][()].tolist()
    space = ParameterSpace(
        [
            Coupling(
                name,
                bounds=tuple(bounds[i]),
                lha=(block, int(couplings["lha_ids"][i])),
                max_power=int(couplings["max_power"][i]),
                transform=None if transform in {"", IDENTITY} else transform,
            )
            for i, (name, block, transform) in enumerate(
                zip(
                    _texts(couplings["names"]),
                    _texts(couplings["lha_blocks"]),
                    _texts(couplings["transforms"]),
                    strict=True,
                )
            )
        ]
    )
    names = _texts(file["benchmarks/names"])
    values = file["benchmarks/values"][()].tolist()
    physical = np.flatnonzero(file["benchmarks/is_nuisance"][()] == 0)
    benchmarks = [Benchmark(names[i], dict(zip(space.names, values[i], strict=True))) for i in physical]
    setup = Setup(space, benchmarks, systematics if systematics is not None else _systematics(file))
    if "finite_differences" in file:
        return _with_differences(file, setup)
    if "morphing" not in file:
        return setup
    components = file["morphing/components"][()]
    used = np.any(file["morphing/morphing_matrix"][()] != 0, axis=0)
    basis = [b.name for b, u in zip(benchmarks, used, strict=True) if u]
    return setup.with_morphing(
        max_overall_power=int(components.sum(axis=1).max()), components=components, morphing_basis=basis
    )


def _with_differences(file: h5py.File, setup: Setup) -> Setup:
    """Return the set-up with MadMiner's finite differences, whose shifted benchmarks it has already."""
    group = file["finite_differences"]
    steps = dict.fromkeys(setup.parameter_names, float(group["epsilon"][()]))
    differences = FiniteDifferences(steps, _texts(group["base_benchmarks"]))
    return Setup(setup.space, setup.benchmarks, setup.systematics, differences=differences)


def _systematics(file: h5py.File) -> list[Systematic]:
    """Return the systematic uncertainties that the file defines, less PDF sets, of which it only says the name."""
    found: list[Systematic] = []
    if "systematics" not in file:
        return found
    columns = [_texts(file[f"systematics/{key}"]) for key in ("names", "types", "values", "scales")]
    for name, kind, value, scale in zip(*columns, strict=True):
        if kind == "norm":
            found.append(NormalisationUncertainty(name, round(float(value) - 1.0, 12)))
        elif kind == "scale":
            found.append(ScaleUncertainty(name, scale, tuple(float(f) for f in value.split(","))))
        elif "nuisance_parameters" not in file:
            msg = f"{file.filename}: PDF set {value!r} of systematic {name!r} is left out: define a PDFUncertainty"
            warnings.warn(msg, ColumnMinerWarning, stacklevel=3)
    return found


def _nuisance_parameters(file: h5py.File) -> list[NuisanceNames]:
    """Return what each nuisance parameter is called."""
    if "nuisance_parameters" not in file:
        return []
    group = file["nuisance_parameters"]
    columns = [_texts(group[k]) for k in ("names", "benchmark_positive", "benchmark_negative", "systematics")]
    return [
        NuisanceNames(name, up, None if down == "None" else down, source)
        for name, up, down, source in zip(*columns, strict=True)
    ]


@contextlib.contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Open a MadMiner file; what is not there turns into a FileFormatError."""
    with opened_hdf5(path) as file:
        for name in ("parameters/names", "benchmarks/names", "benchmarks/values"):
            if name not in file:
                msg = f"{path} is no MadMiner file: it has no {name!r}"
                raise FileFormatError(msg)
        yield file


def _texts(dataset: h5py.Dataset) -> tuple[str, ...]:
    return tuple(text.decode("utf-8") for text in dataset[()])
