"""What a single file is: JSON, YAML and HDF5 documents by their keys, and whatever else there is by its events."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from columnminer.documents import read_document, read_mapping
from columnminer.errors import ColumnMinerError, FileFormatError
from columnminer.formats.hdf5 import opened_hdf5
from columnminer.formats.opening import open_reader, reader_for
from columnminer.infer.alea_document import read_document as read_alea_model
from columnminer.model.setup import Setup
from columnminer.pipeline.configuration import AnalysisConfig
from columnminer.pipeline.tables import benchmark_table, campaign_table, fact_table, parameter_table, threshold_table
from columnminer.run.resources import Resources
from columnminer.show.report import Table
from columnminer.store.madminer import load_madminer_setup
from columnminer.toys.alea_results import read_alea_results
from columnminer.toys.campaign import Campaign
from columnminer.toys.combinations import combinations
from columnminer.toys.jobs import read_resources
from columnminer.toys.neyman import NeymanThresholds
from columnminer.toys.threshold_files import holds_thresholds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import h5py

__all__ = ["KINDS", "describe_file", "setup_tables"]

KINDS = (
    "event stores, sample stores and stores of toys; estimators, ensembles and calibrated estimators; outputs of "
    "columnminer run and their stages; folders of jobs; event files (LHE, HepMC, Delphes, NanoAOD); set-ups, "
    "thresholds, workspaces of HistFactory, corrections of correctionlib, lists of luminosity sections and settings of "
    "MadMiner's estimators (JSON); analyses, campaigns, resources, and models and running configurations of alea "
    "(YAML); files of MadMiner, and toys, results and templates of alea (HDF5)"
)
"""What can be described, for messages."""

_LARGEST = 200_000_000
"""Bytes of a JSON file that is looked into."""


def describe_file(path: Path) -> list[Table]:
    """Say what a file is.

    Raises
    ------
    FileFormatError
        If it is nothing that is known here.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    kind = suffixes[-1] if suffixes else ""
    if kind == ".json":
        return _json(path)
    if kind in {".yaml", ".yml"}:
        return _yaml(path)
    return _hdf5(path) if kind in {".h5", ".hdf5"} else _events(path)


def setup_tables(setup: Setup) -> list[Table]:
    """Return what a set-up says."""
    return [fact_table("Set-up.", {"hash": setup.hash}), parameter_table(setup), benchmark_table(setup)]


def _unknown(path: Path, what: str) -> FileFormatError:
    return FileFormatError(f"{path}: {what}. Known are: {KINDS}")


# JSON


def _json(path: Path) -> list[Table]:
    if path.stat().st_size > _LARGEST:
        raise _unknown(path, f"more than {_LARGEST // 10**6} MB of JSON are nothing that is known here")
    try:
        content = path.read_bytes()
        document = json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)
    except (ValueError, RecursionError, gzip.BadGzipFile, EOFError) as reason:
        msg = f"{path}: no JSON: {reason}"
        raise FileFormatError(msg) from reason
    if not isinstance(document, Mapping):
        raise _unknown(path, f"JSON that holds no keys, but a {type(document).__name__}")
    try:
        for known, described in _JSON.items():
            if set(known) <= set(document):
                return described(path, document)
        if document and all(name.isdecimal() for name in document):
            return _luminosity_sections(document)
        if holds_thresholds(path):
            return [threshold_table(NeymanThresholds.from_json(path))]
    except ColumnMinerError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as reason:
        msg = f"{path}: something in it is missing, or not what it should be: {reason!r}"
        raise FileFormatError(msg) from reason
    raise _unknown(path, f"JSON with {_named(document)}, which is not known here")


def _named(document: Mapping[str, Any]) -> str:
    return f"the keys {', '.join(map(str, list(document)[:10]))}" if document else "no keys"


def _luminosity_sections(document: Mapping[str, Any]) -> list[Table]:
    sections = sum(last - first + 1 for ranges in document.values() for first, last in ranges)
    facts = {"runs": f"{len(document)}, {min(document, key=int)} to {max(document, key=int)}", "sections": sections}
    return [fact_table("Certified luminosity sections.", facts)]


def _workspace(path: Path, document: Mapping[str, Any]) -> list[Table]:
    observed = {entry["name"]: entry["data"] for entry in document.get("observations", [])}
    rows = []
    for channel in document["channels"]:
        data = observed.get(channel["name"])
        for sample in channel["samples"]:
            modifiers = ", ".join(dict.fromkeys(f"{m['name']} ({m['type']})" for m in sample["modifiers"]))
            seen = "" if data is None else f"{sum(data):g}"
            cells = [f"{len(sample['data'])}", f"{sum(sample['data']):.6g}", seen, modifiers]
            rows.append([channel["name"], sample["name"], *cells])
    measurements = [f"{m['name']} (of {m['config']['poi'] or 'nothing'})" for m in document["measurements"]]
    facts = {
        "file": path.name,
        "measurements": ", ".join(measurements),
        "version": document.get("version", ""),
    }
    head = ["channel", "sample", "bins", "expected events", "observed in the channel", "modifiers"]
    return [fact_table("Workspace of HistFactory.", facts), Table(head, rows, "Channels.")]


