r"""Sums over the events in bins that Fisher information is made of, and how their statistical errors propagate.

An event e contributes a vector v_e: its weight, the gradients of its weight, and what else enters. Everything here is a
function of the sums :math:`S = \sum_e v_e` in bins. The number of simulated events fluctuates independently everywhere,
so that the covariance of S is estimated by :math:`C = \sum_e v_e v_e^T` (that of a weighted Poisson number of events),
and that of a function f(S) to first order by :math:`J C J^T` with the Jacobian J = df/dS. For the information of a bin,

.. math:: dI_{ij} = L \left( \frac{dg_i\, g_j + g_i\, dg_j}{\sigma} - \frac{g_i g_j}{\sigma^2} d\sigma \right).

Keeping C, instead of only its diagonal at the benchmarks, keeps the correlations between benchmarks as they are; taking
them all for 1, as MadMiner does, gives a wrong error even with the right signs. A bootstrap test holds this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from columnminer.model.response import LARGEST_EXPONENT, nuisance_coefficients

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from columnminer.infer.bins import Bins
    from columnminer.infer.events import StoredBlock, StoredEvents
    from columnminer.infer.summary import Summary
    from columnminer.store.weights import NuisanceColumn

__all__ = ["BinMoments", "information_of"]


def information_of(sigma: NDArray[np.float64], gradient: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return g_i g_j / sigma for each of n cross sections (n,) with gradients (n_par, n): (n, n_par, n_par).

    Where sigma is zero there are no events to learn from: zero.
    """
    inverse = np.divide(1.0, sigma, out=np.zeros_like(sigma), where=sigma != 0.0)
    return np.asarray(np.einsum("n,in,jn->nij", inverse, gradient, gradient, optimize=True))


