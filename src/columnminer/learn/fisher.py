r"""Fisher information in the features of events, from the scores that an estimator gives for them.

.. math:: I_{ij} = n\, E[t_i(x)\, t_j(x)] = n \frac{\sum_e w_e\, t_i(x_e)\, t_j(x_e)}{\sum_e w_e}

for n expected events drawn at the point of the score (arXiv:1805.00020, section IV B). This is the information in what
events look like; for that in their number, and for the events of a store, see `infer.fisher.FisherInformation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from columnminer.errors import InputError
from columnminer.learn.ensembles import Ensemble
from columnminer.learn.information import Information

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["EnsembleMode", "event_information", "fisher_information"]

EnsembleMode: TypeAlias = Literal["score", "information"]

_BLOCK = 16_384
"""Events evaluated together: bounds the memory for the scores of all members."""


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
    """
    if mode not in {"score", "information"}:
        msg = f"mode is 'score' or 'information', not {mode!r}"
        raise InputError(msg)
    events = np.asarray(x)
    share = _shares(weights, len(events))
    parameters = tuple(estimator.parameter_names)
    votes = estimator.votes if isinstance(estimator, Ensemble) else np.ones(1)
    unbiased = 1.0 - np.square(votes).sum()
    if isinstance(estimator, Ensemble) and unbiased < 1e-12:
        msg = "an ensemble with a single voting member has no spread: give that member"
        raise InputError(msg)
    scores = _member_scores(estimator, theta, names)
    n_par = len(parameters)
    information = np.zeros((n_par, n_par))
    each = np.zeros((len(votes), n_par, n_par))
    second, first, squares = np.zeros((n_par**2, n_par**2)), np.zeros(n_par**2), 0.0
    for start in range(0, len(events), _BLOCK):
        rows = slice(start, start + _BLOCK)
        t, w = scores(events[rows]), share[rows]
        mean = np.tensordot(votes, t, axes=1)
        products = _products(mean)
        information += np.tensordot(w, products, axes=1)
        if isinstance(estimator, Ensemble):
            with_whom = t if mode == "information" else 2.0 * mean[np.newaxis]
            each += np.einsum("n,mni,mnj->mij", w, t, np.broadcast_to(with_whom, t.shape), optimize=True)
        else:
            terms = products.reshape(len(w), -1)
            second += (np.square(w)[:, np.newaxis] * terms).T @ terms
            first += np.square(w) @ terms
            squares += float(np.square(w).sum())
    if isinstance(estimator, Ensemble):
        each = (each + each.swapaxes(1, 2)) / 2.0
        centre = np.tensordot(votes, each, axes=1)
        if mode == "information":
            information = centre
        residuals = (each - centre).reshape(len(votes), -1)
        covariance = (votes[:, np.newaxis] * residuals).T @ residuals / unbiased
    else:
        whole = information.reshape(-1)
        covariance = second - np.outer(first, whole) - np.outer(whole, first) + squares * np.outer(whole, whole)
    return Information(n_events * information, n_events**2 * covariance.reshape((n_par,) * 4), parameters)


def event_information(
    estimator: Any, x: ArrayLike, theta: ArrayLike | None = None, *, names: Sequence[str] | None = None
) -> NDArray[np.float64]:
    """Return what each event adds to the information, t_i t_j, (n, n_par, n_par).

    Its mean over events is the `fisher_information` of one event; of an ensemble, that of the mean score.

    Parameters
    ----------
    estimator, x, theta, names
        See `fisher_information`.
    """
    scores = _member_scores(estimator, theta, names)(np.asarray(x))
    votes = estimator.votes if isinstance(estimator, Ensemble) else np.ones(1)
    return _products(np.tensordot(votes, scores, axes=1))


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


def _member_scores(
    estimator: Any, theta: ArrayLike | None, names: Sequence[str] | None
) -> Callable[[NDArray[Any]], NDArray[np.float64]]:
    """Return the function from events to scores at theta, (n_members, n, n_par)."""
    points: tuple[Any, ...] = ()
    if estimator.estimates == "score":
        reference = np.asarray(estimator.reference)
        if theta is not None and not np.array_equal(np.broadcast_to(theta, reference.shape), reference):
            msg = f"this estimator gives the score at {reference}, not at {theta}"
            raise InputError(msg)
    elif theta is None or np.ndim(theta) != 1:
        msg = f"give one point theta with values for {', '.join(estimator.parameter_names)}, not {theta!r}"
        raise InputError(msg)
    else:
        points = (theta, estimator.reference) if estimator.estimates == "double ratio" else (theta,)
    if isinstance(estimator, Ensemble):
        return lambda x: np.asarray(estimator.scores(x, *points, names=names), dtype=np.float64)
    return lambda x: np.asarray(estimator.score(x, *points, names=names), dtype=np.float64)[np.newaxis]
