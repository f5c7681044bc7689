"""From what an analysis file says to the objects that it means, checked against each other.

Nothing heavy happens here: a name that nothing has is found in a second, and not after hours of work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError, did_you_mean
from columnminer.formats.pythia_card import setting_lines
from columnminer.generate.drellyan import DrellYan
from columnminer.generate.pythia import require_pythia
from columnminer.model.checks import located
from columnminer.model.parameters import Parameter, ParameterSpace
from columnminer.model.priors import fixed_points, flat_prior, gaussian_prior, product_prior
from columnminer.model.setup import Setup
from columnminer.model.systematics import systematic_from_dict
from columnminer.observe.clustering import Jets
from columnminer.observe.detector import Detector
from columnminer.observe.isolation import Isolation
from columnminer.observe.observables import Cut, DefaultObservables, Efficiency, Observable
from columnminer.observe.selection import Selection
from columnminer.pipeline.event_configuration import IsolationConfig
from columnminer.pipeline.learning_configuration import NuisanceConfig, PriorConfig, RatioConfig, SamplingConfig
from columnminer.pipeline.references import check_references
from columnminer.store.samples import Sample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from columnminer.model.priors import Prior
    from columnminer.pipeline.configuration import AnalysisConfig
    from columnminer.pipeline.event_configuration import (
        DetectorConfig,
        DrellYanConfig,
        SampleConfig,
        SelectionConfig,
        SetupConfig,
        ShowerConfig,
    )

__all__ = ["POINTS", "Ingredients", "build_ingredients"]

POINTS = ("theta0", "theta1", "theta", "additional", "nu0", "nu1", "nu", "nu_additional")
"""Keys of a sampling that name parameter points."""


@dataclass(frozen=True)
class Ingredients:
    """What an analysis is made of.

    Attributes
    ----------
    setup : Setup
        Parameters, benchmarks, morphing.
    selection : Selection
        Observables and cuts.
    variations : mapping
        Nuisance parameter -> selections of the same events when it is up, and down.
    samples, data : tuple of Sample
        Simulated and recorded event files.
    generator : DrellYan or None
        Makes events.
    shower : tuple of str or None
        Settings of Pythia for these events, if they are showered.
    exact : DrellYan or None
        Knows their exact likelihood, if all of them are the generator's, observed as it says.
    points : mapping
        Section of the sampling -> what its function takes for parameter points: theta0, theta1, nu, ..., by name.
    base : Path
        Folder that paths in the file are relative to.
    """

    setup: Setup
    selection: Selection
    variations: Mapping[str, tuple[Selection, ...]]
    samples: tuple[Sample, ...]
    data: tuple[Sample, ...]
    generator: DrellYan | None
    shower: tuple[str, ...] | None
    exact: DrellYan | None
    points: Mapping[str, Mapping[str, Any]]
    base: Path


def build_ingredients(config: AnalysisConfig, base: Path, name: str) -> Ingredients:
    """Return what the file describes.

    Parameters
    ----------
    config
        What the file says.
    base
        Folder that its paths are relative to.
    name
        What messages call the file.

    Raises
    ------
    InputError
        If something is not right, or nothing is called by a name; the message begins with the place.
    """
    generator = None
    if config.generate is not None:
        with located(f"{name}: generate.drellyan"):
            generator = _generator(config.generate.drellyan)
    with located(f"{name}: setup"):
        setup = generator.setup() if generator is not None else _setup(config, base)
    with located(f"{name}: selection"):
        selection = _generator_selection(generator) if config.selection is None else _selection(config.selection, base)
    variations = {}
    for nuisance, varied in config.process.variations.items():
        with located(f"{name}: process.variations.{nuisance}"):
            sides = [varied.up] if varied.down is None else [varied.up, varied.down]
            variations[nuisance] = tuple(_selection(side, base) for side in sides)
    shower = None
    if config.generate is not None:
        with located(f"{name}: generate.shower"):
            shower = _shower(config.generate.shower, base)
    samples: list[Sample] = []
    names = [] if config.generate is None else list(config.generate.drellyan.events)
    for i, entry in enumerate(config.samples):
        with located(f"{name}: samples[{i}]"):
            samples.append(_sample(entry, base))
            if entry.benchmark is not None:
                setup.theta(entry.benchmark)
            if samples[-1].name in names:
                msg = f"another sample is called {samples[-1].name!r}: list their files in one, or give this one a name"
                raise InputError(msg)
            names.append(str(samples[-1].name))
    points = {
        section: _drawn_points(draws, setup, f"{name}: sampling.{section}")
        for section in SamplingConfig.model_fields
        if (draws := getattr(config.sampling, section)) is not None
    }
    for key, estimator in config.estimators.items():
        if estimator.estimator_kind in {"quadratic", "morphing"} and setup.morphing is None:
            msg = f"{name}: estimators.{key}.kind: {estimator.estimator_kind!r} needs a set-up with morphing"
            raise InputError(msg)
    check_references(config, setup, selection.observable_names, base, name)
    return Ingredients(
        setup=setup,
        selection=selection,
        variations=variations,
        samples=tuple(s for s in samples if not s.data),
        data=tuple(s for s in samples if s.data),
        generator=generator,
        shower=shower,
        exact=None if config.selection is not None or samples or shower is not None else generator,
        points=points,
        base=base,
    )


def _generator(config: DrellYanConfig) -> DrellYan:
    generator = DrellYan(**config.given(without=("events", "seed")))
    for benchmark in config.events:
        generator.setup().theta(benchmark)
    return generator


def _setup(config: AnalysisConfig, base: Path) -> Setup:
    described = config.setup
    if isinstance(described, str):
        path = base / described
        if not path.is_file():
            msg = f"there is no file {str(path)!r}"
            raise InputError(msg)
        return Setup.load(path)
    return Setup([]) if described is None else _described_setup(described, config.seed)


def _described_setup(config: SetupConfig, seed: int) -> Setup:
    space = ParameterSpace([Parameter(name, **p.given()) for name, p in config.parameters.items()])
    systematics = [
        systematic_from_dict({"name": name, **options.given()}, f"systematics.{name}")
        for name, options in config.systematics.items()
    ]
    setup = Setup(space, config.benchmarks, systematics)
    if config.morphing is not None:
        setup = setup.with_morphing(**{"seed": seed, **config.morphing.given()})
    if config.finite_differences is not None:
        setup = setup.with_finite_differences(**config.finite_differences.given())
    return setup


def _selection(config: SelectionConfig, base: Path) -> Selection:
    default = config.default_observables
    if isinstance(default, bool):
        defaults = DefaultObservables() if default else None
    else:
        defaults = DefaultObservables(**default.given())
    return Selection(
        {k: o if isinstance(o, str) else Observable(**o.given()) for k, o in config.observables.items()},
        cuts=[c if isinstance(c, str) else Cut(**c.given()) for c in config.cuts],
        efficiencies=[e if isinstance(e, str) else Efficiency(**e.given()) for e in config.efficiencies],
        detector=None if config.detector is None else _detector(config.detector, base),
        default_observables=defaults,
        required=config.required,
        defaults=config.defaults,
        jets=None if config.jets is None else Jets(**config.jets.given()),
        isolation=_isolation(config.isolation),
    )


def _detector(config: DetectorConfig, base: Path) -> Detector:
    """Return the detector; files of its maps are named as those of samples."""

    def found(given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {k: str(base / v) if k == "file" and isinstance(v, str) else found(v) for k, v in given.items()}

    given = config.given()
    return Detector.from_dict({**given, **{k: found(given[k]) for k in ("efficiencies", "tags") if k in given}})


def _isolation(
    config: IsolationConfig | Mapping[Any, IsolationConfig] | None,
) -> Isolation | dict[str, Isolation] | None:
    if config is None:
        return None
    if isinstance(config, IsolationConfig):
        return Isolation(**config.given())
    return {name: Isolation(**one.given()) for name, one in config.items()}


def _generator_selection(generator: DrellYan | None) -> Selection:
    """Return the generator's own observables, smeared as its exact likelihood knows it."""
    if generator is None:
        msg = "observables are needed"
        raise InputError(msg)
    resolutions = {whom: {"energy": None, "pt": (0.0, width)} for whom, width in generator.smearing.items()}
    detector = Detector.from_dict({"resolutions": resolutions}) if resolutions else None
    return Selection(
        {name: Observable(text, required=True) for name, text in generator.observables.items()}, detector=detector
    )


