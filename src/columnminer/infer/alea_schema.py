"""The keys of alea's model files as JSON schema, made of the tables that the reader checks files by.

Terms and sources may have further keys: settings that are called like parameters, or that a file names itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from columnminer.infer.alea import PARAMETER_KEYS
from columnminer.infer.alea_document import (
    LIKELIHOODS,
    MODEL_OPTIONS,
    SHAPE_KEYS,
    SOURCES,
    TERM_KEYS,
    TERM_LIKELIHOOD,
    TERM_REQUIRED,
    WITHOUT_EFFECT,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["model_schema"]

_TEXTS = {"type": "array", "items": {"type": "string"}}


def model_schema() -> dict[str, Any]:
    """Return the JSON schema of a statistical model of alea's."""
    source = _keys(
        {"name": {"type": "string"}, "parameters": _TEXTS, "class": {"enum": list(SOURCES)}},
        required=("name", "parameters"),
        optional=(*SHAPE_KEYS, *WITHOUT_EFFECT),
    )
    term = _keys(
        {
            "name": {"type": "string"},
            "likelihood_type": {"enum": list(LIKELIHOODS)},
            "default_source_class": {"enum": list(SOURCES)},
            "analysis_space": {"type": "array", "minItems": 1, "items": {"type": "object"}},
            "sources": {"type": "array", "items": source},
            "likelihood_config": {"anyOf": [_keys(optional=TERM_LIKELIHOOD, closed=True), {"type": "null"}]},
        },
        required=TERM_REQUIRED,
        optional=(*TERM_KEYS, *SHAPE_KEYS, *WITHOUT_EFFECT),
    )
    likelihood = _keys(
        {
            "likelihood_terms": {"type": "array", "minItems": 1, "items": term},
            "template_folder": {"anyOf": [{"type": "string"}, _TEXTS, {"type": "null"}]},
            "likelihood_weights": {"anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "null"}]},
        },
        required=("likelihood_terms",),
        closed=True,
    )
    parameter = {"anyOf": [_keys(optional=PARAMETER_KEYS, closed=True), {"type": "null"}]}
    definition = {"anyOf": [_TEXTS, {"type": "object", "additionalProperties": parameter}]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Statistical model",
        **_keys(
            {"description": {"type": "string"}, "parameter_definition": definition, "likelihood_config": likelihood},
            required=("parameter_definition", "likelihood_config"),
            optional=MODEL_OPTIONS,
            closed=True,
        ),
    }


def _keys(
    known: dict[str, Any] | None = None,
    *,
    required: Iterable[str] = (),
    optional: Iterable[str] = (),
    closed: bool = False,
) -> dict[str, Any]:
    """Return the schema of a mapping; what is not in `known` may have any value."""
    properties = {name: {} for name in (*required, *optional)} | (known or {})
    found: dict[str, Any] = {"type": "object", "properties": properties, "required": list(required)}
    return {**found, "additionalProperties": False} if closed else found
