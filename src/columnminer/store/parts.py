"""Parts: what the tasks of a run have committed so far, in a folder beside its output.

The folder holds ``configuration.json`` and a folder named after its hash. There each file of events has a folder with
its parts, each a Zarr group named after its first event. A part is the outcome of a range of events: the columns of
those that passed, with raw weights, and what normalising needs to know of all that were generated. The last part of a
file says that it is the last (and may be empty). Parts appear by atomic renames, so whatever is there is complete.

Several runs of the same configuration share the work: of a part that two have made the first stays, and one of them
makes the store, see `joining`. Tasks of another configuration that are still at work somewhere, as those of a run that
was interrupted may be on a cluster, find no folder of their hash, and leave nothing among ours.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import uuid
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from columnminer.errors import OutputExistsError
from columnminer.files import locked
from columnminer.formats.reader import Generated
from columnminer.store.arrays import write_arrays
from columnminer.store.columns import attributes_at, intact, read_columns, unless_gone
from columnminer.store.commit import read_json, staged, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = [
    "CONFIGURATION",
    "PartInfo",
    "committed_part",
    "committed_parts",
    "discard_left",
    "discard_parts",
    "joining",
    "open_parts",
    "parts_under",
    "read_part",
    "require_same",
    "write_part",
]

CONFIGURATION = "configuration.json"
_LOCK = ".lock"
_DIGITS = 16
_PLACE = re.compile(rf"[0-9a-f]{{{_DIGITS}}}")

_REMEDY = "delete {} and call again: it is made again"


@dataclass(frozen=True)
class PartInfo:
    """What a part says about itself.

    Attributes
    ----------
    first_event : int
        Number of its first event in the file.
    n_generated : int
        Events in its range, before the selection.
    n_events : int
        Those that passed.
    sum_weights, sum_squared_weights : float
        Of the raw nominal weights of all generated events.
    cut_flow : mapping
        As the selection reports it.
    last : bool
        Whether the file ends here.
    size : int
        Bytes of the file; known in the last part, else 0.
    sha256 : str
        Hash of the file, taken while streaming; known in the last part, else empty.
    cross_section : float or None
        What the file declares at its end [pb]; in the last part, if at all.
    """

    first_event: int
    n_generated: int
    n_events: int
    sum_weights: float
    sum_squared_weights: float
    cut_flow: Mapping[str, Any] = field(default_factory=dict)
    last: bool = False
    size: int = 0
    sha256: str = ""
    cross_section: float | None = None

    @property
    def generated(self) -> Generated:
        """What was generated in its range."""
        return Generated(self.n_generated, self.sum_weights, self.sum_squared_weights)


def parts_under(folder: Path, configuration: Mapping[str, Any]) -> Path:
    """Return where in the folder the parts of a configuration are."""
    text = json.dumps(configuration, sort_keys=True)
    return folder / hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def open_parts(folder: Path, configuration: Mapping[str, Any], *, resume: bool, replace: bool) -> Path:
    """Make the folder of parts ready for a run, and return where in it the parts are (`parts_under`).

    It may be that of an earlier run that was cut off, or of one that is at work, or a new one.

    Parameters
    ----------
    folder
        Where it is.
    configuration
        Everything that the content of parts depends on, apart from the files of events.
    resume
        Whether parts of another run of the same configuration are used; otherwise they are deleted.
    replace
        Whether parts of another configuration are deleted; otherwise they are an error.

    Raises
    ------
    OutputExistsError
        If there are parts of another configuration (the message says what differs), or something else is in the way.
    FileNotFoundError
        If another run has finished at this moment, and deletes the folder.
    """
    if (folder / CONFIGURATION).is_file():
        existing = read_json(folder / CONFIGURATION)
        if resume and not replace:
            require_same(existing, configuration, f"the unfinished run in {folder}")
        if not resume or existing != configuration:
            discard_parts(folder)
    folder.mkdir(exist_ok=True)
    if not _is_ours(folder):
        msg = f"{folder} exists, but holds no parts: it is in the way"
        raise OutputExistsError(msg)
    (folder / _LOCK).touch()
    if not (folder / CONFIGURATION).is_file():
        write_json(folder / CONFIGURATION, configuration)
    place = parts_under(folder, configuration)
    place.mkdir(exist_ok=True)
    return place


@contextlib.contextmanager
def joining(folder: Path) -> Iterator[None]:
    """Hold the folder of parts alone, until they are a store and the folder is deleted; other runs wait meanwhile.

    Raises
    ------
    FileNotFoundError
        If it is not there any more: another run was first.
    """
    with locked(folder / _LOCK, wait=True):
        yield


def discard_parts(folder: Path) -> None:
    """Delete the folder of parts, if it is one, and what an earlier deletion that was cut off has left."""
    prefix, suffix = f".{folder.name}.", ".discarded"
    if folder.is_dir() and _is_ours(folder):
        with contextlib.suppress(FileNotFoundError):  # another run deletes it, too
            folder.rename(folder.with_name(f"{prefix}{uuid.uuid4().hex}{suffix}"))
    for left in folder.parent.iterdir():
        if left.name.startswith(prefix) and left.name.endswith(suffix):
            shutil.rmtree(left, ignore_errors=True)


def discard_left(place: Path) -> None:
    """Delete what a run has left that was killed while it tidied up: its parts at `place`, but none of another run."""
    if place.is_dir() or not place.parent.exists():
        discard_parts(place.parent)


def _is_ours(folder: Path) -> bool:
    """Whether a folder has a configuration, or what a task leaves that commits its part when that was deleted."""
    if (folder / CONFIGURATION).is_file():
        return True
    names = [path.name for path in folder.iterdir()]  # with the configuration, if another run writes it at this moment
    return all(name == CONFIGURATION or name.startswith(".") or _PLACE.fullmatch(name) for name in names)


def require_same(existing: Mapping[str, Any], wanted: Mapping[str, Any], what: str) -> None:
    """Refuse to go on with what was made under another configuration.

    Raises
    ------
    OutputExistsError
        If they differ; the message says where.
    """
    differences = _differences(existing, wanted, "")
    if differences:
        listed = "\n".join(f"  {line}" for line in differences[:10])
        msg = (
            f"{what} has another configuration:\n{listed}\nChoose another output, or pass replace=True to start afresh."
        )
        raise OutputExistsError(msg)


def _differences(existing: Any, wanted: Any, where: str) -> list[str]:
    """Return lines like ``seed: 0 there, 1 asked for`` for each place where two JSON documents differ."""
    if isinstance(existing, dict) and isinstance(wanted, dict):
        keys = dict.fromkeys([*existing, *wanted])
        pairs = [(f"{where}.{k}" if where else str(k), existing.get(k), wanted.get(k)) for k in keys]
    elif isinstance(existing, list) and isinstance(wanted, list) and len(existing) == len(wanted):
        pairs = [(f"{where}[{i}]", a, b) for i, (a, b) in enumerate(zip(existing, wanted, strict=True))]
    else:
        return [] if existing == wanted else [f"{where}: {_brief(existing)} there, {_brief(wanted)} asked for"]
    return [line for place, a, b in pairs for line in _differences(a, b, place)]


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def write_part(folder: Path, info: PartInfo, columns: Mapping[str, NDArray[Any]]) -> None:
    """Commit a part to the folder of its file. If the same part is there already, that one stays.

    Parameters
    ----------
    folder
        Of the parts of one file; it exists.
    info
        What the part says about itself.
    columns
        observables, raw weights and event numbers of the events that passed.
    """
    final = folder / f"{info.first_event:012d}"
    if final.exists():
        return
    try:
        with staged(final) as temporary:
            write_arrays(temporary, columns, asdict(info))
    except OutputExistsError:
        return  # another task was first, with the same content


def committed_parts(folder: Path, position: int = 0) -> list[PartInfo]:
    """Return the parts of one file from an event on, in order, as far as they follow each other without a gap."""
    parts: list[PartInfo] = []
    while not (parts and parts[-1].last):
        info = committed_part(folder, position)
        if info is None:
            break
        parts.append(info)
        position += info.n_generated
    return parts


def committed_part(folder: Path, first_event: int) -> PartInfo | None:
    """Return the part of one file that begins with this event, if it is there."""
    path = folder / f"{first_event:012d}"
    if not path.is_dir():
        return None
    with unless_gone(path), intact(f"the part {path} is damaged; {_REMEDY.format(path)}"):
        return PartInfo(**attributes_at(path, f"{path} is no part of a run; {_REMEDY.format(path)}"))


def read_part(folder: Path, info: PartInfo, names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
    """Return columns of a committed part: those called `names`, or all."""
    path = folder / f"{info.first_event:012d}"
    return read_columns(path, f"the part {path} is damaged", _REMEDY.format(path), names)
