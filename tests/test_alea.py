"""alea's model YAML: small models of our own against what alea says of them, parameters, folders, rebuilding.

`tests/data/alea` has the models, the script that made their templates, and the one that asked alea (its numbers are
`numbers_of_alea.json`), so that a clone alone tests the reader; `test_alea_oracle.py` reads alea's own examples.
"""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

import columnminer as cm
from columnminer.errors import InputError, UnknownNameError
from columnminer.infer import alea_sources
from columnminer.infer.template_files import read_histogram, write_histograms

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = "numbers_of_alea.json"


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue("data") / "alea"


@pytest.fixture
def search(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "configs" / "search.yaml").read_text())


def structured(columns: dict[str, list[float]]) -> np.ndarray:
    array = np.zeros(len(next(iter(columns.values()))), dtype=[(name, float) for name in columns])
    for name, values in columns.items():
        array[name] = values
    return array


@pytest.mark.parametrize("file", ["search.yaml", "energy.yaml"])
def test_numbers_are_those_of_alea(folder: Path, file: str) -> None:
    known = json.loads((folder / NUMBERS).read_text())["models"][file]
    model = cm.load_alea(folder / "configs" / file)
    data = {name: structured(columns) for name, columns in known["data"].items()}
    model = model.with_data(data)
    for point in known["points"]:
        found = model.log_likelihood(**point["parameters"])
        assert found == pytest.approx(point["log_likelihood"], rel=1e-9)
        expected = model.expectation_values(point["parameters"], per_term=True)
        for term, sources in point["expectation"].items():
            assert {s: float(n) for s, n in expected[term].items()} == pytest.approx(sources, rel=1e-9)


def test_parameters_are_what_the_file_says(folder: Path) -> None:
    model = cm.load_alea(folder / "configs" / "search.yaml")
    p = {parameter.name: parameter for parameter in model.parameters}
    assert (p["mass"].kind, p["mass"].fittable, p["mass"].description) == ("needs_reinit", False, "mass in GeV")
    assert p["exposure"].kind == "livetime"
    assert p["signal_rate_multiplier"].interval_bounds == (0, 50)
    assert p["signal_rate_multiplier"].interval_bounds_in_events  # as alea has them
    assert p["signal_rate_multiplier"].fit_limits == (0, None)
    assert p["signal_rate_multiplier"].fit_guess == 1
    assert p["background_rate_multiplier"].constraint == pytest.approx(0.08)  # a tenth of 0.8
    assert p["efficiency"].constraint == pytest.approx(0.18)  # a fifth of 0.9, at the mass of 10
    assert p["shift"].anchors == (-1, 0, 2)
    assert p["shift"].distribution is not None
    assert p["shift"].distribution.support == (-1, 2)
    assert model.options["fit_strategy"]["max_index_fitting_iter"] == 10


def test_a_model_is_built_again_where_it_must_be(folder: Path) -> None:
    model = cm.load_alea(folder / "configs" / "search.yaml")
    heavy = model.at(mass=30)
    assert {s: round(float(n), 3) for s, n in model.expectation_values().items()}["signal"] == 3.6  # 2 x 2 x 0.9
    assert float(heavy.expectation_values()["signal"]) == pytest.approx(10.8)  # 6 x 2 x 0.9
    conditional = {p.name: p.constraint for p in heavy.parameters}
    assert conditional["efficiency"] == pytest.approx(0.09)  # a tenth of 0.9, at the mass of 30
    same = cm.load_alea(folder / "configs" / "search.yaml", mass=30.0)  # a whole number is one
    assert same.expectation_values() == heavy.expectation_values()
    longer = heavy.at(exposure=4.0)  # what was chosen before stays chosen
    assert float(longer.expectation_values()["signal"]) == pytest.approx(21.6)
    with pytest.raises(InputError, match="not defined at mass = 20"):
        model.at(mass=20)
    with pytest.raises(UnknownNameError, match="Did you mean 'mass'"):
        model.at(maas=30)


def test_parameters_that_need_building_cannot_be_moved(folder: Path) -> None:
    model = cm.load_alea(folder / "configs" / "search.yaml")
    model = model.with_data(model.simulate(seed=1))
    with pytest.raises(InputError, match="mass"):
        model.log_likelihood(mass=30)
    with pytest.raises(InputError, match="mass"):
        model.expectation_values({"mass": 30})


