"""What every reader offers, so that nothing after it needs to know the file format."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from columnminer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from columnminer.schema import EventBatch

__all__ = ["Generated", "Reader", "SourceInfo", "check_batches"]


@dataclass(frozen=True)
class Generated:
    """What was generated for a source, of which it may hold only a part: a skim keeps what it was made from.

    Attributes
    ----------
    n_events : int
        Number of generated events.
    sum_weights, sum_squared_weights : float
        Of their raw nominal weights.
    """

    n_events: int
    sum_weights: float
    sum_squared_weights: float

    @classmethod
    def total(cls, several: Iterable[Generated]) -> Generated:
        """Return the sums."""
        given = list(several)
        return cls(
            sum(one.n_events for one in given),
            math.fsum(one.sum_weights for one in given),
            math.fsum(one.sum_squared_weights for one in given),
        )


@dataclass(frozen=True)
class SourceInfo:
    """What a source says about itself before its first event.

    Attributes
    ----------
    weight_names : tuple of str
        Columns of `EventBatch.weights` in this source, `columnminer.schema.NOMINAL` first.
    weight_descriptions : mapping of str to str
        What the source says about a weight (scales, couplings, group); weights it does not describe are absent.
    cross_section, cross_section_error : float or None
        Total cross section [pb] that the source declares, summed over its processes.
    weighting : int or None
        How weights are normalised, as IDWTUP of the Les Houches Accord (hep-ph/0109068, section 3.1): of magnitude 3,
        weights are of equal size and the declared cross section fixes their scale; of magnitude 4, the mean weight is
        the cross section; None where the source does not say.
    attributes : mapping
        Anything else worth keeping: beams, processes, generator.
    n_events : int or None
        Events in the source, where it can be entered at any of them, so that several tasks may share it.
    generated : Generated or None
        Where the source says what was generated: its weights are then in the units of those of other such sources.
    batch_size : int or None
        How many events are enough for one batch, where they are large (showered events have hundreds of particles).
    """

    weight_names: tuple[str, ...]
    weight_descriptions: Mapping[str, str] = field(default_factory=dict)
    cross_section: float | None = None
    cross_section_error: float | None = None
    weighting: int | None = None
    attributes: Mapping[str, object] = field(default_factory=dict)
    n_events: int | None = None
    generated: Generated | None = None
    batch_size: int | None = None


@runtime_checkable
class Reader(Protocol):
    """A source of events.

    Attributes
    ----------
    path : str
        What to call the source in messages.
    content : dict or None
        ``{"size": bytes, "sha256": hex}`` of the source as it lies on disk, or what identifies it otherwise: after a
        whole pass of a reader that was asked for it, else None.
    """

    path: str
    content: dict[str, int | str] | None

    def info(self) -> SourceInfo:
        """Return what the source says about itself; reads no more than it must."""
        ...

    def batches(self, size: int = 20_000, skip: int = 0) -> Iterator[EventBatch]:
        """Yield the events in order, `size` at a time (the last batch may be shorter), passing over the first `skip`.

        Memory stays bounded by a few batches, whatever the length of the source.

        Raises
        ------
        FileFormatError
            If the source breaks its format; the message names the source and the event. Batches yielded before stand.
        """
        ...


def check_batches(size: int, skip: int) -> None:
    """Raise `InputError` unless batches of `size` events can be read after passing over `skip` of them."""
    if size < 1 or skip < 0:
        msg = f"batches need a positive size and a skip that is not negative, not {size} and {skip}"
        raise InputError(msg)
