"""Histograms of any origin as one small object: what templates are made from.

`read_histogram` reads HDF5 files in the layout of inference_interface (``bins/0, bins/1, ...`` with the name of each
axis, ``templates/NAME``; usually ``*.ii.h5``) and ROOT files; `Histogram.of` takes hist and boost-histogram objects and
whatever else follows the UHI protocol. `write_histograms` writes the HDF5 layout.

Contents keep the precision in which a file holds them, and so do the sums over them: expectation values of single
precision templates are then those that alea computes, to the last digit.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from columnminer.errors import FileFormatError, InputError, UnknownNameError, did_you_mean
from columnminer.files import appearing
from columnminer.formats.hdf5 import opened_hdf5
from columnminer.formats.root import opened, readable

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Histogram", "bin_volumes", "read_histogram", "write_histograms"]


@dataclass(frozen=True)
class Histogram:
    """Contents of bins along named axes.

    Parameters
    ----------
    names
        Of the axes; one without a name is called ``axis0``, ``axis1``, ... by its number.
    edges
        Edges of the bins along each axis, (n_bins + 1,), increasing.
    contents
        (n_bins, ...).

    Raises
    ------
    InputError
        If the shapes do not fit, edges do not increase, or a number is not finite.
    """

    names: tuple[str, ...]
    edges: tuple[NDArray[Any], ...]
    contents: NDArray[Any]

    def __post_init__(self) -> None:
        edges = tuple(_floating(e) for e in self.edges)
        contents = _floating(self.contents)
        given = tuple(self.names)
        names = tuple(n if n and given.count(n) == 1 else f"axis{i}" for i, n in enumerate(given))
        shape = tuple(len(e) - 1 for e in edges)
        if len(names) != len(edges) or contents.shape != shape or not shape or any(e.ndim != 1 for e in edges):
            msg = f"a histogram with {len(names)} axes of {shape} bins cannot have contents of shape {contents.shape}"
            raise InputError(msg)
        for name, e in zip(names, edges, strict=True):
            if not (np.isfinite(e).all() and (np.diff(e) > 0).all() and len(e) > 1):
                msg = f"the edges of axis {name!r} must be finite and increase"
                raise InputError(msg)
        if not np.isfinite(contents).all():
            msg = "the contents of a histogram must be finite"
            raise InputError(msg)
        for field, value in {"names": names, "edges": edges, "contents": contents}.items():
            object.__setattr__(self, field, value)

    @classmethod
    def of(cls, source: Any) -> Histogram:
        """Return a histogram object of another package (hist, boost-histogram, uproot, anything of UHI) as ours.

        Under- and overflow are left out.

        Raises
        ------
        InputError
            If it is none.
        """
        if isinstance(source, Histogram):
            return source
        try:
            contents = np.asarray(source.values())
            edges = [np.asarray(axis.edges() if callable(axis.edges) else axis.edges) for axis in source.axes]
        except (AttributeError, TypeError) as error:
            msg = f"this is no histogram, it has neither axes with edges nor values(): {source!r:.60}"
            raise InputError(msg) from error
        return cls(tuple(_axis_name(axis) for axis in source.axes), tuple(edges), contents)

    @property
    def total(self) -> Any:
        """Sum of the contents, in their precision."""
        return self.contents.sum()

    @property
    def volumes(self) -> NDArray[Any]:
        """Volume of each bin, (n_bins, ...)."""
        return bin_volumes(self.edges)

    def centres(self, axis: int = 0) -> NDArray[Any]:
        """Return the middles of the bins along one axis."""
        return np.asarray(0.5 * (self.edges[axis][1:] + self.edges[axis][:-1]))

    def axis(self, which: str | int) -> int:
        """Return the number of an axis, given by its name or number.

        Raises
        ------
        UnknownNameError
            If there is none.
        """
        if which in self.names:
            return self.names.index(str(which))
        if isinstance(which, int) and not isinstance(which, bool) and 0 <= which < len(self.names):
            return which
        msg = f"the histogram has no axis {which!r}.{did_you_mean(str(which), self.names)}"
        raise UnknownNameError(msg)

    def filled(self, contents: ArrayLike) -> Histogram:
        """Return the same axes with other contents."""
        return Histogram(self.names, self.edges, np.asarray(contents))


def bin_volumes(edges: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the volume of each bin, (n_bins, ...), between edges along each axis."""
    return functools.reduce(np.multiply, np.ix_(*[np.diff(e) for e in edges]))


