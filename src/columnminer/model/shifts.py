"""What every systematic uncertainty says: its nuisance parameters, and where a file has the weights they need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from columnminer.model.checks import text
from columnminer.model.parameters import Parameter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["NuisanceShift", "Systematic"]


@dataclass(frozen=True)
class NuisanceShift:
    """Where one file has the varied weights of one nuisance parameter.

    Attributes
    ----------
    parameter : str
        Name of the nuisance parameter.
    up, down : str or None
        Ids of the weights at nu = +step and -step; `up` None stands for the nominal weight, `down` None for one-sided.
    central : str or None
        Id of the weight that they vary, where it is not the nominal one (None): the events keep their nominal weight,
        times the ratio of these.
    factor : float
        What the weight `up` is to be multiplied with.
    step : float
        Value of nu to which the varied weights belong.
    """

    parameter: str
    up: str | None
    down: str | None = None
    factor: float = 1.0
    step: float = 1.0
    central: str | None = None

    @property
    def weights(self) -> tuple[str, ...]:
        """Ids of all weights that it needs."""
        return tuple(i for i in (self.up, self.down, self.central) if i is not None)


@dataclass(frozen=True)
class Systematic(ABC):
    """A source of uncertainty with a name and one or more nuisance parameters."""

    name: str
    type: ClassVar[str]

    def __post_init__(self) -> None:
        text(self.name, "the name of a systematic uncertainty")

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the nuisance parameters that it brings."""
        return (self.name,)

    @property
    def nuisance_parameters(self) -> tuple[Parameter, ...]:
        """The nuisance parameters: unit Gaussians around 0."""
        return tuple(Parameter(n, constraint=1.0, kind="nuisance", description=self.name) for n in self.parameter_names)

    @abstractmethod
    def shifts(
        self, weight_names: Sequence[str], descriptions: Mapping[str, str], source: str = "source"
    ) -> tuple[NuisanceShift, ...]:
        """Return where a file has the varied weights, one entry for each nuisance parameter.

        Parameters
        ----------
        weight_names
            Ids of the weights that events of the file have, the nominal one first.
        descriptions
            What the file says about each, by id (`SourceInfo.weight_descriptions`).
        source
            What to call the file in messages.

        Raises
        ------
        MissingError
            If the file lacks one.
        InputError
            If several weights fit.
        """

    def required_weights(
        self, weight_names: Sequence[str], descriptions: Mapping[str, str], source: str = "source"
    ) -> tuple[str, ...]:
        """Return the ids of all weights that `shifts` refers to, each once; parameters and errors as there."""
        shifts = self.shifts(weight_names, descriptions, source)
        return tuple(dict.fromkeys(i for shift in shifts for i in shift.weights))

    def to_dict(self) -> dict[str, Any]:
        """Return the definition as JSON types."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"type": self.type} | {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
