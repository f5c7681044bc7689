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

__all__ = ["density_columns", "pick_features", "ratio_columns", "required", "score_columns", "single_point"]


def ratio_columns(
    samples: Samples,
    method: str,
    features: Sequence[str],
    scalings: Mapping[str, Scaling],
    points: tuple[str, ...] = ("theta0",),
) -> dict[str, NDArray[Any]]:
    """Return the network's inputs (points, x), the labels y, and the gold that a ratio method needs, as columns.

    Raises
    ------
    InputError
        If labels are not 0 or 1, a class has no events, or gold is NaN or negative.
    MissingError
        If the samples lack what the method needs.
    """
    gold = ratio_method(method).gold
    thetas = [scalings["theta"].apply(required(samples, name, method)) for name in points]
    x = scalings["x"].apply(pick_features(samples.x, samples.feature_names, features))
    y = required(samples, "y", method)
    _check_labels(y)
    columns: dict[str, NDArray[Any]] = {"inputs": np.concatenate([*thetas, x], axis=1), "y": y}
    if "s_xz" in gold:
        columns["s_xz"] = 1.0 / (1.0 + _ratios(samples, method))
    if "log_r_xz" in gold:
        limit = np.exp(LOG_RATIO_LIMIT)
        columns["log_r_xz"] = np.log(np.clip(_ratios(samples, method), 1.0 / limit, limit))
    if "t_xz" in gold:
        for name in ("t_xz", "t_xz1")[: len(points)]:
            columns[name] = required(samples, name, method) * scalings["theta"].scale
    return columns | _weights(samples)


def score_columns(
    samples: Samples, method: str, features: Sequence[str], scalings: Mapping[str, Scaling]
) -> dict[str, NDArray[Any]]:
    """Return the network's inputs x and the joint score in units of its size, as columns."""
    x = scalings["x"].apply(pick_features(samples.x, samples.feature_names, features))
    return {"inputs": x, "t_xz": scalings["score"].apply(required(samples, "t_xz", method))} | _weights(samples)


def density_columns(
    samples: Samples, method: str, features: Sequence[str], scalings: Mapping[str, Scaling]
) -> dict[str, NDArray[Any]]:
    """Return the features, the points that events were drawn from, and the gold of a density method, as columns.

    Raises
    ------
    InputError
        If events were drawn from another point than theta0.
    MissingError
        If the samples lack what the method needs.
    """
    if samples.y is not None and (samples.y != 0).any():
        msg = (
            f"a density is learned from events drawn at theta0, but {(samples.y != 0).sum()} of {len(samples)} have a "
            "label y other than 0: use sample_density, or samples.take(samples.y == 0)"
        )
        raise InputError(msg)
    columns: dict[str, NDArray[Any]] = {
        "inputs": scalings["x"].apply(pick_features(samples.x, samples.feature_names, features)),
        "theta": scalings["theta"].apply(required(samples, "theta0", method)),
    }
    if density_method(method):
        columns["t_xz"] = required(samples, "t_xz", method) * scalings["theta"].scale
    return columns | _weights(samples)


def _weights(samples: Samples) -> dict[str, NDArray[Any]]:
    """Signed weights, scaled to mean 1, if there are any."""
    if samples.weights is None:
        return {}
    weights = np.asarray(samples.weights, dtype=np.float64)
    mean = weights.mean()
    if not mean > 0.0:
        msg = f"the weights of the training samples have mean {mean}, but it must be positive"
        raise InputError(msg)
    return {"weight": weights / mean}


def _check_labels(y: NDArray[Any]) -> None:
    wrong = (y != 0) & (y != 1)
    if wrong.any():
        msg = f"labels y are 0 (numerator) or 1 (denominator), but event {wrong.argmax()} has y = {y[wrong.argmax()]}"
        raise InputError(msg)
    if (y == y[0]).all():
        msg = f"all {len(y)} events have the label y = {y[0]:g}: a ratio needs events of both classes"
        raise InputError(msg)


def _ratios(samples: Samples, method: str) -> NDArray[Any]:
    r_xz = required(samples, "r_xz", method)
    wrong = ~(r_xz >= 0)
    if wrong.any():
        event = int(wrong.argmax())
        msg = (
            f"r_xz must not be negative or NaN, but is {r_xz[event]} in event {event} and wrong in {wrong.sum()} of "
            f"{len(r_xz)} events; with negative weights, use CARL with signed weights, or clip them when sampling"
        )
        raise InputError(msg)
    return r_xz


def pick_features(x: NDArray[Any], names: Sequence[str] | None, features: Sequence[str]) -> NDArray[np.float64]:
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
            f"the feature {features[feature]!r} is {chosen[event, feature]} in event {event}; in "
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


def single_point(points: NDArray[np.floating[Any]], what: str) -> NDArray[np.float64]:
    """Return the one parameter point that all rows of (n, n_par) points are.

    Raises
    ------
    InputError
        If they are not all the same.
    """
    if (points != points[0]).any():
        other = int((points != points[0]).any(axis=1).argmax())
        msg = f"{what} must be the same in all events, but is {points[0]} in event 0 and {points[other]} in {other}"
        raise InputError(msg)
    return np.asarray(points[0], dtype=np.float64)
