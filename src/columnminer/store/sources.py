"""Sources: the files of the samples, looked at before any event is read, so that what does not fit is found early."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from columnminer.errors import InputError
from columnminer.formats.fingerprint import fingerprint
from columnminer.formats.opening import open_reader
from columnminer.generate.pythia import PythiaReader
from columnminer.store.weightcolumns import WeightColumns
from columnminer.streams import key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from columnminer.formats.pythia_card import Settings
    from columnminer.formats.reader import Reader, SourceInfo
    from columnminer.model.setup import Setup
    from columnminer.store.samples import Sample

__all__ = ["Source", "describe", "find_sources", "open_source"]


@dataclass(frozen=True)
class Source:
    """One file of a sample.

    Attributes
    ----------
    position : int
        Of the sample among the samples: its id in the store.
    sample : Sample
        What the user says about it.
    path : Path
        Absolute.
    fingerprint : str
        Of its content.
    info : SourceInfo
        What the file says about itself.
    columns : WeightColumns
        Which of its weights are needed.
    weights_from : Path or None
        Absolute; the file that has the weights, if it is another one.
    weights_fingerprint : str
        Of the content of that.
    """

    position: int
    sample: Sample
    path: Path
    fingerprint: str
    info: SourceInfo
    columns: WeightColumns
    weights_from: Path | None = None
    weights_fingerprint: str = ""

    @property
    def part_key(self) -> str:
        """Name of the folder of its parts: the same for the same content, read for the same weights."""
        borrowed = [self.weights_fingerprint] if self.weights_from else []
        given = [list(self.sample.weight_names), dict(self.sample.reading)]
        options = given if any(given) else []
        shower = self.sample.described().get("shower")
        options = options if shower is None else [shower]
        text = json.dumps([self.fingerprint, self.columns.raw, *borrowed, *options], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:20]

    def stream(self, seed: int, purpose: str) -> int:
        """Key of random numbers of the file: they belong to its content, wherever it lies and whatever beside it."""
        return key(seed, purpose, int(self.fingerprint[:16], 16))


def open_source(path: Path, shower: Settings, seed: int = 0, *, digest: bool = False, **options: Any) -> Reader:
    """Return the reader of a file of a sample, through a shower where it has one.

    Parameters
    ----------
    path
        File of events.
    shower
        As in `Sample`.
    seed
        Of the shower.
    digest
        Whether `Reader.content` is wanted.
    **options
        Of `open_reader`, where there is no shower.
    """
    if shower is None:
        return open_reader(path, digest=digest, **options)
    return PythiaReader(path, shower, seed=seed, digest=digest)


def find_sources(samples: Sequence[Sample], setup: Setup) -> list[Source]:
    """Look at the files of all samples, in order.

    Raises
    ------
    InputError, UnknownNameError, MissingError, FileFormatError
        If samples, set-up and files do not fit together.
    """
    names = [sample.name for sample in samples]
    if not samples:
        msg = "there are no samples to process"
        raise InputError(msg)
    for name in names:
        if names.count(name) > 1:
            msg = f"two samples are called {name!r}: list their files in one Sample, or give each a name="
            raise InputError(msg)
    if len({sample.data for sample in samples}) > 1:
        msg = "recorded and simulated events cannot share a store: process data=True samples into one of their own"
        raise InputError(msg)
    if not samples[0].data and not setup.benchmark_names:
        msg = "simulated events need a set-up with at least one benchmark"
        raise InputError(msg)
    sources: list[Source] = []
    seen: dict[str, Path] = {}
    for position, sample in enumerate(samples):
        for path, weights_from in zip(sample.files, sample.weight_files, strict=True):
            identity = fingerprint(path)
            if identity in seen:
                msg = f"{path} and {seen[identity]} hold the same events, which would count twice"
                raise InputError(msg)
            seen[identity] = path
            info = open_source(
                path, sample.shower, weight_names=sample.weight_names, weights_from=weights_from, **sample.reading
            ).info()
            columns = WeightColumns.of(setup, sample, info, str(weights_from or path))
            borrowed = (weights_from.absolute(), fingerprint(weights_from)) if weights_from else (None, "")
            sources.append(Source(position, sample, path.absolute(), identity, info, columns, *borrowed))
    return sources


def describe(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Return what the configuration says about samples: no paths, as the same files may lie anywhere."""
    samples: dict[int, dict[str, Any]] = {}
    for source in sources:
        files = samples.setdefault(source.position, {**source.sample.described(), "files": []})["files"]
        borrowed = {"weights_from": source.weights_fingerprint} if source.weights_from else {}
        files.append({"name": source.path.name, "fingerprint": source.fingerprint, **borrowed})
    return list(samples.values())
