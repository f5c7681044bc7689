"""Between awkward arrays, which readers give and users write functions on, and the columns that programs run on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from columnminer.arithmetic import Number
from columnminer.errors import FileFormatError, InputError
from columnminer.formats.root import reading_column
from columnminer.momenta import ATTRIBUTES, IDENTITIES, Collection, Momenta, Particle
from columnminer.observe.species import FORMULAS
from columnminer.schema import jagged

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

__all__ = ["called", "collection", "number", "particle", "to_awkward"]

_SPELLINGS = {
    "px": ("px", "x"),
    "py": ("py", "y"),
    "pz": ("pz", "z"),
    "e": ("e", "E", "energy", "t"),
    "pt": ("pt", "rho"),
    "m": ("m", "M", "mass", "tau"),
    "pdgid": ("pdgid", "pdgId"),
}
"""How the fields of momentum records are spelled in the field, ours first."""


def _fields(array: ak.Array) -> dict[str, str]:
    """Return column -> the field of these records that holds it."""
    present = set(ak.fields(array))
    spellings = {name: _SPELLINGS.get(name, (name,)) for name in (*ATTRIBUTES, "status")}
    return {
        name: next(field for field in fields if field in present)
        for name, fields in spellings.items()
        if present.intersection(fields)
    }


def _momenta(array: ak.Array, what: str, flat: Callable[[ak.Array], ak.Array], *, transverse: bool = False) -> Momenta:
    """Return momenta that take their columns from the fields of awkward records when they are asked for."""
    fields = _fields(array)
    columns: dict[str, Any] = {}
    if transverse and not fields.keys() & {"pz", "eta", "e", "m"}:
        columns = {"pz": np.zeros(len(array)), "m": np.zeros(len(array))}
    held = fields.keys() | columns.keys()
    pairs = (({"px", "py"}, {"pt", "phi"}), ({"pz"}, {"eta"}), ({"e"}, {"m"}))
    if not all(either <= held or other <= held for either, other in pairs):
        found = ", ".join(ak.fields(array)) or "no fields"
        msg = f"{what} needs momenta: (px, py) or (pt, phi), pz or eta, and e or m; it has {found}"
        raise InputError(msg)

    def column(field: str) -> NDArray[Any]:
        try:
            with reading_column(array, f"{what}, field {field!r}"):
                return np.asarray(ak.to_numpy(flat(array[field]), allow_missing=False))
        except FileFormatError:
            raise
        except ValueError as error:
            msg = f"the field {field!r} of {what} is not a column of numbers: {error}"
            raise InputError(msg) from error

    return Momenta({**columns, **{name: partial(column, field) for name, field in fields.items()}}, FORMULAS)


def collection(array: ak.Array, what: str, n_events: int) -> Collection:
    """Return an (n_events, var) array of momentum records as a collection.

    Raises
    ------
    InputError
        If it is not such an array; `what` says in the message what it was to be.
    """
    if not isinstance(array, ak.Array) or array.ndim != 2 or len(array) != n_events:
        msg = f"{what} must be a jagged array of {n_events} events, not {_described(array)}"
        raise InputError(msg)
    with reading_column(array, what):
        array = ak.drop_none(ak.fill_none(array, [], axis=0), axis=1)
        counts = ak.to_numpy(ak.num(array))
        if np.any(counts < 0):
            msg = f"{what}: event {np.argmax(counts < 0)} of these has {counts.min()} entries: the file is damaged"
            raise FileFormatError(msg)
    offsets = np.zeros(n_events + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    return Collection(_momenta(array, what, ak.flatten), offsets)


def particle(array: ak.Array, what: str, n_events: int) -> Particle:
    """Return an (n_events,) array of momentum records, some of them perhaps None, as a particle.

    Records with pt and phi alone are transverse momenta: longitudinal momentum and mass are zero.

    Raises
    ------
    InputError
        If it is not such an array; `what` says in the message what it was to be.
    """
    if not isinstance(array, ak.Array) or array.ndim != 1 or len(array) != n_events:
        msg = f"{what} must be an array of {n_events} momenta, one per event, not {_described(array)}"
        raise InputError(msg)
    with reading_column(array, what):
        defined = ~ak.to_numpy(ak.is_none(array)) if array.layout.is_option else np.True_
    return Particle(_momenta(array, what, lambda column: ak.fill_none(column, 0), transverse=True), defined)


def number(array: Any, what: str, n_events: int) -> Number:
    """Return an (n_events,) array, where None, masked and NaN mean undefined, as a number.

    Raises
    ------
    InputError
        If it is not such an array; `what` says in the message what it was to be.
    """
    try:
        if isinstance(array, ak.Array):
            with reading_column(array, what):
                array = ak.to_numpy(ak.fill_none(array, np.nan))
        elif isinstance(array, np.ma.MaskedArray):
            array = np.ma.filled(array.astype(np.float64), np.nan)
        values = np.asarray(array, dtype=np.float64)
    except FileFormatError:
        raise
    except (TypeError, ValueError) as error:
        msg = f"{what} must be an array of {n_events} numbers, one per event: {error}"
        raise InputError(msg) from error
    if values.shape != (n_events,):
        msg = f"{what} must be an array of {n_events} numbers, one per event, not of shape {values.shape}"
        raise InputError(msg)
    return Number(values, ~np.isnan(values))


def called(function: Callable[[ak.Array], Any], events: ak.Array, what: str) -> Any:
    """Return what a function of the user makes of the events.

    Raises
    ------
    InputError
        If it fails; `what` says in the message what it was to be.
    """
    try:
        return function(events)
    except Exception as error:
        msg = f"{what} failed: {type(error).__name__}: {error}"
        raise InputError(msg) from error


def _described(array: object) -> str:
    return str(array.type) if isinstance(array, ak.Array) else type(array).__name__


def to_awkward(value: Collection | Particle) -> ak.Array:
    """Return the momenta as `schema.jagged` records, (n_events, var), or (n_events,) with None where undefined."""
    columns: Mapping[str, NDArray[Any]] = {
        name: value.momenta[name]
        for name in ("px", "py", "pz", "e", *IDENTITIES)
        if name not in IDENTITIES or value.momenta.has(name)
    }
    if isinstance(value, Collection):
        return jagged(value.counts, columns)
    records = ak.flatten(jagged(np.ones(len(columns["px"]), dtype=np.int64), columns))
    return records if np.all(value.defined) else ak.mask(records, value.defined)