def test_livetimes_and_rates_scale_what_is_expected(folder: Path) -> None:
    model = cm.load_alea(folder / "configs" / "search.yaml")
    nominal = model.expectation_values(per_term=True)
    twice = model.expectation_values({"signal_rate_multiplier": 2.0, "exposure": 4.0}, per_term=True)
    assert float(twice["search"]["signal"]) == pytest.approx(4 * float(nominal["search"]["signal"]))
    assert float(twice["search"]["background"]) == pytest.approx(2 * float(nominal["search"]["background"]))
    assert float(twice["control"]["background"]) == pytest.approx(float(nominal["control"]["background"]))
    both = model.expectation_values()
    assert float(both["background"]) == pytest.approx(sum(float(t["background"]) for t in nominal.values()))
    for efficiency in (0.0, 0.45, 1.8):
        found = float(model.expectation_values({"efficiency": efficiency})["signal"])
        assert found == pytest.approx(3.6 * efficiency / 0.9)


def test_source_histograms_hold_the_templates(folder: Path) -> None:
    model = cm.load_alea(folder / "configs" / "search.yaml")
    template = read_histogram(folder / "templates" / "background.ii.h5", "b_2").contents
    found = model.source_histograms("search", {"shift": 2.0})["background"]
    np.testing.assert_allclose(found.values, template / template.sum(), rtol=1e-6)
    events = model.source_histograms("control", {"shift": 2.0}, expected_events=True)["background"]
    # Bins from 15 up, summed over charge; scaled by 3, half a unit of time, rate 0.8.
    np.testing.assert_allclose(events.values, template[3:].sum(axis=0) * 3 * 0.5 * 0.8, rtol=1e-6)
    with pytest.raises((InputError, UnknownNameError), match="ancillary"):
        model.source_histograms("ancillary")
    with pytest.raises((InputError, UnknownNameError), match="serach"):
        model.source_histograms("serach")


def test_toys_have_labels_and_fits_find_them(folder: Path) -> None:
    model = cm.load_alea(folder / "configs" / "search.yaml")
    toy = model.simulate(seed=3, signal_rate_multiplier=20.0, efficiency=0.9)
    fit = cm.fit(model.with_data(toy))
    # 72 signal events among 160 others: known to about 18 %, with a prior of 20 % on the efficiency.
    assert fit.by_name["signal_rate_multiplier"] == pytest.approx(20, rel=0.8)
    assert fit.by_name["background_rate_multiplier"] == pytest.approx(0.8, rel=0.3)
    null = cm.fit(model.with_data(toy), signal_rate_multiplier=0.0)
    assert fit.log_likelihood > null.log_likelihood + 10


def test_models_can_be_copied(folder: Path) -> None:
    model = cm.load_alea(folder / "configs" / "search.yaml")
    model = model.with_data(model.simulate(seed=1))
    other = copy.deepcopy(model)
    assert other.log_likelihood() == model.log_likelihood()
    assert pickle.loads(pickle.dumps(model)).log_likelihood() == model.log_likelihood()  # noqa: S301 - our own
    assert other.at(mass=30).expectation_values() == model.at(mass=30).expectation_values()


def test_templates_are_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[Path, str | None]] = []

    def counting(path: Path, name: str | None) -> Any:
        read.append((path, name))
        return read_histogram(path, name)

    monkeypatch.setattr(alea_sources, "read_histogram", counting)
    cm.load_alea(folder / "configs" / "search.yaml")
    assert len(read) == len(set(read)) == 4  # three backgrounds, which two terms share, and a signal
    read.clear()
    cm.load_alea(folder / "configs" / "energy.yaml")
    assert len(read) == 1  # for six combinations of anchors


