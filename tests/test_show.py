"""Pictures: what each function draws, that it draws it from the result it was given, and that it leaves no traces."""

from __future__ import annotations

from types import SimpleNamespace

import boost_histogram as bh
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import chi2

from columnminer.errors import InputError, MissingError, UnknownNameError
from columnminer.generate.drellyan import DrellYan
from columnminer.learn.history import History
from columnminer.learn.information import Information
from columnminer.model.setup import Setup
from columnminer.show.distributions import plot_distribution
from columnminer.show.fisher import plot_information
from columnminer.show.learning import plot_agreement, plot_learning, plot_loss_terms
from columnminer.show.limits import plot_limits
from columnminer.show.morphing import plot_morphing_basis
from columnminer.show.style import save


def gaussian_limits(information, centre, n=41, reach=1.0):
    """Limits of a Gaussian likelihood with the given information matrix, on a square grid."""
    information, centre = np.atleast_2d(information), np.asarray(centre, dtype=float)
    dim = len(centre)
    lines = tuple(np.linspace(-reach, reach, n) for _ in range(dim))
    points = np.stack([m.ravel() for m in np.meshgrid(*lines, indexing="ij")], axis=1)
    q = np.einsum("ni,ij,nj->n", points - centre, information, points - centre)
    grid = SimpleNamespace(axes=lines, points=points)
    return SimpleNamespace(
        grid=grid, parameter_names=("cA", "cB")[:dim], p_value=chi2.sf(q, dim), best_fit=points[np.argmin(q)]
    )


def segments(ax):
    """All drawn contour lines as arrays of points."""
    return [path for c in ax.collections for path in c.get_paths() if len(path.vertices)]


@pytest.fixture(autouse=True)
def no_traces():
    before = dict(mpl.rcParams)
    yield
    assert not plt.get_fignums(), "a picture was left in pyplot"
    assert dict(mpl.rcParams) == before, "matplotlib's settings were changed"


def test_contours_stand_where_the_likelihood_says():
    ax = plot_limits(gaussian_limits(np.diag([100.0, 25.0]), [0.1, 0.0], n=101))
    for path, level in zip(segments(ax), (0.68, 0.95), strict=True):
        q = 100 * (path.vertices[:, 0] - 0.1) ** 2 + 25 * path.vertices[:, 1] ** 2
        assert np.allclose(q, chi2.ppf(level, 2), rtol=0.02)


