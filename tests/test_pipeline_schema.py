"""The JSON schemas: what is shipped fits them, and what the readers refuse for its keys does not."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
import yaml

from columnminer import cli
from columnminer.documents import read_mapping
from columnminer.errors import InputError
from columnminer.pipeline.schema import DOCUMENTS, key_schema

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.yaml"))
SHIPPED = [Path(str(files("columnminer.pipeline").joinpath(f"{name}.yaml"))) for name in ("demo", "demo_shower")]

CAMPAIGN = """\
model: {store: events.zarr, observables: [m_ll, y_ll], bins: [8, 4], luminosity: 1e3, partition: [train, validation]}
poi: c_ll
n_toys: 100
to_vary: {c_ll: [0, 0.02], n_toys: [10, 20]}
to_zip: {c_lr: "np.linspace(0, 1, 3)"}
hypotheses: [free, true, {c_ll: [0, 0.1]}]
threshold: thresholds.json
fit_options: {strategy: 0}
"""


def errors(schema, document):
    """Return what does not fit; keys that YAML takes for numbers are texts in JSON."""
    validator = jsonschema.validators.validator_for(schema)
    validator.check_schema(schema)
    return [error.message for error in validator(schema).iter_errors(json.loads(json.dumps(document)))]


@pytest.mark.parametrize("path", [*SHIPPED, *EXAMPLES], ids=lambda path: path.stem)
def test_shipped_analyses_fit(path):
    document = read_mapping(path)
    schema = key_schema()
    assert errors(schema, document) == []
    assert any("'lumi'" in error for error in errors(schema, {**document, "limits": {"lumi": 3}}))
    assert errors(schema, {**document, "estimators": {"a": {"kind": "rati"}}})
    assert errors(schema, {**document, "sampling": {"local": {"n": "many", "theta": "sm"}}})


def test_campaigns_fit():
    document = yaml.safe_load(CAMPAIGN.replace("1e3", "1000"))
    schema = key_schema("campaign")
    assert errors(schema, document) == []
    assert errors(schema, {**document, "model": "model.yaml"}) == []
    assert errors(schema, {**document, "n_tois": 3})
    assert errors(schema, {**document, "hypotheses": ["fre"]})
    assert errors(schema, {**document, "model": {"stoer": "events.zarr"}})


def test_models_of_alea_fit(shared):
    schema = key_schema("model")
    models = sorted((shared / "alea" / "configs").glob("*statistical_model*.yaml"))
    assert models
    for path in models:
        document = read_mapping(path)
        assert errors(schema, document) == [], path
        assert errors(schema, {**document, "likelihood_cnofig": {}})
        del document["likelihood_config"]["likelihood_terms"][0]["sources"]
        assert errors(schema, document)


def test_resources_fit():
    schema = key_schema("resources")
    assert errors(schema, {"cores": 4, "memory": "8 GB", "walltime": 2, "directives": ["--qos=short"]}) == []
    assert errors(schema, {"coers": 4})
    assert errors(schema, {"cores": "four"})


def test_sections_are_found_by_their_keys():
    assert {"kind", "method", "ensemble", "calibration", "checks"} <= set(key_schema("estimators")["properties"])
    assert set(key_schema("estimators.ensemble")["properties"]) == {"members", "bootstrap", "votes"}
    assert "nu0" in key_schema("sampling.double_ratio")["properties"]
    assert "benchmark" in key_schema("samples")["properties"]
    assert "level" in key_schema("fits.intervals")["properties"]
    assert "store" in key_schema("campaign.model")["properties"]
    assert "sources" in key_schema("model.likelihood_config.likelihood_terms")["properties"]
    assert key_schema("analysis") == key_schema()
    assert "theta0" in key_schema("analysis.sampling.ratio")["properties"]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("samplng.ratio", r"'samplng' is not known\. Did you mean 'sampling'"),
        ("campain", r"'campain' is not known\. Did you mean 'campaign'"),
        ("campaign.modle", r"campaign files has no key .*'modle' is not known\. Did you mean 'model'"),
        ("seed.x", r"'x' is not known"),
    ],
)
def test_sections_that_are_not_there_are_refused(section, message):
    with pytest.raises(InputError, match=message):
        key_schema(section)


def test_the_command_prints_them(capsys):
    for kind in (None, *DOCUMENTS):
        cli.main(["schema"] if kind is None else ["schema", kind])
        whole = json.loads(capsys.readouterr().out)
        assert whole == json.loads(json.dumps(key_schema(kind)))
        assert whole["properties"]
