r"""Histograms whose bins are polynomials of the couplings, so that they can be evaluated at any theta.

A bin holds the sums over its events of the coefficients f_c of their weights w(theta) = sum_c theta**p_c f_c, and those
of the products, from which follow the sum of squared weights:

.. math:: \sum_e w_e(\theta)^2 = \sum_{c, d} \theta^{p_c + p_d} \sum_e f_{c, e} f_{d, e} .

Products with the same powers p_c + p_d are kept together.
"""

from __future__ import annotations

import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import hist
import numpy as np

from columnminer.errors import InputError, UnknownNameError, did_you_mean
from columnminer.model.components import monomials
from columnminer.model.polynomials import EventPolynomials

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.model.setup import Setup, Theta

__all__ = ["PolynomialHistogram"]

COMPONENT = "component"


class PolynomialHistogram:
    """Histogram of event weights as polynomials of the couplings.

    Histograms of the same axes and set-up add up with ``+``; ``2.0 * h`` scales weights.

    Parameters
    ----------
    setup
        With a morphing.
    axes
        Of the `hist` package, each with a name.

    Attributes
    ----------
    coefficients : hist.Hist
        Sums of the coefficients; the last axis, "component", counts the rows of `components`.
    products : hist.Hist
        Sums of the products of coefficients; the last axis counts the rows of `product_components`.

    Raises
    ------
    MissingError
        If the set-up has no morphing.
    InputError
        If an axis has no name, or two have the same.

    Examples
    --------
    >>> import hist
    >>> generator = cm.DrellYan()
    >>> batch = generator.generate(1000, seed=1)
    >>> observed = cm.Selection(generator.observables).apply(batch)
    >>> mass = cm.PolynomialHistogram(generator.setup(), hist.axis.Regular(6, 500, 2000, name="m_ll"))
    >>> mass = mass.fill(observed.weights[:, 1:] / 1000, m_ll=observed.observables[:, 0])
    >>> mass.values([0.02, 0.01]).shape  # [pb], at any theta
    (6,)
    """

    def __init__(self, setup: Setup, *axes: Any) -> None:
        self.polynomials = EventPolynomials(setup)
        self.names = tuple(axis.name for axis in axes)
        if not axes or "" in self.names or COMPONENT in self.names or len(set(self.names)) < len(self.names):
            msg = f"a histogram needs axes with different names (other than {COMPONENT!r}), not {list(self.names)}"
            raise InputError(msg)
        self.coefficients = _with_component(axes, len(self.components))
        self.products = _with_component(axes, len(self.product_components))

    @property
    def components(self) -> NDArray[np.int64]:
        """(n_components, n_par) powers of the coefficients."""
        return self.polynomials.components

    @property
    def product_components(self) -> NDArray[np.int64]:
        """(n_products, n_par) powers of the products."""
        return self._pairs[0]

    @cached_property
    def _pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Powers of the products, and which of them that of any two components is, (n_components, n_components)."""
        n = len(self.components)
        sums = (self.components[:, np.newaxis] + self.components).reshape(n * n, -1)
        powers, place = np.unique(sums, axis=0, return_inverse=True)
        return powers, place.reshape(n, n)

    def fill(self, weights: NDArray[np.float64], *, background: bool = False, **values: ArrayLike) -> Self:
        """Fill events.

        Parameters
        ----------
        weights
            (n, n_benchmarks) weights at the benchmarks of the set-up; of backgrounds (n,), which are the same at all.
        background
            Whether the weights do not depend on theta.
        values
            Of each axis by its name, (n,).

        Raises
        ------
        UnknownNameError, InputError
            If values are missing, are of another axis, or do not fit the weights.
        """
        for name in values.keys() ^ set(self.names):
            problem = "no axis is called" if name in values else "values are missing of the axis"
            msg = f"{problem} {name!r}.{did_you_mean(name, self.names)}"
            raise UnknownNameError(msg)
        columns = [np.asarray(values[name]) for name in self.names]
        n_weights = () if background else (len(self.polynomials.setup.benchmark_names),)
        if any(weights.shape != (*column.shape, *n_weights) for column in columns):
            shapes = ", ".join(str(column.shape) for column in columns)
            msg = f"weights of shape {weights.shape} do not fit values of shape {shapes} and {n_weights} benchmarks"
            raise InputError(msg)
        found = self.polynomials.constant(weights) if background else self.polynomials.coefficients(weights)
        _add(self.coefficients, columns, found)
        _add(self.products, columns, self._multiplied(found))
        return self

    def _multiplied(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the coefficients of squared weights, (n, n_components) -> (n, n_products)."""
        powers, place = self._pairs
        squared = np.zeros((len(powers), len(coefficients)))
        columns = np.ascontiguousarray(coefficients.T)
        for i, column in enumerate(columns):
            squared[place[i, i]] += column * column
            for j in range(i):
                squared[place[i, j]] += 2.0 * column * columns[j]
        return squared.T

    def values(self, theta: Theta, *, flow: bool = False) -> NDArray[np.float64]:
        """Return the sums of weights at one parameter point, in the shape of the axes."""
        return np.asarray(self.coefficients.view(flow=flow) @ self.polynomials.monomials(theta))

    def variances(self, theta: Theta, *, flow: bool = False) -> NDArray[np.float64]:
        """Return the sums of squared weights at one parameter point, in the shape of the axes."""
        powers = monomials(self.polynomials.setup.theta(theta), self.product_components)
        return np.asarray(np.maximum(self.products.view(flow=flow) @ powers, 0.0))

    def at(self, theta: Theta) -> hist.Hist[Any]:
        """Return the histogram at one parameter point, with values and variances."""
        histogram = hist.Hist(*self._axes, storage=hist.storage.Weight())
        view: Any = histogram.view(flow=True)
        view.value = self.values(theta, flow=True)
        view.variance = self.variances(theta, flow=True)
        return histogram

    @property
    def _axes(self) -> Sequence[Any]:
        return [copy.deepcopy(axis) for axis in self.coefficients.axes[:-1]]

    def _combined(self, coefficients: Any, products: Any) -> PolynomialHistogram:
        combined = copy.copy(self)
        combined.coefficients, combined.products = coefficients, products
        return combined

    def __add__(self, other: PolynomialHistogram) -> PolynomialHistogram:
        if not isinstance(other, PolynomialHistogram):
            return NotImplemented
        if other.names != self.names or other.polynomials.setup.hash != self.polynomials.setup.hash:
            msg = "polynomial histograms add up if they have the same set-up and axes"
            raise InputError(msg)
        try:
            return self._combined(self.coefficients + other.coefficients, self.products + other.products)
        except ValueError as error:
            msg = f"polynomial histograms add up if they have the same axes: {error}"
            raise InputError(msg) from error

    def __mul__(self, factor: float) -> PolynomialHistogram:
        return self._combined(self.coefficients * factor, self.products * factor**2)

    __rmul__ = __mul__


