"""The process in which Pythia runs: a Les Houches file in, frames of columns out.

Pythia is compiled code that prints, keeps a state and may crash or never end, so that it gets a process of its own;
`pythia` starts that and listens. The order comes as JSON on the standard input, frames go to the standard output (see
`pythia_frames`), and whatever Pythia prints goes to the standard error.

Pythia reads the file itself, so that headers which it understands (decay tables, settings of matching and merging) and
scales count. Before each event its random numbers start afresh from the event's number: an event is the same whichever
were showered before it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import IO, TYPE_CHECKING, Any

import awkward as ak
import pythia8mc

from columnminer import streams
from columnminer.generate.pythia_frames import write_frame
from columnminer.generate.pythia_record import event_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["RefusedError", "Source", "frames", "generator", "main"]

CHUNK = 200
"""Events between frames: Pythia's whole record of them takes 30 MB."""

_OWN = ("Beams:frameType = 5", "Random:setSeed = on", "Random:seed = 1", "Next:numberCount = 0", "Print:errors = on")
_ON_OR_OFF = {"on", "off", "true", "false", "yes", "no", "ok", "1", "0"}
_LARGEST_SEED = 900_000_000
_BROKEN = 20  # attempts in a row that read no event, where each reads at least one
_NAMES = ("Flag", "Mode", "Parm", "Word", "FVec", "MVec", "PVec", "WVec")


class RefusedError(Exception):
    """Pythia does not take a setting, or does not start; what is wrong with it in words, and which setting."""

    def __init__(self, message: str, setting: str | None = None) -> None:
        super().__init__(message)
        self.setting = setting


class Source(pythia8mc.LHAupLHEF):  # type: ignore[misc] # compiled, without types
    """The event file, with a count of its events.

    Parameters
    ----------
    pythia
        Who reads it.
    path
        Les Houches event file.
    key
        From `streams.key`: the random numbers of the shower.

    Attributes
    ----------
    number : int
        How many events have been read: the number of the next one.
    stop : int
        Number of the event before which the file seems to end.
    ended : bool
        Whether there are no further events.
    """

    def __init__(self, pythia: Any, path: str, key: int) -> None:
        super().__init__(pythia.infoPython(), path, None, True, True)
        self.number, self.stop, self.ended = 0, 0, False
        self._pythia, self._key = pythia, key

    def setInit(self) -> bool:  # noqa: N802 - the name in C++
        """Read the header. Every event is taken as it comes; what its weight means is not Pythia's to judge."""
        read = bool(super().setInit())
        self.setStrategy(-3)
        return read

    def setEvent(self, process: int = 0) -> bool:  # noqa: N802 - the name in C++
        """Read the next event."""
        if self.number >= self.stop:
            return False
        if not super().setEvent(process):
            self.ended = True
            return False
        # The number of the event travels as AQEDUP, which Pythia hands back and makes no use of: of the events that it
        # has read it does not say which it gave up. Values up to 0.001 would be replaced.
        self.aqedupSave = float(self.number + 1)
        self.setOldEventLHEF()
        uniform = streams.uniform(self._key, self.number)
        self._pythia.rndm.init(1 + int(float(uniform) * _LARGEST_SEED))
        self.number += 1
        return True

    def pass_over(self, n: int) -> None:
        """Read `n` events without showering them."""
        for _ in range(n):
            if not self.setNewEventLHEF():
                self.ended = True
                return
            self.number += 1


def generator(settings: Sequence[str], path: str, key: int) -> tuple[Any, Source]:
    """Return a Pythia that is ready to shower the events of a file, and its source.

    Raises
    ------
    RefusedError
        If it does not take a setting, or does not start.
    """
    pythia = configured(settings)
    source = Source(pythia, path, key)
    pythia.setLHAupPtr(source)
    if not pythia.init():
        msg = "Pythia does not start"
        raise RefusedError(msg)
    return pythia, source


def configured(settings: Sequence[str]) -> Any:
    """Return a Pythia with settings, before it starts.

    Raises
    ------
    RefusedError
        If it does not take one of them.
    """
    pythia = pythia8mc.Pythia("", False)
    for setting in (*settings, *_OWN):
        name, _, value = (part.strip() for part in setting.partition("="))
        mistaken = pythia.settings.isFlag(name) and value.lower() not in _ON_OR_OFF  # it would be taken for "off"
        if mistaken or not pythia.readString(setting):
            msg = f"Pythia does not take the setting {setting!r}"
            raise RefusedError(msg, None if mistaken else name)
    return pythia


def known_settings() -> list[str]:
    """Return the names of all settings."""
    settings = pythia8mc.Pythia("", False).settings
    return [str(entry.name) for kind in _NAMES for entry in getattr(settings, f"get{kind}Map")("").values()]


def frames(
    pythia: Any, source: Source, stop: int, *, whole: bool = False
) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
    """Shower the events up to the one with number `stop`, or the end of the file.

    Parameters
    ----------
    pythia, source
        From `generator`.
    stop
        Number of the first event that is left out.
    whole
        As `event_columns` has it.

    Yields
    ------
    through : int
        All events with smaller numbers have been tried; those whose number is in no column were given up.
    columns : dict
        Of `event_columns`.

    Raises
    ------
    RefusedError
        If Pythia reads no events any more.
    """
    futile = 0
    while source.number < stop and not source.ended:
        before = source.number
        source.stop = min(before + CHUNK, stop)
        batch = pythia.nextBatch(source.stop - before, "none")
        futile = futile + 1 if source.number == before and not source.ended else 0
        if futile > _BROKEN:
            msg = f"Pythia does not get beyond event {before}"
            raise RefusedError(msg)
        yield source.number, event_columns(ak.drop_none(batch, axis=0), whole=whole)


def main() -> None:
    """Do what the order on the standard input says."""
    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Compiled code writes to file descriptor 1, whatever Python's sys.stdout is.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        if "path" not in order:
            configured(order["settings"])
        else:
            _shower(order, out)
    except RefusedError as error:
        known = {"setting": error.setting, "known": known_settings()} if error.setting else {}
        write_frame(out, {"refused": str(error), **known})
    else:
        write_frame(out, {"end": True})


def _end_with_parent() -> None:
    """End when the standard input does, which lasts as long as the process that started us wants events."""
    while os.read(0, 1):  # sys.stdin would keep a lock that the interpreter wants when it ends
        pass
    os._exit(1)


def _shower(order: Mapping[str, Any], out: IO[bytes]) -> None:
    pythia, source = generator(order["settings"], order["path"], order["key"])
    source.pass_over(order["skip"])
    while not source.ended:
        for through, columns in frames(pythia, source, source.number + order["size"], whole=order["whole"]):
            write_frame(out, {"through": through}, columns)


if __name__ == "__main__":
    main()
