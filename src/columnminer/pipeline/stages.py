"""Stages: work that is done once, and again only when something that it depends on has changed.

A `Stage` has a content key: the hash of its options, of the input files it reads and of the keys of the stages that it
needs. A `Workspace` is a folder in which each stage has one folder of its own name. A stage is done when its folder
holds a `stage.json` with its key; the folder appears by one rename after everything in it is written, so that a reader
never meets half an output and a killed run loses at most the stage (or, within it, the parts) it was making.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from columnminer.errors import ColumnMinerWarning, InputError, OutputExistsError
from columnminer.files import appearing, delete, locked, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["Stage", "Workspace"]

_FORMAT = 2
"""Raised when the meaning of a stage's options or outputs changes: every stage made before is then made again."""
_MARKER = ".columnminer"
_RECORD = "stage.json"


@dataclass(frozen=True)
class Stage:
    """One piece of work with an output folder.

    Attributes
    ----------
    name : str
        Its folder in the workspace, such as ``events`` or ``estimators/alices``.
    title : str
        What it does, in a few words, for people who watch.
    make : callable
        ``make(folder)`` writes the output into an existing folder. The folder may hold what an interrupted run of the
        same stage left, to go on from or to write over.
    options : mapping
        Everything besides `needs` and `files` that the output depends on, as JSON values.
    needs : tuple of Stage
        Stages whose outputs `make` reads.
    files : tuple of Path
        Files from outside the workspace that `make` reads.
    """

    name: str
    title: str
    make: Callable[[Path], None]
    options: Mapping[str, Any]
    needs: tuple[Stage, ...] = ()
    files: tuple[Path, ...] = field(default=())


class Workspace:
    """A folder of stage outputs.

    Parameters
    ----------
    folder
        Made when absent.

    Raises
    ------
    OutputExistsError
        If the folder holds something that no workspace wrote.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            msg = f"{self.folder}: is a file; name a folder for the output"
            raise OutputExistsError(msg)
        if self.folder.is_dir() and any(self.folder.iterdir()) and not (self.folder / _MARKER).is_dir():
            msg = f"{self.folder}: holds files that columnminer did not write; name another output folder"
            raise OutputExistsError(msg)
        (self.folder / _MARKER).mkdir(parents=True, exist_ok=True)
        self._keys: dict[str, str] = {}

    def path(self, stage: Stage) -> Path:
        """Return where the output of `stage` is or will be."""
        return self.folder / stage.name

    def key(self, stage: Stage) -> str:
        """Return the content key of `stage`, 64 hexadecimal digits."""
        if stage.name not in self._keys:
            document = {
                "format": _FORMAT,
                "stage": stage.name,
                "options": stage.options,
                "needs": {need.name: self.key(need) for need in stage.needs},
                "files": [[path.name, self._file_hash(path)] for path in stage.files],
            }
            text = json.dumps(document, sort_keys=True, allow_nan=False)
            self._keys[stage.name] = hashlib.sha256(text.encode()).hexdigest()
        return self._keys[stage.name]

    def is_done(self, stage: Stage) -> bool:
        """Return whether the output of `stage` is there and was made with its present key."""
        try:
            record = json.loads((self.path(stage) / _RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(record, dict) and record.get("key") == self.key(stage)

    def run(self, stage: Stage) -> Path:
        """Make the output of `stage`, whose `needs` are done, and return its folder.

        An output of the same name with another key is replaced, at the moment when the new one is complete.
        """
        working = self.folder / _MARKER / "partial" / stage.name
        partial = working / self.key(stage)[:16]
        partial.mkdir(parents=True, exist_ok=True)
        for stale in working.iterdir():  # what an interrupted run with other options left
            if stale != partial and stale.is_dir() and len(stale.name) == len(partial.name):
                shutil.rmtree(stale)
        if not (partial / _RECORD).is_file():  # else complete, but killed before it could be published
            with writing(self.path(stage)):
                self._make(stage, partial)
        self._publish(partial, self.path(stage))
        return self.path(stage)

    def _make(self, stage: Stage, partial: Path) -> None:
        for unfinished in partial.glob(".*"):  # what was written when a run was killed, and had not appeared yet
            delete(unfinished)
        with _heard() as said:
            stage.make(partial)
        record = {
            "format": _FORMAT,
            "stage": stage.name,
            "key": self.key(stage),
            "options": stage.options,
            "needs": {need.name: self.key(need) for need in stage.needs},
            "files": [{"name": path.name, "sha256": self._file_hash(path)} for path in stage.files],
            "warnings": list(dict.fromkeys(said)),
        }
        with appearing(partial / _RECORD) as new:
            new.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    def _publish(self, made: Path, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        replaced = self.folder / _MARKER / "replaced"
        if place.exists():
            # A folder cannot be renamed over a full one. Between the two renames the stage counts as not done.
            shutil.rmtree(replaced, ignore_errors=True)
            place.rename(replaced)
        made.rename(place)
        shutil.rmtree(replaced, ignore_errors=True)

    def warnings(self, name: str) -> tuple[str, ...]:
        """Return what was warned of when the output of the stage `name` was made, if it is there."""
        record = self.folder / name / _RECORD
        return tuple(json.loads(record.read_text(encoding="utf-8"))["warnings"]) if record.is_file() else ()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the workspace: a second run in the same folder is refused while this one lasts.

        Raises
        ------
        OutputExistsError
            If another process holds it.
        """
        lock = self.folder / _MARKER / "lock"
        lock.touch()
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(locked(lock, wait=False))
            except BlockingIOError:
                msg = f"{self.folder}: another run is writing here; wait for it, or name another output folder"
                raise OutputExistsError(msg) from None
            yield

    def _file_hash(self, path: Path) -> str:
        """Return the SHA-256 of a file's content, taken again only when its size or time of change is another."""
        try:
            state = path.stat()
        except OSError as reason:
            msg = f"{path}: cannot be read: {reason.strerror}"
            raise InputError(msg) from reason
        stamp = [state.st_size, state.st_mtime_ns]
        name = str(path.resolve())
        cache = self.folder / _MARKER / "hashes.json"
        try:
            known = json.loads(cache.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = {}
        known = known if isinstance(known, dict) else {}
        entry = known.get(name)
        if not isinstance(entry, list) or len(entry) != 2 or entry[0] != stamp:
            with path.open("rb") as file:
                entry = [stamp, hashlib.file_digest(file, "sha256").hexdigest()]
            with appearing(cache) as new:
                new.write_text(json.dumps({**known, name: entry}), encoding="utf-8")
        return str(entry[1])


@contextlib.contextmanager
def _heard() -> Iterator[list[str]]:
    """Collect our warnings, which are shown as ever: who reads the output later did not see the terminal."""
    said: list[str] = []
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
            if issubclass(category, ColumnMinerWarning):
                said.append(str(message))
            shown(message, category, *place, **options)

        warnings.showwarning = show
        yield said
