"""What an analysis file may say is what Python takes: the same names, the same defaults, nothing forgotten.

Where one of them has something that the other one lacks, the reason stands here.
"""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields, is_dataclass

import pytest
from pydantic_core import PydanticUndefined

import columnminer
from columnminer.generate.drellyan import DrellYan
from columnminer.infer.asymptotics import cls_limit, discovery
from columnminer.infer.fisher import FisherInformation
from columnminer.infer.fit import fit
from columnminer.infer.histfactory import to_workspace
from columnminer.infer.histogram import HistogramLikelihood
from columnminer.infer.intervals import confidence_interval
from columnminer.infer.limits import expected_limits, observed_limits
from columnminer.infer.neural import NeuralLikelihood
from columnminer.infer.projection import ScoreProjection
from columnminer.infer.rate import RateLikelihood
from columnminer.learn.calibration import calibrate
from columnminer.learn.checks import check
from columnminer.learn.ensembles import Ensemble
from columnminer.learn.estimator import Estimator
from columnminer.learn.estimators import DensityEstimator, MorphingRatioEstimator, RatioEstimator
from columnminer.learn.options import TrainingOptions
from columnminer.learn.variations import learn_variations
from columnminer.model import systematics
from columnminer.model.parameters import Coupling
from columnminer.model.setup import Setup
from columnminer.observe.clustering import Jets
from columnminer.observe.detector import Detector
from columnminer.observe.isolation import Isolation
from columnminer.observe.maps import CorrectionMap
from columnminer.observe.observables import Cut, DefaultObservables, Efficiency, Observable
from columnminer.observe.selection import Selection
from columnminer.observe.smearing import Resolution
from columnminer.pipeline import configuration as c
from columnminer.pipeline import event_configuration as e
from columnminer.pipeline import fit_configuration as f
from columnminer.pipeline import learning_configuration as t
from columnminer.processing import process
from columnminer.sample.draw import Sampler
from columnminer.sample.sampling import sample_density, sample_double_ratio, sample_local, sample_ratio
from columnminer.store.samples import Sample
from columnminer.toys.campaign import Campaign
from columnminer.toys.runner import run_campaign
from columnminer.toys.saved import SavedModel

KEY = "the key in the file is its name"
SECTION = "another section of the file says it"
WHERE = "the command line says where work runs, and whether progress is shown"
OUTPUT = "the output folder is that of the run, which goes on by itself"
STORE = "events and estimators are those of the analysis"
BINNED_SCORE = "an estimator whose score is binned: one of the observables in Python"
CALLABLE = "a function of Python's: nothing in a file is run"
OUTER = "says which of its parts the analysis makes"
HISTOGRAM = "said of each histogram, in limits.histograms"

NUISANCES = {"nuisances": "what the other arguments come to", "replica": "ensembles draw those of their members"}
SAMPLING = {
    "store": STORE,
    "out": OUTPUT,
    "options": "what Sampler lists",
    "client": WHERE,
    "workers": WHERE,
    "progress": WHERE,
    "additional": "comes by way of sample_double_ratio",
    "nu_additional": "comes by way of sample_double_ratio",
    **NUISANCES,
}
DOUBLE = {name: why for name, why in SAMPLING.items() if name not in {"additional", "nu_additional"}}
NETWORK = (Estimator.__init__, DensityEstimator.__init__, MorphingRatioEstimator.__init__)
OF_NETWORKS = {"settings": "what the other constructors list", "device": WHERE}
TEMPLATES = "of parameters of template models, which are files of their own"
FITTED = {
    "likelihood": "that of the fit",
    "name": "the key is 'parameter'",
    "start": "said once for a fit",
    "fit_options": "said once for a fit, as 'options'",
}

