"""Atomic publishing: a folder is written under a temporary name and appears, complete, by one rename.

What a reader can see under its final name is therefore never half-written, whenever a process dies. Of several writers
of the same thing the first to finish wins.
"""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import uuid
from typing import TYPE_CHECKING, Any

from columnminer.errors import OutputExistsError
from columnminer.files import appearing, delete, writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["read_json", "require_free", "staged", "write_json"]

_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}


def require_free(path: Path, *, replace: bool = False) -> None:
    """Refuse an output path that is taken, unless it may be replaced.

    Raises
    ------
    OutputExistsError
        If something is at `path` and `replace` is false.
    """
    if not replace and path.exists():
        msg = f"{path} exists already. Choose another output, or pass replace=True to overwrite it."
        raise OutputExistsError(msg)


@contextlib.contextmanager
def staged(final: Path, *, replace: bool = False, within: Path | None = None) -> Iterator[Path]:
    """Yield an empty temporary folder, and rename it to `final` when the block ends without an error.

    Parameters
    ----------
    final
        Where the folder is to appear.
    replace
        Whether a folder that is there already gives way (by two renames, so that no reader sees a mixture).
    within
        Where to put the temporary folder, on the same file system; None: beside `final`.

    Raises
    ------
    OutputExistsError
        If `final` is there at the end (another writer was first) and may not be replaced; ours is deleted.
    StorageError
        If there is no room for it.
    """
    require_free(final, replace=replace)
    temporary = (within or final.parent) / f".{final.name}.{uuid.uuid4().hex}.tmp"
    try:
        with writing(final):
            temporary.mkdir()
            yield temporary
            if replace and final.exists():
                _swap(temporary, final)
            else:
                _rename(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename(temporary: Path, final: Path) -> None:
    try:
        temporary.rename(final)
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
        msg = f"{final} was written by somebody else in the meantime; theirs stands"
        raise OutputExistsError(msg) from error


def _swap(temporary: Path, final: Path) -> None:
    old = temporary.with_suffix(".old")
    with contextlib.suppress(FileNotFoundError):  # another writer is about to replace it, too
        final.rename(old)
    try:
        _rename(temporary, final)
    finally:
        if final.exists():
            delete(old)
        else:
            old.rename(final)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write `document` to `path` in one step: a reader finds the old file, or the new one, or none."""
    with appearing(path) as new:
        new.write_text(json.dumps(document, indent=1, sort_keys=True), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON document at `path`."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document
