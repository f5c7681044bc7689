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


@dataclass(frozen=True)
class Row:
    """A line of the table: `n` events (or pairs) in `timing`, None where it could not be measured."""

    what: str
    n: int
    timing: Timing | None
    wanted: str
    limit: Timing | None = None
    remark: str = ""

    def cells(self) -> list[str]:
        if self.timing is None:
            return [self.what, "", "", "", "", self.wanted, "", "", self.remark]
        limit = ["", ""]
        if self.limit is not None:
            limit = [f"{self.limit.median:.4f}", f"{self.timing.median / self.limit.median:.1f}"]
        return [
            self.what,
            f"{self.n:,}",
            f"{self.timing.cold:.3f}",
            f"{self.timing.median:.4f}",
            f"{self.n / self.timing.median:,.0f}",
            self.wanted,
            *limit,
            self.remark,
        ]


def measure(work: Callable[[], object], repeats: int = 5) -> Timing:
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return Timing(seconds[0], statistics.median(seconds[1:]))
