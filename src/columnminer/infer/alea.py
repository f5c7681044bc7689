"""alea's statistical models, read from their YAML files as they are.

`load_alea` makes a `TemplateModel` of parameters, likelihood terms and templates. What parameters mean here:

- a ``needs_reinit`` parameter (or one without ptype) is a part of how the model is built: see `model.at`;
- a conditional parameter is what it is at the nominal value of the one that it depends on;
- relative uncertainties are made absolute: times the absolute nominal value.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import FileFormatError, InputError, UnknownNameError, did_you_mean
from columnminer.infer.alea_document import Document, read_document
from columnminer.infer.alea_sources import TemplateFiles, placed, term_sources
from columnminer.infer.template_model import TemplateModel
from columnminer.infer.templates import TemplateLikelihood
from columnminer.model.checks import entries, number
from columnminer.model.conditional import ConditionalParameter
from columnminer.model.parameters import Parameter

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

__all__ = ["AleaModel", "load_alea"]

_KINDS = ("rate", "shape", "index", "efficiency", "livetime", "needs_reinit")
_FIELDS = {
    "nominal_value": "nominal",
    "ptype": "kind",
    "fittable": "fittable",
    "blueice_anchors": "anchors",
    "fit_limits": "fit_limits",
    "parameter_interval_bounds": "interval_bounds",
    "fit_guess": "fit_guess",
    "description": "description",
}
"""alea's names of properties of a parameter, and ours."""

PARAMETER_KEYS = (*_FIELDS, "uncertainty", "relative_uncertainty", "conditioning_parameter_name")
"""What a model file may say of a parameter."""


class AleaModel(TemplateModel):
    """A model that was read from alea's YAML; made by `load_alea`.

    Attributes
    ----------
    options : dict
        What the file says of fits and intervals (``fit_strategy``, ``confidence_level``, ...), by alea's names.
    """

    options: Mapping[str, Any]


def load_alea(
    source: str | os.PathLike[str] | Mapping[str, Any],
    *,
    template_folder: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    **nominal_values: float,
) -> AleaModel:
    """Read one of alea's models.

    Parameters
    ----------
    source
        YAML file, or what it holds as a dict.
    template_folder
        Where templates are looked for first; then in the folder of the file, in ``templates`` beside that folder and
        inside it, and in the ``template_folder`` that the file names.
    **nominal_values
        In place of those in the file.

    Raises
    ------
    FileFormatError
        If the file cannot be read, has an unknown key or class, or describes something impossible; the message says
        where.
    UnknownNameError
        If a nominal value is given for a parameter that the model does not have.

    Examples
    --------
    >>> model = cm.load_alea("search.yaml")
    >>> {name: round(float(n), 1) for name, n in model.expectation_values().items()}
    {'background': 254.5, 'signal': 3.6}
    """
    document = read_document(source)
    nominal = _nominal(document, nominal_values)
    parameters = {name: _parameter(document, name, nominal) for name in document.parameters}
    files = TemplateFiles(_folders(document, template_folder))
    terms = []
    for term in document.terms:
        axes, sources = term_sources(term, parameters, nominal, files)
        with placed(term.where):
            used = {n for s in term.sources for n in s.parameters} | {term.livetime}
            exposure = None if term.livetime is None else float(nominal[term.livetime])
            terms.append(
                TemplateLikelihood(
                    term.name,
                    axes,
                    sources,
                    [p for p in parameters.values() if p.name in used],
                    binned=term.binned,
                    exposures={term.livetime: exposure} if term.livetime and exposure else {},
                    outlier_density=term.outlier_density,
                )
            )
    with placed(document.where):
        model = AleaModel(
            list(parameters.values()),
            terms,
            weights=document.weights,
            rebuild=partial(load_alea, source, template_folder=template_folder, **nominal_values),
        )
    model.options = dict(document.options)
    return model


def _folders(document: Document, given: Any) -> list[Path]:
    given = [] if given is None else [given] if isinstance(given, str | Path) else list(given)
    beside = (document.folder, document.folder.resolve().parent / "templates", document.folder / "templates")
    return [*map(Path, given), *beside, *document.template_folders]


