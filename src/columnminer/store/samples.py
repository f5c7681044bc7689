"""What a store remembers (`SampleInfo`) of what a user said about event files (`Sample`)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from columnminer.formats.samples import Sample

__all__ = ["FileInfo", "Sample", "SampleInfo"]


@dataclass(frozen=True)
class FileInfo:
    """One file of a sample, as a store remembers it.

    Attributes
    ----------
    name : str
        File name without its folder.
    size : int
        Bytes.
    sha256 : str
        Hash of its content.
    n_generated : int
        Events in the file, before any selection.
    cross_section : float or None
        What the file declares [pb].
    weighting : int or None
        Its IDWTUP.
    factor : float
        What its raw weights were multiplied with: normalisation to pb, the file's share of the sample, k-factor.
    """

    name: str
    size: int
    sha256: str
    n_generated: int
    cross_section: float | None = None
    weighting: int | None = None
    factor: float = 1.0


@dataclass(frozen=True)
class SampleInfo:
    """One sample, as a store remembers it.

    Attributes
    ----------
    name, benchmark, background, data, k_factor, systematics
        As in `Sample`.
    n_generated : int
        Events generated, over all files. Signal samples are mixed in proportion to it.
    n_events : int
        Events that passed the selection: those in the store.
    partition_counts : tuple of int
        How many of them are in train, validation and test.
    cross_section : float or None
        Sum of the weights of all generated events at the sampling benchmark [pb], before the selection; None where it
        is not known (recorded events, imported files).
    files : tuple of FileInfo
        Where they came from.
    """

    name: str
    benchmark: str | None
    n_generated: int
    n_events: int
    background: bool = False
    data: bool = False
    k_factor: float = 1.0
    systematics: tuple[str, ...] = ()
    partition_counts: tuple[int, ...] = ()
    cross_section: float | None = None
    files: tuple[FileInfo, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document."""
        return dataclasses.asdict(self)
