"""Samples generated at different benchmarks, averaged: d sigma / dx = (1 + c x)^2 phi(x), whose sum is 1 + c^2 [pb]."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from columnminer.errors import InputError
from columnminer.model.parameters import Parameter, ParameterSpace
from columnminer.model.setup import Setup
from columnminer.store.eventstore import EventStore
from columnminer.store.partition import PartitionScheme
from columnminer.store.publish import Description, publish_events
from columnminer.store.samples import SampleInfo

POINTS = {"zero": 0.0, "plus": 3.0, "minus": -3.0}
GENERATED = {"zero": 20_000, "plus": 4_000, "minus": 4_000}
THETAS = np.array([[0.0], [0.5], [-1.0], [2.0], [3.0]])


def density(x, c):
    return (1 + c * x) ** 2 * np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)


def store_of(out, wrong=1.0, **options):
    """A store of unweighted samples; `wrong` is a factor on what one of them says of its cross section."""
    rng = np.random.default_rng(1)
    grid = np.linspace(-8, 8, 40_001)
    columns = {"observables": [], "weights": [], "sample": []}
    infos = []
    for i, (name, c) in enumerate(POINTS.items()):
        n, xsec = GENERATED[name], 1 + c**2
        cumulative = np.cumsum(density(grid, c))
        x = np.interp(rng.random(n), cumulative / cumulative[-1], grid)
        ratios = np.stack([density(x, point) for point in POINTS.values()], axis=1) / density(x, c)[:, None]
        columns["observables"].append(x[:, None])
        columns["weights"].append(ratios * xsec / n)
        columns["sample"].append(np.full(n, i, dtype=np.int32))
        infos.append(SampleInfo(name, name, n, n, cross_section=xsec * (wrong if name == "plus" else 1.0)))
    table = {name: np.concatenate(values) for name, values in columns.items()}
    total = len(table["sample"])
    table |= {"nuisance_weights": np.empty((total, 0)), "event": np.arange(total)}
    setup = Setup(
        ParameterSpace([Parameter("c", bounds=(-3.0, 3.0), max_power=2)]), {k: {"c": v} for k, v in POINTS.items()}
    )
    description = Description(
        setup=setup.with_morphing(max_overall_power=2),
        observables=("x",),
        samples=tuple(infos),
        partition=PartitionScheme.of((0.6, 0.2, 0.2)),
    )
    codes = np.array([0, 0, 0, 1, 2], dtype=np.uint8)[np.arange(total) % 5]
    publish_events(out, description, [table], codes)
    return EventStore(out, **options)


@pytest.mark.parametrize("partition", ["all", "train", "test"])
def test_both_ways_estimate_the_cross_section_and_balance_does_it_better(tmp_path, partition):
    true = 1 + THETAS[:, 0] ** 2
    errors = {}
    for mixing in ("fractions", "balance"):
        store = store_of(tmp_path / mixing, mixing=mixing)
        xsec = store.xsec(THETAS, partition=partition)
        assert np.all(np.abs(xsec.value - true) < 4 * xsec.error)
        errors[mixing] = xsec.error
    assert np.all(errors["balance"] < 0.9 * errors["fractions"])
    n_zero = GENERATED["zero"] * {"all": 1.0, "train": 0.6, "test": 0.2}[partition]
    assert errors["balance"][0] < 1 / np.sqrt(n_zero)  # better than its own sample alone; fractions are worse
    assert errors["fractions"][0] > 1 / np.sqrt(n_zero)


def test_distributions_are_those_of_the_model(tmp_path):
    store = store_of(tmp_path / "s.zarr", mixing="balance")
    edges = np.linspace(-2.5, 2.5, 11)
    fine = np.linspace(-2.5, 2.5, 100_001)
    for theta in THETAS:
        x = store.observables[:, 0]
        (weights,) = store.event_weights(theta)
        found = np.histogram(x, edges, weights=weights)[0]
        error = np.sqrt(np.histogram(x, edges, weights=weights**2)[0])
        inside = [fine[(fine >= low) & (fine <= high)] for low, high in pairwise(edges)]
        true = [np.trapezoid(density(points, theta), points) for points in inside]
        assert np.sum(((found - true) / error) ** 2) < 30  # chi2 of 10 bins: p = 0.001


def test_a_wrong_cross_section_shows(tmp_path):
    xsec = store_of(tmp_path / "s.zarr", wrong=3.0, mixing="balance").xsec([[3.0]])
    assert abs(xsec.value[0] - 10.0) > 10 * xsec.error[0]


def test_one_sample_needs_no_balance(tmp_path):
    stores = [store_of(tmp_path / mixing, mixing=mixing) for mixing in ("fractions", "balance")]
    one, other = (s.xsec(THETAS, closest_to="zero").value for s in stores)
    np.testing.assert_allclose(one, other, rtol=1e-12)


def test_what_cannot_be_balanced_is_refused(tmp_path, monkeypatch):
    store = store_of(tmp_path / "s.zarr", mixing="balance")
    unknown = tuple(replace(s, cross_section=None) for s in store.samples)
    monkeypatch.setattr(EventStore, "samples", unknown)
    with pytest.raises(InputError, match="needs the cross section that sample 'zero' was generated with"):
        store.xsec(THETAS)
    with pytest.raises(InputError, match="mixing must be one of fractions, balance"):
        EventStore(store.path, mixing="fraction")
