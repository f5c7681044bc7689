from __future__ import annotations

import numpy as np
import pytest
from analytic_store import ExactRatio, analytic_store, sigma
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

import columnminer as cm
from columnminer.errors import ColumnMinerWarning, ExpressionError, InputError, MissingError
from columnminer.infer.geometry import distance_contours, geodesics
from columnminer.infer.grid import Grid
from columnminer.infer.metric import Metric
from columnminer.show.geometry import plot_distance_contours, plot_geodesics

SPHERE = Metric.from_expressions([["1", "0"], ["0", "sin(a)**2"]], ["a", "b"])
HALF_PLANE = Metric.from_expressions([["1/y**2", "0"], ["0", "1/y**2"]], ["x", "y"])


def on_sphere(points):
    a, b = points[..., 0], points[..., 1]
    return np.stack([np.sin(a) * np.cos(b), np.sin(a) * np.sin(b), np.cos(a)], axis=-1)


def sphere_distance(p, q):
    return 2 * np.arcsin(0.5 * np.linalg.norm(on_sphere(p) - on_sphere(q), axis=-1))


def hyperbolic_distance(p, q):
    p, q = np.asarray(p), np.asarray(q)
    return np.arccosh(1 + np.square(p - q).sum(axis=-1) / (2 * p[..., -1] * q[..., -1]))


def constant(matrix, names=("x", "y")):
    return Metric.from_function(lambda theta: np.tile(matrix, (len(theta), 1, 1)), names)


# Metrics whose geodesics are known -----------------------------------------------------------------------------------


def test_a_constant_metric_has_straight_lines_and_mahalanobis_distances():
    matrix = np.array([[1e8, 2e3], [2e3, 3.0]])  # parameters in very different units
    metric, start = constant(matrix), np.array([0.0, 1.0])
    lines = geodesics(metric, start, length=2.5)
    np.testing.assert_allclose(lines.theta, start + lines.distance[..., None] * lines.velocity[:, :1], atol=1e-11)
    assert set(lines.ended) == {"length"}
    grid = Grid([(-1e-3, 2e-3, 13), (-4.0, 4.0, 11)])
    result = distance_contours(metric, start, grid)
    away = grid.points - start
    np.testing.assert_allclose(result.distance, np.sqrt(np.einsum("ni,ij,nj->n", away, matrix, away)), rtol=1e-10)
    np.testing.assert_allclose(result.tangent, away, atol=1e-10)
    np.testing.assert_allclose(result.p_value, chi2.sf(result.distance**2, 2), rtol=1e-12)
    assert result.grid.names == ("x", "y")
    assert result.allowed(0.95).sum() == (result.distance**2 <= chi2.ppf(0.95, 2)).sum()
    np.testing.assert_allclose(distance_contours(metric, start, grid, dof=1).p_value, chi2.sf(result.distance**2, 1))


def test_a_sphere_has_great_circles():
    start = np.array([1.2, 0.3])
    lines = geodesics(SPHERE, start, length=2.0, n_rays=7)  # none of which meets a pole
    np.testing.assert_allclose(sphere_distance(lines.theta, start), lines.distance, atol=3e-7)
    x = on_sphere(lines.theta)
    normal = np.cross(x[:, :1], x[:, 20:21])
    np.testing.assert_allclose(np.einsum("nki,nki->nk", np.broadcast_to(normal, x.shape), x), 0.0, atol=3e-7)
    speed = np.einsum("nki,nkij,nkj->nk", lines.velocity, [SPHERE(theta) for theta in lines.theta], lines.velocity)
    np.testing.assert_allclose(speed, 1.0, atol=1e-5)  # between nodes, too
    grid = Grid([(0.6, 2.4, 9), (-1.2, 1.4, 9)])
    result = distance_contours(SPHERE, start, grid)
    np.testing.assert_allclose(result.distance, sphere_distance(grid.points, start), rtol=1e-6, atol=1e-12)
    # Not so the straight lines of the coordinates, nor a sphere with one wrong entry.
    away = grid.points - start
    straight = np.sqrt(np.einsum("ni,ij,nj->n", away, SPHERE(start[None])[0], away))
    assert np.abs(straight - result.distance).max() > 0.1
    wrong = Metric.from_expressions([["1", "0"], ["0", "cos(a)**2 + 0.1"]], ["a", "b"])
    assert np.abs(distance_contours(wrong, start, grid).distance - result.distance).max() > 0.1


