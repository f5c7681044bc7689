"""What has to be known of training samples before a network sees them: one pass over their columns.

Scalings, the reference point, and whether labels and points are what they should be follow from it, for samples in
memory as for those that are read block by block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from columnminer.errors import InputError, MissingError
from columnminer.learn.gold import pick_features
from columnminer.learn.scaling import Moments
from columnminer.sample.samples import Samples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from columnminer.store.samplestore import SampleStore

__all__ = ["BLOCK", "Census", "pieces"]

BLOCK = 65_536
"""Events that are read together: a chunk of a store."""

_PIECE = 8_192
"""Events that are looked at together: what is computed of them stays in the cache, and takes no memory to speak of."""

_COLUMNS = ("theta0", "theta1", "t_xz", "y", "weights")


def pieces(samples: Samples | SampleStore, start: int, stop: int) -> Iterator[tuple[int, Samples]]:
    """Yield events in small pieces, each with the number of its first one."""
    for first in range(start, min(stop, len(samples)), BLOCK):
        block = Samples.of(samples, slice(first, min(first + BLOCK, stop)))
        for inner in range(0, len(block), _PIECE):
            yield first + inner, block.take(slice(inner, inner + _PIECE))


class Census:
    """Moments of the columns of training samples.

    Parameters
    ----------
    samples
        In memory or stored.
    features
        Names of the features to look at; None: all.
    method
        What is to be learned, for messages.

    Raises
    ------
    UnknownNameError
        If a feature is not there.
    InputError
        If a feature is not finite, or there are no events.
    """

    def __init__(self, samples: Samples | SampleStore, features: Sequence[str] | None, method: str) -> None:
        if not len(samples):
            msg = f"there are no events to learn {method} from"
            raise InputError(msg)
        head = Samples.of(samples, slice(0, 1))
        self.feature_names = tuple(head.feature_names if features is None else features)
        self.parameter_names = tuple(head.parameter_names)
        self.nuisance_names = tuple(head.nuisance_names)
        self.cross_section = head.cross_section
        self.store_hash, self.partition = head.store_hash, head.partition
        self._method = method
        self._moments: dict[str, Moments] = {}
        for first, part in pieces(samples, 0, len(samples)):
            self._add("x", pick_features(part.x, part.feature_names, self.feature_names, first))
            for name in _COLUMNS:
                values = getattr(part, name)
                if values is not None:
                    self._add(name, values)

    def _add(self, name: str, values: NDArray[np.floating]) -> None:
        found = Moments.of(values)
        self._moments[name] = self._moments[name] + found if name in self._moments else found

    def __contains__(self, name: object) -> bool:
        return name in self._moments

    def __getitem__(self, name: str) -> Moments:
        """Return the moments of the features ("x"), or of a column of the samples.

        Raises
        ------
        MissingError
            If the samples do not have it.
        """
        if name not in self._moments:
            msg = f"{self._method} needs {name}, which these samples do not hold"
            raise MissingError(msg)
        return self._moments[name]

    @property
    def mean_weight(self) -> float:
        """Mean of the signed weights; 1 without any.

        Raises
        ------
        InputError
            If it is not positive.
        """
        if "weights" not in self._moments:
            return 1.0
        mean = float(self._moments["weights"].mean[0])
        if not mean > 0.0:
            msg = f"the weights of the training samples have mean {mean}, but it must be positive"
            raise InputError(msg)
        return mean

    def require_numerator_only(self) -> None:
        """Refuse samples in which events are drawn from another point than theta0.

        Raises
        ------
        InputError
            If there are some.
        """
        y = self._moments.get("y")
        if y is not None and (y.low[0] != 0 or y.high[0] != 0):
            msg = (
                f"a density is learned from events drawn at theta0, but {y.mean[0] * y.n:.0f} of {y.n} have a label y "
                "other than 0: use sample_density, or samples.take(samples.y == 0)"
            )
            raise InputError(msg)

    def require_both_classes(self) -> None:
        """Refuse samples in which all events have one label.

        Raises
        ------
        InputError
            If that is so.
        """
        y = self["y"]
        if y.low[0] == y.high[0]:
            msg = f"all {y.n} events have the label y = {y.low[0]:g}: a ratio needs events of both classes"
            raise InputError(msg)
