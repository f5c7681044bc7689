"""The cells in which a log likelihood is smooth: between the limits of its parameters, and between their kinks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.infer.free import limits_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.infer.free import Limits
    from columnminer.infer.likelihood import Likelihood

__all__ = ["Box"]


@dataclass(frozen=True)
class Box:
    """Limits (k,), and the kinks of each parameter between them.

    A cell begins at a kink and ends just before one; `high` is just before the limit `top` where that is a kink.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    top: NDArray[np.float64]
    kinks: tuple[NDArray[np.float64], ...]

    @classmethod
    def of(
        cls,
        likelihood: Likelihood,
        columns: NDArray[np.int64],
        limits: Limits | None,
        points: NDArray[np.float64],
        data: Any,
    ) -> Box:
        """Return the box of some parameters; where the data are impossible beyond the last kink, that is a limit."""
        low, high, top, kinks = [], [], [], []
        for column in columns.tolist():
            parameter = likelihood.parameters[column]
            ends = list(limits_of(parameter, limits))
            all_kinks = np.asarray(likelihood.kinks.get(parameter.name, ()), dtype=np.float64)
            for side, outermost in ((0, all_kinks[:1]), (1, all_kinks[-1:])):
                if outermost.size and (ends[0] < outermost[0] if side == 0 else outermost[0] < ends[1]):
                    beyond = points[:1].copy()
                    margin = 1e-6 * max(float(np.ptp(all_kinks)), abs(float(outermost[0])), 1e-300)
                    beyond[:, column] = outermost[0] + (margin if side else -margin)
                    with np.errstate(all="ignore"):
                        possible = np.isfinite(likelihood.terms(beyond, data).total).all()
                    ends[side] = ends[side] if possible else float(outermost[0])
            low.append(ends[0])
            top.append(ends[1])
            high.append(np.nextafter(ends[1], -np.inf) if ends[1] in all_kinks else ends[1])
            kinks.append(all_kinks[(all_kinks > ends[0]) & (all_kinks < ends[1])])
        return cls(np.array(low), np.array(high), np.array(top), tuple(kinks))

    def around(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the sides (n, k) of the cells in which points are."""
        low, high = np.broadcast_to(self.low, x.shape).copy(), np.broadcast_to(self.high, x.shape).copy()
        for i, kinks in enumerate(self.kinks):
            if kinks.size:
                edges = np.concatenate([[self.low[i]], kinks, [np.inf]])
                cell = np.searchsorted(kinks, x[:, i], side="right")
                low[:, i] = edges[cell]
                high[:, i] = np.minimum(np.nextafter(edges[cell + 1], -np.inf), self.high[i])
        return low, high

    def tidy(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the points with those just before a kink, or a limit at one, put onto it."""
        after = np.nextafter(x, np.inf)
        for i, kinks in enumerate(self.kinks):
            x[:, i] = np.where(np.isin(after[:, i], kinks), after[:, i], x[:, i])
        return np.where(x == self.high, self.top, x) + 0.0  # no negative zeros

    def beside(self, i: int, x: NDArray[np.float64], side: float) -> NDArray[np.float64]:
        """Return the nearest kinks (n,) of parameter i below (side -1) or above (1) values x, NaN where there is none.

        They are given as seen from beyond.
        """
        kinks = np.concatenate([[np.nan], self.kinks[i], [np.nan]])
        cell = np.searchsorted(self.kinks[i], x, side="right")
        return kinks[cell + 1] if side > 0.0 else np.nextafter(kinks[cell], -np.inf)
