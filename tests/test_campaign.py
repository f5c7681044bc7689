"""What campaigns are: combinations, names, hypotheses, files; and that bad input is named before anything runs.

Counterparts of what alea tests of its submitter's arguments and of its utilities stand among them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from analytic_likelihoods import OnOff
from hypothesis import given
from hypothesis import strategies as st

import columnminer as cm
from columnminer.errors import ColumnMinerError, InputError, MissingError, UnknownNameError
from columnminer.infer.likelihood import Likelihood
from columnminer.model.parameters import Parameter
from columnminer.toys.combinations import combinations, expanded
from columnminer.toys.models import fingerprint, rate_for
from columnminer.toys.patterns import file_name, names_in, with_batch
from columnminer.toys.settings import from_alea_names


class Wimps(OnOff):
    """Two sources with a rate each, a livetime that is not fitted, and a mass that makes another model."""

    def __init__(self, mass=50.0, livetime=1.0):
        super().__init__([1.0], [20.0], [2.0])
        self.made_for = (mass, livetime)
        self.parameters = (
            Parameter("wimp_rate_multiplier", 1.0, fit_limits=(0, None), kind="rate"),
            Parameter("gamma0", 1.0, fit_limits=(0, 10), constraint=0.1),
            Parameter("livetime", livetime, fittable=False, kind="livetime"),
            Parameter("wimp_mass", mass, fittable=False, kind="needs_reinit"),
        )

    def expected(self, params=None, **by_name):
        points = self.points(params, by_name)
        signal = points[..., :1] * 400.0 / self.made_for[0] * points[..., 2:3]
        return np.concatenate([signal + points[..., 1:2] * self.b, points[..., 1:2] * self.tau], axis=-1)

    def expectation_values(self, params=None, **by_name):
        point = self.point(params, by_name)
        return {"wimp": point[0] * 400.0 / self.made_for[0] * point[2], "er": point[1] * 20.0}

    def term_gradients(self, points, data):
        raise MissingError

    def at(self, wimp_mass=50.0, livetime=1.0):
        return Wimps(wimp_mass, livetime)


POI = "wimp_rate_multiplier"


# Combinations --------------------------------------------------------------------------------------------------------


def test_lists_are_walked_through_side_by_side_or_in_all_combinations():
    assert combinations({"a": [1, 2], "b": [3, 4]}, {}, {}) == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    every = [{"a": 1, "b": 3}, {"a": 1, "b": 4}, {"a": 2, "b": 3}, {"a": 2, "b": 4}]
    assert combinations({}, {"a": [1, 2], "b": [3, 4]}, {}) == every
    assert combinations({}, {}, {"n": 5}) == [{"n": 5}]
    assert combinations({}, {}, {}) == [{}]
    both = combinations({"z": [1, 2]}, {"v": [3, 4]}, {"n": 0})
    assert [(c["z"], c["v"], c["n"]) for c in both] == [(1, 3, 0), (1, 4, 0), (2, 3, 0), (2, 4, 0)]


def test_what_is_zipped_goes_before_what_varies_before_what_is_common():
    assert combinations({"x": [1]}, {"x": [2], "y": [3]}, {"x": 4, "y": 5, "w": 6}) == [{"x": 1, "y": 3, "w": 6}]


def test_texts_are_ranges():
    found = combinations({}, {"a": "np.linspace(0, 30, 10)"}, {})
    np.testing.assert_array_equal([c["a"] for c in found], np.linspace(0, 30, 10))
    assert combinations({"a": "np.arange(3)"}, {}, {})[-1] == {"a": 2.0}


def test_mappings_with_lists_stand_for_their_combinations():
    given = ["free", {"a": 1, "b": 3}, {"a": "np.arange(1, 3)", "b": [3, 4]}]
    pairs = [(1, 3), (1, 3), (1, 4), (2, 3), (2, 4)]
    assert expanded(given, "h") == ["free", *({"a": a, "b": b} for a, b in pairs)]
    with pytest.raises(InputError, match=r"h\[0\]: either all"):
        expanded([{"a": [1, 2], "b": 3}], "h")


def test_points_share_no_settings():
    found = combinations({}, {"a": [1, 2], "b": [{"c": 3}, {"c": 4}]}, {"d": {"e": 1}})
    assert [c["b"] for c in found] == [{"c": 3}, {"c": 4}, {"c": 3}, {"c": 4}]
    assert found[0]["b"] is not found[2]["b"]
    assert found[0]["d"] is not found[1]["d"]


@given(st.dictionaries(st.sampled_from("abcd"), st.lists(st.integers(), min_size=1, max_size=4), max_size=4))
def test_there_are_as_many_combinations_as_the_product_of_the_lengths(lists):
    found = combinations({}, lists, {})
    assert len(found) == np.prod([len(values) for values in lists.values()])
    assert all(set(c) == set(lists) for c in found)
    assert all(c[name] in values for c in found for name, values in lists.items())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"to_zip": {"a": [1, 2], "b": [1]}}, "to_zip: .*a has 2, b has 1"),
        ({"to_vary": {"a": 3}}, "to_vary.a: must be a list"),
        ({"to_vary": {"a": []}}, "to_vary.a: an empty list"),
        ({"to_vary": {"a": "__import__('os').system('x')"}}, "to_vary.a"),
        ({"to_vary": {"a": "np.load('x')"}}, "to_vary.a.*load"),
        ({"to_vary": {"a": "np.linspace(0, 1, 10**9)"}}, "to_vary.a"),
        ({"to_vary": {c: list(range(100)) for c in "abc"}}, "1000000 combinations"),
        ({"in_common": {"a": [1]}}, "in_common.a: a list cannot"),
    ],
)
def test_combinations_that_make_no_sense_are_named(given, words):
    with pytest.raises(InputError, match=words):
        combinations(**{"to_zip": {}, "to_vary": {}, "in_common": {}, **given})


# Names of files ------------------------------------------------------------------------------------------------------


def test_file_names_are_formatted():
    pattern = "toy_{wimp_mass:d}_{poi_expectation:.2f}.ii.h5"
    assert names_in(pattern) == ("wimp_mass", "poi_expectation")
    assert file_name(pattern, {"wimp_mass": 50.0, "poi_expectation": 10 / 3}) == "toy_50_3.33.ii.h5"
    assert with_batch("toys.ii.h5") == "toys.ii_{i_batch:d}.h5"
    assert with_batch("toys_{i_batch:03d}.h5") == "toys_{i_batch:03d}.h5"
    with pytest.raises(UnknownNameError, match="Did you mean 'wimp_mass'"):
        file_name("{wimp_mas}", {"wimp_mass": 1.0})
    with pytest.raises(InputError, match="does not suit"):
        file_name("{m:d}", {"m": 0.5})


@pytest.mark.parametrize(
    "pattern",
    [
        "{a.__class__}",
        "{a[0]}",
        "{a!r}",
        "{}",
        "{0}",
        "{a:{b}}",
        "{a:1000000d}",
        "{a:.999999f}",
        "{",
        "/etc/x",
        "../x",
        "",
    ],
)
def test_patterns_are_no_more_than_names_and_formats(pattern):
    with pytest.raises(InputError):
        file_name(pattern, {"a": 1.0, "b": 2.0})


# Points --------------------------------------------------------------------------------------------------------------


def campaign(**settings):
    return cm.Campaign(Wimps(), POI, **{"n_toys": 10, **settings})


def test_what_fits_change_is_generated_and_all_else_nominal():
    points = campaign(to_vary={POI: [0.5, 2.0], "wimp_mass": [50, 100]}, in_common={"livetime": 2.0}).points()
    assert [(p.generate, p.nominal) for p in points] == [
        ({POI: rate}, {"wimp_mass": mass, "livetime": 2.0}) for rate in (0.5, 2.0) for mass in (50, 100)
    ]
    assert [p.model.made_for for p in points] == [(50, 2.0), (100, 2.0)] * 2
    assert points[0].model is points[2].model, "built once"


def test_an_expectation_becomes_a_rate():
    points = campaign(
        to_vary={"poi_expectation": [0.0, 16.0], "wimp_mass": [50, 100]}, in_common={"livetime": 2.0}
    ).points()
    assert [p.generate[POI] for p in points] == pytest.approx([0.0, 0.0, 1.0, 2.0])
    for p in points:
        assert p.expected["wimp"] == pytest.approx(p.poi_expectation)
    said = campaign(generate_values={POI: 3.0}).points()[0]
    assert said.poi_expectation == pytest.approx(24.0), "known where it is not said"


def test_an_expectation_of_any_linear_likelihood_becomes_a_rate():
    model = OnOff([10.0, 5.0], [50.0, 20.0], [5.0, 3.0])
    assert rate_for(model, "mu", 30.0, {}) == pytest.approx(2.0)
    assert rate_for(model * OnOff([1.0], [1.0], [1.0]).rename({"mu": "nu", "gamma0": "delta"}), "mu", 30.0, {}) == 2.0
    with pytest.raises(InputError, match="not linear"):
        rate_for(Square([1.0], [1.0], [1.0]), "mu", 1.0, {})
    with pytest.raises(InputError, match="no events are expected"):
        rate_for(OnOff([0.0], [1.0], [1.0]), "mu", 1.0, {})


class Square(OnOff):
    def expected(self, params=None, **by_name):
        return super().expected(params, **by_name) ** 2


def test_hypotheses_are_what_they_hold():
    hypotheses = ["free", "zero", "true", {"poi_expectation": 16.0}, {"gamma0": [0.9, 1.1]}]
    point = campaign(
        hypotheses=hypotheses, common_hypothesis={"gamma0": 1.05}, generate_values={POI: 2.0}, in_common={"level": 0.95}
    ).points()[0]
    assert point.hypotheses == {
        "free": {},
        "zero": {"gamma0": 1.05, POI: 0.0},
        "true": {"gamma0": 1.05, POI: 2.0},
        "3": {"gamma0": 1.05, POI: pytest.approx(2.0)},
        "4": {"gamma0": 0.9},
        "5": {"gamma0": 1.1},
    }
    assert point.settings.level == 0.95
    assert point.intervals_of == ()
    with_intervals = campaign(hypotheses=hypotheses, compute_confidence_interval=True).points()[0]
    assert with_intervals.intervals_of == ("free", "4", "5"), "where the parameter of interest is free"


def test_what_is_not_said_is_nominal():
    point = campaign().points()[0]
    assert point.generate == {POI: 1.0}
    assert point.hypotheses["true"] == {POI: 1.0}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"in_common": {"wimp_mas": 50}}, "point 0: 'wimp_mas' is neither .* Did you mean 'wimp_mass'"),
        ({"in_common": {"n_toy": 50}}, "Did you mean 'n_toys'"),
        ({"in_common": {POI: "many"}}, "generate_values"),
        ({"in_common": {POI: -1.0}}, "outside its fit limits"),
        ({"in_common": {POI: 1.0, "poi_expectation": 2.0}}, "not both"),
        ({"generate_values": {"wimp_mass": 50}}, "'wimp_mass' is not fitted.*nominal_values"),
        ({"nominal_values": {"mas": 50}}, "no parameter 'mas'"),
        ({"hypotheses": ["fre"]}, "hypotheses"),
        ({"hypotheses": []}, "hypotheses"),
        ({"hypotheses": ["free", "free"]}, "given twice"),
        ({"hypotheses": [{"gama0": 1.0}]}, r"hypotheses\[0\].*'gama0'.*Did you mean 'gamma0'"),
        ({"n_toys": 0}, "n_toys"),
        ({"level": 1.0}, "level"),
        ({"toy_data": "store"}, "toy_data.*'store' is not known here"),
        ({"toy_data": "generate_and_store"}, "toy_data_file"),
        ({"only_toydata": True}, "generate_and_store"),
        ({"toy_data": "no_toydata"}, "fitted once, not 10"),
        ({"n_tyos": 3}, "Did you mean 'n_toys'"),
        ({"toy_data": "generate_and_store", "toy_data_file": "t.h5", "to_vary": {POI: [1, 2]}}, "same file t.h5"),
        ({"toy_data": "generate_and_store", "toy_data_file": "../t.h5"}, "below the output folder"),
    ],
)
def test_what_makes_no_sense_is_named(settings, words):
    with pytest.raises((InputError, UnknownNameError), match=words):
        campaign(**settings).points()


def test_an_unknown_parameter_of_interest_is_named():
    with pytest.raises(UnknownNameError, match="Did you mean 'wimp_rate_multiplier'"):
        cm.Campaign(Wimps(), "wimp_rate_multiplyer").points()


def test_fingerprints_tell_models_apart():
    same = fingerprint(Wimps())
    assert fingerprint(Wimps()) == same
    assert fingerprint(Wimps(mass=51.0)) != same
    other = Wimps()
    other.b = other.b * 1.01
    assert fingerprint(other) != same


# Files ---------------------------------------------------------------------------------------------------------------

FILE = """\
poi: wimp_rate_multiplier
n_toys: 20
to_vary:
  poi_expectation: np.linspace(0, 30, 4)
  wimp_mass: [50, 100]
