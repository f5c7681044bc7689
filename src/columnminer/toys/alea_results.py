"""Results of a campaign as HDF5 in the layout of alea's runner, read and written.

The group ``fits`` has a structured array for each hypothesis: the parameters in alphabetical order, ``ll``, ``dl`` and
``ul`` (log likelihood, lower and upper end of the confidence interval), ``valid_fit``; all attributes are JSON.
"""

from __future__ import annotations

import json
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from columnminer.errors import FileFormatError, InputError
from columnminer.toys.alea_files import GENERATED, attribute, opened, read_dataset, written
from columnminer.toys.patterns import file_name, pattern_values
from columnminer.toys.results import FitTable, PointResult

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["read_alea_results", "write_alea_result", "write_alea_results"]


def write_alea_result(path: str | os.PathLike[str], point: PointResult, *, seed: int | None = None) -> None:
    """Write the fits of a point as alea's runner does."""
    names = sorted(point.parameter_names)
    columns = [point.parameter_names.index(name) for name in names]
    kind = [(name, float) for name in [*names, "ll", "dl", "ul"]]
    about = {
        **point.metadata,
        "poi": point.poi,
        "common_hypothesis": dict(point.common_hypothesis),
        GENERATED: dict(point.generate),
        "nominal_values": dict(point.nominal),
        "seed": seed,
        "expectation_values": dict(point.expected),
    }
    with written(Path(path)) as file:
        for key, value in about.items():
            file.attrs[key] = json.dumps(value)
        for name, fits in point.fits.items():
            table = np.empty(len(fits), dtype=[*kind, ("valid_fit", bool)])
            for parameter, column in zip(names, columns, strict=True):
                table[parameter] = fits.values[:, column]
            table["ll"], table["valid_fit"] = fits.log_likelihood, fits.valid
            table["dl"], table["ul"] = (np.nan, np.nan) if fits.interval is None else fits.interval.T
            file.create_dataset(f"fits/{name}", data=table).attrs["hypotheses_values"] = json.dumps(dict(fits.held))


