"""The estimators: what they learn, and what they say of events.

What to use when: a `RatioEstimator` gives the log likelihood ratio (and the score) at any theta, to one reference
point; a `ScoreEstimator` gives the score at one point, the best summary of events for theta close to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor

from columnminer.errors import InputError
from columnminer.learn.estimator import Estimator
from columnminer.learn.gold import pick_features, ratio_columns, required, score_columns, single_point
from columnminer.learn.losses import numerator_score_error, ratio_method, score_error
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

__all__ = ["Pairing", "RatioEstimator", "ScoreEstimator", "load_estimator"]

Pairing: TypeAlias = Literal["pairs", "grid"]

_BLOCK = 65_536
"""Events evaluated together."""


class RatioEstimator(Estimator):
    """Learns log r(x | theta, theta1) = log p(x | theta) / p(x | theta1) for any theta, with theta1 fixed.

    The network takes (theta, x) and gives log r; its gradient with respect to theta is the score. For the settings see
    `Estimator`.
    """

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
            Events with y, theta0, theta1 and what gold the method needs. theta1 must be the same in all events.
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
        RatioEstimator
            Itself.

        Raises
        ------
        InputError, UnknownNameError
            If an option, a label, a feature or the gold is not what it should be.
        MissingError
            If the samples lack what the method needs.
        """
        recipe = ratio_method(method)
        samples = Samples.of(samples)
        theta0 = required(samples, "theta0", method)
        n_par = theta0.shape[1]
        features = self._choose_features(samples)
        scalings = {
            "x": Scaling.of(pick_features(samples.x, samples.feature_names, features)),
            "theta": Scaling.of(theta0) if self.scale_parameters else Scaling.none(n_par),
        }
        network = self._network(n_par + len(features), 1, seed)

        def columns(part: Samples) -> dict[str, NDArray[Any]]:
            return ratio_columns(part, method, features, scalings)

        def objective(batch: Batch, noise: torch.Generator | None) -> dict[str, Tensor]:
            inputs = batch["inputs"]
            masks = None if noise is None else network.dropout_masks(len(inputs), noise)
            if not recipe.uses_score:
                return {"ratio": recipe.ratio_term(network(inputs, masks)[:, 0], batch)}
            log_r, t = network.value_and_gradient(inputs, n_par, masks)
            error = numerator_score_error(t, batch["t_xz"], batch["y"], batch.get("weight"))
            return {"ratio": recipe.ratio_term(log_r, batch), "score": alpha * error}

        self._learn(
            samples,
            columns,
            network,
            objective,
            method=method.lower(),
            reference=single_point(required(samples, "theta1", method), "theta1 of a RatioEstimator"),
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
        if _on_grid(pairing):
            return network.grid(self._tensor(points), self._tensor(events)).cpu().numpy().astype(np.float64)
        values = np.empty(len(events))
        with torch.no_grad():
            for rows, inputs in self._pairs(events, points):
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
        grid = _on_grid(pairing)
        scores = [self._score(events, points[i : i + 1]) for i in range(len(points))] if grid else []
        scaled = np.stack(scores) if grid else self._score(events, points)
        return scaled / self.fitted.scalings["theta"].scale

    def _score(self, events: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float64]:
        scores = np.empty((len(events), points.shape[1]))
        with torch.no_grad():
            for rows, inputs in self._pairs(events, points):
                scores[rows] = self.fitted.network.value_and_gradient(inputs, points.shape[1])[1].cpu().numpy()
        return scores

    def _pairs(self, events: NDArray[np.float32], points: NDArray[np.float32]) -> Iterator[tuple[slice, Tensor]]:
        """Yield the rows of a block of events and the network's inputs for them."""
        if len(points) not in {1, len(events)}:
            msg = (
                f"{len(events)} events and {len(points)} points make no pairs: give one point, one for each event, or "
                'pairing="grid"'
            )
            raise InputError(msg)
        points = np.broadcast_to(points, (len(events), points.shape[1]))
        for start in range(0, len(events), _BLOCK):
            rows = slice(start, start + _BLOCK)
            yield rows, self._tensor(np.concatenate([points[rows], events[rows]], axis=1))


class ScoreEstimator(Estimator):
    """Learns the score t(x) at one reference point, a vector of locally optimal observables (arXiv:1805.00013).

    The network takes x and gives a score for each parameter. For the settings see `Estimator`; with `scale_parameters`
    every component of the score counts alike in the loss, whatever its unit.
    """

    def fit(
        self,
        samples: Samples | SampleStore,
        method: str = "sally",
        *,
        validation: Samples | SampleStore | None = None,
        limit: int | None = None,
        shuffle_labels: bool = False,
        seed: Seed = 0,
        progress: Progress = False,
        checkpoint: str | Path | None = None,
        **options: Any,
    ) -> Self:
        """Learn from the output of `sample_local`; see `RatioEstimator.fit` for the arguments.

        `method` is "sally". All events must be drawn from the one point at which their joint score t_xz is taken.
        """
        if method.lower() != "sally":
            msg = f"a ScoreEstimator is trained by 'sally', not {method!r}"
            raise InputError(msg)
        samples = Samples.of(samples)
        t_xz = required(samples, "t_xz", method)
        features = self._choose_features(samples)
        size = np.sqrt(np.mean(t_xz.astype(np.float64) ** 2, axis=0))
        unit = np.where(self.scale_parameters & (size > 0), size, 1.0)
        scalings = {
            "x": Scaling.of(pick_features(samples.x, samples.feature_names, features)),
            "score": Scaling(np.zeros(len(unit)), unit),
        }
        network = self._network(len(features), t_xz.shape[1], seed)

        def columns(part: Samples) -> dict[str, NDArray[Any]]:
            return score_columns(part, method, features, scalings)

        def objective(batch: Batch, noise: torch.Generator | None) -> dict[str, Tensor]:
            masks = None if noise is None else network.dropout_masks(len(batch["inputs"]), noise)
            return {"score": score_error(network(batch["inputs"], masks), batch["t_xz"], batch.get("weight"))}

        self._learn(
            samples,
            columns,
            network,
            objective,
            method="sally",
            reference=single_point(required(samples, "theta0", method), "the point of a ScoreEstimator"),
            features=features,
            scalings=scalings,
            validation=None if validation is None else Samples.of(validation),
            limit=limit,
            shuffle_labels=shuffle_labels,
            seed=seed,
            progress=progress,
            checkpoint=checkpoint,
            options=options,
            settings={},
        )
        return self

    def score(self, x: ArrayLike, *, names: Sequence[str] | None = None) -> NDArray[np.float64]:
        """Return the score at the reference point, (n, n_par); see `RatioEstimator.log_ratio` for the arguments."""
        events = self._scaled_x(x, names)
        scores = np.empty((len(events), len(self.parameter_names)))
        with torch.no_grad():
            for start in range(0, len(events), _BLOCK):
                rows = slice(start, start + _BLOCK)
                scores[rows] = self.fitted.network(self._tensor(events[rows])).cpu().numpy()
        return scores * self.fitted.scalings["score"].scale


def load_estimator(folder: str | Path, *, device: str = "auto") -> Estimator:
    """Read an estimator of any kind from the folder that its `save` wrote.

    Raises
    ------
    FileFormatError
        If there is no estimator, or it is damaged.
    """
    return Estimator.load(folder, device=device)


def _on_grid(pairing: Pairing) -> bool:
    if pairing not in {"pairs", "grid"}:
        msg = f"pairing is 'pairs' or 'grid', not {pairing!r}"
        raise InputError(msg)
    return pairing == "grid"
