"""What a campaign of toys is: a model, the points where toys are generated, and the hypotheses that are fitted to them.

A campaign comes from Python, from a YAML file of ours, or from a running configuration of alea, as it is. Every name in
it is checked before the first toy is made.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from columnminer.documents import check_values, read_document, read_mapping
from columnminer.errors import InputError, UnknownNameError, did_you_mean
from columnminer.infer.likelihood import Likelihood
from columnminer.toys.combinations import combinations
from columnminer.toys.models import AleaFile, at_nominal, fingerprint
from columnminer.toys.neyman import NeymanThresholds
from columnminer.toys.patterns import file_name
from columnminer.toys.plan import check_toy_files, plan_point
from columnminer.toys.saved import SavedModel
from columnminer.toys.settings import CampaignConfig, PointSettings, from_alea_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from columnminer.toys.plan import Point

__all__ = ["Campaign"]


class Campaign:
    """Toys at several points of a model, and fits of several hypotheses to them.

    Parameters
    ----------
    model
        A likelihood, the path of a statistical model of alea (YAML), or a mapping ``{store:, estimator: | observables:,
        luminosity:, ...}`` of what `columnminer run` has saved.
    poi
        The parameter of interest.
    folder
        What paths are relative to; the current folder by default.
    **settings
        As the campaign file has them: ``to_zip``, ``to_vary`` and ``in_common`` with values of parameters (or
        ``poi_expectation``) and any of the others by name; ``hypotheses``, ``common_hypothesis``, ``n_toys``,
        ``batch_size``, ``seed``, ``toy_data``, ``toy_data_file``, ``only_toydata``, ``compute_confidence_interval``,
        ``level``, ``kind``, ``roots``, ``dof``, ``threshold``, ``output_file``, ``metadata``, ``fit_options``.
        Here ``threshold`` may be a function of the parameter of interest as well.

    Raises
    ------
    InputError, UnknownNameError
        If something makes no sense; the message names file and key.

    Examples
    --------
    >>> model = cm.load_alea("search.yaml")
    >>> campaign = cm.Campaign(model, "signal_rate_multiplier", to_vary={"signal_rate_multiplier": [0, 1]}, n_toys=20)
    >>> len(cm.run_campaign(campaign, "toys_of_search.zarr", progress=False))
    2
    """

    def __init__(
        self,
        model: Likelihood | str | os.PathLike[str] | Mapping[str, Any],
        poi: str,
        *,
        folder: str | os.PathLike[str] | None = None,
        **settings: Any,
    ) -> None:
        self.threshold_function: Callable[..., Any] | None = None
        if callable(settings.get("threshold")):
            self.threshold_function = settings.pop("threshold")
        given = model if isinstance(model, Likelihood) else None
        said = {"model": None if given is not None else model, "poi": poi, **settings}
        paths = {key: os.fspath(value) for key, value in said.items() if isinstance(value, os.PathLike)}
        config = check_values(said | paths, CampaignConfig, "campaign")
        self._set(config, given, Path(folder) if folder is not None else Path(), "campaign")

    def _set(self, config: CampaignConfig, given: Likelihood | None, folder: Path, name: str) -> None:
        self.config = config
        self.folder = folder
        self.name = name
        self.source: Likelihood | AleaFile | SavedModel
        if given is not None:
            self.source = given
        elif isinstance(config.model, SavedModel):
            self.source = config.model
        elif config.model is None:
            msg = f"{name}: the key 'model' is missing: the path of a statistical model, or what was saved of one"
            raise InputError(msg)
        else:
            templates = None if config.template_folder is None else folder / config.template_folder
            self.source = AleaFile(folder / config.model, templates)

    @classmethod
    def from_yaml(
        cls,
        path: str | os.PathLike[str],
        *,
        computation: str | None = None,
        model: Likelihood | None = None,
        **changes: Any,
    ) -> Campaign:
        """Read a campaign file, or a running configuration of alea.

        Parameters
        ----------
        path
            YAML. Paths in it are relative to it.
        computation
            Which of the computations of an alea configuration; by default "discovery_power".
        model
            In place of the one that the file names.
        **changes
            Settings in place of those in the file.

        Raises
        ------
        InputError
            If the file cannot be read or does not fit; the message names the line.
        """
        path = Path(path)
        if "computation_options" in read_mapping(path):
            return cls.from_alea(path, computation=computation or "discovery_power", model=model, **changes)
        if computation is not None:
            msg = f"{path}: has no computations of which one could be called {computation!r}"
            raise InputError(msg)
        config = read_document(path, CampaignConfig)
        if changes:
            common = {name: value for name, value in config.in_common.items() if name not in changes}
            config = check_values({**config.given(), "in_common": common, **changes}, CampaignConfig, str(path))
        campaign = cls.__new__(cls)
        campaign.threshold_function = None
        campaign._set(config, model, path.parent, str(path))  # noqa: SLF001 - its own
        return campaign

    @classmethod
    def from_alea(
        cls,
        path: str | os.PathLike[str],
        computation: str = "discovery_power",
        *,
        model: Likelihood | None = None,
        template_folder: str | os.PathLike[str] | None = None,
        **changes: Any,
    ) -> Campaign:
        """Read a running configuration of alea as it is.

        Parameters
        ----------
        path
            YAML of ``alea_submission``.
        computation
            A key of its ``computation_options``.
        model
            In place of ``statistical_model_config``; needed where ``statistical_model`` is a class of somebody's.
        template_folder
            Where templates are looked for first.
        **changes
            Settings in place of those in the file, under our names (``n_toys``, ``batch_size``, ``seed``, ...).

        Raises
        ------
        InputError, UnknownNameError
            If the file cannot be read or does not fit.
        """
        path = Path(path)
        document = read_mapping(path)
        options = _entry(document, "computation_options", path)
        if computation not in options:
            known = did_you_mean(computation, options)
            msg = f"{path}: computation_options has no computation {computation!r}.{known}"
            raise UnknownNameError(msg)
        where = f"{path}: computation_options.{computation}"
        parts = options[computation]
        if not isinstance(parts, dict):
            msg = f"{where}: must have the keys to_zip, to_vary and in_common, and is {parts!r}"
            raise InputError(msg)
        for key in parts:
            if key not in _PARTS:
                msg = f"{where}: unknown key {key!r}.{did_you_mean(str(key), _PARTS)}"
                raise InputError(msg)
        parts = {key: parts.get(key) or {} for key in _PARTS}
        kind = str(document.get("statistical_model", ""))
        if model is None and not kind.endswith("BlueiceExtendedModel"):
            msg = f"{path}: statistical_model {kind!r} is not imported from here: give from_alea(path, model=...)"
            raise InputError(msg)
        where_of = {key: f"{where}.{key}" for key in _PARTS}
        common = from_alea_names(parts["in_common"], where_of["in_common"])
        settings: dict[str, Any] = {
            "model": None if model is not None else str(_entry(document, "statistical_model_config", path, str)),
            "poi": _entry(document, "poi", path, str),
            "in_common": {**common, **changes},
            "fit_options": _fit_options(document.get("fit_strategy") or {}),
        }
        for key in ("to_zip", "to_vary"):
            ours = from_alea_names({**parts[key], "n_mc": 1}, where_of[key])
            settings[key] = {name: v for name, v in ours.items() if name not in {"n_toys", "batch_size"}}
        campaign = cls.__new__(cls)
        campaign.threshold_function = None
        config = check_values(settings, CampaignConfig, where)
        if template_folder is not None:
            config = config.model_copy(update={"template_folder": str(Path(template_folder).absolute())})
        campaign._set(config, model, path.parent, where)  # noqa: SLF001 - its own
        return campaign

    @property
    def output_file(self) -> str:
        """Pattern of the names of result files in alea's layout: what the settings say, or what varies."""
        said = self.config.in_common.get("output_file") or self.config.output_file
        varied = [
            name for name in {**self.config.to_zip, **self.config.to_vary} if name not in PointSettings.model_fields
        ]
        return str(said or "_".join(["toymc", *(f"{name}_{{{name}}}" for name in varied)]) + ".ii.h5")

    def points(self, *, seed: int | None = None) -> list[Point]:
        """Return the points, in order, with everything resolved; models are built here.

        Parameters
        ----------
        seed
            In place of that of the settings.

        Raises
        ------
        InputError, UnknownNameError
            If a name is neither a setting nor a parameter, or a value makes no sense.
        """
        models: dict[str, Likelihood] = {}
        base = self._model({}, models)
        defaults = self.config.given(
            without=("model", "poi", "to_zip", "to_vary", "in_common", "fit_options", "template_folder")
        )
        points = [
            plan_point(
                {**defaults, **settings, **({} if seed is None else {"seed": seed})},
                self.config.poi,
                base,
                lambda nominal: self._model(nominal, models),
                f"{self.name}: point {i}",
            )
            for i, settings in enumerate(combinations(self.config.to_zip, self.config.to_vary, self.config.in_common))
        ]
        check_toy_files(points, self.name)
        return points

    def _model(self, nominal: Mapping[str, float], models: dict[str, Likelihood]) -> Likelihood:
        key = json.dumps(sorted(nominal.items()))
        if key not in models:
            if isinstance(self.source, AleaFile):
                models[key] = self.source.load(nominal)
            elif nominal:
                models[key] = at_nominal(self._model({}, models), nominal)
            else:
                models[key] = self.source if isinstance(self.source, Likelihood) else self.source.load(self.folder)
        return models[key]

    def thresholds(self, point: Point, folder: Path | None = None) -> dict[str, Any]:
        """Return the threshold of each hypothesis whose confidence interval is asked for: a number or a function.

        Thresholds in a file are chosen by the level, by what the hypothesis holds and by the nominal values. None
        stands for the asymptotic one.

        Parameters
        ----------
        point
            Of this campaign.
        folder
            Where the file is looked for first, then beside the campaign file.

        Raises
        ------
        InputError, OSError
            If the file has none for this point.
        """
        settings = point.settings
        wanted = point.intervals_of
        if not wanted or self.threshold_function is not None or not isinstance(settings.threshold, str):
            return dict.fromkeys(wanted, self.threshold_function or settings.threshold)
        name = file_name(settings.threshold, point.pattern_values)
        path = next((f / name for f in (folder, self.folder) if f is not None and (f / name).is_file()), None)
        if path is None:
            places = " nor in ".join(str(f) for f in dict.fromkeys((folder, self.folder)) if f is not None)
            msg = f"{self.name}: the file of thresholds {name} is not in {places}"
            raise InputError(msg)
        thresholds = NeymanThresholds.from_json(path, kind=settings.kind, dof=settings.dof)
        found = {}
        for hypothesis in wanted:
            said = {**point.nominal, **point.hypotheses[hypothesis]}
            conditions = {key: value for key, value in said.items() if key in thresholds.grid}
            found[hypothesis] = thresholds.at(settings.level, **conditions)
        return found

    def to_dict(self, points: Sequence[Point], folder: Path | None = None) -> dict[str, Any]:
        """Return all that results in a folder depend on, as JSON types: points, options, marks of the models."""
        prints: dict[str, Any] = {}
        for point in points:
            prints.setdefault(json.dumps(sorted(point.nominal.items())), fingerprint(point.model))
        return {
            "poi": self.config.poi,
            "fit_options": dict(self.config.fit_options),
            "thresholds": [
                {name: _described(threshold) for name, threshold in self.thresholds(point, folder).items()}
                for point in points
            ],
            "models": prints,
            "points": [point.to_dict() for point in points],
        }


