"""What a file or folder is, in a few tables: stores, samples, estimators, set-ups, event files, outputs of analyses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import FileFormatError, InputError
from columnminer.formats.opening import open_reader
from columnminer.learn.calibration import is_calibrated
from columnminer.learn.ensembles import Ensemble, holds_ensemble
from columnminer.learn.estimators import load_estimator, trained_members
from columnminer.learn.varied import is_varied
from columnminer.learn.wrapped import RatioFrom
from columnminer.model.setup import Setup
from columnminer.pipeline.tables import (
    benchmark_table,
    calibration_of,
    campaign_table,
    cut_flow_table,
    file_table,
    parameter_table,
    sample_table,
    sampling_table,
    threshold_table,
)
from columnminer.show.report import Table
from columnminer.store.columns import attributes_at
from columnminer.store.eventstore import EVENTS_FORMAT, EventStore
from columnminer.store.madminer import load_madminer_setup
from columnminer.store.samplestore import SAMPLES_FORMAT, SampleStore
from columnminer.toys.neyman import NeymanThresholds
from columnminer.toys.results import TOYS_FORMAT, CampaignResults
from columnminer.toys.threshold_files import holds_thresholds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["describe"]

_LONGEST = 200
"""Characters of a fact."""


def describe(path: Path) -> list[Table]:
    """Say what is at `path`.

    Raises
    ------
    InputError
        If there is nothing, or nothing that columnminer knows.
    """
    try:
        there = path.exists()
    except OSError as error:  # such a name cannot be
        msg = f"{path}: {error.strerror}"
        raise InputError(msg) from error
    if not there:
        msg = f"{path}: there is no such file or folder"
        raise InputError(msg)
    if path.is_dir():
        return _folder(path)
    if path.suffix == ".json":
        return (
            [threshold_table(NeymanThresholds.from_json(path))] if holds_thresholds(path) else _setup(Setup.load(path))
        )
    if path.suffix in {".h5", ".hdf5"}:
        return [_facts("MadMiner file.", {"file": path.name}), *_setup(load_madminer_setup(path))]
    return _events(path)


def _facts(caption: str, facts: Mapping[str, Any]) -> Table:
    return Table(["", ""], [[key, str(value)] for key, value in facts.items()], caption)


def _folder(path: Path) -> list[Table]:
    if (path / "zarr.json").is_file():
        kind = attributes_at(path, str(path)).get("format")
        if kind == EVENTS_FORMAT:
            return _store(EventStore(path))
        if kind == SAMPLES_FORMAT:
            return _samples(SampleStore(path))
        if kind == TOYS_FORMAT:
            return [campaign_table(CampaignResults(path))]
    if (path / "estimator.json").is_file() or holds_ensemble(path) or is_calibrated(path) or is_varied(path):
        return _estimator(path)
    if (path / ".columnminer").is_dir():
        return _workspace(path)
    msg = f"{path}: holds no store, estimator or analysis of columnminer"
    raise FileFormatError(msg)


def _store(store: EventStore) -> list[Table]:
    parts = {f"events in {name}": store.n_events(name) for name in store.partition_names}
    facts = {"events": len(store), **parts, "observables": ", ".join(store.observable_names), "hash": store.hash}
    flow = cut_flow_table(store)
    return [_facts("Event store.", facts), sample_table(store), *([flow] if flow else []), file_table(store)]


def _samples(samples: SampleStore) -> list[Table]:
    arrays = {name: f"{samples[name].shape} {samples[name].dtype}" for name in samples}
    attributes = {name: _short(value) for name, value in samples.attributes.items()}
    tables = [_facts("Sample store.", {"events": len(samples), **arrays, **attributes})]
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
    return [_facts("Estimator.", facts), Table(head, rows, "Networks.")]


def _short(value: Any) -> str:
    """Return a fact of a training in a line: of a table of numbers, how large it is."""
    text = str(value)
    if len(text) <= _LONGEST or not isinstance(value, dict | list):
        return text[:_LONGEST]
    return f"{len(value)} entries"


def _setup(setup: Setup) -> list[Table]:
    return [_facts("Set-up.", {"hash": setup.hash}), parameter_table(setup), benchmark_table(setup)]


def _workspace(path: Path) -> list[Table]:
    rows = []
    for record in sorted(path.glob("**/stage.json")):
        if ".columnminer" not in record.relative_to(path).parts:
            try:
                stage = json.loads(record.read_text(encoding="utf-8"))
                rows.append([str(stage["stage"]), str(stage["key"])[:16], ", ".join(map(str, stage["needs"]))])
            except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
                msg = f"{record}: this record of a stage is damaged: {error}; delete it, and the stage is done again"
                raise FileFormatError(msg) from error
    return [Table(["stage", "key", "needs"], rows, "Analysis: stages that are done.")]


def _events(path: Path) -> list[Table]:
    info = open_reader(path).info()
    facts = {
        "cross section [pb]": "unknown" if info.cross_section is None else f"{info.cross_section:.6g}",
        "its error [pb]": "unknown" if info.cross_section_error is None else f"{info.cross_section_error:.2g}",
        "weighting (IDWTUP)": "unknown" if info.weighting is None else info.weighting,
        **info.attributes,
    }
    rows = [[name, info.weight_descriptions.get(name, "")] for name in info.weight_names]
    return [_facts("Event file.", facts), Table(["weight", "description"], rows, "Weights.")]
