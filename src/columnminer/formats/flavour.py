"""Which particles of an event record say where heavy quarks and tau leptons were: one rule for readers and tags."""

from __future__ import annotations

__all__ = ["open_flavour"]


def open_flavour(pdgid: int) -> int:
    """Return 5 or 4 for hadrons with open bottom or charm (5 where both), 15 for tau leptons, else 0.

    By the digits of the PDG numbering scheme (Review of Particle Physics, "Monte Carlo particle numbering scheme"):
    n_q1 n_q2 n_q3 n_J behind those of excitations; quarkonia have no open flavour, diquarks are no hadrons. Plain
    arithmetic, so that it compiles as well.
    """
    n = abs(pdgid)
    if n == 15:
        return 15
    if n >= 10_000_000 or 1_000_000 <= n < 9_000_000:  # nuclei; supersymmetric and other new particles
        return 0
    first, second, third = n // 1000 % 10, n // 100 % 10, n // 10 % 10
    if second == 0 or third == 0:
        return 0
    heaviest = second
    if first > 0:
        heaviest = max(first, second)
    elif second == third:
        return 0
    return heaviest if heaviest in (4, 5) else 0
