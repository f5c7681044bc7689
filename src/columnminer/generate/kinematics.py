"""From the variables of a lepton pair to the particles of an event record, and the observables as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import awkward as ak
import numpy as np

from columnminer.generate.amplitudes import ALPHA, HELICITIES
from columnminer.generate.partons import alpha_s
from columnminer.schema import jagged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.generate.beams import Channel
    from columnminer.generate.sampling import PartonEvents

__all__ = ["COLOUR_LINE", "INCOMING", "OUTGOING", "event_records", "observable_texts"]

INCOMING, OUTGOING = -1, 1
"""Status codes of the Les Houches Accord (hep-ph/0109068, section 3.2)."""
COLOUR_LINE = 501
"""Label of the one colour line, from the quark to the antiquark."""

_LEPTON_IDS = {"e": 11, "mu": 13}


def event_records(events: PartonEvents, channels: tuple[Channel, ...], lepton: str) -> ak.Array:
    """Return event records as `columnminer.schema` describes them: two incoming partons, l-, l+.

    Helicities stand in the `spin` of all four. In light-cone components ``E +- p_z`` of partons ``m exp(+-y)`` and of
    leptons ``m/2 exp(+-y) (1 +- c)``, energy and momentum are conserved and masses vanish to rounding.
    """
    n = len(events.mass)
    lepton_helicity = np.array([pair[1] for pair in HELICITIES])[events.helicity]
    fermion_helicity = np.array([pair[0] for pair in HELICITIES])[events.helicity]
    pdgids = np.array([channel.pdgids for channel in channels])[events.channel]
    coloured = np.abs(pdgids) < 10

    forward, backward = events.mass * np.exp(events.rapidity), events.mass * np.exp(-events.rapidity)
    none = np.zeros(n)
    plus = np.stack([forward, none, forward * (1 + events.cosine) / 2, forward * (1 - events.cosine) / 2], axis=1)
    minus = np.stack([none, backward, backward * (1 - events.cosine) / 2, backward * (1 + events.cosine) / 2], axis=1)
    pt = events.mass / 2 * np.sqrt((1 - events.cosine) * (1 + events.cosine))
    px, py = pt * np.cos(events.azimuth), pt * np.sin(events.azimuth)
    lepton_id = _LEPTON_IDS[lepton]

    def of_leptons(value: int) -> NDArray[np.int32]:
        return np.tile(np.array([0, 0, value, value], dtype=np.int32), n)

    def per_particle(incoming: NDArray[np.generic], outgoing: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.concatenate([incoming, outgoing], axis=1).ravel()

    particles = jagged(
        np.full(n, 4),
        {
            "px": np.stack([none, none, px, -px], axis=1).ravel(),
            "py": np.stack([none, none, py, -py], axis=1).ravel(),
            "pz": ((plus - minus) / 2).ravel(),
            "e": ((plus + minus) / 2).ravel(),
            "pdgid": per_particle(pdgids, np.broadcast_to([lepton_id, -lepton_id], (n, 2))).astype(np.int32),
            "status": np.tile(np.array([INCOMING, INCOMING, OUTGOING, OUTGOING], dtype=np.int32), n),
            "mother1": of_leptons(1),
            "mother2": of_leptons(2),
            "color1": per_particle(COLOUR_LINE * (coloured & (pdgids > 0)), np.zeros((n, 2))).astype(np.int32),
            "color2": per_particle(COLOUR_LINE * (coloured & (pdgids < 0)), np.zeros((n, 2))).astype(np.int32),
            "lifetime": np.zeros(4 * n),
            "generated_mass": np.zeros(4 * n),
            "spin": per_particle(  # an antifermion on the same line has the opposite helicity
                fermion_helicity[:, np.newaxis] * np.sign(pdgids), lepton_helicity[:, np.newaxis] * np.array([1, -1])
            ).astype(np.float64),
        },
    )
    return ak.zip(
        {
            "particles": particles,
            "scale": events.mass,
            "alpha_qed": np.full(n, ALPHA),
            "alpha_qcd": alpha_s(events.mass),
            "process_id": np.ones(n, dtype=np.int32),
        },
        depth_limit=1,
    )


def observable_texts(lepton: str, *, by_boost: bool) -> dict[str, str]:
    """Return expressions of (m, y, cos theta*) of the lepton pair; the same whichever lepton comes first.

    y and cos theta* are made of the leptons' directions: ``y = (eta_- + eta_+) / 2`` and
    ``cos theta* = +-tanh((eta_- - eta_+) / 2)``, where +- is the sign of y if `by_boost`, else +. For massless leptons
    back to back in the transverse plane these are the rapidity and the Collins-Soper angle of the pair.
    """
    first, second = f"{lepton}[0]", f"{lepton}[1]"
    total = f"{first}.eta + {second}.eta"
    opening = f"{first}.charge * {first}.eta + {second}.charge * {second}.eta"  # eta_+ - eta_-
    cosine = f"2 / (1 + exp({opening})) - 1"
    return {
        "m_ll": f"({first} + {second}).m",
        "y_ll": f"({total}) / 2",
        "cos_theta": f"({cosine}) * (1 if {total} > 0 else -1)" if by_boost else cosine,
    }
