"""Samples: what a user says about event files (`Sample`), and what a store remembers of them (`SampleInfo`)."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from columnminer.errors import InputError
from columnminer.generate.pythia_settings import setting_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from columnminer.generate.pythia_settings import Settings

__all__ = ["FileInfo", "Sample", "SampleInfo"]


@dataclass(frozen=True)
class Sample:
    """Files of events made (or recorded) in the same way.

    Attributes
    ----------
    paths
        One file, or several. Their events are averaged, each file counting by the number of events generated in it.
    benchmark : str or None
        Benchmark at which the events were generated; their own weight (XWGTUP) belongs to it. Every signal sample has
        one.
    background : bool
        Whether the process does not depend on the parameters: such events carry one weight, and are added after
        morphing.
    k_factor : float
        Multiplies all weights.
    systematics : tuple of str
        Names of the systematic uncertainties of the set-up that act on this sample.
    data : bool
        Recorded events: they have no weights.
    name : str
        What to call the sample; empty takes the benchmark, or the name of the first file.
    cross_section : float or None
        Cross section [pb] at the sampling benchmark, of all generated events, overriding what the files say.
    weights_from
        Parton-level files that the events were showered from, one for each of `paths`: weights and cross section are
        taken from there. For showers that lose weights or their names.
    shower : mapping, str or None
        Settings of Pythia, with which the events (of Les Houches files) are showered while they are read; see
        `columnminer.generate.pythia.PythiaReader`. Empty: Pythia's own choices. None: events are taken as they are.

    Raises
    ------
    InputError
        If these contradict each other.
    """

    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
    benchmark: str | None = None
    background: bool = False
    k_factor: float = 1.0
    systematics: str | Sequence[str] = ()
    data: bool = False
    name: str = ""
    cross_section: float | None = None
    weights_from: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = ()
    shower: Settings = None

    def __post_init__(self) -> None:
        if not self.files:
            msg = "a sample needs at least one file"
            raise InputError(msg)
        systematics = (self.systematics,) if isinstance(self.systematics, str) else tuple(self.systematics)
        object.__setattr__(self, "systematics", systematics)
        object.__setattr__(self, "name", self.name or self.benchmark or self.files[0].name.partition(".")[0])
        kinds = sum((self.benchmark is not None, self.background, self.data))
        if kinds != 1:
            msg = (
                f"sample {self.name!r}: give exactly one of benchmark= (where the signal was generated), "
                f"background=True and data=True"
            )
            raise InputError(msg)
        if not self.k_factor > 0:
            msg = f"sample {self.name!r}: k_factor must be positive, not {self.k_factor!r}"
            raise InputError(msg)
        if self.cross_section is not None and not self.cross_section > 0:
            msg = f"sample {self.name!r}: cross_section must be positive [pb], not {self.cross_section!r}"
            raise InputError(msg)
        if len(self.weight_files) != len(self.files):
            msg = (
                f"sample {self.name!r}: weights_from needs one file for each of the {len(self.files)} files of events, "
                f"not {len(self.weight_files)}"
            )
            raise InputError(msg)
        if self.shower is not None and self.weights_from:
            msg = f"sample {self.name!r}: a shower keeps the weights of the files; leave out weights_from"
            raise InputError(msg)
        simulated = self.systematics or self.cross_section is not None or self.shower is not None
        if self.data and (self.k_factor != 1.0 or simulated):
            msg = f"sample {self.name!r}: recorded events have no k-factor, systematics, cross section or shower"
            raise InputError(msg)

    def described(self) -> dict[str, Any]:
        """Return what the sample says beside its files, as far as it concerns the events."""
        said = dataclasses.asdict(self)
        del said["paths"], said["weights_from"]
        if self.shower is None:
            del said["shower"]
        else:
            said["shower"] = list(setting_lines(self.shower))
        return said

    @property
    def files(self) -> tuple[Path, ...]:
        """The files, also where a single one was given."""
        return _listed(self.paths)

    @property
    def weight_files(self) -> tuple[Path | None, ...]:
        """The file that the weights of each file are taken from; None: from the file itself."""
        return _listed(self.weights_from) or (None,) * len(self.files)


def _listed(given: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> tuple[Path, ...]:
    return tuple(Path(path) for path in ([given] if isinstance(given, str | os.PathLike) else given))


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

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> SampleInfo:
        """Return the sample that `to_dict` described."""
        files = tuple(FileInfo(**f) for f in document["files"])
        lists = {k: tuple(document[k]) for k in ("systematics", "partition_counts")}
        return cls(**{**document, **lists, "files": files})
