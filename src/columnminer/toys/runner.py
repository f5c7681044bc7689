"""Running a campaign: batches of toys as independent tasks, committed one by one, assembled in a fixed order.

A task makes the toys of one batch at one point, fits every hypothesis to them and commits a part (`columnminer.store`).
Each toy is a pure function of the seed, of the values at its point and of its number. So nothing in the results depends
on who did which task, in which order, or on how often the campaign was killed and started again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError, OutputExistsError, TaskError
from columnminer.files import writing
from columnminer.infer.batches import pick
from columnminer.infer.batchfit import fit_batch
from columnminer.infer.batchintervals import interval_batch
from columnminer.infer.intervals import confidence_interval
from columnminer.run.tasks import run_tasks
from columnminer.store.arrays import write_arrays
from columnminer.store.columns import read_columns
from columnminer.store.commit import read_json, require_free, staged
from columnminer.store.parts import (
    CONFIGURATION,
    discard_left,
    discard_parts,
    joining,
    open_parts,
    parts_under,
    require_same,
)
from columnminer.streams import seed_sequence
from columnminer.toys.alea_files import read_toys, write_toys
from columnminer.toys.patterns import names_in
from columnminer.toys.results import CampaignResults, PointDescription, columns_of, publish_results

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from distributed import Client
    from numpy.typing import NDArray

    from columnminer.infer.batchfit import FitBatch
    from columnminer.infer.likelihood import Likelihood
    from columnminer.toys.campaign import Campaign
    from columnminer.toys.plan import Point

__all__ = ["make_toys", "open_batches", "run_batches", "run_campaign"]

_log = logging.getLogger(__name__)


def run_campaign(
    campaign: Campaign,
    out: str | os.PathLike[str],
    *,
    client: Client | None = None,
    workers: int = 1,
    seed: int | None = None,
    resume: bool = True,
    replace: bool = False,
    progress: bool = True,
) -> CampaignResults:
    """Make the toys of a campaign, fit its hypotheses to them, and store what comes out.

    Parameters
    ----------
    campaign
        What to do.
    out
        Folder of the new store. What is finished before the end lies in ``<out>.parts``; calling again with the same
        campaign, after it failed or was killed, goes on from there. Files of toys lie beside it.
    client
        A `distributed.Client` to run on; `out` has to be visible from its workers.
    workers
        Processes on this machine, where there is no client.
    seed
        In place of that of the campaign.
    resume
        Whether to use what earlier calls of the same campaign have left: parts, or the whole store.
    replace
        Whether a store (or parts) of another campaign may be deleted; a store of the same is made again.
    progress
        Whether to show progress.

    Raises
    ------
    InputError, UnknownNameError, MissingError
        If the campaign makes no sense. This is found before any toy is made.
    OutputExistsError
        If there is an output of another campaign (the message says what differs), or any and `resume` is false.
    TaskError
        If batches failed, with the reason for each. The others are kept for the next call.
    StorageError
        If there is no room for the store. The batches that are done are kept for the next call.

    Examples
    --------
    >>> model = cm.load_alea("search.yaml")
    >>> campaign = cm.Campaign(model, "signal_rate_multiplier", hypotheses=["free", "zero"], n_toys=20)
    >>> results = cm.run_campaign(campaign, "few.zarr", workers=1, progress=False)
    >>> len(results[0])
    20
    """
    out = Path(out).absolute()
    points, document, tasks = _planned(campaign, out, seed)
    parts = parts_of(out)
    place = parts_under(parts, document)
    if out.exists() and not replace:
        return _existing(out, document, place, resume=resume)
    try:
        with writing(out):
            _open(out, points, document, resume=resume, replace=replace)
            todo = [task for task in tasks if not task.part.exists()]
            if len(todo) < len(tasks):
                _log.info("%d of %d batches are there already", len(tasks) - len(todo), len(tasks))
            run_tasks(_make_batch, todo, client=client, workers=workers, title="toys", progress=progress)
            described = [_described(point) for point in points]
            tables = [(said, _tables(tasks, i, columns_of(said))) for i, said in enumerate(described)]
            with joining(parts):
                results = publish_results(out, document, tables, replace=replace)
                discard_parts(parts)
    except (TaskError, FileNotFoundError) as error:
        if out.exists() and not (replace and parts.exists()):  # another run was first, and took the parts away
            return _existing(out, document, place, resume=True)
        if not isinstance(error, TaskError):
            raise
        msg = f"{error}\nThe batches that are done are kept in {parts}: call again to go on from there."
        raise TaskError(msg) from error.__cause__
    return results


def parts_of(out: Path) -> Path:
    """Return the folder of what is finished before the store `out` is."""
    return out.with_name(out.name + ".parts")


def _planned(campaign: Campaign, out: Path, seed: int | None) -> tuple[list[Point], dict[str, Any], list[_Batch]]:
    """Return the points of a campaign, the document of all that results depend on, and a task for each batch."""
    points = campaign.points(seed=seed)
    document = json.loads(json.dumps(campaign.to_dict(points, out.parent)))
    document["files"] = _hashes(points, out.parent)
    place = parts_under(parts_of(out), document)
    thresholds = [campaign.thresholds(point, out.parent) for point in points]
    tasks = [
        _Batch(point, i, number, toys, place, out.parent, thresholds[i], campaign.config.fit_options)
        for i, point in enumerate(points)
        for number, toys in enumerate(point.batches)
    ]
    return points, document, tasks


def _open(out: Path, points: list[Point], document: Mapping[str, Any], *, resume: bool, replace: bool) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    place = open_parts(parts_of(out), document, resume=resume, replace=replace)
    for i in range(len(points)):
        (place / f"{i:06d}").mkdir(exist_ok=True)


def open_batches(
    campaign: Campaign,
    out: str | os.PathLike[str],
    *,
    seed: int | None = None,
    resume: bool = True,
    replace: bool = False,
) -> list[Path]:
    """Make ready for `run_batches` by others, and return the part that each batch will leave, in order.

    Raises
    ------
    OutputExistsError
        If the store is there already, or unfinished parts of another campaign are.
    """
    out = Path(out).absolute()
    if not replace:
        require_free(out)
    points, document, tasks = _planned(campaign, out, seed)
    _open(out, points, document, resume=resume, replace=replace)
    return [task.part for task in tasks]


def run_batches(
    campaign: Campaign, out: str | os.PathLike[str], first: int, last: int, *, seed: int | None = None
) -> None:
    """Make some batches of a campaign, from number `first` to `last`, where `open_batches` has made ready.

    Batches count through all points, from 0. Parts that are there are kept. `run_campaign` makes what is still missing,
    and a store of all.

    Raises
    ------
    InputError
        If there are no such batches, or if nothing was made ready.
    OutputExistsError
        If the unfinished parts are those of another campaign.
    """
    out = Path(out).absolute()
    _, document, tasks = _planned(campaign, out, seed)
    if not 0 <= first <= last < len(tasks):
        msg = f"there are no batches {first} to {last} of {campaign.name}: they are numbered 0 to {len(tasks) - 1}"
        raise InputError(msg)
    parts = parts_of(out)
    if not (parts / CONFIGURATION).is_file():
        msg = f"{parts} was not made ready for batches: submit the campaign first"
        raise InputError(msg)
    require_same(read_json(parts / CONFIGURATION), document, f"the unfinished run in {parts}")
    for task in tasks[first : last + 1]:
        _make_batch(task)


def _existing(out: Path, document: Mapping[str, Any], place: Path, *, resume: bool) -> CampaignResults:
    """Return the results that an earlier call has finished, if they are those that are asked for."""
    if not resume:
        require_free(out)
    results = CampaignResults(out)
    require_same(results.campaign, document, str(out))
    discard_left(place)
    return results


def _hashes(points: list[Point], folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of toys that is read."""
    found = {}
    for point in points:
        if point.settings.toy_data == "read":
            for number in range(len(point.batches)):
                path = _found(point, folder, number)[0]
                with path.open("rb") as file:
                    found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _found(point: Point, folder: Path, number: int) -> tuple[Path, bool]:
    """Return the file that has the toys of a batch, and whether it has those of all batches."""
    own = point.toy_file(folder, number)
    if own.is_file():
        return own, len(point.batches) == 1
    whole = own if "i_batch" in names_in(str(point.settings.toy_data_file)) else point.toy_file(folder)
    if whole.is_file():
        return whole, True
    msg = f"there are no toys to read for {point}: neither {own} nor {whole} exists"
    raise InputError(msg)