def _sample(config: SampleConfig, base: Path) -> Sample:
    given = config.given(without=("path", "weights_from", "shower"))
    shower = _shower(config.shower, base)
    return Sample(_paths(config.path, base), **given, weights_from=_paths(config.weights_from, base), shower=shower)


def _shower(config: ShowerConfig | None, base: Path) -> tuple[str, ...] | None:
    """Return settings of Pythia, line by line."""
    if config is None:
        return None
    require_pythia()
    if isinstance(config, str):
        path = base / config
        if not path.is_file():
            msg = f"there is no file {str(path)!r}"
            raise InputError(msg)
        return setting_lines(path.read_text(encoding="utf-8"))
    return setting_lines(config)


def _paths(given: str | Sequence[str], base: Path) -> list[Path]:
    """Return the files that are meant, which wildcards may stand for."""
    paths: list[Path] = []
    for text in [given] if isinstance(given, str) else given:
        pattern = base / text  # an absolute path stays what it is
        found = [pattern] if pattern.is_file() else sorted(pattern.parent.glob(pattern.name))
        if not found:
            msg = f"there is no file {str(pattern)!r}"
            raise InputError(msg)
        paths += found
    return paths


def _prior(config: PriorConfig, setup: Setup) -> Prior:
    if config.points is not None:
        return fixed_points(setup.thetas(config.points))
    pairs = config.flat or config.gaussian or {}
    first, second = (setup.space.array({name: pair[i] for name, pair in pairs.items()}) for i in (0, 1))
    if config.gaussian is not None:
        return gaussian_prior(first, second)
    return flat_prior(np.stack([first, second], axis=1))


