"""Models of one or several template likelihoods with common parameters, and the measurements that constrain these."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError, MissingError, UnknownNameError, did_you_mean
from columnminer.infer.constraints import AncillaryMeasurements
from columnminer.infer.products import Product, Weighted
from columnminer.model.checks import number, unique
from columnminer.streams import Seed, seed_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.derivatives import Derivatives
    from columnminer.infer.likelihood import Likelihood, Params
    from columnminer.infer.templates import SourceHistogram, TemplateLikelihood
    from columnminer.infer.terms import LogTerms
    from columnminer.model.parameters import Parameter

__all__ = ["ANCILLARY", "TemplateModel"]

ANCILLARY = "ancillary"
"""Name of the term of the auxiliary measurements, the last one."""
_ALONGSIDE = "generate_values"
"""Parameter values that alea keeps beside its data."""


class TemplateModel(Product):
    r"""Product of template likelihoods and of the constraints of their parameters.

    .. math:: \log L(\theta) = \sum_t w_t \log L_t(\theta) + w_a \sum_i \log c_i(\theta_i)

    Data are a tuple with those of each term and the measured values of the constrained parameters (see
    `AncillaryMeasurements`), or a mapping from their names, in which the measured values ("ancillary") are nominal if
    they are left out.

    Parameters
    ----------
    parameters
        All of the model, in order. One of kind "needs_reinit" is part of how the model was built: it keeps its nominal
        value.
    terms
        Their parameters are among those of the model.
    weights
        Of each term and the constraints in order, or by name; one where nothing is said.
    rebuild
        Makes the model for other nominal values, given by name: what `at` calls.

    Raises
    ------
    InputError, UnknownNameError
        If two terms have the same name, a term has other parameters, or weights do not fit.

    Examples
    --------
    >>> model = cm.load_alea("search.yaml")  # terms with constraints
    >>> isinstance(model, cm.TemplateModel), sorted(model.expectation_values())
    (True, ['background', 'signal'])
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        terms: Sequence[TemplateLikelihood],
        *,
        weights: Sequence[float] | Mapping[str, float] | None = None,
        rebuild: Callable[..., TemplateModel] | None = None,
    ) -> None:
        self.term_names = (*unique([t.name for t in terms], "likelihood terms"), ANCILLARY)
        if ANCILLARY in self.term_names[:-1] or not terms:
            msg = f"a model needs terms, and none may be called {ANCILLARY!r}: that is the one of the constraints"
            raise InputError(msg)
        self.weights = self._checked_weights(weights)
        factors: list[Likelihood] = [*terms, AncillaryMeasurements(parameters)]
        super().__init__(
            [f if w == 1.0 else Weighted(f, w) for f, w in zip(factors, self.weights.values(), strict=True)]
        )
        known = [p.name for p in parameters]
        for parameter in self.parameters:
            if parameter.name not in known or parameter != parameters[known.index(parameter.name)]:
                msg = f"the terms have a parameter {parameter} that is not among those of the model"
                raise InputError(msg)
        self.parameters = tuple(parameters)
        unique(self.names, "parameters")
        self._columns = [[self.names.index(name) for name in f.names] for f in self.factors]
        self._terms = tuple(terms)
        self._rebuild = rebuild
        self._built = [i for i, p in enumerate(self.parameters) if p.kind == "needs_reinit"]

    def _checked_weights(self, weights: Sequence[float] | Mapping[str, float] | None) -> dict[str, float]:
        if weights is None:
            weights = {}
        if not isinstance(weights, Mapping):
            if len(weights) != len(self.term_names):
                msg = f"weights are needed for {', '.join(self.term_names)}, not {list(weights)}"
                raise InputError(msg)
            weights = dict(zip(self.term_names, weights, strict=True))
        for name in weights:
            self._require_term(name, self.term_names)
        return {name: number(weights.get(name, 1.0), f"weight of {name!r}") for name in self.term_names}

    @staticmethod
    def _require_term(name: str, known: Sequence[str]) -> None:
        if name not in known:
            msg = f"the model has no likelihood term {name!r}.{did_you_mean(name, known)}"
            raise UnknownNameError(msg)

    def term(self, name: str) -> TemplateLikelihood:
        """Return the likelihood of a term, without its weight.

        Raises
        ------
        UnknownNameError
            If there is none of this name that has sources.
        """
        self._require_term(name, self.term_names[:-1])
        return self._terms[self.term_names.index(name)]

    @property
    def source_names(self) -> tuple[str, ...]:
        """Names of the sources of all terms, each once, in alphabetical order."""
        return tuple(sorted({name for term in self._terms for name in term.source_names}))

    def at(self, **nominal: float) -> TemplateModel:
        """Return the model built for other nominal values of parameters.

        Raises
        ------
        MissingError
            If this model does not know how it was built.
        """
        if self._rebuild is None:
            msg = "this model does not know how to be built for other values; build it again from its templates"
            raise MissingError(msg)
        return self._rebuild(**nominal)

    def on(self, device: str) -> Self:
        """Return the same model with its template terms evaluated by torch on "cpu" or "cuda"."""
        new = copy.copy(self)
        terms = tuple(t.on(device) for t in self._terms)
        factors = [f.with_base(t) if isinstance(f, Weighted) else t for f, t in zip(self.factors, terms, strict=False)]
        vars(new).update(_terms=terms, factors=(*factors, self.factors[-1]))
        return new.with_data(self.data) if self.has_data else new

    # Data --------------------------------------------------------------------------------------------------------

    def with_data(self, data: Any) -> Self:
        """Return the model with these data."""
        new = copy.copy(self)
        new.factors = tuple(f.with_data(d) for f, d in zip(self.factors, self._one_each(data), strict=True))
        return new

    def named(self, data: Any) -> dict[str, Any]:
        """Return data as a mapping from the names of the terms."""
        return dict(zip(self.term_names, self._one_each(data), strict=True))

    def _one_each(self, data: Any) -> Sequence[Any]:
        if isinstance(data, Mapping):
            given = {name: part for name, part in data.items() if name != _ALONGSIDE}
            for name in given:
                self._require_term(name, self.term_names)
            given.setdefault(ANCILLARY, np.array([p.nominal for p in self.factors[-1].parameters]))
            missing = [name for name in self.term_names if name not in given]
            if missing:
                msg = f"there are no data of {', '.join(map(repr, missing))}"
                raise InputError(msg)
            return [given[name] for name in self.term_names]
        if not isinstance(data, tuple | list) or len(data) != len(self.term_names):
            msg = f"data are a mapping or a tuple, with one entry for each of {', '.join(self.term_names)}"
            raise InputError(msg)
        return data

    # What needs to be built anew ---------------------------------------------------------------------------------

    def points(self, params: Params = None, by_name: Mapping[str, ArrayLike] | None = None) -> NDArray[np.float64]:
        """Return parameter points; see `Likelihood.points`.

        Raises
        ------
        InputError
            If a parameter for whose value the model was built has another one.
        """
        return self._as_built(super().points(params, by_name))

    def _as_built(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        for i in self._built:
            name, nominal = self.names[i], self.parameters[i].nominal
            other = points[..., i] != nominal
            if other.any():
                value = points[..., i][other].flat[0]
                msg = (
                    f"the model was built for {name} = {nominal:g} and cannot be evaluated at {value:g}: build it for "
                    f"that with .at({name}={value:g})"
                )
                raise InputError(msg)
        return points

    def terms(self, points: NDArray[np.float64], data: Any) -> LogTerms:
        """Return the sums of the terms' kinematic and rate parts."""
        return super().terms(self._as_built(points), data)

    def term_gradients(self, points: NDArray[np.float64], data: Any) -> NDArray[np.float64]:
        """Return the sum of the terms' gradients."""
        return super().term_gradients(self._as_built(points), data)

    def derivatives(self, points: NDArray[np.float64], data: Any) -> Derivatives:
        """Return the sums of the terms' derivatives."""
        return super().derivatives(self._as_built(points), data)

    # Expectations and events -------------------------------------------------------------------------------------

    def expectation_values(
        self, params: Params = None, *, per_term: bool = False, **by_name: ArrayLike
    ) -> dict[str, Any]:
        """Return the expected number of events of each source, [...] each, summed over the terms.

        Parameters
        ----------
        params, **by_name
            As for `log_likelihood`.
        per_term
            Whether to keep the terms apart: ``{term: {source: events}}``.
        """
        points = self.points(params, by_name)
        apart = {
            term.name: dict(sorted(term.expected_by_source(points[..., columns]).items()))
            for term, columns in zip(self._terms, self._columns, strict=False)
        }
        if per_term:
            return apart
        return {name: np.asarray(sum(t[name] for t in apart.values() if name in t)) for name in self.source_names}

    def source_histograms(
        self, term: str, params: Params = None, *, expected_events: bool = False, **by_name: ArrayLike
    ) -> dict[str, SourceHistogram]:
        """Return the distribution of each source in one term; see `TemplateLikelihood.source_histograms`."""
        likelihood = self.term(term)
        point = self.point(params, by_name)[self._columns[self.term_names.index(term)]]
        return dict(sorted(likelihood.source_histograms(point, expected_events=expected_events).items()))

    def place(self, data: tuple[Any, ...], seed: Seed, toys: ArrayLike) -> tuple[Any, ...]:
        """Return toys of `simulate_many`, called with these numbers and this seed, with positions of their events."""
        placed = [
            t.place(d, seed_sequence(seed, "factor", i), toys)
            for i, (t, d) in enumerate(zip(self._terms, data, strict=False))
        ]
        return (*placed, data[-1])
