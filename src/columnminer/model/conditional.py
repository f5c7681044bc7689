"""Parameters whose properties depend on the value of another parameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from columnminer.errors import InputError
from columnminer.model.checks import number, text
from columnminer.model.parameters import Parameter

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ConditionalParameter"]


@dataclass(frozen=True)
class ConditionalParameter:
    """A parameter whose properties depend on the value of another, as an uncertainty may depend on a mass.

    Parameters
    ----------
    name
        How it is called.
    on
        Name of the other parameter.
    values
        What `Parameter` takes beside the name, for each value of the other: ``{50.0: {"constraint": 0.1}, ...}``.

    Raises
    ------
    InputError
        If there are no values, or one makes no parameter.

    Examples
    --------
    >>> efficiency = cm.ConditionalParameter(
    ...     "efficiency", "mass", {10: {"nominal": 0.8, "constraint": 0.1}, 50: {"nominal": 0.9, "constraint": 0.02}}
    ... )
    >>> efficiency.at(50).constraint
    0.02
    """

    name: str
    on: str
    values: Mapping[float, Mapping[str, Any]]

    def __post_init__(self) -> None:
        where = f"parameter {text(self.name, 'the name of a parameter')!r}, which depends on {self.on!r}"
        if not self.values:
            msg = f"{where}: it has no values"
            raise InputError(msg)
        object.__setattr__(self, "values", {number(v, where): dict(fields) for v, fields in self.values.items()})
        for value in self.values:
            self.at(value)

    def at(self, value: float) -> Parameter:
        """Return the parameter where the other one has this value.

        Raises
        ------
        InputError
            If nothing is given for it.
        """
        value = number(value, f"{self.on}, on which {self.name!r} depends,")
        if value not in self.values:
            known = ", ".join(f"{v:g}" for v in sorted(self.values))
            msg = f"parameter {self.name!r} is not defined at {self.on} = {value:g}, only at {known}"
            raise InputError(msg)
        return Parameter(self.name, **self.values[value])
