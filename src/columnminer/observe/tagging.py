"""Tagging jets: which flavour a detector says they have, given which they have.

The label of a jet is its PDG id (see `clustering`), 5, 4, +-15, or anything else for the others, so that what a tagger
says is written there, too, and `b_tag`, `c_tag`, `tau_tag`, `charge` and the collections `j` and `tau` follow.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer import streams
from columnminer.errors import InputError, UnknownNameError, did_you_mean
from columnminer.momenta import CARTESIAN, Momenta
from columnminer.observe.maps import as_map, described, probability
from columnminer.observe.species import FORMULAS, are

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from columnminer.observe.maps import EfficiencyMap

__all__ = ["checked", "listed", "tagged"]

_LABELS = {"b": 5, "c": 4, "tau": 15}
"""Tags, the first of which counts where a jet gets several, and their PDG ids."""
_LIGHT, _OTHERS = 21, "j"
_QUANTITY = {"b": 7, "c": 8, "tau": 9, "charge": 10}  # which quantity a random number is for, after those of `detector`


def checked(tags: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, EfficiencyMap]]:
    """Return the maps of tags, as `Detector.tags` has them.

    Raises
    ------
    UnknownNameError
        If there is no such tag or flavour.
    InputError
        If something is no map.
    """
    found: dict[str, dict[str, EfficiencyMap]] = {}
    for tag, maps in tags.items():
        if tag not in _LABELS:
            msg = f"there is no tag {tag!r}.{did_you_mean(tag, _LABELS)}"
            raise UnknownNameError(msg)
        if not hasattr(maps, "items"):
            msg = f"the tag {tag!r} needs {{true flavour: probability}}, not {maps!r}"
            raise InputError(msg)
        for flavour in maps:
            if flavour not in {*_LABELS, _OTHERS}:
                msg = f"the tag {tag!r}: there is no flavour {flavour!r}.{did_you_mean(flavour, [*_LABELS, _OTHERS])}"
                raise UnknownNameError(msg)
        found[tag] = {flavour: as_map(given, f"the tag {tag!r} of {flavour!r}") for flavour, given in maps.items()}
    return found


def listed(tags: Mapping[str, Mapping[str, EfficiencyMap]]) -> dict[str, dict[str, Any]]:
    """Return the maps as JSON has them."""
    return {tag: {flavour: described(given) for flavour, given in maps.items()} for tag, maps in tags.items()}


def tagged(
    true: Momenta,
    measured: Momenta,
    tags: Mapping[str, Mapping[str, EfficiencyMap]],
    counters: tuple[NDArray[np.int64], ...],
    key: int,
) -> Momenta:
    """Return the measured particles with the PDG ids that taggers give to jets.

    Parameters
    ----------
    true, measured
        The same particles.
    tags
        From `checked`.
    counters, key
        As in `smearing.smear`.
    """
    jets = np.flatnonzero(are(true, "j") | are(true, "tau"))
    few, counters = true.take(jets), tuple(c[jets] for c in counters)
    flavour = np.abs(few["pdgid"])
    label = np.where(np.isin(flavour, [_LABELS[tag] for tag in tags]), _LIGHT, few["pdgid"])
    for tag in reversed([tag for tag in _LABELS if tag in tags]):
        drawn = streams.uniform(key, *counters, _QUANTITY[tag], 0)
        for name, given in tags[tag].items():
            is_it = flavour == _LABELS[name] if name in _LABELS else ~np.isin(flavour, list(_LABELS.values()))
            some = np.flatnonzero(is_it)
            chance = probability(given, few.take(some), f"the tag {tag!r} of {name!r}")
            hit = some[drawn[some] < chance]
            label[hit] = _LABELS[tag] * (_signs(few["pdgid"], counters, key)[hit] if tag == "tau" else 1)
    pdgid = np.array(true["pdgid"])
    pdgid[jets] = label
    kept = {name: partial(measured.__getitem__, name) for name in (*CARTESIAN, "pt", "eta", "phi")}
    return Momenta({**kept, "pdgid": pdgid}, FORMULAS)


def _signs(pdgid: NDArray[Any], counters: tuple[NDArray[np.int64], ...], key: int) -> NDArray[np.int64]:
    """Return the signs of taus: their own, at random for other jets."""
    random = np.where(streams.uniform(key, *counters, _QUANTITY["charge"], 0) < 0.5, 1, -1)
    return np.where(np.abs(pdgid) == _LABELS["tau"], np.sign(pdgid), random)
