"""What likelihoods ask of estimators, so that any object with these methods serves: learned, or exact."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from columnminer.errors import CheckWarning, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import TypeIs

__all__ = ["RatioLike", "ScoreLike", "gives_ratio", "gives_score", "warn_of_checks", "with_denominator"]


@runtime_checkable
class RatioLike(Protocol):
    """Gives log p(x|theta) / p(x|reference), such as `columnminer.learn.estimators.RatioEstimator`.

    With a method ``score(x, theta, *, pairing, names)`` that gives (n_theta, n, n_par) on the grid, its likelihood has
    a gradient.
    """

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """What theta is."""
        ...

    def log_ratio(
        self,
        x: NDArray[np.float64],
        theta: NDArray[np.float64],
        *,
        pairing: Literal["pairs", "grid"] = "pairs",
        names: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """Return log ratios, (n_theta, n) with ``pairing="grid"``, of events with columns `names`."""
        ...


@runtime_checkable
class ScoreLike(Protocol):
    """Gives the score at one reference point, such as `columnminer.learn.estimators.ScoreEstimator`."""

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """In whose direction the components point."""
        ...

    def score(self, x: NDArray[np.float64], *, names: Sequence[str] | None = None) -> NDArray[np.float64]:
        """Return the scores (n, n_par) of events with columns `names`."""
        ...


def gives_ratio(what: object) -> TypeIs[RatioLike]:
    """Return whether this gives a likelihood ratio at any theta; score estimators have a `log_ratio` that refuses.

    Densities, and ratios between any two points, are among them; `with_denominator` makes them one.
    """
    return hasattr(what, "log_ratio") and not gives_score(what)


def with_denominator(estimator: RatioLike, reference: NDArray[np.float64]) -> RatioLike:
    """Return an estimator of ratios to one point: of densities or double ratios those to the reference (n_par,).

    Raises
    ------
    InputError
        If it estimates something else, that cannot be made a ratio to one point.
    """
    estimates = getattr(estimator, "estimates", "ratio")
    if estimates == "ratio":
        return estimator
    ratio_to = getattr(estimator, "ratio_to", None)
    if ratio_to is None:
        msg = f"a likelihood needs ratios to one point; {type(estimator).__name__} gives a {estimates}, and no ratio_to"
        raise InputError(msg)
    ratio: RatioLike = ratio_to(reference)
    return ratio


def gives_score(what: object) -> TypeIs[ScoreLike]:
    """Return whether this gives the score at its reference point only.

    Our estimators say so; of others, a score without theta is taken for one.
    """
    if (estimates := getattr(what, "estimates", None)) is not None:
        return bool(estimates == "score")
    score = getattr(what, "score", None)
    return callable(score) and "theta" not in inspect.signature(score).parameters


def warn_of_checks(estimator: object) -> None:
    """Warn if an estimator was never checked, or failed: what is concluded with it may be wrong.

    Only what has `checks` was learned and can be warned of; an exact likelihood ratio has none. A score that is merely
    filled into a histogram is an observable like any other: a bad one costs precision, and is not warned of.

    Warns
    -----
    CheckWarning
        Once for each estimator that goes into a result.
    """
    checks = getattr(estimator, "checks", None)
    if checks is None:
        return
    failed = [str(check) for check in checks if not check.passed]
    if failed:
        msg = f"this {type(estimator).__name__} failed checks: {'; '.join(failed)}"
        warnings.warn(msg, CheckWarning, stacklevel=4)
    elif not checks:
        drawn = (
            "sample_local(store, theta, ..." if gives_score(estimator) else "sample_ratio(store, theta0, theta1, ..."
        )
        msg = f"this {type(estimator).__name__} was never checked since its training: call "
        msg += f'columnminer.check(estimator, columnminer.{drawn}, ..., partition="validation"))'
        warnings.warn(msg, CheckWarning, stacklevel=4)
