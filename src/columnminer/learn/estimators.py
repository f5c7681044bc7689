"""The kinds of estimators, and what to use when.

=========================  =========================================================================================
`RatioEstimator`           log likelihood ratio (and score) at any theta, to one reference point
`DoubleRatioEstimator`     log likelihood ratio between any two points
`QuadraticRatioEstimator`  as `RatioEstimator`, with the exact dependence on theta, and positive by construction
`MorphingRatioEstimator`   as `RatioEstimator`, with the exact dependence on theta, from the points of a morphing basis
`ScoreEstimator`           score at one point: the best summary of events for theta close to it
`CalibratedRatio`          one of those with a fixed reference, corrected and normalised on other events
`DensityEstimator`         density of the features at any theta, hence their ratio between any two points
=========================  =========================================================================================
"""

from __future__ import annotations

from pathlib import Path

from columnminer.learn.calibration import ESTIMATOR, CalibratedRatio, is_calibrated, load_calibrated
from columnminer.learn.densities import DensityEstimator, DensityRatio
from columnminer.learn.estimator import Estimator
from columnminer.learn.morphed import MorphingRatioEstimator
from columnminer.learn.quadratic import QuadraticRatioEstimator
from columnminer.learn.ratios import DoubleRatioEstimator, RatioEstimator
from columnminer.learn.scores import ScoreEstimator

__all__ = [
    "CalibratedRatio",
    "DensityEstimator",
    "DensityRatio",
    "DoubleRatioEstimator",
    "MorphingRatioEstimator",
    "QuadraticRatioEstimator",
    "RatioEstimator",
    "ScoreEstimator",
    "load_estimator",
]


def load_estimator(folder: str | Path, *, device: str = "auto") -> Estimator | CalibratedRatio:
    """Read an estimator of any kind from the folder that its `save` wrote.

    Raises
    ------
    FileFormatError
        If there is no estimator, or it is damaged.
    """
    if is_calibrated(folder):
        inner = Path(folder) / ESTIMATOR
        if (inner / "ensemble.json").is_file():
            from columnminer.learn.ensembles import RatioEnsemble  # noqa: PLC0415 - it imports this module

            return load_calibrated(folder, RatioEnsemble.load(inner, device=device))
        return load_calibrated(folder, load_estimator(inner, device=device))
    return Estimator.load(folder, device=device)
