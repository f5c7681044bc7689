"""How the benchmarks measure: the first, cold call apart, then the median of five."""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SHARED = Path(os.environ.get("COLUMNMINER_SHARED", Path(__file__).resolve().parents[2] / "shared"))
VBF = SHARED / "data" / "vbf"


@dataclass(frozen=True)
class Timing:
    """Seconds of the first call and of the median of those after it."""

    cold: float
    median: float


def measure(work: Callable[[], object], repeats: int = 5) -> Timing:
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return Timing(seconds[0], statistics.median(seconds[1:]))