def _drawn_points(draws: Any, setup: Setup, where: str) -> dict[str, Any]:
    """Return the points that a section of the sampling names, as its function takes them."""
    points: dict[str, Any] = {}
    for key in POINTS:
        given = getattr(draws, key, None)
        with located(f"{where}.{key}"):
            if isinstance(given, PriorConfig) and given.points is not None and len(given.points) == 1:
                points[key] = setup.theta(given.points[0]).tolist()  # to a fixed point there may be many random nu
            elif isinstance(given, PriorConfig):
                points[key] = _prior(given, setup)
            elif isinstance(given, NuisanceConfig):
                points[key] = _nuisance_prior(given, setup)
            elif given is not None:
                points[key] = setup.theta(given).tolist()
    if isinstance(draws, RatioConfig):
        points.setdefault("theta1", setup.theta(setup.reference).tolist())
    if getattr(draws, "nuisance_score", None) is True and not setup.nuisance_parameters:
        msg = f"{where}.nuisance_score: the set-up has no systematics, and so no nuisance parameters"
        raise InputError(msg)
    return points


def _nuisance_prior(config: NuisanceConfig, setup: Setup) -> Prior:
    names = [parameter.name for parameter in setup.nuisance_parameters]
    named = {*(config.flat or ()), *(config.gaussian or ()), *(name for point in config.points or () for name in point)}
    for name in sorted(named):
        if name not in names:
            msg = f"no nuisance parameter is called {name!r}.{did_you_mean(name, names)}"
            raise InputError(msg)
    if not names:
        msg = "the set-up has no systematics, and so no nuisance parameters"
        raise InputError(msg)
    if config.points is not None:
        return fixed_points([[point.get(name, 0.0) for name in names] for point in config.points])
    nominal = fixed_points([0.0])
    if config.gaussian is not None:
        drawn: dict[str, Prior] = {name: gaussian_prior(*pair) for name, pair in config.gaussian.items()}
    else:
        drawn = {name: flat_prior(pair) for name, pair in (config.flat or {}).items()}
    return product_prior(*(drawn.get(name, nominal) for name in names))
