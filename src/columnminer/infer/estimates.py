"""What likelihoods ask of estimators, so that any object with these methods serves: learned, or exact."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import TypeIs

__all__ = ["RatioLike", "ScoreLike", "gives_ratio", "gives_score"]


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
    """Return whether this gives a likelihood ratio at any theta; score estimators have a `log_ratio` that refuses."""
    return hasattr(what, "log_ratio") and not gives_score(what)


def gives_score(what: object) -> TypeIs[ScoreLike]:
    """Return whether this gives the score at its reference point only."""
    score = getattr(what, "score", None)
    return callable(score) and "theta" not in inspect.signature(score).parameters
