"""Score estimators: locally optimal observables at one parameter point."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from columnminer.errors import InputError
from columnminer.learn.estimator import Estimator
from columnminer.learn.gold import score_columns
from columnminer.learn.lesson import Lesson
from columnminer.learn.losses import SCORE_METHODS, score_error
from columnminer.learn.scaling import Scaling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.learn.census import Census
    from columnminer.learn.loaders import Batch, Generators
    from columnminer.learn.networks import MLP

__all__ = ["ScoreEstimator"]

_BLOCK = 65_536
"""Events evaluated together."""


class ScoreEstimator(Estimator):
    """Learns the score t(x) at one reference point, a vector of locally optimal observables (arXiv:1805.00013).

    The network takes x and gives a score for each parameter. Its training is called "sally", or "sallino" where the
    components are to be projected onto a direction later (`infer.projection`). For the settings see `Estimator`; with
    `scale_parameters` every component of the score counts alike in the loss, whatever its unit.
    """

    estimates = "score"
    default_method = "sally"

    def _lesson(self, census: Census, method: str, alpha: float) -> Lesson:  # noqa: ARG002 - there is one term only
        if method not in SCORE_METHODS:
            msg = f"a ScoreEstimator is trained by {' or '.join(map(repr, SCORE_METHODS))}, not {method!r}"
            raise InputError(msg)
        size = census["t_xz"].rms
        scalings = {
            "x": Scaling.of(census["x"]),
            "score": Scaling(np.zeros(len(size)), np.where(self.scale_parameters & (size > 0), size, 1.0)),
        }

        def objective(network: MLP, batch: Batch, noise: Generators | None) -> dict[str, Tensor]:
            inputs = batch["inputs"]
            t = network(inputs, network.dropout_masks(inputs.shape[-2], noise))
            return {"score": score_error(t, batch["t_xz"], batch.get("weight"))}

        return Lesson(
            method=method,
            features=census.feature_names,
            reference=census["theta0"].single_point("the point of a ScoreEstimator"),
            scalings=scalings,
            columns=partial(score_columns, method=method, features=census.feature_names, scalings=scalings),
            network=lambda seed: self._network(len(census.feature_names), len(size), seed),
            objective=objective,
            settings={},
        )

    def score(self, x: ArrayLike, *, names: Sequence[str] | None = None) -> NDArray[np.float64]:
        """Return the score at the reference point, (n, n_par); see `RatioEstimator.log_ratio` for the arguments."""
        events = self._scaled_x(x, names)
        scores = np.empty((len(events), len(self.parameter_names)))
        with torch.no_grad():
            for start in range(0, len(events), _BLOCK):
                rows = slice(start, start + _BLOCK)
                scores[rows] = self.fitted.network(self._tensor(events[rows])).cpu().numpy()
        return scores * self.fitted.scalings["score"].scale
