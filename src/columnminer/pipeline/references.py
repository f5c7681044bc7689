"""Whether an analysis file names only what there is: points, observables, parameters, files of thresholds.

What one section says of another is checked with the models of the file; here it is set against set-up and selection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError, did_you_mean
from columnminer.infer.grid import Grid
from columnminer.infer.summary import Summary
from columnminer.model.checks import located

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from columnminer.model.setup import Setup
    from columnminer.pipeline.configuration import AnalysisConfig

__all__ = ["check_references"]


def check_references(config: AnalysisConfig, setup: Setup, observables: tuple[str, ...], base: Path, name: str) -> None:
    """Check what the file says against its set-up and the names of its observables.

    Parameters
    ----------
    config
        What the file says.
    setup, observables
        What it describes.
    base
        Folder that its paths are relative to.
    name
        What messages call the file.

    Raises
    ------
    InputError
        If something that is named is not there; the message begins with the place.
    """
    _check_points(config, setup, name)
    _check_observables(config, observables, name)
    _check_fits(config, setup, base, name)


def _check_points(config: AnalysisConfig, setup: Setup, name: str) -> None:
    points: dict[str, Any] = {f"report.thetas.{k}": v for k, v in config.report.thetas.items()}
    if config.limits is not None:
        points["limits.theta_true"] = config.limits.theta_true
        points["limits.grid"] = {k: v[0] for k, v in config.limits.grid.items()}
        for key, projection in config.limits.projections.items():
            if projection.theta_ref is not None:
                points[f"limits.projections.{key}.theta_ref"] = projection.theta_ref
    if config.information is not None:
        points["information.theta"] = config.information.theta
    for key, fitted in config.fits.items():
        points[f"fits.{key}.theta_true"] = fitted.theta_true
        for i, point in enumerate(fitted.bin_thetas or ()):
            points[f"fits.{key}.bin_thetas[{i}]"] = point
        if fitted.workspace is not None and fitted.workspace.theta is not None:
            points[f"fits.{key}.workspace.theta"] = fitted.workspace.theta
    for where, point in points.items():
        with located(f"{name}: {where}"):
            setup.theta(point)
    if config.limits is not None:
        with located(f"{name}: limits.grid"):
            Grid(list(config.limits.grid.values()))
    if config.information is not None and config.sampling.local is not None:
        trained, wanted = (setup.theta(p) for p in (config.sampling.local.theta, config.information.theta))
        for key in config.information.estimators:
            if config.estimators[key].sampling == "local" and not np.allclose(trained, wanted):
                msg = f"{name}: information.theta: {key!r} knows the score at sampling.local.theta only; give the same"
                raise InputError(msg)


def _check_fits(config: AnalysisConfig, setup: Setup, base: Path, name: str) -> None:
    """Check that fits name parameters that there are, and files of thresholds."""
    for key, fitted in config.fits.items():
        nuisances = setup.nuisance_parameters if fitted.nuisances else ()
        known = [*setup.parameter_names, *(parameter.name for parameter in nuisances)]
        asked = [a.parameter for part in (fitted.intervals, fitted.cls, fitted.discovery) for a in part]
        for parameter in [*asked, *fitted.fixed, *(fitted.start or ())]:
            if parameter not in known:
                msg = f"{name}: fits.{key}: no parameter is called {parameter!r}.{did_you_mean(parameter, known)}"
                raise InputError(msg)
        for interval in fitted.intervals:
            if isinstance(interval.threshold, str) and not (base / interval.threshold).is_file():
                msg = f"{name}: fits.{key}: there is no file of thresholds {str(base / interval.threshold)!r}"
                raise InputError(msg)


def _check_observables(config: AnalysisConfig, known: tuple[str, ...], name: str) -> None:
    formulas: dict[str, str | Sequence[str] | None] = {}
    for section, part in (("limits", config.limits), ("information", config.information)):
        if part is not None:
            formulas[f"{section}.cuts, efficiencies"] = [*part.cuts, *part.efficiencies]
            formulas |= {f"{section}.histograms.{key}": one.observables for key, one in part.histograms.items()}
    for key, fitted in config.fits.items():
        formulas[f"fits.{key}.cuts, efficiencies"] = [*fitted.cuts, *fitted.efficiencies]
        formulas[f"fits.{key}.observables"] = fitted.observables
    for where, given in formulas.items():
        if given:
            with located(f"{name}: {where}"):
                Summary(given, known)
    listed: dict[str, Sequence[str] | None] = {}
    for key, estimator in config.estimators.items():
        listed[f"estimators.{key}.features"] = estimator.features
        members = None if estimator.ensemble is None else estimator.ensemble.members
        for i, member in enumerate(members if isinstance(members, list) else []):
            listed[f"estimators.{key}.ensemble.members[{i}].features"] = member.features
    listed["report.observables"] = config.report.observables
    for where, wanted in listed.items():
        for observable in wanted or ():
            if observable not in known:
                msg = f"{name}: {where}: no observable is called {observable!r}.{did_you_mean(observable, known)}"
                raise InputError(msg)
