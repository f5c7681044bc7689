"""What estimators minimise: each term of a loss, with its formula and source, and the methods made of them.

Throughout, y = 0 marks events drawn from the numerator theta0 and y = 1 events from the denominator theta1; r_xz is the
joint likelihood ratio p(x, z | theta0) / p(x, z | theta1), s_xz = 1 / (1 + r_xz) the joint probability of y = 1, and
t_xz the joint score, the gradient of log p(x, z | theta) at theta0. Without the index, log r(x | theta0, theta1) and
its gradient t(x | theta0) with respect to theta0 are what the network says. Both classes have equally many events.

============  ==========================  ============  ====================================
method        ratio term                  score term    source
============  ==========================  ============  ====================================
``carl``      cross entropy in y          --            arXiv:1506.02169
``alice``     cross entropy in s_xz       --            arXiv:1808.00973
``alices``    cross entropy in s_xz       alpha *       arXiv:1808.00973
``rolr``      squared error of r, 1/r     --            arXiv:1805.00013, arXiv:1805.00020
``cascal``    cross entropy in y          alpha *       arXiv:1805.00013, arXiv:1805.00020
``rascal``    squared error of r, 1/r     alpha *       arXiv:1805.00013, arXiv:1805.00020
``sally``     --                          all events    arXiv:1805.00013, arXiv:1805.00020
``nde``       (negative log likelihood)   --            arXiv:1705.07057
``scandal``   (negative log likelihood)   alpha *       arXiv:1805.00020
============  ==========================  ============  ====================================

What to use when: ``alices`` where the gold is at hand (least training data for the same precision), ``carl`` where only
labels are, ``sally`` for small deviations from one reference point; ``scandal`` where the density itself is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from columnminer.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "RATIO_METHODS",
    "SCORE_METHODS",
    "RatioMethod",
    "cross_entropy",
    "density_method",
    "joint_cross_entropy",
    "negative_log_likelihood",
    "numerator_score_error",
    "ratio_error",
    "ratio_method",
    "score_error",
]

LOG_RATIO_LIMIT = 10.0
"""`ratio_error` clips log r to +-10, true and estimated: beyond, single events would rule the squared error."""


def _mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Mean over the events, the last dimension: one number, or one for each network where they are stacked."""
    return values.mean(-1) if weight is None else (weight * values).mean(-1)


def cross_entropy(log_r: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Cross entropy between the classifier s = 1 / (1 + r) and the label y (CARL).

    L = -E[y log s + (1 - y) log(1 - s)], smallest at r(x) = p(x | theta0) / p(x | theta1); arXiv:1506.02169. In terms
    of log r it is E[log(1 + r) - (1 - y) log r], which neither over- nor underflows.

    Parameters
    ----------
    log_r, y, weight
        (n,) each; weights have mean 1.
    """
    return _mean(functional.softplus(log_r) - (1.0 - y) * log_r, weight)


def joint_cross_entropy(log_r: Tensor, s_xz: Tensor, weight: Tensor | None = None) -> Tensor:
    """Cross entropy between the classifier s = 1 / (1 + r) and the joint probability s_xz (ALICE).

    L = -E[s_xz log s + (1 - s_xz) log(1 - s)], the label of `cross_entropy` replaced by its mean at given (x, z): the
    same minimum with a smaller variance; arXiv:1808.00973.

    Parameters
    ----------
    log_r, s_xz, weight
        (n,) each; weights have mean 1.
    """
    return cross_entropy(log_r, s_xz, weight)


def ratio_error(log_r: Tensor, log_r_xz: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Squared error of r in events of the denominator and of 1/r in events of the numerator (ROLR).

    L = E[y (r - r_xz)^2 + (1 - y) (1/r - 1/r_xz)^2], smallest at r(x) = p(x | theta0) / p(x | theta1);
    arXiv:1805.00020. All log ratios are clipped to +-`LOG_RATIO_LIMIT`, as MadMiner does.

    Parameters
    ----------
    log_r, log_r_xz, y, weight
        (n,) each; weights have mean 1.
    """
    sign = 2.0 * y - 1.0
    estimate = torch.exp(sign * log_r.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT))
    truth = torch.exp(sign * log_r_xz.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT))
    return _mean((estimate - truth).square(), weight)


