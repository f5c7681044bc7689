"""Starting the process of Pythia, listening to it, and saying what became of it where it ends before its work does."""

from __future__ import annotations

import contextlib
import functools
import json
import queue
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Self, cast

from columnminer.errors import GeneratorError, InputError, did_you_mean
from columnminer.generate.pythia_frames import read_frame

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from numpy.typing import NDArray

__all__ = ["Child", "Frame", "checked"]

_START = 120.0  # seconds for importing and looking at settings alone
_AHEAD = 4  # frames that wait for us at most; the process then waits, too
_TOLD = ("error", "abort", "warning")
_LINES = 4


@dataclass(frozen=True)
class Frame:
    """Columns of showered events, and the number of the first event that has not been tried."""

    through: int
    columns: Mapping[str, NDArray[Any]]


class Child:
    """A process with Pythia in it, for a ``with`` statement.

    Parameters
    ----------
    order
        What it shall do; see `pythia_process.main`.
    what
        What messages call its work: the file.
    patience
        Seconds to wait for each frame.
    """

    def __init__(self, order: Mapping[str, Any], what: str, patience: float) -> None:
        self._order, self._what, self._patience = order, what, patience
        self._frames: queue.Queue[tuple[dict[str, Any], dict[str, NDArray[Any]]] | None] = queue.Queue(_AHEAD)
        self._over = threading.Event()
        self._through = int(order.get("skip", 0))

    def __enter__(self) -> Self:
        self._log = tempfile.TemporaryFile()
        # The module of this package, in the Python that runs us; it gets its order through a pipe.
        command = [sys.executable, "-m", "columnminer.generate.pythia_process"]
        self._process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )
        self._to, self._from = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        with contextlib.suppress(OSError):  # it may have died already; whoever asks for a frame will hear why
            self._to.write(json.dumps(dict(self._order)).encode() + b"\n")
            self._to.flush()  # it stays open: when we die, the process sees its end
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._process.kill()
        self._process.wait()
        self._thread.join()
        for stream in (self._to, self._from):
            with contextlib.suppress(OSError):  # unsent bytes of an order that nobody reads any more
                stream.close()
        self._log.close()

    def _listen(self) -> None:
        """Read frames until there are no more, or nobody wants them; in a thread, as pipes cannot be waited for."""
        while not self._over.is_set():
            frame = read_frame(self._from)
            while not self._over.is_set():
                try:
                    self._frames.put(frame, timeout=0.2)
                    break
                except queue.Full:
                    continue
            if frame is None:
                return

    def frame(self) -> Frame | None:
        """Return the next frame; None where the work is done.

        Raises
        ------
        GeneratorError
            If there is none in time, or the process has died.
        InputError
            If Pythia refuses a setting, or to start.
        """
        try:
            answer = self._frames.get(timeout=self._patience)
        except queue.Empty:
            msg = (
                f"{self._what}: Pythia has not finished its next events after event {self._through} within "
                f"{self._patience:g} s{self._said()}"
            )
            raise GeneratorError(msg) from None
        if answer is None:
            status = self._process.wait()
            how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            msg = f"{self._what}: the process of Pythia {how} after event {self._through}{self._said()}"
            raise GeneratorError(msg)
        said, columns = answer
        if "refused" in said:
            name, known = said.get("setting", ""), said.get("known", [])
            guess = "" if name.lower() in map(str.lower, known) else did_you_mean(name, known)
            msg = f"{self._what}: {said['refused']}{self._said() or '.'}{guess}"
            raise InputError(msg)
        if "through" not in said:
            return None
        self._through = int(said["through"])
        return Frame(self._through, columns)

    def _said(self) -> str:
        """Return what Pythia printed last, errors before all else."""
        self._log.seek(0)
        lines = [line.strip(" |*:\t") for line in self._log.read().decode(errors="replace").splitlines()]
        lines = [line for line in lines if line.strip("-= ")]
        told = [line for line in lines if any(word in line.lower() for word in _TOLD)] or lines
        return f". It says: {' / '.join(dict.fromkeys(told[-_LINES:]))}." if told else ""


@functools.lru_cache(maxsize=64)
def checked(settings: tuple[str, ...]) -> None:
    """Have Pythia look at settings, which it remembers.

    Raises
    ------
    InputError
        If it does not take one of them.
    GeneratorError
        If it does not answer.
    """
    if not settings:
        return
    with Child({"settings": settings}, "settings", _START) as child:
        child.frame()
