"""Extended likelihoods of events in an analysis space, whose distribution is a mixture of templates.

Templates are histograms, so an event says no more than the cell of the analysis space it lies in: unbinned data are
the cells of the events, binned data the cells with their counts, and one implementation serves both.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import gammaln, xlogy

from columnminer.errors import InputError, UnknownNameError, did_you_mean
from columnminer.infer.analysis_space import AnalysisSpace, volumes
from columnminer.infer.arrays import Place
from columnminer.infer.derivatives import Derivatives
from columnminer.infer.likelihood import Likelihood, Params
from columnminer.infer.template_events import TemplateEvents
from columnminer.infer.template_sources import Mixture, TemplateSource
from columnminer.infer.template_sums import event_sums
from columnminer.infer.template_toys import drawn_events
from columnminer.infer.terms import LogTerms
from columnminer.model.checks import choice, number, text, unique
from columnminer.streams import Seed, key, seed_sequence

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.template_sources import Coefficients
    from columnminer.model.parameters import Parameter

__all__ = ["SourceHistogram", "TemplateEvents", "TemplateLikelihood", "TemplateSource"]

_SECOND = 4_000_000
"""Second derivatives of coefficients held at once."""


@dataclass(frozen=True)
class SourceHistogram:
    """Histogram of one source.

    Attributes
    ----------
    edges : mapping of str to numpy.ndarray
        Bin edges along each axis.
    values : numpy.ndarray
        Probability of each bin, or expected number of events in it.
    """

    edges: Mapping[str, NDArray[np.float64]]
    values: NDArray[np.float64]

    @property
    def density(self) -> NDArray[np.float64]:
        """Values over the volumes of the bins."""
        return self.values / volumes(self.edges)

    def projected(self, axis: str) -> SourceHistogram:
        """Return the histogram along one axis, summed over the others.

        Raises
        ------
        UnknownNameError
            If there is no such axis.
        """
        if axis not in self.edges:
            msg = f"the analysis space has no axis {axis!r}.{did_you_mean(axis, self.edges)}"
            raise UnknownNameError(msg)
        others = tuple(i for i, name in enumerate(self.edges) if name != axis)
        return SourceHistogram({axis: self.edges[axis]}, self.values.sum(axis=others))


class TemplateLikelihood(Likelihood):
    r"""Extended likelihood of events, unbinned or binned, of sources with template distributions.

    .. math::
       \log L = \sum_e \log \sum_s \mu_s(\theta)\, f_s(x_e; \theta) - \sum_s \mu_s(\theta)

    (Barlow, Nucl. Instrum. Meth. A 297 (1990) 496, eq. 2) with densities f constant in each bin of the templates, or
    the product of the Poisson probabilities of the bins, with mean :math:`\sum_s \mu_s p_s`. For :math:`\mu_s` and its
    interpolation see `TemplateSource`. Where a number of events is negative, or a shape parameter beyond its anchors,
    L is zero.

    Data are `TemplateEvents`, a mapping or structured array with a column for each axis, or counts ``[..., *bins]``.

    Parameters
    ----------
    name
        Of the term.
    axes
        Edges of the bins along each axis of the analysis space.
    sources
        With templates in these bins.
    parameters
        All on which the sources depend, and perhaps more.
    binned
        Whether the data are counts in the bins.
    exposures
        Names of parameters that multiply the numbers of events of all sources, such as a livetime or a mass, with the
        values for which the sources are given.
    outlier_density
        Takes the place of the summed density of an unbinned event where that is not positive.
    outside
        What becomes of events outside the analysis space: "refuse" them with an error, or "drop" them.

    Raises
    ------
    InputError, UnknownNameError
        If sources, axes and parameters do not fit together.

    Examples
    --------
    >>> mu = cm.Parameter("mu", 1.0, kind="rate", fit_limits=(0, None))
    >>> signal = cm.TemplateSource("signal", np.array([0.1, 0.8, 0.1]), 5.0, rate="mu")
    >>> background = cm.TemplateSource("background", np.array([0.4, 0.3, 0.3]), 20.0)
    >>> model = cm.TemplateLikelihood("run", {"energy": [0.0, 1.0, 2.0, 3.0]}, [signal, background], [mu])
    >>> float(model.with_data({"energy": np.array([0.5, 1.5])}).log_likelihood(mu=2.0).round(4))
    -25.1637
    """

    def __init__(
        self,
        name: str,
        axes: Mapping[str, ArrayLike],
        sources: Sequence[TemplateSource],
        parameters: Sequence[Parameter],
        *,
        binned: bool = False,
        exposures: Mapping[str, float] | None = None,
        outlier_density: float = 1e-12,
        outside: str = "refuse",
    ) -> None:
        super().__init__(parameters)
        self.name = text(name, "the name of a likelihood term")
        where = f"likelihood term {name!r}"
        try:
            self.space = AnalysisSpace({label: np.asarray(edges) for label, edges in axes.items()})
        except InputError as error:
            msg = f"{where}: {error}"
            raise InputError(msg) from error
        self.binned = binned
        self.outside = choice(outside, ("refuse", "drop"), f"{where}: outside")
        self.outlier_density = number(outlier_density, f"{where}: outlier_density")
        self.exposures = {n: number(v, f"{where}: nominal {n}") for n, v in (exposures or {}).items()}
        if not self.outlier_density > 0.0 or not all(self.exposures.values()):
            msg = f"{where}: outlier_density must be positive, nominal exposures not zero"
            raise InputError(msg)
        if not sources:
            msg = f"{where}: at least one source is needed"
            raise InputError(msg)
        unique([s.name for s in sources], f"{where}: sources")
        for source in sources:
            bins = source.probability.shape[len(source.shapes) :]
            if bins != self.shape:
                msg = f"{where}: templates of source {source.name!r} have {bins} bins, the analysis space {self.shape}"
                raise InputError(msg)
        used = {n for s in sources for n in (*s.shapes, *s.multipliers)} | set(self.exposures)
        self._columns = np.array([i for i, p in enumerate(self.parameters) if p.name in used], dtype=np.int64)
        self._volumes = np.ones(self.space.size) if binned else self.space.volumes.ravel()
        self.mixture = Mixture(sources, [self.parameters[i] for i in self._columns], self.exposures, self._volumes)
        sums = [s.probability.reshape(s.events.size, -1).sum(axis=1) for s in sources]
        self._content = np.concatenate(sums) if binned else np.ones(sum(s.events.size for s in sources))
        self._place = Place()
        self._table: Any = self.mixture.table

    @property
    def axes(self) -> Mapping[str, NDArray[np.float64]]:
        """Bin edges along each axis of the analysis space."""
        return self.space.edges

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of bins along each axis."""
        return self.space.shape

    @property
    def sources(self) -> tuple[TemplateSource, ...]:
        """In the order of the numbers in `TemplateEvents.source`."""
        return self.mixture.sources

    @property
    def source_names(self) -> tuple[str, ...]:
        """Names of the sources."""
        return tuple(s.name for s in self.sources)

    @property
    def kinks(self) -> Mapping[str, NDArray[np.float64]]:
        """The anchors of shape parameters; at the outermost ones the likelihood ends."""
        return self.mixture.kinks

    def on(self, device: str) -> Self:
        """Return the same likelihood, evaluated by torch on "cpu" or "cuda"; points, data and results stay numpy's."""
        new = copy.copy(self)
        place = Place(device)
        vars(new).update(_place=place, _table=place.put(self.mixture.table))
        return new

    # Data --------------------------------------------------------------------------------------------------------

    def as_data(self, data: Any) -> TemplateEvents:
        """Return the events in their cells; those of one cell together if the likelihood is binned.

        Raises
        ------
        InputError
            If events are outside the analysis space, or a column is missing.
        """
        try:
            if isinstance(data, TemplateEvents):
                events = self._checked(data)
            elif isinstance(data, Mapping) or (isinstance(data, np.ndarray) and data.dtype.names is not None):
                events = self._from_columns(data)
            else:
                events = self._from_counts(np.asarray(data, dtype=np.float64))
        except InputError as error:
            msg = f"likelihood term {self.name!r}: {error}"
            raise InputError(msg) from error
        return events.merge() if self.binned else events

    def _checked(self, data: TemplateEvents) -> TemplateEvents:
        cells, last = data.cells, self.space.size - 1
        if cells.shape != data.counts.shape or (cells.size and not 0 <= cells.min() <= cells.max() <= last):
            msg = f"cells must be numbers from 0 to {last}, one for each count"
            raise InputError(msg)
        _require_counts(data.counts)
        return data

    def _from_columns(self, data: Any) -> TemplateEvents:
        columns = self.space.columns(data)
        inside = self.space.inside(columns)
        within = np.logical_and.reduce(list(inside.values()))
        for name, good in inside.items():
            if self.outside == "refuse" and not good.all():
                low, high = self.axes[name][[0, -1]]
                msg = (
                    f"{int((~good).sum())} of {len(good)} events have {name!r} outside the analysis space, {low:g} to "
                    f"{high:g}. Cut them away, or build the term with outside='drop'"
                )
                raise InputError(msg)
        kept = {name: column[within] for name, column in columns.items()}
        labelled = "source" in (data if isinstance(data, Mapping) else data.dtype.names)
        source = np.asarray(data["source"], dtype=np.int64)[within] if labelled else None
        return TemplateEvents(self.space.cells(kept), np.ones(int(within.sum())), kept, source)

    def _from_counts(self, counts: NDArray[np.float64]) -> TemplateEvents:
        n_axes = len(self.shape)
        if counts.ndim < n_axes or counts.shape[counts.ndim - n_axes :] != self.shape:
            msg = (
                f"data are columns {', '.join(map(repr, self.axes))}, or counts in bins of shape {self.shape}, not an "
                f"array of shape {counts.shape}"
            )
            raise InputError(msg)
        _require_counts(counts)
        flat = counts.reshape(*counts.shape[: counts.ndim - n_axes], -1)
        return TemplateEvents(np.broadcast_to(np.arange(flat.shape[-1]), flat.shape), flat, merged=True)

    # Expectations ------------------------------------------------------------------------------------------------

    def expected(self, params: Params = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return the expected number of events: [...] in all, or if the likelihood is binned ``[..., *bins]``."""
        points = self.points(params, by_name)
        if not self.binned:
            return np.asarray(self.mixture.by_source(self._found(points)).sum(axis=1)).reshape(points.shape[:-1])
        content: NDArray[np.float64] = self._in_cells(points).sum(axis=-2)
        return content.reshape(*points.shape[:-1], *self.shape)

    def expected_by_source(self, params: Params = None, **by_name: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Return the expected number of events of each source, [...] each."""
        points = self.points(params, by_name)
        sums = self.mixture.by_source(self._found(points))
        return {name: sums[:, s].reshape(points.shape[:-1]) for s, name in enumerate(self.source_names)}

    def source_histograms(
        self, params: Params = None, *, expected_events: bool = False, **by_name: ArrayLike
    ) -> dict[str, SourceHistogram]:
        """Return the distribution of each source at one parameter point.

        Parameters
        ----------
        params, **by_name
            As for `log_likelihood`.
        expected_events
            Whether histograms are numbers of events instead of probabilities.
        """
        content = self._in_cells(self.point(params, by_name), relative=not expected_events)
        return {
            name: SourceHistogram(self.axes, values.reshape(self.shape))
            for name, values in zip(self.source_names, content, strict=True)
        }

    def _found(self, points: NDArray[np.float64]) -> Coefficients:
        flat = points.reshape(math.prod(points.shape[:-1]), points.shape[-1])
        return self.mixture.coefficients(flat[:, self._columns], 0)

    def _in_cells(self, points: NDArray[np.float64], *, relative: bool = False) -> NDArray[np.float64]:
        """Return numbers of events (relative: probabilities) of each source in each cell, (..., n_sources, n_cells)."""
        found = self._found(points)
        weights = found.weights if relative else found.value
        cells = np.arange(self.space.size)
        content = np.zeros((len(weights), len(self.sources), len(cells)))
        for k, s in enumerate(self.mixture.owner):
            content[:, s] += weights[:, k, None] * self.mixture.table[found.starts[:, k, None] + cells]
        return (content * self._volumes).reshape(*points.shape[:-1], *content.shape[1:])

    # Pseudo-experiments ------------------------------------------------------------------------------------------

    def asimov(self, params: Params = None, **by_name: ArrayLike) -> TemplateEvents:
        """Return what is expected in each cell, as weights."""
        content = self._in_cells(self._allowed_point(self.point(params, by_name))).sum(axis=0)
        occupied = np.flatnonzero(content > 0.0)
        return TemplateEvents(occupied, content[occupied], merged=True)

    def simulate(self, seed: Seed, params: Params = None, **by_name: ArrayLike) -> TemplateEvents:
        """Return the events of one pseudo-experiment, with positions and the numbers of their sources."""
        point, stream = self.point(params, by_name), seed_sequence(seed, "template")
        return self.place(self.simulate_many(stream, [0], point), stream, [0]).pick(np.array(0))

    def simulate_many(self, seed: Seed, toys: ArrayLike, params: Params = None, **by_name: ArrayLike) -> TemplateEvents:
        """Return the events of the pseudo-experiments of these numbers (n,), with the numbers of their sources.

        Each is a function of the seed and its number alone. Where events are within their cells is left open, for the
        likelihood does not depend on it: see `place`.

        Raises
        ------
        InputError
            If the number of events of a source is negative, or a shape parameter beyond its anchors.
        """
        point = self._allowed_point(self.point(params, by_name))
        content = self._in_cells(point)
        if (content < 0.0).any():
            msg = f"likelihood term {self.name!r}: a negative number of events of a source cannot be simulated"
            raise InputError(msg)
        return drawn_events(content, seed, np.atleast_1d(np.asarray(toys, dtype=np.int64)))

    def place(self, events: TemplateEvents, seed: Seed, toys: ArrayLike) -> TemplateEvents:
        """Return the toys of `simulate_many`, (n, ...), with a position for each event: anywhere in its cell."""
        numbers = np.atleast_1d(np.asarray(toys, dtype=np.int64))[:, None]
        slots = np.arange(events.cells.shape[-1])
        values = self.space.positions(events.cells, key(seed, "position"), numbers, slots)
        return dataclasses.replace(events, values=values)

    def _allowed_point(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        if not self.mixture.allowed(self._found(point)).all():
            shown = ", ".join(f"{name} = {value:g}" for name, value in zip(self.names, point, strict=True))
            msg = (
                f"likelihood term {self.name!r} is not defined at {shown}: a number of events is negative, or a shape "
                "parameter beyond its anchors"
            )
            raise InputError(msg)
        return point

    # Values and derivatives --------------------------------------------------------------------------------------

    def terms(self, points: NDArray[np.float64], data: Any) -> LogTerms:
        """Return the log likelihood: that of the number of events, and that of where they are."""
        value, rate = self._evaluate(points, data, 0)[:2]
        return LogTerms(kinematic=value - rate, rate=rate)

    def term_gradients(self, points: NDArray[np.float64], data: Any) -> NDArray[np.float64]:
        """Return the gradient."""
        return self._evaluate(points, data, 1)[2]

    def derivatives(self, points: NDArray[np.float64], data: Any) -> Derivatives:
        """Return log L and its derivatives, at an anchor those towards larger values.

        Where L is zero, they are those of the formula continued.
        """
        value, _, gradient, hessian = self._evaluate(points, data, 2)
        return Derivatives(value, gradient, hessian)

    def _evaluate(
        self, points: NDArray[np.float64], data: TemplateEvents, order: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return log L, its rate term, gradient and Hessian; the last two are zero beyond the order asked for."""
        data = data.merge() if self.binned else data
        batch = np.broadcast_shapes(points.shape[:-1], data.batch)
        n, n_par, n_sets, n_entries = math.prod(batch), points.shape[-1], math.prod(data.batch), data.counts.shape[-1]
        flat = np.broadcast_to(points, (*batch, n_par)).reshape(n, n_par)[:, self._columns]
        cells, counts = data.cells.reshape(n_sets, n_entries), data.counts.reshape(n_sets, n_entries)
        rows = np.broadcast_to(np.arange(n_sets).reshape(data.batch), batch).ravel()
        n_events = counts.sum(axis=1)
        permutations = gammaln(counts + 1.0).sum(axis=1) if self.binned else np.zeros(len(counts))
        labels = gammaln(n_events + 1.0) if self.binned else np.zeros(len(counts))
        value, rate, gradient, hessian = np.empty(n), np.empty(n), np.zeros((n, n_par)), np.zeros((n, n_par, n_par))
        step = max(1, _SECOND // max(1, len(self.mixture.owner) * len(self._columns) ** 2))
        for begin in range(0, n, step):
            here = slice(begin, begin + step)
            row = rows[here]
            found = self.mixture.coefficients(flat[here], order)
            log, dark, first, second = event_sums(
                self._place, self._table, found, cells=cells, counts=counts, rows=row, order=order
            )
            content = self._content[found.starts // self.space.size]
            mu = (found.value * content).sum(axis=1)
            floor = -math.inf if self.binned else math.log(self.outlier_density)
            log = log - mu - permutations[row] + np.multiply(dark, floor, where=dark > 0.0, out=np.zeros_like(dark))
            allowed = self.mixture.allowed(found)
            value[here] = np.where(allowed, log, -np.inf)
            poisson = xlogy(n_events[row], np.where(mu > 0.0, mu, 1.0)) - mu - labels[row]
            rate[here] = np.where(allowed, poisson, 0.0)
            if order:
                slope = first - content
                gradient[here, self._columns] = np.matmul(slope[:, None, :], found.first)[:, 0, :]
            if order > 1:
                curve = np.matmul(np.swapaxes(found.first, 1, 2), np.matmul(second, found.first))
                curve += np.einsum("nk,nkij->nij", slope, found.second)
                hessian[here, self._columns[:, None], self._columns] = 0.5 * (curve + np.swapaxes(curve, 1, 2))
        return (
            value.reshape(batch),
            rate.reshape(batch),
            gradient.reshape(*batch, n_par),
            hessian.reshape(*batch, n_par, n_par),
        )


def _require_counts(counts: NDArray[np.float64]) -> None:
    if not (np.isfinite(counts).all() and (counts >= 0.0).all()):
        msg = "counts must be finite and not negative"
        raise InputError(msg)
