"""SampleStore: training and test sets at rest in Zarr, one row for each drawn event.

The arrays are those of `columnminer.sample`: x, theta0, theta1, y, r_xz, t_xz, t_xz1, weights, whichever the method
needs. What their columns are called, and which events were drawn, stands in the attributes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import FileFormatError, InputError, UnknownNameError, did_you_mean
from columnminer.store.arrays import TableWriter
from columnminer.store.columns import Column, columns_at
from columnminer.store.commit import staged

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import ArrayLike, NDArray

__all__ = ["SampleStore"]

SAMPLES_FORMAT = "columnminer samples"
FORMAT_VERSION = 1

PER_SET = ("n_eff", "negative")
"""Arrays whose rows are not events."""


class SampleStore:
    """A training or test set at rest.

    Parameters
    ----------
    path
        Folder of the store.

    Attributes
    ----------
    attributes : dict
        What was given on writing: names of features and parameters, hash of the event store, partition, ...

    Raises
    ------
    FileFormatError
        If there is no such store, or one of a newer format.

    Examples
    --------
    >>> store = cm.EventStore("events.zarr")
    >>> samples = cm.sample_ratio(store, "c_ll_plus", "sm", 2000, out="samples.zarr")
    >>> sorted(cm.SampleStore("samples.zarr"))
    ['n_eff', 'negative', 'r_xz', 't_xz', 'theta0', 'theta1', 'x', 'y']
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        attributes, arrays = columns_at(self.path, f"{self.path} is not a sample store", "draw the samples again")
        if attributes.get("format") != SAMPLES_FORMAT:
            msg = f"{self.path} is not a sample store: its format is {attributes.get('format')!r}"
            raise FileFormatError(msg)
        version = attributes.get("format_version")
        if not isinstance(version, int) or version > FORMAT_VERSION:
            msg = f"{self.path} has format version {version!r}: update columnminer to read it"
            raise FileFormatError(msg)
        if not isinstance(attributes.get("samples"), dict):
            msg = f"{self.path}: this sample store is damaged: it does not say what is in it"
            raise FileFormatError(msg)
        self._arrays = arrays
        self.attributes: dict[str, Any] = attributes["samples"]

    @classmethod
    def write(
        cls,
        path: str | os.PathLike[str],
        arrays: Mapping[str, ArrayLike | None],
        attributes: Mapping[str, Any],
        *,
        replace: bool = False,
    ) -> SampleStore:
        """Write a set, which appears at `path` complete or not at all.

        Parameters
        ----------
        path
            Folder of the new store.
        arrays
            name -> array; those that are None are left out. All but "n_eff" and "negative" have one row for each event.
        attributes
            JSON document about them.
        replace
            Whether an output that exists gives way.

        Raises
        ------
        InputError
            If the arrays do not have the same number of rows.
        OutputExistsError
            If the output exists.
        """
        columns = {name: np.asarray(values) for name, values in arrays.items() if values is not None}
        per_set = {name: columns.pop(name) for name in PER_SET if name in columns}
        lengths = {name: len(values) for name, values in columns.items()}
        if "x" not in lengths or len(set(lengths.values())) > 1:
            msg = f"samples need x and the same number of rows in every array, not {lengths}"
            raise InputError(msg)
        layout = {name: (values.shape[1:], values.dtype) for name, values in columns.items()}
        return cls.write_rows(
            path, lengths["x"], layout, [columns], per_set=per_set, attributes=attributes, replace=replace
        )

    @classmethod
    def write_rows(
        cls,
        path: str | os.PathLike[str],
        n_rows: int,
        columns: Mapping[str, tuple[tuple[int, ...], Any]],
        tables: Iterable[Mapping[str, NDArray[Any]]],
        *,
        per_set: Mapping[str, NDArray[Any]],
        attributes: Mapping[str, Any],
        replace: bool = False,
    ) -> SampleStore:
        """Write a set whose rows come in pieces; it appears at `path` complete or not at all.

        Parameters
        ----------
        path, attributes, replace
            See `write`.
        n_rows, columns
            How many rows there are, and name -> (shape of one row, dtype).
        tables
            Pieces of the rows, name -> array.
        per_set
            Arrays whose rows are not events.

        Raises
        ------
        OutputExistsError
            If the output exists.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with staged(path, replace=replace) as folder:
            writer = TableWriter(folder, n_rows, columns)
            for table in tables:
                writer.append(table)
            writer.finish_rows()
            for name, values in per_set.items():
                writer.add_array(name, values)
            writer.write_attributes(
                {"format": SAMPLES_FORMAT, "format_version": FORMAT_VERSION, "samples": dict(attributes)}
            )
        return cls(path)

    def __len__(self) -> int:
        return int(self._arrays["x"].shape[0])

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._arrays))

    def __getitem__(self, name: str) -> Column:
        """Return the array called `name`; slice it to read.

        Raises
        ------
        UnknownNameError
            If there is no such array.
        """
        if name not in self._arrays:
            msg = f"{self.path} has no array {name!r}.{did_you_mean(name, self)}"
            raise UnknownNameError(msg)
        return self._arrays[name]

    def __repr__(self) -> str:
        return f"SampleStore({str(self.path)!r}: {len(self)} events, {', '.join(self)})"

    @property
    def x(self) -> Column:
        """Array of observables (n, n_features)."""
        return self["x"]

    @property
    def theta0(self) -> Column:
        """Array of numerator points (n, n_parameters)."""
        return self["theta0"]

    @property
    def theta1(self) -> Column:
        """Array of denominator points (n, n_parameters)."""
        return self["theta1"]

    @property
    def y(self) -> Column:
        """Array of labels (n,): 0 drawn from theta0, 1 from theta1."""
        return self["y"]

    @property
    def r_xz(self) -> Column:
        """Array of joint likelihood ratios (n,)."""
        return self["r_xz"]

    @property
    def t_xz(self) -> Column:
        """Array of joint scores at theta0 (n, n_parameters)."""
        return self["t_xz"]
