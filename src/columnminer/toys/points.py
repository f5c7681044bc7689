"""What the summaries of toys read of a campaign: the true values at a point, and the toys whose fits converged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from columnminer.errors import InputError, UnknownNameError, did_you_mean
from columnminer.toys.results import PointResult

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from columnminer.infer.intervals import Kind

__all__ = ["as_points", "conditions", "converged", "estimates", "signed_roots", "statistics", "truth"]


def as_points(results: PointResult | Iterable[PointResult]) -> list[PointResult]:
    """Return one point or many as a list; `InputError` if there is none, or parameters of interest differ."""
    points = [results] if isinstance(results, PointResult) else list(results)
    if not points:
        msg = "there are no toys"
        raise InputError(msg)
    if len({point.poi for point in points}) > 1:
        msg = f"the points have different parameters of interest: {sorted({point.poi for point in points})}"
        raise InputError(msg)
    return points


def truth(point: PointResult) -> float:
    """Return the true value of the parameter of interest; `InputError` where the point does not say."""
    if point.poi not in point.generate:
        msg = f"these toys do not say at which {point.poi!r} they were generated; they name {', '.join(point.generate)}"
        raise InputError(msg)
    return float(point.generate[point.poi])


def conditions(point: PointResult, names: Iterable[str] | None = None) -> dict[str, float]:
    """Return what else was set at a point: all nominal and true values but the parameter of interest, or those named.

    Raises
    ------
    UnknownNameError
        If a name was not set there.
    """
    known = {k: v for k, v in {**point.generate, **point.nominal}.items() if k not in {point.poi, "poi_expectation"}}
    if names is None:
        return known
    for name in names:
        if name not in known:
            msg = f"these toys do not say at which {name!r} they were generated.{did_you_mean(name, known)}"
            raise UnknownNameError(msg)
    return {name: known[name] for name in names}


def converged(point: PointResult, hypothesis: str = "free") -> NDArray[np.bool_]:
    """Return in which toys (n,) the free fit and that of a hypothesis converged.

    Raises
    ------
    UnknownNameError
        If the toys were not fitted under this hypothesis, or not freely.
    InputError
        If no fit converged.
    """
    valid = np.asarray(point["free"].valid & point[hypothesis].valid)
    if not valid.any():
        msg = f"no fit of the toys at {dict(point.generate)} converged"
        raise InputError(msg)
    return valid


def statistics(point: PointResult, hypothesis: str, kind: Kind = "central") -> NDArray[np.float64]:
    """Return t (m,) of the toys whose fits converged, counted on one side for limits.

    An upper limit excludes values above the best fit alone: for "upper", t is 0 in toys whose best fit is above the
    hypothesis (q of arXiv:1007.1727, equation 14), for "lower" where it is below.

    Raises
    ------
    UnknownNameError, InputError
        As `converged`.
    """
    valid = converged(point, hypothesis)
    t = point.statistic(hypothesis)[valid]
    if kind == "central":
        return t
    above = point.values(point.poi)[valid] - point.values(point.poi, hypothesis)[valid]
    return np.where(above * (1.0 if kind == "upper" else -1.0) > 0.0, 0.0, t)


def estimates(point: PointResult, name: str | None = None, hypothesis: str = "free") -> NDArray[np.float64]:
    """Return the best fits (m,) of a parameter, that of interest by default, in the toys that `statistics` takes.

    Raises
    ------
    UnknownNameError, InputError
        As `converged`, or if there is no such parameter.
    """
    return point.values(point.poi if name is None else name)[converged(point, hypothesis)]


def signed_roots(point: PointResult, hypothesis: str = "true") -> NDArray[np.float64]:
    """Return the root of t (m,) with the sign of the best fit minus the hypothesis.

    It is the pull of an estimate with asymmetric errors: standard normal where t follows its asymptotic law.

    Raises
    ------
    UnknownNameError, InputError
        As `converged`.
    """
    held = point.values(point.poi, hypothesis)[converged(point, hypothesis)]
    return np.sign(estimates(point, hypothesis=hypothesis) - held) * np.sqrt(statistics(point, hypothesis))
