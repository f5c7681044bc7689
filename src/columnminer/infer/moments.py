r"""Sums over the events in bins that Fisher information is made of, and how their statistical errors propagate.

An event e contributes a vector v_e: its weight, the gradients of its weight, and what else enters. Everything here is a
function of the sums :math:`S = \sum_e v_e` in bins. The number of simulated events fluctuates independently everywhere,
so that the covariance of S is estimated by :math:`C = \sum_e v_e v_e^T` (that of a weighted Poisson number of events),
and that of a function f(S) to first order by :math:`J C J^T` with the Jacobian J = df/dS. For the information of a bin,

.. math:: dI_{ij} = L \left( \frac{dg_i\, g_j + g_i\, dg_j}{\sigma} - \frac{g_i g_j}{\sigma^2} d\sigma \right).

The last sign is the derivative of 1 / sigma. MadMiner 0.9.6 has a plus there: for a single event, where g and sigma are
proportional to its weight, the three terms are I + I - I = I, and with the plus 3 I, so that its variance of the truth
information is nine times too large.

Keeping C, instead of only its diagonal at the benchmarks, keeps the correlations between benchmarks as they are; taking
them all for 1, as MadMiner does, gives a wrong error even with the right signs. `tests/test_fisher_covariance.py` holds
all this against a bootstrap of the events.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from columnminer.model.response import LARGEST_EXPONENT, nuisance_coefficients

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from columnminer.infer.bins import Bins
    from columnminer.infer.events import StoredBlock, StoredEvents
    from columnminer.infer.summary import Summary
    from columnminer.store.weights import NuisanceColumn

__all__ = ["BinMoments", "Extras", "event_vectors", "information_of"]

Array: TypeAlias = "NDArray[np.float64]"

Extras: TypeAlias = "Callable[[Array, Array, Array], tuple[Array, ...]]"
"""From observables (n, n_obs), weights (n,) and their gradients (n_directions, n) of events to what else they add.

The information of each event, (n, n_par, n_par), stands last; before it may stand its weighted score, (n, n_par).
"""


def information_of(sigma: NDArray[np.float64], gradient: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return g_i g_j / sigma for each of n cross sections (n,) with gradients (n_par, n): (n, n_par, n_par).

    Where sigma is zero there are no events to learn from: zero.
    """
    return np.asarray(np.einsum("n,in,jn->nij", _inverse(sigma), gradient, gradient, optimize=True))


