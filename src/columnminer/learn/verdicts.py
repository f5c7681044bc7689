"""One figure of an estimator's quality, with its error, its pass mark, and the picture behind it; kept as JSON."""

from __future__ import annotations

import logging
import math
import warnings
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import CheckWarning

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Check", "Finding", "judge_mean", "judge_pulls", "judge_worst_bin", "warn_of_failures"]

logger = logging.getLogger(__name__)

TOLERANCE = 0.05
"""Deviations below this are passed even where many events make them significant."""

SIGNIFICANCE = 4.0
"""Deviations below so many standard errors are passed."""


@dataclass(frozen=True)
class Finding:
    """What was expected and what was found, in bins: the picture of a check.

    Attributes
    ----------
    x : numpy.ndarray
        (n_bins,) where the bins are.
    expected, found, error : numpy.ndarray
        (n_bins,) values, and the standard error of what was found.
    x_label, y_label : str
        What they are.
    """

    x: NDArray[np.float64]
    expected: NDArray[np.float64]
    found: NDArray[np.float64]
    error: NDArray[np.float64]
    x_label: str
    y_label: str

    @property
    def pulls(self) -> NDArray[np.float64]:
        """Deviations in units of their error, (n_bins,)."""
        return (self.found - self.expected) / np.maximum(self.error, 1e-300)


@dataclass(frozen=True)
class Check:
    """One figure of quality.

    Attributes
    ----------
    name : str
        What is checked.
    deviation : float
        Estimate minus expectation.
    error : float
        Statistical error of the deviation.
    mark : float
        Largest absolute deviation that passes.
    finding : Finding or None
        Its picture.
    """

    name: str
    deviation: float
    error: float
    mark: float
    finding: Finding | None = None

    @property
    def passed(self) -> bool:
        """Whether the deviation is within the mark; one that is not a number is not."""
        return abs(self.deviation) <= self.mark

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        return f"{self.name}: {self.deviation:+.4f} +- {self.error:.4f} (allowed {self.mark:.4f}) {verdict}"

    def to_dict(self) -> dict[str, Any]:
        """Return the check as JSON types; null where a number is not finite."""
        document: dict[str, Any] = {"name": self.name}
        document |= {name: _finite(getattr(self, name)) for name in ("deviation", "error", "mark")}
        if self.finding is not None:
            document["finding"] = {
                name: value if isinstance(value, str) else [_finite(v) for v in value.tolist()]
                for name, value in asdict(self.finding).items()
            }
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Check:
        """Return the check that `to_dict` gave.

        Raises
        ------
        KeyError, TypeError, ValueError
            If something is missing or does not fit.
        """
        finding = None
        if "finding" in document:
            parts = {f.name: document["finding"][f.name] for f in fields(Finding)}
            arrays = {k: np.array(v, dtype=np.float64) for k, v in parts.items() if not isinstance(v, str)}
            finding = Finding(**(parts | arrays))
        numbers = (document[name] for name in ("deviation", "error", "mark"))
        deviation, error, mark = (math.nan if v is None else float(v) for v in numbers)
        return cls(str(document["name"]), deviation, error, mark, finding)


def judge_mean(
    name: str, found: float, error: float, finding: Finding | None = None, *, tolerance: float = TOLERANCE
) -> Check:
    """Return the check that a mean is 0, within the tolerance or its error."""
    return Check(name, found, error, max(tolerance, SIGNIFICANCE * error), finding)


def judge_worst_bin(name: str, finding: Finding, scale: ArrayLike = 1.0, *, tolerance: float = TOLERANCE) -> Check:
    """Return the check that the worst of the bins is as expected.

    Parameters
    ----------
    name
        Of the check.
    finding
        In bins.
    scale
        What the tolerance is a fraction of, a number or (n_bins,); deviations are given in units of it.
    tolerance
        Deviation that is passed.
    """
    unit = np.broadcast_to(np.asarray(scale, dtype=np.float64), finding.found.shape)
    deviation, error = (finding.found - finding.expected) / unit, finding.error / unit
    marks = np.maximum(tolerance, SIGNIFICANCE * error)
    excess = np.abs(deviation) / marks
    worst = int(np.argmax(np.where(np.isnan(excess), np.inf, excess)))
    return Check(name, float(deviation[worst]), float(error[worst]), float(marks[worst]), finding)


def judge_pulls(name: str, finding: Finding, scale: ArrayLike) -> Check:
    """Return the check that chi2 per bin is not above 1, with the tolerance in units of `scale` as a further error.

    The figure is chi2 / n_bins - 1, whose standard deviation is sqrt(2 / n_bins); with little statistics in comparison
    with the tolerance it is close to -1.
    """
    total = np.hypot(finding.error, TOLERANCE * np.broadcast_to(np.asarray(scale), finding.error.shape))
    deviation = float(np.mean(((finding.found - finding.expected) / total) ** 2)) - 1.0
    error = math.sqrt(2.0 / len(total))
    return Check(name, deviation, error, max(1.0, SIGNIFICANCE * error), finding)


def warn_of_failures(what: str, checks: Iterable[Check]) -> None:
    """Log all checks, and warn (`CheckWarning`) of those that failed."""
    failed = []
    for one in checks:
        logger.info("%s", one)
        if not one.passed:
            failed.append(str(one))
    if failed:
        warnings.warn(f"{what} is not right: {'; '.join(failed)}", CheckWarning, stacklevel=4)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
