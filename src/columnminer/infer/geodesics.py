r"""Geodesics of a metric as initial value problem, many at once, each with its own steps.

.. math:: \ddot\theta^i = -\Gamma^i_{jk}\, \dot\theta^j \dot\theta^k

at unit speed :math:`g_{ij} \dot\theta^i \dot\theta^j = 1`, so that time is length. Steps are those of Dormand and
Prince (J. Comput. Appl. Math. 6 (1980) 19); errors are measured with the metric, so that nothing depends on units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.infer.metric import Metric

__all__ = ["BOX", "LENGTH", "STEPS", "UNKNOWN", "Paths", "follow"]

LENGTH, BOX, UNKNOWN, STEPS = range(4)
"""Why a path ends: it is long enough, leaves the box, leaves where the metric is known, or takes too many steps."""

_STAGES = (
    np.array([1 / 5]),
    np.array([3 / 40, 9 / 40]),
    np.array([44 / 45, -56 / 15, 32 / 9]),
    np.array([19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729]),
    np.array([9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656]),
    np.array([35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84]),
)
_ERROR = np.array([71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])
_MOST_STEPS = 5000
_FIRST_STEP = 1 / 32
"""Of the scale of a path. The longest is four times as long: else a smooth metric would be left in a single step."""
_SHORTEST_STEP = 1e-10


@dataclass(frozen=True)
class Paths:
    """Geodesics as their nodes, between which they are interpolated.

    Attributes
    ----------
    length : numpy.ndarray
        (n,) where each ends.
    ended : numpy.ndarray
        (n,) why: one of the codes of this module.
    nodes : numpy.ndarray
        (n_nodes, n) lengths at the nodes; the last is repeated where a path has fewer than others.
    states : numpy.ndarray
        (n_nodes, n, 3, n_par) theta and its first and second derivatives.
    """

    length: NDArray[np.float64]
    ended: NDArray[np.int64]
    nodes: NDArray[np.float64]
    states: NDArray[np.float64]

    def at(self, length: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return theta and velocity, each (n, m, n_par), at lengths (n, m) along each path."""
        rays = np.arange(len(self.length))[:, None]
        # A node is repeated where a step was refused, or the path has ended: the one before a length is the last below.
        below = np.stack([np.searchsorted(s, x) for s, x in zip(self.nodes.T, length, strict=True)]) - 1
        first = np.clip(below, 0, len(self.nodes) - 2)
        step = self.nodes[first + 1, rays] - self.nodes[first, rays]
        part = np.divide(length - self.nodes[first, rays], step, out=np.zeros_like(length), where=step > 0.0)
        return _hermite(self.states[first, rays], self.states[first + 1, rays], step, part)