def test_symbols_of_the_sphere_and_the_curve_that_wrong_ones_give():
    point = np.array([[1.2, 0.3]])
    gamma = SPHERE.christoffel(point)[0]
    expected = np.zeros((2, 2, 2))
    expected[0, 1, 1] = -np.sin(1.2) * np.cos(1.2)
    expected[1, 0, 1] = expected[1, 1, 0] = 1 / np.tan(1.2)
    np.testing.assert_allclose(gamma, expected, atol=1e-10)
    d = SPHERE.derivative(point)[0]
    assert d[0, 1, 1] == pytest.approx(2 * np.sin(1.2) * np.cos(1.2), rel=1e-10)
    # MadMiner's third term is d_j g_km, not d_m g_jk: it lacks the force along a.
    madminers = 0.5 * np.einsum("im,kmj->ijk", np.linalg.inv(SPHERE(point)[0]), d)
    assert madminers[0, 1, 1] == 0.0


def test_the_half_plane_has_hyperbolic_distances_in_two_and_three_dimensions():
    grid = Grid([(-2.0, 2.0, 9), (0.3, 4.0, 9)])
    result = distance_contours(HALF_PLANE, [0.0, 1.0], grid)
    np.testing.assert_allclose(result.distance, hyperbolic_distance(grid.points, [0.0, 1.0]), rtol=1e-6)
    rows = [["1/y**2" if i == j else "0" for j in range(3)] for i in range(3)]
    space = Metric.from_expressions(rows, ["x", "z", "y"])
    points = np.random.default_rng(1).uniform([-1, -1, 0.4], [1, 1, 3.0], (20, 3))
    found = distance_contours(space, [0.0, 0.2, 1.0], points)
    np.testing.assert_allclose(found.distance, hyperbolic_distance(points, [0.0, 0.2, 1.0]), rtol=1e-6)
    line = geodesics(HALF_PLANE, [-1.0, 0.5], end=[1.5, 0.8])
    assert line.length[0] == pytest.approx(hyperbolic_distance([-1.0, 0.5], [1.5, 0.8]), rel=1e-8)
    np.testing.assert_allclose(line.theta[0, -1], [1.5, 0.8], atol=1e-6)
    centre = (0.5**2 + 1.0 - 1.5**2 - 0.8**2) / (2 * (-1.0 - 1.5))  # half circles around the edge
    radius = np.hypot(line.theta[0, :, 0] - centre, line.theta[0, :, 1])
    np.testing.assert_allclose(radius, radius[0], rtol=1e-6)


def test_a_poisson_rate_has_twice_the_difference_of_roots():
    metric = Metric.from_expressions([["1/m"]], ["m"], scale=10.0)
    grid = Grid([(20.0, 60.0, 21)])
    result = distance_contours(metric, [30.0], grid)
    expected = 2 * np.abs(np.sqrt(grid.points[:, 0]) - np.sqrt(30.0))
    np.testing.assert_allclose(result.distance, expected, rtol=1e-6, atol=1e-12)
    assert geodesics(metric, [30.0], end=[30.0]).length[0] == 0.0


# Independence of coordinates -----------------------------------------------------------------------------------------


@settings(max_examples=8, deadline=None)
@given(
    stretch=st.floats(0.2, 3.0),
    shear=st.floats(-0.5, 0.5),
    bend=st.floats(-0.1, 0.1),
    unit=st.sampled_from([1e-6, 1e4]),
)
def test_distances_do_not_depend_on_coordinates(stretch, shear, bend, unit):
    """u = unit (x, stretch y + shear x + bend x^2): the metric changes with the inverse Jacobian."""

    def forward(theta):
        x, y = theta.T
        return unit * np.stack([x, stretch * y + shear * x + bend * x**2], axis=1)

    def transformed(u):
        x, v = u.T / unit
        y = (v - shear * x - bend * x**2) / stretch
        inverse = np.zeros((len(u), 2, 2))
        inverse[:, 0, 0] = 1 / unit
        inverse[:, 1, 0] = -(shear + 2 * bend * x) / stretch / unit
        inverse[:, 1, 1] = 1 / stretch / unit
        g = (1 / y**2)[:, None, None] * np.eye(2)
        return np.einsum("nki,nkl,nlj->nij", inverse, g, inverse)

    start, points = np.array([[0.0, 1.0]]), np.array([[0.8, 0.7], [-0.5, 1.6], [0.3, 1.1]])
    metric = Metric.from_function(transformed, ["u", "v"], scale=unit)
    result = distance_contours(metric, forward(start)[0], forward(points), n_rays=24)
    np.testing.assert_allclose(result.distance, hyperbolic_distance(points, start[0]), rtol=1e-6)


