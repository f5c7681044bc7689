"""The sources of alea's likelihood terms as `TemplateSource`s: one shape for each combination of their anchors."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from columnminer.errors import ColumnMinerError, FileFormatError, InputError
from columnminer.infer.ces import SpectralSource
from columnminer.infer.template_files import Histogram, read_histogram
from columnminer.infer.template_names import fill_name, find_file, spellings
from columnminer.infer.template_shapes import (
    Shape,
    combined,
    counted,
    read_spectrum,
    reweighted,
    shape_in,
    sliced,
)
from columnminer.infer.template_sources import TemplateSource
from columnminer.model.checks import entries, items, number, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from columnminer.infer.alea_document import SourceOptions, TermOptions
    from columnminer.model.parameters import Parameter

__all__ = ["TemplateFiles", "placed", "term_sources"]

_STEPS: dict[str, dict[str, tuple[str, ...]]] = {
    "smearing": {"gaussian": ("smearing_a", "smearing_b"), "mono_gaussian": ("smearing_a", "smearing_b")},
    "bias": {"arctan": ("A", "k", "B")},
    "efficiency": {"constant": ("efficiency_constant",)},
}
"""Models of what is applied to spectra, and the names of their parameters."""


@dataclass
class TemplateFiles:
    """Files that a model is made from, each histogram read once.

    Parameters
    ----------
    folders
        In which they are looked for, in order.
    """

    folders: Sequence[Path]
    _read: dict[tuple[Path, str | None], Histogram] = field(default_factory=dict)

    def histogram(self, file: str, name: str | None, named: Mapping[str, float]) -> Histogram:
        """Return a histogram; names of files and histograms are filled with the values of named parameters."""
        path, values = self._find(file, named)
        key = path, None if name is None else fill_name(name, values)
        if key not in self._read:
            self._read[key] = read_histogram(*key)
        return self._read[key]

    def path(self, file: str, named: Mapping[str, float]) -> Path:
        """Return where a file is."""
        return self._find(file, named)[0]

    def _find(self, file: str, named: Mapping[str, float]) -> tuple[Path, Mapping[str, float]]:
        for values in spellings(named):
            try:
                return find_file(fill_name(file, values), self.folders), values
            except InputError:
                continue
        return find_file(fill_name(file, named), self.folders), named


@dataclass(frozen=True)
class _Recipe:
    """How one source is made at given values of parameters."""

    term: TermOptions
    source: SourceOptions
    files: TemplateFiles
    mass: float
    smeared: dict[tuple[float, ...], Histogram] = field(default_factory=dict)

    def shape(self, values: Mapping[str, Any]) -> Shape:
        if self.source.kind.startswith("ces_"):
            return self._spectral(values)
        options = self.source.options
        if options.get("pdf_interpolation_method", "piecewise") != "piecewise":
            msg = "pdf_interpolation_method: densities are constant in a bin, 'piecewise'; nothing else is supported"
            raise InputError(msg)
        return shape_in(
            self.term.space,
            self._combined(values) if self.source.kind == "combined" else self._single(values),
            scale=_number(options, "histogram_scale_factor", 1),
            log10_axes=options.get("log10_bins") or (),
            uniform=bool(options.get("convert_to_uniform", False)),
        )

    def _named(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._value(name, values) for name in self.source.options.get("named_parameters") or ()}

    def _value(self, name: str, values: Mapping[str, Any]) -> Any:
        value = self.source.options.get(name, values.get(name))
        return (
            number(value, f"the value of {name!r}") if not isinstance(value, int) or isinstance(value, bool) else value
        )

    def _single(self, values: Mapping[str, Any]) -> Histogram:
        options, named = self.source.options, self._named(values)
        file = options.get("template_filename", options.get("templatename"))
        histogram = self.files.histogram(text(file, "template_filename"), options.get("histname"), named)
        if self.source.kind == "spectrum":
            path = self.files.path(text(options.get("spectrum_name"), "spectrum_name"), named)
            histogram = reweighted(histogram, options.get("spectrum_axis", 0), read_spectrum(path))
        histogram = counted(
            histogram,
            in_events_per_bin=bool(options.get("in_events_per_bin", True)),
            normalise=bool(options.get("normalise_template", False)),
        )
        return sliced(histogram, _slices(options.get("slice_args")))

    def _combined(self, values: Mapping[str, Any]) -> Histogram:
        options, named = self.source.options, self._named(values)
        if not options.get("in_events_per_bin", True):
            msg = "in_events_per_bin: false is not for a CombinedSource, which normalises its histograms"
            raise InputError(msg)
        files = items(options.get("template_filenames", options.get("templatenames")), "template_filenames")
        names = items(options.get("histnames"), "histnames")
        if len(names) != len(files):
            msg = f"there are {len(names)} histnames for {len(files)} template_filenames"
            raise InputError(msg)
        given = options.get("slice_args")
        each = isinstance(given, list) and any(isinstance(g, list) for g in given)
        cuts = [_slices(g) for g in given or ()] if each else [_slices(given)] * len(files)
        if len(cuts) != len(files):
            msg = f"there are {len(cuts)} lists of slice_args for {len(files)} template_filenames"
            raise InputError(msg)
        histograms = [
            sliced(self.files.histogram(file, name, named), cut)
            for file, name, cut in zip(files, names, cuts, strict=True)
        ]
        weights = [self._value(name, values) for name in items(options.get("weight_names"), "weight_names")]
        return combined(histograms, weights)

    def _spectral(self, values: Mapping[str, Any]) -> Shape:
        options, kind = self.source.options, self.source.kind.removeprefix("ces_")
        if len(self.term.space) != 1:
            msg = f"a CES source needs an analysis space with one axis, not {', '.join(self.term.space)}"
            raise InputError(msg)
        template = None
        if kind == "template":
            file = text(options.get("template_filename", options.get("templatename")), "template_filename")
            template = self.files.histogram(file, options.get("histname"), self._named(values))
        peak = options.get("peak_energy")
        source = SpectralSource(
            cast("Any", kind),  # one of those in the table of classes
            next(iter(self.term.space.values())),
            template=template,
            energy=None if peak is None else number(peak, "peak_energy"),
            smearing=None if kind == "flat" else self._step("smearing", values),
            bias=None if kind == "flat" else self._step("bias", values),
            efficiency=self._step("efficiency", values),
            minimal_resolution=_number(options, "minimal_energy_resolution", 0.05),
            fill_with_zeros=bool(options.get("zero_filling_for_outlier", False)),
            mass=self.mass,
        )
        key = tuple((source.smearing or {}).values())
        if key not in self.smeared:
            self.smeared[key] = source.smeared_truth()
        shape = source.shape(self.smeared[key])
        return source.binned(shape) if self.term.binned else shape

    def _step(self, step: str, values: Mapping[str, Any]) -> dict[str, float] | None:
        options = self.source.options
        if not options.get(f"apply_{step}", True):
            return None
        model, names = str(options.get(f"{step}_model")), options.get(f"{step}_parameters")
        if model not in _STEPS[step] or not isinstance(names, list):
            msg = (
                f"{step}_model must be one of {', '.join(_STEPS[step])} with {step}_parameters, not {model!r}; "
                f"apply_{step}: false leaves it out"
            )
            raise InputError(msg)
        wanted = _STEPS[step][model]
        if sorted(names) != sorted(wanted):
            msg = f"{step}_parameters of the model {model!r} are {', '.join(wanted)}, not {names}"
            raise InputError(msg)
        return {name: self._value(name, values) for name in wanted}


@contextmanager
def placed(where: str) -> Iterator[None]:
    """Say of every error inside, also of one in another file, which part of the document it comes from."""
    try:
        yield
    except ColumnMinerError as error:
        msg = f"{where}: {error}"
        raise FileFormatError(msg) from error


def term_sources(
    term: TermOptions, parameters: Mapping[str, Parameter], nominal: Mapping[str, Any], files: TemplateFiles
) -> tuple[dict[str, NDArray[np.float64]], list[TemplateSource]]:
    """Return the axes of a term, {name: edges}, and its sources.

    Sources in the combined energy scale have bins of their own; without binning, the axis holds the edges of all.

    Parameters
    ----------
    term
        What the document says.
    parameters
        Of the model.
    nominal
        Their values as the document writes them: names of files may tell 2 from 2.0.
    files
        Where templates are read from.

    Raises
    ------
    FileFormatError
        If a source cannot be made; the message says which and why.
    """
    exposure = 1.0 if term.livetime is None else nominal[term.livetime]
    mass = 1.0 if term.mass is None else nominal[term.mass]
    made = []
    for source in term.sources:
        with placed(source.where):
            shapes = tuple(n for n in source.parameters if parameters[n].kind in {"shape", "index"})
            anchors = [_anchors(parameters[name], term) for name in shapes]
            recipe = _Recipe(term, source, files, mass)
            grid = [
                recipe.shape({**nominal, **dict(zip(shapes, at, strict=True))}) for at in itertools.product(*anchors)
            ]
            made.append((source, shapes, tuple(map(len, anchors)), grid))
    axes = dict(term.space)
    spectral = not term.binned and any(source.kind.startswith("ces_") for source in term.sources)
    if spectral:
        (name,) = axes
        axes[name] = _union([*(_support(shape) for *_, grid in made for shape in grid), axes[name]])
    sources = []
    for source, shapes, counts, grid in made:
        with placed(source.where), np.errstate(over="ignore"):  # what is infinite is refused by the source
            probability = [_in_bins(shape, axes, term, looked_up=spectral) for shape in grid]
            bins = tuple(len(edges) - 1 for edges in axes.values())
            sources.append(
                TemplateSource(
                    name=source.name,
                    shapes=shapes,
                    probability=np.reshape(probability, counts + bins),
                    events=np.reshape([float(s.events * exposure) for s in grid], counts),
                    rate=_rate(source, parameters),
                    efficiency=_efficiency(source, parameters),
                    allow_negative=bool(source.options.get("allow_negative", False)),
                )
            )
    return axes, sources


def _anchors(parameter: Parameter, term: TermOptions) -> list[float]:
    if term.index_morpher and parameter.kind == "shape":
        msg = f"the IndexMorpher does not interpolate {parameter.name!r}, which then needs ptype: index"
        raise InputError(msg)
    if parameter.anchors is None:
        msg = f"the {parameter.kind} parameter {parameter.name!r} has no blueice_anchors"
        raise InputError(msg)
    return [int(a) if a.is_integer() else a for a in parameter.anchors]


def _rate(source: SourceOptions, parameters: Mapping[str, Parameter]) -> str:
    rates = [name for name in source.parameters if parameters[name].kind == "rate"]
    if len(rates) != 1:
        msg = f"a source has exactly one rate parameter, not {len(rates)}: {', '.join(rates)}"
        raise InputError(msg)
    return rates[0]


def _efficiency(source: SourceOptions, parameters: Mapping[str, Parameter]) -> str | None:
    name = source.options.get("efficiency_name")
    if name is None:
        return None
    if name not in source.parameters:
        msg = f"efficiency_name {name!r} is not among the parameters of the source"
        raise InputError(msg)
    low, high = parameters[name].fit_limits or (None, None)
    if parameters[name].kind != "efficiency" or low is None or low < 0 or high is None:
        msg = f"{name!r} must have ptype efficiency and finite fit_limits that are not negative"
        raise InputError(msg)
    return str(name)


def _slices(given: Any) -> list[dict[str, Any]]:
    listed = [given] if isinstance(given, dict) else items(given or [], "slice_args")
    keys = ("sum_axis", "slice_axis_limits")
    return [entries(cut, "slice_args", required=("slice_axis",), optional=keys) for cut in listed if cut]


def _number(options: Mapping[str, Any], key: str, default: float) -> float:
    # An integer stays one: it does not change the precision of the contents that it scales.
    return number(options.get(key, default), key)


def _support(shape: Shape) -> NDArray[np.float64]:
    """Return the edges of a shape from its first to its last bin that is not empty."""
    filled = np.flatnonzero(shape.density)
    return np.asarray(shape.edges[0][filled[0] : filled[-1] + 2])


def _union(edges: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return all edges in order; those that differ by rounding only are one."""
    every = np.unique(np.concatenate(edges))
    apart = np.diff(every, prepend=-np.inf) > 1e-9 * (every[-1] - every[0]) / len(every)
    return np.asarray(every[apart])


def _in_bins(
    shape: Shape, axes: Mapping[str, NDArray[np.float64]], term: TermOptions, *, looked_up: bool
) -> NDArray[np.float64]:
    edges = tuple(axes.values())
    if looked_up:
        return _looked_up(shape, edges[0])
    return shape.probability if term.binned else shape.probability_in(edges)


def _looked_up(shape: Shape, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    middles, own = 0.5 * (edges[1:] + edges[:-1]), shape.edges[0]
    cell = np.searchsorted(own, middles) - 1
    inside = (cell >= 0) & (cell < len(own) - 1)
    density = np.where(inside, shape.density[np.clip(cell, 0, len(own) - 2)], 0.0)
    return np.asarray(density * np.diff(edges), dtype=np.float64)
