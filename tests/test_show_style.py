"""The look of pictures: the same however often and by whoever drawn, shown by notebooks, and without traces."""

from __future__ import annotations

import io
import logging

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from columnminer.generate.drellyan import DrellYan
from columnminer.show.morphing import plot_morphing_basis
from columnminer.show.style import axes, look, panels, save, styled


def written(ax, dpi=60):
    stream = io.BytesIO()
    save(ax, stream, dpi=dpi)
    return stream.getvalue()


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"), dtype=float)


@pytest.fixture
def basis():
    """A picture with a colour bar, whose layout needs several passes: its tick labels depend on its size."""
    return plot_morphing_basis(DrellYan(bound=0.08).setup(), resolution=21)


def test_saving_again_writes_the_same_bytes_whatever_was_drawn_between(basis):
    first = written(basis)
    assert written(basis) == first
    written(basis, dpi=150)
    basis.figure.draw_without_rendering()
    assert written(basis) == first
    assert basis.figure.dpi != 60, "the figure keeps its own resolution"


def test_nothing_stands_outside_the_picture(basis):
    written(basis, 100)
    basis.figure.draw_without_rendering()
    box, (width, height) = basis.figure.get_tightbbox(), basis.figure.get_size_inches()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) > 0.0


def test_a_layout_goes_on_after_saving(basis):
    written(basis)
    before = basis.get_position().y1
    basis.set_title("a title in two\nlines")
    written(basis)
    assert basis.get_position().y1 < before - 0.05


def test_axes_show_themselves_in_a_notebook(basis):
    png = basis._repr_png_()
    assert pixels(png).std() > 10.0
    assert png == written(basis, dpi=100)
    assert all(hasattr(ax, "_repr_png_") for ax in panels(1, 2, (4, 2)).ravel())
    assert not plt.get_fignums()


def test_a_figure_has_our_style_whoever_draws_it(caplog):
    """Drawn by `savefig`, as notebooks do it: in our letters, and without a word about fonts that are not there."""

    @styled
    def drawn():
        ax = axes(None)
        ax.set_ylabel(r"$\sum_b w_b^2(\theta)$ of letters")
        ax.set_yscale("log")
        return ax

    before = dict(mpl.rcParams)
    ax = drawn()
    with caplog.at_level(logging.WARNING, logger="matplotlib"):
        stream = io.BytesIO()
        ax.figure.savefig(stream, dpi=60)
        theirs = pixels(stream.getvalue())
    assert caplog.records == []
    assert dict(mpl.rcParams) == before
    assert np.mean(np.abs(theirs - pixels(written(ax)))) < 1.0  # up to the passes of the layout


def test_figures_without_a_layout_are_written_as_they_are():
    ax = Figure(figsize=(3, 2)).add_axes((0.3, 0.3, 0.5, 0.5))
    written(ax)
    assert ax.figure.get_layout_engine() is None
    assert ax.get_position().bounds == pytest.approx((0.3, 0.3, 0.5, 0.5))


def test_each_look_differs_from_its_neighbours_without_colour():
    looks = [look(i) for i in range(6)]
    assert len({str(one.dash) for one in looks}) == len({one.marker for one in looks}) == 6
    assert len({(one.colour, str(one.dash)) for one in map(look, range(36))}) == 36
