"""Which stored event belongs to training, validation or test.

The partition is a property of the stored event, fixed when the store is published, so that nothing is ever tested on
events that it was trained on, whatever is asked for later and in whatever order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from columnminer.errors import InputError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["PARTITIONS", "PartitionScheme", "partition_code"]

PARTITIONS = ("train", "validation", "test")
"""Names of the partitions; an event's code in the store is the position here."""

STRATUM = 10_000
"""Stored events of one sample that are split among themselves: bounds the memory, and evens out a sample's length."""

Partitioning: TypeAlias = "Sequence[float] | str"


def partition_code(name: str) -> int:
    """Return the code of a partition name.

    Raises
    ------
    UnknownNameError
        If there is no such partition.
    """
    if name not in PARTITIONS:
        msg = f"no partition is called {name!r}.{did_you_mean(name, ('all', *PARTITIONS))}"
        raise UnknownNameError(msg)
    return PARTITIONS.index(name)


@dataclass(frozen=True)
class PartitionScheme:
    """How stored events are split.

    Attributes
    ----------
    fractions : tuple of float
        Of train, validation and test; they sum to 1.
    in_order : bool
        Cut the whole store in order, as MadMiner does (its train events are the first 60 %), instead of at random
        within every sample. Only sensible for comparing with it, and for events that were shuffled before.
    """

    fractions: tuple[float, ...] = (0.6, 0.2, 0.2)
    in_order: bool = False

    @classmethod
    def of(cls, partition: Partitioning) -> PartitionScheme:
        """Return the scheme that a user's ``partition`` option means.

        Raises
        ------
        InputError
            If it is neither three fractions that sum to 1 nor "in_order".
        """
        if partition == "in_order":
            return cls(in_order=True)
        if isinstance(partition, str):
            msg = f"partition must be (train, validation, test) fractions or 'in_order', not {partition!r}"
            raise InputError(msg)
        fractions = tuple(float(f) for f in partition)
        # Not "any(f < 0)": a NaN has to fail too.
        if len(fractions) != len(PARTITIONS) or not all(f >= 0 for f in fractions) or abs(sum(fractions) - 1) > 1e-9:
            msg = f"partition must be three fractions (train, validation, test) that sum to 1, not {partition!r}"
            raise InputError(msg)
        return cls(fractions)

    def boundaries(self, n: int) -> NDArray[np.int64]:
        """Return how many of the first `n` events are in train, and in train or validation, (2,)."""
        return np.asarray(np.rint(np.cumsum(self.fractions[:-1]) * n), dtype=np.int64)

    def assign(self, ranking: NDArray[np.float64], first: int = 0) -> NDArray[np.uint8]:
        """Return the partition code of each event of one sample, or of some of its strata.

        Within each stratum of `STRATUM` events those with the smallest ranking go to train, the next to validation, the
        rest to test. The numbers taken from a stratum are differences of the rounded numbers for the whole sample up to
        there, so that the fractions of a sample hold to one event.

        Parameters
        ----------
        ranking
            (n,) a random number for each stored event, from its seed and event number.
        first
            Position in the sample of the first of them, the beginning of a stratum.
        """
        codes = np.empty(len(ranking), dtype=np.uint8)
        for start in range(0, len(ranking), STRATUM):
            stop = min(start + STRATUM, len(ranking))
            cuts = self.boundaries(first + stop) - self.boundaries(first + start)
            order = np.argsort(ranking[start:stop], kind="stable")
            codes[start + order] = np.searchsorted(cuts, np.arange(stop - start), side="right")
        return codes

    def assign_in_order(self, n: int) -> NDArray[np.uint8]:
        """Return the partition code of each of the `n` events of a whole store that is cut in order."""
        return np.asarray(np.searchsorted(self.boundaries(n), np.arange(n), side="right"), dtype=np.uint8)
