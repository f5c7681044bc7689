"""What a campaign file may say, as checked models, and how alea's words for it are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field, WithJsonSchema, field_validator, model_validator

from columnminer.documents import Section, misplaced
from columnminer.errors import InputError, did_you_mean
from columnminer.toys.combinations import expanded
from columnminer.toys.patterns import names_in
from columnminer.toys.saved import SavedModel  # noqa: TC001 - pydantic looks at it

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CampaignConfig", "Hypothesis", "PointSettings", "from_alea_names"]

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(gt=0)]
Values = dict[Text, float]
Hypothesis: TypeAlias = Literal["free", "zero", "true"] | Values

# As they stand in a file: an unquoted true is a truth value, and lists of values stand for all their combinations.
_WRITTEN = {
    "type": "array",
    "minItems": 1,
    "items": {"anyOf": [{"enum": ["free", "zero", "true", True]}, {"type": "object"}]},
}

POI_EXPECTATION = "poi_expectation"


class PointSettings(Section):
    """What may differ from point to point.

    Values of parameters need no key of their own: they stand beside these in `to_zip`, `to_vary` and `in_common`.
    """

    hypotheses: Annotated[tuple[Hypothesis, ...], Field(min_length=1), WithJsonSchema(_WRITTEN)] = (
        "free",
        "zero",
        "true",
    )
    common_hypothesis: Values = Field(default_factory=dict)
    generate_values: Values = Field(default_factory=dict)
    nominal_values: Values = Field(default_factory=dict)
    n_toys: Count = 1000
    batch_size: Count = 1000
    seed: Annotated[int, Field(ge=0)] = 0
    toy_data: Literal["generate", "generate_and_store", "read", "no_toydata"] = "generate"
    toy_data_file: Text | None = None
    only_toydata: bool = False
    compute_confidence_interval: bool = False
    level: Annotated[float, Field(gt=0, lt=1)] = 0.9
    kind: Literal["central", "upper", "lower"] = "central"
    roots: Literal["nearest", "extremal"] = "nearest"
    dof: Count = 1
    threshold: Text | float | None = None
    threshold_interpolation: bool = False
    output_file: Text | None = None
    metadata: dict[Text, Any] = Field(default_factory=dict)

    @field_validator("hypotheses", mode="before")
    @classmethod
    def _each_combination(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        # An unquoted true is a truth value in YAML.
        return expanded(["true" if hypothesis is True else hypothesis for hypothesis in value], "hypotheses")

    @model_validator(mode="after")
    def _fits_together(self) -> PointSettings:
        for key in ("toy_data_file", "output_file", "threshold"):
            pattern = getattr(self, key)
            if isinstance(pattern, str):
                try:
                    names_in(pattern)
                except InputError as reason:
                    raise misplaced(str(reason), key) from reason
        if self.toy_data in {"generate_and_store", "read"} and self.toy_data_file is None:
            msg = f"toy data cannot be kept or read without a file: with {self.toy_data!r} give toy_data_file"
            raise misplaced(msg, "toy_data")
        if self.only_toydata and self.toy_data != "generate_and_store":
            msg = f"only toy data are made, but not kept: toy_data must be 'generate_and_store', not {self.toy_data!r}"
            raise misplaced(msg, "only_toydata")
        if self.toy_data == "no_toydata" and self.n_toys != 1:
            msg = f"without toys the data of the model are fitted once, not {self.n_toys} times"
            raise misplaced(msg, "n_toys")
        names = [h for h in self.hypotheses if isinstance(h, str)]
        if len(set(names)) < len(names):
            msg = f"a hypothesis is given twice: {', '.join(names)}"
            raise misplaced(msg, "hypotheses")
        return self


class CampaignConfig(PointSettings):
    """A campaign of toys: a model, points to generate at, and hypotheses to fit."""

    model: Text | SavedModel | None = None
    poi: Text
    to_zip: dict[Text, Any] = Field(default_factory=dict)
    to_vary: dict[Text, Any] = Field(default_factory=dict)
    in_common: dict[Text, Any] = Field(default_factory=dict)
    fit_options: dict[Text, bool | int | float | str] = Field(default_factory=dict)
    template_folder: Text | None = None


_NAMES = {
    "n_mc": "n_toys",
    "toydata_mode": "toy_data",
    "toydata_filename": "toy_data_file",
    "output_filename": "output_file",
    "confidence_level": "level",
    "confidence_interval_kind": "kind",
    "confidence_interval_root_find": "roots",
    "asymptotic_dof": "dof",
    "limit_threshold": "threshold",
    "limit_threshold_interpolation": "threshold_interpolation",
}
_ROOTS = {"brentq": "nearest", "extremal": "extremal"}
_FOR_NEYMAN = {"free_name", "true_name", "confidence_levels"}
_ELSEWHERE = {"statistical_model", "statistical_model_config", "poi", "fit_strategy"}
_UNUSED = {"parameter_definition", "likelihood_config", "statistical_model_args"}


def from_alea_names(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return settings of a point with alea's keys as ours; names of parameters stay.

    Raises
    ------
    InputError
        If a key belongs elsewhere, or batches do not divide the toys.
    """
    for name in settings:
        if name in _ELSEWHERE:
            msg = f"{where}: {name!r} is said once for all computations, not here"
            raise InputError(msg)
        if name in _UNUSED:
            msg = f"{where}: {name!r} is not read here; put it into the file of the statistical model"
            raise InputError(msg)
    ours = {_NAMES.get(name, name): value for name, value in settings.items() if name not in _FOR_NEYMAN}
    # What alea says by null is what it does by default.
    ours = {name: value for name, value in ours.items() if value is not None}
    if "roots" in ours:
        if ours["roots"] not in _ROOTS:
            msg = f"{where}: no root finding is called {ours['roots']!r}.{did_you_mean(str(ours['roots']), _ROOTS)}"
            raise InputError(msg)
        ours["roots"] = _ROOTS[ours["roots"]]
    n_batch, n_toys = ours.pop("n_batch", 1), ours.setdefault("n_toys", 1)
    if not (isinstance(n_batch, int) and isinstance(n_toys, int) and n_batch > 0 and n_toys % n_batch == 0):
        msg = f"{where}: n_mc, {n_toys!r}, must be a multiple of n_batch, {n_batch!r}"
        raise InputError(msg)
    ours["batch_size"] = max(n_toys // n_batch, 1)
    return ours