def _corrections(path: Path, document: Mapping[str, Any]) -> list[Table]:
    rows = [
        [
            entry["name"],
            ", ".join(f"{one['name']} ({one['type']})" for one in entry.get("inputs", [])),
            (entry.get("description") or "").split("\n")[0],
        ]
        for entry in document["corrections"]
    ]
    facts = {"file": path.name, "schema version": document["schema_version"], "corrections": len(rows)}
    tables = [fact_table("Corrections of correctionlib.", facts)]
    return [*tables, Table(["correction", "inputs", "description"], rows, "Corrections, for detector maps.")]


def _madminer_estimator(path: Path, document: Mapping[str, Any]) -> list[Table]:
    facts = {"file": path.name, "kind": document["estimator_type"], **document}
    return [fact_table("Settings of an estimator of MadMiner; see import_madminer_estimator.", facts)]


def _job(path: Path, document: Mapping[str, Any]) -> list[Table]:
    facts = {"system": document["system"], "number": document.get("number") or "none", "tasks": len(document["tasks"])}
    return [fact_table(f"Record of a job; the command jobs tells how those in {path.parent} stand.", facts)]


def _spectrum(path: Path, document: Mapping[str, Any]) -> list[Table]:
    facts = {"file": path.name, "values": len(document["map"])}
    return [fact_table("Spectrum of a source of alea.", facts)]


def _part(path: Path, _: Mapping[str, Any]) -> list[Table]:
    raise _unknown(path, f"a part of what its folder holds; describe {path.parent}")


_JSON: dict[tuple[str, ...], Callable[[Path, Mapping[str, Any]], list[Table]]] = {
    ("format", "parameters", "benchmarks"): lambda path, _: setup_tables(Setup.load(path)),
    ("channels", "measurements"): _workspace,
    ("schema_version", "corrections"): _corrections,
    ("estimator_type",): _madminer_estimator,
    ("system", "tasks"): _job,
    ("coordinate_system", "map"): _spectrum,
    ("stage", "key", "needs"): _part,
    ("kind", "settings", "feature_names"): _part,
}
"""Keys by which a document is known, and what describes it."""


# YAML


def _yaml(path: Path) -> list[Table]:
    document = read_mapping(path)
    if "computation_options" in document:
        return _running_configuration(document)
    if "parameter_definition" in document or "likelihood_config" in document:
        return _alea_model(path)
    if "poi" in document:
        return _campaign(path)
    if document and set(document) <= set(Resources.__dataclass_fields__):
        return [fact_table("Resources of jobs.", vars(read_resources(path)))]
    if set(document) & set(AnalysisConfig.model_fields):
        return _analysis(path)
    raise _unknown(path, f"YAML with {_named(document)}, which is not known here")


def _campaign(path: Path) -> list[Table]:
    campaign = Campaign.from_yaml(path)
    config = campaign.config
    points = combinations(config.to_zip, config.to_vary, config.in_common)
    facts = {
        "model": config.model if isinstance(config.model, str) else config.model.given() if config.model else "none",
        "parameter of interest": config.poi,
        "points": len(points),
        "toys at each": config.n_toys,
        "hypotheses": ", ".join(map(str, config.hypotheses)),
        "confidence intervals": f"{config.kind}, {config.level:g}" if config.compute_confidence_interval else "none",
        "seed": config.seed,
    }
    rows = [[f"{i}", ", ".join(f"{name} = {value}" for name, value in point.items())] for i, point in enumerate(points)]
    return [fact_table("Campaign of toys.", facts), Table(["point", "what is set there"], rows, "Points.")]


def _running_configuration(document: Mapping[str, Any]) -> list[Table]:
    computations = document["computation_options"]
    rows = []
    for name, said in computations.items() if isinstance(computations, Mapping) else ():
        zipped, varied, common = ((said or {}).get(key) or {} for key in ("to_zip", "to_vary", "in_common"))
        points = len(combinations(zipped, varied, common))
        rows.append([str(name), f"{points}", f"{common.get('n_mc', '')}", ", ".join({**zipped, **varied})])
    facts = {
        "statistical model": document.get("statistical_model", ""),
        "its file": document.get("statistical_model_config", ""),
        "parameter of interest": document.get("poi", ""),
    }
    head = ["computation", "points", "toys at each", "varied"]
    tables = [fact_table("Running configuration of alea.", facts)]
    return [*tables, Table(head, rows, "For columnminer toys --computation.")]


def _alea_model(path: Path) -> list[Table]:
    model = read_alea_model(path)
    rows = []
    for name, said in model.parameters.items():
        keys = ("ptype", "nominal_value", "uncertainty", "fit_limits", "blueice_anchors", "description")
        rows.append([name, *("" if (value := (said or {}).get(key)) is None else str(value) for key in keys)])
    head = ["parameter", "type", "nominal", "uncertainty", "fit limits", "anchors", "description"]
    terms = [
        [
            term.name,
            "binned" if term.binned else "unbinned",
            ", ".join(f"{axis} ({len(edges) - 1} bins)" for axis, edges in term.space.items()),
            ", ".join(f"{source.name} ({source.kind})" for source in term.sources),
        ]
        for term in model.terms
    ]
    return [
        fact_table("Statistical model of alea.", {"file": path.name, **model.options}),
        Table(head, rows, "Parameters."),
        Table(["term", "kind", "axes", "sources"], terms, "Terms of the likelihood."),
    ]


