"""A set-up as a JSON document and back; reading names the file and the key of what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from columnminer.errors import FileFormatError
from columnminer.model.checks import entries, items, located
from columnminer.model.differences import FiniteDifferences
from columnminer.model.morphing import Morphing
from columnminer.model.parameters import Benchmark, Parameter, ParameterSpace
from columnminer.model.systematics import systematic_from_dict

if TYPE_CHECKING:
    from columnminer.model.setup import Setup

__all__ = ["FORMAT", "FORMAT_VERSION", "described", "parsed"]

FORMAT = "columnminer-setup"
FORMAT_VERSION = 1


def described(setup: Setup) -> dict[str, Any]:
    """Return a set-up as JSON types. Morphing is kept as its definition, from which the matrix follows."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "parameters": [parameter.to_dict() for parameter in setup.space],
        "benchmarks": [{"name": b.name, "values": dict(b.values)} for b in setup.benchmarks],
        "systematics": [systematic.to_dict() for systematic in setup.systematics],
    }
    if setup.morphing is not None:
        components = setup.morphing.components.tolist()
        document["morphing"] = {"components": components, "basis": list(setup.morphing.basis)}
    if setup.differences is not None:
        document["finite_differences"] = setup.differences.to_dict()
    return document


def parsed(document: object, source: str) -> dict[str, Any]:
    """Return the arguments of the `Setup` that a document describes, by name.

    Raises
    ------
    FileFormatError
        If it is of another format or version, or something in it does not fit; the message begins with `source`.
    """
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        msg = f"{source}: this is no set-up of columnminer: its 'format' is not {FORMAT!r}"
        raise FileFormatError(msg)
    if document.get("format_version") != FORMAT_VERSION:
        msg = f"{source}: format_version {document.get('format_version')!r} is not {FORMAT_VERSION}, which is read here"
        raise FileFormatError(msg)
    parts = entries(
        document,
        source,
        required=("format", "format_version", "parameters", "benchmarks"),
        optional=("systematics", "morphing", "finite_differences"),
    )
    space = _space(parts["parameters"], f"{source}: parameters")
    benchmarks = _benchmarks(parts["benchmarks"], space, f"{source}: benchmarks")
    systematics = items(parts.get("systematics", []), f"{source}: systematics")
    arguments: dict[str, Any] = {
        "space": space,
        "benchmarks": benchmarks,
        "systematics": [systematic_from_dict(s, f"{source}: systematics[{i}]") for i, s in enumerate(systematics)],
    }
    if "morphing" in parts:
        where = f"{source}: morphing"
        fields = entries(parts["morphing"], where, required=("components", "basis"))
        with located(where):
            arguments["morphing"] = Morphing(
                space, fields["components"], benchmarks, tuple(items(fields["basis"], f"{where}: basis"))
            )
    if "finite_differences" in parts:
        where = f"{source}: finite_differences"
        fields = entries(parts["finite_differences"], where, required=("steps", "benchmarks"), optional=("central",))
        with located(where):
            arguments["differences"] = FiniteDifferences(**fields)
    return arguments


def _space(document: object, where: str) -> ParameterSpace:
    parameters = []
    for i, entry in enumerate(items(document, where)):
        fields = entries(entry, f"{where}[{i}]", required=("name",), optional=Parameter.keys())
        with located(f"{where}[{i}]"):
            parameters.append(Parameter(**fields))
    with located(where):
        return ParameterSpace(parameters)


def _benchmarks(document: object, space: ParameterSpace, where: str) -> tuple[Benchmark, ...]:
    benchmarks = []
    for i, entry in enumerate(items(document, where)):
        fields = entries(entry, f"{where}[{i}]", required=("name", "values"))
        with located(f"{where}[{i}]"):
            benchmarks.append(Benchmark(**fields))
    with located(where):
        return space.benchmarks(benchmarks)
