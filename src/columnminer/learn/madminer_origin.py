"""What MadMiner does not save about an estimator, and whoever imports it says: names, reference point, events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError
from columnminer.model.parameters import Benchmark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from columnminer.learn.madminer_files import SavedModel
    from columnminer.model.setup import Setup, Theta
    from columnminer.store.eventstore import EventStore

__all__ = ["Origin"]


@dataclass(frozen=True)
class Origin:
    """Names, reference point and events of the training.

    Attributes
    ----------
    observables : tuple of str
        All columns of x.
    parameters, nuisances : tuple of str
        Columns of theta; the nuisance parameters, if the model has any, come after the others.
    reference : Theta or None
        As it was given.
    setup : Setup or None
        What `reference` may refer to.
    store_hash, partition : str
        Events of the training; empty if they are in no store.
    """

    observables: tuple[str, ...]
    parameters: tuple[str, ...]
    nuisances: tuple[str, ...]
    reference: Theta | None
    setup: Setup | None
    store_hash: str
    partition: str

    @classmethod
    def of(
        cls,
        *,
        observables: Sequence[str] | None,
        parameters: Sequence[str] | None,
        reference: Theta | None,
        setup: Setup | None,
        store: EventStore | None,
        partition: str | None,
    ) -> Origin:
        """Return what follows from the arguments of `import_madminer_estimator`.

        Raises
        ------
        InputError
            If something is missing, or said twice.
        """
        nuisances: tuple[str, ...] = ()
        if store is not None:
            setup, observables, nuisances = (
                setup or store.setup,
                observables or store.observable_names,
                store.nuisance_names,
            )
            if partition not in {"all", *store.partition_names}:
                msg = (
                    f"say which partition of {store.path} MadMiner was trained on ('train' if its events were imported "
                    f"with partition='in_order', else 'all'), not {partition!r}"
                )
                raise InputError(msg)
        elif partition is not None:
            msg = f"partition={partition!r} is one of a store: give that too"
            raise InputError(msg)
        elif setup is not None:
            nuisances = tuple(p.name for p in setup.nuisance_parameters)
        if observables is None:
            msg = "MadMiner saves no names of observables: give observable_names, or the store of the training"
            raise InputError(msg)
        if (parameters is None) == (setup is None):
            msg = "MadMiner saves no names of parameters: give either parameter_names, or the setup or store"
            raise InputError(msg)
        if len(set(observables)) < len(observables):
            msg = f"observable_names has a name twice: {', '.join(observables)}"
            raise InputError(msg)
        return cls(
            observables=tuple(observables),
            parameters=tuple(parameters or ()) if setup is None else setup.parameter_names,
            nuisances=nuisances,
            reference=reference,
            setup=setup,
            store_hash="" if store is None else store.hash,
            partition="" if store is None else str(partition),
        )

    def columns(self, saved: SavedModel) -> list[int]:
        """Return the columns of x that the network takes.

        Raises
        ------
        InputError
            If they do not fit the names.
        """
        n = len(self.observables)
        columns = list(range(n)) if saved.features is None else saved.features
        if len(columns) != saved.n_features or not all(-n <= i < n for i in columns):
            chosen = "" if saved.features is None else f" (the columns {saved.features} of x)"
            msg = f"{saved.path} takes {saved.n_features} features{chosen}, but there are {n} observable_names"
            raise InputError(msg)
        return columns

    def parameter_names(self, saved: SavedModel) -> tuple[str, ...]:
        """Return the names of the model's parameters.

        Raises
        ------
        InputError
            If there are more or fewer names.
        """
        n, names = saved.n_parameters, self.parameters
        if n > len(names):
            names = (*names, *self.nuisances)
        if len(names) != n or len(set(names)) < n:
            msg = f"{saved.path} has {n} parameters, but there are the names {', '.join(names)}"
            raise InputError(msg)
        return names

    def point(self, saved: SavedModel, fallback: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """Return the reference point, (n_par,); without one, `fallback`.

        Raises
        ------
        InputError
            If there is none, or it does not fit.
        """
        given: Any = self.reference
        if given is None:
            if fallback is None:
                what = "the point of the score" if saved.kind == "score" else "the denominator of the ratio"
                msg = f"{saved.path}: MadMiner does not save {what}: give it as reference"
                raise InputError(msg)
            return fallback
        if self.setup is not None and (
            isinstance(given, str | Mapping | Benchmark) or np.size(given) == len(self.parameters)
        ):
            theory = self.setup.theta(given)
            # Such a point has nuisance parameters at 0.
            given = [*theory, *np.zeros(max(saved.n_parameters - len(theory), 0))]
        try:
            point = np.array(given, dtype=np.float64)
        except (TypeError, ValueError):
            point = np.array(np.nan)
        if point.shape != (saved.n_parameters,) or not np.isfinite(point).all():
            msg = f"{saved.path}: the reference needs {saved.n_parameters} finite values, not {self.reference!r}"
            raise InputError(msg)
        return point
