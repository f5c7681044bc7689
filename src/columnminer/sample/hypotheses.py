"""Parameter points that events are drawn at and asked about, and the gold of events with regard to two of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from columnminer.sample.augment import joint_ratio, joint_score
from columnminer.sample.draw import with_background
from columnminer.sample.nuisances import NuisanceSums, nuisance_ratio, nuisance_score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.model.setup import Setup

__all__ = ["Cases", "Hypotheses"]


@dataclass(frozen=True)
class Hypotheses:
    """Points (theta, nu), with what makes weights of linear weights there.

    Attributes
    ----------
    theta, nu : numpy.ndarray
        (n_points, n_par) and (n_points, n_nu).
    coefficients : numpy.ndarray
        (n_points, n_columns) that make weights at theta of linear weights.
    gradients : numpy.ndarray or None
        (n_points, n_par, n_columns) their derivatives, where scores are wanted.
    """

    theta: NDArray[np.float64]
    nu: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    gradients: NDArray[np.float64] | None

    @classmethod
    def of(cls, setup: Setup, points: tuple[NDArray[np.float64], NDArray[np.float64]], *, scores: bool) -> Hypotheses:
        """Return the hypotheses at theta (n_points, n_par) and nu (n_points, n_nu).

        Raises
        ------
        MissingError
            If the set-up has no weights, or no gradients if scores are wanted, at a point.
        """
        gradients = with_background(setup.weight_gradients(points[0]), 0.0) if scores else None
        return cls(*points, with_background(setup.weights(points[0])), gradients)

    def columns(self, *, shown: bool) -> NDArray[np.float64]:
        """Return the points as columns of samples, with nuisance parameters if they show."""
        return np.concatenate([self.theta, self.nu], axis=1) if shown else self.theta


@dataclass(frozen=True)
class Cases:
    """One hypothesis for each of some cases, with the sums that normalise it.

    Attributes
    ----------
    points : Hypotheses
        At which.
    which : numpy.ndarray
        (n_cases,) the point of a case.
    totals : numpy.ndarray
        (n_cases, n_columns) sums of the linear weights over the events that could have been drawn in that case [pb].
    sums : NuisanceSums or None
        The same times the nuisance factors at nu, with derivatives; None where no nuisance parameters take part.
    """

    points: Hypotheses
    which: NDArray[np.int64]
    totals: NDArray[np.float64]
    sums: NuisanceSums | None

    def _normalisation(self) -> NDArray[np.float64]:
        return self.totals if self.sums is None else self.sums.totals

    def ratio_to(
        self, denominator: Cases, weights: NDArray[np.float64], case: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the joint ratio of each event with these columns, (n,), to the other hypothesis of its case."""
        linear, exponents = self._split(weights)
        ratio = joint_ratio(
            linear,
            self._normalisation(),
            self.points.coefficients[self.which],
            denominator.points.coefficients[denominator.which],
            case,
            denominator_totals=denominator._normalisation(),
        )
        if self.sums is None:
            return ratio
        nu0, nu1 = self.points.nu[self.which], denominator.points.nu[denominator.which]
        return ratio * nuisance_ratio(exponents, nu0, nu1, case)

    def score(self, weights: NDArray[np.float64], case: NDArray[np.int64], *, along_nu: bool) -> NDArray[np.float64]:
        """Return the joint score of each event with these columns, (n, n_par), or (n, n_par + n_nu) with nuisances."""
        assert self.points.gradients is not None, "scores were not asked for"  # noqa: S101
        linear, exponents = self._split(weights)
        coefficients, gradients = self.points.coefficients[self.which], self.points.gradients[self.which]
        score = joint_score(linear, self._normalisation(), coefficients, gradients, case)
        if self.sums is None or not along_nu:
            return score
        nuisance = nuisance_score(exponents, self.sums, coefficients, self.points.nu[self.which], case)
        return np.concatenate([score, nuisance], axis=1)

    def _split(self, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        n_linear = self.points.coefficients.shape[1]
        return weights[:, :n_linear], weights[:, n_linear:]
