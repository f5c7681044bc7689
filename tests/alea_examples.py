"""alea's own example models, with its stored toys as their data, and what alea 0.3.5 says of them."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import numpy as np

import columnminer as cm

if TYPE_CHECKING:
    from pathlib import Path

    from columnminer.infer.alea import AleaModel


@functools.cache
def oracle(folder: Path) -> dict[str, Any]:
    """Return alea's numbers by the name of the model's file."""
    return json.loads((folder / "oracle_alea.json").read_text())["models"]


@functools.cache
def loaded(folder: Path, name: str) -> AleaModel:
    """Return a model with the stored toy as its data."""
    model = cm.load_alea(folder / "configs" / name)
    with np.load(folder / oracle(folder)[name]["data"]["file"]) as toy:
        return model.with_data({term: toy[term] for term in model.term_names})
