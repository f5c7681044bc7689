"""Pictures of fits, information, calibration and toys: that each draws what its result says, and what is refused."""

from __future__ import annotations

import dataclasses

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from pictures_of_results import (
    NUISANCES,
    STRONG,
    WEAK,
    checks,
    curve,
    impacts,
    information,
    interval,
    limits,
    profile,
    profile_2d,
    reliability,
    slices,
    toys,
    two_samples,
)
from scipy.stats import chi2
from wimp_templates import wimps

from columnminer.errors import InputError, MissingError, UnknownNameError
from columnminer.infer.asymptotics import CLs
from columnminer.learn.verdicts import Check
from columnminer.show.bands import plot_cls
from columnminer.show.calibration import plot_calibration, plot_calibration_curve, plot_closure
from columnminer.show.checks import plot_verdicts
from columnminer.show.fisher import plot_information, plot_information_bars
from columnminer.show.fits import plot_intervals, plot_profile
from columnminer.show.impacts import plot_correlations, plot_impacts
from columnminer.show.limits import plot_limit_panels, plot_limits
from columnminer.show.slices import plot_information_slices
from columnminer.show.style import log_scale, percent
from columnminer.show.templates import plot_events
from columnminer.show.toys import plot_estimates, plot_toy_histogram
from columnminer.toys.distributions import estimate_distribution, statistic_distribution


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
    line, _, (collection, *_) = ax.containers[index]
    return np.stack(line.get_data(), axis=1), np.array(collection.get_segments())


def test_levels_are_named_as_they_are():
    assert [percent(level) for level in (0.95, 0.6827, 0.9973)] == ["95%", "68.27%", "99.73%"]


def test_shades_are_the_p_values_of_the_one_that_is_named():
    two = {"strong": limits(STRONG, [0.01, 0.0]), "weak": limits(WEAK, [0.0, 0.0])}
    ax = plot_limits(two, shade="weak")
    mesh = next(c for c in ax.collections if hasattr(c, "get_coordinates"))
    drawn = np.asarray(mesh.get_array()).reshape(41, 41)
    assert drawn == pytest.approx(np.maximum(two["weak"].p_value, 1e-3).reshape(41, 41).T)
    assert any("weak" in other.get_xlabel() for other in ax.figure.axes), "the colour bar says whose they are"
    with pytest.raises(UnknownNameError, match="Did you mean 'weak'"):
        plot_limits(two, shade="weka")


def test_each_analysis_has_a_panel_with_the_same_axes():
    three = {name: limits(STRONG, [0.01 * i, 0.0]) for i, name in enumerate(("a", "b", "c", "d"))}
    first = plot_limit_panels(three, truth=[0.0, 0.0])
    shown = [ax for ax in first.figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in shown] == ["a", "b", "c", "d"]
    assert {ax.get_xlim() for ax in shown} == {(-0.06, 0.06)}
    assert [text.get_text() for text in first.figure.legends[0].get_texts()] == [
        "best fit",
        "68% CL",
        "95% CL",
        "truth",
    ]
    line = plot_limit_panels({"a": limits([[9000.0]], [0.0])})
    assert line.get_yscale() == "log"


def test_a_profile_stands_at_its_best_fit_and_levels_at_their_thresholds():
    found = profile(1.2, 0.8)
    ax = plot_profile(
        {"profiled": found}, intervals=[interval(1.2, 0.0, 2.5), interval(1.2, -np.inf, 2.2, 0.9, "upper")]
    )
    assert ax.lines[0].get_ydata() == pytest.approx(found.test_statistic)
    assert (ax.lines[1].get_xdata(), ax.lines[1].get_ydata()) == ([1.2], [0.0])
    heights = [line.get_ydata()[0] for line in ax.lines[2:4]]
    assert heights == pytest.approx(chi2.ppf([0.68, 0.95], 1))
    assert ax.lines[4].get_xdata() == pytest.approx([0.0, 2.5])
    assert ax.lines[5].get_xdata() == pytest.approx([-1.0, 2.2]), "an open end leaves the picture"
    assert ax.lines[5].get_markevery() == [1], "and has no mark"
    assert legend(ax) == ["profiled", "90% interval [0, 2.5]", "90% upper limit 2.2"]


