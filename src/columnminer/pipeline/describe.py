"""What a file or folder is, in a few tables: stores, estimators, outputs of analyses, jobs; and `describe_files`."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import FileFormatError, InputError
from columnminer.learn.calibration import is_calibrated
from columnminer.learn.ensembles import Ensemble, holds_ensemble
from columnminer.learn.estimators import load_estimator, trained_members
from columnminer.learn.varied import is_varied
from columnminer.learn.wrapped import RatioFrom
from columnminer.pipeline import steps
from columnminer.pipeline.describe_files import KINDS, describe_file
from columnminer.pipeline.fits import load_fit
from columnminer.pipeline.overview import load_overview
from columnminer.pipeline.results import load_agreement, load_information, load_limits
from columnminer.pipeline.tables import (
    agreement_table,
    answer_table,
    calibration_of,
    campaign_table,
    check_table,
    cut_flow_table,
    fact_table,
    file_table,
    fit_table,
    impact_table,
    information_table,
    interval_table,
    point_table,
    sample_table,
    sampling_table,
)
from columnminer.run.jobs import job_states
from columnminer.show.report import Table
from columnminer.store.columns import attributes_at
from columnminer.store.eventstore import EVENTS_FORMAT, EventStore
from columnminer.store.parts import CONFIGURATION
from columnminer.store.samplestore import SAMPLES_FORMAT, SampleStore
from columnminer.toys.results import TOYS_FORMAT, CampaignResults

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["describe"]

_LONGEST = 200
"""Characters of a fact."""


def describe(path: Path) -> list[Table]:
    """Say what is at `path`.

    Raises
    ------
    InputError
        If there is nothing.
    FileFormatError
        If it is nothing that columnminer knows; the message lists what it does.
    """
    try:
        there = path.exists()
    except OSError as error:  # such a name cannot be
        msg = f"{path}: {error.strerror}"
        raise InputError(msg) from error
    if not there:
        msg = f"{path}: there is no such file or folder"
        raise InputError(msg)
    return _folder(path) if path.is_dir() else describe_file(path)


def _folder(path: Path) -> list[Table]:
    for is_it, described in _FOLDERS:
        if is_it(path):
            return described(path)
    msg = f"{path}: nothing that is known. Known are: {KINDS}"
    raise FileFormatError(msg)


def _has(name: str) -> Callable[[Path], bool]:
    return lambda path: (path / name).exists()


def _zarr(path: Path) -> list[Table]:
    kind = attributes_at(path, str(path)).get("format")
    if kind == EVENTS_FORMAT:
        return _store(EventStore(path))
    if kind == SAMPLES_FORMAT:
        return _samples(SampleStore(path))
    if kind == TOYS_FORMAT:
        return [campaign_table(CampaignResults(path))]
    msg = f"{path}: a Zarr group of the format {kind!r}, which is not known here. Known are: {KINDS}"
    raise FileFormatError(msg)


def _parts(path: Path) -> list[Table]:
    groups = (record.parent for record in path.rglob("zarr.json"))
    finished = sum(1 for group in groups if not (group.parent / "zarr.json").exists())  # arrays are within a part
    facts = {"finished parts": finished, "what goes on from here": "the command that was interrupted"}
    return [fact_table("Parts of an unfinished store.", facts)]


def _holds_jobs(path: Path) -> bool:
    return any(script.with_suffix(".json").is_file() for script in path.glob("*.sh"))


def _jobs(path: Path) -> list[Table]:
    rows = []
    for state in job_states(path):
        done, job = len(state.job.tasks) - len(state.job.unfinished()), state.job
        rows.append([job.name, job.system, job.number or "", state.state, f"{done} of {len(job.tasks)}"])
    head = ["job", "system", "number", "state", "tasks finished"]
    return [Table(head, rows, "Jobs; the command jobs says why some failed.")]


def _store(store: EventStore) -> list[Table]:
    parts = {f"events in {name}": store.n_events(name) for name in store.partition_names}
    facts = {"events": len(store), **parts, "observables": ", ".join(store.observable_names), "hash": store.hash}
    flow = cut_flow_table(store)
    return [fact_table("Event store.", facts), sample_table(store), *([flow] if flow else []), file_table(store)]


def _samples(samples: SampleStore) -> list[Table]:
    arrays = {name: f"{samples[name].shape} {samples[name].dtype}" for name in samples}
    attributes = {name: _short(value) for name, value in samples.attributes.items()}
    tables = [fact_table("Sample store.", {"events": len(samples), **arrays, **attributes})]
    return [*tables, sampling_table({samples.path.name: samples})] if "n_eff" in samples else tables


def _estimator(path: Path) -> list[Table]:
    estimator = load_estimator(path)
    parts: list[Any] = [estimator]
    while isinstance(parts[-1], RatioFrom):
        parts.append(parts[-1].estimator)
    inner = parts[-1]
    members = trained_members(estimator)
    first = members[0]
    failed = [check.name for check in estimator.checks if not check.passed]
    reference = zip(estimator.parameter_names, estimator.reference, strict=True)
    facts = {
        "kind": " of ".join(dict.fromkeys(type(part).__name__ for part in (*parts, first))),
        "networks": len(members),
        "features": ", ".join(estimator.feature_names),
        "reference": ", ".join(f"{name} = {value:g}" for name, value in reference),
        **({"calibration": how} if (how := calibration_of(estimator)) else {}),
        "trained on": f"{estimator.partition} of store {estimator.store_hash}",
        "checks": f"{len(estimator.checks)} made, failed: {', '.join(failed) or 'none'}",
        **{name: _short(value) for name, value in first.fitted.training.items()},
    }
    votes = inner.votes if isinstance(inner, Ensemble) else np.ones(1)
    rows = []
    for i, (member, vote) in enumerate(zip(members, votes.tolist(), strict=True)):
        losses = member.history.validation_loss
        best = f"{losses.min():.6g}" if len(losses) else ""
        layers = ", ".join(str(width) for width in member.hidden)
        epochs = f"{len(member.history.train_loss)}"
        rows.append(
            [f"{i}", layers, member.activation, f"{vote:.3g}", epochs, f"{member.history.best_epoch + 1}", best]
        )
    head = ["network", "layers", "activation", "vote", "epochs", "epoch kept", "best validation loss"]
    checks = [check_table({path.name: estimator.checks})] if estimator.checks else []
    return [fact_table("Estimator.", facts), Table(head, rows, "Networks."), *checks]


def _short(value: Any) -> str:
    """Return a fact of a training in a line: of a table of numbers, how large it is."""
    text = str(value)
    if len(text) <= _LONGEST:
        return text
    if isinstance(value, dict | list | tuple):
        return f"{len(value)} entries"
    return textwrap.shorten(text, _LONGEST, placeholder=" ...")


def _workspace(path: Path) -> list[Table]:
    rows = []
    for file in sorted(path.glob("**/stage.json")):
        if ".columnminer" not in file.relative_to(path).parts:
            record = _record(file)
            rows.append([record["stage"], record["key"][:16], ", ".join(record["needs"])])
    return [Table(["stage", "key", "needs"], rows, "Analysis: stages that are done.")]


def _record(file: Path) -> dict[str, Any]:
    """Return what a stage says of itself."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        return {
            **{name: str(record[name]) for name in ("stage", "key")},
            **{name: [*map(str, record[name])] for name in ("needs", "warnings")},
            "files": [str(each["name"]) for each in record["files"]],
        }
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        msg = f"{file}: this record of a stage is damaged: {error}; delete it, and the stage is done again"
        raise FileFormatError(msg) from error


