"""What an analysis file may say is what Python takes: the same names, the same defaults, nothing forgotten."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields, is_dataclass

import pytest
from pydantic_core import PydanticUndefined

from columnminer.generate.drellyan import DrellYan
from columnminer.infer.fisher import FisherInformation
from columnminer.infer.limits import expected_limits
from columnminer.learn.estimator import Estimator
from columnminer.learn.estimators import RatioEstimator
from columnminer.learn.options import TrainingOptions
from columnminer.model.parameters import Coupling
from columnminer.model.setup import Setup
from columnminer.observe.detector import Detector
from columnminer.observe.observables import Cut, DefaultObservables, Efficiency, Observable
from columnminer.observe.selection import Selection
from columnminer.observe.smearing import Resolution
from columnminer.pipeline import configuration as c
from columnminer.processing import process
from columnminer.sample.draw import Sampler
from columnminer.sample.sampling import sample_local, sample_ratio
from columnminer.store.samples import Sample


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
        (c.ParameterConfig, (Coupling,), "", "name kind constraint fit_limits fit_guess"),
        (c.MorphingConfig, (Setup.with_morphing,), "", "self"),
        (c.DifferencesConfig, (Setup.with_finite_differences,), "", "self"),
        (c.SetupConfig, (Setup.__init__,), "parameters finite_differences", "self space differences"),
        (c.DrellYanConfig, (DrellYan,), "events seed", ""),
        (c.SampleConfig, (Sample,), "path", "paths"),
        (c.ObservableConfig, (Observable,), "", ""),
        (c.CutConfig, (Cut,), "", ""),
        (c.EfficiencyConfig, (Efficiency,), "", ""),
        (c.DefaultObservablesConfig, (DefaultObservables,), "", ""),
        (c.ResolutionConfig, (Resolution,), "", ""),
        (c.DetectorConfig, (Detector,), "", ""),
        (c.SelectionConfig, (Selection.__init__,), "", "self objects required defaults"),
        (
            c.ProcessConfig,
            (process,),
            "",
            "samples setup selection out client workers resume replace progress",
        ),
        (
            c.RatioConfig,
            (sample_ratio, Sampler),
            "",
            "store partition out options dtype nu0 nu1 nuisance_score nuisances",
        ),
        (c.LocalConfig, (sample_local, Sampler), "", "store partition out options dtype nu nuisance_score nuisances"),
        (
            c.EstimatorConfig,
            (Estimator.__init__, RatioEstimator.fit, TrainingOptions),
            "",
            "self samples validation progress checkpoint options device shuffle_labels",
        ),
        (
            c.LimitsConfig,
            (expected_limits,),
            "estimators histograms rate exact",
            "store what bins dof partition template_partition",
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
            assert default == python[name], name


def test_names_that_become_folders_are_plain_words():
    for name in ("../x", "a/b", ".hidden", "", "a b", "x" * 81):
        with pytest.raises(ValueError, match="pattern"):
            c.AnalysisConfig.model_validate({"generate": {"drellyan": {"events": {name: 1}}}})
