"""Samples as .npy files with the names and shapes of MadMiner's, for tools that read those, and from there.

A set called "ratio" is ``x_ratio.npy`` (n, n_features), ``theta0_ratio.npy``, ``theta1_ratio.npy``, ``t_xz_ratio.npy``
(n, n_par), ``y_ratio.npy`` and ``r_xz_ratio.npy`` (n, 1). Sets with one point for each event have ``theta_local.npy``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import FileFormatError
from columnminer.files import appearing
from columnminer.formats.npy import read_numbers
from columnminer.sample.samples import ARRAYS, Samples
from columnminer.store.arrays import CHUNK
from columnminer.store.samplestore import SampleStore

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["read_npy", "write_npy"]

_COLUMNS = ("y", "r_xz", "weights")
"""Arrays (n,) here that are (n, 1) there."""


def write_npy(samples: Samples | SampleStore, folder: str | Path, name: str) -> list[Path]:
    """Write the arrays of samples into a folder, replacing files of these names, and return the files.

    Stored samples are copied piece by piece, and may be larger than memory.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = samples if isinstance(samples, SampleStore) else {a: getattr(samples, a) for a in samples.array_names}
    written = []
    for array in (a for a in ARRAYS if a in arrays):
        values = arrays[array]
        stem = "theta" if array == "theta0" and "theta1" not in arrays else array
        shape = (len(samples), 1) if array in _COLUMNS else values.shape
        written.append(folder / f"{stem}_{name}.npy")
        with appearing(written[-1]) as new, new.open("wb") as file:
            header = {"descr": np.lib.format.dtype_to_descr(values.dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_2_0(file, header)
            for start in range(0, len(samples), CHUNK):
                file.write(np.ascontiguousarray(values[start : start + CHUNK]).data)
    return written


def read_npy(
    folder: str | Path,
    name: str,
    feature_names: Sequence[str],
    parameter_names: Sequence[str],
    *,
    store_hash: str = "",
    partition: str = "train",
    nuisance_names: Sequence[str] = (),
) -> Samples:
    """Read the set called `name`, which MadMiner or `write_npy` wrote.

    Parameters
    ----------
    folder, name
        Where it is, and what it is called.
    feature_names, parameter_names
        Names of the columns, which the files do not hold.
    store_hash, partition
        From which events it was drawn, as far as known.
    nuisance_names
        Which of the parameters are nuisances.

    Raises
    ------
    FileFormatError
        If there is no such set, or a file is no plain array.
    InputError
        If the arrays do not fit together.
    """
    folder = Path(folder)
    arrays: dict[str, Any] = {}
    for array in ARRAYS:
        files = [folder / f"{stem}_{name}.npy" for stem in ((array, "theta") if array == "theta0" else (array,))]
        found = next((file for file in files if file.is_file()), None)
        if found is not None:
            values = read_numbers(found)
            arrays[array] = values.ravel() if array in _COLUMNS else values
    if "x" not in arrays:
        msg = f"{folder} has no set {name!r}: there is no x_{name}.npy"
        raise FileFormatError(msg)
    return Samples(
        **arrays,
        feature_names=tuple(feature_names),
        parameter_names=tuple(parameter_names),
        nuisance_names=tuple(nuisance_names),
        store_hash=store_hash,
        partition=partition,
    )