def write_alea_results(
    results: Iterable[PointResult], folder: str | os.PathLike[str], pattern: str, *, seed: int | None = None
) -> list[Path]:
    """Write the results of a campaign, a file for each point, and return where.

    Parameters
    ----------
    results
        Of a campaign.
    folder
        Where the files are to be.
    pattern
        Of their names, such as ``toymc_{wimp_mass:d}_{poi_expectation:.2f}.ii.h5``.
    seed
        What the files say of it.

    Raises
    ------
    InputError
        If two points would be the same file.
    """
    points = list(results)
    paths = [
        Path(folder) / file_name(pattern, pattern_values(p.level, p.poi_expectation, p.nominal, p.generate))
        for p in points
    ]
    twice = next((path for i, path in enumerate(paths) if path in paths[:i]), None)
    if twice is not None:
        msg = f"two points would be written to {twice}: put what they differ in into the name {pattern!r}"
        raise InputError(msg)
    for path, point in zip(paths, points, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_alea_result(path, point, seed=seed)
    return paths


def read_alea_results(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> PointResult:
    """Return the results of one point from alea's files, of one or several batches.

    Parameters
    ----------
    paths
        A file, a pattern such as ``toymc_*.ii.h5``, or several files.

    Raises
    ------
    FileFormatError
        If a file holds no results.
    InputError
        If there is no file, or files are of different points; the message says in what they differ.
    """
    if isinstance(paths, str) and has_magic(paths):
        files = [Path(path) for path in sorted(glob(paths))]  # noqa: PTH207 - the pattern may be absolute
    else:
        files = [Path(p) for p in ([paths] if isinstance(paths, str) or hasattr(paths, "__fspath__") else paths)]
    if not files:
        msg = f"there are no files {paths}"
        raise InputError(msg)
    points = [_read_result(path) for path in files]
    first = points[0]
    for path, point in zip(files, points, strict=True):
        differences = _differences(point, first)
        if differences:
            msg = f"{path}: holds the results of another point than {files[0]}: {'; '.join(differences)}. "
            msg += "Read each point by itself, such as [read_alea_results(path) for path in paths]"
            raise InputError(msg)
    return PointResult(
        **{name: getattr(first, name) for name in first.__dataclass_fields__ if name != "fits"},
        fits={name: _joined([point.fits[name] for point in points]) for name in first.fits},
    )


def _differences(point: PointResult, other: PointResult) -> list[str]:
    """Return what tells two points apart: what each of them says of the same thing."""
    both = [
        {
            "poi": p.poi,
            "parameters": ", ".join(p.parameter_names),
            **{f"true {name}": value for name, value in p.generate.items()},
            **{f"nominal {name}": value for name, value in p.nominal.items()},
            **{f"hypothesis {name!r}": dict(fits.held) for name, fits in p.fits.items()},
        }
        for p in (point, other)
    ]
    names = dict.fromkeys(name for said in both for name in said)
    found = [(name, *(said.get(name, "nothing") for said in both)) for name in names]
    return [f"{name} is {here}, not {there}" for name, here, there in found if here != there]


def _joined(tables: Sequence[FitTable]) -> FitTable:
    intervals = [t.interval for t in tables if t.interval is not None]
    return FitTable(
        held=tables[0].held,
        values=np.concatenate([t.values for t in tables]),
        log_likelihood=np.concatenate([t.log_likelihood for t in tables]),
        valid=np.concatenate([t.valid for t in tables]),
        by_minuit=np.concatenate([t.by_minuit for t in tables]),
        interval=np.concatenate(intervals) if len(intervals) == len(tables) else None,
    )


_OURS = ("ll", "dl", "ul", "valid_fit")
_KNOWN = ("poi", "common_hypothesis", GENERATED, "nominal_values", "seed", "expectation_values", "date")


def _read_result(path: Path) -> PointResult:
    with opened(path) as file:
        about = {str(key): attribute(file, key, object) for key in file.attrs}
        group = file.get("fits")
        if not isinstance(group, h5py.Group) or not isinstance(about.get("poi"), str):
            msg = f"{path}: holds no results of fits to toys: no group 'fits', or no parameter of interest"
            raise FileFormatError(msg)
        tables = {str(name): read_dataset(file, f"fits/{name}") for name in group}
        held = {name: attribute(group[name], "hypotheses_values", dict) for name in tables}
    order = sorted(tables, key=lambda name: (name != "free", name))
    names = tuple(n for n in tables[order[0]].dtype.names or () if n not in _OURS)
    for name, table in tables.items():
        if table.dtype.names != (*names, *_OURS):
            msg = f"{path}: the columns of 'fits/{name}' are {table.dtype.names}, not {(*names, *_OURS)}"
            raise FileFormatError(msg)
    expected = dict(about.get("expectation_values") or {})
    return PointResult(
        generate=dict(about.get(GENERATED) or {}),
        nominal=dict(about.get("nominal_values") or {}),
        poi=about["poi"],
        parameter_names=names,
        fits={name: _table(tables[name], names, held[name]) for name in order},
        poi_expectation=expected.get(about["poi"].removesuffix("_rate_multiplier")),
        expected=expected,
        common_hypothesis=dict(about.get("common_hypothesis") or {}),
        metadata={key: value for key, value in about.items() if key not in _KNOWN},
    )


def _table(table: NDArray[Any], names: Sequence[str], held: Mapping[str, float]) -> FitTable:
    interval = np.stack([table["dl"], table["ul"]], axis=1)
    return FitTable(
        held=held,
        values=np.stack([table[name] for name in names], axis=1) if names else np.empty((len(table), 0)),
        log_likelihood=table["ll"],
        valid=table["valid_fit"],
        by_minuit=np.ones(len(table), dtype=bool),  # alea has no other way
        interval=None if np.isnan(interval).all() else interval,
    )
