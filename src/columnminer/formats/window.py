"""A window that moves forward over the bytes of a file, plain or gzip, and can take their hash on the way."""

from __future__ import annotations

import hashlib
import io
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from isal import igzip, igzip_lib

from columnminer.errors import FileFormatError, InputError
from columnminer.formats.machine import PADDING

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

__all__ = ["Window"]

_DAMAGE: Any = (OSError, zlib.error, igzip_lib.IsalError)  # what gunzipping raises (Any: isal's types are wrong here)

_PIECE = 1 << 16  # bytes read at once: where a file is damaged, those before the damage count, but for the last piece
_START = 1 << 20  # bytes: fits into the second-level cache together with the columns that are being written
_LIMIT = 1 << 28  # bytes: no header and no event is longer


class _File(io.RawIOBase):
    """The bytes of a file as they lie on disk; reading them feeds the hash, if there is one."""

    def __init__(self, path: str, digest: bool) -> None:
        try:
            self._file = Path(path).open("rb", buffering=0)  # noqa: SIM115 - `close` closes it
        except OSError as error:
            msg = f"cannot open {path!r}: {error.strerror}"
            raise InputError(msg) from error
        self.hash = hashlib.sha256() if digest else None
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        n = self._file.readinto(buffer)
        if self.hash is not None:
            self.hash.update(memoryview(buffer)[:n])
        self.size += n
        return n

    def is_gzip(self) -> bool:
        magic = self._file.read(2)
        self._file.seek(0)
        return magic == b"\x1f\x8b"

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class Window:
    """A stretch of the (gunzipped) file, `buffer[:end]`, with the padding behind it that `machine` asks for.

    It starts empty. `advance` drops what has been used and reads on; the window grows where nothing has been used, so
    that the longest thing looked for fits into it.

    Parameters
    ----------
    path
        File to read; gzip is known by its content.
    digest
        Whether to hash the file while reading it.

    Attributes
    ----------
    buffer : numpy.ndarray
        uint8; replaced by a larger one when the window grows.
    end : int
        Number of bytes in the window.

    Raises
    ------
    InputError
        If the file cannot be opened.
    """

    def __init__(self, path: str, digest: bool = False) -> None:
        self.path = path
        self._raw = _File(path, digest)
        gunzip: Any = igzip.IGzipFile
        self._stream = gunzip(fileobj=self._raw, mode="rb") if self._raw.is_gzip() else self._raw
        self.buffer: NDArray[np.uint8] = np.zeros(_START + PADDING, dtype=np.uint8)
        self.end = 0
        self._fault: FileFormatError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stream.close()
        self._raw.close()

    def advance(self, used: int) -> bool:
        """Drop the first `used` bytes and read on; return False where the file has ended.

        Raises
        ------
        FileFormatError
            If the gzip stream is damaged or cut, once there is nothing before that which could be read; or if nothing
            in a very long stretch was of use.
        """
        rest = self.end - used
        capacity = len(self.buffer) - PADDING
        if rest > capacity // 2:
            if capacity >= _LIMIT:
                msg = f"{self.path}: {capacity >> 20} MB hold neither a whole header nor a whole event"
                raise FileFormatError(msg)
            old, self.buffer = self.buffer, np.zeros(2 * capacity + PADDING, dtype=np.uint8)
            self.buffer[:rest] = old[used : self.end]
        else:
            self.buffer[:rest] = self.buffer[used : self.end]
        self.end = rest
        if self._fault is None:
            self._fault = self._read()
        self.buffer[self.end : self.end + PADDING] = 0
        if self._fault is not None and self.end == rest:
            raise self._fault
        return self.end > rest

    def _read(self) -> FileFormatError | None:
        """Fill the window; return what is wrong with the file behind the bytes that could be read."""
        room = len(self.buffer) - PADDING
        try:
            while self.end < room:
                n = self._stream.readinto(self.buffer.data[self.end : min(self.end + _PIECE, room)])
                if not n:
                    break
                self.end += n
        except EOFError:
            return FileFormatError(f"{self.path}: the compressed file ends too early, it was cut while being written")
        except _DAMAGE as error:
            return FileFormatError(f"{self.path}: cannot be read on: {error}")
        return None

    @property
    def address(self) -> int:
        """Address of the first byte, for kernels: valid until the next `advance`."""
        return self.buffer.ctypes.data

    def bytes(self, start: int = 0, stop: int | None = None) -> bytes:
        """Return a copy of part of the window."""
        return self.buffer[start : self.end if stop is None else min(stop, self.end)].tobytes()

    def content(self) -> dict[str, int | str] | None:
        """Return size [bytes] and SHA-256 of what has been read from disk: of the whole file, once it has ended."""
        return {"size": self._raw.size, "sha256": self._raw.hash.hexdigest()} if self._raw.hash else None