def read_histogram(path: str | os.PathLike[str], name: str | None = None) -> Histogram:
    """Read one histogram of an HDF5 or ROOT file.

    Parameters
    ----------
    path
        The file; what it is shows its beginning, not its name.
    name
        Of the histogram in it; None if it holds only one.

    Raises
    ------
    FileFormatError
        If the file is missing, is neither, or is not laid out as it should be.
    UnknownNameError
        If it holds no histogram of this name, or several and none is named.
    """
    path = Path(path)
    if not path.is_file():
        msg = f"{path}: there is no such template file"
        raise FileFormatError(msg)
    with path.open("rb") as file:
        magic = file.read(8)
    try:
        if magic == b"\x89HDF\r\n\x1a\n":
            return _read_hdf5(path, name)
        if magic.startswith(b"root"):
            return _read_root(path, name)
    except UnknownNameError as error:
        msg = f"{path}: {error}"
        raise UnknownNameError(msg) from error
    except InputError as error:
        said = str(error)
        raise FileFormatError(said if said.startswith(str(path)) else f"{path}: {said}") from error
    msg = f"{path}: this is neither an HDF5 nor a ROOT file"
    raise FileFormatError(msg)


def write_histograms(path: str | os.PathLike[str], histograms: Mapping[str, Any]) -> None:
    """Write histograms that share their axes into an HDF5 file of the layout that inference_interface reads.

    Raises
    ------
    InputError
        If there are none, or their axes differ.
    """
    made = {name: Histogram.of(histogram) for name, histogram in histograms.items()}
    if not made:
        msg = "there are no histograms to write"
        raise InputError(msg)
    first = next(iter(made.values()))
    for name, other in made.items():
        same = first.names == other.names and all(map(np.array_equal, first.edges, other.edges))
        if not same:
            msg = f"histograms in one file share their axes; those of {name!r} differ"
            raise InputError(msg)
    with appearing(Path(path)) as new, h5py.File(new, "w") as file:
        for i, (axis, edges) in enumerate(zip(first.names, first.edges, strict=True)):
            file.create_dataset(f"bins/{i}", data=edges).attrs["name"] = axis
        for name, histogram in made.items():
            file.create_dataset(f"templates/{name}", data=histogram.contents)


def _read_hdf5(path: Path, name: str | None) -> Histogram:
    with opened_hdf5(path) as file:
        bins, templates = file.get("bins"), file.get("templates")
        if not isinstance(bins, h5py.Group) or not isinstance(templates, h5py.Group):
            msg = "the groups 'bins' and 'templates' of a template file are missing"
            raise FileFormatError(msg)
        axes = [bins.get(str(i)) for i in range(len(bins))]
        if any(not isinstance(axis, h5py.Dataset) for axis in axes):
            msg = f"the axes in 'bins' must be called 0, 1, ..., not {', '.join(bins)}"
            raise FileFormatError(msg)
        names = [str(axis.attrs.get("name", "")) for axis in axes]
        contents = templates[_named(name, list(templates))]
        if not isinstance(contents, h5py.Dataset):
            msg = f"'templates/{name}' is no array"
            raise FileFormatError(msg)
        return Histogram(tuple(names), tuple(axis[()] for axis in axes), contents[()])


def _read_root(path: Path, name: str | None) -> Histogram:
    with opened(str(path)) as file, readable(str(path)):
        known = [key for key, kind in file.classnames(cycle=False).items() if kind.startswith(("TH1", "TH2", "TH3"))]
        return Histogram.of(file[_named(name, known)])


def _named(name: str | None, known: Sequence[str]) -> str:
    if name is None and len(known) == 1:
        return known[0]
    if name is None or name not in known:
        wanted = "none is named, and there are several" if name is None else f"none is called {name!r}"
        msg = f"of the histograms in this file {wanted}.{did_you_mean(name or '', known)}"
        raise UnknownNameError(msg)
    return name


def _axis_name(axis: Any) -> str:
    if hasattr(axis, "member"):  # of uproot: the title, where there is one, says more than "xaxis"
        return str(axis.member("fTitle") or axis.member("fName"))
    return str(getattr(axis, "name", "") or getattr(axis, "label", "") or "")


def _floating(values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)
