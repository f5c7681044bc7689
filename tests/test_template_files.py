"""Histograms of files: every format gives the same object, names with parameters are filled, and nothing else runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boost_histogram as bh
import h5py
import hist
import numpy as np
import pytest
import uproot

from columnminer.errors import FileFormatError, InputError, UnknownNameError
from columnminer.infer.template_files import Histogram, read_histogram, write_histograms
from columnminer.infer.template_names import fill_name, find_file, spellings

if TYPE_CHECKING:
    from pathlib import Path

EDGES = (np.array([0.0, 1.0, 3.0, 6.0]), np.array([10.0, 20.0, 50.0]))
CONTENTS = np.array([[1.0, 2.0], [0.5, 0.0], [3.0, 7.0]])


@pytest.fixture
def histogram() -> Histogram:
    return Histogram(("cs1", "cs2"), EDGES, CONTENTS)


def same(a: Histogram, b: Histogram) -> bool:
    return a.names == b.names and all(map(np.array_equal, a.edges, b.edges)) and np.array_equal(a.contents, b.contents)


def test_a_histogram_knows_total_volumes_and_centres(histogram: Histogram) -> None:
    assert histogram.total == 13.5
    np.testing.assert_array_equal(histogram.volumes, [[10, 30], [20, 60], [30, 90]])
    np.testing.assert_array_equal(histogram.centres(1), [15.0, 35.0])
    assert (histogram.axis("cs2"), histogram.axis(0)) == (1, 0)
    with pytest.raises(UnknownNameError, match=r"no axis 'cs3'.*Did you mean"):
        histogram.axis("cs3")
    with pytest.raises(UnknownNameError):
        histogram.axis(2)


def test_axes_without_distinct_names_get_numbers() -> None:
    assert Histogram(("", ""), EDGES, CONTENTS).names == ("axis0", "axis1")
    assert Histogram(("x", "x"), EDGES, CONTENTS).names == ("axis0", "axis1")


@pytest.mark.parametrize(
    ("names", "edges", "contents"),
    [
        (("x",), EDGES, CONTENTS),
        (("x", "y"), EDGES, CONTENTS.T),
        (("x", "y"), (EDGES[0][::-1], EDGES[1]), CONTENTS),
        (("x", "y"), EDGES, np.where(CONTENTS > 6, np.nan, CONTENTS)),
        ((), (), np.array(1.0)),
    ],
)
def test_what_is_no_histogram_is_refused(
    names: tuple[str, ...], edges: tuple[np.ndarray, ...], contents: object
) -> None:
    with pytest.raises(InputError):
        Histogram(names, edges, np.asarray(contents))


def test_hdf5_returns_what_was_written(histogram: Histogram, tmp_path: Path) -> None:
    path = tmp_path / "t.ii.h5"
    write_histograms(path, {"a": histogram, "b": histogram.filled(2 * CONTENTS)})
    assert same(read_histogram(path, "a"), histogram)
    assert read_histogram(path, "b").total == 27.0
    with h5py.File(path) as file:  # the layout that inference_interface reads
        assert file["bins/1"].attrs["name"] == "cs2"
        assert file["templates/a"].shape == (3, 2)
    with pytest.raises(UnknownNameError, match="none is called 'c'"):
        read_histogram(path, "c")
    with pytest.raises(UnknownNameError, match="none is named"):
        read_histogram(path)


def test_contents_keep_the_precision_of_the_file(histogram: Histogram, tmp_path: Path) -> None:
    single = histogram.filled(CONTENTS.astype(np.float32) / np.float32(3))
    write_histograms(tmp_path / "t.h5", {"a": single})
    back = read_histogram(tmp_path / "t.h5")  # the only one needs no name
    assert back.contents.dtype == back.total.dtype == np.float32
    with h5py.File(tmp_path / "int.h5", "w") as file:  # counts become floating
        file["bins/0"], file["templates/n"] = np.array([0, 1, 2]), np.array([1, 2])
    counts = read_histogram(tmp_path / "int.h5")
    assert counts.contents.dtype == np.float64
    assert counts.names == ("axis0",)


def test_objects_of_hist_and_boost_histogram_and_root_are_the_same(histogram: Histogram, tmp_path: Path) -> None:
    theirs = hist.Hist(hist.axis.Variable(EDGES[0], name="cs1"), hist.axis.Variable(EDGES[1], name="cs2"))
    theirs.view()[...] = CONTENTS
    assert same(Histogram.of(theirs), histogram)
    boost = bh.Histogram(bh.axis.Regular(2, 0, 4), storage=bh.storage.Weight())
    boost.fill([1, 1, 3, 99], weight=[0.5, 0.5, 2, 1])
    assert Histogram.of(boost).contents.tolist() == [1.0, 2.0]  # the overflow is left out
    with uproot.recreate(tmp_path / "t.root") as file:
        file["folder/er"] = theirs
        file["tree"] = uproot.to_writable((np.array([1.0, 2.0]), np.array([0.0, 1.0, 2.0])))
    back = read_histogram(tmp_path / "t.root", "folder/er")
    np.testing.assert_array_equal(back.contents, CONTENTS)
    np.testing.assert_array_equal(back.edges[1], EDGES[1])
    assert read_histogram(tmp_path / "t.root", "tree").total == 3.0
    with pytest.raises(UnknownNameError, match="Did you mean 'folder/er'"):
        read_histogram(tmp_path / "t.root", "folder/eri")
    with pytest.raises(InputError, match="no histogram"):
        Histogram.of([1, 2])


def test_files_that_are_no_templates_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="no such template"):
        read_histogram(tmp_path / "gone.h5")
    (tmp_path / "text.h5").write_text("not at all")
    with pytest.raises(FileFormatError, match="neither an HDF5 nor a ROOT"):
        read_histogram(tmp_path / "text.h5")
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"x" * 50)
    with pytest.raises(FileFormatError, match=r"cut.h5.*cannot be read"):
        read_histogram(tmp_path / "cut.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(FileFormatError, match="'bins' and 'templates'"):
        read_histogram(tmp_path / "other.h5")
    with h5py.File(tmp_path / "axes.h5", "w") as file:
        file["bins/x"], file["templates/a"] = [0.0, 1.0], [1.0]
    with pytest.raises(FileFormatError, match="must be called 0, 1"):
        read_histogram(tmp_path / "axes.h5")
    with h5py.File(tmp_path / "short.h5", "w") as file:
        file["bins/0"], file["templates/a"] = [0.0, 1.0], [1.0, 2.0]
    with pytest.raises(FileFormatError, match=r"short\.h5"):
        read_histogram(tmp_path / "short.h5", "a")


def test_histograms_of_one_file_share_their_axes(histogram: Histogram, tmp_path: Path) -> None:
    other = Histogram(("cs1", "s2"), EDGES, CONTENTS)
    with pytest.raises(InputError, match="'b' differ"):
        write_histograms(tmp_path / "t.h5", {"a": histogram, "b": other})
    with pytest.raises(InputError, match="no histograms"):
        write_histograms(tmp_path / "t.h5", {})


def test_names_are_filled_with_parameters() -> None:
    values = {"wimp_mass": 50, "shift": -0.5}
    assert fill_name("wimp{wimp_mass:d}gev_{shift:.2f}.h5", values) == "wimp50gev_-0.50.h5"
    assert fill_name("er_{shift}", values) == "er_-0.5"
    assert fill_name("plain.h5", {}) == "plain.h5"
    assert fill_name("{wimp_mass:03d}", {"wimp_mass": 50.0}) == "050"
    assert [fill_name("{m}", v) for v in spellings({"m": -2.0})] == ["-2.0", "-2", "-2.0"]
    with pytest.raises(InputError, match="does not suit"):
        fill_name("{shift:d}", values)
    with pytest.raises(UnknownNameError, match="Did you mean 'wimp_mass'"):
        fill_name("{wimp_mas}", values)


@pytest.mark.parametrize(
    "hostile",
    ["{a.__class__}", "{a[0]}", "{a!r}", "{}", "{0}", "{a:{b}}", "{a:99999999d}", "{a:.999f}", "{a", "a}", "{a:%s}"],
)
def test_format_texts_reach_nothing_but_the_numbers(hostile: str) -> None:
    with pytest.raises(InputError):
        fill_name(hostile, {"a": 1.0, "b": 2.0})


def test_files_are_looked_for_in_order(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    (tmp_path / "two" / "t.h5").touch()
    folders = [tmp_path / "one", tmp_path / "two"]
    assert find_file("t.h5", folders) == tmp_path / "two" / "t.h5"
    (tmp_path / "one" / "t.h5").touch()
    assert find_file("t.h5", folders) == tmp_path / "one" / "t.h5"
    assert find_file(str(tmp_path / "two" / "t.h5"), []) == tmp_path / "two" / "t.h5"
    with pytest.raises(InputError, match=r"'u\.h5'.*one.*two"):
        find_file("u.h5", folders)