_PARTS = ("to_zip", "to_vary", "in_common")


def _entry(document: Mapping[str, Any], key: str, path: Path, kind: type = dict) -> Any:
    value = document.get(key)
    if not isinstance(value, kind):
        what = "is missing" if value is None else f"must be a {kind.__name__}, not {value!r}"
        msg = f"{path}: the key {key!r} {what}.{did_you_mean(key, document) if value is None else ''}"
        raise InputError(msg)
    return value


def _fit_options(strategy: Mapping[str, Any]) -> dict[str, Any]:
    """Return alea's fit strategy as options of `columnminer.fit`."""
    options: dict[str, Any] = {}
    if "minimizer_routine" in strategy:
        options["method"] = strategy["minimizer_routine"]
    if "minuit_strategy" in strategy:
        options["strategy"] = strategy["minuit_strategy"]
    if strategy.get("refit_invalid") is False:
        options["refits"] = 0
    for name in ("disable_index_fitting", "max_index_fitting_iter"):
        if name in strategy:
            options[name] = strategy[name]
    return options


def _described(threshold: Any) -> Any:
    """Return what tells one threshold from another: a number, or the values of a function at some points."""
    return (
        [f"{float(threshold(x)):.12g}" for x in (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0)]
        if callable(threshold)
        else threshold
    )
