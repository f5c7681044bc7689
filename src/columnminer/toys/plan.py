"""The points of a campaign, with everything resolved: which model, what is true there, and what hypotheses hold."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from columnminer.documents import check_values
from columnminer.errors import InputError, MissingError, UnknownNameError, did_you_mean
from columnminer.toys.models import expected_events, fittable, rate_for
from columnminer.toys.patterns import file_name, pattern_values, with_batch
from columnminer.toys.settings import POI_EXPECTATION, PointSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from columnminer.infer.likelihood import Likelihood

__all__ = ["Point", "check_toy_files", "plan_point"]


@dataclass(frozen=True)
class Point:
    """One point of a campaign.

    Attributes
    ----------
    model : Likelihood
        At the nominal values of this point.
    poi : str
        The parameter of interest.
    generate : mapping
        True values of parameters; that of interest is always among them.
    nominal : mapping
        Nominal values in place of the model's own.
    hypotheses : mapping
        hypothesis -> values that it holds.
    poi_expectation : float or None
        Expected events of the source that the parameter of interest scales, at the truth.
    expected : mapping
        source -> expected events at the truth, where the model knows.
    common_hypothesis : mapping
        What all hypotheses but "free" hold.
    settings : PointSettings
        All else.
    """

    model: Likelihood
    poi: str
    generate: Mapping[str, float]
    nominal: Mapping[str, float]
    hypotheses: Mapping[str, Mapping[str, float]]
    poi_expectation: float | None
    expected: Mapping[str, float]
    common_hypothesis: Mapping[str, float]
    settings: PointSettings

    def __str__(self) -> str:
        return ", ".join(f"{name} = {value:g}" for name, value in {**self.nominal, **self.generate}.items())

    @property
    def stream(self) -> tuple[int, ...]:
        """Names the point in streams of random numbers: by its values, wherever in a campaign it stands."""
        said = json.dumps([sorted(self.generate.items()), sorted(self.nominal.items())])
        digest = hashlib.sha256(said.encode()).digest()
        return tuple(int.from_bytes(digest[i : i + 4], "big") for i in range(0, 16, 4))

    @property
    def batches(self) -> list[range]:
        """Numbers of the toys of each batch."""
        n, size = self.settings.n_toys, self.settings.batch_size
        return [range(first, min(first + size, n)) for first in range(0, n, size)]

    @property
    def intervals_of(self) -> tuple[str, ...]:
        """The hypotheses that have confidence intervals: those that leave the parameter of interest free."""
        if not self.settings.compute_confidence_interval:
            return ()
        return tuple(name for name, held in self.hypotheses.items() if self.poi not in held)

    @property
    def pattern_values(self) -> dict[str, float]:
        """What names in patterns of file names stand for."""
        return pattern_values(self.settings.level, self.poi_expectation, self.nominal, self.generate)

    def toy_file(self, folder: Path, batch: int | None = None) -> Path:
        """Return where the toys of a batch are kept: a file for each batch, if there are several; or of all."""
        pattern = self.settings.toy_data_file
        if pattern is None:
            msg = f"the toys of {self} have no file"
            raise MissingError(msg)
        values = self.pattern_values
        if batch is not None:
            values["i_batch"] = batch
            pattern = with_batch(pattern) if len(self.batches) > 1 else pattern
        return folder / file_name(pattern, values)

    def to_dict(self) -> dict[str, Any]:
        """Return all that its results depend on, apart from the model and thresholds, as JSON types."""
        left_out = {"output_file", "hypotheses", "generate_values", "nominal_values", "common_hypothesis", "threshold"}
        return {
            **self.settings.model_dump(mode="json", exclude=left_out),
            "generate": dict(self.generate),
            "nominal": dict(self.nominal),
            "common_hypothesis": dict(self.common_hypothesis),
            "hypotheses": [[name, dict(held)] for name, held in self.hypotheses.items()],
        }


def plan_point(
    settings: Mapping[str, Any],
    poi: str,
    base: Likelihood,
    model_at: Callable[[Mapping[str, float]], Likelihood],
    where: str,
) -> Point:
    """Return a point of a campaign.

    Parameters
    ----------
    settings
        Those of `PointSettings`, and values of parameters by name: what fits may change is generated there, all else
        is another nominal value.
    poi
        The parameter of interest.
    base
        The model at its own nominal values, which says what its parameters are.
    model_at
        Returns the model at other nominal values.
    where
        What messages call the point.

    Raises
    ------
    InputError, UnknownNameError
        If a name is neither a setting nor a parameter, or a value makes no sense.
    """
    settings = dict(settings)
    generated, nominal = dict(settings.pop("generate_values", {})), dict(settings.pop("nominal_values", {}))
    for name in [n for n in settings if n not in PointSettings.model_fields]:
        if name in fittable(base) or name == POI_EXPECTATION:
            generated[name] = settings.pop(name)
        elif name in base.names:
            nominal[name] = settings.pop(name)
        else:
            known = [*PointSettings.model_fields, *base.names, POI_EXPECTATION]
            msg = f"{where}: {name!r} is neither a setting nor a parameter.{did_you_mean(name, known)}"
            raise UnknownNameError(msg)
    checked = check_values({**settings, "generate_values": generated, "nominal_values": nominal}, PointSettings, where)
    for name in checked.nominal_values:
        _require_known(name, base.names, f"{where}: nominal_values")
    model = model_at(checked.nominal_values)
    _require_known(poi, model.names, f"{where}: poi")
    truth = _resolved(model, poi, checked.generate_values, f"{where}: generate_values")
    truth.setdefault(poi, float(model.point()[model.names.index(poi)]))
    common = _resolved(model, poi, checked.common_hypothesis, f"{where}: common_hypothesis")
    expected = expected_events(model, truth)
    wanted = checked.generate_values.get(POI_EXPECTATION, expected.get(poi.removesuffix("_rate_multiplier")))
    return Point(
        model=model,
        poi=poi,
        generate=truth,
        nominal=dict(checked.nominal_values),
        hypotheses={} if checked.only_toydata else _hypotheses(model, poi, checked, truth, common, where=where),
        poi_expectation=wanted,
        expected=expected,
        common_hypothesis=common,
        settings=checked,
    )


def _hypotheses(
    model: Likelihood,
    poi: str,
    settings: PointSettings,
    truth: Mapping[str, float],
    common: Mapping[str, float],
    *,
    where: str,
) -> dict[str, Mapping[str, float]]:
    """Return what each hypothesis holds; those without a name get the number of their place, as in alea's files."""
    found: dict[str, Mapping[str, float]] = {}
    digits = len(str(len(settings.hypotheses)))
    for i, hypothesis in enumerate(settings.hypotheses):
        if hypothesis == "free":
            found["free"] = {}
        elif hypothesis == "zero":
            found["zero"] = {**common, poi: 0.0}
        elif hypothesis == "true":
            found["true"] = {**common, poi: truth[poi]}
        else:
            own = _resolved(model, poi, hypothesis, f"{where}: hypotheses[{i}]")
            found[f"{i:0{digits}d}"] = {**common, **own}
    return found


