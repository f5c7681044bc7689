"""Objects of showered events: isolated leptons and photons, and jets of everything else that is visible.

Jets are found by FastJet (Cacciari, Salam, Soyez, arXiv:1111.6097). Truth says what they are: hadrons with open bottom
or charm and tau leptons (and, where events stop at partons, final b and c quarks) each label the nearest jet within
`tag_radius` in sqrt(delta_eta^2 + delta_phi^2); of several labels b counts before c before tau. A label is the jet's
PDG id, so that all that follows is the same as for partons: 5, 4, +-15 (with the sign of the tau), or 21 for none.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import fastjet
import numpy as np

from columnminer.errors import InputError, UnknownNameError, did_you_mean
from columnminer.momenta import CARTESIAN, Collection, Momenta, Particle
from columnminer.observe import arrays
from columnminer.observe.isolation import isolated, nearest
from columnminer.observe.species import FORMULAS, are
from columnminer.schema import jagged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from columnminer.observe.isolation import Isolation

__all__ = ["Jets", "Reconstruction", "reconstruct"]

_ALGORITHMS = {
    "anti-kt": fastjet.antikt_algorithm,
    "kt": fastjet.kt_algorithm,
    "cambridge-aachen": fastjet.cambridge_algorithm,
}
_LIGHT, _BOTTOM, _CHARM, _TAU = 21, 5, 4, 15

with contextlib.suppress(AttributeError):  # FastJet prints a page on its first use, into whatever is on the terminal
    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)  # noqa: SLF001 - FastJet's own switch


@dataclass(frozen=True)
class Jets:
    """How particles are clustered into jets.

    Attributes
    ----------
    R : float
        Radius parameter.
    pt_min : float
        Smallest pT [GeV] of a jet; what is softer counts in the missing momentum only.
    algorithm : str
        "anti-kt", "kt" or "cambridge-aachen".
    eta_max : float or None
        Largest ``|eta|`` of particles that are seen at all, be it in jets, as leptons and photons, or in the missing
        momentum; None: all, down to the remnants of the beams.
    tag_radius : float
        Largest distance between a jet and what labels it.
    tag_pt_min : float
        Smallest pT [GeV] of what labels jets.

    Raises
    ------
    UnknownNameError
        If there is no such algorithm.
    InputError
        If a number is out of range.

    Examples
    --------
    >>> selection = cm.Selection({"n_j": "len(j)", "pt_j1": "j[0].pt"}, jets=cm.Jets(R=0.4, pt_min=30.0, eta_max=4.5))
    """

    R: float = 0.4
    pt_min: float = 20.0
    algorithm: str = "anti-kt"
    eta_max: float | None = None
    tag_radius: float = 0.3
    tag_pt_min: float = 5.0

    def __post_init__(self) -> None:
        if self.algorithm not in _ALGORITHMS:
            msg = f"no jet algorithm is called {self.algorithm!r}.{did_you_mean(self.algorithm, _ALGORITHMS)}"
            raise UnknownNameError(msg)
        positive = self.R > 0 and self.tag_radius > 0 and (self.eta_max is None or self.eta_max > 0)
        if not (positive and self.pt_min >= 0 and self.tag_pt_min >= 0):
            msg = f"jets need positive radii and eta_max, and pt_min that is not negative, not {self}"
            raise InputError(msg)

    def to_dict(self) -> dict[str, float | str | None]:
        """Return the options as JSON has them."""
        return asdict(self)

    def find(self, particles: Collection) -> Collection:
        """Return the jets of these particles by falling pT, without labels."""
        columns = {name: particles.momenta[name].astype(np.float64, copy=False) for name in CARTESIAN}
        array = jagged(particles.counts, columns)
        definition = fastjet.JetDefinition(_ALGORITHMS[self.algorithm], self.R)
        found = fastjet.ClusterSequence(array, definition).inclusive_jets(min_pt=self.pt_min)
        return arrays.collection(found, "jets", len(particles.counts)).by_pt()


@dataclass(frozen=True)
class Reconstruction:
    """What was made of the particles of a batch.

    Attributes
    ----------
    objects : Collection
        Isolated leptons and photons, tau leptons and bosons that did not decay, neutrinos; then jets.
    soft : Particle
        (n_events,) sum of the visible particles that are in none of the objects.
    """

    objects: Collection
    soft: Particle


def reconstruct(record: Collection, jets: Jets, cones: Mapping[str, Isolation]) -> Reconstruction:
    """Find the objects of showered events.

    Parameters
    ----------
    record
        Particles with PDG id and status: final ones (status 1), and beside them at least those that label jets.
    jets
        How to cluster.
    cones
        Isolation of `e`, `mu` and `a`.
    """
    momenta = record.momenta
    final = momenta["status"] == 1
    seen = momenta["visible"] if jets.eta_max is None else momenta["visible"] & (np.abs(momenta["eta"]) <= jets.eta_max)
    visible = record.where(final & seen)
    alone = isolated(visible, cones) | are(visible.momenta, "tau") | are(visible.momenta, "boson")
    rest = visible.where(~alone)
    found = jets.find(rest)
    labelled = Momenta({**{c: found.momenta[c] for c in CARTESIAN}, "pdgid": _labels(record, found, jets)}, FORMULAS)
    neutrinos = record.where(final & are(momenta, "v"))
    objects = _joined(visible.where(alone), neutrinos, Collection(labelled, found.offsets))
    return Reconstruction(objects, rest.total() - found.total())


def _labels(record: Collection, jets: Collection, options: Jets) -> NDArray[np.int32]:
    """Return the PDG id that labels each jet."""
    momenta = record.momenta
    flavour, pdgid, status = momenta["open_flavour"], momenta["pdgid"], momenta["status"]
    quark = (status == 1) & ((np.abs(pdgid) == _BOTTOM) | (np.abs(pdgid) == _CHARM))
    hadron = ((status == 1) | (status == 2)) & ((flavour == _BOTTOM) | (flavour == _CHARM))
    tau = (status == 2) & (flavour == _TAU)
    flavour = np.where(quark, np.abs(pdgid), flavour)
    chosen = (quark | hadron | tau) & (momenta["pt"] >= options.tag_pt_min)
    jet = nearest(record.where(chosen), jets, options.tag_radius)
    flavour, sign = flavour[chosen][jet >= 0], np.sign(pdgid[chosen])[jet >= 0]
    jet = jet[jet >= 0]
    labels = np.full(len(jets.event), _LIGHT, dtype=np.int32)
    for kind in (_TAU, _CHARM, _BOTTOM):  # the last counts
        of_kind = flavour == kind
        labels[jet[of_kind]] = kind * (sign[of_kind] if kind == _TAU else 1)
    return labels


def _joined(*parts: Collection) -> Collection:
    """Return the particles of all collections, in their order in each event."""
    order = np.argsort(np.concatenate([part.event for part in parts]), kind="stable")
    columns = {name: np.concatenate([part.momenta[name] for part in parts])[order] for name in (*CARTESIAN, "pdgid")}
    return Collection(Momenta(columns, FORMULAS), np.sum([part.offsets for part in parts], axis=0))
