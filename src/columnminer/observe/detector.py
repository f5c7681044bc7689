"""A simple detector: smeared momenta, noise in the missing momentum, acceptance, efficiencies and tags.

Every random number is a function of the stream's key, the event's number, the particle's place in its event and the
quantity, so that an event is measured the same in whatever batch, on whatever worker.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer import streams
from columnminer.errors import UnknownNameError, did_you_mean
from columnminer.momenta import Collection, Momenta
from columnminer.observe import tagging
from columnminer.observe.maps import as_map, described, probability
from columnminer.observe.smearing import Resolution, Width, checked_width, pdg_ids, smear
from columnminer.observe.species import SPECIES, are

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["Detector"]

_FOUND, _MET_X, _MET_Y = 4, 5, 6  # which quantity a random number is for, after the four of `smearing`


@dataclass(frozen=True)
class Detector:
    """How particles are measured.

    Attributes
    ----------
    resolutions : mapping
        Whom (an object name `e mu tau a j v`, a PDG id for this sign of the charge only, or "all") -> `Resolution`, or
        a mapping with its fields; of several that concern a particle the last counts.
    met_noise : tuple of float
        (absolute [GeV], relative) width of Gaussian noise in x and y of the missing momentum; relative to HT, the
        scalar sum of the pT of the visible particles.
    pt_min, eta_max : mapping
        Object name `e mu tau a j` -> smallest measured pT [GeV] and largest ``|eta|``; what lies outside is not seen.
    efficiencies : mapping
        Object name -> probability to find a particle: a map, as `observe.maps` knows them (a number, an expression in
        the true `pt eta phi e charge ...`, a function, a correction of correctionlib).
    tags : mapping
        Tag (`b`, `c` or `tau`) -> true flavour of a jet (`b`, `c`, `tau`, or `j` for all others) -> probability that
        it gets this tag, a map; 0 for flavours that are not named. A tag that is not named is perfect. What gets
        several tags has the first of b, c and tau; the charge of what is not a tau is random.

    Raises
    ------
    UnknownNameError
        If a name is not that of an object.
    InputError
        If a number is out of range.

    Examples
    --------
    >>> detector = cm.Detector(
    ...     resolutions={"mu": cm.Resolution(energy=None, pt=(0.0, 0.02))},
    ...     pt_min={"mu": 25.0},
    ...     eta_max={"mu": 2.5},
    ...     efficiencies={"mu": "0.95 if abs(eta) < 1.5 else 0.9"},
    ... )
    >>> batch = cm.DrellYan().generate(1000, seed=1)
    >>> selection = cm.Selection({"m_ll": "(mu[0] + mu[1]).m"}, cuts=["len(mu) == 2"], detector=detector)
    >>> bool(500 < selection.apply(batch).passed.sum() < 900)
    True
    """

    resolutions: Mapping[str | int, Any] = field(default_factory=dict)
    met_noise: Width = (0.0, 0.0)
    pt_min: Mapping[str, float] = field(default_factory=dict)
    eta_max: Mapping[str, float] = field(default_factory=dict)
    efficiencies: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "met_noise", checked_width(self.met_noise, "met_noise"))
        resolutions = {}
        for whom, resolution in self.resolutions.items():
            pdg_ids(whom)
            given = isinstance(resolution, Resolution)
            resolutions[whom] = resolution if given else Resolution(**_options(Resolution, resolution))
        object.__setattr__(self, "resolutions", resolutions)
        seen = [name for name in SPECIES if name not in {"v", "boson"}]
        for name in (*self.pt_min, *self.eta_max, *self.efficiencies):
            if name not in seen:
                msg = f"a detector has no acceptance or efficiency for {name!r}.{did_you_mean(name, seen)}"
                raise UnknownNameError(msg)
        efficiencies = {n: as_map(given, f"the efficiency of {n!r}") for n, given in self.efficiencies.items()}
        object.__setattr__(self, "efficiencies", efficiencies)
        object.__setattr__(self, "tags", tagging.checked(self.tags))

    @property
    def ideal(self) -> bool:
        """Whether momenta and missing momentum are exact and no particle is lost at random."""
        return not (self.resolutions or any(self.met_noise) or self.efficiencies or self.tags)

    def to_dict(self) -> dict[str, Any]:
        """Return the detector as JSON has it; see `from_dict`."""

        def listed(resolution: Resolution) -> dict[str, list[float] | None]:
            return {name: width and list(width) for name, width in vars(resolution).items()}

        return {
            "resolutions": {str(whom): listed(resolution) for whom, resolution in self.resolutions.items()},
            "met_noise": list(self.met_noise),
            "pt_min": dict(self.pt_min),
            "eta_max": dict(self.eta_max),
            "efficiencies": {name: described(given) for name, given in self.efficiencies.items()},
            **({"tags": tagging.listed(self.tags)} if self.tags else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Detector:
        """Return the detector that `to_dict` describes, or that stands in a configuration file; all keys are optional.

        Raises
        ------
        UnknownNameError
            If a key is not one of the attributes.
        """
        resolutions = {
            int(whom) if str(whom).lstrip("-").isdigit() else whom: widths
            for whom, widths in data.get("resolutions", {}).items()
        }
        return cls(**{**_options(cls, data), "resolutions": resolutions})

    def measure(
        self, particles: Collection, event_numbers: NDArray[np.int64], places: NDArray[np.int64], key: int
    ) -> Collection:
        """Return particles as measured, those that are not seen left out.

        Parameters
        ----------
        particles
            True particles with a PDG id.
        event_numbers
            (n_events,) numbers of the events in their source.
        places
            (n_particles,) place of each particle in its event.
        key
            From `streams.key`.
        """
        counters = (event_numbers[particles.event], places)
        momenta = smear(particles.momenta, self.resolutions, counters, key)
        seen = self._found(particles.momenta, counters, key)
        for name in self.pt_min.keys() | self.eta_max.keys():
            seen &= ~are(particles.momenta, name) | self._inside(name, momenta)
        if self.tags:
            momenta = tagging.tagged(particles.momenta, momenta, self.tags, counters, key)
        measured = Collection(momenta, particles.offsets)
        return measured if np.all(seen) else measured.where(seen)

    def accepted(self, name: str, measured: Collection) -> Collection:
        """Return those of the objects called `name` that lie inside the acceptance."""
        if name not in self.pt_min and name not in self.eta_max:
            return measured
        return measured.where(self._inside(name, measured.momenta))

    def met_noise_xy(
        self, visible: Collection, event_numbers: NDArray[np.int64], key: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the noise in x and y of the missing momentum, (n_events,) each."""
        if not any(self.met_noise):
            none = np.zeros(len(event_numbers))
            return none, none
        absolute, relative = self.met_noise
        sigma = absolute + relative * visible.total_of("pt")
        x, y = (sigma * streams.normal(key, event_numbers, 0, quantity, 0) for quantity in (_MET_X, _MET_Y))
        return x, y

    def _inside(self, name: str, momenta: Momenta) -> NDArray[np.bool_]:
        low, high = self.pt_min.get(name, 0.0), self.eta_max.get(name, np.inf)
        return np.asarray((momenta["pt"] >= low) & (np.abs(momenta["eta"]) <= high))

    def _found(self, true: Momenta, counters: tuple[NDArray[np.int64], ...], key: int) -> NDArray[np.bool_]:
        found = np.ones(len(true["pdgid"]), dtype=np.bool_)
        for name, efficiency in self.efficiencies.items():
            some = np.flatnonzero(are(true, name))
            chance = probability(efficiency, true.take(some), f"the efficiency of {name!r}")
            drawn = streams.uniform(key, *(c[some] for c in counters), _FOUND, 0)
            found[some] = drawn < chance
        return found


def _options(cls: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    names = [f.name for f in fields(cls)]
    for name in data:
        if name not in names:
            msg = f"{cls.__name__} has no option {name!r}.{did_you_mean(name, names)}"
            raise UnknownNameError(msg)
    return dict(data)
