"""The exact likelihood of observables whose cross section is quadratic in the parameters.

With amplitudes linear in theta, ``d sigma(x | theta) = v^T Q(x) v`` for ``v = (1, theta_1, ..., theta_p)`` and a
positive semi-definite form Q(x), summed over everything that x does not tell. All else follows: the total cross section
is the same with the integral of Q, and::

    p(x | theta)   = v^T Q(x) v / sigma(theta)
    t_i(x | theta) = 2 (Q(x) v)_i / v^T Q(x) v  -  d_i sigma(theta) / sigma(theta)
    I_ij(theta)    = L * integral dx d_i sigma(x) d_j sigma(x) / sigma(x)          (extended likelihood)

The truth against which estimators are measured; the methods are those of an estimator, and take the same arguments.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from columnminer.errors import InputError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.model.setup import Theta

__all__ = ["Nodes", "Pairing", "QuadraticLikelihood", "Thetas", "panel_nodes"]

Pairing: TypeAlias = Literal["pairs", "grid"]
Thetas: TypeAlias = "Theta | Sequence[Theta]"


@dataclass(frozen=True)
class Nodes:
    """Quadrature nodes: the integral of f is ``sum(weights * f(x))``.

    Attributes
    ----------
    x : numpy.ndarray
        (n, n_dim) points.
    weights : numpy.ndarray
        (n,) weights, with the units of a volume in x.
    """

    x: NDArray[np.float64]
    weights: NDArray[np.float64]


def panel_nodes(edges: ArrayLike, n: int) -> Nodes:
    """Return Gauss-Legendre nodes of order `n` in each of the panels between ascending `edges`; x is (n_total,)."""
    edges = np.asarray(edges, dtype=np.float64)
    u, w = np.polynomial.legendre.leggauss(n)
    half = np.diff(edges)[:, np.newaxis] / 2
    return Nodes((edges[:-1, np.newaxis] + half * (1 + u)).ravel(), (half * w).ravel())


class QuadraticLikelihood(ABC):
    """Likelihood, score and information of observables x with ``d sigma(x | theta) = v^T Q(x) v``, v = (1, theta).

    Subclasses say what Q is. Everywhere `theta` is one parameter point or many, each a benchmark name, a dict or a
    sequence; `pairing` is "pairs" (one theta for each x, or one for all; results (n_x,)) or "grid" (every theta with
    every x; results (n_theta, n_x)); `names` are the columns of x where they are not exactly `feature_names`.
    """

    @property
    @abstractmethod
    def feature_names(self) -> tuple[str, ...]:
        """Names of the observables: the columns of x."""

    @property
    @abstractmethod
    def reference(self) -> NDArray[np.float64]:
        """(n_par,) the parameter point in the denominator of `log_ratio` if no other is given."""

    @property
    @abstractmethod
    def total_form(self) -> NDArray[np.float64]:
        """(1 + n_par, 1 + n_par) integral of Q over x [pb]."""

    @abstractmethod
    def thetas(self, theta: Thetas) -> NDArray[np.float64]:
        """Return one or many parameter points as an (n_theta, n_par) array."""

    @abstractmethod
    def forms(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return Q(x) in pb per unit of x, (n_x, 1 + n_par, 1 + n_par); zero where there can be no events."""

    @abstractmethod
    def quadrature(self) -> Nodes:
        """Return nodes for integrals over x."""

    def xsec(self, theta: Thetas) -> NDArray[np.float64]:
        """Return the total cross section [pb], (n_theta,)."""
        v = _with_one(self.thetas(theta))
        return np.asarray(np.einsum("ti,ij,tj->t", v, self.total_form, v))

    def xsec_gradients(self, theta: Thetas) -> NDArray[np.float64]:
        """Return the gradients of the total cross section [pb per unit of theta], (n_theta, n_par)."""
        return np.asarray(2 * _with_one(self.thetas(theta)) @ self.total_form[:, 1:])

    def differential_xsec(
        self, x: ArrayLike, theta: Thetas, *, pairing: Pairing = "pairs", names: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        """Return d sigma / dx [pb per unit of x], (n_x,) or (n_theta, n_x)."""
        x = self._features(x, names)
        return _evaluate(self.forms(x), self._paired(theta, len(x), pairing), pairing)

    def log_density(
        self, x: ArrayLike, theta: Thetas, *, pairing: Pairing = "pairs", names: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        """Return log p(x | theta), normalised over x, (n_x,) or (n_theta, n_x); -inf where there can be no events."""
        x = self._features(x, names)
        points = self._paired(theta, len(x), pairing)
        with np.errstate(divide="ignore"):
            return np.log(_evaluate(self.forms(x), points, pairing)) - self._log_xsec(points, pairing)

    def log_ratio(
        self,
        x: ArrayLike,
        theta0: Thetas,
        theta1: Thetas | None = None,
        *,
        pairing: Pairing = "pairs",
        names: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """Return log p(x | theta0) / p(x | theta1), (n_x,) or (n_theta0, n_x).

        Parameters
        ----------
        x
            (n_x, n_features).
        theta0
            Numerator.
        theta1
            Denominator, `reference` if None; on a grid it is one point.
        pairing, names
            See the class.

        Raises
        ------
        InputError
            If an event has no density at all, or shapes do not fit.
        """
        x = self._features(x, names)
        forms = self._forms_of_events(x)
        numerator = self._paired(theta0, len(x), pairing)
        denominator = self._paired(self.reference if theta1 is None else theta1, len(x), "pairs")
        return np.asarray(
            np.log(_evaluate(forms, numerator, pairing))
            - self._log_xsec(numerator, pairing)
            - np.log(_evaluate(forms, denominator, "pairs"))
            + self._log_xsec(denominator, "pairs")
        )

    def score(
        self, x: ArrayLike, theta: Thetas | None = None, *, names: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        """Return the gradient of log p(x | theta) in theta, (n_x, n_par); theta is one point or one for each x."""
        x = self._features(x, names)
        points = self._paired(self.reference if theta is None else theta, len(x), "pairs")
        v = _with_one(points)
        products = np.einsum("nij,nj->ni", self._forms_of_events(x), np.broadcast_to(v, (len(x), v.shape[1])))
        logarithmic = 2 * products[:, 1:] / (products * v).sum(axis=1, keepdims=True)
        return np.asarray(logarithmic - self.xsec_gradients(points) / self.xsec(points)[:, np.newaxis])

    def fisher_information(self, theta: Thetas, luminosity: float, *, include_rate: bool = True) -> NDArray[np.float64]:
        """Return the expected Fisher information of `luminosity` [pb^-1] of events, (n_par, n_par), by quadrature."""
        point = self.thetas(theta)[:1]
        nodes = self.quadrature()
        products = self.forms(nodes.x) @ _with_one(point)[0]
        density = products @ _with_one(point)[0]
        per_density = np.divide(nodes.weights, density, out=np.zeros_like(density), where=density > 0)
        gradients = 2 * products[:, 1:]
        information = luminosity * np.einsum("n,ni,nj->ij", per_density, gradients, gradients)
        if not include_rate:
            rate = self.xsec_gradients(point)[0]
            information -= luminosity * np.outer(rate, rate) / self.xsec(point)[0]
        return np.asarray(information)

    def expected_log_ratio(
        self, theta: Thetas, theta_true: Theta, luminosity: float, *, include_rate: bool = True
    ) -> NDArray[np.float64]:
        """Return the expectation at `theta_true` of log L(theta) / L(theta_true), (n_theta,), by quadrature.

        The log likelihood ratio of the Asimov data of `luminosity` [pb^-1]: minus twice this is the asymptotic test
        statistic, from which expected limits follow.
        """
        points, true = self.thetas(theta), self.thetas(theta_true)[:1]
        nodes = self.quadrature()
        forms = self.forms(nodes.x)
        at_true = _evaluate(forms, true, "grid")[0]
        inside = at_true > 0
        expected = luminosity * nodes.weights[inside] * at_true[inside]
        logs = np.log(_evaluate(forms[inside], points, "grid") / at_true[inside])
        xsec, xsec_true = self.xsec(points), self.xsec(true)
        if include_rate:
            return np.asarray(logs @ expected - luminosity * (xsec - xsec_true))
        return np.asarray(logs @ expected - luminosity * xsec_true * np.log(xsec / xsec_true))

    def _features(self, x: ArrayLike, names: Sequence[str] | None) -> NDArray[np.float64]:
        x = np.asarray(x, dtype=np.float64)
        columns = self.feature_names if names is None else tuple(names)
        if x.ndim != 2 or x.shape[1] != len(columns):
            msg = f"x of shape {x.shape} does not fit: (n, {len(columns)}) is needed for ({', '.join(columns)})"
            raise InputError(msg)
        for name in self.feature_names:
            if name not in columns:
                msg = f"x has no column {name!r}.{did_you_mean(name, columns)}"
                raise UnknownNameError(msg)
        return x if names is None else x[:, [columns.index(name) for name in self.feature_names]]

    def _paired(self, theta: Thetas, n_x: int, pairing: Pairing) -> NDArray[np.float64]:
        points = self.thetas(theta)
        if pairing not in {"pairs", "grid"}:
            msg = f"pairing must be 'pairs' or 'grid', not {pairing!r}"
            raise InputError(msg)
        if pairing == "pairs" and len(points) not in {1, n_x}:
            msg = (
                f"{len(points)} parameter points cannot be paired with {n_x} events: give one, {n_x}, or pairing='grid'"
            )
            raise InputError(msg)
        return points

    def _forms_of_events(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        forms = self.forms(x)
        empty = np.flatnonzero(~(forms[:, 0, 0] > 0))
        if len(empty):
            where = ", ".join(
                f"{name} = {value:g}" for name, value in zip(self.feature_names, x[empty[0]], strict=True)
            )
            msg = f"event {empty[0]} ({where}) lies where the generator makes none ({len(empty)} of {len(x)} events do)"
            raise InputError(msg)
        return forms

    def _log_xsec(self, points: NDArray[np.float64], pairing: Pairing) -> NDArray[np.float64]:
        log_xsec = np.log(self.xsec(points))
        return log_xsec[:, np.newaxis] if pairing == "grid" else log_xsec


def _with_one(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([np.ones(len(points)), points])


def _evaluate(forms: NDArray[np.float64], points: NDArray[np.float64], pairing: Pairing) -> NDArray[np.float64]:
    """Return v^T Q v, (n_x,) for pairs and (n_theta, n_x) for a grid."""
    v = _with_one(points)
    if pairing == "grid":
        squares = (v[:, :, np.newaxis] * v[:, np.newaxis, :]).reshape(len(v), -1)
        return np.asarray(squares @ forms.reshape(len(forms), -1).T)
    return np.asarray((np.einsum("nij,nj->ni", forms, np.broadcast_to(v, (len(forms), v.shape[1]))) * v).sum(axis=1))