def _with_component(axes: Sequence[Any], n: int) -> Any:
    component = hist.axis.Integer(0, n, name=COMPONENT, flow=False)
    return hist.Hist(*(copy.deepcopy(axis) for axis in axes), component, storage=hist.storage.Double())


def _add(histogram: Any, columns: Sequence[NDArray[Any]], contents: NDArray[np.float64]) -> None:
    """Add (n, n_components) contents to the bins where the (n,) columns lie."""
    *axes, _ = histogram.axes
    if any(axis.traits.growth for axis in axes):
        histogram.fill(
            *columns, np.zeros(len(contents), dtype=np.int64), weight=np.zeros(len(contents))
        )  # makes the axes grow
        *axes, _ = histogram.axes
    bins, stride, inside = np.zeros(len(contents), dtype=np.int64), 1, np.ones(len(contents), dtype=np.bool_)
    for axis, column in zip(axes, columns, strict=True):
        place = np.asarray(axis.index(column)) + int(axis.traits.underflow)
        inside &= (place >= 0) & (place < axis.extent)  # elsewhere there is nothing: no overflow bin
        bins += place * stride
        stride *= axis.extent
    view = histogram.view(flow=True)
    for component in range(contents.shape[1]):
        sums = np.bincount(bins[inside], weights=contents[inside, component], minlength=stride)
        view[..., component] += sums.reshape(view.shape[:-1], order="F")
