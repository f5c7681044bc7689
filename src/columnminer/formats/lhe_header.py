"""What an LHE file says before its first event: beams, processes, generators and the weights it declares.

The blocks are those of hep-ph/0609017 (<header>, <init>) and of arXiv:1405.1067, section 5 (<initrwgt>, <generator>),
whose inside generators write with more freedom than XML allows; so they are read with patterns, not with an XML parser.
"""

from __future__ import annotations

import html
import math
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from columnminer.errors import FileFormatError
from columnminer.formats.reader import SourceInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Beam", "DeclaredWeight", "Generator", "LHEInfo", "Process", "find_init", "parse_header"]


@dataclass(frozen=True)
class Beam:
    """One of the two beams: PDG id, energy [GeV] and parton densities (IDBMUP, EBMUP, PDFGUP, PDFSUP)."""

    pdgid: int
    energy: float
    pdf_group: int = 0
    pdf_set: int = 0


@dataclass(frozen=True)
class Process:
    """A subprocess: label, cross section with error and maximal weight [pb] (LPRUP, XSECUP, XERRUP, XMAXUP)."""

    id: int
    cross_section: float
    cross_section_error: float = 0.0
    max_weight: float = 1.0


@dataclass(frozen=True)
class Generator:
    """A program that made the file, from a <generator> element."""

    name: str
    version: str = ""
    text: str = ""


@dataclass(frozen=True)
class DeclaredWeight:
    """A weight as <initrwgt> declares it: id, other attributes, text, and attributes of the group it is in."""

    id: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    group: Mapping[str, str] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """Everything said about the weight, in one line: ``MUR=0.5 MUF=1.0 | MUR=0.5 | name=scale variation``."""
        parts = (_one_line(self.attributes), self.text, _one_line(self.group))
        return " | ".join(part for part in parts if part)


def _one_line(attributes: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in attributes.items())


@dataclass(frozen=True)
class LHEInfo(SourceInfo):
    """What an LHE file says about itself; `write_lhe` takes the same.

    Cross sections, `weight_descriptions` and `attributes` follow from the fields below where they are not given.

    Attributes
    ----------
    version : str
        Version of the format.
    beams : tuple of Beam
        The two beams.
    processes : tuple of Process
        Subprocesses; the total cross section is their sum, if positive, and its error the quadratic sum of theirs.
    generators : tuple of Generator
        Programs that made the file.
    declared : tuple of DeclaredWeight
        Weights that the header declares, whether or not events have them.
    """

    version: str = "3.0"
    beams: tuple[Beam, ...] = ()
    processes: tuple[Process, ...] = ()
    generators: tuple[Generator, ...] = ()
    declared: tuple[DeclaredWeight, ...] = ()

    def __post_init__(self) -> None:
        total = sum(process.cross_section for process in self.processes)
        if self.cross_section is None and total > 0:  # programs that do not know it write -1 or nothing
            error = math.hypot(*(process.cross_section_error for process in self.processes))
            object.__setattr__(self, "cross_section", total)
            object.__setattr__(self, "cross_section_error", error)
        if not self.weight_descriptions:
            told = {weight.id: weight.description for weight in self.declared if weight.description}
            object.__setattr__(self, "weight_descriptions", told)
        if not self.attributes:
            kept = {
                "format": f"LHE {self.version}",
                "beams": [asdict(beam) for beam in self.beams],
                "processes": [asdict(process) for process in self.processes],
                "generators": [asdict(generator) for generator in self.generators],
            }
            object.__setattr__(self, "attributes", kept)


