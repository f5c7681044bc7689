"""The results of an analysis, read back from its stages, as tables for people and as a report."""

from __future__ import annotations

import contextlib
import platform
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import yaml

from columnminer.errors import MissingError
from columnminer.learn.estimators import load_estimator, trained_members
from columnminer.model.setup import Setup
from columnminer.pipeline import steps
from columnminer.pipeline.fits import load_fit
from columnminer.pipeline.overview import load_overview
from columnminer.pipeline.results import load_agreement, load_information, load_limits, load_spread
from columnminer.pipeline.stages import Workspace
from columnminer.pipeline.tables import (
    agreement_table,
    answer_table,
    benchmark_table,
    best_fit_table,
    check_table,
    cut_flow_table,
    estimator_table,
    fact_table,
    file_table,
    fit_table,
    information_table,
    interval_table,
    parameter_table,
    point_table,
    sample_table,
    sampling_table,
    seed_table,
    warning_table,
)
from columnminer.show.checks import plot_checks
from columnminer.show.distributions import plot_distribution
from columnminer.show.fisher import plot_information
from columnminer.show.learning import plot_agreement, plot_learning, plot_members, plot_spread
from columnminer.show.limits import plot_limits
from columnminer.show.morphing import plot_morphing_basis
from columnminer.show.report import Listing, Paragraph, Picture, Section, Table, write_report
from columnminer.store.eventstore import EventStore
from columnminer.store.samplestore import SampleStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from columnminer.infer.limits import Limits
    from columnminer.learn.estimators import Trained
    from columnminer.learn.information import Information
    from columnminer.learn.verdicts import Check
    from columnminer.pipeline.configuration import AnalysisConfig
    from columnminer.pipeline.fits import Fitted
    from columnminer.pipeline.overview import Overview
    from columnminer.pipeline.results import Agreement, Spread
    from columnminer.show.report import Item

__all__ = ["Results", "load_results", "report", "result_tables"]

T = TypeVar("T")

_INVERSE_PB = "pb\N{SUPERSCRIPT MINUS}\N{SUPERSCRIPT ONE}"

_PACKAGES = (
    *("columnminer", "numpy", "scipy", "awkward", "vector", "numba", "zarr", "uproot", "torch", "iminuit", "dask"),
    *("pyhf", "matplotlib", "mplhep", "pythia8mc", "fastjet", "correctionlib", "coffea"),
)


@dataclass(frozen=True)
class Results:
    """What the stages of an analysis found.

    Attributes
    ----------
    setup : Setup
        Parameters, benchmarks, morphing.
    store : EventStore
        The simulated events.
    observed : EventStore or None
        The recorded events, if there are some and they may be looked at.
    overview : Overview
        Cross sections, effective sample sizes, distributions.
    samplings : dict
        Name of a sampling -> the events that were drawn.
    estimators : dict
        Name -> estimator, ensemble or calibrated estimator, with the history of its training and its checks.
    spreads : dict
        Name of an ensemble -> how much its members differ.
    agreements : dict
        Name of an estimator -> how it compares with the exact likelihood.
    limits, observed_limits : dict
        Name of an analysis -> its limits.
    information : dict
        Name of an analysis -> its Fisher information.
    fits, observed_fits : dict
        Name of a fit -> what it found in Asimov data, and in recorded events.
    warnings : dict
        Name of a stage -> what was warned of when it was made.
    """

    setup: Setup
    store: EventStore
    observed: EventStore | None
    overview: Overview
    samplings: dict[str, SampleStore]
    estimators: dict[str, Trained]
    spreads: dict[str, Spread]
    agreements: dict[str, Agreement]
    limits: dict[str, Limits]
    observed_limits: dict[str, Limits]
    information: dict[str, Information]
    fits: dict[str, Fitted]
    observed_fits: dict[str, Fitted]
    warnings: dict[str, tuple[str, ...]]

    @property
    def checks(self) -> dict[str, tuple[Check, ...]]:
        """Name of an estimator -> what its checks found."""
        return {name: estimator.checks for name, estimator in self.estimators.items()}