@dataclass(frozen=True)
class _Batch:
    """What a task needs to make and fit one batch of toys; it travels to other processes."""

    point: Point
    index: int
    number: int
    toys: range
    parts: Path
    folder: Path
    thresholds: Mapping[str, Any]
    fit_options: Mapping[str, Any]

    @property
    def rows(self) -> range:
        return range(len(self.toys))

    @property
    def part(self) -> Path:
        return self.parts / f"{self.index:06d}" / f"{self.toys.start:012d}"

    def __str__(self) -> str:
        return f"point {self.index} ({self.point}), toys {self.toys.start} to {self.toys.stop - 1}"


def _make_batch(batch: _Batch) -> None:
    """Make the toys of a batch, fit them, and commit the part."""
    if batch.part.exists():
        return
    data = _toys_of(batch)
    columns = _fitted(batch, data) if batch.point.hypotheses else {}
    try:
        with staged(batch.part) as temporary:
            write_arrays(temporary, columns, {"n_toys": len(batch.toys)})
    except OutputExistsError:
        return  # another task was first, with the same content


def make_toys(point: Point, toys: range) -> Any:
    """Return the toys of these numbers, stacked along the first axis: the same in whatever batch they are made."""
    return point.model.simulate_many(_seed(point), np.asarray(toys), dict(point.generate))


