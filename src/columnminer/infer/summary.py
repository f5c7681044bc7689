"""Which columns a histogram is made of: observables, expressions of them, estimated scores, or a mixture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import numpy as np

from columnminer.errors import InputError, UnknownNameError, did_you_mean
from columnminer.expressions import compile_expression

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["ScoreLike", "Summary", "SummaryItems", "event_columns"]


@runtime_checkable
class ScoreLike(Protocol):
    """An estimator of the score at its reference point."""

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Parameters in whose direction the components point."""
        ...

    def score(self, x: NDArray[np.float64], *, names: Sequence[str] | None = None) -> NDArray[np.float64]:
        """Return the estimated score, (n, n_par), of events with columns `names`."""
        ...


SummaryItems: TypeAlias = "str | ScoreLike | Sequence[str | ScoreLike]"


class Summary:
    """Columns computed from the observables of events.

    Parameters
    ----------
    items
        Names or expressions of observables ("pt_j1", "log(pt_j1 / pt_j2)") and score estimators, whose components are all
        taken; one or several.
    observables
        Names of the columns of the events that will be given.

    Attributes
    ----------
    names : tuple of str
        What each column is: the text, or ``score(<parameter>)``.

    Raises
    ------
    UnknownNameError
        If a name is not an observable.
    """

    def __init__(self, items: SummaryItems, observables: Sequence[str]) -> None:
        self.observables = tuple(observables)
        listed = [items] if isinstance(items, str | ScoreLike) else list(items)
        if not listed:
            msg = "a histogram needs at least one observable"
            raise InputError(msg)
        names: list[str] = []
        self._parts: list[Callable[[NDArray[np.float64]], NDArray[np.float64]]] = []
        for item in listed:
            if isinstance(item, str):
                names.append(item)
                self._parts.append(_text_column(item, self.observables))
            else:
                names += [f"score({name})" for name in item.parameter_names]
                self._parts.append(_score_columns(item, self.observables))
        self.names = tuple(names)

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the columns (n, len(names)) of events (n, n_obs)."""
        return np.concatenate([part(x) for part in self._parts], axis=1)
