"""The weight of an event as a polynomial of the couplings: its coefficients, and how well other weights agree.

The morphing matrix turns the weights at the basis benchmarks into the coefficients f_c of w(theta) = sum_c theta**p_c
f_c, one event like the other. Weights of the event that were not used, at other benchmarks or at other points that the
file has, tell whether the polynomial holds: whether all couplings were thought of, with powers that are high enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from columnminer.errors import MissingError
from columnminer.model.components import monomials

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.model.setup import Setup, Theta

__all__ = ["EventPolynomials", "Residual"]


@dataclass(frozen=True, order=True)
class Residual:
    """The largest disagreement between a weight and the polynomial of its event.

    Attributes
    ----------
    value : float
        Difference relative to the largest of the weight, the value of the polynomial and the event's nominal weight.
    weight : str
        Name of the weight.
    source : str
        Where the event is.
    event : int
        Its number there.
    """

    value: float
    weight: str
    source: str
    event: int

    def __str__(self) -> str:
        return f"{self.value:.2g} for the weight {self.weight!r} of event {self.event} of {self.source}"


class EventPolynomials:
    """Coefficients of the weights of events.

    Parameters
    ----------
    setup
        With a morphing.

    Raises
    ------
    MissingError
        If there is no morphing.
    """

    def __init__(self, setup: Setup) -> None:
        if setup.morphing is None:
            msg = "polynomials of the couplings need a set-up with morphing: setup.with_morphing(...)"
            raise MissingError(msg)
        self.setup = setup
        self.morphing = setup.morphing
        constant = np.zeros((1, len(setup.space)), dtype=np.int64)
        powers = self.morphing.components
        has_constant = not powers.any(axis=1).all()
        self.components: NDArray[np.int64] = powers if has_constant else np.vstack([constant, powers])
        """(n_components, n_par) powers: those of the morphing, and the constant, in which backgrounds are."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of the benchmarks that are not in the basis."""
        return tuple(name for name in self.setup.benchmark_names if name not in self.morphing.basis)

    @property
    def compared(self) -> tuple[int, ...]:
        """Positions of the benchmarks whose weights tell something: all where the basis is larger than it has to be."""
        determined = len(self.morphing.basis) == len(self.morphing.components)
        names = enumerate(self.setup.benchmark_names)
        return tuple(i for i, name in names if not determined or name not in self.morphing.basis)

    def coefficients(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the coefficients of events with these weights at all benchmarks, (n, n_b) -> (n, n_components)."""
        basis = [self.setup.benchmark_names.index(name) for name in self.morphing.basis]
        found = weights[:, basis] @ self.morphing.matrix.T
        missing = len(self.components) - found.shape[1]
        return np.hstack([np.zeros((len(found), missing)), found])

    def constant(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the coefficients of events whose weight does not depend on theta, (n,) -> (n, n_components)."""
        found = np.zeros((len(weights), len(self.components)))
        found[:, np.flatnonzero(~self.components.any(axis=1))[0]] = weights
        return found

    def monomials(self, theta: Theta) -> NDArray[np.float64]:
        """Return the components at one parameter point, (n_components,)."""
        return np.asarray(monomials(self.setup.theta(theta), self.components))

    def worst(
        self,
        weights: NDArray[np.float64],
        others: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
        source: str,
        first_event: int,
    ) -> Residual | None:
        """Return the largest disagreement of weights that were not used for the coefficients; None if there are none.

        Parameters
        ----------
        weights
            (n, n_b) weights at all benchmarks. Where the basis is larger than it has to be, it is compared, too.
        others
            Further weights by name: point (n_par,), and values (n,).
        source, first_event
            Where the events are.
        """
        names = self.setup.benchmark_names
        compared = list(self.compared)
        points = [*self.setup.benchmark_points[compared], *(point for point, _ in others.values())]
        called = [*(names[i] for i in compared), *others]
        if not points or not len(weights):
            return None
        given = np.column_stack([weights[:, compared], *(values for _, values in others.values())])
        predicted = weights @ self.morphing.weights(np.array(points)).T
        scale = np.maximum(np.maximum(np.abs(given), np.abs(predicted)), np.abs(weights[:, :1]))
        with np.errstate(invalid="ignore"):
            residuals = np.where(scale > 0, np.abs(predicted - given) / scale, 0.0)
        event, column = np.unravel_index(int(np.nanargmax(residuals)), residuals.shape)
        value = float(residuals[event, column])
        return Residual(value, called[int(column)], source, first_event + int(event))
