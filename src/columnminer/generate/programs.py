"""Running other programs: with their output in a log that is followed while they run, and never longer than allowed."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from columnminer.bars import bar
from columnminer.errors import GeneratorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import TextIO

__all__ = ["run_program"]

_log = logging.getLogger(__name__)

POLL_INTERVAL = 0.2
"""Seconds between looks at the log of a running program."""

LOG_INTERVAL = 10.0
"""Seconds between lines of progress where there is no terminal."""

GRACE = 5.0
"""Seconds that a program has to end after it was asked to, before it is killed."""


def run_program(
    command: Sequence[str],
    log: Path,
    *,
    folder: Path,
    what: str,
    timeout: float | None = None,
    follow: Callable[[str], str | None],
    progress: bool = True,
) -> int:
    """Run a program to its end, and return its exit status.

    It ends with us: when it takes too long, and when this call is interrupted, it and all programs that it started are
    ended.

    Parameters
    ----------
    command
        Program and arguments, which no shell looks at.
    log
        File that its output (and errors) go to; one that is there is replaced.
    folder
        Where it works.
    what
        What to call it in messages.
    timeout
        Seconds that it may take; None: as long as it likes.
    follow
        Called with each line of output; a text that it returns says how far the program is.
    progress
        Whether to show these texts: in one line on a terminal, as log lines elsewhere.

    Raises
    ------
    GeneratorError
        If it cannot be started, or takes too long.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output, log.open("r", encoding="utf-8", errors="replace") as lines:
        try:
            process = subprocess.Popen(  # noqa: S603 - a list of arguments, which is all that this function is for
                list(command),
                stdin=subprocess.DEVNULL,  # a question that is asked after all finds nobody, instead of waiting
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                start_new_session=True,  # so that all it starts can be ended together
            )
        except OSError as error:
            msg = f"{what} cannot be started: {command[0]}: {error.strerror}"
            raise GeneratorError(msg) from error
        end = None if timeout is None else time.monotonic() + timeout
        try:
            with _display(what, visible=progress) as show:
                while True:
                    status = _wait(process)
                    for line in _new_lines(lines, last=status is not None):
                        if text := follow(line):
                            show(text)
                    if status is not None:
                        return status
                    if end is not None and time.monotonic() > end:
                        msg = f"{what} was ended after {timeout:g} s, the time it was given; its output is in {log}"
                        raise GeneratorError(msg)
        finally:
            _end(process)


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(POLL_INTERVAL)
    except subprocess.TimeoutExpired:
        return None


def _new_lines(file: TextIO, *, last: bool) -> Iterator[str]:
    """Yield the lines that were added to a file; one that has no end yet only if it is the `last` look."""
    while True:
        here = file.tell()
        line = file.readline()
        if not line or not (line.endswith("\n") or last):
            file.seek(here)
            return
        yield line.rstrip("\n")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the session of a process: also what it left running."""
    for end, grace in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, end)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
            if end is signal.SIGTERM and _alive(process.pid):
                continue
            return


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


@contextlib.contextmanager
def _display(what: str, *, visible: bool) -> Iterator[Callable[[str], None]]:
    """Yield a function that shows how far the program is."""
    last_line = -LOG_INTERVAL
    with bar(what) if visible else contextlib.nullcontext() as move:

        def show(text: str) -> None:
            nonlocal last_line
            if move is not None:
                move(0, text)
            elif visible and time.monotonic() - last_line > LOG_INTERVAL:
                last_line = time.monotonic()
                _log.info("%s: %s", what, text)

        yield show
