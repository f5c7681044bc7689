r"""Ratio estimators that know how d sigma depends on theta: the network only learns how it depends on x.

With rho(x, theta) = d sigma(x, theta) / d sigma(x, theta_1), a polynomial of theta with the components of the morphing,

    log r(x | theta, theta_1) = log rho(x, theta) - log sigma(theta) / sigma(theta_1).

The cross sections are known from the events and come with the samples. A `Law` says how the outputs of a network of x
alone make up rho, so that events are put through it once, however many parameter points are asked for.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from columnminer.errors import ColumnMinerWarning, MissingError
from columnminer.learn.gold import ratio_columns, required
from columnminer.learn.lesson import Lesson
from columnminer.learn.losses import numerator_score_error, ratio_method
from columnminer.learn.modules import PolynomialRatioModule
from columnminer.learn.pairing import check_pairs, on_grid
from columnminer.learn.ratios import RatioEstimator
from columnminer.learn.scaling import Scaling
from columnminer.model.crosssection import CrossSectionPolynomial

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.learn.census import Census
    from columnminer.learn.fit import Fit
    from columnminer.learn.laws import Law
    from columnminer.learn.loaders import Batch, Generators
    from columnminer.learn.networks import MLP
    from columnminer.learn.pairing import Pairing
    from columnminer.learn.scaling import Moments
    from columnminer.sample.samples import Samples

__all__ = ["PolynomialRatioEstimator"]

_BLOCK = 65_536
"""Events evaluated together."""

_PAIRS = 2**17
"""Pairs of points and events evaluated together on a grid: they stay in the cache."""


class PolynomialRatioEstimator(RatioEstimator):
    """Base of the ratio estimators with a `Law`; `log_ratio` and `score` are those of a `RatioEstimator`.

    Gradients of the training are clipped, as log rho is steep where rho is close to zero: with ALICES on 80,000 samples
    of e- e+ -> mu- mu+, four morphing estimators left 0.15 to 3.2 of the mean square of log r unexplained without
    clipping, and 0.009 to 0.013 with it.
    """

    training_defaults: ClassVar[Mapping[str, Any]] = {"clip_gradient": 1.0}

    @abstractmethod
    def _law(self, xsec: CrossSectionPolynomial, scaling: Scaling, training: Mapping[str, Any]) -> Law:
        """Return the law; `scaling` maps theta to 0 at the reference point."""

    def _law_settings(self, xsec: CrossSectionPolynomial, theta0: Moments) -> dict[str, Any]:  # noqa: ARG002
        """Return what the law needs to know besides, as JSON types; kept among the facts of the training."""
        return {}

    def _lesson(self, census: Census, method: str, alpha: float) -> Lesson:
        recipe = ratio_method(method)
        census.require_both_classes()
        theta0, reference = census["theta0"], self._reference_point(census["theta1"])
        xsec = census.cross_section
        if xsec is None:
            msg = f"a {type(self).__name__} needs samples that know the cross section: from a set-up with morphing"
            raise MissingError(msg)
        n_par, features = len(reference), census.feature_names
        deviation = Scaling.of(theta0).scale if self.scale_parameters else np.ones(n_par)
        scalings = {"x": Scaling.of(census["x"]), "theta": Scaling(reference, deviation)}
        known = {"cross_section": xsec.to_dict(), **self._law_settings(xsec, theta0)}
        law = self._law(xsec, scalings["theta"], known)
        n_terms = law.terms(reference[np.newaxis]).shape[1]
        widths = [n_terms, 1, n_par * n_terms, n_par] if recipe.uses_score else [n_terms, 1]

        def columns(samples: Samples, *, first: int) -> dict[str, NDArray[Any]]:
            table = ratio_columns(samples, method, features, scalings, first=first)
            points = np.asarray(required(samples, "theta0", method), dtype=np.float64)
            functions = [law.terms(points), _log_xsec_ratio(xsec, points, reference)[:, np.newaxis]]
            if recipe.uses_score:  # derivatives by scaled parameters, as those of the gold
                functions.append((law.term_gradients(points) * deviation[:, np.newaxis]).reshape(len(points), -1))
                functions.append(xsec.log_gradients(points) * deviation)
            return table | {"inputs": np.concatenate([*functions, table["inputs"][:, n_par:]], axis=1)}

        def objective(network: MLP, batch: Batch, noise: Generators | None) -> dict[str, Tensor]:
            inputs = batch["inputs"]
            x = inputs[..., sum(widths) :]
            outputs = network(x, network.dropout_masks(x.shape[-2], noise)).flatten(0, -2)  # the law knows no members
            functions = torch.split(inputs[..., : sum(widths)].flatten(0, -2), widths, dim=1)
            terms, log_xsec = functions[0], functions[1][:, 0]
            if not recipe.uses_score:
                log_r = _log(law.ratio(outputs, terms), law.floor) - log_xsec
                return {"ratio": recipe.ratio_term(log_r.reshape(x.shape[:-1]), batch)}
            rho, slopes = law.ratio_and_gradient(outputs, terms, functions[2].reshape(len(terms), n_par, n_terms))
            log_r = _log(rho, law.floor) - log_xsec
            t = slopes / rho.clamp_min(law.floor)[:, None] - functions[3]
            error = numerator_score_error(
                t.reshape(*x.shape[:-1], n_par), batch["t_xz"], batch["y"], batch.get("weight")
            )
            return {"ratio": recipe.ratio_term(log_r.reshape(x.shape[:-1]), batch), "score": alpha * error}

        return Lesson(
            method=method,
            features=features,
            reference=reference,
            scalings=scalings,
            columns=columns,
            network=lambda seed: self._network(len(features), law.n_outputs, seed),
            objective=objective,
            settings=({"alpha": alpha} if recipe.uses_score else {}) | known,
        )

    @property
    def cross_section(self) -> CrossSectionPolynomial:
        """Total cross section of the events that it was trained on."""
        return CrossSectionPolynomial.from_dict(self.fitted.training["cross_section"])

    @property
    def law(self) -> Law:
        """How the network's outputs make up the ratio of differential cross sections."""
        return self._law(self.cross_section, self.fitted.scalings["theta"], self.fitted.training)

    def _module(self, fit: Fit) -> nn.Module:
        law, cross_section = self.law, self.cross_section
        return PolynomialRatioModule(fit.network, fit.scalings["x"], law, cross_section, fit.reference)

    def log_ratio(
        self,
        x: ArrayLike,
        theta: ArrayLike,
        *,
        pairing: Pairing = "pairs",
        names: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """Return log p(x | theta) / p(x | reference); see `RatioEstimator.log_ratio`.

        Warns
        -----
        ColumnMinerWarning
            If rho is not positive for some pairs of events and points, which are given log r of the law's floor.
        """
        events, points = self._scaled_x(x, names), self._points(theta)
        law, terms = self.law, self._double(self.law.terms(points))
        log_xsec = _log_xsec_ratio(self.cross_section, points, self.reference)
        outputs = self._outputs(events)
        if not on_grid(pairing):
            check_pairs(len(events), len(points))
            rho = law.ratio(outputs, terms.expand(len(events), -1))
            _warn_of_negative(int((rho < 0.0).sum()), len(rho))
            return np.asarray(rho.clamp_min(law.floor).log().cpu().numpy() - log_xsec)
        values = outputs.new_empty((len(points), len(events)))
        shift = self._double(log_xsec)[:, None]
        negative = 0
        for rows in _blocks(len(events), max(_PAIRS // len(points), 1)):
            rho = law.grid(outputs[rows], terms)
            negative += int((rho < 0.0).sum())
            values[:, rows] = rho.clamp_min_(law.floor).log_().sub_(shift)
        _warn_of_negative(negative, values.numel())
        return values.cpu().numpy()

    def score(
        self,
        x: ArrayLike,
        theta: ArrayLike,
        *,
        pairing: Pairing = "pairs",
        names: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """Return the gradient of log p(x | theta) with respect to theta; see `RatioEstimator.score`."""
        events, points = self._scaled_x(x, names), self._points(theta)
        outputs = self._outputs(events)
        if on_grid(pairing):
            return np.stack([self._scores(outputs, point[np.newaxis]) for point in points])
        check_pairs(len(events), len(points))
        return self._scores(outputs, points)

    def _scores(self, outputs: Tensor, points: NDArray[np.float64]) -> NDArray[np.float64]:
        law, n = self.law, len(outputs)
        terms = self._double(law.terms(points)).expand(n, -1)
        gradients = self._double(law.term_gradients(points)).expand(n, -1, -1)
        rho, slopes = law.ratio_and_gradient(outputs, terms, gradients)
        log_slopes = slopes / rho.clamp_min(law.floor)[:, None]
        return np.asarray(log_slopes.cpu().numpy() - self.cross_section.log_gradients(points))

    def _outputs(self, events: NDArray[np.float32]) -> Tensor:
        """Return the network's outputs in double precision, (n, n_outputs)."""
        network = self.fitted.network
        with torch.no_grad():
            parts = [network(self._tensor(events[rows])).double() for rows in _blocks(len(events), _BLOCK)]
        return torch.cat(parts)

    def _double(self, values: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(values).to(self.device)


def _log(rho: Tensor, floor: float) -> Tensor:
    """Logarithm, continued by its tangent below the floor, so that training leads out of where rho is negative."""
    return rho.clamp_min(floor).log() + (rho.clamp_max(floor) / floor - 1.0)


def _log_xsec_ratio(
    xsec: CrossSectionPolynomial, points: NDArray[np.float64], reference: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.asarray(np.log(xsec.values(points) / xsec.values(reference[np.newaxis])))


def _warn_of_negative(negative: int, n: int) -> None:
    if negative:
        msg = f"the ratio comes out negative for {negative} of {n} pairs of events and points, and is cut off there: "
        msg += "stay closer to the points of the training, or use a QuadraticRatioEstimator"
        warnings.warn(msg, ColumnMinerWarning, stacklevel=3)


def _blocks(n: int, size: int) -> Iterator[slice]:
    """Yield the rows of blocks; one that is empty if there are no events."""
    for start in range(0, max(n, 1), size):
        yield slice(start, start + size)