# Interpolated metrics ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inverse", ["exact", "interpolate"])
@pytest.mark.parametrize(("interpolation", "tolerance"), [("smooth", 2e-4), ("linear", 2e-2)])
@pytest.mark.parametrize("scattered", [False, True])
def test_distances_in_an_interpolated_metric(interpolation, inverse, scattered, tolerance):
    grid = Grid([(-2.0, 2.0, 21), (0.4, 3.0, 41)], names=("x", "y"))
    points = grid.points[np.random.default_rng(2).permutation(len(grid.points))]
    if scattered:
        inner = (np.abs(points[:, 0]) < 1.99) & (np.abs(points[:, 1] - 1.7) < 1.29)
        points = points + inner[:, None] * np.random.default_rng(3).uniform(-0.02, 0.02, points.shape)
        tolerance *= 4
    metric = Metric.from_grid(points, HALF_PLANE(points), ["x", "y"], interpolation=interpolation, inverse=inverse)
    ends = np.random.default_rng(4).uniform([-1, 0.7], [1, 2.5], (8, 2))
    found = distance_contours(metric, [0.0, 1.0], ends, n_rays=24, tolerance=1e-3)
    np.testing.assert_allclose(found.distance, hyperbolic_distance(ends, [0.0, 1.0]), rtol=tolerance)
    np.testing.assert_allclose(metric(points[:5]), HALF_PLANE(points[:5]), rtol=1e-6)


def test_a_regular_grid_and_the_list_of_its_points_are_the_same_metric():
    grid = Grid([(-1.0, 1.0, 5), (1.0, 2.0, 6)], names=("x", "y"))
    order = np.random.default_rng(5).permutation(30)
    first = Metric.from_grid(grid, HALF_PLANE(grid.points))
    second = Metric.from_grid(grid.points[order], HALF_PLANE(grid.points[order]), ["x", "y"])
    where = np.array([[0.1, 1.3], [-0.7, 1.9]])
    np.testing.assert_allclose(first.derivative(where), second.derivative(where), rtol=1e-12)
    np.testing.assert_array_equal(first.bounds, [[-1.0, 1.0], [1.0, 2.0]])


EDGES = [0.2, 0.4, 0.6, 0.8]


def test_metrics_of_a_store_have_their_closed_form(tmp_path):
    store = analytic_store(tmp_path / "events.zarr")
    grid, ends = Grid([(0.3, 1.5, 9)]), np.array([[0.35], [1.0], [1.4]])
    truth = Metric.from_store(store, 300.0, grid)
    assert truth.names == ("theta",)
    np.testing.assert_allclose(distance_contours(truth, [0.7], ends).distance, 10 * np.abs(ends[:, 0] - 0.7), rtol=1e-4)
    rate = distance_contours(Metric.from_store(store, 300.0, grid, "rate"), [0.7], ends)
    expected = 2 * np.sqrt(300.0) * np.abs(np.sqrt(sigma(ends[:, 0])) - np.sqrt(sigma(0.7)))
    np.testing.assert_allclose(rate.distance, expected, rtol=1e-3)
    histogram = distance_contours(Metric.from_store(store, 300.0, grid, "x", bins=30), [0.7], ends)
    assert (histogram.distance > rate.distance).all()
    np.testing.assert_allclose(histogram.distance, 10 * np.abs(ends[:, 0] - 0.7), rtol=0.02)
    estimated = distance_contours(Metric.from_store(store, 300.0, grid, ExactRatio()), [0.7], ends)
    np.testing.assert_allclose(estimated.distance, 10 * np.abs(ends[:, 0] - 0.7), rtol=0.02)


