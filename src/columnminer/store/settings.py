"""What a run depends on apart from the files of events: one JSON document, and its selections in all variations."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from columnminer.errors import InputError, MissingError, UnknownNameError, did_you_mean
from columnminer.model.systematics import SelectionVariation
from columnminer.observe.selection import Selection
from columnminer.store.partition import PartitionScheme

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from columnminer.model.setup import Setup
    from columnminer.store.mixing import Mixing
    from columnminer.store.partition import Partitioning
    from columnminer.store.samples import Sample

__all__ = ["as_json", "run_settings", "selections_of", "variation_folders", "varied_selections"]


def run_settings(
    setup: Setup,
    selection: Selection,
    varied: Mapping[str, Sequence[Selection]],
    *,
    seed: int,
    mixing: Mixing,
    partition: Partitioning,
) -> dict[str, Any]:
    """Return the JSON document that parts and stores are made under; `varied` as `varied_selections` returns it."""
    named = {name: [given.to_dict() for given in both] for name, both in varied.items()}
    document: dict[str, Any] = as_json(
        {
            "setup": setup.to_dict(),
            "selection": selection.to_dict(),
            **({"variations": named} if named else {}),
            "seed": seed,
            "mixing": mixing,
            "partition": asdict(PartitionScheme.of(partition)),
        }
    )
    return document


def as_json(document: Any) -> Any:
    """Return the document as it comes back from JSON, so that it compares with one that was read."""
    return json.loads(json.dumps(document))


def variation_folders(varied: Mapping[str, Sequence[object]]) -> dict[str, list[str]]:
    """Return where the varied selections of each systematic have their parts, within the folder of a file."""
    return {name: [f"{i}_{k}" for k in range(len(both))] for i, (name, both) in enumerate(varied.items())}


def selections_of(
    sample: Sample, selection: Selection, varied: Mapping[str, Sequence[Selection]]
) -> dict[str, Selection]:
    """Return the selections of a sample by the folder of their parts.

    The nominal one has no name, and comes last: where its part is, those of the others are.
    """
    folders = variation_folders(varied)
    given = {
        folder: other
        for name in varied
        if name in sample.systematics
        for folder, other in zip(folders[name], varied[name], strict=True)
    }
    return {**given, "": selection}


def varied_selections(
    variations: Mapping[str, Selection | Sequence[Selection]],
    samples: Sequence[Sample],
    setup: Setup,
    selection: Selection,
) -> dict[str, tuple[Selection, ...]]:
    """Return the selections at nu = +1 and (unless one-sided) -1 by name, in the order of the set-up.

    Raises
    ------
    UnknownNameError
        If one is given that the set-up does not know as a `SelectionVariation`.
    MissingError
        If one that a sample has is not given.
    InputError
        If one acts on no sample, or does not have the same observables.
    """
    known = [s.name for s in setup.systematics if isinstance(s, SelectionVariation)]
    used = {name for sample in samples for name in sample.systematics}
    for name in variations:
        if name not in known:
            msg = f"variations: the set-up has no SelectionVariation called {name!r}.{did_you_mean(name, known)}"
            raise UnknownNameError(msg)
        if name not in used:
            msg = f"variations: {name!r} acts on no sample; name it in Sample(systematics=...)"
            raise InputError(msg)
    found: dict[str, tuple[Selection, ...]] = {}
    for name in known:
        if name in variations:
            given = variations[name]
            found[name] = (given,) if isinstance(given, Selection) else tuple(given)
            if not 1 <= len(found[name]) <= 2:
                msg = f"variations: {name!r} needs one selection, or two (up and down), not {len(found[name])}"
                raise InputError(msg)
            if any(varied.observable_names != selection.observable_names for varied in found[name]):
                names = ", ".join(selection.observable_names)
                msg = f"variations: the selections of {name!r} need the observables {names}, in this order"
                raise InputError(msg)
        elif name in used:
            msg = f"a sample has the SelectionVariation {name!r}, whose selections are missing: process(variations=...)"
            raise MissingError(msg)
    return found
