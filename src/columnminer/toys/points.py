"""What the summaries of toys read of a campaign: for each point where toys were generated, fits and intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from columnminer.errors import InputError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from columnminer.infer.intervals import Kind

__all__ = ["Fits", "ToyPoint", "as_points", "conditions", "estimates", "statistics", "truth"]


class Fits(Protocol):
    """Fits of one hypothesis to n toys."""

    @property
    def values(self) -> NDArray[np.float64]:
        """(n, n_par) fitted or held parameters."""
        ...

    @property
    def log_likelihood(self) -> NDArray[np.float64]:
        """(n,) there."""
        ...

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(n,) whether the fit converged."""
        ...


class ToyPoint(Protocol):
    """n toys generated at one parameter point; `columnminer.toys.results.PointResult` is one."""

    @property
    def poi(self) -> str:
        """The parameter of interest."""
        ...

    @property
    def generate(self) -> Mapping[str, float]:
        """True values of the parameters."""
        ...

    @property
    def nominal(self) -> Mapping[str, float]:
        """Values of what is no parameter of the fits but makes another model, such as a mass."""
        ...

    @property
    def parameter_names(self) -> Sequence[str]:
        """The n_par parameters of the fits."""
        ...

    @property
    def poi_expectation(self) -> float | None:
        """Expected events of the source whose rate the parameter of interest is."""
        ...

    @property
    def fits(self) -> Mapping[str, Fits]:
        """By hypothesis; "free" has all parameters free."""
        ...

    @property
    def intervals(self) -> NDArray[np.float64] | None:
        """(n, 2) lower and upper ends of confidence intervals of the parameter of interest."""
        ...

    @property
    def level(self) -> float:
        """Confidence level of the intervals."""
        ...

    def statistic(self, hypothesis: str) -> NDArray[np.float64]:
        """Return (n,) t, twice the difference of the log likelihoods of "free" and a hypothesis, at least 0."""
        ...


def as_points(results: ToyPoint | Iterable[ToyPoint]) -> list[ToyPoint]:
    """Return one point or many as a list; `InputError` if there is none, or parameters of interest differ."""
    points = [cast("ToyPoint", results)] if hasattr(results, "statistic") else list(results)
    if not points:
        msg = "there are no toys"
        raise InputError(msg)
    if len({point.poi for point in points}) > 1:
        msg = f"the points have different parameters of interest: {sorted({point.poi for point in points})}"
        raise InputError(msg)
    return points


def truth(point: ToyPoint) -> float:
    """Return the true value of the parameter of interest; `InputError` where the point does not say."""
    if point.poi not in point.generate:
        msg = f"these toys do not say at which {point.poi!r} they were generated; they name {', '.join(point.generate)}"
        raise InputError(msg)
    return float(point.generate[point.poi])


def conditions(point: ToyPoint, names: Iterable[str] | None = None) -> dict[str, float]:
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


def statistics(point: ToyPoint, hypothesis: str, kind: Kind = "central") -> NDArray[np.float64]:
    """Return t (m,) of the toys whose fits converged, counted on one side for limits.

    An upper limit excludes values above the best fit alone: for "upper", t is 0 in toys whose best fit is above the
    hypothesis (q of arXiv:1007.1727, equation 14), for "lower" where it is below.

    Raises
    ------
    UnknownNameError
        If the toys were not fitted under this hypothesis.
    InputError
        If no fit converged.
    """
    valid = _valid(point, hypothesis)
    t = np.asarray(point.statistic(hypothesis), dtype=np.float64)
    if kind != "central":
        column = list(point.parameter_names).index(point.poi)
        above = point.fits["free"].values[:, column] - point.fits[hypothesis].values[:, column]
        t = np.where(above * (1.0 if kind == "upper" else -1.0) > 0.0, 0.0, t)
    return t[valid]


def estimates(point: ToyPoint, name: str | None = None, hypothesis: str = "free") -> NDArray[np.float64]:
    """Return the best fits (m,) of a parameter, that of interest by default, in the toys that `statistics` takes.

    Raises
    ------
    UnknownNameError
        If it is not a parameter of the fits, or there are no fits of the hypothesis.
    """
    name = point.poi if name is None else name
    names = list(point.parameter_names)
    if name not in names:
        msg = f"{name!r} is not a parameter of these fits.{did_you_mean(name, names)}"
        raise UnknownNameError(msg)
    return np.asarray(point.fits["free"].values[_valid(point, hypothesis), names.index(name)])


def _valid(point: ToyPoint, hypothesis: str) -> NDArray[np.bool_]:
    for wanted in (hypothesis, "free"):
        if wanted not in point.fits:
            msg = f"these toys were not fitted under the hypothesis {wanted!r}.{did_you_mean(wanted, point.fits)}"
            raise UnknownNameError(msg)
    valid = np.asarray(point.fits["free"].valid & point.fits[hypothesis].valid)
    if not valid.any():
        msg = f"no fit of the toys at {dict(point.generate)} converged"
        raise InputError(msg)
    return valid
