"""Which recorded events count: a cut by the list of certified luminosity sections."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from columnminer.errors import FileFormatError, InputError, MissingError

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

__all__ = ["LuminosityMask"]


class LuminosityMask:
    """Cut that recorded events pass if their luminosity section is certified; simulated events all pass.

    ``Selection(..., cuts=[LuminosityMask("golden.json"), ...])``. The file is read here and not where the events are.

    Parameters
    ----------
    path
        JSON file ``{"run": [[first, last], ...]}``, as experiments publish it.

    Attributes
    ----------
    version : str
        Hash of what is certified, by which a store remembers it.

    Raises
    ------
    InputError
        If the file cannot be read.
    FileFormatError
        If it holds something else.

    Examples
    --------
    >>> data = cm.Sample("DoubleMuon.root", data=True)
    >>> selection = cm.Selection({"m_ll": "(mu[0] + mu[1]).m"}, cuts=[cm.LuminosityMask("golden.json")])
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        from coffea.lumi_tools import LumiMask  # noqa: PLC0415 - takes seconds

        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
            self.version = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]
            self._mask = LumiMask(str(path))
        except OSError as error:
            msg = f"cannot read the luminosity mask {str(path)!r}: {error.strerror or error}"
            raise InputError(msg) from error
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            msg = f'{path}: this is no luminosity mask, {{"run": [[first, last], ...]}}: {error}'
            raise FileFormatError(msg) from error

    def __call__(self, events: Any) -> NDArray[np.bool_]:
        """Return which events pass, (n_events,).

        Raises
        ------
        MissingError
            If recorded events have no run and luminosityBlock.
        """
        fields = set(ak.fields(events))
        if "genWeight" in fields:
            return np.ones(len(events), dtype=np.bool_)
        if not {"run", "luminosityBlock"} <= fields:
            msg = "a luminosity mask needs events with the fields run and luminosityBlock"
            raise MissingError(msg)
        return np.asarray(self._mask(ak.to_numpy(events["run"]), ak.to_numpy(events["luminosityBlock"])))
