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
==========================  ========================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from columnminer.learn.densities import DensityEstimator, DensityRatio
from columnminer.learn.ensembles import Ensemble, holds_ensemble
from columnminer.learn.estimator import Estimator
from columnminer.learn.madminer_flows import MadMinerDensityEstimator
from columnminer.learn.morphed import MorphingRatioEstimator
from columnminer.learn.quadratic import QuadraticRatioEstimator
from columnminer.learn.ratios import DoubleRatioEstimator, RatioEstimator
from columnminer.learn.scores import ScoreEstimator

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
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


def load_estimator(folder: str | Path, *, device: str = "auto") -> Estimator | Ensemble:
    """Read an estimator of any kind, or an ensemble, from the folder that its `save` wrote.

    Raises
    ------
    FileFormatError
        If there is no estimator, or it is damaged.
    """
    return Ensemble.load(folder, device=device) if holds_ensemble(folder) else Estimator.load(folder, device=device)
