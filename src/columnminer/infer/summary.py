"""What events are reduced to: the columns of a histogram, cuts and efficiencies, from the observables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from columnminer.arithmetic import Number
from columnminer.errors import InputError, UnknownNameError, did_you_mean
from columnminer.expressions import Evaluator, compile_expression
from columnminer.infer.estimates import ScoreLike, gives_score

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Cuts", "Efficiencies", "Summary", "SummaryItems"]


SummaryItems: TypeAlias = "str | ScoreLike | Sequence[str | ScoreLike]"


class _Texts:
    """Expressions of observables, evaluated on events whose columns have names."""

    def __init__(self, texts: Sequence[str], observables: Sequence[str]) -> None:
        if isinstance(texts, str):
            msg = f"a list of expressions is needed, not the text {texts!r}"
            raise InputError(msg)
        self.observables = tuple(observables)
        self.texts = tuple(texts)
        self._programs = {}
        for text in self.texts:
            if text not in self.observables:  # any text may be the name of an observable
                if text.isidentifier():
                    msg = f"no observable is called {text!r}.{did_you_mean(text, self.observables)}"
                    raise UnknownNameError(msg)
                self._programs[text] = compile_expression(text, self.observables)

    def __len__(self) -> int:
        return len(self.texts)

    def columns(self, x: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.float64]:
        """Return the values (n, len(texts)) for events (n, n_obs); NaN where an expression is undefined."""
        missing = [name for name in self.observables if name not in names] if self._programs else []
        for name in [*missing, *(t for t in self.texts if t not in self._programs and t not in names)]:
            msg = f"the events have no observable {name!r}.{did_you_mean(name, names)}"
            raise UnknownNameError(msg)
        values = np.empty((len(x), len(self.texts)))
        evaluator = Evaluator({name: Number(column) for name, column in zip(names, x.T, strict=True)})
        for i, text in enumerate(self.texts):
            if text in self._programs:
                number = evaluator.number(self._programs[text])
                values[:, i] = np.where(number.defined, number.values, np.nan)
            else:
                values[:, i] = x[:, list(names).index(text)]
        return values


class Cuts(_Texts):
    """Expressions of observables that are true for events to keep; where one is undefined, the event is not kept."""

    def __call__(self, x: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.bool_]:
        """Return which events (n, n_obs) pass all cuts, (n,)."""
        values = self.columns(x, names)
        return np.asarray(((values != 0.0) & ~np.isnan(values)).all(axis=1))


class Efficiencies(_Texts):
    """Expressions of observables that multiply weights."""

    def __call__(self, x: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.float64]:
        """Return the product of all efficiencies for events (n, n_obs), (n,).

        Raises
        ------
        InputError
            If one is undefined for an event.
        """
        values = self.columns(x, names)
        for text, column in zip(self.texts, values.T, strict=True):
            if np.isnan(column).any():
                msg = f"the efficiency {text!r} is undefined for {int(np.isnan(column).sum())} events"
                raise InputError(msg)
        return np.asarray(values.prod(axis=1))


class Summary:
    """Columns computed from the observables of events.

    Parameters
    ----------
    items
        Names or expressions of observables ("pt_j1", "log(pt_j1 / pt_j2)") and score estimators, whose components are
        all taken; one or several.
    observables
        Names of the observables that events have.
    score_components
        Names of the parameters whose components of score estimators are taken, in this order; None: all.

    Attributes
    ----------
    names : tuple of str
        What each column is: the text, or ``score(<parameter>)``.
    scores : tuple
        The score estimators among the items.

    Raises
    ------
    UnknownNameError
        If a name is not an observable, or not a component of a score.
    InputError
        If there is nothing to bin, or components are chosen where no score is.
    ExpressionError
        If a text is neither an observable nor an expression of observables.
    """

    def __init__(
        self, items: SummaryItems, observables: Sequence[str], score_components: Sequence[str] | None = None
    ) -> None:
        listed: list[object] = list(items) if isinstance(items, Sequence) and not isinstance(items, str) else [items]
        if not listed:
            msg = "a histogram needs at least one observable"
            raise InputError(msg)
        names: list[str] = []
        scores: list[ScoreLike] = []
        self._parts: list[Callable[[NDArray[np.float64], Sequence[str]], NDArray[np.float64]]] = []
        for item in listed:
            if isinstance(item, str):
                names.append(item)
                self._parts.append(_Texts([item], observables).columns)
            elif gives_score(item):
                chosen = list(item.parameter_names if score_components is None else score_components)
                names += [f"score({name})" for name in chosen]
                self._parts.append(_score_of(item, chosen))
                scores.append(item)
            else:
                msg = f"a histogram is made of names, expressions and score estimators, not {type(item).__name__}"
                raise InputError(msg)
        if score_components is not None and not (scores and names):
            msg = "components of a score are chosen, but there is none: leave score_components, or name some"
            raise InputError(msg)
        self.names = tuple(names)
        self.scores = tuple(scores)

    def __call__(self, x: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.float64]:
        """Return the columns (n, len(self.names)) of events (n, n_obs) whose observables are `names`."""
        return np.concatenate([part(x, names) for part in self._parts], axis=1)


def _score_of(
    estimator: ScoreLike, components: Sequence[str]
) -> Callable[[NDArray[np.float64], Sequence[str]], NDArray[np.float64]]:
    known = list(estimator.parameter_names)
    for name in components:
        if name not in known:
            msg = f"the score has no component {name!r}.{did_you_mean(name, known)}"
            raise UnknownNameError(msg)
    which = [known.index(name) for name in components]

    def columns(x: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.float64]:
        return np.asarray(estimator.score(x, names=names), dtype=np.float64)[:, which]

    return columns
