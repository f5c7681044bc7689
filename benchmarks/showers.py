"""Showers: Pythia's events as arrays, beside Pythia alone on the same events in the same process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import columnminer as cm
from benchmarks.timing import Row, measure
from columnminer import streams

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = 500
QUIET = ("Print:quiet = on", "SLHA:verbose = 0")


def rows(path: Path, name: str) -> list[Row]:
    """Return rows for the first events of a file; starting Pythia is in the last row only."""
    from columnminer.generate.pythia_process import frames, generator  # noqa: PLC0415 - starts Pythia's libraries

    def alone() -> int:
        pythia, source = made.pop()
        source.stop = EVENTS
        return sum(pythia.next() for _ in range(EVENTS))

    def arrays() -> int:
        return sum(len(columns["px"]) for _, columns in frames(*made.pop(), EVENTS))

    def reader() -> int:
        return len(next(cm.PythiaReader(path).batches(EVENTS)))

    key = streams.key(0, "benchmark")
    made = [generator(QUIET, str(path), key) for _ in range(12)]
    limit = measure(alone)
    return [
        Row(f"Pythia -> arrays, {name}", EVENTS, measure(arrays), "<= 1.2 of limit", limit),
        Row(f"PythiaReader, {name}, with its start", EVENTS, measure(reader), "", limit),
    ]
