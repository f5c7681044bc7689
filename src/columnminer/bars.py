"""How far work is, where somebody watches: a bar on a terminal, or one in a notebook. Elsewhere callers write a log.

The bar of a notebook is one output that is updated: it needs no widgets, and what is saved is its last state.
"""

from __future__ import annotations

import contextlib
import html
import time
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Move", "bar"]

_INTERVAL = 0.2
"""Seconds between updates of a notebook: each of them is a message to the browser."""


class Move(Protocol):
    """What moves a bar."""

    def __call__(self, done: int, note: str = "") -> None:
        """Say how much is done, and what else there is to say."""


@contextlib.contextmanager
def bar(title: str, total: int | None = None) -> Iterator[Move | None]:
    """Yield a function that moves a bar, or None where nobody watches.

    Parameters
    ----------
    title
        What is being done.
    total
        How much there is to do; None: nobody knows, and only notes are shown.
    """
    console = Console(stderr=True)
    if console.is_jupyter:
        own = _NotebookBar(title, total)
        try:
            yield own.move
        finally:
            own.update()
    elif console.is_terminal:
        known = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) if total is not None else (SpinnerColumn(),)
        words, notes = (TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[note]}"))
        with Progress(words, *known, notes, console=console) as shown:
            task = shown.add_task(title, total=total, note="")
            yield lambda done, note="": shown.update(task, completed=done, note=note)
    else:
        yield None


class _NotebookBar:
    """A bar as HTML, with a line of text for what shows no HTML."""

    def __init__(self, title: str, total: int | None) -> None:
        from IPython.display import display  # noqa: PLC0415 - there is a notebook, or this would not be made

        self._title, self._total, self._done, self._note = title, total, 0, ""
        self._start = self._last = time.monotonic()
        self._handle: Any = display(self._content(), raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def move(self, done: int, note: str = "") -> None:
        """Remember how far it is, and show it if it was not shown just before."""
        self._done, self._note = done, note
        if time.monotonic() - self._last >= _INTERVAL:
            self.update()

    def update(self) -> None:
        """Show how far it is."""
        self._last = time.monotonic()
        self._handle.update(self._content(), raw=True)

    def _content(self) -> dict[str, str]:
        words, drawn = [self._note], ""
        if self._total is not None:
            words = [f"{self._done}/{self._total}", self._time(self._total), self._note]
            drawn = f'<progress value="{self._done}" max="{max(self._total, 1)}"></progress> '
        said = ", ".join(word for word in words if word)
        return {
            "text/plain": f"{self._title}: {said}",
            "text/html": f"<div>{html.escape(self._title)} {drawn}{html.escape(said)}</div>",
        }

    def _time(self, total: int) -> str:
        """Return how long it took, or what is left of it if it goes on as it did."""
        elapsed = time.monotonic() - self._start
        if self._done >= total:
            return f"took {_clock(elapsed)}"
        return f"{_clock(elapsed * (total - self._done) / self._done)} left" if self._done else ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
