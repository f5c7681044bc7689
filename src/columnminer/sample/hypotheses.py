"""The parameter points that drawn events are asked about, with what their gold needs to know of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from columnminer.sample.augment import joint_ratio, joint_score
from columnminer.sample.draw import with_background
from columnminer.sample.nuisances import nuisance_ratio, nuisance_score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.model.setup import Setup
    from columnminer.sample.draw import Sampler
    from columnminer.sample.nuisances import NuisanceSums

__all__ = ["Hypotheses"]


@dataclass(frozen=True)
class Hypotheses:
    """One point (theta, nu) for each case: where events were drawn, or what they are compared with.

    Attributes
    ----------
    setup : Setup
        What theta means.
    theta, nu : numpy.ndarray
        (n_points, n_par) and (n_points, n_nu).
    which : numpy.ndarray
        (n_cases,) which of them belongs to a case.
    coefficients : numpy.ndarray
        (n_cases, n_columns) that make weights at theta of linear weights.
    totals : numpy.ndarray
        (n_cases, n_columns) sums of the linear weights, times the nuisance factors, over the events that could have
        been drawn in that case [pb].
    sums : NuisanceSums or None
        Sums from which the totals are, with derivatives; None where no nuisance parameters take part.
    """

    setup: Setup
    theta: NDArray[np.float64]
    nu: NDArray[np.float64]
    which: NDArray[np.int64]
    coefficients: NDArray[np.float64]
    totals: NDArray[np.float64]
    sums: NuisanceSums | None

    @classmethod
    def of(
        cls,
        sampler: Sampler,
        points: tuple[NDArray[np.float64], NDArray[np.float64]],
        which: NDArray[np.int64],
        drawn_at: NDArray[np.float64],
        totals: NDArray[np.float64],
    ) -> Hypotheses:
        """Return the hypotheses `points[which]`.

        Parameters
        ----------
        sampler
            That drew the events.
        points
            theta (n_points, n_par) and nu (n_points, n_nu).
        which
            (n_cases,).
        drawn_at
            (n_cases, n_par) theta at which the events of each case were drawn.
        totals
            (n_cases, n_columns) sums of linear weights over the events that could have been drawn.
        """
        (theta, nu), setup = points, sampler.store.setup
        coefficients = with_background(setup.weights(theta))[which]
        sums = sampler.nuisance_sums(drawn_at, nu[which]) if sampler.nuisances else None
        return cls(setup, theta, nu, which, coefficients, totals if sums is None else sums.totals, sums)

    def ratio_to(
        self, denominator: Hypotheses, weights: NDArray[np.float64], case: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the joint ratio of each event with these columns, (n,), to the other hypothesis of its case."""
        linear, exponents = self._split(weights)
        ratio = joint_ratio(
            linear,
            self.totals,
            self.coefficients,
            denominator.coefficients,
            case,
            denominator_totals=denominator.totals,
        )
        if self.sums is None:
            return ratio
        return ratio * nuisance_ratio(exponents, self.nu[self.which], denominator.nu[denominator.which], case)

    def score(self, weights: NDArray[np.float64], case: NDArray[np.int64], *, along_nu: bool) -> NDArray[np.float64]:
        """Return the joint score of each event with these columns, (n, n_par), or (n, n_par + n_nu) with nuisances."""
        linear, exponents = self._split(weights)
        gradients = with_background(self.setup.weight_gradients(self.theta), 0.0)[self.which]
        score = joint_score(linear, self.totals, self.coefficients, gradients, case)
        if self.sums is None or not along_nu:
            return score
        nuisance = nuisance_score(exponents, self.sums, self.coefficients, self.nu[self.which], case)
        return np.concatenate([score, nuisance], axis=1)

    def _split(self, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        n_linear = self.coefficients.shape[1]
        return weights[:, :n_linear], weights[:, n_linear:]