def _seed(point: Point) -> np.random.SeedSequence:
    return seed_sequence(point.settings.seed, "toys", *point.stream)


def _toys_of(batch: _Batch) -> Any:
    """Return the toys of a batch: made, made and kept, read, or the data of the model themselves."""
    point, model = batch.point, batch.point.model
    mode = point.settings.toy_data
    if mode == "no_toydata":
        return model.batch([model.data])
    if mode == "read":
        path, whole = _found(point, batch.folder, batch.number)
        return model.batch(read_toys(path, model, batch.toys if whole else batch.rows))
    made = make_toys(point, batch.toys)
    if mode == "generate_and_store":
        path = point.toy_file(batch.folder, batch.number)
        path.parent.mkdir(parents=True, exist_ok=True)
        place = getattr(model, "place", None)  # gives events of templates, of which a cell is enough, a position
        full = made if place is None else place(made, _seed(point), np.asarray(batch.toys))
        kept = [pick(full, np.asarray(row)) for row in batch.rows]
        write_toys(path, model, kept, generate=dict(point.generate))
    return model.as_data(made)


def _fitted(batch: _Batch, data: Any) -> dict[str, NDArray[Any]]:
    """Return the columns of a part: fits of all hypotheses to all toys of the batch."""
    point, n = batch.point, len(batch.toys)
    start = point.model.point(dict(point.generate))
    fits: dict[str, FitBatch] = {}
    for name, held in point.hypotheses.items():
        fixed: dict[str, Any] = dict(held)
        fits[name] = fit_batch(point.model, data, start=start, fit_options=batch.fit_options or None, **fixed)
    columns: dict[str, NDArray[Any]] = {
        "values": np.stack([_all_values(point.model, fit, point.hypotheses[h], n) for h, fit in fits.items()], axis=1),
        "log_likelihood": np.stack([fit.log_likelihood for fit in fits.values()], axis=1),
        "valid": np.stack([fit.converged for fit in fits.values()], axis=1).astype(np.uint8),
        "by_minuit": np.stack([fit.by_minuit for fit in fits.values()], axis=1).astype(np.uint8),
    }
    if point.intervals_of:
        columns["interval"] = np.stack([_interval(batch, data, h, fits) for h in point.intervals_of], axis=1)
    return columns


def _all_values(model: Likelihood, fit: FitBatch, held: Mapping[str, float], n: int) -> NDArray[np.float64]:
    """Return (n, n_par) fitted, held or nominal values in the order of the model's parameters."""
    values = np.tile(model.point(dict(held)), (n, 1))
    for column, name in enumerate(fit.parameter_names):
        values[:, model.names.index(name)] = fit.values[:, column]
    return values


def _interval(batch: _Batch, data: Any, name: str, fits: Mapping[str, FitBatch]) -> NDArray[np.float64]:
    """Return (n, 2) confidence intervals of the parameter of interest, with what a hypothesis holds held.

    The likelihood ratio counts from the free fit, if the campaign has it.
    """
    point, settings = batch.point, batch.point.settings
    options: dict[str, Any] = {
        "level": settings.level,
        "kind": settings.kind,
        "dof": settings.dof,
        "threshold": batch.thresholds[name],
        "interval_args": dict(point.hypotheses[name]),
        "best_fit_args": {} if "free" in fits else None,
        "fit_options": batch.fit_options or None,
    }
    if settings.roots == "nearest":
        found = interval_batch(point.model, point.poi, data, best=fits[name], **options)
        return np.stack([found.lower, found.upper], axis=1)
    ends = np.empty((len(batch.toys), 2))
    for row in batch.rows:
        model = point.model.with_data(pick(data, np.asarray(row)))
        one = confidence_interval(model, point.poi, roots="extremal", **options)
        ends[row] = one.lower, one.upper
    return ends


def _described(point: Point) -> PointDescription:
    return PointDescription(
        n_toys=point.settings.n_toys,
        generate=point.generate,
        nominal=point.nominal,
        poi=point.poi,
        parameter_names=point.model.names,
        hypotheses=point.hypotheses,
        intervals_of=point.intervals_of,
        level=point.settings.level,
        kind=point.settings.kind,
        poi_expectation=point.poi_expectation,
        expected=point.expected,
        common_hypothesis=point.common_hypothesis,
        metadata=point.settings.model_dump(mode="json", include={"metadata"})["metadata"],  # YAML knows dates
    )


def _tables(tasks: list[_Batch], index: int, names: Mapping[str, Any]) -> Iterator[Mapping[str, NDArray[Any]]]:
    """Yield the columns of the parts of one point, in the order of its toys."""
    for task in tasks:
        if task.index == index and names:
            yield read_columns(
                task.part, f"the part {task.part} is damaged", f"delete {task.part} and call again", names
            )
