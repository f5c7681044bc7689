"""Pictures of toys: that each draws what its result says, where it says it."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import chi2
from toy_points import gaussian_toys

from columnminer.errors import InputError, UnknownNameError
from columnminer.show.bands import plot_sensitivity
from columnminer.show.neyman import plot_belt, plot_coverage, plot_power, plot_thresholds
from columnminer.show.style import save
from columnminer.show.toys import plot_pulls, plot_toy_fits, plot_toy_histogram
from columnminer.toys.belts import poisson_belt
from columnminer.toys.coverage import coverage
from columnminer.toys.discovery import discovery_power
from columnminer.toys.distributions import pulls, statistic_distribution
from columnminer.toys.neyman import NeymanThresholds
from columnminer.toys.sensitivity import limit_bands

VALUES = (0.0, 1.0, 3.0)
POINTS = [gaussian_toys(mu, 400, (1, i)) for i, mu in enumerate(VALUES)]


@pytest.fixture(autouse=True)
def no_traces():
    before = dict(mpl.rcParams)
    yield
    assert not plt.get_fignums(), "a picture was left in pyplot"
    assert dict(mpl.rcParams) == before, "matplotlib's settings were changed"


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def bars(ax, index=0):
    """Drawn points (n, 2) and their bars (n, 2, 2) of one set of error bars."""
    line, _, (collection,) = ax.containers[index]
    return np.stack(line.get_data(), axis=1), np.array(collection.get_segments())


def test_thresholds_stand_beside_asymptotic_ones():
    found = NeymanThresholds.from_results(POINTS, (0.68, 0.9))
    ax = plot_thresholds(found, label="signal")
    for i in range(2):
        points, ends = bars(ax, i)
        assert points == pytest.approx(np.stack([VALUES, found.curves[0].thresholds[i]], axis=1))
        assert ends[:, 1, 1] - ends[:, 0, 1] == pytest.approx(2.0 * found.curves[0].errors[i])
    lines = [line.get_ydata()[0] for line in ax.lines if len(set(np.atleast_1d(line.get_ydata()))) == 1]
    assert lines == pytest.approx(chi2.ppf([0.68, 0.9], 1))
    assert set(legend(ax)) == {"68%", "90%", "asymptotic"}
    assert ax.get_xlabel() == "signal"


def test_thresholds_of_several_conditions_are_told_apart():
    points = [gaussian_toys(1.0, 100, m, nominal={"mass": m, "livetime": 2}) for m in (10, 20)]
    ax = plot_thresholds(NeymanThresholds.from_results(points, 0.9))
    assert legend(ax)[-2:] == ["90%, mass = 10", "90%, mass = 20"]


def test_a_belt_shows_the_interval_of_the_data():
    belt = poisson_belt(np.arange(0.0, 15.0, 0.01), 3.0)
    ax = plot_belt(belt, estimate=7.0)
    assert legend(ax) == ["90% belt", "[0.9, 9.53]"]
    assert np.array_equal(ax.lines[0].get_xdata(), belt.lower)
    assert np.array_equal(ax.lines[1].get_xdata(), belt.upper)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("observed events", "true mu")
    assert ax.lines[3].get_ydata() == pytest.approx(belt.interval(7.0))
    open_above = plot_belt(poisson_belt(np.arange(0.0, 5.0, 0.1), 3.0, ordering="upper"))
    assert np.isfinite(open_above.get_xlim()).all()


def test_coverage_has_binomial_bars_beside_its_level():
    found = coverage(POINTS[::-1], threshold=2.7, level=0.9)
    ax = plot_coverage({"asymptotic": found, "again": found})
    points, ends = bars(ax)
    order = np.argsort(found.values)
    assert points[:, 1] == pytest.approx(found.share.fraction[order])
    other, _ = bars(ax, 1)
    assert (0.5 * (points + other))[:, 0] == pytest.approx(found.values[order]), "one beside the other"
    assert 0.0 < (other - points)[0, 0] < 0.1
    assert ends[:, 0, 1] == pytest.approx(found.share.low[order])
    assert ends[:, 1, 1] == pytest.approx(found.share.high[order])
    assert legend(ax) == ["level 90%", "asymptotic", "again"]
    assert legend(plot_coverage(found)) == ["level 90%"]


def test_power_rises_with_the_signal():
    found = discovery_power(POINTS, significance=2.0)
    ax = plot_power(found, label="signal")
    points, _ = bars(ax)
    assert points[:, 1] == pytest.approx(found.share.fraction)
    assert (np.diff(points[:, 1]) > 0.0).all()
    assert ax.get_ylabel() == "discovery power at 2 s.d."
    assert ax.get_legend() is None
    assert legend(plot_power({"a": found, "b": found})) == ["a", "b"]


def test_sensitivity_has_bands_median_and_data():
    rng = np.random.default_rng(0)
    masses = [10.0, 100.0, 1000.0]
    found = limit_bands([rng.uniform(1.0, 2.0, 500) for _ in masses], masses, name="rate", along="mass")
    ax = plot_sensitivity(found, observed=[1.2, 1.3, 1.4], log=True, label="mass [GeV]")
    assert ax.lines[0].get_ydata() == pytest.approx(found.median)
    assert ax.lines[1].get_ydata().tolist() == [1.2, 1.3, 1.4]
    for collection, columns in zip(ax.collections, ((0, 4), (1, 3)), strict=True):
        heights = collection.get_paths()[0].vertices[:, 1]
        assert (heights.min(), heights.max()) == pytest.approx(
            (found.bands[:, columns[0]].min(), found.bands[:, columns[1]].max())
        )
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("mass [GeV]", "90% CL limit on rate")
    assert legend(ax) == ["95% of toys", "68% of toys", "median", "observed"]
    one = plot_sensitivity(limit_bands([rng.uniform(1.0, 2.0, 50)], [0.0], name="rate"), observed=1.5, log=True)
    assert set(one.lines[1].get_ydata()) == {1.5}
    assert one.get_xscale() == "linear"


def test_histograms_stand_beside_their_law():
    found = statistic_distribution(POINTS[2], bins=10)
    ax = plot_toy_histogram(found)
    assert bars(ax)[0][:, 1].tolist() == found.counts.tolist()
    assert legend(ax) == ["chi-square, 1 degree of freedom", "400 toys"]
    assert (ax.get_xlabel(), ax.get_yscale()) == ("t(true)", "log")
    assert ax.patches[0].get_data().values == pytest.approx(found.expected)
    pulled = pulls(gaussian_toys(8.0, 400, 1), name="pull of mu")
    ax = plot_pulls(pulled)
    assert f"width {pulled.width:.3f}" in ax.texts[0].get_text()
    assert ax.get_xlabel() == "pull of mu"


def test_fits_are_scattered_around_the_truth():
    point = gaussian_toys(3.0, 400, 1)
    ax = plot_toy_fits(point, ["mu", "mu"])
    assert np.array_equal(ax.lines[0].get_xdata(), point.fits["free"].values[:, 0])
    assert ax.lines[1].get_xdata().tolist() == [3.0]
    with pytest.raises(InputError, match="two parameters, not 1"):
        plot_toy_fits(point, ["mu"])
    with pytest.raises(UnknownNameError, match="'nu' is not a parameter"):
        plot_toy_fits(point, ["mu", "nu"])
    with pytest.raises(UnknownNameError, match="Did you mean 'free'"):
        plot_toy_fits(point, ["mu", "mu"], hypothesis="fre")


def test_pictures_draw_into_axes_that_they_are_given_and_can_be_saved(tmp_path):
    ax = Figure().subplots()
    assert plot_coverage(coverage(POINTS, threshold=2.7, level=0.9), ax=ax) is ax
    save(ax, tmp_path / "coverage.png")
    assert (tmp_path / "coverage.png").stat().st_size > 1000
