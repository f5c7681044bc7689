"""Is an estimator right? Figures that must come out as known numbers, each with its error and pass mark.

They need events that were not trained on, with labels and (for scores) from the points where the score is taken: the
output of `sample_ratio` or `sample_local` from another partition than the training's.

===================  ==================================================================================================
``mean ratio``       E[r(x | theta0, theta1)] = 1 under theta1
``mean inverse``     E[1 / r(x | theta0, theta1)] = 1 under theta0
``calibration``      among events with s(x) = 1 / (1 + r) close to s, a fraction s is of the denominator
``mean score``       E[t(x | theta)] = 0 under theta, for each parameter, in units of its standard deviation
===================  ==================================================================================================

An estimator may pass all of them and know little: a constant ratio of one does. They find estimators that are wrong.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from columnminer.errors import CheckWarning, InputError
from columnminer.learn.gold import required
from columnminer.sample.samples import Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.learn.estimators import RatioEstimator, ScoreEstimator
    from columnminer.store.samplestore import SampleStore

__all__ = ["CalibrationCurve", "Check", "calibration_curve", "check_ratio", "check_score"]

logger = logging.getLogger(__name__)

TOLERANCE = 0.05
"""Deviations below this are passed even where many events make them significant."""

SIGNIFICANCE = 4.0
"""Deviations below so many standard errors are passed."""


@dataclass(frozen=True)
class Check:
    """One figure of quality.

    Attributes
    ----------
    name : str
        What is checked.
    deviation : float
        Estimate minus expectation.
    error : float
        Statistical error of the deviation.
    mark : float
        Largest absolute deviation that passes.
    """

    name: str
    deviation: float
    error: float
    mark: float

    @property
    def passed(self) -> bool:
        """Whether the deviation is within the mark."""
        return abs(self.deviation) <= self.mark

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        return f"{self.name}: {self.deviation:+.4f} +- {self.error:.4f} (allowed {self.mark:.4f}) {verdict}"


@dataclass(frozen=True)
class CalibrationCurve:
    """Labels against what the estimator says of them, in bins of equally many events.

    Attributes
    ----------
    predicted : numpy.ndarray
        (n_bins,) mean of s(x) = 1 / (1 + r(x)).
    observed : numpy.ndarray
        (n_bins,) fraction of events of the denominator (y = 1).
    error : numpy.ndarray
        (n_bins,) binomial error of the fraction, at the predicted one.
    """

    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    error: NDArray[np.float64]


def check_ratio(estimator: RatioEstimator, samples: Samples | SampleStore) -> tuple[Check, ...]:
    """Check a ratio estimator on events that it was not trained on, and warn of what fails.

    Parameters
    ----------
    estimator
        Fitted.
    samples
        From `sample_ratio`, with the estimator's reference as theta1.

    Raises
    ------
    InputError
        If these are the events of the training, or theta1 is another point.

    Warns
    -----
    CheckWarning
        If a check fails.
    """
    samples = _others(estimator, samples)
    log_r, y = _log_ratio(estimator, samples)
    checks = [
        _mean("mean ratio", np.exp(log_r[y == 1]) - 1.0),
        _mean("mean inverse ratio", np.exp(-log_r[y == 0]) - 1.0),
    ]
    curve = calibration_curve(estimator, samples)
    worst = int(np.argmax(np.abs(curve.observed - curve.predicted) / curve.error))
    deviation, error = float(curve.observed[worst] - curve.predicted[worst]), float(curve.error[worst])
    checks.append(Check("calibration", deviation, error, max(TOLERANCE, SIGNIFICANCE * error)))
    numerator = samples.take(y == 0)
    t = estimator.score(numerator.x, required(numerator, "theta0", "a check"), names=numerator.feature_names)
    return _judged((*checks, *_mean_scores(estimator.parameter_names, t)))


def check_score(estimator: ScoreEstimator, samples: Samples | SampleStore) -> tuple[Check, ...]:
    """Check a score estimator on events that it was not trained on, drawn at its reference; see `check_ratio`."""
    samples = _others(estimator, samples)
    if not np.allclose(required(samples, "theta0", "a check"), estimator.reference, rtol=1e-6):
        msg = f"a score at {estimator.reference} is checked with events drawn there, not elsewhere"
        raise InputError(msg)
    t = estimator.score(samples.x, names=samples.feature_names)
    return _judged(_mean_scores(estimator.parameter_names, t))


def calibration_curve(estimator: RatioEstimator, samples: Samples | SampleStore, n_bins: int = 20) -> CalibrationCurve:
    """Return how often events are of the denominator, in bins of what the estimator says of them."""
    log_r, y = _log_ratio(estimator, Samples.of(samples))
    order = np.argsort(-log_r, kind="stable")
    parts = [part for part in np.array_split(order, n_bins) if len(part)]
    s = 1.0 / (1.0 + np.exp(log_r))
    predicted = np.array([s[part].mean() for part in parts])
    observed = np.array([y[part].mean() for part in parts])
    sizes = np.array([len(part) for part in parts])
    return CalibrationCurve(predicted, observed, np.sqrt(np.maximum(predicted * (1.0 - predicted), 1e-12) / sizes))


def _others(estimator: RatioEstimator | ScoreEstimator, samples: Samples | SampleStore) -> Samples:
    """Read samples, and refuse those of the training."""
    samples = Samples.of(samples)
    shared = estimator.partition == samples.partition or "all" in {estimator.partition, samples.partition}
    if samples.store_hash == estimator.store_hash and shared:
        msg = f"the estimator was trained on partition {samples.partition!r}: check it with events of another one"
        raise InputError(msg)
    return samples


def _log_ratio(estimator: RatioEstimator, samples: Samples) -> tuple[NDArray[np.float64], NDArray[np.floating]]:
    theta1 = required(samples, "theta1", "a check")
    if not np.allclose(theta1, estimator.reference, rtol=1e-6):
        msg = f"the estimator has the denominator {estimator.reference}, but the samples have another theta1"
        raise InputError(msg)
    theta0 = required(samples, "theta0", "a check")
    return estimator.log_ratio(samples.x, theta0, names=samples.feature_names), required(samples, "y", "a check")


def _mean(name: str, values: NDArray[np.float64]) -> Check:
    error = float(values.std() / np.sqrt(len(values)))
    return Check(name, float(values.mean()), error, max(TOLERANCE, SIGNIFICANCE * error))


def _mean_scores(names: tuple[str, ...], t: NDArray[np.float64]) -> tuple[Check, ...]:
    spread = np.maximum(t.std(axis=0), 1e-300)
    return tuple(_mean(f"mean score of {name}", t[:, i] / spread[i]) for i, name in enumerate(names))


def _judged(checks: tuple[Check, ...]) -> tuple[Check, ...]:
    for check in checks:
        logger.info("%s", check)
    failed = [str(check) for check in checks if not check.passed]
    if failed:
        warnings.warn(f"the estimator is not right: {'; '.join(failed)}", CheckWarning, stacklevel=3)
    return checks
