"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["appearing"]


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Yield where to write a file that appears at `path`, in place of one there, by one rename.

    It does so when the block ends without an error; otherwise what was written is deleted. For folders see
    `columnminer.store.commit.staged`.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
