"""The nuisance parameters of many replicas of parton densities become a few directions."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_store import POINTS, setup
from mixed_store import mixed_store

from columnminer import combine
from columnminer.errors import InputError, MissingError, OutputExistsError, UnknownNameError
from columnminer.infer.fisher import FisherInformation
from columnminer.infer.limits import Grid, expected_limits
from columnminer.model.setup import Setup
from columnminer.model.systematics import (
    NormalisationUncertainty,
    PDFUncertainty,
    PrincipalDirections,
    SelectionVariation,
    WeightVariation,
)
from columnminer.store.directions import find_directions, reduce_directions
from columnminer.store.partition import PartitionScheme
from columnminer.store.publish import Description, publish_events
from columnminer.store.samples import FileInfo, SampleInfo
from columnminer.store.weights import NuisanceColumn

N_REPLICAS, N = 12, 4000
STEP = np.sqrt(N_REPLICAS - 1)
SYSTEMATICS = (
    NormalisationUncertainty("rate", 0.1),
    PDFUncertainty("pdf", 303400, N_REPLICAS, errors="replicas"),
    WeightVariation("tilt", "up", "down"),
    SelectionVariation("scale"),
)
NUISANCES = (
    NuisanceColumn("rate", "rate", 0),
    *(NuisanceColumn(f"pdf_{i + 1}", "pdf", 1 + i, step=STEP) for i in range(N_REPLICAS)),
    NuisanceColumn("tilt", "tilt", N_REPLICAS + 1, N_REPLICAS + 2),
)
SHAPES = (lambda x: 0.3 * (x - 0.4), lambda x: 0.1 * np.cos(2 * np.pi * x), lambda x: 0.005 * np.sin(6 * np.pi * x))
EDGES = np.array([0.25, 0.5, 0.75])


def replicas(out, *, background=False, scale=1.0, seed=1, acts=True, variations=None):
    """Replicas that go in two directions, and a little in a third."""
    rng = np.random.default_rng(seed)
    x = (rng.permutation(N) + 0.5) / N
    thetas = np.array(list(POINTS.values()))
    rows = np.full((N, 3), 0.4 / N) if background else (1.0 + thetas * (x[:, None] - 0.5)) ** 2 / N
    strengths = np.random.default_rng(0).standard_normal((len(SHAPES), N_REPLICAS))
    a = np.stack([shape(x) for shape in SHAPES], axis=1) @ strengths * acts
    tilt = 1.0 + 0.1 * np.array([1.0, -1.0]) * (x[:, None] - 0.5)
    varied = rows[:, :1] * np.concatenate([np.full((N, 1), 1.1), np.exp(a), tilt], axis=1)
    name = "background" if background else "zero"
    sample = SampleInfo(
        name=name, benchmark=None if background else name, background=background, n_generated=N, n_events=N,
        systematics=("pdf",), files=(FileInfo(name, 1, f"{name}{seed}{scale}", N),),
    )  # fmt: skip
    table = {
        "observables": np.stack([scale * x, rng.uniform(size=N)], axis=1),
        "weights": rows,
        "nuisance_weights": varied,
        "sample": np.zeros(N, dtype=np.int32),
        "event": np.arange(N),
    }
    scheme = PartitionScheme()
    description = Description(setup(SYSTEMATICS), ("x", "y"), (sample,), scheme, nuisances=NUISANCES)
    codes = scheme.assign(rng.uniform(size=N))
    return publish_events(out, description, iter([table]), codes, variations=variations)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replicas")
    sides = [replicas(folder / f"{scale}", scale=scale) for scale in (1.05, 0.95)]
    return replicas(folder / "events.zarr", variations={"scale": sides})


@pytest.fixture(scope="module")
def found(store):
    return find_directions(store, "pdf")


@pytest.fixture(scope="module")
def reduced(store, found, tmp_path_factory):
    return reduce_directions(store, found, 2, tmp_path_factory.mktemp("reduced") / "two.zarr")


def binned(store):
    """Relative changes in each of four bins with each PDF parameter at nu = 0, (n_parameters, 4)."""
    index = np.searchsorted(EDGES, store.observables[:, 0])
    weights = store.event_weights("zero")[0]
    nominal = np.bincount(index, weights)
    names, h = [name for name in store.nuisance_names if name.startswith("pdf")], 1e-4
    moved = [np.bincount(index, store.event_weights("zero", {name: h})[0]) for name in names]
    return (np.array(moved) / nominal - 1.0) / h


def test_the_directions_are_orthogonal_and_two_of_them_say_all(found):
    assert found.parameter_names == tuple(f"pdf_{i + 1}" for i in range(N_REPLICAS))
    np.testing.assert_allclose(found.matrix @ found.matrix.T, np.eye(N_REPLICAS), atol=1e-12)
    assert found.shares.sum() == pytest.approx(1.0)
    assert (np.diff(found.shares) <= 1e-15).all()
    assert found.shares[:2].sum() > 0.998
    assert found.shares[0] < 0.95
    assert found.shares[3:].max() < 1e-12  # the replicas have but three


def test_the_shares_are_those_of_the_truth_information(store, found):
    information = FisherInformation(store, 1.0).truth("zero")
    which = [information.parameter_names.index(name) for name in found.parameter_names]
    values = np.linalg.eigvalsh(information.information[np.ix_(which, which)])[::-1]
    np.testing.assert_allclose(found.shares, values / values.sum(), atol=1e-12)


def test_all_directions_are_the_replicas_in_other_words(store, found, tmp_path):
    turned = reduce_directions(store, found, N_REPLICAS, tmp_path / "all.zarr")
    nu = np.random.default_rng(2).normal(size=(3, len(store.nuisances)))
    other = nu.copy()
    other[:, 1:-1] = nu[:, 1:-1] @ found.matrix.T
    thetas = [[0.3], [-1.0], [1.4]]
    np.testing.assert_allclose(turned.xsec(thetas, other).value, store.xsec(thetas, nu).value, rtol=1e-10)
    np.testing.assert_allclose(turned.event_weights(thetas, other), store.event_weights(thetas, nu), rtol=1e-9)
    assert np.abs(turned.xsec(thetas, nu).value / store.xsec(thetas, nu).value - 1.0).max() > 1e-3


def test_two_directions_have_the_covariance_of_the_replicas_and_one_has_not(store, found, reduced, tmp_path):
    changes = binned(store)
    whole = changes.T @ changes
    two = binned(reduced)
    np.testing.assert_allclose(two.T @ two, whole, atol=0.001 * whole.max())
    one = binned(reduce_directions(store, found, 1, tmp_path / "one.zarr"))
    assert np.abs(one.T @ one - whole).max() > 0.05 * whole.max()


def test_limits_are_the_same_with_two_and_not_with_one(store, found, reduced, tmp_path):
    one = reduce_directions(store, found, 1, tmp_path / "one.zarr")

    def limits(of):
        grid = Grid([(-0.2, 0.2, 5)])
        return expected_limits(of, "x", [0.0], grid, 20_000.0, bins=EDGES, nuisances=True, partition="all")

    whole, two, fewer = limits(store), limits(reduced), limits(one)
    assert whole.log_ratio.min() < -0.5
    np.testing.assert_allclose(two.log_ratio, whole.log_ratio, rtol=0.02, atol=1e-3)
    assert fewer.log_ratio.min() < 1.1 * whole.log_ratio.min()


def test_everything_else_stays(store, reduced):
    assert reduced.nuisance_names == ("rate", "pdf_direction_1", "pdf_direction_2", "tilt")
    assert [p.name for p in reduced.setup.nuisance_parameters] == [*reduced.nuisance_names, "scale"]
    mine, yours = (s.columns(slice(0, None)) for s in (reduced, store))
    for name in ("observables", "weights", "sample", "event", "partition"):
        np.testing.assert_array_equal(mine[name], yours[name])
    np.testing.assert_array_equal(mine["nuisance_weights"][:, 3:], yours["nuisance_weights"][:, -2:])
    np.testing.assert_array_equal(reduced.setup.weights([0.7]), store.setup.weights([0.7]))
    assert reduced.samples == store.samples
    assert [len(side.nuisances) for side in reduced.varied("scale")] == [4, 4]
    assert reduced.varied("scale")[0].observables[0, 0] == store.varied("scale")[0].observables[0, 0]
    assert reduced.xsec([0.5], {"pdf_direction_1": 1.0}).value > reduced.xsec([0.5]).value
    again = Setup.from_dict(reduced.setup.to_dict())
    assert again.systematics[1] == reduced.setup.systematics[1]
    assert again.hash == reduced.setup.hash != store.setup.hash


def test_stores_are_combined_before_or_reduced_alike(tmp_path):
    parts = [replicas(tmp_path / "s.zarr"), replicas(tmp_path / "b.zarr", background=True, seed=2)]
    whole = combine(parts, tmp_path / "both.zarr")
    found = find_directions(whole, "pdf")
    ours = reduce_directions(whole, found, 2, tmp_path / "1.zarr")
    alike = [reduce_directions(part, found, 2, tmp_path / f"alike{i}.zarr") for i, part in enumerate(parts)]
    theirs = combine(alike, tmp_path / "2.zarr")
    nu = [0.3, 1.0, -0.7, 0.5]
    np.testing.assert_allclose(ours.xsec([0.4], nu).value, theirs.xsec([0.4], nu).value, rtol=1e-12)
    own = [
        reduce_directions(part, find_directions(part, "pdf"), 2, tmp_path / f"own{i}.zarr")
        for i, part in enumerate(parts)
    ]
    with pytest.raises(InputError, match="different set-ups"):
        combine(own, tmp_path / "3.zarr")


def test_what_does_not_fit_is_refused(store, found, reduced, tmp_path):
    out = tmp_path / "out.zarr"
    with pytest.raises(UnknownNameError, match="Did you mean 'pdf'"):
        find_directions(store, "pdg")
    with pytest.raises(InputError, match="two-sided"):
        find_directions(store, "tilt")
    with pytest.raises(MissingError, match="changes no weight"):
        find_directions(replicas(tmp_path / "none.zarr", acts=False), "pdf")
    for n in (0, N_REPLICAS + 1):
        with pytest.raises(InputError, match="12 directions"):
            reduce_directions(store, found, n, out)
    with pytest.raises(InputError, match="other nuisance parameters"):
        reduce_directions(reduced, found, 2, out)
    with pytest.raises(UnknownNameError, match="no weights varied by 'pdf'"):
        reduce_directions(mixed_store(tmp_path / "mixed.zarr"), found, 2, out)
    with pytest.raises(OutputExistsError):
        reduce_directions(store, found, 2, reduced.path)
    assert not out.exists()
    with pytest.raises(InputError, match="reduce the store"):
        reduced.setup.systematics[1].shifts(("nominal",), {}, "file.lhe")
    for rows, shares in (([], []), ([[1.0], [0.0, 1.0]], [0.5, 0.5]), ([[1.0]], [0.5, 0.5])):
        with pytest.raises(InputError, match="one share each"):
            PrincipalDirections("pdf", rows, shares)