def _stage(path: Path) -> list[Table]:
    """Return what a stage of an analysis has left: its output, and what it was made from."""
    record = _record(path / "stage.json")
    kind, _, name = record["stage"].partition("/")
    facts = {
        "stage": record["stage"],
        "key": record["key"],
        "needs": ", ".join(record["needs"]) or "nothing",
        "files": ", ".join(record["files"]) or "none",
        "warnings": "; ".join(record["warnings"]) or "none",
    }
    held: list[Table] = _HELD[kind](path, name) if kind in _HELD else []
    return [fact_table("Stage of an analysis.", {key: _short(value) for key, value in facts.items()}), *held]


def _fit(path: Path, name: str) -> list[Table]:
    fits = {name: load_fit(path)}
    tables = [fit_table(fits, "Best fit."), answer_table(fits, "Intervals, limits and significances.")]
    tables.append(impact_table(fits, "Pulls and impacts of nuisance parameters."))
    return [table for table in tables if table.rows]


def _n_events(overview: Path) -> int:
    return len(EventStore(overview.parent / "events" / steps.STORE))


_HELD: dict[str, Callable[[Path, str], list[Table]]] = {
    "setup": lambda path, _: describe_file(path / "setup.json"),
    "events": lambda path, _: _store(EventStore(path / steps.STORE)),
    "observed": lambda path, _: _store(EventStore(path / steps.STORE)),
    "sampling": lambda path, _: _samples(SampleStore(path / steps.SAMPLES)),
    "estimators": lambda path, _: _estimator(path / steps.ESTIMATOR),
    "agreement": lambda path, name: [agreement_table({name: load_agreement(path)})],
    "limits": lambda path, name: [interval_table({name: load_limits(path)}, "Expected intervals.")],
    "observed_limits": lambda path, name: [interval_table({name: load_limits(path)}, "Observed intervals.")],
    "information": lambda path, name: [information_table({name: load_information(path)})],
    "fits": _fit,
    "observed_fits": _fit,
    "overview": lambda path, _: [point_table(load_overview(path), _n_events(path))],
}
"""What stages of each kind hold."""

_FOLDERS: list[tuple[Callable[[Path], bool], Callable[[Path], list[Table]]]] = [
    (_has("zarr.json"), _zarr),
    (_has("estimator.json"), _estimator),
    (holds_ensemble, _estimator),
    (is_calibrated, _estimator),
    (is_varied, _estimator),
    (_has(".columnminer"), _workspace),
    (_has("stage.json"), _stage),
    (_has(CONFIGURATION), _parts),
    (_holds_jobs, _jobs),
]
"""What tells a folder, and what describes it; the first one counts."""
