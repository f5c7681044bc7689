"""Events and parameter points: as pairs, or every event at every point. The one contract for shapes of estimators."""

from __future__ import annotations

from typing import Literal, TypeAlias

from columnminer.errors import InputError

__all__ = ["Pairing", "check_pairs", "on_grid"]

Pairing: TypeAlias = Literal["pairs", "grid"]
"""x (n, n_x) and theta (n, n_par) or (n_par,) to (n,); or x (n_x, ...) and theta (n_theta, n_par) to (n_theta, n_x)."""


def check_pairs(n_events: int, n_points: int) -> None:
    """Refuse events and points that make no pairs.

    Raises
    ------
    InputError
        If there is neither one point nor one for each event.
    """
    if n_points not in {1, n_events}:
        msg = (
            f"{n_events} events and {n_points} points make no pairs: give one point, one for each event, or "
            'pairing="grid"'
        )
        raise InputError(msg)


def on_grid(pairing: Pairing) -> bool:
    """Return whether every event is evaluated at every point.

    Raises
    ------
    InputError
        If there is no such pairing.
    """
    if pairing not in {"pairs", "grid"}:
        msg = f"pairing is 'pairs' or 'grid', not {pairing!r}"
        raise InputError(msg)
    return pairing == "grid"
