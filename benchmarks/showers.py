"""Showers: Pythia's events as arrays, beside Pythia alone on the same file."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import columnminer as cm
from benchmarks.timing import Row, Timing
from columnminer import streams

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EVENTS = 400
ROUNDS = 6
QUIET = ("Print:quiet = on", "SLHA:verbose = 0")


def rows(path: Path, name: str) -> list[Row]:
    """Return rows for the first events of a file; starting Pythia counts in the last row only.

    All take turns, and processor time counts where all happens in this process: shared machines are not quiet for long.
    """
    import pythia8mc  # noqa: PLC0415 - the extra 'generate'

    from columnminer.generate.pythia_process import frames, generator  # noqa: PLC0415 - needs it, too

    key = streams.key(0, "benchmark")

    def alone() -> Callable[[], object]:
        pythia = pythia8mc.Pythia("", False)
        for setting in (*QUIET, "Beams:frameType = 4", f"Beams:LHEF = {path}"):
            pythia.readString(setting)
        pythia.init()
        return lambda: [pythia.next() for _ in range(EVENTS)]

    def arrays() -> Callable[[], object]:
        pythia, source = generator(QUIET, str(path), key)
        return lambda: [columns["px"] for _, columns in frames(pythia, source, EVENTS)]

    def reader() -> Callable[[], object]:
        return lambda: next(cm.PythiaReader(path).batches(EVENTS))

    seconds: dict[Callable[[], Callable[[], object]], list[float]] = {alone: [], arrays: [], reader: []}
    for _ in range(ROUNDS):
        for make, spent in seconds.items():
            work, clock = make(), time.perf_counter if make is reader else time.process_time
            start = clock()
            work()
            spent.append(clock() - start)
    limit, within, through = (Timing(spent[0], statistics.median(spent[1:])) for spent in seconds.values())
    return [
        Row(f"Pythia -> arrays, {name}", EVENTS, within, "<= 1.2 of limit", limit),
        Row(f"PythiaReader, {name}, with its start", EVENTS, through, "", limit),
    ]
