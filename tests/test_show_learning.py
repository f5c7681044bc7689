"""Pictures of learning: members of ensembles, their spread, and checks whose labels are all to be read."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from columnminer.errors import InputError
from columnminer.learn.history import History
from columnminer.learn.verdicts import Check, Finding
from columnminer.show.checks import plot_check, plot_checks
from columnminer.show.learning import plot_members, plot_spread


def history(losses, best, *, validation=True):
    losses = np.asarray(losses, dtype=float)
    return History(losses + 1.0, losses if validation else losses[:0], {}, {}, losses, best, 1.0)


def test_each_member_has_a_line_and_the_point_that_was_kept():
    ax = plot_members([history([3, 1, 2], 1), history([4, 3, 2], 2)])
    lines, kept = ax.lines[::2], ax.lines[1::2]
    assert [line.get_ydata().tolist() for line in lines] == [[3, 1, 2], [4, 3, 2]]
    assert [(point.get_xdata().tolist(), point.get_ydata().tolist()) for point in kept] == [([2], [1]), ([3], [2])]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["members", "kept"]


def test_without_validation_the_training_losses_are_drawn():
    ax = plot_members([history([3, 1], 1, validation=False), history([4, 3], 1)])
    assert ax.lines[0].get_ydata().tolist() == [4, 2]
    assert ax.get_ylabel() == "training loss"


def test_a_spread_counts_every_event_within_its_range():
    estimate, spread = np.linspace(-1, 1, 500), np.linspace(0.1, 0.2, 500)
    ax = plot_spread(estimate, spread, quantity="log r", note="RMS 1")
    counts = np.ma.filled(ax.collections[0].get_array(), 0)
    assert counts.sum() == pytest.approx(500, abs=2)
    assert ax.get_xlabel() == "mean of the members: log r"
    with pytest.raises(InputError, match="one shape"):
        plot_spread(estimate, spread[:3], quantity="log r")


def check(name, y_label):
    x = np.linspace(-0.08, 0.08, 20)
    return Check(name, 0.0, 0.1, 0.5, Finding(x, 0 * x, 0 * x, 0 * x + 0.1, "c_ll", y_label))


def cut_off(axes_of_figure):
    """Names of labels that reach beyond their figure, once it is drawn."""
    figure = axes_of_figure[0].figure
    FigureCanvasAgg(figure).draw()
    edge = figure.bbox
    beyond = []
    for ax in axes_of_figure:
        for text in (ax.xaxis.label, ax.yaxis.label, ax.title, *ax.get_xticklabels()):
            box = text.get_window_extent()
            if text.get_text() and (box.x0 < edge.x0 or box.y0 < edge.y0 or box.x1 > edge.x1 or box.y1 > edge.y1):
                beyond.append(text.get_text())
    return beyond


def test_labels_of_checks_are_not_cut_off():
    label = "mean score / standard deviation"
    first = plot_checks([check(f"mean score of c_{i}", label) for i in range(6)])
    shown = [ax for ax in first.figure.axes if ax.axison]
    assert len(shown) == 6
    assert cut_off(shown) == []
    shown[0].set_ylabel(2 * label)
    assert cut_off(shown) == [2 * label], "what is too long is found"


def test_one_check_is_drawn_alone():
    assert plot_check(check("mean ratio", "mean ratio")).get_title() == "mean ratio: passed"
