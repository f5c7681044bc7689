"""What an analysis file may say is what Python takes: the same names, the same defaults, nothing forgotten."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields, is_dataclass

import pytest
from pydantic_core import PydanticUndefined

from columnminer.generate.drellyan import DrellYan
from columnminer.infer.fisher import FisherInformation
from columnminer.infer.limits import expected_limits
from columnminer.infer.projection import ScoreProjection
from columnminer.learn.calibration import calibrate
from columnminer.learn.ensembles import Ensemble
from columnminer.learn.estimator import Estimator
from columnminer.learn.estimators import DensityEstimator, MorphingRatioEstimator, RatioEstimator
from columnminer.learn.options import TrainingOptions
from columnminer.model.parameters import Coupling
from columnminer.model.setup import Setup
from columnminer.observe.clustering import Jets
from columnminer.observe.detector import Detector
from columnminer.observe.isolation import Isolation
from columnminer.observe.observables import Cut, DefaultObservables, Efficiency, Observable
from columnminer.observe.selection import Selection
from columnminer.observe.smearing import Resolution
from columnminer.pipeline import configuration as c
from columnminer.pipeline import event_configuration as e
from columnminer.pipeline import learning_configuration as t
from columnminer.processing import process
from columnminer.sample.draw import Sampler
from columnminer.sample.sampling import sample_density, sample_double_ratio, sample_local, sample_ratio
from columnminer.store.samples import Sample

DRAWN = "store out options nuisances client workers progress replica additional nu_additional"


def arguments(*callables):
    """Names and defaults of what these take; of several, all together."""
    found = {}
    for one in callables:
        if is_dataclass(one):
            found |= {f.name: None if f.default is MISSING else f.default for f in fields(one)}
        else:
            for name, parameter in inspect.signature(one).parameters.items():
                found[name] = None if parameter.default is parameter.empty else parameter.default
    return found


@pytest.mark.parametrize(
    ("section", "taken", "only_here", "only_python"),
    [
        (
            e.ParameterConfig,
            (Coupling,),
            "",
            "name kind constraint fit_limits fit_guess anchors interval_bounds interval_bounds_in_events fittable",
        ),
        (e.MorphingConfig, (Setup.with_morphing,), "", "self"),
        (e.DifferencesConfig, (Setup.with_finite_differences,), "", "self"),
        (e.SetupConfig, (Setup.__init__,), "parameters finite_differences", "self space differences"),
        (e.DrellYanConfig, (DrellYan,), "events seed", ""),
        (e.SampleConfig, (Sample,), "path", "paths delete_after_reading"),  # an analysis can be run again
        (e.ObservableConfig, (Observable,), "", ""),
        (e.CutConfig, (Cut,), "", ""),
        (e.EfficiencyConfig, (Efficiency,), "", ""),
        (e.DefaultObservablesConfig, (DefaultObservables,), "", ""),
        (e.ResolutionConfig, (Resolution,), "", ""),
        (e.DetectorConfig, (Detector,), "", ""),
        (e.JetsConfig, (Jets,), "", ""),
        (e.IsolationConfig, (Isolation,), "", ""),
        (e.SelectionConfig, (Selection.__init__,), "", "self objects required defaults"),
        (
            e.ProcessConfig,
            (process,),
            "",
            "samples setup selection out client workers resume replace progress",
        ),
        (t.RatioConfig, (sample_ratio, Sampler), "", DRAWN),
        (t.DoubleRatioConfig, (sample_double_ratio, Sampler), "", DRAWN),
        (t.LocalConfig, (sample_local, Sampler), "", DRAWN),
        (t.DensityConfig, (sample_density, Sampler), "", DRAWN),
        (
            t.MemberConfig,
            (Estimator.__init__, DensityEstimator.__init__, MorphingRatioEstimator.__init__),
            "",
            "self settings device",
        ),
        (
            t.EstimatorConfig,
            (
                Estimator.__init__,
                DensityEstimator.__init__,
                MorphingRatioEstimator.__init__,
                RatioEstimator.fit,
                TrainingOptions,
            ),
            "kind ensemble calibration variations",
            "self settings samples validation progress checkpoint options device",
        ),
        (
            t.EnsembleConfig,
            (Ensemble.__init__, Ensemble.fit),
            "",
            "self samples method alpha validation limit shuffle_labels seed client workers progress checkpoint options",
        ),
        (t.VotesConfig, (Ensemble.vote,), "", "self samples"),
        (t.CalibrationConfig, (calibrate,), "n", "estimator samples reference_events"),
        (
            c.ProjectionConfig,
            (ScoreProjection.__init__,),
            "score",
            "self store estimator partition cuts efficiencies",
        ),
        (
            c.LimitsConfig,
            (expected_limits,),
            "estimators histograms projections rate exact",
            (
                "store what bins bins_at theta_ref score_components template_statistics n_sampled dof "
                "partition template_partition"
            ),
        ),
        (
            c.InformationConfig,
            (FisherInformation, FisherInformation.rate),
            "estimators histograms truth rate exact",
            "self store partition",
        ),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_section_is_what_python_takes(section, taken, only_here, only_python):
    python = arguments(*taken)
    here = set(section.model_fields) - set(only_here.split())
    assert here == set(python) - set(only_python.split())
    for name in here:
        default = section.model_fields[name].default
        if default not in {None, PydanticUndefined, (), False} and python[name] is not None:
            value = python[name]
            assert default == (value.__name__ if isinstance(value, type) else value), name


def test_names_that_become_folders_are_plain_words():
    for name in ("../x", "a/b", ".hidden", "", "a b", "x" * 81):
        with pytest.raises(ValueError, match="pattern"):
            c.AnalysisConfig.model_validate({"generate": {"drellyan": {"events": {name: 1}}}})
