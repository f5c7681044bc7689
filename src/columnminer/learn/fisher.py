r"""Fisher information in the features of events, from the scores that an estimator gives for them.

.. math:: I_{ij} = n\, E[t_i(x)\, t_j(x)] = n \frac{\sum_e w_e\, t_i(x_e)\, t_j(x_e)}{\sum_e w_e}

for n expected events drawn at the point of the score (arXiv:1805.00020, section IV B). This is the information in what
events look like; for that in their number, and for the events of a store, see `infer.fisher.FisherInformation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from columnminer.errors import InputError
from columnminer.learn.information import Information

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["EnsembleMode", "ScoreMoments", "event_information", "fisher_information", "member_scores"]

EnsembleMode: TypeAlias = Literal["score", "information"]

_BLOCK = 16_384
"""Events evaluated together: bounds the memory for the scores of all members."""

_NO_SPREAD = 1e-12


def fisher_information(
    estimator: Any,
    x: ArrayLike,
    theta: ArrayLike | None = None,
    *,
    names: Sequence[str] | None = None,
    weights: ArrayLike | None = None,
    n_events: float = 1.0,
    mode: EnsembleMode = "score",
) -> Information:
    r"""Return the information in the features of expected events.

    The covariance of a single estimator's is that from the finite number of events x. That of an ensemble's is the
    (unbiased) covariance of its members, with the votes as weights: how much the information depends on the training.

    Parameters
    ----------
    estimator
        Of scores, ratios or densities, or an `Ensemble` of such.
    x
        (n, n_features) events drawn at the point of the score, or weighted to it.
    theta
        (n_par,) the point. May be left out for score estimators, which have one.
    names
        Names of the columns of x, among them the features; None: x has just the features, in order.
    weights
        (n,) of the events, in any unit; None: all alike.
    n_events
        Expected number of events to which the information is scaled.
    mode
        Of an ensemble. "score": the mean score t of each event, and then its products; a member that differs by
        :math:`d` changes the information by :math:`n\,E[d_i t_j + t_i d_j]`, and the covariance is that of these
        changes. "information": the mean of the members' informations, and their covariance; errors of the members
        that average out in the mean score add to this one.

    Returns
    -------
    Information
        About `estimator.parameter_names`, nuisance parameters among them if it knows any: see `Information.profile`.

    Raises
    ------
    InputError, UnknownNameError
        If x, theta or the weights do not fit, or an ensemble has a single voting member, which has no spread.
    MissingError
        If the estimator gives no score.

    Examples
    --------
    >>> store, alices = cm.EventStore("events.zarr"), cm.load_estimator("alices")
    >>> events = cm.sample_test(store, "sm", 1000)
    >>> information = cm.fisher_information(alices, events.x, [0.0, 0.0], names=events.feature_names, n_events=500.0)
    >>> information.parameter_names
    ('c_ll', 'c_lr')
    """
    moments = ScoreMoments(estimator, mode)
    if moments.is_ensemble and not moments.has_spread:
        msg = "an ensemble with a single voting member has no spread: give that member"
        raise InputError(msg)
    events = np.asarray(x)
    share = _shares(weights, len(events))
    scores = member_scores(estimator, _points(estimator, theta), names)
    for start in range(0, len(events), _BLOCK):
        rows = slice(start, start + _BLOCK)
        moments.add(scores(events[rows]), share[rows])
    covariance = moments.covariance_of_members() if moments.is_ensemble else moments.covariance_of_events()
    return Information(n_events * moments.information(), n_events**2 * covariance, tuple(estimator.parameter_names))


class ScoreMoments:
    """Sums over events of what the members of an ensemble find; an estimator is an ensemble of one.

    Parameters
    ----------
    estimator
        An estimator, or an `Ensemble`.
    mode
        See `fisher_information`.

    Attributes
    ----------
    total : float
        Sum of the weights of the events so far.

    Raises
    ------
    InputError
        If there is no such mode.
    """

    def __init__(self, estimator: Any, mode: EnsembleMode) -> None:
        if mode not in {"score", "information"}:
            msg = f"mode is 'score' or 'information', not {mode!r}"
            raise InputError(msg)
        self.mode = mode
        self.is_ensemble = _is_ensemble(estimator)
        self.votes = _votes(estimator)
        self.total = 0.0
        n = len(estimator.parameter_names)
        self._each = np.zeros((len(self.votes), n, n))
        self._sum = np.zeros(n * n)
        # Sums with squared weights: of nothing else, of what events say, of products of that.
        self._squares, self._first, self._second = 0.0, np.zeros(n * n), np.zeros((n * n, n * n))

    @property
    def has_spread(self) -> bool:
        """Whether more than one member has a vote."""
        return bool(1.0 - np.square(self.votes).sum() > _NO_SPREAD)

    def mean(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean of the members' scores (n_members, n, n_par), (n, n_par)."""
        return np.asarray(np.tensordot(self.votes, scores, axes=1))

    def add(self, scores: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add events with the members' scores (n_members, n, n_par); return what each says, (n, n_par, n_par)."""
        mean = self.mean(scores)
        if self.mode == "information":
            products = np.einsum("m,mni,mnj->nij", self.votes, scores, scores, optimize=True)
            with_whom = scores
        else:
            products = _products(mean)
            with_whom = np.broadcast_to(2.0 * mean, scores.shape)
        if self.is_ensemble:
            self._each += np.einsum("n,mni,mnj->mij", weights, scores, with_whom, optimize=True)
        flat, squared = products.reshape(len(weights), len(self._sum)), np.square(weights)
        self._sum += weights @ flat
        self._second += (squared[:, np.newaxis] * flat).T @ flat
        self._first += squared @ flat
        self._squares += float(squared.sum())
        self.total += float(weights.sum())
        return np.asarray(products)

    def information(self) -> NDArray[np.float64]:
        """Return the mean over events of what they say, (n_par, n_par)."""
        return np.asarray(self._sum.reshape(self._each.shape[1:]) / self.total)

    def covariance_of_events(self) -> NDArray[np.float64]:
        """Return the covariance of that mean from the finite number of events, (n_par, n_par, n_par, n_par)."""
        mean = self._sum / self.total
        covariance = self._second - np.outer(self._first, mean) - np.outer(mean, self._first)
        covariance += self._squares * np.outer(mean, mean)
        return np.asarray(covariance.reshape(self._each.shape[1:] * 2) / self.total**2)

    def covariance_of_members(self) -> NDArray[np.float64]:
        """Return the (unbiased) covariance of that mean by the spread of the members; zero if only one has a vote."""
        shape = self._each.shape[1:] * 2
        if not self.has_spread or self.total == 0.0:
            return np.zeros(shape)
        each = (self._each + self._each.swapaxes(1, 2)) / (2.0 * self.total)
        residuals = (each - np.tensordot(self.votes, each, axes=1)).reshape(len(each), -1)
        covariance = (self.votes[:, np.newaxis] * residuals).T @ residuals / (1.0 - np.square(self.votes).sum())
        return np.asarray(covariance.reshape(shape))


def event_information(
    estimator: Any, x: ArrayLike, theta: ArrayLike | None = None, *, names: Sequence[str] | None = None
) -> NDArray[np.float64]:
    """Return what each event adds to the information, t_i t_j, (n, n_par, n_par).

    Its mean over events is the `fisher_information` of one event; of an ensemble, that of the mean score.

    Parameters
    ----------
    estimator, x, theta, names
        See `fisher_information`.

    Examples
    --------
    >>> store, alices = cm.EventStore("events.zarr"), cm.load_estimator("alices")
    >>> events = cm.sample_test(store, "sm", 5)
    >>> cm.event_information(alices, events.x, [0.0, 0.0], names=events.feature_names).shape
    (5, 2, 2)
    """
    scores = member_scores(estimator, _points(estimator, theta), names)(np.asarray(x))
    return _products(np.tensordot(_votes(estimator), scores, axes=1))


def member_scores(
    estimator: Any, points: tuple[Any, ...], names: Sequence[str] | None
) -> Callable[[NDArray[Any]], NDArray[np.float64]]:
    """Return the function from events to the scores of all members, (n_members, n, n_par).

    Parameters
    ----------
    estimator, names
        See `fisher_information`.
    points
        What the method `score` takes after the events.
    """
    if _is_ensemble(estimator):
        return lambda x: np.asarray(estimator.scores(x, *points, names=names), dtype=np.float64)
    return lambda x: np.asarray(estimator.score(x, *points, names=names), dtype=np.float64)[np.newaxis]


def _is_ensemble(estimator: Any) -> bool:
    """Return whether it has members; the class is not asked for, as its module imports all of learning."""
    return hasattr(estimator, "votes") and hasattr(estimator, "scores")


def _votes(estimator: Any) -> NDArray[np.float64]:
    return np.asarray(estimator.votes) if _is_ensemble(estimator) else np.ones(1)


def _products(t: NDArray[np.float64]) -> NDArray[np.float64]:
    return t[:, :, np.newaxis] * t[:, np.newaxis, :]


def _shares(weights: ArrayLike | None, n: int) -> NDArray[np.float64]:
    """Return the weights of n events, with sum 1."""
    w = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    if not n:
        msg = "there are no events to take the information of"
        raise InputError(msg)
    if w.shape != (n,) or not np.isfinite(w).all() or not w.sum() > 0.0:
        msg = f"weights are one finite number for each of {n} events, with a positive sum"
        raise InputError(msg)
    return np.asarray(w / w.sum())


def _points(estimator: Any, theta: ArrayLike | None) -> tuple[Any, ...]:
    """Return the points that the score of an estimator is asked at: none for a score estimator, which has its own."""
    if estimator.estimates == "score":
        reference = np.asarray(estimator.reference)
        if theta is not None and not np.array_equal(np.broadcast_to(theta, reference.shape), reference):
            msg = f"this estimator gives the score at {reference}, not at {theta}"
            raise InputError(msg)
        return ()
    if theta is None or np.ndim(theta) != 1:
        msg = f"give one point theta with values for {', '.join(estimator.parameter_names)}, not {theta!r}"
        raise InputError(msg)
    return (theta, estimator.reference) if estimator.estimates == "double ratio" else (theta,)