def load_results(folder: Path, stages: Sequence[str]) -> Results:
    """Read the results of the named stages of a workspace."""

    def read(kind: str, reader: Callable[[Path], T]) -> dict[str, T]:
        names = [stage for stage in stages if stage.startswith(f"{kind}/")]
        return {name.partition("/")[2]: reader(folder / name) for name in names}

    spreads = read("estimators", load_spread)
    warned = {stage: Workspace(folder).warnings(stage) for stage in stages}
    return Results(
        setup=Setup.load(folder / "setup" / "setup.json"),
        store=EventStore(folder / "events" / steps.STORE),
        observed=EventStore(folder / "observed" / steps.STORE) if "observed" in stages else None,
        overview=load_overview(folder / "overview"),
        samplings=read("sampling", lambda f: SampleStore(f / steps.SAMPLES)),
        estimators=read("estimators", lambda f: load_estimator(f / steps.ESTIMATOR)),
        spreads={name: spread for name, spread in spreads.items() if spread is not None},
        agreements=read("agreement", load_agreement),
        limits=read("limits", load_limits),
        observed_limits=read("observed_limits", load_limits),
        information=read("information", load_information),
        fits=read("fits", load_fit),
        observed_fits=read("observed_fits", load_fit),
        warnings={stage: said for stage, said in warned.items() if said},
    )


def result_tables(found: Results) -> list[Table]:
    """Return the results in short: intervals, and how estimates compare with exact values."""
    tables = []
    if found.observed_limits:
        tables.append(interval_table(found.observed_limits, "Observed intervals, other parameters profiled."))
    if found.limits:
        tables.append(interval_table(found.limits, "Expected intervals, other parameters profiled."))
    for kind, fits in (("the data", found.observed_fits), ("Asimov data", found.fits)):
        if fits:
            tables.append(fit_table(fits, f"Best fits to {kind}."))
        if any(fitted.answers for fitted in fits.values()):
            tables.append(answer_table(fits, f"Intervals, limits and significances from {kind}."))
    if found.information:
        tables.append(information_table(found.information))
    if found.agreements:
        tables.append(agreement_table(found.agreements))
    return tables


def report(folder: Path, results: Callable[[], Results], title: str, config: AnalysisConfig) -> None:
    """Write ``report.html``."""
    found = results()
    sections = [
        Section("Results", [_in_short(found, config), *result_tables(found)]),
        *([Section("Warnings", [warning_table(found.warnings)])] if found.warnings else []),
        _setup(found),
        _events(found, config),
        *([_training(found)] if found.samplings else []),
        *([_limits(found, config)] if found.limits else []),
        *([_information(found, config)] if found.information else []),
        _provenance(found, config),
    ]
    write_report(folder / "report.html", title, sections, footer=f"Written by columnminer {version('columnminer')}.")


def _in_short(found: Results, config: AnalysisConfig) -> Paragraph:
    """Say in a few sentences what there is, and what to look at first."""
    generated = sum(sample.n_generated for sample in found.store.samples)
    said = [f"{len(found.store):,} of {generated:,} simulated events were selected."]
    if found.observed is not None:
        said.append(f"{len(found.observed):,} recorded events were selected.")
    if config.report.blind:
        said.append("Blinded: recorded events were not looked at.")
    checks = [check for made in found.checks.values() for check in made]
    if checks:
        failed = [name for name, made in found.checks.items() if not all(check.passed for check in made)]
        said.append(f"{sum(check.passed for check in checks)} of {len(checks)} checks of estimators passed.")
        if failed:
            said.append(f"Do not trust {' and '.join(failed)} before you know why.")
    return Paragraph(" ".join(said))


def _setup(found: Results) -> Section:
    setup = found.setup
    items: list[Item] = [parameter_table(setup), benchmark_table(setup)]
    if setup.morphing is not None and np.isfinite(setup.space.bounds).all():
        caption = (
            "Sum of the squared morphing weights: where it is large, interpolated cross sections are small differences "
            "of large numbers. Filled points are the basis."
        )
        items.append(Picture(plot_morphing_basis(setup), caption))
    return Section("Set-up", items)


def _events(found: Results, config: AnalysisConfig) -> Section:
    store, overview = found.store, found.overview
    flow = cut_flow_table(store)
    items: list[Item] = [sample_table(store), *([flow] if flow else []), point_table(overview, len(store))]
    for name, histograms in overview.distributions.items():
        label, unit = _label(name, config)
        items.append(Picture(plot_distribution(histograms, label=label, unit=unit), f"Distribution of {name}."))
    if found.observed is not None:
        flow = cut_flow_table(found.observed)
        items += [Paragraph("Recorded events:"), sample_table(found.observed), *([flow] if flow else [])]
    return Section("Events", items)


