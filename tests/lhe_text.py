"""LHE files as texts, in the ways that generators write them, for the tests of the reader."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

INIT = """<init>
 2212 2212 6.500000e+03 6.500000e+03 0 0 247000 247000 -3 2
 1.5E+00 3.0E-01 1.0E+00 1
 2.5E+00 4.0E-01 1.0E+00 2
</init>
"""

PARTICLES = (
    "        2 -1    0    0  501    0 +0.0000000000e+00 +0.0000000000e+00 +7.6313928448e+02 7.6313928448e+02 0. 0. -1.",
    "       -2 -1    0    0    0  501 -0.0000000000e+00 -0.0000000000e+00 -6.0882456597e+01 6.0882456597e+01 0. 0. 1.",
    "       23  1    1    2    0    0  0.0  0.0  702.25682788E+00  824.021741077E+00 0.43111D+03 1.5e-14 9.",
)


def event(
    *tags: str, line: str = " 3 1 +5.2050000e-08 3.9e+01 7.8e-03 1.5e-01", particles: tuple[str, ...] = PARTICLES
) -> str:
    """Return an event; `tags` stand on lines of their own behind the particles."""
    return "\n".join(["<event>", line, *particles, *tags, "</event>", ""])


def rwgt(**weights: object) -> str:
    """Return a <rwgt> block with these weights."""
    return "<rwgt>\n" + "".join(f"<wgt id='{name}'> {value} </wgt>\n" for name, value in weights.items()) + "</rwgt>"


def document(*events: str, header: str = "", init: str = INIT, version: str = "3.0", end: bool = True) -> str:
    """Return a whole file."""
    closing = "</LesHouchesEvents>\n" if end else ""
    return f'<LesHouchesEvents version="{version}">\n{header}{init}{"".join(events)}{closing}'


def save(folder: Path, text: str | bytes, name: str = "events.lhe") -> str:
    """Write the file, compressed if it is called so, and return its path."""
    data = text.encode() if isinstance(text, str) else text
    path = folder / name
    path.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
    return str(path)
