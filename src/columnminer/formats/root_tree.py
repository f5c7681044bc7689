"""Trees of ROOT files: opened and read with uproot, where whatever is wrong with a file is said with its name.

uproot raises what its many parts raise (of zlib, struct, numpy, its own); here all of that becomes `FileFormatError`.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import awkward as ak
import numpy as np

from columnminer.errors import FileFormatError, InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from numpy.typing import NDArray

__all__ = ["Column", "RootTree", "content_of"]

Column = tuple["NDArray[np.int64]", "NDArray[Any]"]
"""A branch over consecutive events: how many numbers each event has (n_events,), and these numbers."""


@contextlib.contextmanager
def _named(what: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        msg = f"cannot open {what}: {error.strerror or 'No such file or directory'}"
        raise InputError(msg) from error
    except (FileFormatError, InputError):
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        msg = f"{what}: cannot be read as ROOT, it is damaged or was cut ({type(error).__name__}: {reason})"
        raise FileFormatError(msg) from error


def _opened(path: str) -> Any:
    import uproot  # noqa: PLC0415 - takes half a second

    # A mapping, since uproot would take a colon in a plain name as the beginning of an object's name.
    return uproot.open({path: None}, handler=uproot.source.file.MemmapSource, object_cache=None, array_cache=None)


class RootTree:
    """A tree, open for reading.

    Parameters
    ----------
    path
        ROOT file.
    name
        Name of the tree.

    Attributes
    ----------
    branches : frozenset of str
        Names of all branches, also of those within others.
    n_events : int
        Number of entries.

    Raises
    ------
    FileFormatError
        If the file is damaged, or has no such tree.
    """

    def __init__(self, path: str, name: str) -> None:
        self.path = path
        with contextlib.ExitStack() as stack, _named(path):
            file = stack.enter_context(_opened(path))
            trees = file.keys(recursive=False, cycle=False, filter_classname="TTree")
            if name not in trees:
                msg = f"{path}: there is no tree {name!r}.{did_you_mean(name, trees) or ' There are no trees at all.'}"
                raise FileFormatError(msg)
            self._tree = file[name]
            self.branches = frozenset(self._tree.keys(full_paths=False))
            self.n_events = int(self._tree.num_entries)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def column(self, name: str, start: int, stop: int) -> Column:
        """Return a branch that has any number of numbers per event, over the events from `start` to `stop`.

        Raises
        ------
        FileFormatError
            If the branch holds something else, or is damaged; names the branch and the events.
        """
        what = f"{self.path}: branch {name!r}"
        try:
            array = self._tree[name].array(entry_start=start, entry_stop=stop, library="ak")
        except Exception as error:
            first, last = self._damaged(name, start, stop)
            reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            msg = f"{what} is damaged, or was cut, in events {first} to {last} (counted from 0): {reason}"
            raise FileFormatError(msg) from error
        if len(array) != stop - start:
            msg = f"{what} ends after event {start + len(array)}, the tree after event {self.n_events}"
            raise FileFormatError(msg)
        if array.ndim == 1 and isinstance(array.layout, ak.contents.NumpyArray):
            return np.ones(len(array), dtype=np.int64), ak.to_numpy(array)
        if array.ndim != 2 or not isinstance(array.layout.content, ak.contents.NumpyArray):
            msg = f"{what} must hold numbers, any number of them per event, not {array.type.content}"
            raise FileFormatError(msg)
        return ak.to_numpy(ak.num(array)), ak.to_numpy(ak.flatten(array))

    def _damaged(self, name: str, start: int, stop: int) -> tuple[int, int]:
        """Return first and last event of the first part of a branch (its "basket") that cannot be read."""
        with contextlib.suppress(Exception):
            branch = self._tree[name]
            for basket in range(branch.num_baskets):
                first, end = branch.basket_entry_start_stop(basket)
                if first < stop and end > start:
                    try:
                        branch.array(entry_start=first, entry_stop=end, library="np")
                    except Exception:  # noqa: BLE001 - this is the one; why, has been said
                        return first, end - 1
        return start, stop - 1


def content_of(path: str) -> dict[str, int | str]:
    """Return size [bytes] and SHA-256 of a file; ROOT files are not read from front to end, which would give both."""
    with Path(path).open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "size": file.tell()}
