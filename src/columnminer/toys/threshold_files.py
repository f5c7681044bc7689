r"""Files of thresholds: JSON of our own, and that which alea calls ``limit_threshold``.

Ours says which version it is, and for which intervals the thresholds are; it keeps numbers of toys and errors, which
alea's has no place for. alea's is a mapping with one entry for each set of conditions and confidence level::

    {"<hash>": {"hashed_keys": {"poi": "mu", "nominal_values": {"mass": 50}, "generate_values": {},
                                "confidence_level": 0.9},
                "mu": [0.0, 1.0], "threshold": [1.2, 2.5], "poi_expectation": [0.0, 8.1]}}

under the first ten characters, in small letters, of the Base32 SHA-256 of the ``hashed_keys`` as sorted pairs in JSON.
"""

from __future__ import annotations

import json
from base64 import b32encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from columnminer.errors import FileFormatError, InputError, did_you_mean
from columnminer.files import appearing
from columnminer.toys.neyman import NeymanThresholds, ThresholdCurve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from columnminer.infer.intervals import Kind

__all__ = ["alea_key", "holds_thresholds", "read_thresholds", "write_thresholds"]

_FORMAT, _VERSION = "columnminer thresholds", 1


def write_thresholds(
    thresholds: NeymanThresholds,
    path: Path | str,
    *,
    layout: Literal["columnminer", "alea"] = "columnminer",
    integers: Sequence[str] = (),
) -> None:
    """Write thresholds; see `NeymanThresholds.to_json`."""
    if layout not in {"columnminer", "alea"}:
        msg = f"the layout is 'columnminer' or 'alea', not {layout!r}.{did_you_mean(layout, ('columnminer', 'alea'))}"
        raise InputError(msg)
    document = _document(thresholds) if layout == "columnminer" else _alea_document(thresholds, integers)
    path = Path(path)
    with appearing(path) as new:
        new.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_thresholds(path: Path | str, *, kind: Kind | None = None, dof: int | None = None) -> NeymanThresholds:
    """Read thresholds in either layout; see `NeymanThresholds.from_json`."""
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        msg = f"{path} is no JSON file: {error}"
        raise FileFormatError(msg) from error
    if not isinstance(document, Mapping) or not document:
        msg = f"{path} holds no thresholds"
        raise FileFormatError(msg)
    try:
        if document.get("format") != _FORMAT:
            return _from_alea(document, kind or "central", 1 if dof is None else dof)
        found = _from_document(document)
    except (InputError, LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        problem = f"{error.args[0]!r} is missing" if type(error) is KeyError else str(error)
        msg = f"{path} holds no thresholds as columnminer or alea writes them: {problem}"
        raise FileFormatError(msg) from error
    for name, wanted in (("kind", kind), ("dof", dof)):
        if wanted is not None and wanted != getattr(found, name):
            msg = f"{path} holds thresholds of {name} {getattr(found, name)!r}, not {wanted!r}"
            raise InputError(msg)
    return found


def holds_thresholds(path: Path | str) -> bool:
    """Return whether a file looks like thresholds, ours or alea's."""
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return False
    if not isinstance(document, Mapping) or document.get("format") == _FORMAT:
        return isinstance(document, Mapping)
    entries = list(document.values())
    return bool(entries) and all(isinstance(entry, Mapping) and "hashed_keys" in entry for entry in entries)


def alea_key(hashed_keys: Mapping[str, Any]) -> str:
    """Return under which key alea looks for the thresholds of these ``hashed_keys``."""
    digest = sha256(json.dumps(_pairs(hashed_keys)).encode("ascii")).digest()
    return b32encode(digest)[:10].decode("ascii").lower()


def _pairs(thing: Any) -> Any:
    return [[name, _pairs(value)] for name, value in sorted(thing.items())] if isinstance(thing, Mapping) else thing


def _document(thresholds: NeymanThresholds) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "name": thresholds.name,
        "kind": thresholds.kind,
        "dof": thresholds.dof,
        "levels": list(thresholds.levels),
        "nominal": list(thresholds.nominal),
        "curves": [
            {
                "conditions": dict(curve.conditions),
                "values": curve.values.tolist(),
                "thresholds": [_numbers(row) for row in curve.thresholds],
                "errors": [_numbers(row) for row in curve.errors],
                "toys": curve.toys.tolist(),
                "expectations": _numbers(curve.expectations),
            }
            for curve in thresholds.curves
        ],
    }