hypotheses: [free, zero, true, {poi_expectation: 15}]
compute_confidence_interval: true
"""


def test_a_file_of_ours_is_read(tmp_path):
    (tmp_path / "c.yaml").write_text(FILE)
    points = cm.Campaign.from_yaml(tmp_path / "c.yaml", model=Wimps(), batch_size=8).points()
    assert len(points) == 8
    assert [len(batch) for batch in points[0].batches] == [8, 8, 4]
    assert points[-1].poi_expectation == 30.0
    (tmp_path / "d.yaml").write_text(FILE + "in_common: {n_toys: 30}\n")
    for changes, n in (({}, 30), ({"n_toys": 7}, 7)):
        campaign = cm.Campaign.from_yaml(tmp_path / "d.yaml", model=Wimps(), **changes)
        assert {point.settings.n_toys for point in campaign.points()} == {n}
    with pytest.raises(InputError, match="'model' is missing"):
        cm.Campaign.from_yaml(tmp_path / "c.yaml")
    with pytest.raises(InputError, match="no computations"):
        cm.Campaign.from_yaml(tmp_path / "c.yaml", computation="power")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("poi: mu\nn_toyz: 3\n", r"c\.yaml:2: n_toyz: unknown key 'n_toyz'. Did you mean 'n_toys'"),
        ("poi: mu\nkind: [1\n", r"c\.yaml:\d: not valid YAML"),
        ("poi: mu\npoi: nu\n", "given twice"),
        ("poi: !!python/object/apply:os.system ['x']\n", "not valid YAML"),
        ("- 1\n", "holds no keys"),
        ("poi: mu\nlevel: high\n", r"c\.yaml:2: level"),
        ("poi: mu\nmodel: {store: e.zarr, luminosity: -1}\n", r"c\.yaml:2: model.luminosity"),
        ("poi: mu\nmodel: {store: e.zarr, luminosity: 1, estimator: a, observables: x}\n", "not both"),
        ("poi: mu\nmodel: {class: os.system}\n", "unknown key 'class'"),
        ("poi: mu\nthreshold: '{a.b}.json'\n", "names with a format"),
    ],
)
def test_hostile_files_cost_one_line(tmp_path, text, words):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ColumnMinerError, match=words) as caught:
        cm.Campaign.from_yaml(tmp_path / "c.yaml")
    assert "\n" not in str(caught.value)


@pytest.fixture
def running(shared):
    return shared / "alea" / "configs" / "unbinned_wimp_running.yaml"


def test_a_running_configuration_of_alea_is_read_as_it_is(running):
    power = cm.Campaign.from_alea(running, "discovery_power", model=Wimps()).points()
    assert len(power) == 10
    np.testing.assert_allclose([p.poi_expectation for p in power], np.linspace(0, 30, 10))
    for p in power:
        assert p.nominal == {"wimp_mass": 50}
        assert list(p.hypotheses) == ["free", "zero", "true", "3"]
        assert p.expected["wimp"] == pytest.approx(p.poi_expectation)
        assert p.settings.n_toys == 5000
        assert len(p.batches) == 40
        assert p.settings.toy_data == "generate"
        assert not p.settings.compute_confidence_interval
    assert power[0].settings.output_file.startswith("toymc_power_wimp_mass_{wimp_mass:d}")
    threshold = cm.Campaign.from_yaml(running, computation="threshold", model=Wimps()).points()
    assert [p.generate for p in threshold] == [p.generate for p in power]
    (sensitivity,) = cm.Campaign.from_yaml(running, computation="sensitivity", model=Wimps()).points()
    assert sensitivity.generate == {POI: 0.0}
    assert sensitivity.intervals_of == ("free",)
    assert sensitivity.settings.toy_data == "generate_and_store"
    name = "toyfile_wimp_mass_50_poi_expectation_0.00.ii_3.h5"
    assert sensitivity.toy_file(running.parent, 3) == running.parent / name


def test_the_wrong_computation_is_named(running):
    with pytest.raises(UnknownNameError, match="Did you mean 'threshold'"):
        cm.Campaign.from_alea(running, "treshold", model=Wimps())


def alea(tmp_path, **changes):
    import yaml

    document = {
        "statistical_model": "alea.models.BlueiceExtendedModel",
        "statistical_model_config": "model.yaml",
        "poi": POI,
        "computation_options": {"power": {"to_vary": {}, "in_common": {"n_mc": 10}}},
        **changes,
    }
    (tmp_path / "running.yaml").write_text(yaml.safe_dump(document))
    return tmp_path / "running.yaml"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"poi": None}, "'poi' is missing"),
        ({"computation_options": {"power": {"to_varry": {}}}}, "Did you mean 'to_vary'"),
        ({"computation_options": {"power": [1]}}, "must have the keys"),
        ({"computation_options": {"power": {"in_common": {"n_mc": 10, "n_batch": 3}}}}, "multiple of n_batch"),
        ({"computation_options": {"power": {"in_common": {"poi": "x"}}}}, "said once for all"),
        ({"computation_options": {"power": {"in_common": {"parameter_definition": {}}}}}, "not read here"),
        (
            {"computation_options": {"power": {"in_common": {"confidence_interval_root_find": "brent"}}}},
            "Did you mean 'brentq'",
        ),
        ({"computation_options": {"power": {"in_common": {"n_mcc": 10}}}}, "'n_mcc' is neither"),
    ],
)
def test_running_configurations_that_make_no_sense_are_named(tmp_path, changes, words):
    with pytest.raises((InputError, UnknownNameError), match=words):
        cm.Campaign.from_alea(alea(tmp_path, **changes), "power", model=Wimps()).points()


def test_classes_of_models_are_not_imported(tmp_path):
    path = alea(tmp_path, statistical_model="os.system")
    with pytest.raises(InputError, match=r"'os.system' is not imported from here: give from_alea\(path, model="):
        cm.Campaign.from_alea(path, "power")
    assert isinstance(cm.Campaign.from_alea(path, "power", model=Wimps()).points()[0].model, Likelihood)


def test_arguments_of_aleas_runner_have_their_counterparts():
    given = {
        "hypotheses": ["free"],
        "n_mc": 12,
        "n_batch": 4,
        "common_hypothesis": None,
        "compute_confidence_interval": True,
        "confidence_level": 0.95,
        "confidence_interval_kind": "upper",
        "confidence_interval_root_find": "extremal",
        "toydata_mode": "read",
        "toydata_filename": "t.h5",
        "only_toydata": False,
        "output_filename": "o.h5",
        "seed": None,
        "limit_threshold": "l.json",
        "limit_threshold_interpolation": True,
        "asymptotic_dof": 1,
        "free_name": "free",
        "confidence_levels": [0.9],
        "metadata": {"a": 1},
    }
    point = campaign(in_common=from_alea_names(given, "in_common")).points()[0]
    settings = point.settings
    assert (settings.n_toys, settings.batch_size) == (12, 3)
    assert (settings.level, settings.kind, settings.roots, settings.dof) == (0.95, "upper", "extremal", 1)
    assert (settings.toy_data, settings.toy_data_file, settings.output_file) == ("read", "t.h5", "o.h5")
    assert (settings.seed, settings.threshold, settings.metadata) == (0, "l.json", {"a": 1})


def test_paths_may_be_paths():
    folder = Path(__file__).parent / "data" / "alea"
    configs, templates = folder / "configs", folder / "templates"
    settings = {"n_toys": 3, "to_vary": {"signal_rate_multiplier": [1.0]}}
    campaign = cm.Campaign(configs / "search.yaml", "signal_rate_multiplier", template_folder=templates, **settings)
    assert len(campaign.points()) == 1
    assert campaign.config.template_folder == str(templates)
