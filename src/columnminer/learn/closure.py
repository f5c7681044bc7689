"""Can a classifier tell reweighted events from those that they should look like? The test of a reweighting.

A small classifier (arXiv:1610.06545, with weights) is trained on one half of both samples and judged on the other, then
the other way round. If the samples have the same distribution, the area under its ROC curve is 1/2 whatever it learned,
so that a significant excess means a difference; no excess means that this classifier finds none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from columnminer.learn.averages import Draws, clustered_error
from columnminer.learn.ratios import RatioEstimator
from columnminer.sample.samples import Samples
from columnminer.streams import key, seed_sequence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.streams import Seed

__all__ = ["OutputHistogram", "TwoSamples", "area_under_curve", "two_sample_test"]

_EPOCHS, _BATCH = 8, 256
_EVENTS = 40_000
"""Events used of each sample, at most: enough for an error of the area of 0.002, in seconds."""


@dataclass(frozen=True)
class OutputHistogram:
    """What a classifier says of two samples, in bins.

    Attributes
    ----------
    edges : numpy.ndarray
        (n + 1,) of the bins, in log p_first / p_second.
    first, second : numpy.ndarray
        (n,) share of each sample.
    first_error, second_error : numpy.ndarray
        (n,) their standard errors, draws of one event taken together.
    """

    edges: NDArray[np.float64]
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    first_error: NDArray[np.float64]
    second_error: NDArray[np.float64]


@dataclass(frozen=True)
class TwoSamples:
    """What a two-sample test found.

    Attributes
    ----------
    area, error : float
        Area under the ROC curve on events that the classifier was not trained on, and its standard error.
    output : numpy.ndarray
        (n,) what the classifier says of each draw used: log p_first / p_second.
    is_first : numpy.ndarray
        (n,) whether it is of the first sample.
    draws : Draws
        Those used; their weights have the same sum in both samples.
    """

    area: float
    error: float
    output: NDArray[np.float64]
    is_first: NDArray[np.bool_]
    draws: Draws

    def histogram(self, n_bins: int = 20) -> OutputHistogram:
        """Return the output in bins that hold equal shares of both samples together."""
        edges = np.unique(np.quantile(self.output, np.linspace(0.0, 1.0, n_bins + 1)))
        if len(edges) < 2:  # a classifier that says the same of all
            edges = edges[0] + np.array([-0.5, 0.5])
        place = np.clip(np.searchsorted(edges, self.output, "right") - 1, 0, len(edges) - 2)
        columns = []
        for sample in (self.is_first, ~self.is_first):
            weights = self.draws.weights[sample] / self.draws.weights[sample].sum()
            inside = place[sample] == np.arange(len(edges) - 1)[:, np.newaxis]
            shares = inside @ weights
            terms = weights * (inside - shares[:, np.newaxis])
            columns += [shares, np.array([clustered_error(row, self.draws.event[sample]) for row in terms])]
        first, first_error, second, second_error = columns
        return OutputHistogram(edges, first, second, first_error, second_error)


def two_sample_test(
    x: NDArray[np.floating], is_first: NDArray[np.bool_], draws: Draws, *, seed: Seed = 0
) -> TwoSamples:
    """Train classifiers on halves of two weighted samples, and return how well they do on the other halves.

    Parameters
    ----------
    x
        (n, k) draws of both samples.
    is_first
        (n,) of which they are.
    draws
        Their weights, which are scaled to the same sum in both, so that only shapes are compared; and which are the
        same event: all draws of one event are in the same half, else a classifier could know events by heart.
    seed
        Of halves and training.
    """
    rng = np.random.default_rng(seed_sequence(seed, "two samples"))
    few = rng.permutation(len(x))[: 2 * _EVENTS]
    x, is_first, draws = x[few], is_first[few], draws.take(few)
    weights = draws.weights.copy()
    for sample in (is_first, ~is_first):
        weights[sample] *= len(x) / (2.0 * weights[sample].sum())
    draws = Draws(weights, draws.event)
    half = rng.integers(0, 2, draws.event.max() + 1)[draws.event]
    point = np.zeros((len(x), 1))  # a ratio estimator has a parameter; here it has only one value
    samples = Samples(
        x=x,
        feature_names=tuple(f"x{i}" for i in range(x.shape[1])),
        parameter_names=("none",),
        theta0=point,
        theta1=point,
        y=np.where(is_first, 0.0, 1.0),
        weights=weights,
    )
    output, areas, errors = np.empty(len(x)), [], []
    for i in (0, 1):
        judged = half == i
        classifier = RatioEstimator((24, 24), device="cpu").fit(
            samples.take(~judged), "carl", seed=key(seed, "classifier", i), epochs=_EPOCHS, batch_size=_BATCH
        )
        output[judged] = classifier.log_ratio(x[judged], [0.0])
        area, error = area_under_curve(output[judged], is_first[judged], draws.take(judged))
        areas.append(area)
        errors.append(error)
    return TwoSamples(float(np.mean(areas)), float(np.linalg.norm(errors)) / 2.0, output, is_first, draws)


def area_under_curve(output: NDArray[np.float64], is_first: NDArray[np.bool_], draws: Draws) -> tuple[float, float]:
    """Return the probability that a draw of the first sample has the larger output, with weights, and its error.

    The error is that of DeLong et al. (Biometrics 44 (1988) 837), from the spread of the placements: of each draw, the
    weighted fraction of the other sample that lies below (above) it; draws of one event taken together.
    """
    first, second = output[is_first], output[~is_first]
    first_weights, second_weights = draws.weights[is_first], draws.weights[~is_first]
    below = _fraction_below(first, second, second_weights)
    above = 1.0 - _fraction_below(second, first, first_weights)
    share = np.empty(len(output))
    share[is_first], share[~is_first] = first_weights / first_weights.sum(), second_weights / second_weights.sum()
    placements = np.empty(len(output))
    placements[is_first], placements[~is_first] = below, above
    area = float(share[is_first] @ below)
    return area, clustered_error(share * (placements - area), draws.event)


def _fraction_below(
    values: NDArray[np.float64], others: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the weighted fraction of `others` below each value; ties count one half."""
    order = np.argsort(others, kind="stable")
    ordered, sums = others[order], np.concatenate([[0.0], np.cumsum(weights[order])])
    left, right = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return np.asarray((sums[left] + sums[right]) / (2.0 * sums[-1]))
