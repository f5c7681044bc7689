"""Thresholds from toys: against exact laws, in files, between grid points; and the intervals made with them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from analytic_likelihoods import Gaussian
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator
from scipy.stats import binomtest, chi2
from toy_points import counting_toys, exact_threshold, gaussian_intervals, gaussian_toys

from columnminer.errors import ColumnMinerWarning, FileFormatError, InputError, UnknownNameError
from columnminer.infer.batchintervals import interval_batch
from columnminer.infer.intervals import asymptotic_threshold, confidence_interval
from columnminer.model.parameters import Parameter
from columnminer.toys.coverage import interval_coverage
from columnminer.toys.neyman import NeymanThresholds, ThresholdCurve
from columnminer.toys.threshold_files import alea_key

GRID = np.concatenate([np.linspace(0.0, 3.0, 16), [3.5, 4.0, 5.0, 6.0]])


@pytest.fixture(scope="module")
def thresholds():
    points = [gaussian_toys(mu, 40_000, (11, i)) for i, mu in enumerate(GRID)]
    return NeymanThresholds.from_results(points, (0.68, 0.9))


def curve(values, thresholds, **conditions):
    thresholds = np.atleast_2d(np.asarray(thresholds, dtype=float))
    n = len(values)
    unknown = np.full(n, np.nan)
    return ThresholdCurve(
        conditions, np.asarray(values, float), thresholds, np.full(thresholds.shape, 0.1), np.full(n, 100), unknown
    )


def test_thresholds_are_the_quantiles_of_the_exact_law(thresholds):
    exact = np.array([[exact_threshold(mu, level) for mu in GRID] for level in thresholds.levels])
    (found,) = thresholds.curves
    pulls = (found.thresholds - exact) / found.errors
    assert np.abs(pulls).max() < 4.0
    assert 0.5 < np.std(pulls) < 1.6
    asymptotic = chi2.ppf(np.array(thresholds.levels), 1)[:, np.newaxis]
    wrong = (found.thresholds - asymptotic) / found.errors
    assert (np.abs(wrong[:, :4]) > 10.0).all()  # near the boundary


def test_errors_are_the_spread_of_repeated_experiments():
    found = [NeymanThresholds.from_results(gaussian_toys(0.4, 1000, (5, i)), 0.9).curves[0] for i in range(400)]
    values, errors = (np.array([getattr(c, what)[0, 0] for c in found]) for what in ("thresholds", "errors"))
    assert values.std() == pytest.approx(np.sqrt(np.mean(errors**2)), rel=0.12)
    fewer = NeymanThresholds.from_results(gaussian_toys(0.4, 100, 5), 0.9).curves[0].errors[0, 0]
    assert fewer > 1.8 * values.std()


def test_neyman_intervals_cover_near_zero_where_asymptotic_ones_do_not(thresholds):
    fine, n, level = np.linspace(0.0, 10.0, 2001), 20_000, 0.9
    neyman, asymptotic = thresholds.at(level), asymptotic_threshold(level)
    p_values, p_asymptotic = [], []
    for i, mu in enumerate((0.0, 0.1, 0.5, 1.5, 3.0)):
        x = np.random.default_rng((77, i)).normal(mu, 1.0, n)
        for threshold, found in ((neyman, p_values), (lambda grid: np.full(len(grid), asymptotic), p_asymptotic)):
            ends = gaussian_intervals(x, threshold, fine)
            held = interval_coverage(ends[:, 0], ends[:, 1], mu)
            found.append(binomtest(int(held.count), n, level).pvalue)
    assert min(p_values) > 0.01 / 5
    assert max(p_asymptotic[:3]) < 1e-6
    assert p_asymptotic[-1] > 0.01  # far from zero they are right


def test_neyman_intervals_of_a_count_cover_where_asymptotic_ones_cover_less():
    mu, background, level = 0.7, 0.3, 0.9
    threshold = NeymanThresholds.from_results(counting_toys(mu, background, 50_000, 1), level)(mu)
    t = counting_toys(mu, background, 50_000, 2).statistic("true")
    assert (t <= threshold + 1e-9).mean() >= level - 3e-3
    # discrete: where asymptotics are worst depends on the signal
    under = [counting_toys(mu, 0.0, 50_000, 3).statistic("true") <= chi2.ppf(level, 1) for mu in np.arange(0.4, 2, 0.1)]
    assert min(held.mean() for held in under) < level - 0.03


def test_limits_count_t_on_one_side():
    points = [gaussian_toys(3.0, 40_000, 4, lowest=-100.0)]
    for kind in ("upper", "lower"):
        found = NeymanThresholds.from_results(points, 0.9, kind=kind)
        assert found(3.0) == pytest.approx(asymptotic_threshold(0.9, kind), abs=4 * found.curves[0].errors[0, 0])
        assert found(100.0) == asymptotic_threshold(0.9, kind)
    two_sided = NeymanThresholds.from_results(points, 0.9)
    assert two_sided(3.0) == pytest.approx(asymptotic_threshold(0.9), abs=4 * two_sided.curves[0].errors[0, 0])


def test_confidence_interval_takes_thresholds(thresholds):
    model = Gaussian([Parameter("mu", 1.0, fit_limits=(0.0, None))], [[1.0]])
    threshold, fine = thresholds.at(0.9), np.linspace(0.0, 10.0, 20_001)
    for x in (-1.3, -0.2, 0.8, 1.7, 3.1):
        found = confidence_interval(model.with_data([x]), "mu", level=0.9, threshold=threshold)
        expected = gaussian_intervals([x], threshold, fine)[0]
        assert [found.lower, found.upper] == pytest.approx(expected, abs=1e-3)
    data = model.with_data([1.5])  # of which asymptotics do not exclude 0, whose threshold they take for larger
    assert confidence_interval(data, "mu", level=0.9).lower_end == "limit"
    assert confidence_interval(data, "mu", level=0.9, threshold=threshold).lower_end == "crossing"


def test_batched_intervals_take_thresholds_and_cover(thresholds):
    model = Gaussian([Parameter("mu", 1.0, fit_limits=(0.0, None))], [[1.0]])
    mu, n, threshold = 0.2, 3000, thresholds.at(0.9)
    data = np.random.default_rng(31).normal(mu, 1.0, (n, 1))
    neyman = interval_batch(model, "mu", data, level=0.9, threshold=threshold)
    asymptotic = interval_batch(model, "mu", data, level=0.9)
    expected = gaussian_intervals(data[:, 0], threshold, np.linspace(0.0, 10.0, 10_001))
    found = np.stack([neyman.lower, neyman.upper], axis=1)
    # on a ragged threshold t may cross it more than once: the nearest crossing is meant here, the outermost there
    assert (np.abs(found - expected) < 2e-3).mean() > 0.98
    p_values = [
        binomtest(int(interval_coverage(one.lower, one.upper, mu).count), n, 0.9).pvalue for one in (neyman, asymptotic)
    ]
    assert p_values[0] > 0.01
    assert p_values[1] < 1e-6


def test_between_grid_points_thresholds_are_linear_and_beyond_asymptotic():
    found = NeymanThresholds("mu", (0.9,), (curve([1.0, 2.0, 4.0], [2.0, 3.0, 2.5]),))
    beyond = chi2.ppf(0.9, 1)
    expected = [beyond, 2.0, 2.5, 3.0, 2.75, 2.5, beyond]
    assert found([0.9, 1.0, 1.5, 2.0, 3.0, 4.0, 4.1]) == pytest.approx(expected)
    assert found(np.array([[1.5], [3.0]])).shape == (2, 1)
    assert isinstance(found(1.5), float)
    assert NeymanThresholds("mu", (0.9,), found.curves, "upper")(0.0) == pytest.approx(chi2.ppf(0.8, 1))


def test_conditions_are_interpolated_as_on_a_regular_grid():
    rng = np.random.default_rng(3)
    masses, rates, values = [10.0, 50.0, 100.0], [0.5, 1.0], np.array([0.0, 1.0, 3.0])
    table = rng.uniform(1.0, 3.0, (3, 2, 3))
    curves = [curve(values, table[i, j], mass=m, rate=r) for i, m in enumerate(masses) for j, r in enumerate(rates)]
    found = NeymanThresholds("mu", (0.9,), tuple(rng.permutation(np.array(curves, dtype=object))))
    regular = RegularGridInterpolator((masses, rates, values), table)
    for mass, rate, mu in [(10, 1, 0), (33, 0.7, 2.2), (50, 0.5, 3.0), (99, 0.99, 0.1), (100, 0.6, 1.5)]:
        assert found(mu, mass=mass, rate=rate) == pytest.approx(regular((mass, rate, mu)).item())
    assert found.at(mass=33.0, rate=0.7).conditions == pytest.approx({"mass": 33.0, "rate": 0.7})
    assert found.grid["mass"].tolist() == masses
    with pytest.raises(InputError, match=r"depend on 'rate': say at which of \[0.5, 1.0\]"):
        found(1.0, mass=33.0)
    with pytest.raises(InputError, match=r"for mass from 10.0 to 100.0, not at 101"):
        found(1.0, mass=101.0, rate=0.5)
    with pytest.raises(UnknownNameError, match="Did you mean 'mass'"):
        found(1.0, maas=10.0, rate=0.5)
    part = NeymanThresholds("mu", (0.9,), tuple(curves[:-1]))
    assert part(1.0, mass=100, rate=0.5) == pytest.approx(table[2, 0, 1])
    with pytest.raises(InputError, match=r"none at mass = 100.0, rate = 1.0"):
        part(1.0, mass=70, rate=0.7)


def test_each_condition_may_have_a_grid_of_its_own():
    """As where the parameter of interest is a rate, set from a number of events that depends on the mass."""
    found = NeymanThresholds("mu", (0.9,), (curve([0, 1], [2.0, 2.4], mass=1), curve([0, 2], [1.0, 3.0], mass=2)))
    assert found(1.0, mass=1.5) == pytest.approx(0.5 * 2.4 + 0.5 * 2.0)
    assert found(1.5, mass=1.5) == pytest.approx(0.5 * chi2.ppf(0.9, 1) + 0.5 * 2.5)


@pytest.fixture(scope="module")
def of_masses():
    points = [
        gaussian_toys(mu, 400, (i, j), nominal={"mass": mass}, generate={"b": 2.0}, poi_expectation=7.0 * mu)
        for i, mass in enumerate((50.0, 100.0))
        for j, mu in enumerate((2.0, 0.0, 1.0))
    ]
    return NeymanThresholds.from_results(points, (0.9, 0.6827))


def test_results_are_grouped_by_their_conditions(of_masses):
    assert of_masses.levels == (0.6827, 0.9)
    assert [dict(c.conditions) for c in of_masses.curves] == [{"b": 2.0, "mass": 50.0}, {"b": 2.0, "mass": 100.0}]
    assert of_masses.curves[0].values.tolist() == [0.0, 1.0, 2.0]
    assert of_masses.curves[0].toys.tolist() == [400] * 3
    t = gaussian_toys(1.0, 400, (1, 2)).statistic("true")
    assert of_masses(1.0, level=0.9, mass=100.0) == pytest.approx(np.percentile(t, 90.0))  # as alea's
    assert of_masses(1.0, level=0.6827, mass=100.0) < of_masses(1.0, level=0.9, mass=100.0)


def test_our_file_gives_back_all(of_masses, tmp_path):
    of_masses.to_json(tmp_path / "t.json")
    again = NeymanThresholds.from_json(tmp_path / "t.json")
    for name in ("name", "levels", "kind", "dof", "nominal"):
        assert getattr(again, name) == getattr(of_masses, name)
    for one, other in zip(again.curves, of_masses.curves, strict=True):
        assert one.conditions == other.conditions
        for name in ("values", "thresholds", "errors", "toys", "expectations"):
            assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True)
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]
    with pytest.raises(InputError, match="kind 'central', not 'upper'"):
        NeymanThresholds.from_json(tmp_path / "t.json", kind="upper")


def test_the_key_of_an_entry_is_that_of_alea():
    # from alea 0.3.5: alea.utils.deterministic_hash
    keys = {"poi": "wimp_rate_multiplier", "nominal_values": {"wimp_mass": 50}, "generate_values": {}}
    assert alea_key({**keys, "confidence_level": 0.9}) == "cwrhqgrygr"
    assert alea_key({**keys, "nominal_values": {"wimp_mass": 50.0}, "confidence_level": 0.9}) == "iztlt2rrh5"
    more = {"nominal_values": {"livetime": 1.5, "wimp_mass": 100}, "generate_values": {"b": 2, "a": 0.1}}
    assert alea_key({"poi": "mu", **more, "confidence_level": 0.6827}) == "lacyvg3b3i"


def test_a_file_as_alea_has_it_gives_back_what_it_can_hold(of_masses, tmp_path):
    of_masses.to_json(tmp_path / "t.json", layout="alea", integers=["mass"])
    document = json.loads((tmp_path / "t.json").read_text())
    assert len(document) == 4
    for key, entry in document.items():
        assert key == alea_key(entry["hashed_keys"])
        assert set(entry) == {"hashed_keys", "mu", "threshold", "poi_expectation"}
        assert isinstance(entry["hashed_keys"]["nominal_values"]["mass"], int)
        assert entry["hashed_keys"]["generate_values"] == {"b": 2.0}
        assert entry["poi_expectation"] == [0.0, 7.0, 14.0]
    again = NeymanThresholds.from_json(tmp_path / "t.json")
    assert (again.name, again.levels, again.nominal) == ("mu", of_masses.levels, ("mass",))
    for one, other in zip(again.curves, of_masses.curves, strict=True):
        assert one.conditions == other.conditions
        assert np.array_equal(one.thresholds, other.thresholds)
        assert np.isnan(one.errors).all()
    assert NeymanThresholds.from_json(tmp_path / "t.json", kind="upper").at(0.9, mass=70.0)(50.0) == pytest.approx(
        asymptotic_threshold(0.9, "upper")
    )
    with pytest.raises(InputError, match="'q' is no condition"):
        of_masses.to_json(tmp_path / "t.json", layout="alea", integers=["q"])
    with pytest.raises(InputError, match="Did you mean 'alea'"):
        of_masses.to_json(tmp_path / "t.json", layout="aleo")


def entry(level=0.9, mu=(0.0, 1.0), threshold=(1.0, 2.0), poi="mu", **nominal):
    keys = {"poi": poi, "nominal_values": nominal, "generate_values": {}, "confidence_level": level}
    return {alea_key(keys): {"hashed_keys": keys, "mu": list(mu), "threshold": list(threshold)}}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("not json", "no JSON file"),
        ([1], "holds no thresholds"),
        ({"a": {"b": 1}}, "'hashed_keys' is missing"),
        ({"format": "columnminer thresholds", "version": 2}, "version 2 of the format; this columnminer reads 1"),
        ({"format": "columnminer thresholds", "version": 1}, "'levels' is missing|'curves' is missing"),
        (entry() | entry(mass=1), "conditions on different names"),
        (entry(poi="nu") | entry(), "parameter of interest is mu or nu"),
        (entry(mass=1) | entry(mass=2, level=0.8), "elsewhere for"),
        (entry() | entry(level=0.8, mu=(0.0, 2.0)), "different values of 'mu'"),
        (entry(threshold=(1.0, None)), "must be finite and not negative"),
        (entry(mu=(1.0, 1.0)), "ascending and distinct"),
    ],
)
def test_files_that_hold_something_else_are_refused(document, message, tmp_path):
    (tmp_path / "t.json").write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(FileFormatError, match=message) as error:
        NeymanThresholds.from_json(tmp_path / "t.json")
    assert "t.json" in str(error.value)


def test_thresholds_a_little_below_zero_in_files_of_alea_are_zero(tmp_path):
    (tmp_path / "t.json").write_text(json.dumps(entry(mu=(1.0, 0.0), threshold=(2.0, -1e-9))))
    assert NeymanThresholds.from_json(tmp_path / "t.json")([0.0, 1.0]).tolist() == [0.0, 2.0]


def test_what_does_not_fit_together_is_refused():
    one = gaussian_toys(1.0, 100, 0)
    with pytest.raises(InputError, match=r"100 toys at mu = 1.0 are too few for a 0.99 quantile: it needs 396"):
        NeymanThresholds.from_results([one], (0.9, 0.99))
    with pytest.raises(InputError, match="two points have toys at the same 'mu'"):
        NeymanThresholds.from_results([one, gaussian_toys(1.0, 100, 1)], 0.9)
    with pytest.raises(InputError, match="there are no toys"):
        NeymanThresholds.from_results([], 0.9)
    with pytest.raises(UnknownNameError, match=r"hypothesis 'tru'.*Did you mean 'true'"):
        NeymanThresholds.from_results(one, 0.9, hypothesis="tru")
    with pytest.raises(UnknownNameError, match="at which 'mass'"):
        NeymanThresholds.from_results(one, 0.9, conditions=["mass"])
    with pytest.raises(InputError, match="different parameters of interest"):
        NeymanThresholds.from_results([one, gaussian_toys(1.0, 100, 1, parameter="nu")], 0.9)
    with pytest.raises(InputError, match="conditions on different names"):
        NeymanThresholds.from_results([one, gaussian_toys(2.0, 100, 1, nominal={"mass": 1.0})], 0.9)
    with pytest.raises(InputError, match="choose one with at"):
        NeymanThresholds.from_results(one, (0.5, 0.8))(1.0)
    with pytest.raises(InputError, match=r"level 0.95, but for \(0.5, 0.8\)"):
        NeymanThresholds.from_results(one, (0.5, 0.8)).at(0.95)
    with pytest.raises(InputError, match="must lie between 0 and 1"):
        NeymanThresholds.from_results(one, 90.0)


def test_toys_whose_fits_failed_are_left_out_and_said():
    valid = np.arange(1000) % 20 > 0
    with pytest.warns(ColumnMinerWarning, match=r"fits of 5.0% of the toys at mu = 1.0 did not converge"):
        found = NeymanThresholds.from_results(gaussian_toys(1.0, 1000, 0, valid=valid), 0.9)
    assert found.curves[0].toys.tolist() == [950]
    with pytest.raises(InputError, match="no fit of the toys"):
        NeymanThresholds.from_results(gaussian_toys(1.0, 1000, 0, valid=np.zeros(1000, bool)), 0.9)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.0, 5.0), min_size=1, max_size=4, unique=True),
    st.lists(st.floats(0.1, 0.9), min_size=2, max_size=4, unique=True),
    st.integers(0, 1000),
    st.floats(-1.0, 6.0),
)
def test_thresholds_grow_with_the_level(values, levels, seed, where):
    points = [gaussian_toys(mu, 50, (seed, i)) for i, mu in enumerate(values)]
    found = NeymanThresholds.from_results(points, levels)
    assert (np.diff(found.curves[0].thresholds, axis=0) >= 0.0).all()
    assert (np.diff([found(where, level=level) for level in found.levels]) >= 0.0).all()
    if min(values) <= where <= max(values):
        for level, row in zip(found.levels, found.curves[0].thresholds, strict=True):
            assert row.min() - 1e-9 <= found(where, level=level) <= row.max() + 1e-9
