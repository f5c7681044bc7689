"""Ratios between any two points, with the denominator held: what likelihoods, limits and information take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError, MissingError
from columnminer.learn.wrapped import RatioFrom

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.learn.pairing import Pairing
    from columnminer.learn.verdicts import Check

__all__ = ["FixedDenominator", "at_nominal", "ratio_to"]


class FixedDenominator(RatioFrom):
    """Log likelihood ratio to one reference point, from an estimator of ratios between any two.

    Parameters
    ----------
    estimator
        `DoubleRatioEstimator`, `DensityEstimator`, or an `Ensemble` of either; fitted.
    reference
        (n_par,) denominator of the ratio.
    """

    def __init__(self, estimator: Any, reference: NDArray[np.float64]) -> None:
        super().__init__(estimator)
        self.reference = reference

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.estimator!r} to {self.reference})"

    @property
    def checks(self) -> tuple[Check, ...]:
        """What the checks of the estimator, or of this ratio, found."""
        found: tuple[Check, ...] = self.estimator.checks
        return found

    def remember_checks(self, checks: tuple[Check, ...]) -> None:
        """Let the estimator keep what `checks.check` found; see `Estimator.remember_checks`."""
        self.estimator.remember_checks(checks)

    def log_ratio(
        self,
        x: ArrayLike,
        theta: ArrayLike,
        *,
        pairing: Pairing = "pairs",
        names: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """Return log p(x | theta) / p(x | reference); see `RatioEstimator.log_ratio`."""
        return np.asarray(self.estimator.log_ratio(x, theta, self.reference, pairing=pairing, names=names))

    def score(
        self,
        x: ArrayLike,
        theta: ArrayLike,
        *,
        pairing: Pairing = "pairs",
        names: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """Return the gradient of the log ratio with respect to theta; see `RatioEstimator.score`."""
        points = [theta, self.reference] if self.estimator.estimates == "double ratio" else [theta]
        return np.asarray(self.estimator.score(x, *points, pairing=pairing, names=names))


def ratio_to(estimator: Any, theta1: ArrayLike) -> FixedDenominator:
    """Return the log ratio of a double ratio or density estimator, or an ensemble of them, to one reference point.

    Raises
    ------
    InputError
        If theta1 is not one point.
    MissingError
        If the estimator gives no ratios between any two points.
    """
    if estimator.estimates not in {"double ratio", "density"}:
        msg = f"a {type(estimator).__name__} gives no ratios to a point of choice: take it as it is"
        raise MissingError(msg)
    point = at_nominal(np.atleast_1d(np.asarray(theta1, dtype=np.float64)), estimator)
    if point.shape != (len(estimator.parameter_names),) or not np.isfinite(point).all():
        msg = f"theta1 is one point with values for {', '.join(estimator.parameter_names)}, not {theta1!r}"
        raise InputError(msg)
    return FixedDenominator(estimator, point)


def at_nominal(points: NDArray[np.float64], estimator: Any) -> NDArray[np.float64]:
    """Return points (..., n_par) of an estimator, with nuisance parameters at 0 where only the others are given.

    Points of any other length are returned as they are.
    """
    interest = [name not in estimator.nuisance_names for name in estimator.parameter_names]
    if points.shape[-1] != sum(interest) or all(interest):
        return points
    whole = np.zeros((*points.shape[:-1], len(interest)))
    whole[..., interest] = points
    return whole