_OPENING = re.compile(rb"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<init(?:\s[^>]*)?>|<event[\s>]|</LesHouchesEvents", re.DOTALL)
_CLOSING = re.compile(rb"</init\s*>")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_ROOT = re.compile(r"<LesHouchesEvents\b([^>]*)>")
_QUOTED = r"""(?:[^>'"]|'[^']*'|"[^"]*")*"""
_ATTRIBUTE = re.compile(r"""([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_INITRWGT = re.compile(r"<initrwgt\b[^>]*>(.*?)</initrwgt\s*>", re.DOTALL)
_WEIGHT = re.compile(
    rf"<weightgroup\b(?P<group>{_QUOTED})>|(?P<close></weightgroup\s*>)"
    rf"|<weight\b(?P<weight>{_QUOTED}?)(?:/>|>(?P<text>.*?)</weight\s*>)",
    re.DOTALL,
)
_GENERATOR = re.compile(rf"<generator\b({_QUOTED}?)(?:/>|>(.*?)</generator\s*>)", re.DOTALL)


def find_init(start: bytes, path: str) -> tuple[int, int] | None:
    """Return where the <init> block begins and ends, or None where `start` does not reach its end.

    Raises
    ------
    FileFormatError
        If events, or the end of the file, come before an <init> block.
    """
    for match in _OPENING.finditer(start):
        if match[0].startswith(b"<init"):
            closing = _CLOSING.search(start, match.end())
            return (match.start(), closing.end()) if closing else None
        if not match[0].startswith(b"<!"):
            msg = f"{path}: no <init> block before the events"
            raise FileFormatError(msg)
    return None


def parse_header(data: bytes, init: tuple[int, int], path: str) -> LHEInfo:
    """Read what stands before the events; which weights these have is not known yet.

    Raises
    ------
    FileFormatError
        If <LesHouchesEvents> is missing or <init> does not hold its lines.
    """
    header, block = (_COMMENT.sub("", part.decode(errors="replace")) for part in (data[: init[0]], data[slice(*init)]))
    root = _ROOT.search(header)
    if root is None:
        msg = f"{path}: no LHE file, for it does not begin with <LesHouchesEvents>"
        raise FileFormatError(msg)
    try:
        beams, weighting, processes = _parse_init(block)
    except (ValueError, IndexError, OverflowError) as error:
        msg = f"{path}: the <init> block does not hold ten beam numbers and four numbers for each process: {error}"
        raise FileFormatError(msg) from error
    text = header + block
    return LHEInfo(
        weight_names=(),
        weighting=weighting,
        version=_attributes(root[1]).get("version", ""),
        beams=beams,
        processes=processes,
        generators=tuple(_generators(text)),
        declared=tuple(_declared(text)),
    )


def _parse_init(block: str) -> tuple[tuple[Beam, ...], int, tuple[Process, ...]]:
    """Return beams, IDWTUP and processes: the lines of HEPRUP. Some programs write fewer processes than they say."""
    text = block[block.index(">") + 1 :].partition("<")[0]
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    id1, id2, e1, e2, group1, group2, set1, set2, weighting, n_processes = map(_number, lines[0][:10])
    beams = (Beam(int(id1), e1, int(group1), int(set1)), Beam(int(id2), e2, int(group2), int(set2)))
    processes = tuple(
        Process(int(label), cross_section, error, largest)
        for cross_section, error, largest, label in (map(_number, line[:4]) for line in lines[1 : 1 + int(n_processes)])
    )
    return beams, int(weighting), processes


def _number(text: str) -> float:
    """Read a number as Fortran or Python write it."""
    return float(text.lower().replace("d", "e"))


def _attributes(text: str) -> dict[str, str]:
    return {m[1]: html.unescape(m[2] if m[2] is not None else m[3]) for m in _ATTRIBUTE.finditer(text)}


def _plain(text: str | None) -> str:
    return " ".join(html.unescape(text or "").split())


def _generators(text: str) -> Iterator[Generator]:
    for match in _GENERATOR.finditer(text):
        attributes = _attributes(match[1])
        name, version, said = attributes.get("name", ""), attributes.get("version", ""), _plain(match[2])
        yield Generator(name or said, version, said if name else "")


def _declared(text: str) -> Iterator[DeclaredWeight]:
    """Yield the declared weights in order, each id once."""
    seen = set()
    for block in _INITRWGT.finditer(text):
        group: dict[str, str] = {}
        for match in _WEIGHT.finditer(block[1]):
            if match["weight"] is None:
                group = {} if match["close"] else _attributes(match["group"])
                continue
            attributes = _attributes(match["weight"])
            name = attributes.pop("id", None)
            if name is not None and name not in seen:
                seen.add(name)
                yield DeclaredWeight(name, attributes, _plain(match["text"]), group)
