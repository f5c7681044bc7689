"""What there is to say about set-ups, stores and results, as tables: for the terminal and for the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.learn.calibration import CalibratedRatio
from columnminer.learn.estimators import trained_members
from columnminer.learn.varied import VariedRatio
from columnminer.observe.cutflow import CutFlow
from columnminer.pipeline.results import profile_intervals
from columnminer.show.report import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from columnminer.documents import Section
    from columnminer.infer.limits import Limits
    from columnminer.learn.estimators import Trained
    from columnminer.learn.information import Information
    from columnminer.learn.verdicts import Check
    from columnminer.model.setup import Setup
    from columnminer.pipeline.fits import Fitted
    from columnminer.pipeline.overview import Overview
    from columnminer.pipeline.results import Agreement
    from columnminer.store.eventstore import EventStore
    from columnminer.store.samplestore import SampleStore
    from columnminer.toys.neyman import NeymanThresholds
    from columnminer.toys.results import PointResult

__all__ = [
    "agreement_table",
    "answer_table",
    "benchmark_table",
    "best_fit_table",
    "calibration_of",
    "campaign_table",
    "check_table",
    "cut_flow_table",
    "estimator_table",
    "fact_table",
    "file_table",
    "fit_table",
    "information_table",
    "interval_table",
    "parameter_table",
    "point_table",
    "sample_table",
    "sampling_table",
    "seed_table",
    "threshold_table",
    "warning_table",
]

_LEVELS = (0.68, 0.95)
_SINGULAR = 1e-10


def _without_empty_columns(table: Table) -> Table:
    """Return a table without the columns in which nothing stands."""
    kept = [i for i in range(len(table.head)) if any(row[i] for row in table.rows)]
    return Table([table.head[i] for i in kept], [[row[i] for i in kept] for row in table.rows], table.caption)


def fact_table(caption: str, facts: Mapping[str, Any]) -> Table:
    """Return facts with their names."""
    return Table(["", ""], [[key, str(value)] for key, value in facts.items()], caption)


def parameter_table(setup: Setup) -> Table:
    """Return the parameters of a set-up."""
    rows = [
        [p.name, p.description, f"{p.nominal:g}", "" if p.bounds is None else f"[{p.bounds[0]:g}, {p.bounds[1]:g}]"]
        for p in (*setup.space, *setup.nuisance_parameters)
    ]
    return Table(["parameter", "description", "nominal", "range"], rows, "Parameters.")


def benchmark_table(setup: Setup) -> Table:
    """Return the benchmarks of a set-up, and which of them are the morphing basis."""
    basis = () if setup.morphing is None else setup.morphing.basis
    rows = [
        [name, *(f"{value:.6g}" for value in point), "yes" if name in basis else ""]
        for name, point in zip(setup.benchmark_names, setup.benchmark_points, strict=True)
    ]
    return Table(["benchmark", *setup.parameter_names, "in the morphing basis"], rows, "Benchmarks.")


def sample_table(store: EventStore) -> Table:
    """Return the samples of a store."""
    rows = [
        [
            sample.name,
            "recorded" if sample.data else "background" if sample.background else sample.benchmark or "",
            f"{sample.n_generated}",
            f"{sample.n_events}",
            "" if sample.cross_section is None else f"{sample.cross_section:.5g}",
        ]
        for sample in store.samples
    ]
    head = ["sample", "generated at", "generated", "selected", "cross section [pb]"]
    return Table(head, rows, "Samples; cross sections are those of all generated events.")


def cut_flow_table(store: EventStore) -> Table | None:
    """Return the cut flow of a store, a column for each sample; None where the store knows none."""
    flows = {name: CutFlow.from_dict(flow) for name, flow in store.cut_flow.items() if flow}
    if not flows:
        return None

    def left(flow: CutFlow, i: int) -> str:
        share = flow.weights[i] / flow.weights[0] if flow.weights[0] else np.nan
        return f"{flow.events[i]} ({share:.1%})" if np.isfinite(share) else f"{flow.events[i]}"

    steps = next(iter(flows.values())).steps
    rows = [[step, *(left(flow, i) for flow in flows.values())] for i, step in enumerate(steps)]
    return Table(["step", *flows], rows, "Cut flow: events left after each step, and their share of the cross section.")


def file_table(store: EventStore) -> Table:
    """Return the files that a store was made from."""
    rows = [[file.name, f"{file.size}", file.sha256] for sample in store.samples for file in sample.files]
    return Table(["file", "bytes", "SHA-256"], rows, "Event files.")


def point_table(overview: Overview, n_events: int) -> Table:
    """Return cross sections and effective numbers of events at the points of an overview of `n_events` events."""
    rows = [
        [
            name,
            f"{value:.5g}",
            f"{overview.error[name]:.2g}",
            f"{overview.n_effective[name]:.0f}",
            f"{overview.n_effective[name] / n_events:.1%}",
            f"{overview.negative[name]:.2%}",
        ]
        for name, value in overview.cross_section.items()
    ]
    caption = "After the selection. As many unweighted events as are effective would have the same relative error."
    head = ["parameter point", "cross section [pb]", "error [pb]", "effective events", "of all", "negative weights"]
    return Table(head, rows, caption + " Negative weights: their share of the sum of absolute weights.")


def sampling_table(samplings: Mapping[str, SampleStore]) -> Table:
    """Return what was drawn to train on, and how many effective events were behind its parameter points."""
    rows = []
    for name, samples in samplings.items():
        n_eff = np.sort(samples["n_eff"][:])
        least, middle, most = (f"{n_eff[i]:.0f}" for i in (0, len(n_eff) // 2, -1))
        negative = f"{np.mean(samples['weights'][:] < 0):.2%}" if "weights" in samples else ""
        drawn_from = str(samples.attributes["partition"])
        rows.append([name, f"{len(samples)}", drawn_from, f"{len(n_eff)}", least, middle, most, negative])
    head = ["sampling", "events", "drawn from", "points", "effective events, least", "median", "most"]
    caption = "Training events, and the effective number of events behind each parameter point that they are drawn at."
    return _without_empty_columns(Table([*head, "drawn with negative sign"], rows, caption))


def estimator_table(estimators: Mapping[str, Trained]) -> Table:
    """Return what was trained, and how it fared."""
    rows = []
    for name, estimator in estimators.items():
        members = trained_members(estimator)
        first = members[0]
        losses = [m.history.validation_loss.min() for m in members if len(m.history.validation_loss)]
        seconds = {m.architecture: m.history.seconds for m in members}  # those of one are trained together
        failed = sum(not check.passed for check in estimator.checks)
        verdict = f"{failed} FAILED of {len(estimator.checks)}" if failed else f"all {len(estimator.checks)} passed"
        rows.append(
            [
                name,
                type(first).__name__,
                str(first.fitted.training["method"]),
                f"{len(members)}",
                ", ".join(estimator.feature_names),
                f"{sum(seconds.values()):.1f}",
                f"{np.mean(losses):.5g}" if losses else "",
                calibration_of(estimator),
                verdict if estimator.checks else "none made",
            ]
        )
    head = ["estimator", "kind", "method", "members", "features", "training [s]", "best validation loss"]
    caption = "Estimators; the loss of an ensemble is the mean of its members."
    return _without_empty_columns(Table([*head, "calibration", "checks"], rows, caption))


def calibration_of(estimator: Any) -> str:
    """Say how an estimator is calibrated, or the one that variations were added to; nothing if it is not."""
    if isinstance(estimator, VariedRatio):
        return calibration_of(estimator.estimator)
    if not isinstance(estimator, CalibratedRatio):
        return ""
    curve = "" if estimator.curve is None else f"curve with {len(estimator.curve.x)} knots, "
    return f"{curve}normalised on {len(estimator.events)} events"


def warning_table(warnings: Mapping[str, Sequence[str]]) -> Table:
    """Return what was warned of, by stage."""
    rows = [[stage, message] for stage, messages in warnings.items() for message in messages]
    return Table(["stage", "warning"], rows, "What was warned of when the results were made.")


def interval_table(limits: Mapping[str, Limits], caption: str) -> Table:
    """Return the intervals of each parameter at 68 % and 95 %, by analysis."""
    intervals = {name: profile_intervals(result, _LEVELS) for name, result in limits.items()}
    rows = []
    for parameter in next(iter(limits.values())).parameter_names:
        for name, found in intervals.items():
            own = [interval for interval in found if interval.parameter == parameter]
            rows.append([parameter, name, f"{own[0].best_fit:.3g}", *(str(interval) for interval in own)])
    return Table(["parameter", "analysis", "best fit", *(f"{level:.0%} CL" for level in _LEVELS)], rows, caption)


def fit_table(fits: Mapping[str, Fitted], caption: str) -> Table:
    """Return the best fits, parameter by parameter."""
    rows = [
        [
            name,
            parameter,
            f"{value:.4g}",
            "" if (error := fitted.errors[parameter]) is None else f"{error:.3g}",
            "yes" if fitted.valid else "NO",
        ]
        for name, fitted in fits.items()
        for parameter, value in fitted.values.items()
    ]
    return Table(["fit", "parameter", "best fit", "standard error", "converged"], rows, caption)


def answer_table(fits: Mapping[str, Fitted], caption: str) -> Table:
    """Return what was asked of the likelihoods of fits, and the answers."""

    def end(value: float | None, open_end: str) -> str:
        return open_end if value is None else f"{value:.4g}"

    rows = []
    for name, fitted in fits.items():
        for answer in fitted.answers:
            expected = ""
            if answer.significance is not None:
                found = f"{answer.significance:.3g} standard deviations"
            elif answer.note == "empty":
                found = "empty"
            else:
                found = f"[{end(answer.low, '-inf')}, {end(answer.high, 'inf')}]"
                found += f" ({answer.note})" if answer.note else ""
            if answer.expected:
                low, middle, high = (end(answer.expected[i], "inf") for i in (1, 2, 3))
                expected = f"{middle} [{low}, {high}]"
            level = "" if answer.level is None else f"{answer.level:.4g}"
            rows.append([name, answer.parameter, answer.question, level, found, expected])
    head = ["fit", "parameter", "question", "CL", "answer", "expected without a signal (68 %)"]
    return _without_empty_columns(Table(head, rows, caption))


def best_fit_table(limits: Mapping[str, Limits], caption: str, truth: NDArray[np.float64] | None = None) -> Table:
    """Return the best fits on the grid, all parameters together, and how likely the point next to the truth is."""
    names = next(iter(limits.values())).parameter_names
    rows = []
    for name, result in limits.items():
        best = [f"{value:.4g}" for value in result.best_fit]
        p = "" if truth is None else f"{result.p_value[np.abs(result.theta - truth).sum(axis=1).argmin()]:.3g}"
        rows.append([name, *best, f"{result.dof}", p])
    head = ["analysis", *names, "degrees of freedom", "p value next to the truth"]
    return _without_empty_columns(Table(head, rows, caption))


def seed_table(config: Section) -> Table:
    """Return the seeds of random numbers: that of all, and those that parts of the analysis have for themselves."""
    rows = [[place, f"{seed}"] for place, seed in _seeds(config.given(), "")]
    return Table(["of", "seed"], [["all that has none of its own", f"{getattr(config, 'seed', 0)}"], *rows], "Seeds.")


def _seeds(said: Any, place: str) -> Iterator[tuple[str, int]]:
    for key, value in said.items() if isinstance(said, dict) else ():
        if key == "seed" and place and value is not None:
            yield place, value
        else:
            yield from _seeds(value, f"{place}.{key}" if place else str(key))


def agreement_table(agreements: Mapping[str, Agreement]) -> Table:
    """Return how estimators compare with the exact likelihood."""
    rows = [
        [name, result.quantity, f"{result.rms:.4f}", f"{np.std(result.exact):.4f}", f"{result.correlation:.5f}"]
        for name, result in agreements.items()
    ]
    head = ["estimator", "quantity", "RMS of estimate - exact", "standard deviation of exact", "correlation"]
    return Table(head, rows, "Estimates beside exact values, on test events.")


def check_table(checks: Mapping[str, Sequence[Check]]) -> Table:
    """Return the checks of estimators on events that they were not trained on, with their verdicts."""
    rows = [
        [
            name,
            check.name,
            f"{check.deviation:+.4f}",
            f"{check.error:.4f}",
            f"{check.mark:.4f}",
            "passed" if check.passed else "FAILED",
        ]
        for name, made in checks.items()
        for check in made
    ]
    head = ["estimator", "check", "deviation", "error", "allowed", "verdict"]
    return Table(head, rows, "Checks of the estimators, on events that they did not learn from.")


def information_table(information: Mapping[str, Information]) -> Table:
    """Return the errors that each Fisher information promises, the other parameters known or fitted."""
    names = next(iter(information.values())).parameter_names
    rows = []
    for name, result in information.items():
        matrix = np.asarray(result.information)
        values = np.linalg.eigvalsh(matrix)
        known = 1.0 / np.sqrt(np.diag(matrix))
        closed = values[0] > _SINGULAR * values[-1]
        fitted = np.sqrt(np.diag(np.linalg.inv(matrix))) if closed else np.full(len(names), np.inf)
        rows += [
            [parameter, name, f"{alone:.4g}", f"{together:.4g}" if np.isfinite(together) else "not constrained"]
            for parameter, alone, together in zip(names, known, fitted, strict=True)
        ]
    rows.sort(key=lambda row: names.index(row[0]))
    head = ["parameter", "analysis", "error, others known", "error, others fitted"]
    return Table(head, rows, "Standard errors that the Fisher information promises.")


def campaign_table(results: Iterable[PointResult]) -> Table:
    """Return the points of a campaign of toys, and how its fits fared."""
    rows = []
    for point in results:
        truth = ", ".join(f"{name} = {value:.6g}" for name, value in {**point.nominal, **point.generate}.items())
        expectation = "" if point.poi_expectation is None else f"{point.poi_expectation:.5g}"
        valid = [f"{name} {fits.valid.mean():.2%}" for name, fits in point.fits.items()]
        best = f"{np.median(point.values(point.poi)):.5g}" if "free" in point.fits else ""
        found = np.empty((0, 2)) if point.intervals is None else point.intervals
        found = found[~np.isnan(found).any(axis=1)]
        ends = np.median(found, axis=0).tolist() if len(found) else []
        interval = f"[{ends[0]:.5g}, {ends[1]:.5g}]" if ends else "" if point.intervals is None else "all are empty"
        rows.append([truth, expectation, f"{len(point)}", ", ".join(valid), best, interval])
    head = ["truth", "expected events", "toys", "fits that converged", "median best fit", "median interval"]
    return Table(head, rows, "Toys; best fits and confidence intervals are those of the parameter of interest.")


def threshold_table(thresholds: NeymanThresholds) -> Table:
    """Return thresholds of t by confidence level, with their standard errors and numbers of toys."""
    rows = [
        [
            ", ".join(f"{name} = {value:.6g}" for name, value in (*curve.conditions.items(), (thresholds.name, at))),
            f"{curve.toys[i] or 'unknown'}",
            *(
                f"{t:.4g}" if np.isnan(e) else f"{t:.4g} ± {e:.2g}"
                for t, e in zip(curve.thresholds[:, i], curve.errors[:, i], strict=True)
            ),
        ]
        for curve in thresholds.curves
        for i, at in enumerate(curve.values.tolist())
    ]
    head = ["truth", "toys", *(f"{level:.4g}" for level in thresholds.levels)]
    return Table(head, rows, f"Thresholds of t, for {thresholds.kind} intervals.")
