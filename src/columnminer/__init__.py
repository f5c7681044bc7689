"""columnminer: from simulated or recorded collision events to statements about theory parameters.

The names below are what users type; each is imported when it is first used, so that ``import columnminer`` is quick and
torch, matplotlib or distributed load only where they are needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from columnminer.model.parameters import Parameter as Parameter

_HOMES = {}

__all__ = []


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name not in _HOMES:
        msg = f"module 'columnminer' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