def _nominal(document: Document, given: Mapping[str, float]) -> dict[str, Any]:
    """Return nominal values as they are written, since names of template files may tell 50 from 50.0."""
    for name in given:
        if name not in document.parameters:
            msg = f"{document.where}: there is no parameter {name!r}.{did_you_mean(name, document.parameters)}"
            raise UnknownNameError(msg)
    nominal: dict[str, Any] = {}
    for name, keys in document.parameters.items():
        where = f"{document.where}: parameter_definition.{name}"
        if not isinstance(keys, dict):
            msg = f"{where}: expected the properties of a parameter, found {keys!r:.60}"
            raise FileFormatError(msg)
        value = given.get(name, keys.get("nominal_value"))
        if isinstance(value, np.generic):
            value = value.item()  # which does not widen the templates that it scales
        if isinstance(value, bool) or not isinstance(value, Real | dict):
            msg = f"{where}: nominal_value must be a number, not {value!r:.60}"
            raise FileFormatError(msg)
        nominal[name] = value
    for name, value in nominal.items():
        if isinstance(value, dict):
            on = document.parameters[name].get("conditioning_parameter_name")
            if not isinstance(on, str) or not isinstance(nominal.get(on), Hashable) or nominal[on] not in value:
                where = f"{document.where}: parameter_definition.{name}"
                msg = f"{where}: nominal_value has no entry for {on} = {nominal.get(str(on))!r}"
                raise FileFormatError(msg)
            nominal[name] = value[nominal[on]]
    return nominal


def _parameter(document: Document, name: str, nominal: Mapping[str, Any]) -> Parameter:
    where = f"{document.where}: parameter_definition.{name}"
    keys = entries(
        document.parameters[name],
        where,
        required=(),
        optional=PARAMETER_KEYS,
    )
    with placed(where):
        on = keys.pop("conditioning_parameter_name", None)
        if on is None:
            return Parameter(name, **_properties({**keys, "nominal_value": nominal[name]}))
        if not isinstance(on, str) or on not in nominal:
            msg = f"conditioning_parameter_name: there is no parameter {on!r}.{did_you_mean(str(on), nominal)}"
            raise InputError(msg)
        cases = [set(value) for value in keys.values() if isinstance(value, dict)]
        if not cases or any(case != cases[0] for case in cases):
            msg = f"all properties that depend on {on!r} must be given for the same values of it"
            raise InputError(msg)
        at = {
            value: _properties(
                {k: v[value] if isinstance(v, dict) else v for k, v in keys.items()} | _given(name, nominal, keys)
            )
            for value in cases[0]
        }
        return ConditionalParameter(name, on, at).at(nominal[on])


def _given(name: str, nominal: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    return {} if isinstance(keys.get("nominal_value"), dict) else {"nominal_value": nominal[name]}


def _properties(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `Parameter` takes, of what alea writes."""
    made = {ours: keys[theirs] for theirs, ours in _FIELDS.items() if keys.get(theirs) is not None}
    kind = made.setdefault("kind", "needs_reinit")
    if kind not in _KINDS:
        msg = f"ptype cannot be {kind!r}.{did_you_mean(str(kind), _KINDS)}"
        raise InputError(msg)
    if kind == "needs_reinit":
        made["fittable"] = False
    if not made.get("fittable", True) and ("fit_guess" in made or "interval_bounds" in made):
        msg = "fit_guess and parameter_interval_bounds have no meaning where fittable is false"
        raise InputError(msg)
    if kind == "rate" and "interval_bounds" in made:
        made["interval_bounds_in_events"] = True
    uncertainty = keys.get("uncertainty")
    if uncertainty is not None and keys.get("relative_uncertainty"):
        if isinstance(uncertainty, str) or not made["nominal"]:
            msg = "a relative uncertainty is a number, of a nominal value that is not zero"
            raise InputError(msg)
        nominal = number(made["nominal"], "nominal_value")
        uncertainty = number(uncertainty, "uncertainty") * abs(nominal)
    if uncertainty is not None:
        made["constraint"] = uncertainty
    return made