def _training(found: Results) -> Section:
    items: list[Item] = [sampling_table(found.samplings)]
    if found.estimators:
        items.append(estimator_table(found.estimators))
    for name, estimator in found.estimators.items():
        histories = [member.history for member in trained_members(estimator)]
        if len(histories) > 1:
            caption = (
                f"Training of {name}: loss on validation events of its {len(histories)} members, each on its own. "
            )
            items.append(Picture(plot_members(histories), f"{caption}Points: the epochs that were kept."))
        else:
            caption = f"Training of {name}: loss by epoch; epoch {histories[0].best_epoch + 1} was kept."
            items.append(Picture(plot_learning(histories[0]), caption))
    for name, spread in found.spreads.items():
        note = f"RMS spread {spread.rms:.3g}\nRMS estimate {np.sqrt(np.mean(spread.estimate**2)):.3g}"
        caption = f"{name}: how much its members differ from event to event, on events of the checks."
        picture = plot_spread(spread.estimate, spread.spread, quantity=spread.quantity, note=note)
        items.append(Picture(picture, caption))
    if any(found.checks.values()):
        items.append(check_table(found.checks))
    items += [
        Picture(plot_checks(checks), f"Checks of {name}: what was found beside what is expected.")
        for name, checks in found.checks.items()
        if checks
    ]
    for name, result in found.agreements.items():
        note = f"RMS {result.rms:.3g}\ncorrelation {result.correlation:.4f}"
        items.append(
            Picture(
                plot_agreement(result.exact, result.estimated, quantity=result.quantity, note=note),
                f"{name}: estimated against exact {result.quantity}, on test events.",
            )
        )
    return Section("Estimators", items)


def _limits(found: Results, config: AnalysisConfig) -> Section:
    if config.limits is None:
        return Section("Limits", [])
    text = f"{config.limits.luminosity:g} {_INVERSE_PB}"
    text += ", number of events included." if config.limits.include_rate else ", shapes only (but for the rate)."
    items: list[Item] = []
    for kind, limits in (("Observed", found.observed_limits), ("Expected", found.limits)):
        if not limits:
            continue
        names = next(iter(limits.values())).parameter_names
        truth = found.setup.theta(config.limits.theta_true) if kind == "Expected" else None
        items.append(best_fit_table(limits, f"{kind} limits: best fits on the grid, all parameters together.", truth))
        if len(names) <= 2:
            labels = [_axis_label(name, config) for name in names]
            items.append(
                Picture(
                    plot_limits(limits, truth=truth, labels=labels),
                    f"{kind} limits with {text} Markers: best fits on the grid.",
                )
            )
    return Section("Limits", items)


def _information(found: Results, config: AnalysisConfig) -> Section:
    items: list[Item] = []
    shown = found.setup.parameter_names[:2]
    if len(shown) == 2 and config.information is not None:
        drawn = {}
        for name, result in found.information.items():
            with contextlib.suppress(MissingError):  # nothing is known of the others: there is no contour
                drawn[name] = result.profile(shown)
        centre = found.setup.theta(config.information.theta)[:2]
        labels = [_axis_label(name, config) for name in shown]
        caption = f"Contours from the Fisher information with {config.information.luminosity:g} {_INVERSE_PB}."
        items.append(Picture(plot_information(drawn, centre=centre, labels=labels), caption))
    return Section("Information", items)


def _provenance(found: Results, config: AnalysisConfig) -> Section:
    versions = [["Python", platform.python_version()]]
    for package in _PACKAGES:
        try:
            versions.append([package, version(package)])
        except PackageNotFoundError:
            continue
    return Section(
        "Provenance",
        [
            file_table(found.store),
            seed_table(config),
            fact_table("Content hashes.", {"set-up": found.setup.hash, "events": found.store.hash}),
            Table(["package", "version"], versions, "Versions."),
            Listing(yaml.safe_dump(_plain(config.given()), sort_keys=False, allow_unicode=True), "The analysis file."),
        ],
    )


def _plain(value: Any) -> Any:
    """Return what YAML can write: lists in the place of tuples."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _label(name: str, config: AnalysisConfig) -> tuple[str, str]:
    """Return what a quantity is called, and its unit: a label ends in the unit in brackets."""
    text = config.report.labels.get(name, name)
    match = re.fullmatch(r"(.*\S)\s*\[([^\]]*)\]", text)
    return (match[1], match[2]) if match else (text, "")


def _axis_label(name: str, config: AnalysisConfig) -> str:
    label, unit = _label(name, config)
    return f"{label} [{unit}]" if unit else label
