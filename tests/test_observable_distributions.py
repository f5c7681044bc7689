"""Distributions of observables of a store: against histograms filled by hand, known bands and known intervals."""

from __future__ import annotations

import boost_histogram as bh
import numpy as np
import pytest
from inputs_of_pictures import POINTS, spectrum, templates
from shifted_store import RATE, shifted_store

from columnminer.errors import InputError, MissingError, UnknownNameError
from columnminer.infer.distributions import TOTAL, Distribution, distributions
from columnminer.sample.cross_sections import cross_sections

EDGES = np.array([0.5, 0.7, 1.0, 2.0, 4.0])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return shifted_store(tmp_path_factory.mktemp("store") / "events.zarr", 4000, {"energy": (0.05, -0.05)})


def by_hand(store, theta, cut=lambda _: True):
    """Sums of weights and of their squares between EDGES, and beyond, of x."""
    (block,) = store.blocks(size=len(store))
    weights = block.weights([theta])[0] * cut(block.x[:, 1])
    edges = np.concatenate([[-np.inf], EDGES, [np.inf]])
    return [np.histogram(block.x[:, 0], edges, weights=w)[0] for w in (weights, weights**2)]


def test_contents_are_sums_of_weights(store):
    points = {"zero": "zero", "half": [0.5]}
    (found,) = distributions(store, points, "x", bins={"x": EDGES}, systematics=False)
    assert found.points == ("zero", "half")
    for i, theta in enumerate((0.0, 0.5)):
        value, squares = by_hand(store, [theta])
        np.testing.assert_allclose(found.value[i], value, rtol=1e-12)
        np.testing.assert_allclose(found.error[i], np.sqrt(squares), rtol=1e-9)
    assert not found.toys
    np.testing.assert_allclose(found.value.sum(axis=1), store.xsec([[0.0], [0.5]]).value)
    (cut,) = distributions(store, ["zero"], "x", bins={"x": EDGES}, systematics=False, cuts=["y > 0"])
    np.testing.assert_allclose(cut.value[0], by_hand(store, [0.0], lambda y: y > 0)[0])


def test_by_default_everything_is_drawn(store):
    x, y = distributions(store, n_toys=5)
    assert (x.axes[0].name, y.axes[0].name) == store.observable_names
    assert x.points == store.setup.benchmark_names
    assert len(x.axes[0].edges) == 41
    assert set(x.toys) == {TOTAL, *(s.name for s in store.setup.systematics)}


def test_two_observables_together(store):
    edges = {"x": EDGES, "y": [-1.0, 0.0, 1.0]}
    both, x = distributions(store, ["one"], [("x", "y"), "x"], bins=edges, systematics=False)
    assert both.value.shape == (1, 6, 4)
    np.testing.assert_allclose(both.value.sum(axis=2), x.value)


def test_bands_are_the_quantiles_of_the_nuisance_parameters(store):
    """A normalisation changes all bins by (1 + size)^nu, whose quantiles are known; an energy scale does not."""
    (found,) = distributions(store, ["zero"], "x", bins={"x": EDGES}, n_toys=4000, seed=1)
    rate, scale = (s.name for s in store.setup.systematics)
    low, high = found.band(systematic=rate)
    np.testing.assert_allclose(high / found.value, 1.0 + RATE, rtol=0.004)
    np.testing.assert_allclose(low / found.value, 1.0 / (1.0 + RATE), rtol=0.004)
    energies = found.band(systematic=scale)[1] / found.value
    assert np.ptp(energies[0, 1:]) > 0.05, "negative control: another uncertainty is not the same everywhere"
    together, of_rate, of_scale = (found.toys[name] / found.value[:, None] for name in (TOTAL, rate, scale))
    np.testing.assert_allclose(together, of_rate * of_scale, rtol=1e-12)
    (alone,) = distributions(store, ["zero"], "x", bins={"x": EDGES}, systematics=[rate])
    assert set(alone.toys) == {TOTAL, rate}
    np.testing.assert_array_equal(alone.toys[TOTAL], alone.toys[rate])


