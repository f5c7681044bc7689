"""Estimators of the likelihood ratio: with the denominator fixed, or with both points free."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from columnminer.errors import ColumnMinerWarning
from columnminer.learn.denominators import FixedDenominator, ratio_to
from columnminer.learn.estimator import Estimator
from columnminer.learn.gold import ratio_columns
from columnminer.learn.lesson import Lesson
from columnminer.learn.losses import numerator_score_error, ratio_method
from columnminer.learn.modules import DoubleRatioModule, RatioModule
from columnminer.learn.pairing import check_pairs, on_grid
from columnminer.learn.scaling import Scaling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.learn.census import Census
    from columnminer.learn.fit import Fit
    from columnminer.learn.loaders import Batch, Generators
    from columnminer.learn.networks import MLP
    from columnminer.learn.pairing import Pairing
    from columnminer.learn.scaling import Moments

__all__ = ["DoubleRatioEstimator", "RatioEstimator"]

_BLOCK = 65_536
"""Events evaluated together."""


class _RatioLearner(Estimator):
    """The training of ratio estimators, whose network takes parameter points and features and gives log r."""

    points: ClassVar[tuple[str, ...]]
    """Which parameter points of the samples the network takes: its leading inputs."""

    default_method = "alices"

    def _lesson(self, census: Census, method: str, alpha: float) -> Lesson:
        recipe = ratio_method(method)
        census.require_both_classes()
        points = [census[name] for name in self.points]
        moments = points[0] if len(points) == 1 else points[0] + points[1]
        n_par, n_points = len(moments.mean), len(points) * len(moments.mean)
        scalings = {
            "x": Scaling.of(census["x"]),
            "theta": Scaling.of(moments) if self.scale_parameters else Scaling.none(n_par),
        }

        def objective(network: MLP, batch: Batch, noise: Generators | None) -> dict[str, Tensor]:
            inputs, weight = batch["inputs"], batch.get("weight")
            masks = network.dropout_masks(inputs.shape[-2], noise)
            if not recipe.uses_score:
                return {"ratio": recipe.ratio_term(network(inputs, masks)[..., 0], batch)}
            log_r, slopes = network.value_and_gradient(inputs, n_points, masks)
            error = numerator_score_error(slopes[..., :n_par], batch["t_xz"], batch["y"], weight)
            if len(points) == 2:  # the score at theta1 is minus the slope of log r there
                error = error + numerator_score_error(-slopes[..., n_par:], batch["t_xz1"], 1.0 - batch["y"], weight)
            return {"ratio": recipe.ratio_term(log_r, batch), "score": alpha * error}

        return Lesson(
            method=method,
            features=census.feature_names,
            reference=self._reference_point(census["theta1"]),
            scalings=scalings,
            columns=partial(
                ratio_columns, method=method, features=census.feature_names, scalings=scalings, points=self.points
            ),
            network=lambda seed: self._network(n_points + len(census.feature_names), 1, seed),
            objective=objective,
            settings={"alpha": alpha} if recipe.uses_score else {},
        )

    @abstractmethod
    def _reference_point(self, theta1: Moments) -> NDArray[np.float64]:
        """Return the point at which the estimator is anchored."""

    def _network_inputs(
        self, events: NDArray[np.float32], *points: NDArray[np.float32]
    ) -> Iterator[tuple[slice, Tensor]]:
        """Yield the rows of a block of events and the network's inputs for them, paired with points."""
        for given in points:
            check_pairs(len(events), len(given))
        columns = [np.broadcast_to(given, (len(events), given.shape[1])) for given in points]
        for start in range(0, len(events), _BLOCK):
            rows = slice(start, start + _BLOCK)
            yield rows, self._tensor(np.concatenate([column[rows] for column in (*columns, events)], axis=1))


