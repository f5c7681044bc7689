"""The keys of an analysis file as JSON schema, for people and for editors that check YAML while it is written."""

from __future__ import annotations

from typing import Any

from columnminer.errors import InputError, did_you_mean
from columnminer.pipeline.configuration import AnalysisConfig

__all__ = ["key_schema"]


def key_schema(section: str | None = None) -> dict[str, Any]:
    """Return the JSON schema of an analysis file, or of one of its sections.

    Parameters
    ----------
    section
        Its keys from the top, such as "sampling.ratio"; names that the file makes up are left out.

    Raises
    ------
    InputError
        If there is no such section.
    """
    whole = AnalysisConfig.model_json_schema()
    if section is None:
        return whole
    definitions: dict[str, Any] = whole["$defs"]
    found: dict[str, Any] = whole
    for key in section.split("."):
        known: dict[str, Any] = found.get("properties", {})
        if key not in known:
            msg = f"an analysis file has no key {section!r}: {key!r} is not known.{did_you_mean(key, known)}"
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
    return schema
