"""From what an analysis file says to the objects that it means. Nothing heavy happens here: mistakes come to light early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError
from columnminer.generate.drellyan import DrellYan
from columnminer.model.parameters import Parameter, ParameterSpace
from columnminer.model.priors import fixed_points, flat_prior, gaussian_prior
from columnminer.model.setup import Setup
from columnminer.model.systematics import systematic_from_dict
from columnminer.store.samples import Sample

if TYPE_CHECKING:
    from pathlib import Path

    from columnminer.pipeline.configuration import DrellYanConfig, PriorConfig, SampleConfig, SetupConfig

__all__ = ["build_generator", "build_prior", "build_sample", "build_setup"]


def build_generator(config: DrellYanConfig) -> DrellYan:
    """Return the built-in generator with the options of the file."""
    options = config.given(without=("events", "seed"))
    return DrellYan(**options)


def build_setup(config: SetupConfig, seed: int) -> Setup:
    """Return the set-up that the file describes; a basis that is searched for takes its randomness from `seed`."""
    space = ParameterSpace([Parameter(name, **p.given()) for name, p in config.parameters.items()])
    systematics = [
        systematic_from_dict({"name": name, **options}, f"setup.systematics.{name}")
        for name, options in config.systematics.items()
    ]
    setup = Setup(space, config.benchmarks, systematics)
    if config.morphing is not None:
        setup = setup.with_morphing(**{"seed": seed, **config.morphing.given()})
    if config.finite_differences is not None:
        setup = setup.with_finite_differences(**config.finite_differences.given())
    return setup


def build_sample(config: SampleConfig, base: Path, where: str) -> Sample:
    """Return the sample with its files found; wildcards stand for all files that fit, in the order of their names.

    Raises
    ------
    InputError
        If no file fits.
    """
    paths: list[Path] = []
    for text in [config.path] if isinstance(config.path, str) else config.path:
        pattern = base / text  # an absolute path stays what it is
        found = [pattern] if pattern.is_file() else sorted(pattern.parent.glob(pattern.name))
        if not found:
            msg = f"{where}.path: there is no file {str(pattern)!r}"
            raise InputError(msg)
        paths += found
    return Sample(paths, **config.given(without=("path",)))


def build_prior(config: PriorConfig, setup: Setup) -> Any:
    """Return the distribution that parameter points are drawn from.

    Raises
    ------
    InputError, UnknownNameError
        If it does not name exactly the parameters of the set-up.
    """
    if config.points is not None:
        return fixed_points(setup.thetas(config.points))
    pairs = config.flat or config.gaussian or {}
    first, second = (setup.space.array({name: pair[i] for name, pair in pairs.items()}) for i in (0, 1))
    if config.gaussian is not None:
        return gaussian_prior(first, second)
    return flat_prior(np.stack([first, second], axis=1))