SECTIONS = [
    (
        e.ParameterConfig,
        (Coupling,),
        {},
        {"name": KEY, "kind": TEMPLATES, "anchors": TEMPLATES, "interval_bounds_in_events": TEMPLATES},
    ),
    (e.MorphingConfig, (Setup.with_morphing,), {}, {}),
    (e.DifferencesConfig, (Setup.with_finite_differences,), {}, {}),
    (
        e.SetupConfig,
        (Setup.__init__,),
        {"parameters": "these make the space", "finite_differences": "these make the differences"},
        {"space": "made of the parameters", "differences": "made of finite_differences"},
    ),
    (e.NormalisationConfig, (systematics.NormalisationUncertainty,), {"type": OUTER}, {"name": KEY}),
    (e.ScaleConfig, (systematics.ScaleUncertainty,), {"type": OUTER}, {"name": KEY}),
    (e.PDFConfig, (systematics.PDFUncertainty,), {"type": OUTER}, {"name": KEY}),
    (e.WeightsConfig, (systematics.WeightVariation,), {"type": OUTER}, {"name": KEY}),
    (e.OtherSelectionConfig, (systematics.SelectionVariation,), {"type": OUTER}, {"name": KEY}),
    (e.DrellYanConfig, (DrellYan,), {"events": "how many are generated", "seed": "of their generation"}, {}),
    (
        e.SampleConfig,
        (Sample,),
        {"path": "'paths' in Python; in a file mostly one"},
        {"paths": "'path' in a file", "delete_after_reading": "an analysis can be run again"},
    ),
    (e.ObservableConfig, (Observable,), {}, {}),
    (e.CutConfig, (Cut,), {}, {}),
    (e.EfficiencyConfig, (Efficiency,), {}, {}),
    (e.DefaultObservablesConfig, (DefaultObservables,), {}, {}),
    (e.ResolutionConfig, (Resolution,), {}, {}),
    (e.CorrectionConfig, (CorrectionMap,), {}, {}),
    (e.DetectorConfig, (Detector,), {}, {}),
    (e.JetsConfig, (Jets,), {}, {}),
    (e.IsolationConfig, (Isolation,), {}, {}),
    (e.SelectionConfig, (Selection.__init__,), {}, {"objects": CALLABLE}),
    (
        e.ProcessConfig,
        (process,),
        {},
        {
            **dict.fromkeys(("samples", "setup", "selection"), SECTION),
            **dict.fromkeys(("out", "resume", "replace"), OUTPUT),
            **dict.fromkeys(("client", "workers", "progress"), WHERE),
        },
    ),
    (t.RatioConfig, (sample_ratio, Sampler), {}, SAMPLING),
    (t.DoubleRatioConfig, (sample_double_ratio, Sampler), {}, DOUBLE),
    (t.LocalConfig, (sample_local, Sampler), {}, SAMPLING),
    (t.DensityConfig, (sample_density, Sampler), {}, SAMPLING),
    (t.MemberConfig, NETWORK, {}, OF_NETWORKS),
    (t.TrainingConfig, (TrainingOptions,), {}, {}),
    (
        t.EstimatorConfig,
        (*NETWORK, RatioEstimator.fit, TrainingOptions),
        {
            "kind": "says which class",
            "ensemble": SECTION,
            "calibration": SECTION,
            "variations": SECTION,
            "checks": SECTION,
            "onnx": "an option of save",
        },
        {
            **OF_NETWORKS,
            "samples": STORE,
            "validation": "split off the samples: events of the other partition check and calibrate",
            "progress": WHERE,
            "checkpoint": OUTPUT,
            "options": "what TrainingOptions lists",
        },
    ),
    (
        t.EnsembleConfig,
        (Ensemble.__init__, Ensemble.fit),
        {},
        {
            **dict.fromkeys(("client", "workers", "progress"), WHERE),
            **dict.fromkeys(("method", "alpha", "limit", "shuffle_labels", "seed", "options"), "that of the estimator"),
            "samples": STORE,
            "validation": "as for one estimator",
            "checkpoint": OUTPUT,
        },
    ),
    (t.VotesConfig, (Ensemble.vote,), {}, {"samples": STORE}),
    (
        t.CalibrationConfig,
        (calibrate,),
        {"n": "how many events are drawn"},
        {"estimator": STORE, "samples": STORE, "reference_events": "the samples hold events of both hypotheses"},
    ),
    (
        t.ChecksConfig,
        (check,),
        {"n": "how many events are drawn"},
        {"estimator": STORE, "samples": STORE, "seed": "that of the estimator"},
    ),
    (
        t.LearnedVariationsConfig,
        (learn_variations, *NETWORK, TrainingOptions),
        {"ensemble": "makes the learner", "limit": "an option of fit"},
        {
            **OF_NETWORKS,
            "store": STORE,
            "estimator": STORE,
            "learner": SECTION,
            "options": "what TrainingOptions lists",
        },
    ),
    (
        c.HistogramConfig,
        (expected_limits,),
        {"observables": "what is binned", "score": BINNED_SCORE},
        dict.fromkeys(
            (
                *("theta_true", "grid", "luminosity", "include_rate", "nuisances", "n_asimov", "dof", "seed", "cuts"),
                *("efficiencies", "partition", "template_partition"),
            ),
            "said once for all limits",
        )
        | {"store": STORE, "what": "observables or score"},
    ),
    (
        c.ProjectionConfig,
        (ScoreProjection.__init__,),
        {"score": "names the estimator"},
        {
            "store": STORE,
            "estimator": STORE,
            **dict.fromkeys(("partition", "cuts", "efficiencies"), "said once for all limits"),
        },
    ),
    (
        c.LimitsConfig,
        (expected_limits, observed_limits),
        dict.fromkeys(("estimators", "histograms", "projections", "rate", "exact"), OUTER),
        {
            **dict.fromkeys(("bins", "bins_at", "theta_ref"), HISTOGRAM),
            **dict.fromkeys(("score_components", "template_statistics", "n_sampled"), HISTOGRAM),
            "store": STORE,
            "what": SECTION,
            "data": "samples with data: true",
            "n_observed": "recorded events are as many as they are",
        },
    ),
    (
        c.InformationConfig,
        (FisherInformation, FisherInformation.rate, FisherInformation.detector),
        dict.fromkeys(("estimators", "histograms", "truth", "rate", "exact"), OUTER),
        {
            "store": STORE,
            "estimator": STORE,
            "sample": "the weighted test events say more than events drawn from them",
            "variations": "always, where the store has some",
        },
    ),
    (
        f.FitConfig,
        (RateLikelihood.from_store, HistogramLikelihood.from_store, NeuralLikelihood.from_store),
        {
            "theta_true": "the truth of the Asimov data",
            "score": BINNED_SCORE,
            "start": "of every fit",
            "fixed": "parameters that are held",
            "options": "of every fit",
            **dict.fromkeys(("intervals", "cls", "discovery", "workspace"), SECTION),
            "impacts": "parameters that others move",
        },
        {"store": STORE, "other_store": STORE},
    ),
    (
        f.FitOptionsConfig,
        (fit,),
        {},
        {
            "likelihood": "that of the fit",
            "start": "a key of the fit",
            "fixed": "a key of the fit",
            "hesse": "standard errors are always reported",
            "minos": "'intervals' finds asymmetric errors",
            "limits": "fit_limits of the parameters in the set-up",
            "max_index_fitting_iter": TEMPLATES,
            "disable_index_fitting": TEMPLATES,
        },
    ),
    (
        f.IntervalConfig,
        (confidence_interval,),
        {"parameter": "'name' in Python"},
        {
            **FITTED,
            "bounds_in_events": "of rate multipliers, which set-ups do not have",
            "reference": "a fit that Python made before",
        },
    ),
    (f.CLsConfig, (cls_limit,), {"parameter": "'name' in Python"}, FITTED),
    (f.DiscoveryConfig, (discovery,), {"parameter": "'name' in Python"}, FITTED),
    (f.WorkspaceConfig, (to_workspace,), {}, {"likelihood": "that of the fit"}),
    (
        SavedModel,
        (RateLikelihood.from_store, HistogramLikelihood.from_store, NeuralLikelihood.from_store),
        {"score": BINNED_SCORE},
        {"other_store": "a campaign names both, and they must belong together"},
    ),
]

