r"""Is a ratio as sure as it may be? Checks of what a likelihood of many events depends on, at each parameter point.

Averages over all parameter points hide what decides on the width of a likelihood: how log r changes with x at one
theta, and how its mean changes with theta. An estimator that was trained on too few events has learned their
fluctuations.

*Slope.* If r is right, the probability that an event is of the numerator is a logistic function of log r with slope 1.
A fit of

.. math:: p(y = 0 | x, \theta) = 1 / (1 + \exp(-s \log r(x|\theta) - c))

finds s below 1 where log r varies more than it may: limits are then too narrow, by about sqrt(s). Where the joint ratio
is known, the probability that follows from it stands for the label, whose mean at given x it is, and which fluctuates
more. Events with extreme ratios would decide alone: the fit demands that residuals are not correlated with log r cut
off at its outer tenths.

*Normalisation.* E[r(x | theta)] = 1 under the reference at every theta. Its logarithm is an error of the log
likelihood for each event, to be compared with what an event has to say, :math:`\mathrm{E}[-\log r] \approx
\mathrm{Var}[\log r] / 2`. `columnminer.calibrate` with "normalisation" mends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from columnminer.learn.gold import required
from columnminer.learn.verdicts import Check, Finding, judge_mean, judge_worst_bin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from columnminer.learn.averages import Draws
    from columnminer.sample.samples import Samples

__all__ = ["SLOPE_TOLERANCE", "check_normalisation", "check_slope", "distances", "fit_slope"]

SLOPE_TOLERANCE = 0.1
"""Deviation of the slope that is passed: limits are then wrong by 5 %."""

OFFSET_TOLERANCE = 0.5
"""Error of the log likelihood that is passed, as a fraction of what an event has to say."""

_DISTANCE_BINS, _PER_DISTANCE_BIN = 5, 1000
_TAIL = 0.1
_HEAVY = 100.0
"""Over n_eff, by which part means of n_eff effective events scatter more than it seems: where ratios have long tails,
few events miss those that would have counted most. Measured with exact ratios of the Drell-Yan generator."""

_POINTS, _EFFECTIVE_EVENTS = 32, 1000
"""Points at which the normalisation is looked at, and effective events needed for a Gaussian error of it."""

_ITERATIONS, _LARGEST_STEP = 50, 0.5


def distances(theta0: NDArray[np.floating], theta1: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return how far numerator and denominator points (n, n_par) are apart, (n,), in units of each parameter's RMS."""
    offsets = np.asarray(theta0, dtype=np.float64) - theta1
    size = np.sqrt(np.mean(offsets**2, axis=0))
    return np.asarray(np.linalg.norm(offsets / np.where(size > 0.0, size, 1.0), axis=1))