class RatioEstimator(_RatioLearner):
    """Learns log r(x | theta, theta1) = log p(x | theta) / p(x | theta1) for any theta, with theta1 fixed.

    The network takes (theta, x) and gives log r; its gradient with respect to theta is the score. theta1 must be the
    same in all training events. For the settings see `Estimator`.

    Examples
    --------
    >>> store = cm.EventStore("events.zarr")
    >>> samples = cm.sample_ratio(store, cm.flat_prior([(-0.05, 0.05)] * 2), "sm", 4000)
    >>> estimator = cm.RatioEstimator((10,)).fit(samples, "alices", alpha=1.0, epochs=1, progress=False)
    >>> thetas = [[0.0, 0.0], [0.03, 0.0]]
    >>> estimator.log_ratio(samples.x[:5], thetas, pairing="grid").shape
    (2, 5)
    >>> estimator.score(samples.x[:5], [0.0, 0.0]).shape
    (5, 2)
    """

    estimates = "ratio"
    points = ("theta0",)

    def _reference_point(self, theta1: Moments) -> NDArray[np.float64]:
        return theta1.single_point(f"theta1 of a {type(self).__name__}")

    def _module(self, fit: Fit) -> nn.Module:
        return RatioModule(fit.network, fit.scalings["x"], fit.scalings["theta"])

    def log_ratio(
        self,
        x: ArrayLike,
        theta: ArrayLike,
        *,
        pairing: Pairing = "pairs",
        names: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """Return log p(x | theta) / p(x | reference).

        Parameters
        ----------
        x
            (n, n_features) observables.
        theta
            (n_par,), (n, n_par) or (n_theta, n_par) points. Of an estimator that knows nuisance parameters, points in
            the other parameters alone will do: their nuisance parameters are 0, the nominal values.
        pairing
            "pairs": event i at point i (or all at the one point); "grid": every event at every point.
        names
            Names of the columns of x, among them the features; None: x has just the features, in order.

        Returns
        -------
        numpy.ndarray
            (n,) or, on the grid, (n_theta, n).

        Raises
        ------
        InputError, UnknownNameError
            If x or theta do not fit.
        """
        events, points = self._scaled_x(x, names), self._scaled_theta(theta)
        network = self.fitted.network
        if on_grid(pairing):
            return network.grid(self._tensor(points), self._tensor(events)).cpu().numpy().astype(np.float64)
        values = np.empty(len(events))
        with torch.no_grad():
            for rows, inputs in self._network_inputs(events, points):
                values[rows] = network(inputs)[:, 0].cpu().numpy()
        return values

    def score(
        self,
        x: ArrayLike,
        theta: ArrayLike,
        *,
        pairing: Pairing = "pairs",
        names: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """Return the gradient of log p(x | theta) with respect to theta; see `log_ratio` for the arguments.

        Returns
        -------
        numpy.ndarray
            (n, n_par) or, on the grid, (n_theta, n, n_par).
        """
        events, points = self._scaled_x(x, names), self._scaled_theta(theta)
        grid = on_grid(pairing)
        scores = [self._score(events, points[i : i + 1]) for i in range(len(points))] if grid else []
        scaled = np.stack(scores) if grid else self._score(events, points)
        return scaled / self.fitted.scalings["theta"].scale

    def _score(self, events: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float64]:
        scores = np.empty((len(events), points.shape[1]))
        with torch.no_grad():
            for rows, inputs in self._network_inputs(events, points):
                scores[rows] = self.fitted.network.value_and_gradient(inputs, points.shape[1])[1].cpu().numpy()
        return scores


class DoubleRatioEstimator(_RatioLearner):
    """Learns log r(x | theta0, theta1) = log p(x | theta0) / p(x | theta1) for any pair of points.

    The network takes (theta0, theta1, x); with ``alices``, ``rascal`` and ``cascal`` it is trained on the joint scores
    at both points (`sample_double_ratio`). For the settings see `Estimator`.

    Examples
    --------
    >>> store = cm.EventStore("events.zarr")
    >>> prior = cm.flat_prior([(-0.05, 0.05)] * 2)
    >>> samples = cm.sample_double_ratio(store, prior, prior, 4000)
    >>> estimator = cm.DoubleRatioEstimator((10,)).fit(samples, "alices", epochs=1, progress=False)
    >>> estimator.log_ratio(samples.x[:3], [0.03, 0.0], [0.0, 0.03], pairing="grid").shape
    (1, 3)
    """

    estimates = "double ratio"
    points = ("theta0", "theta1")

    def _reference_point(self, theta1: Moments) -> NDArray[np.float64]:
        return theta1.mean

    def ratio_to(self, theta1: ArrayLike) -> FixedDenominator:
        """Return the log ratio to one reference point, which likelihoods and limits take like a `RatioEstimator`.

        Raises
        ------
        InputError
            If theta1 is not one point.
        """
        return ratio_to(self, theta1)

    def _module(self, fit: Fit) -> nn.Module:
        return DoubleRatioModule(fit.network, fit.scalings["x"], fit.scalings["theta"])

    def log_ratio(
        self,
        x: ArrayLike,
        theta0: ArrayLike,
        theta1: ArrayLike | None = None,
        *,
        pairing: Pairing = "pairs",
        names: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """Return log p(x | theta0) / p(x | theta1).

        Parameters
        ----------
        x, pairing, names
            See `RatioEstimator.log_ratio`.
        theta0, theta1
            (n_par,), (n, n_par) or, of theta0 on the grid, (n_theta, n_par) points; without theta1, it is the mean of
            the training's.

        Returns
        -------
        numpy.ndarray
            (n,) or, on the grid, (n_theta, n).
        """
        denominator = self.reference if theta1 is None else theta1
        if on_grid(pairing):
            return self._on_grid(lambda theta: self.log_ratio(x, theta, denominator, names=names), theta0)
        events = self._scaled_x(x, names)
        points = [self._scaled_theta(t) for t in (theta0, denominator)]
        values = np.empty(len(events))
        with torch.no_grad():
            for rows, inputs in self._network_inputs(events, *points):
                values[rows] = self.fitted.network(inputs)[:, 0].cpu().numpy()
        return values

    def score(
        self,
        x: ArrayLike,
        theta0: ArrayLike,
        theta1: ArrayLike,
        *,
        pairing: Pairing = "pairs",
        names: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """Return the score at theta0, (n, n_par), as log r to theta1 has it; see `log_ratio` for the arguments.

        On the grid it is (n_theta, n, n_par).
        """
        if on_grid(pairing):
            return self._on_grid(lambda theta: self.score(x, theta, theta1, names=names), theta0)
        return self.scores(x, theta0, theta1, names=names)[0]

    def _on_grid(
        self, at: Callable[[NDArray[np.float64]], NDArray[np.float64]], thetas: ArrayLike
    ) -> NDArray[np.float64]:
        """Return what is found at each of the points, warning of far ones once and not one by one."""
        points = self._points(thetas)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "1 of 1 parameter points lie outside", ColumnMinerWarning)
            return np.stack([at(point) for point in points])

    def scores(
        self, x: ArrayLike, theta0: ArrayLike, theta1: ArrayLike, *, names: Sequence[str] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the scores at theta0 and at theta1, (n, n_par) each; see `log_ratio` for the arguments."""
        events = self._scaled_x(x, names)
        points = [self._scaled_theta(t) for t in (theta0, theta1)]
        n_par = len(self.parameter_names)
        slopes = np.empty((len(events), 2 * n_par))
        with torch.no_grad():
            for rows, inputs in self._network_inputs(events, *points):
                slopes[rows] = self.fitted.network.value_and_gradient(inputs, 2 * n_par)[1].cpu().numpy()
        scale = self.fitted.scalings["theta"].scale
        return slopes[:, :n_par] / scale, -slopes[:, n_par:] / scale
