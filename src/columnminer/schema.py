"""The one event schema: what an `EventBatch` is, whoever made it.

Every reader and generator yields one `EventBatch` at a time, and everything after them relies on nothing else. Events
are an awkward record array, events first, energies in GeV:

==================  =============================================================================================
field               meaning
==================  =============================================================================================
``particles``       var * record ``Momentum4D``: px, py, pz, e [GeV] (float64), pdgid, status (int32); parton-level
                    files add spin, lifetime [mm], generated_mass [GeV], mother1, mother2, color1, color2
``scale``           event scale [GeV] (SCALUP)
``alpha_qed``       electromagnetic coupling of the event (AQEDUP)
``alpha_qcd``       strong coupling of the event (AQCDUP)
``process_id``      integer process label (IDPRUP)
``event_number``    what the source calls the event, where it numbers them
``e mu tau j a``    var * record ``Momentum4D``: reconstructed objects, from readers of detector-level files
``met``             record ``Momentum4D``: missing transverse momentum, from readers of detector-level files
==================  =============================================================================================

A batch holds `particles` (truth level), or the reconstructed collections, or both; `observe.objects` builds what is
missing. Vector behaviours (``.pt .eta .phi .mass .deltaR(...)``) work on each collection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import vector

from columnminer.errors import InputError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

vector.register_awkward()

__all__ = ["EVENT_FIELDS", "NOMINAL", "EventBatch", "jagged"]

NOMINAL = "nominal"
"""Name of the weight column that every reader gives: the event's own weight (XWGTUP in LHE)."""

EVENT_FIELDS = ("scale", "alpha_qed", "alpha_qcd", "process_id")


@dataclass(frozen=True)
class EventBatch:
    """Consecutive events of one source.

    Attributes
    ----------
    events : awkward.Array
        Record array of length n_events with the fields above.
    weights : numpy.ndarray
        (n_events, n_weights) float64, raw as the source gives them; NaN where an event lacks a weight.
    weight_names : tuple of str
        Name of each column, the first being `NOMINAL`.
    first_event : int
        Number of the first event in its source, counted from 0: error messages and random streams use it.
    source : str
        What to call the source in messages (a file name).
    showered : bool
        Whether the particles of the final state are those after shower and hadronisation, from which leptons, photons
        and jets have yet to be found. Beside final-state particles (status 1) there are at least decayed (status 2)
        hadrons with open bottom or charm, and tau leptons.
    vetoed : numpy.ndarray or None
        (n_events,) bool: events that were generated, and whose weights count in the normalisation, but of which the
        source has nothing to give: a shower vetoed them or gave them up. No selection lets them pass. None: there are
        none.

    Raises
    ------
    InputError
        If the arrays do not fit together.

    Examples
    --------
    >>> batch = next(iter(cm.open_reader("sm.lhe.gz").batches(size=100)))
    >>> isinstance(batch, cm.EventBatch), len(batch), batch.weight_names[:3]
    (True, 100, ('nominal', 'sm', 'c_ll_plus'))
    """

    events: ak.Array
    weights: NDArray[np.float64]
    weight_names: tuple[str, ...]
    first_event: int = 0
    source: str = ""
    showered: bool = False
    vetoed: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if self.weights.shape != (len(self.events), len(self.weight_names)):
            msg = (
                f"{self.source or 'event batch'}: weights have shape {self.weights.shape}, but there are "
                f"{len(self.events)} events and {len(self.weight_names)} weight names"
            )
            raise InputError(msg)

    def __len__(self) -> int:
        return len(self.weights)

    def weight(self, name: str) -> NDArray[np.float64]:
        """Return the column of the weight called `name`, (n_events,).

        Raises
        ------
        UnknownNameError
            If there is no such weight.
        """
        if name not in self.weight_names:
            msg = f"{self.source}: no weight is called {name!r}.{did_you_mean(name, self.weight_names)}"
            raise UnknownNameError(msg)
        return self.weights[:, self.weight_names.index(name)]


def jagged(counts: NDArray[np.integer[Any]] | Sequence[int], columns: Mapping[str, NDArray[Any]]) -> ak.Array:
    """Return a jagged array of Momentum4D records from flat columns, without copying them.

    Parameters
    ----------
    counts
        (n_events,) number of records of each event.
    columns
        name -> (sum of counts,) array.
    """
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    record = ak.contents.RecordArray(
        [ak.contents.NumpyArray(np.ascontiguousarray(c)) for c in columns.values()],
        list(columns),
        length=int(offsets[-1]),
        parameters={"__record__": "Momentum4D"},
    )
    return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(offsets), record))
