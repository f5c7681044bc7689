"""A small store with everything in it: two signal samples, a background, nuisance weights, negative weights."""

from __future__ import annotations

import numpy as np

from columnminer.model.parameters import Parameter, ParameterSpace
from columnminer.model.setup import Setup
from columnminer.model.systematics import NormalisationUncertainty, WeightVariation
from columnminer.store.partition import PartitionScheme
from columnminer.store.publish import Description, publish_events
from columnminer.store.samples import SampleInfo
from columnminer.store.weights import NuisanceColumn

COUNTS = (900, 300, 60)
GENERATED = (2000, 500, 100)


def mixed_setup():
    space = ParameterSpace([Parameter("c", bounds=(-3.0, 3.0), max_power=2)])
    points = {"sm": {"c": 0.0}, "plus": {"c": 1.0}, "minus": {"c": -2.0}}
    systematics = [NormalisationUncertainty("rate", 0.1), WeightVariation("shape", "up", "down")]
    return Setup(space, points, systematics).with_morphing(max_overall_power=2)


def mixed_columns():
    """Columns of the store, by name; samples are mixed up as in a shuffled file."""
    rng = np.random.default_rng(5)
    sample = rng.permutation(np.repeat(np.arange(3), COUNTS)).astype(np.int32)
    n = len(sample)
    x = rng.normal(size=(n, 2))
    # (1 + c x)^2 at c = 0, 1, -2, per sample normalised to 2 pb, with some negative weights.
    weights = np.stack([np.ones(n), (1 + x[:, 0]) ** 2, (1 - 2 * x[:, 0]) ** 2], axis=1)
    weights *= np.where(rng.random((n, 1)) < 0.1, -1.0, 1.0)
    weights *= (2.0 / np.bincount(sample, weights=weights[:, 0]))[sample][:, None]
    weights[sample == 2] = np.abs(weights[sample == 2, :1])
    reference = weights[:, 0]
    nuisance = np.stack(
        [
            1.1 * reference,
            reference * np.exp(0.2 * x[:, 1] + 0.05),
            reference * np.exp(-0.2 * x[:, 1] + 0.05),
        ],
        axis=1,
    )
    return {
        "observables": x,
        "weights": weights,
        "nuisance_weights": nuisance,
        "sample": sample,
        "event": np.arange(n),
    }


def mixed_store(out, partition=(0.6, 0.2, 0.2), pieces=1, seed=6, **options):
    columns = mixed_columns()
    sample = columns["sample"]
    scheme = PartitionScheme.of(partition)
    codes = np.empty(len(sample), dtype=np.uint8)
    ranking = np.random.default_rng(seed).random(len(sample))
    for k in range(3):
        codes[sample == k] = scheme.assign(ranking[sample == k])
    if scheme.in_order:
        codes = scheme.assign_in_order(len(sample))
    samples = tuple(
        SampleInfo(name, benchmark, n_generated, n_events, background=benchmark is None)
        for name, benchmark, n_generated, n_events in zip(
            ("a", "b", "bkg"), ("sm", "plus", None), GENERATED, COUNTS, strict=True
        )
    )
    description = Description(
        setup=mixed_setup(),
        observables=("x", "z"),
        samples=samples,
        partition=scheme,
        nuisances=(NuisanceColumn("rate", "rate", 0), NuisanceColumn("shape", "shape", 1, 2)),
    )
    cuts = np.array_split(np.arange(len(sample)), pieces)
    rows = ({name: values[i] for name, values in columns.items()} for i in cuts)
    return publish_events(out, description, rows, codes, **options)
