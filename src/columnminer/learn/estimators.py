"""The kinds of estimators, and what to use when.

==========================  ========================================================================================
`RatioEstimator`            log likelihood ratio (and score) at any theta, to one reference point
`DoubleRatioEstimator`      log likelihood ratio between any two points
`QuadraticRatioEstimator`   as `RatioEstimator`, with the exact dependence on theta, and positive by construction
`MorphingRatioEstimator`    as `RatioEstimator`, with the exact form in theta, from the points of a morphing basis
`ScoreEstimator`            score at one point: the best summary of events for theta close to it
`DensityEstimator`          density of the features at any theta, hence their ratio between any two points
`MadMinerDensityEstimator`  the same, trained by MadMiner (`learn.madminer.import_madminer_estimator`)
`Ensemble`                  several of one kind: their mean, and how much they differ
`CalibratedRatio`           one with a fixed reference, corrected and normalised on other events
==========================  ========================================================================================
"""

from __future__ import annotations

from pathlib import Path

from columnminer.learn.calibration import ESTIMATOR, CalibratedRatio, is_calibrated, load_calibrated
from columnminer.learn.densities import DensityEstimator, DensityRatio
from columnminer.learn.ensembles import Ensemble, holds_ensemble
from columnminer.learn.estimator import Estimator
from columnminer.learn.madminer_flows import MadMinerDensityEstimator
from columnminer.learn.morphed import MorphingRatioEstimator
from columnminer.learn.quadratic import QuadraticRatioEstimator
from columnminer.learn.ratios import DoubleRatioEstimator, RatioEstimator
from columnminer.learn.scores import ScoreEstimator

__all__ = [
    "CalibratedRatio",
    "DensityEstimator",
    "DensityRatio",
    "DoubleRatioEstimator",
    "Ensemble",
    "MadMinerDensityEstimator",
    "MorphingRatioEstimator",
    "QuadraticRatioEstimator",
    "RatioEstimator",
    "ScoreEstimator",
    "load_estimator",
]


def load_estimator(folder: str | Path, *, device: str = "auto") -> Estimator | Ensemble | CalibratedRatio:
    """Read an estimator of any kind, an ensemble or a calibrated one, from the folder that its `save` wrote.

    Raises
    ------
    FileFormatError
        If there is no estimator, or it is damaged.
    """
    if is_calibrated(folder):
        return load_calibrated(folder, load_estimator(Path(folder) / ESTIMATOR, device=device))
    return Ensemble.load(folder, device=device) if holds_ensemble(folder) else Estimator.load(folder, device=device)


def trained_members(estimator: Estimator | Ensemble | CalibratedRatio) -> list[Estimator]:
    """Return the estimators that were trained for this one: itself, or those that it is made of."""
    if isinstance(estimator, CalibratedRatio):
        return trained_members(estimator.estimator)
    return estimator.members if isinstance(estimator, Ensemble) else [estimator]
