"""What a model document may not say: each error names the place, and hostile texts are refused without being run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

import columnminer as cm
from columnminer.errors import ColumnMinerError, FileFormatError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOSTILE = [
    "__import__('os').system('touch owned')",
    "np.__import__('os')",
    "np.load('x.npy', allow_pickle=True)",
    "np.linspace(0, 1, __import__('os').getpid())",
    "stats.norm.__class__",
    "stats._distn_infrastructure.rv_frozen()",
    "np.linspace(0, 100, 10**9)",
]


@pytest.fixture
def search(data: Path) -> dict[str, Any]:
    return yaml.safe_load((data / "alea" / "configs" / "search.yaml").read_text())


@pytest.fixture
def load(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    monkeypatch.chdir(tmp_path)

    def write_and_load(document: Any) -> Any:
        path = tmp_path / "model.yaml"
        path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
        return cm.load_alea(path, template_folder=data / "alea" / "templates")

    return write_and_load


def term(document: dict[str, Any]) -> dict[str, Any]:
    return document["likelihood_config"]["likelihood_terms"][0]


def source(document: dict[str, Any], number: int = 0) -> dict[str, Any]:
    return term(document)["sources"][number]


def parameter(document: dict[str, Any], name: str) -> dict[str, Any]:
    return document["parameter_definition"][name]


WRONG: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda d: d.update(fit_stratgy={}), r"model.yaml: unknown key 'fit_stratgy'. Did you mean 'fit_strategy'"),
    (lambda d: d.pop("likelihood_config"), "'likelihood_config' is missing"),
    (lambda d: d["likelihood_config"].update(likelihood_weights=[1, 2]), "3 weights are needed"),
    (lambda d: term(d).update(analysis_spaec=[]), r"likelihood_terms\[0\]: unknown key 'analysis_spaec'"),
    (lambda d: term(d).update(likelihood_type="os.system"), "likelihood_type cannot be 'os.system'"),
    (lambda d: term(d).update(default_source_class="os.system"), "class cannot be 'os.system'"),
    (lambda d: term(d).pop("default_source_class"), "no class"),
    (lambda d: term(d).update(livetime_parameter="exposre"), "Did you mean 'exposure'"),
    (lambda d: term(d).update(likelihood_config={"morpher": "RadialInterpolator"}), "RadialInterpolator"),
    (lambda d: term(d).update(likelihood_config={"morhper": 1}), "Did you mean 'morpher'"),
    (lambda d: term(d).update(pdf_interpolation_method="linear"), "piecewise"),
    (lambda d: term(d).update(analysis_space=[]), "there is no axis"),
    (lambda d: term(d)["analysis_space"][1].update(light="1, 2, x"), r"analysis_space.light"),
    (lambda d: term(d)["analysis_space"][1].update(light="4, 2, 1"), "increase"),
    (lambda d: source(d).update(histnam="x"), r"sources\[0\]: unknown key 'histnam'. Did you mean 'histname'"),
    (lambda d: source(d).update(parameters=["shfit"]), "Did you mean 'shift'"),
    (lambda d: source(d).update(parameters=["shift"]), "exactly one rate parameter, not 0"),
    (lambda d: source(d).update(named_parameters=["mass"]), r"\(background\).named_parameters cannot be 'mass'"),
    (lambda d: source(d).update(named_parameters=[]), "no named parameter"),
    (lambda d: source(d).update(slice_args={"slice_axs": 1}), "Did you mean 'slice_axis'"),
    (lambda d: source(d, 1).update(efficiency_name="shift"), "not among the parameters"),
    (lambda d: source(d, 1).update(efficiency_name="mass"), "ptype efficiency"),
    (lambda d: source(d, 1).update(name="background"), "'background' is used twice"),
    (lambda d: source(d, 1).update(template_filename="gone_{mass}.h5"), "no file 'gone_10.h5'"),
    (lambda d: source(d, 1).update(histname="gone"), "none is called 'gone'"),
    (lambda d: source(d).update({"class": "alea.ces_source.CESFlatSource"}), "one axis"),
    (lambda d: source(d).update({"class": "alea.template_source.CombinedSource"}), "expected a list"),
    (lambda d: source(d).update({"class": "alea.template_source.SpectrumTemplateSource"}), "spectrum_name"),
    (lambda d: parameter(d, "shift").update(ptyp="shape"), "parameter_definition.shift: unknown key 'ptyp'"),
    (lambda d: parameter(d, "shift").update(ptype="shpae"), "ptype cannot be 'shpae'. Did you mean 'shape'"),
    (lambda d: parameter(d, "shift").pop("blueice_anchors"), "'shift' has no blueice_anchors"),
    (lambda d: parameter(d, "shift").pop("nominal_value"), "nominal_value must be a number"),
    (lambda d: parameter(d, "shift").update(relative_uncertainty=True), "a relative uncertainty is a number"),
    (lambda d: parameter(d, "background_rate_multiplier").update(nominal_value=0), "relative uncertainty"),
    (lambda d: parameter(d, "mass").update(blueice_anchors=[10, 20]), "anchors"),
    (lambda d: parameter(d, "mass").update(fit_guess=10), "no meaning where fittable is false"),
    (lambda d: parameter(d, "efficiency").update(parameter_interval_bounds=[-5, 5]), "fit_limits"),
    (lambda d: parameter(d, "efficiency").update(conditioning_parameter_name="mas"), "Did you mean 'mass'"),
    (lambda d: parameter(d, "efficiency").update(fit_limits={10: [0, 1]}), "same values"),
    (lambda d: d["parameter_definition"].update(shift=3), "properties of a parameter"),
]


def test_without_a_change_it_loads(search: dict[str, Any], load: Callable[[Any], Any]) -> None:
    assert load(search).term_names == ("search", "control", "ancillary")


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_errors_name_the_place(
    search: dict[str, Any], load: Callable[[Any], Any], change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    change(search)
    with pytest.raises(FileFormatError, match=message) as caught:
        load(search)
    assert "model.yaml" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["a: [1", "- 1", "just text", "", "a: !!python/object/apply:os.system ['touch owned']"]
)
def test_what_is_no_document_of_plain_values_is_refused(load: Callable[[Any], Any], tmp_path: Path, text: str) -> None:
    with pytest.raises(FileFormatError, match=r"model\.yaml"):
        load(text)
    assert not (tmp_path / "owned").exists()
    with pytest.raises(FileFormatError, match="gone"):
        cm.load_alea(tmp_path / "gone.yaml")


def test_aliases_that_multiply_are_refused(load: Callable[[Any], Any]) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(FileFormatError, match="too large or nested too deeply"):
        load("\n".join([*lines, "parameter_definition: *a11", "likelihood_config: {}"]))


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_are_never_run(search: dict[str, Any], load: Callable[[Any], Any], tmp_path: Path, text: str) -> None:
    places: list[Callable[[dict[str, Any]], Any]] = [
        lambda d: term(d)["analysis_space"][1].update(light=text),
        lambda d: parameter(d, "shift").update(blueice_anchors=text),
        lambda d: parameter(d, "shift").update(uncertainty=text),
        lambda d: parameter(d, "shift").update(nominal_value=text),
        lambda d: source(d).update({"class": text}),
        lambda d: term(d).update(likelihood_type=text),
        lambda d: source(d).update(histname=text),
    ]
    for place in places:
        document = yaml.safe_load(yaml.safe_dump(search))
        place(document)
        with pytest.raises(ColumnMinerError):
            load(document)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "name", ["b_{shift.__class__}", "b_{shift.real}", "b_{0}", "b_{shift!r}", "b_{shift:>9999999999}"]
)
def test_format_texts_reach_no_attributes(search: dict[str, Any], load: Callable[[Any], Any], name: str) -> None:
    source(search)["histname"] = name
    with pytest.raises(FileFormatError, match="plain name"):
        load(search)
    source(search).update(histname="b_0", template_filename=name)
    with pytest.raises(FileFormatError, match="plain name"):
        load(search)
