r"""Likelihood ratios from estimated scores, along one direction for each theta (SALLINO, arXiv:1805.00020).

Near theta_ref the score t(x) is sufficient, and between theta_ref and theta its projection
:math:`h_\theta(x) = t(x) \cdot (\theta - \theta_\mathrm{ref}) / |\theta - \theta_\mathrm{ref}|` is, a single number
whose histograms give the ratio; see `columnminer.infer.adaptive`. Where that is not enough, components perpendicular to
the direction are further axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError
from columnminer.infer.adaptive import AdaptiveHistograms
from columnminer.infer.bins import split_bins

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.infer.estimates import ScoreLike
    from columnminer.infer.events import Partition
    from columnminer.store.eventstore import EventStore

__all__ = ["ScoreProjection"]


class ScoreProjection(AdaptiveHistograms):
    """A ratio estimator made of a score estimator and histograms; likelihoods and limits take it as such.

    Parameters
    ----------
    store
        Simulated events, for the histograms.
    estimator
        Of the score. Components along nuisance parameters are not looked at.
    n_bins
        Bins of each histogram, of equal cross section at theta; several numbers are those along the direction from
        theta_ref to theta, and along one perpendicular direction after the other.
    theta_ref
        Denominator of the ratio; where the estimator was trained, by default.
    partition
        Events that fill the histograms.
    cuts, efficiencies
        Expressions of observables.

    Raises
    ------
    InputError
        If the estimator knows other parameters than the store, a number of bins is less than 2, or there are more axes
        than parameters.

    Examples
    --------
    >>> store = cm.EventStore("events.zarr")
    >>> sally = cm.ScoreEstimator((10,)).fit(cm.sample_local(store, "sm", 4000), "sally", epochs=1, progress=False)
    >>> projected = cm.ScoreProjection(store, sally, n_bins=10)
    >>> limits = cm.expected_limits(store, projected, "sm", cm.Grid([(-0.05, 0.05, 5)] * 2), 3000.0)
    """

    def __init__(
        self,
        store: EventStore,
        estimator: ScoreLike,
        *,
        n_bins: int | Sequence[int] = 25,
        theta_ref: Any = None,
        partition: Partition = ("train", "validation"),
        cuts: Sequence[str] = (),
        efficiencies: Sequence[str] = (),
    ) -> None:
        names = store.setup.space.names
        if tuple(estimator.parameter_names) not in {names, (*names, *store.nuisance_names)}:
            msg = f"the score is one of {', '.join(estimator.parameter_names)}, the store one of {', '.join(names)}"
            raise InputError(msg)
        numbers = list(n_bins) if isinstance(n_bins, Sequence) else [n_bins]
        if not numbers or min(numbers) < 2:
            msg = f"a histogram with {n_bins} bins tells nothing apart: take 2 or more"
            raise InputError(msg)
        if len(numbers) > len(names):
            msg = f"a score of {len(names)} components has no {len(numbers)} directions to bin"
            raise InputError(msg)
        trained_at = np.asarray(getattr(estimator, "reference", store.setup.theta(store.setup.space.nominal)))
        super().__init__(
            store,
            estimator,
            bins=2,
            theta_ref=trained_at[: len(names)] if theta_ref is None else theta_ref,
            score_components=names,
            partition=partition,
            cuts=cuts,
            efficiencies=efficiencies,
        )
        self.estimator = estimator
        self.axis_names = ("along", "across", *(f"across {i}" for i in range(2, len(names))))[: len(numbers)]
        self._wanted = split_bins(numbers, self.axis_names)

    def columns(self, values: NDArray[np.float64], theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scores along the direction from theta_ref to theta, and perpendicular to it."""
        return np.asarray(values @ self._directions(theta))

    def _directions(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return orthonormal columns (n_par, n_axes), the first to theta; where that is theta_ref, any will do."""
        difference = theta - self.reference
        length = np.linalg.norm(difference)
        first = difference / length if length > 0.0 else np.eye(len(theta))[0]
        across, _ = np.linalg.qr(np.column_stack([first, np.eye(len(theta))]))
        return np.column_stack([first, across[:, 1 : len(self.axis_names)]])
