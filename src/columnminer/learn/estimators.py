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
`VariedRatio`               one that knows selection variations as well (`learn_variations`)
==========================  ========================================================================================
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from columnminer.learn.calibration import ESTIMATOR, CalibratedRatio, is_calibrated, load_calibrated
from columnminer.learn.densities import DensityEstimator, DensityRatio
from columnminer.learn.ensembles import Ensemble, holds_ensemble
from columnminer.learn.estimator import Estimator
from columnminer.learn.madminer_flows import MadMinerDensityEstimator
from columnminer.learn.morphed import MorphingRatioEstimator
from columnminer.learn.quadratic import QuadraticRatioEstimator
from columnminer.learn.ratios import DoubleRatioEstimator, RatioEstimator
from columnminer.learn.scores import ScoreEstimator
from columnminer.learn.varied import VariedRatio, is_varied, load_varied
from columnminer.learn.wrapped import RatioFrom

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
    "Trained",
    "VariedRatio",
    "load_estimator",
    "trained_members",
]

Trained: TypeAlias = Estimator | Ensemble | CalibratedRatio | VariedRatio
"""What can be loaded."""


def load_estimator(folder: str | Path, *, device: str = "auto") -> Trained:
    """Read an estimator of any kind, an ensemble, a calibrated or varied one, from the folder that its `save` wrote.

    Raises
    ------
    FileFormatError
        If there is no estimator, or it is damaged.

    Examples
    --------
    >>> alices = cm.load_estimator("alices")
    >>> alices.feature_names, alices.parameter_names
    (('m_ll', 'y_ll', 'cos_theta'), ('c_ll', 'c_lr'))
    """
    if is_varied(folder):
        return load_varied(folder, partial(load_estimator, device=device))
    if is_calibrated(folder):
        return load_calibrated(folder, load_estimator(Path(folder) / ESTIMATOR, device=device))
    return Ensemble.load(folder, device=device) if holds_ensemble(folder) else Estimator.load(folder, device=device)


def trained_members(estimator: Any) -> list[Estimator]:
    """Return the estimators that were trained for this one, at nu = 0: itself, or those that it is made of."""
    if isinstance(estimator, RatioFrom):
        return trained_members(estimator.estimator)
    return estimator.members if isinstance(estimator, Ensemble) else [estimator]
