"""columnminer: from simulated or recorded collision events to statements about theory parameters.

The names below are what users type; each is imported when it is first used, so that ``import columnminer`` is quick and
torch, matplotlib or distributed load only where they are needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from columnminer._version import __version__

if TYPE_CHECKING:
    from columnminer.errors import ColumnMinerError, ColumnMinerWarning
    from columnminer.formats.lhe_write import write_lhe
    from columnminer.formats.opening import open_reader
    from columnminer.generate.delphes import run_delphes
    from columnminer.generate.drellyan import DrellYan
    from columnminer.generate.madgraph import MadGraph
    from columnminer.generate.pythia import PythiaReader
    from columnminer.generate.showers import shower
    from columnminer.infer.adaptive import AdaptiveHistograms
    from columnminer.infer.alea import load_alea
    from columnminer.infer.asymptotics import cls_limit, cls_values, discovery
    from columnminer.infer.batchfit import fit_batch, signal_estimate
    from columnminer.infer.batchintervals import interval_batch
    from columnminer.infer.distributions import Distribution, distributions
    from columnminer.infer.fisher import FisherInformation
    from columnminer.infer.fit import fit
    from columnminer.infer.geometry import distance_contours, geodesics
    from columnminer.infer.histfactory import to_workspace, write_workspace
    from columnminer.infer.histogram import HistogramLikelihood
    from columnminer.infer.impacts import impacts
    from columnminer.infer.intervals import confidence_interval
    from columnminer.infer.likelihood import Likelihood
    from columnminer.infer.limits import Grid, Limits, expected_limits, observed_limits
    from columnminer.infer.metric import Metric
    from columnminer.infer.neural import NeuralLikelihood
    from columnminer.infer.own import StatisticalModel
    from columnminer.infer.profiles import profile, project
    from columnminer.infer.projection import ScoreProjection
    from columnminer.infer.pyhf_likelihood import PyhfLikelihood
    from columnminer.infer.pyhf_modifiers import pyhf_modifier_set
    from columnminer.infer.rate import RateLikelihood
    from columnminer.infer.template_model import TemplateModel
    from columnminer.infer.template_sources import TemplateSource
    from columnminer.infer.templates import TemplateLikelihood
    from columnminer.learn.calibration import calibrate
    from columnminer.learn.checks import check
    from columnminer.learn.estimators import (
        DensityEstimator,
        DoubleRatioEstimator,
        Ensemble,
        MorphingRatioEstimator,
        QuadraticRatioEstimator,
        RatioEstimator,
        ScoreEstimator,
        load_estimator,
    )
    from columnminer.learn.fisher import event_information, fisher_information
    from columnminer.learn.information import Information
    from columnminer.learn.madminer import import_madminer_estimator
    from columnminer.learn.onnx_export import export_onnx
    from columnminer.learn.variations import learn_variations
    from columnminer.model.conditional import ConditionalParameter
    from columnminer.model.parameters import Benchmark, Coupling, Parameter, ParameterSpace
    from columnminer.model.priors import fixed_points, flat_prior, gaussian_prior, product_prior
    from columnminer.model.setup import Setup
    from columnminer.model.systematics import (
        NormalisationUncertainty,
        PDFUncertainty,
        ScaleUncertainty,
        SelectionVariation,
        WeightVariation,
    )
    from columnminer.observe.clustering import Jets
    from columnminer.observe.detector import Detector
    from columnminer.observe.isolation import Isolation
    from columnminer.observe.luminosity import LuminosityMask
    from columnminer.observe.maps import CorrectionMap
    from columnminer.observe.observables import Cut, DefaultObservables, Efficiency, Observable
    from columnminer.observe.polynomial_histogram import PolynomialHistogram
    from columnminer.observe.selection import Selection
    from columnminer.observe.smearing import Resolution
    from columnminer.processing import process
    from columnminer.processor import EventProcessor, fileset
    from columnminer.sample.cross_sections import cross_sections
    from columnminer.sample.sampling import (
        sample_density,
        sample_double_ratio,
        sample_local,
        sample_plain,
        sample_ratio,
        sample_test,
    )
    from columnminer.sample.variations import sample_variation
    from columnminer.schema import EventBatch
    from columnminer.show.report import write_report
    from columnminer.store.chunks import publish
    from columnminer.store.combine import combine
    from columnminer.store.directions import find_directions, reduce_directions
    from columnminer.store.eventstore import EventStore
    from columnminer.store.madminer import import_madminer, load_madminer_setup
    from columnminer.store.madminer_write import export_madminer, save_madminer_setup
    from columnminer.store.samples import Sample
    from columnminer.store.samplestore import SampleStore
    from columnminer.toys.belts import belt, poisson_belt, poisson_interval
    from columnminer.toys.campaign import Campaign
    from columnminer.toys.coverage import coverage
    from columnminer.toys.discovery import discovery_power, toy_significance
    from columnminer.toys.neyman import NeymanThresholds
    from columnminer.toys.results import CampaignResults
    from columnminer.toys.runner import run_campaign
    from columnminer.toys.sensitivity import sensitivity

_NAMES = {
    "columnminer.errors": ("ColumnMinerError", "ColumnMinerWarning"),
    "columnminer.infer.template_model": ("TemplateModel",),
    "columnminer.infer.template_sources": ("TemplateSource",),
    "columnminer.infer.templates": ("TemplateLikelihood",),
    "columnminer.model.conditional": ("ConditionalParameter",),
    "columnminer.model.parameters": ("Benchmark", "Coupling", "Parameter", "ParameterSpace"),
    "columnminer.model.priors": ("fixed_points", "flat_prior", "gaussian_prior", "product_prior"),
    "columnminer.model.setup": ("Setup",),
    "columnminer.model.systematics": (
        "NormalisationUncertainty",
        "PDFUncertainty",
        "ScaleUncertainty",
        "SelectionVariation",
        "WeightVariation",
    ),
    "columnminer.schema": ("EventBatch",),
    "columnminer.formats.opening": ("open_reader",),
    "columnminer.formats.lhe_write": ("write_lhe",),
    "columnminer.generate.delphes": ("run_delphes",),
    "columnminer.generate.drellyan": ("DrellYan",),
    "columnminer.generate.madgraph": ("MadGraph",),
    "columnminer.generate.pythia": ("PythiaReader",),
    "columnminer.generate.showers": ("shower",),
    "columnminer.observe.clustering": ("Jets",),
    "columnminer.observe.detector": ("Detector",),
    "columnminer.observe.isolation": ("Isolation",),
    "columnminer.observe.maps": ("CorrectionMap",),
    "columnminer.observe.observables": ("Cut", "DefaultObservables", "Efficiency", "Observable"),
    "columnminer.observe.selection": ("Selection",),
    "columnminer.observe.smearing": ("Resolution",),
    "columnminer.observe.luminosity": ("LuminosityMask",),
    "columnminer.observe.polynomial_histogram": ("PolynomialHistogram",),
    "columnminer.processing": ("process",),
    "columnminer.processor": ("EventProcessor", "fileset"),
    "columnminer.store.chunks": ("publish",),
    "columnminer.store.combine": ("combine",),
    "columnminer.store.directions": ("find_directions", "reduce_directions"),
    "columnminer.store.eventstore": ("EventStore",),
    "columnminer.store.madminer": ("import_madminer", "load_madminer_setup"),
    "columnminer.store.madminer_write": ("export_madminer", "save_madminer_setup"),
    "columnminer.store.samples": ("Sample",),
    "columnminer.store.samplestore": ("SampleStore",),
    "columnminer.sample.cross_sections": ("cross_sections",),
    "columnminer.sample.sampling": (
        "sample_density",
        "sample_double_ratio",
        "sample_plain",
        "sample_local",
        "sample_ratio",
        "sample_test",
    ),
    "columnminer.sample.variations": ("sample_variation",),
    "columnminer.learn.calibration": ("calibrate",),
    "columnminer.learn.checks": ("check",),
    "columnminer.learn.estimators": (
        "DensityEstimator",
        "DoubleRatioEstimator",
        "Ensemble",
        "MorphingRatioEstimator",
        "QuadraticRatioEstimator",
        "RatioEstimator",
        "ScoreEstimator",
        "load_estimator",
    ),
    "columnminer.learn.fisher": ("event_information", "fisher_information"),
    "columnminer.learn.onnx_export": ("export_onnx",),
    "columnminer.learn.variations": ("learn_variations",),
    "columnminer.learn.madminer": ("import_madminer_estimator",),
    "columnminer.infer.distributions": ("Distribution", "distributions"),
    "columnminer.infer.fisher": ("FisherInformation",),
    "columnminer.learn.information": ("Information",),
    "columnminer.infer.batchfit": ("fit_batch", "signal_estimate"),
    "columnminer.infer.batchintervals": ("interval_batch",),
    "columnminer.infer.fit": ("fit",),
    "columnminer.infer.own": ("StatisticalModel",),
    "columnminer.infer.histfactory": ("to_workspace", "write_workspace"),
    "columnminer.infer.geometry": ("distance_contours", "geodesics"),
    "columnminer.infer.histogram": ("HistogramLikelihood",),
    "columnminer.infer.adaptive": ("AdaptiveHistograms",),
    "columnminer.infer.alea": ("load_alea",),
    "columnminer.infer.asymptotics": ("cls_limit", "cls_values", "discovery"),
    "columnminer.infer.impacts": ("impacts",),
    "columnminer.infer.intervals": ("confidence_interval",),
    "columnminer.infer.profiles": ("profile", "project"),
    "columnminer.infer.projection": ("ScoreProjection",),
    "columnminer.infer.likelihood": ("Likelihood",),
    "columnminer.infer.limits": ("Grid", "Limits", "expected_limits", "observed_limits"),
    "columnminer.infer.metric": ("Metric",),
    "columnminer.infer.neural": ("NeuralLikelihood",),
    "columnminer.infer.pyhf_likelihood": ("PyhfLikelihood",),
    "columnminer.infer.pyhf_modifiers": ("pyhf_modifier_set",),
    "columnminer.infer.rate": ("RateLikelihood",),
    "columnminer.toys.belts": ("belt", "poisson_belt", "poisson_interval"),
    "columnminer.toys.coverage": ("coverage",),
    "columnminer.toys.discovery": ("discovery_power", "toy_significance"),
    "columnminer.toys.neyman": ("NeymanThresholds",),
    "columnminer.toys.sensitivity": ("sensitivity",),
    "columnminer.toys.campaign": ("Campaign",),
    "columnminer.toys.results": ("CampaignResults",),
    "columnminer.toys.runner": ("run_campaign",),
    "columnminer.show.report": ("write_report",),
}

_HOMES = {name: home for home, names in _NAMES.items() for name in names}

__all__ = [
    "AdaptiveHistograms",
    "Benchmark",
    "Campaign",
    "CampaignResults",
    "ColumnMinerError",
    "ColumnMinerWarning",
    "ConditionalParameter",
    "CorrectionMap",
    "Coupling",
    "Cut",
    "DefaultObservables",
    "DensityEstimator",
    "Detector",
    "Distribution",
    "DoubleRatioEstimator",
    "DrellYan",
    "Efficiency",
    "Ensemble",
    "EventBatch",
    "EventProcessor",
    "EventStore",
    "FisherInformation",
    "Grid",
    "HistogramLikelihood",
    "Information",
    "Isolation",
    "Jets",
    "Likelihood",
    "Limits",
    "LuminosityMask",
    "MadGraph",
    "Metric",
    "MorphingRatioEstimator",
    "NeuralLikelihood",
    "NeymanThresholds",
    "NormalisationUncertainty",
    "Observable",
    "PDFUncertainty",
    "Parameter",
    "ParameterSpace",
    "PolynomialHistogram",
    "PyhfLikelihood",
    "PythiaReader",
    "QuadraticRatioEstimator",
    "RateLikelihood",
    "RatioEstimator",
    "Resolution",
    "Sample",
    "SampleStore",
    "ScaleUncertainty",
    "ScoreEstimator",
    "ScoreProjection",
    "Selection",
    "SelectionVariation",
    "Setup",
    "StatisticalModel",
    "TemplateLikelihood",
    "TemplateModel",
    "TemplateSource",
    "WeightVariation",
    "__version__",
    "belt",
    "calibrate",
    "check",
    "cls_limit",
    "cls_values",
    "combine",
    "confidence_interval",
    "coverage",
    "cross_sections",
    "discovery",
    "discovery_power",
    "distance_contours",
    "distributions",
    "event_information",
    "expected_limits",
    "export_madminer",
    "export_onnx",
    "fileset",
    "find_directions",
    "fisher_information",
    "fit",
    "fit_batch",
    "fixed_points",
    "flat_prior",
    "gaussian_prior",
    "geodesics",
    "impacts",
    "import_madminer",
    "import_madminer_estimator",
    "interval_batch",
    "learn_variations",
    "load_alea",
    "load_estimator",
    "load_madminer_setup",
    "observed_limits",
    "open_reader",
    "poisson_belt",
    "poisson_interval",
    "process",
    "product_prior",
    "profile",
    "project",
    "publish",
    "pyhf_modifier_set",
    "reduce_directions",
    "run_campaign",
    "run_delphes",
    "sample_density",
    "sample_double_ratio",
    "sample_local",
    "sample_plain",
    "sample_ratio",
    "sample_test",
    "sample_variation",
    "save_madminer_setup",
    "sensitivity",
    "shower",
    "signal_estimate",
    "to_workspace",
    "toy_significance",
    "write_lhe",
    "write_report",
    "write_workspace",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module 'columnminer' has no attribute {name!r}"
        raise AttributeError(msg)
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
