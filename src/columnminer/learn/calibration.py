r"""Calibrated ratio estimators: what held-out events teach about an estimate that is already made.

Two corrections, one after the other:

- a function g of log r, learned on events of both classes: among those with the same estimate, r / (1 + r) of them
  must be of the numerator (arXiv:1506.02169). "isotonic" lets g rise as it likes, "histogram" takes it from bins;
- the normalisation E[r(x | theta, theta1)] = 1 under theta1, at each theta:

.. math:: \log r(x|\theta) = g(\log\hat r(x|\theta)) - \log\,\mathrm{E}_{\theta_1}[\exp g(\log\hat r(x'|\theta))]

An offset of log r that all events share does not matter for one event, but counts as often as there are events. The
mean over N reference events has an error, too: it moves the best fit of n events by about sqrt(n / N) of its standard
error, so that N should be large compared to n.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from scipy.optimize import isotonic_regression

from columnminer.errors import FileFormatError, InputError, MissingError, OutputExistsError
from columnminer.learn.files import read_estimator, write_estimator
from columnminer.learn.gold import pick_features, required
from columnminer.learn.pairing import on_grid
from columnminer.learn.verdicts import Check
from columnminer.learn.wrapped import RatioFrom
from columnminer.sample.samples import Samples
from columnminer.store.commit import staged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.learn.pairing import Pairing
    from columnminer.store.samplestore import SampleStore

__all__ = ["CalibratedRatio", "CalibrationMethod", "Curve", "calibrate", "is_calibrated", "load_calibrated"]

CalibrationMethod: TypeAlias = Literal["isotonic", "histogram", "normalisation"]

ESTIMATOR, CALIBRATION = "estimator", "calibration"
"""Folders of a calibrated estimator at rest: what was calibrated, and how."""

_PAIRS = 2**22
"""Pairs of (theta, reference event) evaluated at a time."""

_KNOTS, _PER_KNOT, _HISTOGRAM_BINS = 200, 100, 25


@dataclass(frozen=True)
class Curve:
    """A function of log r, linear between knots and with slope 1 beyond them.

    Attributes
    ----------
    x, y : numpy.ndarray
        (n_knots,) estimated and calibrated log r at the knots; x rises.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]

    def __call__(self, log_r: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the calibrated log r."""
        return log_r + np.interp(log_r, self.x, self.y - self.x)

    def slope(self, log_r: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the derivative of the calibrated by the estimated log r."""
        slopes = np.concatenate([[1.0], np.diff(self.y) / np.diff(self.x), [1.0]])
        return np.asarray(slopes[np.searchsorted(self.x, log_r)])


class CalibratedRatio(RatioFrom):
    """A ratio estimator with its corrections; likelihoods and limits take it like the one it is made of.

    Its normalisation is evaluated on the reference events once for each theta, and then remembered.

    Parameters
    ----------
    estimator
        `RatioEstimator` of any kind, an ensemble of them, or a `DensityRatio`.
    curve
        Of log r; None: as it is.
    events
        (n, n_features) reference events, drawn at theta1.
    weights
        (n,) of these.
    calibrated_on
        Content hash of the store, and its partition, that all was learned from.
    """

    def __init__(
        self,
        estimator: Any,
        curve: Curve | None,
        events: NDArray[np.floating],
        weights: NDArray[np.float64],
        calibrated_on: tuple[str, str],
    ) -> None:
        super().__init__(estimator)
        self.curve = curve
        self.events = np.asarray(events, dtype=np.float32)
        self.weights = np.asarray(weights, dtype=np.float64)
        if self.events.shape != (self.weights.size, len(self.feature_names)) or self.weights.ndim != 1:
            msg = f"a calibration needs events with {len(self.feature_names)} features and a weight each"
            raise InputError(msg)
        self.calibrated_on = calibrated_on
        self.checks: tuple[Check, ...] = ()
        self._norms: dict[bytes, float] = {}
        self._norm_gradients: dict[bytes, NDArray[np.float64]] = {}

    def __repr__(self) -> str:
        how = "normalised" if self.curve is None else f"{len(self.curve.x)} knots"
        return f"CalibratedRatio({self.estimator!r}, {how} on {len(self.events)} reference events)"

    @property
    def reference(self) -> NDArray[np.float64]:
        """Denominator of the ratio, (n_par,)."""
        return np.asarray(self.estimator.reference)

    def remember_checks(self, checks: tuple[Check, ...]) -> None:
        """Keep what `checks.check` found of the calibrated ratio; see `Estimator.remember_checks`."""
        self.checks = checks

    def log_ratio(
        self,
        x: ArrayLike,
        theta: ArrayLike,
        *,
        pairing: Pairing = "pairs",
        names: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """Return the calibrated log p(x | theta) / p(x | reference); see `RatioEstimator.log_ratio`."""
        log_r = self._corrected(self.estimator.log_ratio(x, theta, pairing=pairing, names=names))
        norms = self.log_normalisation(theta)
        return np.asarray(log_r - (norms[:, np.newaxis] if on_grid(pairing) else norms))

    def score(
        self,
        x: ArrayLike,
        theta: ArrayLike,
        *,
        pairing: Pairing = "pairs",
        names: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """Return the gradient of the calibrated log ratio by theta; see `RatioEstimator.score`."""
        points, options = _points(theta), {"pairing": pairing, "names": names}
        t = self._corrected_score(x, theta, **options)
        known = self._norm_gradients
        for point in np.unique(points, axis=0):
            if point.tobytes() not in known:
                log_r = self._corrected(self._at_events(point[np.newaxis])[0])
                share = self.weights * np.exp(log_r - log_r.max())
                gradients = self._corrected_score(self.events, point, names=self.feature_names)
                known[point.tobytes()] = share @ gradients / share.sum()
        slopes = np.array([known[point.tobytes()] for point in points])
        return np.asarray(t - (slopes[:, np.newaxis] if on_grid(pairing) else slopes))

    def log_normalisation(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Return log E[r] of the corrected, not yet normalised ratio under the reference, (n_theta,)."""
        points = _points(theta)
        keys = [point.tobytes() for point in points]
        missing = {key: point for key, point in zip(keys, points, strict=True) if key not in self._norms}
        size = max(1, _PAIRS // len(self.events))
        for start in range(0, len(missing), size):
            some = list(missing)[start : start + size]
            log_r = self._corrected(self._at_events(np.array([missing[key] for key in some])))
            largest = log_r.max(axis=1)
            means = np.exp(log_r - largest[:, np.newaxis]) @ self.weights / self.weights.sum()
            self._norms |= dict(zip(some, (largest + np.log(means)).tolist(), strict=True))
        return np.array([self._norms[key] for key in keys])

    def _at_events(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the estimated log ratios of the reference events, (n_theta, n)."""
        log_r = self.estimator.log_ratio(self.events, points, pairing="grid", names=self.feature_names)
        return np.asarray(log_r, dtype=np.float64)

    def _corrected(self, log_r: ArrayLike) -> NDArray[np.float64]:
        values = np.asarray(log_r, dtype=np.float64)
        return values if self.curve is None else self.curve(values)

    def _corrected_score(self, x: ArrayLike, theta: ArrayLike, **options: Any) -> NDArray[np.float64]:
        t = np.asarray(self.estimator.score(x, theta, **options), dtype=np.float64)
        if self.curve is None:
            return t
        return np.asarray(t * self.curve.slope(self.estimator.log_ratio(x, theta, **options))[..., np.newaxis])

    def save(self, folder: str | Path, *, replace: bool = False) -> None:
        """Write a folder with the estimator's own folder and that of the calibration; `load_estimator` reads it.

        Raises
        ------
        OutputExistsError
            If the folder is there, and is not to be replaced or holds something else.
        MissingError
            If the estimator cannot be saved by itself (a `DensityRatio`).
        """
        folder = Path(folder)
        if not hasattr(self.estimator, "save"):
            msg = f"a {type(self.estimator).__name__} is not saved by itself, nor is its calibration: calibrate anew"
            raise MissingError(msg)
        if replace and folder.exists() and not is_calibrated(folder):
            msg = f"{folder} exists: it holds no calibrated estimator, and is left alone"
            raise OutputExistsError(msg)
        document = {
            "kind": type(self).__name__,
            "calibrated_on": list(self.calibrated_on),
            "checks": [check.to_dict() for check in self.checks],
        }
        arrays = {"events": self.events, "weights": self.weights}
        if self.curve is not None:
            arrays |= {"curve.x": self.curve.x, "curve.y": self.curve.y}
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        with staged(folder, replace=replace) as fresh:
            self.estimator.save(fresh / ESTIMATOR)
            write_estimator(fresh / CALIBRATION, document, tensors)


def calibrate(
    estimator: Any,
    samples: Samples | SampleStore,
    method: CalibrationMethod = "isotonic",
    *,
    reference_events: Samples | SampleStore | None = None,
) -> CalibratedRatio:
    """Return the estimator with corrections learned on events that it was not trained on.

    Parameters
    ----------
    estimator
        Of the likelihood ratio to one reference point.
    samples
        From `sample_ratio`; the joint ratio is used in the place of labels where it is there, as it fluctuates less.
        With "normalisation" also events of the reference point alone (`sample_plain`).
    method
        "isotonic", "histogram", or "normalisation", which leaves the shape of log r alone: for estimators that know the
        gold, whose shape is more precise than that of any calibration with as many events.
    reference_events
        More events of the reference point (`sample_plain`), to normalise with; None: those among the samples.

    Raises
    ------
    InputError
        If there is no such method, or samples are of the training or of another denominator.
    MissingError
        If the samples lack labels, or events of the reference point, or this is no ratio to one reference point.

    Examples
    --------
    >>> store, alices = cm.EventStore("events.zarr"), cm.load_estimator("alices")
    >>> held_out = cm.sample_ratio(store, cm.flat_prior([(-0.05, 0.05)] * 2), "sm", 4000, partition="validation")
    >>> normalised = cm.calibrate(alices, held_out, "normalisation")
    >>> normalised.log_ratio(held_out.x[:3], [0.02, 0.0], pairing="grid").shape
    (1, 3)
    """
    if method not in {"isotonic", "histogram", "normalisation"}:
        msg = f"the method of a calibration is 'isotonic', 'histogram' or 'normalisation', not {method!r}"
        raise InputError(msg)
    if estimator.estimates != "ratio":
        msg = f"a {type(estimator).__name__} gives no ratio to one reference point, which could be calibrated"
        raise MissingError(msg)
    samples = Samples.of(samples)
    curve = None if method == "normalisation" else _curve(estimator, samples, method)
    drawn = samples if reference_events is None else Samples.of(reference_events)
    if drawn.y is not None:
        drawn = drawn.take(drawn.y == 1)
    points = required(drawn, "theta0" if drawn.theta1 is None else "theta1", "a calibration")
    for used in (samples, drawn):
        for member in getattr(estimator, "members", [estimator]):
            if (used.store_hash, used.partition) == (member.store_hash, member.partition):
                msg = f"the estimator was trained on partition {used.partition!r}: calibrate it with another one"
                raise InputError(msg)
    if not len(drawn):
        msg = "these samples hold no events of the reference point, y = 1, to normalise with"
        raise MissingError(msg)
    if not np.allclose(points, estimator.reference, rtol=1e-6):
        msg = f"the estimator has the denominator {estimator.reference}, the reference events were drawn elsewhere"
        raise InputError(msg)
    events = pick_features(np.asarray(drawn.x), drawn.feature_names, estimator.feature_names)
    return CalibratedRatio(
        estimator, curve, events, _weights(drawn), calibrated_on=(samples.store_hash, samples.partition)
    )


def is_calibrated(folder: str | Path) -> bool:
    """Return whether this is the folder of a calibrated estimator."""
    return (Path(folder) / CALIBRATION).is_dir()


def load_calibrated(folder: str | Path, estimator: Any) -> CalibratedRatio:
    """Return the calibrated estimator of a folder, given the one in its folder `ESTIMATOR`.

    Raises
    ------
    FileFormatError
        If there is none, or it is damaged.
    """
    document, tensors = read_estimator(Path(folder) / CALIBRATION)
    try:
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        curve = Curve(arrays["curve.x"], arrays["curve.y"]) if "curve.x" in arrays else None
        store_hash, partition = (str(word) for word in document["calibrated_on"])
        loaded = CalibratedRatio(estimator, curve, arrays["events"], arrays["weights"], (store_hash, partition))
        loaded.checks = tuple(Check.from_dict(check) for check in document["checks"])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        msg = f"{folder}: the calibration is damaged: {error}"
        raise FileFormatError(msg) from error
    return loaded


def _curve(estimator: Any, samples: Samples, method: CalibrationMethod) -> Curve:
    """Return the calibration curve from events of both classes."""
    y, theta0 = required(samples, "y", "a calibration"), required(samples, "theta0", "a calibration")
    if not (y == 0).any() or not (y == 1).any():
        msg = "a calibration curve needs events of both classes, y = 0 and y = 1"
        raise MissingError(msg)
    log_r = np.asarray(estimator.log_ratio(samples.x, theta0, names=samples.feature_names), dtype=np.float64)
    weights = _weights(samples)
    for label in (0, 1):  # as if both classes were equally likely
        weights[y == label] /= weights[y == label].sum()
    fraction = 1.0 - y if samples.r_xz is None else samples.r_xz / (1.0 + samples.r_xz)
    n_bins = _HISTOGRAM_BINS if method == "histogram" else _KNOTS
    parts = np.array_split(np.argsort(log_r, kind="stable"), max(1, min(n_bins, len(log_r) // _PER_KNOT)))
    sums = np.array([weights[part].sum() for part in parts])
    centres = np.array([np.average(log_r[part], weights=np.abs(weights[part])) for part in parts])
    fractions = np.array([weights[part] @ fraction[part] for part in parts]) / sums
    sizes = np.array([len(part) for part in parts])
    if method == "isotonic":
        fit = isotonic_regression(fractions, weights=np.maximum(sums, 1e-12))
        starts = fit.blocks[:-1]
        middles = np.add.reduceat(sums * centres, starts) / np.add.reduceat(sums, starts)
        # The outer blocks reach as far as the events: what rises there in vain becomes flat.
        centres = np.concatenate([centres[:1], middles, centres[-1:]])
        knots = np.concatenate([[0], np.arange(len(starts)), [len(starts) - 1]])
        sizes, fractions = np.add.reduceat(sizes, starts)[knots], fit.x[starts][knots]
    apart = np.concatenate([[True], np.diff(centres) > 0.0])  # a constant estimate has one knot
    least = 0.5 / sizes  # bins of one class alone do not say that the other is impossible
    logits = np.clip(fractions, least, 1.0 - least)
    return Curve(centres[apart], np.log(logits / (1.0 - logits))[apart])


def _points(theta: ArrayLike) -> NDArray[np.float64]:
    points = np.atleast_2d(np.asarray(theta, dtype=np.float64))
    return np.ascontiguousarray(points) + 0.0  # points are known by their bytes, and -0 has others than 0


def _weights(samples: Samples) -> NDArray[np.float64]:
    return np.ones(len(samples)) if samples.weights is None else np.array(samples.weights, dtype=np.float64)