def test_contours_of_a_profile_are_at_thresholds_of_two_degrees_of_freedom():
    ax = plot_profile(profile_2d(STRONG, [0.009, -0.003]))
    drawn = [path for c in ax.collections for path in c.get_paths() if len(path.vertices)]
    for path, level in zip(drawn, (0.68, 0.95), strict=True):
        away = path.vertices - [0.009, -0.003]
        assert np.einsum("ni,ij,nj->n", away, STRONG, away) == pytest.approx(chi2.ppf(level, 2), rel=0.05)
    assert legend(ax) == ["best fit", "68% CL", "95% CL"]
    with pytest.raises(InputError, match="profile along a Grid"):
        plot_profile(dataclasses.replace(profile_2d(STRONG, [0.0, 0.0]), grid=None))
    with pytest.raises(InputError, match="same one or two"):
        plot_profile({"a": profile(1.0, 1.0), "b": profile_2d(STRONG, [0.0, 0.0])})


def test_intervals_stand_below_each_other():
    ax = plot_intervals(
        {"a": [interval(1.0, 0.5, 2.0, 0.95), interval(1.0, 0.8, 1.5, 0.68)], "b": interval(0.0, -1.0, 1.0, 0.95)}
    )
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    drawn = [line for line in ax.lines if line.get_marker() == "None" and len(line.get_xdata()) == 2]
    assert [line.get_xdata().tolist() for line in drawn] == [[0.5, 2.0], [0.8, 1.5], [-1.0, 1.0]]
    assert drawn[0].get_linewidth() < drawn[1].get_linewidth()
    other = dataclasses.replace(interval(0.0, -1.0, 1.0), name="nu")
    with pytest.raises(InputError, match="one parameter"):
        plot_intervals({"a": interval(1.0, 0.5, 2.0), "b": other})


def test_impacts_have_pulls_beside_them():
    found = impacts()
    pulls = plot_impacts(found, most=5)
    moves = pulls.figure.axes[1]
    assert [label.get_text() for label in pulls.get_yticklabels()] == list(NUISANCES[:5])
    points, ends = bars(pulls)
    assert points[:, 0] == pytest.approx(found.pulls[:4])
    assert ends[:, 1, 0] - ends[:, 0, 0] == pytest.approx(2.0 * found.constrained[:4])
    assert "1.3 ± 0.07" in [text.get_text() for text in pulls.texts], "without a constraint there is no pull"
    assert [patch.get_width() for patch in moves.patches] == pytest.approx([*found.up[:5], *found.down[:5]])
    nothing = dataclasses.replace(found, nuisances=())
    with pytest.raises(InputError, match="no nuisance parameters"):
        plot_impacts(nothing)


def test_correlations_are_those_of_the_covariance():
    fit = impacts().best_fit
    ax = plot_correlations(fit, parameters=["mu", "scale", "tag"])
    assert fit.correlation[0, 2] == pytest.approx(-0.45)
    drawn = np.ma.filled(ax.images[0].get_array(), np.nan)
    assert drawn[0, 1] == pytest.approx(-0.45)
    assert np.isnan(drawn[2]).all(), "a parameter at a limit has no correlations"
    assert sorted(text.get_text() for text in ax.texts) == ["-0.45", "-0.45", "1.00", "1.00"]
    with pytest.raises(UnknownNameError, match="Did you mean 'scale'"):
        plot_correlations(fit, parameters=["sale"])


def test_error_bands_are_as_wide_as_the_errors_of_the_information():
    ax = plot_information(information(np.diag([100.0, 25.0]), 0.2), levels=(0.68,), errors=1.0)
    ring = ax.patches[0].get_xy()
    across = ring[np.abs(ring[:, 1]) < 1e-9, 0]  # where only the first entry counts
    radius = np.sqrt(chi2.ppf(0.68, 2) / 100.0)
    assert np.unique(np.abs(across).round(6)) == pytest.approx(sorted(radius / np.sqrt([1.2, 0.8])), abs=1e-5)
    flat = plot_information(information(np.diag([100.0, 25.0])), levels=(0.68,)).patches[0].get_xy()
    assert np.hypot(*(flat * [10.0, 5.0]).T) == pytest.approx(np.sqrt(chi2.ppf(0.68, 2))), "without errors: a line"


