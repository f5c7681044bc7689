"""Checks of learned variations, at the point that they were learned at and elsewhere.

What a nuisance parameter does to events at given x is learned at the reference point and taken for the same at other
theta (`varied`): it is exact where theta does not change how events of the same x came about. The checks say how well
that holds: they compare held-out events of the varied selections with those of the nominal one, at any theta.

=====================  ================================================================================================
``calibration of nu``  among events with s(x) = 1 / (1 + r) close to s, a fraction s is of the nominal selection, where
                       r = p(x | theta, nu) / p(x | theta, 0)
``slope of nu``        the probability of the varied selection rises with log r as it should (`trends`)
=====================  ================================================================================================

Most events are in both selections, and their fluctuations cancel; the errors take them for independent, which is on the
safe side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from columnminer.errors import InputError
from columnminer.learn.averages import Draws
from columnminer.learn.gold import required
from columnminer.learn.trends import SLOPE_TOLERANCE, fit_slope
from columnminer.learn.varied import VariedRatio
from columnminer.learn.verdicts import Check, judge_mean, judge_worst_bin, warn_of_failures
from columnminer.sample.variations import sample_variation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from columnminer.sample.samples import Samples
    from columnminer.store.eventstore import EventStore

__all__ = ["check_variations"]


def check_variations(
    estimator: Any, store: EventStore, theta: Any = None, *, partition: str = "test"
) -> tuple[Check, ...]:
    """Check what was learned of variations, at nu = +1 and -1 and one or several points of theta.

    Parameters
    ----------
    estimator
        `VariedRatio` from `learn_variations`; what it says at nu = 0 is the matter of `columnminer.check`.
    store
        The events that it was learned from, in all selections.
    theta
        Parameter points, benchmarks, or several; None: the reference benchmark, where the variations were learned.
        Elsewhere it is checked that the relative change is the same.
    partition
        Which events: neither those of the training nor those that it was judged and normalised on.

    Raises
    ------
    InputError
        If the estimator has no learned variations, or these are events that it has seen.

    Warns
    -----
    CheckWarning
        If a check fails.

    Examples
    --------
    >>> plain = cm.DrellYan().setup()
    >>> setup = cm.Setup(plain.space, plain.benchmarks, [cm.SelectionVariation("scale")]).with_morphing(2)
    >>> nominal, up = (cm.Selection({"m_ll": f"{k} * (mu[0] + mu[1]).m"}) for k in (1.0, 1.05))
    >>> sample = cm.Sample("sm.lhe.gz", benchmark="sm", systematics=["scale"])
    >>> store = cm.process([sample], setup, nominal, "scaled.zarr", variations={"scale": up}, progress=False)
    >>> samples = cm.sample_ratio(store, cm.flat_prior([(-0.05, 0.05)] * 2), "sm", 4000)
    >>> estimator = cm.RatioEstimator((10,)).fit(samples, "alices", epochs=1, progress=False)
    >>> varied = cm.learn_variations(store, estimator, epochs=1, progress=False)
    >>> for check in cm.check_variations(varied, store):
    ...     print(check.name, check.passed)
    calibration of scale ...
    """
    if not isinstance(estimator, VariedRatio):
        msg = f"a {type(estimator).__name__} has no learned variations to check: columnminer.learn_variations adds them"
        raise InputError(msg)
    estimator.check_store(store, partition)
    points = store.setup.thetas(store.setup.reference if theta is None else theta)
    checks = [one for point in points for one in _at(estimator, store, point, partition)]
    warn_of_failures("what was learned of variations", checks)
    return tuple(checks)


def _at(estimator: VariedRatio, store: EventStore, theta: NDArray[np.float64], partition: str) -> Iterator[Check]:
    """Yield the checks of all variations at one point."""
    where = ", ".join(f"{name} = {value:g}" for name, value in zip(store.setup.space.names, theta, strict=True))
    for name in estimator.variation_names:
        samples = sample_variation(store, name, theta, partition=partition)
        sides = required(samples, "theta0", "a check")[:, 0]
        points = np.zeros((2, len(estimator.parameter_names)))
        points[:, : len(theta)] = theta
        for side in (1.0, -1.0)[: len(store.varied(name))]:
            points[0, estimator.parameter_names.index(name)] = side
            yield from _compared(estimator, samples.take(sides == side), points, f"{name} = {side:+g} at {where}")


def _compared(estimator: VariedRatio, samples: Samples, points: NDArray[np.float64], what: str) -> Iterator[Check]:
    """Yield the checks of the ratio between two points, of which the samples are events."""
    varied, nominal = estimator.log_ratio(samples.x, points, pairing="grid", names=samples.feature_names)
    log_r, draws = varied - nominal, Draws.of(samples)
    y = required(samples, "y", "a check").astype(np.float64)
    s = expit(-log_r)
    labels = ("s(x) = 1 / (1 + r(x))", "fraction of the nominal selection")
    finding = draws.profile(s, y, s, labels, variance=np.maximum(s * (1.0 - s), 1e-12))
    yield judge_worst_bin(f"calibration of {what}", finding)
    slope, error = fit_slope(log_r, 1.0 - y, draws)
    yield judge_mean(f"slope of {what}", slope - 1.0, error, finding, tolerance=SLOPE_TOLERANCE)
