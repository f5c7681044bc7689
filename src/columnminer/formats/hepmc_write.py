"""Writing events to HepMC3 files (Asciiv3; A. Buckley et al., arXiv:1912.08005), plain or gzip.

Vertices of the file follow from the mothers of particles. Where a generator lets a particle take part in several steps
of its history, which is no graph, the particle ends in the first of them.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np
from isal import igzip

from columnminer.errors import FileFormatError, InputError
from columnminer.files import appearing

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

__all__ = ["HepMCWriter", "described"]

_HEADER = 1 << 16
_PARTICLE = "P %d %d %d %.16e %.16e %.16e %.16e %.16e %d"


class HepMCWriter:
    """A HepMC3 file that is being written, for a ``with`` statement; it appears when all is written.

    Parameters
    ----------
    path
        File to write, gzipped if the name ends in .gz.
    weight_names
        Of the weights, the nominal one first.
    tools
        Name, version and description of the programs that made the events.

    Raises
    ------
    InputError
        If the file cannot be written.
    """

    def __init__(
        self, path: str | os.PathLike[str], weight_names: Sequence[str], tools: Sequence[tuple[str, str, str]] = ()
    ) -> None:
        self.path = Path(path)
        self._appearing = appearing(self.path)
        self._weight_names, self._tools = weight_names, tools

    def __enter__(self) -> Self:
        try:
            zipped = self.path.name.endswith(".gz")
            gzipped: Any = igzip.IGzipFile
            self._file: IO[bytes] = (gzipped if zipped else open)(self._appearing.__enter__(), "wb")
        except OSError as error:
            msg = f"{self.path} cannot be written: {error.strerror or error}"
            raise InputError(msg) from error
        lines = ["HepMC::Version 3.02.05", "HepMC::Asciiv3-START_EVENT_LISTING", "W " + _joined(self._weight_names)]
        self._say([*lines, *("T " + _joined(tool) for tool in self._tools)])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._say(["HepMC::Asciiv3-END_EVENT_LISTING", ""])
        self._file.close()
        self._appearing.__exit__(kind, error, trace)

    def write(
        self, columns: Mapping[str, NDArray[Any]], weights: NDArray[np.float64], cross_sections: NDArray[np.float64]
    ) -> None:
        """Write events.

        Parameters
        ----------
        columns
            Of events: ``number``, ``counts`` of particles. Of particles: px, py, pz, e, m [GeV], pdgid, status, mother1
            (counted from 1 in the event, 0 for none), mother2 (the last of a range; with a minus, a second mother; 0
            for none), x, y, z, t of the production vertex [mm].
        weights
            (n_events, n_weights).
        cross_sections
            (n_events,) as known after each event [pb]; NaN where it is not.
        """
        ends = np.cumsum(columns["counts"])
        for number, end, count, weight, section in zip(
            columns["number"].tolist(), ends, columns["counts"], weights.tolist(), cross_sections.tolist(), strict=True
        ):
            part = {name: c[end - count : end].tolist() for name, c in columns.items() if len(c) == ends[-1]}
            self._say(_event(number, part, weight, section))

    def _say(self, lines: Sequence[str]) -> None:
        self._file.write(("\n".join(lines) + "\n").encode())


def _joined(parts: Sequence[str]) -> str:
    r"""Return texts as one line: backslashes doubled, line ends within and between them as ``\|``."""
    return "\n".join(parts).replace("\\", "\\\\").replace("\n", "\\|")


def _event(number: int, particles: Mapping[str, list[Any]], weights: Sequence[float], section: float) -> list[str]:
    """Return the lines of an event."""
    born_in, goes_into = _vertices(particles["mother1"], particles["mother2"])
    order, incoming = _ordered(born_in, goes_into)
    if len(order) < len(born_in):
        msg = f"event {number}: its particles are their own ancestors, which no HepMC file can say"
        raise FileFormatError(msg)
    new = {old: place for place, old in enumerate(order, start=1)}
    lines = [f"E {number} {len(incoming)} {len(order)}", "U GEV MM", "W " + " ".join(map(repr, weights))]
    if np.isfinite(section):
        lines.append(f"A 0 GenCrossSection {section!r} 0 -1 -1")
    names = {vertex: -k for k, vertex in enumerate(incoming, start=1)}
    said = {0}
    numbers = [particles[name] for name in ("px", "py", "pz", "e", "m")]
    place = [particles[name] for name in ("x", "y", "z", "t")]
    for i in order:
        vertex = born_in[i - 1]
        if vertex not in said:
            said.add(vertex)
            where = [column[i - 1] for column in place]
            at = " @ {!r} {!r} {!r} {!r}".format(*where) if any(where) else ""
            lines.append(f"V {names[vertex]} 0 [{','.join(str(new[m]) for m in incoming[vertex])}]{at}")
        kinematics = (column[i - 1] for column in numbers)
        pdgid, status = particles["pdgid"][i - 1], particles["status"][i - 1]
        lines.append(_PARTICLE % (new[i], names.get(vertex, 0), pdgid, *kinematics, status))
    return lines


def _vertices(mother1: Sequence[int], mother2: Sequence[int]) -> tuple[list[int], dict[int, int]]:
    """Return the vertex in which each particle is born (0: none), and that in which each mother ends.

    A vertex is called after the mother by which it is met first.
    """
    goes_into: dict[int, int] = {}
    born_in = []
    for one, two in zip(mother1, mother2, strict=True):
        if one == 0:
            born_in.append(0)
            continue
        others = range(one + 1, two + 1) if two >= 0 else (-two,)
        vertex = goes_into.setdefault(one, one)
        for other in others:
            goes_into.setdefault(other, vertex)
        born_in.append(vertex)
    return born_in, goes_into


def _ordered(born_in: Sequence[int], goes_into: Mapping[int, int]) -> tuple[list[int], dict[int, list[int]]]:
    """Return the particles in an order in which mothers come first, and the mothers of each vertex in that order."""
    incoming: dict[int, list[int]] = {}
    outgoing: dict[int, list[int]] = {}
    for mother, vertex in goes_into.items():
        incoming.setdefault(vertex, []).append(mother)
    for particle, vertex in enumerate(born_in, start=1):
        outgoing.setdefault(vertex, []).append(particle)
    waits_for = {vertex: len(mothers) for vertex, mothers in incoming.items()}
    order = list(outgoing.get(0, []))
    reached: dict[int, list[int]] = {}
    for particle in order:  # it grows while we go through it
        if particle in goes_into:
            vertex = goes_into[particle]
            waits_for[vertex] -= 1
            if not waits_for[vertex]:
                reached[vertex] = sorted(incoming[vertex])
                order += outgoing.get(vertex, [])
    return order, reached


def described(path: Path) -> str:
    """Return the beginning of a HepMC3 file, where it is told what made it.

    Raises
    ------
    FileFormatError
        If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(2)
        with gzip.open(path) if start == b"\x1f\x8b" else path.open("rb") as file:
            return file.read(_HEADER).decode(errors="replace")
    except (OSError, EOFError) as error:
        msg = f"{path} cannot be read: {error}"
        raise FileFormatError(msg) from error
