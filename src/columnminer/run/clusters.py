"""Clusters that tasks run on."""

from __future__ import annotations

from distributed import Client

from columnminer.errors import InputError

__all__ = ["connect"]

_PATIENCE = 30
"""Seconds in which a scheduler has to answer."""


def connect(address: str) -> Client:
    """Return a client of the running dask scheduler at `address`, such as ``tcp://10.0.0.1:8786``.

    Raises
    ------
    InputError
        If nobody answers there.
    """
    try:
        return Client(address, timeout=_PATIENCE)  # type: ignore[no-untyped-call]  # distributed is not typed
    except (OSError, ValueError, TypeError) as reason:
        msg = f"no dask scheduler answers at {address!r}: {reason}"
        raise InputError(msg) from reason
