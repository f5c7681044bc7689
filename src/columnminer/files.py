"""Files that are there whole or not at all, disks that are full, and files that one process holds."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import uuid
from typing import TYPE_CHECKING

from columnminer.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["appearing", "delete", "locked", "writing"]

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Yield where to write a file that appears at `path`, in place of one there, by one rename.

    It does so when the block ends without an error; otherwise what was written is deleted. For folders see
    `columnminer.store.commit.staged`.

    Raises
    ------
    StorageError
        If there is no room for it.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with writing(path):
            yield temporary
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def delete(path: Path) -> None:
    """Delete a file, or a folder with all that is in it, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say where there was no room, and what to do then, whichever library ran out of it in the block.

    Raises
    ------
    StorageError
        If there is no room for what is written at `path`.
    """
    try:
        yield
    except Exception as error:
        # Tasks, HDF5 and safetensors raise errors of their own, which only quote that of the system.
        code = next((c for c in _NO_ROOM if getattr(error, "errno", None) == c or os.strerror(c) in str(error)), None)
        if code is None:
            raise
        msg = (
            f"{path} cannot be written: {os.strerror(code)}. Make room in {path.parent} and call again (what is "
            "complete is kept), or name an output elsewhere"
        )
        raise StorageError(msg) from error


@contextlib.contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold a file alone until the block or the process ends, however that does.

    Where the system, or the file system, knows no locks, everybody may hold it.

    Raises
    ------
    BlockingIOError
        If another process holds it, and `wait` is false.
    FileNotFoundError
        If it is not there, or not any more when it could be held.
    """
    with path.open("r+b") as file:
        if sys.platform != "win32":
            import fcntl  # noqa: PLC0415 - absent elsewhere

            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
        if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise FileNotFoundError(errno.ENOENT, "another file has taken its place", str(path))
        yield
