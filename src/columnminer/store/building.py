"""Building a part: batches of events are selected and observed, until it is committed or travels in memory."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.store.parts import PartInfo
from columnminer.store.weightcolumns import raw_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from columnminer.observe.cutflow import CutFlow
    from columnminer.observe.selection import Selection
    from columnminer.schema import EventBatch

__all__ = ["PartBuilder"]


class PartBuilder:
    """A part of a file that a task is working on.

    Parameters
    ----------
    selections
        By the name of the folder where its parts are; the nominal one has none, and comes last.
    weights
        Raw weights that are needed.
    stream
        Key of random numbers of the file.
    first_event
        Number of the first event.
    """

    def __init__(
        self, selections: Mapping[str, Selection], weights: tuple[str, ...], stream: int, first_event: int
    ) -> None:
        self.first_event = first_event
        self._weights = weights
        self._stream = stream
        self._nominal: list[NDArray[np.float64]] = [np.empty(0)]
        self._seen = {name: _Seen(selection, len(weights)) for name, selection in selections.items()}

    @property
    def n_generated(self) -> int:
        """Events read."""
        return sum(len(nominal) for nominal in self._nominal)

    def add(self, batch: EventBatch) -> None:
        """Select and observe the events of a batch."""
        raw = raw_weights(batch, self._weights)
        needed = dataclasses.replace(batch, weights=raw, weight_names=self._weights)
        self._nominal.append(raw[:, 0].copy())  # a view would keep all of the batch's weights
        for seen in self._seen.values():
            seen.add(needed, self._stream)

    def finish(self, content: Mapping[str, Any] | None = None) -> dict[str, tuple[PartInfo, dict[str, NDArray[Any]]]]:
        """Return what the part says about itself and its columns, by the name of the selection.

        `content` is what is known of the file at its end; None: this is not the end.
        """
        # Sums over the whole part, so that they do not depend on the size of batches.
        nominal = np.concatenate(self._nominal)
        finished = {}
        for name, seen in self._seen.items():
            columns = seen.columns()
            info = PartInfo(
                first_event=self.first_event,
                n_generated=len(nominal),
                n_events=len(columns["event"]),
                sum_weights=float(nominal.sum()),
                sum_squared_weights=float(nominal @ nominal),
                cut_flow={} if seen.cut_flow is None else seen.cut_flow.to_dict(),
                last=content is not None,
                **(content or {}),
            )
            finished[name] = info, columns
        return finished


class _Seen:
    """What one selection makes of the events of a part."""

    def __init__(self, selection: Selection, n_weights: int) -> None:
        self.selection = selection
        self.observables = [np.empty((0, len(selection.observable_names)))]
        self.weights = [np.empty((0, n_weights))]
        self.events: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)]
        self.cut_flow: CutFlow | None = None

    def add(self, batch: EventBatch, stream: int) -> None:
        """Select and observe the events of a batch; `stream` is that of the detector."""
        selected = self.selection.apply(batch, key=stream)
        self.observables.append(selected.observables)
        self.weights.append(selected.weights)
        self.events.append(batch.first_event + np.flatnonzero(selected.passed))
        self.cut_flow = selected.cut_flow if self.cut_flow is None else self.cut_flow + selected.cut_flow

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns of the part."""
        return {
            "observables": _joined(self.observables),
            "weights": _joined(self.weights),
            "event": _joined(self.events),
        }


def _joined(tables: list[NDArray[Any]]) -> NDArray[Any]:
    """Return the rows of all tables, of which the first has none; those of a single batch without a copy."""
    return tables[1] if len(tables) == 2 else np.concatenate(tables)
