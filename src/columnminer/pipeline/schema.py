"""The keys of YAML files as JSON schema, for people and for editors that check YAML while it is written.

There are four kinds: analysis files, campaigns of toys, statistical models as alea has them, and the resources of jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from columnminer.errors import InputError, did_you_mean
from columnminer.infer.alea_schema import model_schema
from columnminer.pipeline.configuration import AnalysisConfig
from columnminer.run.resources import Resources
from columnminer.toys.settings import CampaignConfig

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DOCUMENTS", "key_schema"]


def _resources() -> dict[str, Any]:
    return {**TypeAdapter(Resources).json_schema(), "additionalProperties": False}


DOCUMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "analysis": AnalysisConfig.model_json_schema,
    "campaign": CampaignConfig.model_json_schema,
    "model": model_schema,
    "resources": _resources,
}
"""Kinds of files, and what returns the schema of each."""


def key_schema(section: str | None = None) -> dict[str, Any]:
    """Return the JSON schema of a kind of file, or of one of its sections.

    Parameters
    ----------
    section
        One of `DOCUMENTS`, or keys of an analysis file from the top, such as "sampling.ratio", or those of another kind
        after its name, such as "campaign.model"; names that the file makes up are left out. None: an analysis file.

    Raises
    ------
    InputError
        If there is no such section.
    """
    kind, *keys = ["analysis"] if section is None else section.split(".")
    if kind not in DOCUMENTS:
        kind, keys = "analysis", [kind, *keys]
    found = DOCUMENTS[kind]()
    if not keys:
        return found
    definitions: dict[str, Any] = found.get("$defs", {})
    for key in keys:
        known: dict[str, Any] = found.get("properties", {})
        if key not in known:
            nearest = did_you_mean(key, [*known, *(DOCUMENTS if key == keys[0] else ())])
            msg = f"the schema of {kind} files has no key {section!r}: {key!r} is not known.{nearest}"
            raise InputError(msg)
        found = _resolved(known[key], definitions)
    return found | {"$defs": definitions} if "$ref" in str(found) else found


def _resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return what a key holds: the section itself, where it is optional, one of many, or has names of its own."""
    candidates = [schema, *schema.get("anyOf", []), *schema.get("prefixItems", [])]
    for one in list(candidates):
        inside = [one.get("items"), one.get("additionalProperties"), *one.get("patternProperties", {}).values()]
        candidates += [schema for schema in inside if isinstance(schema, dict)]
    for candidate in candidates:
        if "$ref" in candidate:
            resolved: dict[str, Any] = definitions[candidate["$ref"].rpartition("/")[2]]
            return resolved
    return next((one for one in candidates if "properties" in one), schema)