_PROGRAM = "starts other programs, which a file must not do: list the event files that they wrote under samples"
_MADMINER = "columnminer import-madminer and export-madminer"
_LIKELIHOOD = "made by the stages fits and limits"
_TOYS = "columnminer toys, with a campaign file"
_SCAN = "limits on a grid are such profiles"
_TEMPLATE = "template models are YAML files of their own, which campaigns name"
_AFTER = "works on a finished store or result, of which the file knows nothing yet"
_PRIOR = "flat, gaussian and points, under sampling"
_ERROR = "what is raised"
_COFFEA = "of coffea's executors, which call it"
ELSEWHERE = {
    **dict.fromkeys(("ColumnMinerError", "ColumnMinerWarning"), _ERROR),
    **dict.fromkeys(("EventProcessor", "fileset", "publish", "PolynomialHistogram", "LuminosityMask"), _COFFEA),
    **dict.fromkeys(("MadGraph", "run_delphes"), _PROGRAM),
    **dict.fromkeys(("export_madminer", "import_madminer", "load_madminer_setup", "save_madminer_setup"), _MADMINER),
    "import_madminer_estimator": "estimators of an analysis are trained by it",
    **dict.fromkeys(("HistogramLikelihood", "NeuralLikelihood", "RateLikelihood", "Likelihood"), _LIKELIHOOD),
    **dict.fromkeys(("AdaptiveHistograms", "ScoreProjection"), "bins_at: each, and projections, under limits"),
    **dict.fromkeys(("Campaign", "CampaignResults", "run_campaign"), _TOYS),
    **dict.fromkeys(("belt", "coverage", "discovery_power", "poisson_belt", "poisson_interval"), _AFTER),
    **dict.fromkeys(("sensitivity", "toy_significance", "combine", "find_directions", "reduce_directions"), _AFTER),
    **dict.fromkeys(("Metric", "distance_contours", "geodesics", "cross_sections"), _AFTER),
    **dict.fromkeys(("event_information", "fisher_information"), _AFTER),
    "NeymanThresholds": "columnminer thresholds",
    **dict.fromkeys(("profile", "project", "cls_values"), _SCAN),
    **dict.fromkeys(("fit_batch", "interval_batch", "signal_estimate"), "fits to many toys: columnminer toys"),
    **dict.fromkeys(("TemplateLikelihood", "TemplateModel", "TemplateSource", "ConditionalParameter"), _TEMPLATE),
    **dict.fromkeys(("load_alea", "PyhfLikelihood", "pyhf_modifier_set"), _TEMPLATE),
    "StatisticalModel": "a class to derive from, in Python",
    **dict.fromkeys(("fixed_points", "flat_prior", "gaussian_prior", "product_prior"), _PRIOR),
    **dict.fromkeys(("Benchmark", "ParameterSpace", "Parameter", "Grid", "EventBatch"), "made of keys of the file"),
    **dict.fromkeys(("EventStore", "SampleStore", "Information", "Limits"), "what stages leave behind"),
    **dict.fromkeys(("open_reader", "write_lhe", "PythiaReader", "shower"), "samples, generate and their key shower"),
    **dict.fromkeys(("sample_test", "sample_plain", "sample_variation"), "drawn where a stage needs such events"),
    **dict.fromkeys(
        ("RatioEstimator", "DoubleRatioEstimator", "QuadraticRatioEstimator", "ScoreEstimator"),
        "kinds of estimators",
    ),
    "load_estimator": "estimators of an analysis are those that it trains",
    "export_onnx": "onnx: true, under estimators",
    **dict.fromkeys(("Distribution", "distributions"), "report.observables, at report.thetas"),
    "impacts": "fits.NAME.impacts names the parameters",
    "check_variations": "of what was learned, by hand: it takes a point, and its verdicts are not kept",
    "write_report": "the last stage writes it",
    "write_workspace": "fits.NAME.workspace",
    "__version__": "the report says it",
}


