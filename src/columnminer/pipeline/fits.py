"""Fits of an analysis: a likelihood of the events, its best fit, intervals, limits, significances and workspace."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import RangeWarning
from columnminer.infer.asymptotics import cls_limit, discovery
from columnminer.infer.events import RecordedEvents
from columnminer.infer.fit import fit
from columnminer.infer.histfactory import to_workspace, write_workspace
from columnminer.infer.intervals import confidence_interval
from columnminer.store.eventstore import EventStore
from columnminer.toys.neyman import NeymanThresholds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from columnminer.infer.fit import FitResult
    from columnminer.infer.likelihood import Likelihood
    from columnminer.pipeline.fit_configuration import FitConfig, IntervalConfig

__all__ = ["WORKSPACE", "Answer", "Fitted", "fit_events", "load_fit"]

WORKSPACE = "workspace.json"


@dataclass(frozen=True)
class Answer:
    """What was found out about one parameter.

    Attributes
    ----------
    parameter : str
        Its name.
    question : str
        What was asked, such as "central interval" or "CLs limit".
    level : float or None
        Confidence level.
    low, high : float or None
        Ends of an interval; None for open sides.
    expected : tuple of float or None
        CLs limits if data fluctuate by -2, -1, 0, 1, 2 standard deviations.
    significance : float or None
        Of a discovery, in standard deviations.
    note : str
        What else there is to say: that an interval is empty, or that a fit did not converge.
    """

    parameter: str
    question: str
    level: float | None = None
    low: float | None = None
    high: float | None = None
    expected: tuple[float | None, ...] = ()
    significance: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Fitted:
    """A fit, and the answers from its likelihood.

    Attributes
    ----------
    values, errors : dict
        Free parameter -> best fit, and standard error; None where the likelihood has no curvature there.
    valid : bool
        Whether the fit converged.
    log_likelihood : float
        At the best fit.
    answers : tuple of Answer
        In the order of the file.
    """

    values: dict[str, float]
    errors: dict[str, float | None]
    valid: bool
    log_likelihood: float
    answers: tuple[Answer, ...]


def fit_events(
    folder: Path,
    store: Path,
    estimator: Path | None,
    *,
    config: FitConfig,
    base: Path,
    seed: int,
    device: str,
    observed: Path | None = None,
) -> None:
    """Write ``fit.json``, and the workspace, if one is asked for.

    Parameters
    ----------
    folder
        Where to write.
    store, estimator
        Folders of simulated events, and of the estimator that is named, if one is.
    config
        What the file says.
    base
        Folder that its paths are relative to.
    seed
        Of what is drawn.
    device
        Where networks are.
    observed
        Folder of recorded events; without them data are Asimov data.
    """
    events = EventStore(store)
    model: Any = config.likelihood(events, estimator, seed=seed, device=device)
    if observed is None:
        truth = events.setup.theta(config.theta_true)
        data = model.asimov(dict(zip(events.setup.space.names, truth.tolist(), strict=True)))
    else:
        data = RecordedEvents(EventStore(observed))
    model = model.with_data(data)
    if config.workspace is not None:
        write_workspace(folder / WORKSPACE, to_workspace(model, **config.workspace.model_dump()), replace=True)
    full: Likelihood = model.constrained()
    if config.fixed:
        full = full.fix(**config.fixed)
    options = config.options.model_dump()
    with warnings.catch_warnings():
        # Fits feel their way, also beyond the points of a training; what counts is where they end.
        warnings.simplefilter("ignore", RangeWarning)
        best = fit(full, start=config.start, **options)
        answers = _answers(config, full, base, {"start": config.start, "fit_options": options})
    full.log_likelihood(_ends(best, answers))
    result = Fitted(
        values=dict(zip(best.parameter_names, best.values.tolist(), strict=True)),
        errors={name: _finite(error) for name, error in zip(best.parameter_names, best.errors, strict=True)},
        valid=best.valid,
        log_likelihood=best.log_likelihood,
        answers=answers,
    )
    document = {"format": "columnminer fit", "format_version": 1, **asdict(result)}
    (folder / "fit.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def load_fit(folder: Path) -> Fitted:
    """Read what `fit_events` wrote."""
    document = json.loads((folder / "fit.json").read_text(encoding="utf-8"))
    answers = tuple(Answer(**{**answer, "expected": tuple(answer["expected"])}) for answer in document["answers"])
    return Fitted(**{name: document[name] for name in ("values", "errors", "valid", "log_likelihood")}, answers=answers)


def _answers(config: FitConfig, likelihood: Likelihood, base: Path, shared: dict[str, Any]) -> tuple[Answer, ...]:
    found = []
    for asked in config.intervals:
        options = asked.given(without=("parameter", "threshold"))
        interval = confidence_interval(
            likelihood, asked.parameter, threshold=_threshold(asked, base), **options, **shared
        )
        question = "interval" if asked.kind == "central" else f"{asked.kind} limit"
        note = "" if interval.valid else "a fit did not converge"
        note = "empty" if interval.lower_end == interval.upper_end == "empty" else note
        ends = (_finite(interval.lower), _finite(interval.upper))
        found.append(Answer(asked.parameter, question, asked.level, *ends, note=note))
    for wanted in config.cls:
        limit = cls_limit(likelihood, wanted.parameter, **wanted.given(without=("parameter",)), **shared)
        bands = tuple(_finite(value) for value in limit.expected)
        found.append(Answer(wanted.parameter, "CLs limit", wanted.level, None, _finite(limit.observed), bands))
    for signal in config.discovery:
        tested = discovery(likelihood, signal.parameter, no_signal=signal.no_signal, **shared)
        found.append(Answer(signal.parameter, "discovery", significance=tested.significance))
    return tuple(found)


def _ends(best: FitResult, answers: Sequence[Answer]) -> NDArray[np.float64]:
    """Return the best fit, and that with a parameter at an end of its intervals: (n, n_par)."""
    points = [best.values]
    for answer in answers:
        for end in (answer.low, answer.high):
            if end is not None:
                points.append(best.values.copy())
                points[-1][best.parameter_names.index(answer.parameter)] = end
    return np.stack(points)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _threshold(asked: IntervalConfig, base: Path) -> Any:
    """Return the threshold of t: a number, or as a function of the parameter what a file says of the level."""
    if not isinstance(asked.threshold, str):
        return asked.threshold
    return NeymanThresholds.from_json(base / asked.threshold, kind=asked.kind, dof=asked.dof).at(asked.level)
