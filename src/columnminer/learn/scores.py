"""Score estimators: locally optimal observables at one parameter point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from columnminer.errors import InputError
from columnminer.learn.estimator import Estimator
from columnminer.learn.gold import pick_features, required, score_columns, single_point
from columnminer.learn.losses import score_error
from columnminer.learn.scaling import Scaling
from columnminer.sample.samples import Samples

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from columnminer.learn.loaders import Batch
    from columnminer.learn.progress import Progress
    from columnminer.store.samplestore import SampleStore
    from columnminer.streams import Seed

__all__ = ["ScoreEstimator"]

_BLOCK = 65_536
"""Events evaluated together."""


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