def test_several_limits_share_one_picture_and_one_legend():
    results = {
        "ALICES": gaussian_limits(np.diag([100.0, 25.0]), [0.1, 0.0]),
        "rate": gaussian_limits(np.eye(2) * 9, [0, 0]),
    }
    ax = plot_limits(results, truth=[0.0, 0.0])
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["ALICES", "rate", "truth", "68% CL", "95% CL"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("cA", "cB")
    # told apart without colour: each analysis has its own dash and marker
    handles = ax.get_legend().legend_handles
    assert handles[0].get_linestyle() != handles[1].get_linestyle()
    assert handles[0].get_marker() != handles[1].get_marker()


def test_limits_without_a_contour_inside_the_grid_are_drawn_without_a_warning():
    ax = plot_limits(gaussian_limits(np.eye(2) * 1e-6, [0, 0]))
    assert segments(ax) == []


def test_one_parameter_gives_a_p_value_curve():
    limits = gaussian_limits([[100.0]], [0.2])
    ax = plot_limits(limits, truth=[0.0])
    assert np.array_equal(ax.lines[0].get_ydata(), limits.p_value)
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("cA", "p value", "log")


def test_limits_of_different_parameters_are_refused():
    with pytest.raises(InputError, match="same one or two parameters"):
        plot_limits({"a": gaussian_limits([[1.0]], [0.0]), "b": gaussian_limits(np.eye(2), [0.0, 0.0])})
    with pytest.raises(InputError, match="at most 3 levels"):
        plot_limits(gaussian_limits([[1.0]], [0.0]), levels=(0.5, 0.68, 0.9, 0.95))


def test_morphing_bases_are_drawn_from_the_set_up():
    setup = DrellYan().setup()
    ax = plot_morphing_basis(setup, resolution=31)
    mesh = ax.collections[0].get_array().reshape(31, 31)  # rows are the second parameter
    assert mesh[15, 15] == pytest.approx(1.0), "one at the benchmark in the middle"
    assert mesh[0, 30] == pytest.approx(setup.squared_weights({"c_ll": 0.05, "c_lr": -0.05})[0])
    assert {t.get_text() for t in ax.texts} >= {"sm", "c_ll_plus", "c_lr_minus"}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("c_ll", "c_lr")
    line = plot_morphing_basis(
        setup, parameters=["c_lr"], at={"c_ll": 0.05}, ranges={"c_lr": (-0.1, 0.1)}, resolution=5
    )
    expected = setup.squared_weights([[0.05, v] for v in np.linspace(-0.1, 0.1, 5)])
    assert np.allclose(line.lines[0].get_ydata(), expected)
    with pytest.raises(UnknownNameError, match="Did you mean 'c_ll'"):
        plot_morphing_basis(setup, parameters=["cll"])
    with pytest.raises(MissingError, match="no morphing"):
        plot_morphing_basis(Setup(setup.space, setup.benchmarks))


def information(matrix):
    return Information(np.asarray(matrix, dtype=float), np.zeros((2, 2, 2, 2)), ("cA", "cB"))


def test_information_is_drawn_as_the_ellipse_of_its_matrix():
    matrix, centre = np.array([[40.0, 12.0], [12.0, 10.0]]), np.array([0.3, -0.2])
    ax = plot_information(information(matrix), centre=centre)
    for line, level in zip(ax.lines[:2], (0.68, 0.95), strict=True):
        offsets = np.stack(line.get_data()) - centre[:, None]
        assert np.allclose(np.einsum("in,ij,jn->n", offsets, matrix, offsets), chi2.ppf(level, 2))


def test_information_in_one_direction_is_a_band_that_leaves_the_picture_its_size():
    direction = np.array([3.0, 1.0])
    ax = plot_information({"truth": information(np.eye(2) * 25), "rate": information(np.outer(direction, direction))})
    assert max(np.abs(ax.get_xlim())) < 1.0
    band = ax.lines[2:6]
    q = [np.square(direction @ np.stack(line.get_data())) for line in band]
    assert np.allclose(q[0], chi2.ppf(0.68, 2))
    assert np.allclose(q[-1], chi2.ppf(0.95, 2))
    with pytest.raises(MissingError, match="no closed contour"):
        plot_information(information(np.outer(direction, direction)))


def test_learning_curves_are_the_losses():
    losses = np.array([0.9, 0.7, 0.6]), np.array([0.95, 0.75, 0.8])
    history = History(*losses, {"a": losses[0]}, {"a": losses[1]}, losses[0], 1, 1.0)
    ax = plot_learning({"ALICES": history, "SALLY": history})
    assert len(ax.lines) == 6
    assert (ax.lines[2].get_xdata(), ax.lines[2].get_ydata()) == ([2], [0.75]), "the epoch that was kept"
    terms = plot_loss_terms(history)
    assert [line.get_ydata().tolist() for line in terms.lines] == [part.tolist() for part in losses]
    assert terms.get_yscale() == "log"
    assert np.array_equal(ax.lines[1].get_ydata(), history.validation_loss)
    assert list(ax.lines[0].get_xdata()) == [1, 2, 3]


def test_agreement_counts_every_pair_in_range():
    rng = np.random.default_rng(1)
    exact = rng.normal(size=4000)
    ax = plot_agreement(exact, exact + 0.1 * rng.normal(size=4000), note="RMS 0.10")
    counts = ax.collections[0].get_array()
    assert 3980 <= counts.sum() <= 4000
    with pytest.raises(InputError, match="one shape"):
        plot_agreement(exact, exact[:-1])


def histogram(weights, rng):
    h = bh.Histogram(bh.axis.Regular(10, 0, 500), storage=bh.storage.Weight())
    h.fill(rng.exponential(120, size=len(weights)), weight=weights)
    return h


def test_distributions_are_cross_sections_per_bin_width_with_ratios():
    rng = np.random.default_rng(2)
    sm = histogram(np.full(3000, 1e-3), rng)
    ax = plot_distribution({"SM": sm, "double": sm * 2}, label="pt_j1", unit="GeV")
    assert np.allclose(ax.patches[0].get_data().values, sm.values() / 50)
    ratio = ax.figure.axes[1]
    assert np.allclose(ratio.patches[0].get_data().values, 2.0)
    assert ratio.get_xlabel() == "pt_j1 [GeV]"
    assert "[pb / GeV]" in ax.get_ylabel()
    with pytest.raises(UnknownNameError, match="Did you mean 'double'"):
        plot_distribution({"SM": sm, "double": sm}, reference="doubel")
    with pytest.raises(InputError, match="equal axes"):
        plot_distribution({"SM": sm, "other": bh.Histogram(bh.axis.Regular(5, 0, 1), storage=bh.storage.Weight())})


def test_pictures_draw_into_axes_that_they_are_given():
    ax = Figure().subplots()
    assert plot_limits(gaussian_limits([[100.0]], [0.2]), ax=ax) is ax


@pytest.mark.parametrize("ending", [".png", ".pdf", ".svg"])
def test_a_picture_drawn_again_is_the_same_file(tmp_path, ending):
    for name in ("a", "b"):
        save(plot_limits(gaussian_limits([[100.0]], [0.2])), tmp_path / f"{name}{ending}")
    assert (tmp_path / f"a{ending}").stat().st_size > 1000
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()
