"""How far the parameter points of a training reach, and a warning where an estimator is asked beyond them.

An estimator has learned where its samples were drawn: from theta0, and for ratios theta1. Beyond, a network
extrapolates, and even estimators with the exact form in theta magnify their errors. Events far from the benchmarks are
morphed with large weights of either sign, whose squares add up to the squared morphing weight (`Morphing`): it says how
much more simulation the same precision would have needed there.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from columnminer.errors import RangeWarning
from columnminer.model.components import monomials

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from columnminer.learn.census import Census
    from columnminer.model.crosssection import CrossSectionPolynomial

__all__ = ["Reach", "SquaredMorphingWeight", "warn_if_far"]

_MARGIN = 0.1
"""Part of the range of the training by which a point may lie outside it: random points do not fill their range."""

_MANY_PARAMETERS = 12


@dataclass(frozen=True)
class SquaredMorphingWeight:
    """sum_b w_b(theta)**2 of a morphing, known by its components and the points of its basis.

    Attributes
    ----------
    components : numpy.ndarray
        (n_components, n_par) powers.
    basis : numpy.ndarray
        (n_basis, n_par) points.
    """

    components: NDArray[np.int64]
    basis: NDArray[np.float64]

    @classmethod
    def of(cls, cross_section: CrossSectionPolynomial) -> Self:
        """Return that of the morphing behind a cross section, without the constant of a background.

        Components that are found have their constant first: one at the end was added for a background.
        """
        components = cross_section.components
        added = len(components) > 1 and not components[-1].any()
        return cls(components[:-1] if added else components, cross_section.basis)

    def values(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return it at (n, n_par) points, (n,): 1 at a benchmark of the basis."""
        largest = np.abs(self.basis).max(axis=0)
        scale = np.where(largest > 0, largest, 1.0)
        matrix = np.linalg.pinv(monomials(self.basis / scale, self.components))
        # |m A^+|^2 = m (A^+ A^+^T) m^T: as few columns as there are components, however many points of the basis.
        rows = monomials(points / scale, self.components)
        return np.asarray(((rows @ (matrix @ matrix.T)) * rows).sum(axis=1))


@dataclass(frozen=True)
class Reach:
    """The box around the parameter points of a training.

    Attributes
    ----------
    low, high : numpy.ndarray
        (n_par,) its corners.
    squared_weight : SquaredMorphingWeight or None
        Of the set-up that the samples come from; None where nothing is morphed or it is not known.
    largest : float or None
        Squared morphing weight at the worst corner.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    squared_weight: SquaredMorphingWeight | None = None
    largest: float | None = None

    @classmethod
    def of(cls, census: Census) -> Self | None:
        """Return the reach of theta0 and theta1 of samples; None if they have neither."""
        known = [census[name] for name in ("theta0", "theta1") if name in census]
        if not known:
            return None
        low = np.min([moments.low for moments in known], axis=0)
        high = np.max([moments.high for moments in known], axis=0)
        if census.cross_section is None:
            return cls(low, high)
        squared = SquaredMorphingWeight.of(census.cross_section)
        return cls(low, high, squared, float(squared.values(_corners(low, high)).max()))

    def to_dict(self) -> dict[str, Any]:
        """Return the reach as JSON types."""
        document: dict[str, Any] = {"low": self.low.tolist(), "high": self.high.tolist()}
        if self.squared_weight is not None:
            document["components"] = self.squared_weight.components.tolist()
            document["basis"] = self.squared_weight.basis.tolist()
            document["largest_squared_weight"] = self.largest
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Return the reach that `to_dict` described."""
        box = np.array(document["low"], dtype=np.float64), np.array(document["high"], dtype=np.float64)
        if "basis" not in document:
            return cls(*box)
        components = np.array(document["components"], dtype=np.int64)
        squared = SquaredMorphingWeight(components, np.array(document["basis"], dtype=np.float64))
        return cls(*box, squared, float(document["largest_squared_weight"]))

    def excess(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far (n, n_par) points lie outside, (n, n_par), in units of the box; infinite where it is flat."""
        outside = np.maximum(np.maximum(self.low - points, points - self.high), 0.0)
        width = self.high - self.low
        # Points are float32 in samples: their rounding is no excess.
        rounding = 1e-6 * np.maximum(np.abs(self.low), np.abs(self.high))
        relative = np.divide(outside, width, out=np.full_like(outside, np.inf), where=width > rounding)
        return np.where(outside > rounding, relative, 0.0)

    def warning(self, points: NDArray[np.float64], names: Sequence[str]) -> str | None:
        """Return what is to be said of the point that is farthest outside; None if all are close enough."""
        corners = np.stack([points.min(axis=0), points.max(axis=0)])
        if not (self.excess(corners) > _MARGIN).any():
            return None
        excess = self.excess(points)
        far = (excess > _MARGIN).any(axis=1)
        worst = int(excess.max(axis=1).argmax())
        parameter = int(excess[worst].argmax())
        theta = ", ".join(f"{name} = {value:.3g}" for name, value in zip(names, points[worst], strict=True))
        span = f"{names[parameter]} {self.low[parameter]:.3g} to {self.high[parameter]:.3g}"
        amount = excess[worst, parameter]
        distance = f", by {amount:.2g} times that range" if np.isfinite(amount) else ""
        msg = f"{int(far.sum())} of {len(points)} parameter points lie outside those of the training: {theta} is "
        msg += f"beyond {span}{distance}"
        if self.squared_weight is not None:
            weight = float(self.squared_weight.values(points[worst : worst + 1])[0])
            msg += (
                f". The squared morphing weight is {weight:.3g} there, {self.largest:.3g} at the worst corner of theirs"
            )
        return msg


def _corners(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the corners of a box, (2**n_par, n_par); of a box with very many, the two opposite ones."""
    if len(low) > _MANY_PARAMETERS:
        return np.stack([low, high])
    return np.array(list(product(*zip(low, high, strict=True))))


def warn_if_far(
    points: NDArray[np.float64], training: Mapping[str, Any], names: Sequence[str], *, stacklevel: int = 3
) -> None:
    """Warn of parameter points (n, n_par) beyond the ``reach`` among the facts of a training, if it is known.

    Warns
    -----
    RangeWarning
        Once, of the farthest point, with its squared morphing weight where that is known.
    """
    if training.get("reach") is None or not len(points):
        return
    said = Reach.from_dict(training["reach"]).warning(points, names)
    if said is not None:
        warnings.warn(said, RangeWarning, stacklevel=stacklevel)