def test_bars_are_eigenvalues_divided_among_parameters():
    above = plot_information_bars({"a": information(np.diag([100.0, 25.0]), 0.1), "b": information(STRONG)})
    below = above.figure.axes[1]
    lines = [line for line in above.lines if line.get_marker() == "None"]
    heights = sorted({line.get_ydata()[0] for line in lines})
    assert heights == pytest.approx(sorted([25.0, 100.0, *np.linalg.eigvalsh(STRONG)]))
    assert [bar.get_height() for bar in below.patches] == pytest.approx([50.0, np.linalg.det(STRONG) ** 0.5])
    ends = below.containers[1].lines[2][0].get_segments()
    # det^(1/2) of independent entries with relative errors of 10 %: half of 10 % times sqrt(2)
    assert ends[0][1][1] - ends[0][0][1] == pytest.approx(2.0 * 50.0 * 0.5 * 0.1 * np.sqrt(2.0))
    of_b = [line for line in lines if line.get_ydata()[0] == pytest.approx(np.linalg.eigvalsh(STRONG)[1])]
    length = of_b[0].get_xdata()[1] - of_b[0].get_xdata()[0]
    assert length == pytest.approx(0.8 * np.linalg.eigh(STRONG)[1][0, 1] ** 2)
    with pytest.raises(MissingError, match="no information"):
        plot_information_bars({"a": information(np.zeros((2, 2)))})
    with pytest.raises(InputError, match="same parameters"):
        plot_information_bars({"a": information(STRONG), "b": information(STRONG, names=("x", "y"))})


def test_slices_along_directions_share_what_is_known_there():
    found = slices()
    turned = found.along({"sum": [1.0, 1.0]})
    ax = plot_information_slices(turned, determinant=True)
    known = np.einsum("kij->k", found.full)[1:]
    assert ax.patches[1].get_data().values == pytest.approx(known / known.sum())
    assert legend(ax) == ["cross section", "sum", "determinant", "number of events alone"]
    own = found.along(dict(zip("ab", found.total.eigenvectors, strict=True)))
    mixed = own.total.information
    assert np.diag(mixed) == pytest.approx(found.total.eigenvalues)
    assert mixed[0, 1] == pytest.approx(0.0, abs=1e-9 * mixed[1, 1])
    with pytest.raises(InputError, match="one number for each of c_ll, c_lr"):
        found.along({"x": [1.0]})


def test_verdicts_are_in_units_of_what_passes():
    far = Check("far", 9.0, 0.1, 1.0)
    broken = Check("broken", np.nan, 0.1, 1.0)
    ax = plot_verdicts({"good": checks(), "bad": [*checks(0.3)[:1], far, broken]})
    x = [container.lines[0].get_xdata()[0] for container in ax.containers]
    assert x[0] == pytest.approx(checks()[0].deviation / checks()[0].mark)
    assert x[-2:] == [4.0, 4.0], "drawn at the edge"
    assert ax.containers[-1].lines[0].get_marker() == ">"
    filled = [container.lines[0].get_markerfacecolor() != "white" for container in ax.containers]
    assert filled == [True] * 3 + [False] * 3
    assert legend(ax) == ["good: 3 of 3 passed", "bad: 0 of 3 passed"]
    with pytest.raises(InputError, match="no checks"):
        plot_verdicts([])


def test_calibrations_have_differences_below_them():
    two = {"before": reliability(1.5), "after": reliability()}
    ax = plot_calibration(two)
    below = ax.figure.axes[1]
    assert bars(below)[0][:, 1] == pytest.approx(two["before"].found - two["before"].expected)
    assert legend(ax) == ["expected", "before", "after"]
    found = curve()
    line = plot_calibration_curve(found).lines[1]
    assert line.get_ydata() == pytest.approx(found(line.get_xdata()))


def test_closure_compares_shares_in_bins():
    test = two_samples(0.15)
    found = test.histogram(10)
    both = found.first + found.second
    assert both == pytest.approx(0.2, abs=0.01), "bins of equal shares of both"
    assert found.first.sum() == pytest.approx(1.0)
    weights = test.draws.weights[test.is_first]
    assert found.first_error.max() < 1.5 * np.sqrt(0.1 / len(weights))
    ax = plot_closure(test, n_bins=10)
    ratio = ax.figure.axes[1]
    assert bars(ratio)[0][:, 1] == pytest.approx(found.second / found.first)
    assert f"{test.area:.4f}" in ax.texts[0].get_text()
    pulls = (found.first - found.second) / np.hypot(found.first_error, found.second_error)
    assert np.mean(pulls**2) > 10.0
    same = two_samples().histogram(10)
    pulls = (same.first - same.second) / np.hypot(same.first_error, same.second_error)
    assert 0.2 < np.mean(pulls**2) < 2.5, "negative control: samples of one distribution"


