"""Is an estimator right? Figures that must come out as known numbers, each with its error, pass mark and picture.

They need events that were not trained on, with labels and gold: the output of `sample_ratio` (for a density also
`sample_density`) or `sample_local` from another partition than the training's.

=======================  ==============================================================================================
``mean ratio``           E[r(x | theta0, theta1)] = 1 under theta1, for all theta0 together and in bins of each
                         parameter
``mean inverse ratio``   E[1 / r(x | theta0, theta1)] = 1 under theta0
``calibration``          among events with s(x) = 1 / (1 + r) close to s, a fraction s is of the denominator
``slope of log r``       the probability of the numerator rises with log r as it should, in all and in bins of the
                         distance of the two points: below 1, likelihoods are too narrow (`trends`)
``normalisation``        E[r(x | theta, theta1)] = 1 under theta1 at each theta by itself, relative to what an event has
                         to say there (`trends`)
``ratio pulls``          E[r(x, z | theta0, theta1) | x] = r(x | theta0, theta1) under theta1, in bins of r(x)
``reweighting closure``  no classifier of x and theta tells events of theta1, reweighted by r(x), from those of theta0
``mean score``           E[t(x | theta)] = 0 under theta, for each parameter, in units of its standard deviation
``score pulls``          E[t(x, z | theta) | x] = t(x | theta) under theta, in bins of t(x)
=======================  ==============================================================================================

An estimator may pass all but the closure and know little: a constant ratio of one does. A density made by a flow is
normalised by construction; what is checked of it is its ratio between points.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError
from columnminer.learn.averages import N_BINS, Draws
from columnminer.learn.closure import TwoSamples, two_sample_test
from columnminer.learn.gold import pick_features, required
from columnminer.learn.trends import check_normalisation, check_slope, distances
from columnminer.learn.varied import VariedRatio
from columnminer.learn.verdicts import (
    SIGNIFICANCE,
    Check,
    Finding,
    judge_mean,
    judge_pulls,
    judge_worst_bin,
    warn_of_failures,
)
from columnminer.sample.samples import Samples
from columnminer.streams import seed_sequence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from columnminer.store.samplestore import SampleStore
    from columnminer.streams import Seed

__all__ = ["Check", "Finding", "calibration_curve", "check", "check_ratio", "check_score", "reweighting_closure"]

AREA_TOLERANCE = 0.01
"""Excess of the area under the ROC curve that is passed: two Gaussians 0.035 standard deviations apart have it."""

_PARAMETER_BINS, _PER_PARAMETER_BIN = 8, 1000
"""Bins of a parameter, and events in each: the ratio to a far point is large for few events, and their number decides
whether its mean has a Gaussian error."""

_LOG_RATIO_LIMIT = 50.0
"""Log ratios beyond are taken for this, so that those of estimators that went astray have finite means."""


def check(estimator: Any, samples: Samples | SampleStore, *, closure: bool = True, seed: Seed = 0) -> tuple[Check, ...]:
    """Check an estimator of any kind on events that it was not trained on; it remembers the result, and saves it.

    Parameters
    ----------
    estimator
        Fitted; an ensemble is checked as a whole, one with selection variations where these are 0: `check_variations`
        is about these.
    samples
        From `sample_local` for scores, else from `sample_ratio` (for a density also from `sample_density`).
    closure
        Whether to train the classifiers of the reweighting closure, which takes some seconds.
    seed
        Of these.

    Raises
    ------
    InputError
        If these are the events of the training, or were drawn at other points than the estimator is about.

    Warns
    -----
    CheckWarning
        If a check fails.

    Examples
    --------
    >>> store, alices = cm.EventStore("events.zarr"), cm.load_estimator("alices")
    >>> prior = cm.flat_prior([(-0.05, 0.05)] * 2)
    >>> held_out = cm.sample_ratio(store, prior, "sm", 20_000, seed=5, partition="validation")
    >>> for figure in cm.check(alices, held_out, closure=False)[:2]:
    ...     print(figure.name, figure.passed)
    mean ratio True
    mean inverse ratio True
    """
    if isinstance(estimator, VariedRatio):
        return check(estimator.estimator, samples, closure=closure, seed=seed)
    if estimator.estimates == "score":
        return check_score(estimator, samples)
    return check_ratio(estimator, samples, closure=closure, seed=seed)


def check_ratio(
    estimator: Any, samples: Samples | SampleStore, *, closure: bool = True, seed: Seed = 0
) -> tuple[Check, ...]:
    """Check an estimator of ratios or of a density; see `check`.

    With one reference point, this must be theta1 of the samples. Samples of a density have no theta1: events are then
    those of a denominator, with points half-way to those of other events as numerators.
    """
    samples = _others(estimator, samples)
    pairs = _with_other_points(samples, seed) if samples.y is None else samples
    log_r, draws = _log_ratio(estimator, pairs), Draws.of(pairs)
    y = required(pairs, "y", "a check")
    distance = distances(required(pairs, "theta0", "a check"), required(pairs, "theta1", "a check"))
    checks = list(_mean_ratios(pairs, log_r, draws, distance))
    if (y == 0).any():
        checks.append(judge_worst_bin("calibration", _calibration_curve(log_r, y, draws, N_BINS)))
        checks += check_slope(pairs, log_r, draws, distance)
    if estimator.estimates == "ratio":
        checks += check_normalisation(estimator, pairs, draws, _LOG_RATIO_LIMIT)
    if closure and (y == 0).any():
        checks.append(_closure(_two_samples(estimator, pairs, log_r, draws, seed)))
    if pairs.r_xz is not None:
        rows = y == 1
        r = np.exp(log_r[rows])
        pulls = draws.take(rows).profile(r, pairs.r_xz[rows], r, ("r(x)", "mean of r(x, z)"))
        checks.append(judge_pulls("ratio pulls", pulls, np.abs(pulls.expected)))
    numerator = samples if samples.y is None else samples.take(samples.y == 0)
    t = _score(estimator, numerator)
    return _judged(estimator, (*checks, *_mean_scores(estimator.parameter_names, t, numerator)))


def check_score(estimator: Any, samples: Samples | SampleStore) -> tuple[Check, ...]:
    """Check a score estimator on events drawn at its reference; see `check`."""
    samples = _others(estimator, samples)
    if tuple(samples.parameter_names) != tuple(estimator.parameter_names):
        both = " and ".join(", ".join(names) for names in (estimator.parameter_names, samples.parameter_names))
        msg = f"score and samples are about the same parameters, not {both}; check it before without_nuisances"
        raise InputError(msg)
    if not np.allclose(required(samples, "theta0", "a check"), estimator.reference, rtol=1e-6):
        msg = f"a score at {estimator.reference} is checked with events drawn there, not elsewhere"
        raise InputError(msg)
    t = np.asarray(estimator.score(samples.x, names=samples.feature_names), dtype=np.float64)
    checks = list(_mean_scores(estimator.parameter_names, t, samples))
    if samples.t_xz is not None:
        draws = Draws.of(samples)
        for name, gold, found in zip(estimator.parameter_names, samples.t_xz.T, t.T, strict=True):
            size = max(float(np.std(gold, dtype=np.float64)), 1e-300)
            pulls = draws.profile(found / size, gold / size, found / size, (f"t(x) of {name}", "mean of t(x, z)"))
            checks.append(judge_pulls(f"score pulls of {name}", pulls, 1.0))
    return _judged(estimator, tuple(checks))


def calibration_curve(estimator: Any, samples: Samples | SampleStore, n_bins: int = N_BINS) -> Finding:
    """Return how often events are of the denominator, in bins of what the estimator says of them."""
    samples = Samples.of(samples)
    y = required(samples, "y", "a calibration curve")
    return _calibration_curve(_log_ratio(estimator, samples), y, Draws.of(samples), n_bins)


def reweighting_closure(estimator: Any, samples: Samples | SampleStore, *, seed: Seed = 0) -> TwoSamples:
    """Return what is behind the check "reweighting closure", with the outputs of its classifiers.

    Parameters
    ----------
    estimator
        Of ratios.
    samples
        From `sample_ratio`, of events that it was not trained on.
    seed
        Of the classifiers.

    Raises
    ------
    InputError
        If these are the events of the training, or have another denominator.
    """
    samples = _others(estimator, samples)
    return _two_samples(estimator, samples, _log_ratio(estimator, samples), Draws.of(samples), seed)


def _mean_ratios(
    samples: Samples, log_r: NDArray[np.float64], draws: Draws, distance: NDArray[np.float64]
) -> Iterator[Check]:
    """Yield the checks of E[r] and E[1/r]: in all, and of E[r] in bins of each parameter."""
    y, theta0 = required(samples, "y", "a check"), required(samples, "theta0", "a check").astype(np.float64)
    for name, label, sign in (("mean ratio", 1, 1.0), ("mean inverse ratio", 0, -1.0)):
        rows = y == label
        if rows.any():
            r, ones, chosen = np.exp(sign * log_r[rows]), np.ones(rows.sum()), draws.take(rows)
            finding = chosen.profile(distance[rows], r, ones, ("distance of the two points", name))
            yield judge_mean(name, *chosen.mean(r - 1.0), finding)
    rows = y == 1
    r, ones, chosen = np.exp(log_r[rows]), np.ones(rows.sum()), draws.take(rows)
    for i, name in enumerate(samples.parameter_names):
        if len(r) and np.ptp(theta0[rows, i]) > 0.0:
            bins = min(_PARAMETER_BINS, 1 + len(r) // _PER_PARAMETER_BIN)
            finding = chosen.profile(theta0[rows, i], r, ones, (name, "mean ratio"), n_bins=bins)
            yield judge_worst_bin(f"mean ratio by {name}", finding)


def _calibration_curve(log_r: NDArray[np.float64], y: NDArray[np.floating], draws: Draws, n_bins: int) -> Finding:
    odds = draws.weights[y == 0].sum() / draws.weights[y == 1].sum()  # 1 where both classes have as many events
    s = 1.0 / (1.0 + odds * np.exp(log_r))
    labels = ("s(x) = 1 / (1 + r(x))", "fraction of the denominator")
    return draws.profile(s, y, s, labels, n_bins=n_bins, variance=np.maximum(s * (1.0 - s), 1e-12))


def _closure(test: TwoSamples) -> Check:
    """Return the check that a classifier cannot tell two samples from each other."""
    half, labels = np.full(len(test.output), 0.5), ("output of the classifier", "fraction of the numerator")
    finding = test.draws.profile(test.output, test.is_first.astype(np.float64), half, labels)
    mark = max(AREA_TOLERANCE, SIGNIFICANCE * test.error)
    return Check("reweighting closure", test.area - 0.5, test.error, mark, finding)


def _two_samples(estimator: Any, samples: Samples, log_r: NDArray[np.float64], draws: Draws, seed: Seed) -> TwoSamples:
    """Return the two-sample test of (x, theta): reweighted events of theta1 against those of theta0."""
    x = pick_features(np.asarray(samples.x), samples.feature_names, estimator.feature_names)
    points = [required(samples, name, "a check") for name in ("theta0", "theta1")]
    columns = np.concatenate([x, *points], axis=1)
    is_first = required(samples, "y", "a check") == 0
    reweighted = dataclasses.replace(draws, weights=draws.weights * np.where(is_first, 1.0, np.exp(log_r)))
    return two_sample_test(columns[:, np.ptp(columns, axis=0) > 0.0], is_first, reweighted, seed=seed)


def _mean_scores(names: tuple[str, ...], t: NDArray[np.float64], samples: Samples) -> Iterator[Check]:
    """Yield the checks of E[t] = 0 in units of its standard deviation."""
    draws, theta = Draws.of(samples), required(samples, "theta0", "a check").astype(np.float64)
    for i, name in enumerate(names):
        scaled = t[:, i] / max(float(t[:, i].std()), 1e-300)
        finding = draws.profile(theta[:, i], scaled, np.zeros(len(t)), (name, "mean score / standard deviation"))
        yield judge_mean(f"mean score of {name}", *draws.mean(scaled), finding)


def _others(estimator: Any, samples: Samples | SampleStore) -> Samples:
    """Read samples, and refuse those that the estimator has seen."""
    samples = Samples.of(samples)
    for part in getattr(estimator, "members", [estimator]):
        for store_hash, partition in [(part.store_hash, part.partition), getattr(part, "calibrated_on", ("", ""))]:
            if samples.store_hash == store_hash and (
                partition == samples.partition or "all" in {partition, samples.partition}
            ):
                how = "trained" if partition == part.partition else "calibrated"
                msg = f"the estimator was {how} on partition {samples.partition!r}: check it with events of another one"
                raise InputError(msg)
    return samples


def _with_other_points(samples: Samples, seed: Seed) -> Samples:
    """Return events as those of a denominator, where they were drawn; numerators are half-way to other events' points.

    Ratios between far points are large for so few events that their mean has no Gaussian error.
    """
    drawn_at = required(samples, "theta0", "a check")
    order = np.random.default_rng(seed_sequence(seed, "other points")).permutation(len(samples))
    return dataclasses.replace(
        samples,
        theta0=0.5 * (drawn_at + drawn_at[order]),
        theta1=drawn_at,
        y=np.ones(len(samples)),
        r_xz=None,
        t_xz=None,
    )


def _log_ratio(estimator: Any, samples: Samples) -> NDArray[np.float64]:
    """Return the log ratio of each event at its points."""
    points = [required(samples, "theta0", "a check"), required(samples, "theta1", "a check")]
    if estimator.estimates == "ratio":
        theta1 = points.pop()
        if not np.allclose(theta1, estimator.reference, rtol=1e-6):
            msg = f"the estimator has the denominator {estimator.reference}, but the samples have another theta1"
            raise InputError(msg)
    log_r = np.asarray(estimator.log_ratio(samples.x, *points, names=samples.feature_names), dtype=np.float64)
    return np.clip(log_r, -_LOG_RATIO_LIMIT, _LOG_RATIO_LIMIT)


def _score(estimator: Any, samples: Samples) -> NDArray[np.float64]:
    """Return the score of each event at its numerator point."""
    theta0, names = required(samples, "theta0", "a check"), samples.feature_names
    points = [theta0, required(samples, "theta1", "a check")] if estimator.estimates == "double ratio" else [theta0]
    return np.asarray(estimator.score(samples.x, *points, names=names), dtype=np.float64)


def _judged(estimator: Any, checks: tuple[Check, ...]) -> tuple[Check, ...]:
    """Let the estimator remember the checks, and warn of what fails."""
    remember = getattr(estimator, "remember_checks", None)
    if remember is not None:
        remember(checks)
    warn_of_failures("the estimator", checks)
    return checks
