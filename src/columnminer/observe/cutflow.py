"""How many events, and how much weight, each step of a selection lets through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from columnminer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CutFlow"]


@dataclass(frozen=True)
class CutFlow:
    """What is left after each step; flows of the same selection add up.

    Attributes
    ----------
    steps : tuple of str
        What happened, in order; the first step is "all events".
    events : tuple of int
        Events left after each step.
    weights : tuple of float
        Sum of their nominal weights, in the units of the source, efficiencies included from their step on.
    """

    steps: tuple[str, ...]
    events: tuple[int, ...]
    weights: tuple[float, ...]

    def __add__(self, other: CutFlow) -> CutFlow:
        if self.steps != other.steps:
            msg = f"cut flows of different selections cannot be added: {self.steps} and {other.steps}"
            raise InputError(msg)
        events = tuple(a + b for a, b in zip(self.events, other.events, strict=True))
        weights = tuple(a + b for a, b in zip(self.weights, other.weights, strict=True))
        return CutFlow(self.steps, events, weights)

    def to_dict(self) -> dict[str, Any]:
        """Return the flow as JSON-able data."""
        return {"steps": list(self.steps), "events": list(self.events), "weights": list(self.weights)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CutFlow:
        """Return the flow that `to_dict` wrote."""
        return cls(tuple(data["steps"]), tuple(data["events"]), tuple(data["weights"]))
