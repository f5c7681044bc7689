"""From histogram to shape: each step against what it says by hand, the binning check, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from columnminer.errors import FileFormatError, InputError, UnknownNameError
from columnminer.infer.template_files import Histogram
from columnminer.infer.template_shapes import combined, counted, read_spectrum, reweighted, shape_in, sliced

if TYPE_CHECKING:
    from pathlib import Path

X, Y = np.linspace(0.0, 100.0, 6), np.array([1.0, 2.0, 4.0, 8.0])
CONTENTS = np.random.default_rng(1).uniform(0.5, 2.0, (5, 3))
SPACE = {"x": X, "y": Y}


def volumes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.multiply.outer(np.diff(x), np.diff(y))


@pytest.fixture
def histogram() -> Histogram:
    return Histogram(("x", "y"), (X, Y), CONTENTS)


def test_a_shape_is_events_and_a_normalised_density(histogram: Histogram) -> None:
    shape = shape_in(SPACE, histogram, scale=3)
    assert shape.events == pytest.approx(3 * CONTENTS.sum())
    np.testing.assert_allclose(shape.density * histogram.volumes, CONTENTS / CONTENTS.sum())
    np.testing.assert_allclose(shape.probability, CONTENTS / CONTENTS.sum())
    uniform = shape_in(SPACE, histogram, uniform=True)
    assert uniform.events == pytest.approx(CONTENTS.sum())
    # alea (0.3.5) sets the density of each bin to one over its volume, which adds up to the number of bins; a density
    # adds up to one.
    np.testing.assert_allclose(uniform.probability, 1 / 15)


def test_nothing_expected_is_a_shape_of_zeros(histogram: Histogram) -> None:
    shape = shape_in(SPACE, histogram.filled(np.zeros((5, 3))))
    assert shape.events == 0
    assert not shape.probability.any()


def test_edges_in_single_precision_leave_a_sum_of_one() -> None:
    fine = np.linspace(1000.0, 1001.0, 101)
    single = Histogram(("x",), (fine.astype(np.float32),), np.eye(1, 100, 3, dtype=np.float32)[0])
    shape = shape_in({"x": fine}, single)
    assert abs((shape.density * np.diff(fine)).sum() - 1) > 1e-4  # the width of that bin is rounded
    assert shape.probability_in([fine]).sum() == pytest.approx(1, abs=1e-12)
    assert shape.probability.sum() == pytest.approx(1, abs=1e-6)


def test_a_density_is_kept_between_edges_that_differ_by_rounding(histogram: Histogram) -> None:
    shape = shape_in(SPACE, histogram)
    np.testing.assert_array_equal(
        shape.probability_in([X * (1 + 1e-12), Y]), shape.density * volumes(X * (1 + 1e-12), Y)
    )


def test_densities_become_events_before_they_are_normalised(histogram: Histogram) -> None:
    per_bin = counted(histogram, in_events_per_bin=False)
    np.testing.assert_allclose(per_bin.contents, CONTENTS * histogram.volumes)
    # alea (0.3.5) normalises the densities and not the events, and does not divide by the volume again: its density
    # of such a template is off by the volume of each bin. Here the shape is the density that the file holds.
    whole = counted(histogram, in_events_per_bin=False, normalise=True)
    assert whole.total == pytest.approx(1)
    np.testing.assert_allclose(shape_in(SPACE, whole).density, CONTENTS / (CONTENTS * histogram.volumes).sum())


def test_negative_bins_and_empty_templates_are_refused(histogram: Histogram) -> None:
    contents = CONTENTS.copy()
    contents[2, 1] = -0.25
    with pytest.raises(InputError, match=r"bin \(2, 1\) of the template is negative: -0.25"):
        counted(histogram.filled(contents))
    with pytest.raises(InputError, match="cannot be normalised"):
        counted(histogram.filled(0 * contents), normalise=True)


@pytest.mark.parametrize(
    ("limits", "rows"),
    [
        (None, slice(0, 5)),
        ((0, 100), slice(0, 5)),
        ((25, 55), slice(1, 3)),  # the bins that contain the limits count
        ((20, 40), slice(1, 3)),  # an edge lies in the bin above it
        ((-50, 30), slice(0, 2)),
        ((100, 200), slice(4, 5)),  # the last edge in the last bin
    ],
)
def test_slices_keep_the_bins_between_their_limits(histogram: Histogram, limits: object, rows: slice) -> None:
    kept = sliced(histogram, [{"slice_axis": "x", "slice_axis_limits": limits}])
    np.testing.assert_array_equal(kept.contents, CONTENTS[rows])
    np.testing.assert_array_equal(kept.edges[0], X[rows.start : rows.stop + 1])
    summed = sliced(histogram, [{"slice_axis": 0, "slice_axis_limits": limits, "sum_axis": True}])
    assert summed.names == ("y",)
    np.testing.assert_allclose(summed.contents, CONTENTS[rows].sum(axis=0))


def test_slices_follow_each_other_and_refuse_what_is_not_there(histogram: Histogram) -> None:
    both = sliced(
        histogram, [{"slice_axis": "x", "slice_axis_limits": [20, 39]}, {"slice_axis": "y", "sum_axis": True}]
    )
    assert both.contents.tolist() == pytest.approx([CONTENTS[1].sum()])
    with pytest.raises(UnknownNameError, match="'z'"):
        sliced(histogram, [{"slice_axis": "z"}])
    with pytest.raises(InputError, match="leave nothing of axis 'x'"):
        sliced(histogram, [{"slice_axis": "x", "slice_axis_limits": [150, 200]}])
    with pytest.raises(InputError, match="its only axis"):
        sliced(both, [{"slice_axis": "x", "sum_axis": True}])


def test_combination_is_the_first_plus_weighted_others_without_negative_bins(histogram: Histogram) -> None:
    other = histogram.filled(CONTENTS[::-1])
    p, q = CONTENTS / CONTENTS.sum(), CONTENTS[::-1] / CONTENTS.sum()
    np.testing.assert_allclose(combined([histogram, other, histogram], [0.2, -0.5]).contents, 0.5 * p + 0.2 * q)
    low = combined([histogram, other], [-1.0]).contents
    np.testing.assert_allclose(low, np.maximum(p - q, 0.0))
    assert (p - q).min() < 0
    empty = histogram.filled(0 * CONTENTS)
    np.testing.assert_allclose(combined([empty, other], [1.0]).contents, q)


def test_a_smaller_histogram_is_added_where_its_bins_are(histogram: Histogram) -> None:
    part = Histogram(("x", "y"), (X[1:4], Y[1:]), CONTENTS[1:3, 1:])
    expected = CONTENTS / CONTENTS.sum()
    expected[1:3, 1:] += 2 * CONTENTS[1:3, 1:] / CONTENTS[1:3, 1:].sum()
    np.testing.assert_allclose(combined([histogram, part], [2.0]).contents, expected)
    shifted = Histogram(("x", "y"), (X[1:4] + 5, Y[1:]), CONTENTS[1:3, 1:])
    with pytest.raises(InputError, match="histogram 1 along 'x'"):
        combined([histogram, shifted], [2.0])
    with pytest.raises(InputError, match="combined with 1 weights, not 2"):
        combined([histogram, part], [2.0, 1.0])
    with pytest.raises(InputError, match="1 axes"):
        combined([histogram, Histogram(("x",), (X,), np.ones(5))], [1.0])


def test_a_spectrum_reweights_one_axis(histogram: Histogram, tmp_path: Path) -> None:
    path = tmp_path / "spectrum.json"
    path.write_text(json.dumps({"description": "rising", "coordinate_system": [0, 5], "map": [0, 10]}))
    spectrum = read_spectrum(path)
    assert spectrum(np.array([-1.0, 2.5, 6.0])).tolist() == [0.0, 5.0, 0.0]
    # Middles of the bins in y: 1.5, 3, 6; widths 1, 2, 4; zero outside of the spectrum.
    np.testing.assert_allclose(reweighted(histogram, "y", spectrum).contents, CONTENTS * [3.0, 12.0, 0.0])
    for wrong in (
        {"map": [1, 2]},
        {"coordinate_system": [0, 1], "map": [1]},
        {"coordinate_system": [1, 0], "map": [1, 2]},
    ):
        path.write_text(json.dumps(wrong))
        with pytest.raises(FileFormatError, match=r"spectrum\.json"):
            read_spectrum(path)
    path.write_text("{")
    with pytest.raises(FileFormatError, match="no spectrum in JSON"):
        read_spectrum(path)


def test_logarithmic_edges_are_raised(histogram: Histogram) -> None:
    logs = Histogram(("x", "y"), (X, np.log10(Y)), CONTENTS)
    np.testing.assert_allclose(shape_in(SPACE, logs, log10_axes=[1]).density, shape_in(SPACE, histogram).density)
    with pytest.raises(InputError, match="edges differ"):
        shape_in(SPACE, logs)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"x": X + 1.0, "y": Y}, "along 'x'"),  # shifted
        ({"x": X, "y": 1.05 * Y}, "along 'y'"),  # scaled
        ({"x": np.linspace(0, 100, 5), "y": Y}, "5 bins .* 4 in"),
        ({"x": X}, "2 axes"),
    ],
)
def test_templates_must_have_the_bins_of_the_analysis_space(
    histogram: Histogram, space: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        shape_in(space, histogram)


def test_rounded_edges_are_the_same_edges(histogram: Histogram) -> None:
    shape = shape_in({"x": X + 1e-3, "y": Y}, histogram)
    assert shape.probability.sum() == pytest.approx(1)
