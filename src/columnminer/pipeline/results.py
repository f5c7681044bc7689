"""Results of an analysis at rest, and what is read off them: intervals of parameters, agreement with the truth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.interpolate import Akima1DInterpolator
from scipy.stats import chi2

from columnminer.errors import InputError
from columnminer.infer.limits import Grid, Limits
from columnminer.learn.gold import required
from columnminer.learn.information import Information

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from columnminer.learn.ensembles import Ensemble
    from columnminer.sample.samples import Samples

__all__ = [
    "Agreement",
    "GridInterval",
    "Spread",
    "agreement",
    "load_agreement",
    "load_information",
    "load_limits",
    "load_spread",
    "profile_intervals",
    "save_agreement",
    "save_information",
    "save_limits",
    "save_spread",
    "spread_of",
]

_ARRAYS = ("theta", "log_ratio", "log_ratio_kinematic", "log_ratio_rate", "p_value")
_PER_CELL = 50
_SPREAD_EVENTS = 10_000


def save_limits(limits: Limits, folder: Path) -> None:
    """Write limits on a grid as ``limits.json`` (names, grid) and ``limits.npz`` (arrays), without their data."""
    if limits.grid is None:
        msg = "only limits on a grid are kept"
        raise InputError(msg)
    document = {
        "format": "columnminer limits",
        "format_version": 1,
        "parameter_names": list(limits.parameter_names),
        "grid": [list(r) for r in limits.grid.ranges],
        "dof": limits.dof,
        "best_fit_index": limits.best_fit_index,
        "nuisances": list(limits.nuisances),
    }
    (folder / "limits.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    arrays: dict[str, Any] = {name: getattr(limits, name) for name in _ARRAYS}
    arrays |= {f"nuisance_{i}": values for i, values in enumerate(limits.nuisances.values())}
    np.savez(folder / "limits.npz", **arrays)


def save_information(information: Information, folder: Path) -> None:
    """Write an information as ``information.npz`` (arrays) and ``information.json`` (names)."""
    document = {
        "format": "columnminer information",
        "format_version": 1,
        "parameter_names": list(information.parameter_names),
    }
    (folder / "information.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    np.savez(folder / "information.npz", information=information.information, covariance=information.covariance)


def load_information(folder: Path) -> Information:
    """Read what `save_information` wrote."""
    document = json.loads((folder / "information.json").read_text(encoding="utf-8"))
    with np.load(folder / "information.npz") as arrays:
        return Information(arrays["information"], arrays["covariance"], tuple(document["parameter_names"]))


def load_limits(folder: Path) -> Limits:
    """Read what `save_limits` wrote."""
    document = json.loads((folder / "limits.json").read_text(encoding="utf-8"))
    names = tuple(document["parameter_names"])
    with np.load(folder / "limits.npz") as arrays:
        return Limits(
            parameter_names=names,
            dof=document["dof"],
            best_fit_index=document["best_fit_index"],
            grid=Grid([tuple(r) for r in document["grid"]], names),
            nuisances={name: arrays[f"nuisance_{i}"] for i, name in enumerate(document["nuisances"])},
            **{name: arrays[name] for name in _ARRAYS},
        )


@dataclass(frozen=True)
class GridInterval:
    """Confidence interval of one parameter, the others profiled on the grid.

    Attributes
    ----------
    parameter : str
        Its name.
    level : float
        Confidence level.
    best_fit : float
        Where the profile likelihood is largest.
    pieces : tuple of (float, float)
        The interval; more than one piece where the likelihood has several maxima. An end on the edge of the grid is
        open: the interval goes on beyond.
    edges : (float, float)
        Ends of the grid.
    """

    parameter: str
    level: float
    best_fit: float
    pieces: tuple[tuple[float, float], ...]
    edges: tuple[float, float]

    def __str__(self) -> str:
        def end(value: float) -> str:
            if value <= self.edges[0]:
                return f"< {self.edges[0]:.3g}"
            return f"> {self.edges[1]:.3g}" if value >= self.edges[1] else f"{value:.3g}"

        return " or ".join(f"[{end(low)}, {end(high)}]" for low, high in self.pieces)


def profile_intervals(limits: Limits, levels: Iterable[float] = (0.68, 0.95)) -> tuple[GridInterval, ...]:
    r"""Return the intervals of each parameter, at each level.

    The profile likelihood of a parameter is the largest on the grid over the others. The interval is where
    :math:`-2 \log L_p(\theta_i)/L_p(\hat\theta_i)` lies below the quantile of a chi-square distribution with one degree
    of freedom; between grid points :math:`\log L_p` is an Akima spline, which is exact for a parabola and does not
    swing where the likelihood falls by thousands from one point to the next.

    Raises
    ------
    InputError
        If the limits are not on a grid.
    """
    if limits.grid is None:
        msg = "intervals need limits on a grid"
        raise InputError(msg)
    log_ratio = limits.log_ratio.reshape(limits.grid.shape)
    intervals = []
    for i, (name, axis) in enumerate(zip(limits.parameter_names, limits.grid.axes, strict=True)):
        profile = log_ratio.max(axis=tuple(k for k in range(log_ratio.ndim) if k != i))
        fine = np.linspace(axis[0], axis[-1], _PER_CELL * (len(axis) - 1) + 1)
        profile = np.where(np.isfinite(profile), profile, profile[np.isfinite(profile)].min())
        q = -2.0 * Akima1DInterpolator(axis, profile)(fine)
        q -= q.min()
        for level in levels:
            pieces = _below(fine, q, float(chi2.ppf(level, 1)))
            intervals.append(
                GridInterval(name, level, float(fine[q.argmin()]), pieces, (float(axis[0]), float(axis[-1])))
            )
    return tuple(intervals)


def _below(x: NDArray[np.float64], q: NDArray[np.float64], threshold: float) -> tuple[tuple[float, float], ...]:
    """Return the ranges of x where q, linear between points, lies below the threshold."""
    inside = np.concatenate([[False], q <= threshold, [False]])
    starts, stops = np.flatnonzero(inside[1:] & ~inside[:-1]), np.flatnonzero(inside[:-1] & ~inside[1:]) - 1

    def crossing(within: int, outside: int) -> float:
        if not 0 <= outside < len(x):
            return float(x[within])
        share = (threshold - q[within]) / (q[outside] - q[within])
        return float(x[within] + share * (x[outside] - x[within]))

    ends = zip(starts.tolist(), stops.tolist(), strict=True)
    return tuple((crossing(a, a - 1), crossing(b, b + 1)) for a, b in ends)


@dataclass(frozen=True)
class Agreement:
    """Estimates beside the exact values of the same quantity.

    Attributes
    ----------
    quantity : str
        What was estimated.
    exact, estimated : numpy.ndarray
        Arrays of the same shape.
    rms : float
        Root of the mean squared difference.
    correlation : float
        Pearson's correlation coefficient.
    """

    quantity: str
    exact: NDArray[np.float64]
    estimated: NDArray[np.float64]
    rms: float
    correlation: float


def agreement(quantity: str, exact: ArrayLike, estimated: ArrayLike) -> Agreement:
    """Compare estimates with exact values."""
    x, y = np.asarray(exact, dtype=np.float64), np.asarray(estimated, dtype=np.float64)
    rms = float(np.sqrt(np.mean((y - x) ** 2)))
    return Agreement(quantity, x, y, rms, float(np.corrcoef(x.ravel(), y.ravel())[0, 1]))


@dataclass(frozen=True)
class Spread:
    """How much the members of an ensemble differ.

    Attributes
    ----------
    quantity : str
        What they estimate.
    estimate, spread : numpy.ndarray
        (n,) mean of the members, and their standard deviation, for events (and parameters of a score).
    """

    quantity: str
    estimate: NDArray[np.float64]
    spread: NDArray[np.float64]

    @property
    def rms(self) -> float:
        """Root of the mean squared spread."""
        return float(np.sqrt(np.mean(self.spread**2)))


def spread_of(ensemble: Ensemble, samples: Samples) -> Spread:
    """Look how much the members differ on (at most 10,000) events: log ratios at their points, or scores.

    Components of a score are given in units of the standard deviation of their mean.
    """
    few = samples.take(slice(_SPREAD_EVENTS))
    x, names = few.x, few.feature_names
    if ensemble.estimates == "score":
        mean = ensemble.score(x, names=names)
        variance = np.einsum("nii->ni", ensemble.score_covariance(x, names=names))
        size = np.maximum(mean.std(axis=0), 1e-300)
        return Spread("score / standard deviation", (mean / size).ravel(), (np.sqrt(variance) / size).ravel())
    theta0 = required(few, "theta0", "the spread of an ensemble")
    points = [theta0]
    if ensemble.estimates == "double ratio":
        points.append(required(few, "theta1", "the spread of an ensemble"))
    elif ensemble.estimates == "density":
        points.append(ensemble.reference)
    mean = ensemble.log_ratio(x, *points, names=names)
    return Spread("log likelihood ratio", mean, np.sqrt(ensemble.log_ratio_variance(x, *points, names=names)))


def save_spread(result: Spread, folder: Path) -> None:
    """Write a spread as ``spread.json`` and ``spread.npz``."""
    document = {"quantity": result.quantity, "rms": result.rms}
    (folder / "spread.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    np.savez(folder / "spread.npz", estimate=result.estimate, spread=result.spread)


def load_spread(folder: Path) -> Spread | None:
    """Read what `save_spread` wrote; None where there is none, as of a single estimator."""
    if not (folder / "spread.json").is_file():
        return None
    document = json.loads((folder / "spread.json").read_text(encoding="utf-8"))
    with np.load(folder / "spread.npz") as arrays:
        return Spread(document["quantity"], arrays["estimate"], arrays["spread"])


def save_agreement(result: Agreement, folder: Path) -> None:
    """Write an agreement as ``agreement.json`` and ``agreement.npz``."""
    document = {"quantity": result.quantity, "rms": result.rms, "correlation": result.correlation}
    (folder / "agreement.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    np.savez(folder / "agreement.npz", exact=result.exact, estimated=result.estimated)


def load_agreement(folder: Path) -> Agreement:
    """Read what `save_agreement` wrote."""
    document = json.loads((folder / "agreement.json").read_text(encoding="utf-8"))
    with np.load(folder / "agreement.npz") as arrays:
        return agreement(document["quantity"], arrays["exact"], arrays["estimated"])
