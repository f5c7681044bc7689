"""alea's own example models, from their YAML as it is, against numbers of alea 0.3.5 (``oracle_alea.json``)."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import columnminer as cm
from columnminer.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from columnminer.infer.alea import AleaModel

MODELS = (
    "binned_ces.yaml",
    "unbinned_ces_simple.yaml",
    "unbinned_wimp_statistical_model.yaml",
    "unbinned_wimp_statistical_model_index_fitting.yaml",
    "unbinned_wimp_statistical_model_mass_dependent_efficiency.yaml",
    "unbinned_wimp_statistical_model_simple.yaml",
    "unbinned_wimp_statistical_model_template_source_test.yaml",
)
INDEX = "unbinned_wimp_statistical_model_index_fitting.yaml"


@pytest.fixture(scope="session")
def folder(shared: Path) -> Path:
    return shared / "alea"


@functools.cache
def oracle(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "oracle_alea.json").read_text())["models"]


@functools.cache
def loaded(folder: Path, name: str) -> AleaModel:
    """Return a model with the stored toy as its data."""
    model = cm.load_alea(folder / "configs" / name)
    with np.load(folder / oracle(folder)[name]["data"]["file"]) as toy:
        return model.with_data({term: toy[term] for term in model.term_names})


def test_all_of_them_are_here(folder: Path) -> None:
    assert set(oracle(folder)) == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_parameters_are_those_of_alea(folder: Path, name: str) -> None:
    model, known = loaded(folder, name), oracle(folder)[name]
    assert model.names == tuple(known["parameters"])
    assert model.term_names == tuple(known["likelihood_names"])
    for parameter, theirs in zip(model.parameters, known["parameters"].values(), strict=True):
        assert (parameter.nominal, parameter.kind) == (theirs["nominal"], theirs["ptype"])
        assert parameter.fittable == theirs["fittable"]
        limits = None if theirs["fit_limits"] is None else tuple(theirs["fit_limits"])
        assert parameter.fit_limits == limits
        if theirs["uncertainty"] == "None":
            assert parameter.constraint is None
        elif "scipy" in theirs["uncertainty"]:
            assert parameter.distribution is not None
        else:
            # Relative uncertainties are of the nominal value 1 in these models; 0.15 is that at a mass of 50.
            assert parameter.constraint == pytest.approx(float(theirs["uncertainty"]))


@pytest.mark.parametrize("name", MODELS)
def test_expectation_values_agree(folder: Path, name: str) -> None:
    model, known = loaded(folder, name), oracle(folder)[name]
    assert as_floats(model.expectation_values()) == pytest.approx(known["expectation_nominal"], rel=1e-9)
    for term, sources in model.expectation_values(per_term=True).items():
        assert as_floats(sources) == pytest.approx(known["expectation_per_term"][term], rel=1e-9)


def as_floats(values: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


@pytest.mark.parametrize("name", MODELS)
def test_log_likelihoods_agree(folder: Path, name: str) -> None:
    model, known = loaded(folder, name), oracle(folder)[name]
    # With the IndexMorpher alea multiplies and adds in the single precision of the templates: 1e-7 of log L.
    relative = 2e-7 if name == INDEX else 1e-9
    seen = 0
    for point in known["log_likelihood"]:
        if "error" in point:
            check_where_alea_fails(model, point)
            continue
        found = model.log_likelihood(**point["parameters"])
        assert found == pytest.approx(point["ll"], rel=relative)
        assert as_floats(model.expectation_values(point["parameters"])) == pytest.approx(point["expectation"], rel=1e-9)
        seen += 1
    assert seen >= 1
    assert len(known["log_likelihood"]) == 7


def check_where_alea_fails(model: AleaModel, point: dict[str, Any]) -> None:
    if "KeyError" in point["error"]:  # an index parameter beside its anchors; here that is said in a sentence
        with pytest.raises(InputError, match="takes the values -2, -1, 0, 1, 2 only"):
            model.log_likelihood(**point["parameters"])
    else:  # beyond the anchors of a shape parameter alea has no expectation values; the likelihood is zero
        outside = [
            name
            for name, value in point["parameters"].items()
            if name in model.kinks and not model.kinks[name][0] <= value <= model.kinks[name][-1]
        ]
        assert outside
        assert model.log_likelihood(**point["parameters"]) == -np.inf


def test_the_index_model_agrees_to_the_last_digit_in_single_precision(folder: Path) -> None:
    model, known = loaded(folder, INDEX), oracle(folder)[INDEX]
    (point,) = [p for p in known["log_likelihood"] if "ll" in p]
    term = model.term("science_run")
    histograms = model.source_histograms("science_run", point["parameters"])
    mu = model.expectation_values(point["parameters"])
    cells = term.as_data(model.named(model.data)["science_run"]).cells
    volumes = np.multiply.outer(*(np.diff(edges) for edges in term.axes.values()))
    single = np.stack([(h.values / volumes).ravel()[cells].astype(np.float32) for h in histograms.values()])
    mus = np.array([mu[s] for s in histograms], dtype=np.float32)
    log = float(-mus.sum() + np.sum(np.log(np.nansum(mus[:, None] * single, axis=0))))
    ancillary = model.log_likelihood(**point["parameters"]) - term.with_data(
        model.named(model.data)["science_run"]
    ).log_likelihood({n: v for n, v in point["parameters"].items() if n in term.names})
    assert log + ancillary == pytest.approx(point["ll"], rel=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_best_fits_are_not_worse(folder: Path, name: str) -> None:
    model, known = loaded(folder, name), oracle(folder)[name]["fit"]
    if name == INDEX:  # alea's log L of its best fit is rounded to single precision, 2e-4: ours at that point instead
        there = float(model.log_likelihood(**known["best_fit"]))
        assert there == pytest.approx(known["ll"], rel=2e-7)
    else:
        there = known["ll"]
    assert cm.fit(model).log_likelihood >= there - 1e-4
    # The control: with one rate at three times its best value, all else cannot make up for it.
    rate = next(p.name for p in model.parameters if p.kind == "rate")
    away = cm.fit(model, **{rate: 3.0 * known["best_fit"][rate]})
    assert away.log_likelihood < there - 1.0


@pytest.mark.parametrize("mass", [5, 10, 100, 500])
def test_efficiencies_may_depend_on_the_mass(folder: Path, mass: int, tmp_path: Path) -> None:
    template = folder / "templates" / "wimp50gev_template.ii.h5"
    (tmp_path / f"wimp{mass}gev_template.ii.h5").write_bytes(template.read_bytes())
    name = "unbinned_wimp_statistical_model_mass_dependent_efficiency.yaml"
    model = cm.load_alea(folder / "configs" / name, template_folder=tmp_path, wimp_mass=mass)
    constraint = {p.name: p.constraint for p in model.parameters}["signal_efficiency"]
    assert constraint == {5: 0.3, 10: 0.2, 100: 0.1, 500: 0.1}[mass]


def test_toys_have_as_many_events_as_expected(folder: Path) -> None:
    model = loaded(folder, "unbinned_wimp_statistical_model.yaml")
    toys = model.simulate_many(1, np.arange(400))
    for term, data in zip(model.term_names[:-1], toys[:-1], strict=True):
        expected = sum(as_floats(model.expectation_values(per_term=True)[term]).values())
        assert data.counts.sum(axis=1).mean() == pytest.approx(expected, abs=5 * np.sqrt(expected / 400))
    assert np.shape(toys[-1]) == (400, 3)
