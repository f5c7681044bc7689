"""Showering Les Houches events with Pythia: straight to batches of events, or to HepMC3 files.

==============================  ====================================================================================
``PythiaReader(path, ...)``     a `Reader` of the showered events; ``Sample(..., shower=...)`` makes `process` use it
``showers.shower(...)``         HepMC3 files, for other programs, or to be read often
==============================  ====================================================================================

Pythia (C. Bierlich et al., SciPost Phys. Codebases 8 (2022), arXiv:2203.11601) runs in a process of its own
(`pythia_process`). Weights are those of the file, taken from it by the number of the event: Pythia gives them relative
to the nominal one. An event that Pythia gives up, or that matching vetoes, stays in its place, marked as vetoed.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from columnminer import streams
from columnminer.errors import FileFormatError, MissingError
from columnminer.formats.fingerprint import fingerprint
from columnminer.formats.lhe import LHEReader
from columnminer.formats.opening import open_reader
from columnminer.formats.pythia_card import setting_lines
from columnminer.generate.pythia_child import Child, checked
from columnminer.schema import EVENT_FIELDS, EventBatch, jagged

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from columnminer.formats.lhe_header import LHEInfo
    from columnminer.formats.pythia_card import Settings

__all__ = ["PATIENCE", "PythiaReader", "raw_weights", "require_pythia"]

_log = logging.getLogger(__name__)

PATIENCE = 600.0
"""Seconds in which Pythia has to finish its next 200 events."""

BATCH = 2_000
"""Events at a time that keep memory low: 20 kB each, and as much again to cluster them."""

LOG_INTERVAL = 10.0
"""Seconds between lines of progress."""

_PARTICLE_COLUMNS = ("px", "py", "pz", "e", "pdgid", "status")


class PythiaReader:
    """Reader of the events of a Les Houches file after shower and hadronisation.

    Parameters
    ----------
    path
        Les Houches event file, plain or gzip.
    settings
        Of Pythia: ``{"PartonLevel:MPI": False}``, or the text of a card with a setting in each line. Beams, input and
        random numbers are set here.
    seed
        Of the shower. An event is a function of seed, file content, number and settings alone, so that it is the same
        in whatever batch, on whatever worker.
    digest
        Whether to hash the file while its events are read.
    patience
        Seconds in which Pythia has to finish its next 200 events.

    Attributes
    ----------
    path : str
        As given.
    content : dict or None
        Size [bytes] and SHA-256 of the file, once a pass with `digest` has yielded all batches.

    Raises
    ------
    InputError
        If a setting is none, or is not for the user to set.
    MissingError
        If Pythia is not installed.

    Examples
    --------
    >>> reader = cm.PythiaReader("signal_sm.lhe.gz", {"PartonLevel:MPI": False})
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        settings: Settings = None,
        *,
        seed: int = 0,
        digest: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        require_pythia()
        self.path = str(path)
        self.content: dict[str, int | str] | None = None
        self._settings = setting_lines(settings)
        self._seed, self._digest, self._patience = seed, digest, patience

    def info(self) -> LHEInfo:
        """Return what the file says of itself.

        Raises
        ------
        FileFormatError
            If it is no Les Houches file.
        InputError
            If the file cannot be opened, or Pythia does not take a setting.
        """
        checked(self._settings)
        return dataclasses.replace(self._partons().info(), batch_size=BATCH)

    def batches(self, size: int = 20_000, skip: int = 0) -> Iterator[EventBatch]:
        """Yield the showered events in the order of the file, `size` at a time, passing over the first `skip`.

        Raises
        ------
        FileFormatError
            If the file breaks its format; names the event. Batches before it have been yielded.
        GeneratorError
            If Pythia dies, or takes too long.
        InputError
            If Pythia does not take a setting, or does not start; quotes what it says.
        """
        partons = self._partons()
        n_tried = n_kept = 0
        for batch, columns in self._showered(partons, size, skip, whole=False):
            n_tried, n_kept = n_tried + len(batch), n_kept + len(columns["number"])
            yield _joined(batch, columns)
        if n_kept < n_tried:
            _log.warning("%s: %d of %d events did not come out of the shower", self.path, n_tried - n_kept, n_tried)
        self.content = partons.content

    def whole_events(self, size: int = 1_000) -> Iterator[tuple[EventBatch, dict[str, NDArray[Any]]]]:
        """Yield the parton-level events with Pythia's whole records; see `pythia_record.event_columns`."""
        yield from self._showered(self._partons(), size, 0, whole=True)

    def _partons(self) -> LHEReader:
        reader = open_reader(self.path, digest=self._digest)
        if not isinstance(reader, LHEReader):
            msg = f"{self.path}: Pythia showers Les Houches files, and this is none"
            raise FileFormatError(msg)
        return reader

    def _showered(
        self, partons: LHEReader, size: int, skip: int, *, whole: bool
    ) -> Iterator[tuple[EventBatch, dict[str, NDArray[Any]]]]:
        """Yield batches of partons, each with the columns of its events that came out of the shower."""
        partons.info()  # what is wrong with the file is better said by its own reader
        key = streams.key(self._seed, "shower", int(fingerprint(Path(self.path))[:16], 16))
        order = {"path": self.path, "settings": self._settings, "key": key, "skip": skip, "size": size, "whole": whole}
        said = time.monotonic()
        with Child(order, self.path, self._patience) as child:
            for batch in partons.batches(size, skip):
                frames, through, stop = [], batch.first_event, batch.first_event + len(batch)
                while through < stop:
                    frame = child.frame()
                    if frame is None:
                        msg = f"{self.path}: Pythia can read no event {through}"
                        raise FileFormatError(msg)
                    through = frame.through
                    frames.append(frame.columns)
                    if time.monotonic() - said > LOG_INTERVAL:
                        said = time.monotonic()
                        _log.info("%s: showered %d events", self.path, through)
                yield batch, {name: np.concatenate([f[name] for f in frames]) for name in frames[0]}


def _joined(partons: EventBatch, columns: Mapping[str, NDArray[Any]]) -> EventBatch:
    """Return the showered events with the weights and scales of the partons that they began with."""
    given = columns["number"] - partons.first_event
    counts = np.zeros(len(partons), dtype=np.int64)
    vetoed = np.ones(len(partons), dtype=np.bool_)
    counts[given], vetoed[given] = columns["counts"], False
    particles = jagged(counts, {name: columns[name] for name in _PARTICLE_COLUMNS})
    header = {name: partons.events[name] for name in EVENT_FIELDS}
    return EventBatch(
        ak.Array({"particles": particles, **header}),
        raw_weights(partons, columns),
        partons.weight_names,
        partons.first_event,
        partons.source,
        showered=True,
        vetoed=vetoed if vetoed.any() else None,
    )


def raw_weights(partons: EventBatch, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Return the raw weights, with the factor that merging puts on all weights of an event."""
    nominal = partons.weights[:, 0]
    factor = np.where(nominal < 0, -1.0, 1.0)  # Pythia's weight of an event has its sign
    factor[columns["number"] - partons.first_event] *= columns["factor"]
    # An event that was given up keeps its weight: it counts among those that were generated.
    factor[np.isin(np.arange(len(partons)), columns["number"] - partons.first_event, invert=True)] = 1.0
    return partons.weights * factor[:, np.newaxis]


def require_pythia() -> None:
    """Check that Pythia can be imported.

    Raises
    ------
    MissingError
        If not; says how to install it.
    """
    if importlib.util.find_spec("pythia8mc") is None:
        msg = 'showers need Pythia, which is not installed: python -m pip install "columnminer[generate]"'
        raise MissingError(msg)
