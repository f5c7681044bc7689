"""What the log of MadGraph5_aMC@NLO says while it grows: how far a run is, and what went wrong.

Its exit status says nothing: mg5_aMC ends with 0 whatever happened.
"""

from __future__ import annotations

import re
from collections import deque

__all__ = ["MadGraphLog"]

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_JOBS = re.compile(r"Idle:\s*(\d+),\s*Running:\s*(\d+),\s*Completed:\s*(\d+)")
_EVENTS = re.compile(r"Nb of events\s*:\s*(\d+)")
_WEIGHT = re.compile(r"^launch --rwgt_name=(\S+)")
_REWEIGHTED = re.compile(r"Event nb (\d+)")
_FAULT = re.compile(
    r"^\s*(ERROR|CRITICAL|Error\b|Fatal\b|Traceback|Command (?!\"quit).* interrupted|.*\.sh: line \d+"
    r"|[\w.]*(Error|Exception)\s*:|make.*\*\*\*|.*:\d+:\d+: error|Segmentation fault|Killed|STOP\b)"
)

_QUOTED = 12


class MadGraphLog:
    """Follows a log line by line.

    Attributes
    ----------
    faults : list of str
        Lines that say what went wrong, each with those that follow it, up to a dozen.
    last : deque of str
        Last three lines that were not empty.
    """

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.last: deque[str] = deque(maxlen=3)
        self._quoting = 0
        self._weight = ""
        self._n_events = "?"

    def follow(self, line: str) -> str | None:
        """Take the next line; return how far the run is, where it says so."""
        line = _COLOUR.sub("", line).rstrip()
        if not line.strip():
            return None
        self.last.append(line)
        self._quoting = 5 if _FAULT.match(line) else self._quoting - 1
        if self._quoting > 0 and len(self.faults) < _QUOTED:
            self.faults.append(line)
        return self._progress(line)

    def _progress(self, line: str) -> str | None:
        if jobs := _JOBS.search(line):
            idle, running, completed = map(int, jobs.groups())
            return f"{completed} of {idle + running + completed} jobs completed"
        if events := _EVENTS.search(line):
            self._n_events = events[1]
            return f"{self._n_events} events generated"
        if weight := _WEIGHT.search(line):
            self._weight = weight[1]
            return f"weights of benchmark {self._weight}"
        if self._weight and (event := _REWEIGHTED.search(line)):
            return f"weights of benchmark {self._weight}: {event[1]} of {self._n_events} events"
        return None

    @property
    def complaint(self) -> str:
        """The faults, or the last lines where none was recognised, for an error message."""
        lines = self.faults or self.last
        says = "says" if self.faults else "ends with"
        return f"its log {says}:\n" + "\n".join(f"  {line}" for line in lines) if lines else "its log is empty"
