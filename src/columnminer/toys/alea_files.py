"""Files of HDF5 in the layout of alea (and of inference_interface, which it uses): toy data, read and written.

Toy data are a group for each toy, called by its number, with a dataset for each term of the likelihood, the ancillary
measurements, and ``generate_values``; attributes ``n_datasets`` and ``dataset_names`` (JSON). Events are structured
arrays with a field for each axis and one for the source.

Of ours nothing says when it was written, so that the same toys are the same file. Files appear by one rename.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from columnminer.errors import FileFormatError, InputError
from columnminer.files import appearing
from columnminer.formats.hdf5 import opened_hdf5
from columnminer.infer.events import Events
from columnminer.infer.template_model import ANCILLARY, TemplateModel

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from columnminer.infer.likelihood import Likelihood

__all__ = [
    "GENERATED",
    "attribute",
    "datasets_of",
    "opened",
    "read_dataset",
    "read_datasets",
    "read_toys",
    "store_real_data",
    "write_datasets",
    "write_toys",
    "written",
]

GENERATED = "generate_values"
_FORM = "form"
"""Attribute of datasets of ours that are events of a store, and of files with toys of another form than their model
says: a mapping, or a tuple; others need none."""


def write_datasets(
    path: str | os.PathLike[str],
    toys: Sequence[Mapping[str, Any]],
    *,
    metadata: Mapping[str, str | float] | None = None,
) -> None:
    """Write toys, each name -> array, to a file.

    Raises
    ------
    InputError
        If toys have different names, or there are none.
    """
    names = list(toys[0]) if toys else []
    if not names or any(list(toy) != names for toy in toys):
        msg = f"{path}: toys need data sets of the same names, which are {', '.join(names) or 'missing'}"
        raise InputError(msg)
    with written(Path(path)) as file:
        file.attrs["n_datasets"] = json.dumps(len(toys))
        file.attrs["dataset_names"] = json.dumps(names)
        for key, value in (metadata or {}).items():
            file.attrs[key] = value
        for i, toy in enumerate(toys):
            for name, data in toy.items():
                file.create_dataset(f"{i}/{name}", data=_array(data, f"{path}: {name}"))
                if isinstance(data, Events):
                    file[f"{i}/{name}"].attrs[_FORM] = "events"


def read_datasets(path: str | os.PathLike[str], toys: Iterable[int] | None = None) -> list[dict[str, Any]]:
    """Return toys of these numbers (all by default), each name -> array, as `write_datasets` or alea has written them.

    Raises
    ------
    FileFormatError
        If the file holds no toy data.
    InputError
        If it has fewer toys.
    """
    with opened(Path(path)) as file:
        names, n_toys = attribute(file, "dataset_names", list), attribute(file, "n_datasets", int)
        wanted = list(range(n_toys) if toys is None else toys)
        if wanted and max(wanted) >= n_toys:
            msg = f"{path}: holds {n_toys} toys, and at least {max(wanted) + 1} are needed"
            raise InputError(msg)
        return [{str(name): read_dataset(file, f"{i}/{name}") for name in names} for i in wanted]


def datasets_of(model: Likelihood, data: Any) -> dict[str, Any]:
    """Return one data set of a model as name -> array: by the names of its terms, or else by numbers."""
    if isinstance(model, TemplateModel):
        named, constraints = model.named(data), model.factors[-1]
        measured = zip(constraints.names, np.ravel(constraints.as_data(named[ANCILLARY])).tolist(), strict=True)
        return {**named, ANCILLARY: dict(sorted(measured))}
    if isinstance(data, Mapping):
        return {str(name): part for name, part in data.items()}
    parts = data if isinstance(data, tuple) else (data,)
    return {str(i): part for i, part in enumerate(parts)}


def write_toys(
    path: str | os.PathLike[str],
    model: Likelihood,
    toys: Sequence[Any],
    *,
    generate: Mapping[str, float] | None = None,
    metadata: Mapping[str, str | float] | None = None,
) -> None:
    """Write toys of a model, as its `simulate` makes them, and the values they were generated at.

    Parameters
    ----------
    path
        Of the file.
    model, toys
        Whose data sets they are.
    generate
        True values; those of other parameters are nominal.
    metadata
        Attributes of the file.
    """
    truth = dict(sorted(zip(model.names, model.point(dict(generate or {})).tolist(), strict=True)))
    form = _form(model, toys[0]) if toys else None
    said = {**(metadata or {}), **({_FORM: form} if form else {})}
    write_datasets(path, [{**datasets_of(model, toy), GENERATED: truth} for toy in toys], metadata=said)


def read_toys(path: str | os.PathLike[str], model: Likelihood, toys: Iterable[int] | None = None) -> list[Any]:
    """Return data sets of a model, in the form that `with_data` takes; see `write_toys`.

    Raises
    ------
    FileFormatError, InputError
        If the file holds no toys, or too few, or not those of this model.
    """
    found = [{n: d for n, d in toy.items() if n != GENERATED} for toy in read_datasets(path, toys)]
    if not found:
        return []
    with opened(Path(path)) as file:
        form = file.attrs.get(_FORM)
    if isinstance(model, TemplateModel) or form == "mapping":
        return found
    if form == "tuple":
        return [tuple(toy.values()) for toy in found]
    names, n_parts = list(found[0]), _n_parts(model)
    if len(names) != n_parts:
        msg = f"{path}: holds the data sets {', '.join(names)}; the model takes {n_parts}"
        raise InputError(msg)
    return [next(iter(toy.values())) if n_parts == 1 else tuple(toy.values()) for toy in found]


def _n_parts(model: Likelihood) -> int:
    return len(getattr(model, "factors", ())) or 1


def _form(model: Likelihood, data: Any) -> str | None:
    """Return the form of a data set where its model does not say it, as one of somebody's own."""
    if isinstance(model, TemplateModel) or (isinstance(data, tuple) and _n_parts(model) > 1):
        return None
    return "mapping" if isinstance(data, Mapping) else "tuple" if isinstance(data, tuple) else None


