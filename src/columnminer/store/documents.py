"""What the attributes of an event store must say, checked when it is opened: a store may come from anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from columnminer.errors import FileFormatError
from columnminer.store.partition import PARTITIONS
from columnminer.store.samples import SampleInfo  # noqa: TC001 - pydantic needs the fields' types
from columnminer.store.weights import NuisanceColumn  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Mapping

    from columnminer.store.columns import Column

__all__ = ["StoreDocument", "checked_document"]

_ARRAYS = ("observables", "weights", "sample", "partition")

Inside = Annotated[str, Field(pattern=r"^variation_[0-9]+_(up|down)$")]
"""Name of a group in the store, so that no name leads out of it."""

_Unknown = Annotated[dict[str, Any], Field(max_length=0)]


class _Flow(BaseModel):
    steps: list[str]
    events: list[int]
    weights: list[float]


class _Partition(BaseModel):
    fractions: list[float]


class StoreDocument(BaseModel):
    """The attributes that are read again; those of others may be anything.

    Attributes
    ----------
    samples : tuple of SampleInfo
        What was read.
    nuisances : tuple of NuisanceColumn
        Which columns belong to which nuisance parameter.
    variations : mapping
        Nuisance parameter -> names of the groups that hold the events in other selections.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    hash: str
    setup: dict[str, Any]
    observables: list[str]
    samples: tuple[SampleInfo, ...]
    nuisances: tuple[NuisanceColumn, ...]
    variations: dict[str, list[Inside]] = {}
    partition: _Partition
    cut_flow: dict[str, _Flow | _Unknown]
    selection: dict[str, Any]
    configuration: dict[str, Any]
    provenance: dict[str, Any]

    @field_validator("cut_flow")
    @classmethod
    def _same_steps(cls, flows: dict[str, _Flow | dict[str, Any]]) -> dict[str, _Flow | dict[str, Any]]:
        known = [flow for flow in flows.values() if isinstance(flow, _Flow)]
        if len({len(column) for flow in known for column in (flow.steps, flow.events, flow.weights)}) > 1:
            msg = "samples have different steps"
            raise ValueError(msg)
        return flows

    @field_validator("samples")
    @classmethod
    def _counted(cls, samples: tuple[SampleInfo, ...]) -> tuple[SampleInfo, ...]:
        for sample in samples:
            counts = sample.partition_counts
            if len(counts) != len(PARTITIONS) or min(counts) < 0 or sum(counts) != sample.n_events:
                msg = f"{counts} are not how the {sample.n_events} events of {sample.name!r} are split"
                raise ValueError(msg)
        return samples


def checked_document(
    attributes: Mapping[str, Any], columns: Mapping[str, Column], store: str, remedy: str
) -> StoreDocument:
    """Return what the attributes of an event store say.

    Raises
    ------
    FileFormatError
        If something is missing, of another kind, or does not fit the arrays; names the store and the place.
    """
    where = f"{store}: this event store is damaged"
    try:
        document = StoreDocument.model_validate(dict(attributes))
    except (ValidationError, RecursionError) as error:
        reason = str(error)
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            reason = f"{'.'.join(map(str, first['loc']))!r}: {first['msg']}"
        msg = f"{where}: {reason}; {remedy}"
        raise FileFormatError(msg) from error
    rows = {name: column.shape[:1] for name, column in columns.items()}
    if missing := sorted(set(_ARRAYS) - set(rows)):
        msg = f"{where}: its arrays {missing} are missing; {remedy}"
        raise FileFormatError(msg)
    n_varied = max((j for c in document.nuisances for j in (c.up, c.down) if j is not None), default=-1) + 1
    wide = [columns["observables"].shape[1:] == (len(document.observables),), columns["weights"].ndim == 2]
    if n_varied:
        wide.append("nuisance_weights" in columns and columns["nuisance_weights"].shape[1:] >= (n_varied,))
    codes = [columns[name].ndim == 1 and columns[name].dtype.kind in "iu" for name in ("sample", "partition")]
    n_events = sum(sample.n_events for sample in document.samples)
    if len({*rows.values(), (n_events,)}) > 1 or not all((*wide, *codes)):
        shapes = {name: column.shape for name, column in columns.items()}
        msg = f"{where}: its arrays of shapes {shapes} are not those of {n_events} events; {remedy}"
        raise FileFormatError(msg)
    columns["sample"].below = len(document.samples)
    return document