def _hermite(
    a: NDArray[np.float64], b: NDArray[np.float64], step: NDArray[np.float64], part: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Interpolate value, first and second derivative at both ends of a step by the polynomial of degree five."""
    h, x = step[..., None], part[..., None]
    start = (a[..., 0, :], h * a[..., 1, :], 0.5 * h**2 * a[..., 2, :])
    value = b[..., 0, :] - sum(start)
    slope = h * b[..., 1, :] - start[1] - 2 * start[2]
    bend = h**2 * b[..., 2, :] - 2 * start[2]
    c3, c4, c5 = (
        10 * value - 4 * slope + 0.5 * bend,
        -15 * value + 7 * slope - bend,
        6 * value - 3 * slope + 0.5 * bend,
    )
    theta = start[0] + x * (start[1] + x * (start[2] + x * (c3 + x * (c4 + x * c5))))
    velocity = start[1] + x * (2 * start[2] + x * (3 * c3 + x * (4 * c4 + x * 5 * c5)))
    return theta, np.divide(velocity, h, out=np.array(a[..., 1, :]), where=h > 0.0)


def _accelerations(
    metric: Metric, theta: NDArray[np.float64], velocity: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return accelerations (n, n_par), NaN where the metric is not known, and the metric (n, n_par, n_par)."""
    value, inverse, derivative = metric.sampled(theta)
    along = np.einsum("nkij,nk->nij", derivative, velocity)
    lowered = np.einsum("nij,nj->ni", along, velocity)
    lowered -= 0.5 * np.einsum("nkij,ni,nj->nk", derivative, velocity, velocity)
    return -np.einsum("nij,nj->ni", inverse, lowered), value


def follow(
    metric: Metric,
    start: NDArray[np.float64],
    velocity: NDArray[np.float64],
    length: NDArray[np.float64],
    *,
    box: NDArray[np.float64],
    tolerance: float,
) -> Paths:
    """Follow geodesics until they have their length or leave the box.

    Parameters
    ----------
    metric
        The metric.
    start, velocity
        (n, n_par) where each begins, with what velocity of unit speed.
    length
        (n,) at most; may be infinite where the box is not.
    box
        (n_par, 2).
    tolerance
        Of each step, relative to the scale of the path: its length, or its way through the box.
    """
    n = len(start)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.minimum(length, np.nanmin((box[:, 1] - box[:, 0]) / np.abs(velocity), axis=1))
    scale = np.where(scale > 0.0, scale, 1.0)
    state = np.stack([start, velocity, _accelerations(metric, start, velocity)[0]], axis=1)
    s, h = np.zeros(n), _FIRST_STEP * scale
    ended = np.full(n, LENGTH)
    going = length > 0.0
    bad_start = ~np.isfinite(state[:, 2]).all(axis=1)
    ended[bad_start], going[bad_start] = UNKNOWN, False
    nodes, states, reached = [s.copy()], [state.copy()], length.copy()
    for _ in range(_MOST_STEPS):
        ray = np.flatnonzero(going)
        if not len(ray):
            break
        step = np.minimum(h[ray], length[ray] - s[ray])
        after, error = _step(metric, state[ray], step, scale[ray])
        good = error <= tolerance  # False where it is NaN
        h[ray] = step * np.where(
            np.isfinite(error), np.clip(0.9 * (tolerance / np.maximum(error, 1e-300)) ** 0.2, 0.2, 5.0), 0.5
        )
        h[ray] = np.minimum(h[ray], 4 * _FIRST_STEP * scale[ray])
        moved = ray[good]
        before = state[moved]
        state[moved] = after[good]
        s[moved] += step[good]
        nodes.append(s.copy())
        states.append(state.copy())
        outside = ((state[moved, 0] < box[:, 0]) | (state[moved, 0] > box[:, 1])).any(axis=1)
        if outside.any():
            gone, width = moved[outside], step[good][outside]
            part = _crossing(before[outside], state[gone], width, box)
            reached[gone], ended[gone], going[gone] = s[gone] - (1.0 - part) * width, BOX, False
        full = moved[(s[moved] >= length[moved] * (1.0 - 1e-14)) & ~outside]
        going[full] = False
        stuck = ray[h[ray] < _SHORTEST_STEP * scale[ray]]
        stuck = stuck[going[stuck]]
        reached[stuck], ended[stuck], going[stuck] = s[stuck], UNKNOWN, False
    reached[going], ended[going] = s[going], STEPS
    reached[bad_start] = 0.0
    if len(nodes) == 1:
        nodes, states = nodes * 2, states * 2
    return Paths(reached, ended, np.stack(nodes), np.stack(states))


def _step(
    metric: Metric, state: NDArray[np.float64], step: NDArray[np.float64], scale: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the states (n, 3, n_par) after one step, and the errors made (n,), NaN where the metric is not known."""
    n, _, n_par = state.shape
    h = step[:, None, None]
    slopes = np.empty((7, n, 2, n_par))  # of theta and velocity, which are velocity and acceleration
    slopes[0] = state[:, 1:]
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        for i, weights in enumerate(_STAGES):
            now = state[:, :2] + h * np.einsum("s,snvi->nvi", weights, slopes[: len(weights)])
            slopes[i + 1, :, 0] = now[:, 1]
            slopes[i + 1, :, 1], value = _accelerations(metric, now[:, 0], now[:, 1])
        difference = h * np.einsum("s,snvi->nvi", _ERROR, slopes)
        size = np.sqrt(np.einsum("nvi,nij,nvj->nv", difference, value, difference))
        speed = np.sqrt(np.einsum("ni,nij,nj->n", now[:, 1], value, now[:, 1]))
        # Where the metric has a kink the estimate can vanish by accident; a change of speed betrays that.
        error = np.maximum(np.maximum(size[:, 0] / scale, size[:, 1]), np.abs(speed - 1.0))
        velocity, acceleration = now[:, 1] / speed[:, None], slopes[6, :, 1] / speed[:, None] ** 2
    return np.stack([now[:, 0], velocity, acceleration], axis=1), error


def _crossing(
    before: NDArray[np.float64], after: NDArray[np.float64], step: NDArray[np.float64], box: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return after which part of its last step each path left the box, by bisection."""
    low, high = np.zeros(len(step)), np.ones(len(step))
    for _ in range(50):
        middle = 0.5 * (low + high)
        theta, _ = _hermite(before, after, step, middle)
        outside = ((theta < box[:, 0]) | (theta > box[:, 1])).any(axis=1)
        low, high = np.where(outside, low, middle), np.where(outside, middle, high)
    return low