def test_the_metric_of_a_store_with_a_nuisance_is_profiled(tmp_path):
    store = analytic_store(tmp_path / "events.zarr", tilt=0.3)
    information = cm.FisherInformation(store, 300.0)
    metric = Metric.from_store(store, 300.0, Grid([(0.3, 1.5, 5)]))
    profiled = (information.truth([0.9]) + information.constraints()).profile(["theta"]).information
    np.testing.assert_allclose(metric([[0.9]])[0], profiled, rtol=1e-10)
    assert profiled[0, 0] < 0.9 * information.truth([0.9]).information[0, 0]
    for what in ("x", "rate"):
        metric = Metric.from_store(store, 300.0, Grid([(0.3, 1.5, 5)]), what, bins=EDGES)
        binned = information.rate([0.9]) if what == "rate" else information.histogram([0.9], "x", EDGES)
        profiled = (binned + information.constraints()).profile(["theta"]).information
        np.testing.assert_allclose(metric([[0.9]])[0], profiled, rtol=1e-10)
        assert profiled[0, 0] < binned.information[0, 0]


def test_histograms_are_filled_once_for_the_whole_grid(tmp_path, monkeypatch):
    store, passes = analytic_store(tmp_path / "events.zarr", 2000), []
    blocks = type(store).blocks

    def counted(self, *arguments, **options):
        passes.append(1)
        return blocks(self, *arguments, **options)

    monkeypatch.setattr(type(store), "blocks", counted)
    Metric.from_store(store, 300.0, Grid([(0.3, 1.5, 9)]), "x", bins=EDGES)
    assert len(passes) == 1
    Metric.from_store(store, 300.0, Grid([(0.3, 1.5, 9)]))
    assert len(passes) == 1 + 9  # everything that could be known has no such histogram


# What cannot be ------------------------------------------------------------------------------------------------------


def test_leaving_what_is_known_is_said():
    grid = Grid([(-1.0, 1.0, 9), (0.5, 2.0, 9)], names=("x", "y"))
    metric = Metric.from_grid(grid, HALF_PLANE(grid.points))
    assert set(geodesics(metric, [0.0, 1.0], n_rays=8).ended) == {"bounds"}
    with pytest.warns(ColumnMinerWarning, match="end early.*not known"):
        lines = geodesics(metric, [0.0, 1.0], length=50.0, n_rays=8)
    assert set(lines.ended) == {"unknown"}
    assert np.isfinite(lines.theta).all()
    with pytest.warns(ColumnMinerWarning, match="no geodesic was found to 2 of 3 points"):
        result = distance_contours(metric, [0.0, 1.0], [[0.5, 1.2], [1.5, 1.0], [0.0, 3.0]])
    assert np.isfinite(result.distance).tolist() == np.isfinite(result.p_value).tolist() == [True, False, False]
    with pytest.raises(MissingError, match="no geodesic"):
        geodesics(metric, [0.0, 1.0], end=[1.5, 1.0])
    for outside in (lambda: metric([[0.0, 3.0]]), lambda: geodesics(metric, [0.0, 3.0])):
        with pytest.raises(InputError, match="not known at x = 0, y = 3"):
            outside()


def test_a_metric_that_is_not_positive_definite_is_refused():
    metric = Metric.from_expressions([["1", "0"], ["0", "1 - x"]], ["x", "y"])
    with pytest.warns(ColumnMinerWarning, match="not positive definite"):
        lines = geodesics(metric, [0.5, 0.0], [[1.0, 0.0]], length=2.0)
    np.testing.assert_allclose(lines.theta[0, -1], [1.0, 0.0], atol=2e-3)  # within a step of the differences
    with pytest.raises(InputError, match="not positive definite at x = 2"):
        metric([[2.0, 0.0]])
    with pytest.warns(ColumnMinerWarning, match="1 of 2 points"):
        distance_contours(metric, [0.5, 0.0], [[0.2, 0.3], [2.0, 0.0]])
    matrices = np.tile(np.diag([1.0, 0.0]), (9, 1, 1))  # what a rate says about two parameters
    with pytest.raises(InputError, match="at x = 0, y = 0 is not positive definite"):
        Metric.from_grid(Grid([(0.0, 1.0, 3), (0.0, 1.0, 3)]), matrices, ["x", "y"])