def _from_document(document: Mapping[str, Any]) -> NeymanThresholds:
    if document["version"] != _VERSION:
        msg = f"it has version {document['version']} of the format; this columnminer reads {_VERSION}"
        raise InputError(msg)
    curves = tuple(
        ThresholdCurve(
            conditions=dict(curve["conditions"]),
            values=_array(curve["values"]),
            thresholds=_array(curve["thresholds"]),
            errors=_array(curve["errors"]),
            toys=np.array(curve["toys"], dtype=np.int64),
            expectations=_array(curve["expectations"]),
        )
        for curve in document["curves"]
    )
    levels, nominal = tuple(document["levels"]), tuple(document["nominal"])
    return NeymanThresholds(document["name"], levels, curves, document["kind"], document["dof"], nominal)


def _alea_document(thresholds: NeymanThresholds, integers: Sequence[str]) -> dict[str, Any]:
    document = {}
    for name in integers:
        if name not in thresholds.grid or (thresholds.grid[name] % 1.0).any():
            msg = f"{name!r} is no condition of these thresholds with whole numbers as values"
            raise InputError(msg)
    for curve in thresholds.curves:
        said = {name: int(value) if name in integers else value for name, value in curve.conditions.items()}
        for level, row in zip(thresholds.levels, curve.thresholds, strict=True):
            keys = {
                "poi": thresholds.name,
                "nominal_values": {name: value for name, value in said.items() if name in thresholds.nominal},
                "generate_values": {name: value for name, value in said.items() if name not in thresholds.nominal},
                "confidence_level": level,
            }
            document[alea_key(keys)] = {
                "hashed_keys": keys,
                thresholds.name: curve.values.tolist(),
                "threshold": row.tolist(),
                "poi_expectation": _numbers(curve.expectations),
            }
    return document


def _from_alea(document: Mapping[str, Any], kind: Kind, dof: int) -> NeymanThresholds:
    entries = list(document.values())
    keys = [entry["hashed_keys"] for entry in entries]
    names = sorted({str(key["poi"]) for key in keys})
    if len(names) > 1:
        msg = f"the parameter of interest is {' or '.join(names)}"
        raise InputError(msg)
    levels = sorted({float(key["confidence_level"]) for key in keys})
    nominal = sorted({name for key in keys for name in key["nominal_values"]})
    groups: dict[tuple[tuple[str, float], ...], dict[float, Mapping[str, Any]]] = {}
    for key, entry in zip(keys, entries, strict=True):
        where = tuple(sorted({**key["generate_values"], **key["nominal_values"]}.items()))
        group = groups.setdefault(where, {})
        if key["confidence_level"] in group:
            msg = f"there are two entries for {key}"
            raise InputError(msg)
        group[float(key["confidence_level"])] = entry
    curves = tuple(_alea_curve(names[0], dict(where), group, levels) for where, group in sorted(groups.items()))
    return NeymanThresholds(names[0], tuple(levels), curves, kind, dof, tuple(nominal))


def _alea_curve(
    name: str, conditions: dict[str, float], group: Mapping[float, Mapping[str, Any]], levels: Sequence[float]
) -> ThresholdCurve:
    if set(group) != set(levels):
        msg = f"at {conditions} there are thresholds for the levels {sorted(group)}, elsewhere for {list(levels)}"
        raise InputError(msg)
    values = _array(group[levels[0]][name])
    order = np.argsort(values)
    if any(not np.array_equal(values, _array(entry[name])) for entry in group.values()):
        msg = f"at {conditions} the levels have different values of {name!r}"
        raise InputError(msg)
    # alea's fits may end above the maximum, and its thresholds be a little below zero.
    rows = np.maximum([_array(group[level]["threshold"]) for level in levels], 0.0)
    first = group[levels[0]]
    return ThresholdCurve(
        conditions=conditions,
        values=values[order],
        thresholds=rows[:, order],
        errors=np.full(rows.shape, np.nan),
        toys=np.zeros(len(values), dtype=np.int64),
        expectations=_array(first.get("poi_expectation", [None] * len(values)))[order],
    )


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    """Return JSON numbers, null for what is not known."""
    return [None if np.isnan(value) else float(value) for value in values]


def _array(values: Any) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)  # of null, NaN