def test_estimates_are_counted_around_the_truth():
    found = estimate_distribution(toys([3.0], 2000)[0], bins=np.linspace(0.0, 5.0, 11))
    assert found.counts.sum() + found.beyond == found.toys == 2000
    assert (found.truth, found.name) == (3.0, "mu")
    assert found.mean == pytest.approx(3.0, abs=4.0 * found.mean_error)
    assert found.high - found.low == pytest.approx(2.0, rel=0.1)
    ax = plot_estimates(found)
    assert ax.patches[1].get_data().values == pytest.approx(found.counts)
    assert ax.lines[0].get_xdata() == [3.0, 3.0]
    assert legend(plot_estimates({"a": found, "b": found})) == ["a, 2000 toys", "b, 2000 toys", "truth"]
    with pytest.raises(UnknownNameError, match="'nu' is not a parameter"):
        estimate_distribution(toys([3.0], 10)[0], "nu")


def test_toys_with_and_without_a_signal_stand_beside_the_law_of_the_first():
    two = {name: statistic_distribution(toys([mu])[0], "zero", bins=10) for name, mu in (("no", 0.0), ("yes", 3.0))}
    ax = plot_toy_histogram(two, observed=4.0)
    assert len(ax.patches) == 1
    assert bars(ax, 1)[0][:, 1].tolist() == two["yes"].counts.tolist()
    assert legend(ax) == ["chi-square, 1 degree of freedom", "observed", "no, 400 toys", "yes, 400 toys"]


def test_cls_has_the_level_of_its_exclusion():
    values = np.array([2.0, 1.0])
    expected = np.array([[0.01, 0.02, 0.1, 0.3, 0.6], [0.1, 0.2, 0.5, 0.7, 0.9]])
    ax = plot_cls(CLs("mu", values, np.array([0.04, 0.4]), values, values, expected, impacts().best_fit), level=0.9)
    assert ax.lines[0].get_ydata().tolist() == [0.5, 0.1], "in the order of the hypotheses"
    assert ax.lines[1].get_ydata().tolist() == [0.4, 0.04]
    assert ax.lines[2].get_ydata() == pytest.approx([0.1, 0.1])
    assert ax.texts[0].get_text() == "90% CL"


def test_events_stand_beside_what_their_sources_give():
    term = wimps().factors[0]
    events, sources = term.simulate(3, mu=2.0), term.source_histograms(mu=2.0, expected_events=True)
    ax = plot_events(events, sources)
    table = events.table()
    shown = [line.get_xdata() for line in ax.lines]
    assert [len(x) for x in shown] == [int((table["source"] == i).sum()) for i in range(3)]
    above, beside = ax.figure.axes[0], ax.figure.axes[3]
    assert above.patches[0].get_data().values.sum() == pytest.approx(float(term.expected(mu=2.0)))
    assert bars(above)[0][:, 1].sum() == len(table)
    assert bars(beside)[0][:, 0].sum() == len(table), "the other axis is drawn upwards"
    one = plot_events({"x": table["x"], "y": table["y"]}, sources, along=["y"])
    assert one.patches[1].get_data().values == pytest.approx(sources["signal"].values.sum(axis=0))
    with pytest.raises(UnknownNameError, match="no axis 'z'"):
        plot_events(events, sources, along=["z"])
    with pytest.raises(InputError, match="one or two axes"):
        plot_events(events, sources, along=[])
    with pytest.raises(MissingError, match="no positions"):
        plot_events(term.asimov(mu=1.0), sources)


def test_numbers_on_logarithmic_axes_are_written_out():
    ax = plot_limits(limits([[9000.0]], [0.0]))
    log_scale(ax, "y")
    for (low, high), text in (((1.0, 20.0), "10"), ((1.0, 1e6), "$\\mathdefault{10^{1}}$")):
        ax.set_ylim(low, high)
        assert ax.yaxis.get_major_formatter()(10.0) == text