def _analysis(path: Path) -> list[Table]:
    config = read_document(path, AnalysisConfig)
    facts: dict[str, Any] = {"title": config.report.title or path.stem, "seed": config.seed}
    if isinstance(config.setup, str):
        facts["set-up"] = config.setup
    elif config.setup is not None:
        facts["parameters"] = ", ".join(config.setup.parameters)
        facts["benchmarks"] = ", ".join(config.setup.benchmarks)
        facts["systematics"] = ", ".join(f"{name} ({s.type})" for name, s in config.setup.systematics.items()) or "none"
    if config.generate is not None:
        events = config.generate.drellyan.events
        facts["generated events"] = ", ".join(f"{n} at {name}" for name, n in events.items())
    if config.selection is not None:
        facts["observables"] = ", ".join(config.selection.observables)
        facts["cuts"] = len(config.selection.cuts)
    for section in ("ratio", "double_ratio", "local", "density"):
        if (draws := getattr(config.sampling, section)) is not None:
            facts[f"training events, {section}"] = draws.n
    for section, wanted in (("limits", config.limits), ("information", config.information)):
        if wanted is not None:
            simple = [name for name in ("truth", "rate", "exact") if getattr(wanted, name, False)]
            others = [*wanted.histograms, *getattr(wanted, "projections", {})]
            facts[section] = f"{', '.join([*wanted.estimators, *others, *simple])}; {wanted.luminosity:g} / pb"
    if config.fits:
        facts["fits"] = ", ".join(config.fits)
    samples = [
        [
            sample.path if isinstance(sample.path, str) else ", ".join(sample.path),
            "recorded" if sample.data else "background" if sample.background else sample.benchmark or "",
            f"{sample.k_factor:g}",
            ", ".join(sample.systematics),
        ]
        for sample in config.samples
    ]
    estimators = [
        [name, one.estimator_kind, one.training_method, "" if one.ensemble is None else f"{one.ensemble.n_members}"]
        for name, one in config.estimators.items()
    ]
    tables = [fact_table("Analysis, for columnminer run.", facts)]
    if samples:
        tables.append(Table(["files", "generated at", "k factor", "systematics"], samples, "Samples."))
    if estimators:
        tables.append(Table(["estimator", "kind", "method", "members"], estimators, "Estimators."))
    return tables


# HDF5 and events


def _hdf5(path: Path) -> list[Table]:
    with opened_hdf5(path) as file:
        groups = set(file)
        if {"bins", "templates"} <= groups:
            return _templates(path, file)
        events = {"events": len(file["samples/observations"])} if "samples/observations" in file else {}
        toys = {name: json.loads(file.attrs[name]) for name in ("n_datasets", "dataset_names") if name in file.attrs}
    if "fits" in groups:
        return [campaign_table([read_alea_results(str(path))])]
    if len(toys) == 2:
        facts = {"file": path.name, "toys": toys["n_datasets"], "data sets": ", ".join(toys["dataset_names"])}
        return [fact_table("Toy data in the layout of alea.", facts)]
    if "parameters" in groups:
        facts = {"file": path.name, **events}
        return [fact_table("MadMiner file.", facts), *setup_tables(load_madminer_setup(path))]
    raise _unknown(path, f"HDF5 with {', '.join(sorted(groups)[:10]) or 'nothing'} in it")


def _templates(path: Path, file: h5py.File) -> list[Table]:
    facts = {"file": path.name}
    for i in range(len(file["bins"])):
        edges = file["bins"][str(i)]
        facts[f"axis {edges.attrs.get('name', i)}"] = f"{len(edges) - 1} bins, {edges[0]:g} to {edges[-1]:g}"
    rows = [[name, f"{contents[()].sum():.6g}"] for name, contents in file["templates"].items()]
    return [fact_table("Templates.", facts), Table(["template", "sum"], rows, "Histograms.")]


def _events(path: Path) -> list[Table]:
    try:
        kind = reader_for(path)
    except FileFormatError as reason:
        msg = f"{reason}. Known are: {KINDS}"
        raise FileFormatError(msg) from reason
    info = open_reader(path).info()
    facts = {
        "format": kind.__name__.removesuffix("Reader"),
        "cross section [pb]": "unknown" if info.cross_section is None else f"{info.cross_section:.6g}",
        "its error [pb]": "unknown" if info.cross_section_error is None else f"{info.cross_section_error:.2g}",
        "weighting (IDWTUP)": "unknown" if info.weighting is None else info.weighting,
        **info.attributes,
    }
    rows = [[name, info.weight_descriptions.get(name, "")] for name in info.weight_names]
    return [fact_table("Event file.", facts), Table(["weight", "description"], rows, "Weights.")]