def score_error(t: Tensor, t_xz: Tensor, weight: Tensor | None = None) -> Tensor:
    """Squared error of the score, mean over parameters, in events drawn from the point where it is taken (SALLY).

    ``L = E[|t - t_xz|^2] / n_par``, smallest at the score t(x | theta) of the observable distribution;
    arXiv:1805.00020.

    Parameters
    ----------
    t, t_xz
        (n, n_par) each.
    weight
        (n,), with mean 1.
    """
    return _mean((t - t_xz).square().mean(-1), weight)


def negative_log_likelihood(log_p: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean of -log p(x | theta) in events drawn from theta (NDE, and the first term of SCANDAL).

    ``L = -E[log p(x | theta)]``, smallest at the density of the observables; arXiv:1705.07057. SCANDAL adds alpha times
    `score_error` of the gradient of log p with respect to theta; arXiv:1805.00020.

    Parameters
    ----------
    log_p, weight
        (n,) each; weights have mean 1.
    """
    return _mean(-log_p, weight)


def numerator_score_error(t: Tensor, t_xz: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Squared error of the score at theta0 in events drawn from theta0 (the second term of RASCAL, CASCAL and ALICES).

    ``L = E[(1 - y) |t - t_xz|^2] / n_par``. Only events of the numerator enter: under theta1 the mean of t_xz at given
    x is not the score at theta0; arXiv:1805.00020, arXiv:1808.00973. The mean runs over parameters too, as in MadMiner,
    so that alpha means the same for any number of them.

    Parameters
    ----------
    t, t_xz
        (n, n_par) each.
    y, weight
        (n,) each; weights have mean 1.
    """
    return _mean((1.0 - y) * (t - t_xz).square().mean(-1), weight)


@dataclass(frozen=True)
class RatioMethod:
    """How a ratio estimator is trained.

    Attributes
    ----------
    ratio_term : callable
        (log_r, batch) -> the first term of the loss.
    uses_score : bool
        Whether `numerator_score_error` times alpha is added.
    gold : tuple of str
        Columns of a batch that it needs beside the inputs and y; see `gold.ratio_columns`.
    """

    ratio_term: Callable[[Tensor, Mapping[str, Tensor]], Tensor]
    uses_score: bool
    gold: tuple[str, ...]


def _carl(log_r: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    return cross_entropy(log_r, batch["y"], batch.get("weight"))


def _alice(log_r: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    return joint_cross_entropy(log_r, batch["s_xz"], batch.get("weight"))


def _rolr(log_r: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    return ratio_error(log_r, batch["log_r_xz"], batch["y"], batch.get("weight"))


RATIO_METHODS: dict[str, RatioMethod] = {
    "carl": RatioMethod(_carl, uses_score=False, gold=()),
    "rolr": RatioMethod(_rolr, uses_score=False, gold=("log_r_xz",)),
    "alice": RatioMethod(_alice, uses_score=False, gold=("s_xz",)),
    "cascal": RatioMethod(_carl, uses_score=True, gold=("t_xz",)),
    "rascal": RatioMethod(_rolr, uses_score=True, gold=("log_r_xz", "t_xz")),
    "alices": RatioMethod(_alice, uses_score=True, gold=("s_xz", "t_xz")),
}


SCORE_METHODS = ("sally", "sallino")
"""Methods of score estimators: one training, and two ways to use it; arXiv:1805.00013."""

DENSITY_METHODS = {"nde": False, "scandal": True}
"""Methods of density estimators, and whether they add the score term."""


def density_method(name: str) -> bool:
    """Return whether the density method called `name` (upper and lower case alike) learns from the joint score.

    Raises
    ------
    InputError
        If a density estimator has no such method.
    """
    if name.lower() not in DENSITY_METHODS:
        msg = f"a density estimator is trained by 'nde' or 'scandal', not {name!r}"
        raise InputError(msg)
    return DENSITY_METHODS[name.lower()]


def ratio_method(name: str) -> RatioMethod:
    """Return the method called `name` (upper and lower case alike).

    Raises
    ------
    InputError
        If a ratio estimator has no such method.
    """
    if name.lower() not in RATIO_METHODS:
        msg = f"a ratio estimator has no method {name!r}.{did_you_mean(name.lower(), RATIO_METHODS)}"
        raise InputError(msg)
    return RATIO_METHODS[name.lower()]
