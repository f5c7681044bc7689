"""Which rows a sample has: how many events are drawn at which points, and about which hypotheses rows are made of them.

Rows have numbers, those of a source's draws one after another. Whatever is random of a row or a draw belongs to its
number, so that a sample may be made in any pieces.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from columnminer.errors import InputError
from columnminer.sample.hypotheses import Hypotheses
from columnminer.sample.points import counts, joint_points

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.sample.draw import Sampler
    from columnminer.streams import Seed

__all__ = ["Draws", "Source", "Use", "compared_sources", "single_source"]


class Use(NamedTuple):
    """A row for each event of a source.

    Attributes
    ----------
    numerator : int
        Which source has the hypothesis theta0 of a case.
    denominator : int or None
        Which source has theta1; None: there is none.
    """

    numerator: int
    denominator: int | None = None


@dataclass(frozen=True)
class Draws:
    """Consecutive draws of a source.

    Attributes
    ----------
    point, case : numpy.ndarray
        (n,) where an event is drawn, and for which case.
    turn : numpy.ndarray
        (n,) how many were drawn at the same point before.
    """

    point: NDArray[np.int64]
    case: NDArray[np.int64]
    turn: NDArray[np.int64]


@dataclass(frozen=True)
class Source:
    """Events that are drawn at the points of some cases.

    Attributes
    ----------
    name : str
        Of the random stream.
    points : Hypotheses
        Where events are drawn.
    which : numpy.ndarray
        (n_cases,) the point of a case.
    events : numpy.ndarray
        (n_cases,) how many are drawn for a case.
    uses : tuple of Use
        What rows are made of each event.
    first_row : int
        Number of the first row.
    """

    name: str
    points: Hypotheses
    which: NDArray[np.int64]
    events: NDArray[np.int64]
    uses: tuple[Use, ...]
    first_row: int = 0

    @property
    def n_draws(self) -> int:
        """How many events are drawn."""
        return int(self.events.sum())

    @property
    def end_row(self) -> int:
        """Number of the row behind the last."""
        return self.first_row + self.n_draws * len(self.uses)

    @property
    def asked(self) -> list[int]:
        """The sources whose hypotheses the rows are about."""
        return sorted({side for use in self.uses for side in use if side is not None})

    def rows(self, start: int, stop: int) -> slice:
        """Return the rows of some draws."""
        return slice(self.first_row + start * len(self.uses), self.first_row + stop * len(self.uses))

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        """Cases in the order of their points, as events are drawn."""
        return np.argsort(self.which, kind="stable")

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        return np.cumsum(self.events[self._order])

    @cached_property
    def _firsts(self) -> NDArray[np.int64]:
        """First draw of each point, (n_points,)."""
        per_point = np.bincount(self.which, weights=self.events, minlength=len(self.points.theta)).astype(np.int64)
        return np.cumsum(per_point) - per_point

    def draws(self, start: int, stop: int) -> Draws:
        """Return what is drawn from `start` to `stop`."""
        ends = np.clip(self._ends, start, stop)
        case = np.repeat(self._order, np.diff(ends, prepend=start))
        point = self.which[case]
        return Draws(point, case, np.arange(start, stop) - self._firsts[point])


_USES = {2: ((Use(0, 1),), (Use(0, 1),)), 3: ((Use(0, 1), Use(0, 2)), (Use(0, 1), Use(2, 1)), (Use(0, 2), Use(2, 1)))}
"""Rows made of the events of theta0, theta1 and, perhaps, additional points."""


def compared_sources(
    sampler: Sampler,
    given: list[tuple[Any, Any]],
    n: int,
    *,
    n_theta: int | None,
    seed: Seed,
    scores: tuple[str, ...],
) -> tuple[Source, ...]:
    """Return the sources of numerator, denominator and perhaps additional points, of rows that compare two of them.

    Parameters
    ----------
    sampler
        Draws the events.
    given
        theta and nu of each source, as users give them.
    n
        Rows in all.
    n_theta, seed
        Of points that are drawn from priors.
    scores
        Which joint scores are wanted: "t_xz" at the numerator, "t_xz1" at the denominator.

    Raises
    ------
    InputError
        If n is too small.
    """
    uses = _USES[len(given)]
    n_draws = n // len(uses[0])
    if n_draws < len(given):
        msg = f"a ratio needs events of both classes: n must be {len(given) * len(uses[0])} or more, not {n}"
        raise InputError(msg)
    sizes = counts(n_draws, len(given)).tolist()
    points = [
        joint_points(theta, nu, sampler.store, n_theta=n_theta, n=sizes[i], seed=seed, name=f"theta{i}")
        for i, (theta, nu) in enumerate(given)
    ]
    n_cases = max(len(thetas) for thetas, _ in points)
    sources: list[Source] = []
    for i, (some, size) in enumerate(zip(points, sizes, strict=True)):
        hypotheses = Hypotheses.of(sampler.store.setup, some, scores=bool(scores) and (i == 0 or len(scores) == 2))
        which = np.arange(n_cases) % len(some[0])
        first_row = sources[-1].end_row if sources else 0
        sources.append(Source(f"y{i}", hypotheses, which, counts(size, n_cases), uses[i], first_row))
    return tuple(sources)


def single_source(
    sampler: Sampler,
    theta: Any,
    nu: Any,
    n: int,
    *,
    n_theta: int | None,
    name: str,
    seed: Seed,
    scores: tuple[str, ...],
) -> tuple[Source, ...]:
    """Return the source of rows about nothing but the points at which events were drawn; see `compared_sources`."""
    if n < 1:
        msg = f"n must be positive, not {n}"
        raise InputError(msg)
    points = joint_points(theta, nu, sampler.store, n_theta=n_theta, n=n, seed=seed, name="theta")
    hypotheses = Hypotheses.of(sampler.store.setup, points, scores=bool(scores))
    n_points = len(points[0])
    return (Source(name, hypotheses, np.arange(n_points), counts(n, n_points), (Use(0),)),)
