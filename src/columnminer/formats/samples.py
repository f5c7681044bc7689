"""Samples: what a user says about event files."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from columnminer.errors import InputError
from columnminer.formats.pythia_card import setting_lines
from columnminer.model.checks import unique

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from columnminer.formats.pythia_card import Settings

__all__ = ["Sample"]


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
    weight_names : tuple of str
        Names of the weights at other benchmarks in the order of the files, where the files do not name them.
    weights_from
        Parton-level files that the events were showered from, one for each of `paths`: weights and cross section are
        taken from there. For showers that lose weights or their names.
    reading
        Options of the reader for the format, as ``{"level": "generator"}`` for Delphes; see there.
    delete_after_reading : bool
        Whether `process` deletes the files of events once the store is complete (not those of `weights_from`). It then
        cannot be made again.
    shower : mapping, str, sequence of str or None
        Settings of Pythia, with which the events (of Les Houches files) are showered while they are read; see
        `columnminer.generate.pythia.PythiaReader`. Empty: Pythia's own choices. None: events are taken as they are.

    Raises
    ------
    InputError
        If these contradict each other.

    Examples
    --------
    >>> signal = cm.Sample("sm.lhe.gz", benchmark="sm", k_factor=1.2)
    >>> background = cm.Sample(["qcd_1.lhe.gz", "qcd_2.lhe.gz"], background=True, name="qcd")
    """

    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
    benchmark: str | None = None
    background: bool = False
    k_factor: float = 1.0
    systematics: str | Sequence[str] = ()
    data: bool = False
    name: str = ""
    cross_section: float | None = None
    weight_names: Sequence[str] = ()
    weights_from: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)
    delete_after_reading: bool = False
    shower: Settings = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight_names", unique(self.weight_names, "weight_names"))
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
        if self.shower is not None and (self.weights_from or self.weight_names or self.reading):
            msg = f"sample {self.name!r}: showers read weights from the files: no weights_from, weight_names or reading"
            raise InputError(msg)
        simulated = self.systematics or self.cross_section is not None or self.shower is not None
        if self.data and (self.k_factor != 1.0 or simulated):
            msg = f"sample {self.name!r}: recorded events have no k-factor, systematics, cross section or shower"
            raise InputError(msg)

    def described(self) -> dict[str, Any]:
        """Return what the sample says beside its files, as far as it concerns the events; options only if given."""
        said = asdict(self)
        for name in ("paths", "weights_from", "delete_after_reading", "shower"):
            del said[name]
        if self.shower is not None:
            said["shower"] = list(setting_lines(self.shower))
        return {k: v for k, v in said.items() if v or k not in {"weight_names", "reading"}}

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