def _resolved(model: Likelihood, poi: str, values: Mapping[str, float], where: str) -> dict[str, float]:
    """Return values of parameters in which an expectation has become that of the parameter of interest."""
    for name in values:
        if name in model.names and name not in fittable(model):
            msg = f"{where}: {name!r} is not fitted, but part of the model: say it in nominal_values"
            raise InputError(msg)
        _require_known(name, [*fittable(model), POI_EXPECTATION], where)
    resolved = {name: float(value) for name, value in values.items() if name != POI_EXPECTATION}
    if POI_EXPECTATION in values:
        if poi in resolved:
            msg = f"{where}: either {poi!r} or its expectation is given, not both"
            raise InputError(msg)
        try:
            resolved[poi] = rate_for(model, poi, float(values[POI_EXPECTATION]), resolved)
        except InputError as reason:
            msg = f"{where}: {reason}"
            raise InputError(msg) from reason
    for name, value in resolved.items():
        low, high = model.parameters[model.names.index(name)].fit_limits or (None, None)
        if (low is not None and value < low) or (high is not None and value > high):
            msg = f"{where}: {name} = {value:g} lies outside its fit limits ({low}, {high})"
            raise InputError(msg)
    return resolved


def _require_known(name: str, known: Sequence[str], where: str) -> None:
    if name not in known:
        msg = f"{where}: the model has no parameter {name!r}.{did_you_mean(name, known)}"
        raise UnknownNameError(msg)


def check_toy_files(points: Sequence[Point], name: str) -> None:
    """Refuse two points whose toys would be kept in the same file.

    Raises
    ------
    InputError
        If there are such; the message starts with `name`.
    """
    seen: dict[Path, int] = {}
    for i, point in enumerate(points):
        if point.settings.toy_data != "generate_and_store":
            continue
        path = point.toy_file(Path(), 0)
        if path in seen:
            msg = (
                f"{name}: points {seen[path]} and {i} would keep toys in the same file {path}: name what differs in it"
            )
            raise InputError(msg)
        seen[path] = i
