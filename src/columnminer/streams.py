"""Random numbers that belong to things, not to workers or blocks.

`seed_sequence` names a stream by a path ("this seed, this sample, this theta"). `uniform` and `normal` go further: they
are pure functions of a key and integer counters (event number, particle, quantity), so the smearing of event 4711 is
the same whichever worker reads it and in whatever batch it arrives.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy.special import ndtri

from columnminer.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Seed", "key", "normal", "seed_sequence", "uniform"]

Seed: TypeAlias = int | np.random.Generator | np.random.SeedSequence

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def seed_sequence(seed: Seed, *path: int | str) -> np.random.SeedSequence:
    """Return the SeedSequence of the stream that `path` names under `seed`.

    Parameters
    ----------
    seed
        An integer, a SeedSequence, or a Generator (one draw is taken from it, so that two calls differ).
    *path
        Integers or words that name the stream; the same path always gives the same stream.

    Raises
    ------
    InputError
        If the seed is negative or of another type.
    """
    words = tuple(zlib.crc32(p.encode()) if isinstance(p, str) else int(p) for p in path)
    if isinstance(seed, np.random.SeedSequence):
        return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, *words))
    if isinstance(seed, np.random.Generator):
        seed = int(seed.integers(2**63))
    given: object = seed  # callers without a type checker pass anything
    if isinstance(given, bool) or not isinstance(given, int | np.integer) or given < 0:
        msg = f"seed must be a non-negative integer or a numpy Generator, not {seed!r}"
        raise InputError(msg)
    return np.random.SeedSequence(int(given), spawn_key=words)


def key(seed: Seed, *path: int | str) -> int:
    """Return the 64-bit key of the stream that `path` names, for `uniform` and `normal`."""
    return int(seed_sequence(seed, *path).generate_state(1, np.uint64)[0])


def _mix(h: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64 finaliser (Steele, Lea and Flood, OOPSLA 2014): every input bit reaches every output bit."""
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


def uniform(key: int, *counters: ArrayLike) -> NDArray[np.float64]:
    """Return uniform numbers in the open interval (0, 1), one for each broadcast combination of the counters.

    Parameters
    ----------
    key
        From `key`: which stream.
    *counters
        Non-negative integer arrays that broadcast together (event number, particle index, quantity, attempt).
    """
    state: NDArray[np.uint64] = np.asarray(key, dtype=np.uint64)
    with np.errstate(over="ignore"):  # wrapping around 2**64 is the arithmetic that is meant
        for counter in counters:
            state = _mix((state ^ np.asarray(counter).astype(np.uint64)) + _GOLDEN)
        state = _mix(state + _GOLDEN)
    return ((state >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normal(key: int, *counters: ArrayLike) -> NDArray[np.float64]:
    """Return standard normal numbers, one for each broadcast combination of the counters; see `uniform`."""
    return np.asarray(ndtri(uniform(key, *counters)), dtype=np.float64)