@dataclass(frozen=True)
class BinMoments:
    """First and second moments of the event vectors in bins, at one theta and nu = 0.

    The vector is: weight; its gradients in theta; weight at the reference benchmark, and the varied weights of the
    nuisance parameters; weight times products of the scores, where a score is given.

    Attributes
    ----------
    first : numpy.ndarray
        (n_bins, n_v) sums [pb].
    second : numpy.ndarray
        (n_bins, n_v, n_v) sums of products [pb^2].
    n_theta : int
        Number of parameters theta.
    nuisances : tuple of NuisanceColumn
        The nuisance parameters.
    with_score : bool
        Whether products of scores stand at the end.
    """

    first: NDArray[np.float64]
    second: NDArray[np.float64]
    n_theta: int
    nuisances: tuple[NuisanceColumn, ...]
    with_score: bool

    @classmethod
    def of(
        cls,
        events: StoredEvents,
        theta: NDArray[np.float64],
        summary: Summary | None,
        bins: Bins,
        score: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
        *,
        nuisances: bool = True,
    ) -> BinMoments:
        """Sum over stored events, in one pass.

        Parameters
        ----------
        events
            Which.
        theta
            (n_par,) parameter point.
        summary, bins
            What is binned, and the bins; None for a single bin.
        score
            Function from observables (n, n_obs) to scores (n, n_par).
        nuisances
            Whether nuisance parameters of the store count.
        """
        columns = tuple(events.store.nuisances) if nuisances else ()
        first: NDArray[np.float64] = np.zeros(())
        second: NDArray[np.float64] = np.zeros(())
        for block in events.blocks():
            vectors = _vectors(block, theta, score, varied=bool(columns))
            n_v = vectors.shape[1]
            if summary is None:
                first = first + vectors.sum(axis=0)[None]
                second = second + (vectors.T @ vectors)[None]
            else:
                index = bins.find_bins(summary(block.x, events.names))
                products = (vectors[:, :, None] * vectors[:, None, :]).reshape(len(vectors), -1)
                first = first + bins.sum(index, vectors)
                second = second + bins.sum(index, products).reshape(-1, n_v, n_v)
        return cls(first, second, len(theta), columns, score is not None)

    @property
    def cross_section(self) -> NDArray[np.float64]:
        """(n_bins,) [pb]."""
        return np.asarray(self.first[:, 0])

    def gradient(self) -> NDArray[np.float64]:
        """Return the gradients of the cross sections, (n_bins, n_directions); see `_slopes` for nuisances."""
        along_theta = self.first[:, 1 : 1 + self.n_theta]
        return np.concatenate([along_theta, self.cross_section[:, None] * self._slopes()[0]], axis=1)

    def _slopes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the log derivative a of a bin in each nuisance, (n_bins, n_nu), and da/dS, (n_bins, n_nu, n_v).

        a follows from the varied *sums* of the bin: log(S+/S-)/2, or log(S+/S0) where there is one variation.
        """
        n_bins, n_v = self.first.shape
        start = 1 + self.n_theta  # the weight at the reference benchmark; the varied weights follow
        slopes = np.zeros((n_bins, len(self.nuisances)))
        changes = np.zeros((n_bins, len(self.nuisances), n_v))
        for i, nuisance in enumerate(self.nuisances):
            up = start + 1 + nuisance.up
            down = None if nuisance.down is None else start + 1 + nuisance.down
            varied_down = None if down is None else self.first[:, down]
            slopes[:, i], _ = nuisance_coefficients(self.first[:, up], varied_down, self.first[:, start], nuisance.step)
            moves = (slopes[:, i] != 0.0) & (np.abs(slopes[:, i]) * nuisance.step < LARGEST_EXPONENT)
            size = (1.0 if down is None else 0.5) / nuisance.step
            for column, sign in ((up, size), (start if down is None else down, -size)):
                changes[moves, i, column] += sign / self.first[moves, column]
        return slopes, changes

    def information(self, *, include_rate: bool = True) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the information of each bin for 1 pb^-1, (n_bins, n, n), and the covariance of the sum, (n, n, n, n).

        Parameters
        ----------
        include_rate
            Whether the numbers of events in the bins count, beside the scores.
        """
        n_bins, n_v = self.first.shape
        sigma, g = self.cross_section, self.gradient()
        n = g.shape[1]
        information = np.zeros((n_bins, n, n))
        jacobian = np.zeros((n_bins, n, n, n_v))
        if include_rate:
            inverse = np.divide(1.0, sigma, out=np.zeros_like(sigma), where=sigma != 0.0)
            slopes, changes = self._slopes()
            of_g = np.zeros((n_bins, n, n_v))
            of_g[:, range(self.n_theta), range(1, 1 + self.n_theta)] = 1.0
            of_g[:, self.n_theta :] = sigma[:, None, None] * changes
            of_g[:, self.n_theta :, 0] += slopes
            information += information_of(sigma, g.T)
            half = np.einsum("k,kiv,kj->kijv", inverse, of_g, g)
            jacobian += half + half.transpose(0, 2, 1, 3)
            jacobian[..., 0] -= information * inverse[:, None, None]
        if self.with_score:
            information += self.first[:, n_v - n * n :].reshape(n_bins, n, n)
            jacobian[..., n_v - n * n :] += np.eye(n * n).reshape(n, n, n * n)
        covariance = np.einsum("kijv,kvw,klmw->ijlm", jacobian, self.second, jacobian, optimize=True)
        return information, covariance


def _vectors(
    block: StoredBlock,
    theta: NDArray[np.float64],
    score: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None,
    *,
    varied: bool,
) -> NDArray[np.float64]:
    """Return the vector of each event, (n, n_v)."""
    weights = block.weights(theta)
    columns = [weights[:, None], block.weight_gradients(theta)[: len(theta)].T]
    if varied:
        columns += [block.reference_weights[:, None], block.nuisance_weights]
    if score is not None:
        t = np.asarray(score(block.x), dtype=np.float64)
        columns.append((weights[:, None, None] * t[:, :, None] * t[:, None, :]).reshape(len(weights), -1))
    return np.concatenate(columns, axis=1)