def check_slope(
    samples: Samples, log_r: NDArray[np.float64], draws: Draws, distance: NDArray[np.float64]
) -> Iterator[Check]:
    """Yield the checks that s = 1: of all events, and in bins of the distance of the two points.

    Parameters
    ----------
    samples
        With labels of both classes.
    log_r
        (n,) what the estimator says.
    draws
        Their weights, and which are the same event.
    distance
        (n,) of their points.
    """
    label = 1.0 - required(samples, "y", "a check").astype(np.float64)
    if samples.r_xz is not None and (samples.r_xz >= 0.0).all():
        numerator = label > 0.5
        odds = draws.weights[numerator].sum() / draws.weights[~numerator].sum()
        label = odds * samples.r_xz / (1.0 + odds * samples.r_xz)
    n_bins = max(1, min(_DISTANCE_BINS, len(log_r) // _PER_DISTANCE_BIN))
    parts = np.array_split(np.argsort(distance, kind="stable"), n_bins)
    # At the denominator itself log r is 0, and has no slope.
    parts = [part for part in parts if np.ptp(np.quantile(log_r[part], [_TAIL, 1.0 - _TAIL])) > 1e-9]
    if not parts:
        return
    fits = [fit_slope(log_r[part], label[part], draws.take(part)) for part in parts]
    found, error = np.array(fits, dtype=np.float64).T
    where = np.array([distance[part].mean() for part in parts])
    finding = Finding(where, np.ones(len(parts)), found, error, "distance of the two points", "slope of log r")
    slope, its_error = fit_slope(log_r, label, draws)
    yield judge_mean("slope of log r", slope - 1.0, its_error, finding, tolerance=SLOPE_TOLERANCE)
    if len(parts) > 1:
        yield judge_worst_bin("slope of log r by distance", finding, tolerance=2.0 * SLOPE_TOLERANCE)


def fit_slope(log_r: NDArray[np.float64], label: NDArray[np.float64], draws: Draws) -> tuple[float, float]:
    """Return the slope with its standard error; NaN where the fit does not converge.

    Parameters
    ----------
    log_r
        (n,) what the estimator says.
    label
        (n,) whether an event is of the numerator, or the probability that it is.
    draws
        Their weights, and which are the same event.
    """
    low, high = np.quantile(log_r, [_TAIL, 1.0 - _TAIL])
    columns = np.stack([log_r, np.ones(len(log_r))], axis=1)
    instruments = np.stack([np.clip(log_r, low, high), np.ones(len(log_r))], axis=1)
    fitted, step = np.array([1.0, 0.0]), np.inf
    for _ in range(_ITERATIONS):
        p = expit(columns @ fitted)
        jacobian = (instruments * (draws.weights * p * (1.0 - p))[:, None]).T @ columns
        residuals = instruments * (draws.weights * (label - p))[:, None]
        if abs(np.linalg.det(jacobian)) < 1e-300:
            break
        change = np.linalg.solve(jacobian, residuals.sum(axis=0))
        step = np.abs(change).max()
        if step < 1e-9:
            break
        fitted = fitted + change * min(1.0, _LARGEST_STEP / step)
    if not step < 1e-6:
        return np.nan, np.nan
    influence = (residuals @ np.linalg.inv(jacobian).T)[:, 0]
    centred = (instruments[:, 0] - instruments[:, 0].mean()) * (log_r - log_r.mean())
    known = np.bincount(draws.event, draws.weights * p * (1.0 - p) * centred)
    n_eff = known.sum() ** 2 / np.sum(known**2)
    error = np.sqrt(np.sum(np.bincount(draws.event, influence) ** 2))
    return float(fitted[0]), float(error * (1.0 + _HEAVY / n_eff))


def check_normalisation(estimator: Any, samples: Samples, draws: Draws, limit: float) -> Iterator[Check]:
    """Yield the check that E[r] = 1 under one reference point, at points of theta0; none where events are too few.

    Parameters
    ----------
    estimator
        Of the ratio to that point.
    samples
        With events of the denominator, y = 1.
    draws
        Their weights, and which are the same event.
    limit
        Of |log r|.
    """
    theta0, theta1, y = (required(samples, name, "a check") for name in ("theta0", "theta1", "y"))
    rows = np.flatnonzero(y == 1)
    if not len(rows):
        return
    known = np.unique(theta0, axis=0)
    points = known[np.unique(np.linspace(0, len(known) - 1, _POINTS).round().astype(int))]
    apart = distances(points, theta1[:1])
    chosen, x = draws.take(rows), np.asarray(samples.x)[rows]
    share = chosen.weights / chosen.weights.sum()
    n_distinct = len(np.unique(chosen.event))
    found = []
    for i in np.argsort(apart, kind="stable"):
        log_r = estimator.log_ratio(x, points[i : i + 1], pairing="grid", names=samples.feature_names)[0]
        log_r = np.clip(np.asarray(log_r, dtype=np.float64), -limit, limit)
        r = np.exp(log_r)
        if n_distinct * (share @ r) ** 2 < _EFFECTIVE_EVENTS * (share @ r**2):
            continue
        mean, error = chosen.mean(r)
        of_events = np.bincount(chosen.event, share * (r - mean)) ** 2
        error *= 1.0 + _HEAVY * np.sum(of_events**2) / of_events.sum() ** 2
        found.append((apart[i], mean, error, share @ (log_r - share @ log_r) ** 2 / 2.0))
    if not found:
        return
    where, means, errors, said = np.array(found).T
    # Near the reference nothing is said of theta: what counts there is what is said at typical points.
    scale = np.maximum(said, max(float(np.median(said)), 1e-300))
    finding = Finding(where, np.ones(len(where)), means, errors, "distance of the two points", "mean ratio")
    yield judge_worst_bin("normalisation", finding, scale, tolerance=OFFSET_TOLERANCE)