def test_folders_are_searched_in_order(folder: Path, search: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    document = tmp_path / "configs" / "search.yaml"
    shutil.copy(folder / "configs" / "search.yaml", document)
    with pytest.raises(InputError, match=r"no file 'background\.ii\.h5'"):
        cm.load_alea(document)

    def doubled(to: Path, factor: float) -> None:
        to.mkdir(exist_ok=True)
        for path in (folder / "templates").glob("*.h5"):
            shutil.copy(path, to)
        signal = read_histogram(folder / "templates" / "signal_10.ii.h5")
        write_histograms(to / "signal_10.ii.h5", {"signal": signal.filled(factor * signal.contents)})

    def events(**options: Any) -> float:
        return float(cm.load_alea(document, **options).expectation_values()["signal"]) / 3.6

    search["likelihood_config"]["template_folder"] = "elsewhere"
    document.write_text(yaml.safe_dump(search))
    doubled(tmp_path / "configs" / "elsewhere", 2.0)
    assert events() == pytest.approx(2)  # named in the file, relative to it
    doubled(tmp_path / "templates", 3.0)
    assert events() == pytest.approx(3)  # beside the folder of the file
    doubled(tmp_path / "configs", 4.0)
    assert events() == pytest.approx(4)  # with the file
    doubled(tmp_path / "given", 5.0)
    assert events(template_folder=tmp_path / "given") == pytest.approx(5)
    doubled(tmp_path / "given", 6.0)  # a template that has changed is read again
    assert events(template_folder=[str(tmp_path / "given"), tmp_path / "configs"]) == pytest.approx(6)


def test_a_model_may_be_a_dict(folder: Path, search: dict[str, Any]) -> None:
    model = cm.load_alea(search, template_folder=folder / "templates")
    assert model.expectation_values() == cm.load_alea(folder / "configs" / "search.yaml").expectation_values()
    search["parameter_definition"]["shift"]["blueice_anchors"] = "np.array([-1, 0, 2])"
    assert cm.load_alea(search, template_folder=folder / "templates").kinks["shift"].tolist() == [-1, 0, 2]


def test_an_analysis_space_with_other_bins_is_refused(folder: Path, search: dict[str, Any]) -> None:
    space = search["likelihood_config"]["likelihood_terms"][0]["analysis_space"]
    for wrong in ("np.linspace(1, 41, 9)", "np.linspace(0, 40, 8)", "np.linspace(0, 42, 9)"):
        space[0]["charge"] = wrong
        with pytest.raises(InputError, match=r"sources\[0\] \(background\).*along 'charge'"):
            cm.load_alea(search, template_folder=folder / "templates")


def test_index_parameters_take_their_anchors_only(folder: Path, search: dict[str, Any]) -> None:
    search["parameter_definition"]["shift"].update(ptype="index", uncertainty=None)
    term = search["likelihood_config"]["likelihood_terms"][0]
    term.update(likelihood_config={"morpher": "IndexMorpher"}, source_wise_interpolation=False)
    model = cm.load_alea(search, template_folder=folder / "templates")
    assert float(model.expectation_values({"shift": 2})["signal"]) == pytest.approx(3.6)
    with pytest.raises(InputError, match=r"'shift'.*-1, 0, 2"):
        model.expectation_values({"shift": 1.0})
    search["parameter_definition"]["shift"]["ptype"] = "shape"
    with pytest.raises(InputError, match=r"'shift'.*ptype: index"):
        cm.load_alea(search, template_folder=folder / "templates")


def test_options_of_templates_reach_them(folder: Path, search: dict[str, Any]) -> None:
    term = search["likelihood_config"]["likelihood_terms"][0]
    background, signal = term["sources"]
    signal.update(normalise_template=True, histogram_scale_factor=7, convert_to_uniform=True)
    background.update(
        {
            "class": "alea.template_source.CombinedSource",
            "histnames": ["b_0", "b_{shift}"],
            "template_filenames": ["background.ii.h5", "background.ii.h5"],
            "weight_names": ["half"],
            "half": 0.5,
        }
    )
    model = cm.load_alea(search, template_folder=folder / "templates")
    expected = model.expectation_values(per_term=True)["search"]
    assert float(expected["signal"]) == pytest.approx(7 * 2 * 0.9)
    assert float(expected["background"]) == pytest.approx(1.5 * 2 * 0.8)  # each is normalised before it is weighted
    uniform = model.source_histograms("search")["signal"].values
    np.testing.assert_allclose(uniform, 1 / 48)
    at = model.source_histograms("search", {"shift": 2.0})["background"].values
    parts = [read_histogram(folder / "templates" / "background.ii.h5", f"b_{s}").contents for s in (0, 2)]
    np.testing.assert_allclose(at, (parts[0] / parts[0].sum() + 0.5 * parts[1] / parts[1].sum()) / 1.5, rtol=1e-5)


def test_spectra_reweight_templates(folder: Path, search: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "half.json").write_text(json.dumps({"coordinate_system": [0, 40], "map": [0.5, 0.5]}))
    signal = search["likelihood_config"]["likelihood_terms"][0]["sources"][1]
    signal.update({"class": "alea.template_source.SpectrumTemplateSource", "spectrum_name": "half.json"})
    signal["spectrum_axis"] = "charge"
    model = cm.load_alea(search, template_folder=[folder / "templates", tmp_path])
    assert float(model.expectation_values()["signal"]) == pytest.approx(3.6 * 0.5 * 5)  # bins 5 wide


def test_energy_sources_scale_with_mass_and_efficiency(folder: Path) -> None:
    model = cm.load_alea(folder / "configs" / "energy.yaml")
    nominal = model.expectation_values()
    assert float(nominal["line"]) == pytest.approx(50 * 2 * 0.8)
    heavier = model.at(tonnes=3).expectation_values({"efficiency_constant": 0.9})
    for source, events in nominal.items():
        assert float(heavier[source]) == pytest.approx(float(events) * 1.5 * 0.9 / 0.8)
    line = model.source_histograms("energy")["line"]
    middles = 0.5 * (line.edges["ces"][1:] + line.edges["ces"][:-1])
    assert np.average(middles, weights=line.values) == pytest.approx(40, abs=0.1)