@dataclass(frozen=True)
class BinMoments:
    """First and second moments of the event vectors in bins, at one theta and nu = 0.

    The vector is: weight; its gradients in theta; weight at the reference benchmark, and the varied weights of the
    nuisance parameters; extras, where there are any.

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
    with_extras : bool
        Whether extras stand at the end.
    """

    first: NDArray[np.float64]
    second: NDArray[np.float64]
    n_theta: int
    nuisances: tuple[NuisanceColumn, ...]
    with_extras: bool

    @classmethod
    def of(
        cls,
        events: StoredEvents,
        theta: NDArray[np.float64],
        summary: Summary | None,
        bins: Bins,
        extras: Extras | None = None,
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
        extras
            What else is summed.
        nuisances
            Whether nuisance parameters of the store count.
        """
        columns = tuple(events.store.nuisances) if nuisances else ()
        first: NDArray[np.float64] = np.zeros(())
        second: NDArray[np.float64] = np.zeros(())
        for block in events.blocks():
            vectors = event_vectors(block, theta, extras, varied=bool(columns))
            n_v = vectors.shape[1]
            if summary is None:
                first = first + vectors.sum(axis=0)[None]
                second = second + (vectors.T @ vectors)[None]
            else:
                index = bins.find_bins(summary(block.x, events.names))
                products = (vectors[:, :, None] * vectors[:, None, :]).reshape(len(vectors), n_v * n_v)
                first = first + bins.sum(index, vectors)
                second = second + bins.sum(index, products).reshape(-1, n_v, n_v)
        return cls(first, second, len(theta), columns, extras is not None)

    def together(self) -> BinMoments:
        """Return the moments of all bins in one."""
        first, second = self.first.sum(axis=0)[None], self.second.sum(axis=0)[None]
        return BinMoments(first, second, self.n_theta, self.nuisances, self.with_extras)

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

    def gradient_changes(self) -> NDArray[np.float64]:
        """Return the Jacobian dg/dS of the gradients, (n_bins, n_directions, n_v)."""
        slopes, changes = self._slopes()
        n_bins, n_v = self.first.shape
        jacobian = np.zeros((n_bins, self.n_theta + slopes.shape[1], n_v))
        jacobian[:, range(self.n_theta), range(1, 1 + self.n_theta)] = 1.0
        jacobian[:, self.n_theta :] = self.cross_section[:, None, None] * changes
        jacobian[:, self.n_theta :, 0] += slopes
        return jacobian

    def rate_covariance(self) -> NDArray[np.float64]:
        """Return the covariance of cross section and gradients in each bin, (n_bins, 1 + n, 1 + n)."""
        of_sigma = np.zeros((len(self.first), 1, self.first.shape[1]))
        of_sigma[..., 0] = 1.0
        jacobian = np.concatenate([of_sigma, self.gradient_changes()], axis=1)
        return np.asarray(np.einsum("kiv,kvw,kjw->kij", jacobian, self.second, jacobian, optimize=True))

    def information(
        self, *, include_rate: bool = True, include_extras: bool = True, shape: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the information of each bin for 1 pb^-1, (n_bins, n, n), and its covariance, (n_bins, n, n, n, n).

        Parameters
        ----------
        include_rate
            Whether the numbers of events in the bins count.
        include_extras
            Whether the information in the extras counts, if there are any.
        shape
            (n, n) information of one event, known from elsewhere: sigma times it is added.
        """
        n_bins, n_v = self.first.shape
        n = self.n_theta + len(self.nuisances)
        information = np.zeros((n_bins, n, n))
        jacobian = np.zeros((n_bins, n, n, n_v))
        if include_rate:
            information, jacobian = self.rate_information()
        if self.with_extras and include_extras:
            information += self.first[:, n_v - n * n :].reshape(n_bins, n, n)
            jacobian[..., n_v - n * n :] += np.eye(n * n).reshape(n, n, n * n)
        if shape is not None:
            information += self.cross_section[:, None, None] * shape
            jacobian[..., 0] += shape
        return information, _propagated(jacobian, self.second)

    def rate_information(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the information in the numbers of events, (n_bins, n, n), and dI/dS, (n_bins, n, n, n_v)."""
        g, inverse = self.gradient(), _inverse(self.cross_section)
        information = information_of(self.cross_section, g.T)
        half = np.einsum("k,kiv,kj->kijv", inverse, self.gradient_changes(), g)
        jacobian = half + half.transpose(0, 2, 1, 3)
        jacobian[..., 0] -= information * inverse[:, None, None]
        return information, jacobian

    def process_information(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        r"""Return what the events of each bin say, for 1 pb^-1, by what they are and that they are, and its covariance.

        An event of an unbinned Poisson process has the score t + c with :math:`c = g / \sigma` of all bins together.
        In terms of the sums over the events of a bin, and with the extras w t and w t t,

        .. math:: I = \sum w\, t t^T + c \sum w\, t^T + \sum w\, t\; c^T + \sigma_k\, c\, c^T,

        whose variation has a part from the events of the bin and, through c, one from all events.

        Returns
        -------
        tuple of numpy.ndarray
            (n_bins, n, n) and (n_bins, n, n, n, n).
        """
        n_bins, n_v = self.first.shape
        whole = self.together()
        n = whole.gradient().shape[1]
        products, scores = slice(n_v - n * n, n_v), slice(n_v - n * n - n, n_v - n * n)
        inverse = _inverse(whole.cross_section)[0]
        c, of_c = whole.gradient()[0] * inverse, whole.gradient_changes()[0] * inverse
        of_c[:, 0] -= c * inverse

        mixed = np.einsum("ki,j->kij", self.first[:, scores], c)
        information = self.first[:, products].reshape(n_bins, n, n) + mixed + mixed.transpose(0, 2, 1)
        information += self.cross_section[:, None, None] * np.outer(c, c)
        half = np.zeros((n, n, n_v))
        half[..., scores] = np.einsum("iv,j->ijv", np.eye(n), c)
        inside = half + half.transpose(1, 0, 2)
        inside[..., products] = np.eye(n * n).reshape(n, n, n * n)
        inside[..., 0] = np.outer(c, c)
        half = np.einsum("ki,jv->kijv", self.first[:, scores] + self.cross_section[:, None] * c, of_c)
        outside = half + half.transpose(0, 2, 1, 3)
        covariance = _propagated(inside + outside, self.second)
        return information, covariance + _propagated(outside, whole.second - self.second)


def _inverse(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(1.0, values, out=np.zeros_like(values), where=values != 0.0)


def _propagated(jacobian: NDArray[np.float64], covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return J C J^T in each bin, (n_bins, n, n, n, n), for J (n_bins, n, n, n_v)."""
    return np.asarray(np.einsum("kijv,kvw,klmw->kijlm", jacobian, covariance, jacobian, optimize=True))


def event_vectors(
    block: StoredBlock, theta: NDArray[np.float64], extras: Extras | None, *, varied: bool
) -> NDArray[np.float64]:
    """Return the vector of each event, (n, n_v)."""
    weights, gradients = block.weights(theta), block.weight_gradients(theta)
    columns = [weights[:, None], gradients[: len(theta)].T]
    if varied:
        columns += [block.reference_weights[:, None], block.nuisance_weights]
    if extras is not None:
        parts = extras(block.x, weights, gradients)
        columns += [part.reshape(len(part), math.prod(part.shape[1:])) for part in parts]
    return np.concatenate(columns, axis=1)
