"""The physics objects of a batch, `e mu tau j a l v met p ...`, built from what it holds when they are asked for.

Parton-level events: the final-state particles (status 1) are `p_truth`, in the order of the file; those that a detector
knows of (`species`), as it measures them, are `p`, and the collections are their species by falling pT. Particles of no
species are invisible; the missing momentum balances the visible ones. Events with reconstructed objects are taken as
they are; only acceptance cuts act on them.

Showered events: isolated leptons and photons, and jets, which truth labels (`clustering`), take the place of the final
particles above; a detector measures these objects. All that is visible counts in the missing momentum, as it is where
it belongs to no object, and `p_truth` are all final particles. `tau` are jets with the label of a tau; `j`, the others.

As in MadMiner, phi of measured particles lies in [0, 2 pi), that of sums and of the missing momentum in (-pi, pi].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import awkward as ak
import numpy as np

from columnminer.arithmetic import Number
from columnminer.errors import InputError, MissingError
from columnminer.expressions import Kind
from columnminer.formats.root import is_lazy
from columnminer.momenta import Collection, Momenta, Particle
from columnminer.observe import arrays
from columnminer.observe.clustering import Jets, Reconstruction, reconstruct
from columnminer.observe.detector import Detector
from columnminer.observe.isolation import Isolation, isolations
from columnminer.observe.species import are, are_known

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.schema import EventBatch

__all__ = ["OBJECTS", "Definition", "Objects"]

Value: TypeAlias = Number | Particle | Collection
Definition: TypeAlias = Callable[[ak.Array], Any]

_SPECIES = ("e", "mu", "tau", "j", "a", "v")
_HEADER = ("scale", "alpha_qed", "alpha_qcd", "process_id")

OBJECTS: dict[str, Kind] = {
    **dict.fromkeys((*_SPECIES, "l", "p", "p_truth"), Kind.COLLECTION),
    **dict.fromkeys(("met", "visible", "all"), Kind.PARTICLE),
    **dict.fromkeys(("n_particles", *_HEADER), Kind.NUMBER),
}
"""The names that expressions know. Electrons, muons, taus, jets, photons, neutrinos; leptons (e and mu), measured
particles, true particles. Missing momentum, the sum of all visible particles, the sum of both. Numbers of the event."""


class Objects(Mapping[str, Value]):
    """What each name stands for in one batch, built when asked for.

    Parameters
    ----------
    batch
        The events.
    detector
        How they are measured; None: perfectly.
    definitions
        name -> function of the awkward events, which have our objects as further fields, that returns what the name
        shall stand for: momentum records (n_events, var), in the order wanted; under the names of single particles
        records (n_events,), under those of numbers numbers (n_events,).
    key
        From `streams.key`: the random numbers of the detector.
    jets
        How to cluster jets; None: as `Jets()` says in showered events, and not at all in others.
    isolation
        What isolated leptons and photons are, where jets are clustered.

    Raises
    ------
    InputError
        If a detector is to smear objects that have been reconstructed, or jets are to be clustered of them.
    """

    def __init__(
        self,
        batch: EventBatch,
        detector: Detector | None = None,
        definitions: Mapping[str, Definition] | None = None,
        key: int = 0,
        *,
        jets: Jets | None = None,
        isolation: Isolation | Mapping[str, Isolation] | None = None,
    ) -> None:
        self.source, self.n_events = batch.source, len(batch)
        self._batch = batch
        self._detector = detector or Detector()
        self._definitions = definitions or {}
        self._key = key
        self._jets, self._isolation = jets, isolation
        self._built: dict[str, Value] = {}
        self._fields = set(ak.fields(batch.events))
        self._is_reconstructed = bool(self._fields & {*_SPECIES, "met"})
        if self._is_reconstructed and not self._detector.ideal:
            msg = (
                f"{batch.source}: these events hold reconstructed objects, which a detector has seen already: "
                "leave out resolutions, met_noise and efficiencies; pt_min and eta_max may be set"
            )
            raise InputError(msg)
        if self._is_reconstructed and jets is not None:
            msg = f"{batch.source}: these events hold reconstructed objects, jets among them: leave out jets="
            raise InputError(msg)

    def __getitem__(self, name: str) -> Value:
        if name not in self._built:
            self._built[name] = self._defined(name) if name in self._definitions else self._found(name)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**OBJECTS, **self._definitions})

    def __len__(self) -> int:
        return len(OBJECTS.keys() | self._definitions.keys())

    def _found(self, name: str) -> Value:
        """Return an object of ours."""  # no table of methods: it would keep all columns alive in a circle
        match name:
            case "l":
                found: Value = self._collection("e").merged(self._collection("mu")).by_pt()
            case "p":
                found = self._measured
            case "p_truth":
                found = self._record.where(self._final)
            case "met":
                found = self._met()
            case "visible":
                found = self._visible_sum()
            case "all":
                found = self._particle("visible") + self._particle("met")
            case "n_particles":
                found = self._record.length()
            case _:
                found = self._one_species(name) if name in _SPECIES else self._header(name)
        return found

    @cached_property
    def events(self) -> ak.Array:
        """The awkward events with our objects as further fields; what a batch cannot give is left out.

        Where columns are read from a file when they are used (NanoEvents), its own objects stay as they are, and sums
        of them are left out: a function is not to pay for reading what it does not use.
        """
        events = self._batch.events
        for name in self:
            if is_lazy(events) and self._stays(name):
                continue
            try:
                value = None if OBJECTS.get(name) is Kind.NUMBER else self[name]
            except MissingError:
                continue
            if isinstance(value, Collection | Particle):
                events = ak.with_field(events, arrays.to_awkward(value), name)
        return events

    def _stays(self, name: str) -> bool:
        """Whether an object is what the batch holds, or is made of several that are."""
        if name in self._definitions or name in self._detector.pt_min or name in self._detector.eta_max:
            return False
        return name in self._fields or name in {"l", "visible", "all"}

    def _collection(self, name: str) -> Collection:
        return cast("Collection", self[name])

    def _particle(self, name: str) -> Particle:
        return cast("Particle", self[name])

    def _defined(self, name: str) -> Value:
        """Return an object of the user's definition; a new name is a collection."""
        what = f"{self.source}: the object {name!r}"
        array = arrays.called(self._definitions[name], self._own_events, what)
        kind = OBJECTS.get(name, Kind.COLLECTION)
        if kind is Kind.COLLECTION:
            return arrays.collection(array, what, self.n_events)
        if kind is Kind.PARTICLE:
            return arrays.particle(array, what, self.n_events)
        return arrays.number(array, what, self.n_events)

    @cached_property
    def _own_events(self) -> ak.Array:
        """The events as definitions see them, with our objects and none of the user's."""
        own = Objects(self._batch, self._detector, key=self._key, jets=self._jets, isolation=self._isolation)
        return own.events

    def _field(self, name: str) -> tuple[ak.Array, str, int]:
        """Return a field of the events, what to call it, and how many events there are."""
        if name not in self._fields:
            held = ", ".join(sorted(self._fields))
            msg = f"{self.source}: these events give no {name!r}; they hold {held}"
            raise MissingError(msg)
        first, array = self._batch.first_event, self._batch.events[name]
        events = f", events {first} to {first + self.n_events - 1} (counted from 0)" if is_lazy(array) else ""
        return array, f"{self.source}{events}: {name}", self.n_events

    def _header(self, name: str) -> Number:
        return arrays.number(*self._field(name))

    @cached_property
    def _record(self) -> Collection:
        """All particles of the event record, incoming and decayed ones too."""
        array, what, n = self._field("particles")
        if missing := {"pdgid", "status"} - set(ak.fields(array)):
            msg = f"{what} need the field{'s' * (len(missing) > 1)} {' and '.join(sorted(missing))}"
            raise InputError(msg)
        return arrays.collection(array, what, n)

    @property
    def _final(self) -> NDArray[np.bool_]:
        return np.asarray(self._record.momenta["status"] == 1)

    @cached_property
    def _event_numbers(self) -> NDArray[np.int64]:
        return self._batch.first_event + np.arange(self.n_events)

    @cached_property
    def _reconstruction(self) -> Reconstruction | None:
        """What was clustered, if anything was to be."""
        if self._jets is None and not self._batch.showered:
            return None
        return reconstruct(self._record, self._jets or Jets(), isolations(self._isolation))

    @cached_property
    def _measured(self) -> Collection:
        if self._reconstruction is not None:
            record, chosen = self._reconstruction.objects, np.ones(len(self._reconstruction.objects.event), np.bool_)
        else:
            record, chosen = self._record, self._final & are_known(self._record.momenta)
        places = np.arange(len(chosen)) - record.offsets[record.event]
        return self._detector.measure(record.where(chosen), self._event_numbers, places[chosen], self._key)

    def _one_species(self, name: str) -> Collection:
        if self._is_reconstructed:
            return self._detector.accepted(name, arrays.collection(*self._field(name))).by_pt()
        return self._measured.where(are(self._measured.momenta, name)).by_pt()

    @cached_property
    def _visible(self) -> Collection:
        return self._measured.where(~are(self._measured.momenta, "v"))

    def _visible_sum(self) -> Particle:
        if self._is_reconstructed:
            first, *others = (self._collection(name).total() for name in ("e", "mu", "a", "j"))
            return sum(others, first)
        total = self._visible.total()
        return total if self._reconstruction is None else total + self._reconstruction.soft

    def _met(self) -> Particle:
        if self._is_reconstructed:
            return arrays.particle(*self._field("met"))
        visible = self._particle("visible").momenta
        noise_x, noise_y = self._detector.met_noise_xy(self._visible, self._event_numbers, self._key)
        px, py = noise_x - visible["px"], noise_y - visible["py"]
        return Particle(Momenta({"px": px, "py": py, "pz": np.zeros_like(px), "e": np.sqrt(px**2 + py**2)}))
