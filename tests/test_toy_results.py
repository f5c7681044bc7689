"""Results of campaigns at rest: what is written is read, point by point, and the same content is the same bytes."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from columnminer.errors import FileFormatError, InputError, MissingError, OutputExistsError, UnknownNameError
from columnminer.toys.results import CampaignResults, PointDescription, columns_of, publish_results


def described(poi=1.0, n_toys=5, hypotheses=None, **changes):
    hypotheses = {"free": {}, "zero": {"mu": 0.0}, "true": {"mu": poi}} if hypotheses is None else hypotheses
    fields = {
        "n_toys": n_toys,
        "generate": {"mu": poi},
        "nominal": {"mass": 50.0},
        "poi": "mu",
        "parameter_names": ("mu", "gamma"),
        "hypotheses": hypotheses,
        "intervals_of": ["free"],
        "level": 0.9,
        "kind": "central",
        "poi_expectation": 10.0 * poi,
        "expected": {"signal": 10.0 * poi},
        "common_hypothesis": {},
        "metadata": {"who": "me"},
    }
    return PointDescription(**{**fields, **changes})


def rows(description, seed):
    rng = np.random.default_rng(seed)
    table = {}
    for name, (shape, kind) in columns_of(description).items():
        full = (description.n_toys, *shape)
        table[name] = rng.normal(size=full) if kind == "f8" else rng.integers(0, 2, full).astype(kind)
    return table


def cut(table, *lengths):
    start = 0
    for n in lengths:
        yield {name: column[start : start + n] for name, column in table.items()}
        start += n


@pytest.fixture
def points():
    descriptions = [described(0.5), described(2.0, n_toys=3)]
    return [(d, rows(d, i)) for i, d in enumerate(descriptions)]


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_is_written_is_read(points, tmp_path):
    results = publish_results(tmp_path / "r.zarr", {"seed": 1}, [(d, [t]) for d, t in points])
    assert len(results) == len(list(results)) == 2
    assert results.campaign == {"seed": 1}
    for point, (description, table) in zip(results, points, strict=True):
        assert len(point) == description.n_toys
        assert point.generate == description.generate
        assert point.nominal == {"mass": 50.0}
        assert point.parameter_names == ("mu", "gamma")
        assert list(point.fits) == ["free", "zero", "true"]
        for i, (name, fits) in enumerate(point.fits.items()):
            assert fits.held == description.hypotheses[name]
            np.testing.assert_array_equal(fits.values, table["values"][:, i])
            np.testing.assert_array_equal(fits.log_likelihood, table["log_likelihood"][:, i])
            np.testing.assert_array_equal(fits.valid, table["valid"][:, i] == 1)
        np.testing.assert_array_equal(point.intervals, table["interval"][:, 0])
        assert point.fits["zero"].interval is None
        np.testing.assert_array_equal(point.values("gamma"), table["values"][:, 0, 1])
    assert [p.poi_expectation for p in results[-1:]] == [20.0]
    assert results[-1].generate == results[1].generate
    with pytest.raises(IndexError):
        results[2]


def test_the_statistic_is_twice_the_difference_and_never_negative(points, tmp_path):
    results = publish_results(tmp_path / "r.zarr", {}, [(d, [t]) for d, t in points])
    log = points[0][1]["log_likelihood"]
    raw = 2.0 * (log[:, 0] - log[:, 2])
    assert raw.min() < 0.0 < raw.max(), "both are tried"
    np.testing.assert_array_equal(results[0].statistic("true"), np.where(raw < 0.0, 0.0, raw))
    with pytest.raises(UnknownNameError, match="Did you mean 'true'"):
        results[0].statistic("treu")
    with pytest.raises(UnknownNameError, match="'gamma'"):
        results[0].values("gama")


def test_without_a_free_fit_there_is_no_statistic(tmp_path):
    description = described(hypotheses={"zero": {"mu": 0.0}}, intervals_of=[])
    result = publish_results(tmp_path / "r.zarr", {}, [(description, [rows(description, 0)])])[0]
    assert result.intervals is None
    with pytest.raises(MissingError, match="'free'"):
        result.statistic("zero")


def test_the_same_content_is_the_same_bytes_however_it_was_cut(points, tmp_path):
    a = publish_results(tmp_path / "a.zarr", {}, [(d, [t]) for d, t in points])
    b = publish_results(tmp_path / "b.zarr", {}, [(d, cut(t, 1, 1, 9)) for d, t in points])
    assert files(a.path) == files(b.path)
    points[1][1]["values"][2, 1, 0] += 1e-15
    c = publish_results(tmp_path / "c.zarr", {}, [(d, [t]) for d, t in points])
    assert c.hash != a.hash


def test_points_are_found_by_their_values(points, tmp_path):
    results = publish_results(tmp_path / "r.zarr", {}, [(d, [t]) for d, t in points])
    assert [p.generate["mu"] for p in results.at(mu=2.0)] == [2.0]
    assert [p.generate["mu"] for p in results.at(poi_expectation=5.0, mass=50)] == [0.5]
    with pytest.raises(InputError, match="no point at"):
        results.at(mu=3.0)
    with pytest.raises(UnknownNameError, match="Did you mean 'mass'"):
        results.at(masss=50)


def test_an_output_is_not_overwritten_unless_told(points, tmp_path):
    made = [(d, [t]) for d, t in points]
    first = publish_results(tmp_path / "r.zarr", {}, made)
    with pytest.raises(OutputExistsError):
        publish_results(tmp_path / "r.zarr", {}, made[:1])
    assert len(CampaignResults(first.path)) == 2
    assert len(publish_results(tmp_path / "r.zarr", {}, made[:1], replace=True)) == 1


def test_other_things_are_no_results(tmp_path):
    with pytest.raises(FileFormatError, match="no store of toys"):
        CampaignResults(tmp_path)
    with pytest.raises(FileFormatError, match="no store of toys"):
        CampaignResults(tmp_path / "nowhere")
    zarr.create_group(str(tmp_path / "g.zarr"), attributes={"format": "columnminer-toys", "format_version": 99})
    with pytest.raises(FileFormatError, match="99"):
        CampaignResults(tmp_path / "g.zarr")
    zarr.create_group(str(tmp_path / "h.zarr"), attributes={"format": "something"})
    with pytest.raises(FileFormatError, match="'format'"):
        CampaignResults(tmp_path / "h.zarr")
