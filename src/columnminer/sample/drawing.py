"""From what was asked for to samples: sources of events and rows, what is drawn of them, and where it goes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.model.crosssection import CrossSectionPolynomial
from columnminer.sample.draw import Sampler
from columnminer.sample.mining import Mine, mined, mined_into
from columnminer.sample.rows import compared_sources, single_source
from columnminer.sample.samples import Samples
from columnminer.store.commit import require_free
from columnminer.store.samplestore import PER_SET

if TYPE_CHECKING:
    from columnminer.sample.draw import DrawOptions
    from columnminer.sample.mining import RunTasks
    from columnminer.sample.rows import Source
    from columnminer.store.eventstore import EventStore
    from columnminer.store.samplestore import SampleStore
    from columnminer.streams import Seed

__all__ = ["Request", "draw_compared", "draw_single"]


@dataclass(frozen=True)
class Request:
    """What can be asked of any sample.

    Attributes
    ----------
    store, partition
        Where the events are.
    n
        Rows in all.
    n_theta
        Points to draw from a prior; None: a new one for every event.
    seed
        Of the points, the draws and the order of the events.
    out
        Folder of a SampleStore; None: the samples stay in memory.
    run
        Runs the tasks.
    shown
        Whether nuisance parameters have columns.
    options
        How events are drawn.
    """

    store: EventStore
    partition: str
    n: int
    n_theta: int | None
    seed: Seed
    out: str | Path | None
    run: RunTasks
    shown: bool
    options: DrawOptions

    def sampler(self, *nus: Any) -> Sampler:
        """Return what draws the events; nuisance parameters take part where some are given, or show."""
        nuisances = self.shown or any(nu is not None for nu in nus)
        return Sampler(self.store, self.partition, nuisances=nuisances, **self.options)


def draw_single(
    request: Request, theta: Any, nu: Any, *, name: str, scores: tuple[str, ...] = ()
) -> Samples | SampleStore:
    """Return rows about nothing but the points they are drawn at.

    Parameters
    ----------
    request
        What is wanted.
    theta, nu
        Parameter points or priors, and what goes with them.
    name
        Of the random stream.
    scores
        ("t_xz",) for the joint score.
    """
    sampler = request.sampler(nu)
    n_theta, seed = request.n_theta, request.seed
    sources = single_source(sampler, theta, nu, request.n, n_theta=n_theta, name=name, seed=seed, scores=scores)
    return _drawn(request, sampler, sources, scores)


def draw_compared(
    request: Request, points: list[tuple[Any, Any]], *, scores: tuple[str, ...] = ()
) -> Samples | SampleStore:
    """Return rows that compare two points each.

    Parameters
    ----------
    request
        What is wanted.
    points
        theta and nu of the numerators, denominators and, perhaps, additional points.
    scores
        Which of the joint scores "t_xz" at the numerator and "t_xz1" at the denominator are wanted.
    """
    sampler = request.sampler(*(nu for _, nu in points))
    n_theta, seed = request.n_theta, request.seed
    sources = compared_sources(sampler, points, request.n, n_theta=n_theta, seed=seed, scores=scores)
    return _drawn(request, sampler, sources, scores)


def _drawn(
    request: Request, sampler: Sampler, sources: tuple[Source, ...], scores: tuple[str, ...]
) -> Samples | SampleStore:
    path = None if request.out is None else Path(request.out)
    if path is not None:
        require_free(path)
        path.parent.mkdir(parents=True, exist_ok=True)
    store, shown, run = request.store, request.shown, request.run
    mine = Mine.opened(sampler, sources, scores=scores, shown=shown, seed=request.seed, run=run)
    nuisances = store.nuisance_names if shown else ()
    about = Samples(
        x=np.empty((0, len(store.observable_names)), dtype=sampler.dtype),
        feature_names=store.observable_names,
        parameter_names=(*store.setup.parameter_names, *nuisances),
        nuisance_names=nuisances,
        n_eff=np.concatenate([sums.n_eff for sums in mine.sums]),
        negative=np.concatenate([sums.negative for sums in mine.sums]),
        options=sampler.options,
        store_hash=store.hash,
        partition=sampler.partition,
        cross_section=_cross_section(mine) if len(sources) > 1 else None,
    )
    if path is None:
        columns: dict[str, Any] = {**mined(mine, run)}
        return replace(about, **columns)
    per_set = {name: getattr(about, name) for name in PER_SET}
    return mined_into(path, mine, run, per_set, about.attributes)


def _cross_section(mine: Mine) -> CrossSectionPolynomial | None:
    """Return the cross section at any theta from the sums of the linear weights at theta1."""
    setup, totals = mine.sampler.store.setup, mine.sums[1].totals[0]
    if setup.morphing is None or mine.sampler.nuisances:  # with nuisance parameters it is no polynomial
        return None
    return CrossSectionPolynomial.of(setup.morphing, totals[:-1], float(totals[-1]))
