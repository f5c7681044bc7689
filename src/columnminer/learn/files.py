"""Estimators at rest: a folder with ``estimator.json`` and ``weights.safetensors``, and nothing that is executed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from columnminer.errors import FileFormatError, OutputExistsError
from columnminer.store.commit import staged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

__all__ = ["read_estimator", "write_estimator"]

FORMAT = "columnminer estimator"
FORMAT_VERSION = 1
_DOCUMENT = "estimator.json"
_WEIGHTS = "weights.safetensors"


def write_estimator(
    folder: str | Path,
    document: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    *,
    replace: bool = False,
    beside: Mapping[str, bytes] | None = None,
) -> None:
    """Write an estimator's folder in one step, with further files `beside` by their names.

    Raises
    ------
    OutputExistsError
        If the folder is there, and is not to be replaced or holds something else.
    """
    folder = Path(folder)
    if folder.exists() and not (replace and (folder / _DOCUMENT).is_file()):
        reason = "give replace=True to overwrite it" if not replace else "it holds no estimator, and is left alone"
        msg = f"{folder} exists: {reason}"
        raise OutputExistsError(msg)
    text = json.dumps({"format": FORMAT, "format_version": FORMAT_VERSION, **document}, indent=2, allow_nan=False)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with staged(folder, replace=replace) as fresh:
        (fresh / _DOCUMENT).write_text(text + "\n", encoding="utf-8")
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, fresh / _WEIGHTS)
        for name, content in (beside or {}).items():
            (fresh / name).write_bytes(content)


def read_estimator(folder: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the document and the tensors of an estimator's folder.

    Raises
    ------
    FileFormatError
        If there is no estimator, it is damaged, or it was written by a newer version.
    """
    folder = Path(folder)
    try:
        document = json.loads((folder / _DOCUMENT).read_text(encoding="utf-8"))
        tensors = load_file(folder / _WEIGHTS)
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        msg = f"{folder}: no estimator can be read here: {error}"
        raise FileFormatError(msg) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        msg = f"{folder / _DOCUMENT}: this is no estimator of columnminer: its 'format' is not {FORMAT!r}"
        raise FileFormatError(msg)
    if document.get("format_version") != FORMAT_VERSION:
        msg = (
            f"{folder / _DOCUMENT}: format_version {document.get('format_version')!r} is not known here; "
            f"this version reads {FORMAT_VERSION}"
        )
        raise FileFormatError(msg)
    return document, tensors
