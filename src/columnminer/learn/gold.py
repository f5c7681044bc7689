"""Training samples become the columns that a loss needs; what is wrong with them is found here.

Scores are given in scaled parameters: with theta = mean + scale * u, the gradient with respect to u is scale * t.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError, MissingError, UnknownNameError, did_you_mean
from columnminer.learn.losses import LOG_RATIO_LIMIT, density_method, ratio_method

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from columnminer.learn.scaling import Scaling
    from columnminer.sample.samples import Samples

__all__ = ["density_columns", "pick_features", "ratio_columns", "required", "score_columns"]


def ratio_columns(
    samples: Samples,
    method: str,
    features: Sequence[str],
    scalings: Mapping[str, Scaling],
    points: tuple[str, ...] = ("theta0",),
    *,
    first: int = 0,
) -> dict[str, NDArray[Any]]:
    """Return the network's inputs (points, x), the labels y, and the gold that a ratio method needs, as columns.

    `first` is the number of the first event, for messages; it is that in all functions here.

    Raises
    ------
    InputError
        If labels are not 0 or 1, or gold is NaN or negative.
    MissingError
        If the samples lack what the method needs.
    """
    gold = ratio_method(method).gold
    thetas = [scalings["theta"].apply(required(samples, name, method)) for name in points]
    x = scalings["x"].apply(pick_features(samples.x, samples.feature_names, features, first))
    y = required(samples, "y", method)
    _check_labels(y, first)
    columns: dict[str, NDArray[Any]] = {"inputs": np.concatenate([*thetas, x], axis=1), "y": y}
    if "s_xz" in gold:
        columns["s_xz"] = 1.0 / (1.0 + _ratios(samples, method, first))
    if "log_r_xz" in gold:
        limit = np.exp(LOG_RATIO_LIMIT)
        columns["log_r_xz"] = np.log(np.clip(_ratios(samples, method, first), 1.0 / limit, limit))
    if "t_xz" in gold:
        for name in ("t_xz", "t_xz1")[: len(points)]:
            columns[name] = required(samples, name, method) * scalings["theta"].scale
    return columns


def score_columns(
    samples: Samples, method: str, features: Sequence[str], scalings: Mapping[str, Scaling], *, first: int = 0
) -> dict[str, NDArray[Any]]:
    """Return the network's inputs x and the joint score in units of its size, as columns."""
    x = scalings["x"].apply(pick_features(samples.x, samples.feature_names, features, first))
    return {"inputs": x, "t_xz": scalings["score"].apply(required(samples, "t_xz", method))}


def density_columns(
    samples: Samples, method: str, features: Sequence[str], scalings: Mapping[str, Scaling], *, first: int = 0
) -> dict[str, NDArray[Any]]:
    """Return the features, the points that events were drawn from, and the gold of a density method, as columns.

    Raises
    ------
    MissingError
        If the samples lack what the method needs.
    """
    columns: dict[str, NDArray[Any]] = {
        "inputs": scalings["x"].apply(pick_features(samples.x, samples.feature_names, features, first)),
        "theta": scalings["theta"].apply(required(samples, "theta0", method)),
    }
    if density_method(method):
        columns["t_xz"] = required(samples, "t_xz", method) * scalings["theta"].scale
    return columns


def _check_labels(y: NDArray[Any], first: int) -> None:
    wrong = (y != 0) & (y != 1)
    if wrong.any():
        event = int(wrong.argmax())
        msg = f"labels y are 0 (numerator) or 1 (denominator), but event {first + event} has y = {y[event]}"
        raise InputError(msg)


def _ratios(samples: Samples, method: str, first: int) -> NDArray[Any]:
    r_xz = required(samples, "r_xz", method)
    wrong = ~(r_xz >= 0)
    if wrong.any():
        event = int(wrong.argmax())
        msg = (
            f"r_xz must not be negative or NaN, but is {r_xz[event]} in event {first + event} and wrong in "
            f"{wrong.sum()} of {len(r_xz)} events around it; with negative weights, use CARL with signed weights, or "
            "clip them when sampling"
        )
        raise InputError(msg)
    return r_xz


def pick_features(
    x: NDArray[Any], names: Sequence[str] | None, features: Sequence[str], first: int = 0
) -> NDArray[np.float64]:
    """Return the columns of x called `features`, (n, n_features); without `names`, x must have just these columns.

    Raises
    ------
    UnknownNameError
        If a feature is not among the names.
    InputError
        If shapes do not fit, or a feature is not finite.
    """
    columns = tuple(features) if names is None else tuple(names)
    if x.ndim != 2 or x.shape[1] != len(columns):
        msg = f"x needs shape (n, {len(columns)}) with the columns {', '.join(columns)}, but has shape {x.shape}"
        raise InputError(msg)
    for name in features:
        if name not in columns:
            msg = f"the feature {name!r} is not among the columns of x.{did_you_mean(name, columns)}"
            raise UnknownNameError(msg)
    chosen = np.asarray(x[:, [columns.index(name) for name in features]], dtype=np.float64)
    finite = np.isfinite(chosen)
    if not finite.all():
        event, feature = np.argwhere(~finite)[0]
        msg = (
            f"the feature {features[feature]!r} is {chosen[event, feature]} in event {first + event}; in "
            f"{(~finite).any(axis=1).sum()} events features are not finite: select others, or give defaults"
        )
        raise InputError(msg)
    return chosen


def required(samples: Samples, name: str, method: str) -> NDArray[np.floating[Any]]:
    """Return an array of the training samples that a method needs.

    Raises
    ------
    MissingError
        If the samples do not have it.
    """
    values = getattr(samples, name)
    if values is None:
        msg = f"{method} needs {name}, which these samples do not hold"
        raise MissingError(msg)
    return np.asarray(values)