def arguments(*callables):
    """Names and defaults of what these take; of several, all together."""
    found = {}
    for one in callables:
        if is_dataclass(one):
            found |= {field.name: None if field.default is MISSING else field.default for field in fields(one)}
        else:
            for name, parameter in inspect.signature(one).parameters.items():
                if name != "self":
                    found[name] = None if parameter.default is parameter.empty else parameter.default
    return found


@pytest.mark.parametrize(
    ("section", "taken", "only_here", "only_python"), SECTIONS, ids=[row[0].__name__ for row in SECTIONS]
)
def test_a_section_is_what_python_takes(section, taken, only_here, only_python):
    python = arguments(*taken)
    assert set(section.model_fields) - set(only_here) == set(python) - set(only_python)
    assert set(only_python) <= set(python) | set(SAMPLING), "a reason for what is not there"
    for name in set(section.model_fields) - set(only_here):
        default = section.model_fields[name].default
        if default not in {None, PydanticUndefined, (), False} and python[name] is not None:
            value = python[name]
            assert default == (value.__name__ if isinstance(value, type) else value), name


def test_everything_that_users_type_has_its_place_in_a_file_or_a_reason_why_not():
    inside = {home.__qualname__.partition(".")[0] for _, taken, _, _ in SECTIONS for home in taken}
    public = set(columnminer.__all__)
    assert public - inside - set(ELSEWHERE) == set()
    assert set(ELSEWHERE) <= public, "a reason for what is not public"


def test_a_campaign_file_takes_what_python_does():
    """Settings of a campaign are checked by the model of its file in either case; the rest are these few."""
    assert set(arguments(Campaign.__init__)) == {"model", "poi", "folder", "settings"}
    assert set(arguments(run_campaign)) == {
        *("campaign", "out", "client", "workers", "seed", "resume", "replace", "progress"),
    }


def test_every_section_of_a_file_is_compared():
    def sections(model):
        yield model
        for field in model.model_fields.values():
            for inner in inner_models(field.annotation):
                yield from sections(inner)

    def inner_models(annotation):
        if inspect.isclass(annotation) and issubclass(annotation, c.Section):
            yield annotation
        for part in getattr(annotation, "__args__", ()):
            yield from inner_models(part)

    of_their_own = {
        c.AnalysisConfig: "the whole",
        c.ReportConfig: "what the report shows",
        e.GenerateConfig: "what is generated",
        e.VariationConfig: "two selections",
        t.SamplingConfig: "one section of each kind",
        t.PriorConfig: "the three priors",
        t.NuisanceConfig: "the three priors, by name",
    }
    assert set(sections(c.AnalysisConfig)) - set(of_their_own) <= {row[0] for row in SECTIONS}


def test_names_that_become_folders_are_plain_words():
    for name in ("../x", "a/b", ".hidden", "", "a b", "x" * 81):
        with pytest.raises(ValueError, match="pattern"):
            c.AnalysisConfig.model_validate({"generate": {"drellyan": {"events": {name: 1}}}})