def test_what_only_changes_the_rate_has_no_width_in_a_shape(store):
    rate, scale = (s.name for s in store.setup.systematics)
    (found,) = distributions(store, ["zero", "one"], "x", bins={"x": EDGES}, n_toys=50)
    shape = found.normalised()
    np.testing.assert_allclose(shape.value[:, 1:-1].sum(axis=1), 1.0)
    np.testing.assert_allclose(shape.error / shape.value, found.error / found.value)
    np.testing.assert_allclose(shape.band(systematic=rate)[0], shape.value, rtol=1e-12)
    assert np.abs(shape.band(systematic=scale)[0] / shape.value - 1.0).max() > 0.01


def test_toys_do_not_depend_on_the_other_systematics():
    one, all_of_them = (
        Distribution.from_templates(templates(), POINTS, systematics=names, n_toys=20, seed=4)
        for names in (["pdf"], None)
    )
    np.testing.assert_array_equal(one.toys["pdf"], all_of_them.toys["pdf"])


def test_data_have_the_intervals_of_a_poisson_mean():
    found = spectrum().at_luminosity(300.0)
    np.testing.assert_allclose(found.value, 300.0 * spectrum().value)
    np.testing.assert_allclose(found.band()[0], 300.0 * spectrum().band()[0])
    value, low, high = found.with_data([510.0, *[620.0] * 10, 3000.0]).data()
    assert value[[1, 2, 3, -1]].tolist() == [1.0, 0.0, 10.0, 1.0]
    # -log(0.159) = 1.841 for none; those of 1 and 10 events stand in many tables.
    np.testing.assert_allclose([low[1], high[1]], [0.173, 3.300], atol=0.002)
    np.testing.assert_allclose([low[2], high[2]], [0.0, 1.841], atol=0.002)
    np.testing.assert_allclose([low[3], high[3]], [6.891, 14.267], atol=0.002)
    shape = found.with_data([510.0, *[620.0] * 10, 3000.0]).normalised()
    assert shape.data()[0][3] == pytest.approx(10.0 / 11.0)
    assert spectrum().normalised().with_data([510.0, 620.0]).data()[0].sum() == pytest.approx(1.0)


def test_histograms_of_other_packages():
    h = bh.Histogram(bh.axis.Regular(4, 0.0, 8.0, underflow=False), storage=bh.storage.Weight())
    h.fill([1.0, 1.5, 7.0, 20.0], weight=[1.0, 2.0, 4.0, 8.0])
    found = Distribution.of({"SM": h, "double": h * 2})
    assert found.value.tolist() == [[0.0, 3.0, 0.0, 0.0, 4.0, 8.0], [0.0, 6.0, 0.0, 0.0, 8.0, 16.0]]
    np.testing.assert_allclose(found.error[0] ** 2, [0.0, 5.0, 0.0, 0.0, 16.0, 64.0])


def test_cross_sections_know_what_their_points_are(store):
    found = cross_sections(store, [[0.0], [0.5]])
    assert (found.parameter_names, found.nuisance_names) == (("theta",), ("rate",))
    weights = store.event_weights([[0.0], [0.5]])
    np.testing.assert_allclose(found.n_effective, weights.sum(axis=1) ** 2 / (weights**2).sum(axis=1))


def test_refusals(store):
    found = spectrum()
    with pytest.raises(InputError, match="at_luminosity"):
        found.with_data([600.0])
    with pytest.raises(InputError, match="counts have shape"):
        found.at_luminosity(1.0).with_counts([1.0, 2.0])
    with pytest.raises(InputError, match="unit"):
        found.normalised().at_luminosity(1.0)
    with pytest.raises(MissingError, match="no data"):
        found.data()
    with pytest.raises(MissingError, match="no toys of 'btag'"):
        found.band(systematic="btag")
    with pytest.raises(UnknownNameError, match="Did you mean 'pdf'"):
        Distribution.from_templates(templates(), POINTS, systematics=["pfd"])
    with pytest.raises(UnknownNameError, match="no observable is called 'z'"):
        distributions(store, None, ["z"])
    with pytest.raises(InputError, match="one or two axes"):
        distributions(store, None, [("x", "y", "x + y")])
    with pytest.raises(InputError, match="equal axes"):
        Distribution.of({})