def store_real_data(
    path: str | os.PathLike[str],
    model: TemplateModel,
    data: Mapping[str, NDArray[Any]] | Sequence[NDArray[Any]],
    *,
    metadata: Mapping[str, str | float] | None = None,
) -> None:
    """Write recorded data as a file of one toy; the ancillary measurements are the nominal values.

    Parameters
    ----------
    path
        Of the file.
    model
        Whose terms they are of.
    data
        Data of each term, by name or in the order of the terms: structured arrays with the fields of its toys. Where
        there is no ``source``, which nobody knows of recorded events, it becomes -1.

    Raises
    ------
    InputError
        If the data are not those of the model's terms.
    """
    names = [name for name in model.term_names if name != ANCILLARY]
    given: dict[str, Any] = dict(data) if isinstance(data, Mapping) else dict(zip(names, data, strict=False))
    if list(given) != names or len(given) != len(data):
        msg = f"{path}: data are needed for the terms {', '.join(names)}, not for {', '.join(given) or 'none'}"
        raise InputError(msg)
    pattern = datasets_of(model, model.simulate(0))
    for name in names:
        table, like = _array(given[name], name), _array(pattern[name], name)
        fields, wanted = table.dtype.names, like.dtype.names
        if fields is not None and (*fields, "source") == wanted:
            given[name] = {
                **{field: table[field] for field in fields},
                "source": np.full(len(table), -1, like["source"].dtype),
            }
        elif fields != wanted:
            msg = f"{path}: data of {name!r} have the fields {fields}, its toys {wanted}"
            raise InputError(msg)
    nominal = {p.name: p.nominal for p in sorted(model.factors[-1].parameters, key=lambda p: p.name)}
    write_datasets(path, [{**given, ANCILLARY: nominal}], metadata=metadata)


def _array(data: Any, where: str) -> NDArray[Any]:
    """Return data as one array: structured for events and for values by name."""
    table = getattr(data, "table", None)  # of events of templates
    if table is not None:
        data = table()
    if isinstance(data, Events):
        data = dict(zip(data.names, data.x.T, strict=True))
    if isinstance(data, Mapping):
        columns = {str(name): np.atleast_1d(np.asarray(values)) for name, values in data.items()}
        if len({len(values) for values in columns.values()}) > 1:
            msg = f"{where}: the columns {', '.join(columns)} differ in length"
            raise InputError(msg)
        if not columns:  # as alea has it, where nothing was measured
            return np.array([], dtype=[("empty", float)])
        table = np.empty(len(next(iter(columns.values()))), dtype=[(n, v.dtype) for n, v in columns.items()])
        for name, values in columns.items():
            table[name] = values
        return table
    array = np.asarray(data)
    if array.dtype.hasobject:
        msg = f"{where}: {type(data).__name__} is no array that could be written"
        raise InputError(msg)
    return array


def read_dataset(file: h5py.File, name: str) -> Any:
    """Return a data set; `FileFormatError` if it is not there."""
    try:
        dataset = file[name]
        data = dataset[()]
    except (KeyError, OSError, ValueError, TypeError, AttributeError) as reason:
        msg = f"{file.filename}: the data set {name!r} is missing or broken: {reason}"
        raise FileFormatError(msg) from reason
    if dataset.attrs.get(_FORM) == "events":
        names = data.dtype.names
        return Events(np.stack([data[n] for n in names], axis=1), tuple(names))
    return data


@contextlib.contextmanager
def written(path: Path) -> Iterator[h5py.File]:
    """Yield a new HDF5 file, which appears when the block ends without an error."""
    with appearing(path) as new, h5py.File(new, "w") as file:
        yield file


@contextlib.contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Yield an HDF5 file to read; `FileFormatError` if it is none, or is not there."""
    try:
        with opened_hdf5(path) as file:
            yield file
    except FileNotFoundError as reason:
        msg = f"{path}: is no HDF5 file that can be read: {reason}"
        raise FileFormatError(msg) from reason


def attribute(thing: Any, name: str, kind: type) -> Any:
    """Return an attribute that is JSON of one kind; `FileFormatError` if it is not."""
    where = f"{thing.file.filename}: the attribute {name!r}"
    try:
        value = json.loads(thing.attrs[name])
    except (KeyError, TypeError, ValueError, OSError) as reason:
        msg = f"{where} is missing or no JSON"
        raise FileFormatError(msg) from reason
    if not isinstance(value, kind):
        msg = f"{where} is {value!r}, which is no {kind.__name__}"
        raise FileFormatError(msg)
    return value
