r"""Sources of events given as templates, and the mixture of several as a function of the parameters.

The density of a mixture at any point is a sum of template values with coefficients that depend on the parameters only,

.. math:: \sum_s \mu_s(\theta)\, p_s(x; \theta) = \sum_k c_k(\theta)\, p_k(x)

where k counts sources and, of each, the corners of the cell of anchors around theta. So whatever is done with events
needs no parameter, and whatever is done with parameters needs no event.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import reduce
from operator import add, mul
from typing import TYPE_CHECKING

import numpy as np

from columnminer.errors import InputError, UnknownNameError, did_you_mean
from columnminer.infer.taylor import Taylor
from columnminer.model.checks import floats, text, unique

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from columnminer.model.parameters import Parameter

__all__ = ["Coefficients", "Mixture", "TemplateSource"]

_NORMALISED = 1e-6
"""How far the sum of a template may be from one."""


@dataclass(frozen=True)
class TemplateSource:
    r"""Events of one origin: how many are expected, and how they are distributed over the bins.

    .. math:: \mu(\theta) = r\,\epsilon \prod_i \frac{t_i}{t_i^0}\; \mathrm{interp}[\mathtt{events}](\theta)

    with rate multiplier r, efficiency and the exposures t of the term. Expected events and probabilities are
    interpolated linearly between anchors, apart from each other; an index parameter takes the values of its anchors
    only. Parameters on which a source does not depend do not change it, so that anchors of one source alone and of all
    sources together make no difference.

    Attributes
    ----------
    name : str
        What it is called.
    probability : numpy.ndarray
        ``(*anchors, *bins)`` probability of each bin, which sum to one (or are all zero).
    events : numpy.ndarray
        ``(*anchors,)`` expected number of events at multipliers of one and nominal exposures.
    shapes : tuple of str
        Names of the shape and index parameters, one for each leading axis.
    rate, efficiency : str or None
        Names of parameters that multiply the number of events.
    allow_negative : bool
        Whether the expected number may be negative, as long as that of all sources together is not.

    Raises
    ------
    InputError
        If shapes disagree, values are not finite, or probabilities are negative or not normalised.

    Examples
    --------
    >>> cm.TemplateSource("signal", probability=np.array([0.1, 0.8, 0.1]), events=5.0, rate="mu").name
    'signal'
    """

    name: str
    probability: NDArray[np.float64]
    events: NDArray[np.float64]
    shapes: tuple[str, ...] = ()
    rate: str | None = None
    efficiency: str | None = None
    allow_negative: bool = False

    def __post_init__(self) -> None:
        where = f"source {text(self.name, 'the name of a source')!r}"
        probability = floats(self.probability, f"{where}: probability")
        events = floats(self.events, f"{where}: events")
        shapes = unique(self.shapes, f"{where}: shape parameters")
        if events.ndim != len(shapes) or probability.shape[: len(shapes)] != events.shape:
            msg = (
                f"{where}: events {events.shape} and probability {probability.shape} need one leading axis for each of "
                f"the {len(shapes)} shape parameters"
            )
            raise InputError(msg)
        if not (np.isfinite(probability).all() and np.isfinite(events).all()):
            msg = f"{where}: probabilities and expected events must be finite"
            raise InputError(msg)
        sums = probability.reshape(events.size, -1).sum(axis=1)
        if (probability < 0.0).any() or ((np.abs(sums - 1.0) > _NORMALISED) & (sums != 0.0)).any():
            msg = f"{where}: probabilities must not be negative and sum to one; they sum to {sums.min()}...{sums.max()}"
            raise InputError(msg)
        for name, array in (("probability", probability), ("events", events)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "shapes", shapes)

    @property
    def multipliers(self) -> tuple[str, ...]:
        """Names of the parameters that multiply the number of events."""
        return tuple(name for name in (self.rate, self.efficiency) if name is not None)


@dataclass(frozen=True)
class Coefficients:
    """The c_k of a `Mixture` at n parameter points, with derivatives as far as they were asked for.

    Attributes
    ----------
    starts : numpy.ndarray
        (n, K) where the template of each term begins in `Mixture.table`.
    value : numpy.ndarray
        (n, K)
    first, second : numpy.ndarray
        (n, K, n_par) and (n, K, n_par, n_par).
    weights : numpy.ndarray
        (n, K) share of each template in the distribution of its source.
    inside : numpy.ndarray
        (n,) bool: whether the point is within the anchors.
    """

    starts: NDArray[np.int64]
    weights: NDArray[np.float64]
    value: NDArray[np.float64]
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    inside: NDArray[np.bool_]


@dataclass(frozen=True)
class _Axis:
    """A shape parameter along one axis of a source's templates; `step` is how far neighbours are apart in `table`."""

    column: int
    name: str
    anchors: NDArray[np.float64]
    index: bool
    step: int

    def corners(self, x: NDArray[np.float64], order: int) -> list[tuple[NDArray[np.int64], Taylor | None]]:
        """Return position and weight (None: one) of each anchor that counts at x (n,)."""
        if self.index:
            nearest = np.abs(self.anchors - x[:, None]).argmin(axis=1)
            wrong = ~np.isclose(x, self.anchors[nearest], rtol=1e-9, atol=0.0)
            if wrong.any():
                known = ", ".join(f"{a:g}" for a in self.anchors)
                msg = f"{self.name!r} takes the values {known} only, there is nothing in between: not {x[wrong][0]:g}"
                raise InputError(msg)
            return [(nearest * self.step, None)]
        low = np.clip(np.searchsorted(self.anchors, x, side="right") - 1, 0, len(self.anchors) - 2)
        width = self.anchors[low + 1] - self.anchors[low]
        t, slope = (x - self.anchors[low]) / width, 1.0 / width
        if order == 0:
            return [(low * self.step, Taylor(1.0 - t)), ((low + 1) * self.step, Taylor(t))]
        c = self.column
        return [(low * self.step, Taylor(1.0 - t, {c: -slope})), ((low + 1) * self.step, Taylor(t, {c: slope}))]

    def inside(self, x: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.asarray((x >= self.anchors[0]) & (x <= self.anchors[-1]))


class Mixture:
    """Several sources, as coefficients of templates; parameters are columns of points.

    Parameters
    ----------
    sources
        With bins of one shape and distinct names.
    parameters
        In the order of the columns.
    exposures
        Parameters that multiply all sources, with the values for which the sources are given.
    volumes
        (n_cells,) by which probabilities are divided.

    Raises
    ------
    InputError, UnknownNameError
        If they do not fit together; the message names the source and the parameter.
    """

    def __init__(
        self,
        sources: Sequence[TemplateSource],
        parameters: Sequence[Parameter],
        exposures: Mapping[str, float],
        volumes: NDArray[np.float64],
    ) -> None:
        self.sources = tuple(sources)
        self.n_cells = len(volumes)
        names = [p.name for p in parameters]

        def column(name: str, what: str) -> int:
            if name not in names:
                msg = f"{what} depends on {name!r}, which is no parameter.{did_you_mean(name, names)}"
                raise UnknownNameError(msg)
            return names.index(name)

        self._exposures = [(column(name, "the exposure"), 1.0 / nominal) for name, nominal in exposures.items()]
        self._factors: list[list[tuple[int, float]]] = []
        self._axes: list[list[_Axis]] = []
        self._first_rows: list[int] = []
        tables: list[NDArray[np.float64]] = []
        row = 0
        for source in self.sources:
            where = f"source {source.name!r}"
            own = [(column(name, where), 1.0) for name in source.multipliers]
            self._factors.append([*own, *self._exposures])
            columns = [column(name, where) for name in source.shapes]
            self._axes.append(_axes(source, [parameters[c] for c in columns], columns))
            self._first_rows.append(row)
            tables.append((source.probability.reshape(-1, self.n_cells) / volumes).ravel())
            row += source.events.size
        self.table = np.concatenate(tables) if tables else np.zeros(0)
        self.owner = np.array(
            [s for s, axes in enumerate(self._axes) for _ in range(2 ** sum(not a.index for a in axes))], dtype=np.int64
        )
        """(K,) number of the source that each term belongs to."""
        self._belongs = (self.owner[:, None] == np.arange(len(self.sources))).astype(np.float64)

    @property
    def kinks(self) -> dict[str, NDArray[np.float64]]:
        """Anchors of the parameters in which templates are interpolated."""
        found: dict[str, NDArray[np.float64]] = {}
        for axis in (a for axes in self._axes for a in axes if not a.index):
            found[axis.name] = np.union1d(found.get(axis.name, axis.anchors), axis.anchors)
        return found

    def coefficients(self, points: NDArray[np.float64], order: int) -> Coefficients:
        """Return the coefficients at points (n, n_par), with derivatives up to `order` (0 or 2).

        Raises
        ------
        InputError
            If an index parameter is not at one of its anchors.
        """
        n, n_par = points.shape
        starts = np.empty((n, len(self.owner)), dtype=np.int64)
        terms: list[Taylor] = []
        weights = np.empty((n, len(self.owner)))
        inside: NDArray[np.bool_] = np.ones(n, dtype=bool)
        for s, source in enumerate(self.sources):
            multipliers = [
                Taylor(points[:, c] * scale, {c: np.full(n, scale)} if order else {}) for c, scale in self._factors[s]
            ]
            choices = [axis.corners(points[:, axis.column], order) for axis in self._axes[s]]
            for axis in self._axes[s]:
                inside &= axis.inside(points[:, axis.column])
            events = source.events.ravel()
            corners: list[tuple[NDArray[np.float64], list[Taylor]]] = []
            for corner in itertools.product(*choices):
                rows = sum((position for position, _ in corner), np.zeros(n, dtype=np.int64))
                starts[:, len(terms) + len(corners)] = (rows + self._first_rows[s]) * self.n_cells
                corners.append((events[rows], [part for _, part in corner if part is not None]))
            if corners[0][1]:
                shares = [reduce(mul, parts) for _, parts in corners]
                expected = reduce(add, [w.scaled(n_events) for w, (n_events, _) in zip(shares, corners, strict=True)])
                factor = reduce(mul, multipliers, expected)
                weights[:, len(terms) : len(terms) + len(shares)] = np.stack([w.value for w in shares], axis=1)
                terms += [factor * w for w in shares]
            else:
                weights[:, len(terms)] = 1.0
                constant = Taylor(corners[0][0])
                terms.append(
                    reduce(mul, multipliers[1:], multipliers[0]).scaled(constant.value) if multipliers else constant
                )
        value = np.stack([t.value for t in terms], axis=1) if terms else np.zeros((n, 0))
        first = np.zeros((n, len(terms), n_par if order else 0))
        second = np.zeros((n, len(terms), n_par, n_par) if order else (n, len(terms), 0, 0))
        if order:
            for k, term in enumerate(terms):
                for c, slope_c in term.first.items():
                    first[:, k, c] = slope_c
                for (c, d), curve in term.second.items():
                    second[:, k, c, d] = second[:, k, d, c] = curve
        return Coefficients(starts, weights, value, first, second, inside)

    def by_source(self, coefficients: Coefficients) -> NDArray[np.float64]:
        """Return the expected number of events of each source, (n, n_sources)."""
        return np.asarray(coefficients.value @ self._belongs)

    def allowed(self, coefficients: Coefficients) -> NDArray[np.bool_]:
        """Return where the mixture means something: within the anchors, with no negative number of events."""
        mu = self.by_source(coefficients)
        free = np.array([s.allow_negative for s in self.sources], dtype=bool)
        total = mu.sum(axis=1)
        fine = ((mu >= 0.0) | free).all(axis=1) & (total >= 0.0) & np.isfinite(total)
        return np.asarray(coefficients.inside & fine)


def _axes(source: TemplateSource, parameters: Sequence[Parameter], columns: Sequence[int]) -> list[_Axis]:
    axes = []
    for i, (parameter, column) in enumerate(zip(parameters, columns, strict=True)):
        anchors = np.array(parameter.anchors or (parameter.nominal,))
        if len(anchors) != source.events.shape[i]:
            msg = (
                f"source {source.name!r} has templates for {source.events.shape[i]} values of {parameter.name!r}, not "
                f"for its {len(anchors)} anchors"
            )
            raise InputError(msg)
        index = parameter.kind == "index" or len(anchors) == 1
        step = int(np.prod(source.events.shape[i + 1 :], dtype=np.int64))
        axes.append(_Axis(column, parameter.name, anchors, index, step))
    return axes
