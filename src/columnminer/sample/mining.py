"""Samples block by block: draw events, mine their gold, put the rows in random order, in memory or on disk.

First come the sums over all events at each point, then blocks of draws, which need nothing but those. Both are tasks
for `run.tasks`. Every draw and every row has a random number that belongs to nothing but its own number, and the order
of the rows is that of these numbers: the same seed gives the same sample, bit by bit, in blocks of any size, by any
number of workers, in memory or on disk.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from columnminer.errors import ColumnMinerWarning, InputError, MissingError
from columnminer.files import writing
from columnminer.sample.augment import signs
from columnminer.sample.draw import PointSums
from columnminer.sample.hypotheses import Cases
from columnminer.sample.inversion import ROUNDING
from columnminer.sample.nuisances import NuisanceSums, powers
from columnminer.store.samplestore import SampleStore
from columnminer.store.shuffle import Shuffle, order_of
from columnminer.streams import key, uniform

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from columnminer.sample.draw import Sampler
    from columnminer.sample.rows import Source, Use
    from columnminer.store.shuffle import Run
    from columnminer.streams import Seed

__all__ = ["Mine", "RunTasks", "mined", "mined_into"]

logger = logging.getLogger(__name__)

RunTasks: TypeAlias = "Callable[..., list[Any]]"
"""`run.tasks.run_tasks` that knows where."""

FEW_EVENTS = 100
"""Fewer effective events than this at a point (cross-section errors above 10 %) are warned about."""

_DRAWS = 2**18
"""Draws in a block: some tens of MB."""

_POINTS = 256
"""Points in a block of sums."""

_NUS = 64
"""Points of nuisance parameters in a block of sums."""


class Block(NamedTuple):
    """Some draws of a source."""

    source: int
    start: int
    stop: int


@dataclass(frozen=True)
class Mine:
    """All that is needed to make any of the rows.

    Attributes
    ----------
    sampler : Sampler
        Draws the events.
    sources : tuple of Source
        What is drawn, and what rows are made of it.
    scores : tuple of str
        "t_xz", the joint score at the numerator of a row, and "t_xz1", at the denominator, or one of them or none.
    shown : bool
        Whether nuisance parameters show in the samples.
    draw_keys : tuple of int
        Random stream of the draws of each source.
    order_key : int
        Random stream of the order of the rows.
    sums : tuple of PointSums
        At the points of each source.
    nuisance_sums : dict
        (source, source with the hypothesis) -> sums of each case, where nuisance parameters take part.
    """

    sampler: Sampler
    sources: tuple[Source, ...]
    scores: tuple[str, ...]
    shown: bool
    draw_keys: tuple[int, ...]
    order_key: int
    sums: tuple[PointSums, ...]
    nuisance_sums: dict[tuple[int, int], NuisanceSums] = field(default_factory=dict)

    @classmethod
    def opened(
        cls,
        sampler: Sampler,
        sources: tuple[Source, ...],
        *,
        scores: tuple[str, ...],
        shown: bool,
        seed: Seed,
        run: RunTasks,
    ) -> Mine:
        """Take the sums over all events.

        Raises
        ------
        InputError
            If weights are negative and refused.
        MissingError
            If no event has a positive weight at a point, or the partition has no events.

        Warns
        -----
        ColumnMinerWarning
            If points have fewer than 100 effective events, or negative weights or trimmed events matter.
        """
        draw_keys = tuple(key(seed, "draw", source.name) for source in sources)
        order_key = key(seed, "order")
        sums = _point_sums(sampler, sources, run)
        for source, some in zip(sources, sums, strict=True):
            _report(sampler, source, some)
        mined = scores or sources[0].uses[0].denominator is not None
        nuisances = _nuisance_sums(sampler, sources, run) if sampler.nuisances and mined else {}
        return cls(sampler, sources, scores, shown, draw_keys, order_key, sums, nuisances)

    def __len__(self) -> int:
        return self.sources[-1].end_row

    @property
    def blocks(self) -> list[Block]:
        """The draws, in the order of the rows."""
        return [
            Block(i, start, min(start + _DRAWS, source.n_draws))
            for i, source in enumerate(self.sources)
            for start in range(0, source.n_draws, _DRAWS)
        ]

    def numbers(self, rows: slice) -> NDArray[np.float64]:
        """Return the random numbers whose order is that of the rows."""
        return uniform(self.order_key, np.arange(rows.start, rows.stop))

    def columns(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Return the columns of the sample: name -> (shape of one row, dtype)."""
        store, compared = self.sampler.store, self.sources[0].uses[0].denominator is not None
        n_par = len(store.setup.parameter_names) + len(store.nuisances) * self.shown
        shapes: dict[str, tuple[int, ...]] = {"x": (len(store.observable_names),), "theta0": (n_par,)}
        if compared:
            shapes |= {"theta1": (n_par,), "y": (), "r_xz": ()}
        shapes |= dict.fromkeys(self.scores, (n_par,))
        if self.sampler.negative_weights == "keep":
            shapes["weights"] = ()
        return {name: (shape, self.sampler.dtype) for name, shape in shapes.items()}

    def rows(self, block: Block) -> dict[str, NDArray[Any]]:
        """Draw the events of a block, and return its rows with their gold."""
        source, sums = self.sources[block.source], self.sums[block.source]
        draws = source.draws(block.start, block.stop)
        # Points are drawn one after another: those of a block are neighbours.
        some = slice(int(draws.point[0]), int(draws.point[-1]) + 1)
        ends = np.cumsum(np.bincount(draws.point - some.start))
        points = source.points
        nus = points.nu[some]
        coefficients = points.coefficients[some]
        x, weights = self.sampler.draw(
            self.sampler.groups(points.theta[some]),
            coefficients,
            powers(nus) if self.sampler.nuisances and points.nu.any() else None,
            sums.take(some),
            np.split(uniform(self.draw_keys[block.source], draws.point, draws.turn), ends[:-1]),
        )
        n_uses = len(source.uses)
        rows = {
            name: np.empty((len(x) * n_uses, *shape), dtype=dtype) for name, (shape, dtype) in self.columns().items()
        }
        for i, use in enumerate(source.uses):
            into = slice(i, None, n_uses)
            rows["x"][into] = x
            for name, values in self._gold(block.source, use, draws.case, weights).items():
                rows[name][into] = values
            if "weights" in rows:
                linear = weights[:, : coefficients.shape[1]]
                rows["weights"][into] = signs(linear, coefficients, draws.point - some.start)
        return rows

    def _gold(
        self, drawn: int, use: Use, case: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> dict[str, NDArray[Any]]:
        """Return the hypotheses, labels and gold of events of a source."""
        cases = slice(int(case.min()), int(case.max()) + 1)
        case = case - cases.start
        # The gold of an event is normalised with the cross sections of the events that it was drawn from.
        totals = self.sums[drawn].totals[self.sources[drawn].which[cases]]
        gold: dict[str, NDArray[Any]] = {}
        sides = []
        for name, side in zip(("theta0", "theta1"), use, strict=True):
            if side is not None:
                asked = self.sources[side]
                nuisances = self.nuisance_sums.get((drawn, side))
                sums = None if nuisances is None else nuisances.take(cases)
                sides.append(Cases(asked.points, asked.which[cases], totals, sums))
                gold[name] = asked.points.columns(shown=self.shown)[asked.which[cases]][case]
        if len(sides) == 2:
            gold["y"] = np.full(len(case), 0 if use.numerator == drawn else 1)
            gold["r_xz"] = sides[0].ratio_to(sides[1], weights, case)
        for name in self.scores:
            gold[name] = sides[name == "t_xz1"].score(weights, case, along_nu=self.shown)
        return gold


def mined(mine: Mine, run: RunTasks) -> dict[str, NDArray[Any]]:
    """Return the columns of the sample."""
    blocks = mine.blocks
    parts = run(mine.rows, blocks, title="draws")
    n = len(mine)
    place = np.empty(n, dtype=np.int64)
    place[order_of(mine.numbers(slice(0, n)))] = np.arange(n)
    columns = {name: np.empty((n, *shape), dtype=dtype) for name, (shape, dtype) in mine.columns().items()}
    for i, block in enumerate(blocks):
        into = place[mine.sources[block.source].rows(block.start, block.stop)]
        for name, values in parts[i].items():
            columns[name][into] = values
        parts[i] = {}  # frees the memory
    return columns


def mined_into(
    out: Path, mine: Mine, run: RunTasks, per_set: dict[str, NDArray[Any]], attributes: dict[str, Any]
) -> SampleStore:
    """Write the sample, with arrays whose rows are not events, as a SampleStore; blocks of rows are in memory only.

    Raises
    ------
    OutputExistsError
        If something is at `out`.
    StorageError
        If there is no room for it.
    """
    with writing(out), tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        shuffle = Shuffle(Path(folder), mine.columns(), len(mine))
        runs = run(partial(_write_run, mine, shuffle), mine.blocks, title="draws")
        tables = shuffle.merged(runs)
        return SampleStore.write_rows(out, len(mine), mine.columns(), tables, per_set=per_set, attributes=attributes)


def _write_run(mine: Mine, shuffle: Shuffle, block: Block) -> Run:
    rows = mine.sources[block.source].rows(block.start, block.stop)
    return shuffle.write(f"{block.source}-{block.start}", mine.numbers(rows), mine.rows(block))


def _point_sums(sampler: Sampler, sources: tuple[Source, ...], run: RunTasks) -> tuple[PointSums, ...]:
    items: list[tuple[str | None, NDArray[np.float64], NDArray[np.float64] | None]] = []
    places = []
    for i, source in enumerate(sources):
        points = source.points
        shifts = powers(points.nu) if sampler.nuisances and points.nu.any() else None
        for benchmark, which in sampler.groups(points.theta):
            sampler.require_events(benchmark)
            for start in range(0, len(which), _POINTS):
                some = which[start : start + _POINTS]
                items.append((benchmark, points.coefficients[some], None if shifts is None else shifts[some]))
                places.append((i, some))
    sums = tuple(PointSums.empty(*source.points.coefficients.shape) for source in sources)
    for (i, some), result in zip(places, run(partial(_sums_at, sampler), items, title="sums"), strict=True):
        sums[i].put(some, result)
    return sums


def _sums_at(sampler: Sampler, item: tuple[str | None, NDArray[np.float64], NDArray[np.float64] | None]) -> PointSums:
    return sampler.sums(*item)


def _nuisance_sums(sampler: Sampler, sources: tuple[Source, ...], run: RunTasks) -> dict[tuple[int, int], NuisanceSums]:
    """Return, for each source and each with a hypothesis, the sums over the events of the one at nu of the other."""
    pairs = [(i, j) for i, source in enumerate(sources) for j in source.asked]
    drawn_at = np.concatenate([sources[i].points.theta[sources[i].which] for i, _ in pairs])
    nus = np.concatenate([sources[j].points.nu[sources[j].which] for _, j in pairs])
    items, places = [], []
    for benchmark, which in sampler.groups(drawn_at):
        different, inverse = np.unique(nus[which], axis=0, return_inverse=True)
        starts = range(0, len(different), _NUS)
        items += [(benchmark, different[start : start + _NUS]) for start in starts]
        places.append((which, inverse.reshape(-1), len(starts)))
    results = run(partial(_nuisance_sums_at, sampler), items, title="sums with nuisance parameters")
    n_columns = sources[0].points.coefficients.shape[1]
    sums = NuisanceSums(np.empty((len(nus), n_columns)), np.empty((len(nus), nus.shape[1], n_columns)))
    for which, inverse, n_results in places:
        some, results = results[:n_results], results[n_results:]
        sums.totals[which] = np.concatenate([s.totals for s in some])[inverse]
        sums.slopes[which] = np.concatenate([s.slopes for s in some])[inverse]
    n_cases = len(sources[0].which)
    return {pair: sums.take(slice(k * n_cases, (k + 1) * n_cases)) for k, pair in enumerate(pairs)}


def _nuisance_sums_at(sampler: Sampler, item: tuple[str | None, NDArray[np.float64]]) -> NuisanceSums:
    return sampler.nuisance_sums(*item)


def _report(sampler: Sampler, source: Source, sums: PointSums) -> None:
    """Say what may be wrong with the draws."""

    def named(i: int) -> str:
        return f"theta = {source.points.theta[i]}" + (f", nu = {source.points.nu[i]}" if sampler.nuisances else "")

    if not (sums.drawn > 0.0).all():
        msg = f"no event has a positive weight at {named(int((sums.drawn <= 0.0).argmax()))}"
        raise MissingError(msg)
    if float(sums.negative.max()) > ROUNDING:
        worst = named(int(sums.negative.argmax()))
        share = f"negative weights make up to {sums.negative.max():.2%} of the total at {worst}"
        if sampler.negative_weights == "refuse":
            msg = f'{share}: choose negative_weights="clip" or "keep"'
            raise InputError(msg)
        treatment = "they are drawn with their sign" if sampler.negative_weights == "keep" else "they count as zero"
        warnings.warn(f"{share}; {treatment}", ColumnMinerWarning, stacklevel=6)
    if sampler.trim is not None:
        msg = (
            f"events with more than 1 / {sampler.trim:g} of the total are left out: distributions are distorted, by "
            f"{sums.trimmed.max():.2%} of the total at {named(int(sums.trimmed.argmax()))}"
        )
        warnings.warn(msg, ColumnMinerWarning, stacklevel=6)
    few = sums.n_eff < FEW_EVENTS
    if few.any():
        least = int(sums.n_eff.argmin())
        squared = sampler.store.setup.squared_weights(source.points.theta[least])[0]
        msg = (
            f"{few.sum()} of {len(few)} parameter points have fewer than {FEW_EVENTS} effective events, down to "
            f"{sums.n_eff[least]:.1f} at {named(least)}, where the squared morphing weights sum to {squared:.3g}: stay "
            "closer to the benchmarks, or generate events there"
        )
        warnings.warn(msg, ColumnMinerWarning, stacklevel=6)
    logger.info("effective number of events: %.0f to %.0f", sums.n_eff.min(), sums.n_eff.max())
