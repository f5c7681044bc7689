"""Estimators of the likelihood ratio: with the denominator fixed, or with both points free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor

from columnminer.errors import InputError
from columnminer.learn.estimator import Estimator
from columnminer.learn.gold import pick_features, ratio_columns, required, single_point
from columnminer.learn.losses import numerator_score_error, ratio_method
from columnminer.learn.scaling import Scaling
from columnminer.sample.samples import Samples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from columnminer.learn.loaders import Batch
    from columnminer.learn.progress import Progress
    from columnminer.store.samplestore import SampleStore
    from columnminer.streams import Seed

__all__ = ["DoubleRatioEstimator", "Pairing", "RatioEstimator", "on_grid"]

Pairing: TypeAlias = Literal["pairs", "grid"]

_BLOCK = 65_536
"""Events evaluated together."""


class _RatioLearner(Estimator):
    """The training of ratio estimators, whose network takes parameter points and features and gives log r."""

    points: ClassVar[tuple[str, ...]]
    """Which parameter points of the samples the network takes: its leading inputs."""

    def fit(
        self,
        samples: Samples | SampleStore,
        method: str = "alices",
        *,
        alpha: float = 1.0,
        validation: Samples | SampleStore | None = None,
        limit: int | None = None,
        shuffle_labels: bool = False,
        seed: Seed = 0,
        progress: Progress = False,
        checkpoint: str | Path | None = None,
        **options: Any,
    ) -> Self:
        """Learn from the output of `sample_ratio`; see `losses` for the methods.

        Parameters
        ----------
        samples
            Events with y, theta0, theta1 and what gold the method needs.
        method
            "carl", "rolr", "alice", "cascal", "rascal" or "alices".
        alpha
            Weight of the score term, whose scores are taken in scaled parameters.
        validation
            Events that judge the epochs; None: a random `validation_fraction` of the samples.
        limit
            Use only so many events, chosen at random.
        shuffle_labels
            Give every event the labels and gold of another: log r must come out as 0. A closure test.
        seed
            Of initial weights, split, order of the events and dropout.
        progress
            True: a bar on a terminal, log lines elsewhere; or a function of an `EpochReport`.
        checkpoint
            File to write after each epoch, and to go on from if it exists.
        **options
            Fields of `TrainingOptions`: epochs, batch_size, learning_rate, schedule, ...

        Returns
        -------
        Self
            The estimator.

        Raises
        ------
        InputError, UnknownNameError
            If an option, a label, a feature or the gold is not what it should be.
        MissingError
            If the samples lack what the method needs.
        """
        recipe = ratio_method(method)
        samples = Samples.of(samples)
        points = np.concatenate([required(samples, name, method) for name in self.points])
        n_par = points.shape[1]
        features = self._choose_features(samples)
        scalings = {
            "x": Scaling.of(pick_features(samples.x, samples.feature_names, features)),
            "theta": Scaling.of(points) if self.scale_parameters else Scaling.none(n_par),
        }
        network = self._network(len(self.points) * n_par + len(features), 1, seed)

        def columns(part: Samples) -> dict[str, NDArray[Any]]:
            return ratio_columns(part, method, features, scalings, self.points)

        def objective(batch: Batch, noise: torch.Generator | None) -> dict[str, Tensor]:
            inputs, weight = batch["inputs"], batch.get("weight")
            masks = None if noise is None else network.dropout_masks(len(inputs), noise)
            if not recipe.uses_score:
                return {"ratio": recipe.ratio_term(network(inputs, masks)[:, 0], batch)}
            log_r, slopes = network.value_and_gradient(inputs, len(self.points) * n_par, masks)
            error = numerator_score_error(slopes[:, :n_par], batch["t_xz"], batch["y"], weight)
            if "theta1" in self.points:  # the score at theta1 is minus the slope of log r there
                error = error + numerator_score_error(-slopes[:, n_par:], batch["t_xz1"], 1.0 - batch["y"], weight)
            return {"ratio": recipe.ratio_term(log_r, batch), "score": alpha * error}

        self._learn(
            samples,
            columns,
            network,
            objective,
            method=method.lower(),
            reference=self._reference_point(required(samples, "theta1", method)),
            features=features,
            scalings=scalings,
            validation=None if validation is None else Samples.of(validation),
            limit=limit,
            shuffle_labels=shuffle_labels,
            seed=seed,
            progress=progress,
            checkpoint=checkpoint,
            options=options,
            settings={"alpha": alpha} if recipe.uses_score else {},
        )
        return self

    def _reference_point(self, theta1: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return the point at which the estimator is anchored."""
        raise NotImplementedError

    def _network_inputs(
        self, events: NDArray[np.float32], *points: NDArray[np.float32]
    ) -> Iterator[tuple[slice, Tensor]]:
        """Yield the rows of a block of events and the network's inputs for them, paired with points."""
        for given in points:
            if len(given) not in {1, len(events)}:
                msg = (
                    f"{len(events)} events and {len(given)} points make no pairs: give one point, one for each event, "
                    'or pairing="grid"'
                )
                raise InputError(msg)
        columns = [np.broadcast_to(given, (len(events), given.shape[1])) for given in points]
        for start in range(0, len(events), _BLOCK):
            rows = slice(start, start + _BLOCK)
            yield rows, self._tensor(np.concatenate([column[rows] for column in (*columns, events)], axis=1))


class RatioEstimator(_RatioLearner):
    """Learns log r(x | theta, theta1) = log p(x | theta) / p(x | theta1) for any theta, with theta1 fixed.

    The network takes (theta, x) and gives log r; its gradient with respect to theta is the score. theta1 must be the
    same in all training events. For the settings see `Estimator`.
    """

    points = ("theta0",)

    def _reference_point(self, theta1: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        return single_point(theta1, "theta1 of a RatioEstimator")

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
            (n_par,), (n, n_par) or (n_theta, n_par) points.
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
    """

    points = ("theta0", "theta1")

    def _reference_point(self, theta1: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        return np.asarray(theta1.mean(axis=0), dtype=np.float64)

    def log_ratio(
        self, x: ArrayLike, theta0: ArrayLike, theta1: ArrayLike | None = None, *, names: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        """Return log p(x | theta0) / p(x | theta1) event by event, (n,).

        Parameters
        ----------
        x
            (n, n_features) observables.
        theta0, theta1
            (n_par,) or (n, n_par) points; without theta1, it is the mean of the training's.
        names
            Names of the columns of x, among them the features; None: x has just the features, in order.
        """
        events = self._scaled_x(x, names)
        points = [self._scaled_theta(t) for t in (theta0, self.reference if theta1 is None else theta1)]
        values = np.empty(len(events))
        with torch.no_grad():
            for rows, inputs in self._network_inputs(events, *points):
                values[rows] = self.fitted.network(inputs)[:, 0].cpu().numpy()
        return values

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


def on_grid(pairing: Pairing) -> bool:
    """Return whether every event is wanted at every point; InputError if `pairing` is no pairing."""
    if pairing not in {"pairs", "grid"}:
        msg = f"pairing is 'pairs' or 'grid', not {pairing!r}"
        raise InputError(msg)
    return pairing == "grid"
