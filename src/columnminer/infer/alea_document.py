"""alea's model YAML as checked plain data: which keys there are, and what the classes named in it stand for.

Nothing in a document is run or imported: YAML is read by the safe loader of `columnminer.documents`, class names are
looked up in the tables here, and texts that stand for numbers or distributions go through the allow-list of
`columnminer.model.distributions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.documents import read_mapping
from columnminer.errors import FileFormatError, InputError
from columnminer.model.checks import choice, entries, floats, items, text, unique
from columnminer.model.distributions import parse_values

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

__all__ = ["Document", "SourceOptions", "TermOptions", "read_document"]

SOURCES = {
    "alea.template_source.TemplateSource": "template",
    "alea.template_source.CombinedSource": "combined",
    "alea.template_source.SpectrumTemplateSource": "spectrum",
    "alea.ces_source.CESTemplateSource": "ces_template",
    "alea.ces_source.CESMonoenergySource": "ces_monoenergetic",
    "alea.ces_source.CESFlatSource": "ces_flat",
}
"""Classes of sources that a document may name, and what they are here."""

LIKELIHOODS = {
    f"{module}.{name}": name == "BinnedLogLikelihood"
    for module in ("blueice.likelihood", "blueice")
    for name in ("BinnedLogLikelihood", "UnbinnedLogLikelihood")
}
"""Classes of likelihoods, and whether they are binned."""

SHAPE_KEYS = (
    *("histname", "histnames", "template_filename", "template_filenames", "templatename", "templatenames"),
    *("named_parameters", "weight_names", "spectrum_name", "spectrum_axis", "histogram_scale_factor"),
    *("in_events_per_bin", "normalise_template", "convert_to_uniform", "log10_bins", "slice_args"),
    *("pdf_interpolation_method", "apply_efficiency", "efficiency_name", "allow_negative"),
    *("minimal_energy_resolution", "peak_energy", "zero_filling_for_outlier"),
    *(f"{step}_{what}" for step in ("smearing", "bias", "efficiency") for what in ("model", "parameters")),
    *("apply_smearing", "apply_bias"),
)
"""Options of sources; in a term they hold for all its sources."""

WITHOUT_EFFECT = (
    *("label", "color", "cache_dir", "task_dir", "force_recalculation", "never_save_to_cache", "delay_pdf_computation"),
    *("dont_hash_settings", "extra_dont_hash_settings", "cache_attributes", "data_dirs", "n_cores"),
    *("pdf_sampling_multiplier", "pdf_sampling_batch_size"),
)
"""Options that say how alea caches and draws; they change no number."""

TERM_KEYS = (
    *("default_source_class", "livetime_parameter", "fiducial_mass_parameter", "source_wise_interpolation"),
    "likelihood_config",
)
TERM_REQUIRED = ("name", "likelihood_type", "analysis_space", "sources")
TERM_LIKELIHOOD = ("morpher", "morpher_config", "outlier_likelihood", "unphysical_behaviour")
MODEL_OPTIONS = (
    *("confidence_level", "confidence_interval_kind", "confidence_interval_root_find", "asymptotic_dof"),
    "fit_strategy",
)


@dataclass(frozen=True)
class SourceOptions:
    """One source: `options` are its own and those of its term; `where` begins messages about it."""

    where: str
    name: str
    kind: str
    parameters: tuple[str, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class TermOptions:
    """One likelihood term.

    Attributes
    ----------
    space
        Edges by name of the axis.
    index_morpher
        Whether shape parameters are taken at their anchors only, never between.
    """

    where: str
    name: str
    binned: bool
    space: Mapping[str, NDArray[np.float64]]
    sources: tuple[SourceOptions, ...]
    livetime: str | None
    mass: str | None
    index_morpher: bool
    outlier_density: float


@dataclass(frozen=True)
class Document:
    """A model: its parameters by name as they stand in the document, its terms, and the rest.

    Attributes
    ----------
    where
        Name of the file, for messages.
    folder
        Of the file.
    template_folders
        Named in it.
    weights
        Of the terms and the auxiliary measurements; None: all one.
    options
        How alea fits and computes intervals, by its names.
    """

    where: str
    folder: Path
    parameters: Mapping[str, Mapping[str, Any]]
    terms: tuple[TermOptions, ...]
    template_folders: tuple[Path, ...]
    weights: tuple[float, ...] | None
    options: Mapping[str, Any]


def read_document(source: str | os.PathLike[str] | Mapping[str, Any]) -> Document:
    """Return a model document, of a YAML file or as a dict, checked.

    Raises
    ------
    FileFormatError
        If it cannot be read, or a key or class is unknown or has a value of the wrong kind; the message says which.
    """
    if isinstance(source, Mapping):
        where, folder, content = "model", Path.cwd(), source
    else:
        path = Path(source)
        where, folder, content = str(path), path.parent, None
    try:
        content = read_mapping(Path(where)) if content is None else content
        return _document(content, where, folder)
    except FileFormatError:
        raise
    except InputError as error:
        raise FileFormatError(str(error)) from error


def _document(content: Any, where: str, folder: Path) -> Document:
    keys = entries(
        content,
        where,
        required=("parameter_definition", "likelihood_config"),
        optional=(*MODEL_OPTIONS, "description"),
    )
    definition = keys["parameter_definition"]
    if isinstance(definition, list):
        definition = {name: {} for name in unique(definition, f"{where}: parameter_definition")}
    if not isinstance(definition, Mapping):
        msg = f"{where}: parameter_definition: expected parameters by name, found {definition!r:.60}"
        raise FileFormatError(msg)
    here = f"{where}: likelihood_config"
    config = entries(
        keys["likelihood_config"],
        here,
        required=("likelihood_terms",),
        optional=("template_folder", "likelihood_weights"),
    )
    terms = tuple(
        _term(term, f"{here}.likelihood_terms[{i}]", definition)
        for i, term in enumerate(items(config["likelihood_terms"], f"{here}.likelihood_terms"))
    )
    unique([term.name for term in terms], f"{here}.likelihood_terms")
    folders = config.get("template_folder") or []
    folders = [folders] if isinstance(folders, str) else items(folders, f"{here}.template_folder")
    return Document(
        where,
        folder,
        definition,
        terms,
        tuple(folder / text(f, f"{here}.template_folder") for f in folders),
        _weights(config.get("likelihood_weights"), len(terms) + 1, f"{here}.likelihood_weights"),
        {name: keys[name] for name in MODEL_OPTIONS if name in keys},
    )


def _weights(given: Any, count: int, where: str) -> tuple[float, ...] | None:
    if given is None:
        return None
    weights = floats(given, where)
    if weights.shape != (count,):
        msg = f"{where}: {count} weights are needed, one for each term and one for the auxiliary measurements"
        raise FileFormatError(msg)
    return tuple(weights.tolist())


def _term(document: Any, where: str, parameters: Mapping[str, Any]) -> TermOptions:
    keys = entries(
        document,
        where,
        required=TERM_REQUIRED,
        optional=(*TERM_KEYS, *SHAPE_KEYS, *WITHOUT_EFFECT, *_own_words(document), *parameters),
    )
    name = text(keys["name"], f"{where}.name")
    where = f"{where} ({name})"
    binned = LIKELIHOODS[choice(keys["likelihood_type"], LIKELIHOODS, f"{where}.likelihood_type")]
    config = entries(
        keys.get("likelihood_config") or {}, f"{where}.likelihood_config", required=(), optional=TERM_LIKELIHOOD
    )
    morpher = choice(
        config.get("morpher", "GridInterpolator"), ("GridInterpolator", "IndexMorpher"), f"{where}.morpher"
    )
    source_wise = bool(keys.get("source_wise_interpolation", not binned))
    if source_wise and (binned or morpher == "IndexMorpher"):
        msg = f"{where}: source_wise_interpolation is neither for binned likelihoods nor for the IndexMorpher"
        raise FileFormatError(msg)
    default = keys.get("default_source_class")
    shared = {key: value for key, value in keys.items() if key not in {*TERM_KEYS, "name", "sources", "analysis_space"}}
    listed = items(keys["sources"], f"{where}.sources")
    sources = tuple(_source(s, f"{where}.sources[{i}]", default, shared, parameters) for i, s in enumerate(listed))
    unique([source.name for source in sources], f"{where}.sources")
    return TermOptions(
        where,
        name,
        binned,
        _space(keys["analysis_space"], f"{where}.analysis_space"),
        sources,
        _parameter(keys.get("livetime_parameter"), parameters, f"{where}.livetime_parameter"),
        _parameter(keys.get("fiducial_mass_parameter"), parameters, f"{where}.fiducial_mass_parameter"),
        morpher == "IndexMorpher",
        float(config.get("outlier_likelihood", 1e-12)),
    )


def _source(
    document: Any, where: str, default: Any, shared: Mapping[str, Any], parameters: Mapping[str, Any]
) -> SourceOptions:
    keys = entries(
        document,
        where,
        required=("name", "parameters"),
        optional=("class", *SHAPE_KEYS, *WITHOUT_EFFECT, *_own_words(shared), *_own_words(document), *parameters),
    )
    name = text(keys["name"], f"{where}.name")
    where = f"{where} ({name})"
    kind = keys.get("class", default)
    if kind is None:
        msg = f"{where}: the source has no class, and the term no default_source_class"
        raise FileFormatError(msg)
    kind = SOURCES[choice(kind, SOURCES, f"{where}.class")]
    used = unique(keys["parameters"], f"{where}.parameters")
    for parameter in used:
        _parameter(parameter, parameters, f"{where}.parameters")
    for parameter in unique(keys.get("named_parameters") or (), f"{where}.named_parameters"):
        choice(parameter, used, f"{where}.named_parameters")
    own = {key: value for key, value in keys.items() if key not in {"name", "parameters", "class"}}
    return SourceOptions(where, name, kind, used, {**shared, **own})


def _own_words(document: Any) -> tuple[str, ...]:
    """Return the names that a document makes up itself: weights, parameters of transformations."""
    if not isinstance(document, Mapping):
        return ()
    lists = ("weight_names", "smearing_parameters", "bias_parameters", "efficiency_parameters")
    return tuple(str(name) for key in lists if isinstance(document.get(key), list) for name in document[key])


def _parameter(name: Any, parameters: Mapping[str, Any], where: str) -> str | None:
    return None if name is None else choice(name, parameters, where)


def _space(document: Any, where: str) -> dict[str, NDArray[np.float64]]:
    axes = [
        axis for entry in items(document, where) for axis in entries(entry, where, required=(), optional=entry).items()
    ]
    unique([name for name, _ in axes], where)
    space = {name: _edges(given, f"{where}.{name}") for name, given in axes}
    if not space:
        msg = f"{where}: there is no axis"
        raise FileFormatError(msg)
    return space


def _edges(given: Any, where: str) -> NDArray[np.float64]:
    try:
        edges = parse_values(given)
    except InputError as error:
        msg = f"{where}: {error}"
        raise FileFormatError(msg) from error
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        msg = f"{where}: at least two edges that increase are needed"
        raise FileFormatError(msg)
    return edges