def test_wrong_arguments_are_refused():
    grid = Grid([(0.0, 1.0, 3), (0.0, 1.0, 3)], names=("x", "y"))
    unit = np.tile(np.eye(2), (9, 1, 1))
    with pytest.raises(InputError, match="symmetric"):
        Metric.from_expressions([["1", "x"], ["0", "1"]], ["x", "y"])([[0.5, 0.5]])
    with pytest.raises(InputError, match="2 rows of 2"):
        Metric.from_expressions([["1", "x"]], ["x", "y"])
    with pytest.raises(ExpressionError):
        Metric.from_expressions([["__import__('os').getpid()"]], ["x"])
    with pytest.raises(InputError, match="gives"):
        Metric.from_function(lambda theta: np.eye(2), ["x", "y"])([[0.5, 0.5]])
    with pytest.raises(InputError, match="need"):
        Metric.from_grid(grid, unit[:8])
    with pytest.raises(InputError, match="smooth"):
        Metric.from_grid(grid, unit, interpolation="quadratic")
    scattered = np.random.default_rng(1).uniform(size=(20, 3))
    with pytest.raises(InputError, match="regular grid"):
        Metric.from_grid(scattered, np.tile(np.eye(3), (20, 1, 1)), ["x", "y", "z"])
    with pytest.raises(InputError, match="triangulated"):
        Metric.from_grid(np.stack([np.arange(9.0)] * 2, axis=1), unit, ["x", "y"])
    with pytest.raises(InputError, match="how far"):
        geodesics(constant(np.eye(2)), [0.0, 0.0])
    with pytest.raises(InputError, match="not a direction"):
        geodesics(constant(np.eye(2)), [0.0, 0.0], [0.0, 0.0], length=1.0)
    with pytest.raises(InputError, match="no other"):
        geodesics(constant(np.eye(2)), [0.0, 0.0], end=[1.0, 0.0], length=1.0)
    with pytest.raises(InputError, match="theta0 is a point"):
        distance_contours(constant(np.eye(2)), [0.0], grid)


# Pictures ------------------------------------------------------------------------------------------------------------


def test_pictures_show_the_results():
    grid = Grid([(-2.0, 2.0, 21), (0.4, 4.0, 21)])
    result = distance_contours(HALF_PLANE, [0.0, 1.0], grid, tolerance=1e-4)
    ax = plot_distance_contours({"half plane": result, "again": result}, levels=(0.5, 1.0, 90.0))
    paths = [path.vertices for path in ax.collections[0].get_paths()]
    assert len(paths) == 2  # the third is nowhere in the picture
    for vertices, level in zip(paths, (0.5, 1.0), strict=True):
        np.testing.assert_allclose(hyperbolic_distance(vertices, [0.0, 1.0]), level, atol=0.05)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["half plane", "again", "from here"]
    lines = geodesics(HALF_PLANE, [0.0, 1.0], length=1.5, n_rays=16)
    ax = plot_geodesics(lines, every=2, labels=["horizontal", "vertical"])
    np.testing.assert_array_equal(ax.lines[1].get_xdata(), lines.theta[2, :, 0])
    marks = {
        line.get_marker(): np.stack(line.get_data(), axis=1) for line in ax.lines if line.get_linestyle() == "None"
    }
    np.testing.assert_allclose(hyperbolic_distance(marks["o"], [0.0, 1.0]), 0.5, atol=1e-3)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("horizontal", "vertical")
    one = distance_contours(Metric.from_expressions([["1/m"]], ["m"]), [30.0], Grid([(20.0, 60.0, 5)]))
    ax = plot_distance_contours(one)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), one.distance)
    with pytest.raises(InputError, match="2 parameters"):
        plot_geodesics(one.rays)
    with pytest.raises(InputError, match="lists of points"):
        plot_distance_contours(distance_contours(HALF_PLANE, [0.0, 1.0], [[0.1, 1.0]], n_rays=8))
